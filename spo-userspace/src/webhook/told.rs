//! Problems of an object, for somebody who has no file with lines but an object with fields.

use std::fmt::Write as _;

use super::review::shortened;
use crate::profile::diagnostic::{Diagnostic, Severity, escape};
use crate::profile::tree::{Node, Value};

/// Problems that are told one by one.
const MOST: usize = 10;
/// The longest message, in bytes. People read it in a terminal.
const LONGEST: usize = 4096;
/// The longest line about one problem, in bytes.
const LINE: usize = 600;
/// The longest name of a field within a path, in characters.
const NAME: usize = 60;

/// Why an object is refused, as lines; nothing if there is no error.
pub(super) fn refusal(kind: &str, name: &str, root: &Node, found: &[Diagnostic]) -> Option<String> {
    let errors: Vec<_> = found
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .collect();
    if errors.is_empty() {
        return None;
    }
    let mut text = format!(
        "the {kind} {} cannot be used:",
        shortened(&escape(name), NAME)
    );
    let mut told = 0;
    for error in errors.iter().take(MOST) {
        let line = line(root, error);
        if text.len() + line.len() > LONGEST {
            break;
        }
        write!(text, "\n  {line}").ok();
        told += 1;
    }
    let more = errors.len() - told;
    if more > 0 {
        write!(text, "\n  and {more} more: `spo check` tells all of them").ok();
    }
    Some(text)
}

/// One line about a problem: where, what, and what to do.
pub(super) fn line(root: &Node, found: &Diagnostic) -> String {
    let path = path(root, found.span.start);
    let message = escape(&found.message);
    // Many messages name the field themselves.
    let mut line = if path.is_empty() || message.contains(&path) {
        message
    } else {
        format!("{path}: {message}")
    };
    if let Some(help) = &found.help {
        write!(line, "; {}", escape(help)).ok();
    }
    shortened(&line, LINE)
}

/// The field that stands at an offset, such as `spec.syscalls[0].action`.
fn path(root: &Node, offset: usize) -> String {
    let mut path = String::new();
    let mut node = root;
    loop {
        match &node.value {
            Value::Map(entries) => {
                let before = |(key, _): &&(Node, Node)| key.place.start <= offset;
                let Some((key, value)) = entries.iter().take_while(before).last() else {
                    return path;
                };
                let Value::Text(name) = &key.value else {
                    return path;
                };
                if !path.is_empty() {
                    path.push('.');
                }
                write!(path, "{}", escape(&shortened(name, NAME))).ok();
                node = value;
            }
            Value::List(items) => {
                let before = |item: &&Node| item.place.start <= offset;
                let Some(index) = items.iter().take_while(before).count().checked_sub(1) else {
                    return path;
                };
                write!(path, "[{index}]").ok();
                node = &items[index];
            }
            _ => return path,
        }
        if node.place.start > offset {
            return path;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tree;

    #[test]
    fn offsets_lead_to_fields() {
        let source = br#"{"a":{"b":[{"c":1},{"d":"x"}],"e":null},"f":2}"#;
        let (root, _) = tree::parse("", source);
        let root = root.unwrap();
        let at = |text: &str| {
            let source = str::from_utf8(source).unwrap();
            path(&root, source.find(text).unwrap())
        };
        for (text, expected) in [
            ("1", "a.b[0].c"),
            ("\"x\"", "a.b[1].d"),
            ("\"d\"", "a.b[1].d"),
            ("null", "a.e"),
            ("2", "f"),
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
        assert_eq!(path(&root, 0), "");
    }
}
