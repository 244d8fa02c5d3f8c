//! Files that are made to cost time or memory are refused, or cost little.

use std::fmt::Write as _;

use spo::profile::diagnostic::{has_errors, render};
use spo::profile::selinux::{Options, read_cil, read_raw, read_raw_and_lint, write_raw_cil};

use super::rules::raw;

fn told(source: &[u8]) -> Vec<String> {
    let (tree, told) = read_cil("file.cil", source);
    assert_eq!(tree.is_none(), has_errors(&told));
    let text = render(&told, source, true);
    assert!(text.len() < 400_000, "{}", text.len());
    told.into_iter().map(|one| one.message).collect()
}

#[test]
fn large_files_are_refused() {
    let large = vec![b'('; 10 << 20];
    assert_eq!(
        told(&large),
        ["the file has 10485760 bytes, more than any profile needs"]
    );
}

#[test]
fn nesting_is_bounded() {
    for text in [
        "(",
        "(a",
        "(block a ",
        "(allow\n",
        "(allow a (b\n;;* lms 1 x\n",
    ] {
        let deep = text.repeat(100_000);
        let told = told(deep.as_bytes());
        assert_eq!(told, ["lists are nested more than 64 deep"]);
    }
    // Line marks nest as well, but without parentheses.
    let marks = ";;* lms 1 x\n".repeat(300_000);
    assert_eq!(told(marks.as_bytes()).len(), 101);
}

#[test]
fn repetition_costs_little() {
    for text in [
        ")",
        "()",
        "a ",
        "\"",
        "\"\"",
        ";;*\n",
        ";;* lme\n",
        "\\\n",
        "\u{b}",
        "\u{c}",
        "(alow)",
        "(block a\n (type b))\n (type c)\n)\n",
        "(allow a b (c (d)) (allow a b (c (d))))\n",
        "(((a)(a))((a)(a)))\n",
        "                    (a)\n",
    ] {
        let many = text.repeat((1 << 20) / text.len());
        let told = told(many.as_bytes());
        assert!((1..=102).contains(&told.len()), "{text:?} {}", told.len());
    }
    let indented = format!("{}{}", " ".repeat(1 << 20), "(a".repeat(60));
    assert!(!told(indented.as_bytes()).is_empty());
    let mut stairs = String::new();
    for depth in 0..2_000 {
        writeln!(stairs, "{}(block b{depth}", " ".repeat(depth)).unwrap();
    }
    assert!(!told(stairs.as_bytes()).is_empty());
}

#[test]
fn a_large_good_file_is_read() {
    let line = "(allow process container_file_t (file (read open getattr)))\n";
    let policy = line.repeat((1 << 20) / line.len());
    let (tree, told) = read_cil("file.cil", policy.as_bytes());
    assert_eq!(told, []);
    assert_eq!(tree.map(|tree| tree.items().count()), Some(17_476));
}

/// Chains of attributes and macros, where names spread.
#[test]
fn raw_policies_cost_little() {
    let mut chain = String::from("(type process)\n(typeattribute a0)\n");
    for number in 1..8_000 {
        writeln!(
            chain,
            "(typeattribute a{number})\n(typeattributeset a{number} (a{}))",
            number - 1
        )
        .unwrap();
    }
    let mut calls = String::from("(type process)\n");
    for number in 0..5_000 {
        writeln!(
            calls,
            "(macro m{number} ((type t)) (allow t etc_t (file (read))))\n(call m{number} (process))"
        )
        .unwrap();
    }
    let unsafe_chain =
        format!("{chain}(typeattributeset a0 (container_t))\n(allow a7999 etc_t (file (read)))\n");
    let and = format!(
        "(type process)(typeattribute a)(typeattributeset a {}process{})",
        "(and (process) ".repeat(50),
        ")".repeat(50)
    );
    for (policy, good) in [
        (chain, true),
        (calls, true),
        (unsafe_chain, false),
        (and, true),
    ] {
        let written = write_raw_cil("name", &raw(&policy), &Options::default());
        assert_eq!(written.is_ok(), good, "{written:?}");
    }
    // Much that is wrong, also in a single line.
    for text in [
        "(allow a b (file (read)))",
        "(allow proces etc_t (file (raed)))",
        "(in a)",
        "(call m (a b))",
        "(typeattributeset domain (not (a)))",
        "(type t)(allow t name_.b (wine (raed)))",
        "(macro m ((type t)) (allow t a (file (read))))(call m (x))",
    ] {
        let policy = text.repeat(400_000 / text.len());
        let written = write_raw_cil("name", &raw(&policy), &Options::default());
        assert!(
            written.map_or_else(|refused| refused.0.len() <= 102, |_| true),
            "{text}"
        );
        let json = object(&policy);
        let (_, told) = read_raw_and_lint("file.json", json.as_bytes());
        assert!((1..=202).contains(&told.len()), "{text} {}", told.len());
    }
    let (_, told) = read_raw("long.json", object(&"x".repeat(500_001)).as_bytes());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].message, "the policy has 500001 characters");
}

fn object(policy: &str) -> String {
    serde_json::json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "RawSelinuxProfile",
        "metadata": { "name": "name" },
        "spec": { "policy": policy },
    })
    .to_string()
}
