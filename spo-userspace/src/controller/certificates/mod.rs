//! Keeps the certificates of our servers current, and what clients trust: the Secrets
//! `webhook-server-cert` and `metrics-server-cert` in the operator's namespace, the Secret of the
//! authority that signs them, and the `caBundle` of the webhooks.
//!
//! Secrets that somebody else keeps, such as cert-manager, are left alone.

mod apply;
mod observe;
mod plan;

pub(super) use self::observe::INJECTED;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::webhooks::{MUTATING, VALIDATING};
use crate::cluster::error::told;
use crate::cluster::queue::{Outcome, Queue, queue};
use crate::cluster::watch::{Wish, store, watch};
use crate::server::certificates::MakeError;
use crate::telemetry::metrics::Metrics;

/// The Secret of the authority.
pub const AUTHORITY: &str = "security-profiles-operator-ca";
/// The Secret of the webhooks' certificate.
pub const WEBHOOK: &str = "webhook-server-cert";
/// The Secret of the metrics' certificate.
pub const METRICS: &str = "metrics-server-cert";
/// The services in front of metrics: the daemons', and the operator's.
const METRICS_SERVICES: [&str; 2] = ["metrics", "security-profiles-operator-metrics"];

/// So that many changes at once cost one turn.
const SETTLE: Duration = Duration::from_millis(50);

/// Why something could not be kept current.
#[derive(Debug, Error)]
pub enum CertificatesError {
    /// The API server did not do what was asked. A conflict is somebody else's change.
    #[error("cannot read or write {what}")]
    Cluster {
        /// The object.
        what: &'static str,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// Keeps everything current until `stop`. For the leader; several at once do no harm, and one of
/// them wins.
pub async fn run(
    client: Client,
    namespace: String,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let (words, keys) = queue();
    metrics.queue("certificates", &words);
    let tasks = TaskTracker::new();
    words.add(());
    for name in [AUTHORITY, WEBHOOK, METRICS] {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        tasks.spawn(follow(
            secrets,
            name,
            words.clone(),
            metrics.clone(),
            stop.clone(),
        ));
    }
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    tasks.spawn(follow(
        mutating,
        MUTATING,
        words.clone(),
        metrics.clone(),
        stop.clone(),
    ));
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    tasks.spawn(follow(
        validating,
        VALIDATING,
        words,
        metrics.clone(),
        stop.clone(),
    ));
    tasks.close();
    let work = |()| {
        let (client, namespace) = (client.clone(), namespace.clone());
        let metrics = metrics.clone();
        async move { turn(&client, &namespace, &metrics).await }
    };
    keys.work(1, SETTLE, stop, work).await;
    tasks.wait().await;
}

/// Does once what is to be done now, and tells when the certificates that were found end; returns
/// when there is something to do again.
pub async fn reconcile(
    client: &Client,
    namespace: &str,
    now: Timestamp,
    metrics: &Metrics,
) -> Result<Timestamp, CertificatesError> {
    let observed = observe::observe(client, namespace).await?;
    for (name, until) in observed.ends() {
        metrics.certificate_ends(name, until);
    }
    let plan = plan::plan(&observed, namespace, now)?;
    let due = plan.due;
    apply::apply(client, namespace, plan).await?;
    Ok(due)
}

async fn turn(client: &Client, namespace: &str, metrics: &Metrics) -> Outcome {
    let now = Timestamp::now();
    match reconcile(client, namespace, now, metrics).await {
        Ok(due) => {
            let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
            // Clocks may be set; a day's error does no harm to what lasts for months.
            Outcome::Again(wait.clamp(Duration::from_secs(1), Duration::from_hours(24)))
        }
        Err(CertificatesError::Cluster {
            source: kube::Error::Api(status),
            ..
        }) if status.is_conflict() || status.is_already_exists() => Outcome::Failed,
        Err(error) => {
            tracing::warn!(error = told(&error), "the certificates are not current");
            Outcome::Failed
        }
    }
}

/// Puts a word into the queue whenever an object changes.
async fn follow<K>(
    api: Api<K>,
    name: &str,
    words: Queue<()>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let wish = Wish {
        fields: Some(format!("metadata.name={name}")),
        ..Wish::default()
    };
    let (_store, writer) = store();
    let failed = |resource: &str| metrics.watch_failed(resource);
    watch(api, wish, writer, stop, |_| true, |_| words.add(()), failed).await;
}
