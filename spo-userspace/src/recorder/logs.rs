//! What containers did, by the verdicts that seccomp filters had the kernel log: what the machine
//! [`cluster`](super::cluster) is told where no program in the kernel keeps sets. No IO, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Observed, Started};
use crate::event::{Call, Checks, Losses, SubjectId, Verdict};

/// Containers that are kept at most.
const CONTAINERS: usize = 4096;
/// Numbers that no table has, of a container; as many as the programs in the kernel keep.
const UNNAMED: usize = 256;
/// Why it is unknown which capabilities are used.
const UNTOLD: &str = "what seccomp filters log does not tell capabilities";
/// Tables have no greater ones, but those of 32-bit arm's private calls.
const NUMBERS: std::ops::Range<i32> = 0..1024;

/// The containers of a node.
#[derive(Debug, Default)]
pub struct Logs {
    /// Since when verdicts are read, in seconds since 1970.
    began: u64,
    containers: BTreeMap<String, Kept>,
    ids: BTreeMap<SubjectId, String>,
    /// The last subject.
    last: u64,
    /// Containers that started before.
    late: BTreeSet<String>,
    losses: Losses,
    /// What was lost when it was told for the last time what changed.
    losses_told: Losses,
}

#[derive(Debug)]
struct Kept {
    subject: SubjectId,
    /// None if nobody wants it.
    observed: Option<Observed>,
    unnamed: BTreeMap<Call, u64>,
    changed: bool,
}

impl Logs {
    /// Nothing is known yet, and verdicts are read from now on.
    pub fn new(now: u64) -> Self {
        Self {
            began: now,
            ..Self::default()
        }
    }

    /// A verdict came about a process of a container, by the runtime's id, and of a pod, if that is
    /// known. The answer is what is there for the first time.
    pub fn verdict(
        &mut self,
        verdict: &Verdict,
        container: &str,
        pod: Option<&str>,
        now: u64,
    ) -> Option<(SubjectId, Started)> {
        let at = verdict.stamp.map_or(now, |stamp| stamp.at_ms / 1000);
        let mut started = None;
        if !self.containers.contains_key(container) {
            if !self.make_room() {
                self.losses.subjects_full += 1;
                return None;
            }
            self.last += 1;
            // No index of a kernel's map: the times are our own count.
            let subject = SubjectId {
                index: 0,
                since_ns: self.last,
            };
            started = Some((
                subject,
                Started {
                    container: Some(container.to_owned()),
                    pod: pod.map(str::to_owned),
                    comm: verdict.comm.to_string(),
                    at,
                    // What was lost since the last look may be its own.
                    losses: self.losses_told,
                },
            ));
            let kept = Kept {
                subject,
                observed: Some(Observed {
                    late: self.late.contains(container),
                    checks: Some(Checks::Untold(UNTOLD.to_owned())),
                    ..Observed::default()
                }),
                unnamed: BTreeMap::new(),
                changed: true,
            };
            self.containers.insert(container.to_owned(), kept);
            self.ids.insert(subject, container.to_owned());
        }
        let kept = self.containers.get_mut(container)?;
        let observed = kept.observed.as_mut()?;
        let call = verdict.call;
        let is_new = if NUMBERS.contains(&call.number) {
            observed.calls.insert(call)
        } else if let Some(times) = kept.unnamed.get_mut(&call) {
            *times += 1;
            kept.changed = true;
            false
        } else if kept.unnamed.len() < UNNAMED {
            kept.unnamed.insert(call, 1);
            true
        } else {
            self.losses.unnamed_full += 1;
            false
        };
        if is_new {
            kept.changed = true;
            observed.last_new = observed.last_new.max(Some(at));
        }
        started
    }

    /// A verdict came about a process of which nobody can tell whose it was.
    pub fn unattributed(&mut self) {
        self.losses.unresolved += 1;
    }

    /// So many records were lost until now.
    pub fn lost(&mut self, records: u64) {
        self.losses.records_missing = self.losses.records_missing.max(records);
    }

    /// A container started then, as the pod's status tells. One that did so before verdicts were
    /// read did what nobody saw.
    pub fn started(&mut self, container: &str, at: u64) {
        // The status has no fractions of seconds: it may have begun somewhat later.
        if at > self.began {
            return;
        }
        if let Some(observed) = self
            .containers
            .get_mut(container)
            .and_then(|kept| kept.observed.as_mut())
        {
            observed.late = true;
        }
        if self.late.len() < CONTAINERS {
            self.late.insert(container.to_owned());
        }
    }

    /// What changed since the last time, or might lack more than then.
    pub fn changed(&mut self, now: u64) -> Vec<(SubjectId, Observed)> {
        self.losses_told = self.losses;
        let mut changed = Vec::new();
        for kept in self.containers.values_mut() {
            let lacks_more = kept
                .observed
                .as_ref()
                .is_some_and(|observed| observed.losses != self.losses);
            if (kept.changed || lacks_more)
                && let Some(observed) = kept.observe(self.losses, now)
            {
                changed.push((kept.subject, observed));
            }
        }
        changed
    }

    /// A container has ended, and its last verdicts have come. The answer is all that it did, if
    /// somebody wants it.
    pub fn ended(&mut self, container: &str, now: u64) -> Option<(SubjectId, Observed)> {
        self.late.remove(container);
        let mut kept = self.containers.remove(container)?;
        self.ids.remove(&kept.subject);
        let observed = kept.observe(self.losses, now)?;
        Some((kept.subject, observed))
    }

    /// Nobody wants what is kept of a container. It is remembered as such until it has ended.
    pub fn release(&mut self, subject: SubjectId) {
        if let Some(id) = self.ids.get(&subject)
            && let Some(kept) = self.containers.get_mut(id)
        {
            kept.observed = None;
            kept.unnamed.clear();
        }
    }

    /// Makes room for one more, if need be in place of one that nobody wants.
    fn make_room(&mut self) -> bool {
        if self.containers.len() < CONTAINERS {
            return true;
        }
        let unwanted = self
            .containers
            .iter()
            .filter(|(_, kept)| kept.observed.is_none())
            .min_by_key(|(_, kept)| kept.subject);
        let Some(id) = unwanted.map(|(id, _)| id.clone()) else {
            return false;
        };
        if let Some(kept) = self.containers.remove(&id) {
            self.ids.remove(&kept.subject);
        }
        true
    }
}

impl Kept {
    fn observe(&mut self, losses: Losses, now: u64) -> Option<Observed> {
        self.changed = false;
        let observed = self.observed.as_mut()?;
        observed.unnamed = self
            .unnamed
            .iter()
            .map(|(call, times)| (*call, *times))
            .collect();
        observed.losses = losses;
        observed.at = now;
        Some(observed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Abi, Comm, Stamp};

    const NOW: u64 = 1_700_000_000;

    fn verdict(number: i32, at: u64) -> Verdict {
        Verdict {
            stamp: Some(Stamp {
                at_ms: at * 1000,
                serial: 1,
            }),
            call: Call {
                abi: Abi::Native,
                number,
            },
            code: 0x7ffc_0000,
            signal: 0,
            tgid: 7,
            comm: Comm(*b"app\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            exe: None,
        }
    }

    fn numbers(observed: &Observed) -> Vec<i32> {
        observed.calls.iter().map(|call| call.number).collect()
    }

    #[test]
    fn a_container_is_there_with_its_first_verdict() {
        let mut logs = Logs::new(NOW);
        let (subject, started) = logs
            .verdict(&verdict(3, NOW + 1), "c1", Some("u1"), NOW + 9)
            .unwrap();
        assert_eq!(started.container.as_deref(), Some("c1"));
        assert_eq!(started.pod.as_deref(), Some("u1"));
        assert_eq!((started.comm.as_str(), started.at), ("app", NOW + 1));
        for (number, at) in [(1, 2), (3, 3)] {
            let again = logs.verdict(&verdict(number, NOW + at), "c1", Some("u1"), NOW + 9);
            assert_eq!(again, None);
        }
        let (other, _) = logs
            .verdict(&verdict(4, NOW + 1), "c2", None, NOW + 9)
            .unwrap();
        assert_ne!(subject, other);
        let changed = logs.changed(NOW + 10);
        let [(one, first), (two, second)] = &changed[..] else {
            panic!("{changed:?}");
        };
        assert_eq!((*one, *two), (subject, other));
        assert_eq!(numbers(first), [1, 3]);
        assert_eq!(first.last_new, Some(NOW + 2));
        assert_eq!(first.at, NOW + 10);
        assert!(!first.late && !first.filtered);
        assert_eq!(numbers(second), [4]);
        assert_eq!(logs.changed(NOW + 11), []);
        logs.verdict(&verdict(3, NOW + 4), "c1", None, NOW);
        assert_eq!(logs.changed(NOW + 11), []);
    }

    #[test]
    fn what_ended_is_told_and_forgotten() {
        let mut logs = Logs::new(NOW);
        let (subject, _) = logs.verdict(&verdict(3, NOW), "c1", None, NOW).unwrap();
        let (ended, observed) = logs.ended("c1", NOW + 1).unwrap();
        assert_eq!((ended, numbers(&observed)), (subject, vec![3]));
        assert_eq!(logs.ended("c1", NOW + 1), None);
        assert!(logs.containers.is_empty() && logs.ids.is_empty());
        let (again, _) = logs.verdict(&verdict(3, NOW), "c1", None, NOW).unwrap();
        assert_ne!(again, subject);
    }

    #[test]
    fn what_nobody_wants_stays_unwanted() {
        let mut logs = Logs::new(NOW);
        let (subject, _) = logs.verdict(&verdict(3, NOW), "c1", None, NOW).unwrap();
        logs.release(subject);
        assert_eq!(logs.verdict(&verdict(4, NOW), "c1", None, NOW), None);
        assert_eq!(logs.changed(NOW), []);
        assert_eq!(logs.ended("c1", NOW), None);
        assert!(logs.containers.is_empty() && logs.ids.is_empty());
    }

    #[test]
    fn losses_are_those_of_all() {
        let mut logs = Logs::new(NOW);
        logs.unattributed();
        logs.changed(NOW);
        logs.unattributed();
        let (_, started) = logs.verdict(&verdict(3, NOW), "c1", None, NOW).unwrap();
        assert_eq!(started.losses.unresolved, 1);
        logs.changed(NOW);
        logs.lost(5);
        logs.lost(4);
        let changed = logs.changed(NOW);
        let losses = changed[0].1.losses;
        assert_eq!((losses.unresolved, losses.records_missing), (2, 5));
        assert_eq!(losses.since(&started.losses).lost(), 6);
        assert_eq!(logs.changed(NOW), []);
    }

    #[test]
    fn numbers_without_a_name_are_counted_and_bounded() {
        let mut logs = Logs::new(NOW);
        for _ in 0..3 {
            logs.verdict(&verdict(-1, NOW), "c1", None, NOW);
        }
        let more = i32::try_from(UNNAMED).unwrap();
        for number in 0..more {
            logs.verdict(&verdict(5000 + number, NOW), "c1", None, NOW);
        }
        let (_, observed) = logs.ended("c1", NOW).unwrap();
        assert_eq!(observed.unnamed.len(), UNNAMED);
        assert_eq!(observed.unnamed[0], (verdict(-1, NOW).call, 3));
        assert_eq!(observed.losses.unnamed_full, 1);
        assert!(observed.calls.is_empty());
    }

    #[test]
    fn containers_are_bounded() {
        let mut logs = Logs::new(NOW);
        let id = |number: usize| format!("c{number}");
        let mut first = None;
        for number in 0..CONTAINERS {
            let started = logs.verdict(&verdict(1, NOW), &id(number), None, NOW);
            first = first.or(started);
        }
        assert_eq!(logs.verdict(&verdict(1, NOW), "more", None, NOW), None);
        assert_eq!(logs.losses.subjects_full, 1);
        logs.release(first.unwrap().0);
        assert!(logs.verdict(&verdict(1, NOW), "more", None, NOW).is_some());
        assert_eq!(logs.containers.len(), CONTAINERS);
        assert_eq!(logs.ids.len(), CONTAINERS);
    }

    #[test]
    fn who_ran_before_is_late() {
        let mut logs = Logs::new(NOW);
        logs.started("c1", NOW - 1);
        logs.verdict(&verdict(1, NOW), "c1", None, NOW);
        logs.verdict(&verdict(1, NOW), "c2", None, NOW);
        logs.started("c2", NOW - 1);
        logs.verdict(&verdict(1, NOW), "c3", None, NOW);
        logs.started("c3", NOW + 1);
        let late: Vec<_> = logs
            .changed(NOW)
            .iter()
            .map(|(_, observed)| observed.late)
            .collect();
        assert_eq!(late, [true, true, false]);
        logs.ended("c1", NOW);
        assert!(!logs.late.contains("c1"));
    }
}
