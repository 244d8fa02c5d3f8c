//! What there is.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Api, Client};

use super::{AUTHORITY, CertificatesError, METRICS, WEBHOOK};
use crate::api::webhooks::{MUTATING, VALIDATING};
use crate::cluster::MANAGER;
use crate::server::certificates::{Stored, end};

/// The label of what we keep.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What cert-manager writes on the Secret of a Certificate.
const TAKEN_OVER: &str = "cert-manager.io/certificate-name";
/// By these, others fill in what clients trust.
pub(in crate::controller) const INJECTED: [&str; 2] = [
    "cert-manager.io/inject-ca-from",
    "service.beta.openshift.io/inject-cabundle",
];

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    pub(super) authority: Seen,
    pub(super) webhook: Seen,
    pub(super) metrics: Seen,
    pub(super) mutating: Option<Registration>,
    pub(super) validating: Option<Registration>,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Seen {
    /// It is not there.
    #[default]
    Missing,
    /// It is ours.
    Ours {
        stored: Stored,
        /// Only this version of it is changed.
        version: Option<String>,
    },
    /// Somebody else keeps it.
    Foreign {
        /// `tls.crt`
        certificate: Vec<u8>,
    },
}

impl Observed {
    /// Until when each certificate is valid; nothing if there is none.
    pub(super) fn ends(&self) -> [(&'static str, Option<Timestamp>); 3] {
        let all = [
            (AUTHORITY, &self.authority),
            (WEBHOOK, &self.webhook),
            (METRICS, &self.metrics),
        ];
        all.map(|(name, seen)| {
            let certificate = match seen {
                Seen::Missing => return (name, None),
                Seen::Ours { stored, .. } => &stored.certificate,
                Seen::Foreign { certificate } => certificate,
            };
            (name, end(certificate))
        })
    }
}

/// An object that registers webhooks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Registration {
    pub(super) version: Option<String>,
    /// Whether somebody else fills in what is trusted.
    pub(super) injected: bool,
    /// Each webhook's name, and what is trusted to be it.
    pub(super) webhooks: Vec<(String, Vec<u8>)>,
}

pub(super) async fn observe(
    client: &Client,
    namespace: &str,
) -> Result<Observed, CertificatesError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = async |name: &'static str| {
        let found = secrets.get_opt(name).await;
        found.map(seen).map_err(|source| error(name, source))
    };
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let mutating = mutating.get_opt(MUTATING).await;
    let mutating = mutating.map_err(|source| error(MUTATING, source))?;
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let validating = validating.get_opt(VALIDATING).await;
    let validating = validating.map_err(|source| error(VALIDATING, source))?;
    Ok(Observed {
        authority: secret(AUTHORITY).await?,
        webhook: secret(WEBHOOK).await?,
        metrics: secret(METRICS).await?,
        mutating: mutating.map(|object| {
            let webhooks = object.webhooks.unwrap_or_default().into_iter();
            let webhooks = webhooks.map(|webhook| (webhook.name, webhook.client_config));
            registration(object.metadata, webhooks)
        }),
        validating: validating.map(|object| {
            let webhooks = object.webhooks.unwrap_or_default().into_iter();
            let webhooks = webhooks.map(|webhook| (webhook.name, webhook.client_config));
            registration(object.metadata, webhooks)
        }),
    })
}

pub(super) fn error(what: &'static str, source: kube::Error) -> CertificatesError {
    CertificatesError::Cluster { what, source }
}

fn seen(secret: Option<Secret>) -> Seen {
    let Some(secret) = secret else {
        return Seen::Missing;
    };
    let labels = secret.metadata.labels.unwrap_or_default();
    let annotations = secret.metadata.annotations.unwrap_or_default();
    let mut data = secret.data.unwrap_or_default();
    let mut take = |key: &str| data.remove(key).unwrap_or_default().0;
    // Whoever takes over what we made leaves our label on it.
    let taken_over = annotations.contains_key(TAKEN_OVER);
    if taken_over || labels.get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
        return Seen::Foreign {
            certificate: take("tls.crt"),
        };
    }
    Seen::Ours {
        stored: Stored {
            certificate: take("tls.crt"),
            key: take("tls.key"),
            bundle: take("ca.crt"),
        },
        version: secret.metadata.resource_version,
    }
}

fn registration(
    metadata: ObjectMeta,
    webhooks: impl Iterator<Item = (String, WebhookClientConfig)>,
) -> Registration {
    let annotations = metadata.annotations.unwrap_or_default();
    Registration {
        version: metadata.resource_version,
        injected: INJECTED.iter().any(|key| annotations.contains_key(*key)),
        webhooks: webhooks
            .map(|(name, client)| (name, client.ca_bundle.unwrap_or_default().0))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Secret {
        let owned = |all: &[(&str, &str)]| {
            let all = all.iter();
            Some(
                all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            )
        };
        Secret {
            metadata: ObjectMeta {
                labels: owned(labels),
                annotations: owned(annotations),
                ..ObjectMeta::default()
            },
            ..Secret::default()
        }
    }

    #[test]
    fn what_cert_manager_takes_over_is_no_longer_ours() {
        let ours = [(MANAGED_BY, MANAGER)];
        let is_ours = |secret| matches!(seen(Some(secret)), Seen::Ours { .. });
        assert!(is_ours(secret(&ours, &[("a", "b")])));
        assert!(!is_ours(secret(&[], &[])));
        assert!(!is_ours(secret(&ours, &[(TAKEN_OVER, "webhook-cert")])));
    }
}
