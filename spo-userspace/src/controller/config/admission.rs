//! The objects that make the API server ask a webhook. They are of the whole cluster, so that
//! nothing can own them. What is trusted in them is kept by `controller::certificates`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Api, PostParams};
use kube::core::ClusterResourceScope;
use kube::{Client, Error, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::daemon::SecurityProfilesOperatorDaemonSpec;
use crate::api::names::digest;
use crate::api::webhooks::{MUTATING, Reach, SERVICE, mutating, validating};
use crate::cluster::MANAGER;
use crate::controller::certificates::INJECTED;

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

/// What a webhook that is new trusts: what the others do.
#[derive(Clone, Debug, Default)]
struct Trust {
    bundle: Option<ByteString>,
    /// Annotations by which somebody else fills it in.
    injected: BTreeMap<String, String>,
}

/// Creates the objects, or makes them what they are to be.
pub(super) async fn register(
    client: &Client,
    namespace: &str,
    spec: &SecurityProfilesOperatorDaemonSpec,
) -> Result<(), Error> {
    let options = spec.webhook.as_ref();
    let options = options.map_or(&[][..], |webhook| &webhook.options);
    let reach = Reach::Service(namespace.to_owned());
    let wanted = validating(&reach, namespace, None, options);
    let written = write(client, wanted, &Trust::default()).await?;
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    match api.get_opt(MUTATING).await? {
        Some(live) if !live.annotations().contains_key(HASH) => {
            tracing::warn!(
                object = MUTATING,
                "it is not ours, and stays: no pod gets a profile by a binding, and none is marked that is recorded"
            );
            Ok(())
        }
        _ => {
            let trust = trust_of(written);
            write(client, changing_pods(namespace, spec), &trust)
                .await
                .map(drop)
        }
    }
}

/// The object that registers the webhooks that change pods.
fn changing_pods(
    namespace: &str,
    spec: &SecurityProfilesOperatorDaemonSpec,
) -> MutatingWebhookConfiguration {
    let options = spec.webhook.as_ref();
    let options = options.map_or(&[][..], |webhook| &webhook.options);
    let enricher = spec.enricher.as_ref();
    let records = enricher
        .is_some_and(|enricher| enricher.enable_bpf_recorder || enricher.enable_log_enricher);
    let reach = Reach::Service(namespace.to_owned());
    mutating(&reach, namespace, None, options, records)
}

fn trust_of<R: Registration>(mut live: R) -> Trust {
    let injected = live.annotations().clone().into_iter();
    let injected = injected.filter(|(key, _)| INJECTED.contains(&key.as_str()));
    let injected = injected.collect();
    let mut bundles = live.webhooks().map(|(_, config)| config.ca_bundle.clone());
    Trust {
        bundle: bundles.next().flatten(),
        injected,
    }
}

/// Writes an object, and returns it as it is then.
async fn write<R: Registration>(client: &Client, mut wanted: R, trust: &Trust) -> Result<R, Error> {
    let api: Api<R> = Api::all(client.clone());
    let name = wanted.name_any();
    let hash = mark(&mut wanted)?;
    let Some(mut live) = api.get_opt(&name).await? else {
        for (_, config) in wanted.webhooks() {
            config.ca_bundle.clone_from(&trust.bundle);
        }
        wanted.annotations_mut().extend(trust.injected.clone());
        return api.create(&written_by_us(), &wanted).await;
    };
    if is_current(&mut live, &mut wanted, &hash) {
        return Ok(live);
    }
    let wanted = with_trust(wanted, live, trust);
    api.replace(&name, &written_by_us(), &wanted).await
}

fn written_by_us() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Notes in an object what it was made of, and returns that.
fn mark<R: Registration>(wanted: &mut R) -> Result<String, Error> {
    let hash = digest(serde_json::to_vec(wanted).map_err(Error::SerdeError)?);
    wanted
        .annotations_mut()
        .insert(HASH.to_owned(), hash.clone());
    Ok(hash)
}

/// Puts ours in place of the webhooks by which the reference changes pods, and returns the names of
/// those that nobody answers from now on. Who answers the others meanwhile is asked in the same way, and
/// trusted as before. An object that has a webhook of somebody else stays, and so does one that a newer
/// version of ours made.
pub(super) async fn take_over(
    client: &Client,
    namespace: &str,
    spec: &SecurityProfilesOperatorDaemonSpec,
) -> Result<Vec<String>, Error> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let Some(live) = api.get_opt(MUTATING).await? else {
        return Ok(Vec::new());
    };
    if !is_left_over(&live, namespace) {
        return Ok(Vec::new());
    }
    let names = |object: &MutatingWebhookConfiguration| -> Vec<String> {
        let webhooks = object.webhooks.iter().flatten();
        webhooks.map(|webhook| webhook.name.clone()).collect()
    };
    let mut wanted = changing_pods(namespace, spec);
    mark(&mut wanted)?;
    let (mut gone, kept) = (names(&live), names(&wanted));
    gone.retain(|name| !kept.contains(name));
    let wanted = with_trust(wanted, live, &Trust::default());
    api.replace(MUTATING, &written_by_us(), &wanted).await?;
    Ok(gone)
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
fn with_trust<R: Registration>(mut wanted: R, mut live: R, trust: &Trust) -> R {
    for (name, config) in wanted.webhooks() {
        let trusted = live
            .webhooks()
            .find_map(|(known, config)| (known == name).then(|| config.ca_bundle.clone()));
        config.ca_bundle = trusted.flatten().or_else(|| trust.bundle.clone());
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
    fn who_fills_in_trust_for_one_does_it_for_the_other() {
        let mut live = wanted();
        live.annotations_mut()
            .insert(INJECTED[0].to_owned(), "a/b".to_owned());
        live.annotations_mut()
            .insert(HASH.to_owned(), "x".to_owned());
        let injected: Vec<_> = trust_of(live).injected.into_keys().collect();
        assert_eq!(injected, [INJECTED[0]]);
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
        let mut merged = with_trust(new, live, &Trust::default());
        let webhooks = merged.webhooks.as_ref().unwrap();
        assert_eq!(webhooks[0].client_config.ca_bundle, trusted);
        assert_eq!(webhooks[1].client_config.ca_bundle, None);
        assert_eq!(merged.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(merged.annotations()[HASH], "new");
        assert_eq!(merged.annotations()["theirs"], "1");
        assert!(is_current(&mut merged.clone(), &mut merged, "new"));
        // A new one trusts what the others do.
        let trust = trust_of(merged.clone());
        let mut with_new = merged.clone();
        let webhooks = with_new.webhooks.as_mut().unwrap();
        webhooks[0].name = "new".to_owned();
        let with_new = with_trust(with_new, merged.clone(), &trust);
        let webhooks = with_new.webhooks.as_ref().unwrap();
        assert_eq!(webhooks[0].client_config.ca_bundle, trusted);
        let mut fewer = {
            let mut fewer = merged.clone();
            fewer.webhooks.as_mut().unwrap().pop();
            fewer
        };
        assert!(!is_current(&mut fewer, &mut merged, "new"));
    }
}
