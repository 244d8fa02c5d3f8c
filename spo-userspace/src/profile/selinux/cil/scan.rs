//! From characters to words and parentheses.

use std::ops::Range;

use super::flaws::Flaws;
use crate::profile::diagnostic::quoted;
use crate::profile::format::{BYTE_ORDER_MARK, mark_refused};

/// More is no policy, but an attempt to cost memory. The whole policy of a distribution has fewer
/// in one of its modules.
const MOST_TOKENS: usize = 1_000_000;

/// A piece of the text.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Close,
    /// A name, a number, an operator.
    Word,
    /// What is in quotes.
    Quoted,
    /// Where a compiler says which source the following lines come from, until [`Kind::MarkEnd`].
    Mark,
    MarkEnd,
}

impl Token {
    fn new(kind: Kind, span: Range<usize>) -> Self {
        // Texts are smaller than 4 GiB by far.
        let short = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            kind,
            start: short(span.start),
            end: short(span.end),
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The tokens of a text, without comments; nothing if there are too many.
pub(super) fn scan(text: &str, flaws: &mut Flaws<'_, '_>) -> Option<Vec<Token>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    if text.starts_with(BYTE_ORDER_MARK) {
        at = BYTE_ORDER_MARK.len_utf8();
        let help = "save the text as UTF-8 without it".to_owned();
        flaws.error(0..at, mark_refused("secilc"), Some(help));
    }
    while let Some(byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            _ if is_blank(*byte) => {
                at += 1;
                continue;
            }
            b';' => {
                at = until(bytes, at, |byte| byte == b'\n' || byte == b'\r');
                let begins_line = start == 0 || matches!(bytes[start - 1], b'\n' | b'\r');
                match text[start..at].strip_prefix(";;*") {
                    Some(mark) if begins_line => {
                        let Some(kind) = mark_kind(mark) else {
                            bad_mark(start..at, flaws);
                            continue;
                        };
                        kind
                    }
                    _ => continue,
                }
            }
            b'(' => {
                at += 1;
                Kind::Open
            }
            b')' => {
                at += 1;
                Kind::Close
            }
            b'"' => {
                at = until(bytes, at + 1, |byte| byte == b'"' || byte == b'\n');
                if bytes.get(at) == Some(&b'"') {
                    at += 1;
                } else {
                    let help = "a text in quotes ends in the same line";
                    flaws.error(
                        start..at,
                        "the quote that opens here is not closed".to_owned(),
                        Some(help.to_owned()),
                    );
                }
                Kind::Quoted
            }
            _ if is_word(*byte) => {
                at = until(bytes, at, |byte| !is_word(byte));
                Kind::Word
            }
            _ => {
                at = until(bytes, at, |byte| {
                    is_word(byte) || is_blank(byte) || b"()\";".contains(&byte)
                });
                let message = format!("{} is no character of CIL", quoted(&text[start..at]));
                let help = "comments begin with `;`";
                flaws.error(start..at, message, Some(help.to_owned()));
                continue;
            }
        };
        if tokens.len() >= MOST_TOKENS {
            let message = "the policy has more words than any policy needs".to_owned();
            flaws.error(start..at, message, None);
            return None;
        }
        tokens.push(Token::new(kind, start..at));
    }
    Some(tokens)
}

fn until(bytes: &[u8], from: usize, stop: impl Fn(u8) -> bool) -> usize {
    bytes[from..]
        .iter()
        .position(|byte| stop(*byte))
        .map_or(bytes.len(), |length| from + length)
}

/// What the compiler skips. A form feed is not among it.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// What the compiler takes as part of a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"[].@=/*-_$%+!|&^:~`#{}'<>?,".contains(&byte)
}

/// Line marks look like comments, but the compiler reads them: `lms` and `lmx` with a line and a
/// file, and `lme`.
fn mark_kind(mark: &str) -> Option<Kind> {
    let mut words = mark.split([' ', '\t']).filter(|word| !word.is_empty());
    match (words.next()?, words.next(), words.next(), words.next()) {
        ("lme", None, None, None) => Some(Kind::MarkEnd),
        ("lms" | "lmx", Some(line), Some(_), None) if line.parse::<u32>().is_ok() => {
            Some(Kind::Mark)
        }
        _ => None,
    }
}

fn bad_mark(span: Range<usize>, flaws: &mut Flaws<'_, '_>) {
    let help = "`;;*` at the beginning of a line is `;;* lms LINE FILE`, `;;* lmx LINE FILE` or \
                `;;* lme`; write a comment with `;`";
    flaws.error(
        span,
        "this is no comment, but a line mark that the compiler does not understand".to_owned(),
        Some(help.to_owned()),
    );
}
