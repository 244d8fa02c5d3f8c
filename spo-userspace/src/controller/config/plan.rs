//! What to write, by what is there and what was written last. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::render::{Key, OPERATOR, Settings, Wanted, render};
use super::unsupported::unsupported;
use crate::api::daemon::{DaemonState, SecurityProfilesOperatorDaemonStatus};
use crate::profile::few::few;

/// The only type of condition.
const READY: &str = "Ready";

/// A version of an object, by which a change of somebody else is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) uid: String,
    /// `metadata.generation`; of kinds that have none, the number of `metadata.resourceVersion`.
    pub(super) number: i64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) hash: String,
    pub(super) version: Version,
}

/// How the daemons stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Daemons {
    pub(super) generation: i64,
    /// What the counts are about.
    pub(super) observed: i64,
    pub(super) desired: i32,
    pub(super) updated: i32,
    pub(super) ready: i32,
}

/// What is known of the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replicas {
    pub(super) available: i32,
    pub(super) wanted: i32,
}

/// A node whose daemon is not ready, and why if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unready {
    pub(super) node: String,
    pub(super) why: Option<String>,
}

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// What the objects depend on; nothing while the operator's own Deployment is not known.
    pub(super) settings: Option<Settings>,
    /// The objects of which changes are told, as they are.
    pub(super) live: BTreeMap<Key, Version>,
    /// What this process wrote.
    pub(super) written: BTreeMap<Key, Written>,
}

/// The objects to write now. An object is written when it is to be another than it was last, when
/// it is gone, when somebody else changed it, and once after the start: what somebody changed in
/// the meantime nobody told us.
pub(super) fn writes(observed: &Observed) -> Vec<Wanted> {
    let Observed {
        settings,
        live,
        written,
    } = observed;
    let all = settings.as_ref().map(render).unwrap_or_default();
    let is_due = |wanted: &Wanted| {
        let key = wanted.key();
        let Some(written) = written.get(&key) else {
            return true;
        };
        if written.hash != wanted.hash {
            return true;
        }
        if wanted.optional {
            // Nobody tells of these.
            return false;
        }
        live.get(&key).is_none_or(|live| {
            // What is told may be older than what was written.
            live.uid != written.version.uid || live.number > written.version.number
        })
    };
    all.into_iter().filter(is_due).collect()
}

/// What is worth remembering: an object that is no longer wanted is written anew when it is again.
pub(super) fn kept(observed: &Observed) -> BTreeMap<Key, Written> {
    let mut kept = observed.written.clone();
    if let Some(settings) = &observed.settings {
        let all = render(settings);
        kept.retain(|key, _| all.iter().any(|wanted| wanted.key() == *key));
    }
    kept
}

/// What the configuration's status depends on.
#[derive(Clone, Debug)]
pub(super) struct Progress<'a> {
    /// The configuration's generation.
    pub(super) generation: i64,
    /// What its status says now.
    pub(super) known: &'a SecurityProfilesOperatorDaemonStatus,
    /// What it is about; nothing while the operator's own Deployment is not known.
    pub(super) settings: Option<&'a Settings>,
    /// What could not be written, and why.
    pub(super) failure: Option<String>,
    pub(super) daemons: Option<Daemons>,
    /// The generation of the daemons as it was last written.
    pub(super) written: i64,
    pub(super) webhook: Option<Replicas>,
    pub(super) unready: Vec<Unready>,
    pub(super) now: Timestamp,
}

/// The status as it is to be; nothing if it is.
pub(super) fn status(progress: &Progress<'_>) -> Option<SecurityProfilesOperatorDaemonStatus> {
    let known = progress.known;
    let (state, reason, mut message) = state(progress);
    if let Some(settings) = progress.settings {
        let fields = unsupported(&settings.spec);
        if !fields.is_empty() {
            let fields = fields.join(", ");
            message = format!("{message}; not supported by this version, and left out: {fields}");
        }
    }
    let value = if state == DaemonState::Running {
        "True"
    } else {
        "False"
    };
    let before = known.conditions.iter().find(|known| known.type_ == READY);
    let since = before
        .filter(|before| before.status == value)
        .map_or(Time(progress.now), |before| {
            before.last_transition_time.clone()
        });
    let ready = Condition {
        type_: READY.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(progress.generation),
        last_transition_time: since,
    };
    // What an older version said under other names is no longer true.
    let status = SecurityProfilesOperatorDaemonStatus {
        conditions: vec![ready],
        state: Some(state),
    };
    (status != *known).then_some(status)
}

/// The status of a configuration that this version cannot read.
pub(super) fn unreadable(
    generation: i64,
    message: String,
    now: Timestamp,
) -> SecurityProfilesOperatorDaemonStatus {
    let ready = Condition {
        type_: READY.to_owned(),
        status: "False".to_owned(),
        reason: "Unreadable".to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    SecurityProfilesOperatorDaemonStatus {
        conditions: vec![ready],
        state: Some(DaemonState::Error),
    }
}

fn state(progress: &Progress<'_>) -> (DaemonState, &'static str, String) {
    if let Some(failure) = &progress.failure {
        return (DaemonState::Error, "Unavailable", failure.clone());
    }
    if progress.settings.is_none() {
        let message = format!("waiting for the Deployment {OPERATOR}, whose image the daemons run");
        return (DaemonState::Pending, "Pending", message);
    }
    let Some(daemons) = &progress.daemons else {
        let message = "the daemons are being created".to_owned();
        return (DaemonState::Creating, "Creating", message);
    };
    let begun = matches!(
        progress.known.state,
        Some(DaemonState::Running | DaemonState::Updating)
    );
    let counted = daemons.observed >= daemons.generation.max(progress.written);
    if counted && daemons.updated == daemons.desired && daemons.ready == daemons.desired {
        return (
            DaemonState::Running,
            "Available",
            running(progress, daemons),
        );
    }
    let message = if counted {
        waiting(progress, daemons)
    } else {
        "the daemons are being replaced".to_owned()
    };
    match (begun, counted && daemons.updated == daemons.desired) {
        (false, _) => (DaemonState::Creating, "Creating", message),
        (true, false) => (DaemonState::Updating, "Updating", message),
        // Nothing is replaced: something is wrong on some nodes.
        (true, true) => (DaemonState::Updating, "Unavailable", message),
    }
}

fn running(progress: &Progress<'_>, daemons: &Daemons) -> String {
    let text = match daemons.desired {
        0 => "no node of the cluster is to have a daemon".to_owned(),
        1 => "the daemon of 1 node is ready".to_owned(),
        count => format!("the daemons of {count} nodes are ready"),
    };
    match progress.webhook {
        Some(webhook) if webhook.available == 0 => {
            format!(
                "{text}; the webhook has no replica that answers, of {}",
                webhook.wanted
            )
        }
        _ => text,
    }
}

fn waiting(progress: &Progress<'_>, daemons: &Daemons) -> String {
    let Daemons {
        desired,
        updated,
        ready,
        ..
    } = daemons;
    let mut text = format!("{ready} of {desired} daemons are ready");
    if updated < desired {
        text = format!("{text}, {updated} are up to date");
    }
    if progress.unready.is_empty() {
        return text;
    }
    let named = progress.unready.iter().map(|unready| match &unready.why {
        Some(why) => format!("{} ({why})", unready.node),
        None => unready.node.clone(),
    });
    format!("{text}; not on {}", few(named))
}

#[cfg(test)]
mod tests;
