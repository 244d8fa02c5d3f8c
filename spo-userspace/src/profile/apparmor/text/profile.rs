//! The structure of policy text: what stands in front, and a profile's head and body.

use std::collections::BTreeSet;

use super::lexer::{DEFERRED, Kind, Token};
use super::parser::{KEYWORDS, Parser};
use super::{Rule, TextProfile};
use crate::profile::apparmor::glob::Glob;
use crate::profile::apparmor::model::Mode;
use crate::profile::diagnostic::quoted;
use crate::profile::tree::Place;

/// Profiles inside of profiles; the kernel knows one level.
const DEEPEST: usize = 4;
/// More rules are no profile.
const MOST_RULES: usize = 200_000;

const FLAGS: &[&str] = &[
    "attach_disconnected",
    "audit",
    "chroot_attach",
    "chroot_no_attach",
    "chroot_relative",
    "complain",
    "debug",
    "default_allow",
    "delegate_deleted",
    "enforce",
    "hat",
    "interruptible",
    "kill",
    "mediate_deleted",
    "namespace_relative",
    "no_attach_disconnected",
    "prompt",
    "unconfined",
];
/// The flags that every profile made from an object has, beside its mode.
const USUAL_FLAGS: &[&str] = &[
    "attach_disconnected",
    "mediate_deleted",
    "enforce",
    "complain",
];

/// Whether a rule begins with this word, and nothing that stands beside profiles.
fn is_rule(word: &str) -> bool {
    const BESIDE: &[&str] = &["abi", "alias", "hat", "include", "profile"];
    KEYWORDS.contains(&word) && !BESIDE.contains(&word)
}

impl Parser<'_, '_> {
    pub(super) fn whole(&mut self) -> Vec<TextProfile> {
        let mut profiles: Vec<TextProfile> = Vec::new();
        let mut names = BTreeSet::new();
        let mut unplaced = Vec::new();
        let mut includes = Vec::new();
        while let Some(token) = self.peek() {
            let (kind, place) = (token.kind, token.place);
            match kind {
                Kind::Word("include" | "#include") => includes.extend(self.include()),
                Kind::Word("abi") => {
                    self.take();
                    self.skip_rule();
                }
                Kind::Word("alias") => {
                    self.take();
                    self.skip_rule();
                    unplaced.push((place, "an alias".to_owned()));
                }
                Kind::Word("if") => {
                    self.error(place, "conditions on variables are not read", None);
                    return Vec::new();
                }
                Kind::Word(word) if is_rule(word) => {
                    self.outside(place);
                    // The word itself looks like the next rule.
                    self.take();
                    self.skip_rule();
                }
                Kind::Word(word) if word.starts_with("@{") || word.starts_with('$') => {
                    if self.assignment() {
                        let what = format!("the variable {}", quoted(word));
                        unplaced.push((place, what));
                    }
                }
                Kind::Word(_) | Kind::Quoted(_) => {
                    if let Some(profile) = self.profile(0) {
                        if !names.insert(profile.name.clone()) {
                            let name = quoted(&profile.name);
                            let message = format!("there is a profile {name} already");
                            self.error(profile.place, message, None);
                        }
                        profiles.push(profile);
                    }
                    // One that has no rules costs as well.
                    self.rules += 1;
                    if self.problems_are_many() {
                        break;
                    }
                }
                Kind::Close => {
                    self.take();
                    self.error(place, "this `}` closes nothing", None);
                }
                // Outside of a profile it is a comment like others.
                Kind::Deferred => self.skip_comment(),
                _ => {
                    self.take();
                    let help = "expected is `profile NAME {`";
                    self.error(place, "no profile begins so", Some(help));
                    self.skip_line();
                }
            }
        }
        match profiles.first_mut() {
            Some(first) => {
                unplaced.append(&mut first.unplaced);
                includes.append(&mut first.includes);
                first.unplaced = unplaced;
                first.includes = includes;
            }
            None if !self.problems.any_error() => {
                let help = "expected is `profile NAME {`, rules, and `}`";
                self.error(Place::START, "there is no profile in the file", Some(help));
            }
            None => {}
        }
        profiles
    }

    /// Tells once that a rule is in no profile: a file has one of them or has many.
    fn outside(&mut self, place: Place) {
        if !std::mem::replace(&mut self.told_outside, true) {
            let help = "rules stand in `profile NAME { ... }`; a file that others include, such as \
                        an abstraction, is not read by itself";
            self.error(place, "this rule stands outside of a profile", Some(help));
        }
    }

    fn problems_are_many(&self) -> bool {
        self.rules > MOST_RULES
    }

    /// `@{NAME} = VALUES`, to the end of the line.
    fn assignment(&mut self) -> bool {
        self.take();
        let place = self.here();
        if !self.eat(Kind::Equals) {
            self.error(
                place,
                "expected is `=`",
                Some("a variable gets its values by `@{NAME} = ...`"),
            );
            self.skip_line();
            return false;
        }
        self.skip_line();
        true
    }

    /// `include [if exists] NAME`, on one line and without a comma.
    fn include(&mut self) -> Option<(Place, String)> {
        let place = self.take()?.place;
        for word in ["if", "exists"] {
            if self.peek().is_some_and(|token| !token.first) {
                self.eat(Kind::Word(word));
            }
        }
        let name = self.peek().filter(|token| !token.first);
        let name = name.and_then(|token| match token.kind {
            Kind::Word(word) => Some(word.trim_start_matches('<').trim_end_matches('>')),
            Kind::Quoted(word) => Some(word),
            _ => None,
        });
        let Some(name) = name else {
            let help = "`include <abstractions/base>`, or a path in quotes";
            self.error(place, "an include names no file", Some(help));
            return None;
        };
        self.take();
        // The comma is an error of the parser only in old versions.
        if self.peek().is_some_and(|token| !token.first) {
            self.eat(Kind::Comma);
        }
        Some((place, name.to_owned()))
    }

    /// A profile or a hat, from its head to its closing brace.
    fn profile(&mut self, depth: usize) -> Option<TextProfile> {
        let start = self.here();
        if self
            .peek()
            .is_some_and(|token| matches!(token.kind, Kind::Word("profile" | "hat")))
        {
            self.take();
        }
        let (name, place) = match self.peek() {
            Some(Token {
                kind: Kind::Word(word) | Kind::Quoted(word),
                place,
                ..
            }) if *word != "flags" => {
                let found = ((*word).to_owned(), *place);
                self.take();
                found
            }
            _ => (String::new(), start),
        };
        if name.is_empty() {
            self.error(
                self.last,
                "the profile has no name",
                Some("`profile NAME {`"),
            );
        }
        let mut profile = TextProfile {
            file: self.file.to_owned(),
            name,
            place,
            mode: Mode::Enforce,
            unplaced: Vec::new(),
            includes: Vec::new(),
            rules: Vec::new(),
            children: Vec::new(),
        };
        self.head(&mut profile);
        let open = self.here();
        if depth == 0 && self.eat(Kind::Comma) {
            self.outside(start);
            return None;
        }
        if !self.eat(Kind::Open) {
            let help = "rules stand in a profile: `profile NAME { ... }`";
            self.error(self.last, "expected is `{`", Some(help));
            self.skip_rule();
            return None;
        }
        if depth == DEEPEST {
            self.error(open, "profiles are nested too deep", None);
            self.skip_block();
            return None;
        }
        self.body(&mut profile, open, depth);
        Some(profile)
    }

    /// What stands between a profile's name and its brace.
    fn head(&mut self, profile: &mut TextProfile) {
        while let Some(token) = self.peek() {
            let (kind, place) = (token.kind, token.place);
            match kind {
                Kind::Word("flags") => {
                    self.take();
                    self.eat(Kind::Equals);
                    self.flags(profile);
                }
                Kind::ParenOpen => self.flags(profile),
                Kind::Word("xattrs") => {
                    self.take();
                    self.eat(Kind::Equals);
                    self.skip_parens();
                    profile.unplaced.push((place, "`xattrs`".to_owned()));
                }
                Kind::Word(word) | Kind::Quoted(word) if !token.first => {
                    self.take();
                    if let Err(malformed) = Glob::new(word) {
                        self.error(
                            place,
                            format!("{} is no pattern: {}", quoted(word), malformed.0),
                            None,
                        );
                    }
                    let what = "the attachment to programs".to_owned();
                    profile.unplaced.push((place, what));
                }
                _ => return,
            }
        }
    }

    fn flags(&mut self, profile: &mut TextProfile) {
        let open = self.here();
        if !self.eat(Kind::ParenOpen) {
            self.error(
                open,
                "flags stand in parentheses",
                Some("`flags=(complain)`"),
            );
            return;
        }
        while let Some(token) = self.peek() {
            let (kind, place) = (token.kind, token.place);
            match kind {
                Kind::ParenClose => {
                    self.take();
                    return;
                }
                Kind::Word("complain") => profile.mode = Mode::Complain,
                Kind::Word(word) if USUAL_FLAGS.contains(&word) => {}
                Kind::Word(word) if FLAGS.contains(&word) => {
                    profile.unplaced.push((place, format!("the flag `{word}`")));
                }
                Kind::Word(word) if word.contains('.') => {
                    profile
                        .unplaced
                        .push((place, format!("the flag {}", quoted(word))));
                }
                Kind::Word(word) => {
                    let help = self
                        .nearest(word, FLAGS)
                        .map(|flag| format!("did you mean `{flag}`?"));
                    self.error(
                        place,
                        format!("unknown flag {}", quoted(word)),
                        help.as_deref(),
                    );
                }
                Kind::Open | Kind::Close => break,
                _ => {}
            }
            self.take();
        }
        self.error(open, "this `(` is not closed", None);
    }

    fn body(&mut self, profile: &mut TextProfile, open: Place, depth: usize) {
        loop {
            let Some(token) = self.peek() else {
                self.error(open, "this `{` is not closed", None);
                return;
            };
            let (kind, place) = (token.kind, token.place);
            self.rules += 1;
            if self.rules > MOST_RULES {
                if self.rules == MOST_RULES + 1 {
                    self.error(place, "the profile has more rules than any needs", None);
                }
                // Nothing that follows is worth the time.
                while self.take().is_some() {}
                return;
            }
            match kind {
                Kind::Close => {
                    self.take();
                    return;
                }
                Kind::Word("include" | "#include") => profile.includes.extend(self.include()),
                Kind::Word("abi") => {
                    self.take();
                    self.skip_rule();
                }
                Kind::Word("profile" | "hat") => {
                    profile.children.extend(self.profile(depth + 1));
                }
                Kind::Word(word) if word.len() > 1 && word.starts_with('^') => {
                    profile.children.extend(self.profile(depth + 1));
                }
                Kind::Word("if" | "else") => {
                    self.error(place, "conditions on variables are not read", None);
                    self.skip_rule();
                }
                Kind::Deferred if profile.mode == Mode::Complain => {
                    self.take();
                    let rule = self.rule();
                    profile.rules.extend(rule.map(|rule| Rule {
                        deferred: true,
                        ..rule
                    }));
                }
                Kind::Deferred => {
                    let message = "the profile is enforced, and this denial is a comment only";
                    let help = format!("remove `{DEFERRED}` before it, or the line");
                    self.problems.warn(place, message.to_owned(), Some(help));
                    self.skip_comment();
                }
                _ => profile.rules.extend(self.rule()),
            }
        }
    }

    fn skip_comment(&mut self) {
        self.take();
        self.skip_line();
    }
}
