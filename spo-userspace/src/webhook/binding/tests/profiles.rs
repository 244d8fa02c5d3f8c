//! What becomes of a pod, by how far the profile got.

use super::*;

#[test]
fn a_profile_that_is_on_no_node_is_waited_for_refused_or_replaced() {
    let disabled = || {
        found(Standing::on_none(
            "is disabled",
            "set its spec.state to Enabled",
        ))
    };
    for (profile, why, remedy) in [
        (None, "which does not exist", "create it"),
        (
            Some(disabled()),
            "which is disabled",
            "set its spec.state to Enabled",
        ),
    ] {
        let profiles: Profiles = profile
            .map(|profile| (key(ProfileKind::SeccompProfile, "web"), profile))
            .into_iter()
            .collect();
        let asked = |policy: &str, dry_run: bool| {
            let bindings = [binding("shop/web", json!({ "whenNotInstalled": policy }))];
            let request = Request {
                dry_run,
                ..create(&pod())
            };
            let decision = asked(&request, &bindings, &profiles, NEW);
            (after(&request, &decision), decision)
        };

        let (made, decision) = asked("Wait", false);
        assert_eq!(*seccomp(&made, "containers", 0), localhost(WEB));
        assert!(is_waiting(&made));
        assert_eq!(applied(&made)[0].outcome, Outcome::Waiting);
        assert!(decision.answer.warnings[0].contains(why), "{decision:?}");

        let (made, decision) = asked("RuntimeDefault", false);
        let given = json!({ "type": "RuntimeDefault" });
        assert_eq!(*seccomp(&made, "containers", 0), given);
        assert!(!is_waiting(&made));
        assert_eq!(applied(&made)[0].outcome, Outcome::RuntimeDefault);
        assert!(decision.answer.warnings[0].contains(why), "{decision:?}");

        let (made, decision) = asked("Refuse", false);
        assert_eq!(made, pod());
        let refusal = decision.answer.refusal.unwrap();
        for expected in [why, remedy, "`shop/web`", "`web`", "the container app"] {
            assert!(refusal.contains(expected), "{refusal}");
        }
        let [(object, note)] = &decision.notes[..] else {
            panic!("{:?}", decision.notes);
        };
        assert_eq!(object.uid.as_deref(), Some("uid of web"));
        assert!(
            note.message.contains(why) && note.message.contains("`web-`"),
            "{note:?}"
        );
        // Nothing is written of what is only tried out.
        let (_, decision) = asked("Refuse", true);
        assert!(decision.answer.refusal.is_some());
        assert_eq!(decision.notes, []);
    }
}

#[test]
fn who_cannot_wait_in_the_queue_is_bound_all_the_same() {
    let bindings = [binding("shop/web", json!({}))];
    let request = create(&pod());
    let decision = asked(&request, &bindings, &Profiles::new(), OLD);
    let old = after(&request, &decision);
    assert_eq!(old["spec"]["schedulingGates"], Value::Null);
    assert_eq!(applied(&old)[0].outcome, Outcome::Waiting);
    // Its node is chosen already.
    let mut placed = pod();
    placed["spec"]["nodeName"] = json!("node-1");
    let placed = made(&placed, &bindings, &Profiles::new());
    assert!(!is_waiting(&placed));
    assert_eq!(*seccomp(&placed, "containers", 0), localhost(WEB));
}

#[test]
fn on_some_nodes_is_installed_and_told() {
    let some = found(Standing::OnNodes(NodeCount {
        ready: 1,
        desired: 3,
    }));
    let profiles = [(key(ProfileKind::SeccompProfile, "web"), some)].into();
    let bindings = [binding("shop/web", json!({ "whenNotInstalled": "Refuse" }))];
    let decision = asked(&create(&pod()), &bindings, &profiles, NEW);
    assert_eq!(decision.answer.refusal, None);
    let told = &decision.answer.warnings;
    assert!(told[0].contains("is on 1 of 3 nodes"), "{told:?}");
}

#[test]
fn in_complain_mode_the_complain_form_counts() {
    let complains = |policy: &str| {
        [binding(
            "shop/web",
            json!({ "mode": "Complain", "whenNotInstalled": policy }),
        )]
    };
    let request = create(&pod());
    let plan = choose(&request, &complains("Wait"), None, OPERATOR, NEW);
    let wanted = ["web", "web.complain"].map(|name| key(ProfileKind::SeccompProfile, name));
    assert_eq!(plan.profiles(), BTreeSet::from(wanted));
    let decision = asked(
        &request,
        &complains("Wait"),
        &profiles(&["web", "web.complain"]),
        NEW,
    );
    let bound = after(&request, &decision);
    let path = localhost_profile("web.complain");
    assert_eq!(*seccomp(&bound, "containers", 0), localhost(&path));
    assert_eq!(applied(&bound)[0].profile, "web");
    assert_eq!(applied(&bound)[0].outcome, Outcome::Bound);
    let told = &decision.answer.warnings;
    assert!(
        told[0].contains("complain mode") && told[0].contains("not denied"),
        "{told:?}"
    );
    // The profile alone does not do, and neither does what is left of its form.
    for (there, why) in [
        (&["web"][..], "no complain form yet"),
        (&["web.complain"], "not exist"),
    ] {
        let decision = asked(&request, &complains("Refuse"), &profiles(there), NEW);
        let refusal = decision.answer.refusal.unwrap();
        assert!(refusal.contains(why), "{refusal}");
    }
    // Somebody else's profile of that name may do anything.
    let mut theirs = profiles(&["web"]);
    theirs.insert(
        key(ProfileKind::SeccompProfile, "web.complain"),
        installed(),
    );
    let decision = asked(&request, &complains("Refuse"), &theirs, NEW);
    let refusal = decision.answer.refusal.unwrap();
    assert!(refusal.contains("somebody else's"), "{refusal}");
    // Without the mode, it is enforced.
    let enforced = made(
        &pod(),
        &[binding("shop/web", json!({}))],
        &profiles(&["web"]),
    );
    assert_eq!(*seccomp(&enforced, "containers", 0), localhost(WEB));
}

#[test]
fn a_binding_does_not_lead_around_the_namespaces_of_a_profile() {
    let trusted = serde_json::from_value(json!({ "matchLabels": { "tier": "trusted" } })).unwrap();
    let kept = Found {
        namespaces: Namespaces::Selected(trusted),
        ..installed()
    };
    for (complains, name) in [(false, "web"), (true, "web.complain")] {
        let mut profiles = profiles(&["web", "web.complain"]);
        profiles.insert(key(ProfileKind::SeccompProfile, name), kept.clone());
        let mode = if complains { "Complain" } else { "Enforce" };
        let bindings = [binding("shop/web", json!({ "mode": mode }))];
        let decision = asked(&create(&pod()), &bindings, &profiles, NEW);
        let refusal = decision.answer.refusal.unwrap();
        for expected in ["`shop/web`", "the container app", "tier=trusted"] {
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}

#[test]
fn a_privileged_container_is_not_held_and_that_is_told() {
    let mut own = pod();
    own["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    let told = |bindings: &[Arc<GuardedBinding>], profiles: &Profiles| {
        let warnings = asked(&create(&own), bindings, profiles, NEW)
            .answer
            .warnings;
        warnings
            .iter()
            .filter(|told| told.contains("is privileged"))
            .count()
    };
    assert_eq!(
        told(&[binding("shop/web", json!({}))], &profiles(&["web"])),
        1
    );
    let wildcard = [binding("shop/all", json!({ "image": "*" }))];
    assert_eq!(told(&wildcard, &profiles(&["all"])), 1);
    let side = [binding("shop/side", json!({ "image": "redis:7" }))];
    assert_eq!(told(&side, &profiles(&["side"])), 0);
}
