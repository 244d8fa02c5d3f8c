//! Bindings: which images they mean, which of them counts for a container, and what they came to.
//!
//! A pod's annotation says which bindings gave it which profiles. The webhook writes it when the pod is made;
//! whoever asks what a binding did reads it.
//!
//! Ephemeral containers are not in it: a request that adds one cannot change a pod's annotations.
//! What they were given stands in their own fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SeccompProfile;
use super::common::ProfileKind;
use super::profile_binding::BindingMode;
use crate::profile::named::named;

pub mod choice;
pub mod image;

/// On a pod: what bindings gave it, as [`Applied::joined`] writes it.
pub const BINDINGS: &str = "spo.x-k8s.io/bindings";
/// On each pod with that annotation, so that it is found.
pub const BOUND_POD: &str = "spo.x-k8s.io/bound";
/// The scheduling gate of a pod that waits for profiles, from Kubernetes 1.27 on. The operator
/// removes it.
pub const GATE: &str = "spo.x-k8s.io/profile-installed";

named! {
    /// What a binding came to.
    Outcome, "an outcome" {
        /// The containers run under the profile, which nodes have.
        Bound = "Bound",
        /// They run under the profile, as soon as a node has it.
        Waiting = "Waiting",
        /// No node has the profile, and they run under the runtime's own.
        RuntimeDefault = "RuntimeDefault",
    }
}

/// The profile whose complain form this is: it was made for it, or for one that had its name.
pub fn complains_for(form: &ObjectMeta) -> Option<&str> {
    let owners = form.owner_references.iter().flatten();
    let mut owners = owners
        .filter(|owner| owner.controller == Some(true) && owner.kind == SeccompProfile::kind(&()));
    owners.next().map(|owner| owner.name.as_str())
}

/// One binding that counted for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The binding, as `namespace/name`.
    pub binding: String,
    /// The profile's kind.
    pub kind: ProfileKind,
    /// The profile's name.
    pub profile: String,
    /// Whether the profile is enforced.
    pub mode: BindingMode,
    /// The containers that it counts for; none means the pod as a whole.
    #[serde(default)]
    pub containers: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Applied {
    /// What an annotation's value says. What cannot be read, such as a word of a newer version, is
    /// left out.
    pub fn all(value: &str) -> Vec<Self> {
        let list: Vec<Value> = serde_json::from_str(value).unwrap_or_default();
        let list = list.into_iter();
        list.filter_map(|one| serde_json::from_value(one).ok())
            .collect()
    }

    /// An annotation's value.
    pub fn joined(all: &[Self]) -> String {
        // Names and words always become JSON.
        serde_json::to_string(all).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value = r#"[{"binding":"shop/web","kind":"SeccompProfile","profile":"web","mode":"Complain","containers":["a","b"],"outcome":"Waiting"},{"binding":"spo/all","kind":"SelinuxProfile","profile":"all","mode":"Enforce","containers":[],"outcome":"Bound"}]"#;
        let all = Applied::all(value);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].containers, ["a", "b"]);
        assert_eq!(Applied::joined(&all), value);
    }

    #[test]
    fn what_a_newer_version_says_does_not_hide_the_rest() {
        let value = r#"[
            {"binding":"a/b","kind":"LandlockProfile","profile":"p","mode":"Enforce","outcome":"Bound"},
            {"binding":"a/c","kind":"SeccompProfile","profile":"p","mode":"Enforce","outcome":"Bound","more":1}
        ]"#;
        let all = Applied::all(value);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].binding, "a/c");
        for text in ["", "{}", "[", "null", "[null, 1]"] {
            assert_eq!(Applied::all(text), [], "{text}");
        }
    }
}
