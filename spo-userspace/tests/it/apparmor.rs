//! AppArmor profiles: objects and policy text, good, broken and hostile.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

mod judge;
mod oracle;
mod properties;
mod strategy;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use spo::profile::apparmor::Access;
use spo::profile::apparmor::{
    AppArmorSpec, FileRule, LINTS, Mode, Note, TextProfile, diff, merge, read, read_and_lint,
    read_text, read_texts, to_abstract, write_object, write_text,
};
use spo::profile::diagnostic::{Diagnostic, has_errors, render};
use spo::profile::lint::silence;

fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/apparmor")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
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

/// Objects have another ending than policy text.
fn is_object(name: &str) -> bool {
    Path::new(name).extension() == Some("yaml".as_ref())
}

/// Reads a file of either format, and what its text means.
fn all_problems(name: &str, source: &[u8]) -> (bool, Vec<Diagnostic>) {
    if is_object(name) {
        let (document, diagnostics) = read_and_lint(name, source);
        return (document.is_some(), diagnostics);
    }
    let (profile, mut diagnostics) = read_text(name, source);
    let Some(profile) = profile else {
        return (false, diagnostics);
    };
    diagnostics.extend(to_abstract(&profile).1);
    (!has_errors(&diagnostics), diagnostics)
}

/// Every broken file, with all that is told about it.
#[test]
fn broken_files_are_explained() {
    let files = files("broken");
    assert!(files.len() >= 25);
    for (name, source) in files {
        let (good, diagnostics) = all_problems(&name, &source);
        assert_eq!(good, !has_errors(&diagnostics), "{name}");
        assert!(!diagnostics.is_empty(), "{name}");
        let text = render(&diagnostics, &source, false);
        let harmless = |character: char| character == '\n' || !character.is_control();
        assert!(text.chars().all(harmless), "{name}");
        insta::assert_snapshot!(name, text);
    }
}

/// Objects are written as they stand in the files, and text as the snapshots have it.
#[test]
fn good_files_survive_a_round_trip() {
    for (name, source) in files("good") {
        let (good, diagnostics) = all_problems(&name, &source);
        assert!(good, "{name}: {diagnostics:?}");
        if is_object(&name) {
            let (document, diagnostics) = read(&name, &source);
            assert_eq!(diagnostics, [], "{name}");
            let document = document.unwrap();
            let text = write_object(&document).unwrap();
            assert_eq!(text, String::from_utf8(source).unwrap(), "{name}");
            let text = write_text(&document.metadata.name, &document.spec).unwrap();
            insta::assert_snapshot!(format!("{name}-text"), text);
        } else {
            let (profile, _) = read_text(&name, &source);
            let (spec, _) = to_abstract(&profile.unwrap());
            let text = write_text("x", &spec).unwrap();
            insta::assert_snapshot!(format!("{name}-text"), text);
        }
    }
}

/// Files that are right, with all that their authors would want to know.
#[test]
fn lints_look_at_text_as_well() {
    let mut told = BTreeSet::new();
    for (name, source) in files("lint") {
        let (profiles, diagnostics) = read_texts(&name, &source, true);
        assert!(!profiles.is_empty(), "{name}: {diagnostics:?}");
        assert_eq!(read_texts(&name, &source, false).1, [], "{name}");
        let diagnostics = silence(&source, diagnostics);
        told.extend(diagnostics.iter().filter_map(|told| told.rule));
        let text = render(&diagnostics, &source, false);
        insta::assert_snapshot!(format!("lint-{name}"), text);
    }
    let known: BTreeSet<&str> = LINTS.iter().map(|rule| rule.id).collect();
    assert_eq!(told, known);
}

#[test]
fn a_file_of_several_profiles_is_read_as_a_whole() {
    let text = b"profile a { /a r, }\nprofile b { /b r, }\n";
    let (profiles, diagnostics) = read_texts("x", text, false);
    assert_eq!(diagnostics, []);
    let names: Vec<_> = profiles.iter().map(TextProfile::name).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(read_text("x", text).0.is_none());
    assert!(
        read_texts("x", b"profile a { /a r, }\nprofile b { /b q, }\n", false)
            .0
            .is_empty()
    );
}

#[test]
fn every_lint_has_a_file() {
    let mut told = BTreeSet::new();
    for (name, source) in files("broken") {
        if is_object(&name) {
            let (_, diagnostics) = read_and_lint(&name, &source);
            told.extend(diagnostics.into_iter().filter_map(|told| told.rule));
        }
    }
    let known: BTreeSet<&str> = LINTS.iter().map(|rule| rule.id).collect();
    assert_eq!(told, known);
}

/// Inputs that are made to cost time or memory are refused, or cost little.
#[test]
fn hostile_sizes_are_bounded() {
    let ten = 10 << 20;
    let four = (4 << 20) - 100;
    let repeat = |text: &str, size: usize| text.repeat(size / text.len());
    let texts = [
        repeat("a", ten),
        repeat("/a r,\n", four),
        format!("profile x {{ {}", repeat("/a r,", four)),
        format!("profile x {{ {}", repeat("r ", four)),
        format!("profile x {{ {}", repeat("{", four)),
        format!("profile x {{ {}", repeat("{ ", four)),
        format!("profile x {{ /{} r,", repeat("{a,", four)),
        format!("profile x {{ /{} r,", repeat("[", four)),
        format!("profile x {{ /{} r,", repeat("*a", four)),
        format!("profile x {{ {}", repeat("profile x { ", four)),
        format!("profile x {{ {}", repeat("signal set=(", four)),
        format!("profile x {{ signal set=({})", repeat("term,", four)),
        format!("profile x {{ {}", repeat("\"", four)),
        format!("profile x {{ {}", repeat("\"\n", four)),
        format!("profile x flags=({}", repeat("a ", four)),
        repeat("profile x {}", four),
        repeat("@{A}=", four),
        repeat("#include ", four),
        repeat("\\\n", four),
        repeat("ä", four),
    ];
    for text in &texts {
        let (profile, diagnostics) = read_text("x", text.as_bytes());
        if let Some(profile) = profile {
            to_abstract(&profile);
        }
        let rendered = render(&diagnostics, text.as_bytes(), false);
        assert!(rendered.len() < 300_000);
    }
    let object = |paths: &str| {
        format!(
            "{{\"apiVersion\":\"security-profiles-operator.x-k8s.io/v1\",\"kind\":\"AppArmorProfile\",\
             \"metadata\":{{\"name\":\"x\"}},\"spec\":{{\"abstract\":{{\"filesystem\":\
             {{\"readWritePaths\":[{paths}],\"readOnlyPaths\":[{paths}]}}}}}}}}"
        )
    };
    let many = |path: fn(usize) -> String| (0..4_000).map(path).collect::<Vec<_>>().join(",");
    for paths in [
        many(|number| format!("\"/a/{number}\"")),
        many(|number| format!("\"/a/*{number}\"")),
        many(|number| format!("\"/{}*{number}b\"", "a/".repeat(number % 30))),
    ] {
        let (document, _) = read_and_lint("x", object(&paths).as_bytes());
        let spec = document.unwrap().spec;
        assert!(merge(&[&spec, &spec]).spec.abstract_.rules.is_empty());
        assert!(diff(&spec, &spec).is_same());
    }
}

fn spec_of(source: &str) -> AppArmorSpec {
    let (document, diagnostics) = read("x", source.as_bytes());
    document.unwrap_or_else(|| panic!("{diagnostics:?}")).spec
}

fn with_files(read_only: &[&str], read_write: &[&str]) -> AppArmorSpec {
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    let mut spec = AppArmorSpec::default();
    spec.abstract_.filesystem.read_only_paths = set(read_only);
    spec.abstract_.filesystem.read_write_paths = set(read_write);
    spec
}

/// The cases for which the form of `canon` is made.
#[test]
fn denials_of_lists_follow_the_union() {
    // A denial that no other profile minds.
    let guarded = with_files(&["/data/secret"], &["/data/**"]);
    let other = with_files(&["/etc/hosts"], &["/run/x"]);
    let merged = merge(&[&guarded, &other]);
    assert_eq!(merged.notes, []);
    let expected = with_files(&["/data/secret", "/etc/hosts"], &["/data/**", "/run/x"]);
    assert_eq!(merged.spec, expected);

    // One that another profile allows.
    let open = with_files(&[], &["/data/*"]);
    let merged = merge(&[&guarded, &open]);
    let path = "/data/secret".to_owned();
    assert_eq!(merged.notes, [Note::Opened { path }]);
    assert_eq!(merged.spec, with_files(&[], &["/data/*", "/data/**"]));

    // A list would deny what the other profile allows.
    let read = with_files(&["/etc/**", "/etc/hosts"], &[]);
    let write = with_files(&[], &["/etc/mtab"]);
    let merged = merge(&[&read, &write]);
    let path = "/etc/**".to_owned();
    assert_eq!(merged.notes, [Note::BecameRule { path: path.clone() }]);
    let mut expected = with_files(&[], &["/etc/mtab"]);
    expected.abstract_.rules.allow.file.insert(FileRule {
        path,
        access: Access::READ,
        owner: false,
    });
    assert_eq!(merged.spec, expected);

    // Reading here and writing there is both.
    let read = with_files(&["/a"], &[]);
    let mut write = AppArmorSpec::default();
    write
        .abstract_
        .filesystem
        .write_only_paths
        .insert("/a".to_owned());
    assert_eq!(merge(&[&read, &write]).spec, with_files(&[], &["/a"]));
    assert_eq!(merge(&[]).spec, AppArmorSpec::default());
}

#[test]
fn a_merged_profile_complains_if_one_does() {
    let mut quiet = with_files(&["/a"], &[]);
    quiet.mode = Mode::Complain;
    let merged = merge(&[&quiet, &with_files(&["/b"], &[])]);
    assert_eq!(merged.spec.mode, Mode::Complain);
    assert_eq!(merged.notes, [Note::Complain]);
}

#[test]
fn differences_are_told_in_words() {
    let files = files("good");
    let source = |wanted: &str| {
        let (_, source) = files.iter().find(|(name, _)| name == wanted).unwrap();
        spec_of(str::from_utf8(source).unwrap())
    };
    let (small, large) = (source("small.yaml"), source("whole.yaml"));
    let text = serde_json::to_string_pretty(&diff(&small, &large)).unwrap();
    insta::assert_snapshot!("difference", text);
    assert!(diff(&small, &large).widens());
    assert!(!diff(&small, &small).widens());
}

/// Text of a profile never becomes another line of policy.
#[test]
fn hostile_values_are_refused() {
    for path in [
        "/a r,\n  /** rwlk,\n #",
        "/a\" rw",
        "/a,",
        "/a\\",
        "a",
        "",
        "/a\u{202e}",
        "/a\0b",
        "/a{b",
        "ptrace (read), # \n /** rw,",
        "ptrace (read),/** rw,",
        "ptrace (nothing),",
        "/a\tb",
        "/a]",
    ] {
        let spec = with_files(&[path], &[]);
        assert!(write_text("x", &spec).is_err(), "{path:?}");
        let mut spec = AppArmorSpec::default();
        spec.abstract_.rules.deny.file.insert(FileRule {
            path: path.to_owned(),
            access: Access::READ,
            owner: false,
        });
        assert!(path == "/a," || write_text("x", &spec).is_err(), "{path:?}");
    }
    for name in ["", "a b", "a{", "a\n", "ä", "a\"b"] {
        assert!(
            write_text(name, &AppArmorSpec::default()).is_err(),
            "{name:?}"
        );
    }
}
