//! What a recording says of this node. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::api::profile_recording::{RecordedContainer, RecordingNode};
use crate::recorder::cluster::{ContainerStatus, Dropped, RecordingStatus};

const NOT_HANDED_IN: &str = "the recorder ended before it had handed in what it had";

/// A recording's status as its element in `status.nodes`; nothing if the node has nothing of it.
pub fn node_status(node: &str, status: RecordingStatus) -> Option<RecordingNode> {
    let RecordingStatus {
        recording: _,
        containers,
        pods,
        dropped:
            Dropped {
                waiting,
                takes,
                commands: _,
            },
    } = status;
    if containers.is_empty() && pods.is_empty() {
        return None;
    }
    Some(RecordingNode {
        name: node.to_owned(),
        pods: pods.into_iter().collect(),
        containers: containers.into_iter().map(container).collect(),
        dropped: waiting.saturating_add(takes),
        taken: None,
        finished: false,
    })
}

/// Why what an earlier recorder of the node had of a recording is not complete, by container.
pub fn said_before(node: &RecordingNode) -> impl Iterator<Item = (&str, Vec<String>)> {
    // Of pods that had ended, it is not told which containers were not handed in.
    let is_any = node
        .containers
        .iter()
        .any(|container| container.running > 0);
    let some = !is_any && !node.pods.is_empty();
    node.containers.iter().filter_map(move |container| {
        let mut reasons = container.incomplete.clone();
        if container.running > 0 || some {
            reasons.push(NOT_HANDED_IN.to_owned());
        }
        (!reasons.is_empty()).then_some((&*container.name, reasons))
    })
}

/// Whether a node says why something is not complete.
pub fn is_incomplete(node: &RecordingNode) -> bool {
    let mut containers = node.containers.iter();
    containers.any(|container| !container.incomplete.is_empty())
}

/// What a node says last of a recording, once all is written: what is known now, and what it said before.
pub fn last_status(
    now: Option<RecordingNode>,
    said: Option<&RecordingNode>,
) -> Option<RecordingNode> {
    let mut node = now.or_else(|| said.cloned())?;
    for before in said.iter().flat_map(|said| &said.containers) {
        let mut own = node.containers.iter_mut();
        match own.find(|own| own.name == before.name) {
            Some(own) => {
                own.incomplete.extend(before.incomplete.iter().cloned());
                own.incomplete.sort();
                own.incomplete.dedup();
            }
            None => node.containers.push(before.clone()),
        }
    }
    for container in &mut node.containers {
        container.running = 0;
    }
    node.pods.clear();
    node.finished = true;
    Some(node)
}

fn container((name, status): (String, ContainerStatus)) -> RecordedContainer {
    let ContainerStatus {
        syscalls,
        last_new,
        replicas,
        agreeing,
        running,
        lost,
        partial,
    } = status;
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let last_new = last_new.and_then(|seconds| i64::try_from(seconds).ok());
    RecordedContainer {
        name,
        syscalls: number(syscalls),
        last_new_time: last_new
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Time),
        replicas: number(replicas),
        agreeing: number(agreeing),
        running: number(running),
        lost,
        incomplete: partial.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::recorder::cluster::RecordingKey;

    #[test]
    fn a_node_with_nothing_says_nothing() {
        let mut status = RecordingStatus {
            recording: RecordingKey {
                namespace: "a".to_owned(),
                name: "b".to_owned(),
            },
            containers: BTreeMap::new(),
            pods: std::collections::BTreeSet::new(),
            dropped: Dropped {
                waiting: 1,
                takes: 2,
                commands: 4,
            },
        };
        assert_eq!(node_status("node", status.clone()), None);
        let container = ContainerStatus {
            syscalls: 3,
            last_new: Some(0),
            partial: ["so".to_owned()].into(),
            ..ContainerStatus::default()
        };
        status.containers.insert("app".to_owned(), container);
        let told = serde_json::to_value(node_status("node", status)).unwrap();
        let expected = json!({
            "name": "node", "dropped": 3,
            "containers": [{
                "name": "app", "syscalls": 3, "lastNewTime": "1970-01-01T00:00:00Z", "replicas": 0,
                "agreeing": 0, "running": 0, "lost": 0, "incomplete": ["so"],
            }],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn the_last_word_of_a_node_keeps_what_is_known() {
        let container = |name: &str, running, incomplete: &[&str]| RecordedContainer {
            name: name.to_owned(),
            syscalls: 3,
            running,
            incomplete: incomplete.iter().copied().map(str::to_owned).collect(),
            ..RecordedContainer::default()
        };
        let node = |containers: Vec<RecordedContainer>| RecordingNode {
            name: "node".to_owned(),
            pods: vec!["pod".to_owned()],
            containers,
            ..RecordingNode::default()
        };
        assert_eq!(last_status(None, None), None);
        // All that was there is written.
        let said = node(vec![container("app", 1, &["so"]), container("old", 0, &[])]);
        let last = last_status(Some(node(vec![container("app", 0, &[])])), Some(&said)).unwrap();
        assert!(last.finished && last.pods.is_empty());
        let expected = [container("app", 0, &["so"]), container("old", 0, &[])];
        assert_eq!(last.containers, expected);
        // Said once, it stays.
        assert_eq!(last_status(None, Some(&last)), Some(last));
    }

    #[test]
    fn what_an_earlier_recorder_did_not_hand_in_is_said() {
        let container = |name: &str, running, incomplete: &[&str]| RecordedContainer {
            name: name.to_owned(),
            running,
            incomplete: incomplete.iter().copied().map(str::to_owned).collect(),
            ..RecordedContainer::default()
        };
        let said = RecordingNode {
            containers: vec![container("app", 1, &["so"]), container("old", 0, &[])],
            ..RecordingNode::default()
        };
        assert!(is_incomplete(&said));
        let before: Vec<_> = said_before(&said).collect();
        let expected = vec!["so".to_owned(), NOT_HANDED_IN.to_owned()];
        assert_eq!(before, [("app", expected)]);
        // What had ended was not written yet.
        let said = RecordingNode {
            pods: vec!["pod".to_owned()],
            containers: vec![container("app", 0, &[])],
            ..RecordingNode::default()
        };
        let before: Vec<_> = said_before(&said).collect();
        assert_eq!(before, [("app", vec![NOT_HANDED_IN.to_owned()])]);
    }
}
