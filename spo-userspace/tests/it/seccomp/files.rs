//! Profiles in files: what engines read, and what is found in good ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use spo::api;
use spo::profile::arch::Arch;
use spo::profile::diagnostic::{has_errors, render};
use spo::profile::lint;
use spo::profile::seccomp::{
    self, Action, Architecture, Document, KernelVersion, Machine, SeccompSpec, Verdict, resolve,
    verdict,
};

fn data(path: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/profiles");
    fs::read(folder.join(path)).unwrap()
}

fn resolved(arch: Arch, capabilities: &[&str], kernel: KernelVersion) -> SeccompSpec {
    let (document, diagnostics) = seccomp::read("web.json", &data("engine/web.json"));
    assert_eq!(diagnostics, []);
    let Some(Document::Engine(profile)) = document else {
        panic!("this is an engine's profile");
    };
    let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
    resolve(
        &profile,
        &Machine {
            arch,
            capabilities,
            kernel,
        },
    )
}

#[test]
fn engine_profiles_depend_on_the_machine() {
    let answers = |spec: &SeccompSpec, name: &str| verdict(spec, name, &[0; 6]);
    let denied = Verdict::new(Action::Errno, None);
    let allowed = Verdict::new(Action::Allow, None);

    let plain = resolved(Arch::X86_64, &[], (6, 1));
    assert_eq!(
        plain.architectures,
        [Architecture::X86_64, Architecture::X86, Architecture::X32]
    );
    for (name, expected) in [
        ("read", allowed),
        ("epoll_pwait", allowed),
        ("arch_prctl", allowed),
        ("mount", denied),
        ("clone", allowed),
        ("clone3", Verdict::new(Action::Errno, Some(38))),
        ("ptrace", allowed),
        ("process_vm_readv", allowed),
        ("bpf", denied),
    ] {
        assert_eq!(answers(&plain, name), expected, "{name}");
    }
    let flags = verdict(&plain, "clone", &[1 << 28, 0, 0, 0, 0, 0]);
    assert_eq!(flags, denied);

    // All capabilities of `includes` are needed, and any of `excludes` is enough.
    let admin = resolved(Arch::X86_64, &["CAP_SYS_ADMIN"], (6, 2));
    for name in ["mount", "clone", "clone3", "process_vm_readv"] {
        assert_eq!(answers(&admin, name), denied, "{name}");
    }
    let both = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];
    let both = resolved(Arch::X86_64, &both, (6, 10));
    assert_eq!(answers(&both, "mount"), allowed);

    let old = resolved(Arch::S390x, &[], (4, 7));
    assert_eq!(old.architectures, [Architecture::S390x]);
    for name in ["arch_prctl", "clone", "ptrace"] {
        assert_eq!(answers(&old, name), denied, "{name}");
    }
    assert_eq!(resolved(Arch::Riscv64, &[], (6, 1)).architectures, []);
}

#[test]
fn findings() {
    for name in ["server.yaml", "silenced.yaml", "open.json", "quiet.json"] {
        let source = data(&format!("lint/{name}"));
        let (document, diagnostics) = seccomp::read_and_lint(name, &source);
        assert!(document.is_some() && !has_errors(&diagnostics));
        assert!(
            diagnostics
                .iter()
                .all(|diagnostic| diagnostic.rule.is_some())
        );
        insta::assert_snapshot!(format!("lint_{name}"), render(&diagnostics, &source, false));
        assert_eq!(seccomp::read(name, &source).1, [], "{name}");
    }
}

/// A file silences what is told of it without being asked for, too.
#[test]
fn unknown_calls_can_be_silenced() {
    let profile =
        "defaultAction: SCMP_ACT_LOG\nsyscalls:\n- action: SCMP_ACT_ALLOW\n  names: [next_call]";
    assert_eq!(seccomp::read("file", profile.as_bytes()).1.len(), 1);
    let silenced = format!("{profile} # spo: allow(unknown-syscall)");
    assert_eq!(seccomp::read("file", silenced.as_bytes()).1, []);
}

#[test]
fn every_finding_is_in_the_documents() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/lints.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let rules = lint::RULES.iter().chain([&api::LINTS]).copied().flatten();
    let known: BTreeSet<_> = rules.clone().map(|rule| rule.id).collect();
    assert_eq!(told, known);
    assert_eq!(rules.count(), known.len(), "an id is there twice");
}
