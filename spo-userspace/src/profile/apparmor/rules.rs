//! Rules for which the fields of the reference have no place: the field `rules` of an abstract.
//!
//! Each family of rules is a type with few, checked fields. No text of a profile becomes policy
//! text as it is.

use std::collections::BTreeSet;

use serde::Serialize;

use super::access::Access;
use super::words::Word;

/// `rules`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// What is allowed besides.
    #[serde(skip_serializing_if = "RuleSet::is_empty")]
    pub allow: RuleSet,
    /// What is denied, even where something else allows it. Not in complain mode, as the kernel
    /// enforces such rules there as well.
    #[serde(skip_serializing_if = "RuleSet::is_empty")]
    pub deny: RuleSet,
}

/// Rules of all families. In a rule, what is left out means: any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleSet {
    /// Files.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub file: BTreeSet<FileRule>,
    /// Capabilities. Only for [`Rules::deny`]; those that are allowed have a field of their own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub capability: BTreeSet<Word>,
    /// Sockets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub network: BTreeSet<NetworkRule>,
    /// Signals.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub signal: BTreeSet<SignalRule>,
    /// Tracing.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ptrace: BTreeSet<PtraceRule>,
    /// Mounts.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub mount: BTreeSet<MountRule>,
    /// Unix sockets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unix: BTreeSet<UnixRule>,
    /// D-Bus.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dbus: BTreeSet<DbusRule>,
}

/// Access to files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRule {
    /// A pattern that begins with `/` or with a variable.
    pub path: String,
    /// At least one.
    pub access: Access,
    /// Only files that belong to the process's user. Not in [`Rules::deny`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub owner: bool,
}

/// Use of sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NetworkRule {
    /// One of [`FAMILIES`](super::words::FAMILIES).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Word>,
    /// One of [`SOCKET_TYPES`](super::words::SOCKET_TYPES).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
}

/// Signals from and to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SignalRule {
    /// Of [`SIGNAL_ACCESS`](super::words::SIGNAL_ACCESS).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub access: BTreeSet<Word>,
    /// Of [`SIGNALS`](super::words::SIGNALS).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub signals: BTreeSet<Word>,
    /// A pattern for the other side's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Tracing of and by others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PtraceRule {
    /// Of [`PTRACE_ACCESS`](super::words::PTRACE_ACCESS).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub access: BTreeSet<Word>,
    /// A pattern for the other side's profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Mounts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MountRule {
    /// One of [`MOUNT_OPERATIONS`](super::words::MOUNT_OPERATIONS).
    pub operation: Word,
    /// Types of file systems. Not with `pivot_root`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fstype: BTreeSet<String>,
    /// Of [`MOUNT_OPTIONS`](super::words::MOUNT_OPTIONS). Not with `pivot_root`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub options: BTreeSet<Word>,
    /// What is mounted; with `pivot_root`, where the old root goes. Only with these two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The mount point; with `pivot_root`, the new root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Use of unix sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnixRule {
    /// Of [`UNIX_ACCESS`](super::words::UNIX_ACCESS).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub access: BTreeSet<Word>,
    /// One of [`UNIX_TYPES`](super::words::UNIX_TYPES).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// The own address: `none`, or a pattern that begins with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The other side's address. Only for access that has another side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// A pattern for the other side's profile. Only for access that has another side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// Use of D-Bus: messages, or the owning of a name, or eavesdropping.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DbusRule {
    /// Of [`DBUS_ACCESS`](super::words::DBUS_ACCESS).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub access: BTreeSet<Word>,
    /// The bus: `system`, `session` or another's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The object's path. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The name to own. Not with messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The other side's name on the bus. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_name: Option<String>,
    /// A pattern for the other side's profile. Messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

impl Rules {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RuleSet {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rules as policy text without qualifier and comma, by family.
    pub(super) fn texts(&self, denied: bool) -> Vec<String> {
        let Self {
            file,
            capability,
            network,
            signal,
            ptrace,
            mount,
            unix,
            dbus,
        } = self;
        let mut texts: Vec<String> = file.iter().map(|rule| rule.text(denied)).collect();
        texts.extend(capability.iter().map(|word| format!("capability {word}")));
        texts.extend(network.iter().map(NetworkRule::text));
        texts.extend(signal.iter().map(SignalRule::text));
        texts.extend(ptrace.iter().map(PtraceRule::text));
        texts.extend(mount.iter().map(MountRule::text));
        texts.extend(unix.iter().map(UnixRule::text));
        texts.extend(dbus.iter().map(DbusRule::text));
        texts
    }
}

impl FileRule {
    pub(super) fn text(&self, denied: bool) -> String {
        let Self {
            path,
            access,
            owner,
        } = self;
        let owner = if *owner { "owner " } else { "" };
        format!("{owner}{} {}", path_text(path), access.letters(denied))
    }
}

impl NetworkRule {
    pub(super) fn text(&self) -> String {
        let Self { family, kind } = self;
        let mut text = "network".to_owned();
        for word in family.iter().chain(kind) {
            text.push(' ');
            text.push_str(word);
        }
        text
    }
}

impl SignalRule {
    pub(super) fn text(&self) -> String {
        let Self {
            access,
            signals,
            peer,
        } = self;
        let mut text = format!("signal{}", list(" ", access));
        text.push_str(&list(" set=", signals));
        text.push_str(&condition("peer", peer.as_deref()));
        text
    }
}

impl PtraceRule {
    pub(super) fn text(&self) -> String {
        let Self { access, peer } = self;
        let peer = condition("peer", peer.as_deref());
        format!("ptrace{}{peer}", list(" ", access))
    }
}

impl MountRule {
    pub(super) fn text(&self) -> String {
        let Self {
            operation,
            fstype,
            options,
            source,
            target,
        } = self;
        let mut text = (*operation).to_owned();
        text.push_str(&list(" fstype=", fstype));
        text.push_str(&list(" options=", options));
        if *operation == "pivot_root" {
            text.push_str(&condition("oldroot", source.as_deref()));
        } else if let Some(source) = source {
            text.extend([" ", &quote(source)]);
        }
        if let Some(target) = target {
            let arrow = if *operation == "mount" { " ->" } else { "" };
            text.extend([arrow, " ", &quote(target)]);
        }
        text
    }
}

impl UnixRule {
    pub(super) fn text(&self) -> String {
        let Self {
            access,
            kind,
            address,
            peer_address,
            peer,
        } = self;
        let mut text = format!("unix{}", list(" ", access));
        if let Some(kind) = kind {
            text.extend([" type=", kind]);
        }
        text.push_str(&condition("addr", address.as_deref()));
        text.push_str(&peers([("addr", peer_address), ("label", peer)]));
        text
    }
}

impl DbusRule {
    pub(super) fn text(&self) -> String {
        let Self {
            access,
            bus,
            path,
            interface,
            member,
            name,
            peer_name,
            peer,
        } = self;
        let mut text = format!("dbus{}", list(" ", access));
        for (key, value) in [
            ("bus", bus),
            ("path", path),
            ("interface", interface),
            ("member", member),
            ("name", name),
        ] {
            text.push_str(&condition(key, value.as_deref()));
        }
        text.push_str(&peers([("name", peer_name), ("label", peer)]));
        text
    }
}

/// A path, in quotes only where it needs them.
pub(super) fn path_text(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./*?+@{}-".contains(&byte);
    if path.bytes().all(plain) {
        path.to_owned()
    } else {
        quote(path)
    }
}

fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

fn condition(key: &str, value: Option<&str>) -> String {
    value
        .map(|value| format!(" {key}={}", quote(value)))
        .unwrap_or_default()
}

fn list<T: AsRef<str>>(before: &str, words: &BTreeSet<T>) -> String {
    if words.is_empty() {
        return String::new();
    }
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    format!("{before}({})", words.join(", "))
}

fn peers(conditions: [(&str, &Option<String>); 2]) -> String {
    let inside: Vec<String> = conditions
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", quote(value.as_deref()?))))
        .collect();
    if inside.is_empty() {
        return String::new();
    }
    format!(" peer=({})", inside.join(", "))
}
