//! Processes under filters that tests load themselves.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use spo::bpf::filters::Unread;
use spo::node::filter;
use spo::profile::seccomp::{Operator, SeccompSpec, SyscallArg, SyscallRule};

use super::{chain, compared, denying, filters, threads, told};

/// A process that waits under filters, of which the first is the oldest. Dropping it ends it.
struct Waiting(Child);

impl Waiting {
    fn under(specs: &[&SeccompSpec]) -> Self {
        // A filter ends with its thread, and is inherited by what that one starts.
        let child = std::thread::scope(|scope| {
            let started = scope.spawn(|| {
                for spec in specs {
                    let (filter, _) = filter::build(spec).expect("a filter");
                    filter.load().expect("the filter can be loaded");
                }
                Command::new("cat")
                    .stdin(Stdio::piped())
                    .spawn()
                    .expect("it starts")
            });
            started.join().expect("no panic")
        });
        Self(child)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
    }
}

/// A profile of many conditions, whose program is long.
fn long(rules: u64) -> SeccompSpec {
    let mut spec = denying(&["chroot"]);
    for value in 0..rules {
        let mut rule = spec.syscalls[0].clone();
        rule.names = vec!["lseek".to_owned()];
        rule.args = vec![SyscallArg {
            index: 2,
            value: value << 33 | value,
            value_two: 0,
            op: Operator::Equal,
        }];
        spec.syscalls.push(rule);
    }
    spec.architectures.clear();
    spec
}

/// The program as libseccomp makes it.
fn program(spec: &SeccompSpec) -> Vec<u8> {
    let (filter, _) = filter::build(spec).expect("a filter");
    let file = tempfile::NamedTempFile::new().expect("a file");
    filter.write_program(file.as_file()).expect("it is written");
    fs::read(file.path()).expect("it can be read")
}

#[test]
fn what_was_handed_in_is_told_instruction_by_instruction() {
    let mut filters = filters();
    for spec in [denying(&["chroot"]), long(300), long(700)] {
        let waiting = Waiting::under(&[&spec]);
        let found = chain(&mut filters, waiting.id()).expect("it is told");
        assert_eq!(found.len(), 1);
        let told: Vec<u8> = found[0]
            .program
            .iter()
            .flat_map(|step| {
                let mut bytes = step.code.to_ne_bytes().to_vec();
                bytes.extend([step.jump_true, step.jump_false]);
                bytes.extend(step.operand.to_ne_bytes());
                bytes
            })
            .collect();
        assert_eq!(told, program(&spec));
        assert!(!found[0].logs);
    }
    assert!(
        program(&long(700)).len() > 2 * 1023 * 8,
        "it takes several parts"
    );
}

#[test]
fn the_right_filter_is_the_same_and_one_call_more_is_told() {
    let mut filters = filters();
    let spec = denying(&["chroot", "acct"]);
    let waiting = Waiting::under(&[&spec]);
    let found = chain(&mut filters, waiting.id()).expect("it is told");
    assert_eq!(told(&spec, &found), Vec::<String>::new());
    let one = "acct: profile says ALLOW, the kernel's filter ERRNO".to_owned();
    let lines = told(&denying(&["chroot"]), &found);
    assert!(lines.contains(&one), "{lines:?}");
    // Of each ABI one.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(!told(&denying(&["sethostname"]), &found).is_empty());
}

#[test]
fn the_log_flag_is_told() {
    let mut spec = denying(&["chroot"]);
    spec.flags = vec![spo::profile::seccomp::Flag::Log];
    let waiting = Waiting::under(&[&spec]);
    let found = chain(&mut filters(), waiting.id()).expect("it is told");
    assert!(found[0].logs);
    assert!(compared(&spec, &found).is_same());
    let without = Waiting::under(&[&denying(&["chroot"])]);
    let found = chain(&mut filters(), without.id()).expect("it is told");
    assert!(compared(&spec, &found).unlogged);
}

#[test]
fn filters_are_told_from_the_newest_and_work_together() {
    let mut filters = filters();
    let (first, second) = (denying(&["chroot"]), denying(&["acct"]));
    let waiting = Waiting::under(&[&first, &second]);
    let found = chain(&mut filters, waiting.id()).expect("it is told");
    assert_eq!(found.len(), 2);
    assert_eq!(told(&second, &found[..1]), Vec::<String>::new());
    assert_eq!(told(&first, &found[1..]), Vec::<String>::new());
    assert_eq!(
        told(&denying(&["chroot", "acct"]), &found),
        Vec::<String>::new()
    );
    assert_eq!(told(&first, &found).len(), 3);
}

#[test]
fn more_filters_than_are_read_are_not_taken_for_few() {
    let spec = denying(&["chroot"]);
    for (number, expected) in [(64, None), (65, Some(Unread::TooMany))] {
        let waiting = Waiting::under(&vec![&spec; number]);
        let found = chain(&mut filters(), waiting.id());
        match expected {
            None => assert_eq!(found.expect("they are told").len(), number),
            Some(expected) => assert_eq!(found, Err(expected)),
        }
    }
}

#[test]
fn a_thread_without_the_filter_is_seen() {
    let (loaded, is_loaded) = channel();
    let (end, ended) = channel::<()>();
    let thread = std::thread::spawn(move || {
        let (filter, _) = filter::build(&denying(&["chroot"])).expect("a filter");
        filter.load().expect("the filter can be loaded");
        loaded.send(nix::unistd::gettid()).expect("somebody waits");
        let _ended = ended.recv();
    });
    let tid = is_loaded.recv().expect("it has its filter").as_raw();
    let threads = threads(&mut filters(), std::process::id());
    let with: BTreeSet<_> = threads
        .iter()
        .filter(|task| task.filters > 0)
        .map(|task| task.tid)
        .collect();
    assert!(with.contains(&tid.cast_unsigned()), "{threads:?}");
    let main = threads.iter().find(|task| task.tid == task.tgid);
    assert_eq!(main.expect("the first thread").chain, 0);
    drop(end);
    thread.join().expect("no panic");
}

#[test]
fn two_hundred_that_are_right_are_right() {
    let mut filters = filters();
    let spec = denying(&["chroot", "acct"]);
    let waiting: Vec<_> = (0..200).map(|_| Waiting::under(&[&spec])).collect();
    let ids: BTreeSet<_> = waiting.iter().map(Waiting::id).collect();
    let mut tasks = filters.tasks().expect("the kernel tells its tasks");
    tasks.retain(|task| ids.contains(&task.tgid));
    assert_eq!(tasks.len(), 200);
    let chains: BTreeSet<_> = tasks.iter().map(|task| task.chain).collect();
    assert_eq!(chains.len(), 200, "each has its own");
    let all = filters.chains(&tasks).expect("the kernel tells filters");
    let mut different: Vec<_> = all
        .into_iter()
        .map(|chain| chain.expect("it is told"))
        .collect();
    different.dedup();
    assert_eq!(different.len(), 1);
    assert_eq!(told(&spec, &different[0]), Vec::<String>::new());
}

#[test]
fn who_ended_is_told_as_that() {
    let mut filters = filters();
    let waiting = Waiting::under(&[&denying(&["chroot"])]);
    let tasks = threads(&mut filters, waiting.id());
    drop(waiting);
    let chains = filters.chains(&tasks).expect("the kernel tells filters");
    assert_eq!(chains, [Err(Unread::Changed)]);
}

#[test]
fn rules_of_one_name_are_kept_apart_by_their_arguments() {
    let mut spec = denying(&[]);
    let on = |value| SyscallArg {
        index: 1,
        value,
        value_two: 0,
        op: Operator::Equal,
    };
    let rule = |value| SyscallRule {
        names: vec!["ioctl".to_owned()],
        args: vec![on(value)],
        ..denying(&[]).syscalls[0].clone()
    };
    spec.syscalls = vec![rule(0x5401), rule(0x1_0000_5413)];
    let waiting = Waiting::under(&[&spec]);
    let found = chain(&mut filters(), waiting.id()).expect("it is told");
    assert_eq!(told(&spec, &found), Vec::<String>::new());
    let mut other = spec.clone();
    other.syscalls[1].args[0].value = 0x1_0000_5414;
    let lines = told(&other, &found);
    assert!(
        lines[0].starts_with("ioctl with argument 1 = 0x1"),
        "{lines:?}"
    );
}
