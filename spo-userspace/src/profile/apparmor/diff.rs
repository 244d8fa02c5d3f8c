//! What one profile allows and another does not.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::access::Access;
use super::canon::{Canon, glob};
use super::index::Index;
use super::lint::BROAD_CAPABILITIES;
use super::model::{AppArmorSpec, Mode};
use super::rules::{FileRule, RuleSet};
use crate::profile::diagnostic::quoted;
use crate::profile::state::State;

/// The difference of two profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What the second allows and the first does not.
    pub more: Vec<Change>,
    /// What the first allows and the second does not.
    pub less: Vec<Change>,
}

impl Diff {
    /// Whether both allow the same.
    pub fn is_same(&self) -> bool {
        self.more.is_empty() && self.less.is_empty()
    }

    /// Whether the second allows something that the first does not.
    pub fn widens(&self) -> bool {
        !self.more.is_empty()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_same() {
            return writeln!(formatter, "no difference");
        }
        let sides = [("only B allows", &self.more), ("only A allows", &self.less)];
        for (title, changes) in sides {
            if !changes.is_empty() {
                writeln!(formatter, "{title}:")?;
            }
            for Change { words, risk, .. } in changes {
                write!(formatter, "  {words}")?;
                if let Some(risk) = risk {
                    write!(formatter, "; risk: {risk}")?;
                }
                writeln!(formatter)?;
            }
        }
        Ok(())
    }
}

/// Something that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// `profile`, `file`, `network`, `capability`, `rule` or `deny`.
    pub category: &'static str,
    /// What it is about: a path, a capability, or a rule as policy text.
    pub what: String,
    /// The change in words.
    pub words: String,
    /// Why it matters, where it matters much.
    pub risk: Option<&'static str>,
}

/// What `b` allows that `a` does not, and the other way round.
///
/// A path counts as allowed where a pattern of the other profile covers it, so that other words for
/// the same are no difference. A pattern with braces or classes is compared as text.
pub fn diff(a: &AppArmorSpec, b: &AppArmorSpec) -> Diff {
    let (a, b) = (Canon::new(a), Canon::new(b));
    let mut diff = Diff {
        more: beyond(&a, &b),
        less: beyond(&b, &a),
    };
    for (changes, side) in [(&mut diff.more, "B"), (&mut diff.less, "A")] {
        let switched = switched(&a, &b, side);
        changes.extend(switched);
        changes.sort();
    }
    diff
}

/// By which of the profile's own fields one side alone allows everything.
fn switched(a: &Canon, b: &Canon, side: &str) -> Vec<Change> {
    let (from, to) = if side == "B" { (a, b) } else { (b, a) };
    let change = |what: &str, words: String| Change {
        category: "profile",
        what: what.to_owned(),
        words,
        risk: Some("the profile protects nothing"),
    };
    let mut changes = Vec::new();
    if (from.mode, to.mode) == (Mode::Enforce, Mode::Complain) {
        let (a, b) = (a.mode, b.mode);
        let words =
            format!("the mode is {a} in A and {b} in B: {side} denies nothing, and only logs");
        changes.push(change("mode", words));
    }
    if (from.state, to.state) == (State::Enabled, State::Disabled) {
        let (a, b) = (a.state, b.state);
        let words = format!("the state is {a} in A and {b} in B: {side} is not installed");
        changes.push(change("state", words));
    }
    changes
}

/// What `to` allows and `from` does not.
fn beyond(from: &Canon, to: &Canon) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |category, what: String, words: String, risk| {
        changes.push(Change {
            category,
            what,
            words,
            risk,
        });
    };
    files(from, to, &mut add);
    let words = |kind: &str| format!("sockets of the type {kind} may be used");
    let (before, after) = (
        from.network.unwrap_or_default(),
        to.network.unwrap_or_default(),
    );
    if after.allow_raw && !before.allow_raw {
        let risk = Some("the process can read and forge packets");
        add("network", "raw".to_owned(), words("raw"), risk);
    } else if from.network.is_some_and(|network| !network.allow_raw) && to.network.is_none() {
        let words = "raw sockets are no longer denied, only not allowed".to_owned();
        add("deny", "network raw".to_owned(), words, None);
    }
    if after.allow_tcp && !before.allow_tcp {
        add("network", "tcp".to_owned(), words("tcp"), None);
    }
    if after.allow_udp && !before.allow_udp {
        add("network", "udp".to_owned(), words("udp"), None);
    }
    for word in to.capabilities.difference(&from.capabilities) {
        let risk = BROAD_CAPABILITIES.iter().find(|(broad, _)| broad == word);
        let words = format!("the capability {word} may be used");
        add(
            "capability",
            (*word).to_owned(),
            words,
            risk.map(|(_, able)| *able),
        );
    }
    for rule in missing(&to.allow, &from.allow, false) {
        let words = format!("the rule {} allows more", quoted(&rule));
        add("rule", rule, words, None);
    }
    for rule in missing(&from.deny, &to.deny, true) {
        let words = format!("the rule {} is gone", quoted(&format!("deny {rule}")));
        add("deny", rule, words, None);
    }
    changes
}

fn missing(all: &RuleSet, known: &RuleSet, denied: bool) -> Vec<String> {
    let known: BTreeSet<String> = known.texts(denied).into_iter().collect();
    let mut texts = all.texts(denied);
    texts.retain(|rule| !known.contains(rule));
    texts
}

fn files(
    from: &Canon,
    to: &Canon,
    add: &mut impl FnMut(&'static str, String, String, Option<&'static str>),
) {
    let [for_all, for_owner] = [false, true].map(|owner| {
        let mut index = Index::default();
        for ((path, _), access) in from.grants.iter().filter(|((_, of), _)| *of == owner) {
            if let Some(glob) = glob(path) {
                index.add(path, glob, *access);
            }
        }
        index
    });
    for owner in [false, true] {
        for ((path, _), access) in to.grants.iter().filter(|((_, of), _)| *of == owner) {
            let Some(glob) = glob(path) else {
                continue;
            };
            let mut known = for_all.containing(path, &glob);
            if owner {
                known = known.or(for_owner.containing(path, &glob));
            }
            let more = access.without(known);
            if more.is_none() {
                continue;
            }
            let whose = if owner {
                ", if the process's user owns it"
            } else {
                ""
            };
            let risk = (more.has(Access::WRITE) && super::lint::is_everything(path))
                .then_some("the process can replace programs and configuration");
            let words = format!("{} may be used to {}{whose}", quoted(path), listed(more));
            add("file", path.clone(), words, risk);
        }
    }
    let index = to.index();
    for (paths, others, denied, words) in [
        (
            &from.kept_unchanged,
            &to.kept_unchanged,
            Access::CHANGE,
            "changed",
        ),
        (&from.kept_unread, &to.kept_unread, Access::READ, "read"),
    ] {
        for path in paths.difference(others) {
            let reached =
                glob(path).is_some_and(|glob| !index.overlapping(&glob).and(denied).is_none());
            if reached {
                let words = format!("{} is no longer kept from being {words}", quoted(path));
                add("deny", path.clone(), words, None);
            }
        }
    }
    for (path, denied) in &from.denies {
        let left = to.denies.get(path).copied().unwrap_or_default();
        let access = denied.without(left);
        if !access.is_none() {
            let rule = FileRule {
                path: path.clone(),
                access,
                owner: false,
            };
            let rule = rule.text(true);
            let words = format!("the rule {} is gone", quoted(&format!("deny {rule}")));
            add("deny", rule, words, None);
        }
    }
}

/// `read, write and lock`.
fn listed(access: Access) -> String {
    let words: Vec<&str> = access.words().collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
