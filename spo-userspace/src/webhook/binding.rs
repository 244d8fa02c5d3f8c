//! Puts containers under the profiles that bindings give them. Pure: what is known is handed in.
//!
//! 1. [`choose()`] finds the binding that counts for each container and each kind of profile.
//! 2. [`decide()`] makes of that, and of how far the profiles got, what the pod is to be.

mod choose;
mod decide;
mod fields;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

use self::fields::Part;
use super::lookup::Server;
use super::review::Answer;
use super::state::Found;
use crate::api::common::ProfileKind;
use crate::api::names::{LOG_PROFILE, complain_form, localhost_profile};
use crate::api::profile_binding::{BindingMode, WhenNotInstalled};
use crate::cluster::events::Note;

pub(super) use self::choose::choose;
pub(super) use self::decide::decide;

const EPHEMERAL: &str = "ephemeralContainers";
const LISTS: [(&str, &str); 3] = [
    ("initContainers", "init container"),
    ("containers", "container"),
    (EPHEMERAL, "ephemeral container"),
];

/// A profile.
pub(super) type Key = (ProfileKind, String);
/// Those that there are of the profiles that were asked for.
pub(super) type Profiles = BTreeMap<Key, Found>;

/// What a binding gives to a part of the pod.
#[derive(Clone, Debug, PartialEq)]
struct Gift {
    /// The binding, as `namespace/name`.
    binding: String,
    object: ObjectReference,
    kind: ProfileKind,
    profile: String,
    mode: BindingMode,
    policy: WhenNotInstalled,
    part: Part,
    /// Whether it is for whatever says nothing itself.
    wildcard: bool,
}

impl Gift {
    /// The profile that the part is to name: the one that is bound, or its complain form.
    fn named(&self) -> String {
        match self.mode {
            BindingMode::Enforce => self.profile.clone(),
            BindingMode::Complain => complain_form(&self.profile),
        }
    }
}

/// Which bindings count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    gifts: Vec<Gift>,
    warnings: Vec<String>,
}

impl Plan {
    /// The profiles that matter, and their complain forms.
    pub(super) fn profiles(&self) -> BTreeSet<Key> {
        let gifts = self.gifts.iter();
        let names = |gift: &Gift| [gift.profile.clone(), gift.named()];
        let keys = gifts.flat_map(|gift| names(gift).map(|name| (gift.kind, name)));
        keys.collect()
    }

    /// The containers that have the profile under which calls are recorded from the audit log, and would lose it.
    pub(super) fn loosened(&self, pod: &Value) -> BTreeSet<String> {
        let log = localhost_profile(LOG_PROFILE);
        let gifts = self.gifts.iter();
        let containers = gifts.filter_map(|gift| match &gift.part {
            Part::Container(list, index, name) if gift.kind == ProfileKind::SeccompProfile => {
                let profile = &pod["spec"][*list][*index]["securityContext"]["seccompProfile"];
                (profile["localhostProfile"] == log.as_str()).then(|| name.clone())
            }
            _ => None,
        });
        containers.collect()
    }
}

/// What else matters.
#[derive(Clone, Debug)]
pub(super) struct Circumstances<'k> {
    /// The labels of the pod's namespace.
    pub(super) labels: Option<&'k BTreeMap<String, String>>,
    pub(super) server: Server,
    /// Containers that are recorded from the audit log, and by which recording.
    pub(super) recorded: &'k BTreeMap<String, String>,
}

/// The answer, and what is written afterwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    pub(super) answer: Answer,
    pub(super) notes: Vec<(ObjectReference, Note)>,
}

#[cfg(test)]
mod tests;
