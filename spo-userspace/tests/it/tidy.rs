//! The rules that the compiler does not hold: who may use what, how long a file may be, and what
//! no file may say. The rules are data, in `tidy/rules.rs`.

mod controls;
mod paths;
mod rules;
mod source;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::paths::paths;
use self::rules::{
    FORBIDDEN, Forbidden, LONG, MODULES, OUTSIDE, Outside, SOURCES, UNSAFE, Uses, WORDS, Words,
};
use self::source::{code_lines, tokens, without_tests};

/// Code lines of a file, without comments and tests.
const LIMIT: usize = 400;
/// What is not a file of the project.
const SKIP: [&str; 2] = [".git", "target"];
/// Files that others write: the rules for texts are not for them.
const NOT_OURS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

#[test]
fn modules_use_what_they_may() {
    none(check_sources(|path, text| {
        let module = module_of(path);
        let used = paths(&without_tests(&tokens(text)), depth_of(path));
        used.iter()
            .filter_map(|used| import_problem(&module, used))
            .collect()
    }));
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    none(check_sources(|path, text| {
        unsafe_problem(&module_of(path), text).into_iter().collect()
    }));
}

#[test]
fn files_are_short() {
    none(check_sources(|path, text| {
        if LONG.contains(&path) {
            return Vec::new();
        }
        length_problem(text).into_iter().collect()
    }));
}

#[test]
fn every_program_says_its_licence() {
    let programs: Vec<_> = files("spo-ebpf/src/bin");
    assert!(!programs.is_empty(), "no program in spo-ebpf/src/bin");
    none(programs.iter().filter_map(|(path, text)| {
        licence_problem(text).map(|problem| format!("{path}: {problem}"))
    }));
}

#[test]
fn no_file_says_what_is_forbidden() {
    let ours = files("")
        .into_iter()
        .filter(|(path, _)| !NOT_OURS.contains(&path.as_str()));
    none(ours.flat_map(|(path, text)| text_problems(&path, &text)));
}

/// Fails with every problem, one line each.
fn none(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<_> = problems.into_iter().collect();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

/// What `check` finds in the source files that the rules are for.
fn check_sources(check: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let sources: Vec<_> = SOURCES.iter().flat_map(|dir| files(dir)).collect();
    assert!(
        sources.len() > SOURCES.len(),
        "the sources are not where they should be"
    );
    let sources = sources
        .iter()
        .filter(|(path, _)| Path::new(path).extension() == Some(OsStr::new("rs")));
    sources
        .flat_map(|(path, text)| {
            check(path, text)
                .into_iter()
                .map(move |problem| format!("{path}: {problem}"))
        })
        .collect()
}

fn import_problem(module: &str, used: &[String]) -> Option<String> {
    let [first, rest @ ..] = used else {
        return None;
    };
    if first == "crate" {
        let target = rest.first()?;
        if target == module || !MODULES.iter().any(|(name, _)| name == target) {
            return None;
        }
        let (_, allowed) = MODULES.iter().find(|(name, _)| *name == module)?;
        return (!allowed.permits(target)).then(|| {
            format!(
                "`{module}` may not use `crate::{target}`: move the code, hand the value in from \
                 `cli`, or change MODULES in tests/it/tidy/rules.rs together with ARCHITECTURE.md"
            )
        });
    }
    let path = used.join("::");
    let named = |outside: &&Outside| {
        path.strip_prefix(outside.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let Outside {
        path: name,
        uses,
        instead,
    } = OUTSIDE.iter().find(named)?;
    (!uses.permits(module))
        .then(|| format!("`{module}` may not use `{name}` (`{path}`): {instead}"))
}

fn unsafe_problem(module: &str, text: &str) -> Option<String> {
    let code = tokens(text);
    // `#[unsafe(no_mangle)]` is an attribute, and no block.
    let found = code
        .windows(2)
        .any(|pair| pair[0] == "unsafe" && pair[1] != "(");
    (found && !UNSAFE.contains(&module)).then(|| {
        format!(
            "`{module}` may not be unsafe: give `bpf` a safe function, or find a crate that has one"
        )
    })
}

fn length_problem(text: &str) -> Option<String> {
    let lines = code_lines(text);
    (lines > LIMIT).then(|| {
        format!(
            "{lines} code lines, the limit is {LIMIT}: split the file by what it does, or, \
             if it is a table, add it to LONG in tests/it/tidy/rules.rs"
        )
    })
}

/// The kernel reads the licence from the section `license` of an object.
fn licence_problem(text: &str) -> Option<String> {
    let section = text.contains("#[unsafe(link_section = \"license\")]");
    let value = text.contains("*b\"Dual MIT/GPL\\0\"");
    (!section || !value).then(|| {
        "no licence: the kernel refuses helpers to it; take the static LICENSE from another program"
            .to_owned()
    })
}

fn text_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for Forbidden { parts, instead } in FORBIDDEN {
        let word = parts.concat();
        for (number, _) in (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.contains(&word))
        {
            problems.push(format!("{path}:{number}: `{word}`: {instead}"));
        }
    }
    for Words {
        parts,
        files,
        instead,
    } in WORDS
    {
        let word = parts.concat();
        if text.contains(&word)
            && !files
                .iter()
                .any(|file| path == *file || path.starts_with(&format!("{file}/")))
        {
            problems.push(format!("{path}: `{word}` has no place here: {instead}"));
        }
    }
    problems
}

impl Uses {
    fn permits(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(&name),
            Self::AllBut(names) => !names.contains(&name),
        }
    }
}

/// The module at the top of a crate that a file belongs to; a crate of its own stands for itself.
fn module_of(path: &str) -> String {
    let inside = path
        .strip_prefix("spo-userspace/src/")
        .map(|rest| rest.split('/').next().unwrap_or(rest));
    let name = inside.unwrap_or_else(|| path.split('/').next().unwrap_or(path));
    name.trim_end_matches(".rs").to_owned()
}

/// How many modules deep a file's own module is; the crate's root is 0.
fn depth_of(path: &str) -> usize {
    let Some((_, inside)) = path.split_once("/src/") else {
        return 0;
    };
    let parts = inside.split('/').count();
    match inside.rsplit('/').next() {
        Some("lib.rs" | "main.rs") => 0,
        Some("mod.rs") => parts - 1,
        _ => parts,
    }
}

/// The files below a directory of the workspace, with their text, by path.
fn files(dir: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(dir)];
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.path();
            let skip = SKIP.iter().any(|name| path.ends_with(name));
            if path.is_symlink() || skip {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let name = path.strip_prefix(&root).unwrap_or(&path);
                found.push((name.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}
