//! Whether a profile can be used, as its status says it, and if not, why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::review::shortened;
use crate::api::bindings::complains_for;
use crate::api::common::{NodeCount, ProfileStatus};
use crate::api::names::{PARTIAL, READY};
use crate::profile::diagnostic::escape;
use crate::profile::state::State;

/// The longest reason that is kept, in bytes.
const REASON: usize = 160;

/// Whether a profile can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// So many nodes have it, of so many that should.
    OnNodes(NodeCount),
    /// No node has it.
    OnNone {
        /// Why, after "which".
        why: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Standing {
    pub(super) fn on_none(why: impl Into<String>, remedy: &'static str) -> Self {
        let why = why.into();
        Self::OnNone { why, remedy }
    }

    /// That of a profile that is not there.
    pub(super) fn missing() -> Self {
        Self::on_none("does not exist", "create it")
    }

    /// What is known of a profile.
    pub(super) fn of(metadata: &ObjectMeta, state: Option<State>, status: &Progress) -> Self {
        let labels = metadata.labels.as_ref();
        if metadata.deletion_timestamp.is_some() {
            return Self::on_none("is being deleted", "create it anew");
        }
        if labels.is_some_and(|labels| labels.contains_key(PARTIAL)) {
            return Self::on_none(
                "is one of several that are merged when their recording ends",
                "bind what they become",
            );
        }
        if state == Some(State::Disabled) {
            return Self::on_none("is disabled", "set its spec.state to Enabled");
        }
        let installed = status.status == Some(ProfileStatus::Installed);
        match status.nodes {
            Some(nodes) if nodes.ready > 0 => return Self::OnNodes(nodes),
            // An older operator does not count.
            None if installed => return Self::OnNodes(NodeCount::default()),
            _ => {}
        }
        let said = status.conditions.iter();
        let mut said = said.filter(|said| said.r#type == READY);
        match (status.status, said.next()) {
            (Some(ProfileStatus::Error), Some(said)) => Self::on_none(
                format!("is refused: {}", shortened(&escape(&said.message), REASON)),
                "mend it",
            ),
            _ => Self::on_none("is on no node yet", "wait until it is"),
        }
    }
}

/// What of a profile's status matters here.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Progress {
    #[serde(default, deserialize_with = "if_known")]
    pub(super) status: Option<ProfileStatus>,
    #[serde(default, deserialize_with = "if_known")]
    pub(super) nodes: Option<NodeCount>,
    #[serde(default, deserialize_with = "if_known")]
    pub(super) conditions: Vec<Said>,
}

/// A condition.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    message: String,
}

/// Leaves out what nobody here reads.
pub(super) fn trim(metadata: &mut ObjectMeta, status: &mut Progress) {
    metadata.annotations = None;
    metadata.finalizers = None;
    // Of whom it is the complain form.
    if complains_for(metadata).is_none() {
        metadata.owner_references = None;
    }
    let labels = metadata.labels.take().unwrap_or_default();
    let partial = labels.into_iter().filter(|(key, _)| key == PARTIAL);
    metadata.labels = Some(partial.collect());
    let is_error = status.status == Some(ProfileStatus::Error);
    status
        .conditions
        .retain(|said| is_error && said.r#type == READY);
    for said in &mut status.conditions {
        said.message = shortened(&said.message, REASON);
        said.message.shrink_to_fit();
    }
    status.conditions.shrink_to_fit();
}

/// A value; one that this version does not know counts as none.
pub(super) fn if_known<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(metadata: Value, state: Option<State>, status: Value) -> Standing {
        let mut metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        let mut status: Progress = serde_json::from_value(status).unwrap();
        let before = Standing::of(&metadata, state, &status);
        trim(&mut metadata, &mut status);
        // What is left out does not matter.
        assert_eq!(Standing::of(&metadata, state, &status), before);
        before
    }

    #[test]
    fn a_profile_is_on_a_node_or_it_is_told_why_not() {
        let ready = |ready: u32| json!({ "status": "InProgress", "nodes": { "ready": ready, "desired": 3 } });
        let refused = json!({
            "status": "Error",
            "conditions": [
                { "type": "Other", "message": "no" },
                { "type": "Ready", "message": "node a: not allowed" },
            ],
            "nodes": { "ready": 0, "desired": 1 },
        });
        let partial = json!({ "labels": { PARTIAL: "true", "other": "x" } });
        let gone = json!({ "deletionTimestamp": "2026-01-31T12:00:00Z" });
        let on = NodeCount {
            ready: 1,
            desired: 3,
        };
        for (metadata, state, status, expected) in [
            (json!({}), None, ready(1), Ok(on)),
            (
                json!({}),
                Some(State::Enabled),
                ready(0),
                Err("no node yet"),
            ),
            (json!({}), None, json!({}), Err("no node yet")),
            (
                json!({}),
                None,
                json!({ "status": "Newer" }),
                Err("no node yet"),
            ),
            (
                json!({}),
                None,
                json!({ "status": "Installed" }),
                Ok(NodeCount::default()),
            ),
            (
                json!({}),
                None,
                refused.clone(),
                Err("refused: node a: not allowed"),
            ),
            (json!({}), Some(State::Disabled), ready(1), Err("disabled")),
            (partial, None, ready(1), Err("merged")),
            (gone, None, ready(1), Err("deleted")),
        ] {
            let told = format!("{metadata} {status}");
            match (standing(metadata, state, status), expected) {
                (Standing::OnNodes(nodes), Ok(expected)) => assert_eq!(nodes, expected, "{told}"),
                (Standing::OnNone { why, .. }, Err(expected)) => {
                    assert!(why.contains(expected), "{told}: {why}");
                }
                (found, _) => panic!("{told}: {found:?}"),
            }
        }
    }
}
