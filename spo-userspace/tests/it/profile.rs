//! Profiles in files: what is read, what is written, what is told about broken ones.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

use std::fs;
use std::path::PathBuf;

use spo::profile::diagnostic::{has_errors, render};
use spo::profile::object::Metadata;
use spo::profile::seccomp::{self, Document, SeccompProfile};

fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/profiles")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

/// Every broken file, with all that is told about it.
#[test]
fn broken_files_are_explained() {
    let files = files("broken");
    assert!(files.len() >= 20);
    for (name, source) in files {
        let (document, diagnostics) = seccomp::read(&name, &source);
        assert_eq!(document.is_none(), has_errors(&diagnostics), "{name}");
        assert!(!diagnostics.is_empty(), "{name}");
        let text = render(&diagnostics, &source, false);
        let harmless = |character: char| character == '\n' || !character.is_control();
        assert!(text.chars().all(harmless), "{name}");
        assert!(!text.contains('\u{202e}'), "{name}");
        insta::assert_snapshot!(name, text);
    }
}

/// The files are written as we write them, so that reading and writing gives the same bytes.
#[test]
fn good_files_survive_a_round_trip() {
    let files = files("good");
    assert_eq!(files.len(), 2);
    for (name, source) in files {
        let (document, diagnostics) = seccomp::read(&name, &source);
        assert_eq!(diagnostics, [], "{name}");
        let text = match document.unwrap() {
            Document::Object(object) => seccomp::write_object(&object).unwrap(),
            Document::Raw(spec) => seccomp::write_raw(&spec).unwrap(),
            Document::Engine(_) => panic!("{name}: nobody writes an engine's profile"),
        };
        assert_eq!(text, String::from_utf8(source).unwrap(), "{name}");
    }
}

/// Files that are made to cost time or memory are refused, or cost little.
#[test]
fn hostile_sizes_are_bounded() {
    let messages = |source: &[u8]| {
        let (document, diagnostics) = seccomp::read("file", source);
        assert_eq!(document.is_none(), has_errors(&diagnostics));
        let text = render(&diagnostics, source, true);
        assert!(text.len() < 300_000, "{}", text.len());
        diagnostics
            .into_iter()
            .map(|diagnostic| diagnostic.message)
            .collect::<Vec<_>>()
    };
    let too_much = "the file is nested too deep or has too many values";

    let large = vec![b' '; (4 << 20) + 1];
    assert_eq!(
        messages(&large),
        ["the file has 4194305 bytes, more than any profile needs"]
    );

    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    assert_eq!(messages(deep.as_bytes()).len(), 1);
    let deep = "{\"a\":".repeat(100_000);
    assert_eq!(messages(deep.as_bytes()).len(), 1);
    let deep = "- ".repeat(100_000);
    assert_eq!(messages(deep.as_bytes()), [too_much]);
    let many = format!("[{}]", "0,".repeat(2_000_000));
    assert_eq!(messages(many.as_bytes()), [too_much]);

    // One line of two megabytes, wrong all along: the first hundred warnings, the errors after
    // them, and a count of the rest.
    let names = (0..150_000)
        .map(|number| format!("\"opennat{number}\""))
        .collect::<Vec<_>>();
    let wrong = format!(
        "{{\"defaultAction\":\"SCMP_ACT_LOG\",\"syscalls\":[{{\"names\":[{}],\"action\":\"x\"}}]}}",
        names.join(",")
    );
    let told = messages(wrong.as_bytes());
    assert_eq!(told.len(), 102);
    assert_eq!(told[0], "unknown syscall `opennat0`");
    assert_eq!(told[100], "`x` is not an action");
    assert_eq!(told[101], "149900 more problems are not shown");
}

/// Cut lines keep the true column, and colours are there when asked for.
#[test]
fn long_lines_are_cut_around_the_problem() {
    let source = format!(
        "{{\"defaultAction\":\"SCMP_ACT_LOG\",\"listenerMetadata\":\"{}\",\"flags\":[\"ä\"],\"listenerPath\":\"{}\"}}",
        "m".repeat(20_000),
        "p".repeat(20_000)
    );
    let (_, diagnostics) = seccomp::read("long.json", source.as_bytes());
    let text = render(&diagnostics, source.as_bytes(), false);
    insta::assert_snapshot!(text);
    assert!(!text.contains('\u{1b}'));
    assert!(render(&diagnostics, source.as_bytes(), true).contains('\u{1b}'));
}

/// What an object cannot say is an error of the writer, never left out.
#[test]
fn objects_lose_nothing_of_raw_profiles() {
    let (_, source) = files("good")
        .into_iter()
        .find(|(name, _)| name == "runtime.json")
        .unwrap();
    let (document, _) = seccomp::read("runtime.json", &source);
    let mut object = SeccompProfile {
        metadata: Metadata {
            name: "x".to_owned(),
            ..Metadata::default()
        },
        spec: document.unwrap().spec().unwrap().clone(),
    };
    let error = |object: &SeccompProfile| seccomp::write_object(object).unwrap_err().to_string();
    assert_eq!(
        error(&object),
        "a SeccompProfile object has no field for `defaultErrnoRet: 38`, and its default action \
         SCMP_ACT_ERRNO always gives 1 (EPERM); name the calls that need 38 in a rule with \
         `errnoRet: 38`, or keep the profile in the raw form"
    );
    object.spec.default_errno_ret = None;
    assert_eq!(
        error(&object),
        "the value 18446744073709551615 of an argument of personality is too large for a \
         SeccompProfile object"
    );
    object.spec.syscalls[1].args.remove(0);
    assert!(seccomp::write_object(&object).is_ok());
}
