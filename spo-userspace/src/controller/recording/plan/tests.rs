mod ends;

use serde_json::json;

use super::super::merge::tests::partial;
use super::*;
use crate::api::names::{COVERAGE, PARTIAL};
use crate::api::profile_recording::Finish;

fn observed(partials: Vec<Partial>) -> Observed {
    Observed {
        namespace: "team".to_owned(),
        name: "web".to_owned(),
        recording: Some(recording()),
        partials,
        present: BTreeMap::new(),
        later: None,
    }
}

fn recording() -> Recording {
    Recording {
        spec: Some((ProfileKind::SeccompProfile, MergeStrategy::Containers)),
        finalizers: vec!["theirs".to_owned()],
        ..Recording::default()
    }
}

fn two() -> Vec<Partial> {
    vec![
        partial("web-app-a", &["read"], &[("lost", "0")]),
        partial("web-app-b", &["read", "write"], &[("lost", "0")]),
    ]
}

/// What a plan does, in words.
fn words(steps: &[Step]) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Write(profile) => format!("write {}", profile.name),
        Step::Delete(names) => {
            let names: Vec<_> = names.iter().map(|(name, _)| &**name).collect();
            format!("delete {}", names.join(" "))
        }
        Step::Finalizers(finalizers) => format!("finalizers {}", finalizers.join(" ")),
        Step::Workloads(workloads) => format!("workloads {}", workloads.join(" ")),
        Step::Started(at) => format!("started {}", at.as_second()),
        Step::Finished(said) => format!("finished {} {}", said.reason, said.status),
        Step::Tell(note) => format!("tell {}", note.reason),
        Step::Again(after) => format!("again {}", after.as_secs()),
    };
    steps.iter().map(word).collect()
}

fn written(steps: &[Step]) -> &Profile {
    let mut found = steps.iter().filter_map(|step| match step {
        Step::Write(profile) => Some(&**profile),
        _ => None,
    });
    found.next().unwrap()
}

/// The profile as it is after it was written.
fn present(profile: &Profile) -> Present {
    Present {
        labels: profile.labels.clone(),
        annotations: profile.annotations.clone(),
        spec: Some(profile.spec.clone()),
        deleting: false,
    }
}

#[test]
fn profiles_are_merged_as_they_come() {
    let mut observed = observed(two());
    let steps = plan(&observed);
    let held = format!("finalizers theirs {UNMERGED}");
    assert_eq!(words(&steps), ["write web-app", &held]);
    let profile = written(&steps).clone();
    assert_eq!(profile.spec.syscalls[0].names, ["read", "write"]);
    assert!(profile.annotations[COVERAGE].contains("\"total\":2"));
    assert_eq!(profile.labels[RECORDING_ID], "web");
    assert!(!profile.labels.contains_key(PARTIAL));

    // Once it is there, there is nothing to do.
    let mut names = vec!["theirs".to_owned(), UNMERGED.to_owned()];
    observed.present = [(profile.name.clone(), present(&profile))].into();
    observed.recording.as_mut().unwrap().finalizers = std::mem::take(&mut names);
    assert!(plan(&observed).is_empty());
    // Another one makes it another.
    observed
        .partials
        .push(partial("web-app-c", &["mknod"], &[]));
    assert_eq!(words(&plan(&observed)), ["write web-app"]);
}

#[test]
fn what_was_changed_or_is_foreign_is_not_overwritten() {
    let mut observed = observed(two());
    let profile = written(&plan(&observed)).clone();
    let mut edited = present(&profile);
    let rules = &mut edited.spec.as_mut().unwrap().syscalls;
    rules[0].names.push("ptrace".to_owned());
    let mut unmarked = present(&profile);
    unmarked.annotations.clear();
    let mut other = present(&profile);
    other
        .labels
        .insert(RECORDING_NAMESPACE.to_owned(), "other".to_owned());
    let mut unreadable = present(&profile);
    unreadable.spec = None;
    for (theirs, why) in [
        (&edited, "somebody has changed it"),
        (&unmarked, "somebody has changed it"),
        (&other, "not of this recording"),
        (&unreadable, "somebody has changed it"),
        (&Present::default(), "not of this recording"),
    ] {
        observed.present = [("web-app".to_owned(), theirs.clone())].into();
        let steps = plan(&observed);
        let words = words(&steps);
        assert_eq!(
            words[..2],
            ["write web-app-proposal", "tell ProfileProposed"],
            "{why}"
        );
        let Step::Tell(note) = &steps[1] else {
            panic!("{steps:?}");
        };
        assert!(note.message.contains(why), "{}", note.message);
    }
    observed.present = [("web-app".to_owned(), edited.clone())].into();
    let steps = plan(&observed);
    let Step::Tell(note) = &steps[1] else {
        panic!("{steps:?}");
    };
    assert!(note.message.contains("ptrace"), "{}", note.message);
    // The proposal is told once.
    let proposal = written(&steps).clone();
    observed
        .present
        .insert(proposal.name.clone(), present(&proposal));
    observed.recording.as_mut().unwrap().finalizers = vec![UNMERGED.to_owned()];
    assert!(plan(&observed).is_empty());
    // A proposal that somebody changed is not overwritten either, and nothing is thrown away.
    observed.present.insert(proposal.name.clone(), edited);
    observed.recording.as_mut().unwrap().deleting = Some(Duration::ZERO);
    let steps = plan(&observed);
    assert_eq!(
        words(&steps),
        ["tell CannotCreateUpdateMergedProfile", "finalizers "]
    );
}

#[test]
fn what_is_deleted_waits_for_its_nodes() {
    let mut observed = observed(two());
    let profile = written(&plan(&observed)).clone();
    observed.present = [(profile.name.clone(), present(&profile))].into();
    let recording = observed.recording.as_mut().unwrap();
    recording.finalizers = vec![RECORDED.to_owned(), UNMERGED.to_owned()];
    recording.workloads = vec!["pod".to_owned()];
    recording.nodes = [("node".to_owned(), ["pod".to_owned()].into())].into();
    assert!(plan(&observed).is_empty());
    let delete = |observed: &mut Observed, seconds| {
        observed.recording.as_mut().unwrap().deleting = Some(Duration::from_secs(seconds));
        words(&plan(observed))
    };
    assert_eq!(delete(&mut observed, 20), ["again 100"]);
    // It does not wait for ever.
    let ended = "delete web-app-a web-app-b";
    assert_eq!(
        delete(&mut observed, 120),
        [
            "write web-app",
            "tell RecordingIncomplete",
            ended,
            "finalizers "
        ]
    );
    // Nobody records it any more.
    observed.recording.as_mut().unwrap().nodes.clear();
    assert_eq!(
        delete(&mut observed, 1),
        ["write web-app", ended, "finalizers "]
    );
}

#[test]
fn what_nodes_do_not_have_is_said_of_the_whole() {
    let mut observed = observed(two());
    let partial = |observed: &Observed| {
        let steps = plan(observed);
        let known = &written(&steps).annotations;
        known.get("spo.x-k8s.io/recording-partial").cloned()
    };
    assert_eq!(partial(&observed), None);
    let own = observed.recording.as_mut().unwrap();
    let reasons = |reasons: &[&str]| reasons.iter().copied().map(str::to_owned).collect();
    own.incomplete = [
        ("app".to_owned(), reasons(&["a", "b"])),
        ("other".to_owned(), reasons(&["c"])),
    ]
    .into();
    own.missing = [("app".to_owned(), reasons(&["node-1"]))].into();
    // As long as it runs, a node need not have handed in anything.
    assert_eq!(partial(&observed).unwrap(), SEE_STATUS);
    observed.recording.as_mut().unwrap().deleting = Some(PATIENCE);
    let missing = format!("a; b; {NOT_HANDED_IN} node-1");
    assert_eq!(partial(&observed).unwrap(), missing);
    let own = observed.recording.as_mut().unwrap();
    let many = (10..22).map(|number: u32| number.to_string());
    own.incomplete = [("app".to_owned(), many.collect())].into();
    own.missing.clear();
    let most = "10; 11; 12; 13; 14; 15; 16; 17; and 4 more";
    assert_eq!(partial(&observed).unwrap(), most);
}

#[test]
fn what_comes_late_takes_nothing_from_what_was_merged() {
    let mut observed = observed(two());
    observed.recording = None;
    let profile = written(&plan(&observed)).clone();
    observed.present = [(profile.name.clone(), present(&profile))].into();
    // Of a view that is old, nothing follows.
    assert_eq!(words(&plan(&observed)), ["delete web-app-a web-app-b"]);
    let known = [("lost", "3"), ("partial", "so")];
    observed.partials = vec![partial("web-app-c", &["mknod", "read"], &known)];
    let steps = plan(&observed);
    assert_eq!(words(&steps), ["write web-app", "delete web-app-c"]);
    let late = written(&steps).clone();
    assert_eq!(late.spec.syscalls[0].names, ["mknod", "read", "write"]);
    let said = |name: &str| &late.annotations[&format!("{ANNOTATION_PREFIX}{name}")];
    assert_eq!(
        [said("profiles"), said("lost"), said("partial")],
        ["3", "3", "so"]
    );
    let coverage: serde_json::Value = serde_json::from_str(&late.annotations[COVERAGE]).unwrap();
    let expected =
        json!({ "version": "v1", "total": 3, "syscalls": { "mknod": 1, "read": 3, "write": 1 } });
    assert_eq!(coverage, expected);
    observed.present = [(profile.name.clone(), present(&late))].into();
    assert_eq!(words(&plan(&observed)), ["delete web-app-c"]);
    // It is the proposal that it joins where that is the result.
    let mut edited = present(&profile);
    edited.annotations.clear();
    let [name, proposal] = places("web", "app");
    observed.present = [(name, edited), (proposal.clone(), present(&profile))].into();
    let steps = plan(&observed);
    let late = written(&steps);
    assert_eq!(
        (&late.name, late.spec.syscalls[0].names.len()),
        (&proposal, 3)
    );
    // What another recording of the name left is replaced.
    let mut other = present(&profile);
    let key = format!("{ANNOTATION_PREFIX}uid");
    other.annotations.insert(key, "other".to_owned());
    observed.present = [(profile.name.clone(), other)].into();
    assert_eq!(
        written(&plan(&observed)).spec.syscalls[0].names,
        ["mknod", "read"]
    );
}

#[test]
fn what_comes_late_is_none_of_another_recording_of_the_name() {
    let mut observed = observed(two());
    let own = observed.recording.as_mut().unwrap();
    own.uid = Some("two".to_owned());
    own.finalizers = vec![RECORDED.to_owned()];
    let of = |mut partial: Partial, uid: &str| {
        let key = format!("{ANNOTATION_PREFIX}uid");
        partial.annotations.insert(key, uid.to_owned());
        partial
    };
    let [a, b] = <[Partial; 2]>::try_from(two()).unwrap();
    // It has the place as long as the other one has nothing.
    observed.partials = vec![of(a.clone(), "one")];
    let steps = plan(&observed);
    assert_eq!(
        words(&steps),
        ["write web-app", "delete web-app-a", "finalizers "]
    );
    let earlier = present(written(&steps));
    observed.present = [("web-app".to_owned(), earlier)].into();
    observed.partials = vec![of(b.clone(), "two")];
    let steps = plan(&observed);
    let unmerged = format!("finalizers {UNMERGED}");
    assert_eq!(words(&steps), ["write web-app", &unmerged]);
    // Then it is too late.
    let own = observed.recording.as_mut().unwrap();
    own.finalizers = vec![UNMERGED.to_owned()];
    let later = written(&steps).clone();
    observed.present = [("web-app".to_owned(), present(&later))].into();
    observed.partials = vec![of(a, "one"), of(b, "two")];
    assert_eq!(
        words(&plan(&observed)),
        ["tell RecordingIncomplete", "delete web-app-a"]
    );
}

#[test]
fn pods_that_are_recorded_hold_the_recording() {
    let mut observed = observed(Vec::new());
    let recording = observed.recording.as_mut().unwrap();
    recording.nodes = [
        ("one".to_owned(), ["b".to_owned(), "a".to_owned()].into()),
        ("two".to_owned(), ["c".to_owned()].into()),
    ]
    .into();
    let held = format!("finalizers theirs {RECORDED}");
    assert_eq!(words(&plan(&observed)), [&held, "workloads a b c"]);
    let recording = observed.recording.as_mut().unwrap();
    recording.finalizers.push(RECORDED.to_owned());
    recording.workloads = vec!["a".to_owned()];
    recording.nodes.clear();
    assert_eq!(words(&plan(&observed)), ["finalizers theirs", "workloads "]);
}

#[test]
fn what_a_recording_that_is_gone_left_is_merged() {
    let mut observed = observed(two());
    observed.recording = None;
    let steps = plan(&observed);
    assert_eq!(
        words(&steps),
        ["write web-app", "delete web-app-a web-app-b"]
    );
}

#[test]
fn what_cannot_be_merged_is_told_and_stays() {
    let mut broken = observed(two());
    broken.partials[0].spec = None;
    broken.recording.as_mut().unwrap().deleting = Some(Duration::ZERO);
    assert_eq!(
        words(&plan(&broken)),
        ["tell CannotCreateUpdateMergedProfile"]
    );

    let mut empty = observed(two());
    for partial in &mut empty.partials {
        let spec = json!({ "defaultAction": "SCMP_ACT_ERRNO" });
        partial.spec = Some(serde_json::from_value(spec).unwrap());
    }
    assert_eq!(words(&plan(&empty))[0], "tell MergedEmptyProfile");

    let mut none = observed(Vec::new());
    assert!(plan(&none).is_empty());
    let recording = none.recording.as_mut().unwrap();
    recording.finalizers = vec![RECORDED.to_owned()];
    recording.deleting = Some(Duration::ZERO);
    assert_eq!(
        words(&plan(&none)),
        ["tell NoPartialProfiles", "finalizers "]
    );
    let kind = |none: &mut Observed, kind, strategy| {
        none.recording.as_mut().unwrap().spec = Some((kind, strategy));
        words(&plan(none))
    };
    let other = kind(
        &mut none,
        ProfileKind::SelinuxProfile,
        MergeStrategy::Containers,
    );
    assert_eq!(other, ["tell KindNotSupportedForMerge", "finalizers "]);
    let alone = kind(&mut none, ProfileKind::SeccompProfile, MergeStrategy::None);
    assert_eq!(alone, ["finalizers "]);
    // Somebody else still holds it, and all was told.
    none.recording.as_mut().unwrap().finalizers = vec!["theirs".to_owned()];
    assert!(plan(&none).is_empty());
}
