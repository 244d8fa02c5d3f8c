//! Taking values out of a tree, with every mistake noted.

use super::diagnostic::{Diagnostic, Severity, quoted};
use super::named::Named;
use super::suggest::nearest;
use super::tree::{Node, Parsed, Place, Value};

/// How many problems of each severity are told. A file that is wrong throughout would
/// otherwise cost much time and tell nothing more.
const MOST_TOLD: usize = 100;

/// Collects what is wrong in one file.
pub(crate) struct Problems<'a> {
    file: &'a str,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    untold: usize,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            errors: Vec::new(),
            warnings: Vec::new(),
            untold: 0,
        }
    }

    /// The tree of a file, and what was found in it so far.
    pub(crate) fn continued(parsed: Parsed<'a>) -> (Option<Node>, Self) {
        let Parsed {
            file,
            source: _,
            root,
            found,
        } = parsed;
        let mut problems = Self::new(file);
        for found in found {
            problems.add(found);
        }
        (root, problems)
    }

    /// Takes in what was found elsewhere.
    pub(crate) fn add(&mut self, found: Diagnostic) {
        match found.severity {
            Severity::Error => self.errors.push(found),
            Severity::Warning => self.warnings.push(found),
        }
    }

    pub(crate) fn error(&mut self, place: Place, message: String, help: Option<String>) {
        self.note(Severity::Error, None, place, message, help);
    }

    pub(crate) fn warn(&mut self, place: Place, message: String, help: Option<String>) {
        self.note(Severity::Warning, None, place, message, help);
    }

    /// A warning that has a name, so that its file can silence it.
    pub(crate) fn lint(
        &mut self,
        rule: &'static str,
        place: Place,
        message: String,
        help: Option<String>,
    ) {
        self.note(Severity::Warning, Some(rule), place, message, help);
    }

    /// Whether another error would still be told.
    pub(crate) fn errors_are_told(&self) -> bool {
        self.errors.len() < MOST_TOLD
    }

    /// Whether another warning would still be told.
    pub(crate) fn warnings_are_told(&self) -> bool {
        self.warnings.len() < MOST_TOLD
    }

    pub(crate) fn any_error(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Everything found, in the order of the file.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let Self {
            file,
            errors,
            warnings,
            untold,
        } = self;
        let mut all = errors;
        all.extend(warnings);
        all.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.severity));
        // An alias repeats what is wrong in its anchor.
        all.dedup();
        if untold > 0 {
            let severity = all
                .iter()
                .map(|told| told.severity)
                .min()
                .unwrap_or(Severity::Error);
            let last = all.last();
            all.push(Diagnostic {
                severity,
                rule: None,
                file: file.to_owned(),
                line: last.map_or(1, |last| last.line),
                column: last.map_or(1, |last| last.column),
                span: last.map_or(0..0, |last| last.span.clone()),
                message: format!("{untold} more problems are not shown"),
                help: None,
            });
        }
        all
    }

    fn note(
        &mut self,
        severity: Severity,
        rule: Option<&'static str>,
        place: Place,
        message: String,
        help: Option<String>,
    ) {
        let told = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if told.len() >= MOST_TOLD {
            self.untold += 1;
            return;
        }
        told.push(Diagnostic {
            severity,
            rule,
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            span: place.span(),
            message,
            help,
        });
    }

    /// The fields of a map. `missing` is where to point when one is missing.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        missing: Option<Place>,
    ) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, what, "a map");
            return None;
        };
        let mut fields = Vec::new();
        for (key, value) in entries {
            if let Value::Text(name) = &key.value {
                fields.push((name.as_str(), key.place, value));
            } else {
                let message = format!("a field's name is text, but this is {}", key.describe());
                self.error(key.place, message, None);
            }
        }
        let first = fields.first().map(|(_, place, _)| *place);
        let place = missing.or(first).unwrap_or(node.place);
        Some(Fields { place, fields })
    }

    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.wrong_type(node, what, "text");
        None
    }

    /// Like [`Problems::text`], where any text is good, so that quotes are what is missing.
    pub(crate) fn free_text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Bool(_) | Value::Integer(_) | Value::Float(_) = &node.value {
            let message = format!("{what} must be text, but this is {}", node.describe());
            self.error(node.place, message, Some("put it into quotes".to_owned()));
            return None;
        }
        self.text(node, what)
    }

    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Value::List(list) = &node.value {
            return Some(list);
        }
        self.wrong_type(node, what, "a list");
        None
    }

    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.wrong_type(node, what, "`true` or `false`");
        None
    }

    pub(crate) fn number(&mut self, node: &Node, what: &str, largest: u64) -> Option<u64> {
        let Value::Integer(number) = node.value else {
            self.wrong_type(node, what, "a whole number");
            return None;
        };
        if number < 0 {
            self.error(node.place, format!("{what} must not be negative"), None);
            return None;
        }
        match u64::try_from(number) {
            Ok(number) if number <= largest => Some(number),
            _ => {
                self.error(
                    node.place,
                    format!("{what} must not be above {largest}"),
                    None,
                );
                None
            }
        }
    }

    pub(crate) fn named<T: Named>(&mut self, node: &Node, what: &str) -> Option<T> {
        let name = self.text(node, what)?;
        let value = T::from_name(name);
        if value.is_none() {
            let names = || T::ALL.iter().map(|(_, name)| *name);
            let help = match nearest(name, names()) {
                Some(suggestion) => format!("did you mean `{suggestion}`?"),
                None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.error(
                node.place,
                format!("{} is not {}", quoted(name), T::ONE),
                Some(help),
            );
        }
        value
    }

    pub(crate) fn missing(&mut self, place: Place, name: &str) {
        self.error(place, format!("missing field `{name}`"), None);
    }

    fn wrong_type(&mut self, node: &Node, what: &str, expected: &str) {
        let message = format!("{what} must be {expected}, but this is {}", node.describe());
        self.error(node.place, message, None);
    }
}

/// The fields of a map.
pub(crate) struct Fields<'a> {
    /// Where to point when a field is missing.
    pub(crate) place: Place,
    fields: Vec<(&'a str, Place, &'a Node)>,
}

impl<'a> Fields<'a> {
    /// A field that may be missing; `null` means missing, as in Kubernetes.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        let (_, _, node) = self.fields.iter().find(|(field, ..)| *field == name)?;
        (!matches!(node.value, Value::Null)).then_some(*node)
    }

    /// A field that must be there.
    pub(crate) fn require(&self, name: &str, problems: &mut Problems<'_>) -> Option<&'a Node> {
        let node = self.get(name);
        if node.is_none() {
            problems.missing(self.place_of(name).unwrap_or(self.place), name);
        }
        node
    }

    /// Every field that is not `null`, with the place of its name.
    pub(crate) fn present(&self) -> impl Iterator<Item = (&'a str, Place, &'a Node)> {
        let present = |(_, _, node): &(&str, Place, &Node)| !matches!(node.value, Value::Null);
        self.fields.iter().copied().filter(present)
    }

    /// Where a field's name stands.
    pub(crate) fn place_of(&self, name: &str) -> Option<Place> {
        self.fields
            .iter()
            .find(|(field, ..)| *field == name)
            .map(|(_, place, _)| *place)
    }

    /// The fields with names that are not among the known ones.
    pub(crate) fn unknown(
        &self,
        known: &'static [&'static str],
    ) -> impl Iterator<Item = (&'a str, Place)> {
        self.fields
            .iter()
            .filter(move |(name, ..)| !known.contains(name))
            .map(|(name, place, _)| (*name, *place))
    }

    /// Notes the fields of an object that the API server would not take.
    pub(crate) fn refuse_unknown(
        &self,
        known: &'static [&'static str],
        problems: &mut Problems<'_>,
    ) {
        for (name, place) in self.unknown(known) {
            let help =
                nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
            problems.error(place, format!("unknown field {}", quoted(name)), help);
        }
    }
}
