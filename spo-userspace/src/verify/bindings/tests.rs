use serde_json::{Value, json};

use super::*;

const OPERATOR: &str = "spo";

fn guarded<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn binding(namespace: &str, name: &str, more: &Value) -> Value {
    let mut spec = json!({
        "profileRef": { "kind": "SeccompProfile", "name": name }, "image": "nginx:1.27",
    });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "ProfileBinding",
        "metadata": {
            "namespace": namespace, "name": name, "creationTimestamp": "2026-01-31T12:00:00Z",
        },
        "spec": spec,
    })
}

fn bindings(all: &[Value], configuration: &Value) -> Bindings {
    let usual = json!({});
    let configuration = if configuration.is_null() {
        &usual
    } else {
        configuration
    };
    known(all, Some(configuration)).unwrap()
}

fn known(all: &[Value], configuration: Option<&Value>) -> Result<Bindings, String> {
    let enabled = |name: &str| {
        let label = ("spo.x-k8s.io/enable-binding".to_owned(), String::new());
        (name.to_owned(), BTreeMap::from([label]))
    };
    let mut namespaces: BTreeMap<_, _> = [enabled("shop"), enabled("spo")].into();
    namespaces.insert("plain".to_owned(), BTreeMap::new());
    let all = all.iter().map(|one| Arc::new(guarded(one.clone())));
    let configuration = configuration.map(|configuration| {
        guarded(json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "SecurityProfilesOperatorDaemon",
            "metadata": { "name": "spod" },
            "spec": configuration,
        }))
    });
    Bindings::new(all.collect(), namespaces, OPERATOR, configuration.as_ref())
}

#[test]
fn without_a_configuration_nobody_knows_whom_bindings_are_for() {
    assert!(known(&[], None).is_ok());
    let all = [binding("shop", "web", &json!({}))];
    let why = known(&all, None).err().unwrap();
    assert!(
        why.contains("--namespace") && why.contains(OPERATOR),
        "{why}"
    );
}

/// A pod of one container, that is given this, with what was done when it was made.
fn pod(namespace: &str, made: &str, given: &Value, applied: &Value) -> Pod {
    let mut annotations = json!({});
    if !applied.is_null() {
        annotations[BINDINGS] = json!(applied.to_string());
    }
    guarded(json!({
        "metadata": {
            "namespace": namespace, "name": "p", "creationTimestamp": made,
            "annotations": annotations, "labels": { "app": "web" },
        },
        "spec": { "containers": [{
            "name": "c", "image": "docker.io/library/nginx:1.27",
            "securityContext": { "seccompProfile": given },
        }] },
        "status": { "containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "containerd://1", "state": { "running": {} },
        }] },
    }))
}

fn localhost(name: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": format!("operator/{name}.json") })
}

fn applied(binding: &str, profile: &str, mode: &str, outcome: &str) -> Value {
    json!([{
        "binding": binding, "kind": "SeccompProfile", "profile": profile, "mode": mode,
        "containers": ["c"], "outcome": outcome,
    }])
}

/// What is said of the pod's only container.
fn said(bindings: &Bindings, pod: &Pod) -> String {
    let container = &super::super::pods::running(pod)[0];
    match bindings.of_pod(pod).map(|all| all.lack(container)) {
        None => "not asked".to_owned(),
        Some(Lack::Nothing) => "nothing".to_owned(),
        Some(Lack::Noted(note)) => format!("note: {note}"),
        Some(Lack::Something(state, reason)) => format!("{state:?}: {reason}"),
    }
}

const LATER: &str = "2026-01-31T12:00:09Z";
const EARLIER: &str = "2026-01-31T11:00:00Z";

#[test]
fn who_has_nothing_of_a_binding_is_unbound() {
    let web = [binding("shop", "web", &json!({}))];
    let all = bindings(&web, &Value::Null);
    let default = json!({ "type": "RuntimeDefault" });
    let null = Value::Null;
    let of = |namespace: &str, made: &str, given: &Value, applied: &Value| {
        said(&all, &pod(namespace, made, given, applied))
    };
    let unbound = "Unbound: the ProfileBinding shop/web has the SeccompProfile web for it: ";
    for given in [
        &null,
        &default,
        &localhost("other"),
        &json!({ "type": "Unconfined" }),
    ] {
        let told = of("shop", LATER, given, &null);
        assert!(told.starts_with(unbound), "{told}");
        assert!(told.contains("the webhook did not answer"), "{told}");
    }
    let told = of("shop", EARLIER, &null, &null);
    assert!(
        told.ends_with("the pod is older than the binding"),
        "{told}"
    );
    // That somebody writes into the annotation what was not done is of no use.
    let forged = applied("shop/web", "web", "Enforce", "Bound");
    assert!(of("shop", LATER, &default, &forged).starts_with(unbound));
    let forged = applied("shop/web", "web", "Enforce", "RuntimeDefault");
    assert!(of("shop", LATER, &default, &forged).starts_with(unbound));
    assert_eq!(of("shop", LATER, &localhost("web"), &null), "nothing");
    // Nobody is asked there.
    for namespace in ["plain", "unknown"] {
        assert_eq!(of(namespace, LATER, &null, &null), "not asked");
    }
    assert_eq!(of(OPERATOR, LATER, &null, &null), "nothing");
}

#[test]
fn who_has_what_a_binding_had_before_is_stale() {
    let complains = [binding("shop", "web", &json!({ "mode": "Complain" }))];
    let all = bindings(&complains, &Value::Null);
    let was = applied("shop/web", "web", "Enforce", "Bound");
    let told = said(&all, &pod("shop", LATER, &localhost("web"), &was));
    assert_eq!(
        told,
        "Stale: the ProfileBinding shop/web gave it web; for a pod that is made now, shop/web has web.complain"
    );
    let is = applied("shop/web", "web", "Complain", "Bound");
    let form = localhost("web.complain");
    assert_eq!(said(&all, &pod("shop", LATER, &form, &is)), "nothing");
    // Without the binding it keeps what it has.
    let none = bindings(&[], &Value::Null);
    assert_eq!(said(&none, &pod("shop", LATER, &form, &is)), "nothing");
}

#[test]
fn wildcards_are_for_whoever_names_nothing() {
    let any = binding("shop", "any", &json!({ "image": "*" }));
    let all = bindings(std::slice::from_ref(&any), &Value::Null);
    let of = |given: &Value, applied: &Value| said(&all, &pod("shop", LATER, given, applied));
    assert!(of(&Value::Null, &Value::Null).starts_with("Unbound: "));
    let default = json!({ "type": "RuntimeDefault" });
    for given in [&localhost("own"), &default] {
        assert_eq!(of(given, &Value::Null), "nothing");
    }
    let before = applied("shop/any", "old", "Enforce", "Bound");
    assert!(of(&localhost("old"), &before).starts_with("Stale: "));
    // One for its image counts more.
    let both = [any, binding("shop", "web", &json!({}))];
    let all = bindings(&both, &Value::Null);
    let told = said(&all, &pod("shop", LATER, &Value::Null, &Value::Null));
    assert!(
        told.contains("shop/web has the SeccompProfile web"),
        "{told}"
    );
}

#[test]
fn what_is_configured_is_no_lack() {
    let may = json!({ "whenNotInstalled": "RuntimeDefault" });
    let all = bindings(&[binding("shop", "web", &may)], &Value::Null);
    let default = json!({ "type": "RuntimeDefault" });
    let none = applied("shop/web", "web", "Enforce", "RuntimeDefault");
    let told = said(&all, &pod("shop", LATER, &default, &none));
    assert!(told.starts_with("note: no node had the profile"), "{told}");
    // It says that it has the runtime's own, and has none.
    let told = said(&all, &pod("shop", LATER, &Value::Null, &none));
    assert!(told.starts_with("Unbound: "), "{told}");

    let mut recorded = pod("shop", LATER, &localhost(LOG_PROFILE), &Value::Null);
    assert!(said(&all, &recorded).starts_with("Unbound: "));
    let mark = "io.containers.trace-logs/c".to_owned();
    recorded.annotations_mut().insert(mark, String::new());
    assert!(said(&all, &recorded).starts_with("note: it is recorded"));

    let plain = pod("shop", LATER, &Value::Null, &Value::Null);
    let mut mirror = plain.clone();
    mirror
        .annotations_mut()
        .insert(MIRROR.to_owned(), String::new());
    assert_eq!(said(&all, &mirror), "not asked");
    let mut privileged = plain;
    let container = &mut privileged.spec.as_mut().unwrap().containers[0];
    container.security_context.as_mut().unwrap().privileged = Some(true);
    assert_eq!(said(&all, &privileged), "nothing");
}

#[test]
fn the_webhook_is_asked_about_those_that_the_configuration_says() {
    let web = [binding("shop", "web", &json!({}))];
    let options = |options: Value| {
        let mut option = json!({ "name": "binding.spo.io" });
        for (field, value) in options.as_object().unwrap() {
            option[field] = value.clone();
        }
        bindings(&web, &json!({ "webhook": { "options": [option] } }))
    };
    let pod = pod("shop", LATER, &Value::Null, &Value::Null);
    let others = json!({ "matchLabels": { "app": "other" } });
    let all = options(json!({ "objectSelector": others }));
    assert_eq!(said(&all, &pod), "not asked");
    let all = options(json!({ "namespaceSelector": others }));
    assert_eq!(said(&all, &pod), "not asked");
    let all = options(json!({ "failurePolicy": "Ignore" }));
    assert!(said(&all, &pod).starts_with("Unbound: "));
}

#[test]
fn what_cannot_be_read_is_counted() {
    let newer = binding("shop", "newer", &json!({ "mode": "Ask" }));
    let unusable = binding("shop", "odd", &json!({ "image": "a b" }));
    let all = bindings(
        &[newer, unusable, binding("shop", "web", &json!({}))],
        &Value::Null,
    );
    assert_eq!(all.unread(), 2);
}
