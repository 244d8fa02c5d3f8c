//! Our policy text compiles with AppArmor's own parser.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use spo::profile::apparmor::{AppArmorSpec, complain, read, read_text, to_abstract, write_text};
use tempfile::TempDir;

use super::strategy::spec;

/// Compiles without a kernel and without a cache. `None` if there is no parser.
#[expect(clippy::print_stdout, reason = "a skipped test must say so")]
fn compile(texts: &[String]) -> Option<Result<Vec<u8>, String>> {
    let folder = TempDir::new().unwrap();
    let files: Vec<PathBuf> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let output = Command::new("apparmor_parser")
        .args(["--skip-kernel-load", "--skip-cache", "--stdout"])
        .args(files)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .output();
    match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: apparmor_parser: not installed");
            None
        }
        Err(error) => panic!("apparmor_parser: {error}"),
        Ok(output) if output.status.success() => {
            assert!(!output.stdout.is_empty(), "no policy came out");
            Some(Ok(output.stdout))
        }
        Ok(output) => Some(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

#[test]
fn the_oracle_refuses_what_is_wrong() {
    let wrong = "profile x {\n  /a{ r,\n}\n".to_owned();
    assert!(compile(&[wrong]).is_none_or(|result| result.is_err()));
}

/// A rule without a path is what it becomes in an object, to the byte.
#[test]
fn a_rule_for_all_files_has_a_path() {
    for rule in ["file,", "owner file,"] {
        let text = format!("profile x {{\n{rule}\n}}\n");
        let (profile, _) = read_text("x", text.as_bytes());
        let (spec, _) = to_abstract(&profile.unwrap());
        let written = write_text("x", &spec).unwrap();
        let begins = |line: &&str| line.trim_start().starts_with(['"', '/', 'o']);
        let line = written.lines().find(|line| begins(line)).unwrap();
        let again = format!("profile x {{\n{line}\n}}\n");
        assert_ne!(again, text);
        assert_eq!(compile(&[again]), compile(&[text]));
    }
}

#[test]
fn good_objects_compile() {
    let mut texts = Vec::new();
    for (name, source) in super::files("good") {
        if !super::is_object(&name) {
            continue;
        }
        let (document, _) = read(&name, &source);
        let spec = document.unwrap().spec;
        texts.push(write_text("enforced", &spec).unwrap());
        texts.push(write_text("complaining", &complain(&spec)).unwrap());
    }
    assert!(texts.len() >= 4);
    assert_eq!(
        compile(&texts).map_or(Ok(()), |result| result.map(drop)),
        Ok(())
    );
}

/// Rules of all families with random parts; each file has a profile of its own.
#[test]
fn random_profiles_compile() {
    let mut runner = TestRunner::deterministic();
    let specs: Vec<AppArmorSpec> = (0..200)
        .map(|_| spec().new_tree(&mut runner).unwrap().current())
        .collect();
    let texts: BTreeSet<String> = specs
        .iter()
        .map(|spec| write_text("a-name/with.all_signs", spec).unwrap())
        .collect();
    let texts: Vec<String> = texts.into_iter().collect();
    for batch in texts.chunks(50) {
        if compile(batch).is_none_or(|result| result.is_ok()) {
            continue;
        }
        for text in batch {
            let one = compile(std::slice::from_ref(text));
            assert_eq!(one.map(|result| result.map(drop)), Some(Ok(())), "{text}");
        }
        panic!("each compiles, and all together do not");
    }
}
