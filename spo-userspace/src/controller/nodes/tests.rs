use serde_json::{Value, json};

use super::*;

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "spod-1", "labels": { "a": "b" }, "uid": "1" },
        "spec": { "nodeName": "one", "containers": [{ "name": "c", "image": "i" }] },
        "status": status,
    }))
    .unwrap()
}

#[test]
fn a_trimmed_pod_says_the_same() {
    for status in [
        json!({}),
        json!({ "conditions": [{ "type": "Ready", "status": "True" }] }),
        json!({ "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        }] }),
    ] {
        let pod = pod(&status);
        let mut trimmed = pod.clone();
        assert!(trim(&mut trimmed));
        assert_eq!(is_ready(&trimmed), is_ready(&pod));
        assert_eq!(trouble(&trimmed), trouble(&pod));
        assert_eq!(node_of(&trimmed), Some("one"));
        assert_eq!(trimmed.uid(), pod.uid());
        assert!(trimmed.metadata.labels.is_none());
    }
}

#[test]
fn trouble_is_that_of_the_first_container_that_has_any() {
    let container = |state: &Value| json!({ "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
    let of = |first: &Value, second: &Value| {
        trouble(&pod(&json!({
            "initContainerStatuses": [container(first)],
            "containerStatuses": [container(second)],
        })))
    };
    let waiting = json!({ "waiting": { "reason": "PodInitializing" } });
    let failed = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
    let pull = json!({ "waiting": { "reason": "ImagePullBackOff" } });
    let running = json!({ "running": {} });
    assert_eq!(of(&failed, &waiting).as_deref(), Some("Error"));
    assert_eq!(of(&done, &pull).as_deref(), Some("ImagePullBackOff"));
    assert_eq!(of(&done, &running), None);
    assert_eq!(of(&running, &waiting), None);
}

#[test]
fn only_reports_about_the_folder_count() {
    let report = |reason: Option<&str>| -> Report {
        serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "nodeName": "one" },
            "status": { "status": "Error", "reason": reason },
        }))
        .unwrap()
    };
    assert!(is_about_folder(&mut report(Some("FolderUnusable"))));
    assert!(!is_about_folder(&mut report(Some("InvalidSeccompProfile"))));
    assert!(!is_about_folder(&mut report(None)));
    let other_version = serde_json::from_value(json!({ "metadata": { "name": "a" } }));
    assert!(!is_about_folder(&mut other_version.unwrap()));
}
