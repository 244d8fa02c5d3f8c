//! From the configuration, the object `spod`, to the objects that run: the daemons, the webhook,
//! and the services in front of them. All of them follow from the configuration alone, each time
//! anew; what somebody else changes in them is changed back.

mod admission;
mod apply;
mod grant;
mod initial;
mod log_profile;
mod observe;
mod plan;
mod render;
mod unsupported;
mod watches;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::runtime::reflector::Store;
use kube::{Client, Error, Resource as _};
use tokio_util::sync::CancellationToken;

use self::plan::{Observed, Progress, Written};
use self::render::{Key, Settings, Wanted};
use self::watches::{Stores, Watches};
use super::status::DAEMONS;
use crate::api::names::LOG_PROFILE;
use crate::api::{SecurityProfilesOperatorDaemon, SecurityProfilesOperatorDaemonSpec};
use crate::cluster::error;
use crate::cluster::events::{Events, Note};
use crate::cluster::queue::{Outcome, queue};
use crate::telemetry::metrics::Metrics;

/// How long changes are collected.
const SETTLE: Duration = Duration::from_millis(100);
/// How long until it is looked again whether containers still run that are switched off.
const BESIDE_END: Duration = Duration::from_secs(10);

/// What the controller works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace.
    pub namespace: String,
    /// The kubelet's folder, on the nodes.
    pub kubelet: String,
    /// Whether the webhook's objects are managed as well.
    pub webhook: bool,
    /// Where events go.
    pub events: Events,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// The daemons' pods.
    pub pods: Store<Pod>,
}

/// What this process did so far.
#[derive(Default)]
struct Memory {
    /// What was written.
    written: BTreeMap<Key, Written>,
    /// Whether a configuration was there once, or was made. Whoever deletes it wants it gone.
    configured: bool,
    /// Whether it was said that there is none.
    told: bool,
    /// The generation of which it was said that this version cannot read it.
    unreadable: Option<i64>,
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (queue, keys) = queue();
    context.metrics.queue("configuration", &queue);
    queue.add(());
    let mut watches = Watches::start(&context, queue, stop.clone());
    for part in std::mem::take(&mut watches.complete) {
        tokio::select! {
            () = part.cancelled() => {}
            () = stop.cancelled() => break,
        }
    }
    let stores = watches.stores.clone();
    let (namespace, known) = (context.namespace.clone(), stores.clone());
    context.metrics.gauge(
        "webhook_available_replicas",
        "Replicas of the webhook that answer; NaN where there is no such Deployment.",
        move || {
            let webhook = observe::webhook(&namespace, &known);
            webhook.map_or(f64::NAN, |webhook| f64::from(webhook.available))
        },
    );
    let memory = Arc::new(Mutex::new(Memory::default()));
    let handle = |()| {
        let (context, stores, memory) = (context.clone(), stores.clone(), memory.clone());
        async move { reconcile(&context, &stores, &memory).await }
    };
    keys.work(1, SETTLE, stop, handle).await;
    watches.tasks.join_all().await;
}

async fn reconcile(context: &Context, stores: &Stores, memory: &Mutex<Memory>) -> Outcome {
    let Some(object) = observe::configuration(context, stores) else {
        return without(context, stores, memory).await;
    };
    with(memory, |memory| {
        memory.configured = true;
        memory.told = false;
    });
    if object.meta().deletion_timestamp.is_some() {
        return Outcome::Done;
    }
    let configuration = match &object.0 {
        Ok(configuration) => configuration,
        Err(invalid) => {
            let generation = object.meta().generation.unwrap_or_default();
            return unreadable(context, memory, generation, &invalid.error).await;
        }
    };
    with(memory, |memory| memory.unreadable = None);
    let settings = observe::settings(context, stores, configuration);
    let manages_webhook = context.webhook && !render::is_static(&configuration.spec);
    let taken_over = if manages_webhook {
        take_over(context, &configuration.spec).await
    } else {
        Ok(())
    };
    let enricher = configuration.spec.enricher.clone().unwrap_or_default();
    let records = enricher.enable_bpf_recorder || enricher.enable_log_enricher;
    let granted = grant_all(context, stores, records, configuration.spec.enable_verifier).await;
    let Turn { mut failure, again } = write(context, stores, memory, settings.clone()).await;
    let some_end = granted == Ok(true);
    failure = failure.or(taken_over.err()).or(granted.err());
    if let (Some(settings), true) = (&settings, manages_webhook) {
        let spec = &settings.spec;
        let registered = admission::register(&context.client, &context.namespace, spec).await;
        if let Err(error) = registered {
            let error = error::told(&error);
            tracing::warn!(error, "cannot register the webhook");
            failure.get_or_insert_with(|| format!("cannot register the webhook: {error}"));
        }
    }
    if enricher.enable_log_enricher
        && let Err(error) = log_profile::ensure(&context.client).await
    {
        let error = error::told(&error);
        tracing::warn!(error, "cannot make the profile {LOG_PROFILE}");
        failure.get_or_insert_with(|| format!("cannot make the profile {LOG_PROFILE}: {error}"));
    }
    if let Some(failure) = &failure {
        let reason = match observe::daemons(stores) {
            None => "CannotCreateSPOD",
            Some(_) => "CannotUpdateSPOD",
        };
        tell(context, reason, failure.clone()).await;
    }
    let told = tell_status(
        context,
        stores,
        memory,
        configuration,
        settings.as_ref(),
        failure.clone(),
    );
    match (told.await, failure) {
        (Ok(()), None) if !again && some_end => Outcome::Again(BESIDE_END),
        (Ok(()), None) if !again => Outcome::Done,
        (Ok(()), _) => Outcome::Failed,
        (Err(error), _) => {
            tracing::warn!(
                error = error::told(&error),
                "cannot write the configuration's status"
            );
            Outcome::Failed
        }
    }
}

/// Says who may do what runs beside the daemons; whether that is to be looked at again.
async fn grant_all(
    context: &Context,
    stores: &Stores,
    records: bool,
    verifies: bool,
) -> Result<bool, String> {
    let some_record = grant::settle(context, stores, &grant::RECORDER, records).await;
    let some_verify = grant::settle(context, stores, &grant::VERIFIER, verifies).await;
    Ok(some_record? | some_verify?)
}

/// Tells that this version cannot read the configuration; once for each of its generations.
async fn unreadable(
    context: &Context,
    memory: &Mutex<Memory>,
    generation: i64,
    why: &str,
) -> Outcome {
    if with(memory, |memory| memory.unreadable == Some(generation)) {
        return Outcome::Done;
    }
    let message = format!(
        "this version cannot read the configuration, and the daemons stay as they are: {why}"
    );
    let now = k8s_openapi::jiff::Timestamp::now();
    let status = plan::unreadable(generation, message.clone(), now);
    tell(context, "CannotUpdateSPOD", message).await;
    match apply::write_status(&context.client, &context.namespace, &status).await {
        Ok(()) => {
            with(memory, |memory| memory.unreadable = Some(generation));
            Outcome::Done
        }
        Err(error) => {
            tracing::warn!(
                error = error::told(&error),
                "cannot write the configuration's status"
            );
            Outcome::Failed
        }
    }
}

/// Takes over the webhooks of the reference before the Deployment is replaced that answers them.
async fn take_over(
    context: &Context,
    spec: &SecurityProfilesOperatorDaemonSpec,
) -> Result<(), String> {
    let gone = admission::take_over(&context.client, &context.namespace, spec).await;
    let gone = gone.map_err(|error| {
        let error = error::told(&error);
        tracing::warn!(error, "cannot take over the webhooks of an older operator");
        format!(
            "cannot take over the webhooks of an older operator, for which pods may be refused: {error}"
        )
    })?;
    if !gone.is_empty() {
        let message = format!(
            "removed webhooks of an older operator that this version, or its configuration, does not have: {}",
            gone.join(", ")
        );
        tracing::warn!(message, "told");
        tell(context, "RemovedWebhooks", message).await;
    }
    Ok(())
}

/// Makes the configuration that a cluster has at first.
async fn without(context: &Context, stores: &Stores, memory: &Mutex<Memory>) -> Outcome {
    let (configured, told) = with(memory, |memory| {
        let told = std::mem::replace(&mut memory.told, memory.configured);
        (memory.configured, told)
    });
    if configured {
        if !told {
            tracing::info!(
                "the configuration {DAEMONS} was deleted: the daemons go, and profiles stay as they are"
            );
        }
        return match grant_all(context, stores, false, false).await {
            Ok(true) => Outcome::Again(BESIDE_END),
            Ok(false) => Outcome::Done,
            Err(_) => Outcome::Failed,
        };
    }
    let object = initial::configuration(&context.namespace);
    match apply::create_configuration(&context.client, &context.namespace, object).await {
        Ok(()) => {
            tracing::info!("made the configuration {DAEMONS}");
            Outcome::Done
        }
        Err(error) => {
            tracing::warn!(
                error = error::told(&error),
                "cannot make the configuration {DAEMONS}"
            );
            Outcome::Failed
        }
    }
}

/// What came of writing.
#[derive(Default)]
struct Turn {
    /// What could not be written, and why.
    failure: Option<String>,
    /// Whether somebody else was faster, or something is not there yet: that is no failure, and
    /// another turn is needed.
    again: bool,
}

/// Writes what is due.
async fn write(
    context: &Context,
    stores: &Stores,
    memory: &Mutex<Memory>,
    settings: Option<Settings>,
) -> Turn {
    let observed = Observed {
        settings,
        live: observe::live(stores),
        written: with(memory, |memory| memory.written.clone()),
    };
    let kept = plan::kept(&observed);
    with(memory, |memory| memory.written = kept);
    let mut turn = Turn::default();
    for wanted in plan::writes(&observed) {
        let key = wanted.key();
        match apply::write(&context.client, &context.namespace, &wanted).await {
            Ok(written) => {
                tracing::info!(object = key, "wrote an object");
                with(memory, |memory| memory.written.insert(key, written));
            }
            Err(error) if wanted.defined && is_not_found(&error) => {
                tracing::info!(object = key, "objects of this kind are not served yet");
                turn.again = true;
            }
            Err(error) if wanted.optional && is_not_found(&error) => {
                tracing::warn!(
                    object = key,
                    "the cluster does not know objects of this kind, and has none"
                );
                with(memory, |memory| memory.written.insert(key, absent(&wanted)));
            }
            Err(Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                tracing::debug!(object = key, "changed by somebody else in between");
                turn.again = true;
            }
            Err(error) => {
                let advice = if is_about_selector(&error) {
                    "; delete it, and it is made anew: its pods are none of a user's"
                } else {
                    ""
                };
                let error = error::told(&error);
                tracing::warn!(object = key, error, "cannot write an object");
                let failure = || format!("cannot write {key}: {error}{advice}");
                turn.failure.get_or_insert_with(failure);
            }
        }
    }
    turn
}

async fn tell_status(
    context: &Context,
    stores: &Stores,
    memory: &Mutex<Memory>,
    configuration: &SecurityProfilesOperatorDaemon,
    settings: Option<&Settings>,
    failure: Option<String>,
) -> Result<(), Error> {
    let key = render::key("DaemonSet", DAEMONS);
    let written = with(memory, |memory| memory.written.get(&key).cloned());
    let known = configuration.status.clone().unwrap_or_default();
    let progress = Progress {
        generation: configuration.meta().generation.unwrap_or_default(),
        known: &known,
        settings,
        failure,
        daemons: observe::daemons(stores),
        written: written.map_or(0, |written| written.version.number),
        webhook: observe::webhook(&context.namespace, stores),
        unready: observe::unready(&context.pods),
        now: k8s_openapi::jiff::Timestamp::now(),
    };
    match plan::status(&progress) {
        Some(status) => apply::write_status(&context.client, &context.namespace, &status).await,
        None => Ok(()),
    }
}

async fn tell(context: &Context, reason: &str, message: String) {
    let object = ObjectReference {
        api_version: Some(SecurityProfilesOperatorDaemon::api_version(&()).into_owned()),
        kind: Some(SecurityProfilesOperatorDaemon::kind(&()).into_owned()),
        name: Some(DAEMONS.to_owned()),
        namespace: Some(context.namespace.clone()),
        ..ObjectReference::default()
    };
    let note = Note {
        warning: true,
        reason: reason.to_owned(),
        message,
    };
    context.events.tell(&object, note).await;
}

/// Remembers that an object cannot be.
fn absent(wanted: &Wanted) -> Written {
    Written {
        hash: wanted.hash.clone(),
        version: plan::Version::default(),
    }
}

/// Whether the object has another selector, which nobody can change.
fn is_about_selector(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 422 && status.message.contains("spec.selector"))
}

/// Where a whole group is not served, the answer has nothing but the code.
fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

fn with<T>(memory: &Mutex<Memory>, change: impl FnOnce(&mut Memory) -> T) -> T {
    change(&mut memory.lock().unwrap_or_else(PoisonError::into_inner))
}
