//! Reading the field `rules` of an abstract.

use std::collections::BTreeSet;

use super::access::Access;
use super::check::Refusals;
use super::read::{boolean, capabilities, section, tell, texts, twice};
use super::rules::{
    DbusRule, FileRule, MountRule, NetworkRule, PtraceRule, RuleSet, Rules, SignalRule, UnixRule,
};
use super::words::{self, Word};
use crate::profile::diagnostic::quoted;
use crate::profile::fields::{Fields, Problems};
use crate::profile::suggest::nearest;
use crate::profile::tree::{Node, Place};

pub(super) fn rules(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Rules {
    fields.refuse_unknown(&["allow", "deny"], problems);
    let mut set = |name, denied| {
        section(fields, name, problems)
            .map(|fields| rule_set(&fields, denied, problems))
            .unwrap_or_default()
    };
    Rules {
        allow: set("allow", false),
        deny: set("deny", true),
    }
}

fn rule_set(fields: &Fields<'_>, denied: bool, problems: &mut Problems<'_>) -> RuleSet {
    fields.refuse_unknown(
        &[
            "file",
            "capability",
            "network",
            "signal",
            "ptrace",
            "mount",
            "unix",
            "dbus",
        ],
        problems,
    );
    let capability = capabilities(fields, "capability", problems);
    if let (false, Some((word, place))) = (denied, capability.first()) {
        let help = "it belongs into `capability.allowedCapabilities`";
        let message = format!("the capability `{word}` stands in `rules.allow`");
        problems.error(*place, message, Some(help.to_owned()));
    }
    RuleSet {
        file: each(fields, "file", problems, |fields, problems| {
            file(fields, denied, problems)
        }),
        capability: capability.into_iter().map(|(word, _)| word).collect(),
        network: each(fields, "network", problems, |fields, problems| {
            Some(network(fields, problems))
        }),
        signal: each(fields, "signal", problems, |fields, problems| {
            Some(signal(fields, problems))
        }),
        ptrace: each(fields, "ptrace", problems, |fields, problems| {
            Some(ptrace(fields, problems))
        }),
        mount: each(fields, "mount", problems, mount),
        unix: each(fields, "unix", problems, |fields, problems| {
            Some(unix(fields, problems))
        }),
        dbus: each(fields, "dbus", problems, |fields, problems| {
            Some(dbus(fields, problems))
        }),
    }
}

/// The rules of one family.
fn each<T: Ord>(
    fields: &Fields<'_>,
    name: &str,
    problems: &mut Problems<'_>,
    mut rule: impl FnMut(&Fields<'_>, &mut Problems<'_>) -> Option<T>,
) -> BTreeSet<T> {
    let nodes = fields
        .get(name)
        .and_then(|node| problems.list(node, &format!("`{name}`")))
        .unwrap_or_default();
    nodes
        .iter()
        .filter_map(|node: &Node| {
            let fields = problems.fields(node, "a rule", Some(node.place))?;
            rule(&fields, problems)
        })
        .collect()
}

fn file(fields: &Fields<'_>, denied: bool, problems: &mut Problems<'_>) -> Option<FileRule> {
    fields.refuse_unknown(&["path", "access", "owner"], problems);
    let path = fields
        .require("path", problems)
        .and_then(|node| problems.free_text(node, "`path`"));
    let known = || Access::WORDS.iter().map(|(_, word, _)| *word);
    let mut access = Access::NONE;
    let told = texts(fields, "access", problems);
    let mut wrong = false;
    for (text, place) in &told {
        if let Some(one) = Access::from_word(text) {
            access = access.or(one);
        } else {
            wrong = true;
            unknown(
                problems,
                *place,
                text,
                "access",
                &known().collect::<Vec<_>>(),
            );
        }
    }
    let rule = FileRule {
        path: path?.to_owned(),
        access,
        owner: boolean(fields, "owner", problems),
    };
    let mut refusals = rule.check(denied);
    refusals.retain(|(field, _)| !wrong || *field != "access");
    report(fields, refusals, problems);
    Some(rule)
}

fn network(fields: &Fields<'_>, problems: &mut Problems<'_>) -> NetworkRule {
    fields.refuse_unknown(&["family", "type"], problems);
    let rule = NetworkRule {
        family: one_word(fields, "family", words::FAMILIES, problems),
        kind: one_word(fields, "type", words::SOCKET_TYPES, problems),
    };
    report(fields, rule.check(), problems);
    rule
}

fn signal(fields: &Fields<'_>, problems: &mut Problems<'_>) -> SignalRule {
    fields.refuse_unknown(&["access", "signals", "peer"], problems);
    let rule = SignalRule {
        access: many_words(fields, "access", words::SIGNAL_ACCESS, problems),
        signals: many_words(fields, "signals", words::SIGNALS, problems),
        peer: text(fields, "peer", problems),
    };
    report(fields, rule.check(), problems);
    rule
}

fn ptrace(fields: &Fields<'_>, problems: &mut Problems<'_>) -> PtraceRule {
    fields.refuse_unknown(&["access", "peer"], problems);
    let rule = PtraceRule {
        access: many_words(fields, "access", words::PTRACE_ACCESS, problems),
        peer: text(fields, "peer", problems),
    };
    report(fields, rule.check(), problems);
    rule
}

fn mount(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<MountRule> {
    fields.refuse_unknown(
        &["operation", "fstype", "options", "source", "target"],
        problems,
    );
    fields.require("operation", problems);
    let fstype = texts(fields, "fstype", problems)
        .into_iter()
        .map(|(text, _)| text.to_owned())
        .collect();
    let rule = MountRule {
        operation: one_word(fields, "operation", words::MOUNT_OPERATIONS, problems)?,
        fstype,
        options: many_words(fields, "options", words::MOUNT_OPTIONS, problems),
        source: text(fields, "source", problems),
        target: text(fields, "target", problems),
    };
    report(fields, rule.check(), problems);
    Some(rule)
}

fn unix(fields: &Fields<'_>, problems: &mut Problems<'_>) -> UnixRule {
    fields.refuse_unknown(
        &["access", "type", "address", "peerAddress", "peer"],
        problems,
    );
    let rule = UnixRule {
        access: many_words(fields, "access", words::UNIX_ACCESS, problems),
        kind: one_word(fields, "type", words::UNIX_TYPES, problems),
        address: text(fields, "address", problems),
        peer_address: text(fields, "peerAddress", problems),
        peer: text(fields, "peer", problems),
    };
    report(fields, rule.check(), problems);
    rule
}

fn dbus(fields: &Fields<'_>, problems: &mut Problems<'_>) -> DbusRule {
    fields.refuse_unknown(
        &[
            "access",
            "bus",
            "path",
            "interface",
            "member",
            "name",
            "peerName",
            "peer",
        ],
        problems,
    );
    let rule = DbusRule {
        access: many_words(fields, "access", words::DBUS_ACCESS, problems),
        bus: text(fields, "bus", problems),
        path: text(fields, "path", problems),
        interface: text(fields, "interface", problems),
        member: text(fields, "member", problems),
        name: text(fields, "name", problems),
        peer_name: text(fields, "peerName", problems),
        peer: text(fields, "peer", problems),
    };
    report(fields, rule.check(), problems);
    rule
}

fn report(fields: &Fields<'_>, refusals: Refusals, problems: &mut Problems<'_>) {
    for (field, refusal) in refusals {
        let place = fields.get(field).map_or(fields.place, |node| node.place);
        tell(problems, place, refusal);
    }
}

fn text(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) -> Option<String> {
    let node = fields.get(name)?;
    problems
        .free_text(node, &format!("`{name}`"))
        .map(str::to_owned)
}

fn one_word(
    fields: &Fields<'_>,
    name: &str,
    table: &'static [Word],
    problems: &mut Problems<'_>,
) -> Option<Word> {
    let node = fields.get(name)?;
    let text = problems.free_text(node, &format!("`{name}`"))?;
    let word = words::find(table, text);
    if word.is_none() {
        unknown(problems, node.place, text, name, table);
    }
    word
}

fn many_words(
    fields: &Fields<'_>,
    name: &str,
    table: &'static [Word],
    problems: &mut Problems<'_>,
) -> BTreeSet<Word> {
    let mut found = BTreeSet::new();
    for (text, place) in texts(fields, name, problems) {
        match words::find(table, text) {
            None => unknown(problems, place, text, name, table),
            Some(word) if !found.insert(word) => twice(problems, place, word),
            Some(_) => {}
        }
    }
    found
}

fn unknown(problems: &mut Problems<'_>, place: Place, text: &str, name: &str, table: &[Word]) {
    const MOST_LISTED: usize = 12;
    let help = match nearest(
        text.strip_prefix("SIG").unwrap_or(text),
        table.iter().copied(),
    ) {
        Some(word) => Some(format!("did you mean `{word}`?")),
        None if table.len() <= MOST_LISTED => Some(format!("known are {}", table.join(", "))),
        None => None,
    };
    let message = format!("{} is unknown in `{name}`", quoted(text));
    problems.error(place, message, help);
}
