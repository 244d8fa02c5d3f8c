//! Several YAML documents in one file, as manifests have them, and several objects in one
//! document, as `kubectl get` prints them.

use super::diagnostic::Diagnostic;
use super::object::Identity;
use super::tree::{Node, Value};

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The document's text, with its `---` line.
    pub text: &'a [u8],
    /// Lines of the file that stand before it.
    lines: usize,
    /// Bytes of the file that stand before it.
    bytes: usize,
}

impl Part<'_> {
    /// Moves what was found in the document to where it is in the file.
    pub fn place(&self, diagnostics: &mut [Diagnostic]) {
        for diagnostic in diagnostics {
            diagnostic.line += self.lines;
            diagnostic.span.start += self.bytes;
            diagnostic.span.end += self.bytes;
        }
    }
}

/// More documents, or objects in a list, are no manifest that somebody wrote.
pub const MOST: usize = 1000;

/// Splits a file into its documents. Documents without content are left out; a file without any
/// has one part, which is the whole file.
///
/// A line that begins with `---` or `...` ends a document wherever it stands, also in the middle of
/// a text (YAML 1.2, `c-forbidden`), so that no parser is needed to find it.
pub fn split(source: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut part = Part {
        text: &source[..0],
        lines: 0,
        bytes: 0,
    };
    let mut content = false;
    let mut begun = false;
    let mut at = 0;
    for (number, line) in source.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // A byte order mark is no content.
        let mark = b"\xef\xbb\xbf".as_slice();
        let full = line;
        let line = match line.strip_prefix(mark) {
            Some(rest) if at == 0 => rest,
            _ => line,
        };
        let starts = is_marker(line, b"---");
        let ends = is_marker(line, b"...");
        // Comments and directives in front of a document belong to it, the line that ends it too.
        if (starts && (content || begun)) || ends {
            let until = if ends { at + full.len() } else { at };
            if content {
                part.text = &source[part.bytes..until];
                parts.push(part);
            }
            part.lines = number + usize::from(ends);
            part.bytes = until;
            content = false;
        }
        begun = starts || (begun && !ends);
        let rest = if starts { &line[3..] } else { line };
        content |= !ends && has_content(rest);
        at += full.len();
    }
    if content {
        part.text = &source[part.bytes..];
        parts.push(part);
    }
    if parts.is_empty() {
        parts.push(Part {
            text: source,
            lines: 0,
            bytes: 0,
        });
    }
    parts
}

/// Whether a document has a line `---` of its own in front of its content, and whether it has
/// directives before that.
pub(crate) fn opening(document: &str) -> (bool, bool) {
    let mut directives = false;
    for line in document.lines() {
        if is_marker(line.as_bytes(), b"---") {
            return (true, directives);
        }
        if has_content(line.as_bytes()) {
            break;
        }
        directives |= line.starts_with('%');
    }
    (false, directives)
}

/// Whether a document is a list of objects of any kinds.
pub(crate) fn is_list(root: &Node) -> bool {
    let Identity { api_version, kind } = Identity::of(root);
    kind.as_deref() == Some("List") && api_version.as_deref() == Some("v1")
}

/// The objects of a document: the items of a `List`, or else the document itself.
pub(crate) fn objects(root: &mut Node) -> Vec<&mut Node> {
    if !is_list(root) {
        return vec![root];
    }
    let Value::Map(entries) = &mut root.value else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, items) in entries {
        if let (Value::Text(name), Value::List(items)) = (&key.value, &mut items.value)
            && name == "items"
        {
            // Lists in lists end where the tree does.
            found.extend(items.iter_mut().flat_map(objects));
        }
    }
    found
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Anything but blanks, a comment, or a directive.
fn has_content(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|first| *first != b'#') && line.first() != Some(&b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(&str, usize)> {
        split(source.as_bytes())
            .into_iter()
            .map(|part| {
                assert_eq!(source[..part.bytes].matches('\n').count(), part.lines);
                (str::from_utf8(part.text).unwrap(), part.lines)
            })
            .collect()
    }

    #[test]
    fn documents() {
        for (source, expected) in [
            ("", vec![("", 0)]),
            ("# nothing\n", vec![("# nothing\n", 0)]),
            ("---\n", vec![("---\n", 0)]),
            ("a: 1\n", vec![("a: 1\n", 0)]),
            ("---\na: 1\n", vec![("---\na: 1\n", 0)]),
            ("# licence\n---\na: 1", vec![("# licence\n---\na: 1", 0)]),
            ("%YAML 1.2\n---\na: 1", vec![("%YAML 1.2\n---\na: 1", 0)]),
            ("a: 1\n---\nb: 2\n", vec![("a: 1\n", 0), ("---\nb: 2\n", 1)]),
            ("--- 1\n--- 2\n", vec![("--- 1\n", 0), ("--- 2\n", 1)]),
            (
                "a: 1\n---\n\n---\nb: 2",
                vec![("a: 1\n", 0), ("---\nb: 2", 3)],
            ),
            ("a: 1\n---\n# end\n", vec![("a: 1\n", 0)]),
            (
                "a: 1\n...\n---\nb: 2",
                vec![("a: 1\n...\n", 0), ("---\nb: 2", 2)],
            ),
            ("a: |\n  ---\n  b\n", vec![("a: |\n  ---\n  b\n", 0)]),
            ("----\n", vec![("----\n", 0)]),
            (
                "\u{feff}%YAML 1.2\n---\na: 1\n---\nb: 2",
                vec![("\u{feff}%YAML 1.2\n---\na: 1\n", 0), ("---\nb: 2", 3)],
            ),
            (
                "\u{feff}---\na: 1\n---\nb: 2",
                vec![("\u{feff}---\na: 1\n", 0), ("---\nb: 2", 2)],
            ),
            (
                "a: 1\r\n---\r\nb: 2",
                vec![("a: 1\r\n", 0), ("---\r\nb: 2", 1)],
            ),
        ] {
            assert_eq!(texts(source), expected, "{source:?}");
        }
    }

    /// No byte of content is lost, and no two parts share one.
    #[test]
    fn parts_lie_in_order() {
        let lines = ["---\n", "...\n", "# c\n", "a: 1\n", "\n", "%TAG\n"];
        for number in 0..lines.len().pow(5) {
            let source: String = (0..5)
                .map(|place| lines[number / lines.len().pow(place) % lines.len()])
                .collect();
            let parts = split(source.as_bytes());
            let kept: usize = parts
                .iter()
                .map(|part| str::from_utf8(part.text).unwrap().matches("a: 1").count())
                .sum();
            assert_eq!(kept, source.matches("a: 1").count(), "{source:?}");
            for pair in parts.windows(2) {
                assert!(
                    pair[0].bytes + pair[0].text.len() <= pair[1].bytes,
                    "{source:?}"
                );
            }
        }
    }
}
