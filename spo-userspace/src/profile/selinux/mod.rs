//! SELinux profiles: what a process may do with objects of which type.
//!
//! A [`SelinuxProfile`] is a list of what is allowed. A [`RawSelinuxProfile`] is text in CIL, the
//! language that both become: [`write_cil`] and [`write_raw_cil`] make it, [`read_cil`] reads it.

mod cil;
mod cil_lint;
mod classes;
mod diff;
mod lint;
mod merge;
mod names;
mod of_cil;
mod raw;
mod read;
mod restrict;
mod risk;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::cil::{Item, Tree, read_cil, read_cil_and_lint};
pub use self::diff::{Access, Changed, Diff, diff};
pub use self::lint::LINTS;
pub use self::merge::{complain, enforce, merge, merge_as};
pub use self::of_cil::{NoProfile, as_text, of_cil, of_raw};
pub(crate) use self::raw::read_raw_parsed;
pub use self::raw::{
    RawSelinuxSpec, check_raw_restrictions, read_raw, read_raw_and_lint, write_raw_cil,
    write_raw_object,
};
pub(crate) use self::read::read_parsed;
pub use self::read::{read, read_and_lint};
pub use self::restrict::{Finding, Options, Refused, check_inherits, check_restrictions};
pub use self::risk::reason;
pub use self::write::{write_cil, write_object};
use super::named::named;
use super::object::{Kind, Object};
use super::state::State;

/// The kind of the objects with a list of what is allowed.
pub const KIND: Kind = Kind {
    name: "SelinuxProfile",
    one: "SELinux profile",
    older: &["v1alpha2"],
};
/// The kind of the objects with a text in CIL.
pub const RAW_KIND: Kind = Kind {
    name: "RawSelinuxProfile",
    one: "raw SELinux profile",
    older: &["v1alpha2"],
};
/// The block that gives a profile its type `process`, unless the profile inherits another profile.
pub const CONTAINER: &str = "container";
/// The target that stands for the profile's own processes.
pub const SELF: &str = "@self";

/// The Kubernetes object with a list of what is allowed.
pub type SelinuxProfile = Object<SelinuxSpec>;
/// The Kubernetes object with a text in CIL.
pub type RawSelinuxProfile = Object<RawSelinuxSpec>;
/// What is allowed: by type (or [`SELF`]) and class, permissions in the order of the file.
pub type Allow = BTreeMap<String, BTreeMap<String, Vec<String>>>;

named! {
    /// Whether the kernel enforces a profile.
    Mode, "a mode" {
        /// It denies what is not allowed.
        Enforcing = "Enforcing",
        /// It only logs that.
        Permissive = "Permissive",
    }
}

named! {
    /// Where an inherited block comes from.
    InheritKind, "a kind to inherit" {
        /// The node's own policy.
        System = "System",
        /// Another profile.
        SelinuxProfile = "SelinuxProfile",
    }
}

/// A block whose rules a profile takes over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Inherit {
    /// Where it comes from.
    pub kind: InheritKind,
    /// Its name.
    pub name: String,
}

impl Inherit {
    /// A block of the node's own policy.
    pub fn system(name: &str) -> Self {
        Self {
            kind: InheritKind::System,
            name: name.to_owned(),
        }
    }
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelinuxSpec {
    /// Whether the profile is to be installed.
    pub state: State,
    /// Whether it is enforced.
    pub mode: Mode,
    /// The blocks that it takes over.
    pub inherit: Vec<Inherit>,
    /// What it allows besides.
    pub allow: Allow,
}

impl Default for SelinuxSpec {
    /// What the API server makes of an empty `spec`.
    fn default() -> Self {
        Self {
            state: State::Enabled,
            mode: Mode::Enforcing,
            inherit: vec![Inherit::system(CONTAINER)],
            allow: Allow::new(),
        }
    }
}

impl SelinuxSpec {
    /// The blocks that the policy really inherits, each once. [`CONTAINER`] is always
    /// among them, unless another profile is, which brings it along.
    pub fn blocks(&self) -> BTreeSet<Inherit> {
        let container = Inherit::system(CONTAINER);
        let mut blocks: BTreeSet<Inherit> = self.inherit.iter().cloned().collect();
        if blocks
            .iter()
            .any(|one| one.kind == InheritKind::SelinuxProfile)
        {
            blocks.remove(&container);
        } else {
            blocks.insert(container);
        }
        blocks
    }
}

/// What a pod names as its SELinux type to run under a profile.
pub fn usage(name: &str) -> String {
    format!("{name}.process")
}
