//! Which parenthesis is missing, and which is one too many.
//!
//! A count only tells that something is wrong by the end of the file. People indent their
//! policies and begin statements on lines of their own; where the count is wrong, this tells where
//! it went wrong.

use std::ops::Range;

use super::flaws::Flaws;
use super::scan::{Kind, Token};
use super::statements;
use crate::profile::diagnostic::quoted;

/// Deeper is no policy. The compiler itself has a limit far above.
pub(super) const DEEPEST: usize = 64;

/// What to do to the tokens so that they make a tree.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// Before this token, so many lists end.
    pub(super) ends: Vec<(usize, usize)>,
    /// These parentheses close nothing.
    pub(super) strays: Vec<usize>,
}

/// Finds the parentheses that do not match; nothing if lists are nested too deep.
pub(super) fn balance(text: &str, tokens: &[Token], flaws: &mut Flaws<'_, '_>) -> Option<Repairs> {
    let mut depth = 0_usize;
    let mut strays = 0;
    for token in tokens {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close if depth == 0 => strays += 1,
            Kind::Close => depth -= 1,
            _ => {}
        }
        if depth > DEEPEST {
            let message = format!("lists are nested more than {DEEPEST} deep");
            flaws.error(token.span(), message, None);
            return None;
        }
    }
    if depth == 0 && strays == 0 {
        return Some(Repairs::default());
    }
    let mut search = Search {
        text,
        tokens,
        open: Vec::new(),
        missing: depth,
        indent: indent(text),
        suspect: None,
        repairs: Repairs::default(),
    };
    search.run(flaws);
    Some(search.repairs)
}

/// A list that is open.
struct Open {
    token: usize,
    head: Option<Range<usize>>,
    /// How far the line is indented in which the list opens.
    indent: usize,
    /// How far the first line inside is indented that begins with a list.
    inner: Option<usize>,
    /// Whether the list is the first in its line.
    first: bool,
    is_statement: bool,
    holds_statements: bool,
}

impl Open {
    /// Whether its author indents what stands inside.
    fn indents(&self) -> bool {
        self.first && self.inner.is_some_and(|inner| inner > self.indent)
    }
}

/// A parenthesis in the middle of a line that closed a statement at the top, and so perhaps one
/// too many.
struct Suspect {
    token: usize,
    opened: usize,
    indent: usize,
    /// Where a line follows that looks as if the statement was open.
    witness: Option<usize>,
}

struct Search<'t> {
    text: &'t str,
    tokens: &'t [Token],
    open: Vec<Open>,
    /// How many parentheses the count misses and that were not found yet.
    missing: usize,
    /// How far the current line is indented.
    indent: usize,
    suspect: Option<Suspect>,
    repairs: Repairs,
}

impl Search<'_> {
    fn run(&mut self, flaws: &mut Flaws<'_, '_>) {
        let mut last_end = 0;
        for (index, token) in self.tokens.iter().enumerate() {
            let span = token.span();
            let between = &self.text[last_end..span.start];
            let newline = between.rfind('\n').map(|at| last_end + at + 1);
            if let Some(start) = newline {
                self.indent = indent(&self.text[start..]);
            }
            let first = index == 0 || newline.is_some();
            last_end = span.end;
            match token.kind {
                Kind::Open => self.open(index, first, flaws),
                Kind::Close => self.close(index, first, flaws),
                _ => {}
            }
        }
        self.end(0, self.tokens.len(), None, flaws);
    }

    fn open(&mut self, index: usize, first: bool, flaws: &mut Flaws<'_, '_>) {
        let head = self
            .tokens
            .get(index + 1)
            .filter(|token| token.kind == Kind::Word)
            .map(Token::span);
        let statement = head
            .clone()
            .and_then(|head| statements::find(&self.text[head]));
        let indent = self.indent;
        if first {
            if let Some(from) = self.unclosed_before(statement.is_some(), indent) {
                self.end(from, index, Some(index), flaws);
            }
            if let Some(last) = self.open.last_mut() {
                last.inner.get_or_insert(indent);
            } else if let Some(suspect) = &mut self.suspect
                && indent > suspect.indent
            {
                suspect.witness.get_or_insert(index);
            }
        }
        self.open.push(Open {
            token: index,
            head,
            indent,
            inner: None,
            first,
            is_statement: statement.is_some(),
            holds_statements: statement.is_some_and(statements::Statement::holds_statements),
        });
    }

    /// The outermost open list that cannot hold what begins in a new line with this indent.
    fn unclosed_before(&self, statement: bool, indent: usize) -> Option<usize> {
        if self.missing == 0 {
            return None;
        }
        self.open.iter().position(|open| {
            if indent > open.indent {
                false
            } else if open.holds_statements {
                open.indents()
            } else {
                statement && open.is_statement
            }
        })
    }

    fn close(&mut self, index: usize, first: bool, flaws: &mut Flaws<'_, '_>) {
        if first && self.missing > 0 {
            // A parenthesis at the beginning of a line closes what begins in the same column.
            let indent = self.indent;
            let closes = self
                .open
                .iter()
                .rposition(|open| open.first && open.indent == indent);
            let last = self.open.last().map_or(0, |last| last.indent);
            if let Some(closes) = closes
                && last > indent
            {
                self.end(closes + 1, index, Some(index), flaws);
            }
        }
        let Some(closed) = self.open.pop() else {
            self.stray(index, flaws);
            return;
        };
        let witnessed = self
            .suspect
            .as_ref()
            .is_some_and(|suspect| suspect.witness.is_some());
        if self.open.is_empty() && !witnessed {
            self.suspect = (!first && closed.indents()).then_some(Suspect {
                token: index,
                opened: closed.token,
                indent: closed.indent,
                witness: None,
            });
        }
    }

    fn stray(&mut self, index: usize, flaws: &mut Flaws<'_, '_>) {
        self.repairs.strays.push(index);
        if let Some(Suspect {
            token,
            opened,
            indent: _,
            witness: Some(witness),
        }) = self.suspect.take_if(|suspect| suspect.witness.is_some())
        {
            let message = "this `)` is one too many".to_owned();
            let help = format!(
                "it closes {} already, which line {} still seems to be in",
                self.name(opened, flaws),
                self.line(witness, flaws)
            );
            flaws.error(self.tokens[token].span(), message, Some(help));
            return;
        }
        let message = "this `)` closes nothing".to_owned();
        flaws.error(self.tokens[index].span(), message, None);
    }

    /// Ends the open lists from one on, as far as parentheses are missing, and tells which of them
    /// are not closed. `witness` is the token that shows it; none means the end of the text.
    fn end(
        &mut self,
        from: usize,
        before: usize,
        witness: Option<usize>,
        flaws: &mut Flaws<'_, '_>,
    ) {
        let from = from.max(self.open.len().saturating_sub(self.missing));
        let ended = self.open.split_off(from);
        if ended.is_empty() {
            return;
        }
        self.missing -= ended.len();
        self.repairs.ends.push((before, ended.len()));
        // A list inside of another that is not closed either needs no mention of its own, unless
        // both hold statements.
        let mut rest = &ended[..];
        while let Some(open) = rest.first() {
            let alone = if open.holds_statements { 1 } else { rest.len() };
            let start = self.tokens[open.token].span().start;
            let end = open.head.as_ref().map_or(start + 1, |head| head.end);
            let message = match alone {
                1 => "this parenthesis is not closed".to_owned(),
                count => format!("{count} parentheses are not closed, of which this is the first"),
            };
            let help = match witness {
                Some(witness) if self.tokens[witness].kind == Kind::Close => format!(
                    "in line {} a `)` already closes what is around it",
                    self.line(witness, flaws)
                ),
                Some(witness) => format!(
                    "line {} already begins {}",
                    self.line(witness, flaws),
                    self.head(witness).unwrap_or("another list".to_owned())
                ),
                None => "it is still open at the end".to_owned(),
            };
            flaws.error(start..end, message, Some(help));
            rest = &rest[alone..];
        }
    }

    fn line(&self, token: usize, flaws: &Flaws<'_, '_>) -> usize {
        flaws.line(self.tokens[token].span().start)
    }

    fn head(&self, open: usize) -> Option<String> {
        let head = self.tokens.get(open + 1)?;
        (head.kind == Kind::Word).then(|| quoted(&self.text[head.span()]))
    }

    fn name(&self, open: usize, flaws: &Flaws<'_, '_>) -> String {
        let line = self.line(open, flaws);
        match self.head(open) {
            Some(head) => format!("the {head} of line {line}"),
            None => format!("the list of line {line}"),
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}
