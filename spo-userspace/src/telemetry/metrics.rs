//! Metrics: the counters that dashboards of the reference know, and gauges, because a counter can
//! raise an alert but never clear it.

use std::collections::HashMap;
use std::sync::Mutex;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, PullingGauge, Registry};

use crate::cluster::queue::Queue;

const PREFIX: &str = "security_profiles_operator";

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    node: String,
    seccomp_profiles: IntCounterVec,
    seccomp_errors: IntCounterVec,
    profiles: IntGaugeVec,
    recorded_elsewhere: IntGaugeVec,
    unreadable: IntGaugeVec,
    certificates: IntGaugeVec,
    watch_failures: IntCounterVec,
    events_over_budget: IntCounter,
    requests_refused: IntCounter,
    states: Mutex<HashMap<(&'static str, String), String>>,
    /// Of each profile, what of its evidence is not so on this node.
    differences: Mutex<HashMap<String, Vec<&'static str>>>,
}

/// What was done to a profile on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It was written.
    Update,
    /// It was removed.
    Delete,
}

impl Metrics {
    /// The metrics of a process. The node matters to the daemon of one, and is else empty.
    pub fn new(node: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let events_over_budget = IntCounter::new(
            "events_over_budget_total",
            "Events that were not written because there were too many at once.",
        )?;
        registry.register(Box::new(events_over_budget.clone()))?;
        let requests_refused = IntCounter::new(
            "requests_refused_total",
            "Requests that were not answered because there was no room for them.",
        )?;
        registry.register(Box::new(requests_refused.clone()))?;
        Ok(Self {
            node: node.to_owned(),
            seccomp_profiles: counters(
                "seccomp_profile_total",
                "Seccomp profiles that were written or removed.",
                &["operation"],
            )?,
            seccomp_errors: counters(
                "seccomp_profile_error_total",
                "Seccomp profiles that could not be installed or removed.",
                &["reason"],
            )?,
            watch_failures: counters(
                "watch_failures_total",
                "Watches that the API server refused or that broke.",
                &["resource"],
            )?,
            profiles: gauges(
                "profiles",
                "Profiles by how far they got on the node.",
                &["kind", "node", "state"],
            )?,
            recorded_elsewhere: gauges(
                "profiles_recorded_elsewhere",
                "Installed profiles that were recorded on something else than this node.",
                &["differs"],
            )?,
            unreadable: gauges(
                "unreadable_objects",
                "Objects that this version cannot read.",
                &["resource"],
            )?,
            certificates: gauges(
                "certificate_expiry_timestamp_seconds",
                "When a certificate ends, in seconds since 1970.",
                &["secret"],
            )?,
            events_over_budget,
            requests_refused,
            states: Mutex::default(),
            differences: Mutex::default(),
            registry,
        })
    }

    /// A seccomp profile was written or removed.
    pub fn seccomp_profile(&self, operation: Operation) {
        let operation = match operation {
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        self.seccomp_profiles.with_label_values(&[operation]).inc();
    }

    /// A seccomp profile could not be installed or removed.
    pub fn seccomp_error(&self, reason: &str) {
        self.seccomp_errors.with_label_values(&[reason]).inc();
    }

    /// How far a profile got; `None` when it is gone.
    pub fn state(&self, kind: &'static str, profile: &str, state: Option<&str>) {
        let mut states = match self.states.lock() {
            Ok(states) => states,
            Err(poisoned) => poisoned.into_inner(),
        };
        let key = (kind, profile.to_owned());
        let before = match state {
            Some(state) => states.insert(key, state.to_owned()),
            None => states.remove(&key),
        };
        let gauge = |state: &str| self.profiles.with_label_values(&[kind, &self.node, state]);
        if let Some(state) = state {
            gauge(state).inc();
        }
        if let Some(before) = before {
            gauge(&before).dec();
        }
    }

    /// What of a profile's evidence is not so on this node.
    pub fn recorded_elsewhere(&self, profile: &str, now: Vec<&'static str>) {
        let mut elsewhere = match self.differences.lock() {
            Ok(known) => known,
            Err(poisoned) => poisoned.into_inner(),
        };
        for what in &now {
            self.recorded_elsewhere.with_label_values(&[what]).inc();
        }
        let before = if now.is_empty() {
            elsewhere.remove(profile)
        } else {
            elsewhere.insert(profile.to_owned(), now)
        };
        for what in before.unwrap_or_default() {
            self.recorded_elsewhere.with_label_values(&[what]).dec();
        }
    }

    /// A watch broke.
    pub fn watch_failed(&self, resource: &str) {
        self.watch_failures.with_label_values(&[resource]).inc();
    }

    /// Counts events that were not written.
    pub fn events_over_budget(&self) -> IntCounter {
        self.events_over_budget.clone()
    }

    /// Counts requests for which there was no room.
    pub fn requests_refused(&self) -> IntCounter {
        self.requests_refused.clone()
    }

    /// How many objects cannot be read.
    pub fn unreadable(&self, resource: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.unreadable.with_label_values(&[resource]).set(count);
    }

    /// When the certificate of a Secret ends; `None` if there is none.
    pub fn certificate_ends(&self, secret: &str, end: Option<Timestamp>) {
        match end {
            Some(end) => self
                .certificates
                .with_label_values(&[secret])
                .set(end.as_second()),
            // There may have been none before, either.
            None => drop(self.certificates.remove_label_values(&[secret])),
        }
    }

    /// Tells the length of a queue whenever somebody looks.
    pub fn queue<K: Send + 'static>(&self, name: &str, queue: &Queue<K>) {
        let queue = queue.clone();
        #[expect(clippy::cast_precision_loss, reason = "no queue is as long")]
        let length = move || queue.length() as f64;
        self.gauge(
            &format!("{name}_queue_length"),
            "What waits for work, and what failed and is tried again.",
            length,
        );
    }

    /// Tells a number whenever somebody looks.
    pub fn gauge(&self, name: &str, help: &str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        match PullingGauge::new(name, help, Box::new(read)) {
            Ok(gauge) => self.add(gauge),
            Err(error) => tracing::warn!(%error, name, "there is no such metric"),
        }
    }

    /// Tells what somebody else counts.
    pub fn add(&self, counts: impl Collector + 'static) {
        if let Err(error) = self.registry.register(Box::new(counts)) {
            tracing::warn!(%error, "a metric is there twice");
        }
    }

    /// All of them.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }
}

/// What every process of any program tells: its memory, time, and open files.
pub fn of_process() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;
    use crate::cluster::queue::queue;

    #[test]
    fn gauges_follow_each_profile_and_counters_keep_their_names() {
        let metrics = Metrics::new("node-1").unwrap();
        let (queue, _keys) = queue();
        metrics.queue::<()>("seccomp", &queue);
        metrics.gauge("leads", "Whether it leads.", || 1.0);
        metrics.recorded_elsewhere("a", vec!["kernel", "runtime"]);
        metrics.recorded_elsewhere("b", vec!["kernel"]);
        metrics.recorded_elsewhere("b", vec!["kernel"]);
        let elsewhere = |what| metrics.recorded_elsewhere.with_label_values(&[what]).get();
        assert_eq!((elsewhere("kernel"), elsewhere("runtime")), (2, 1));
        metrics.recorded_elsewhere("a", Vec::new());
        metrics.recorded_elsewhere("c", Vec::new());
        assert_eq!((elsewhere("kernel"), elsewhere("runtime")), (1, 0));
        let kind = "SeccompProfile";
        metrics.state(kind, "a", Some("Error"));
        metrics.state(kind, "b", Some("Error"));
        metrics.state(kind, "a", Some("Installed"));
        metrics.state(kind, "a", Some("Installed"));
        metrics.state(kind, "b", None);
        metrics.state(kind, "b", None);
        metrics.seccomp_profile(Operation::Update);
        metrics.seccomp_profile(Operation::Delete);
        metrics.seccomp_error("ProfileNotAllowed");
        metrics.watch_failed("seccompprofiles");
        metrics.events_over_budget().inc();
        metrics.unreadable("seccompprofiles", 2);
        let end = Timestamp::from_second(1_800_000_000).unwrap();
        metrics.certificate_ends("a", Some(end));
        metrics.certificate_ends("b", Some(end));
        metrics.certificate_ends("b", None);
        let all = metrics.registry().gather();
        let text = TextEncoder::new().encode_to_string(&all).unwrap();
        insta::assert_snapshot!(text);
    }
}
