//! AppArmor profiles: which files, sockets and capabilities a process may use.
//!
//! Two formats carry the same model: the Kubernetes object `AppArmorProfile` ([`read()`],
//! [`write_object`]), and policy text, which the kernel's own parser compiles ([`read_text`],
//! [`to_abstract`], [`write_text`]). Text can say more than an object; what has no place is told.

mod access;
mod canon;
mod check;
mod diff;
pub mod generalise;
mod glob;
mod index;
mod lint;
mod merge;
mod model;
mod read;
mod read_rules;
mod rules;
mod text;
pub mod words;
mod write;

pub use self::access::Access;
pub use self::diff::{Change, Diff, diff};
pub use self::generalise::generalise;
pub use self::lint::LINTS;
pub use self::merge::{Merged, Note, merge};
pub use self::model::{
    Abstract, AppArmorProfile, AppArmorSpec, Capabilities, Executable, Filesystem, Mode, Network,
    complain, enforce,
};
pub(crate) use self::read::read_parsed;
pub use self::read::{Document, read, read_and_lint};
pub use self::rules::{
    DbusRule, FileRule, MountRule, NetworkRule, PtraceRule, RuleSet, Rules, SignalRule, UnixRule,
};
pub use self::text::{
    TextProfile, WriteError, as_text, read_text, read_texts, to_abstract, write_text,
};
pub use self::write::{ObjectError, write_object};
use super::object::Kind;

/// The kind of the objects.
pub const KIND: Kind = Kind {
    name: "AppArmorProfile",
    one: "AppArmor profile",
    older: &["v1alpha1"],
};
