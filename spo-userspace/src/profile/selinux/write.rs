//! Writing SELinux profiles: the object, and the policy in CIL.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::restrict::{self, Options, Refused};
use super::{Inherit, InheritKind, KIND, Mode, SELF, SelinuxProfile, SelinuxSpec, usage};
use crate::profile::object;
use crate::profile::state::State;

/// The object as YAML: always the same text for the same profile, names sorted, what is default
/// left out.
pub fn write_object(profile: &SelinuxProfile) -> Result<String, serde_saphyr::ser::Error> {
    let SelinuxProfile { metadata, spec } = profile;
    object::write(&KIND, metadata, &Spec::of(spec))
}

/// The policy as the node's policy compiler reads it. It is a block that is called like the
/// profile; lines are in a fixed order.
///
/// Whatever keeps the policy from being installed is told, not only the first: names that the
/// compiler would not take or would take for something else, and what `options` deny.
pub fn write_cil(name: &str, spec: &SelinuxSpec, options: &Options) -> Result<String, Refused> {
    let mut findings = restrict::check_names(name, spec, options);
    findings.extend(restrict::check_restrictions(spec, options));
    if !findings.is_empty() {
        return Err(Refused(findings));
    }
    let SelinuxSpec {
        state: _,
        mode,
        inherit: _,
        allow,
    } = spec;
    let own = usage(name);
    let mut text = format!("(block {name}\n");
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments).expect("a string takes any text");
        text.push('\n');
    };
    let blocks = spec.blocks();
    let container = Inherit::system(super::CONTAINER);
    // The container's block comes first, the others follow as they are in the profile.
    if blocks.contains(&container) {
        line(format_args!("(blockinherit {})", container.name));
    }
    for kind in [InheritKind::System, InheritKind::SelinuxProfile] {
        let mut written = BTreeSet::from([&container]);
        for inherit in &spec.inherit {
            if inherit.kind == kind && blocks.contains(inherit) && written.insert(inherit) {
                line(format_args!("(blockinherit {})", inherit.name));
            }
        }
    }
    if *mode == Mode::Permissive {
        line(format_args!("(typepermissive process)"));
    }
    for (target, classes) in allow {
        let target = if target == SELF { &own } else { target };
        for (class, permissions) in classes {
            let permissions: BTreeSet<&str> = permissions.iter().map(String::as_str).collect();
            // The compiler refuses an empty list.
            if !permissions.is_empty() {
                let permissions: Vec<&str> = permissions.into_iter().collect();
                line(format_args!(
                    "(allow process {target} ( {class} ( {} )))",
                    permissions.join(" ")
                ));
            }
        }
    }
    text.push_str(")\n");
    Ok(text)
}

#[derive(Serialize)]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inherit: Option<&'a [Inherit]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allow: BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<&'a str>>>,
}

impl<'a> Spec<'a> {
    fn of(spec: &'a SelinuxSpec) -> Self {
        let SelinuxSpec {
            state,
            mode,
            inherit,
            allow,
        } = spec;
        let default = SelinuxSpec::default();
        let classes = |classes: &'a BTreeMap<String, Vec<String>>| {
            classes
                .iter()
                .map(|(class, permissions)| {
                    let permissions = permissions.iter().map(String::as_str).collect();
                    (class.as_str(), permissions)
                })
                .collect()
        };
        Self {
            state: (*state != default.state).then_some(*state),
            mode: (*mode != default.mode).then_some(*mode),
            inherit: (*inherit != default.inherit).then_some(inherit),
            allow: allow
                .iter()
                .map(|(target, rules)| (target.as_str(), classes(rules)))
                .collect(),
        }
    }
}
