//! The object that makes the API server ask the webhook. It is of the whole cluster, so that
//! nothing can own it. What is trusted in it is kept by `controller::certificates`.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, PostParams};
use kube::{Client, Error, ResourceExt as _};

use crate::api::daemon::WebhookOptions;
use crate::api::names::digest;
use crate::api::webhooks::{Reach, VALIDATING, validating};
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
