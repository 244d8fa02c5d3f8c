//! Which language a file is in.

/// The languages of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, and JSON with it: objects, and seccomp profiles of runtimes and engines.
    Tree,
    /// SELinux's common intermediate language.
    Cil,
    /// AppArmor's policy text.
    AppArmor,
}

/// What some editors put in front of a text. The compilers of policies refuse it.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The message for a text with [`BYTE_ORDER_MARK`].
pub(crate) fn mark_refused(compiler: &str) -> String {
    format!("the text begins with a byte order mark, which `{compiler}` refuses")
}

impl Format {
    /// The language of a file, by the end of its name, else by how its text begins.
    pub fn of(name: &str, source: &[u8]) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        match ending {
            Some("cil") => Self::Cil,
            Some("yaml" | "yml" | "json") => Self::Tree,
            Some("apparmor") => Self::AppArmor,
            _ => Self::of_text(source),
        }
    }

    fn of_text(source: &[u8]) -> Self {
        let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
        let start = significant(source);
        if start.starts_with(b"(") || start.starts_with(b";") {
            Self::Cil
        } else if begins_with_word(start) || begins_with_path(start) {
            Self::AppArmor
        } else {
            Self::Tree
        }
    }
}

/// The text behind blanks, empty lines and comments. A comment in one language is one in the
/// others, or looks like none of theirs; but AppArmor's includes may look like comments.
fn significant(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        if !text.starts_with(b"#") || text.starts_with(b"#include") {
            return text;
        }
        let end = text.iter().position(|byte| *byte == b'\n');
        text = &text[end.unwrap_or(text.len())..];
    }
}

/// Whether policy text begins here with something else than a path.
fn begins_with_word(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 6] = [
        b"include",
        b"#include",
        b"abi",
        b"profile",
        b"hat",
        b"alias",
    ];
    if text.starts_with(b"@{") || text.starts_with(b"^") {
        return true;
    }
    let length = text.iter().position(|byte| b" \t\r\n<\"".contains(byte));
    let (word, rest) = text.split_at(length.unwrap_or(text.len()));
    // In YAML, a colon may follow a key at a distance.
    WORDS.contains(&word) && !rest.is_empty() && !rest.trim_ascii_start().starts_with(b":")
}

/// Whether a profile begins here that is called like its program: a path, and what may stand
/// between it and its brace, or that.
fn begins_with_path(text: &[u8]) -> bool {
    let (text, ends): (_, &[u8]) = match text.strip_prefix(b"\"") {
        Some(quoted) => (quoted, b"\"\n"),
        None => (text, b" \t\r\n"),
    };
    let Some(end) = text.iter().position(|byte| ends.contains(byte)) else {
        return false;
    };
    let (path, rest) = text.split_at(end);
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let is_path = [&b"/"[..], b"{/", b"{,/"]
        .iter()
        .any(|start| path.starts_with(start));
    let rest = significant(rest);
    let opens: [&[u8]; 6] = [b"{", b"flags", b"xattrs", b"(", b"/", b"\"/"];
    let opened = path.ends_with(b"{") || opens.iter().any(|open| rest.starts_with(open));
    is_path && !path.ends_with(b":") && opened
}

/// Whether a YAML or JSON file is meant to hold a profile or another of our objects. Folders hold
/// much else, some of which is not even YAML (templates).
pub fn is_ours(source: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [super::object::GROUP.as_bytes(), b"SCMP_ACT_"];
    marks
        .iter()
        .any(|mark| source.windows(mark.len()).any(|window| window == *mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_by_text() {
        for (name, text, format) in [
            ("a.cil", "", Format::Cil),
            ("a.yaml", "(block x)", Format::Tree),
            ("x/a.json", "", Format::Tree),
            ("a.apparmor", "", Format::AppArmor),
            ("-", "; comment\n(block x)", Format::Cil),
            ("-", "# comment\n\n(block x)", Format::Cil),
            ("a", "#include <tunables/global>\n", Format::AppArmor),
            ("usr.bin.x", "# x\nabi <abi/3.0>,\n", Format::AppArmor),
            ("a", "profile x flags=(complain) {\n", Format::AppArmor),
            ("a", "/usr/bin/x {\n", Format::AppArmor),
            ("a", "# x\n\n/usr/bin/x {\n", Format::AppArmor),
            ("a", "/usr/bin/x { # why\n", Format::AppArmor),
            ("a", "/usr/bin/x {}\n", Format::AppArmor),
            ("a", "/usr/bin/x{\n", Format::AppArmor),
            ("a", "/usr/bin/x\n# why\n{\n", Format::AppArmor),
            ("a", "/usr/bin/x flags=(complain) {\n", Format::AppArmor),
            ("a", "{/usr,}/bin/x /bin/y {\n", Format::AppArmor),
            ("a", "\"/a b\" {\n", Format::AppArmor),
            ("a", "\"/a b\"\n{\n", Format::AppArmor),
            ("a", "profile\tx {\n", Format::AppArmor),
            ("a", "profile x\n{\n", Format::AppArmor),
            ("a", "profile \"a b\" {\n", Format::AppArmor),
            ("a", "profile\n  x {\n", Format::AppArmor),
            ("a", "#include\t\"x\"\n", Format::AppArmor),
            ("a", "include<x>\r\n", Format::AppArmor),
            ("a", "^hat {\n", Format::AppArmor),
            ("a", "@{X}=/a\n", Format::AppArmor),
            ("a", "\u{feff}profile x {\n", Format::AppArmor),
            ("a", "\u{feff}(block x)\n", Format::Cil),
            ("a", "\u{feff}apiVersion: v1\n", Format::Tree),
            ("a", "# comment\napiVersion: v1\n", Format::Tree),
            ("a", "profile: x\n", Format::Tree),
            ("a", "profile : x\n", Format::Tree),
            ("a", "profiles x {\n", Format::Tree),
            ("a", "/usr/bin/x: {}\n", Format::Tree),
            ("a", "/usr/bin/x : {}\n", Format::Tree),
            ("a", "\"/a b\": {}\n", Format::Tree),
            ("a", "{\"/a\": {}}", Format::Tree),
            ("a", "\"/a", Format::Tree),
            ("a", "{\"defaultAction\": 1}", Format::Tree),
            ("a", "", Format::Tree),
        ] {
            assert_eq!(Format::of(name, text.as_bytes()), format, "{name} {text:?}");
        }
    }

    #[test]
    fn ours() {
        assert!(is_ours(
            b"apiVersion: security-profiles-operator.x-k8s.io/v1"
        ));
        assert!(is_ours(b"{\"defaultAction\": \"SCMP_ACT_ERRNO\"}"));
        assert!(!is_ours(b"apiVersion: v1\nkind: Pod\n"));
        assert!(!is_ours(b""));
    }
}
