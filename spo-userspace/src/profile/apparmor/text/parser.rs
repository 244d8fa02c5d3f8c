//! What all parts of the parser share: one token of foresight, problems, and finding the next rule
//! after one.

use super::lexer::{Kind, Lexer, Token};
use crate::profile::fields::Problems;
use crate::profile::suggest::nearest;
use crate::profile::tree::Place;

/// The words that rules begin with.
pub(super) const KEYWORDS: &[&str] = &[
    "abi",
    "alias",
    "all",
    "allow",
    "audit",
    "capability",
    "change_profile",
    "dbus",
    "deny",
    "file",
    "hat",
    "include",
    "io_uring",
    "link",
    "mount",
    "mqueue",
    "network",
    "owner",
    "pivot_root",
    "profile",
    "ptrace",
    "remount",
    "set",
    "signal",
    "umount",
    "unix",
    "userns",
];

/// A parse with one token of foresight.
pub(super) struct Parser<'a, 'f> {
    pub(super) file: &'f str,
    tokens: Lexer<'a>,
    next: Option<Token<'a>>,
    /// The end of what was taken last.
    pub(super) last: Place,
    /// How many rules there were.
    pub(super) rules: usize,
    /// Whether a rule outside of a profile was told.
    pub(super) told_outside: bool,
    pub(super) problems: Problems<'f>,
}

impl<'a, 'f> Parser<'a, 'f> {
    pub(super) fn new(file: &'f str, text: &'a str, problems: Problems<'f>) -> Self {
        let mut tokens = Lexer::new(text);
        let next = tokens.next();
        Self {
            file,
            tokens,
            next,
            last: Place::START,
            rules: 0,
            told_outside: false,
            problems,
        }
    }

    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.next.as_ref()
    }

    pub(super) fn take(&mut self) -> Option<Token<'a>> {
        let token = self.next.take()?;
        self.next = self.tokens.next();
        let Place {
            start, end, line, ..
        } = token.place;
        self.last = Place {
            start: end,
            end,
            line,
            column: token.place.column + self.width(start, end),
        };
        Some(token)
    }

    fn width(&self, start: usize, end: usize) -> usize {
        self.tokens.text()[start..end].chars().count()
    }

    /// Takes the next token if it is of this kind.
    pub(super) fn eat(&mut self, kind: Kind<'_>) -> bool {
        let there = self.peek().is_some_and(|token| token.kind == kind);
        if there {
            self.take();
        }
        there
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>, help: Option<&str>) {
        self.problems
            .error(place, message.into(), help.map(str::to_owned));
    }

    /// The known word that is likely meant, as long as it would be told.
    pub(super) fn nearest(
        &self,
        word: &str,
        known: &'static [&'static str],
    ) -> Option<&'static str> {
        if !self.problems.errors_are_told() {
            return None;
        }
        nearest(word, known.iter().copied())
    }

    /// Where the next token stands, or the end of the text.
    pub(super) fn here(&self) -> Place {
        self.peek().map_or(self.last, |token| token.place)
    }

    /// Leaves out what is left of the line.
    pub(super) fn skip_line(&mut self) {
        while self.peek().is_some_and(|token| !token.first) {
            self.take();
        }
    }

    /// Skips to the end of a rule: behind its comma, before a brace, or before what looks like the
    /// next rule.
    pub(super) fn skip_rule(&mut self) {
        let mut parens = 0_usize;
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Comma if parens == 0 => {
                    self.take();
                    return;
                }
                Kind::Open => {
                    self.skip_block();
                    return;
                }
                Kind::Close | Kind::Deferred => return,
                Kind::Word(word) if token.first && starts_rule(word) => return,
                Kind::Quoted(_) if token.first => return,
                Kind::ParenOpen => parens += 1,
                Kind::ParenClose => parens = parens.saturating_sub(1),
                _ => {}
            }
            self.take();
        }
    }

    pub(super) fn skip_block(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.take() {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close if depth <= 1 => return,
                Kind::Close => depth -= 1,
                _ => {}
            }
        }
    }

    pub(super) fn skip_parens(&mut self) {
        if !self.eat(Kind::ParenOpen) {
            return;
        }
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Open | Kind::Close => return,
                Kind::ParenClose => {
                    self.take();
                    return;
                }
                _ => {
                    self.take();
                }
            }
        }
    }
}

/// Whether a word at the beginning of a line looks like a new rule.
pub(super) fn starts_rule(word: &str) -> bool {
    KEYWORDS.contains(&word) || word == "#include" || word.starts_with(['/', '@', '^'])
}
