//! Does it.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::observe::{MANAGED_BY, error};
use super::plan::{Plan, Trust, Write};
use super::{AUTHORITY, CertificatesError, METRICS, WEBHOOK};
use crate::api::webhooks::{MUTATING, VALIDATING};
use crate::cluster::MANAGER;
use crate::server::certificates::Stored;

pub(super) async fn apply(
    client: &Client,
    namespace: &str,
    plan: Plan,
) -> Result<(), CertificatesError> {
    let Plan {
        authority,
        mutating,
        validating,
        webhook,
        metrics,
        due: _,
    } = plan;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    put(&secrets, AUTHORITY, authority).await?;
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    teach(&api, MUTATING, mutating).await?;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    teach(&api, VALIDATING, validating).await?;
    put(&secrets, WEBHOOK, webhook).await?;
    put(&secrets, METRICS, metrics).await
}

async fn put(
    secrets: &Api<Secret>,
    name: &'static str,
    write: Option<Write>,
) -> Result<(), CertificatesError> {
    let Some(write) = write else {
        return Ok(());
    };
    let Write {
        stored,
        version,
        reason,
    } = write;
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let secret = secret(name, stored, version);
    let written = if secret.metadata.resource_version.is_some() {
        secrets.replace(name, &params, &secret).await
    } else {
        secrets.create(&params, &secret).await
    };
    written.map_err(|source| error(name, source))?;
    tracing::info!(name, ?reason, "wrote a certificate");
    Ok(())
}

fn secret(name: &str, stored: Stored, version: Option<String>) -> Secret {
    let Stored {
        certificate,
        key,
        bundle,
    } = stored;
    let labels = [("app", MANAGER), (MANAGED_BY, MANAGER)];
    let data = [
        ("tls.crt", certificate),
        ("tls.key", key),
        ("ca.crt", bundle),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            resource_version: version,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.map(|(key, value)| (key.to_owned(), ByteString(value)))
                .into(),
        ),
        ..Secret::default()
    }
}

async fn teach<K>(
    api: &Api<K>,
    name: &'static str,
    trust: Option<Trust>,
) -> Result<(), CertificatesError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let Some(Trust {
        bundle,
        version,
        webhooks,
    }) = trust
    else {
        return Ok(());
    };
    let bundle = ByteString(bundle);
    let webhooks: Vec<_> = webhooks
        .iter()
        .map(|name| json!({ "name": name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    // Entries of this list are merged by their names.
    let patch = json!({ "metadata": { "resourceVersion": version }, "webhooks": webhooks });
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Strategic(&patch))
        .await
        .map_err(|source| error(name, source))?;
    tracing::info!(name, "webhooks trust other authorities now");
    Ok(())
}
