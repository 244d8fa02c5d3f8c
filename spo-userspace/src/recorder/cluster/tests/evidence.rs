//! What is told besides the calls: what is missing, what did not fit, and how replicas differ.

use super::*;

#[test]
fn what_cannot_be_complete_says_so() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    // It ran before, crashed, and was started anew.
    cluster.pod(pod("u1", &[("app", &["c0", "c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    // One of which no status ever tells, and the sandbox, which none should.
    cluster.started(subject(2), started("c2", "u1"));
    cluster.started(
        subject(3),
        Started {
            comm: "pause".to_owned(),
            ..started("c3", "u1")
        },
    );
    let lossy = Observed {
        filtered: true,
        losses: Losses {
            skipped_runs: 3,
            ..Losses::default()
        },
        ..observed(&[0])
    };
    cluster.ended(subject(1), lossy);
    cluster.pod_gone("u1");
    world.steps();
    let partial = world.annotation("web-app-u1", "partial").unwrap();
    for expected in [
        "of 1 of its runs",
        "3 losses",
        "1 containers of its pod",
        "filter",
    ] {
        assert!(partial.contains(expected), "{expected}: {partial}");
    }
    assert_eq!(world.annotation("web-app-u1", "lost"), Some("3"));
    assert_eq!(world.released.len(), 3);
    let app = &world.cluster.status()[0].containers["app"];
    assert_eq!((app.lost, app.partial.len()), (3, 4));
}

#[test]
fn a_container_from_before_the_recorder_is_not_complete() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c0", "c1"])]));
    cluster.started(subject(1), started("c0", "u1"));
    cluster.started(subject(2), started("c1", "u1"));
    let late = Observed {
        late: true,
        ..observed(&[0])
    };
    cluster.ended(subject(1), late);
    cluster.ended(subject(2), observed(&[1]));
    cluster.pod_gone("u1");
    world.steps();
    let partial = world.annotation("web-app-u1", "partial").unwrap();
    assert!(
        partial.contains("of 1 of its runs the beginning"),
        "{partial}"
    );
    assert_eq!(world.calls("web-app-u1"), ["read", "write"]);
}

#[test]
fn capabilities_are_told_of_each_container() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    let mut privileged = pod("u1", &[("app", &["c1", "c2"]), ("side", &["s1"])]);
    privileged.containers[0].privileged = true;
    cluster.pod(privileged);
    let uses = |capabilities, skipped_checks| Observed {
        capabilities,
        checks: Some(Checks::Used),
        losses: Losses {
            skipped_checks,
            ..Losses::default()
        },
        ..observed(&[0])
    };
    for (index, id) in [(1, "c1"), (2, "c2"), (3, "s1")] {
        cluster.started(subject(index), started(id, "u1"));
    }
    cluster.ended(subject(1), uses(1 << 21, 0));
    world.steps();
    let app = "web-app-u1";
    assert_eq!(world.annotation(app, "capabilities"), Some("CAP_SYS_ADMIN"));
    assert_eq!(world.annotation(app, "capabilities-unsure"), None);
    // A restart without a new call, but with a new capability.
    let cluster = &mut world.cluster;
    cluster.ended(subject(2), uses(1, 2));
    cluster.ended(subject(3), observed(&[0]));
    world.steps();
    let told = world.annotation(app, "capabilities");
    assert_eq!(told, Some("CAP_CHOWN, CAP_SYS_ADMIN"));
    let unsure = world.annotation(app, "capabilities-unsure").unwrap();
    assert!(unsure.contains("2 checks"), "{unsure}");
    assert_eq!(world.annotation(app, "lost"), Some("0"));
    assert_eq!(world.annotation(app, "partial"), None);
    let said = world.annotation(app, "privileged").unwrap();
    assert!(said.contains("no seccomp filter"), "{said}");
    // Of the other one, nobody looked.
    let side = "web-side-u1";
    assert_eq!(world.annotation(side, "capabilities"), Some("unknown"));
    let unsure = world.annotation(side, "capabilities-unsure");
    assert_eq!(unsure, Some("nobody has looked"));
    assert_eq!(world.annotation(side, "privileged"), None);
}

#[test]
fn losses_from_before_are_not_its_own() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    let losses = Losses {
        skipped_runs: 3,
        ..Losses::default()
    };
    cluster.started(
        subject(1),
        Started {
            losses,
            ..started("c1", "u1")
        },
    );
    cluster.ended(
        subject(1),
        Observed {
            losses,
            ..observed(&[0])
        },
    );
    world.steps();
    assert_eq!(world.annotation("web-app-u1", "lost"), Some("0"));
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
}

#[test]
fn a_pod_from_before_the_recorder_is_told() {
    let mut world = World::new(Limits::default());
    world.cluster.recording(recording("web"));
    world.cluster.pod(pod("u1", &[("app", &["c1"])]));
    let status = world.cluster.status();
    let app = &status[0].containers["app"];
    assert_eq!((app.replicas, app.partial.len()), (0, 1));
}

#[test]
fn replicas_that_differ() {
    let mut world = World::new(Limits::default());
    world.cluster.recording(Recording {
        merge: true,
        ..recording("web")
    });
    for (index, calls) in [&[0, 1][..], &[0, 1], &[0, 1, 2]].into_iter().enumerate() {
        let (uid, id) = (format!("u{index}"), format!("c{index}"));
        let subject = subject(u32::try_from(index).unwrap() + 1);
        world.cluster.pod(pod(&uid, &[("app", &[&id])]));
        world.cluster.started(subject, started(&id, &uid));
        world.cluster.ended(subject, observed(calls));
        // The first is done with, which makes no difference.
        if index == 0 {
            world.cluster.pod_gone(&uid);
        }
        world.steps();
    }
    let app = &world.cluster.status()[0].containers["app"];
    assert_eq!(
        (app.syscalls, app.replicas, app.agreeing, app.running),
        (3, 3, 1, 0)
    );
    assert_eq!(world.written.len(), 3);
}

#[test]
fn what_does_not_fit_is_counted() {
    let mut world = World::new(Limits {
        waiting: 2,
        takes: 1,
        ..Limits::default()
    });
    world.cluster.recording(recording("web"));
    for namespace in 1..=5 {
        let id = format!("c{namespace}");
        world
            .cluster
            .started(subject(namespace), started(&id, "later"));
        world.cluster.ended(subject(namespace), observed(&[0]));
    }
    assert_eq!(world.cluster.status()[0].dropped.waiting, 3);
    for uid in ["u1", "u2"] {
        let id = format!("of-{uid}");
        let subject = subject(10 + u32::from(uid == "u2"));
        world.cluster.pod(pod(uid, &[("app", &[&id])]));
        world.cluster.started(subject, started(&id, uid));
        world.cluster.observed(subject, observed(&[0]));
    }
    let status = world.cluster.status();
    assert_eq!(status[0].dropped.takes, 1);
    let partial = &status[0].containers["app"].partial;
    assert!(
        partial.iter().any(|reason| reason.contains("no room")),
        "{partial:?}"
    );
}

#[test]
fn a_profile_that_could_not_be_written_is_told_again() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.ended(subject(1), observed(&[0]));
    cluster.pod_gone("u1");
    let outputs = |cluster: &mut Cluster| -> Vec<Output> {
        let steps = cluster.steps(1).into_iter();
        steps
            .filter_map(|step| match step {
                Step::Write(output) => Some(*output),
                Step::Release(_) => None,
            })
            .collect()
    };
    let first = outputs(cluster);
    assert_eq!(first.len(), 1);
    assert!(outputs(cluster).is_empty());
    cluster.again(&first[0]);
    let second = outputs(cluster);
    assert_eq!(second, first);
    cluster.written(&second[0]);
    assert!(outputs(cluster).is_empty() && cluster.takes.is_empty());
}

#[test]
fn a_filter_that_lets_all_pass_and_logs_it_holds_nothing_back() {
    let told = |logged: bool, recorder: &'static str| {
        let mut world = World::new(Limits::default());
        world.cluster.node.recorder = recorder;
        world.cluster.recording(recording("web"));
        let mut pod = pod("u1", &[("app", &["c1"])]);
        pod.containers[0].logged = logged;
        world.cluster.pod(pod);
        world.cluster.started(subject(1), started("c1", "u1"));
        let filtered = recorder == "Bpf";
        let observed = Observed {
            filtered,
            ..observed(&[0])
        };
        world.cluster.observed(subject(1), observed.clone());
        let status = world.cluster.status()[0].containers["app"].partial.clone();
        world.cluster.ended(subject(1), observed);
        world.cluster.pod_gone("u1");
        world.steps();
        let partial = world.annotation("web-app-u1", "partial");
        (status, partial.map(str::to_owned))
    };
    for recorder in ["Bpf", "Logs"] {
        let (status, partial) = told(true, recorder);
        assert!(
            status.is_empty() && partial.is_none(),
            "{recorder}: {status:?} {partial:?}"
        );
        let (status, partial) = told(false, recorder);
        assert!(!status.is_empty() && partial.is_some(), "{recorder}");
    }
}

#[test]
fn where_nothing_can_be_recorded_the_status_says_so() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    let told = |cluster: &Cluster| {
        let partial = cluster.status()[0].containers["app"].partial.clone();
        partial.iter().any(|reason| reason.contains("CannotRecord"))
    };
    for failing in [true, false] {
        cluster.failing(failing);
        assert_eq!(told(cluster), failing);
    }
}
