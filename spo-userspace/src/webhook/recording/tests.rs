use serde_json::{Value, json};

use super::super::review::{Answer, Request};
use super::{Recorders, Recording, review, suffix};
use crate::api::marks::Mark;

const ON: Recorders = Recorders {
    bpf: true,
    logs: true,
    labelled: false,
    log_profile: true,
};
const BPF_APP: &str = "io.containers.trace-bpf/app";

fn recording(name: &str, spec: Value) -> Recording {
    Recording {
        name: name.to_owned(),
        spec: Some(serde_json::from_value(spec).unwrap()),
    }
}

fn of_all(name: &str, recorder: &str) -> Recording {
    recording(
        name,
        json!({ "kind": "SeccompProfile", "recorder": recorder, "podSelector": {} }),
    )
}

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": "web" } },
        "spec": {
            "initContainers": [{ "name": "first" }],
            "containers": [{ "name": "app" }, { "name": "side" }],
        },
    })
}

fn request(operation: &str, object: &Value, old_object: &Value) -> Request {
    Request {
        uid: "some-uid".to_owned(),
        operation: operation.to_owned(),
        namespace: "team".to_owned(),
        object: object.clone(),
        old_object: old_object.clone(),
        ..Request::default()
    }
}

fn create(pod: &Value, recordings: &[Recording], recorders: Recorders) -> Answer {
    review(
        &request("CREATE", pod, &Value::Null),
        recordings,
        recorders,
        1_700_000_000,
    )
}

/// The pod as it is after an answer.
fn patched(pod: &Value, answer: &Answer) -> Value {
    let mut pod = pod.clone();
    if let Some(patch) = &answer.patch {
        json_patch::patch(&mut pod, patch).unwrap();
    }
    pod
}

#[test]
fn each_container_of_a_recorded_pod_is_marked() {
    let pod = pod();
    let answer = create(&pod, &[of_all("web", "Bpf")], ON);
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    let marked = patched(&pod, &answer);
    let annotations = marked["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.len(), 3);
    for container in ["first", "app", "side"] {
        let value = annotations[&format!("io.containers.trace-bpf/{container}")].as_str();
        let mark = Mark::parse(value.unwrap()).unwrap();
        assert_eq!((&*mark.recording, &*mark.container), ("web", container));
        assert_eq!((mark.suffix.len(), mark.seconds), (5, 1_700_000_000));
    }
    assert_eq!(marked["spec"], pod["spec"]);
}

#[test]
fn only_pods_and_containers_that_are_chosen() {
    let pod = pod();
    let spec = |containers: &[&str], label: &str| {
        let selector = json!({ "matchLabels": { "app": label } });
        json!({ "kind": "SeccompProfile", "recorder": "Bpf", "containers": containers, "podSelector": selector })
    };
    let one = create(&pod, &[recording("web", spec(&["side"], "web"))], ON);
    let marked = patched(&pod, &one);
    let annotations = marked["metadata"]["annotations"].as_object().unwrap();
    let keys: Vec<_> = annotations.keys().collect();
    assert_eq!(keys, ["io.containers.trace-bpf/side"]);
    let none = create(&pod, &[recording("web", spec(&[], "other"))], ON);
    assert_eq!(none, Answer::default());
}

#[test]
fn several_recordings_of_one_container() {
    let pod = pod();
    let answer = create(&pod, &[of_all("b", "Bpf"), of_all("a", "Bpf")], ON);
    let marked = patched(&pod, &answer);
    let value = marked["metadata"]["annotations"][BPF_APP].as_str().unwrap();
    let names: Vec<_> = Mark::all(value)
        .into_iter()
        .map(|mark| mark.recording)
        .collect();
    assert_eq!(names, ["a", "b"]);

    let many: Vec<_> = (10..30).map(|n| of_all(&format!("r{n}"), "Bpf")).collect();
    let answer = create(&pod, &many, ON);
    let marked = patched(&pod, &answer);
    let value = marked["metadata"]["annotations"][BPF_APP].as_str().unwrap();
    assert_eq!(Mark::all(value).len(), 16);
    assert_eq!(answer.warnings.len(), 3 * 4, "{:?}", answer.warnings);
}

#[test]
fn marks_stay_as_they_are() {
    let pod = pod();
    let recordings = [of_all("web", "Bpf")];
    let first = patched(&pod, &create(&pod, &recordings, ON));
    let later = |object: &Value| {
        let mut request = request("UPDATE", object, &first);
        request.uid = "another".to_owned();
        review(&request, &recordings, ON, 1_800_000_000)
    };
    assert_eq!(later(&first), Answer::default());
    // Whoever replaces the object from a file knows nothing of them.
    let mut bare = pod.clone();
    bare["metadata"]["labels"]["more"] = json!("1");
    let kept = patched(&bare, &later(&bare));
    assert_eq!(
        kept["metadata"]["annotations"],
        first["metadata"]["annotations"]
    );
    // Another webhook added a container to a pod that is being made.
    let mut more = first.clone();
    more["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "proxy" }));
    let again = patched(&more, &create(&more, &recordings, ON));
    assert_eq!(
        again["metadata"]["annotations"][BPF_APP],
        first["metadata"]["annotations"][BPF_APP]
    );
    assert!(again["metadata"]["annotations"]["io.containers.trace-bpf/proxy"].is_string());
}

#[test]
fn marks_of_other_recordings_are_not_copied_to_a_new_pod() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({ BPF_APP: "gone_app_bcdfg_1,x,web_app_xxxxx_5" });
    let marked = patched(&pod, &create(&pod, &[of_all("web", "Bpf")], ON));
    assert_eq!(
        marked["metadata"]["annotations"][BPF_APP],
        "web_app_xxxxx_5"
    );
    // Without a recording, it is nothing of ours.
    assert_eq!(create(&pod, &[], ON), Answer::default());
}

#[test]
fn it_is_said_that_a_profile_will_not_hold_a_privileged_container() {
    let mut pod = pod();
    assert!(
        create(&pod, &[of_all("web", "Bpf")], ON)
            .warnings
            .is_empty()
    );
    pod["spec"]["containers"][1]["securityContext"] = json!({ "privileged": true });
    let told = create(&pod, &[of_all("web", "Bpf")], ON).warnings;
    assert_eq!(told.len(), 1, "{told:?}");
    let expected = "the container side is privileged, and runtimes give privileged containers no";
    assert!(told[0].starts_with(expected), "{told:?}");
    assert!(told[0].contains("the profile of `web`"), "{told:?}");
    // All of it is told.
    assert!(told[0].len() < 256, "{told:?}");
    let update = request("UPDATE", &pod, &pod);
    let told = review(&update, &[of_all("web", "Bpf")], ON, 1).warnings;
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn containers_are_loosened_for_the_audit_log_and_it_is_said() {
    let mut pod = pod();
    let runtime = json!({ "type": "RuntimeDefault" });
    pod["spec"]["securityContext"] = json!({ "seccompProfile": runtime });
    pod["spec"]["containers"][0]["securityContext"] = json!({
        "runAsUser": 1,
        "seccompProfile": { "type": "Localhost", "localhostProfile": "operator/own.json" },
    });
    pod["spec"]["containers"][1]["securityContext"] = json!({ "privileged": true });
    pod["metadata"]["annotations"] = json!({ "container.seccomp.security.alpha.kubernetes.io/app": "localhost/operator/own.json" });
    let answer = create(&pod, &[of_all("web", "Logs")], ON);
    let marked = patched(&pod, &answer);
    let log =
        json!({ "type": "Localhost", "localhostProfile": "operator/log-enricher-trace.json" });
    let context = |list: &str, index: usize| marked["spec"][list][index]["securityContext"].clone();
    assert_eq!(context("initContainers", 0)["seccompProfile"], log);
    assert_eq!(
        context("containers", 0),
        json!({ "runAsUser": 1, "seccompProfile": log })
    );
    assert_eq!(context("containers", 1), json!({ "privileged": true }));
    let annotations = marked["metadata"]["annotations"].as_object().unwrap();
    assert!(
        annotations
            .keys()
            .all(|key| key.starts_with("io.containers.trace-logs/"))
    );
    let told = answer.warnings.join("\n");
    for expected in [
        "the container first is loosened for `web`",
        "instead of under `RuntimeDefault`",
        "instead of under `operator/own.json`",
        "the container side is privileged",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // It cannot be changed later, and nobody tries to.
    let update = request("UPDATE", &pod, &pod);
    let answer = review(&update, &[of_all("web", "Logs")], ON, 1);
    assert_eq!(patched(&pod, &answer)["spec"], pod["spec"]);
    assert!(
        answer.warnings[0].contains("is there already"),
        "{:?}",
        answer.warnings
    );
}

#[test]
fn where_memory_is_to_be_saved_pods_need_a_label() {
    let saving = Recorders {
        labelled: true,
        ..ON
    };
    let recordings = [of_all("web", "Logs")];
    for value in [None, Some("false"), Some("true")] {
        let mut pod = pod();
        if let Some(value) = value {
            pod["metadata"]["labels"]["spo.x-k8s.io/enable-recording"] = json!(value);
        }
        let answer = create(&pod, &recordings, saving);
        let told = answer.warnings.join("\n");
        assert_eq!(answer.patch.is_some(), value == Some("true"), "{told}");
        assert_eq!(
            told.contains("enableMemoryOptimization"),
            value != Some("true"),
            "{told}"
        );
    }
}

#[test]
fn nothing_is_loosened_without_the_profile_or_for_a_static_pod() {
    let without = Recorders {
        log_profile: false,
        ..ON
    };
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
    for (pod, recorders, expected) in [
        (
            pod(),
            without,
            "there is no SeccompProfile `log-enricher-trace`",
        ),
        (mirror, ON, "static pod"),
    ] {
        let answer = create(&pod, &[of_all("web", "Logs")], recorders);
        assert_eq!(patched(&pod, &answer)["spec"], pod["spec"]);
        assert_eq!(answer.warnings.len(), 3);
        assert!(
            answer.warnings[0].contains(expected),
            "{:?}",
            answer.warnings
        );
    }
}

#[test]
fn what_cannot_be_recorded_is_said_and_not_marked() {
    let pod = pod();
    let pair = |kind: &str, recorder: &str| {
        recording(
            "web",
            json!({ "kind": kind, "recorder": recorder, "podSelector": {} }),
        )
    };
    let broken = json!({ "matchExpressions": [{ "key": "a", "operator": "Near" }] });
    let broken = json!({ "kind": "SeccompProfile", "recorder": "Bpf", "podSelector": broken });
    let unreadable = Recording {
        name: "web".to_owned(),
        spec: None,
    };
    for (recording, recorders, expected) in [
        (
            pair("SeccompProfile", "Bpf"),
            Recorders::default(),
            "spec.enricher.enableBpfRecorder",
        ),
        (
            pair("SeccompProfile", "Logs"),
            Recorders::default(),
            "spec.enricher.enableLogEnricher",
        ),
        (pair("AppArmorProfile", "Logs"), ON, "need the recorder Bpf"),
        (pair("SelinuxProfile", "Bpf"), ON, "need the recorder Logs"),
        (
            pair("SelinuxProfile", "Logs"),
            ON,
            "records SeccompProfiles only",
        ),
        (recording("web", broken), ON, "podSelector cannot be read"),
        (unreadable, ON, "this version cannot read it"),
    ] {
        let answer = create(&pod, std::slice::from_ref(&recording), recorders);
        assert_eq!(answer.patch, None);
        assert!(
            answer.warnings[0].contains(expected),
            "{:?}",
            answer.warnings
        );
        // That is not said again at each change of a pod.
        let update = request("UPDATE", &pod, &pod);
        assert_eq!(
            review(&update, &[recording], recorders, 1),
            Answer::default()
        );
    }
}

#[test]
fn ephemeral_containers() {
    let old = pod();
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([{ "name": "debug" }]);
    let mut request = request("UPDATE", &new, &old);
    request.sub_resource = "ephemeralcontainers".to_owned();
    let answer = review(&request, &[of_all("web", "Logs")], ON, 1);
    let changed = patched(&new, &answer);
    // Only this can be changed here.
    assert_eq!(changed["metadata"], new["metadata"]);
    assert_eq!(changed["spec"]["containers"], new["spec"]["containers"]);
    let profile = &changed["spec"]["ephemeralContainers"][0]["securityContext"]["seccompProfile"];
    assert_eq!(
        profile["localhostProfile"],
        "operator/log-enricher-trace.json"
    );
    assert_eq!(answer.warnings.len(), 1);
    // One that is there already stays.
    request.old_object = changed.clone();
    request.object = changed;
    assert_eq!(
        review(&request, &[of_all("web", "Logs")], ON, 1),
        Answer::default()
    );
}

#[test]
fn what_is_deleted_or_no_pod_is_left_alone() {
    let recordings = [of_all("web", "Logs")];
    let mut leaving = pod();
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z");
    let alone = json!({ "kind": "EphemeralContainers", "ephemeralContainers": [{ "name": "a" }] });
    for (operation, object) in [
        ("DELETE", Value::Null),
        ("UPDATE", leaving),
        ("UPDATE", alone),
    ] {
        let request = request(operation, &object, &pod());
        assert_eq!(review(&request, &recordings, ON, 1), Answer::default());
    }
}

#[test]
fn suffixes_differ() {
    let all: std::collections::BTreeSet<_> = (0..100)
        .map(|n| suffix(&n.to_string(), "web", "app"))
        .collect();
    assert!(
        all.len() > 95 && all.iter().all(|one| one.len() == 5),
        "{all:?}"
    );
}
