//! Seccomp profiles as OCI runtimes and container engines have them.

use std::collections::BTreeSet;

use spo::profile::arch::Arch;
use spo::profile::seccomp::{
    Document, Machine, SeccompSpec, complain, diff, enforce, merge, read, read_and_lint, verdict,
    write_raw,
};

use super::{FILE, checked};

/// Reads a profile, resolves it for a machine, writes, merges, and compares it.
pub fn seccomp(source: &[u8]) {
    let Some(document) = checked(source, read_and_lint(FILE, source)) else {
        return;
    };
    let machine = |arch, capability: &str| Machine {
        arch,
        capabilities: BTreeSet::from([capability.to_owned()]),
        kernel: (5, 10),
    };
    if matches!(document, Document::Engine(_)) {
        check_spec(
            &document
                .clone()
                .into_spec(&machine(Arch::Arm, "CAP_SYSLOG")),
        );
    }
    check_spec(&document.into_spec(&machine(Arch::X86_64, "CAP_SYS_ADMIN")));
}

/// What is true of every profile that was read.
pub(crate) fn check_spec(spec: &SeccompSpec) {
    assert!(diff(spec, spec).is_same());
    let text = write_raw(spec).expect("every profile can be written");
    let Some(Document::Raw(again)) = read(FILE, text.as_bytes()).0 else {
        panic!("what is written cannot be read: {text}");
    };
    assert_eq!(write_raw(&again).ok().as_ref(), Some(&text));
    if spec.base_profile_name.is_none() {
        let difference = diff(spec, &again);
        assert!(difference.calls.is_empty(), "{difference:?}");
        assert!(difference.default.is_none(), "{difference:?}");
    }
    let one = merge(&[spec]).expect("a single profile contradicts nothing");
    if !one.notes.iter().any(|note| note.widens) {
        assert!(diff(spec, &one.spec).is_same(), "{one:?}");
    }
    assert!(
        !diff(&one.spec, spec).widens(),
        "a merged profile allows less than its input"
    );
    for both in [[spec, spec], [spec, &one.spec], [&one.spec, &one.spec]] {
        let merged = merge(&both).expect("a profile does not contradict itself");
        assert_eq!(merged.spec, one.spec);
    }
    for rule in spec.syscalls.iter().take(8) {
        let value = rule.args.first().map_or(0, |arg| arg.value);
        let args = [0, value, value, value, value, value];
        for name in rule.names.iter().take(2) {
            let before = verdict(spec, name, &args);
            let after = verdict(&one.spec, name, &args);
            assert!(after >= before, "{name} {args:?}: {before:?} {after:?}");
        }
    }
    let (complaining, _) = complain(spec, &[]);
    let (enforcing, _) = enforce(&complaining, Some(spec));
    assert!(diff(spec, &enforcing).is_same(), "{enforcing:?}");
}
