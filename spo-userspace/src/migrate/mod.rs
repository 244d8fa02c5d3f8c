//! Brings the objects of a cluster, and their definitions, from older versions to `v1`.
//!
//! What is stored need not be what a server shows: fields that the definition does not know are
//! hidden, a conversion webhook may be dead, and which version an object is stored in is not told.
//! So for the time of the migration a definition has two views of each object: through the old
//! version everything that is stored, through `v1` what our schema takes. Neither is converted by
//! anybody else.
//!
//! Each step leaves a state that the next run recognises and goes on from. An object is written
//! in one piece, with its status, so that it is either as it was or in `v1`.

mod apply;
mod definition;
mod plan;
mod server;

use thiserror::Error;

pub use self::apply::{Observer, Outcome, apply};
pub use self::definition::Action;
pub use self::plan::{DefinitionPlan, ObjectPlan, Plan, plan};
pub use self::server::Server;

/// Why the cluster could not be asked, or did not do what it was asked to.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no usable configuration of a client.
    #[error("no cluster to talk to")]
    Config(#[from] kube::config::InferConfigError),
    /// The API server cannot be reached, or its answer cannot be understood.
    #[error("failed to {0}")]
    Request(String, #[source] Box<kube::Error>),
    /// The API server refused.
    #[error("the API server refuses to {what}: {message}")]
    Refused {
        /// What it was to do.
        what: String,
        /// The status of its answer.
        code: u16,
        /// What it says about that.
        message: String,
    },
    /// A backup of what only became visible now cannot be written.
    #[error("failed to back up {0}")]
    Backup(String, #[source] std::io::Error),
    /// An object cannot be converted as it is stored.
    #[error("{object} cannot be converted as it is stored: {}", problems.join("; "))]
    Stored {
        /// Its kind and name.
        object: String,
        /// Why.
        problems: Vec<String>,
    },
    /// An object was written, and is not what was written.
    #[error("{object} is not what was written: {}", lost.join("; "))]
    Differs {
        /// Its kind and name.
        object: String,
        /// What is different.
        lost: Vec<String>,
    },
    /// Something writes to the objects all the time.
    #[error("{0} changes all the time: stop the old operator")]
    Busy(String),
    /// A definition was changed, and the server does not go by it.
    #[error("the API server does not serve {0} in v1")]
    NotServed(String),
}
