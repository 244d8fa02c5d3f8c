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
        let lines = source.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines {
            // A comment in one language is one in the others, or looks like none of theirs.
            let include = line.starts_with(b"#include");
            if line.is_empty() || (line.starts_with(b"#") && !include) {
                continue;
            }
            if line.starts_with(b"(") || line.starts_with(b";") {
                return Self::Cil;
            }
            let starts: [&[u8]; 8] = [
                b"#include",
                b"include ",
                b"abi ",
                b"profile ",
                b"hat ",
                b"^",
                b"@{",
                b"alias ",
            ];
            let path = line.starts_with(b"/") && line.ends_with(b"{");
            if path || starts.iter().any(|start| line.starts_with(start)) {
                return Self::AppArmor;
            }
            break;
        }
        Self::Tree
    }
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
            ("a", "# comment\napiVersion: v1\n", Format::Tree),
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
