//! What a verifier tells: numbers, and events about pods and profiles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::LookError;
use crate::api::SeccompProfile;
use crate::cluster::error;
use crate::cluster::events::{Events, Note, pod_reference};
use crate::profile::diagnostic::escape;
use crate::services::recorder::number;
use crate::telemetry::metrics::Metrics;
use crate::verify::{Bindings, Container, File, FileState, Report, State, Told, Turn};

/// What is counted.
pub(super) struct Numbers {
    node: String,
    containers: IntGaugeVec,
    files: IntGaugeVec,
    findings: IntCounterVec,
    /// When the last look was, in seconds since 1970.
    last: Arc<AtomicU64>,
}

impl Numbers {
    pub(super) fn new(node: &str, metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let gauges =
            |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["node", "state"]);
        let numbers = Self {
            node: node.to_owned(),
            containers: gauges(
                "verifier_containers",
                "Containers of the node by whether they have their profiles.",
            )?,
            files: gauges(
                "verifier_files",
                "Profiles in use on the node by whether their files say the same.",
            )?,
            findings: IntCounterVec::new(
                Opts::new(
                    "verifier_findings_total",
                    "Containers and files of which it was told that they are not as they should be.",
                ),
                &["finding"],
            )?,
            last: Arc::default(),
        };
        metrics.add(numbers.containers.clone());
        metrics.add(numbers.files.clone());
        metrics.add(numbers.findings.clone());
        let last = numbers.last.clone();
        metrics.gauge(
            "verifier_last_look_timestamp_seconds",
            "When it was last known what the kernel has, in seconds since 1970; 0 if it never was.",
            move || number(last.load(Ordering::Relaxed)),
        );
        numbers.set(&BTreeMap::new(), &BTreeMap::new());
        Ok(numbers)
    }

    fn set(&self, containers: &BTreeMap<State, usize>, files: &BTreeMap<FileState, usize>) {
        let count = |count: Option<&usize>| {
            i64::try_from(count.copied().unwrap_or_default()).unwrap_or(i64::MAX)
        };
        for state in State::ALL {
            self.containers
                .with_label_values(&[&*self.node, &format!("{state:?}")])
                .set(count(containers.get(&state)));
        }
        for state in FileState::ALL {
            self.files
                .with_label_values(&[&*self.node, &format!("{state:?}")])
                .set(count(files.get(&state)));
        }
    }
}

/// Tells what was found.
pub(super) struct Teller {
    numbers: Numbers,
    events: Events,
    /// What was last said of what could not be looked at.
    not_looked_at: Vec<String>,
}

impl Teller {
    pub(super) fn new(numbers: Numbers, events: Events) -> Self {
        Self {
            numbers,
            events,
            not_looked_at: Vec::new(),
        }
    }

    pub(super) async fn tell(
        &mut self,
        report: &Report,
        turn: &Turn<'_>,
        told: &Told,
        metrics: &Metrics,
    ) {
        let Turn {
            containers,
            files,
            bad_containers,
            bad_files,
            again: _,
        } = turn;
        self.numbers.set(containers, files);
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        self.numbers.last.store(now, Ordering::Relaxed);
        let unread = told.bindings.as_ref().map_or(0, Bindings::unread);
        metrics.unreadable("profilebindings", unread);
        let unread = usize::from(told.bindings.is_err());
        metrics.unreadable("securityprofilesoperatordaemons", unread);
        if self.not_looked_at != report.not_looked_at {
            self.not_looked_at.clone_from(&report.not_looked_at);
            for why in &self.not_looked_at {
                tracing::warn!(why, "it is not known");
            }
        }
        for container in bad_containers {
            self.tell_of_container(container, told).await;
        }
        for file in bad_files {
            self.tell_of_file(file, told, &report.node).await;
        }
    }

    /// Tells that nothing is known of any container.
    pub(super) fn failed(&self, error: &LookError, told: &Told) {
        tracing::warn!(
            error = error::told(error),
            "cannot look at the containers of this node"
        );
        let statuses = told.pods.iter().filter_map(|pod| pod.status.as_ref());
        let statuses = statuses.flat_map(|status| {
            let lists = [
                &status.init_container_statuses,
                &status.container_statuses,
                &status.ephemeral_container_statuses,
            ];
            lists.into_iter().flat_map(|list| list.iter().flatten())
        });
        let runs = statuses.filter(|status| {
            let state = status.state.as_ref();
            state.is_some_and(|state| state.running.is_some())
        });
        let unknown = BTreeMap::from([(State::Unknown, runs.count())]);
        self.numbers.set(&unknown, &BTreeMap::new());
    }

    async fn tell_of_container(&self, container: &Container, told: &Told) {
        let Container {
            namespace,
            pod,
            container: name,
            id: _,
            profile,
            state,
            reasons,
            more,
            notes: _,
        } = container;
        let finding = format!("{state:?}");
        self.numbers.findings.with_label_values(&[&finding]).inc();
        let mut reasons = reasons.clone();
        if *more > 0 {
            reasons.push(format!("and {more} more differences"));
        }
        let reasons = escape(&reasons.join("; "));
        let shown = profile.as_deref().map_or_else(|| "none".to_owned(), escape);
        tracing::warn!(
            namespace,
            pod,
            container = name,
            profile = shown,
            state = finding,
            reasons,
            "a container has not what it is to have"
        );
        let what = match state {
            State::Mismatch => format!(
                "does not run under the SeccompProfile {shown} that it was given ({reasons}): find out who changed that, and make the pod anew"
            ),
            State::Stale => format!(
                "runs under something older than what it is to have now ({reasons}): make the pod anew"
            ),
            _ => format!(
                "runs without the profile that a binding has for it ({reasons}): make the pod anew"
            ),
        };
        let mut found = told.pods.iter().filter(|one| {
            one.metadata.namespace.as_ref() == Some(namespace)
                && one.metadata.name.as_ref() == Some(pod)
        });
        let Some(found) = found.next() else {
            return;
        };
        let object = ObjectReference {
            // Events of two containers are two.
            field_path: Some(format!("spec.containers{{{name}}}")),
            ..pod_reference(found)
        };
        let note = Note {
            // Whoever changes a profile makes many older.
            warning: *state != State::Stale,
            reason: format!("Profile{finding}"),
            message: format!("the container {} {what}", escape(name)),
        };
        self.events.tell(&object, note).await;
    }

    async fn tell_of_file(&self, file: &File, told: &Told, place: &str) {
        let File {
            profile,
            state,
            reason: _,
        } = file;
        let finding = format!("File{state:?}");
        self.numbers.findings.with_label_values(&[&finding]).inc();
        tracing::warn!(
            profile,
            finding,
            "the file of a profile is not as it should be"
        );
        let what = match state {
            FileState::Missing => "is gone",
            _ => "is not what the profile says",
        };
        // Without the object, nobody knows what the file is to be.
        let Some(object) = told.profiles.get(profile) else {
            return;
        };
        let object = ObjectReference {
            api_version: Some(SeccompProfile::api_version(&()).into_owned()),
            kind: Some(SeccompProfile::kind(&()).into_owned()),
            name: Some(object.name_any()),
            uid: object.uid(),
            ..ObjectReference::default()
        };
        let note = Note {
            warning: true,
            reason: format!("Profile{finding}"),
            message: format!(
                "its file on the node {place} {what}, and containers there have it: does the daemon run, which mends that?"
            ),
        };
        self.events.tell(&object, note).await;
    }
}
