//! How recordings end.

use super::super::super::jobs::JobEnd;
use super::*;

#[test]
fn a_recording_ends_by_a_rule_and_says_so_when_all_is_there() {
    let mut observed = observed(two());
    let own = observed.recording.as_mut().unwrap();
    own.finalizers = vec![UNMERGED.to_owned(), RECORDED.to_owned()];
    own.nodes = [("node".to_owned(), ["pod".to_owned()].into())].into();
    own.workloads = vec!["pod".to_owned()];
    own.progress = Progress {
        records: true,
        open: vec!["node".to_owned()],
        now: Timestamp::from_second(100).unwrap(),
        ..Progress::default()
    };
    // The first container.
    assert_eq!(words(&plan(&observed)), ["write web-app", "started 100"]);
    let own = observed.recording.as_mut().unwrap();
    own.progress.started = Some(own.progress.now);
    own.progress.rules = Some(Finish {
        after: Some("1m".to_owned()),
        job: Some("e2e".to_owned()),
        ..Finish::default()
    });
    assert_eq!(words(&plan(&observed)), ["write web-app", "again 60"]);
    // The rule comes before everything else.
    let own = observed.recording.as_mut().unwrap();
    own.progress.job = Some(JobEnd {
        at: own.progress.now,
        failed: true,
    });
    let steps = plan(&observed);
    assert_eq!(
        words(&steps),
        ["finished JobFailed False", "tell RecordingFinished"]
    );
    let Step::Finished(said) = &steps[0] else {
        panic!("{steps:?}")
    };
    let own = observed.recording.as_mut().unwrap();
    own.progress.finished = Some(said.clone());
    let steps = plan(&observed);
    assert_eq!(words(&steps), ["write web-app", "again 120"]);
    let partial = |steps| {
        let profile: &Profile = written(steps);
        profile.annotations["spo.x-k8s.io/recording-partial"].clone()
    };
    assert_eq!(partial(&steps), FAILED);
    // The node has handed in what it had: the lock goes first.
    let own = observed.recording.as_mut().unwrap();
    own.nodes.clear();
    own.progress.open.clear();
    own.progress.now = Timestamp::from_second(200).unwrap();
    let freed = format!("finalizers {UNMERGED}");
    assert_eq!(
        words(&plan(&observed)),
        ["write web-app", &freed, "workloads "]
    );
    let own = observed.recording.as_mut().unwrap();
    own.finalizers = vec![UNMERGED.to_owned()];
    own.workloads.clear();
    let steps = plan(&observed);
    let ends = ["write web-app", "finished JobFailed True"];
    assert_eq!(words(&steps), ends);
    // A profile that says already why it is not complete, says both.
    let key = "spo.x-k8s.io/recording-partial".to_owned();
    observed.partials[0]
        .annotations
        .insert(key, "so".to_owned());
    assert_eq!(partial(&plan(&observed)), format!("so; {FAILED}"));
    // It is deleted as any other.
    let own = observed.recording.as_mut().unwrap();
    own.deleting = Some(Duration::ZERO);
    let steps = words(&plan(&observed));
    assert_eq!(
        steps,
        ["write web-app", "delete web-app-a web-app-b", "finalizers "]
    );
}

#[test]
fn who_does_not_hand_in_is_named_at_the_end() {
    let mut observed = observed(Vec::new());
    let own = observed.recording.as_mut().unwrap();
    own.finalizers.clear();
    own.progress.open = vec!["node".to_owned()];
    own.progress.rules = Some(Finish {
        after: Some("1s".to_owned()),
        ..Finish::default()
    });
    own.progress.started = Some(own.progress.now);
    own.progress.now += PATIENCE;
    let steps = plan(&observed);
    let Step::Finished(said) = &steps[0] else {
        panic!("{steps:?}")
    };
    let own = observed.recording.as_mut().unwrap();
    own.progress.finished = Some(said.clone());
    assert_eq!(words(&plan(&observed)), ["again 120"]);
    let own = observed.recording.as_mut().unwrap();
    own.progress.now += PATIENCE;
    let steps = plan(&observed);
    assert_eq!(
        words(&steps),
        ["finished TimeOver True", "tell RecordingIncomplete"]
    );
}
