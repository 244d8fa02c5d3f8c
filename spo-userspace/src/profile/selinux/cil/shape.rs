//! Whether statements have the form that the compiler wants.

use std::ops::Range;

use super::flaws::Flaws;
use super::statements::{self, Statement};
use super::tree::{Item, Tree};
use crate::profile::diagnostic::quoted;
use crate::profile::suggest::nearest;

/// Checks all statements of a tree.
pub(super) fn check(tree: &Tree<'_>, flaws: &mut Flaws<'_, '_>) {
    let mut open: Vec<Item<'_, '_>> = Vec::new();
    let mut last_line = usize::MAX;
    for item in tree.items() {
        if item.is_list() || item.is_marked() {
            open.push(item);
            continue;
        }
        // One message a line is enough for what may be prose.
        let line = flaws.line(item.span().start);
        if line != last_line {
            outside(item, flaws);
        }
        last_line = line;
    }
    open.reverse();
    while let Some(item) = open.pop() {
        if item.is_marked() {
            let inner = open.len();
            open.extend(item.items());
            open[inner..].reverse();
            continue;
        }
        let inner = open.len();
        statement(item, &mut open, flaws);
        open[inner..].reverse();
    }
}

/// The class and the list of permissions of `(CLASS (PERMISSION ...))`.
pub(in crate::profile::selinux) fn class_permissions<'t, 's>(
    item: Item<'t, 's>,
) -> Option<(Item<'t, 's>, Item<'t, 's>)> {
    let mut items = item.items();
    let (class, permissions) = (items.next()?, items.next()?);
    (item.is_list() && class.name().is_some() && permissions.is_list() && items.next().is_none())
        .then_some((class, permissions))
}

fn outside(item: Item<'_, '_>, flaws: &mut Flaws<'_, '_>) {
    let name = item.name().unwrap_or_default();
    let help = if statements::find(name).is_some() || name == "{" {
        "CIL is written in parentheses: `(allow SOURCE TARGET (CLASS (PERMISSION ...)))`"
    } else {
        "comments begin with `;`"
    };
    flaws.error(
        item.span(),
        format!("{} is not in parentheses", quoted(name)),
        Some(help.to_owned()),
    );
}

/// Checks one statement, and adds those inside of it to `open`.
fn statement<'t, 's>(item: Item<'t, 's>, open: &mut Vec<Item<'t, 's>>, flaws: &mut Flaws<'_, '_>) {
    if let Some(name) = item.name() {
        let message = format!("{} stands where a statement is expected", quoted(name));
        flaws.error(item.span(), message, None);
        return;
    }
    let mut items = item.items();
    let Some(head) = items.next() else {
        flaws.error(item.span(), "this list is empty".to_owned(), None);
        return;
    };
    let Some(name) = head.name() else {
        let message = "a statement begins with its name, not with a list".to_owned();
        let help = "is there a `(` too many?";
        flaws.error(start_of(head), message, Some(help.to_owned()));
        open.extend(item.items().filter(|item| item.is_list()));
        return;
    };
    let Some(statement) = statements::find(name) else {
        // Suggestions cost time, and this one might not be seen.
        let help = flaws.errors_are_told().then(|| unknown_help(name));
        let message = format!("{} is no statement of CIL", quoted(name));
        flaws.error(head.span(), message, help);
        return;
    };
    arguments(item, statement, items, open, flaws);
}

fn unknown_help(name: &str) -> String {
    nearest(name, statements::names()).map_or_else(
        || "statements are lower-case words such as `allow`, `type` or `block`".to_owned(),
        |near| format!("did you mean `{near}`?"),
    )
}

fn arguments<'t, 's>(
    item: Item<'t, 's>,
    statement: &Statement,
    arguments: impl Iterator<Item = Item<'t, 's>>,
    open: &mut Vec<Item<'t, 's>>,
    flaws: &mut Flaws<'_, '_>,
) {
    let Statement { name, form, usage } = statement;
    let wrong = |span: Range<usize>, message: String, flaws: &mut Flaws<'_, '_>| {
        // Of what was cut off nobody knows the end.
        if !item.is_mended() {
            let help = format!("write `({name} {usage})`");
            flaws.error(span, message, Some(help));
        }
    };
    let mut arguments = arguments.peekable();
    let mut optional = false;
    for letter in form.bytes() {
        let fits = |argument: &Item<'_, '_>| match letter {
            b'n' => argument.name().is_some(),
            b'l' => argument.is_list(),
            _ => !argument.is_marked(),
        };
        match (letter, arguments.peek().copied()) {
            (b'?', _) => optional = true,
            (b's', _) => {
                open.extend(arguments);
                return;
            }
            (_, None) if optional => return,
            (_, None) => {
                wrong(item.span(), format!("`{name}` lacks an argument"), flaws);
                return;
            }
            (_, Some(argument)) if fits(&argument) => {
                arguments.next();
                if letter == b'a' {
                    access(argument, flaws);
                }
            }
            (_, Some(_)) if optional && statement.holds_statements() => {}
            (_, Some(argument)) => {
                arguments.next();
                wrong(start_of(argument), misfit(name, argument, letter), flaws);
            }
        }
    }
    if let Some(argument) = arguments.next() {
        let statement = argument
            .head()
            .is_some_and(|head| statements::find(head).is_some());
        let message = if statement {
            format!("a statement stands inside of `{name}`: is a `)` missing before it?")
        } else {
            format!("`{name}` has an argument too many")
        };
        wrong(start_of(argument), message, flaws);
    }
}

fn misfit(name: &str, argument: Item<'_, '_>, letter: u8) -> String {
    if argument.is_marked() {
        return format!("a line mark stands inside of `{name}`");
    }
    match (letter, argument.name()) {
        (b'n', _) => format!("`{name}` has a list here where a name is expected"),
        (_, Some(found)) => format!("{} should be a list in `{name}`", quoted(found)),
        (_, None) => format!("`{name}` has a wrong argument"),
    }
}

/// A list at the place of permissions is a class with a list.
fn access(argument: Item<'_, '_>, flaws: &mut Flaws<'_, '_>) {
    if argument.name().is_some() || argument.is_mended() {
        return;
    }
    let (span, message, help) = match class_permissions(argument) {
        Some((_, permissions)) if permissions.items().next().is_none() => (
            permissions.span(),
            "there is no permission in this list",
            "list what is permitted",
        ),
        Some(_) => return,
        None => (
            argument.span(),
            "this is no class with its permissions",
            "write `(CLASS (PERMISSION ...))`, such as `(file (open read))`",
        ),
    };
    flaws.error(span, message.to_owned(), Some(help.to_owned()));
}

/// Where a list begins, so that a message does not underline all of it.
fn start_of(item: Item<'_, '_>) -> Range<usize> {
    let span = item.span();
    match item.items().next() {
        Some(first) if item.is_list() && first.name().is_some() => span.start..first.span().end,
        Some(_) => span.start..span.start + 1,
        None => span,
    }
}
