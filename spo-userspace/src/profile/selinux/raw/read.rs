//! Reading raw profiles.

use super::rules;
use super::scope::Scope;
use super::{LONGEST_POLICY, RawSelinuxSpec, arguments, body, statements};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::{Fields, Problems};
use crate::profile::object::{Metadata, NAMESPACES};
use crate::profile::selinux::cil::{self, Flaws, Item, Places, Tree, class_permissions};
use crate::profile::selinux::read::{read_object, unknown_field_help};
use crate::profile::selinux::{RAW_KIND, RawSelinuxProfile, classes, lint, risk};
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
        let message = "the policy has no type `process`".to_owned();
        let help = "write `(blockinherit container)` or `(type process)`";
        flaws.lint("no-process", 0..0, message, Some(help.to_owned()));
    }
    old_names(block, &tree, flaws);
    for statement in statements(&tree) {
        names(statement, None, lints, &scope, flaws);
    }
    for (index, one) in scope.macros.iter().enumerate() {
        for statement in body(one.definition) {
            names(statement, Some(index), lints, &scope, flaws);
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

/// Looks at the names in a statement that allows something.
fn names(
    statement: Item<'_, '_>,
    within: Option<usize>,
    lints: bool,
    scope: &Scope<'_, '_>,
    flaws: &mut Flaws<'_, '_>,
) {
    let Some("allow" | "classpermissionset") = statement.head() else {
        return;
    };
    if let Some((class, permissions)) = arguments(statement).find_map(class_permissions)
        && let Some(class_name) = class.name()
    {
        if classes::permissions(class_name).is_none() {
            let help = flaws
                .warnings_are_told()
                .then(|| lint::class_help(class_name));
            let message = format!("unknown class {}", quoted(class_name));
            flaws.lint("unknown-class", class.span(), message, help);
        }
        for permission in permissions.items() {
            let Some(name) = permission.name() else {
                continue;
            };
            let is_operator = crate::profile::selinux::names::is_operator(name);
            if !is_operator && let Some(message) = lint::unknown_permission_text(class_name, name) {
                let help = flaws
                    .warnings_are_told()
                    .then(|| lint::permission_help(class_name, name));
                flaws.lint("unknown-permission", permission.span(), message, help);
            }
            if lints && let Some(message) = lint::dangerous_text(class_name, name) {
                flaws.lint("dangerous-permission", permission.span(), message, None);
            }
        }
    }
    if let (true, Some("allow"), Some(target)) =
        (lints, statement.head(), arguments(statement).nth(1))
        && let Some(name) = target.name()
        && !scope.is_declared(name, within)
    {
        if let Some(what) = risk::broad(crate::profile::selinux::names::global(name)) {
            let (message, help) = lint::broad_text(name, what);
            flaws.lint("broad-attribute", target.span(), message, Some(help));
        } else if let Some(near) = classes::suggest_type(name) {
            let message = format!("{} looks like a misspelled type", quoted(name));
            let help = format!("did you mean `{near}`?");
            flaws.lint("misspelled-type", target.span(), message, Some(help));
        }
    }
}
