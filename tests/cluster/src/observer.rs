//! A second observer of the containers that a node starts: an instance of the kernel's own tracer.
//!
//! It follows containerd and all that descends from it. A process belongs to a container because the
//! runtime moved it, or one that it descends from, into the container's cgroup; its workload begins
//! with the first program that is executed after that.

use std::collections::{BTreeMap, BTreeSet};

use spo::profile::arch::Arch;
use spo::profile::syscalls;
use spo_kernel_tests::tracefs::{Instance, tid};

/// What the runtime and its network plugins do is of no interest, and is much.
const RUNTIME: [&str; 8] = [
    "runc*",
    "containerd*",
    "loopback",
    "bridge",
    "host-local",
    "portmap",
    "iptables*",
    "ip6tables*",
];
/// Room for each CPU.
const KILOBYTES: u32 = 65536;

/// An observer that runs.
pub struct Observer(Instance);

/// A program that was started in a container, with all its descendants. The first one of a container
/// is its workload; others entered later.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The calls that it made.
    pub calls: BTreeSet<String>,
    /// How often a filter refused which call.
    pub denied: BTreeMap<String, u64>,
}

/// What was seen, by the ids of the containers.
#[derive(Debug, Default)]
pub struct Containers {
    subjects: BTreeMap<String, Vec<Subject>>,
    /// Pods and their containers, in order.
    begun: Vec<(String, String)>,
    tasks: BTreeMap<u32, Task>,
}

#[derive(Clone)]
struct Task {
    container: String,
    /// Which subject it is of, once it has executed a program.
    subject: Option<usize>,
    /// Whether it is within a call. A call that a filter refuses is left and was never entered.
    inside: bool,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{:?}", self.container, self.subject)
    }
}

impl Observer {
    /// Starts to observe what these processes start.
    pub fn start(name: &str, processes: &[u32]) -> Self {
        let instance = Instance::new(name, KILOBYTES);
        instance.follow(processes);
        let others = RUNTIME.map(|name| format!("!(COMM ~ \"{name}\")"));
        let others = others.join(" && ");
        for event in ["sys_enter", "sys_exit"] {
            instance.write(&format!("events/raw_syscalls/{event}/filter"), &others);
            instance.enable(&format!("raw_syscalls/{event}"));
        }
        for event in [
            "sched/sched_process_fork",
            "sched/sched_process_exec",
            "cgroup/cgroup_attach_task",
        ] {
            instance.enable(event);
        }
        instance.begin();
        Self(instance)
    }

    /// Stops, and reads all of it. Nothing may have been overrun.
    pub fn stop(self) -> Containers {
        let mut containers = Containers::default();
        for line in self.0.end().lines() {
            containers.add(line);
        }
        containers
    }
}

impl Containers {
    /// What ran in a container, in order.
    pub fn of(&self, id: &str) -> &[Subject] {
        self.subjects.get(id).map_or(&[], Vec::as_slice)
    }

    /// The containers of a pod, by its uid, in order; the first one is its sandbox.
    pub fn of_pod<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.begun.iter().filter(move |(pod, _)| pod == uid);
        own.map(|(_, container)| container.as_str())
    }

    /// `COMM-TID   [CPU] FLAGS TIME: EVENT: ...`; a name may hold anything.
    fn add(&mut self, line: &str) {
        if let Some((before, after)) = line.split_once(": sys_enter: NR ") {
            self.call(before, after, true);
        } else if let Some((before, after)) = line.split_once(": sys_exit: NR ") {
            self.call(before, after, false);
        } else if let Some((_, after)) = line.split_once(": sched_process_fork: ") {
            let parent = number(after, " pid=");
            let (Some(parent), Some(child)) = (parent, number(after, " child_pid=")) else {
                return;
            };
            self.tasks.remove(&child);
            if let Some(mut task) = self.tasks.get(&parent).cloned() {
                // It leaves its parent's call first.
                task.inside = true;
                self.tasks.insert(child, task);
            }
        } else if let Some((_, after)) = line.split_once(": sched_process_exec: ") {
            self.executed(after);
        } else if let Some((_, after)) = line.split_once(": cgroup_attach_task: ") {
            self.attached(after);
        }
    }

    fn call(&mut self, before: &str, after: &str, enters: bool) {
        let Some(task) = tid(before).and_then(|tid| self.tasks.get_mut(&tid)) else {
            return;
        };
        let was_inside = std::mem::replace(&mut task.inside, enters);
        let Some(index) = task.subject else { return };
        let number = after.split(' ').next().unwrap_or_default();
        let name = || {
            let name = number.parse().ok();
            let name = name.and_then(|number| syscalls::name(Arch::X86_64, number));
            name.unwrap_or(number).to_owned()
        };
        let subject = self.subjects.get_mut(&task.container);
        let Some(subject) = subject.and_then(|all| all.get_mut(index)) else {
            return;
        };
        if enters {
            subject.calls.insert(name());
        } else if !was_inside {
            *subject.denied.entry(name()).or_default() += 1;
        }
    }

    fn executed(&mut self, after: &str) {
        let (Some(now), Some(before)) = (number(after, " pid="), number(after, " old_pid=")) else {
            return;
        };
        let Some(mut task) = self.tasks.remove(&before) else {
            return;
        };
        // The name has changed within the call, and so whether the tracer tells of it.
        task.inside = true;
        if task.subject.is_none() {
            let subjects = self.subjects.entry(task.container.clone()).or_default();
            task.subject = Some(subjects.len());
            subjects.push(Subject::default());
        }
        self.tasks.insert(now, task);
    }

    fn attached(&mut self, after: &str) {
        let Some((_, path)) = after.split_once(" dst_path=") else {
            return;
        };
        let Some((path, _)) = path.rsplit_once(" pid=") else {
            return;
        };
        let mut parts = path.rsplit('/');
        let leaf = parts.next().unwrap_or_default();
        let is_container = leaf.len() == 64 && leaf.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(pid) = number(after, " pid=").filter(|_| is_container) else {
            return;
        };
        let pod = parts.next().and_then(|pod| pod.strip_prefix("pod"));
        let pod = pod.unwrap_or_default();
        if !self.begun.iter().any(|(_, container)| container == leaf) {
            self.begun.push((pod.to_owned(), leaf.to_owned()));
        }
        // Once for each hierarchy.
        self.tasks.entry(pid).or_insert_with(|| Task {
            container: leaf.to_owned(),
            subject: None,
            inside: false,
        });
    }
}

/// The number behind the last place where a field's name stands: what stands before may be anything.
fn number(text: &str, field: &str) -> Option<u32> {
    let (_, after) = text.rsplit_once(field)?;
    after.split(' ').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_and_what_entered_it() {
        let id = "0123456789abcdef".repeat(4);
        let mut seen = Containers::default();
        for line in [
            "runc-1 [000] d..1. 1.0: cgroup_attach_task: dst_root=1 dst_id=2 dst_level=3 dst_path=/a/podb-c/ID pid=10 comm=runc:[0:PARENT]",
            "runc-1 [000] d..1. 1.0: cgroup_attach_task: dst_root=2 dst_id=2 dst_level=3 dst_path=/a/podb-c/ID pid=10 comm=runc:[0:PARENT]",
            "runc-10 [000] ..... 1.1: sched_process_fork: comm=runc pid=10 child_comm=runc child_pid=11",
            // It is not the workload's yet.
            "a-11 [000] ..... 1.2: sys_enter: NR 83 (0, 0, 0, 0, 0, 0)",
            "a-12 [000] ..... 1.3: sched_process_exec: filename=/bin/a pid=11 old_pid=11",
            "a-11 [000] ..... 1.3: sys_exit: NR 59 = 0",
            "a b-11 [000] ..... 1.4: sys_enter: NR 0 (0, 0, 0, 0, 0, 0)",
            "a b-11 [000] ..... 1.4: sys_exit: NR 0 = 5",
            "a b-11 [000] ..... 1.5: sys_exit: NR 83 = -1",
            "a b-11 [000] ..... 1.6: sched_process_fork: comm=a pid=7 b pid=11 child_comm=a child_pid=12",
            "a b-12 [001] ..... 1.6: sys_exit: NR 56 = 0",
            "a b-12 [001] ..... 1.7: sys_enter: NR 1 (0, 0, 0, 0, 0, 0)",
            // Somebody else's.
            "a b-13 [001] ..... 1.7: sys_enter: NR 2 (0, 0, 0, 0, 0, 0)",
            "runc-1 [000] d..1. 1.8: cgroup_attach_task: dst_root=1 dst_id=2 dst_level=3 dst_path=/a/podb-c/ID pid=12 comm=runc",
            "runc-1 [000] d..1. 1.8: cgroup_attach_task: dst_root=1 dst_id=2 dst_level=3 dst_path=/a/podb-c/ID pid=20 comm=runc",
            "a-20 [000] ..... 1.9: sched_process_exec: filename=/bin/b pid=20 old_pid=20",
            "b-20 [000] ..... 1.9: sys_enter: NR 9999 (0, 0, 0, 0, 0, 0)",
        ] {
            seen.add(&line.replace("ID", &id));
        }
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            seen.of(&id),
            [
                Subject {
                    calls: names(&["read", "write"]),
                    denied: [("mkdir".to_owned(), 1)].into(),
                },
                Subject {
                    calls: names(&["9999"]),
                    denied: BTreeMap::new(),
                },
            ]
        );
        assert_eq!(seen.of("other"), []);
        assert!(seen.of_pod("b-c").eq([id.as_str()]));
    }
}
