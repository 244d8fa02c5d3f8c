use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::lookup::{GuardedBinding, Server};
use super::super::review::Request;
use super::super::standing::Standing;
use super::super::state::{Found, Namespaces};
use super::{Circumstances, Decision, Key, Profiles, choose, decide};
use crate::api::bindings::{Applied, BINDINGS, GATE, Outcome};
use crate::api::common::{NodeCount, ProfileKind};
use crate::api::names::localhost_profile;
use crate::profile::named::Named as _;

mod odd;
mod profiles;

const OPERATOR: &str = "spo";
const NEW: Server = Server { minor: 33 };
const OLD: Server = Server { minor: 20 };
const WEB: &str = "operator/web.json";

#[expect(clippy::needless_pass_by_value, reason = "so that `json!` reads well")]
fn binding(id: &str, more: Value) -> Arc<GuardedBinding> {
    let (namespace, name) = id.split_once('/').unwrap();
    let mut object = json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "ProfileBinding",
        "metadata": { "namespace": namespace, "name": name, "uid": format!("uid of {name}") },
        "spec": { "profileRef": { "kind": "SeccompProfile", "name": name }, "image": "nginx:1.25" },
    });
    for (field, value) in more.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn key(kind: ProfileKind, name: &str) -> Key {
    (kind, name.to_owned())
}

fn found(standing: Standing) -> Found {
    Found {
        kind: "SeccompProfile",
        name: "web".to_owned(),
        namespaces: Namespaces::All,
        standing,
        complains_for: None,
    }
}

fn installed() -> Found {
    found(Standing::OnNodes(NodeCount {
        ready: 3,
        desired: 3,
    }))
}

/// Profiles of all kinds that every node has.
fn profiles(names: &[&str]) -> Profiles {
    let kinds = || ProfileKind::ALL.iter().map(|(kind, _)| *kind);
    let names = names.iter();
    names
        .flat_map(|name| {
            let found = Found {
                complains_for: name.strip_suffix(".complain").map(str::to_owned),
                ..installed()
            };
            kinds().map(move |kind| (key(kind, name), found.clone()))
        })
        .collect()
}

fn pod() -> Value {
    json!({
        "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": "web" } },
        "spec": {
            "initContainers": [{ "name": "first", "image": "busybox" }],
            "containers": [
                { "name": "app", "image": "nginx:1.25" },
                { "name": "side", "image": "redis:7" },
            ],
        },
    })
}

fn create(pod: &Value) -> Request {
    Request {
        operation: "CREATE".to_owned(),
        namespace: "shop".to_owned(),
        object: pod.clone(),
        ..Request::default()
    }
}

fn asked(
    request: &Request,
    bindings: &[Arc<GuardedBinding>],
    profiles: &Profiles,
    server: Server,
) -> Decision {
    let labels = BTreeMap::from([("tier".to_owned(), "shop".to_owned())]);
    let plan = choose(request, bindings, Some(&labels), OPERATOR, server);
    let circumstances = Circumstances {
        labels: Some(&labels),
        server,
        recorded: &BTreeMap::new(),
    };
    decide(request, plan, profiles, &circumstances)
}

/// The object as it is after an answer.
fn after(request: &Request, decision: &Decision) -> Value {
    let mut object = request.object.clone();
    if let Some(patch) = &decision.answer.patch {
        json_patch::patch(&mut object, patch).unwrap();
    }
    object
}

/// A pod that is taken, as it is then.
fn made(pod: &Value, bindings: &[Arc<GuardedBinding>], profiles: &Profiles) -> Value {
    let request = create(pod);
    let decision = asked(&request, bindings, profiles, NEW);
    assert_eq!(decision.answer.refusal, None);
    assert_eq!(decision.notes, []);
    after(&request, &decision)
}

fn applied(pod: &Value) -> Vec<Applied> {
    let value = pod["metadata"]["annotations"][BINDINGS].as_str();
    value.map(Applied::all).unwrap_or_default()
}

fn seccomp<'v>(pod: &'v Value, list: &str, index: usize) -> &'v Value {
    &pod["spec"][list][index]["securityContext"]["seccompProfile"]
}

fn localhost(path: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": path })
}

fn is_waiting(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.is_some_and(|gates| gates.contains(&json!({ "name": GATE })))
}

#[test]
fn the_containers_of_an_image_get_the_profile() {
    let bindings = [binding("shop/web", json!({}))];
    let made = made(&pod(), &bindings, &profiles(&["web"]));
    assert_eq!(*seccomp(&made, "containers", 0), localhost(WEB));
    assert_eq!(*seccomp(&made, "containers", 1), Value::Null);
    assert_eq!(*seccomp(&made, "initContainers", 0), Value::Null);
    assert_eq!(made["spec"]["securityContext"], Value::Null);
    let applied = applied(&made);
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0].binding, "shop/web");
    assert_eq!(applied[0].containers, ["app"]);
    assert_eq!(applied[0].outcome, Outcome::Bound);
    assert!(!is_waiting(&made));
}

#[test]
fn init_containers_are_bound_as_well_and_told_together() {
    let bindings = [binding("shop/web", json!({ "image": "*/*:*" }))];
    let made = made(&pod(), &bindings, &profiles(&["web"]));
    assert_eq!(*seccomp(&made, "initContainers", 0), localhost(WEB));
    assert_eq!(applied(&made)[0].containers, ["first", "app", "side"]);
}

#[test]
fn wildcard_and_image_stand_side_by_side_in_whichever_order() {
    let mut bindings = vec![
        binding("shop/all", json!({ "image": "*" })),
        binding("shop/web", json!({})),
        binding(
            "spo/every",
            json!({ "image": "*", "namespaceSelector": {} }),
        ),
    ];
    for _ in 0..2 {
        let made = made(&pod(), &bindings, &profiles(&["web", "all", "every"]));
        assert_eq!(
            made["spec"]["securityContext"]["seccompProfile"],
            localhost("operator/all.json")
        );
        assert_eq!(*seccomp(&made, "containers", 0), localhost(WEB));
        let applied = applied(&made);
        let told: Vec<_> = applied
            .iter()
            .map(|one| (&*one.binding, one.containers.len()))
            .collect();
        assert_eq!(
            BTreeSet::from_iter(told),
            [("shop/all", 0), ("shop/web", 1)].into()
        );
        bindings.reverse();
    }
}

#[test]
fn what_a_pod_brings_itself_gives_way_to_an_image_and_not_to_a_wildcard() {
    let mut own = pod();
    own["spec"]["containers"][0]["securityContext"] =
        json!({ "seccompProfile": { "type": "Unconfined" }, "runAsUser": 7 });
    let image = [binding("shop/web", json!({}))];
    let request = create(&own);
    let decision = asked(&request, &image, &profiles(&["web"]), NEW);
    let bound = after(&request, &decision);
    assert_eq!(*seccomp(&bound, "containers", 0), localhost(WEB));
    assert_eq!(
        bound["spec"]["containers"][0]["securityContext"]["runAsUser"],
        7
    );
    let told = &decision.answer.warnings;
    assert!(
        told.iter()
            .any(|told| told.contains("no longer under `Unconfined`")),
        "{told:?}"
    );

    let wildcard = [binding("shop/all", json!({ "image": "*" }))];
    let kept = made(&own, &wildcard, &profiles(&["all"]));
    assert_eq!(
        *seccomp(&kept, "containers", 0),
        json!({ "type": "Unconfined" })
    );
    assert_eq!(applied(&kept)[0].containers, [""; 0]);
    own["spec"]["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    assert_eq!(made(&own, &wildcard, &profiles(&["all"])), own);
    // Where every container says something, there is nothing to be given.
    let mut all = pod();
    for (list, index) in [("initContainers", 0), ("containers", 0), ("containers", 1)] {
        all["spec"][list][index]["securityContext"] =
            json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    }
    assert_eq!(made(&all, &wildcard, &profiles(&["all"])), all);
}

#[test]
fn asked_again_the_answer_is_the_same() {
    let bindings = [
        binding("shop/all", json!({ "image": "*" })),
        binding("shop/web", json!({ "whenNotInstalled": "Wait" })),
    ];
    for profiles in [profiles(&["web", "all"]), Profiles::new()] {
        let first = made(&pod(), &bindings, &profiles);
        assert_eq!(made(&first, &bindings, &profiles), first);
        assert_eq!(applied(&first).len(), 2);
        // A container that another webhook adds meanwhile counts as well.
        let mut more = first;
        let added = json!({ "name": "added", "image": "docker.io/library/nginx:1.25" });
        more["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(added);
        let second = made(&more, &bindings, &profiles);
        assert_eq!(*seccomp(&second, "containers", 2), localhost(WEB));
    }
}

#[test]
fn what_a_pod_claims_of_bindings_goes() {
    let mut lying = pod();
    lying["metadata"]["annotations"] = json!({ BINDINGS: "[]", "theirs": "1" });
    lying["spec"]["schedulingGates"] = json!([{ "name": "theirs" }, { "name": GATE }]);
    let plain = made(&lying, &[], &Profiles::new());
    assert_eq!(plain["metadata"]["annotations"], json!({ "theirs": "1" }));
    assert_eq!(
        plain["spec"]["schedulingGates"],
        json!([{ "name": "theirs" }])
    );
}

#[test]
fn ephemeral_containers_are_bound_when_they_come() {
    let mut old = pod();
    old["spec"]["ephemeralContainers"] = json!([{ "name": "before", "image": "nginx:1.25" }]);
    let mut new = old.clone();
    let more = new["spec"]["ephemeralContainers"].as_array_mut().unwrap();
    more.push(json!({ "name": "debug", "image": "nginx:1.25" }));
    more.push(json!({ "name": "other", "image": "busybox" }));
    let request = Request {
        operation: "UPDATE".to_owned(),
        sub_resource: "ephemeralcontainers".to_owned(),
        old_object: old,
        ..create(&new)
    };
    let bindings = [
        binding("shop/web", json!({})),
        binding("shop/all", json!({ "image": "*" })),
    ];
    let decision = asked(&request, &bindings, &profiles(&["web", "all"]), NEW);
    let bound = after(&request, &decision);
    assert_eq!(*seccomp(&bound, "ephemeralContainers", 0), Value::Null);
    assert_eq!(*seccomp(&bound, "ephemeralContainers", 1), localhost(WEB));
    assert_eq!(
        *seccomp(&bound, "ephemeralContainers", 2),
        localhost("operator/all.json")
    );
    // Nothing else of the pod can be changed any more.
    assert_eq!(bound["spec"]["containers"], new["spec"]["containers"]);
    assert_eq!(bound["metadata"], new["metadata"]);
    assert_eq!(bound["spec"]["schedulingGates"], Value::Null);
    // What the pod says is theirs as well.
    let mut request = request;
    request.object["spec"]["securityContext"] = json!({ "seccompProfile": localhost("a.json") });
    let decision = asked(&request, &bindings[1..], &profiles(&["all"]), NEW);
    assert_eq!(decision.answer.patch, None);
    // And it is refused as a pod is.
    let refuses = [binding("shop/web", json!({ "whenNotInstalled": "Refuse" }))];
    let refusal = asked(&request, &refuses, &Profiles::new(), NEW)
        .answer
        .refusal;
    let refusal = refusal.unwrap();
    assert!(
        refusal.contains("the ephemeral container debug"),
        "{refusal}"
    );
    assert!(!refusal.contains("before"), "{refusal}");
}
