//! Applying one difference between versions, in either direction.

use super::Changes;
use super::edit::{equal, get, get_mut, put, take};
use super::rules::Rule;
use crate::api::json;
use crate::profile::tree::{Node, Place, Value};

impl Rule {
    /// Makes what is old new.
    pub(super) fn apply(&self, root: &mut Node, changes: &mut Changes) {
        match *self {
            Self::Move { old, new } => {
                // `status` was text and is a map now.
                let nested = new
                    .strip_prefix(old)
                    .is_some_and(|rest| rest.starts_with('.'));
                if nested
                    && !get(root, old).is_some_and(|node| matches!(node.value, Value::Text(_)))
                {
                    return;
                }
                if let Some((place, node)) = take(root, old) {
                    moved(root, (old, new), (place, node), changes);
                }
            }
            Self::Switch { old, new, off, on } => {
                let Some((place, node)) = take(root, old) else {
                    return;
                };
                let name = match node.value {
                    Value::Null => return,
                    Value::Bool(truth) => {
                        if truth {
                            on
                        } else {
                            off
                        }
                    }
                    _ => {
                        let text = "must be `true` or `false`".to_owned();
                        return changes.error(node.place, old, text);
                    }
                };
                let value = json::node(Value::Text(name.to_owned()), node.place);
                moved(root, (old, new), (place, value), changes);
            }
            Self::Names { at, names } => rename(root, at, changes, |name| {
                let mut names = names.iter();
                let found = names.find(|(old, _)| old.eq_ignore_ascii_case(name));
                found.map(|(_, new)| *new)
            }),
        }
    }

    /// Makes what is new old.
    pub(super) fn undo(&self, root: &mut Node, changes: &mut Changes) {
        match *self {
            Self::Move { old, new } => {
                if let Some((place, node)) = take(root, new) {
                    moved(root, (new, old), (place, node), changes);
                }
            }
            Self::Switch { old, new, off, on } => {
                let Some((place, node)) = take(root, new) else {
                    return;
                };
                let truth = match &node.value {
                    Value::Text(name) if name == on => true,
                    Value::Text(name) if name == off => false,
                    _ => return changes.error(node.place, new, "has no known value".to_owned()),
                };
                let value = json::node(Value::Bool(truth), node.place);
                moved(root, (new, old), (place, value), changes);
            }
            Self::Names { at, names } => rename(root, at, changes, |name| {
                let found = names.iter().find(|(_, new)| *new == name);
                found.map(|(old, _)| *old)
            }),
        }
    }
}

/// Puts what was taken from one path to another one.
fn moved(root: &mut Node, paths: (&str, &str), taken: (Place, Node), changes: &mut Changes) {
    let ((from, to), (place, node)) = (paths, taken);
    if matches!(node.value, Value::Null) {
        return;
    }
    if let Some(there) = get(root, to) {
        if !equal(there, &node) {
            let text = format!("contradicts `{to}`: remove one of them");
            changes.error(place, from, text);
        }
        return;
    }
    let text = match &node.value {
        Value::Text(name) => format!("is `{to}: {name}` now"),
        _ => format!("is `{to}` now"),
    };
    if put(root, to, place, node) {
        changes.note(place, from, text);
    } else {
        let text = format!("has no place: the object has something else at `{to}`");
        changes.error(place, from, text);
    }
}

fn rename(
    root: &mut Node,
    at: &str,
    changes: &mut Changes,
    new: impl Fn(&str) -> Option<&'static str>,
) {
    let Some(Node {
        value: Value::Text(name),
        place,
    }) = get_mut(root, at)
    else {
        return;
    };
    if let Some(new) = new(name)
        && new != name
    {
        new.clone_into(name);
        changes.note(*place, at, format!("is `{new}` now"));
    }
}
