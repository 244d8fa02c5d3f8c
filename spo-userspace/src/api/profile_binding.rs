//! `ProfileBinding`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::ProfileKind;
use super::schema;
use crate::profile::named::named;

named! {
    /// Whether a bound profile denies.
    BindingMode, "a mode" {
        /// What the profile does not allow is only logged.
        Complain = "Complain",
        /// What the profile does not allow is denied.
        Enforce = "Enforce",
    }
}

named! {
    /// What a pod gets while no node has the profile.
    WhenNotInstalled, "a policy" {
        /// The pod waits for a node that has it.
        Wait = "Wait",
        /// The pod is refused.
        Refuse = "Refuse",
        /// The pod runs under the runtime's own profile.
        RuntimeDefault = "RuntimeDefault",
    }
}

/// Puts the containers of an image under a profile.
#[derive(Clone, Debug, PartialEq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "security-profiles-operator.x-k8s.io",
    version = "v1",
    kind = "ProfileBinding",
    plural = "profilebindings",
    category = "spo",
    namespaced,
    status = "ProfileBindingStatus",
    derive = "PartialEq",
    doc = "Puts the containers of an image, in the binding's namespace, under a profile."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.mode) || self.mode != 'Complain' || self.profileRef.kind == 'SeccompProfile'",
    "message": "only a SeccompProfile has a complain form: set the mode of the profile itself"
}]))]
pub struct ProfileBindingSpec {
    /// The profile.
    pub profile_ref: ProfileRef,
    /// The image whose containers are meant: its name as pods write it, such as `nginx:1.27`, with a
    /// digest, or a pattern in which `*` means any characters; `*` alone means every image.
    #[schemars(
        length(min = 1),
        extend("x-kubernetes-validations" = [
            {
                "rule": "self.trim() == self",
                "message": "no pod can have an image that begins or ends with white space: remove it"
            },
            {
                "rule": "self.trim() != self || self.matches('^[A-Za-z0-9*+._/:@-]*$')",
                "message": "no image has such a name: use letters, digits and the characters + . _ / : @ - only, and * for any of them"
            },
            {
                "rule": "self.contains('*') || !self.contains('@') || self.matches('^[^@]+@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,}$')",
                "message": "no image has such a digest: give it whole, as in web@sha256: and 64 digits"
            }
        ])
    )]
    pub image: String,
    /// The pods that are meant; none means every pod of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub pod_selector: Option<LabelSelector>,
    /// Whether what the profile does not allow is denied, or only logged; without it, it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<BindingMode>,
    /// The namespaces whose pods are meant, by their labels; an empty one means all that opted in.
    /// Only bindings in the operator's own namespace may have it. Without it, the binding is for the
    /// pods of its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// What a pod gets while no node has the profile: it waits for one that has it, it is refused, or
    /// it runs under the runtime's own profile. Without it, the pod waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_not_installed: Option<WhenNotInstalled>,
}

impl ProfileBindingSpec {
    /// `mode`, or what it is without it.
    pub fn mode(&self) -> BindingMode {
        self.mode.unwrap_or(BindingMode::Enforce)
    }

    /// `when_not_installed`, or what it is without it.
    pub fn when_not_installed(&self) -> WhenNotInstalled {
        self.when_not_installed.unwrap_or(WhenNotInstalled::Wait)
    }
}

/// A profile by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRef {
    /// The profile's kind.
    pub kind: ProfileKind,
    /// The profile's name.
    #[schemars(
        length(min = 1),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
            "message": "no profile can have this name: give the metadata.name of one"
        }])
    )]
    pub name: String,
}

/// What is known about a binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileBindingStatus {
    /// The pods that the binding changed, as `namespace/pod`: the first 500 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
    /// How many pods they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub pods: Option<u32>,
}
