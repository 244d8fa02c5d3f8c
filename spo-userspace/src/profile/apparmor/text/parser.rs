//! The structure of policy text: what stands in front, the profile's head, and its rules.

use super::lexer::{Kind, Lexer, Token};
use super::{Content, Rule, TextProfile, file, rules};
use crate::profile::apparmor::glob::Glob;
use crate::profile::apparmor::model::Mode;
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::Problems;
use crate::profile::suggest::nearest;
use crate::profile::tree::{LARGEST_FILE, Place, place_of_offset};

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

/// Reads policy text with one profile, and tells everything that is wrong with it. There is a
/// profile if nothing of that is an error.
///
/// `file` is the name to use in messages.
pub fn read_text(file: &str, source: &[u8]) -> (Option<TextProfile>, Vec<Diagnostic>) {
    let mut problems = Problems::new(file);
    if source.len() > LARGEST_FILE {
        let message = format!(
            "the file has {} bytes, more than any profile needs",
            source.len()
        );
        problems.error(Place::START, message, Some("the limit is 4 MiB".to_owned()));
        return (None, problems.finish());
    }
    let text = match str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let place = place_of_offset(source, error.valid_up_to());
            problems.error(place, "the file is not UTF-8 text".to_owned(), None);
            return (None, problems.finish());
        }
    };
    let mut parser = Parser::new(file, text, problems);
    let profile = parser.whole();
    let problems = parser.problems;
    let profile = profile.filter(|_| !problems.any_error());
    (profile, problems.finish())
}

/// A parse with one token of foresight.
pub(super) struct Parser<'a, 'f> {
    file: &'f str,
    tokens: Lexer<'a>,
    next: Option<Token<'a>>,
    /// The end of what was taken last.
    last: Place,
    rules: usize,
    pub(super) problems: Problems<'f>,
}

impl<'a, 'f> Parser<'a, 'f> {
    fn new(file: &'f str, text: &'a str, problems: Problems<'f>) -> Self {
        let mut tokens = Lexer::new(text);
        let next = tokens.next();
        Self {
            file,
            tokens,
            next,
            last: Place::START,
            rules: 0,
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

    fn whole(&mut self) -> Option<TextProfile> {
        let mut profile: Option<TextProfile> = None;
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
                    return None;
                }
                Kind::Word(word) if word.starts_with("@{") || word.starts_with('$') => {
                    if self.assignment() {
                        let what = format!("the variable {}", quoted(word));
                        unplaced.push((place, what));
                    }
                }
                Kind::Word(_) | Kind::Quoted(_) => {
                    let found = self.profile(0);
                    if profile.is_some() {
                        let help = "keep one profile per file";
                        self.error(place, "this is a second profile", Some(help));
                    } else {
                        profile = found;
                    }
                    if self.problems_are_many() {
                        break;
                    }
                }
                Kind::Close => {
                    self.take();
                    self.error(place, "this `}` closes nothing", None);
                }
                _ => {
                    self.take();
                    let help = "expected is `profile NAME {`";
                    self.error(place, "no profile begins so", Some(help));
                    self.skip_line();
                }
            }
        }
        if profile.is_none() && !self.problems.any_error() {
            let help = "expected is `profile NAME {`, rules, and `}`";
            self.error(Place::START, "there is no profile in the file", Some(help));
        }
        let mut profile = profile?;
        unplaced.append(&mut profile.unplaced);
        includes.append(&mut profile.includes);
        Some(TextProfile {
            unplaced,
            includes,
            ..profile
        })
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

    /// Leaves out what is left of the line.
    fn skip_line(&mut self) {
        while self.peek().is_some_and(|token| !token.first) {
            self.take();
        }
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
                _ => profile.rules.extend(self.rule()),
            }
        }
    }

    /// One rule with its comma.
    fn rule(&mut self) -> Option<Rule> {
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

    /// Skips to the end of a rule: behind its comma, before a brace, or before what looks like the
    /// next rule.
    fn skip_rule(&mut self) {
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
                Kind::Close => return,
                Kind::Word(word) if token.first && starts_rule(word) => return,
                Kind::Quoted(_) if token.first => return,
                Kind::ParenOpen => parens += 1,
                Kind::ParenClose => parens = parens.saturating_sub(1),
                _ => {}
            }
            self.take();
        }
    }

    fn skip_block(&mut self) {
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

    fn skip_parens(&mut self) {
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
