//! From starts and ends to profiles.

use super::*;

#[test]
fn a_container_from_its_start_to_its_profile() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    // The kernel is faster than the API server.
    cluster.started(subject(1), started("c1", "u1"));
    assert_eq!(cluster.undecided(), 1);
    assert!(world.wanted().is_empty());
    world.cluster.pod(pod("u1", &[("app", &["c1"])]));
    assert_eq!(world.wanted(), [subject(1)]);
    world.cluster.observed(subject(1), observed(&[0, 1]));
    world.steps();
    assert!(world.written.is_empty() && world.released.is_empty());
    let status = world.cluster.status();
    let app = &status[0].containers["app"];
    assert_eq!(
        (app.syscalls, app.replicas, app.agreeing, app.running),
        (2, 1, 1, 1)
    );
    assert!(app.partial.is_empty());
    assert_eq!(status[0].pods, ["pod-u1".to_owned()].into());

    world.cluster.ended(subject(1), observed(&[0, 1, 2]));
    world.steps();
    assert_eq!(world.released, [subject(1)].into());
    assert_eq!(world.calls("web-app-u1"), ["open", "read", "write"]);
    for (key, value) in [
        ("recorder", "Bpf"),
        ("uid", "uid-of-web"),
        ("runtime", "containerd"),
        ("image", "sha256:1"),
        ("runs", "1"),
        ("lost", "0"),
        ("end", "the container ended"),
        ("began", "2023-11-14T22:13:20Z"),
        ("until", "2023-11-14T22:13:30Z"),
        ("since-last-new-syscall", "3.0s"),
    ] {
        assert_eq!(world.annotation("web-app-u1", key), Some(value), "{key}");
    }
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
    let labels = &world.written["web-app-u1"].profile.metadata.labels;
    assert_eq!(labels[RECORDING_ID], "web");
    assert_eq!(labels[CONTAINER_ID], "app");
    assert_eq!(labels[RECORDING_NAMESPACE], "team");
    assert!(!labels.contains_key(PARTIAL));

    world.cluster.pod_gone("u1");
    world.steps();
    assert!(world.written["web-app-u1"].last);
    // What was seen stays in the status, and nothing else stays.
    assert_eq!(world.cluster.status()[0].containers["app"].replicas, 1);
    assert!(world.cluster.takes.is_empty() && world.cluster.pods.is_empty());
    assert!(world.cluster.containers.is_empty() && world.cluster.subjects.is_empty());
}

#[test]
fn one_that_is_gone_before_anybody_knows_it() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.ended(subject(1), observed(&[39]));
    world.steps();
    // The kernel is free of it, and the set is kept.
    assert_eq!(world.released, [subject(1)].into());
    let mut late = pod("u1", &[("app", &["c1"])]);
    late.ended = true;
    world.cluster.pod(late);
    world.cluster.pod_gone("u1");
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["getpid"]);
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
    assert_eq!(world.annotation("web-app-u1", "end"), Some("the pod ended"));
}

#[test]
fn restarts_are_one_profile() {
    let mut world = World::new(Limits::default());
    world.cluster.recording(recording("web"));
    world.cluster.pod(pod("u1", &[("app", &[])]));
    for (namespace, id, call) in [(1, "c1", 0), (2, "c2", 1), (3, "c3", 2)] {
        world.cluster.started(subject(namespace), started(id, "u1"));
        world.cluster.pod(pod("u1", &[("app", &[id])]));
        world.cluster.ended(subject(namespace), observed(&[call]));
        world.steps();
    }
    assert_eq!(world.calls("web-app-u1"), ["open", "read", "write"]);
    assert_eq!(world.annotation("web-app-u1", "runs"), Some("3"));
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
}

#[test]
fn what_nobody_wants_is_released() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    let mut only = recording("web");
    only.containers = ["app".to_owned()].into();
    cluster.recording(only);
    let mut free = pod("u2", &[("app", &["c3"])]);
    free.recordings.clear();
    cluster.pod(free);
    cluster.pod(pod("u1", &[("app", &["c1"]), ("side", &["c2"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.started(subject(2), started("c2", "u1"));
    cluster.started(subject(3), started("c3", "u2"));
    // Of a pod that is not recorded, no status has to be waited for.
    cluster.started(subject(4), started("c4", "u2"));
    cluster.started(
        subject(5),
        Started {
            container: None,
            ..started("", "u1")
        },
    );
    cluster.started(subject(6), started("c6", "unknown"));
    world.steps();
    assert_eq!(world.released, [2, 3, 4, 5].map(subject).into());
    assert_eq!(world.wanted(), [subject(1)]);
    // Without a recording, there is nothing to wait for.
    world.cluster.recording_gone(&key("web"));
    world.steps();
    assert_eq!(world.released.len(), 6);
    assert!(!world.cluster.is_active());
}

#[test]
fn a_recording_that_is_deleted_early_yields_its_profile() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.observed(subject(1), observed(&[0]));
    let deleting = Recording {
        deleting: true,
        ..recording("web")
    };
    cluster.recording(deleting);
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read"]);
    assert_eq!(
        world.annotation("web-app-u1", "end"),
        Some("the recording was deleted")
    );
    assert!(world.written["web-app-u1"].last);
    assert_eq!(world.released, [subject(1)].into());
    assert!(world.cluster.takes.is_empty());
    world.cluster.recording_gone(&key("web"));
    world.steps();
    assert!(world.cluster.recordings.is_empty());
}

#[test]
fn a_recording_that_a_rule_ended_says_which_one_and_stays() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.recording(recording("all"));
    let mut both = pod("u1", &[("app", &["c1"])]);
    both.recordings.insert("all".to_owned());
    cluster.pod(both);
    cluster.started(subject(1), started("c1", "u1"));
    cluster.observed(subject(1), observed(&[0]));
    let finished = |name: &str, failed| Recording {
        finished: Some(Finished {
            why: "the Job e2e ended".to_owned(),
            failed,
        }),
        ..recording(name)
    };
    cluster.recording(finished("web", false));
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read"]);
    let end = world.annotation("web-app-u1", "end");
    assert_eq!(end, Some("the Job e2e ended"));
    // The other recording goes on.
    assert!(world.released.is_empty());
    let cluster = &mut world.cluster;
    assert!(cluster.is_active() && !cluster.is_unwritten(&key("web")));
    // What comes later is none of it, not even of new pods.
    cluster.observed(subject(1), observed(&[0, 1]));
    cluster.pod(pod("u2", &[("app", &["c2"])]));
    cluster.started(subject(2), started("c2", "u2"));
    world.steps();
    assert_eq!(world.released, [subject(2)].into());
    assert_eq!(world.calls("web-app-u1"), ["read"]);

    world.cluster.recording(finished("all", true));
    world.steps();
    assert_eq!(world.calls("all-app-u1"), ["read", "write"]);
    assert_eq!(
        world.annotation("all-app-u1", "end"),
        Some("the Job e2e ended")
    );
    assert_eq!(world.annotation("all-app-u1", "partial"), Some(FAILED));
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
    assert!(world.released.contains(&subject(1)));
    // How far it got is still told.
    let cluster = &mut world.cluster;
    assert!(!cluster.is_active() && !cluster.awaits_ends());
    for status in cluster.status() {
        let app = &status.containers["app"];
        assert_eq!((app.replicas, app.running), (1, 0), "{status:?}");
        assert!(
            status.pods.is_empty() && app.partial.is_empty(),
            "{status:?}"
        );
    }
    assert_eq!(cluster.status().len(), 2);
    // Another one of that name begins anew.
    cluster.recording_gone(&key("all"));
    cluster.recording(Recording {
        uid: "another".to_owned(),
        ..recording("all")
    });
    let mut statuses = cluster.status().into_iter();
    let all = statuses.find(|status| status.recording == key("all"));
    assert!(all.unwrap().containers["app"].replicas == 0);
    // So does one that may not record for a while.
    let enabled = |enabled| Recording {
        uid: "another".to_owned(),
        enabled,
        ..recording("all")
    };
    let mut third = pod("u3", &[("app", &["c3"])]);
    third.recordings = ["all".to_owned()].into();
    cluster.pod(third);
    cluster.started(subject(3), started("c3", "u3"));
    cluster.observed(subject(3), observed(&[2]));
    cluster.recording(enabled(false));
    assert!(!cluster.is_active());
    world.steps();
    assert!(world.released.contains(&subject(3)) && world.wanted().is_empty());
    let end = world.annotation("all-app-u3", "end").unwrap();
    assert!(end.contains("label"), "{end}");
    let cluster = &mut world.cluster;
    cluster.recording(enabled(true));
    cluster.started(subject(4), started("c3", "u3"));
    cluster.ended(subject(4), observed(&[3]));
    cluster.pod_gone("u3");
    world.steps();
    assert_eq!(world.calls("all-app-u3"), ["close"]);
    let cluster = &mut world.cluster;
    for name in ["web", "all"] {
        cluster.recording_gone(&key(name));
    }
    world.steps();
    assert!(world.cluster.takes.is_empty() && world.cluster.recordings.is_empty());
}

#[test]
fn a_snapshot_says_that_the_container_runs_on() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &[])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.observed(subject(1), observed(&[0]));
    // Nobody knows yet whose it is.
    assert!(!cluster.snapshot(&key("web")));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    assert!(cluster.snapshot(&key("web")));
    world.steps();
    assert_eq!(
        world.annotation("web-app-u1", "end"),
        Some("the container runs on")
    );
    assert_eq!(
        world.annotation("web-app-u1", "partial"),
        Some("it was taken while the container ran")
    );
    assert!(!world.written["web-app-u1"].last);
    assert!(world.released.is_empty());
    // So far, it lacks nothing.
    let status = world.cluster.status();
    assert!(status[0].containers["app"].partial.is_empty());
    world.cluster.ended(subject(1), observed(&[0, 1]));
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read", "write"]);
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
}

#[test]
fn several_recordings_of_one_container() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.recording(Recording {
        disabled: true,
        merge: true,
        ..recording("all")
    });
    let mut both = pod("u1", &[("app", &["c1"])]);
    both.recordings.insert("all".to_owned());
    both.generate_name = None;
    cluster.pod(both);
    cluster.started(subject(1), started("c1", "u1"));
    cluster.ended(subject(1), observed(&[0]));
    world.steps();
    assert_eq!(world.calls("web-app"), ["read"]);
    // One of several must not have the name of the whole.
    assert_eq!(world.calls("all-app-pod-u1"), ["read"]);
    let profile = &world.written["all-app-pod-u1"].profile;
    assert_eq!(profile.metadata.labels[PARTIAL], "true");
    assert_eq!(profile.spec.state.to_string(), "Disabled");
}

#[test]
fn commands_of_the_pod_join_and_others_are_listed() {
    let mut world = World::new(Limits {
        commands: 1,
        ..Limits::default()
    });
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    for (entered, command, call) in [(1, "probe", 1), (2, "sh\0-c\0\x1b", 2), (3, "other", 3)] {
        let subject = subject(10 + entered);
        let started = started("c1", "u1");
        let command = Command::new(command.as_bytes(), false);
        cluster.entered(subject, Entered { started, command });
        cluster.ended(subject, observed(&[call]));
    }
    cluster.ended(subject(1), observed(&[0]));
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read", "write"]);
    assert_eq!(
        world.annotation("web-app-u1", "left-out"),
        Some(r"sh -c \x1b; and 1 more")
    );
    assert_eq!(world.annotation("web-app-u1", "runs"), Some("1"));
    assert_eq!(world.cluster.status()[0].dropped.commands, 1);
}

#[test]
fn a_static_pod_is_known_by_its_hash() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    let mut mirror = pod("u1", &[("app", &[])]);
    mirror.static_hash = Some("hash".to_owned());
    mirror.recordings.clear();
    cluster.pod(mirror.clone());
    cluster.started(subject(1), started("c1", "hash"));
    world.steps();
    assert_eq!(world.released, [subject(1)].into());
    mirror.recordings.insert("web".to_owned());
    mirror.containers = pod("u1", &[("app", &["c2"])]).containers;
    world.cluster.pod(mirror);
    world.cluster.started(subject(2), started("c2", "hash"));
    world.cluster.ended(subject(2), observed(&[0]));
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read"]);
}

/// A later version of a profile that could not be written is not forgotten because an earlier one was.
#[test]
fn what_changes_while_it_is_written_is_written_after_that() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.ended(subject(1), observed(&[0]));
    let write = |cluster: &mut Cluster| {
        let mut steps = cluster.steps(100).into_iter();
        steps.find_map(|step| match step {
            Step::Write(output) => Some(output),
            Step::Release(_) => None,
        })
    };
    let first = write(cluster).unwrap();
    assert!(!first.last);
    cluster.pod_gone("u1");
    assert!(write(cluster).is_none());
    cluster.written(&first);
    for _ in 0..2 {
        let second = write(cluster).unwrap();
        assert!(second.last);
        cluster.again(&second);
    }
    let second = write(cluster).unwrap();
    cluster.written(&second);
    assert!(write(cluster).is_none());
    assert!(!cluster.is_unwritten(&second.recording));
}

#[test]
fn a_name_that_the_server_cut_is_told_apart_from_others() {
    let long = "a-deployment-with-a-name-of-nearly-fifty-characters-0123456789";
    let mut world = World::new(Limits::default());
    world.cluster.recording(recording("web"));
    for (index, end) in [(1, "bcdfg"), (2, "hjklm")] {
        let (uid, id) = (format!("u{index}"), format!("c{index}"));
        let mut pod = pod(&uid, &[("app", &[&id])]);
        pod.generate_name = Some(format!("{long}-"));
        pod.name = format!("{}{end}", &long[..58]);
        world.cluster.pod(pod);
        world.cluster.started(subject(index), started(&id, &uid));
        world.cluster.ended(subject(index), observed(&[0]));
    }
    world.steps();
    let names: Vec<_> = world.written.keys().map(String::as_str).collect();
    assert_eq!(names, ["web-app-012345bcdfg", "web-app-012345hjklm"]);
}
