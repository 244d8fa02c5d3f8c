//! How many profiles are in which state on which node, for whoever watches the whole cluster. It is
//! counted when somebody asks, so that it cannot be wrong for long.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use super::reports::State;
use super::stores::Stores;
use crate::api::common::ProfileStatus;
use crate::profile::named::Named as _;

/// The most time series. What does not fit is counted under [`OTHERS`].
const MOST: usize = 20_000;
/// In place of the names of nodes that do not fit; no node can have it.
const OTHERS: &str = "(others)";

/// Reads the reports of the nodes.
pub(super) struct Counts {
    stores: Arc<Stores>,
    description: Vec<Desc>,
}

impl Counts {
    pub(super) fn of(stores: Arc<Stores>) -> Self {
        let description = gauges().desc().into_iter().cloned().collect();
        Self {
            stores,
            description,
        }
    }
}

impl Collector for Counts {
    fn desc(&self) -> Vec<&Desc> {
        self.description.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let indexes = self.stores.indexes();
        let gauges = gauges();
        for ((kind, state, node), count) in count(indexes.reports.states(), MOST) {
            gauges.with_label_values(&[kind, node, state]).set(count);
        }
        gauges.collect()
    }
}

/// A kind, a state and a node.
type Series<'a> = (&'static str, &'static str, &'a str);

fn count<'a>(states: impl Iterator<Item = State<'a>>, most: usize) -> BTreeMap<Series<'a>, i64> {
    let mut counts = BTreeMap::new();
    for (kind, node, status) in states {
        let state = status.unwrap_or(ProfileStatus::Pending).name();
        let kind = kind.name();
        let fits = counts.len() < most || counts.contains_key(&(kind, state, node));
        let node = if fits { node } else { OTHERS };
        *counts.entry((kind, state, node)).or_default() += 1;
    }
    counts
}

fn gauges() -> IntGaugeVec {
    let options = Opts::new(
        "node_profiles",
        "Profiles by how far they got on each node, as the nodes report.",
    );
    IntGaugeVec::new(options, &["kind", "node", "state"])
        .unwrap_or_else(|error| unreachable!("the names are valid: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::profile::Kind;

    #[test]
    fn each_report_is_counted_once_and_series_are_bounded() {
        let reports = [
            (Kind::Seccomp, "one", Some(ProfileStatus::Installed)),
            (Kind::Seccomp, "one", Some(ProfileStatus::Installed)),
            (Kind::Seccomp, "two", Some(ProfileStatus::Error)),
            (Kind::Seccomp, "two", None),
            (Kind::Seccomp, "two", Some(ProfileStatus::Installed)),
        ];
        let kind = "SeccompProfile";
        let all = count(reports.into_iter(), MOST);
        let expected = [
            ((kind, "Error", "two"), 1),
            ((kind, "Installed", "one"), 2),
            ((kind, "Installed", "two"), 1),
            ((kind, "Pending", "two"), 1),
        ];
        assert_eq!(all.into_iter().collect::<Vec<_>>(), expected);
        let few = count(reports.into_iter(), 2);
        let expected = [
            ((kind, "Error", "two"), 1),
            ((kind, "Installed", OTHERS), 1),
            ((kind, "Installed", "one"), 2),
            ((kind, "Pending", OTHERS), 1),
        ];
        assert_eq!(few.into_iter().collect::<Vec<_>>(), expected);
    }
}
