//! One rule: its qualifiers, what it is about, and its comma.

use super::lexer::{Kind, Token};
use super::parser::Parser;
use super::{Content, Rule, file, rules};
use crate::profile::tree::Place;

impl Parser<'_, '_> {
    /// One rule with its comma.
    pub(super) fn rule(&mut self) -> Option<Rule> {
        let start = self.here();
        let mut audited = false;
        let mut decided: Option<(&str, Place)> = None;
        let mut owner = None;
        while let Some(Token {
            kind: Kind::Word(word @ ("audit" | "allow" | "deny" | "owner" | "other" | "quiet")),
            place,
            ..
        }) = self.peek()
        {
            let (word, place) = (*word, *place);
            match word {
                "audit" | "quiet" => {
                    if decided.is_some() || owner.is_some() {
                        let help = "the order is `audit deny owner`";
                        self.error(place, format!("`{word}` stands too late"), Some(help));
                    }
                    audited = word == "audit";
                }
                "allow" | "deny" => {
                    if let Some((before, _)) = decided {
                        let message = format!("`{word}` stands after `{before}`");
                        self.error(place, message, Some("keep one of them"));
                    } else if owner.is_some() {
                        let help = "the order is `audit deny owner`";
                        self.error(place, format!("`{word}` stands too late"), Some(help));
                    }
                    decided = Some((word, place));
                }
                _ => owner = Some(place),
            }
            self.take();
        }
        let denied = decided.is_some_and(|(word, _)| word == "deny");
        let content = self.content(denied, owner.is_some());
        let end = self.end_of_rule(content.is_some());
        if content.is_none() && !self.problems.any_error() {
            // No rule is left out without a word, whatever the parts of the parser forget.
            self.error(start, "the rule is not understood", None);
        }
        let content = content?;
        if let (Some(place), false) = (
            owner,
            matches!(content, Content::File(_) | Content::Unplaced(_)),
        ) {
            self.error(place, "`owner` is for files only", Some("leave it out"));
        }
        let place = Place {
            end: end.max(start.start),
            ..start
        };
        Some(Rule {
            place,
            audited,
            denied,
            deferred: false,
            content,
        })
    }

    fn content(&mut self, denied: bool, owner: bool) -> Option<Content> {
        let Some(token) = self.peek() else {
            self.error(self.last, "a rule ends before it says something", None);
            return None;
        };
        let (kind, place) = (token.kind, token.place);
        match kind {
            Kind::Word(word) if rules::is_family(word) => {
                self.take();
                rules::rule(self, word, place)
            }
            Kind::Word(_) | Kind::Quoted(_) => file::rule(self, denied, owner),
            Kind::Unclosed => {
                self.take();
                let help = "quotes end in the line in which they begin";
                self.error(place, "these quotes are not closed", Some(help));
                None
            }
            Kind::Comma => {
                self.error(place, "there is no rule before this `,`", None);
                None
            }
            Kind::Open => {
                self.error(
                    place,
                    "blocks of rules with common qualifiers are not read",
                    None,
                );
                None
            }
            _ => {
                self.error(place, "no rule begins so", None);
                self.take();
                None
            }
        }
    }

    /// The comma at the end of a rule, and the end of what is before it. After an error, what is
    /// left of the rule is skipped.
    fn end_of_rule(&mut self, good: bool) -> usize {
        let last = self.last;
        if self.eat(Kind::Comma) {
            return last.start;
        }
        if good {
            let place = Place {
                end: last.start,
                ..last
            };
            let next_line = self
                .peek()
                .is_none_or(|token| token.first || token.kind == Kind::Close);
            if next_line {
                self.error(
                    place,
                    "the rule does not end with `,`",
                    Some("put a `,` here"),
                );
                return last.start;
            }
            let here = self.here();
            self.error(
                here,
                "expected is `,`: the rule is complete before this",
                None,
            );
        }
        self.skip_rule();
        last.start
    }
}
