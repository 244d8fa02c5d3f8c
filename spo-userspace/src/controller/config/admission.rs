//! The objects that make the API server ask a webhook. They are of the whole cluster, so that
//! nothing can own them. What is trusted in them is kept by `controller::certificates`.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, Error, ResourceExt as _};

use crate::api::daemon::WebhookOptions;
use crate::api::names::digest;
use crate::api::webhooks::{MUTATING, Reach, SERVICE, VALIDATING, validating};
use crate::cluster::MANAGER;

/// What the object was made of, as a digest.
const HASH: &str = "spo.x-k8s.io/configuration-hash";

/// Creates the object, or makes it what it is to be.
pub(super) async fn register(
    client: &Client,
    namespace: &str,
    options: &[WebhookOptions],
) -> Result<(), Error> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let reach = Reach::Service(namespace.to_owned());
    let mut wanted = validating(&reach, namespace, None, options);
    let hash = digest(serde_json::to_vec(&wanted).map_err(Error::SerdeError)?);
    wanted
        .annotations_mut()
        .insert(HASH.to_owned(), hash.clone());
    match api.get_opt(VALIDATING).await? {
        None => drop(api.create(&parameters, &wanted).await?),
        Some(live) if is_current(&live, &wanted, &hash) => {}
        Some(live) => {
            let wanted = with_trust(wanted, live);
            api.replace(VALIDATING, &parameters, &wanted).await?;
        }
    }
    Ok(())
}

/// Removes the object by which the reference changes pods, and returns the names of its webhooks:
/// they go to our service, where nobody answers them, and most of them fail then. One that has a
/// webhook of somebody else stays, and so does one that a newer version of ours made.
pub(super) async fn retire(client: &Client, namespace: &str) -> Result<Vec<String>, Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let Some(object) = api.get_opt(MUTATING).await? else {
        return Ok(Vec::new());
    };
    if !is_left_over(&object, namespace) {
        return Ok(Vec::new());
    }
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: object.resource_version(),
        }),
        ..DeleteParams::default()
    };
    match api.delete(MUTATING, &parameters).await {
        Err(Error::Api(status)) if status.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(_) => {
            let webhooks = object.webhooks.unwrap_or_default().into_iter();
            Ok(webhooks.map(|webhook| webhook.name).collect())
        }
    }
}

fn is_left_over(object: &MutatingWebhookConfiguration, namespace: &str) -> bool {
    let mut webhooks = object.webhooks.iter().flatten();
    !object.annotations().contains_key(HASH)
        && webhooks.all(|webhook| {
            let service = webhook.client_config.service.as_ref();
            service.is_some_and(|service| {
                (service.name.as_str(), service.namespace.as_str()) == (SERVICE, namespace)
            })
        })
}

/// The server fills in what a webhook leaves out, so that only names and what it was made of are
/// compared.
fn is_current(
    live: &ValidatingWebhookConfiguration,
    wanted: &ValidatingWebhookConfiguration,
    hash: &str,
) -> bool {
    let names = |object: &ValidatingWebhookConfiguration| {
        let webhooks = object.webhooks.iter().flatten();
        webhooks
            .map(|webhook| webhook.name.clone())
            .collect::<Vec<_>>()
    };
    live.annotations()
        .get(HASH)
        .is_some_and(|known| known == hash)
        && names(live) == names(wanted)
}

/// What was trusted stays, and so does the version, so that nobody's change is undone unseen.
fn with_trust(
    mut wanted: ValidatingWebhookConfiguration,
    live: ValidatingWebhookConfiguration,
) -> ValidatingWebhookConfiguration {
    for webhook in wanted.webhooks.iter_mut().flatten() {
        let mut known = live.webhooks.iter().flatten();
        let known = known.find(|known| known.name == webhook.name);
        webhook.client_config.ca_bundle =
            known.and_then(|known| known.client_config.ca_bundle.clone());
    }
    let foreign = live.annotations().clone();
    for (key, value) in foreign {
        wanted.annotations_mut().entry(key).or_insert(value);
    }
    wanted.metadata.resource_version = live.metadata.resource_version;
    wanted
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn wanted() -> ValidatingWebhookConfiguration {
        validating(&Reach::Service("own".to_owned()), "own", None, &[])
    }

    #[test]
    fn only_what_leads_to_our_service_is_left_over() {
        let object = |namespace: &str, annotation: &str| {
            serde_json::from_value(serde_json::json!({
                "metadata": { "annotations": { annotation: "x" } },
                "webhooks": [{
                    "name": "binding.spo.io",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": { "service": { "name": SERVICE, "namespace": namespace } },
                }],
            }))
            .unwrap()
        };
        assert!(is_left_over(
            &object("own", "cert-manager.io/inject-ca-from"),
            "own"
        ));
        assert!(!is_left_over(&object("other", "a"), "own"));
        assert!(!is_left_over(&object("own", HASH), "own"));
    }

    #[test]
    fn what_is_trusted_stays() {
        let mut live = wanted();
        live.metadata.resource_version = Some("7".to_owned());
        live.annotations_mut()
            .insert("theirs".to_owned(), "1".to_owned());
        live.annotations_mut()
            .insert(HASH.to_owned(), "old".to_owned());
        let trusted = Some(ByteString(b"ca".to_vec()));
        let webhooks = live.webhooks.as_mut().unwrap();
        webhooks[0].client_config.ca_bundle.clone_from(&trusted);
        let mut new = wanted();
        new.annotations_mut()
            .insert(HASH.to_owned(), "new".to_owned());
        assert!(!is_current(&live, &new, "new"));
        let merged = with_trust(new, live);
        let webhooks = merged.webhooks.as_ref().unwrap();
        assert_eq!(webhooks[0].client_config.ca_bundle, trusted);
        assert_eq!(webhooks[1].client_config.ca_bundle, None);
        assert_eq!(merged.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(merged.annotations()[HASH], "new");
        assert_eq!(merged.annotations()["theirs"], "1");
        assert!(is_current(&merged, &merged, "new"));
        let fewer = {
            let mut fewer = merged.clone();
            fewer.webhooks.as_mut().unwrap().pop();
            fewer
        };
        assert!(!is_current(&fewer, &merged, "new"));
    }
}
