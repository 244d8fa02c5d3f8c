//! The checker itself must be able to fail.

use super::paths::paths;
use super::source::{tokens, without_tests};
use super::{
    depth_of, import_problem, length_problem, licence_problem, module_of, text_problems,
    unsafe_problem,
};

/// The problems of a file at `path`.
fn imports(path: &str, text: &str) -> Vec<String> {
    let used = paths(&without_tests(&tokens(text)), depth_of(path));
    used.iter()
        .filter_map(|used| import_problem(&module_of(path), used))
        .collect()
}

#[test]
fn forbidden_imports_are_found() {
    let table = [
        (
            "profile/seccomp.rs",
            "use crate::bpf::Recorder;",
            "`profile` may not use `crate::bpf`",
        ),
        (
            "profile/mod.rs",
            "use super::recorder;",
            "`profile` may not use `crate::recorder`",
        ),
        (
            "profile/a/b.rs",
            "fn f() { super::super::super::cli::run() }",
            "`profile` may not use `crate::cli`",
        ),
        (
            "recorder/mod.rs",
            "use crate::{event::Event, node::{Path}};",
            "`recorder` may not use `crate::node`",
        ),
        (
            "node/mod.rs",
            "fn f() { let x = aya::Ebpf::load(b\"\"); }",
            "`node` may not use `aya`",
        ),
        (
            "cli/mod.rs",
            "use spo_common::event;",
            "`cli` may not use `spo_common`",
        ),
        (
            "recorder/mod.rs",
            "use std::{fmt, time::{Duration, Instant}};",
            "`recorder` may not use `std::time::Instant`",
        ),
        (
            "bpf/mod.rs",
            "use ::std::fs as files;",
            "`bpf` may not use `std::fs`",
        ),
        ("event.rs", "use tokio;", "`event` may not use `tokio`"),
        (
            "cli/run.rs",
            "use crate::controller::x;",
            "`cli` may not use `crate::controller`",
        ),
    ];
    for (path, text, expected) in table {
        let found = imports(&format!("spo-userspace/src/{path}"), text);
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{path}: {text}: {found:?}"
        );
    }
    assert_eq!(imports("spo-ebpf/src/lib.rs", "use aya::Ebpf;").len(), 1);
}

#[test]
fn allowed_imports_are_none() {
    let table = [
        (
            "profile/mod.rs",
            "use self::seccomp::Profile; use super::profile::x; use crate::profile::y;",
        ),
        (
            "profile/a.rs",
            "// use crate::bpf;\n/* use std::fs; */ const X: &str = \"crate::bpf std::fs\"; const Y: char = '\"';",
        ),
        (
            "profile/a.rs",
            "fn f<'a>(x: &'a str) {}\n#[cfg(test)]\nmod tests { use std::fs; fn g() { { } } }",
        ),
        ("profile/a.rs", "mod inner { use super::super::a; }"),
        (
            "recorder/mod.rs",
            "use crate::{event::Event, profile}; use std::time::Duration;",
        ),
        (
            "node/mod.rs",
            "use std::fs; use nix::unistd; use libseccomp::x; use crate::profile;",
        ),
        (
            "cli/mod.rs",
            "use crate::{bpf, node, recorder}; use std::process::Command; use nix::sys;",
        ),
        (
            "bpf/mod.rs",
            "use aya::Ebpf; use spo_common::event; use crate::event;",
        ),
    ];
    for (path, text) in table {
        assert_eq!(
            imports(&format!("spo-userspace/src/{path}"), text),
            [""; 0],
            "{path}: {text}"
        );
    }
}

#[test]
fn unsafe_code_is_found_where_it_may_not_be() {
    assert!(unsafe_problem("node", "fn f() { unsafe { g() } }").is_some());
    assert!(unsafe_problem("node", "unsafe impl Pod for X {}").is_some());
    assert!(
        unsafe_problem(
            "node",
            "// unsafe {\n#[expect(unsafe_code)] #[unsafe(no_mangle)] static X: u8 = 0;"
        )
        .is_none()
    );
    assert!(unsafe_problem("bpf", "fn f() { unsafe { g() } }").is_none());
}

#[test]
fn long_files_and_bare_programs_are_found() {
    assert!(length_problem(&"let x = 1;\n".repeat(401)).is_some());
    assert!(length_problem(&"// why\n\nlet x = 1;\n".repeat(400)).is_none());
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"fn f() {}\n".repeat(500) + "}\n";
    assert!(length_problem(&tests).is_none());
    assert!(licence_problem("fn main() {}").is_some());
}

#[test]
fn forbidden_texts_are_found() {
    let found = text_problems("docs/x.md", &format!("see\n{}{}/x\n", "../sha", "red"));
    assert!(
        found.len() == 1 && found[0].starts_with("docs/x.md:2: "),
        "{found:?}"
    );
    let word = ["SPO_", "EBPF"].concat();
    assert_eq!(text_problems("docs/x.sh", &word).len(), 1);
    assert_eq!(text_problems("spo-userspace/build.rs", &word).len(), 0);
}
