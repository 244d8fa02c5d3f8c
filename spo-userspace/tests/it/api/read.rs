//! Reading the kinds that are no profiles.

use std::fs;

use spo::api::common::ProfileKind;
use spo::api::profile_recording::{MergeStrategy, Recorder};
use spo::api::{Object, check, read};
use spo::profile::diagnostic::{Severity, has_errors, render};

use super::repository;

#[test]
fn broken_files_are_explained() {
    let mut files: Vec<_> = fs::read_dir(repository("tests/data/api/broken"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 12);
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let source = fs::read(&path).unwrap();
        let (object, diagnostics) = read(name, &source);
        assert_eq!(object.is_none(), has_errors(&diagnostics), "{name}");
        insta::assert_snapshot!(name, render(&diagnostics, &source, false));
    }
}

#[test]
fn defaults_are_there() {
    let source = b"apiVersion: security-profiles-operator.x-k8s.io/v1
kind: ProfileRecording
metadata: {name: r, namespace: web, creationTimestamp: null}
spec: {kind: SeccompProfile, mergeStrategy: null, podSelector: {}}";
    let (object, diagnostics) = read("r.yaml", source);
    assert_eq!(diagnostics, []);
    let Some(Object::ProfileRecording(recording)) = object else {
        panic!("{object:?}")
    };
    assert_eq!(recording.metadata.namespace.as_deref(), Some("web"));
    let spec = recording.spec;
    assert_eq!(spec.kind, ProfileKind::SeccompProfile);
    assert_eq!(spec.recorder, Recorder::Bpf);
    assert_eq!(spec.merge_strategy, MergeStrategy::None);

    let source = b"apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SecurityProfilesOperatorDaemon
metadata: {name: spod}
spec: {selinux: {}}";
    let (object, _) = read("spod.yaml", source);
    let Some(Object::SecurityProfilesOperatorDaemon(daemon)) = object else {
        panic!("{object:?}")
    };
    let selinux = daemon.spec.selinux.unwrap();
    assert_eq!(selinux.type_tag, "spc_t");
    assert_eq!(
        selinux.options.unwrap().allowed_system_profiles,
        ["container"]
    );
}

/// Empty text is no base profile, as in the reference.
#[test]
fn an_empty_base_is_none() {
    let source = b"apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata: {name: p}
spec: {defaultAction: SCMP_ACT_LOG, baseProfileName: ''}";
    assert_eq!(check("p.yaml", source), []);
}

/// An older recording says no recorder and has the old names.
#[test]
fn older_versions_are_read_with_warnings() {
    let source = b"apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileRecording
metadata: {name: r}
spec: {kind: SeccompProfile, mergeStrategy: containers, podSelector: {matchLabels: {a: b}}}";
    let (object, diagnostics) = read("r.yaml", source);
    let Some(Object::ProfileRecording(recording)) = object else {
        panic!("{object:?}")
    };
    assert_eq!(recording.spec.recorder, Recorder::Bpf);
    assert_eq!(recording.spec.merge_strategy, MergeStrategy::Containers);
    let said: Vec<_> = diagnostics
        .iter()
        .map(|told| (told.severity, told.line))
        .collect();
    assert_eq!(said, [(Severity::Warning, 1), (Severity::Warning, 4)]);
}

/// Hostile files are answered soon, whatever they repeat.
#[test]
fn large_files_take_no_time() {
    let many = |line: &str, count: usize| line.repeat(count);
    let daemon = |spec: String| ("SecurityProfilesOperatorDaemon", spec);
    let limits: Vec<_> = (0..20_000).map(|n| format!("k{n}: 1Gi")).collect();
    let limits = limits.join(",");
    let files = [
        daemon(format!(
            "webhook: {{options: [{}]}}",
            many("{name: 3, objectSelector: {matchLabels: {a: 3}}},", 5_000)
        )),
        daemon(format!(
            "security: {{allowedSyscalls: [{}]}}",
            many("read,", 50_000)
        )),
        daemon(format!(
            "daemonResourceRequirements: {{limits: {{{limits}}}}}"
        )),
        daemon(format!(
            "{}: {{a: {{b: {}}}}}",
            "n".repeat(500_000),
            many("[", 20)
        )),
        daemon(format!("x: {}", "y".repeat(10 << 20))),
        // The rules in CEL are for these.
        (
            "ProfileRecording",
            format!(
                "kind: SeccompProfile, podSelector: {{matchExpressions: [{}]}}",
                many("{key: k, operator: Exists},", 5_000)
            ),
        ),
    ];
    for (kind, spec) in files {
        let source = format!(
            "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}"
        );
        // What grows with the square of the size would not end; `bench profiles` has the times.
        check("file", source.as_bytes());
    }
}
