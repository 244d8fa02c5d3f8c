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
