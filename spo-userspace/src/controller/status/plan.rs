//! What to write on a profile, by what its nodes report and which pods use it. Pure.

use std::collections::{BTreeSet, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::wording;
use crate::api::common::{NodeCount, ProfileStatus};
use crate::api::names::{
    FINALIZER, IN_USE, NOT_ALLOWED, OLD_NODE_FINALIZER, OLD_PARTIAL_FINALIZER, READY,
};
use crate::api::node_status::Reason;
use crate::cluster::events::Note;
use crate::controller::profile::Known;
use crate::controller::usage::MOST_PODS;
use crate::profile::few::few;
use crate::profile::named::Named as _;
use crate::profile::state::State;

/// Why nodes refuse what the configuration does not allow.
const FORBIDDEN: [Reason; 3] = [
    Reason::ProfileNotAllowed,
    Reason::NoLongerAllowed,
    Reason::BaseNotAllowed,
];
/// Why something of a deleted profile is left.
const LEFT_ON_NODES: &str = "LeftOnNodes";

/// What is known of a profile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observed {
    /// `metadata.generation`.
    pub(super) generation: i64,
    /// Whether somebody has deleted it.
    pub(super) deleted: bool,
    pub(super) finalizers: Vec<String>,
    pub(super) state: State,
    /// Whether it is one of several to be merged.
    pub(super) partial: bool,
    /// Why it cannot be installed by this version, wherever.
    pub(super) unsupported: Option<String>,
    /// Whether daemons of this version know its kind at all. Else nobody takes back what an older
    /// one reported.
    pub(super) installable: bool,
    /// The field of the status that says what pods name, and its value.
    pub(super) usage: Option<(&'static str, String)>,
    /// The annotation with all rules, if it is to be written.
    pub(super) syscalls: Option<String>,
    /// What the status says now.
    pub(super) known: Known,
    /// What the nodes report, by node.
    pub(super) reports: Vec<Report>,
    pub(super) nodes: Nodes,
    /// The pods that use it, sorted.
    pub(super) pods: BTreeSet<String>,
    pub(super) now: Timestamp,
}

/// What a node reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The name of the object that says so.
    pub(super) object: String,
    pub(super) node: String,
    pub(super) status: Option<ProfileStatus>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    /// The generation of the profile that it is about; none if the reporter does not say.
    pub(super) generation: Option<i64>,
    /// Whether the reporter is of this version, or an older one.
    pub(super) current: bool,
}

/// The nodes of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes {
    /// All of them.
    pub(super) names: BTreeSet<String>,
    /// How many of them should have profiles.
    pub(super) desired: u32,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The finalizers as they are to be.
    pub(super) finalizers: Option<Vec<String>>,
    /// The annotation with all rules.
    pub(super) syscalls: Option<String>,
    /// The status as it is to be.
    pub(super) status: Option<Known>,
    /// Reports to delete.
    pub(super) reports: Vec<String>,
    /// Whether to delete the profile.
    pub(super) delete: bool,
    pub(super) note: Option<Note>,
}

impl Plan {
    /// Whether it does no more than say to how many nodes the profile got, or from how many it went,
    /// since what is `known`.
    pub(super) fn is_progress(&self, known: &Known) -> bool {
        let Some(status) = &self.status else {
            return false;
        };
        let rest = Self {
            status: None,
            ..self.clone()
        };
        let said = |known: &Known| {
            let ready = ready_condition(known);
            ready.map(|ready| (ready.reason.clone(), ready.observed_generation))
        };
        rest == Self::default()
            && status.status == known.status
            && status.pods == known.pods
            && status.usage == known.usage
            && said(status) == said(known)
    }
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let (reports, stale) = sort(observed);
    let status = status(observed, &reports);
    let finalizers = finalizers(observed, &reports);
    let gone = observed.deleted && finalizers.is_empty();
    let delete = !observed.deleted && is_no_longer_allowed(observed, &reports);
    Plan {
        finalizers: (finalizers != observed.finalizers).then_some(finalizers),
        syscalls: observed.syscalls.clone().filter(|_| !observed.deleted),
        status: (!gone && status != observed.known).then_some(status),
        reports: stale,
        delete,
        note: note(observed, delete),
    }
}

fn note(observed: &Observed, delete: bool) -> Option<Note> {
    let (reason, message) = if delete {
        let message = "the profile was installed, and spec.security of the configuration no longer \
                       allows it: it is deleted, when no pod uses it any more";
        (Reason::ProfileNotAllowed.name(), message.to_owned())
    } else if observed.deleted && !observed.installable && !observed.reports.is_empty() {
        let nodes = observed.reports.iter().map(|report| report.node.as_str());
        let message = format!(
            "the profile is deleted, and this version cannot take it off nodes: what an older one \
             put there stays on {}",
            few(nodes.collect::<BTreeSet<_>>())
        );
        (LEFT_ON_NODES, message)
    } else {
        return None;
    };
    Some(Note {
        warning: true,
        reason: reason.to_owned(),
        message,
    })
}

/// The reports that count, one a node, and the objects that are to go: those of nodes that left,
/// and those of an older version where there is a newer one of the same node.
fn sort(observed: &Observed) -> (Vec<&Report>, Vec<String>) {
    let current: HashSet<_> = observed
        .reports
        .iter()
        .filter(|report| report.current)
        .map(|report| &report.node)
        .collect();
    let abandoned = observed.deleted && !observed.installable;
    let (counting, stale): (Vec<_>, Vec<_>) = observed.reports.iter().partition(|report| {
        !abandoned
            && observed.nodes.names.contains(&report.node)
            && (report.current || !current.contains(&report.node))
    });
    let stale = stale.into_iter().map(|report| report.object.clone());
    (counting, stale.collect())
}

fn finalizers(observed: &Observed, reports: &[&Report]) -> Vec<String> {
    let held = !observed.pods.is_empty() || !reports.is_empty();
    // Ours cannot be added to what an older version saw deleted: there, its own hold the profile
    // until its file is gone.
    let has_ours = observed.finalizers.iter().any(|name| name == FINALIZER);
    let in_place_of_ours = observed.deleted && held && !has_ours;
    let mut finalizers: Vec<_> = observed
        .finalizers
        .iter()
        .filter(|name| {
            let older = name.as_str() == OLD_PARTIAL_FINALIZER
                || (name.ends_with(OLD_NODE_FINALIZER) && !name.contains('/'));
            let ours = name.as_str() == FINALIZER && observed.deleted && !held;
            let use_ended = name.as_str() == IN_USE && observed.pods.is_empty();
            (!older || in_place_of_ours) && !ours && !use_ended
        })
        .cloned()
        .collect();
    // None can be added to what is being deleted.
    let wanted = [(FINALIZER, true), (IN_USE, !observed.pods.is_empty())];
    for (name, wanted) in wanted {
        if wanted && !observed.deleted && !finalizers.iter().any(|known| known == name) {
            finalizers.push(name.to_owned());
        }
    }
    finalizers
}

/// Whether a node had this very version, and refuses it since the configuration changed. Of others
/// nobody asks: one may not have got it yet, or may be in error.
fn is_no_longer_allowed(observed: &Observed, reports: &[&Report]) -> bool {
    is_refused(observed, reports, &[Reason::NoLongerAllowed])
}

/// Whether a node refuses the profile as it is now, for one of these reasons.
fn is_refused(observed: &Observed, reports: &[&Report], reasons: &[Reason]) -> bool {
    reports.iter().any(|report| {
        let reason = report.reason.as_deref().and_then(Reason::from_name);
        report.status == Some(ProfileStatus::Error)
            && report.generation == Some(observed.generation)
            && reason.is_some_and(|reason| reasons.contains(&reason))
    })
}

fn status(observed: &Observed, reports: &[&Report]) -> Known {
    let is_ready = |report: &&&Report| {
        report.status == Some(ProfileStatus::Installed) && is_about_this(report, observed)
    };
    let ready = u32::try_from(reports.iter().filter(is_ready).count()).unwrap_or(u32::MAX);
    // A node that is not reached is no place for a daemon, and may have the profile all the same.
    let reported = u32::try_from(reports.len()).unwrap_or(u32::MAX);
    let nodes = NodeCount {
        ready,
        desired: observed.nodes.desired.max(reported),
    };
    let status = overall(observed, reports);
    let (value, reason) = match status {
        ProfileStatus::Pending | ProfileStatus::InProgress => (false, "Creating"),
        ProfileStatus::Installed => (true, "Available"),
        ProfileStatus::Terminating => (false, "Deleting"),
        ProfileStatus::Error if observed.unsupported.is_some() => (false, "Unsupported"),
        ProfileStatus::Error if is_refused(observed, reports, &FORBIDDEN) => (false, NOT_ALLOWED),
        ProfileStatus::Error | ProfileStatus::Partial | ProfileStatus::Disabled => {
            (false, "Unavailable")
        }
    };
    let value = if value { "True" } else { "False" };
    let before = ready_condition(&observed.known).filter(|before| before.status == value);
    let condition = Condition {
        type_: READY.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: wording::message(status, observed, reports),
        observed_generation: Some(observed.generation),
        last_transition_time: before.map_or(Time(observed.now), |before| {
            before.last_transition_time.clone()
        }),
    };
    let others = observed.known.conditions.iter();
    let others = others.filter(|other| other.type_ != READY).cloned();
    Known {
        status: Some(status),
        conditions: others.chain([condition]).collect(),
        pods: observed.pods.iter().take(MOST_PODS).cloned().collect(),
        nodes: Some(nodes),
        usage: observed.usage.as_ref().map(|(_, value)| value.clone()),
    }
}

/// The lowest status of any node; of a node that has not reported, that it is being installed.
fn overall(observed: &Observed, reports: &[&Report]) -> ProfileStatus {
    if observed.deleted {
        return ProfileStatus::Terminating;
    }
    if observed.unsupported.is_some() {
        return ProfileStatus::Error;
    }
    let expected = match (observed.partial, observed.state) {
        (true, _) => ProfileStatus::Partial,
        (false, State::Disabled) => ProfileStatus::Disabled,
        (false, State::Enabled) => ProfileStatus::Installed,
    };
    let reported = |report: &&Report| match report.status {
        // An error is worth telling, whichever version of the profile it is about.
        Some(ProfileStatus::Error) => ProfileStatus::Error,
        Some(status) if is_about_this(report, observed) => status,
        Some(_) => ProfileStatus::InProgress,
        None => ProfileStatus::Pending,
    };
    let lowest = reports.iter().map(reported).min();
    let complete = reports.len() >= observed.nodes.desired as usize && !reports.is_empty();
    match lowest {
        _ if expected == ProfileStatus::Partial => expected,
        Some(ProfileStatus::Error) => ProfileStatus::Error,
        // It is told as soon as it holds anywhere; what is left on nodes is in the message.
        _ if expected == ProfileStatus::Disabled => expected,
        None => ProfileStatus::Pending,
        Some(lowest) if complete => lowest,
        Some(lowest) => lowest.min(ProfileStatus::InProgress),
    }
}

/// An older reporter does not say which version of the profile it is about.
pub(super) fn is_about_this(report: &Report, observed: &Observed) -> bool {
    report
        .generation
        .is_none_or(|generation| generation == observed.generation)
}

fn ready_condition(known: &Known) -> Option<&Condition> {
    known.conditions.iter().find(|known| known.type_ == READY)
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
