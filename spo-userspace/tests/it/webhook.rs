//! What admission says to objects.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;
use serde_json::{Value, json};
use spo::webhook::check;

fn review(object: &Value) -> Value {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": { "uid": "some-uid", "operation": "CREATE", "object": object },
    });
    let answer = check(review.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "some-uid");
    answer["response"].clone()
}

/// What the API server of the reference takes is refused only for the reasons that are listed here:
/// nothing of it could have been installed.
#[test]
fn good_objects_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/crds/valid");
    let mut refused = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        if object["kind"] == "SecurityProfileNodeStatus" {
            continue;
        }
        if object["spec"].is_null() {
            // The server's default.
            object["spec"] = json!({});
        }
        seen += 1;
        let response = review(&object);
        if response["allowed"] != true {
            let message = response["status"]["message"].as_str().unwrap();
            let name = path.file_name().unwrap().display();
            refused.push(format!("{name}: {message}"));
        }
    }
    refused.sort();
    assert!(seen > 60, "{seen}");
    insta::assert_snapshot!(refused.join("\n"));
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|Enabled|SCMP_ACT_ERRNO|operator/a.json".prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "abstract",
        "allow",
        "defaultAction",
        "filesystem",
        "image",
        "names",
        "namespaceSelector",
        "matchExpressions",
        "policy",
        "podSelector",
        "profileRef",
        "readOnlyPaths",
        "syscalls",
        "webhook",
        "\u{1b}",
    ]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from);
        let map = prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|map| {
            let map = map.into_iter();
            Value::Object(map.map(|(name, value)| (name.to_owned(), value)).collect())
        });
        prop_oneof![list, map]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Whatever somebody sends: there is an answer, of bounded size, that no terminal is steered by.
    #[test]
    fn anything_is_answered(kind in 0..8_usize, spec in anything(), metadata in anything()) {
        let kind = [
            "SeccompProfile", "SelinuxProfile", "RawSelinuxProfile", "AppArmorProfile",
            "ProfileBinding", "ProfileRecording", "SecurityProfilesOperatorDaemon", "Pod",
        ][kind];
        let response = review(&json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }));
        let text = response.to_string();
        prop_assert!(text.len() < 20_000);
        prop_assert!(!text.contains("\\u001b"), "{text}");
        if response["allowed"] != true {
            let message = response["status"]["message"].as_str().unwrap();
            prop_assert!(!message.is_empty());
        }
    }
}

fn spo(words: &str, kubeconfig: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spo"))
        .args(words.split_whitespace())
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", "/nonexistent")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("spo runs")
}

#[test]
fn the_server_says_why_it_cannot_serve() {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let fails = |words: &str, code: i32, expected: &str| {
        let output = spo(words, &kubeconfig);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    fails(
        "webhook --tls-min-version 1.1",
        2,
        "possible values: 1.2, 1.3",
    );
    fails("webhook", 1, "cannot reach the cluster: found no cluster");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "clusters": [{ "name": "a", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "a", "user": {} }],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let expected = format!("cannot listen on port {port}");
    fails(&format!("w -s -p {port}"), 1, &expected);
}

#[test]
fn what_is_no_review_is_an_error() {
    for body in ["", "[]", "{}", "{\"request\": {}}", "nonsense"] {
        assert!(check(body.as_bytes()).is_err(), "{body}");
    }
}
