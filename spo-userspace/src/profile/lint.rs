//! Findings that the author of a file can silence, by a comment in it.

use std::collections::BTreeSet;

use super::diagnostic::Diagnostic;
use super::{apparmor, seccomp, selinux};

/// Something that a file may be warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// By which it is silenced.
    pub id: &'static str,
    /// Why it is told.
    pub reason: &'static str,
}

/// All of them, by the kind of profile.
pub const RULES: &[&[Rule]] = &[seccomp::LINTS, apparmor::LINTS, selinux::LINTS];

/// What a comment begins with that silences.
const MARK: &str = "spo: allow(";

/// Leaves out the findings that comments of the file silence. Problems without a name are never
/// left out.
pub fn silence(source: &[u8], mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if diagnostics
        .iter()
        .all(|diagnostic| diagnostic.rule.is_none())
    {
        return diagnostics;
    }
    let silenced = silenced(source);
    diagnostics.retain(|diagnostic| diagnostic.rule.is_none_or(|rule| !silenced.contains(rule)));
    diagnostics
}

/// The findings that comments of a file silence: `# spo: allow(ID, ID)`, anywhere in it.
///
/// A comment begins with `#` or `;` at the beginning of a line or after white space, outside of
/// quotes; quotes are looked at within one line only. So text of several lines that has such a
/// line in it silences as well, which does no harm. JSON has no comments.
pub fn silenced(source: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(source);
    let comments = text
        .lines()
        .filter(|line| line.contains(MARK))
        .filter_map(comment);
    comments.flat_map(allowed).map(str::to_owned).collect()
}

/// The comment at the end of a line.
fn comment(line: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            None if matches!(character, '#' | ';') && before.is_whitespace() => {
                return Some(&line[at..]);
            }
            // An apostrophe within a word is none that quotes.
            None if matches!(character, '"' | '\'') && !before.is_alphanumeric() => {
                quote = Some(character);
            }
            _ => {}
        }
        before = character;
    }
    None
}

fn allowed(comment: &str) -> impl Iterator<Item = &str> {
    let lists = comment.split(MARK).skip(1);
    lists
        .filter_map(|rest| rest.split_once(')'))
        .flat_map(|(list, _)| list.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::diagnostic::Severity;

    fn left(source: &str) -> Vec<Option<&'static str>> {
        let found = [Some("missing-futex"), Some("libc-drift"), None];
        let diagnostic = |rule| Diagnostic {
            severity: Severity::Warning,
            rule,
            file: String::new(),
            line: 1,
            column: 1,
            span: 0..0,
            message: String::new(),
            help: None,
        };
        let all = found.map(diagnostic).to_vec();
        let left = silence(source.as_bytes(), all);
        left.iter().map(|diagnostic| diagnostic.rule).collect()
    }

    #[test]
    fn comments_silence() {
        let drift = [Some("libc-drift"), None];
        let all = [Some("missing-futex"), Some("libc-drift"), None];
        for (source, expected) in [
            ("# spo: allow(missing-futex)", &drift[..]),
            ("a: b # spo: allow(missing-futex)", &drift),
            ("; spo: allow(missing-futex)\n", &drift),
            ("a: \"x\" # why: spo: allow( missing-futex )", &drift),
            ("a: it's # spo: allow(missing-futex)", &drift),
            ("# spo: allow(missing-futex, libc-drift)", &[None]),
            (
                "# spo: allow(libc-drift) spo: allow(missing-futex)",
                &[None],
            ),
            ("# spo: allow(missing-fut)", &all),
            ("# spo: allow(missing-futex", &all),
            ("a: \"# spo: allow(missing-futex)\"", &all),
            ("a: '\" # spo: allow(missing-futex)'", &all),
            ("a: \"\\\" # spo: allow(missing-futex)\"", &all),
            ("a#spo: allow(missing-futex)", &all),
            ("spo: allow(missing-futex)", &all),
            ("", &all),
        ] {
            assert_eq!(left(source), expected, "{source}");
        }
    }
}
