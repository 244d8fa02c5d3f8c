//! What is wrong in a profile, as values, and how to show it.

use std::fmt::{self, Write as _};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The profile cannot be used.
    Error,
    /// The profile can be used, but likely does not do what was meant.
    Warning,
}

/// One problem in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the lint that found it, by which it can be silenced.
    pub rule: Option<&'static str>,
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the file that are meant. May be empty.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error that is about a file as a whole.
    pub fn of_file(file: &str, message: String, help: Option<&str>) -> Self {
        Self {
            severity: Severity::Error,
            rule: None,
            file: file.to_owned(),
            line: 1,
            column: 1,
            span: 0..0,
            message,
            help: help.map(str::to_owned),
        }
    }
}

/// Whether any of the problems keeps the profile from being used.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// One line without the source: `file:line:column: error[rule]: message; help`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            rule,
            file,
            line,
            column,
            span: _,
            message,
            help,
        } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let rule = rule.map(|rule| format!("[{rule}]")).unwrap_or_default();
        let text = format!("{file}:{line}:{column}: {severity}{rule}: {message}");
        formatter.write_str(&escape(&text))?;
        if let Some(help) = help {
            write!(formatter, "; {}", escape(help))?;
        }
        Ok(())
    }
}

/// Shows problems with the lines that they are in, as compilers do.
///
/// `source` is the file that the problems were found in. It may be hostile: control characters
/// do not reach the terminal.
pub fn render(diagnostics: &[Diagnostic], source: &[u8], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for diagnostic in diagnostics {
        let Diagnostic {
            severity,
            rule,
            file,
            line,
            column,
            span,
            message,
            help,
        } = diagnostic;
        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let Excerpt {
            text: line_text,
            span,
            whole,
        } = excerpt(source, span);
        let mut snippet = Snippet::source(line_text)
            .line_start(*line)
            .annotation(AnnotationKind::Primary.span(span));
        let mut title = level.primary_title(escape(message));
        if let Some(rule) = rule {
            title = title.id(*rule);
        }
        let mut group = Group::with_title(title);
        if whole {
            snippet = snippet.path(escape(file));
        } else {
            group = group.element(Origin::path(escape(file)).line(*line).char_column(*column));
        }
        group = group.element(snippet);
        if let Some(help) = help {
            group = group.element(Level::HELP.message(escape(help)));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// A piece of a file's text for a message: short, and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", escape(&short))
}

/// Replaces what could steer a terminal or reorder the text: control and formatting characters.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            write!(escaped, "{}", character.escape_default()).expect("a string takes any text");
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The line that a span begins in, made harmless.
struct Excerpt {
    text: String,
    /// The span in the text.
    span: Range<usize>,
    /// Whether the text begins where the line does, so that columns can be counted in it.
    whole: bool,
}

/// Unsafe characters become one replacement character each, so that carets stay below what they
/// mean. The renderer cuts lines to the width of a terminal; only those that would cost it much
/// time, such as a large file of JSON in a single line, are cut here.
fn excerpt(source: &[u8], span: &Range<usize>) -> Excerpt {
    const LONG_LINE: usize = 4 << 10;
    const AROUND: usize = 120;
    let start = span.start.min(source.len());
    // Of a long line, its ends are not even looked for: it may be the whole file, with a thousand
    // problems in it.
    let first = start.saturating_sub(LONG_LINE);
    let last = (start + LONG_LINE).min(source.len());
    let mut line_start = source[first..start]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(first, |at| first + at + 1);
    let mut line_end = source[start..last]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(last, |at| start + at);
    let mut end = span.end.clamp(start, line_end);
    let begins = line_start == 0 || source[line_start - 1] == b'\n';
    let ends = line_end == source.len() || source[line_end] == b'\n';
    let whole = begins && ends && line_end - line_start <= LONG_LINE;
    if !whole {
        line_start = line_start.max(start.saturating_sub(AROUND));
        end = end.min(start + AROUND);
        line_end = line_end.min(end + AROUND);
    }
    let mut text = harmless(&source[line_start..start]);
    let from = text.len();
    text.push_str(&harmless(&source[start..end]));
    let to = text.len();
    text.push_str(&harmless(&source[end..line_end]));
    Excerpt {
        text,
        span: from..to,
        whole,
    }
}

fn harmless(bytes: &[u8]) -> String {
    // A line end of DOS is nothing to show.
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|character| *character != '\u{feff}')
        .map(|character| match character {
            '\t' => ' ',
            _ if is_unsafe(character) => '\u{fffd}',
            _ => character,
        })
        .collect()
}
