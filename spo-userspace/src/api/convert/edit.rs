//! Moving things about in a tree.

use super::Changes;
use crate::api::json;
use crate::profile::tree::{Node, Place, Value};

/// A field of a map.
pub(in crate::api) fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let found = entries.iter().find(|(key, _)| is(key, name));
    found.map(|(_, value)| value)
}

/// What is at a path of field names with dots between them.
pub(super) fn get<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(root, field)
}

pub(super) fn get_mut<'n>(root: &'n mut Node, path: &str) -> Option<&'n mut Node> {
    path.split('.').try_fold(root, |node, name| {
        let Value::Map(entries) = &mut node.value else {
            return None;
        };
        let found = entries.iter_mut().find(|(key, _)| is(key, name));
        found.map(|(_, value)| value)
    })
}

/// Takes out what is at a path, and each map that it leaves empty. The place is the name's.
pub(super) fn take(root: &mut Node, path: &str) -> Option<(Place, Node)> {
    let Value::Map(entries) = &mut root.value else {
        return None;
    };
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let at = entries.iter().position(|(key, _)| is(key, name))?;
    if rest.is_empty() {
        let (key, value) = entries.remove(at);
        return Some((key.place, value));
    }
    let (_, inner) = &mut entries[at];
    let taken = take(inner, rest)?;
    if matches!(&inner.value, Value::Map(entries) if entries.is_empty()) {
        entries.remove(at);
    }
    Some(taken)
}

/// Takes a field out of a map, and leaves the map, even empty.
pub(in crate::api) fn remove(root: &mut Node, map: &str, name: &str) {
    if let Some(Node {
        value: Value::Map(entries),
        ..
    }) = get_mut(root, map)
    {
        entries.retain(|(key, _)| !is(key, name));
    }
}

/// Puts a node to a path, with the maps that lead there. Says whether that was possible.
pub(super) fn put(root: &mut Node, path: &str, place: Place, node: Node) -> bool {
    let Value::Map(entries) = &mut root.value else {
        return false;
    };
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let at = entries.iter().position(|(key, _)| is(key, name));
    let key = || json::node(Value::Text(name.to_owned()), place);
    if rest.is_empty() {
        if at.is_none() {
            entries.push((key(), node));
        }
        return at.is_none();
    }
    let at = at.unwrap_or_else(|| {
        entries.push((key(), json::node(Value::Map(Vec::new()), place)));
        entries.len() - 1
    });
    put(&mut entries[at].1, rest, place, node)
}

/// Whether two nodes say the same.
pub(super) fn equal(left: &Node, right: &Node) -> bool {
    json::of_tree(left) == json::of_tree(right)
}

/// Early releases had the error numbers of seccomp rules as text.
pub(super) fn error_numbers(root: &mut Node, changes: &mut Changes) {
    let Some(Node {
        value: Value::List(rules),
        ..
    }) = get_mut(root, "spec.syscalls")
    else {
        return;
    };
    for (index, rule) in rules.iter_mut().enumerate() {
        let path = format!("spec.syscalls[{index}].errnoRet");
        let Some(node) = get_mut(rule, "errnoRet") else {
            continue;
        };
        let Value::Text(text) = &node.value else {
            continue;
        };
        if text.is_empty() {
            take(rule, "errnoRet");
        } else if let Ok(number) = text.parse::<u32>() {
            node.value = Value::Integer(number.into());
            changes.note(node.place, &path, "is a number now".to_owned());
        } else {
            changes.error(node.place, &path, "is no number".to_owned());
            take(rule, "errnoRet");
        }
    }
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.value, Value::Text(key) if key == name)
}
