//! What a raw profile may say: whatever concerns its own types, and nothing about the rest of the
//! node's policy. docs/selinux.md has the reasons.

use super::scope::{Members, Scope, members};
use super::{arguments, body, statements};
use crate::profile::diagnostic::quoted;
use crate::profile::selinux::cil::{Flaws, Item, Tree, class_permissions};
use crate::profile::selinux::names;

/// How a statement is judged.
enum Rule {
    /// It declares something in the block.
    Free,
    /// Its source or its target must be the profile's own.
    Access,
    /// Only the profile's own types may become members of foreign attributes.
    Members,
    /// The first argument must be declared in the block.
    OwnFirst,
    /// The second argument must be the profile's own.
    OwnSecond,
    /// The block must be named plainly.
    Inherit,
    Call,
    Macro,
    /// It is refused, and why.
    Refused(&'static str),
}

const ELSEWHERE: &str = "a raw profile is a block of its own, and stays inside of it";
const GLOBAL: &str = "it changes the policy of the whole node";
const LABELS: &str = "it labels objects of the whole node";
const USERS: &str = "users and roles belong to the whole node";
const LEVELS: &str = "levels and categories belong to the whole node";
const CLASSES: &str = "classes belong to the whole node";
const CONDITIONS: &str = "write the statements without it: whether they are in force must not \
                          depend on the node";

fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "boolean" | "categoryset" | "classpermission" | "ipaddr" | "permissionx"
        | "roleattribute" | "type" | "typealias" | "typeattribute" | "userattribute" => Rule::Free,
        "allow" | "allowx" | "auditallow" | "auditallowx" | "deny" | "dontaudit" | "dontauditx"
        | "neverallow" | "neverallowx" | "rangetransition" | "typechange" | "typemember"
        | "typetransition" => Rule::Access,
        "typeattributeset" => Rule::Members,
        "classpermissionset"
        | "expandtypeattribute"
        | "roleattributeset"
        | "typealiasactual"
        | "typeneveraudit"
        | "userattributeset" => Rule::OwnFirst,
        "typebounds" => Rule::OwnSecond,
        "blockinherit" => Rule::Inherit,
        "call" => Rule::Call,
        "macro" => Rule::Macro,
        "block" | "blockabstract" | "in" => Rule::Refused(ELSEWHERE),
        "booleanif" | "false" | "optional" | "true" | "tunable" | "tunableif" => {
            Rule::Refused(CONDITIONS)
        }
        "class" | "classcommon" | "classmap" | "classmapping" | "classorder" | "common" => {
            Rule::Refused(CLASSES)
        }
        "role" | "roleallow" | "rolebounds" | "roletransition" | "roletype" | "selinuxuser"
        | "selinuxuserdefault" | "user" | "userbounds" | "userlevel" | "userprefix"
        | "userrange" | "userrole" => Rule::Refused(USERS),
        "category"
        | "categoryalias"
        | "categoryaliasactual"
        | "categoryorder"
        | "level"
        | "levelrange"
        | "sensitivity"
        | "sensitivityalias"
        | "sensitivityaliasactual"
        | "sensitivitycategory"
        | "sensitivityorder" => Rule::Refused(LEVELS),
        "context" | "devicetreecon" | "filecon" | "fsuse" | "genfscon" | "ibendportcon"
        | "ibpkeycon" | "iomemcon" | "ioportcon" | "netifcon" | "nodecon" | "pcidevicecon"
        | "pirqcon" | "portcon" | "sid" | "sidcontext" | "sidorder" => Rule::Refused(LABELS),
        "constrain" | "defaultrange" | "defaultrole" | "defaulttype" | "defaultuser"
        | "handleunknown" | "mls" | "mlsconstrain" | "mlsvalidatetrans" | "policycap"
        | "validatetrans" => Rule::Refused(GLOBAL),
        "typepermissive" => Rule::Refused("a raw profile denies what it does not allow"),
        _ => return None,
    })
}

/// Tells what in a policy reaches beyond the profile's own types.
pub(super) fn check<'t>(tree: &'t Tree<'_>, scope: &Scope<'t, '_>, flaws: &mut Flaws<'_, '_>) {
    for statement in statements(tree) {
        judge(statement, None, scope, flaws);
    }
    for (index, one) in scope.macros.iter().enumerate() {
        if scope.find_macro(one.name) != Some(index) {
            let message = format!("the macro {} is there twice", quoted(one.name));
            flaws.error(head_of(one.definition), message, None);
        }
        for statement in body(one.definition) {
            judge(statement, Some(index), scope, flaws);
        }
    }
}

fn judge(
    statement: Item<'_, '_>,
    within: Option<usize>,
    scope: &Scope<'_, '_>,
    flaws: &mut Flaws<'_, '_>,
) {
    let Some(name) = statement.head() else {
        return;
    };
    // What is no statement at all was told already.
    let Some(rule) = rule(name) else {
        return;
    };
    let mut given = arguments(statement);
    let (first, second) = (given.next(), given.next());
    match rule {
        Rule::Refused(reason) => {
            let message = format!("`{name}` is not allowed in a raw profile");
            flaws.error(head_of(statement), message, Some(reason.to_owned()));
        }
        Rule::Macro if within.is_some() => {
            let message = "a macro cannot stand in a macro".to_owned();
            flaws.error(head_of(statement), message, None);
        }
        Rule::Free | Rule::Macro => {}
        Rule::Access => {
            if let (Some(source), Some(target)) = (first, second) {
                access(name, source, target, within, scope, flaws);
            }
        }
        Rule::Members => {
            if let (Some(attribute), Some(expression)) = (first, second) {
                membership(attribute, expression, within, scope, flaws);
            }
        }
        Rule::OwnFirst | Rule::OwnSecond => {
            let argument = if let Rule::OwnFirst = rule {
                first
            } else {
                second
            };
            let foreign = argument.and_then(|argument| {
                let Members { names, open } = members(argument);
                let own = |item: &Item<'_, '_>| {
                    item.name().is_some_and(|given| match name {
                        "typebounds" | "typeneveraudit" => scope.is_own(given, within),
                        _ => scope.may_change(given, within),
                    })
                };
                open.or_else(|| names.into_iter().find(|name| !own(name)))
            });
            if let Some(foreign) = foreign {
                refuse(name, foreign, flaws);
            }
        }
        Rule::Inherit => {
            if let Some(block) = first
                && let Some(block_name) = block.name()
                && !names::is_label(block_name)
            {
                let message = format!("{} cannot be the name of a policy", quoted(block_name));
                flaws.error(block.span(), message, Some(names::LABEL_HELP.to_owned()));
            }
        }
        Rule::Call => {
            if let (Some(called), Some(list)) = (first, second) {
                call(called, list, within, scope, flaws);
            }
        }
    }
}

fn access(
    statement: &str,
    source: Item<'_, '_>,
    target: Item<'_, '_>,
    within: Option<usize>,
    scope: &Scope<'_, '_>,
    flaws: &mut Flaws<'_, '_>,
) {
    let (Some(source_name), Some(target_name)) = (source.name(), target.name()) else {
        return;
    };
    if scope.is_own(source_name, within) || scope.is_own(target_name, within) {
        return;
    }
    let message = if scope.is_declared(source_name, within) {
        format!(
            "{} stands for types that are not this profile's own",
            quoted(source_name)
        )
    } else {
        format!("{} is not this profile's own type", quoted(source_name))
    };
    let near = if flaws.errors_are_told() {
        scope.suggest(source_name)
    } else {
        None
    };
    let help = match near {
        Some(own) => format!("did you mean `{own}`?"),
        None if source_name == "process" => {
            "write `(blockinherit container)` or `(type process)` to have it".to_owned()
        }
        None => {
            format!("the source or the target of `{statement}` must be a type of this profile")
        }
    };
    flaws.error(source.span(), message, Some(help));
}

fn membership(
    attribute: Item<'_, '_>,
    expression: Item<'_, '_>,
    within: Option<usize>,
    scope: &Scope<'_, '_>,
    flaws: &mut Flaws<'_, '_>,
) {
    let Some(name) = attribute.name() else {
        return;
    };
    if scope.may_change(name, within) {
        return;
    }
    let Members { names, open } = members(expression);
    let is_own = |item: &Item<'_, '_>| item.name().is_some_and(|name| scope.is_own(name, within));
    if let Some(foreign) = open.or_else(|| names.into_iter().find(|name| !is_own(name))) {
        let message = format!(
            "{} would give foreign types what {} may do",
            quoted(foreign.name().or(foreign.head()).unwrap_or_default()),
            quoted(name)
        );
        let help = "only types of this profile may become members of an attribute of the node";
        flaws.error(start_of(foreign), message, Some(help.to_owned()));
    }
}

fn call(
    called: Item<'_, '_>,
    list: Item<'_, '_>,
    within: Option<usize>,
    scope: &Scope<'_, '_>,
    flaws: &mut Flaws<'_, '_>,
) {
    let Some(name) = called.name() else {
        return;
    };
    // What own macros do with their parameters is known, and judged where they do it.
    if scope.find_macro(name).is_some() {
        return;
    }
    for argument in list.items() {
        if class_permissions(argument).is_some() {
            continue;
        }
        let Members { names, open } = members(argument);
        let is_own =
            |item: &Item<'_, '_>| item.name().is_some_and(|name| scope.is_own(name, within));
        if let Some(foreign) = open.or_else(|| names.into_iter().find(|name| !is_own(name))) {
            let message = format!(
                "{} is not this profile's own, and nobody knows what {} allows it",
                quoted(foreign.name().or(foreign.head()).unwrap_or_default()),
                quoted(name)
            );
            let help = "a macro of the node may be called with types of this profile only";
            flaws.error(start_of(foreign), message, Some(help.to_owned()));
        }
    }
}

fn refuse(statement: &str, foreign: Item<'_, '_>, flaws: &mut Flaws<'_, '_>) {
    let message = format!(
        "{} is not declared in this profile",
        quoted(foreign.name().or(foreign.head()).unwrap_or_default())
    );
    let help = format!("`{statement}` may change only what the profile declares itself");
    flaws.error(start_of(foreign), message, Some(help));
}

/// The parenthesis and the name of a statement.
fn head_of(statement: Item<'_, '_>) -> std::ops::Range<usize> {
    start_of(statement)
}

fn start_of(item: Item<'_, '_>) -> std::ops::Range<usize> {
    let span = item.span();
    match item.items().next() {
        Some(first) if first.name().is_some() => span.start..first.span().end,
        Some(_) => span.start..span.start + 1,
        None => span,
    }
}
