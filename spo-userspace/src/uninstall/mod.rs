//! Removes what an installation left in a cluster and on its nodes, and frees what its absence
//! holds. It needs nobody: neither an operator nor daemons have to run, and those that do are
//! stopped first. So one way serves for an ordinary removal and for the repair after one that took
//! the operator away before its work was done.
//!
//! The order is that in which nothing is left behind by whoever ends in the midst of it: first those
//! who would write again, then the webhooks, which may stand in the way of all else, then the files
//! on nodes, then objects, and last what a further run needs to know. Each step can be repeated.

mod apply;
mod nodes;
mod observe;
mod own;
mod plan;
mod pods;

use std::time::Duration;

use thiserror::Error;

pub use self::apply::{Done, Outcome, State, apply};
pub use self::observe::{Seen, observe};
pub use self::plan::{Action, Plan, Refusal, Step, Use, plan};
pub use crate::cluster::connect;

/// Which profiles stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Nothing,
    /// Those that pods use.
    Used,
    /// All of them; nodes are left as they are.
    All,
}

/// What is wished.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's namespace.
    pub namespace: String,
    /// Which profiles stay.
    pub keep: Keep,
    /// The image for nodes, if it is not to be the operator's.
    pub image: Option<String>,
    /// The kubelet's folder, if it is not the one that the operator knows.
    pub kubelet: Option<String>,
    /// How long a step may take.
    pub patience: Duration,
}

/// Why it cannot go on.
#[derive(Debug, Error)]
pub enum Error {
    /// The server does not answer, or does not do what is asked.
    #[error("cannot {attempt}")]
    Request {
        /// What was attempted.
        attempt: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something takes too long.
    #[error("waited {} s, and it is not so: {what}", patience.as_secs())]
    Late {
        /// What was waited for, and how far it is.
        what: String,
        /// How long.
        patience: Duration,
    },
    /// Pods began to use profiles after the first look.
    #[error("since the first look pods use profiles ({0}): run it again, and it says what to do")]
    InUse(String),
}

fn request(attempt: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let attempt = attempt.into();
    move |source| Error::Request {
        attempt,
        source: Box::new(source),
    }
}

/// Nothing where there is no such object, or the cluster does not know its kind, which it says in
/// another way.
fn known<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        result => result.map(Some),
    }
}
