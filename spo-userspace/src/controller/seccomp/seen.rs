//! All that a plan is made from.

use super::content::{Content, Refusal};
use crate::api::common::ProfileStatus;
use crate::api::names::NOT_ALLOWED;
use crate::api::node_status::{NodeStatus, Reason};
use crate::profile::few::few;
use crate::profile::named::Named as _;

/// All that is known about one file.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// Those whose file it is, the one that has it first. Mostly there is one.
    pub(super) claimants: Vec<Claimant>,
    pub(super) file: FileState,
    /// Whether the journal says that we wrote it.
    pub(super) is_ours: bool,
    /// Whether the configuration allows what the file says.
    pub(super) is_allowed: bool,
}

/// A profile.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) name: String,
    pub(super) generation: Option<i64>,
    pub(super) intent: Intent,
    /// The pods that use it, as the operator knew them when it said this.
    pub(super) users: Vec<String>,
    pub(super) word: Word,
    /// What this node said last; `None` if it said nothing.
    pub(super) status: Option<NodeStatus>,
}

/// What the operator said of a profile, at once with the pods that use it.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) state: Option<ProfileStatus>,
    /// The reason of its condition.
    pub(super) reason: Option<String>,
    /// The version of the profile that it had seen.
    pub(super) generation: Option<i64>,
}

/// What is to become of a profile.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// It is being deleted. Until it is released, pods may need it.
    Deleted(Option<Content>),
    /// It is being deleted, and nothing needs it any more.
    Released,
    /// It is not to be installed.
    Disabled,
    /// It is to be merged with others first.
    Partial,
    /// It is to be installed, if it can be.
    Install(Result<Content, Refusal>),
}

/// What is in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Nothing.
    Missing,
    /// A file with this digest.
    Has(String),
    /// Something that is no profile's file.
    Other,
    /// A file that cannot be read.
    Unreadable,
    /// The folder itself cannot be used; why, and whether it is gone with all that was in it.
    Unusable { why: String, gone: bool },
}

impl Claimant {
    pub(super) fn said(&self, state: ProfileStatus) -> bool {
        let status = self.status.as_ref();
        status.and_then(|status| status.status) == Some(state)
    }

    /// Names some of the pods.
    pub(super) fn pods(&self) -> String {
        few(&self.users)
    }

    /// Why a file that nobody wants any more has to stay: until the operator has looked at the pods
    /// and knows of none. What it knew before may be old, because it may be away.
    pub(super) fn needs(&self) -> Option<String> {
        if !self.users.is_empty() {
            return Some(format!("until these pods are gone: {}", self.pods()));
        }
        let Word {
            state,
            reason,
            generation,
        } = &self.word;
        let has_seen = generation.is_some() && *generation == self.generation;
        let has_looked = match self.intent {
            // A label makes no new version.
            Intent::Partial => *state == Some(ProfileStatus::Partial),
            // Nor does the configuration.
            Intent::Install(_) => has_seen && reason.as_deref() == Some(NOT_ALLOWED),
            _ => has_seen,
        };
        (!has_looked).then(|| "until the operator says that no pod uses it".to_owned())
    }

    /// Whether this node had the very version that it is to have now.
    pub(super) fn had_this(&self) -> bool {
        let Some(status) = &self.status else {
            return false;
        };
        let reason = status.reason.as_deref();
        status.observed_generation.is_some()
            && status.observed_generation == self.generation
            && match status.status {
                Some(ProfileStatus::Installed) => reason.is_none(),
                Some(ProfileStatus::Error) => reason == Some(Reason::NoLongerAllowed.name()),
                _ => false,
            }
    }
}
