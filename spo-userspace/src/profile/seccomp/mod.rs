//! Seccomp profiles: which system calls a process may make.
//!
//! Two formats carry the same model: the Kubernetes object `SeccompProfile`, and the JSON that
//! OCI runtimes read. [`read()`] takes either, [`write_object`] and [`write_raw`] make them. It
//! also takes the JSON of container engines, of which [`resolve()`] makes a profile for one machine.

mod bases;
mod cells;
mod complain;
mod diff;
mod enforced;
mod engine;
mod engine_read;
mod errno;
mod express;
mod lint;
mod merge;
mod multiplexed;
mod names;
mod places;
mod program;
mod read;
mod restrict;
mod spec;
mod verdict;
mod ways;
mod write;

pub use self::bases::{BaseError, MOST_BASES, resolve_base};
pub use self::complain::{COMPLAIN_OF, complain, complain_object, enforce, enforce_object};
pub use self::diff::{CallDifference, Change, Difference, FieldDifference, Sides, diff};
pub use self::enforced::{Comparison, Deviation, InForce, compare};
pub use self::engine::{
    ArchMapEntry, Conditions, EngineProfile, EngineRule, KernelVersion, Machine, resolve,
};
pub use self::lint::LINTS;
pub use self::merge::{MergeError, Merged, Note, merge};
pub use self::names::{Action, Architecture, Flag, Operator};
pub use self::program::{BadProgram, Program, Seen, decode};
pub(crate) use self::read::read_parsed;
pub use self::read::{read, read_and_lint};
pub use self::restrict::Restrictions;
pub use self::verdict::{Arguments, Verdict, verdict};
pub use self::write::{WriteError, write_object, write_raw};
use super::arch::Arch;
use super::named::Named as _;
use super::object::{Kind, Object};
use super::state::State;

/// The kind of the objects.
pub const KIND: Kind = Kind {
    name: "SeccompProfile",
    one: "seccomp profile",
    older: &["v1beta1", "v1alpha1"],
};
/// The largest index of an argument.
pub const LAST_ARGUMENT: u32 = 5;
/// The largest error number that libseccomp, and so every runtime, lets a call fail with.
pub const LARGEST_ERRNO: u32 = 4094;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A Kubernetes object.
    Object(SeccompProfile),
    /// What an OCI runtime reads.
    Raw(SeccompSpec),
    /// What a container engine reads.
    Engine(EngineProfile),
}

impl Document {
    /// The profile itself; none if it depends on the machine.
    pub fn spec(&self) -> Option<&SeccompSpec> {
        match self {
            Self::Object(object) => Some(&object.spec),
            Self::Raw(spec) => Some(spec),
            Self::Engine(_) => None,
        }
    }

    /// The profile as it is on a machine.
    pub fn into_spec(self, machine: &Machine) -> SeccompSpec {
        match self {
            Self::Object(object) => object.spec,
            Self::Raw(spec) => spec,
            Self::Engine(profile) => resolve(&profile, machine),
        }
    }
}

/// The Kubernetes object.
pub type SeccompProfile = Object<SeccompSpec>;

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompSpec {
    /// Whether the profile is to be installed. Objects only.
    pub state: State,
    /// The profile that this one adds to. Objects only.
    pub base_profile_name: Option<String>,
    /// What happens to calls without a rule.
    pub default_action: Action,
    /// The error number of [`SeccompSpec::default_action`]. Raw profiles only.
    pub default_errno_ret: Option<u32>,
    /// The architectures that the rules are for; none means the machine's own.
    pub architectures: Vec<Architecture>,
    /// The socket of the process that [`Action::Notify`] asks.
    pub listener_path: Option<String>,
    /// What that process is told besides.
    pub listener_metadata: Option<String>,
    /// How to load the filter.
    pub flags: Vec<Flag>,
    /// The rules.
    pub syscalls: Vec<SyscallRule>,
}

impl SeccompSpec {
    /// A profile without rules.
    pub fn new(default_action: Action) -> Self {
        Self {
            state: State::Enabled,
            base_profile_name: None,
            default_action,
            default_errno_ret: None,
            architectures: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            flags: Vec::new(),
            syscalls: Vec::new(),
        }
    }
}

/// What happens to some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallRule {
    /// The calls.
    pub names: Vec<String>,
    /// What happens to them.
    pub action: Action,
    /// The error number of [`Action::Errno`], or what [`Action::Trace`] tells the tracer.
    pub errno_ret: Option<u32>,
    /// The rule counts only for calls with such arguments.
    pub args: Vec<SyscallArg>,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyscallArg {
    /// Which argument, from 0.
    pub index: u32,
    /// The value to compare with; the mask of [`Operator::MaskedEqual`].
    pub value: u64,
    /// What [`Operator::MaskedEqual`] compares the masked argument with.
    pub value_two: u64,
    /// How to compare.
    pub op: Operator,
}

impl From<Arch> for Architecture {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64,
            Arch::X86 => Self::X86,
            Arch::X32 => Self::X32,
            Arch::Aarch64 => Self::Aarch64,
            Arch::Arm => Self::Arm,
            Arch::Riscv64 => Self::Riscv64,
            Arch::S390x => Self::S390x,
            Arch::Ppc64le => Self::Ppc64le,
        }
    }
}

impl Architecture {
    /// The architecture's table, where there is one.
    pub fn arch(self) -> Option<Arch> {
        Arch::from_scmp(self.name())
    }
}
