//! Loads, attaches, reads and detaches the recorder (`spo-ebpf/src/bin/recorder.rs`).

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{MapData, Queue, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, Iter};
use nix::time::{ClockId, clock_gettime};
use spo_common::counter::Counter;
use spo_common::subject::{FIRST, MAX, STATE_WORKLOAD, Subject};

use super::kernel::{Globals, Kernel, set_globals};
use super::subjects::{Subjects, array_mut, counter, losses};
use super::{Error, error, objects, records};
use crate::event::{FirstSight, Observation};

/// What to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process that makes the call [`MARK`] with this argument, from its next `execve` on, and
    /// all that descends from it.
    Command {
        /// The argument.
        nonce: u32,
    },
    /// A process that runs already, and all that descends from it.
    Tree {
        /// Its id in the initial pid namespace.
        tgid: u32,
    },
    /// A mount namespace, and those that its processes create.
    Namespace {
        /// Its inode number. The caller keeps it from being used again.
        inum: u32,
    },
    /// Every mount namespace but one, the workloads of all as one subject (the first).
    AllNamespaces {
        /// The inode number of the one.
        except: u32,
    },
    /// Every mount namespace that comes into being from now on, each as a subject of its own.
    NewNamespaces,
}

/// Sizes of the kernel's maps. What does not fit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Subjects, the unrecorded ones included: at most 4096.
    pub subjects: u32,
    /// Mount namespaces that come into sight.
    pub namespaces: u32,
    /// The largest thread id and one (`kernel.pid_max`).
    pub threads: u32,
    /// Numbers without a name.
    pub unnamed: u32,
    /// Bytes of the ring buffer: a power of two, and a multiple of the page size.
    pub ring: u32,
}

impl Limits {
    /// Room for all that a target can bring.
    pub fn for_target(target: Target, pid_max: u32) -> Self {
        let (subjects, namespaces) = match target {
            Target::Command { .. } | Target::Tree { .. } => (FIRST + 1, 1),
            Target::Namespace { .. } => (FIRST + 1, 8192),
            Target::AllNamespaces { .. } | Target::NewNamespaces => (1024, 8192),
        };
        Self {
            subjects,
            namespaces,
            threads: pid_max,
            unnamed: spo_common::unnamed::UNNAMED,
            ring: 256 * 1024,
        }
    }
}

/// The call by which a command announces itself: `getsid`, which many programs never make, which
/// needs no privilege, and which takes a number that it does no harm to pass.
pub const MARK: libc::c_long = libc::SYS_getsid;

/// The programs, in the order in which they are attached: what keeps track of tasks before what counts their calls.
pub(super) const PROGRAMS: [&str; 4] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "sys_enter",
];

/// Programs that record. Dropping it detaches them.
pub struct Recorder {
    /// In the order of [`PROGRAMS`].
    links: Vec<BtfTracePointLink>,
    ebpf: Ebpf,
    target: Target,
    began_ns: u64,
    events: Events,
}

/// The events that wait to be read; ready to read when its file descriptor is.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Recorder {
    /// Loads and attaches the programs: recording runs when this returns.
    pub fn start(kernel: &Kernel, target: Target, limits: Limits) -> Result<Self, Error> {
        objects::check()?;
        let globals = target_globals(target);
        let mut ebpf = load(kernel, &globals, limits, 1)?;
        prepare(&mut ebpf, target, limits)?;
        let ring = ebpf.take_map("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let ring = RingBuf::try_from(ring).map_err(map_error("EVENTS"))?;
        load_programs(&mut ebpf, kernel)?;
        if let Target::Tree { .. } = target {
            let tree: &mut Iter = program(&mut ebpf, "tree")?;
            tree.load("task", &kernel.btf)
                .map_err(program_error("tree"))?;
        }
        let links = attach_programs(&mut ebpf)?;
        let mut recorder = Self {
            links,
            ebpf,
            target,
            began_ns: now(),
            events: Events { ring },
        };
        if let Target::Tree { .. } = target {
            recorder.seed()?;
        }
        Ok(recorder)
    }

    /// Whether the command has announced itself.
    pub fn is_armed(&self) -> Result<bool, Error> {
        Ok(counter(&self.ebpf, Counter::Armed)? > 0)
    }

    /// Tasks that were in the tree when the recording joined it.
    pub fn seeded(&self) -> Result<u64, Error> {
        counter(&self.ebpf, Counter::Seeded)
    }

    /// The events that wait.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Calls that some subject made for the first time, so far.
    pub fn first_sights(&self) -> Result<u64, Error> {
        counter(&self.ebpf, Counter::FirstSights)
    }

    /// Detaches the programs, then reads all that they left.
    pub fn finish(mut self, mut on_event: impl FnMut(FirstSight)) -> Result<Observation, Error> {
        while let Some(link) = self.links.pop() {
            drop(link);
        }
        let ended_ns = now();
        while let Some(event) = self.events.take() {
            on_event(event);
        }
        let losses = losses(&mut self.ebpf)?;
        let all = Subjects::of(&self.ebpf)?;
        let mut subjects = Vec::new();
        for index in FIRST..all.len() {
            subjects.extend(all.observe(index)?);
        }
        Ok(Observation {
            subjects,
            losses,
            began_ns: self.began_ns,
            ended_ns,
        })
    }

    /// Adds the tasks that descend from the target until a walk finds none any more: a child of a task
    /// that was added later is in a later walk, and a child of one that was added before inherits.
    fn seed(&mut self) -> Result<(), Error> {
        loop {
            let before = counter(&self.ebpf, Counter::Seeded)?;
            self.members()?;
            if counter(&self.ebpf, Counter::Seeded)? == before {
                return Ok(());
            }
        }
    }

    /// Has the kernel go through all tasks once: the processes of the tree, those included that
    /// ended and were not waited for. Only for [`Target::Tree`].
    pub fn members(&mut self) -> Result<BTreeSet<u32>, Error> {
        let tree: &mut Iter = program(&mut self.ebpf, "tree")?;
        let link = tree.attach().map_err(program_error("tree"))?;
        let link = tree.take_link(link).map_err(program_error("tree"))?;
        let mut walk = link
            .into_file()
            .map_err(|error| Error::Iterate(std::io::Error::other(error)))?;
        let mut members = Vec::new();
        walk.read_to_end(&mut members).map_err(Error::Iterate)?;
        let ids = members.chunks_exact(size_of::<u32>());
        Ok(ids
            .filter_map(|id| Some(u32::from_ne_bytes(id.try_into().ok()?)))
            .collect())
    }

    /// What was asked for.
    pub fn target(&self) -> Target {
        self.target
    }
}

impl Events {
    /// The next event; `None` when there is none now. What is no record of ours is passed over.
    pub fn take(&mut self) -> Option<FirstSight> {
        loop {
            let item = self.ring.next()?;
            if let Some(event) = records::first_sight(&item) {
                return Some(event);
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

pub(super) fn target_globals(target: Target) -> Globals {
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut globals: Globals = vec![
        ("NR_MARK", number(MARK)),
        ("NR_EXECVE", number(libc::SYS_execve)),
        ("NR_EXECVEAT", number(libc::SYS_execveat)),
        ("NR_UNSHARE", number(libc::SYS_unshare)),
        ("NR_SETNS", number(libc::SYS_setns)),
        ("NR_COMPAT_UNSHARE", number(COMPAT_UNSHARE)),
        ("NR_COMPAT_SETNS", number(COMPAT_SETNS)),
    ];
    let on = 1;
    globals.extend(match target {
        Target::Command { nonce } => vec![("NONCE", nonce)],
        Target::Tree { tgid } => vec![("SEED_TGID", tgid)],
        Target::Namespace { inum } => {
            vec![("BY_NAMESPACE", on), ("TARGET_INUM", inum)]
        }
        Target::AllNamespaces { except } => vec![
            ("BY_NAMESPACE", on),
            ("RECORD_EXISTING", on),
            ("HOST_INUM", except),
            ("RECORD_NEW", on),
            ("SHARED", on),
        ],
        Target::NewNamespaces => vec![("BY_NAMESPACE", on), ("RECORD_NEW", on)],
    });
    globals
}

/// The numbers of `unshare` and `setns` in the 32-bit table of the architecture.
#[cfg(target_arch = "x86_64")]
const COMPAT_UNSHARE: libc::c_long = 310;
#[cfg(target_arch = "x86_64")]
const COMPAT_SETNS: libc::c_long = 346;
#[cfg(target_arch = "aarch64")]
const COMPAT_UNSHARE: libc::c_long = 337;
#[cfg(target_arch = "aarch64")]
const COMPAT_SETNS: libc::c_long = 375;
#[cfg(target_arch = "riscv64")]
const COMPAT_UNSHARE: libc::c_long = libc::SYS_unshare;
#[cfg(target_arch = "riscv64")]
const COMPAT_SETNS: libc::c_long = libc::SYS_setns;

/// Loads the maps; `started` is the number of subjects of which it is kept how they began, and which capabilities they use.
pub(super) fn load(
    kernel: &Kernel,
    globals: &Globals,
    limits: Limits,
    started: u32,
) -> Result<Ebpf, Error> {
    let Limits {
        subjects,
        namespaces,
        threads,
        unnamed,
        ring,
    } = limits;
    let mut loader = kernel.loader();
    set_globals(&mut loader, globals);
    loader
        .map_max_entries("SETS", subjects)
        .map_max_entries("SUBJECTS", subjects)
        .map_max_entries("FREE", subjects)
        .map_max_entries("STARTED", started)
        .map_max_entries("CAPABILITIES", started)
        .map_max_entries("NAMESPACES", namespaces)
        .map_max_entries("TASKS", threads.div_ceil(2))
        .map_max_entries("UNNAMED", unnamed)
        .map_max_entries("EVENTS", ring);
    loader.load(objects::RECORDER).map_err(load_error)
}

/// Fills the maps that the programs find filled.
pub(super) fn prepare(ebpf: &mut Ebpf, target: Target, limits: Limits) -> Result<(), Error> {
    let mut first_free = FIRST;
    if target != Target::NewNamespaces {
        let mut subjects = array_mut(ebpf, "SUBJECTS")?;
        let first = Subject {
            state: STATE_WORKLOAD,
            ..Subject::default()
        };
        subjects
            .set(FIRST, first, 0)
            .map_err(map_error("SUBJECTS"))?;
        first_free += 1;
    }
    let free = ebpf.map_mut("FREE").ok_or(Error::Missing("FREE"))?;
    let mut free: Queue<_, u32> = Queue::try_from(free).map_err(map_error("FREE"))?;
    for index in first_free..limits.subjects.min(MAX) {
        free.push(index, 0).map_err(map_error("FREE"))?;
    }
    Ok(())
}

/// Loads [`PROGRAMS`].
pub(super) fn load_programs(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(), Error> {
    for name in PROGRAMS {
        let program: &mut BtfTracePoint = program(ebpf, name)?;
        program
            .load(name, &kernel.btf)
            .map_err(program_error(name))?;
    }
    Ok(())
}

/// Attaches [`PROGRAMS`].
pub(super) fn attach_programs(ebpf: &mut Ebpf) -> Result<Vec<BtfTracePointLink>, Error> {
    PROGRAMS.iter().map(|name| attach(ebpf, name)).collect()
}

/// A program of an object by name and type.
pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, Error>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(Error::Missing(name))
}

/// Attaches a loaded program; dropping the link detaches it.
pub(super) fn attach(ebpf: &mut Ebpf, name: &'static str) -> Result<BtfTracePointLink, Error> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    let link = program.attach().map_err(program_error(name))?;
    program.take_link(link).map_err(program_error(name))
}

pub(super) fn load_error(source: aya::EbpfError) -> Error {
    if error::is_permission(&source) {
        Error::Permission
    } else {
        Error::Load(Box::new(source))
    }
}

pub(super) fn program_error(
    program: &'static str,
) -> impl Fn(aya::programs::ProgramError) -> Error {
    move |source| {
        if error::is_permission(&source) {
            Error::Permission
        } else {
            Error::Program {
                program,
                source: Box::new(source),
            }
        }
    }
}

pub(super) fn map_error(map: &'static str) -> impl Fn(aya::maps::MapError) -> Error {
    move |source| Error::Map {
        map,
        source: Box::new(source),
    }
}

/// The clock of `bpf_ktime_get_ns`, in nanoseconds.
fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .ok()
        .and_then(|time| u64::try_from(std::time::Duration::from(time).as_nanos()).ok())
        .unwrap_or_default()
}
