//! What admission says to objects.

use std::fs;
use std::path::Path;

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

#[test]
fn what_is_no_review_is_an_error() {
    for body in ["", "[]", "{}", "{\"request\": {}}", "nonsense"] {
        assert!(check(body.as_bytes()).is_err(), "{body}");
    }
}
