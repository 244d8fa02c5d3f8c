//! `spec.namespaceSelector`, which all kinds of profiles have.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::json;
use spo::api::convert::{from_v1, to_v1};
use spo::profile::diagnostic::Diagnostic;
use spo::profile::object::Metadata;
use spo::profile::selector::{Requirement, Selector};
use spo::profile::{apparmor, seccomp, selinux};

const KINDS: [(&str, &str); 4] = [
    ("SeccompProfile", "  defaultAction: SCMP_ACT_ERRNO\n"),
    ("AppArmorProfile", "  abstract: {}\n"),
    ("SelinuxProfile", ""),
    (
        "RawSelinuxProfile",
        "  policy: |\n    (blockinherit container)\n",
    ),
];
const SELECTOR: &str = "  namespaceSelector:
    matchLabels:
      tier: trusted
    matchExpressions:
    - key: team
      operator: In
      values: [a, b]
    - key: old
      operator: DoesNotExist
";

fn object(kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: {kind}\nmetadata:\n  name: web\nspec:\n{spec}"
    )
}

fn selector() -> Selector {
    let requirement = |key: &str, operator: &str, values: &[&str]| Requirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: values.iter().copied().map(str::to_owned).collect(),
    };
    Selector {
        match_labels: BTreeMap::from([("tier".to_owned(), "trusted".to_owned())]),
        match_expressions: vec![
            requirement("team", "In", &["a", "b"]),
            requirement("old", "DoesNotExist", &[]),
        ],
    }
}

/// Reads an object, and writes it again if it could be read.
fn read(kind: &str, text: &str) -> (Option<(Metadata, String)>, Vec<Diagnostic>) {
    let source = text.as_bytes();
    match kind {
        "SeccompProfile" => {
            let (document, found) = seccomp::read("file", source);
            let object = document.map(|document| match document {
                seccomp::Document::Object(object) => object,
                other => panic!("{other:?}"),
            });
            let written = |object: seccomp::SeccompProfile| {
                let text = seccomp::write_object(&object).expect("YAML");
                (object.metadata, text)
            };
            (object.map(written), found)
        }
        "AppArmorProfile" => {
            let (object, found) = apparmor::read("file", source);
            let written = |object: apparmor::AppArmorProfile| {
                let text = apparmor::write_object(&object).expect("YAML");
                (object.metadata, text)
            };
            (object.map(written), found)
        }
        "SelinuxProfile" => {
            let (object, found) = selinux::read("file", source);
            let written = |object: selinux::SelinuxProfile| {
                let text = selinux::write_object(&object).expect("YAML");
                (object.metadata, text)
            };
            (object.map(written), found)
        }
        _ => {
            let (object, found) = selinux::read_raw("file", source);
            let written = |object: selinux::RawSelinuxProfile| {
                let text = selinux::write_raw_object(&object).expect("YAML");
                (object.metadata, text)
            };
            (object.map(written), found)
        }
    }
}

#[test]
fn every_kind_keeps_it() {
    for (kind, spec) in KINDS {
        let text = object(kind, &format!("{SELECTOR}{spec}"));
        let (read_once, found) = read(kind, &text);
        assert_eq!(found, [], "{kind}");
        let (metadata, written) = read_once.unwrap();
        assert_eq!(metadata.namespaces, Some(selector()), "{kind}");
        let (again, found) = read(kind, &written);
        assert_eq!(found, [], "{written}");
        let (metadata, rewritten) = again.unwrap();
        assert_eq!(metadata.namespaces, Some(selector()), "{written}");
        assert_eq!(rewritten, written);
        assert_eq!(spo::api::check("file", written.as_bytes()), [], "{written}");
        // All namespaces is what nothing says, too.
        let text = object(kind, &format!("  namespaceSelector: {{}}\n{spec}"));
        let (metadata, written) = read(kind, &text).0.unwrap();
        assert_eq!(metadata.namespaces, None);
        assert!(!written.contains("namespaceSelector"), "{written}");
    }
}

#[test]
fn what_is_wrong_with_it_is_told() {
    let bad = "  namespaceSelector:
    matchLabel: {}
    matchLabels:
      a: 1
      -b: c
    matchExpressions:
    - key: a
      operator: Near
    - operator: In
      key: b
    - key: c
      operator: Exists
      values: [d]
    - key: e
    - nonsense
";
    let (kind, spec) = KINDS[0];
    for (kind, spec) in KINDS {
        let (read, found) = read(kind, &object(kind, &format!("{bad}{spec}")));
        assert!(read.is_none(), "{kind}");
        let schema = spo::api::check("file", object(kind, &format!("{bad}{spec}")).as_bytes());
        assert!(schema.len() >= 8, "{schema:?}");
        assert!(found.len() >= 8, "{found:?}");
    }
    let (_, found) = read(kind, &object(kind, &format!("{bad}{spec}")));
    let lines: Vec<_> = found.iter().map(Diagnostic::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn older_versions_have_no_place_for_it() {
    for (kind, version) in [
        ("SeccompProfile", "v1beta1"),
        ("SelinuxProfile", "v1alpha2"),
        ("RawSelinuxProfile", "v1alpha2"),
        ("AppArmorProfile", "v1alpha1"),
    ] {
        let object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": kind,
            "metadata": { "name": "web" },
            "spec": { "namespaceSelector": { "matchLabels": { "a": "b" } } },
        });
        let error = from_v1(&object, version).unwrap_err().to_string();
        let expected = "spec.namespaceSelector has no place";
        assert!(error.contains(expected), "{error}");
        // Who wrote it all the same meant it.
        let mut old = object.clone();
        old["apiVersion"] = json!(format!("security-profiles-operator.x-k8s.io/{version}"));
        let new = to_v1(old).unwrap();
        assert_eq!((new.object, new.notes), (object, Vec::new()));
    }
}

/// What a command writes, and what it says.
fn spo(folder: &tempfile::TempDir, words: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_spo"))
        .args(words.split_whitespace())
        .current_dir(folder.path())
        .output()
        .expect("spo runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{words}: {said}");
    (String::from_utf8(output.stdout).expect("text"), said)
}

#[test]
fn commands_keep_it_or_say_that_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, spec) in KINDS {
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("kept.yaml", object(kind, &format!("{SELECTOR}{spec}")));
        write(
            "free.yaml",
            object(kind, if spec.is_empty() { "  {}\n" } else { spec }),
        );
        if kind != "RawSelinuxProfile" {
            let (text, said) = spo(&folder, "merge kept.yaml kept.yaml");
            assert!(text.contains("tier: trusted"), "{text}");
            assert!(!said.contains("namespace"), "{said}");
            let (text, said) = spo(&folder, "merge free.yaml kept.yaml");
            assert!(!text.contains("namespaceSelector"), "{text}");
            assert!(said.contains("for different namespaces"), "{said}");
            let (text, _) = spo(&folder, "convert --complain kept.yaml -o -");
            assert!(text.contains("tier: trusted"), "{text}");
        }
        let (text, said) = spo(&folder, "convert --to raw kept.yaml -o -");
        assert!(!text.contains("trusted"), "{text}");
        assert!(said.contains("namespaceSelector"), "{kind}: {said}");
        let (_, said) = spo(&folder, "convert --to raw free.yaml -o -");
        assert!(!said.contains("namespaceSelector"), "{kind}: {said}");
    }
}
