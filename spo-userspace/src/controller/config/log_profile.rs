//! The profile under which containers run that are recorded by audit records.

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::api::SeccompProfile;
use crate::api::names::LOG_PROFILE;
use crate::cluster::MANAGER;

/// It allows all calls and logs them; 32-bit ones too, which filters that do not name them kill.
fn profile() -> Value {
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SeccompProfile",
        "metadata": { "name": LOG_PROFILE, "labels": { "app": MANAGER } },
        "spec": {
            "defaultAction": "SCMP_ACT_LOG",
            "architectures": [
                "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
                "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
            ],
        },
    })
}

/// Makes it if there is none. It is never changed, and never deleted: pods may run under it.
pub(super) async fn ensure(client: &Client) -> Result<(), Error> {
    let kind = ApiResource::erase::<SeccompProfile>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    if api.get_metadata_opt(LOG_PROFILE).await?.is_some() {
        return Ok(());
    }
    let object = serde_json::from_value(profile()).map_err(Error::SerdeError)?;
    match api.create(&PostParams::default(), &object).await {
        Err(Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn it_is_one_that_check_finds_nothing_wrong_with() {
        let found = api::check("profile.yaml", profile().to_string().as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }
}
