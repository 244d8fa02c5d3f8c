//! Raw SELinux profiles: a policy in CIL, which becomes a block and must stay inside of it.

mod read;
mod restrict;
mod rules;
mod scope;
mod write;

pub(crate) use self::read::read_parsed as read_raw_parsed;
pub use self::read::{read_raw, read_raw_and_lint};
pub use self::restrict::check_raw_restrictions;
pub(super) use self::write::up_to_date;
pub use self::write::{write_raw_cil, write_raw_object};
use super::cil::{self, Flaws, Item, Places, Tree};
use crate::profile::fields::Problems;
use crate::profile::state::State;

/// The longest policy in characters, as the API server wants it.
const LONGEST_POLICY: usize = 500_000;

/// A profile in CIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSelinuxSpec {
    /// Whether the profile is to be installed.
    pub state: State,
    /// The statements of its block.
    pub policy: String,
}

/// A policy that was read before, as a tree.
pub(super) fn tree(policy: &str) -> Option<Tree<'_>> {
    let places = Places::of_nowhere(policy);
    let mut problems = Problems::new("");
    cil::parse(policy, &mut Flaws::new(&mut problems, &places))
}

/// The statements at the top of a policy, also those between line marks.
pub(super) fn statements<'t, 's>(tree: &'t Tree<'s>) -> impl Iterator<Item = Item<'t, 's>> {
    flat(tree.items().collect())
}

/// The statements of a macro.
fn body<'t, 's>(definition: Item<'t, 's>) -> impl Iterator<Item = Item<'t, 's>> {
    flat(definition.items().skip(3).collect())
}

pub(super) fn flat<'t, 's>(mut open: Vec<Item<'t, 's>>) -> impl Iterator<Item = Item<'t, 's>> {
    open.reverse();
    std::iter::from_fn(move || {
        loop {
            let item = open.pop()?;
            if !item.is_marked() {
                return Some(item);
            }
            let from = open.len();
            open.extend(item.items());
            open[from..].reverse();
        }
    })
}

/// The arguments of a statement.
fn arguments<'t, 's>(statement: Item<'t, 's>) -> impl Iterator<Item = Item<'t, 's>> {
    statement.items().skip(1)
}
