//! Files, good and broken.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use spo::profile::diagnostic::{Diagnostic, has_errors, render};
use spo::profile::lint::silence;
use spo::profile::object::{Metadata, Object};
use spo::profile::selinux::{self, RawSelinuxSpec};
use spo::profile::state::State;

pub(super) fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/selinux")
}

pub(super) fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(data().join(folder))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Reads a file with the reader that its name is for; whether there is a result, and what is told.
fn read(name: &str, source: &[u8]) -> (bool, Vec<Diagnostic>) {
    if Path::new(name).extension() == Some(OsStr::new("cil")) {
        let (tree, told) = selinux::read_cil(name, source);
        (tree.is_some(), told)
    } else if name.starts_with("raw") && !name.starts_with("raw-fields") {
        let (profile, told) = selinux::read_raw_and_lint(name, source);
        (profile.is_some(), told)
    } else {
        let (profile, told) = selinux::read_and_lint(name, source);
        (profile.is_some(), told)
    }
}

/// Every broken file, with all that is told about it.
#[test]
fn broken_files_are_explained() {
    let files = files("broken");
    assert!(files.len() >= 40);
    for (name, source) in files {
        let (there, told) = read(&name, &source);
        assert_eq!(there, !has_errors(&told), "{name}");
        assert!(!told.is_empty(), "{name}");
        for one in &told {
            assert!(one.span.end <= source.len() + 1, "{name}: {one}");
            if let Some(rule) = one.rule {
                assert!(
                    selinux::LINTS.iter().any(|known| known.id == rule),
                    "{rule}"
                );
            }
        }
        let text = render(&told, &source, false);
        let harmless = |character: char| character == '\n' || !character.is_control();
        assert!(text.chars().all(harmless), "{name}");
        insta::assert_snapshot!(name, text);
    }
}

/// Files of CIL that are right, with all that their authors would want to know.
#[test]
fn lints_look_at_cil_as_well() {
    for (name, source) in files("lint") {
        let (tree, told) = selinux::read_cil_and_lint(&name, &source);
        assert!(tree.is_some(), "{name}: {told:?}");
        assert_eq!(selinux::read_cil(&name, &source).1, [], "{name}");
        let told = silence(&source, told);
        insta::assert_snapshot!(format!("lint-{name}"), render(&told, &source, false));
    }
}

/// The files are written as we write them, so that reading and writing gives the same bytes.
#[test]
fn good_files_survive_a_round_trip() {
    for (name, source) in files("good") {
        let text = if name.starts_with("raw") {
            let (profile, told) = selinux::read_raw(&name, &source);
            assert_eq!(told, [], "{name}");
            selinux::write_raw_object(&profile.unwrap()).unwrap()
        } else {
            let (profile, told) = selinux::read(&name, &source);
            assert_eq!(told, [], "{name}");
            selinux::write_object(&profile.unwrap()).unwrap()
        };
        assert_eq!(text, String::from_utf8(source).unwrap(), "{name}");
    }
}

/// However a policy begins and ends, it is written so that it is read as the same.
#[test]
fn policies_survive_a_round_trip() {
    for policy in [
        "(type process)",
        "(type process)\n",
        "(type process)\n\n\n",
        "  (type process)\n(type other)\n",
        "\n\n    (type process)\n",
        "\t(type process)\t\n",
        "(type process)  \n  \n(type other)",
        "(type process)\r\n(type other)\r\n",
        "; a: b # c\n(type process)\n; ---\n",
        "(type process) ; \u{e4}\u{2028}\u{85}\u{feff}\u{1b}\n",
    ] {
        let profile = Object {
            metadata: Metadata {
                name: "name".to_owned(),
                ..Metadata::default()
            },
            spec: RawSelinuxSpec {
                state: State::Disabled,
                policy: policy.to_owned(),
            },
        };
        let text = selinux::write_raw_object(&profile).unwrap();
        let (again, _) = selinux::read_raw("file.yaml", text.as_bytes());
        assert_eq!(again, Some(profile), "{text}");
    }
}
