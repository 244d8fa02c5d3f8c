//! The words of policy text.

use crate::profile::format::BYTE_ORDER_MARK;
use crate::profile::tree::Place;

/// A word of the text, or a sign.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) place: Place,
    /// Whether it is the first of its line.
    pub(super) first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// A word without quotes.
    Word(&'a str),
    /// What stood in quotes.
    Quoted(&'a str),
    /// Quotes that do not end in their line.
    Unclosed,
    Comma,
    Equals,
    Arrow,
    Open,
    Close,
    ParenOpen,
    ParenClose,
    /// [`DEFERRED`]; the rule follows.
    Deferred,
}

/// What a comment begins with that keeps a denial for the time when the profile is enforced. It
/// is one at the beginning of a line and before `deny`.
pub(super) const DEFERRED: &str = "# spo: once enforced:";

/// Cuts policy text into words, from the start to the end.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
    first: bool,
    /// Whether the next token stands in parentheses: there, commas divide.
    parens: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
            first: true,
            parens: false,
        }
    }

    /// The whole text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Goes on by some bytes of one line.
    fn advance(&mut self, bytes: usize) {
        self.column += self.rest()[..bytes].chars().count();
        self.at += bytes;
    }

    /// Skips blanks and comments, but for the word `#include`.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let Some(char) = rest.chars().next() else {
                return;
            };
            if char == '\n' {
                self.at += 1;
                self.line += 1;
                self.column = 1;
                self.first = true;
            } else if char.is_whitespace() || (self.at == 0 && char == BYTE_ORDER_MARK) {
                self.advance(char.len_utf8());
            } else if rest.starts_with("\\\n") {
                // A line that goes on is one line.
                self.at += 2;
                self.line += 1;
                self.column = 1;
            } else if char == '#' && !is_include(rest) && !(self.first && is_deferred(rest)) {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else {
                return;
            }
        }
    }
}

fn is_include(rest: &str) -> bool {
    rest.strip_prefix("#include")
        .is_some_and(|rest| rest.starts_with([' ', '\t', '<', '"']))
}

fn is_deferred(rest: &str) -> bool {
    rest.strip_prefix(DEFERRED)
        .is_some_and(|rest| rest.starts_with(" deny "))
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip();
        let rest = self.rest();
        let char = rest.chars().next()?;
        let (kind, length) = match char {
            ',' => (Kind::Comma, 1),
            '=' => (Kind::Equals, 1),
            '+' if rest.starts_with("+=") => (Kind::Equals, 2),
            '(' => (Kind::ParenOpen, 1),
            ')' => (Kind::ParenClose, 1),
            '}' => (Kind::Close, 1),
            '-' if rest.starts_with("->") => (Kind::Arrow, 2),
            '{' if opens_block(&rest[1..]) => (Kind::Open, 1),
            '"' => quoted(rest),
            '#' if is_deferred(rest) => (Kind::Deferred, DEFERRED.len()),
            '#' => (Kind::Word("#include"), "#include".len()),
            _ => {
                let length = word(rest, self.parens).max(char.len_utf8());
                (Kind::Word(&rest[..length]), length)
            }
        };
        match kind {
            Kind::ParenOpen => self.parens = true,
            Kind::ParenClose | Kind::Open | Kind::Close => self.parens = false,
            _ => {}
        }
        let place = Place {
            start: self.at,
            end: self.at + length,
            line: self.line,
            column: self.column,
        };
        let first = std::mem::take(&mut self.first);
        self.advance(length);
        Some(Token { kind, place, first })
    }
}

fn opens_block(rest: &str) -> bool {
    rest.chars()
        .next()
        .is_none_or(|char| char.is_whitespace() || matches!(char, '#' | '}'))
}

fn quoted(rest: &str) -> (Kind<'_>, usize) {
    let mut escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            '\n' => return (Kind::Unclosed, at),
            '"' if !escaped => return (Kind::Quoted(&rest[1..at]), at + 1),
            _ => escaped = char == '\\' && !escaped,
        }
    }
    (Kind::Unclosed, rest.len())
}

/// How many bytes a word without quotes has.
fn word(rest: &str, parens: bool) -> usize {
    let path = rest.starts_with(['/', '@', '{', '[', '*', '<']);
    let mut braces = 0_usize;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match char {
            '\\' if next.is_some_and(|next| !next.is_whitespace()) => {
                chars.next();
            }
            '{' if braces == 0 && at > 0 && opens_block(&rest[at + 1..]) => return at,
            '{' => braces += 1,
            '}' if braces == 0 => return at,
            '}' => {
                braces -= 1;
                let assigned = rest[at + 1..].starts_with('=') || rest[at + 1..].starts_with("+=");
                if braces == 0 && rest.starts_with("@{") && assigned && !rest[..at].contains('/') {
                    return at + 1;
                }
            }
            ',' if braces > 0 => {}
            ',' | '(' | ')' if parens || !path => return at,
            ',' if next.is_none_or(|next| next.is_whitespace() || next == '#') => return at,
            '=' if !path && braces == 0 => return at,
            '-' if !path && next == Some('>') => return at,
            '"' if !path => return at,
            char if char.is_whitespace() => return at,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Lexer::new(text)
            .map(|token| match token.kind {
                Kind::Word(word) => word.to_owned(),
                Kind::Quoted(word) => format!("\"{word}\""),
                kind => format!("{kind:?}"),
            })
            .collect()
    }

    #[test]
    fn words_end_where_the_parser_ends_them() {
        for (text, expected) in [
            ("/a r,", "/a r Comma"),
            ("/{a,b}/c,d rw,# x", "/{a,b}/c,d rw Comma"),
            ("@{X}=/a /b", "@{X} Equals /a /b"),
            ("@{X} += /a", "@{X} Equals /a"),
            (
                "signal set=(a,b) peer=c//d,",
                "signal set Equals ParenOpen a Comma b ParenClose peer Equals c//d Comma",
            ),
            (
                "peer=(label=/a/b,addr=@c)",
                "peer Equals ParenOpen label Equals /a/b Comma addr Equals @c ParenClose",
            ),
            (
                "profile a { /b\\ c r, }",
                "profile a Open /b\\ c r Comma Close",
            ),
            ("profile a{\n}", "profile a Open Close"),
            ("\"/a b\" r, # c", "\"/a b\" r Comma"),
            ("#include <a/b>\n# include x", "#include <a/b>"),
            ("\"/a\n/b r", "Unclosed /b r"),
            ("/a px -> b,", "/a px Arrow b Comma"),
            ("{/usr,}/bin/x ix,", "{/usr,}/bin/x ix Comma"),
            ("/x[,a] r,", "/x[,a] r Comma"),
            (
                "# spo: once enforced: deny /a w,\n/b r, # spo: once enforced: deny /a w,",
                "Deferred deny /a w Comma /b r Comma",
            ),
            ("# spo: once enforced: /a w,", ""),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn places_count_characters() {
        let tokens: Vec<_> = Lexer::new("# ä\n \"ä\" b").collect();
        assert_eq!((tokens[1].place.line, tokens[1].place.column), (2, 6));
        assert!(tokens[0].first && !tokens[1].first);
    }
}
