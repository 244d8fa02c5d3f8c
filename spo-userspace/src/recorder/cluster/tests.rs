use std::collections::BTreeSet;

mod any_order;
mod evidence;
mod going;
mod life;

use super::*;
use crate::event::{Abi, Call, Checks, Losses};
use crate::profile::arch::Arch;
use crate::profile::labels::{CONTAINER_ID, PARTIAL, RECORDING_ID, RECORDING_NAMESPACE};

/// The machine, and what it has asked for.
struct World {
    cluster: Cluster,
    released: BTreeSet<SubjectId>,
    written: BTreeMap<String, Output>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let node = Node {
            name: "node".to_owned(),
            arch: Arch::X86_64,
            kernel: "6.1".to_owned(),
            base: Vec::new(),
            recorder: "Bpf",
        };
        Self {
            cluster: Cluster::new(node, limits),
            released: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }

    /// What somebody wants.
    fn wanted(&self) -> Vec<SubjectId> {
        let cluster = &self.cluster;
        let is = |kept: &Kept| {
            let place = cluster.place(kept);
            !kept.ended && place.is_some_and(|place| cluster.is_wanted(&place))
        };
        let wanted = cluster.subjects.iter().filter(|(_, kept)| is(kept));
        wanted.map(|(subject, _)| *subject).collect()
    }

    fn steps(&mut self) {
        for step in self.cluster.steps(1_700_000_100) {
            match step {
                Step::Release(subject) => assert!(self.released.insert(subject), "{subject:?}"),
                Step::Write(output) => {
                    self.cluster.written(&output);
                    self.written
                        .insert(output.profile.metadata.name.clone(), *output);
                }
            }
        }
    }

    /// The calls of a profile.
    fn calls(&self, name: &str) -> Vec<&str> {
        let output = self.written.get(name);
        let output = output.unwrap_or_else(|| panic!("no {name}: {:?}", self.written.keys()));
        let rules = &output.profile.spec.syscalls;
        rules
            .iter()
            .flat_map(|rule| &rule.names)
            .map(String::as_str)
            .collect()
    }

    fn annotation(&self, name: &str, key: &str) -> Option<&str> {
        let annotations = &self.written[name].profile.metadata.annotations;
        annotations
            .get(&format!("spo.x-k8s.io/recording-{key}"))
            .map(String::as_str)
    }
}

fn key(name: &str) -> RecordingKey {
    RecordingKey {
        namespace: "team".to_owned(),
        name: name.to_owned(),
    }
}

fn recording(name: &str) -> Recording {
    Recording {
        key: key(name),
        uid: format!("uid-of-{name}"),
        containers: BTreeSet::new(),
        merge: false,
        disabled: false,
        created: Some(1_700_000_000),
        enabled: true,
        deleting: false,
        finished: None,
    }
}

fn pod(uid: &str, containers: &[(&str, &[&str])]) -> Pod {
    Pod {
        namespace: "team".to_owned(),
        name: format!("pod-{uid}"),
        generate_name: Some("pod-".to_owned()),
        uid: uid.to_owned(),
        recordings: ["web".to_owned()].into(),
        containers: containers
            .iter()
            .map(|(name, ids)| PodContainer {
                name: (*name).to_owned(),
                ids: ids.iter().copied().map(str::to_owned).collect(),
                image: Some("sha256:1".to_owned()),
                runtime: Some("containerd".to_owned()),
                privileged: false,
                logged: false,
                commands: vec![vec!["probe".to_owned()]],
                began: None,
            })
            .collect(),
        ..Pod::default()
    }
}

fn subject(index: u32) -> SubjectId {
    SubjectId { index, since_ns: 1 }
}

fn started(id: &str, pod: &str) -> Started {
    Started {
        container: Some(id.to_owned()),
        pod: Some(pod.to_owned()),
        comm: "app".to_owned(),
        at: 1_700_000_000,
        losses: Losses::default(),
    }
}

fn observed(numbers: &[i32]) -> Observed {
    let call = |number: &i32| Call {
        abi: Abi::Native,
        number: *number,
    };
    Observed {
        calls: numbers.iter().map(call).collect(),
        at: 1_700_000_010,
        last_new: Some(1_700_000_007),
        ..Observed::default()
    }
}
