//! The part of a profile that both formats share.

use std::collections::BTreeSet;

use super::{
    Action, Architecture, Flag, LARGEST_ERRNO, LAST_ARGUMENT, Operator, SeccompSpec, State,
    SyscallArg, SyscallRule,
};
use crate::profile::diagnostic::quoted;
use crate::profile::fields::{Fields, Problems};
use crate::profile::named::Named;
use crate::profile::object::NAMESPACES;
use crate::profile::suggest::nearest;
use crate::profile::syscalls;
use crate::profile::tree::{Node, Place};

/// The two formats differ in how strict their readers are: the API server refuses what a
/// runtime ignores.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Format {
    Object,
    Raw,
}

impl Format {
    /// Notes what the API server refuses and a runtime ignores.
    fn refuse(
        self,
        problems: &mut Problems<'_>,
        place: Place,
        message: String,
        help: Option<String>,
    ) {
        match self {
            Self::Object => problems.error(place, message, help),
            Self::Raw => problems.warn(place, message, help),
        }
    }
}

const OBJECT_FIELDS: &[&str] = &[
    NAMESPACES,
    "state",
    "baseProfileName",
    "defaultAction",
    "architectures",
    "listenerPath",
    "listenerMetadata",
    "flags",
    "syscalls",
];
/// What the operator writes to the nodes has the object's fields beside those of OCI.
pub(super) const RAW_FIELDS: &[&str] = &[
    "state",
    "baseProfileName",
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "listenerPath",
    "listenerMetadata",
    "flags",
    "syscalls",
];

pub(super) fn spec(
    fields: &Fields<'_>,
    format: Format,
    problems: &mut Problems<'_>,
) -> Option<SeccompSpec> {
    let known = match format {
        Format::Object => OBJECT_FIELDS,
        Format::Raw => RAW_FIELDS,
    };
    unknown_fields(fields, known, format, problems);
    let state = fields
        .get("state")
        .map_or(Some(State::Enabled), |node| problems.named(node, "`state`"));
    let default_action = fields
        .require("defaultAction", problems)
        .and_then(|node| problems.named::<Action>(node, "`defaultAction`"));
    let default_errno_ret = match format {
        Format::Object => None,
        Format::Raw => errno(fields, "defaultErrnoRet", default_action, problems),
    };
    let architectures = set_of::<Architecture>(fields, "architectures", format, problems);
    let flags = set_of::<Flag>(fields, "flags", format, problems);
    let listener_path = optional_text(fields, "listenerPath", problems);
    if let (Format::Object, Some(path), Some(node)) =
        (format, &listener_path, fields.get("listenerPath"))
        && !is_listener_path(path)
    {
        let help = format!("expected is a name in `{LISTENER_FOLDER}`");
        problems.error(
            node.place,
            format!("{} is not allowed as `listenerPath`", quoted(path)),
            Some(help),
        );
    }
    let rules = fields
        .get("syscalls")
        .and_then(|node| problems.list(node, "`syscalls`"));
    let syscalls = rules
        .unwrap_or_default()
        .iter()
        .filter_map(|node| rule(node, format, problems))
        .collect();
    Some(SeccompSpec {
        state: state?,
        base_profile_name: optional_text(fields, "baseProfileName", problems),
        default_action: default_action?,
        default_errno_ret,
        architectures,
        listener_path,
        listener_metadata: optional_text(fields, "listenerMetadata", problems),
        flags,
        syscalls,
    })
}

const LISTENER_FOLDER: &str = "/var/run/security-profiles-operator/";

fn is_listener_path(path: &str) -> bool {
    path.strip_prefix(LISTENER_FOLDER).is_some_and(|name| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    })
}

fn rule(node: &Node, format: Format, problems: &mut Problems<'_>) -> Option<SyscallRule> {
    let fields = problems.fields(node, "a rule", None)?;
    unknown_fields(
        &fields,
        &["names", "action", "errnoRet", "args"],
        format,
        problems,
    );
    let action = fields
        .require("action", problems)
        .and_then(|node| problems.named::<Action>(node, "`action`"));
    let errno_ret = errno(&fields, "errnoRet", action, problems);
    let names = fields
        .require("names", problems)
        .and_then(|node| names(node, format, problems));
    let args = args(&fields, format, problems);
    Some(SyscallRule {
        names: names?,
        action: action?,
        errno_ret,
        args,
    })
}

pub(super) fn args(
    fields: &Fields<'_>,
    format: Format,
    problems: &mut Problems<'_>,
) -> Vec<SyscallArg> {
    let mut args = Vec::new();
    if let Some(list) = fields
        .get("args")
        .and_then(|node| problems.list(node, "`args`"))
    {
        let most = LAST_ARGUMENT as usize + 1;
        if let Some(node) = list.get(most) {
            let message = format!("a rule has at most {most} conditions");
            format.refuse(problems, node.place, message, None);
        }
        args.extend(list.iter().filter_map(|node| arg(node, format, problems)));
    }
    args
}

pub(super) fn names(
    node: &Node,
    format: Format,
    problems: &mut Problems<'_>,
) -> Option<Vec<String>> {
    let list = problems.list(node, "`names`")?;
    if list.is_empty() {
        problems.error(node.place, "`names` is empty".to_owned(), None);
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for node in list {
        let Some(name) = problems.text(node, "a syscall's name") else {
            continue;
        };
        if name.is_empty() {
            problems.error(node.place, "a syscall's name is empty".to_owned(), None);
        } else if !seen.insert(name) {
            format.refuse(
                problems,
                node.place,
                format!("{} is listed twice", quoted(name)),
                None,
            );
        } else {
            check_name(name, node.place, problems);
            names.push(name.to_owned());
        }
    }
    Some(names)
}

fn arg(node: &Node, format: Format, problems: &mut Problems<'_>) -> Option<SyscallArg> {
    // The object's numbers are signed there, the raw format's are not.
    let largest = match format {
        Format::Object => i64::MAX.unsigned_abs(),
        Format::Raw => u64::MAX,
    };
    let fields = problems.fields(node, "a condition", None)?;
    unknown_fields(
        &fields,
        &["index", "value", "valueTwo", "op"],
        format,
        problems,
    );
    let index = fields
        .require("index", problems)
        .and_then(|node| problems.number(node, "`index`", LAST_ARGUMENT.into()))
        .and_then(|index| u32::try_from(index).ok());
    let op = fields
        .require("op", problems)
        .and_then(|node| problems.named::<Operator>(node, "`op`"));
    let mut value = |name: &str| match fields.get(name) {
        Some(node) => problems.number(node, &format!("`{name}`"), largest),
        None => Some(0),
    };
    let (value, value_two) = (value("value"), value("valueTwo"));
    Some(SyscallArg {
        index: index?,
        value: value?,
        value_two: value_two?,
        op: op?,
    })
}

pub(super) fn errno(
    fields: &Fields<'_>,
    name: &str,
    action: Option<Action>,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let node = fields.get(name)?;
    let number = problems.number(node, &format!("`{name}`"), i32::MAX.unsigned_abs().into())?;
    let number = u32::try_from(number).ok()?;
    match action {
        Some(Action::Errno) if number > LARGEST_ERRNO => {
            let message = format!("no error number is above {LARGEST_ERRNO}");
            problems.warn(
                node.place,
                message,
                Some("runtimes refuse the profile".to_owned()),
            );
        }
        Some(Action::Errno | Action::Trace) | None => {}
        Some(action) => {
            let message = format!("`{name}` means nothing for {action}");
            problems.warn(
                node.place,
                message,
                Some("runtimes may refuse the profile".to_owned()),
            );
        }
    }
    Some(number)
}

pub(super) fn set_of<T: Named>(
    fields: &Fields<'_>,
    name: &str,
    format: Format,
    problems: &mut Problems<'_>,
) -> Vec<T> {
    let mut set = Vec::new();
    let list = fields
        .get(name)
        .and_then(|node| problems.list(node, &format!("`{name}`")));
    for node in list.unwrap_or_default() {
        let Some(value) = problems.named::<T>(node, T::ONE) else {
            continue;
        };
        if set.contains(&value) {
            format.refuse(
                problems,
                node.place,
                format!("`{}` is listed twice", value.name()),
                None,
            );
        } else {
            set.push(value);
        }
    }
    set
}

/// Text that may be missing; empty text means missing, as in Kubernetes.
pub(super) fn optional_text(
    fields: &Fields<'_>,
    name: &str,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let text = problems.free_text(fields.get(name)?, &format!("`{name}`"))?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Notes a name that no architecture has a call for.
pub(super) fn check_name(name: &str, place: Place, problems: &mut Problems<'_>) {
    if syscalls::known(name) {
        return;
    }
    // Suggestions cost time, and this one might not be seen.
    let suggestion = if problems.warnings_are_told() {
        syscalls::suggest(name)
    } else {
        None
    };
    let help = match suggestion {
        Some(suggestion) => format!("did you mean `{suggestion}`?"),
        None => "runtimes ignore names that they do not know".to_owned(),
    };
    let message = format!("unknown syscall {}", quoted(name));
    problems.lint("unknown-syscall", place, message, Some(help));
}

pub(super) fn unknown_fields(
    fields: &Fields<'_>,
    known: &'static [&'static str],
    format: Format,
    problems: &mut Problems<'_>,
) {
    for (name, place) in fields.unknown(known) {
        // What engines leave empty, or say for people, is in raw profiles in the wild.
        if format == Format::Raw && ["comment", "includes", "excludes"].contains(&name) {
            continue;
        }
        let help = match name {
            "disabled" => Some("use `state: Disabled`".to_owned()),
            "defaultErrnoRet" => Some("only raw profiles have it".to_owned()),
            _ => nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?")),
        };
        let help = match (help, format) {
            (None, Format::Raw) => Some("runtimes ignore it".to_owned()),
            (help, _) => help,
        };
        format.refuse(
            problems,
            place,
            format!("unknown field {}", quoted(name)),
            help,
        );
    }
}
