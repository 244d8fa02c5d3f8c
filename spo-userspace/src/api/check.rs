//! Checks an object against the schema of its kind, as the API server does, and says where in
//! the file it is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use regex::Regex;
use serde_json::Value as Schema;

use super::convert::successor;
use super::json;
use crate::profile::diagnostic::quoted;
use crate::profile::fields::{Fields, Problems};
use crate::profile::selector;
use crate::profile::suggest::nearest;
use crate::profile::tree::{Node, Place, Value};

/// Checks nodes. Walks no deeper than the tree, which is bounded.
pub(super) struct Checker<'s, 'p, 'f> {
    kind: &'static str,
    problems: &'p mut Problems<'f>,
    patterns: BTreeMap<&'s str, Option<Regex>>,
}

/// How to get to a node from the root, written as the API server does: `spec.args[0].index`.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of a map.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Names are chosen by whoever wrote the file.
        const LONGEST: usize = 60;
        match self {
            Self::Root => Ok(()),
            Self::Field(parent, name) => {
                write!(formatter, "{parent}")?;
                if !matches!(parent, Self::Root) {
                    formatter.write_str(".")?;
                }
                write!(formatter, "{name:.LONGEST$}")
            }
            Self::Item(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

impl<'s, 'p, 'f> Checker<'s, 'p, 'f> {
    pub(super) fn new(kind: &'static str, problems: &'p mut Problems<'f>) -> Self {
        Self {
            kind,
            problems,
            patterns: BTreeMap::new(),
        }
    }

    /// Checks a node. `missing` is where to point when it lacks a field.
    pub(super) fn check(
        &mut self,
        node: &Node,
        schema: &'s Schema,
        path: &Path<'_>,
        missing: Option<Place>,
    ) {
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return self.amount(node, schema, path);
        }
        match schema.get("type").and_then(Schema::as_str) {
            Some("string") => self.text(node, schema, path),
            Some("integer") => self.number(node, schema, path),
            Some("boolean") if !matches!(node.value, Value::Bool(_)) => {
                self.wrong_type(node, "`true` or `false`", path);
            }
            Some("array") => self.list(node, schema, path),
            Some("object") => self.map(node, schema, path, missing),
            _ => {}
        }
    }

    fn text(&mut self, node: &Node, schema: &'s Schema, path: &Path<'_>) {
        let Value::Text(text) = &node.value else {
            return self.wrong_type(node, "text", path);
        };
        if let Some(names) = schema.get("enum").and_then(Schema::as_array) {
            let names = || names.iter().filter_map(Schema::as_str);
            if !names().any(|name| name == text) {
                let help = match nearest(text, names()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("{} is no value of `{path}`", quoted(text));
                return self.problems.error(node.place, message, Some(help));
            }
        }
        let length = text.chars().count() as u64;
        if bound(schema, "minLength").is_some_and(|least| length < least) {
            let message = format!("`{path}` must not be empty");
            return self.problems.error(node.place, message, None);
        }
        if let Some(most) = bound(schema, "maxLength")
            && length > most
        {
            let message = format!("`{path}` has {length} characters, and {most} are the most");
            self.problems.error(node.place, message, None);
        }
        if schema.get("format").and_then(Schema::as_str) == Some("date-time")
            && text.parse::<jiff::Timestamp>().is_err()
        {
            let message = format!("`{path}` must be a time such as 2026-01-31T12:00:00Z");
            self.problems.error(node.place, message, None);
        }
        self.pattern(text, node, schema, path);
    }

    fn pattern(&mut self, text: &str, node: &Node, schema: &'s Schema, path: &Path<'_>) {
        let Some(pattern) = schema.get("pattern").and_then(Schema::as_str) else {
            return;
        };
        let compiled = self
            .patterns
            .entry(pattern)
            .or_insert_with(|| Regex::new(pattern).ok());
        if compiled.as_ref().is_some_and(|regex| !regex.is_match(text)) {
            let message = format!("{} cannot be `{path}`", quoted(text));
            let help = format!("it must match `{pattern}`");
            self.problems.error(node.place, message, Some(help));
        }
    }

    fn number(&mut self, node: &Node, schema: &Schema, path: &Path<'_>) {
        let Value::Integer(number) = node.value else {
            return self.wrong_type(node, "a whole number", path);
        };
        let (lowest, highest) = match schema.get("format").and_then(Schema::as_str) {
            Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let bound = |name: &str| schema.get(name).and_then(Schema::as_i64).map(i128::from);
        let lowest = bound("minimum").unwrap_or(lowest);
        let highest = bound("maximum").unwrap_or(highest);
        let message = if number < lowest {
            format!("`{path}` must not be below {lowest}")
        } else if number > highest {
            format!("`{path}` must not be above {highest}")
        } else {
            return;
        };
        self.problems.error(node.place, message, None);
    }

    fn amount(&mut self, node: &Node, schema: &'s Schema, path: &Path<'_>) {
        match &node.value {
            Value::Text(text) => self.pattern(text, node, schema, path),
            Value::Integer(_) => {}
            _ => self.wrong_type(node, "an amount such as `500m` or `64Mi`", path),
        }
    }

    fn list(&mut self, node: &Node, schema: &'s Schema, path: &Path<'_>) {
        let Value::List(list) = &node.value else {
            return self.wrong_type(node, "a list", path);
        };
        if bound(schema, "minItems").is_some_and(|least| (list.len() as u64) < least) {
            let message = format!("`{path}` must not be empty");
            self.problems.error(node.place, message, None);
        }
        if let Some(most) = bound(schema, "maxItems")
            && let Some(first) = usize::try_from(most).ok().and_then(|most| list.get(most))
        {
            let message = format!("`{path}` has {} items, and {most} are the most", list.len());
            self.problems.error(first.place, message, None);
        }
        if let Some(items) = schema.get("items") {
            for (index, item) in list.iter().enumerate() {
                self.check(item, items, &Path::Item(path, index), None);
            }
        }
        let keys = schema.get("x-kubernetes-list-map-keys");
        match schema
            .get("x-kubernetes-list-type")
            .and_then(Schema::as_str)
        {
            Some("set") => self.unique(list, path, |item| Some(json::of_tree(item).to_string())),
            Some("map") => {
                let keys = keys.and_then(Schema::as_array);
                let keys = || keys.into_iter().flatten().filter_map(Schema::as_str);
                self.unique(list, path, |item| {
                    let item = json::of_tree(item);
                    let values: Option<Vec<_>> = keys().map(|key| item.get(key)).collect();
                    values.map(|values| format!("{values:?}"))
                });
            }
            _ => {}
        }
    }

    fn unique(
        &mut self,
        list: &[Node],
        path: &Path<'_>,
        identity: impl Fn(&Node) -> Option<String>,
    ) {
        let mut seen = BTreeSet::new();
        for (index, item) in list.iter().enumerate() {
            if let Some(identity) = identity(item)
                && !seen.insert(identity)
            {
                let path = Path::Item(path, index);
                let message = format!("`{path}` is there already");
                let help = Some("remove one of the two".to_owned());
                self.problems.error(item.place, message, help);
            }
        }
    }

    fn map(&mut self, node: &Node, schema: &'s Schema, path: &Path<'_>, missing: Option<Place>) {
        if !matches!(node.value, Value::Map(_)) {
            return self.wrong_type(node, "a map", path);
        }
        let Some(fields) = self.problems.fields(node, &format!("`{path}`"), missing) else {
            return;
        };
        if let Some(inner) = schema.get("additionalProperties") {
            for (name, place, value) in fields.present() {
                self.check(value, inner, &Path::Field(path, name), Some(place));
            }
            return;
        }
        let Some(properties) = schema.get("properties").and_then(Schema::as_object) else {
            return;
        };
        for (name, place, value) in fields.present() {
            let inner = Path::Field(path, name);
            match properties.get(name) {
                Some(schema) => self.check(value, schema, &inner, Some(place)),
                None => self.unknown(name, place, &inner, properties),
            }
        }
        if bound(schema, "minProperties").is_some_and(|least| least > 0)
            && fields.present().next().is_none()
        {
            let names = properties.keys().map(|name| format!("`{name}`"));
            let help = format!("give one of {}", names.collect::<Vec<_>>().join(", "));
            let message = format!("`{path}` must not be empty");
            self.problems.error(node.place, message, Some(help));
        }
        self.required(&fields, schema, path);
        if properties.contains_key("matchLabels") {
            selector::check(&fields, path, self.problems);
        }
    }

    fn required(&mut self, fields: &Fields<'_>, schema: &Schema, path: &Path<'_>) {
        let required = schema.get("required").and_then(Schema::as_array);
        let names = required.into_iter().flatten().filter_map(Schema::as_str);
        for name in names {
            if fields.get(name).is_none() {
                let place = fields.place_of(name).unwrap_or(fields.place);
                let path = Path::Field(path, name).to_string();
                self.problems.missing(place, &path);
            }
        }
    }

    fn unknown(
        &mut self,
        name: &str,
        place: Place,
        path: &Path<'_>,
        properties: &serde_json::Map<String, Schema>,
    ) {
        let help = match successor(self.kind, &path.to_string()) {
            Some(new) => Some(format!("in `v1` this is {new}")),
            None => nearest(name, properties.keys().map(String::as_str))
                .map(|name| format!("did you mean `{name}`?")),
        };
        let message = format!("unknown field {}", quoted(&path.to_string()));
        self.problems.error(place, message, help);
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, path: &Path<'_>) {
        let message = format!(
            "`{path}` must be {expected}, but this is {}",
            node.describe()
        );
        let scalar = matches!(
            node.value,
            Value::Bool(_) | Value::Integer(_) | Value::Float(_)
        );
        let help = match &node.value {
            Value::Null => Some("remove it, or give it a value"),
            _ if scalar && expected == "text" => Some("put it into quotes"),
            _ => None,
        };
        self.problems
            .error(node.place, message, help.map(str::to_owned));
    }
}

fn bound(schema: &Schema, name: &str) -> Option<u64> {
    schema.get(name).and_then(Schema::as_u64)
}
