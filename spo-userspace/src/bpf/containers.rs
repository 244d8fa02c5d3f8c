//! A recorder of containers that come and go, for as long as it is wanted: every new mount namespace is recorded, and what
//! the caller does not want is released and used again.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use spo_common::counter::Counter;
use spo_common::started::{self as raw, TEXT};
use spo_common::subject::{FIRST, MAX, STATE_ENTERED, STATE_WORKLOAD, Subject};

use super::capabilities::{self, Watch, watch};
use super::grace::Grace;
use super::kernel::Kernel;
use super::places::load_places;
use super::recorder::{
    Limits, Target, attach_programs, load, load_programs, map_error, prepare, target_globals,
};
use super::records::{Happening, happening};
use super::subjects::{Subjects, array, counter, losses};
use super::{Error, objects};
use crate::event::{CgroupNames, Checks, Comm, Losses, Started, SubjectId, SubjectObservation};

/// Programs that record containers. Dropping it detaches them.
pub struct Containers {
    links: Vec<BtfTracePointLink>,
    /// What sees capabilities, and how much that is.
    watch: Option<Watch>,
    checks: Checks,
    pub(super) ebpf: Ebpf,
    ring: RingBuf<MapData>,
    pub(super) grace: Grace,
    pub(super) limits: Limits,
    /// Subjects that [`Containers::poll`] told of, and that are not released.
    pub(super) told: BTreeSet<SubjectId>,
    /// Records that did not fit into the ring buffer, as of the last time that the maps were read for it.
    missed: u64,
}

/// What happened since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Subjects that began.
    pub started: Vec<Started>,
    /// Subjects that made calls, or used capabilities, for the first time.
    pub grown: BTreeSet<SubjectId>,
    /// There is not much room left: it is time for [`Containers::sweep`].
    pub crowded: bool,
}

impl Limits {
    /// Room for the containers of a node.
    pub fn for_containers(pid_max: u32) -> Self {
        Self {
            subjects: MAX,
            namespaces: 16384,
            ring: 1024 * 1024,
            ..Self::for_target(Target::NewNamespaces, pid_max)
        }
    }
}

impl Containers {
    /// Loads and attaches the programs: each mount namespace that comes into being from now on is recorded.
    pub fn start(kernel: &Kernel, limits: Limits) -> Result<Self, Error> {
        objects::check()?;
        kernel.tells_containers()?;
        let target = Target::NewNamespaces;
        let mut globals = target_globals(target);
        globals.push(("CONTINUOUS", 1));
        let mut ebpf = load(kernel, &globals, limits, limits.subjects)?;
        prepare(&mut ebpf, target, limits)?;
        let ring = ebpf.take_map("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let ring = RingBuf::try_from(ring).map_err(map_error("EVENTS"))?;
        load_programs(&mut ebpf, kernel)?;
        load_places(&mut ebpf, kernel)?;
        let mut containers = Self {
            links: Vec::new(),
            watch: None,
            checks: Checks::Used,
            ebpf,
            ring,
            grace: Grace::new()?,
            limits,
            told: BTreeSet::new(),
            missed: 0,
        };
        containers.make_room(0, 0)?;
        (containers.watch, containers.checks) = watch(&mut containers.ebpf, kernel)?;
        containers.links = attach_programs(&mut containers.ebpf)?;
        Ok(containers)
    }

    /// What happened since the last time. It never waits; the descriptor of `self` is ready to read when there is something.
    pub fn poll(&mut self) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        let mut began = BTreeSet::new();
        let mut grown = Vec::new();
        while let Some(item) = self.ring.next() {
            match happening(&item) {
                Some(Happening::FirstSight(sight)) => grown.push((sight.subject, sight.time_ns)),
                Some(Happening::FirstUse(index, time_ns)) => grown.push((index, time_ns)),
                Some(Happening::Started(index)) => drop(began.insert(index)),
                Some(Happening::Crowded) => changes.crowded = true,
                None => {}
            }
        }
        let missed = counter(&self.ebpf, Counter::RingFull)?;
        if missed != self.missed {
            // What did not fit may have been any of them: the maps have it all.
            self.missed = missed;
            changes.crowded = true;
            began.extend(FIRST..self.limits.subjects);
        }
        for index in began {
            if let Some(started) = self.started_at(index)?
                && self.told.insert(started.id)
            {
                changes.started.push(started);
            }
        }
        for (index, time_ns) in grown {
            let known = array::<Subject>(&self.ebpf, "SUBJECTS")?
                .get(&index, 0)
                .map_err(map_error("SUBJECTS"))?;
            if known.taken_ns != 0 && known.taken_ns <= time_ns {
                changes.grown.insert(SubjectId {
                    index,
                    since_ns: known.taken_ns,
                });
            }
        }
        Ok(changes)
    }

    /// All subjects that began, and were not released.
    pub fn started(&self) -> Result<Vec<Started>, Error> {
        let mut all = Vec::new();
        for index in FIRST..self.limits.subjects {
            all.extend(self.started_at(index)?);
        }
        Ok(all)
    }

    /// What a subject did so far.
    pub fn observe(&self, id: SubjectId) -> Result<SubjectObservation, Error> {
        self.check(id)?;
        let observed = Subjects::of(&self.ebpf)?.observe(id.index)?;
        let mut observed = observed.ok_or(Error::Gone(id))?;
        observed.capabilities = capabilities::used(&self.ebpf, id.index)?;
        Ok(observed)
    }

    /// How far it can be seen which capabilities are used.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// What was lost so far, of all subjects.
    pub fn losses(&mut self) -> Result<Losses, Error> {
        let mut losses = losses(&mut self.ebpf)?;
        if let Some(watch) = &self.watch {
            losses.skipped_checks = watch.skipped(&self.ebpf)?;
        }
        Ok(losses)
    }

    /// Detaches the programs; subjects can still be observed.
    pub fn detach(&mut self) {
        self.watch = None;
        while let Some(link) = self.links.pop() {
            drop(link);
        }
    }

    /// The subject, if it is the one with this name still, and began.
    pub(super) fn check(&self, id: SubjectId) -> Result<Subject, Error> {
        let subjects = array::<Subject>(&self.ebpf, "SUBJECTS")?;
        subjects
            .get(&id.index, 0)
            .ok()
            .filter(|subject| {
                subject.taken_ns == id.since_ns
                    && matches!(subject.state, STATE_WORKLOAD | STATE_ENTERED)
            })
            .ok_or(Error::Gone(id))
    }

    fn started_at(&self, index: u32) -> Result<Option<Started>, Error> {
        let subject = array::<Subject>(&self.ebpf, "SUBJECTS")?
            .get(&index, 0)
            .map_err(map_error("SUBJECTS"))?;
        if !matches!(subject.state, STATE_WORKLOAD | STATE_ENTERED) {
            return Ok(None);
        }
        let raw = array::<raw::Started>(&self.ebpf, "STARTED")?
            .get(&index, 0)
            .map_err(map_error("STARTED"))?;
        Ok(Some(started(index, &subject, &raw)))
    }
}

impl AsFd for Containers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

fn started(index: u32, subject: &Subject, raw: &raw::Started) -> Started {
    let size = usize::try_from(raw.arguments_size).unwrap_or(usize::MAX);
    let kept = &raw.arguments[..size.min(TEXT)];
    let kept = kept.strip_suffix(&[0]).unwrap_or(kept);
    let arguments = if size == 0 {
        Vec::new()
    } else {
        kept.split(|byte| *byte == 0).map(text).collect()
    };
    Started {
        id: SubjectId {
            index,
            since_ns: subject.taken_ns,
        },
        entered: subject.state == STATE_ENTERED,
        namespace_id: subject.namespace,
        namespace_inum: subject.inum,
        tgid: subject.tgid,
        comm: Comm(subject.comm),
        time_ns: subject.first_ns,
        arguments,
        arguments_cut: size > TEXT,
        unified: names(&raw.unified),
        controller: names(&raw.controller),
    }
}

fn names(cgroup: &raw::Cgroup) -> CgroupNames {
    let name = |bytes: &[u8]| text(bytes.split(|byte| *byte == 0).next().unwrap_or(&[]));
    CgroupNames {
        leaf: name(&cgroup.leaf),
        parent: name(&cgroup.parent),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(arguments: &[u8], size: u32) -> raw::Started {
        let mut raw = raw::Started::NONE;
        raw.arguments[..arguments.len()].copy_from_slice(arguments);
        raw.arguments_size = size;
        raw.unified.leaf[..4].copy_from_slice(b"leaf");
        raw.unified.leaf[5..8].copy_from_slice(b"old");
        raw
    }

    #[test]
    fn arguments_are_words() {
        let of = |arguments: &[u8], size| {
            let started = started(5, &Subject::default(), &raw(arguments, size));
            (started.arguments, started.arguments_cut)
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(of(b"sh\0-c\0\0", 7), (words(&["sh", "-c", ""]), false));
        assert_eq!(of(b"", 0), (Vec::new(), false));
        assert_eq!(of(b"\0", 1), (words(&[""]), false));
        let long = [b'x'; TEXT];
        assert_eq!(of(&long, 500), (words(&["x".repeat(TEXT).as_str()]), true));
        assert_eq!(of(b"\xff\0", 2), (words(&["\u{fffd}"]), false));
    }

    #[test]
    fn a_name_ends_at_its_zero() {
        let started = started(5, &Subject::default(), &raw(b"", 0));
        assert_eq!(started.unified.leaf, "leaf");
        assert_eq!(started.unified.parent, "");
    }
}
