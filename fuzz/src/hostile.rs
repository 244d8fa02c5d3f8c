//! Files that are made to cost much: nested deeply, in one long line, wrong throughout.
//!
//! The tests read small ones, `cargo xtask bench profiles` large ones.

use spo::api;
use spo::profile::diagnostic::Diagnostic;
use spo::profile::{apparmor, seccomp, selinux};

const FILE: &str = "file";

/// A language, and what hostile files of it look like.
pub struct Language {
    /// Its name.
    pub name: &'static str,
    /// Reads a file with what reads the language, and gives all that is told.
    pub read: fn(&[u8]) -> Vec<Diagnostic>,
    /// What each of the files is, what it begins with, and what comes again and again.
    pub files: &'static [(&'static str, &'static str, &'static str)],
}

/// The file of a language, as large as asked for.
pub fn file(start: &str, again: &str, size: usize) -> String {
    let count = size.saturating_sub(start.len()) / again.len();
    let mut text = start.to_owned() + &again.repeat(count);
    let rest = size.saturating_sub(text.len());
    text.push_str(&again[..rest]);
    text
}

const OBJECT: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SeccompProfile\n\
                      metadata:\n  name: a\nspec:\n  defaultAction: SCMP_ACT_ALLOW\n  syscalls:\n";
const BOMB: &str = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf:\n";

const YAML: &[(&str, &str, &str)] = &[
    ("nested lists", "", "["),
    ("nested items", "", "- "),
    ("one long line", "kind: ", "a"),
    ("one long list", "kind: [", "a,"),
    (
        "wrong rules",
        OBJECT,
        "  - {action: SCMP_ACT_ALOW, names: [opennat]}\n",
    ),
    ("unknown fields", OBJECT, "  - {aktion: a}\n"),
    ("a key again and again", "", "kind: a\n"),
    ("aliases of aliases", BOMB, " - *e\n"),
    ("anchors", "", "- &a a\n"),
    ("comments", OBJECT, "# spo: allow(\n"),
    ("open quotes", "", "- 'a\n"),
];

/// All of them.
pub const LANGUAGES: [Language; 5] = [
    Language {
        name: "YAML",
        read: seccomp,
        files: YAML,
    },
    Language {
        name: "YAML, API check",
        read: api_check,
        files: YAML,
    },
    Language {
        name: "JSON",
        read: seccomp,
        files: &[
            ("nested objects", "", "{\"a\":"),
            (
                "wrong rules in one line",
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[",
                "{\"names\":[\"opennat\"],\"action\":\"SCMP_ACT_ALOW\"},",
            ),
            (
                "conditions",
                "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[",
                "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":9}]},",
            ),
            ("a key again and again", "{", "\"kind\":1,"),
            ("one long text", "{\"kind\":\"", "\\u0041"),
        ],
    },
    Language {
        name: "CIL",
        read: cil,
        files: &[
            ("nested lists", "", "(a "),
            ("open parentheses", "", "(allow a b (file (read))\n"),
            ("closed parentheses", "", "(allow a b (file (read)))) "),
            ("misspelled statements", "", "(alow a b (file (read)))\n"),
            ("one long line", "", "(allow a b (file (read)))"),
            ("one long name", "(type ", "a"),
            ("open quotes", "", "(type \"a\n"),
            ("line marks", "", ";;* lms 1 x\n"),
        ],
    },
    Language {
        name: "AppArmor",
        read: apparmor_text,
        files: &[
            ("nested profiles", "", "profile a {\n"),
            ("wrong rules", "profile a {\n", "/a rwz,\n"),
            ("rules in one line", "profile a {", "/a r,"),
            ("nested braces", "profile a {\n", "/{a,"),
            ("one long path", "profile a {\n/", "a"),
            ("conditions", "profile a {\nmount ", "options=(rw) "),
            ("variables", "", "@{A}+=/a\n"),
            ("open quotes", "profile a {\n", "\"/a r,\n"),
            ("comments", "profile a {\n", "# a\n"),
        ],
    },
];

fn api_check(source: &[u8]) -> Vec<Diagnostic> {
    api::check(FILE, source)
}

fn seccomp(source: &[u8]) -> Vec<Diagnostic> {
    seccomp::read_and_lint(FILE, source).1
}

fn cil(source: &[u8]) -> Vec<Diagnostic> {
    selinux::read_cil(FILE, source).1
}

fn apparmor_text(source: &[u8]) -> Vec<Diagnostic> {
    let (profile, mut told) = apparmor::read_text(FILE, source);
    if let Some(profile) = profile {
        told.extend(apparmor::to_abstract(&profile).1);
    }
    told
}
