//! Between versions.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use spo::api::check;
use spo::api::convert::{ConvertError, from_v1, to_v1};

const GROUP: &str = "security-profiles-operator.x-k8s.io";

/// A field by its path, and values that it may have.
type Field = (&'static str, Value);

fn object(kind: &str, version: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{version}"),
        "kind": kind,
        "metadata": { "name": "an-object", "labels": { "a": "b" } },
    })
}

fn put(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for name in path.split('.') {
        if at.is_null() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = value;
}

/// Objects with some of the fields, each with one of its values (a list).
fn objects(
    kind: &'static str,
    version: &'static str,
    fields: &[Field],
) -> impl Strategy<Value = Value> + use<> {
    let fields: Vec<_> = fields.to_vec();
    let choice = prop::option::of(any::<Index>());
    prop::collection::vec(choice, fields.len()).prop_map(move |choices| {
        let mut object = object(kind, version);
        for ((path, values), choice) in fields.iter().zip(choices) {
            if let Some(choice) = choice {
                put(
                    &mut object,
                    path,
                    choice.get(values.as_array().unwrap()).clone(),
                );
            }
        }
        object
    })
}

/// What is the same in all versions.
fn everywhere() -> Vec<Field> {
    vec![
        (
            "spec.defaultAction",
            json!(["SCMP_ACT_ERRNO", "SCMP_ACT_LOG"]),
        ),
        (
            "spec.syscalls",
            json!([[], [{ "names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 3,
                          "args": [{ "index": 0, "value": 9_223_372_036_854_775_807_u64, "op": "SCMP_CMP_EQ" }] }]]),
        ),
        ("status.status", json!(["Installed", "Error"])),
        ("metadata.finalizers", json!([["node-deleted"]])),
        ("unknown", json!([1.5, true, "text", [1, [2]]])),
    ]
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn profiles() -> Vec<(&'static str, &'static str, Vec<Field>, Vec<Field>)> {
    let selector = json!([{ "matchLabels": { "a": "b" } }, { "matchExpressions": [{ "key": "a", "operator": "Exists" }] }]);
    let resources = json!([{ "limits": { "memory": "1Gi", "cpu": 1 } }]);
    let with = |fields: Vec<Field>| {
        let mut all = everywhere();
        all.extend(fields);
        all
    };
    let state = || ("spec.state", json!(["Enabled", "Disabled"]));
    let disabled = || ("spec.disabled", json!([true, false]));
    vec![
        (
            "SeccompProfile",
            "v1beta1",
            with(vec![state()]),
            with(vec![disabled()]),
        ),
        (
            "SelinuxProfile",
            "v1alpha2",
            with(vec![
                state(),
                ("spec.mode", json!(["Enforcing", "Permissive"])),
            ]),
            with(vec![disabled(), ("spec.permissive", json!([true, false]))]),
        ),
        (
            "RawSelinuxProfile",
            "v1alpha2",
            with(vec![state()]),
            with(vec![disabled()]),
        ),
        (
            "AppArmorProfile",
            "v1alpha1",
            with(vec![state(), ("spec.mode", json!(["Enforce", "Complain"]))]),
            with(vec![
                disabled(),
                ("spec.complainMode", json!([true, false])),
            ]),
        ),
        ("ProfileBinding", "v1alpha1", everywhere(), everywhere()),
        (
            "ProfileRecording",
            "v1alpha1",
            with(vec![
                ("spec.recorder", json!(["Bpf", "Logs"])),
                ("spec.mergeStrategy", json!(["None", "Containers"])),
                ("spec.podSelector", selector.clone()),
            ]),
            with(vec![
                ("spec.recorder", json!(["bpf", "logs"])),
                ("spec.mergeStrategy", json!(["none", "containers"])),
                ("spec.podSelector", selector.clone()),
            ]),
        ),
        (
            "SecurityProfileNodeStatus",
            "v1alpha1",
            vec![
                ("spec.nodeName", json!(["n"])),
                ("status.status", json!(["Installed"])),
            ],
            vec![("nodeName", json!(["n"])), ("status", json!(["Installed"]))],
        ),
        (
            "SecurityProfilesOperatorDaemon",
            "v1alpha1",
            vec![
                ("spec.verbosity", json!([0, 1])),
                ("spec.selinux.enable", json!([true, false])),
                ("spec.selinux.typeTag", json!(["spc_t"])),
                (
                    "spec.selinux.options.allowedSystemProfiles",
                    json!([["container"], []]),
                ),
                ("spec.enricher.enableLogEnricher", json!([true])),
                ("spec.enricher.logEnricherSource", json!(["Auditd", "Bpf"])),
                (
                    "spec.enricher.jsonEnricherOptions.auditLogMaxAge",
                    json!([1]),
                ),
                ("spec.enricher.enableBpfRecorder", json!([true, false])),
                ("spec.webhook.staticConfig", json!([true, false])),
                (
                    "spec.webhook.options",
                    json!([[{ "name": "binding.spo.io" }]]),
                ),
                ("spec.scheduling.priorityClassName", json!(["p"])),
                ("spec.scheduling.tolerations", json!([[{ "key": "a" }], []])),
                ("spec.security.allowedSyscalls", json!([["read"]])),
                ("spec.daemonResourceRequirements", resources.clone()),
                ("status.state", json!(["Pending", "Running", "Error"])),
            ],
            vec![
                ("spec.verbosity", json!([0, 1])),
                ("spec.enableProfiling", json!([true, false])),
                ("spec.enableMemoryOptimization", json!([true])),
                ("spec.enableAppArmor", json!([true])),
                ("spec.hostProcVolumePath", json!(["/proc"])),
                ("spec.imagePullSecrets", json!([[{ "name": "a" }]])),
                ("spec.daemonResourceRequirements", resources),
                ("spec.enableSelinux", json!([true, false])),
                ("spec.selinuxTypeTag", json!(["unconfined_t"])),
                (
                    "spec.selinuxOptions",
                    json!([{ "allowedSystemProfiles": ["container", "net"] }]),
                ),
                ("spec.enableLogEnricher", json!([true, false])),
                ("spec.logEnricherFilters", json!(["[]"])),
                ("spec.logEnricherSource", json!(["auditd", "bpf"])),
                ("spec.enableJsonEnricher", json!([true, false])),
                ("spec.jsonEnricherFilters", json!(["[]"])),
                (
                    "spec.jsonEnricherOptions",
                    json!([{ "auditLogIntervalSeconds": 5, "auditLogPath": "/a" }]),
                ),
                ("spec.enableBpfRecorder", json!([true, false])),
                ("spec.staticWebhookConfig", json!([true, false])),
                (
                    "spec.webhookOptions",
                    json!([[{ "name": "binding.spo.io", "failurePolicy": "Ignore",
                              "namespaceSelector": { "matchLabels": { "a": "b" } } }]]),
                ),
                ("spec.tolerations", json!([[{ "operator": "Exists" }]])),
                ("spec.affinity", json!([{ "nodeAffinity": {} }])),
                ("spec.priorityClassName", json!(["p"])),
                ("spec.allowedSyscalls", json!([["read", "write"]])),
                ("spec.allowedSeccompActions", json!([["SCMP_ACT_LOG"]])),
                (
                    "spec.disableOciArtifactSignatureVerification",
                    json!([true, false]),
                ),
                (
                    "status.state",
                    json!(["PENDING", "CREATING", "UPDATING", "RUNNING", "ERROR"]),
                ),
            ],
        ),
    ]
}

fn every_kind() -> impl Strategy<Value = (&'static str, Value, Value)> {
    let all: Vec<_> = profiles()
        .into_iter()
        .map(|(kind, version, new, old)| {
            let new = objects(kind, "v1", &new);
            let old = objects(kind, version, &old);
            (Just(version), new, old).boxed()
        })
        .collect();
    prop::strategy::Union::new(all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn there_and_back_is_the_same((version, new, old) in every_kind()) {
        let written = from_v1(&new, version).unwrap();
        prop_assert_eq!(written["apiVersion"].as_str().unwrap(), format!("{GROUP}/{version}"));
        prop_assert_eq!(&to_v1(written).unwrap().object, &new);

        let converted = to_v1(old.clone()).unwrap();
        prop_assert_eq!(converted.object["apiVersion"].as_str().unwrap(), format!("{GROUP}/v1"));
        prop_assert_eq!(from_v1(&converted.object, version).unwrap(), old);
        // What is in v1 stays as it is.
        let again = to_v1(converted.object.clone()).unwrap();
        prop_assert_eq!(again.object, converted.object);
        prop_assert!(again.notes.is_empty());
    }

    /// Nothing that somebody might send makes it panic.
    #[test]
    fn anything_is_taken(kind in 0..9_usize, version in "v1(alpha1|alpha2|beta1)?", spec in anything(), status in anything()) {
        let kind = profiles().get(kind).map_or("Pod", |(kind, ..)| kind);
        let mut object = object(kind, &version);
        object["spec"] = spec;
        object["status"] = status;
        if let Ok(converted) = to_v1(object.clone()) {
            drop(from_v1(&converted.object, &version));
        }
        let text = serde_json::to_vec(&object).unwrap();
        check("file", &text);
    }
}

/// JSON with the names that matter.
fn anything() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "disabled",
        "state",
        "mode",
        "permissive",
        "complainMode",
        "selinux",
        "enable",
        "enableSelinux",
        "status",
        "spec",
        "nodeName",
        "syscalls",
        "errnoRet",
        "names",
        "recorder",
        "podSelector",
        "matchExpressions",
        "operator",
        "values",
        "options",
        "webhook",
        "affinity",
        "conditions",
        "type",
        "policy",
        "selinuxOptions",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6).prop_map(|map| {
                map.into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

fn converted(kind: &str, version: &str, fields: &[Field]) -> Result<Value, Vec<String>> {
    let mut object = object(kind, version);
    for (path, value) in fields {
        put(&mut object, path, value.clone());
    }
    match to_v1(object) {
        Ok(converted) => Ok(converted.object),
        Err(ConvertError::Fields(notes)) => Err(notes
            .into_iter()
            .map(|note| format!("{} {}", note.path, note.text))
            .collect()),
        Err(error) => Err(vec![error.to_string()]),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn old_fields_are_mapped() {
    let spod = "SecurityProfilesOperatorDaemon";
    for (kind, version, old, path, new) in [
        (
            "SeccompProfile",
            "v1beta1",
            ("spec.disabled", json!(true)),
            "/spec/state",
            json!("Disabled"),
        ),
        (
            "SeccompProfile",
            "v1alpha1",
            ("spec.disabled", json!(false)),
            "/spec/state",
            json!("Enabled"),
        ),
        (
            "SeccompProfile",
            "v1alpha1",
            ("spec.syscalls", json!([{ "errnoRet": "38" }])),
            "/spec/syscalls/0/errnoRet",
            json!(38),
        ),
        (
            "SelinuxProfile",
            "v1alpha2",
            ("spec.permissive", json!(true)),
            "/spec/mode",
            json!("Permissive"),
        ),
        (
            "AppArmorProfile",
            "v1alpha1",
            ("spec.complainMode", json!(true)),
            "/spec/mode",
            json!("Complain"),
        ),
        (
            "ProfileRecording",
            "v1alpha1",
            ("spec.recorder", json!("logs")),
            "/spec/recorder",
            json!("Logs"),
        ),
        (
            "SecurityProfileNodeStatus",
            "v1alpha1",
            ("nodeName", json!("n")),
            "/spec/nodeName",
            json!("n"),
        ),
        (
            "SecurityProfileNodeStatus",
            "v1alpha1",
            ("status", json!("Error")),
            "/status/status",
            json!("Error"),
        ),
        (
            spod,
            "v1alpha1",
            ("spec.enableSelinux", json!(false)),
            "/spec/selinux/enable",
            json!(false),
        ),
        (
            spod,
            "v1alpha1",
            ("spec.logEnricherSource", json!("BPF")),
            "/spec/enricher/logEnricherSource",
            json!("Bpf"),
        ),
        (
            spod,
            "v1alpha1",
            ("status.state", json!("RUNNING")),
            "/status/state",
            json!("Running"),
        ),
        // Release 1.0 used the old version names for new fields.
        (
            spod,
            "v1alpha1",
            ("spec.selinux.enable", json!(true)),
            "/spec/selinux/enable",
            json!(true),
        ),
        (
            spod,
            "v1alpha1",
            ("spec.enricher.logEnricherSource", json!("auditd")),
            "/spec/enricher/logEnricherSource",
            json!("Auditd"),
        ),
        (
            "SeccompProfile",
            "v1beta1",
            ("spec.state", json!("Disabled")),
            "/spec/state",
            json!("Disabled"),
        ),
    ] {
        let result = converted(kind, version, std::slice::from_ref(&old)).unwrap();
        assert_eq!(result.pointer(path), Some(&new), "{kind} {old:?}");
    }
}

#[test]
fn nothing_old_is_left() {
    for (kind, version, _, old) in profiles() {
        let fields: Vec<_> = old
            .into_iter()
            .filter(|(path, _)| *path != "unknown")
            .map(|(path, values)| (path, values[0].clone()))
            .collect();
        let object = converted(kind, version, &fields).unwrap();
        let text = serde_json::to_vec(&object).unwrap();
        let unknown: Vec<_> = check("file", &text)
            .into_iter()
            .filter(|told| told.message.starts_with("unknown field"))
            .filter(|told| {
                !["defaultAction", "syscalls", "status.status"]
                    .iter()
                    .any(|own| told.message.contains(own))
            })
            .collect();
        assert_eq!(unknown, [], "{kind}");
    }
}

#[test]
fn contradictions_are_errors_and_all_are_told() {
    let result = converted(
        "SelinuxProfile",
        "v1alpha2",
        &[
            ("spec.disabled", json!(true)),
            ("spec.state", json!("Enabled")),
            ("spec.permissive", json!("yes")),
        ],
    );
    assert_eq!(
        result.unwrap_err(),
        [
            "spec.disabled contradicts `spec.state`: remove one of them",
            "spec.permissive must be `true` or `false`",
        ]
    );
    let agreeing = [
        ("spec.disabled", json!(true)),
        ("spec.state", json!("Disabled")),
    ];
    let result = converted("SelinuxProfile", "v1alpha2", &agreeing).unwrap();
    assert_eq!(result["spec"], json!({ "state": "Disabled" }));

    let spod = "SecurityProfilesOperatorDaemon";
    let result = converted(
        spod,
        "v1alpha1",
        &[
            ("spec.enableSelinux", json!(true)),
            ("spec.selinux", json!({ "enable": false })),
        ],
    );
    assert_eq!(
        result.unwrap_err(),
        ["spec.enableSelinux contradicts `spec.selinux.enable`: remove one of them"]
    );
    let result = converted(
        spod,
        "v1alpha1",
        &[
            ("spec.enableSelinux", json!(true)),
            ("spec.selinux", json!("on")),
        ],
    );
    assert_eq!(
        result.unwrap_err(),
        ["spec.enableSelinux has no place: the object has something else at `spec.selinux.enable`"]
    );
    let result = converted(
        "AppArmorProfile",
        "v1alpha1",
        &[("spec.policy", json!("profile a {}"))],
    );
    assert!(result.unwrap_err()[0].starts_with("spec.policy is the text of a profile"));
    let result = converted(
        "SeccompProfile",
        "v1beta1",
        &[("spec.syscalls", json!([{ "errnoRet": "EPERM" }]))],
    );
    assert_eq!(
        result.unwrap_err(),
        ["spec.syscalls[0].errnoRet is no number"]
    );
}

#[test]
fn namespaces_of_profiles_are_dropped_with_a_note() {
    for (kind, version, ..) in profiles() {
        let mut object = object(kind, version);
        put(&mut object, "metadata.namespace", json!("web"));
        let converted = to_v1(object).unwrap();
        let namespaced = [
            "ProfileBinding",
            "ProfileRecording",
            "SecurityProfilesOperatorDaemon",
        ];
        let kept = converted.object["metadata"]["namespace"] == json!("web");
        assert_eq!(kept, namespaced.contains(&kind), "{kind}");
        assert_eq!(kept, converted.notes.is_empty(), "{kind}");
    }
}

#[test]
fn what_an_older_version_cannot_say_is_an_error() {
    let mut binding = object("ProfileBinding", "v1");
    put(&mut binding, "spec.podSelector", json!({}));
    let error = from_v1(&binding, "v1alpha1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.podSelector has no place in v1alpha1"
    );

    for (path, value) in [
        ("spec.mode", json!("Complain")),
        ("spec.namespaceSelector", json!({})),
        ("spec.whenNotInstalled", json!("Refuse")),
    ] {
        let mut binding = object("ProfileBinding", "v1");
        put(&mut binding, path, value);
        let error = from_v1(&binding, "v1alpha1").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{path} has no place in v1alpha1")
        );
    }

    let mut recording = object("ProfileRecording", "v1");
    put(&mut recording, "spec.finish", json!({ "after": "10m" }));
    let error = from_v1(&recording, "v1alpha1").unwrap_err();
    assert_eq!(error.to_string(), "spec.finish has no place in v1alpha1");

    let mut profile = object("AppArmorProfile", "v1");
    let denied = json!({ "deny": { "capability": ["bpf"] } });
    put(&mut profile, "spec.abstract.rules", denied);
    let error = from_v1(&profile, "v1alpha1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.abstract.rules has no place in v1alpha1"
    );

    let mut spod = object("SecurityProfilesOperatorDaemon", "v1");
    put(&mut spod, "spec.enableInsecureMetricsAccess", json!(false));
    put(
        &mut spod,
        "spec.security.allowedIdentityRegexp",
        json!(".*"),
    );
    assert_eq!(from_v1(&spod, "v1alpha1").unwrap().get("spec"), None);
    put(
        &mut spod,
        "spec.security.allowedIdentityRegexp",
        json!("me"),
    );
    put(&mut spod, "spec.enableInsecureMetricsAccess", json!(true));
    put(
        &mut spod,
        "spec.selinux.options.deniedTypes",
        json!(["a_t"]),
    );
    let ConvertError::Fields(notes) = from_v1(&spod, "v1alpha1").unwrap_err() else {
        panic!("no fields")
    };
    assert_eq!(notes.len(), 3);
}

#[test]
fn other_objects_and_versions_are_refused() {
    assert_eq!(to_v1(json!(3)), Err(ConvertError::NoObject));
    assert_eq!(
        to_v1(json!({ "kind": "SeccompProfile" })),
        Err(ConvertError::NoObject)
    );
    let pod = json!({ "kind": "Pod", "apiVersion": "v1" });
    assert_eq!(to_v1(pod), Err(ConvertError::Kind("Pod".to_owned())));
    let version =
        |result: Result<_, ConvertError>| matches!(result, Err(ConvertError::Version { .. }));
    assert!(version(to_v1(object("SeccompProfile", "v1alpha2"))));
    assert!(version(to_v1(object("SelinuxProfile", "v2"))));
    let profile = object("SeccompProfile", "v1");
    assert!(matches!(
        from_v1(&profile, "v1alpha1"),
        Err(ConvertError::Version { .. })
    ));
    let mut deep = json!(1);
    for _ in 0..1000 {
        deep = json!([deep]);
    }
    let mut profile = object("SeccompProfile", "v1beta1");
    profile["spec"] = deep;
    assert_eq!(to_v1(profile), Err(ConvertError::NoObject));
}
