//! When a take may go, and what must not keep it.

use super::*;

/// `web` and `all` record the container `app` of the pod `u1`, which runs.
fn both() -> World {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.recording(recording("all"));
    let mut pod = pod("u1", &[("app", &["c1"])]);
    pod.recordings.insert("all".to_owned());
    cluster.pod(pod);
    cluster.started(subject(1), started("c1", "u1"));
    cluster.observed(subject(1), observed(&[0]));
    world
}

#[test]
fn a_recording_that_ends_before_another_one_of_the_container_leaves_nothing() {
    let mut world = both();
    world.cluster.recording_gone(&key("web"));
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read"]);
    assert!(world.written["web-app-u1"].last);
    assert!(world.released.is_empty());
    let takes = |world: &World| world.cluster.takes.len();
    assert_eq!((takes(&world), world.cluster.awaits_ends()), (1, false));
    // Another one of that name gets what comes.
    world.cluster.recording(Recording {
        uid: "again".to_owned(),
        ..recording("web")
    });
    world.cluster.ended(subject(1), observed(&[0, 1]));
    world.cluster.pod_gone("u1");
    world.steps();
    assert_eq!(world.calls("web-app-u1"), ["read", "write"]);
    assert_eq!(world.annotation("web-app-u1", "uid"), Some("again"));
    assert_eq!(takes(&world), 0);
}

#[test]
fn a_recording_of_the_same_name_has_nothing_of_the_one_before() {
    let mut world = both();
    let cluster = &mut world.cluster;
    cluster.recording_gone(&key("web"));
    // Before that was written.
    cluster.recording(Recording {
        uid: "again".to_owned(),
        containers: ["other".to_owned()].into(),
        ..recording("web")
    });
    let status = cluster.status();
    let web = status.iter().find(|one| one.recording == key("web"));
    assert!(web.unwrap().containers.is_empty(), "{status:?}");
    world.steps();
    assert_eq!(world.annotation("web-app-u1", "uid"), Some("uid-of-web"));
    let status = world.cluster.status();
    let web = status.iter().find(|one| one.recording == key("web"));
    assert!(web.unwrap().containers.is_empty(), "{status:?}");
}

#[test]
fn a_copy_of_a_static_pod_that_comes_back_takes_its_containers_along() {
    let mut world = World::new(Limits::default());
    let mirror = |uid: &str| Pod {
        static_hash: Some("hash".to_owned()),
        ..pod(uid, &[("app", &["c1"])])
    };
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(mirror("u1"));
    cluster.started(subject(1), started("c1", "hash"));
    cluster.observed(subject(1), observed(&[0]));
    cluster.pod_gone("u1");
    cluster.pod(mirror("u2"));
    world.steps();
    world.cluster.ended(subject(1), observed(&[0, 1]));
    world.cluster.pod_gone("u2");
    world.steps();
    assert_eq!(world.calls("web-app-u2"), ["read", "write"]);
    assert!(world.written["web-app-u1"].last);
    let Cluster { takes, pods, .. } = &world.cluster;
    assert!(takes.is_empty() && pods.is_empty(), "{takes:?} {pods:?}");
}

#[test]
fn a_probe_that_does_nothing_new_is_no_reason_to_write() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.observed(subject(1), observed(&[0]));
    for (index, number, is_written) in [(11, 1, true), (12, 1, false), (13, 2, true)] {
        let subject = subject(index);
        let command = Command::new(b"probe", false);
        let started = started("c1", "u1");
        world.cluster.entered(subject, Entered { started, command });
        // Looked at while it runs.
        world.cluster.observed(subject, observed(&[number]));
        world.cluster.ended(subject, observed(&[number]));
        world.steps();
        let written = world.written.remove("web-app-u1").is_some();
        assert_eq!(written, is_written, "{index}");
    }
    // Its last word is told all the same.
    world.cluster.ended(subject(1), observed(&[0]));
    world.cluster.pod_gone("u1");
    world.steps();
    assert!(world.written["web-app-u1"].last);
}

#[test]
fn sandboxes_of_pods_that_ended_do_not_wait() {
    let mut world = World::new(Limits {
        waiting: 1,
        ..Limits::default()
    });
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    for index in 1..=3 {
        let (uid, id) = (format!("u{index}"), format!("sandbox{index}"));
        let sandbox = Started {
            comm: "pause".to_owned(),
            ..started(&id, &uid)
        };
        cluster.started(subject(index), sandbox);
        cluster.ended(subject(index), observed(&[0]));
        // It is there for as long as its Job is.
        let mut pod = pod(&uid, &[("app", &[])]);
        pod.ended = true;
        cluster.pod(pod);
    }
    assert_eq!(cluster.status()[0].dropped, Dropped::default());
    assert!(cluster.subjects.is_empty());
}

/// The pod `u1` runs, and nothing of it was seen.
fn unseen() -> World {
    let mut world = World::new(Limits::default());
    world.cluster.recording(recording("web"));
    world.cluster.pod(pod("u1", &[("app", &["c1"])]));
    world
}

fn reasons(world: &World) -> Vec<String> {
    let status = world.cluster.status();
    let app = status[0].containers.get("app");
    let partial = app.map(|app| app.partial.clone()).unwrap_or_default();
    partial.into_iter().collect()
}

#[test]
fn what_was_not_recorded_is_said_when_it_is_gone() {
    let before = "a pod is not in it that ran before the recorder did, or for which it had no room";
    for deleting in [false, true] {
        let mut world = unseen();
        assert_eq!(reasons(&world), [before]);
        if deleting {
            world.cluster.recording(Recording {
                deleting,
                ..recording("web")
            });
        }
        world.cluster.pod_gone("u1");
        world.steps();
        assert_eq!(reasons(&world), [before]);
        // A recording that is gone says nothing, and nothing of it is kept.
        world.cluster.recording_gone(&key("web"));
        world.steps();
        assert!(world.cluster.status().is_empty());
        let Cluster {
            history,
            recordings,
            gone,
            pods,
            ..
        } = &world.cluster;
        assert!(history.is_empty() && recordings.is_empty() && gone.is_empty());
        assert!(pods.is_empty());
    }
}

#[test]
fn one_pod_of_many_that_was_not_recorded_is_said() {
    let mut world = World::new(Limits::default());
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.pod(pod("u1", &[("app", &["c1"])]));
    cluster.started(subject(1), started("c1", "u1"));
    cluster.ended(subject(1), observed(&[0]));
    for uid in ["u1", "u2"] {
        let mut ended = pod(uid, &[("app", &[&*format!("c{}", &uid[1..])])]);
        ended.ended = true;
        world.cluster.pod(ended);
        world.steps();
        let missing = reasons(&world);
        assert_eq!(missing.len(), usize::from(uid == "u2"), "{missing:?}");
    }
    for uid in ["u1", "u2"] {
        world.cluster.pod_gone(uid);
    }
    world.steps();
    let missing = reasons(&world);
    assert!(
        missing.len() == 1 && missing[0].contains("ended before"),
        "{missing:?}"
    );
    assert_eq!(world.cluster.status()[0].containers["app"].replicas, 1);
}

#[test]
fn what_was_refused_is_counted_for_its_recording_alone() {
    let mut world = World::new(Limits {
        takes: 1,
        ..Limits::default()
    });
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    cluster.recording(recording("all"));
    for index in 1..=2 {
        let (uid, id) = (format!("u{index}"), format!("c{index}"));
        cluster.pod(pod(&uid, &[("app", &[&id])]));
        cluster.started(subject(index), started(&id, &uid));
        cluster.observed(subject(index), observed(&[0]));
    }
    let dropped = |world: &World| {
        let status = world.cluster.status();
        let of = |name| {
            let mut status = status.iter();
            status
                .find(|one| one.recording == key(name))
                .unwrap()
                .dropped
                .takes
        };
        (of("web"), of("all"))
    };
    assert_eq!(dropped(&world), (1, 0));
    world.cluster.pod_gone("u2");
    world.steps();
    assert!(world.cluster.refused.is_empty());
    assert_eq!(dropped(&world), (1, 0));
    assert!(reasons_of_web(&world).contains("no room for more"));
}

fn reasons_of_web(world: &World) -> String {
    let status = world.cluster.status();
    let web = status.iter().find(|one| one.recording == key("web"));
    let partial = &web.unwrap().containers["app"].partial;
    partial.iter().cloned().collect::<Vec<_>>().join("; ")
}

#[test]
fn what_runs_on_without_its_pod_is_left_when_the_recorder_ends() {
    let mut world = both();
    world.cluster.pod_gone("u1");
    world.steps();
    assert_eq!(world.annotation("web-app-u1", "partial"), None);
    world.cluster.stop();
    world.steps();
    let partial = world.annotation("web-app-u1", "partial");
    assert_eq!(partial, Some("the recorder ended while it ran"));
}

/// A pod of which the container began then.
fn began(uid: &str, id: &str, at: u64) -> Pod {
    let mut pod = pod(uid, &[("app", &[id])]);
    pod.containers[0].began = Some(at);
    pod
}

#[test]
fn what_ran_before_the_recording_counts_as_long_as_it_runs() {
    let mut world = World::new(Limits::default());
    let created = recording("web").created.unwrap();
    let cluster = &mut world.cluster;
    cluster.recording(recording("web"));
    let mut ended = began("u0", "c0", created - 2);
    ended.ended = true;
    cluster.pod(ended);
    assert!(reasons(&world).is_empty());
    world.cluster.pod(began("u1", "c1", created - 1));
    assert_eq!(reasons(&world).len(), 1);
    // A rollout replaces it.
    world.cluster.pod(began("u2", "c2", created));
    world.cluster.started(subject(2), started("c2", "u2"));
    world.cluster.observed(subject(2), observed(&[0]));
    world.cluster.pod_gone("u1");
    world.steps();
    assert!(reasons(&world).is_empty());
    // What began later, and was not seen, is missing for good.
    world.cluster.pod(began("u3", "c3", created + 1));
    world.cluster.pod_gone("u3");
    world.steps();
    assert_eq!(reasons(&world).len(), 1);
}

#[test]
fn what_runs_at_the_end_and_was_not_recorded_is_said() {
    let mut world = World::new(Limits::default());
    let created = recording("web").created.unwrap();
    world.cluster.recording(recording("web"));
    world.cluster.pod(began("u1", "c1", created - 1));
    world.cluster.recording(Recording {
        deleting: true,
        ..recording("web")
    });
    world.cluster.pod_gone("u1");
    world.steps();
    assert_eq!(reasons(&world).len(), 1);
}

#[test]
fn what_an_earlier_recorder_had_of_a_pod_is_not_missing() {
    let mut world = World::new(Limits::default());
    let recorded = |pod: &str| HandedIn {
        recording: "uid-of-web".to_owned(),
        pod: pod.to_owned(),
        container: "app".to_owned(),
    };
    world.cluster.handed_in([recorded("u1")].into());
    world.cluster.recording(recording("web"));
    for (uid, missing) in [("u1", 0), ("u2", 1)] {
        let mut ended = pod(uid, &[("app", &["c1"])]);
        ended.ended = true;
        world.cluster.pod(ended);
        world.steps();
        assert_eq!(reasons(&world).len(), missing, "{uid}");
    }
}

#[test]
fn what_runs_on_while_the_label_is_away_is_missing_when_it_is_back() {
    let mut world = both();
    let labelled = |enabled| Recording {
        enabled,
        ..recording("web")
    };
    world.cluster.recording_gone(&key("all"));
    world.cluster.recording(labelled(false));
    world.steps();
    world.cluster.recording(labelled(true));
    world.steps();
    assert_eq!(reasons(&world).len(), 1);
}

#[test]
fn a_pod_that_loses_its_own_label_is_recorded_no_more() {
    let mut world = both();
    let mut bare = pod("u1", &[]);
    bare.recordings.clear();
    world.cluster.pod(bare);
    world.steps();
    let end = world.annotation("web-app-u1", "end");
    assert_eq!(end, Some("the label for recording was taken away"));
    assert_eq!(world.released, [subject(1)].into());
}

#[test]
fn names_of_containers_are_kept_within_a_bound() {
    let mut world = World::new(Limits {
        names: 2,
        ..Limits::default()
    });
    world.cluster.recording(recording("web"));
    for name in ["a", "b", "c", "d"] {
        world.cluster.pod(pod(name, &[(name, &["c1"])]));
        world.cluster.pod_gone(name);
    }
    world.steps();
    let status = world.cluster.status();
    let names: Vec<_> = status[0].containers.keys().map(String::as_str).collect();
    assert_eq!(names, ["(others)", "a", "b"]);
}

#[test]
fn a_recording_that_comes_back_is_not_gone() {
    let mut world = both();
    world.cluster.recording_gone(&key("web"));
    world.cluster.recording(recording("web"));
    world.steps();
    assert!(!world.cluster.is_gone("uid-of-web"));
    assert_eq!(world.cluster.status().len(), 2);
}
