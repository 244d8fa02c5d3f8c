//! Metrics: the counters that dashboards of the reference know, and gauges, because a counter can
//! raise an alert but never clear it.

use std::collections::HashMap;
use std::sync::Mutex;

use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGaugeVec, Opts, PullingGauge, Registry, TextEncoder,
};

const PREFIX: &str = "security_profiles_operator";

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    node: String,
    seccomp_profiles: IntCounterVec,
    seccomp_errors: IntCounterVec,
    profiles: IntGaugeVec,
    watch_failures: IntCounterVec,
    events_over_budget: IntCounter,
    states: Mutex<HashMap<(&'static str, String), String>>,
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
    /// The metrics of a process on a node.
    pub fn new(node: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some(PREFIX.to_owned()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let profiles = IntGaugeVec::new(
            Opts::new("profiles", "Profiles by how far they got on the node."),
            &["kind", "node", "state"],
        )?;
        registry.register(Box::new(profiles.clone()))?;
        let events_over_budget = IntCounter::new(
            "events_over_budget_total",
            "Events that were not written because there were too many at once.",
        )?;
        registry.register(Box::new(events_over_budget.clone()))?;
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
            profiles,
            events_over_budget,
            states: Mutex::default(),
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

    /// A watch broke.
    pub fn watch_failed(&self, resource: &str) {
        self.watch_failures.with_label_values(&[resource]).inc();
    }

    /// An event was not written.
    pub fn event_over_budget(&self) {
        self.events_over_budget.inc();
    }

    /// Tells the length of a queue whenever somebody looks.
    pub fn queue(
        &self,
        name: &str,
        length: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        #[expect(clippy::cast_precision_loss, reason = "no queue is as long")]
        let length = move || length() as f64;
        let gauge = PullingGauge::new(
            format!("{name}_queue_length"),
            "Profiles that wait for work, those that failed and are tried again among them.",
            Box::new(length),
        )?;
        self.registry.register(Box::new(gauge))
    }

    /// All metrics, as Prometheus reads them.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_follow_each_profile_and_counters_keep_their_names() {
        let metrics = Metrics::new("node-1").unwrap();
        metrics.queue("seccomp", || 3).unwrap();
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
        metrics.event_over_budget();
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        insta::assert_snapshot!(text);
    }
}
