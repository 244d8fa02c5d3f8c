//! This node's status of a profile, as an object: what to create, and what to patch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::plan::Say;
use crate::api::names::{
    NODE_NAME, PROFILE_ID, PROFILE_KIND, PROFILE_STATE, node_label, node_status, profile_id,
};
use crate::api::node_status::NodeStatus;
use crate::api::{SeccompProfile, SecurityProfileNodeStatus, SecurityProfileNodeStatusSpec};

/// The kind of profile.
pub(super) const KIND: &str = "SeccompProfile";
/// The longest message that the definition takes, in characters.
const LONGEST_MESSAGE: usize = 32768;

/// Which status it is.
#[derive(Clone, Debug)]
pub(super) struct Target<'a> {
    pub(super) profile: &'a str,
    pub(super) uid: &'a str,
    pub(super) node: &'a str,
}

impl Target<'_> {
    /// The object's name.
    pub(super) fn name(&self) -> String {
        node_status(KIND, self.profile, self.node)
    }

    fn labels(&self, said: &Say) -> [(&'static str, String); 4] {
        [
            (PROFILE_ID, profile_id(KIND, self.profile)),
            (PROFILE_KIND, KIND.to_owned()),
            (PROFILE_STATE, said.state.to_string()),
            (NODE_NAME, node_label(self.node)),
        ]
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: SeccompProfile::api_version(&()).into_owned(),
            kind: KIND.to_owned(),
            name: self.profile.to_owned(),
            uid: self.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }
    }

    /// The object without its status, which is written apart.
    pub(super) fn new_object(&self, said: &Say) -> SecurityProfileNodeStatus {
        let labels = self.labels(said);
        SecurityProfileNodeStatus {
            metadata: ObjectMeta {
                name: Some(self.name()),
                labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
                owner_references: Some(vec![self.owner()]),
                ..ObjectMeta::default()
            },
            spec: SecurityProfileNodeStatusSpec {
                node_name: self.node.to_owned(),
            },
            status: None,
        }
    }

    /// What is to be merged into the metadata of an object; `None` if it is right. Without an
    /// object, everything.
    pub(super) fn metadata_patch(
        &self,
        object: Option<&SecurityProfileNodeStatus>,
        said: &Say,
    ) -> Option<Value> {
        let labels = self.labels(said);
        let owner = self.owner();
        let right = object.is_some_and(|object| {
            labels
                .iter()
                .all(|(name, value)| object.labels().get(*name) == Some(value))
                && object.owner_references() == [owner.clone()]
        });
        if right {
            return None;
        }
        let labels: serde_json::Map<_, _> = labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        Some(json!({ "metadata": { "labels": labels, "ownerReferences": [owner] } }))
    }
}

/// What is to be merged into a status; `None` if it says that already.
pub(super) fn status_patch(
    before: Option<&NodeStatus>,
    said: &Say,
    recorded_elsewhere: Option<String>,
    now: Timestamp,
) -> Option<Value> {
    let Say {
        state,
        reason,
        message,
        digest,
        generation,
    } = said.clone();
    let nothing = NodeStatus::default();
    let before = before.unwrap_or(&nothing);
    let reason = reason.map(|reason| reason.to_string());
    let lasts = before.status == Some(state) && before.reason == reason;
    let since = before.since.clone().filter(|_| lasts);
    let after = NodeStatus {
        status: Some(state),
        reason,
        message: message.map(shortened),
        digest,
        observed_generation: generation,
        since: Some(since.unwrap_or(Time(now))),
        recorded_elsewhere: recorded_elsewhere.map(shortened),
    };
    if after == *before {
        return None;
    }
    let NodeStatus {
        status,
        reason,
        message,
        digest,
        observed_generation,
        since,
        recorded_elsewhere,
    } = after;
    // A null removes what was there.
    Some(json!({ "status": {
        "status": status,
        "reason": reason,
        "message": message,
        "digest": digest,
        "observedGeneration": observed_generation,
        "since": since,
        "recordedElsewhere": recorded_elsewhere,
    }}))
}

fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST_MESSAGE {
        return text;
    }
    let mut text: String = text.chars().take(LONGEST_MESSAGE - 1).collect();
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::common::ProfileStatus;
    use crate::api::node_status::Reason;

    fn said() -> Say {
        Say {
            state: ProfileStatus::Error,
            reason: Some(Reason::Unsupported),
            message: Some("why".to_owned()),
            digest: None,
            generation: Some(3),
        }
    }

    const TARGET: Target<'static> = Target {
        profile: "nginx",
        uid: "1-2-3",
        node: "node-1",
    };

    fn merged(before: &NodeStatus, patch: &Value) -> NodeStatus {
        let mut value = serde_json::to_value(before).unwrap();
        for (name, new) in patch["status"].as_object().unwrap() {
            value[name] = new.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn objects() {
        let object = TARGET.new_object(&said());
        insta::assert_snapshot!(serde_json::to_string_pretty(&object).unwrap());
        assert_eq!(TARGET.metadata_patch(Some(&object), &said()), None);
        let other = Say {
            state: ProfileStatus::Installed,
            ..said()
        };
        assert!(TARGET.metadata_patch(Some(&object), &other).is_some());
        let again = Target {
            uid: "4-5-6",
            ..TARGET
        };
        let patch = again.metadata_patch(Some(&object), &said()).unwrap();
        assert_eq!(patch["metadata"]["ownerReferences"][0]["uid"], "4-5-6");
        assert!(TARGET.metadata_patch(None, &said()).is_some());
    }

    #[test]
    fn a_status_is_written_when_it_changes_and_since_when_its_state_does() {
        let (first, later) = (
            Timestamp::from_second(1).unwrap(),
            Timestamp::from_second(2).unwrap(),
        );
        let patch = status_patch(None, &said(), None, first).unwrap();
        let status = merged(&NodeStatus::default(), &patch);
        assert_eq!(status_patch(Some(&status), &said(), None, later), None);
        let newer = Say {
            generation: Some(4),
            ..said()
        };
        let patch = status_patch(Some(&status), &newer, None, later).unwrap();
        let status = merged(&status, &patch);
        assert_eq!(status.since, Some(Time(first)));
        assert_eq!(status.observed_generation, Some(4));
        let installed = Say {
            state: ProfileStatus::Installed,
            reason: None,
            message: None,
            digest: Some("sha256:1".to_owned()),
            generation: Some(4),
        };
        let elsewhere = || Some("recorded on another".to_owned());
        let patch = status_patch(Some(&status), &installed, elsewhere(), later).unwrap();
        let status = merged(&status, &patch);
        assert_eq!(status.recorded_elsewhere, elsewhere());
        let same = status_patch(Some(&status), &installed, elsewhere(), later);
        assert_eq!(same, None);
        let patch = status_patch(Some(&status), &installed, None, first).unwrap();
        let status = merged(&status, &patch);
        assert_eq!(status.recorded_elsewhere, None);
        assert_eq!(status.since, Some(Time(later)));
        assert_eq!((status.reason, status.message), (None, None));
    }

    #[test]
    fn messages_fit() {
        let text = shortened("ä".repeat(40000));
        assert_eq!(text.chars().count(), LONGEST_MESSAGE);
        assert!(text.ends_with('…'));
    }
}
