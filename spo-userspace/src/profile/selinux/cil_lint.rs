//! What a policy in CIL may say, but is likely not meant or wanted.

use std::collections::HashSet;

use super::cil::{Flaws, Item, Tree, class_permissions};
use super::{classes, lint, names, risk};
use crate::profile::diagnostic::quoted;

/// Finds everything in a file of CIL that is in order otherwise.
pub(super) fn lint_file(tree: &Tree<'_>, flaws: &mut Flaws<'_, '_>) {
    let mut types = HashSet::new();
    let mut class_names = HashSet::new();
    for item in tree.all() {
        match item.head() {
            Some("type" | "typeattribute" | "typealias") => {
                types.extend(arguments(item).next().and_then(Item::name));
            }
            Some("class" | "classmap") => {
                class_names.extend(arguments(item).next().and_then(Item::name));
            }
            // Each parameter is a list: what it is, and its name.
            Some("macro") => {
                let parameters = arguments(item).nth(1);
                let parameters = parameters.into_iter().flat_map(Item::items);
                let mut names = parameters.filter_map(|one| arguments(one).next()?.name());
                types.extend(&mut names);
            }
            _ => {}
        }
    }
    // A name in a block may be written with the blocks around it.
    let is_own_type = |name: &str| types.contains(name.rsplit('.').next().unwrap_or(name));
    let is_own_class = |name: &str| class_names.contains(name);
    for item in tree.all() {
        names(item, true, &is_own_type, &is_own_class, flaws);
        if item.head() == Some("typepermissive") {
            let (message, help) = lint::permissive_text();
            flaws.lint("permissive", item.span(), message, Some(help));
        }
    }
    no_process(tree, flaws);
}

/// Notes a policy of one block, as profiles are, that pods cannot use.
fn no_process(tree: &Tree<'_>, flaws: &mut Flaws<'_, '_>) {
    let mut items = tree.items();
    let (Some(block), None) = (items.next(), items.next()) else {
        return;
    };
    let gives_process = |item: Item<'_, '_>| match item.head() {
        Some("blockinherit" | "blockabstract" | "call") => true,
        Some("type") => arguments(item).next().and_then(Item::name) == Some("process"),
        _ => item.is_marked(),
    };
    if block.head() == Some("block") && !block.items().any(gives_process) {
        let (message, help) = lint::no_process_text("block");
        let span = block.items().next().map_or(block.span(), Item::span);
        flaws.lint("no-process", span, message, Some(help));
    }
}

/// The arguments of a statement.
fn arguments<'t, 's>(statement: Item<'t, 's>) -> impl Iterator<Item = Item<'t, 's>> {
    statement.items().skip(1)
}

/// Looks at the names in a statement that allows something, but for those that the policy itself
/// declares.
pub(super) fn names(
    statement: Item<'_, '_>,
    lints: bool,
    is_own_type: &dyn Fn(&str) -> bool,
    is_own_class: &dyn Fn(&str) -> bool,
    flaws: &mut Flaws<'_, '_>,
) {
    let Some("allow" | "classpermissionset") = statement.head() else {
        return;
    };
    if let Some((class, permissions)) = arguments(statement).find_map(class_permissions)
        && let Some(class_name) = class.name()
        && !is_own_class(class_name)
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
            let is_operator = names::is_operator(name);
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
        && !is_own_type(name)
    {
        if let Some(what) = risk::broad(names::global(name)) {
            let (message, help) = lint::broad_text(name, what);
            flaws.lint("broad-attribute", target.span(), message, Some(help));
        } else if flaws.may_compare()
            && let Some(near) = classes::suggest_type(name)
        {
            let message = format!("{} looks like a misspelled type", quoted(name));
            let help = format!("did you mean `{near}`?");
            flaws.lint("misspelled-type", target.span(), message, Some(help));
        }
    }
}
