//! Rules for files: a path and letters, in either order.

use super::Content;
use super::lexer::{Kind, Token};
use super::parser::{KEYWORDS, Parser};
use crate::profile::apparmor::access::Access;
use crate::profile::apparmor::glob::Glob;
use crate::profile::apparmor::rules::FileRule;
use crate::profile::diagnostic::quoted;
use crate::profile::tree::Place;

/// What `file,` is about, with all that it allows: the kernel's parser makes the same of both.
const ALL_FILES: &str = "/{**,}";

/// The letters of a rule.
#[derive(Clone, Copy)]
struct Letters {
    access: Access,
    /// Execution that is not `ix`.
    transition: bool,
}

/// Reads a rule up to its comma. Takes at least one token.
pub(super) fn rule(parser: &mut Parser<'_, '_>, denied: bool, owner: bool) -> Option<Content> {
    let mut unplaced = None;
    let mut keyword = false;
    while let Some(Token {
        kind: Kind::Word(word @ ("file" | "safe" | "unsafe" | "link" | "subset")),
        ..
    }) = parser.peek()
    {
        if *word == "link" {
            unplaced = Some("a rule for links with a target".to_owned());
        } else if *word != "file" && *word != "subset" {
            unplaced = Some(format!("`{word}`"));
        }
        keyword = true;
        parser.take();
    }
    let start = parser.here();
    let token = parser.peek().cloned();
    let first = match token.map(|token| token.kind) {
        Some(Kind::Word(word) | Kind::Quoted(word)) => word,
        Some(Kind::Comma) if keyword => {
            return Some(match unplaced {
                Some(what) => Content::Unplaced(what),
                None => Content::File(FileRule {
                    path: ALL_FILES.to_owned(),
                    access: Access::ALL,
                    owner,
                }),
            });
        }
        _ => {
            parser.error(start, "expected is a path", None);
            if !keyword {
                parser.take();
            }
            return None;
        }
    };
    parser.take();
    if is_path(first) {
        let path = path(parser, first, start)?;
        if parser.eat(Kind::Arrow) {
            target(parser)?;
            return Some(Content::Unplaced(
                unplaced.unwrap_or_else(|| "a rule with `->`".to_owned()),
            ));
        }
        let place = parser.here();
        let letters = match parser
            .peek()
            .cloned()
            .map(|token| (token.kind, token.first))
        {
            Some((Kind::Word(word), first)) if !(first && super::parser::starts_rule(word)) => {
                parser.take();
                letters(parser, word, place, denied)
            }
            _ => {
                let help = "letters such as `r` or `rw` stand behind the path";
                parser.error(
                    start,
                    "the rule for this path has no permissions",
                    Some(help),
                );
                None
            }
        };
        return finish(parser, path, letters?, owner, unplaced);
    }
    let path_follows = parser.peek().is_some_and(|token| {
        !token.first && matches!(token.kind, Kind::Word(word) | Kind::Quoted(word) if is_path(word))
    });
    if path_follows {
        let place = parser.here();
        let letters = letters(parser, first, start, denied);
        let Some(Token {
            kind: Kind::Word(word) | Kind::Quoted(word),
            ..
        }) = parser.take()
        else {
            return None;
        };
        let path = path(parser, word, place)?;
        return finish(parser, path, letters?, owner, unplaced);
    }
    let help = match parser.nearest(first, KEYWORDS) {
        Some(word) => format!("did you mean `{word}`?"),
        None if first.contains('/') => "a path begins with `/`".to_owned(),
        None => "a rule begins with a path or with a word such as `capability`".to_owned(),
    };
    parser.error(
        start,
        format!("no rule begins with {}", quoted(first)),
        Some(&help),
    );
    None
}

fn is_path(word: &str) -> bool {
    word.starts_with(['/', '@', '{', '[', '*'])
}

fn path(parser: &mut Parser<'_, '_>, word: &str, place: Place) -> Option<String> {
    if let Err(malformed) = Glob::new(word) {
        let message = format!("{} is no pattern: {}", quoted(word), malformed.0);
        parser.error(place, message, None);
        return None;
    }
    Some(word.to_owned())
}

fn target(parser: &mut Parser<'_, '_>) -> Option<()> {
    if let Some(Kind::Word(_) | Kind::Quoted(_)) = parser.peek().map(|token| token.kind) {
        parser.take();
        return Some(());
    }
    let here = parser.here();
    parser.error(here, "nothing stands behind `->`", None);
    None
}

fn finish(
    parser: &mut Parser<'_, '_>,
    path: String,
    letters: Letters,
    owner: bool,
    unplaced: Option<String>,
) -> Option<Content> {
    let Letters { access, transition } = letters;
    let unplaced = if parser.eat(Kind::Arrow) {
        target(parser)?;
        Some("a rule with `->`".to_owned())
    } else if transition {
        Some("execution under another profile, or none".to_owned())
    } else {
        unplaced
    };
    Some(match unplaced {
        Some(what) => Content::Unplaced(what),
        None => Content::File(FileRule {
            path,
            access,
            owner,
        }),
    })
}

fn letters(parser: &mut Parser<'_, '_>, word: &str, place: Place, denied: bool) -> Option<Letters> {
    let mut letters = Letters {
        access: Access::NONE,
        transition: false,
    };
    let mut executes: Option<&str> = None;
    let mut plain_write = false;
    let mut plain_append = false;
    let mut rest = word;
    while let Some(char) = rest.chars().next() {
        if let Some(manner) = manner(rest) {
            rest = &rest[manner.len()..];
            let problem = match (denied, manner) {
                (true, "x" | "X") | (false, "ix" | "IX") => None,
                (true, _) => Some((
                    format!("{} has no meaning in a rule that denies", quoted(manner)),
                    "a plain `x` denies execution",
                )),
                (false, "x" | "X") => Some((
                    "`x` does not say under which profile to execute".to_owned(),
                    "`ix` stays in this one",
                )),
                _ => {
                    letters.transition = true;
                    None
                }
            };
            if let Some((message, help)) = problem {
                parser.error(place, message, Some(help));
                return None;
            }
            if let Some(before) = executes.filter(|before| *before != manner) {
                let message = format!("`{before}` and `{manner}` exclude each other");
                parser.error(place, message, Some("keep one of them"));
                return None;
            }
            executes = Some(manner);
            letters.access = letters.access.or(Access::EXECUTE);
            continue;
        }
        rest = &rest[char.len_utf8()..];
        let one = match char.to_ascii_lowercase() {
            'r' => Access::READ,
            'w' => {
                plain_write = true;
                Access::WRITE
            }
            'a' => {
                plain_append = true;
                Access::APPEND
            }
            'l' => Access::LINK,
            'k' => Access::LOCK,
            'm' => Access::MAP,
            _ => {
                let message = format!(
                    "{} is no permission in {}",
                    quoted(&char.to_string()),
                    quoted(word)
                );
                let help = "known are r, w, a, l, k, m, and x with i, p, c or u before it";
                parser.error(place, message, Some(help));
                return None;
            }
        };
        letters.access = letters.access.or(one);
    }
    if plain_write && plain_append {
        let help = "`w` allows appending as well";
        parser.error(place, "`w` and `a` exclude each other", Some(help));
        return None;
    }
    Some(letters)
}

/// The letters for execution at the beginning of a text.
fn manner(text: &str) -> Option<&str> {
    const MANNERS: &[&str] = &["pix", "cix", "pux", "cux", "ix", "ux", "px", "cx", "x"];
    MANNERS.iter().find_map(|known| {
        let start = text.get(..known.len())?;
        start.eq_ignore_ascii_case(known).then_some(start)
    })
}
