//! `ProfileBinding`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::ProfileKind;
use super::schema;

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
pub struct ProfileBindingSpec {
    /// The profile.
    pub profile_ref: ProfileRef,
    /// The image whose containers are meant, as the pod names it; `*` means every image.
    #[schemars(
        length(min = 1),
        extend("x-kubernetes-validations" = [{
            "rule": "self.trim() == self",
            "message": "no pod can have an image that begins or ends with white space: remove it"
        }])
    )]
    pub image: String,
    /// The pods that are meant; none means every pod of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::checked_selector")]
    pub pod_selector: Option<LabelSelector>,
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
    /// The pods that the binding changed, as `namespace/pod`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub active_workloads: Vec<String>,
}
