//! Policy text: a profile as `apparmor_parser` reads it.
//!
//! Includes are not followed, and variables keep their names.

mod conditions;
mod file;
mod form;
mod lexer;
mod lint;
mod parser;
mod profile;
mod read;
mod rule;
mod rules;
mod write;

pub use self::form::{as_text, to_abstract};
pub use self::read::{read_text, read_texts};
pub use self::write::{WriteError, write_text};
use super::model::Mode;
use super::rules::{DbusRule, FileRule, MountRule, NetworkRule, PtraceRule, SignalRule, UnixRule};
use super::words::Word;
use crate::profile::tree::Place;

/// A profile of policy text.
#[derive(Clone, Debug)]
pub struct TextProfile {
    file: String,
    name: String,
    /// Where the name stands.
    place: Place,
    mode: Mode,
    /// What stands in front of the profile or in its head, and has no place in an object.
    unplaced: Vec<(Place, String)>,
    /// The names of what is included, in front of the profile and in it.
    includes: Vec<(Place, String)>,
    rules: Vec<Rule>,
    children: Vec<TextProfile>,
}

impl TextProfile {
    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens to what it does not allow.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What it includes, as it is written: `tunables/global`, or an absolute path.
    pub fn includes(&self) -> impl Iterator<Item = &str> {
        self.includes.iter().map(|(_, name)| name.as_str())
    }

    /// The profiles inside, hats among them.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// How many rules it has, those of the profiles inside not counted.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }
}

#[derive(Clone, Debug)]
struct Rule {
    place: Place,
    audited: bool,
    denied: bool,
    /// It denies only once the profile is enforced.
    deferred: bool,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(FileRule),
    Capability(Vec<Word>),
    Network(NetworkRule),
    Signal(SignalRule),
    Ptrace(PtraceRule),
    Mount(MountRule),
    Unix(UnixRule),
    Dbus(DbusRule),
    /// A rule that objects have no place for, and what it is about.
    Unplaced(String),
}
