//! The profile that a policy in CIL stands for, to compare it with others.

use thiserror::Error;

use super::cil::{Item, Tree, class_permissions};
use super::raw::{self, RawSelinuxSpec};
use super::{
    Allow, CONTAINER, Inherit, InheritKind, Mode, RawSelinuxProfile, SELF, SelinuxProfile,
    SelinuxSpec, names, usage,
};
use crate::profile::object::Object;

/// Why a policy in CIL is no [`SelinuxProfile`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoProfile {
    /// A profile is one block.
    #[error("the policy is not one block, as that of a profile is")]
    NotOneBlock,
    /// Each profile inherits something.
    #[error("the policy inherits no block, as each SelinuxProfile does")]
    InheritsNothing,
    /// A statement that profiles do not have.
    #[error("line {line} of the policy says something that no SelinuxProfile can say")]
    Statement {
        /// The line, from 1.
        line: usize,
    },
}

/// What a file of CIL says, if a [`SelinuxProfile`] can say it; written as [`as_text`] has it.
pub fn of_cil(tree: &Tree<'_>) -> Result<SelinuxSpec, NoProfile> {
    let mut items = tree.items();
    let (Some(block), None) = (items.next(), items.next()) else {
        return Err(NoProfile::NotOneBlock);
    };
    let mut inside = block.items();
    let head = inside.next().and_then(Item::name);
    let (Some("block"), Some(name)) = (head, inside.next().and_then(Item::name)) else {
        return Err(NoProfile::NotOneBlock);
    };
    spec(tree.text(), name, raw::flat(inside.collect()))
}

/// The same of a raw profile, whose policy is what stands in its block.
pub fn of_raw(profile: &RawSelinuxProfile) -> Result<SelinuxSpec, NoProfile> {
    let Object {
        metadata,
        spec: RawSelinuxSpec { state, policy },
    } = profile;
    let name = &metadata.name;
    let policy = raw::tree(policy).map(|tree| raw::up_to_date(name, &tree));
    let policy = policy.ok_or(NoProfile::NotOneBlock)?;
    let tree = raw::tree(&policy).ok_or(NoProfile::NotOneBlock)?;
    let found = spec(&policy, name, raw::statements(&tree))?;
    Ok(SelinuxSpec {
        state: *state,
        ..found
    })
}

/// A profile as the text that becomes of it says it: nothing there tells whether a block that is
/// inherited is a profile, and the own type has one name.
pub fn as_text(profile: &SelinuxProfile) -> SelinuxSpec {
    let Object { metadata, spec } = profile;
    let SelinuxSpec {
        state,
        mode,
        inherit: _,
        allow,
    } = spec;
    let blocks = spec.blocks().into_iter().map(|block| block.name).collect();
    let mut same = Allow::new();
    for (target, classes) in allow {
        let same: &mut _ = same.entry(target_of(target, &metadata.name)).or_default();
        for (class, permissions) in classes {
            let same: &mut Vec<String> = same.entry(class.clone()).or_default();
            same.extend(permissions.iter().cloned());
        }
    }
    SelinuxSpec {
        state: *state,
        mode: *mode,
        inherit: inherits(blocks),
        allow: same,
    }
}

fn spec<'t, 's: 't>(
    text: &str,
    name: &str,
    statements: impl Iterator<Item = Item<'t, 's>>,
) -> Result<SelinuxSpec, NoProfile> {
    let mut spec = SelinuxSpec::default();
    let mut blocks = Vec::new();
    for statement in statements {
        let known = match statement.head() {
            Some("blockinherit") => arguments(statement).map(|[block]| {
                blocks.extend(block.name().map(str::to_owned));
                block.name()
            }),
            Some("typepermissive") => arguments(statement).map(|[subject]| {
                spec.mode = Mode::Permissive;
                subject.name().filter(|subject| is_own(subject, name))
            }),
            Some("allow") => arguments(statement).map(|rule| allow(rule, name, &mut spec.allow)),
            _ => None,
        };
        if known.flatten().is_none() {
            let before = &text[..statement.span().start];
            let line = 1 + before.matches('\n').count();
            return Err(NoProfile::Statement { line });
        }
    }
    if blocks.is_empty() {
        return Err(NoProfile::InheritsNothing);
    }
    spec.inherit = inherits(blocks);
    Ok(spec)
}

/// Adds what a rule allows. There is nothing if it is no rule of a profile.
fn allow<'s>(rule: [Item<'_, 's>; 3], name: &str, allow: &mut Allow) -> Option<&'s str> {
    let [source, target, access] = rule;
    let source = source.name().filter(|source| is_own(source, name))?;
    let target = target.name()?;
    let (class, permissions) = class_permissions(access)?;
    let permissions: Option<Vec<&str>> = permissions.items().map(Item::name).collect();
    let permissions = permissions?;
    if permissions.iter().any(|name| names::is_operator(name)) {
        return None;
    }
    let classes = allow.entry(target_of(target, name)).or_default();
    let known = classes.entry(class.name()?.to_owned()).or_default();
    known.extend(permissions.into_iter().map(str::to_owned));
    Some(source)
}

/// The arguments of a statement that has as many.
fn arguments<'t, 's, const N: usize>(statement: Item<'t, 's>) -> Option<[Item<'t, 's>; N]> {
    let items: Vec<_> = statement.items().skip(1).collect();
    items.try_into().ok()
}

fn is_own(subject: &str, name: &str) -> bool {
    subject == "process" || names::global(subject) == usage(name)
}

fn target_of(target: &str, name: &str) -> String {
    if target == SELF || target == "self" || is_own(target, name) {
        SELF.to_owned()
    } else {
        names::global(target).to_owned()
    }
}

/// Profiles bring [`CONTAINER`] along: where it is not inherited, one of the blocks is a profile,
/// and nobody knows which.
fn inherits(mut blocks: Vec<String>) -> Vec<Inherit> {
    blocks.sort();
    blocks.dedup();
    let kind = if blocks.iter().any(|name| name == CONTAINER) {
        InheritKind::System
    } else {
        InheritKind::SelinuxProfile
    };
    let inherit = |name| Inherit { kind, name };
    blocks.into_iter().map(inherit).collect()
}
