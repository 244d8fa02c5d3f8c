//! CIL, the language that SELinux policies are compiled from: lists in parentheses.
//!
//! The words and their arguments follow the CIL reference guide of the SELinux project, and what
//! its compiler `secilc` takes.

mod balance;
mod flaws;
mod scan;
mod shape;
mod statements;
mod tree;

pub(super) use self::flaws::{Flaws, Places};
pub(super) use self::shape::class_permissions;
pub use self::tree::{Item, Tree};
use super::cil_lint::lint_file;
use crate::profile::diagnostic::Diagnostic;
use crate::profile::fields::Problems;
use crate::profile::tree::text_of;

/// Reads a file of CIL and tells everything that is wrong with its form. There is a tree if
/// nothing is.
///
/// Names are not looked up: what they stand for is in other modules of the policy. `file` is the
/// name to use in messages.
pub fn read_cil<'s>(file: &str, source: &'s [u8]) -> (Option<Tree<'s>>, Vec<Diagnostic>) {
    read_whole(file, source, |_, _| {})
}

/// Like [`read_cil`], and looks for those of [`LINTS`](super::LINTS) that a policy can have.
pub fn read_cil_and_lint<'s>(file: &str, source: &'s [u8]) -> (Option<Tree<'s>>, Vec<Diagnostic>) {
    read_whole(file, source, lint_file)
}

fn read_whole<'s>(
    file: &str,
    source: &'s [u8],
    lint: impl FnOnce(&Tree<'s>, &mut Flaws<'_, '_>),
) -> (Option<Tree<'s>>, Vec<Diagnostic>) {
    let text = match text_of(file, source) {
        Ok(text) => text,
        Err(error) => return (None, vec![*error]),
    };
    let mut problems = Problems::new(file);
    let places = Places::of_file(text);
    let mut flaws = Flaws::new(&mut problems, &places);
    let tree = parse(text, &mut flaws);
    match &tree {
        Some(tree) if flaws.errors() == 0 && tree.items().next().is_none() => {
            let help = "a policy is written in parentheses: `(block NAME ...)`".to_owned();
            flaws.error(0..0, "there is nothing in the file".to_owned(), Some(help));
        }
        Some(tree) if flaws.errors() == 0 => lint(tree, &mut flaws),
        _ => {}
    }
    let tree = tree.filter(|_| !problems.any_error());
    (tree, problems.finish())
}

/// Reads CIL that may be a part of another file. There is a tree unless the text is refused; where
/// parentheses do not match, it is the likeliest one.
pub(super) fn parse<'s>(text: &'s str, flaws: &mut Flaws<'_, '_>) -> Option<Tree<'s>> {
    let tokens = scan::scan(text, flaws)?;
    let repairs = balance::balance(text, &tokens, flaws)?;
    let tree = tree::build(text, &tokens, &repairs, flaws);
    shape::check(&tree, flaws);
    Some(tree)
}
