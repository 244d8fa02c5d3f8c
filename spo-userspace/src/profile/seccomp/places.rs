//! Where the parts of a profile stand in its file, for findings about them.

use crate::profile::fields::Fields;
use crate::profile::tree::{Node, Place, Value};

/// Places beside a profile that was read without an error.
pub(super) struct Places {
    pub(super) default_action: Place,
    /// In the order of the profile, one for each.
    pub(super) architectures: Vec<Place>,
    /// In the order of the profile, one for each rule.
    pub(super) rules: Vec<RulePlaces>,
}

pub(super) struct RulePlaces {
    pub(super) rule: Place,
    names: Vec<(String, Place)>,
}

impl Places {
    /// The places of what the fields hold.
    pub(super) fn of(fields: &Fields<'_>) -> Self {
        let default_action = fields.get("defaultAction");
        let mut architectures: Vec<(&str, Place)> = Vec::new();
        for (name, place) in list(fields.get("architectures")).iter().filter_map(text) {
            // The reader takes what is listed twice once.
            if !architectures.iter().any(|(known, _)| *known == name) {
                architectures.push((name, place));
            }
        }
        let rules = list(fields.get("syscalls")).iter().map(RulePlaces::of);
        Self {
            default_action: default_action.map_or(fields.place, |node| node.place),
            architectures: architectures.into_iter().map(|(_, place)| place).collect(),
            rules: rules.collect(),
        }
    }

    /// Where a call's name first stands in the rules that `wanted` picks by their numbers.
    pub(super) fn name(&self, name: &str, wanted: impl Fn(usize) -> bool) -> Option<Place> {
        let rules = self.rules.iter().enumerate();
        rules
            .filter(|(number, _)| wanted(*number))
            .find_map(|(_, rule)| rule.name(name))
    }
}

impl RulePlaces {
    fn of(rule: &Node) -> Self {
        let names = match &rule.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| matches!(&key.value, Value::Text(name) if name == "names"))
                .map(|(_, names)| names),
            _ => None,
        };
        let names = list(names).iter().filter_map(text);
        Self {
            rule: rule.place,
            names: names
                .map(|(name, place)| (name.to_owned(), place))
                .collect(),
        }
    }

    pub(super) fn name(&self, name: &str) -> Option<Place> {
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, place)| *place)
    }
}

fn list(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(list)) => list,
        _ => &[],
    }
}

fn text(node: &Node) -> Option<(&str, Place)> {
    match &node.value {
        Value::Text(text) => Some((text, node.place)),
        _ => None,
    }
}
