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
use crate::profile::diagnostic::Diagnostic;
use crate::profile::fields::Problems;
use crate::profile::tree::text_of;

/// Reads a file of CIL and tells everything that is wrong with its form. There is a tree if
/// nothing is.
///
/// Names are not looked up: what they stand for is in other modules of the policy. `file` is the
/// name to use in messages.
pub fn read_cil<'s>(file: &str, source: &'s [u8]) -> (Option<Tree<'s>>, Vec<Diagnostic>) {
    let text = match text_of(file, source) {
        Ok(text) => text,
        Err(error) => return (None, vec![*error]),
    };
    let mut problems = Problems::new(file);
    let places = Places::of_file(text);
    let tree = parse(text, &mut Flaws::new(&mut problems, &places));
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
