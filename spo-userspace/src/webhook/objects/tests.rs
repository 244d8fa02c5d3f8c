use serde_json::{Value, json};

use super::super::review::{Answer, Request};
use super::review;

fn seccomp(spec: &Value) -> Value {
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SeccompProfile",
        "metadata": { "name": "web" },
        "spec": spec,
    })
}

fn create(object: Value) -> Request {
    Request {
        uid: "1".to_owned(),
        operation: "CREATE".to_owned(),
        object,
        ..Request::default()
    }
}

fn bad() -> Value {
    seccomp(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_ALOW" },
            { "names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 7, "op": "SCMP_CMP_EQ" }] },
        ],
    }))
}

#[test]
fn all_problems_are_told_with_their_fields() {
    let refusal = review(&create(bad())).refusal.unwrap();
    insta::assert_snapshot!(refusal);
}

#[test]
fn problems_in_policies_are_told_with_their_lines() {
    let raw = json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "RawSelinuxProfile",
        "metadata": { "name": "web" },
        "spec": { "policy": "(blockinherit container)\n(block inner\n  (type t))\n" },
    });
    let refusal = review(&create(raw)).refusal.unwrap();
    insta::assert_snapshot!(refusal);
}

#[test]
fn what_changes_no_spec_is_never_refused() {
    let update = |object: Value, old_object: Value| Request {
        operation: "UPDATE".to_owned(),
        old_object,
        ..create(object)
    };
    let mut labelled = bad();
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    assert_eq!(review(&update(labelled, bad())), Answer::default());
    let good = seccomp(&json!({ "defaultAction": "SCMP_ACT_ERRNO" }));
    assert!(review(&update(bad(), good.clone())).refusal.is_some());
    assert_eq!(review(&update(good, bad())).refusal, None);
    let mut deleting = bad();
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(review(&update(deleting, json!({}))), Answer::default());
    let status = Request {
        sub_resource: "status".to_owned(),
        ..update(bad(), json!({}))
    };
    assert_eq!(review(&status), Answer::default());
}

#[test]
fn what_others_keep_in_an_object_is_not_judged() {
    let mut object = seccomp(&json!({ "defaultAction": "SCMP_ACT_ERRNO" }));
    object["status"] = json!({ "status": "Nonsense", "unknown": 1 });
    object["metadata"] = json!({ "generateName": "web-", "unknown": 1, "labels": { "a": 1 } });
    assert_eq!(review(&create(object)).refusal, None);
}

#[test]
fn findings_of_weight_are_warned_of() {
    let object = seccomp(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{ "names": ["bpf", "raed", "open"], "action": "SCMP_ACT_ALLOW" }],
    }));
    let answer = review(&create(object));
    assert_eq!(answer.refusal, None);
    insta::assert_snapshot!(answer.warnings.join("\n"));
}

#[test]
fn answers_are_bounded() {
    let rules: Vec<_> = (0..20_000)
        .map(|number| json!({ "names": [format!("x{number}")], "action": "x".repeat(50) }))
        .collect();
    let object = seccomp(&json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules }));
    let answer = review(&create(object));
    let refusal = answer.refusal.as_deref().unwrap();
    assert!(refusal.len() < 4300, "{}", refusal.len());
    assert!(refusal.contains("more: `spo check` tells all"), "{refusal}");
    let text = answer.of(&Request::default())["response"]["warnings"].to_string();
    assert!(text.len() < 5000, "{}", text.len());
}

#[test]
fn nonsense_is_refused_and_not_more() {
    for object in [
        json!(null),
        json!([]),
        json!("x"),
        json!({}),
        json!({ "kind": "Pod" }),
    ] {
        let answer = review(&create(object.clone()));
        assert!(answer.refusal.is_some(), "{object}");
    }
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    let answer = review(&create(seccomp(&json!({ "defaultAction": deep }))));
    assert!(answer.refusal.is_some());
}
