//! YAML and JSON as a tree that knows where each of its nodes stands.
//!
//! JSON is a subset of YAML, so that one parser reads both. Readers walk the tree and collect all
//! problems of a file; only what keeps the text from being a tree at all stops at the first.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, Location, Options, Spanned};

use super::diagnostic::{Diagnostic, Severity, quoted};

/// Larger files are no profiles. A profile that names every system call has some 10 KiB.
pub const LARGEST_FILE: usize = 4 << 20;
/// The bounds of a tree.
const MOST_NODES: usize = 250_000;
/// How much of it may come from aliases, which make much out of little.
const MOST_REPLAYED: usize = 20_000;
const DEEPEST: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// What a node can be.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The first character of a file.
    pub(crate) const START: Self = Self {
        start: 0,
        end: 0,
        line: 1,
        column: 1,
    };

    pub(crate) fn span(self) -> Range<usize> {
        self.start..self.end
    }
}

impl Node {
    /// No value, for the place of one that was taken.
    pub(crate) fn nothing() -> Self {
        Self {
            value: Value::Null,
            place: Place::START,
        }
    }

    /// What the node is, for a message.
    pub(crate) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "a number",
            // `0644` is such a number: what it means depends on the version of YAML.
            Value::Float(_) => {
                "a number too large, or one with a fraction, an exponent or a leading 0"
            }
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// A file on its way to its reader.
pub(crate) struct Parsed<'a> {
    /// The name to use in messages.
    pub(crate) file: &'a str,
    pub(crate) source: &'a [u8],
    /// What the reader reads.
    pub(crate) root: Option<Node>,
    /// What was found so far.
    pub(crate) found: Vec<Diagnostic>,
}

impl<'a> Parsed<'a> {
    pub(crate) fn of(file: &'a str, source: &'a [u8]) -> Self {
        let (root, error) = parse(file, source);
        Self {
            file,
            source,
            root,
            found: error.into_iter().collect(),
        }
    }
}

/// Parses a file into a tree. Without a tree there is one error; with one there may be a single
/// error about a key that is there twice, of which the tree then has the first.
pub(crate) fn parse(file: &str, source: &[u8]) -> (Option<Node>, Option<Diagnostic>) {
    let refuse = |place, message, help| refuse(file, place, message, help);
    let text = match text_of(file, source) {
        Ok(text) => text,
        Err(error) => return (None, Some(*error)),
    };
    let mut duplicate = None;
    let mut result = serde_saphyr::from_str_with_options(text, options(DuplicateKeyPolicy::Error));
    if let Err(error) = &result
        && let Error::DuplicateMappingKey { key, .. } = innermost(error)
    {
        // The library stops here. Everything else that is wrong should be told as well.
        let key = key.as_deref().map(quoted).unwrap_or_default();
        let place = place_of_error(text, error);
        duplicate = Some(refuse(place, format!("the key {key} is there twice"), None));
        result = serde_saphyr::from_str_with_options(text, options(DuplicateKeyPolicy::FirstWins));
    }
    match result {
        Ok(node) => {
            let hidden = has_script_comments(text).then(|| commented_key(&node, text));
            if let Some(place) = hidden.flatten() {
                let message = "this comment hides the field behind it".to_owned();
                return (None, Some(refuse(place, message, Some(NO_COMMENTS))));
            }
            (Some(node), duplicate)
        }
        Err(error) => {
            let (message, help) = explain(&error);
            let help = help.or_else(|| has_script_comments(text).then_some(NO_COMMENTS));
            (
                None,
                Some(refuse(place_of_error(text, &error), message, help)),
            )
        }
    }
}

/// What to do about comments as JavaScript has them.
const NO_COMMENTS: &str = "JSON has no comments: remove what begins with `//` or `/*`";

/// A key that begins with such a comment, as YAML reads it: nobody would know the field behind it.
fn commented_key(node: &Node, text: &str) -> Option<Place> {
    match &node.value {
        Value::List(list) => list.iter().find_map(|node| commented_key(node, text)),
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            let here = text.get(key.place.start..).unwrap_or_default();
            let is_comment = here.starts_with("//") || here.starts_with("/*");
            is_comment
                .then_some(key.place)
                .or_else(|| commented_key(value, text))
        }),
        _ => None,
    }
}

/// Whether JSON has comments as JavaScript does, at the ends of lines or between them.
fn has_script_comments(text: &str) -> bool {
    let is_json = text.trim_ascii_start().starts_with(['{', '[', '/']);
    let begins = |word: &str| word.starts_with("//") || word.starts_with("/*");
    is_json && text.split_ascii_whitespace().any(begins)
}

/// The text of a file of a bearable size.
pub(crate) fn text_of<'s>(file: &str, source: &'s [u8]) -> Result<&'s str, Box<Diagnostic>> {
    if source.len() > LARGEST_FILE {
        let message = format!(
            "the file has {} bytes, more than any profile needs",
            source.len()
        );
        let help = "the limit is 4 MiB";
        return Err(Box::new(refuse(file, Place::START, message, Some(help))));
    }
    str::from_utf8(source).map_err(|error| {
        let place = place_of_offset(source, error.valid_up_to());
        let message = "the file is not UTF-8 text".to_owned();
        Box::new(refuse(file, place, message, None))
    })
}

fn refuse(file: &str, place: Place, message: String, help: Option<&str>) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        rule: None,
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        span: place.span(),
        message,
        help: help.map(str::to_owned),
    }
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES,
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_REPLAYED,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: duplicate_keys,
        emit_comments: false,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The library's error in our words where a profile's author would not understand its own.
fn explain(error: &Error) -> (String, Option<&'static str>) {
    match innermost(error) {
        Error::MultipleDocuments { .. } => {
            let help = "keep one profile per file";
            ("the file has several documents".to_owned(), Some(help))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            let message = "the file is nested too deep or has too many values";
            (message.to_owned(), Some("no profile needs this much"))
        }
        error => {
            let text = error.to_string();
            let message = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(message, _)| message);
            (message.to_owned(), None)
        }
    }
}

/// The error inside of those that only say how the parser got there.
fn innermost(mut error: &Error) -> &Error {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } =
        error
    {
        error = inner;
    }
    error
}

/// Syntax errors come with a line and a column only.
fn place_of_error(text: &str, error: &Error) -> Place {
    let Some(location) = error.location() else {
        return Place::START;
    };
    if location.span().byte_offset().is_some() {
        return place_of(location);
    }
    let (line, column) = (index(location.line()), index(location.column()));
    let line_start = match line {
        0 | 1 => 0,
        _ => text
            .match_indices('\n')
            .nth(line - 2)
            .map_or(text.len(), |(at, _)| at + 1),
    };
    let rest = &text[line_start..];
    let before = rest
        .chars()
        .take(column.saturating_sub(1))
        .map(char::len_utf8)
        .sum::<usize>();
    let start = line_start + before;
    let length = text[start..].chars().next().map_or(0, char::len_utf8);
    Place {
        start,
        end: start + length,
        line: line.max(1),
        column: column.max(1),
    }
}

fn place_of(location: Location) -> Place {
    let span = location.span();
    let start = index(span.byte_offset().unwrap_or_default());
    Place {
        start,
        end: start + index(span.byte_len().unwrap_or_default()),
        line: index(location.line()).max(1),
        column: index(location.column()).max(1),
    }
}

/// The place of a line and a column that counts bytes, both from 1.
pub(crate) fn place_of_byte_column(source: &[u8], line: usize, column: usize) -> Place {
    let newlines = source
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n');
    let line_start = match line {
        0 | 1 => 0,
        _ => newlines
            .map(|(at, _)| at + 1)
            .nth(line - 2)
            .unwrap_or(source.len()),
    };
    place_of_offset(
        source,
        (line_start + column.saturating_sub(1)).min(source.len()),
    )
}

pub(crate) fn place_of_offset(source: &[u8], offset: usize) -> Place {
    let before = &source[..offset];
    let line = before.split(|byte| *byte == b'\n').count();
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count()
        + 1;
    Place {
        start: offset,
        end: offset + 1,
        line,
        column,
    }
}

/// Places are within a file of bounded size.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned {
            value,
            referenced: _,
            defined,
        } = Spanned::deserialize(deserializer)?;
        Ok(Self {
            value,
            place: place_of(defined),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = access.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
