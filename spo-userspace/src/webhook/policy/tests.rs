use std::collections::BTreeMap;

use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::review::{Answer, Request};
use super::super::state::Profiles;
use super::review;
use crate::cluster::watch::store;

fn filled<K>(objects: &[(&str, Value)]) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
{
    let (store, mut writer) = store::<K>();
    for (name, spec) in objects {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        let object = serde_json::from_value(object).unwrap();
        writer.apply_watcher_event(&Event::Apply(object));
    }
    store
}

/// Profiles of each kind: `free` is for everybody, `kept` for `tier=trusted`.
fn profiles() -> Profiles {
    let kept = json!({ "namespaceSelector": { "matchLabels": { "tier": "trusted" } } });
    let both = [
        ("free", json!({ "state": "Enabled" })),
        ("kept", kept.clone()),
    ];
    Profiles {
        seccomp: filled(&[
            ("free", json!({})),
            ("kept", kept.clone()),
            ("twice", json!({})),
            ("twice.json", kept.clone()),
            (
                "broken",
                json!({ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "Near" }] } }),
            ),
            ("all", json!({ "namespaceSelector": {} })),
            ("older", json!({ "namespaceSelector": "trusted" })),
            (
                "newer",
                json!({ "namespaceSelector": { "names": ["team"] } }),
            ),
            ("nothing", Value::Null),
        ]),
        apparmor: filled(&both),
        selinux: filled(&both),
        raw_selinux: filled(&[("raw", kept)]),
    }
}

fn create(pod: Value) -> Request {
    Request {
        operation: "CREATE".to_owned(),
        namespace: "team".to_owned(),
        object: pod,
        ..Request::default()
    }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    [("tier".to_owned(), text.to_owned())].into()
}

fn asked(request: &Request, tier: &str) -> Answer {
    review(request, Some(&labels(tier)), &profiles())
}

fn seccomp(path: &str) -> Value {
    json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": path } })
}

fn with_context(context: &Value) -> Value {
    json!({ "spec": { "securityContext": context, "containers": [{ "name": "app" }] } })
}

fn annotated(key: &str, value: &str) -> Value {
    let mut pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
    pod["metadata"]["annotations"][key] = value.into();
    pod
}

#[test]
fn every_way_to_name_a_profile_is_held() {
    let container = |list: &str, context: Value| json!({ "spec": { list: [{ "name": "app", "securityContext": context }] } });
    let apparmor =
        json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": "kept" } });
    let selinux = |kind: &str| json!({ "seLinuxOptions": { "type": kind } });
    for (pod, part) in [
        (with_context(&seccomp("operator/kept.json")), "the pod "),
        (with_context(&apparmor), "the pod "),
        (with_context(&selinux("kept.process")), "the pod "),
        (with_context(&selinux("raw.process")), "the pod "),
        (with_context(&selinux("raw_.process")), "the pod "),
        (
            container("containers", seccomp("operator/kept.json")),
            "the container app ",
        ),
        (
            container("initContainers", apparmor.clone()),
            "the init container app ",
        ),
        (
            container("ephemeralContainers", selinux("kept.process")),
            "the ephemeral container app ",
        ),
        (
            annotated(
                "seccomp.security.alpha.kubernetes.io/pod",
                "localhost/operator/kept.json",
            ),
            "the annotation seccomp.security.alpha.kubernetes.io/pod ",
        ),
        (
            annotated(
                "container.seccomp.security.alpha.kubernetes.io/app",
                "localhost/operator/kept.json",
            ),
            "the annotation container.seccomp.",
        ),
        (
            annotated(
                "container.apparmor.security.beta.kubernetes.io/app",
                "localhost/kept",
            ),
            "the annotation container.apparmor.",
        ),
    ] {
        let request = create(pod.clone());
        let answer = asked(&request, "other");
        let refusal = answer.refusal.unwrap_or_default();
        assert!(refusal.starts_with(part), "{pod}: {refusal}");
        assert!(
            refusal.contains("tier=trusted") && refusal.contains("`team`"),
            "{refusal}"
        );
        assert_eq!(asked(&request, "trusted"), Answer::default(), "{pod}");
        let unknown = review(&request, None, &profiles());
        assert!(unknown.refusal.is_some(), "{pod}");
    }
}

#[test]
fn no_way_around_the_path() {
    for path in [
        "operator/kept.json",
        "operator//kept.json",
        "./operator/kept.json",
        "operator/./kept.json",
        "operator/kept.json/",
        "operator/some-namespace/kept.json",
        "operator/twice.json",
        "operator/broken.json",
    ] {
        let request = create(with_context(&seccomp(path)));
        assert!(asked(&request, "other").refusal.is_some(), "{path}");
    }
}

#[test]
fn what_is_not_ours_or_for_all_is_let_through() {
    for pod in [
        json!({ "spec": { "containers": [{ "name": "app" }] } }),
        with_context(&seccomp("operator/free.json")),
        with_context(&seccomp("operator/all.json")),
        with_context(&seccomp("elsewhere/kept.json")),
        with_context(
            &json!({ "seccompProfile": { "type": "RuntimeDefault", "localhostProfile": "operator/kept.json" } }),
        ),
        with_context(&json!({ "seLinuxOptions": { "type": "kept_t" } })),
        with_context(&json!({ "seLinuxOptions": { "type": "unknown.process" } })),
        with_context(
            &json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": "docker-default" } }),
        ),
        annotated(
            "container.apparmor.security.beta.kubernetes.io/app",
            "runtime/default",
        ),
        annotated("container.apparmor.security.beta.kubernetes.io/app", "kept"),
        annotated("else", "localhost/operator/kept.json"),
        json!("nonsense"),
        json!({ "spec": { "containers": { "a": 1 }, "securityContext": [] }, "metadata": 1 }),
    ] {
        assert_eq!(
            asked(&create(pod.clone()), "other"),
            Answer::default(),
            "{pod}"
        );
    }
}

#[test]
fn a_profile_that_does_not_exist_is_warned_of_once_for_each_part() {
    let mut pod = with_context(&seccomp("operator/nginx.json"));
    pod["metadata"]["annotations"]["seccomp.security.alpha.kubernetes.io/pod"] =
        "localhost/operator/nginx.json".into();
    let answer = asked(&create(pod), "other");
    assert_eq!(answer.refusal, None);
    assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
    assert!(
        answer.warnings[0].contains("`nginx`"),
        "{:?}",
        answer.warnings
    );
}

#[test]
fn privileged_containers_are_not_held_by_their_profile() {
    let own = "container.seccomp.security.alpha.kubernetes.io/app";
    let of_pod = "seccomp.security.alpha.kubernetes.io/pod";
    let ours = "localhost/operator/free.json";
    let default = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    let told = |mut pod: Value, context: Value| {
        pod["spec"]["containers"][0]["securityContext"] = context;
        let answer = asked(&create(pod), "other");
        assert_eq!(answer.refusal, None);
        answer.warnings.join("\n")
    };
    let plain = || json!({ "spec": { "containers": [{ "name": "app" }] } });
    let privileged = |mut context: Value| {
        context["privileged"] = json!(true);
        context
    };
    for (pod, context) in [
        (plain(), seccomp("operator/free.json")),
        (with_context(&seccomp("operator/free.json")), json!({})),
        (annotated(own, ours), json!({})),
        (annotated(of_pod, ours), json!({})),
    ] {
        assert_eq!(told(pod.clone(), context.clone()), "", "{pod}");
        let said = told(pod.clone(), privileged(context));
        assert_eq!(said.lines().count(), 1, "{pod}: {said}");
        assert!(
            said.starts_with("the container app is privileged"),
            "{said}"
        );
        assert!(
            said.contains("the profile `free` does not hold it"),
            "{said}"
        );
    }
    // What would hold it is not ours.
    for (pod, context) in [
        (plain(), json!({})),
        (plain(), seccomp("other/free.json")),
        (
            with_context(&seccomp("operator/free.json")),
            default.clone(),
        ),
        (with_context(&default), json!({})),
    ] {
        assert_eq!(told(pod.clone(), privileged(context)), "", "{pod}");
    }
    // Others of the same pod are held.
    let mut pod = with_context(&seccomp("operator/free.json"));
    pod["spec"]["initContainers"] =
        json!([{ "name": "first", "securityContext": { "privileged": true } }]);
    let said = told(pod, json!({}));
    assert!(said.starts_with("the init container first"), "{said}");
    let debug = |mut context: Value| {
        context["seccompProfile"] = seccomp("operator/free.json")["seccompProfile"].take();
        json!({ "ephemeralContainers": [{ "name": "debug", "securityContext": context }] })
    };
    for (object, expected) in [
        (json!({ "spec": debug(privileged(json!({}))) }), 1),
        (debug(privileged(json!({}))), 1),
        (debug(json!({})), 0),
    ] {
        let update = Request {
            operation: "UPDATE".to_owned(),
            sub_resource: "ephemeralcontainers".to_owned(),
            object,
            ..Request::default()
        };
        assert_eq!(asked(&update, "other").warnings.len(), expected);
    }
}

#[test]
fn all_refusals_are_told_up_to_a_bound() {
    let containers: Vec<_> = (0..50)
        .map(|number| json!({ "name": format!("c{number}"), "securityContext": seccomp("operator/kept.json") }))
        .collect();
    let pod = json!({ "spec": { "containers": containers } });
    let refusal = asked(&create(pod), "other").refusal.unwrap();
    assert_eq!(refusal.lines().count(), 6, "{refusal}");
    assert!(refusal.ends_with("and 45 more"), "{refusal}");
}

/// Also for the largest request that the server takes.
#[test]
fn many_containers_have_a_short_answer() {
    let containers: Vec<_> = (0..60_000)
        .map(|number| json!({ "name": number.to_string(), "securityContext": seccomp("operator/none.json") }))
        .collect();
    let request = create(json!({ "spec": { "containers": containers } }));
    let answer = asked(&request, "other");
    assert_eq!(answer.warnings.len(), 60_000);
    let shown = answer.of(&request)["response"]["warnings"].to_string();
    assert!(shown.len() < 5000, "{}", shown.len());
    let update = Request {
        operation: "UPDATE".to_owned(),
        sub_resource: "ephemeralcontainers".to_owned(),
        object: json!({ "ephemeralContainers": containers }),
        old_object: json!({ "ephemeralContainers": containers }),
        ..Request::default()
    };
    assert_eq!(asked(&update, "other"), Answer::default());
}

#[test]
fn only_new_ephemeral_containers_are_held() {
    let container =
        |name: &str| json!({ "name": name, "securityContext": seccomp("operator/kept.json") });
    let spec = |names: &[&str]| {
        let containers: Vec<_> = names.iter().map(|name| container(name)).collect();
        json!({ "ephemeralContainers": containers, "containers": [container("app")] })
    };
    let request = |object, old_object| Request {
        operation: "UPDATE".to_owned(),
        sub_resource: "ephemeralcontainers".to_owned(),
        object,
        old_object,
        ..Request::default()
    };
    let old = json!({ "spec": spec(&["one"]) });
    let same = request(old.clone(), old.clone());
    assert_eq!(asked(&same, "other"), Answer::default());
    let more = request(json!({ "spec": spec(&["one", "two"]) }), old);
    let refusal = asked(&more, "other").refusal.unwrap();
    assert!(
        refusal.starts_with("the ephemeral container two "),
        "{refusal}"
    );
    assert_eq!(refusal.lines().count(), 1, "{refusal}");
    // Up to Kubernetes 1.22.
    let alone = request(
        json!({ "ephemeralContainers": [container("one")] }),
        json!({}),
    );
    assert!(asked(&alone, "other").refusal.is_some());
    let update = Request {
        operation: "UPDATE".to_owned(),
        ..create(with_context(&seccomp("operator/kept.json")))
    };
    assert_eq!(asked(&update, "other"), Answer::default());
}

#[test]
fn hostile_names_do_not_reach_a_terminal() {
    let pod = json!({ "spec": { "containers": [{
        "name": "\u{1b}[2J", "securityContext": seccomp("operator/\u{1b}[2J.json"),
    }, { "name": "\u{1b}[2J", "securityContext": seccomp("operator/kept.json") }] } });
    let answer = asked(&create(pod), "other");
    assert!(!answer.refusal.unwrap().contains('\u{1b}'));
    assert!(!answer.warnings[0].contains('\u{1b}'));
}

#[test]
fn a_profile_that_cannot_be_read_is_for_nobody() {
    for name in ["older", "newer", "nothing"] {
        let pod = with_context(&seccomp(&format!("operator/{name}.json")));
        let refusal = asked(&create(pod), "trusted").refusal.unwrap();
        let expected = format!(
            "the pod names the SeccompProfile `{name}`, and this version of the webhook cannot \
             read for which namespaces that is; name another profile, or mend \
             spec.namespaceSelector of the profile"
        );
        assert_eq!(refusal, expected);
    }
}
