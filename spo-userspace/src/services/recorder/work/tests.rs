use std::io;

use kube::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::api::profile_recording::{RecordedContainer, Recorder as Kind, RecordingNode};
use crate::controller::recorder::Scope;
use crate::event::SubjectId;
use crate::recorder::cluster::{Observed, Pod, PodContainer, Recording, Started};
use crate::services::recorder::Failure;
use crate::telemetry::metrics::Metrics;

const SUBJECT: SubjectId = SubjectId {
    index: 1,
    since_ns: 1,
};

/// Nobody tells what containers did.
struct Nobody;

impl Source for Nobody {
    type Settings = ();
    const RECORDER: Kind = Kind::Bpf;
    const SAYS: [&'static str; 3] = ["", "", ""];

    fn gauges((): &(), _: &Metrics) {}

    async fn start((): ()) -> Result<Self, Failure> {
        Err("there are no programs".into())
    }

    fn news(&mut self, _: &News) {}

    async fn ready(&self) -> io::Result<()> {
        pending().await
    }

    fn release(&mut self, _: SubjectId) {}

    fn is_due(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    async fn look(self, _: &mut Cluster, _: bool) -> Result<Self, Failure> {
        Err("the programs are gone".into())
    }
}

struct World {
    recorder: Recorder<Nobody>,
    jobs: UnboundedReceiver<Job>,
    done: UnboundedSender<Done>,
    dones: UnboundedReceiver<Done>,
}

/// A recorder that no API server hears.
fn world() -> World {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let metrics = Arc::new(Metrics::new("node").unwrap());
    let node = Node {
        name: "node".to_owned(),
        arch: crate::profile::arch::Arch::X86_64,
        kernel: "6.1".to_owned(),
        base: Vec::new(),
        recorder: "Bpf",
    };
    let (changes, _) = unbounded_channel();
    let stop = CancellationToken::new();
    stop.cancel();
    let sight = Sight::new(
        &client,
        Scope {
            node: "node".to_owned(),
            own: "spo".to_owned(),
            recorder: Kind::Bpf,
            labelled: false,
        },
        &metrics,
        &changes,
        &stop,
    );
    let (tell, jobs) = unbounded_channel();
    let (done, dones) = unbounded_channel();
    World {
        recorder: Recorder::new(node, (), sight, tell, Arc::default()),
        jobs,
        done,
        dones,
    }
}

fn key(name: &str) -> RecordingKey {
    RecordingKey {
        namespace: "team".to_owned(),
        name: name.to_owned(),
    }
}

fn recording(name: &str) -> News {
    let recording = Recording {
        key: key(name),
        uid: name.to_owned(),
        containers: std::collections::BTreeSet::new(),
        merge: false,
        disabled: false,
        created: None,
        enabled: true,
        deleting: false,
        finished: None,
    };
    let says = RecordingNode {
        name: "node".to_owned(),
        ..RecordingNode::default()
    };
    News::Recording(recording, Some(says), None)
}

/// A container of `web` that runs.
fn runs(recorder: &mut Recorder<Nobody>) {
    recorder.take(recording("web"));
    let app = PodContainer {
        name: "app".to_owned(),
        ids: vec!["c1".to_owned()],
        ..PodContainer::default()
    };
    let pod = Pod {
        namespace: "team".to_owned(),
        name: "pod".to_owned(),
        uid: "u1".to_owned(),
        recordings: ["web".to_owned()].into(),
        containers: vec![app],
        ..Pod::default()
    };
    recorder.take(News::Pod(pod, BTreeMap::new()));
    let started = Started {
        container: Some("c1".to_owned()),
        ..Started::default()
    };
    recorder.cluster.started(SUBJECT, started);
    recorder.cluster.observed(SUBJECT, Observed::default());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_all_is_tried_until_it_is_written_also_if_it_fails() {
    let World {
        mut recorder,
        mut jobs,
        done,
        dones,
    } = world();
    runs(&mut recorder);
    recorder.source = Some(Nobody);
    let end = tokio::spawn(recorder.end(&[], dones));
    let mut seen = Vec::new();
    while let Some(job) = jobs.recv().await {
        seen.push(match &job {
            Job::Profile(output) => output.profile.metadata.name.clone(),
            Job::Status(_, _, says) => format!("status {}", says.is_some()),
            Job::Tell(..) => "event".to_owned(),
        });
        // Each fails at first.
        let outcome = if seen.len().is_multiple_of(2) {
            Outcome::Written
        } else {
            Outcome::Failed
        };
        done.send(Done { job, outcome }).unwrap();
    }
    // That it ended before the container did.
    let expected = ["web-app", "web-app", "status true", "status true"];
    assert_eq!(seen, expected);
    let ended = end.await.unwrap();
    assert!(matches!(ended, Err(RecorderError::Source(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_written_in_time_is_not_said_to_be_handed_in() {
    let World {
        mut recorder,
        mut jobs,
        done,
        dones,
    } = world();
    runs(&mut recorder);
    let end = tokio::spawn(recorder.end(&[], dones));
    let mut times = 0;
    while let Some(job) = jobs.recv().await {
        assert!(matches!(job, Job::Profile(_)), "{job:?}");
        times += 1;
        let outcome = Outcome::Failed;
        done.send(Done { job, outcome }).unwrap();
    }
    assert!(times > 2, "{times}");
    end.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_word_of_a_recording_at_most_waits_for_the_server() {
    let World {
        mut recorder,
        mut jobs,
        ..
    } = world();
    runs(&mut recorder);
    let count = |recorder: &mut Recorder<Nobody>, jobs: &mut UnboundedReceiver<Job>| {
        recorder.tell(Instant::now() + AGAIN_MOST);
        std::iter::from_fn(|| jobs.try_recv().ok()).collect::<Vec<_>>()
    };
    let first = count(&mut recorder, &mut jobs);
    assert_eq!(first.len(), 1);
    // It is further by now.
    let observed = Observed {
        last_new: Some(1),
        ..Observed::default()
    };
    recorder.cluster.observed(SUBJECT, observed);
    assert_eq!(count(&mut recorder, &mut jobs).len(), 0);
    // It failed, and what is true now is told.
    recorder.told(&key("web"), false);
    let second = count(&mut recorder, &mut jobs);
    assert_eq!(second.len(), 1);
    recorder.told(&key("web"), true);
    assert_eq!(count(&mut recorder, &mut jobs).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_recording_is_told_once_that_nothing_can_be_recorded() {
    let World {
        mut recorder,
        mut jobs,
        ..
    } = world();
    let mut told = |recorder: &mut Recorder<Nobody>| {
        recorder.tell(Instant::now());
        let jobs = std::iter::from_fn(|| jobs.try_recv().ok());
        let told = jobs.filter_map(|job| match job {
            Job::Tell(key, _, note) => Some(format!("{} {}", key.name, note.reason)),
            Job::Profile(_) | Job::Status(..) => None,
        });
        told.collect::<Vec<_>>()
    };
    recorder.take(recording("web"));
    recorder.start(Instant::now()).await;
    assert_eq!(told(&mut recorder), ["web CannotRecord"]);
    recorder.take(recording("later"));
    assert_eq!(told(&mut recorder), ["later CannotRecord"]);
    recorder.start = None;
    recorder.start(Instant::now()).await;
    assert!(told(&mut recorder).is_empty());
    recorder.fails(None);
    assert!(told(&mut recorder).is_empty());
}

/// The profile is written, with what is in its way.
fn is_taken(recorder: &mut Recorder<Nobody>, jobs: &mut UnboundedReceiver<Job>) -> bool {
    recorder.retry(Instant::now() + AGAIN_MOST);
    recorder.steps();
    let mut is_written = false;
    while let Ok(job) = jobs.try_recv() {
        is_written |= matches!(job, Job::Profile(_));
        let outcome = Outcome::Taken;
        recorder.done(Done { job, outcome });
    }
    is_written
}

#[tokio::test(start_paused = true)]
async fn what_has_no_place_is_given_up_in_the_end() {
    let World {
        mut recorder,
        mut jobs,
        ..
    } = world();
    runs(&mut recorder);
    recorder.cluster.ended(SUBJECT, Observed::default());
    // The container may begin anew.
    for _ in 0..2 * PERSEVERANCE {
        assert!(is_taken(&mut recorder, &mut jobs));
    }
    recorder.take(News::PodGone("u1".to_owned()));
    let mut times = 0;
    while is_taken(&mut recorder, &mut jobs) {
        times += 1;
    }
    assert!((PERSEVERANCE..PERSEVERANCE + 5).contains(&times), "{times}");
    assert!(recorder.cluster.is_written());
    let status = recorder.cluster.status();
    let partial = &status[0].containers["app"].partial;
    assert!(
        partial.contains("web-app could not be written"),
        "{partial:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_no_place_goes_with_its_recording() {
    let World {
        mut recorder,
        mut jobs,
        ..
    } = world();
    runs(&mut recorder);
    recorder.take(News::RecordingGone(key("web")));
    assert!(is_taken(&mut recorder, &mut jobs));
    assert!(recorder.cluster.is_written());
    assert!(!is_taken(&mut recorder, &mut jobs));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_recorder_had_is_said_again() {
    let World {
        mut recorder,
        mut jobs,
        ..
    } = world();
    let News::Recording(recording, Some(mut says), _) = recording("web") else {
        panic!("no recording");
    };
    says.containers = vec![RecordedContainer {
        name: "app".to_owned(),
        running: 1,
        incomplete: vec!["so".to_owned()],
        ..RecordedContainer::default()
    }];
    let news = |deleting| {
        let recording = Recording {
            deleting,
            ..recording.clone()
        };
        News::Recording(recording, Some(says.clone()), None)
    };
    for deleting in [false, true] {
        recorder.take(news(deleting));
        recorder.tell(Instant::now() + AGAIN_MOST);
        let Ok(Job::Status(_, uid, Some(said))) = jobs.try_recv() else {
            panic!("nothing is said");
        };
        assert_eq!((&*uid, said.finished), ("web", deleting));
        let container = &said.containers[0];
        assert_eq!((container.running, container.incomplete.len()), (0, 2));
        recorder.told(&key("web"), true);
    }
}

#[test]
fn each_profile_waits_longer_after_each_failure() {
    let mut failures = 0;
    let waits: Vec<_> = (0..8).map(|_| pause(&mut failures).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}
