//! Containers of runtimes, which compile profiles each in their own way.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spo::bpf::filters::Filters;
use spo::event::{FilteredTask, KernelFilter};
use spo::node::process;
use spo::profile::arch::Arch;
use spo::profile::seccomp::{Document, SeccompSpec, read};
use spo::profile::syscalls;
use spo_kernel_tests::tier;

use super::node::until;
use super::oci::{Container, Hierarchies};
use super::{compared, filters};

/// The last call that libseccomp knows wherever the runtimes run: `faccessat2`.
const KNOWN: u32 = 439;
/// Calls that no shell makes.
const RARE: [&str; 5] = ["acct", "chroot", "sethostname", "personality", "socket"];

/// All calls but these, up to a number.
fn names(last: u32, without: &[&str]) -> BTreeSet<String> {
    let all = syscalls::calls(Arch::X86_64).iter();
    all.filter(|(number, name)| *number <= last && !without.contains(name))
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// A profile as runtimes read it.
fn profile(names: &BTreeSet<String>, architectures: &[&str], default: &str) -> Value {
    json!({
        "defaultAction": default,
        "architectures": architectures,
        "syscalls": [
            { "names": names, "action": "SCMP_ACT_ALLOW" },
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                { "index": 0, "value": 0xffff_ffff_u32, "op": "SCMP_CMP_EQ" },
            ] },
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                { "index": 0, "value": 40, "op": "SCMP_CMP_NE" },
            ] },
        ],
    })
}

fn spec(profile: &Value) -> SeccompSpec {
    match read("profile.json", profile.to_string().as_bytes()) {
        (Some(Document::Raw(spec)), _) => spec,
        (_, problems) => panic!("{problems:?}"),
    }
}

fn tasks(filters: &mut Filters, container: &Container) -> Vec<FilteredTask> {
    let known = process::containers().expect("/proc can be read");
    let mut tasks = filters.tasks().expect("the kernel tells its tasks");
    tasks.retain(|task| {
        let process = known.get(&task.tgid);
        process.is_some_and(|process| process.id == container.id)
    });
    tasks
}

/// The filters of each thread of a container, once it runs.
fn chains(filters: &mut Filters, container: &Container) -> Vec<Vec<KernelFilter>> {
    let mut found = Vec::new();
    until("the container has a filter", || {
        found = tasks(filters, container);
        !found.is_empty() && found.iter().all(|task| task.filters > 0)
    });
    let chains = filters.chains(&found).expect("the kernel tells filters");
    chains
        .into_iter()
        .map(|chain| chain.expect("it is told"))
        .collect()
}

fn runs_under(runtime: &'static str, hierarchies: Hierarchies) {
    let mut filters = filters();
    let all = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    for architectures in [&all[..1], &all[..]] {
        for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"] {
            let right = profile(&names(KNOWN, &RARE), architectures, default);
            let shell = ["sh", "-c", "read x; true"];
            let mut container = Container::under(runtime, hierarchies, &shell, Some(&right));
            container.go();
            let chains = chains(&mut filters, &container);
            let other = profile(&names(KNOWN, &RARE[1..]), architectures, default);
            let mut same = spec(&right);
            same.syscalls.retain(|rule| rule.names != ["socket"]);
            for chain in chains {
                let found = compared(&spec(&right), &chain);
                assert!(
                    found.is_same() && found.opaque.is_empty(),
                    "{default}: {found:?}"
                );
                // Their numbers are small, and they are newer than what the runtimes know.
                let newer = ["uprobe", "uretprobe"].map(str::to_owned);
                assert_eq!(found.newer, newer.into(), "{default}");
                let found = compared(&spec(&other), &chain);
                assert!(
                    found.differences.iter().any(|one| one.call == "acct"),
                    "{found:?}"
                );
                let found = compared(&same, &chain);
                assert!(
                    found.differences.iter().any(|one| one.call == "socket"),
                    "{found:?}"
                );
            }
            container.end();
        }
    }
}

#[test]
fn what_runc_makes_of_a_profile_is_the_profile() {
    if tier::has("what_runc_makes_of_a_profile_is_the_profile", &["runc"]) {
        runs_under("runc", Hierarchies::All);
    }
}

#[test]
fn what_crun_makes_of_a_profile_is_the_profile() {
    if tier::has("what_crun_makes_of_a_profile_is_the_profile", &["crun"]) {
        runs_under("crun", Hierarchies::Second);
    }
}

#[test]
fn a_container_without_a_profile_has_no_filter() {
    if tier::has("a_container_without_a_profile_has_no_filter", &["runc"]) {
        let mut filters = filters();
        let shell = ["sh", "-c", "read x; true"];
        let mut container = Container::prepare("runc", Hierarchies::All, &shell);
        container.go();
        let mut found = Vec::new();
        until("the container runs", || {
            found = tasks(&mut filters, &container);
            !found.is_empty()
        });
        assert!(found.iter().all(|task| task.chain == 0), "{found:?}");
        container.end();
    }
}
