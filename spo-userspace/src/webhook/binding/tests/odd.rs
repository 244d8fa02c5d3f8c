//! Kinds, servers and pods that are not like the usual ones.

use super::*;

#[test]
fn the_other_kinds_have_fields_of_their_own() {
    let of = |kind: &str, image: &str| {
        let profile = json!({ "kind": kind, "name": "web" });
        [binding(
            "shop/b",
            json!({ "profileRef": profile, "image": image }),
        )]
    };
    let mut own = pod();
    own["spec"]["securityContext"] = json!({ "seLinuxOptions": { "level": "s0:c1" } });
    let bound = made(
        &own,
        &of("SelinuxProfile", "nginx:1.25"),
        &profiles(&["web"]),
    );
    assert_eq!(
        bound["spec"]["containers"][0]["securityContext"]["seLinuxOptions"],
        json!({ "type": "web.process", "level": "s0:c1" })
    );
    let bound = made(&own, &of("SelinuxProfile", "*"), &profiles(&["web"]));
    assert_eq!(
        bound["spec"]["securityContext"]["seLinuxOptions"],
        json!({ "type": "web.process", "level": "s0:c1" })
    );

    let key = "container.apparmor.security.beta.kubernetes.io/app";
    let mut own = pod();
    own["metadata"]["annotations"] = json!({ key: "unconfined" });
    for image in ["nginx:1.25", "*"] {
        let bindings = of("AppArmorProfile", image);
        let request = create(&own);
        let old = after(
            &request,
            &asked(&request, &bindings, &profiles(&["web"]), OLD),
        );
        let new = after(
            &request,
            &asked(&request, &bindings, &profiles(&["web"]), NEW),
        );
        let annotation = |pod: &Value, container: &str| {
            pod["metadata"]["annotations"][format!("{}{container}", key.trim_end_matches("app"))]
                .clone()
        };
        if image == "*" {
            // Each container for itself, where there is no field for the pod.
            assert_eq!(annotation(&old, "side"), "localhost/web");
            assert_eq!(annotation(&old, "app"), "unconfined");
            assert_eq!(
                new["spec"]["securityContext"]["appArmorProfile"],
                localhost("web")
            );
            assert_eq!(applied(&old)[0].containers, ["first", "side"]);
            // Asked again, it is the same.
            let again = create(&old);
            let second = after(&again, &asked(&again, &bindings, &profiles(&["web"]), OLD));
            assert_eq!(second, old);
        } else {
            assert_eq!(annotation(&old, "app"), "localhost/web");
            let app = &new["spec"]["containers"][0]["securityContext"];
            assert_eq!(app["appArmorProfile"], localhost("web"));
            assert_eq!(annotation(&new, "app"), Value::Null);
        }
    }
}

#[test]
fn annotations_of_old_servers_count_there() {
    let key = "container.seccomp.security.alpha.kubernetes.io/app";
    let mut own = pod();
    own["metadata"]["annotations"] = json!({
        key: "runtime/default", "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
    });
    let request = create(&own);
    let image = [binding("shop/web", json!({}))];
    let bound = after(&request, &asked(&request, &image, &profiles(&["web"]), OLD));
    assert_eq!(*seccomp(&bound, "containers", 0), localhost(WEB));
    assert_eq!(bound["metadata"]["annotations"][key], Value::Null);
    let wildcard = [binding("shop/all", json!({ "image": "*" }))];
    let all = profiles(&["all"]);
    assert_eq!(asked(&request, &wildcard, &all, OLD).answer.patch, None);
    assert!(asked(&request, &wildcard, &all, NEW).answer.patch.is_some());
}

#[test]
fn what_cannot_be_read_is_left_out_and_told() {
    let mut newer = json!({
        "metadata": { "namespace": "shop", "name": "newer" }, "spec": { "image": ["nginx"] },
    });
    newer["apiVersion"] = json!("security-profiles-operator.x-k8s.io/v1");
    newer["kind"] = json!("ProfileBinding");
    let bindings = [
        Arc::new(serde_json::from_value(newer).unwrap()),
        binding("shop/bad", json!({ "image": "nginx:[0-9]" })),
        binding("shop/web", json!({})),
    ];
    let request = create(&pod());
    let decision = asked(&request, &bindings, &profiles(&["web"]), NEW);
    assert_eq!(
        *seccomp(&after(&request, &decision), "containers", 0),
        localhost(WEB)
    );
    let told = &decision.answer.warnings;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("`shop/newer`") && told[0].contains("cannot read it"),
        "{told:?}"
    );
    assert!(
        told[1].contains("`shop/bad`") && told[1].contains("its image"),
        "{told:?}"
    );
}

#[test]
fn a_binding_that_is_being_deleted_does_not_count() {
    let mut gone = (*binding("shop/web", json!({}))).clone();
    let time = serde_json::from_value(json!("2026-01-31T12:00:00Z")).unwrap();
    gone.0.as_mut().unwrap().metadata.deletion_timestamp = Some(time);
    assert_eq!(made(&pod(), &[Arc::new(gone)], &profiles(&["web"])), pod());
}

#[test]
fn static_pods_and_windows_stay_as_they_are() {
    let bindings = [binding("shop/web", json!({}))];
    let mut mirror = pod();
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
    let mut windows = pod();
    windows["spec"]["os"] = json!({ "name": "windows" });
    // Who is not held to what he says here is bound.
    let request = create(&windows);
    let bound = asked(&request, &bindings, &Profiles::new(), OLD);
    assert!(bound.answer.patch.is_some());
    for (pod, why) in [(mirror, "static pod"), (windows, "Windows")] {
        let request = create(&pod);
        let decision = asked(&request, &bindings, &Profiles::new(), NEW);
        assert_eq!(decision.answer.patch, None);
        let told = &decision.answer.warnings;
        assert!(told.len() == 1 && told[0].contains(why), "{told:?}");
    }
}

#[test]
fn a_recording_from_the_audit_log_has_its_way() {
    let log = localhost_profile("log-enricher-trace");
    let mut own = pod();
    own["spec"]["containers"][0]["securityContext"] = json!({ "seccompProfile": localhost(&log) });
    let bindings = [binding("shop/web", json!({ "image": "*/*:*" }))];
    let request = create(&own);
    let plan = || choose(&request, &bindings, None, OPERATOR, NEW);
    assert_eq!(plan().loosened(&own), BTreeSet::from(["app".to_owned()]));
    let decided = |recorded: &BTreeMap<String, String>| {
        let circumstances = Circumstances {
            labels: None,
            server: NEW,
            recorded,
        };
        let decision = decide(&request, plan(), &profiles(&["web"]), &circumstances);
        (after(&request, &decision), decision.answer.warnings)
    };
    let recorded = BTreeMap::from([("app".to_owned(), "rec".to_owned())]);
    let (pod, told) = decided(&recorded);
    assert_eq!(*seccomp(&pod, "containers", 0), localhost(&log));
    assert_eq!(*seccomp(&pod, "containers", 1), localhost(WEB));
    assert_eq!(applied(&pod)[0].containers, ["first", "side"]);
    assert!(told[0].contains("is recorded by `rec`"), "{told:?}");
    // Nobody records it: it has the profile from its author alone.
    let (pod, _) = decided(&BTreeMap::new());
    assert_eq!(*seccomp(&pod, "containers", 0), localhost(WEB));
}

#[test]
fn hostile_names_and_shapes_do_no_harm() {
    let mut own = pod();
    own["spec"]["containers"][0]["name"] = json!("app\u{1b}[2J");
    let bindings = [binding("shop/web", json!({ "whenNotInstalled": "Refuse" }))];
    let refusal = asked(&create(&own), &bindings, &Profiles::new(), NEW)
        .answer
        .refusal;
    assert!(!refusal.unwrap().contains('\u{1b}'));
    for (field, value) in [
        ("metadata", json!([])),
        ("metadata", json!({ "annotations": "x", "labels": [1] })),
        ("spec", json!("x")),
        (
            "spec",
            json!({ "containers": [null, 1, { "image": "nginx:1.25" }], "schedulingGates": 1 }),
        ),
    ] {
        let mut odd = pod();
        odd[field] = value;
        asked(&create(&odd), &bindings, &profiles(&["web"]), NEW);
        asked(
            &create(&odd),
            &[binding("shop/web", json!({}))],
            &Profiles::new(),
            NEW,
        );
    }
}
