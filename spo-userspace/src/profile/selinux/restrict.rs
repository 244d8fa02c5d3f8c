//! What a cluster's configuration lets policies have.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thiserror::Error;

use super::{CONTAINER, Inherit, InheritKind, SELF, SelinuxSpec, names};
use crate::profile::diagnostic::quoted;
use crate::profile::suggest::nearest;

/// `spec.selinux.options` of the daemon's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The blocks of the node's own policy that profiles may inherit.
    pub allowed_system_profiles: Vec<String>,
    /// Types that are denied besides those that always are.
    pub denied_types: Vec<String>,
    /// Classes that are denied besides those that always are.
    pub denied_classes: Vec<String>,
    /// Permissions that are denied besides those that always are.
    pub denied_permissions: Vec<String>,
    /// Types that are always denied, but not here.
    pub allowed_types: Vec<String>,
    /// Classes that are always denied, but not here.
    pub allowed_classes: Vec<String>,
    /// Permissions that are always denied, but not here.
    pub allowed_permissions: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allowed_system_profiles: vec![CONTAINER.to_owned()],
            denied_types: Vec::new(),
            denied_classes: Vec::new(),
            denied_permissions: Vec::new(),
            allowed_types: Vec::new(),
            allowed_classes: Vec::new(),
            allowed_permissions: Vec::new(),
        }
    }
}

const DENIED_TYPES: [&str; 4] = ["kernel_t", "kmem_t", "security_t", "shadow_t"];
const DENIED_CLASSES: [&str; 4] = ["capability", "capability2", "security", "system"];
const DENIED_PERMISSIONS: [&str; 8] = [
    "load_policy",
    "mac_admin",
    "mounton",
    "relabelfrom",
    "relabelto",
    "setbool",
    "setenforce",
    "setsecparam",
];

/// Something that keeps a policy from being installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The field, such as `spec.allow.kernel_t`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            message,
            help,
        } = self;
        write!(formatter, "{path}: {message}")?;
        match help {
            Some(help) => write!(formatter, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Why there is no policy for a profile: all of the reasons.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", .0.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<Finding>);

/// What is in force: the deny lists after the configuration changed them.
pub(super) struct Denied<'o> {
    types: BTreeSet<&'o str>,
    classes: BTreeSet<&'o str>,
    permissions: BTreeSet<&'o str>,
}

/// What an allowed or a denied name is.
#[derive(Clone, Copy)]
pub(super) enum What {
    Type,
    Class,
    Permission,
}

impl<'o> Denied<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        fn list<'o>(
            always: &[&'static str],
            allowed: &'o [String],
            denied: &'o [String],
        ) -> BTreeSet<&'o str> {
            let mut list: BTreeSet<&str> = always.iter().copied().collect();
            list.retain(|name| !allowed.iter().any(|allowed| allowed == name));
            list.extend(denied.iter().map(|name| names::global(name)));
            list
        }
        let Options {
            allowed_system_profiles: _,
            denied_types,
            denied_classes,
            denied_permissions,
            allowed_types,
            allowed_classes,
            allowed_permissions,
        } = options;
        Self {
            types: list(&DENIED_TYPES, allowed_types, denied_types),
            classes: list(&DENIED_CLASSES, allowed_classes, denied_classes),
            permissions: list(&DENIED_PERMISSIONS, allowed_permissions, denied_permissions),
        }
    }

    /// Why a name may not stand there, and what to do.
    pub(super) fn reason(&self, what: What, name: &str) -> Option<(String, String)> {
        let (list, one, field, always) = match what {
            What::Type => (&self.types, "type", "Types", &DENIED_TYPES[..]),
            What::Class => (&self.classes, "class", "Classes", &DENIED_CLASSES[..]),
            What::Permission => (
                &self.permissions,
                "permission",
                "Permissions",
                &DENIED_PERMISSIONS[..],
            ),
        };
        let name = names::global(name);
        if matches!(what, What::Permission) && names::is_operator(name) && !list.is_empty() {
            let message = format!(
                "{} is an operator of CIL, which also reaches permissions that are denied",
                quoted(name)
            );
            return Some((message, "name the permissions that are needed".to_owned()));
        }
        if !list.contains(name) {
            return None;
        }
        let help = if always.contains(&name) {
            format!("`allowed{field}` of the daemon's configuration can allow it")
        } else {
            format!("`denied{field}` of the daemon's configuration has it")
        };
        Some((format!("the {one} {} is denied", quoted(name)), help))
    }
}

/// What a profile has that the configuration denies, by path.
pub fn check_restrictions(spec: &SelinuxSpec, options: &Options) -> Vec<Finding> {
    let denied = Denied::new(options);
    let mut findings = Vec::new();
    for (index, inherit) in spec.inherit.iter().enumerate() {
        if let Some((message, help)) = system_profile(inherit, options) {
            findings.push(Finding {
                path: format!("spec.inherit[{index}].name"),
                message,
                help: Some(help),
            });
        }
    }
    let mut check = |path: &dyn Fn() -> String, what, name: &str| {
        if let Some((message, help)) = denied.reason(what, name) {
            findings.push(Finding {
                path: path(),
                message,
                help: Some(help),
            });
        }
    };
    for (target, classes) in &spec.allow {
        check(&|| format!("spec.allow.{target}"), What::Type, target);
        for (class, permissions) in classes {
            let path = || format!("spec.allow.{target}.{class}");
            check(&path, What::Class, class);
            for permission in permissions.iter().collect::<BTreeSet<_>>() {
                check(&path, What::Permission, permission);
            }
        }
    }
    findings
}

/// Why a block of the node's policy may not be inherited.
pub(super) fn system_profile(inherit: &Inherit, options: &Options) -> Option<(String, String)> {
    let Inherit { kind, name } = inherit;
    let allowed = &options.allowed_system_profiles;
    // Every policy has this one anyway.
    if *kind != InheritKind::System || name == CONTAINER || allowed.contains(name) {
        return None;
    }
    let help = match nearest(name, allowed.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`allowedSystemProfiles` of the daemon's configuration can allow it".to_owned(),
    };
    Some((
        format!("the system profile {} is not allowed", quoted(name)),
        help,
    ))
}

/// Names that would break the policy, or mean something else in it. Reading tells the same; this
/// is for profiles that come from elsewhere.
pub(super) fn check_names(name: &str, spec: &SelinuxSpec, options: &Options) -> Vec<Finding> {
    let mut findings = block_name(name, options);
    let mut check = |valid: bool, path: String, name: &str| {
        if !valid {
            findings.push(Finding {
                path,
                message: format!("{} is no name", quoted(name)),
                help: Some(names::LABEL_HELP.to_owned()),
            });
        }
    };
    for (index, inherit) in spec.inherit.iter().enumerate() {
        let path = format!("spec.inherit[{index}].name");
        check(names::is_label(&inherit.name), path, &inherit.name);
    }
    for (target, classes) in &spec.allow {
        let valid = target == SELF || names::is_label(target);
        check(valid, format!("spec.allow.{target}"), target);
        for (class, permissions) in classes {
            let path = || format!("spec.allow.{target}.{class}");
            check(names::is_label(class), path(), class);
            for permission in permissions {
                check(names::is_label(permission), path(), permission);
            }
        }
    }
    findings
}

/// Why a profile cannot be called so.
pub(super) fn block_name(name: &str, options: &Options) -> Vec<Finding> {
    let finding = |message: String, help: String| {
        vec![Finding {
            path: "metadata.name".to_owned(),
            message,
            help: Some(help),
        }]
    };
    if !names::is_block(name) {
        return finding(
            format!("{} cannot be the name of an SELinux policy", quoted(name)),
            names::BLOCK_HELP.to_owned(),
        );
    }
    let system = &options.allowed_system_profiles;
    if name == CONTAINER || system.iter().any(|system| system == name) {
        return finding(
            format!("{} is the name of a system profile", quoted(name)),
            "choose another name".to_owned(),
        );
    }
    Vec::new()
}

/// Checks that all profiles exist that a profile inherits, and theirs as well, and that none of
/// them inherits itself in the end. `lookup` finds a profile by its name.
pub fn check_inherits<'p>(
    name: &str,
    spec: &'p SelinuxSpec,
    lookup: impl Fn(&str) -> Option<&'p SelinuxSpec>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Each profile is visited once; its value says through which field of the first one it came.
    let mut from: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open: Vec<(usize, &'p str, &str)> = Vec::new();
    let profiles = |spec: &'p SelinuxSpec| {
        spec.inherit
            .iter()
            .enumerate()
            .filter(|(_, one)| one.kind == InheritKind::SelinuxProfile)
    };
    open.extend(profiles(spec).map(|(index, one)| (index, one.name.as_str(), name)));
    open.reverse();
    while let Some((index, wanted, by)) = open.pop() {
        let message = if wanted == name {
            Some(if by == name {
                format!("{} inherits itself", quoted(name))
            } else {
                format!(
                    "{} inherits {}, which makes a circle",
                    quoted(by),
                    quoted(name)
                )
            })
        } else if from.contains_key(wanted) {
            None
        } else {
            from.insert(wanted, index);
            match lookup(wanted) {
                Some(inherited) => {
                    open.extend(
                        profiles(inherited).map(|(_, one)| (index, one.name.as_str(), wanted)),
                    );
                    None
                }
                None if by == name => Some(format!("there is no profile {}", quoted(wanted))),
                None => Some(format!(
                    "there is no profile {}, which {} inherits",
                    quoted(wanted),
                    quoted(by)
                )),
            }
        };
        if let Some(message) = message {
            findings.push(Finding {
                path: format!("spec.inherit[{index}].name"),
                message,
                help: None,
            });
        }
    }
    findings.sort();
    findings
}
