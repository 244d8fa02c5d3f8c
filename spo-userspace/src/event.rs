//! What the kernel told, decoded and owned: single events, and the observation that a recording ends with.

mod audit;

use std::fmt;

pub use self::audit::{
    AppArmorAnswer, AppArmorRecord, Audited, Avc, AvcAnswer, Detail, Process, Stamp, Verdict,
};

/// The calling convention of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Abi {
    /// The kernel's own.
    Native,
    /// The 32-bit one of a 64-bit kernel.
    Compat,
    /// x32.
    X32,
}

/// A system call by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// Its calling convention.
    pub abi: Abi,
    /// Its number within that, without the x32 bit. Negative or beyond every table: what the caller
    /// passed by mistake.
    pub number: i32,
}

/// A subject made a call for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSight {
    /// Index of the subject in the kernel's maps.
    pub subject: u32,
    /// The call.
    pub call: Call,
    /// Nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the task.
    pub comm: Comm,
}

/// A subject's name: no other subject of the same recorder has it, or had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId {
    /// Its index in the kernel's maps, which is used again once the subject is released.
    pub index: u32,
    /// When the index was taken for it (monotonic clock).
    pub since_ns: u64,
}

/// A subject whose first program was seen to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The subject.
    pub id: SubjectId,
    /// It entered the mount namespace of a container (`kubectl exec`, a probe); else it is the container's own workload.
    pub entered: bool,
    /// The kernel's id of the mount namespace.
    pub namespace_id: u64,
    /// The inode number of the mount namespace.
    pub namespace_inum: u32,
    /// Thread group id (initial pid namespace) of the program.
    pub tgid: u32,
    /// Its name.
    pub comm: Comm,
    /// When it was executed (monotonic clock).
    pub time_ns: u64,
    /// Its arguments; none if they could not be read. Hostile text.
    pub arguments: Vec<String>,
    /// There were more arguments, or longer ones, than the kernel kept.
    pub arguments_cut: bool,
    /// Its cgroup in the hierarchy of version 2.
    pub unified: CgroupNames,
    /// Its cgroup in the hierarchy of a controller, which on some hosts is one of version 1.
    pub controller: CgroupNames,
}

/// The last two names of a cgroup's path; empty where there is none. At most 127 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupNames {
    /// Its own name.
    pub leaf: String,
    /// The name of the cgroup above.
    pub parent: String,
}

/// A call that something before the kernel's own code refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The call.
    pub call: Call,
    /// What the caller got (a negative errno), where it lived on.
    pub result: i64,
    /// The task died of it.
    pub killed: bool,
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the task.
    pub comm: Comm,
}

/// The name of a task, as the kernel keeps it: 15 bytes that the task itself chose. Displayed with
/// everything but printable ASCII escaped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Comm(pub [u8; 16]);

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.0.len());
        write!(f, "{}", self.0[..end].escape_ascii())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// An instruction of the kernel's classic BPF machine (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where a test holds.
    pub jump_true: u8,
    /// How many to skip where it does not.
    pub jump_false: u8,
    /// The constant.
    pub operand: u32,
}

/// A seccomp filter that is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelFilter {
    /// Its program, as it was handed in.
    pub program: Vec<Instruction>,
    /// Whether the kernel logs what it does, but for allowing.
    pub logs: bool,
}

/// A task, and what of seccomp is in force for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilteredTask {
    /// Thread group id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// When it started, in nanoseconds since boot, suspend included.
    pub started_ns: u64,
    /// What stands for its newest filter, and so for all of them: tasks with the same have the same. 0: it has none.
    pub chain: u64,
    /// How many filters it has, as far as they were counted.
    pub filters: u32,
    /// It has more than are counted.
    pub more: bool,
}

/// All that the kernel's maps hold at the end of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The subjects, by index.
    pub subjects: Vec<SubjectObservation>,
    /// What did not fit or was not seen.
    pub losses: Losses,
    /// When the observation began and ended, in nanoseconds of the monotonic clock.
    pub began_ns: u64,
    /// See `began_ns`.
    pub ended_ns: u64,
}

/// One subject's set, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectObservation {
    /// Its index in the kernel's maps.
    pub index: u32,
    /// How far it got.
    pub phase: Phase,
    /// The inode number of its mount namespace; 0 for a tree of processes.
    pub namespace_inum: u32,
    /// The kernel's id of that namespace; 0 for a tree of processes.
    pub namespace_id: u64,
    /// Thread group id (initial pid namespace) and name of its first program.
    pub tgid: u32,
    /// See `tgid`.
    pub comm: Comm,
    /// When it made a call that it had not made before, for the last time (monotonic clock, 0: never).
    pub last_new_ns: u64,
    /// One of its tasks ran under a seccomp filter already: what that one refused was not seen.
    pub filtered: bool,
    /// A program was executed in its namespace.
    pub executed: bool,
    /// The calls, sorted.
    pub calls: Vec<Call>,
    /// Numbers that no table has room for, with how often they were passed, sorted.
    pub unnamed: Vec<(Call, u64)>,
    /// The capabilities that it used, as bits by the kernel's numbers; only of containers that come and go, and only as far
    /// as [`Checks`] says.
    pub capabilities: u64,
}

/// How far the kernel tells which capabilities a subject uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checks {
    /// Each that it uses.
    Used,
    /// Besides, those that it has, and that somebody asked for without using them.
    Asked,
    /// Nothing, for this reason.
    Untold(String),
}

/// Where a subject is between a container runtime's first call and the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Calls are the workload's.
    #[default]
    Workload,
    /// The runtime prepared the namespace; no workload was seen to start.
    Setup,
    /// The runtime prepared the namespace for a workload, which is another subject.
    HandedOver,
    /// Calls are a program's that entered the namespace.
    Entered,
}

/// What a recording may lack, or where its two ways of counting disagree. All zero: nothing was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Runs of the programs that the kernel skipped because another run on the same CPU was
    /// interrupted (`bpf_prog_info.recursion_misses`).
    pub skipped_runs: u64,
    /// Subjects for which there was no room.
    pub subjects_full: u64,
    /// Mount namespaces for which there was no room.
    pub namespaces_full: u64,
    /// Calls that could not be tied to a subject.
    pub unresolved: u64,
    /// Numbers without a name for which there was no room.
    pub unnamed_full: u64,
    /// Events that did not fit into the ring buffer. Sets are complete all the same.
    pub events_full: u64,
    /// Calls in a set of which no event told, beyond those that `events_full` explains.
    pub events_missing: u64,
    /// Calls of which an event told, and that their set lacked. They were added to it.
    pub sets_missing: u64,
    /// Audit records that never came, or could not be read.
    pub records_missing: u64,
    /// Runs that the kernel skipped of the program that sees capabilities. Sets of calls are complete all the same.
    pub skipped_checks: u64,
}

impl Losses {
    /// How much the sets may lack. Lost events do not count, as sets do not need them, and neither do checks
    /// of capabilities.
    pub fn lost(&self) -> u64 {
        let Self {
            skipped_runs,
            subjects_full,
            namespaces_full,
            unresolved,
            unnamed_full,
            events_full: _,
            events_missing: _,
            sets_missing,
            records_missing,
            skipped_checks: _,
        } = *self;
        skipped_runs
            + subjects_full
            + namespaces_full
            + unresolved
            + unnamed_full
            + sets_missing
            + records_missing
    }

    /// Every counter with its name.
    pub fn named(&self) -> [(&'static str, u64); 10] {
        let Self {
            skipped_runs,
            subjects_full,
            namespaces_full,
            unresolved,
            unnamed_full,
            events_full,
            events_missing,
            sets_missing,
            records_missing,
            skipped_checks,
        } = *self;
        [
            ("skipped-runs", skipped_runs),
            ("subjects-full", subjects_full),
            ("namespaces-full", namespaces_full),
            ("unresolved", unresolved),
            ("unnamed-full", unnamed_full),
            ("sets-missing", sets_missing),
            ("records-missing", records_missing),
            ("events-full", events_full),
            ("events-missing", events_missing),
            ("skipped-checks", skipped_checks),
        ]
    }

    /// What was lost since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    /// The most of both, by each counter.
    #[must_use]
    pub fn most(&self, other: &Self) -> Self {
        self.with(other, u64::max)
    }

    /// The least of both, by each counter.
    #[must_use]
    pub fn least(&self, other: &Self) -> Self {
        self.with(other, u64::min)
    }

    fn with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let Self {
            skipped_runs,
            subjects_full,
            namespaces_full,
            unresolved,
            unnamed_full,
            events_full,
            events_missing,
            sets_missing,
            records_missing,
            skipped_checks,
        } = *self;
        Self {
            skipped_runs: combine(skipped_runs, other.skipped_runs),
            subjects_full: combine(subjects_full, other.subjects_full),
            namespaces_full: combine(namespaces_full, other.namespaces_full),
            unresolved: combine(unresolved, other.unresolved),
            unnamed_full: combine(unnamed_full, other.unnamed_full),
            events_full: combine(events_full, other.events_full),
            events_missing: combine(events_missing, other.events_missing),
            sets_missing: combine(sets_missing, other.sets_missing),
            records_missing: combine(records_missing, other.records_missing),
            skipped_checks: combine(skipped_checks, other.skipped_checks),
        }
    }
}
