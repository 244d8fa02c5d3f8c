//! The parts of rules that are no rules for files: words, lists, and `key=value`.

use std::collections::BTreeSet;

use super::lexer::Kind;
use super::parser::{Parser, starts_rule};
use crate::profile::apparmor::words::{self, Word};
use crate::profile::diagnostic::quoted;
use crate::profile::tree::Place;

/// A value and its place.
pub(super) type Value<'a> = (&'a str, Place);

/// A part of a rule.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// Words without a key; a list in parentheses is the same as one of its words.
    Word(Value<'a>),
    Arrow,
    Condition {
        key: Value<'a>,
        /// `in` in place of `=`.
        within: bool,
        values: Vec<Value<'a>>,
        /// Values that have keys themselves: `peer=(label=a)`.
        inner: Vec<(Value<'a>, Value<'a>)>,
    },
}

/// Reads the parts up to the comma, which stays. There is nothing if one of them is malformed.
pub(super) fn parts<'a>(parser: &mut Parser<'a, '_>) -> Option<Vec<Part<'a>>> {
    let mut parts = Vec::new();
    while let Some(token) = parser.peek() {
        let (kind, place, first) = (token.kind, token.place, token.first);
        match kind {
            Kind::Comma | Kind::Close | Kind::Open | Kind::Deferred => break,
            Kind::Word(word) if first && starts_rule(word) && !after_arrow(&parts) => break,
            Kind::Arrow => {
                parser.take();
                parts.push(Part::Arrow);
            }
            Kind::ParenOpen => {
                let (words, inner) = list(parser)?;
                if let Some(((key, place), _)) = inner.first() {
                    let message = format!("{} cannot stand here", quoted(&format!("{key}=")));
                    parser.error(*place, message, None);
                    return None;
                }
                parts.extend(words.into_iter().map(Part::Word));
            }
            Kind::Word(word) | Kind::Quoted(word) => {
                parser.take();
                let within = parser
                    .peek()
                    .is_some_and(|token| token.kind == Kind::Word("in") && !token.first);
                if within
                    || parser
                        .peek()
                        .is_some_and(|token| token.kind == Kind::Equals)
                {
                    parser.take();
                    parts.push(condition(parser, (word, place), within)?);
                } else {
                    parts.push(Part::Word((word, place)));
                }
            }
            Kind::Unclosed => {
                parser.take();
                let help = "quotes end in the line in which they begin";
                parser.error(place, "these quotes are not closed", Some(help));
                return None;
            }
            Kind::Equals | Kind::ParenClose => {
                parser.error(
                    place,
                    "nothing is before this that it could belong to",
                    None,
                );
                return None;
            }
        }
    }
    Some(parts)
}

fn after_arrow(parts: &[Part<'_>]) -> bool {
    matches!(parts.last(), Some(Part::Arrow))
}

fn condition<'a>(parser: &mut Parser<'a, '_>, key: Value<'a>, within: bool) -> Option<Part<'a>> {
    let place = parser.here();
    let (values, inner) = match parser.peek().map(|token| token.kind) {
        Some(Kind::ParenOpen) => list(parser)?,
        Some(Kind::Word(word) | Kind::Quoted(word)) => {
            parser.take();
            (vec![(word, place)], Vec::new())
        }
        _ => {
            let message = format!("{} has no value", quoted(key.0));
            parser.error(key.1, message, None);
            return None;
        }
    };
    Some(Part::Condition {
        key,
        within,
        values,
        inner,
    })
}

type List<'a> = (Vec<Value<'a>>, Vec<(Value<'a>, Value<'a>)>);

fn list<'a>(parser: &mut Parser<'a, '_>) -> Option<List<'a>> {
    let open = parser.here();
    parser.take();
    let mut words = Vec::new();
    let mut inner = Vec::new();
    while let Some(token) = parser.peek() {
        let (kind, place) = (token.kind, token.place);
        match kind {
            Kind::ParenClose => {
                parser.take();
                return Some((words, inner));
            }
            Kind::Comma => {
                parser.take();
            }
            Kind::Word(word) | Kind::Quoted(word) => {
                parser.take();
                if !parser.eat(Kind::Equals) {
                    words.push((word, place));
                    continue;
                }
                let at = parser.here();
                let Some(Kind::Word(value) | Kind::Quoted(value)) =
                    parser.peek().map(|token| token.kind)
                else {
                    parser.error(place, format!("{} has no value", quoted(word)), None);
                    return None;
                };
                parser.take();
                inner.push(((word, place), (value, at)));
            }
            _ => break,
        }
    }
    parser.error(open, "this `(` is not closed", None);
    None
}

/// The table's own text of a word; an error if there is none.
pub(super) fn word(
    parser: &mut Parser<'_, '_>,
    (text, place): Value<'_>,
    table: &'static [Word],
    what: &str,
) -> Option<Word> {
    let word = words::find(table, text);
    if word.is_none() {
        let help = parser
            .nearest(without_sig(text), table)
            .map(|word| format!("did you mean `{word}`?"));
        let message = format!("{} is no {what}", quoted(text));
        parser.error(place, message, help.as_deref());
    }
    word
}

/// Signals are written without `SIG` here.
fn without_sig(text: &str) -> &str {
    text.strip_prefix("SIG").unwrap_or(text)
}

/// The table's own texts of words; the short forms of access are written out.
pub(super) fn accesses(
    parser: &mut Parser<'_, '_>,
    found: &[Value<'_>],
    table: &'static [Word],
    short: &[(&str, &[Word])],
    what: &str,
) -> Option<BTreeSet<Word>> {
    let mut all = BTreeSet::new();
    let mut good = true;
    for value in found {
        if let Some((_, long)) = short.iter().find(|(short, _)| *short == value.0) {
            all.extend(long.iter().copied());
            continue;
        }
        match word(parser, *value, table, what) {
            Some(word) => {
                all.insert(word);
            }
            None => good = false,
        }
    }
    good.then_some(all)
}
