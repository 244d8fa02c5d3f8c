//! The objects that make the API server ask a webhook. They are of the whole cluster, so that
//! nothing can own them. What is trusted in them is kept by `controller::certificates`.

use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::core::ClusterResourceScope;
use kube::{Client, Error, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::daemon::SecurityProfilesOperatorDaemonSpec;
use crate::api::names::digest;
use crate::api::webhooks::{MUTATING, Reach, SERVICE, mutating, validating};
use crate::cluster::MANAGER;

/// What an object was made of, as a digest.
const HASH: &str = "spo.x-k8s.io/configuration-hash";

/// An object that registers webhooks.
trait Registration:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
    /// Each webhook's name, and how it is reached.
    fn webhooks(&mut self) -> impl Iterator<Item = (&str, &mut WebhookClientConfig)>;
}

impl Registration for ValidatingWebhookConfiguration {
    fn webhooks(&mut self) -> impl Iterator<Item = (&str, &mut WebhookClientConfig)> {
        let webhooks = self.webhooks.iter_mut().flatten();
        webhooks.map(|webhook| (&*webhook.name, &mut webhook.client_config))
    }
}

impl Registration for MutatingWebhookConfiguration {
    fn webhooks(&mut self) -> impl Iterator<Item = (&str, &mut WebhookClientConfig)> {
        let webhooks = self.webhooks.iter_mut().flatten();
        webhooks.map(|webhook| (&*webhook.name, &mut webhook.client_config))
    }
}

/// Creates the objects, or makes them what they are to be. The one that changes pods is there only
/// while something is recorded: pods are refused while nobody answers it.
pub(super) async fn register(
    client: &Client,
    namespace: &str,
    spec: &SecurityProfilesOperatorDaemonSpec,
) -> Result<(), Error> {
    let options = spec.webhook.as_ref();
    let options = options.map_or(&[][..], |webhook| &webhook.options);
    let enricher = spec.enricher.as_ref();
    let records = enricher
        .is_some_and(|enricher| enricher.enable_bpf_recorder || enricher.enable_log_enricher);
    let reach = Reach::Service(namespace.to_owned());
    write(client, validating(&reach, namespace, None, options)).await?;
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    match api.get_opt(MUTATING).await? {
        Some(live) if !live.annotations().contains_key(HASH) => {
            tracing::warn!(
                object = MUTATING,
                "it is not ours, and stays: pods are not marked that are recorded"
            );
            Ok(())
        }
        Some(live) if !records => delete(&api, &live).await.map(drop),
        _ if records => write(client, mutating(&reach, None, options)).await,
        _ => Ok(()),
    }
}

async fn write<R: Registration>(client: &Client, mut wanted: R) -> Result<(), Error> {
    let api: Api<R> = Api::all(client.clone());
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let name = wanted.name_any();
    let hash = digest(serde_json::to_vec(&wanted).map_err(Error::SerdeError)?);
    wanted
        .annotations_mut()
        .insert(HASH.to_owned(), hash.clone());
    match api.get_opt(&name).await? {
        None => drop(api.create(&parameters, &wanted).await?),
        Some(mut live) => {
            if !is_current(&mut live, &mut wanted, &hash) {
                let wanted = with_trust(wanted, live);
                api.replace(&name, &parameters, &wanted).await?;
            }
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
    if !delete(&api, &object).await? {
        return Ok(Vec::new());
    }
    let webhooks = object.webhooks.unwrap_or_default().into_iter();
    Ok(webhooks.map(|webhook| webhook.name).collect())
}

/// Deletes the object as it was seen; whether it was there.
async fn delete(
    api: &Api<MutatingWebhookConfiguration>,
    object: &MutatingWebhookConfiguration,
) -> Result<bool, Error> {
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: object.resource_version(),
        }),
        ..DeleteParams::default()
    };
    match api.delete(MUTATING, &parameters).await {
        Err(Error::Api(status)) if status.is_not_found() => Ok(false),
        result => result.map(|_| true),
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
fn is_current<R: Registration>(live: &mut R, wanted: &mut R, hash: &str) -> bool {
    let known = live.annotations().get(HASH);
    let same = known.is_some_and(|known| known == hash);
    let names = |(name, _): (&str, _)| name.to_owned();
    same && live.webhooks().map(names).eq(wanted.webhooks().map(names))
}

/// What was trusted stays, and so does the version, so that nobody's change is undone unseen.
fn with_trust<R: Registration>(mut wanted: R, mut live: R) -> R {
    for (name, config) in wanted.webhooks() {
        let trusted = live
            .webhooks()
            .find_map(|(known, config)| (known == name).then(|| config.ca_bundle.clone()));
        config.ca_bundle = trusted.flatten();
    }
    let foreign = live.annotations().clone();
    for (key, value) in foreign {
        wanted.annotations_mut().entry(key).or_insert(value);
    }
    wanted.meta_mut().resource_version = live.resource_version();
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
        assert!(!is_current(&mut live, &mut new, "new"));
        let mut merged = with_trust(new, live);
        let webhooks = merged.webhooks.as_ref().unwrap();
        assert_eq!(webhooks[0].client_config.ca_bundle, trusted);
        assert_eq!(webhooks[1].client_config.ca_bundle, None);
        assert_eq!(merged.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(merged.annotations()[HASH], "new");
        assert_eq!(merged.annotations()["theirs"], "1");
        assert!(is_current(&mut merged.clone(), &mut merged, "new"));
        let mut fewer = {
            let mut fewer = merged.clone();
            fewer.webhooks.as_mut().unwrap().pop();
            fewer
        };
        assert!(!is_current(&mut fewer, &mut merged, "new"));
    }
}
