//! Whatever happens, nothing is kept for ever.

use proptest::prelude::*;

use super::*;

/// What may happen, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Recording(bool, bool),
    /// The other one of both, or another one of the first one's name.
    Other(bool),
    Again,
    RecordingGone,
    Pod(u8, bool, bool),
    PodGone(u8),
    Started(u8),
    Observed(u8, i32),
    Ended(u8, i32),
    Steps,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        (any::<bool>(), any::<bool>())
            .prop_map(|(deleting, enabled)| H::Recording(deleting, enabled)),
        any::<bool>().prop_map(H::Other),
        Just(H::Again),
        Just(H::RecordingGone),
        (0..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(pod, selected, ended)| H::Pod(pod, selected, ended)),
        (0..3_u8).prop_map(H::PodGone),
        (0..6_u8).prop_map(H::Started),
        (0..6_u8, 0..300).prop_map(|(container, call)| H::Observed(container, call)),
        (0..6_u8, 0..300).prop_map(|(container, call)| H::Ended(container, call)),
        Just(H::Steps),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens: each set is released at most once (see `World::steps`), what is wanted is
    /// not released, and in the end nothing is kept.
    #[test]
    fn nothing_is_kept_for_ever(happenings in prop::collection::vec(happening(), 0..60)) {
        use Happening as H;
        let mut world = World::new(Limits { waiting: 3, takes: 4, commands: 2, ..Limits::default() });
        let (mut generation, mut recordings) = (0_u32, 0_u32);
        let mut current = [0_u32; 6];
        for happening in happenings {
            let cluster = &mut world.cluster;
            match happening {
                H::Recording(deleting, enabled) => {
                    let uid = format!("web-{recordings}");
                    cluster.recording(Recording { uid, enabled, deleting, ..recording("web") });
                }
                H::Other(deleting) => cluster.recording(Recording { deleting, ..recording("all") }),
                H::Again => {
                    recordings += 1;
                    cluster.recording_gone(&key("web"));
                    let uid = format!("web-{recordings}");
                    cluster.recording(Recording { uid, ..recording("web") });
                }
                H::RecordingGone => cluster.recording_gone(&key("web")),
                H::Pod(number, selected, ended) => {
                    let ids: Vec<_> = current.iter().map(|generation| format!("c{generation}")).collect();
                    let own = [&*ids[usize::from(number)], &*ids[usize::from(number) + 3]];
                    let mut pod = pod(&format!("u{number}"), &[("app", &own[..1]), ("side", &own[1..])]);
                    pod.ended = ended;
                    pod.recordings.insert("all".to_owned());
                    if !selected {
                        pod.recordings.clear();
                    }
                    cluster.pod(pod);
                }
                H::PodGone(number) => cluster.pod_gone(&format!("u{number}")),
                H::Started(container) => {
                    generation += 1;
                    current[usize::from(container)] = generation;
                    let started = started(&format!("c{generation}"), &format!("u{}", container % 3));
                    cluster.started(subject(generation), started);
                }
                H::Observed(container, call) => {
                    cluster.observed(subject(current[usize::from(container)]), observed(&[call]));
                }
                H::Ended(container, call) => {
                    cluster.ended(subject(current[usize::from(container)]), observed(&[call]));
                }
                H::Steps => world.steps(),
            }
            for wanted in world.wanted() {
                prop_assert!(!world.released.contains(&wanted), "{:?}", wanted);
            }
            let waiting = world.cluster.subjects.values().filter(|kept| kept.ended).count();
            prop_assert!(waiting <= 3 && world.cluster.takes.len() <= 4);
        }
        for number in 0..3 {
            world.cluster.pod_gone(&format!("u{number}"));
        }
        for name in ["web", "all"] {
            world.cluster.recording_gone(&key(name));
        }
        world.steps();
        let Cluster { recordings, pods, containers, subjects, takes, history, .. } = &world.cluster;
        prop_assert!(subjects.is_empty(), "{:?}", subjects);
        prop_assert!(takes.is_empty(), "{:?}", takes);
        prop_assert!(recordings.is_empty() && history.is_empty());
        prop_assert!(pods.is_empty() && containers.is_empty(), "{:?}", pods);
        prop_assert_eq!(world.released.len(), generation as usize);
    }
}
