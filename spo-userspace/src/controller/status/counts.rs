//! How many profiles are in which state on which node, for whoever watches the whole cluster. It is
//! counted when somebody asks, so that it cannot be wrong for long.

use std::collections::BTreeMap;

use kube::runtime::reflector::Store;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use super::observe::profile_of;
use crate::api::SecurityProfileNodeStatus;
use crate::api::common::ProfileStatus;
use crate::profile::named::Named as _;

/// The most time series. What does not fit is counted under [`OTHERS`].
const MOST: usize = 20_000;
/// In place of the names of nodes that do not fit; no node can have it.
const OTHERS: &str = "(others)";

/// Reads the reports of the nodes.
pub(super) struct Counts {
    reports: Store<SecurityProfileNodeStatus>,
    description: Vec<Desc>,
}

impl Counts {
    pub(super) fn of(reports: &Store<SecurityProfileNodeStatus>) -> Self {
        let gauges = gauges();
        Self {
            reports: reports.clone(),
            description: gauges.desc().into_iter().cloned().collect(),
        }
    }
}

impl Collector for Counts {
    fn desc(&self) -> Vec<&Desc> {
        self.description.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reports = self.reports.state();
        let gauges = gauges();
        let counted = count(reports.iter().map(AsRef::as_ref), MOST);
        for ((kind, state, node), count) in counted {
            gauges.with_label_values(&[kind, node, state]).set(count);
        }
        gauges.collect()
    }
}

/// A kind, a state and a node.
type Series<'a> = (&'static str, &'static str, &'a str);

fn count<'a>(
    reports: impl Iterator<Item = &'a SecurityProfileNodeStatus>,
    most: usize,
) -> BTreeMap<Series<'a>, i64> {
    let mut counts = BTreeMap::new();
    for report in reports {
        let Some(profile) = profile_of(report) else {
            continue;
        };
        let status = report.status.as_ref().and_then(|status| status.status);
        let state = status.unwrap_or(ProfileStatus::Pending).name();
        let series = (profile.kind.name(), state, report.spec.node_name.as_str());
        let fits = counts.len() < most || counts.contains_key(&series);
        let (kind, state, node) = series;
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
    use serde_json::json;

    use super::*;

    fn report(profile: &str, node: &str, state: Option<&str>) -> SecurityProfileNodeStatus {
        let status = state.map(|state| json!({ "status": state }));
        let object = json!({
            "metadata": {
                "name": format!("{profile}-{node}"),
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "SeccompProfile", "name": profile, "uid": "u",
                }],
            },
            "spec": { "nodeName": node },
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn each_report_is_counted_once_and_series_are_bounded() {
        let reports = [
            report("a", "one", Some("Installed")),
            report("b", "one", Some("Installed")),
            report("a", "two", Some("Error")),
            report("b", "two", None),
            report("c", "two", Some("Installed")),
        ];
        let kind = "SeccompProfile";
        let all = count(reports.iter(), MOST);
        let expected = [
            ((kind, "Error", "two"), 1),
            ((kind, "Installed", "one"), 2),
            ((kind, "Installed", "two"), 1),
            ((kind, "Pending", "two"), 1),
        ];
        assert_eq!(all.into_iter().collect::<Vec<_>>(), expected);
        let few = count(reports.iter(), 2);
        let expected = [
            ((kind, "Error", "two"), 1),
            ((kind, "Installed", OTHERS), 1),
            ((kind, "Installed", "one"), 2),
            ((kind, "Pending", OTHERS), 1),
        ];
        assert_eq!(few.into_iter().collect::<Vec<_>>(), expected);
    }
}
