//! What the parts of a profile may say, so that the policy text made of them means what it should,
//! and compiles.

use super::glob::Glob;
use super::model::AppArmorSpec;
use super::rules::{
    DbusRule, FileRule, MountRule, NetworkRule, PtraceRule, RuleSet, SignalRule, UnixRule,
};
use super::words::{self, CAPABILITIES, PROTOCOLS, PTRACE_ACCESS, UNIX_PEER_ACCESS, Word};
use crate::profile::diagnostic::quoted;
use crate::profile::suggest::nearest;

/// `PATH_MAX` of Linux.
const LONGEST: usize = 4096;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

fn refuse(message: String, help: &str) -> Refusal {
    Refusal {
        message,
        help: Some(help.to_owned()),
    }
}

/// A profile's name.
pub(super) fn name(name: &str) -> Result<(), Refusal> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(good) {
        return Ok(());
    }
    Err(refuse(
        format!("{} cannot be a profile's name", quoted(name)),
        "letters, digits, `_`, `.`, `/` and `-`",
    ))
}

/// A path of one of the reference's lists.
pub(super) fn listed_path(path: &str, executable: bool) -> Result<(), Refusal> {
    if hatch(path).is_some() {
        return Ok(());
    }
    if let Some(word) = hatch_word(path) {
        let help = match nearest(word, PTRACE_ACCESS.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known are {}", PTRACE_ACCESS.join(", ")),
        };
        let message = format!("{} is no access of a ptrace rule", quoted(word));
        return Err(refuse(message, &help));
    }
    if !path.starts_with('/') {
        return Err(refuse(
            format!("the path {} does not begin with `/`", quoted(path)),
            "AppArmor knows absolute paths only",
        ));
    }
    characters(
        path,
        "._/*?+@{} -",
        "letters, digits, blanks and any of `._/*?+@{}-`; `rules.allow.file` takes more",
    )?;
    if executable && path.contains("/../") {
        return Err(refuse(
            format!("the program {} goes back by `..`", quoted(path)),
            "write the path that it leads to: the kernel compares resolved paths",
        ));
    }
    pattern(path)
}

/// A pattern of [`super::Rules`].
pub(super) fn rule_pattern(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        let message = "the pattern is empty".to_owned();
        return Err(refuse(message, "leave the field out to mean any"));
    }
    characters(text, "._/*?+@{} -,[]^:~=%#!", "use `?` in its place")?;
    pattern(text)
}

/// A pattern for a path, of [`super::Rules`].
pub(super) fn rule_path(text: &str) -> Result<(), Refusal> {
    if !text.starts_with('/') && !text.starts_with("@{") {
        return Err(refuse(
            format!("the path {} does not begin with `/`", quoted(text)),
            "AppArmor knows absolute paths only; a variable may stand in front",
        ));
    }
    rule_pattern(text)
}

/// A capability, as the table has it.
pub(super) fn capability(text: &str) -> Result<Word, Refusal> {
    if let Some(word) = words::find(CAPABILITIES, text) {
        return Ok(word);
    }
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_prefix("cap_").unwrap_or(&lower);
    let message = format!("unknown capability {}", quoted(text));
    let help =
        nearest(short, CAPABILITIES.iter().copied()).map(|word| format!("did you mean `{word}`?"));
    Err(Refusal { message, help })
}

/// The access of a path that is a rule for ptrace: `ptrace (readby),` with or without a comment.
/// The reference lets such paths through, and its own profiles have them.
pub(super) fn hatch(path: &str) -> Option<Word> {
    words::find(PTRACE_ACCESS, hatch_word(path)?)
}

fn hatch_word(path: &str) -> Option<&str> {
    let (word, rest) = path.strip_prefix("ptrace (")?.split_once("),")?;
    let comment = rest.trim_start_matches(' ');
    let harmless = |char: char| !char.is_control();
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_comment = comment.is_empty() || comment.starts_with('#');
    (is_word && is_comment && comment.chars().all(harmless)).then_some(word)
}

fn characters(text: &str, others: &str, help: &str) -> Result<(), Refusal> {
    if text.len() > LONGEST {
        let message = format!("the pattern {} is longer than any path", quoted(text));
        return Err(refuse(message, "the limit is 4096 bytes"));
    }
    let bad = |char: &char| !char.is_ascii_alphanumeric() && !others.contains(*char);
    match text.chars().find(bad) {
        None => Ok(()),
        Some(char) => Err(refuse(
            format!(
                "the character {} may not stand in {}",
                quoted(&char.to_string()),
                quoted(text)
            ),
            help,
        )),
    }
}

fn pattern(text: &str) -> Result<(), Refusal> {
    Glob::new(text).map(drop).map_err(|malformed| Refusal {
        message: format!("{} is no pattern: {}", quoted(text), malformed.0),
        help: None,
    })
}

/// Values that a profile cannot have, with the field that they are in.
pub(super) type Refusals = Vec<(&'static str, Refusal)>;

impl FileRule {
    pub(super) fn check(&self, denied: bool) -> Refusals {
        let Self {
            path,
            access,
            owner,
        } = self;
        let mut refusals = Refusals::new();
        collect(&mut refusals, "path", rule_path(path));
        if access.is_none() {
            let message = "the rule has no access".to_owned();
            let help = "name at least one: read, write, append, link, lock, map, execute";
            refusals.push(("access", refuse(message, help)));
        }
        if *owner && denied {
            let message = "a rule that denies cannot depend on the owner".to_owned();
            let help = "leave `owner` out, and deny it for all";
            refusals.push(("owner", refuse(message, help)));
        }
        refusals
    }
}

impl NetworkRule {
    pub(super) fn check(&self) -> Refusals {
        let Self { family, kind } = self;
        let is_protocol = kind.is_some_and(|kind| PROTOCOLS.contains(&kind));
        match family {
            Some(family) if is_protocol && *family != "inet" => {
                let message = format!(
                    "the family `{family}` has no `{}`",
                    kind.unwrap_or_default()
                );
                let help = "with other families than `inet`, use `stream`, `dgram` or `raw`";
                vec![("type", refuse(message, help))]
            }
            None if *kind == Some("packet") => {
                let message = "`packet` alone is a family, and no type".to_owned();
                vec![("type", refuse(message, "name the family as well"))]
            }
            _ => Vec::new(),
        }
    }
}

impl SignalRule {
    pub(super) fn check(&self) -> Refusals {
        let mut refusals = Refusals::new();
        optional(&mut refusals, "peer", self.peer.as_ref());
        refusals
    }
}

impl PtraceRule {
    pub(super) fn check(&self) -> Refusals {
        let mut refusals = Refusals::new();
        optional(&mut refusals, "peer", self.peer.as_ref());
        refusals
    }
}

impl MountRule {
    pub(super) fn check(&self) -> Refusals {
        let Self {
            operation,
            fstype,
            options,
            source,
            target,
        } = self;
        let mut refusals = Refusals::new();
        for name in fstype {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(good) {
                let message = format!("{} is no type of file systems", quoted(name));
                refusals.push(("fstype", refuse(message, "such as `ext4` or `tmpfs`")));
            }
        }
        optional(&mut refusals, "source", source.as_ref());
        if let Some(target) = target {
            collect(&mut refusals, "target", rule_path(target));
        }
        let mut misplaced = |field: &'static str, there: bool, where_: &str| {
            if there {
                let message = format!("`{field}` has no meaning for `{operation}`");
                let help = format!("it is for {where_}");
                refusals.push((field, refuse(message, &help)));
            }
        };
        if *operation == "pivot_root" {
            misplaced("fstype", !fstype.is_empty(), "mounts");
            misplaced("options", !options.is_empty(), "mounts");
            if let Some(source) = source {
                collect(&mut refusals, "source", rule_path(source));
            }
        } else if *operation != "mount" {
            misplaced("source", source.is_some(), "`mount` and `pivot_root`");
        }
        refusals
    }
}

impl UnixRule {
    pub(super) fn check(&self) -> Refusals {
        let Self {
            access,
            kind: _,
            address,
            peer_address,
            peer,
        } = self;
        let mut refusals = Refusals::new();
        for (field, address) in [("address", address), ("peerAddress", peer_address)] {
            let Some(address) = address else {
                continue;
            };
            if address != "none" && !address.starts_with('@') {
                let message = format!("{} is no address of a unix socket", quoted(address));
                let help = "`none`, or an abstract name that begins with `@`; sockets with a path \
                            are files";
                refusals.push((field, refuse(message, help)));
            } else {
                // The first `@` is part of the address even where a brace follows.
                let rest = address.strip_prefix('@').unwrap_or(address);
                if !rest.is_empty() {
                    collect(&mut refusals, field, rule_pattern(rest));
                }
            }
        }
        optional(&mut refusals, "peer", peer.as_ref());
        let alone = access
            .iter()
            .find(|word| !UNIX_PEER_ACCESS.contains(word))
            .filter(|_| peer.is_some() || peer_address.is_some());
        if let Some(word) = alone {
            let field = if peer.is_some() {
                "peer"
            } else {
                "peerAddress"
            };
            let message = format!("`{word}` has no other side");
            let help = "make two rules, one of them without the other side";
            refusals.push((field, refuse(message, help)));
        }
        refusals
    }
}

impl DbusRule {
    pub(super) fn check(&self) -> Refusals {
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
        let mut refusals = Refusals::new();
        let message_fields = [
            ("path", path),
            ("interface", interface),
            ("member", member),
            ("peerName", peer_name),
            ("peer", peer),
        ];
        for (field, value) in message_fields
            .into_iter()
            .chain([("bus", bus), ("name", name)])
        {
            optional(&mut refusals, field, value.as_ref());
        }
        let first = message_fields
            .into_iter()
            .find(|(_, value)| value.is_some())
            .map(|(field, _)| field);
        if let Some(field) = first
            && let Some(word) = ["bind", "eavesdrop"]
                .into_iter()
                .find(|word| access.contains(word))
        {
            let message = format!("`{field}` is about messages, and `{word}` is not");
            refusals.push((field, refuse(message, "make two rules")));
        }
        if name.is_some() {
            let message = |what: &str| format!("`name` is about owning a name, and {what} is not");
            let word = ["send", "receive", "eavesdrop"]
                .into_iter()
                .find(|word| access.contains(word));
            if let Some(what) = word.or(first) {
                let what = message(&format!("`{what}`"));
                let help = "use `peerName` for the other side of a message";
                refusals.push(("name", refuse(what, help)));
            }
        }
        refusals
    }
}

impl RuleSet {
    fn check(&self, denied: bool) -> Refusals {
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
        let mut refusals = Refusals::new();
        if let Some(word) = capability.first().filter(|_| !denied) {
            let message = format!("the capability `{word}` stands in `rules.allow`");
            let help = "it belongs into `capability.allowedCapabilities`";
            refusals.push(("capability", refuse(message, help)));
        }
        refusals.extend(file.iter().flat_map(|rule| rule.check(denied)));
        refusals.extend(network.iter().flat_map(NetworkRule::check));
        refusals.extend(signal.iter().flat_map(SignalRule::check));
        refusals.extend(ptrace.iter().flat_map(PtraceRule::check));
        refusals.extend(mount.iter().flat_map(MountRule::check));
        refusals.extend(unix.iter().flat_map(UnixRule::check));
        refusals.extend(dbus.iter().flat_map(DbusRule::check));
        refusals
    }
}

/// The first value that a profile cannot have.
pub(super) fn spec(spec: &AppArmorSpec) -> Result<(), Refusal> {
    let abstract_ = &spec.abstract_;
    for path in &abstract_.executable.allowed_executables {
        listed_path(path, true)?;
    }
    let files = &abstract_.filesystem;
    let others = [
        &abstract_.executable.allowed_libraries,
        &files.read_only_paths,
        &files.write_only_paths,
        &files.read_write_paths,
    ];
    for path in others.into_iter().flatten() {
        listed_path(path, false)?;
    }
    for word in &abstract_.capability.allowed_capabilities {
        capability(word)?;
    }
    let rules = &abstract_.rules;
    let mut refusals = rules.allow.check(false);
    refusals.extend(rules.deny.check(true));
    match refusals.into_iter().next() {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

fn optional(refusals: &mut Refusals, field: &'static str, value: Option<&String>) {
    if let Some(value) = value {
        collect(refusals, field, rule_pattern(value));
    }
}

fn collect(refusals: &mut Refusals, field: &'static str, result: Result<(), Refusal>) {
    refusals.extend(result.err().map(|refusal| (field, refusal)));
}
