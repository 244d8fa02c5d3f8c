//! Does every verdict of a seccomp filter come, by all ways that this kernel has, and is it told whose it was?
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{self, MntFlags, MsFlags};
use nix::sched::{CloneFlags, unshare};
use spo::enrich::audit::Kernel;
use spo::event::{Abi, Audited, Verdict};
use spo::node::filter;
use spo::profile::arch::Arch;
use spo::profile::seccomp::{Action, Architecture, SeccompSpec, SyscallRule};
use spo::recorder::Logs;
use spo::recorder::cluster::{
    Cluster, Limits, Node, Pod, PodContainer, Recording, RecordingKey, Step,
};
use spo::source::audit::{Audit, Containers, Owner, Places, Source};
use spo_kernel_tests::probe::{RARE, number};

const KERNEL: Kernel = Kernel { arch: 0xc000_003e };
const PATIENCE: Duration = Duration::from_secs(20);
/// `SECCOMP_RET_LOG`.
const LOG: u32 = 0x7ffc_0000;

/// A profile that has these calls logged.
fn logging(names: &[&str]) -> SeccompSpec {
    let mut spec = SeccompSpec::new(Action::Allow);
    spec.architectures = vec![Architecture::X86_64, Architecture::X86];
    spec.syscalls = vec![SyscallRule {
        names: names.iter().copied().map(str::to_owned).collect(),
        action: Action::Log,
        errno_ret: None,
        args: Vec::new(),
    }];
    spec
}

/// Runs a program as often as it is wanted under a filter.
fn under(spec: &SeccompSpec, times: usize, command: &mut Command) {
    // The filter ends with the thread, and is inherited by what it starts.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (filter, _) = filter::build(spec).expect("a filter");
            filter.load().expect("the filter can be loaded");
            for _ in 0..times {
                let status = command.status().expect("it runs");
                assert!(status.success(), "{status}");
            }
        });
    });
}

fn probe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(arguments);
    command
}

/// All that has come by now.
async fn all(audit: &mut Audit) -> Vec<Verdict> {
    let mut all = Vec::new();
    let settled = audit.settle(PATIENCE, |record| all.push(record)).await;
    assert!(settled.expect("a mark"), "no source delivers");
    verdicts(all)
}

async fn next(audit: &mut Audit) -> Vec<Verdict> {
    verdicts(audit.next().await.expect("records"))
}

fn verdicts(records: Vec<Audited>) -> Vec<Verdict> {
    let verdicts = records.into_iter().filter_map(|record| match record {
        Audited::Seccomp(verdict) => Some(verdict),
        Audited::Selinux(_) | Audited::AppArmor(_) => None,
    });
    verdicts.collect()
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

fn numbered(name: &str) -> i32 {
    i32::try_from(number(name)).expect("a number")
}

fn numbers(verdicts: &[Verdict]) -> Vec<i32> {
    verdicts.iter().map(|one| one.call.number).collect()
}

#[test]
fn netlink_tells_each_verdict_once() {
    run(async {
        let (mut audit, failed) = Audit::open(&Places::default(), KERNEL);
        all(&mut audit).await;
        let made = ["acct", "chroot", "acct", "sethostname"];
        let mut command = probe(&["one", "acct", "fsync", "chroot", "acct", "sethostname"]);
        under(
            &logging(&["chroot", "acct", "sethostname"]),
            1,
            &mut command,
        );
        let verdicts = all(&mut audit).await;
        assert_eq!(numbers(&verdicts), made.map(numbered), "{verdicts:?}");
        let stamps: BTreeSet<_> = verdicts.iter().map(|one| one.stamp).collect();
        assert_eq!(stamps.len(), verdicts.len());
        let program = env!("CARGO_BIN_EXE_probe").as_bytes();
        for verdict in &verdicts {
            assert_eq!(verdict.comm.to_string(), "probe");
            assert_eq!(verdict.exe.as_deref(), Some(program));
            assert_eq!((verdict.code, verdict.signal), (LOG, 0));
            assert_eq!(verdict.call.abi, Abi::Native);
        }
        assert!(audit.delivering().contains(&Source::Netlink), "{failed:?}");
        assert_eq!(audit.losses().lost(), 0, "{:?}", audit.losses());
    });
}

#[test]
fn other_calling_conventions_are_told() {
    run(async {
        let (mut audit, _) = Audit::open(&Places::default(), KERNEL);
        all(&mut audit).await;
        let mut spec = SeccompSpec::new(Action::Log);
        spec.architectures = vec![Architecture::X86_64, Architecture::X86, Architecture::X32];
        under(&spec, 1, &mut probe(&["abis", "acct"]));
        let verdicts = all(&mut audit).await;
        let told: BTreeSet<_> = verdicts
            .iter()
            .map(|one| (one.call.abi, one.call.number))
            .collect();
        for (abi, number) in [
            (Abi::Native, numbered("acct")),
            (Abi::Native, 9999),
            (Abi::Native, -1),
            (Abi::Compat, 18),
            (Abi::Compat, 7777),
            (Abi::Compat, -1),
            (Abi::X32, 533),
            (Abi::X32, 8888),
        ] {
            assert!(told.contains(&(abi, number)), "{abi:?} {number}: {told:?}");
        }
        assert_eq!(audit.losses().lost(), 0, "{:?}", audit.losses());
    });
}

/// The kernel lets ten messages through in five seconds, of which those of other tests count.
struct Unlimited(String);

const LIMIT: &str = "/proc/sys/kernel/printk_ratelimit";

impl Unlimited {
    fn new() -> Self {
        let before = std::fs::read_to_string(LIMIT).expect("the limit");
        std::fs::write(LIMIT, "0").expect("the limit can be changed");
        Self(before)
    }
}

impl Drop for Unlimited {
    fn drop(&mut self) {
        drop(std::fs::write(LIMIT, &self.0));
    }
}

/// Netlink has no records in another network namespace, although it can be opened there.
#[test]
fn the_kernel_log_alone_tells_them() {
    let unlimited = Unlimited::new();
    let test = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("another network namespace");
        run(async {
            let (mut audit, failed) = Audit::open(&Places::default(), KERNEL);
            assert!(
                failed.iter().all(|(source, _)| *source == Source::AuditLog),
                "{failed:?}"
            );
            all(&mut audit).await;
            under(
                &logging(&["acct"]),
                1,
                &mut probe(&["one", "acct", "chroot"]),
            );
            let verdicts = all(&mut audit).await;
            assert_eq!(numbers(&verdicts), [numbered("acct")]);
            assert_eq!(audit.delivering(), &BTreeSet::from([Source::KernelLog]));
            assert_eq!(audit.losses().lost(), 0, "{:?}", audit.losses());
        });
    };
    std::thread::spawn(test).join().expect("the test ends well");
    drop(unlimited);
}

/// What the kernel did not let through, it counted all the same.
#[test]
fn what_the_kernel_log_leaves_out_is_missing() {
    let test = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("another network namespace");
        run(async {
            let mut limited = {
                let _unlimited = Unlimited::new();
                let (mut audit, _) = Audit::open(&Places::default(), KERNEL);
                all(&mut audit).await;
                audit
            };
            let many = vec!["acct"; 100];
            let arguments = [&["one"], &many[..]].concat();
            under(&logging(&["acct"]), 1, &mut probe(&arguments));
            let _unlimited = Unlimited::new();
            let verdicts = all(&mut limited).await;
            let losses = limited.losses();
            assert!(verdicts.len() < 100, "{losses:?}");
            let lacking = u64::try_from(100 - verdicts.len()).expect("a number");
            assert!(losses.missing >= lacking, "{losses:?} {lacking}");
        });
    };
    std::thread::spawn(test).join().expect("the test ends well");
}

#[test]
fn nobody_delivers_where_there_is_neither() {
    let test = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("another network namespace");
        run(async {
            let (mut audit, _) = Audit::open(&nowhere(), KERNEL);
            let settled = audit.settle(Duration::from_secs(1), |_| {}).await;
            assert!(!settled.expect("a mark"));
            assert_eq!(audit.losses().unsettled, 1);
            assert_eq!(audit.losses().lost(), 1);
        });
    };
    std::thread::spawn(test).join().expect("the test ends well");
}

fn nowhere() -> Places {
    Places {
        audit_log: "/nonexistent/audit.log".into(),
        kernel_log: "/nonexistent".into(),
        system_logs: Vec::new(),
    }
}

/// While nobody reads, the socket has room for some ten thousands.
#[test]
fn what_does_not_fit_into_the_socket_is_missing() {
    run(async {
        let (mut audit, _) = Audit::open(&nowhere(), KERNEL);
        all(&mut audit).await;
        let (times, each) = (400, 200);
        let many = vec!["acct"; each];
        let arguments = [&["one"], &many[..]].concat();
        under(&logging(&["acct"]), times, &mut probe(&arguments));
        let made = times * each;
        let verdicts = all(&mut audit).await.len();
        let losses = audit.losses();
        assert!(
            losses.overruns > 0 && verdicts < made,
            "{losses:?} {verdicts}"
        );
        // Others may be audited as well.
        let missing = usize::try_from(losses.missing).expect("a number");
        assert!(verdicts + missing >= made, "{losses:?} {verdicts}");
    });
}

/// An own cgroup, named as a runtime names that of a container.
struct Cgroup {
    mount: tempfile::TempDir,
    id: String,
}

impl Cgroup {
    fn new() -> Self {
        let mount = tempfile::tempdir().expect("a folder");
        let kind = Some("cgroup2");
        mount::mount(
            None::<&str>,
            mount.path(),
            kind,
            MsFlags::empty(),
            None::<&str>,
        )
        .expect("cgroups can be mounted");
        let id = format!("{:064x}", std::process::id());
        std::fs::create_dir(mount.path().join(&id)).expect("a cgroup can be made");
        Self { mount, id }
    }

    /// A program that is in it from the start.
    fn run(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        shell.arg(self.mount.path().join(&self.id).join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(self.mount.path().join(&self.id)));
        mount::umount2(self.mount.path(), MntFlags::MNT_DETACH).expect("it can be unmounted");
    }
}

#[test]
fn a_process_is_its_containers_also_when_it_is_gone() {
    run(async {
        let cgroup = Cgroup::new();
        let (mut audit, _) = Audit::open(&Places::default(), KERNEL);
        let mut containers = Containers::new(Path::new("/proc")).expect("processes");
        all(&mut audit).await;
        let mut command = cgroup.run(&probe(&["forever", "acct", "2"]));
        let making =
            std::thread::spawn(move || under(&logging(&["acct", "exit_group"]), 1, &mut command));
        let first = next(&mut audit).await.remove(0);
        let owner = containers.owner(first.tgid, first.stamp.map(|stamp| stamp.at_ms));
        let Owner::Container(container) = &owner else {
            panic!("{owner:?}");
        };
        assert_eq!(container.id, cgroup.id);
        making.join().expect("probe ends");
        // The last call comes when it is gone, and after more than a second.
        let verdicts = all(&mut audit).await;
        assert!(!Path::new("/proc").join(first.tgid.to_string()).exists());
        assert_eq!(numbers(&verdicts), [231]);
        assert_eq!(verdicts[0].tgid, first.tgid);
        let last = containers.owner(first.tgid, verdicts[0].stamp.map(|stamp| stamp.at_ms));
        assert_eq!(last, owner);
        let none = Containers::new(Path::new("/proc"))
            .expect("processes")
            .owner(first.tgid, None);
        assert_eq!(none, Owner::Unknown);
    });
}

/// Whoever is gone before anybody looked is counted; nobody is taken for another's.
#[test]
fn processes_that_end_at_once_are_counted_or_known() {
    run(async {
        let cgroup = Cgroup::new();
        let (mut audit, _) = Audit::open(&Places::default(), KERNEL);
        let mut containers = Containers::new(Path::new("/proc")).expect("processes");
        all(&mut audit).await;
        let mut spec = SeccompSpec::new(Action::Log);
        spec.architectures = vec![Architecture::X86_64];
        let mut command = cgroup.run(&probe(&["swarm", "500", "8"]));
        let making = std::thread::spawn(move || under(&spec, 1, &mut command));
        let (mut known, mut unknown) = (0, 0);
        let mut processes = BTreeSet::new();
        let mut calls = BTreeSet::new();
        let mut take = |verdicts: Vec<Verdict>| {
            for verdict in verdicts {
                let at = verdict.stamp.map(|stamp| stamp.at_ms);
                match containers.owner(verdict.tgid, at) {
                    Owner::Container(container) => {
                        assert_eq!(container.id, cgroup.id);
                        known += 1;
                        calls.insert(verdict.call.number);
                    }
                    Owner::Unknown => unknown += 1,
                    // This test, and the shell before it goes into the cgroup.
                    Owner::Host => assert_ne!(verdict.comm.to_string(), "probe"),
                }
                processes.insert(verdict.tgid);
            }
        };
        while !making.is_finished() {
            let more = tokio::time::timeout(Duration::from_millis(50), next(&mut audit)).await;
            take(more.unwrap_or_default());
        }
        making.join().expect("probe ends");
        take(all(&mut audit).await);
        let losses = audit.losses();
        eprintln!("{known} known, {unknown} unknown, {losses:?}");
        assert!(processes.len() > 500 || losses.lost() > 0, "{losses:?}");
        let lacking = RARE.iter().filter(|(_, number)| {
            let number = i32::try_from(*number).expect("a number");
            !calls.contains(&number)
        });
        assert!(lacking.count() == 0 || unknown > 0 || losses.lost() > 0);
        assert!(known > 0);
    });
}

/// A recording of all containers of a pod, which has one.
fn recording_of(id: &str) -> Cluster {
    let mut cluster = Cluster::new(
        Node {
            name: "node".to_owned(),
            arch: Arch::X86_64,
            kernel: "6.1".to_owned(),
            base: Vec::new(),
            recorder: "Logs",
        },
        Limits::default(),
    );
    cluster.recording(Recording {
        key: RecordingKey {
            namespace: "team".to_owned(),
            name: "web".to_owned(),
        },
        uid: "u".to_owned(),
        containers: BTreeSet::new(),
        merge: false,
        disabled: false,
        created: None,
        enabled: true,
        deleting: false,
        finished: None,
    });
    cluster.pod(Pod {
        namespace: "team".to_owned(),
        name: "pod".to_owned(),
        uid: "pod".to_owned(),
        recordings: ["web".to_owned()].into(),
        containers: vec![PodContainer {
            name: "app".to_owned(),
            ids: vec![id.to_owned()],
            logged: true,
            ..PodContainer::default()
        }],
        ..Pod::default()
    });
    cluster
}

/// From the call of a process in a container to the profile of a recording.
#[test]
fn a_recording_has_what_its_container_did() {
    run(async {
        let cgroup = Cgroup::new();
        let (mut audit, _) = Audit::open(&Places::default(), KERNEL);
        let mut containers = Containers::new(Path::new("/proc")).expect("processes");
        all(&mut audit).await;
        let began = seconds();
        let mut cluster = recording_of(&cgroup.id);
        let mut logs = Logs::new(began);
        let mut command = cgroup.run(&probe(&["forever", "acct", "1"]));
        let names = ["acct", "chroot", "exit_group"];
        let making = std::thread::spawn(move || under(&logging(&names), 1, &mut command));
        let outside = std::thread::spawn(move || {
            under(
                &logging(&["acct", "chroot"]),
                1,
                &mut probe(&["one", "chroot"]),
            );
        });
        let mut verdicts = next(&mut audit).await;
        loop {
            for verdict in &verdicts {
                let at = verdict.stamp.map(|stamp| stamp.at_ms);
                match containers.owner(verdict.tgid, at) {
                    Owner::Container(container) => {
                        let pod = container.pod.as_deref();
                        let new = logs.verdict(verdict, &container.id, pod, seconds());
                        if let Some((subject, started)) = new {
                            cluster.started(subject, started);
                        }
                    }
                    // The process outside may be gone by now.
                    Owner::Host | Owner::Unknown => {}
                }
            }
            if making.is_finished() {
                break;
            }
            let more = tokio::time::timeout(Duration::from_millis(50), next(&mut audit)).await;
            verdicts = more.unwrap_or_default();
        }
        making.join().expect("probe ends");
        outside.join().expect("probe ends");
        for verdict in all(&mut audit).await {
            let at = verdict.stamp.map(|stamp| stamp.at_ms);
            if let Owner::Container(container) = containers.owner(verdict.tgid, at) {
                assert_eq!(logs.verdict(&verdict, &container.id, None, seconds()), None);
            }
        }
        logs.lost(audit.losses().lost());
        for (subject, observed) in logs.changed(seconds()) {
            cluster.observed(subject, observed);
        }
        let (subject, observed) = logs.ended(&cgroup.id, seconds()).expect("the container");
        cluster.ended(subject, observed);
        cluster.pod_gone("pod");
        let outputs: Vec<_> = cluster
            .steps(seconds())
            .into_iter()
            .filter_map(|step| match step {
                Step::Write(output) => Some(output),
                Step::Release(_) => None,
            })
            .collect();
        let [output] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        assert!(output.last);
        let profile = &output.profile;
        assert_eq!(profile.metadata.name, "web-app");
        assert_eq!(profile.spec.syscalls[0].names, ["acct", "exit_group"]);
        let annotations = &profile.metadata.annotations;
        assert_eq!(annotations["spo.x-k8s.io/recording-recorder"], "Logs");
        assert_eq!(annotations["spo.x-k8s.io/recording-lost"], "0");
        assert!(!annotations.contains_key("spo.x-k8s.io/recording-partial"));
    });
}

fn seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a time after 1970").as_secs()
}
