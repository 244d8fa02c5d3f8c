//! The profiles of `deploy/library` say where they come from, and can be applied as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use spo::profile::base::BASE_SYSCALLS;
use spo::profile::labels::{COVERAGE, PARTIAL, RECORDING_ID};
use spo::profile::seccomp::{Document, SeccompProfile, read};

const BINDING: &str = "-binding.yaml";

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/library")
}

fn text(name: &str) -> String {
    fs::read_to_string(library().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The profiles, by name.
fn profiles() -> Vec<(String, SeccompProfile)> {
    let entries = fs::read_dir(library()).expect("there is a library");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("a name"));
    let names = names.filter(|name| !name.ends_with(BINDING));
    let profiles: Vec<_> = names
        .map(|file| {
            let (profile, problems) = read(&file, text(&file).as_bytes());
            assert!(problems.is_empty(), "{file}: {problems:?}");
            let Some(Document::Object(profile)) = profile else {
                panic!("{file} is no SeccompProfile")
            };
            (file.trim_end_matches(".yaml").to_owned(), profile)
        })
        .collect();
    assert!(profiles.len() >= 3, "{profiles:?}");
    profiles
}

#[test]
fn nothing_is_wrong_with_it() {
    let output = Command::new(env!("CARGO_BIN_EXE_spo"))
        .arg("check")
        .arg(library())
        .output()
        .expect("spo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let all = 2 * profiles().len();
    let expected = format!("spo: {all} files: 0 errors, 0 warnings\n");
    assert!(output.status.success() && said == expected, "{said}");
}

#[test]
fn each_profile_has_its_evidence() {
    for (name, profile) in profiles() {
        let SeccompProfile { metadata, spec } = profile;
        assert_eq!(metadata.name, name);
        for label in [PARTIAL, RECORDING_ID] {
            assert!(!metadata.labels.contains_key(label), "{name}: {label}");
        }
        let said = |what: &str| {
            let key = format!("spo.x-k8s.io/recording-{what}");
            metadata.annotations.get(&key).map(String::as_str)
        };
        assert_eq!(said("recorder"), Some("Bpf"), "{name}");
        assert_eq!(said("lost"), Some("0"), "{name}");
        assert_eq!(said("partial"), None, "{name}");
        assert_eq!(said("left-out"), None, "{name}");
        for what in [
            "architecture",
            "began",
            "capabilities",
            "kernel",
            "runtime",
            "until",
        ] {
            assert!(
                said(what).is_some_and(|text| !text.is_empty()),
                "{name}: {what}"
            );
        }
        // One image was recorded.
        let image = said("image").unwrap_or_default();
        assert!(
            image.contains("sha256:") && !image.contains(';'),
            "{name}: {image}"
        );
        let packages = said("packages").unwrap_or_default();
        for package in ["containerd ", "crun ", "libc6 ", "runc "] {
            assert!(packages.contains(package), "{name}: {packages}");
        }
        let coverage: Value = serde_json::from_str(&metadata.annotations[COVERAGE]).unwrap();
        assert_eq!(
            coverage["total"].to_string(),
            said("profiles").unwrap(),
            "{name}"
        );

        let [rule] = spec.syscalls.as_slice() else {
            panic!("{name} has not one rule")
        };
        let names: BTreeSet<_> = rule.names.iter().map(String::as_str).collect();
        assert!(
            BASE_SYSCALLS.iter().all(|call| names.contains(call)),
            "{name}"
        );
        let counted = coverage["syscalls"].as_object().unwrap();
        assert!(
            names.iter().copied().eq(counted.keys().map(String::as_str)),
            "{name}"
        );
    }
}

#[test]
fn each_binding_begins_in_complain_mode() {
    for (name, _) in profiles() {
        let binding: Value = serde_saphyr::from_str(&text(&format!("{name}{BINDING}"))).unwrap();
        let spec = &binding["spec"];
        assert_eq!(spec["profileRef"]["name"], *name);
        assert_eq!(spec["mode"], "Complain", "{name}");
    }
}

#[test]
fn the_page_names_each_profile() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/library.md");
    let page = fs::read_to_string(page).unwrap();
    for (name, _) in profiles() {
        let file = format!("](../deploy/library/{name}.yaml)");
        assert!(page.contains(&file), "{name}");
    }
}
