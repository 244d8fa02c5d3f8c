//! What is to be done.

use jiff::Timestamp;

use super::METRICS_SERVICES;
use super::observe::{Observed, Registration, Seen};
use crate::api::webhooks::SERVICE;
use crate::server::certificates::{
    MakeError, Plan as Decision, Reason, Stored, authority, serving,
};

/// What is to be written, in this order: clients must trust an authority before a server shows what
/// it signed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) authority: Option<Write>,
    pub(super) mutating: Option<Trust>,
    pub(super) validating: Option<Trust>,
    pub(super) webhook: Option<Write>,
    pub(super) metrics: Option<Write>,
    /// When there is something to do again.
    pub(super) due: Timestamp,
}

/// What a Secret is to have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Write {
    pub(super) stored: Stored,
    /// The version that is replaced; nothing if it is to be made.
    pub(super) version: Option<String>,
    pub(super) reason: Reason,
}

/// What the webhooks of an object are to trust.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trust {
    pub(super) bundle: Vec<u8>,
    pub(super) version: Option<String>,
    /// Those that trust something else.
    pub(super) webhooks: Vec<String>,
}

pub(super) fn plan(
    observed: &Observed,
    namespace: &str,
    now: Timestamp,
) -> Result<Plan, MakeError> {
    let Observed {
        authority: own,
        webhook,
        metrics,
        mutating,
        validating,
    } = observed;
    let mut plan = Plan {
        authority: None,
        mutating: None,
        validating: None,
        webhook: None,
        metrics: None,
        due: Timestamp::MAX,
    };
    let foreign = |seen: &Seen| matches!(seen, Seen::Foreign { .. });
    // Nobody needs an authority of ours; or its place is taken.
    if foreign(own) || (foreign(webhook) && foreign(metrics)) {
        return Ok(plan);
    }
    let decision = authority(stored(own), now)?;
    plan.due = decision.due;
    plan.authority = write(own, &decision);
    let issuer = match (decision.write, stored(own)) {
        (Some((stored, _)), _) => stored,
        (None, Some(stored)) => stored.clone(),
        (None, None) => return Ok(plan),
    };
    let mut server = |seen: &Seen, services: &[&str]| -> Result<Option<Write>, MakeError> {
        if foreign(seen) {
            return Ok(None);
        }
        let names: Vec<_> = services
            .iter()
            .flat_map(|service| names(service, namespace))
            .collect();
        let decision = serving(stored(seen), &issuer, &names, now)?;
        plan.due = plan.due.min(decision.due);
        Ok(write(seen, &decision))
    };
    plan.webhook = server(webhook, &[SERVICE])?;
    plan.metrics = server(metrics, &METRICS_SERVICES)?;
    if !foreign(webhook) {
        plan.mutating = trust(mutating.as_ref(), &issuer.bundle);
        plan.validating = trust(validating.as_ref(), &issuer.bundle);
    }
    Ok(plan)
}

fn stored(seen: &Seen) -> Option<&Stored> {
    match seen {
        Seen::Ours { stored, .. } => Some(stored),
        Seen::Missing | Seen::Foreign { .. } => None,
    }
}

fn write(seen: &Seen, decision: &Decision) -> Option<Write> {
    let (stored, reason) = decision.write.clone()?;
    let version = match seen {
        Seen::Ours { version, .. } => version.clone(),
        Seen::Missing | Seen::Foreign { .. } => None,
    };
    Some(Write {
        stored,
        version,
        reason,
    })
}

fn trust(registration: Option<&Registration>, bundle: &[u8]) -> Option<Trust> {
    let Registration {
        version,
        injected,
        webhooks,
    } = registration?;
    let others = webhooks.iter().filter(|(_, trusted)| trusted != bundle);
    let webhooks: Vec<_> = others.map(|(name, _)| name.clone()).collect();
    (!injected && !webhooks.is_empty()).then(|| Trust {
        bundle: bundle.to_owned(),
        version: version.clone(),
        webhooks,
    })
}

/// The names that a service has in the cluster. The first is what the API server asks for.
fn names(service: &str, namespace: &str) -> [String; 3] {
    let name = format!("{service}.{namespace}");
    [
        format!("{name}.svc"),
        format!("{name}.svc.cluster.local"),
        name,
    ]
}

#[cfg(test)]
mod tests;
