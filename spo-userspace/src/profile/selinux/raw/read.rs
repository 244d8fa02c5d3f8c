//! Reading raw profiles.

use super::rules;
use super::scope::Scope;
use super::{LONGEST_POLICY, RawSelinuxSpec, body, statements};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::{Fields, Problems};
use crate::profile::object::{Metadata, NAMESPACES};
use crate::profile::selinux::cil::{self, Flaws, Places, Tree};
use crate::profile::selinux::cil_lint::names;
use crate::profile::selinux::lint::no_process_text;
use crate::profile::selinux::read::{read_object, unknown_field_help};
use crate::profile::selinux::{RAW_KIND, RawSelinuxProfile};
use crate::profile::state::State;
use crate::profile::tree::Parsed;

/// Reads a raw profile, as YAML or JSON, and tells everything that is wrong with it, also in its
/// policy. There is a profile if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read_raw(file: &str, source: &[u8]) -> (Option<RawSelinuxProfile>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), false)
}

/// Like [`read_raw`], and looks for what [`super::super::LINTS`] lists.
pub fn read_raw_and_lint(
    file: &str,
    source: &[u8],
) -> (Option<RawSelinuxProfile>, Vec<Diagnostic>) {
    read_parsed(Parsed::of(file, source), true)
}

/// The same of a tree that may not be the file's any more, but has its places.
pub(crate) fn read_parsed(
    parsed: Parsed<'_>,
    lints: bool,
) -> (Option<RawSelinuxProfile>, Vec<Diagnostic>) {
    let source = parsed.source;
    read_object(parsed, &RAW_KIND, |metadata, fields, problems| {
        spec(metadata, fields, source, lints, problems)
    })
}

/// Checks a policy for a block of this name. There is a tree unless the text is refused.
pub(super) fn check<'s>(
    block: &str,
    policy: &'s str,
    lints: bool,
    flaws: &mut Flaws<'_, '_>,
) -> Option<Tree<'s>> {
    if policy.trim().is_empty() {
        flaws.error(0..0, "the policy is empty".to_owned(), None);
        return None;
    }
    let length = policy.chars().count();
    if length > LONGEST_POLICY {
        let message = format!("the policy has {length} characters");
        let help = format!("the limit is {LONGEST_POLICY}");
        flaws.error(0..0, message, Some(help));
        return None;
    }
    let tree = cil::parse(policy, flaws)?;
    let scope = Scope::new(block, &tree);
    rules::check(&tree, &scope, flaws);
    if !scope.is_declared("process", None) && flaws.errors() == 0 {
        let (message, help) = no_process_text("policy");
        flaws.lint("no-process", 0..0, message, Some(help));
    }
    old_names(block, &tree, flaws);
    // A raw profile declares no class.
    let own_class = |_: &str| false;
    let declared = |name: &str| scope.is_declared(name, None);
    for statement in statements(&tree) {
        names(statement, lints, &declared, &own_class, flaws);
    }
    for (index, one) in scope.macros.iter().enumerate() {
        let declared = |name: &str| scope.is_declared(name, Some(index));
        for statement in body(one.definition) {
            names(statement, lints, &declared, &own_class, flaws);
        }
    }
    Some(tree)
}

fn spec(
    metadata: Option<&Metadata>,
    fields: &Fields<'_>,
    source: &[u8],
    lints: bool,
    problems: &mut Problems<'_>,
) -> Option<RawSelinuxSpec> {
    const KNOWN: &[&str] = &[NAMESPACES, "state", "policy"];
    for (name, place) in fields.unknown(KNOWN) {
        let message = format!("unknown field {}", quoted(name));
        problems.error(place, message, unknown_field_help(name, KNOWN));
    }
    let state = fields
        .get("state")
        .map_or(Some(State::Enabled), |node| problems.named(node, "`state`"));
    let node = fields.require("policy", problems)?;
    let policy = problems.free_text(node, "`policy`")?;
    let field = fields.place_of("policy").unwrap_or(node.place);
    let places = Places::of_value(source, field, node.place, policy);
    let block = metadata.map_or("", |metadata| metadata.name.as_str());
    check(block, policy, lints, &mut Flaws::new(problems, &places));
    Some(RawSelinuxSpec {
        state: state?,
        policy: policy.to_owned(),
    })
}

/// Warns of names with the block as it was called earlier.
fn old_names(block: &str, tree: &Tree<'_>, flaws: &mut Flaws<'_, '_>) {
    for item in tree.all() {
        if let Some(name) = item.name()
            && let Some(new) = renamed(block, name)
        {
            let message = format!("{} is now called `{new}`", quoted(name));
            let help = "the block of a raw profile is called like the profile; the old name is \
                        still understood";
            flaws.lint(
                "old-block-name",
                item.span(),
                message,
                Some(help.to_owned()),
            );
        }
    }
}

/// The name as it is today, if it has the block as it was called earlier.
pub(super) fn renamed(block: &str, name: &str) -> Option<String> {
    let (dot, rest) = match name.strip_prefix('.') {
        Some(rest) => (".", rest),
        None => ("", name),
    };
    let rest = rest.strip_prefix(block)?.strip_prefix("_.")?;
    (!block.is_empty()).then(|| format!("{dot}{block}.{rest}"))
}
