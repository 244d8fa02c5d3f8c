//! Rules of all families but files.

use std::collections::BTreeSet;

use super::Content;
use super::conditions::{Part, Value, accesses, parts, word};
use super::parser::Parser;
use crate::profile::apparmor::check;
use crate::profile::apparmor::glob::Glob;
use crate::profile::apparmor::rules::{
    DbusRule, MountRule, NetworkRule, PtraceRule, SignalRule, UnixRule,
};
use crate::profile::apparmor::words::{
    CAPABILITIES, DBUS_ACCESS, FAMILIES, MOUNT_OPERATIONS, MOUNT_OPTIONS, PTRACE_ACCESS,
    SIGNAL_ACCESS, SIGNALS, SOCKET_TYPES, UNIX_ACCESS, UNIX_TYPES, Word, find,
};
use crate::profile::diagnostic::quoted;
use crate::profile::tree::Place;

/// Rules that are read over, and what they are about.
const UNPLACED: &[(&str, &str)] = &[
    ("all", "a rule for everything"),
    ("change_profile", "a change to another profile"),
    ("io_uring", "a rule for io_uring"),
    ("mqueue", "a rule for message queues"),
    ("set", "a limit of resources"),
    ("userns", "a rule for user namespaces"),
];

/// Whether a word begins a rule of one of these families.
pub(super) fn is_family(word: &str) -> bool {
    matches!(
        word,
        "capability" | "network" | "signal" | "ptrace" | "unix" | "dbus"
    ) || find(MOUNT_OPERATIONS, word).is_some()
        || UNPLACED.iter().any(|(known, _)| *known == word)
}

/// Reads a rule behind its first word, up to its comma.
pub(super) fn rule(parser: &mut Parser<'_, '_>, family: &str, place: Place) -> Option<Content> {
    let parts = parts(parser)?;
    if let Some((_, what)) = UNPLACED.iter().find(|(known, _)| *known == family) {
        return Some(Content::Unplaced((*what).to_owned()));
    }
    let mut rule = Parts::sort(parser, family, parts)?;
    let content = match family {
        "capability" => capability(parser, &rule),
        "network" => network(parser, &rule, place),
        "signal" => signal(parser, &mut rule),
        "ptrace" => ptrace(parser, &mut rule),
        "unix" => unix(parser, &mut rule),
        "dbus" => dbus(parser, &mut rule),
        _ => mount(parser, &mut rule, find(MOUNT_OPERATIONS, family)?),
    }?;
    Some(match rule.unplaced {
        Some(what) => Content::Unplaced(what),
        None => content,
    })
}

/// A condition: key, whether it says `in`, values, values with keys.
type Condition<'a> = (Value<'a>, bool, Vec<Value<'a>>, Vec<(Value<'a>, Value<'a>)>);

/// The parts of a rule by what they are.
struct Parts<'a> {
    words: Vec<Value<'a>>,
    /// Words behind `->`.
    targets: Vec<Value<'a>>,
    conditions: Vec<Condition<'a>>,
    /// Why the rule has no place in an object.
    unplaced: Option<String>,
}

impl<'a> Parts<'a> {
    /// An unknown key is an error.
    fn sort(parser: &mut Parser<'a, '_>, family: &str, parts: Vec<Part<'a>>) -> Option<Self> {
        let known: &[&str] = match family {
            "signal" => &["set", "peer"],
            "ptrace" => &["peer"],
            "unix" => &["type", "protocol", "addr", "label", "attr", "opt", "peer"],
            "dbus" => &[
                "bus",
                "path",
                "interface",
                "member",
                "name",
                "label",
                "peer",
            ],
            "pivot_root" => &["oldroot"],
            "mount" | "remount" | "umount" => &["fstype", "vfstype", "options", "option"],
            _ => &[],
        };
        let mut sorted = Self {
            words: Vec::new(),
            targets: Vec::new(),
            conditions: Vec::new(),
            unplaced: None,
        };
        let mut arrow = false;
        let mut good = true;
        for part in parts {
            match part {
                Part::Word(value) if arrow => sorted.targets.push(value),
                Part::Word(value) => sorted.words.push(value),
                Part::Arrow => arrow = true,
                Part::Condition {
                    key,
                    within,
                    values,
                    inner,
                } => {
                    if !known.contains(&key.0) {
                        good = false;
                        let message =
                            format!("{} is no condition of a {family} rule", quoted(key.0));
                        let help =
                            (!known.is_empty()).then(|| format!("known are {}", known.join(", ")));
                        parser.error(key.1, message, help.as_deref());
                    }
                    sorted.conditions.push((key, within, values, inner));
                }
            }
        }
        let is_mount = find(MOUNT_OPERATIONS, family).is_some();
        if arrow && !is_mount {
            let message = format!("a {family} rule has no `->`");
            let place = sorted
                .targets
                .first()
                .map_or_else(|| parser.here(), |(_, place)| *place);
            parser.error(place, message, None);
            good = false;
        }
        good.then_some(sorted)
    }

    /// The one value of a condition. Several have no place.
    fn one(&mut self, parser: &mut Parser<'_, '_>, key: &str) -> Option<String> {
        let mut found = None;
        for (name, _, values, _) in &self.conditions {
            if name.0 != key {
                continue;
            }
            match values.as_slice() {
                [value] if found.is_none() => found = Some(*value),
                _ => self.unplaced = Some(format!("`{key}` with several values")),
            }
        }
        Some(pattern(parser, found?))
    }

    /// A value of `peer=(key=value)`; what stands there without a key is for `bare`.
    fn peer(&mut self, parser: &mut Parser<'_, '_>, key: &str) -> Option<String> {
        let mut found = None;
        for (name, _, values, inner) in &self.conditions {
            if name.0 != "peer" {
                continue;
            }
            if !values.is_empty() {
                self.unplaced = Some("a peer that is no list of conditions".to_owned());
            }
            for (inner_key, value) in inner {
                if inner_key.0 == key {
                    found = Some(*value);
                }
            }
        }
        Some(pattern(parser, found?))
    }

    /// Notes that the rule has no place if it has one of these conditions.
    fn no_place_for(&mut self, keys: &[&str]) {
        for ((key, _), ..) in &self.conditions {
            if keys.contains(key) {
                self.unplaced = Some(format!("the condition `{key}`"));
            }
        }
    }
}

fn pattern(parser: &mut Parser<'_, '_>, (text, place): Value<'_>) -> String {
    // The address of a unix socket may have a brace behind its `@`.
    if let Err(malformed) = Glob::new(
        text.strip_prefix('@')
            .filter(|rest| !rest.starts_with('{'))
            .unwrap_or(text),
    ) {
        let message = format!("{} is no pattern: {}", quoted(text), malformed.0);
        parser.error(place, message, None);
    }
    text.to_owned()
}

fn capability(parser: &mut Parser<'_, '_>, rule: &Parts<'_>) -> Option<Content> {
    if rule.words.is_empty() {
        return Some(Content::Capability(CAPABILITIES.to_vec()));
    }
    let mut found = Vec::new();
    let mut good = true;
    for (text, place) in &rule.words {
        match check::capability(text) {
            Ok(word) => found.push(word),
            Err(refusal) => {
                good = false;
                parser.error(*place, refusal.message, refusal.help.as_deref());
            }
        }
    }
    good.then_some(Content::Capability(found))
}

fn network(parser: &mut Parser<'_, '_>, rule: &Parts<'_>, place: Place) -> Option<Content> {
    let mut network = NetworkRule::default();
    for value in &rule.words {
        if let (Some(family), None, None) = (find(FAMILIES, value.0), network.family, network.kind)
        {
            network.family = Some(family);
        } else if network.kind.is_none() {
            network.kind = Some(word(
                parser,
                *value,
                SOCKET_TYPES,
                "family or type of sockets",
            )?);
        } else {
            let message = format!("{} is one word too many", quoted(value.0));
            parser.error(value.1, message, Some("is a `,` missing before it?"));
            return None;
        }
    }
    for (_, refusal) in network.check() {
        parser.error(place, refusal.message, refusal.help.as_deref());
    }
    Some(Content::Network(network))
}

fn signal(parser: &mut Parser<'_, '_>, rule: &mut Parts<'_>) -> Option<Content> {
    let short: &[(&str, &[Word])] = &[
        ("r", &["receive"]),
        ("read", &["receive"]),
        ("w", &["send"]),
        ("write", &["send"]),
        ("rw", &["receive", "send"]),
    ];
    let access = accesses(
        parser,
        &rule.words,
        SIGNAL_ACCESS,
        short,
        "access of a signal rule",
    );
    let sets: Vec<_> = rule
        .conditions
        .iter()
        .filter(|(key, ..)| key.0 == "set")
        .flat_map(|(_, _, values, _)| values)
        .copied()
        .collect();
    let signals = accesses(parser, &sets, SIGNALS, &[], "signal");
    Some(Content::Signal(SignalRule {
        access: access?,
        signals: signals?,
        peer: rule.one(parser, "peer"),
    }))
}

fn ptrace(parser: &mut Parser<'_, '_>, rule: &mut Parts<'_>) -> Option<Content> {
    let short: &[(&str, &[Word])] = &[
        ("r", &["read"]),
        ("w", &["trace"]),
        ("rw", &["read", "trace"]),
    ];
    let access = accesses(
        parser,
        &rule.words,
        PTRACE_ACCESS,
        short,
        "access of a ptrace rule",
    )?;
    Some(Content::Ptrace(PtraceRule {
        access,
        peer: rule.one(parser, "peer"),
    }))
}

fn unix(parser: &mut Parser<'_, '_>, rule: &mut Parts<'_>) -> Option<Content> {
    let short: &[(&str, &[Word])] = &[
        ("r", &["receive"]),
        ("w", &["send"]),
        ("rw", &["receive", "send"]),
    ];
    let access = accesses(
        parser,
        &rule.words,
        UNIX_ACCESS,
        short,
        "access of a unix rule",
    );
    rule.no_place_for(&["protocol", "label", "attr", "opt"]);
    let types: Vec<Value<'_>> = rule
        .conditions
        .iter()
        .filter(|(key, ..)| key.0 == "type")
        .flat_map(|(_, _, values, _)| values.clone())
        .collect();
    let mut kinds = BTreeSet::new();
    for value in types {
        kinds.insert(word(parser, value, UNIX_TYPES, "type of unix sockets")?);
    }
    if kinds.len() > 1 {
        rule.unplaced = Some("`type` with several values".to_owned());
    }
    Some(Content::Unix(UnixRule {
        access: access?,
        kind: kinds.into_iter().next(),
        address: rule.one(parser, "addr"),
        peer_address: rule.peer(parser, "addr"),
        peer: rule.peer(parser, "label"),
    }))
}

fn dbus(parser: &mut Parser<'_, '_>, rule: &mut Parts<'_>) -> Option<Content> {
    let short: &[(&str, &[Word])] = &[
        ("r", &["receive"]),
        ("read", &["receive"]),
        ("w", &["send"]),
        ("write", &["send"]),
        ("rw", &["receive", "send"]),
    ];
    let access = accesses(
        parser,
        &rule.words,
        DBUS_ACCESS,
        short,
        "access of a dbus rule",
    )?;
    rule.no_place_for(&["label"]);
    Some(Content::Dbus(DbusRule {
        access,
        bus: rule.one(parser, "bus"),
        path: rule.one(parser, "path"),
        interface: rule.one(parser, "interface"),
        member: rule.one(parser, "member"),
        name: rule.one(parser, "name"),
        peer_name: rule.peer(parser, "name"),
        peer: rule.peer(parser, "label"),
    }))
}

fn mount(parser: &mut Parser<'_, '_>, rule: &mut Parts<'_>, operation: Word) -> Option<Content> {
    let mut fstype = BTreeSet::new();
    let mut options = BTreeSet::new();
    let mut lists_of_options = 0;
    let mut good = true;
    for (key, within, values, _) in &rule.conditions {
        if *within {
            rule.unplaced = Some("a condition with `in`".to_owned());
        }
        for value in values {
            match key.0 {
                "fstype" | "vfstype" => {
                    fstype.insert(value.0.to_owned());
                }
                "options" | "option" => {
                    let text = value.0.strip_prefix("make-").unwrap_or(value.0);
                    match word(parser, (text, value.1), MOUNT_OPTIONS, "option of a mount") {
                        Some(word) => {
                            options.insert(word);
                        }
                        None => good = false,
                    }
                }
                _ => {}
            }
        }
        lists_of_options += usize::from(matches!(key.0, "options" | "option"));
    }
    if lists_of_options > 1 {
        rule.unplaced = Some("several lists of options".to_owned());
    }
    let mut source = rule.one(parser, "oldroot");
    let mut words = rule.words.iter();
    let mut target = None;
    if operation == "mount" {
        if let Some(word) = words.next() {
            source = Some(pattern(parser, *word));
        }
        if let Some(word) = rule.targets.first() {
            target = Some(pattern(parser, *word));
        }
    } else {
        if let Some(word) = words.next() {
            target = Some(pattern(parser, *word));
        }
        if let Some((_, place)) = rule.targets.first() {
            if operation == "pivot_root" {
                rule.unplaced = Some("a change to another profile".to_owned());
            } else {
                parser.error(*place, format!("a {operation} rule has no `->`"), None);
            }
        }
    }
    if let Some((word, place)) = rule.words.get(1).or(rule.targets.get(1)) {
        let message = format!("{} is one word too many", quoted(word));
        parser.error(*place, message, Some("is a `,` missing before it?"));
    }
    good.then_some(Content::Mount(MountRule {
        operation,
        fstype,
        options,
        source,
        target,
    }))
}
