//! Reading container engines' profiles.

use super::engine::{ArchMapEntry, Conditions, EngineProfile, EngineRule, KernelVersion};
use super::errno::number_of;
use super::spec::{self, Format};
use super::{Action, Architecture, SyscallRule};
use crate::profile::diagnostic::quoted;
use crate::profile::fields::{Fields, Problems};
use crate::profile::tree::{Node, Place, Value};

const FIELDS: &[&str] = &[
    "defaultAction",
    "defaultErrnoRet",
    "defaultErrno",
    "architectures",
    "archMap",
    "listenerPath",
    "listenerMetadata",
    "flags",
    "syscalls",
];
const RULE_FIELDS: &[&str] = &[
    "name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes",
];
/// The names that engines have for machines.
const ARCHES: &[&str] = &[
    "amd64",
    "arm",
    "arm64",
    "loong64",
    "mips",
    "mips64",
    "mips64n32",
    "mipsel",
    "mipsel64",
    "mipsel64n32",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390",
    "s390x",
    "x32",
    "x86",
];

/// A field that only the profiles of container engines have, and that says something.
pub(super) fn is_engine(fields: &Fields<'_>) -> bool {
    const ENGINE_FIELDS: [&str; 2] = ["archMap", "defaultErrno"];
    const ENGINE_RULE_FIELDS: [&str; 4] = ["includes", "excludes", "name", "errno"];
    let is_empty = |node: &Node| match &node.value {
        Value::Null => true,
        Value::Map(map) => map.is_empty(),
        Value::Text(text) => text.is_empty(),
        _ => false,
    };
    if ENGINE_FIELDS.iter().any(|name| fields.get(name).is_some()) {
        return true;
    }
    let Some(Value::List(rules)) = fields.get("syscalls").map(|node| &node.value) else {
        return false;
    };
    let says = |(key, value): &(Node, Node)| {
        let known = |name: &String| ENGINE_RULE_FIELDS.contains(&name.as_str());
        matches!(&key.value, Value::Text(name) if known(name)) && !is_empty(value)
    };
    rules.iter().any(|rule| match &rule.value {
        Value::Map(entries) => entries.iter().any(says),
        _ => false,
    })
}

pub(super) fn engine(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<EngineProfile> {
    spec::unknown_fields(fields, FIELDS, Format::Raw, problems);
    let default_action = fields
        .require("defaultAction", problems)
        .and_then(|node| problems.named::<Action>(node, "`defaultAction`"));
    let default_errno_ret = errno(
        fields,
        ["defaultErrnoRet", "defaultErrno"],
        default_action,
        problems,
    );
    let architectures = spec::set_of(fields, "architectures", Format::Raw, problems);
    let arch_map = list(fields, "archMap", problems, arch_map_entry);
    if let (Some(place), false, false) = (
        fields.place_of("archMap"),
        architectures.is_empty(),
        arch_map.is_empty(),
    ) {
        let help = "engines refuse a profile with both; keep one";
        let message = "`archMap` and `architectures` exclude each other";
        problems.error(place, message.to_owned(), Some(help.to_owned()));
    }
    Some(EngineProfile {
        default_errno_ret,
        architectures,
        arch_map,
        listener_path: spec::optional_text(fields, "listenerPath", problems),
        listener_metadata: spec::optional_text(fields, "listenerMetadata", problems),
        flags: spec::set_of(fields, "flags", Format::Raw, problems),
        syscalls: list(fields, "syscalls", problems, rule),
        default_action: default_action?,
    })
}

/// The values of a list, of which those that are wrong are left out and told.
fn list<T>(
    fields: &Fields<'_>,
    name: &str,
    problems: &mut Problems<'_>,
    read: impl Fn(&Node, &mut Problems<'_>) -> Option<T>,
) -> Vec<T> {
    let nodes = fields
        .get(name)
        .and_then(|node| problems.list(node, &format!("`{name}`")));
    let nodes = nodes.unwrap_or_default().iter();
    nodes.filter_map(|node| read(node, problems)).collect()
}

/// Architectures of the OCI runtime specification that objects cannot have. Engines' profiles are for
/// all machines, so that they may stand there.
const ELSEWHERE: &[&str] = &[
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

fn arch_map_entry(node: &Node, problems: &mut Problems<'_>) -> Option<ArchMapEntry> {
    let fields = problems.fields(node, "an entry of `archMap`", None)?;
    let known = &["architecture", "subArchitectures"];
    spec::unknown_fields(&fields, known, Format::Raw, problems);
    let architecture = fields.require("architecture", problems).and_then(|node| {
        if let Value::Text(name) = &node.value
            && ELSEWHERE.contains(&name.as_str())
        {
            let message = format!("no machine that spo runs on is {}", quoted(name));
            let help = Some("the entry is passed over".to_owned());
            problems.warn(node.place, message, help);
            return None;
        }
        problems.named::<Architecture>(node, "`architecture`")
    });
    let sub_architectures = spec::set_of(&fields, "subArchitectures", Format::Raw, problems);
    Some(ArchMapEntry {
        architecture: architecture?,
        sub_architectures,
    })
}

fn rule(node: &Node, problems: &mut Problems<'_>) -> Option<EngineRule> {
    let fields = problems.fields(node, "a rule", None)?;
    spec::unknown_fields(&fields, RULE_FIELDS, Format::Raw, problems);
    let action = fields
        .require("action", problems)
        .and_then(|node| problems.named::<Action>(node, "`action`"));
    let errno_ret = errno(&fields, ["errnoRet", "errno"], action, problems);
    let args = spec::args(&fields, Format::Raw, problems);
    let comment = spec::optional_text(&fields, "comment", problems);
    let includes = conditions(&fields, "includes", problems);
    let excludes = conditions(&fields, "excludes", problems);
    Some(EngineRule {
        rule: SyscallRule {
            names: names(&fields, problems)?,
            action: action?,
            errno_ret,
            args,
        },
        comment,
        includes,
        excludes,
    })
}

/// One name, in the older form, or several.
fn names(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let single = fields.get("name").and_then(|node| {
        let name = problems.text(node, "`name`")?;
        (!name.is_empty()).then_some((node, name))
    });
    let Some((node, name)) = single else {
        return fields
            .require("names", problems)
            .and_then(|node| spec::names(node, Format::Raw, problems));
    };
    let several = fields.get("names").map(|node| &node.value);
    if several.is_some_and(|names| !matches!(names, Value::List(list) if list.is_empty())) {
        let help = "engines refuse a rule with both; keep `names`";
        let message = "`name` and `names` exclude each other";
        problems.error(node.place, message.to_owned(), Some(help.to_owned()));
    }
    spec::check_name(name, node.place, problems);
    Some(vec![name.to_owned()])
}

/// An error number, as a number or by its name.
fn errno(
    fields: &Fields<'_>,
    [number, name]: [&str; 2],
    action: Option<Action>,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let by_number = spec::errno(fields, number, action, problems);
    let Some(node) = fields.get(name) else {
        return by_number;
    };
    let text = problems.text(node, &format!("`{name}`"))?;
    if text.is_empty() {
        return by_number;
    }
    let Some(by_name) = number_of(text) else {
        let help = "expected is a name such as `EPERM`";
        let message = format!("{} is no error that is known", quoted(text));
        problems.error(node.place, message, Some(help.to_owned()));
        return None;
    };
    if by_number.is_some_and(|number| number != by_name) {
        let message = format!("`{name}` is {by_name}, and `{number}` is another number");
        problems.error(node.place, message, Some("keep one of them".to_owned()));
    }
    Some(by_name)
}

fn conditions(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) -> Conditions {
    let Some(node) = fields.get(name) else {
        return Conditions::default();
    };
    let Some(fields) = problems.fields(node, &format!("`{name}`"), None) else {
        return Conditions::default();
    };
    let known = &["caps", "arches", "minKernel"];
    spec::unknown_fields(&fields, known, Format::Raw, problems);
    let caps = list(&fields, "caps", problems, |node, problems| {
        let cap = problems.text(node, "a capability")?;
        if !cap.starts_with("CAP_") {
            let help = "the names are like `CAP_SYS_ADMIN`";
            let message = format!("{} is no capability", quoted(cap));
            problems.warn(node.place, message, Some(help.to_owned()));
        }
        Some(cap.to_owned())
    });
    let arches = list(&fields, "arches", problems, |node, problems| {
        let arch = problems.text(node, "a machine")?;
        if !ARCHES.contains(&arch) {
            let message = format!("engines know no machine {}", quoted(arch));
            problems.warn(
                node.place,
                message,
                Some(format!("known are {}", ARCHES.join(", "))),
            );
        }
        Some(arch.to_owned())
    });
    let min_kernel = fields.get("minKernel").and_then(|node| {
        let text = problems.text(node, "`minKernel`")?;
        if text.is_empty() {
            return None;
        }
        let version = kernel_version(text);
        if version.is_none() {
            refuse_version(text, node.place, problems);
        }
        version
    });
    Conditions {
        caps,
        arches,
        min_kernel,
    }
}

fn kernel_version(text: &str) -> Option<KernelVersion> {
    let (major, minor) = text.split_once('.')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    Some((number(major)?, number(minor)?))
}

fn refuse_version(text: &str, place: Place, problems: &mut Problems<'_>) {
    let help = "expected are two numbers, such as `4.8`";
    let message = format!("{} is no kernel version", quoted(text));
    problems.error(place, message, Some(help.to_owned()));
}
