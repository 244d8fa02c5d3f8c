//! What `secilc`, the compiler of CIL, makes of the policies that we write. The base policy in
//! tests/data stands for that of a node.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

use std::fs;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use spo::profile::selinux::{Inherit, Options, SelinuxSpec, write_cil, write_raw_cil};

use super::files::{data, files};
use super::merging::spec;
use super::rules::{ESCAPES, GOOD, allow, raw};

/// The binary policy of the base and a module, or what the compiler says. Like the policy store of
/// a node, it takes types that are declared again: two inherited blocks may have the same ones.
fn compile(module: &str) -> Result<Vec<u8>, String> {
    compile_with(module, &[])
}

fn compile_with(module: &str, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("module.cil"), module).unwrap();
    let output = Command::new("secilc")
        .arg("--multiple-decls")
        .args(arguments)
        .arg("-o")
        .arg(path("policy"))
        .arg("-f")
        .arg(path("contexts"))
        .arg(data().join("base.cil"))
        .arg(path("module.cil"))
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(fs::read(path("policy")).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether there is a compiler.
fn found() -> bool {
    let found = Command::new("secilc").arg("--help").output().is_ok();
    if !found {
        eprintln!("skipped: secilc: not installed");
    }
    found
}

fn options() -> Options {
    Options {
        allowed_system_profiles: vec!["net_container".to_owned()],
        ..Options::default()
    }
}

#[test]
fn profiles_compile() {
    if !found() {
        return;
    }
    let mut runner = TestRunner::deterministic();
    let strategy = spec();
    let other = write_cil("other", &SelinuxSpec::default(), &options()).unwrap();
    // One run of the compiler takes as long for many profiles as for one.
    for batch in 0..8 {
        let mut module = other.clone();
        for number in 0..32 {
            let spec = strategy.new_tree(&mut runner).unwrap().current();
            module += &write_cil(&format!("p{batch}-{number}"), &spec, &options()).unwrap();
        }
        compile(&module).unwrap_or_else(|error| panic!("{error}\n{module}"));
    }
    let fixed = SelinuxSpec {
        inherit: vec![Inherit::system("net_container")],
        allow: allow(&[
            ("@self", "tcp_socket", &["create", "bind"]),
            ("self", "process", &["fork"]),
            (".etc_t", "file", &["read", "read"]),
            ("etc_t", "dir", &[]),
        ]),
        ..SelinuxSpec::default()
    };
    compile(&write_cil("a-b_C9", &fixed, &options()).unwrap()).unwrap();
}

/// The compiler agrees with what we refuse about names.
#[test]
fn what_we_refuse_does_not_compile() {
    if !found() {
        return;
    }
    for module in [
        "(block a.b (blockinherit container))",
        "(block 1a (blockinherit container))",
        "(block container (type x))",
        "(block a (blockinherit container) (allow process etc_t (file ())))",
        "(block a (BLOCKINHERIT container))",
        "(block a (type process) (allow process etc_t (file read)))",
        "(block a (type process) (allow process etc_t file (read)))",
        "(block a (type process)",
        "(block a (type process)))",
        "(block a (type caf\u{e9}))",
        "(block a (type \"process))",
        "(block a\n;;* lms one x\n)",
        "(block a\n;;* heading\n)",
    ] {
        assert!(compile(module).is_err(), "{module}");
    }
}

#[test]
fn raw_profiles_compile() {
    if !found() {
        return;
    }
    let mut module = String::new();
    for (number, policy) in GOOD.iter().enumerate() {
        let name = format!("name{number}");
        let policy = policy.replace("name.", &format!("{name}."));
        let policy = policy.replace("name_.", &format!("{name}_."));
        module += &write_raw_cil(&name, &raw(&policy), &options()).unwrap();
    }
    for (name, source) in files("good") {
        if name.starts_with("raw") {
            let (profile, _) = spo::profile::selinux::read_raw(&name, &source);
            module += &write_raw_cil("from-file", &profile.unwrap().spec, &options()).unwrap();
        }
    }
    let module = module.replace("var_log_t", "etc_t");
    compile(&module).unwrap_or_else(|error| panic!("{error}\n{module}"));
}

/// What we refuse of raw profiles is no fancy: the compiler takes it, and the node's policy changes
/// in ways that have nothing to do with the profile.
#[test]
fn escapes_have_an_effect() {
    if !found() {
        return;
    }
    let block = |policy: &str| format!("(block name\n(type process)\n{policy}\n)\n");
    let plain = compile(&block("")).unwrap();
    let mut changed = 0;
    for (policy, _) in ESCAPES {
        match compile(&block(policy)) {
            Ok(policy_with) => {
                assert!(policy_with != plain, "{policy}");
                changed += 1;
            }
            // Some of them make the compiler refuse the policy of the whole node.
            Err(error) => assert!(!error.is_empty(), "{policy}"),
        }
    }
    assert!(changed >= 24, "{changed}");
}

/// The operators of a permission list pass every list of denied names, if it compares names only.
#[test]
fn operators_reach_denied_permissions() {
    if !found() {
        return;
    }
    let policy = |permissions: &str| {
        let text = format!("(block a (type process) (allow process etc_t (file ({permissions}))))");
        compile(&text).unwrap()
    };
    let every = "append create entrypoint execmod execute execute_no_trans getattr ioctl lock map \
                 mounton open read relabelfrom relabelto rename setattr unlink write";
    assert_eq!(policy("all"), policy(every));
    assert_eq!(policy("not read"), policy(&every.replace(" read ", " ")));
    assert_ne!(policy("read"), policy(every));
}

/// Statements about own and foreign names alike, put together at random.
fn statements() -> impl Strategy<Value = String> {
    let source = || {
        prop::sample::select(&[
            "process",
            "mine",
            "al",
            "container_t",
            "domain",
            "name.process",
            ".name.process",
        ])
    };
    let target = prop::sample::select(&["shadow_t", "shadow_t", "process", "mine", "self"]);
    let attribute = prop::sample::select(&["mine", "domain", "container_domain"]);
    let members = prop::sample::select(&[
        "(process)",
        "(container_t)",
        "(mine)",
        "(al)",
        "(process container_t)",
        "(not (process))",
        "(and (domain) (not (kernel_t)))",
        "(and (process) (not (domain)))",
        "(or (process) (al))",
        "(all)",
    ]);
    let macros = prop::sample::select(&["reads", "hides", "passes"]);
    let statement = prop_oneof![
        (attribute, members).prop_map(|(a, m)| format!("(typeattributeset {a} {m})")),
        (source(), target).prop_map(|(s, t)| format!("(allow {s} {t} (file (read)))")),
        (macros, source()).prop_map(|(m, s)| format!("(call {m} ({s}))")),
        source().prop_map(|s| format!("(call readers ({s} process))")),
    ];
    let alias = prop::sample::select(&["process", "process", "container_t"]);
    (alias, prop::collection::vec(statement, 1..4)).prop_map(|(alias, statements)| {
        format!(
            "(type process) (typeattribute mine) (typealias al) (typealiasactual al {alias})
(macro reads ((type t)) (allow t shadow_t (file (read))))
(macro hides ((type process)) (allow process shadow_t (file (read))))
(macro passes ((type t)) (call reads (t)))
{}",
            statements.join("\n")
        )
    })
}

/// Of what we accept, nothing lets a type of the node do more to another type of the node. The
/// compiler itself is asked, by a rule that it must never find broken.
#[test]
fn accepted_policies_stay_in_their_block() {
    const GUARD: &str = "
(typeattribute node)
(typeattributeset node (kernel_t container_t container_runtime_t))
(neverallow node shadow_t (file (read)))
";
    if !found() {
        return;
    }
    let options = Options {
        allowed_types: vec!["shadow_t".to_owned()],
        ..options()
    };
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut guarded) = (0, 0);
    for _ in 0..150 {
        let policy = statements().new_tree(&mut runner).unwrap().current();
        let Ok(block) = write_raw_cil("name", &raw(&policy), &options) else {
            let block = format!("(block name\n{policy}\n)\n{GUARD}");
            guarded += usize::from(compile(&block).is_err());
            continue;
        };
        let block = block + GUARD;
        accepted += usize::from(compile_with(&block, &["--disable-neverallow"]).is_ok());
        if let Err(error) = compile(&block) {
            assert!(!error.contains("neverallow"), "{error}\n{block}");
        }
    }
    assert!(accepted >= 30, "{accepted}");
    // And the guard works: it stops much of what we refuse.
    assert!(guarded >= 30, "{guarded}");
}
