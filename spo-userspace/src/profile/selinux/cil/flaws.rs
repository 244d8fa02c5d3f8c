//! Where the problems of a text in CIL go, which may stand inside of another file.

use std::ops::Range;

use crate::profile::fields::Problems;
use crate::profile::tree::Place;

/// Notes problems of a text at their places in the file.
pub(in crate::profile::selinux) struct Flaws<'p, 'f> {
    problems: &'p mut Problems<'f>,
    places: &'p Places<'p>,
    errors: usize,
    /// How many names are still compared with known ones, which costs time.
    comparisons: usize,
}

/// More foreign names are in no policy of one profile.
const MOST_COMPARISONS: usize = 5_000;

impl<'p, 'f> Flaws<'p, 'f> {
    pub(in crate::profile::selinux) fn new(
        problems: &'p mut Problems<'f>,
        places: &'p Places<'p>,
    ) -> Self {
        Self {
            problems,
            places,
            errors: 0,
            comparisons: MOST_COMPARISONS,
        }
    }

    /// How many errors were noted here.
    pub(in crate::profile::selinux) fn errors(&self) -> usize {
        self.errors
    }

    pub(in crate::profile::selinux) fn error(
        &mut self,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.errors += 1;
        // Places cost time in long lines, and this one might not be seen.
        let (place, message) = if self.errors_are_told() {
            self.places.place(span, message)
        } else {
            (Place::START, message)
        };
        self.problems.error(place, message, help);
    }

    pub(in crate::profile::selinux) fn lint(
        &mut self,
        rule: &'static str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        let (place, message) = if self.warnings_are_told() {
            self.places.place(span, message)
        } else {
            (Place::START, message)
        };
        self.problems.lint(rule, place, message, help);
    }

    /// The line of the file that a part of the text stands in.
    pub(super) fn line(&self, offset: usize) -> usize {
        let line = self.places.line_of(offset);
        match &self.places.home {
            Home::Verbatim(home) => home.line + line,
            Home::Block { first_line, .. } => first_line + line,
            Home::Field(_) => 1 + line,
        }
    }

    /// Whether one more name may be compared with all known ones.
    pub(in crate::profile::selinux) fn may_compare(&mut self) -> bool {
        let left = self.comparisons.checked_sub(1);
        self.comparisons = left.unwrap_or_default();
        left.is_some() && self.warnings_are_told()
    }

    /// Whether another error would still be told.
    pub(in crate::profile::selinux) fn errors_are_told(&self) -> bool {
        self.problems.errors_are_told()
    }

    /// Whether another warning would still be told.
    pub(in crate::profile::selinux) fn warnings_are_told(&self) -> bool {
        self.problems.warnings_are_told()
    }
}

/// Knows the lines of a text, and where each of them stands in its file.
pub(in crate::profile::selinux) struct Places<'t> {
    text: &'t str,
    /// Where the lines begin.
    lines: Vec<usize>,
    home: Home,
}

enum Home {
    /// The text is in the file as it is, its first character at this place.
    Verbatim(Place),
    /// Each line stands in a line of its own, behind the same number of blanks.
    Block {
        /// Where each line begins in the file, behind its blanks.
        starts: Vec<usize>,
        first_line: usize,
        indent: usize,
    },
    /// Somewhere in this value.
    Field(Place),
}

impl<'t> Places<'t> {
    /// For a text that is the whole file.
    pub(super) fn of_file(text: &'t str) -> Self {
        Self {
            text,
            lines: lines(text),
            home: Home::Verbatim(Place::START),
        }
    }

    /// For a text that is a value in a file of YAML or JSON.
    ///
    /// The places are exact where the text stands there as it is: in a literal block, or in one
    /// line without escapes.
    pub(in crate::profile::selinux) fn of_value(
        source: &[u8],
        field: Place,
        value: Place,
        text: &'t str,
    ) -> Self {
        let home = block(source, value, text)
            .or_else(|| verbatim(source, value, text))
            .unwrap_or(Home::Field(field));
        Self {
            text,
            lines: lines(text),
            home,
        }
    }

    /// For a text whose file is not at hand: messages say the line of the text.
    pub(in crate::profile::selinux) fn of_nowhere(text: &'t str) -> Self {
        Self {
            text,
            lines: lines(text),
            home: Home::Field(Place::START),
        }
    }

    /// The line of the text itself, from 1.
    pub(in crate::profile::selinux) fn line(&self, offset: usize) -> usize {
        self.line_of(offset) + 1
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1) - 1
    }

    /// The place of a part of the text, and the message, which says the line if the place cannot.
    fn place(&self, span: Range<usize>, message: String) -> (Place, String) {
        let line = self.line_of(span.start);
        let line_start = self.lines.get(line).copied().unwrap_or_default();
        let before = self.text.get(line_start..span.start).unwrap_or_default();
        let column = before.chars().count();
        let place = match &self.home {
            Home::Verbatim(home) => Place {
                start: home.start + span.start,
                end: home.start + span.end,
                line: home.line + line,
                column: 1 + column + if line == 0 { home.column - 1 } else { 0 },
            },
            Home::Block {
                starts,
                first_line,
                indent,
            } => {
                // A part may go over several lines, each behind its own blanks.
                let there = |offset: usize| {
                    let line = self.line_of(offset);
                    let begin = self.lines.get(line).copied().unwrap_or_default();
                    starts
                        .get(line)
                        .map(|start| start + offset.saturating_sub(begin))
                };
                let start = there(span.start).unwrap_or_default();
                Place {
                    start,
                    end: there(span.end).unwrap_or(start),
                    line: first_line + line,
                    column: 1 + indent + column,
                }
            }
            Home::Field(place) => {
                let line = line + 1;
                return (*place, format!("{message} (line {line} of the policy)"));
            }
        };
        (place, message)
    }
}

/// Finds the text as a literal block of YAML.
fn block(source: &[u8], value: Place, text: &str) -> Option<Home> {
    let source = str::from_utf8(source).ok()?;
    // The place is that of the indicator or that of the first character.
    let line_start = source
        .get(..value.start)?
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let header = source[line_start..].lines().next()?;
    let is_header = header
        .rsplit_once('|')
        .is_some_and(|(_, rest)| rest.split(" #").next().is_some_and(is_block_indicator));
    let (mut start, line) = if is_header {
        (line_start + header.len() + 1, value.line + 1)
    } else {
        (line_start, value.line)
    };
    // Blank lines in front belong to the text.
    let first = text.lines().position(|line| !line.trim().is_empty())?;
    let first_line = if is_header {
        line
    } else {
        line.checked_sub(first)?
    };
    if !is_header {
        for _ in 0..first {
            start = source[..start.checked_sub(1)?]
                .rfind('\n')
                .map_or(0, |at| at + 1);
        }
    }
    let mut indent = None;
    let mut starts = Vec::new();
    for wanted in text.lines() {
        let there = source.get(start..)?.split('\n').next()?;
        let shown = there.strip_suffix('\r').unwrap_or(there);
        let blanks = shown.len() - shown.trim_start_matches(' ').len();
        let own = wanted.len() - wanted.trim_start_matches(' ').len();
        if wanted.is_empty() {
            starts.push(start);
        } else {
            let indent = *indent.get_or_insert(blanks.checked_sub(own)?);
            if shown.get(indent..)? != wanted || blanks < indent {
                return None;
            }
            starts.push(start + indent);
        }
        start += there.len() + 1;
    }
    Some(Home::Block {
        starts,
        first_line,
        indent: indent?,
    })
}

/// What may follow `|` in its line: how to end, and how far to indent.
fn is_block_indicator(text: &str) -> bool {
    let text = text.trim_end();
    text.len() <= 2
        && text
            .bytes()
            .all(|byte| byte == b'+' || byte == b'-' || byte.is_ascii_digit())
}

/// Finds the text in one line, perhaps in quotes.
fn verbatim(source: &[u8], value: Place, text: &str) -> Option<Home> {
    if text.contains('\n') {
        return None;
    }
    let quote = usize::from(matches!(source.get(value.start), Some(b'"' | b'\'')));
    let start = value.start + quote;
    if source.get(start..start + text.len())? != text.as_bytes() {
        return None;
    }
    Some(Home::Verbatim(Place {
        start,
        end: start,
        line: value.line,
        column: value.column + quote,
    }))
}

fn lines(text: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(text.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}
