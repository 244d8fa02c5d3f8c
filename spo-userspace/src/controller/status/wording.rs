//! What a profile's condition says to people.

use std::collections::HashSet;

use super::plan::{Observed, Report, is_about_this};
use crate::api::common::ProfileStatus;
use crate::controller::usage::MOST_PODS;
use crate::profile::few::few;
use crate::profile::state::State;

pub(super) fn message(status: ProfileStatus, observed: &Observed, reports: &[&Report]) -> String {
    let mut text = match status {
        ProfileStatus::Error => error(observed, reports),
        ProfileStatus::Terminating => terminating(observed, reports),
        ProfileStatus::Partial => {
            "it is one of several profiles that are merged when the recording ends".to_owned()
        }
        ProfileStatus::Disabled => disabled(reports),
        ProfileStatus::Pending | ProfileStatus::InProgress => waiting(observed, reports),
        ProfileStatus::Installed => format!("on {}", count(reports.len(), "node")),
    };
    if observed.pods.len() > MOST_PODS {
        let more = observed.pods.len() - MOST_PODS;
        text = format!("{text}; {more} more pods use it than activeWorkloads names");
    }
    text
}

fn error(observed: &Observed, reports: &[&Report]) -> String {
    if let Some(why) = &observed.unsupported {
        return why.clone();
    }
    let failed: Vec<_> = reports
        .iter()
        .filter(|report| report.status == Some(ProfileStatus::Error))
        .collect();
    let Some(first) = failed.first() else {
        return String::new();
    };
    let why = first.message.as_deref().or(first.reason.as_deref());
    let why = why.unwrap_or("no reason was given");
    match failed.len() {
        1 => format!("node {}: {why}", first.node),
        more => format!("node {}, and {} more: {why}", first.node, more - 1),
    }
}

fn terminating(observed: &Observed, reports: &[&Report]) -> String {
    if !observed.pods.is_empty() {
        return format!(
            "it is removed when no pod uses it any more; now {}",
            few(&observed.pods)
        );
    }
    let nodes: Vec<_> = reports.iter().map(|report| report.node.as_str()).collect();
    if nodes.is_empty() {
        return "no node has it any more".to_owned();
    }
    let text = format!("to be removed on {}", few(&nodes));
    let desired = observed.nodes.desired as usize;
    if nodes.len() <= desired {
        return text;
    }
    // A node that has no daemon any more takes nothing off itself, and nobody can see that it did.
    format!(
        "{text}; more nodes have it than are to have a daemon ({desired}): give theirs back to those \
         without, by spec.scheduling of spod or their taints, or delete what they reported: \
         kubectl delete securityprofilenodestatuses -l spo.x-k8s.io/node-name=NODE"
    )
}

fn disabled(reports: &[&Report]) -> String {
    let left = reports
        .iter()
        .filter(|report| report.status == Some(ProfileStatus::Installed));
    let left: Vec<_> = left.map(|report| report.node.as_str()).collect();
    if left.is_empty() {
        return "spec.state is Disabled".to_owned();
    }
    format!(
        "spec.state is Disabled; still on {}, until no pod uses it",
        few(left)
    )
}

fn waiting(observed: &Observed, reports: &[&Report]) -> String {
    let is_there = |report: &&&Report| {
        is_about_this(report, observed)
            && matches!(
                (report.status, observed.state),
                (Some(ProfileStatus::Installed), State::Enabled)
            )
    };
    let there: HashSet<_> = reports
        .iter()
        .filter(is_there)
        .map(|report| &report.node)
        .collect();
    let missing: Vec<_> = observed
        .nodes
        .names
        .iter()
        .filter(|node| !there.contains(node))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return "waiting for the daemons, which are being started".to_owned();
    }
    let text = format!("waiting for {}", few(missing));
    let mut unknown = reports.iter().filter(|report| report.status.is_none());
    match unknown.find_map(|report| Some((&report.node, report.message.as_ref()?))) {
        Some((node, why)) => format!("{text}; node {node}: {why}"),
        None => text,
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
