//! The cluster's side of a node's recorder: what is to be recorded, by recordings, namespaces and the
//! node's own pods; and what was recorded, as profiles and in the status of recordings. What is made
//! of the one to get the other is decided in [`recorder::cluster`](crate::recorder::cluster).

mod handed_in;
mod pods;
mod sight;
mod status;
mod watches;
mod write;

pub use self::handed_in::handed_in;
pub use self::pods::Life;
pub use self::sight::{News, Scope, Sight};
pub use self::status::{is_incomplete, last_status, node_status, said_before};
pub use self::watches::Change;
pub use self::write::{Done, Job, Outcome, Writer};
