//! What reading, checking and merging profiles costs, against a fixed amount of work that is
//! measured in the same run: `cargo xtask bench profiles`.
//!
//! Exit code 1 if a ratio is more than 1.5 times that of `baseline.json`, or if a hostile file
//! of 10 MiB takes longer than a second.

#[expect(unreachable_pub, reason = "the fuzz targets have it, too")]
#[path = "../../fuzz/src/hostile.rs"]
mod hostile;

#[path = "profiles/report.rs"]
mod report;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use spo::profile::arch::Arch;
use spo::profile::diagnostic::render;
use spo::profile::seccomp::{Action, SeccompSpec, SyscallRule, merge, read, write_raw};
use spo::profile::selinux::{Options, RawSelinuxSpec, read_cil, write_raw_cil};
use spo::profile::state::State;
use spo::profile::syscalls;

use self::hostile::{LANGUAGES, file};

const MIB: usize = 1 << 20;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench profiles")]
struct Args {
    /// How to print the figures
    #[arg(short, long, default_value = "human")]
    output: Output,
    /// How often each case is measured
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table
    Human,
    /// What `baseline.json` is made of
    Json,
}

/// Something to measure, in parts whose times are added.
struct Case {
    name: &'static str,
    parts: Vec<Part>,
    /// Whether the slowest part is told.
    hostile: bool,
}

struct Part {
    what: String,
    work: Box<dyn Fn()>,
}

fn main() -> Result<ExitCode> {
    let Args {
        output,
        rounds,
        bench: _,
    } = Args::parse();
    let cases = cases();
    let mut samples: Vec<report::Samples> = cases
        .iter()
        .map(|case| report::Samples::new(case.name, case.hostile))
        .collect();
    for round in 0..=rounds as usize {
        // In another order each time; the first round only warms up.
        for at in 0..cases.len() {
            let index = (at + round) % cases.len();
            let fixed = time(&fixed_work);
            let mut whole = Duration::ZERO;
            for part in &cases[index].parts {
                let took = time(&*part.work);
                whole += took;
                samples[index].part(&part.what, took);
            }
            if round > 0 {
                samples[index].add(whole, fixed);
            }
        }
    }
    report::print(&samples, output == Output::Json)
}

fn time(work: &dyn Fn()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The work that everything is compared with, some 40 ms of it: hashing, and names in a sorted set,
/// which is allocating and comparing, as in the cases.
fn fixed_work() {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in black_box(vec![7_u8; 8 * MIB]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut names = BTreeSet::new();
    for _ in 0..40_000 {
        names.insert(format!("name-{}", next(&mut hash)));
    }
    black_box(names);
}

fn cases() -> Vec<Case> {
    let recorded = recorded(1000, 150);
    let files: Vec<_> = recorded
        .iter()
        .map(|spec| write_raw(spec).unwrap_or_default())
        .collect();
    let policy = policy(MIB);
    let raw = RawSelinuxSpec {
        state: State::Enabled,
        policy: format!(
            "(blockinherit container)\n{}",
            &policy[..400_000 - 400_000 % LINE.len()]
        ),
    };
    let mut cases = vec![
        case("read 1,000 profiles", move || {
            for file in &files {
                black_box(read("file", file.as_bytes()));
            }
        }),
        case("merge 1,000 profiles", move || {
            let all: Vec<_> = recorded.iter().collect();
            let merged = merge(black_box(&all)).map(|merged| merged.spec.syscalls.len());
            assert_eq!(merged, Ok(1));
        }),
        case("check 1 MiB of CIL", move || {
            let (tree, told) = read_cil("file", black_box(policy.as_bytes()));
            assert!(tree.is_some() && told.is_empty());
        }),
        case("write 400 kB of CIL", move || {
            let written = write_raw_cil("name", black_box(&raw), &Options::default());
            assert!(
                written.is_ok(),
                "{:?}",
                written.err().map(|why| why.0.len())
            );
        }),
    ];
    for language in &LANGUAGES {
        let mut parts = Vec::new();
        // Files beyond 4 MiB are refused for their size; the largest that are read cost most.
        for size in [10 * MIB, 4 * MIB] {
            for (what, start, again) in language.files {
                let text = file(start, again, size);
                let read = language.read;
                parts.push(Part {
                    what: format!("{what}, {} MiB", size / MIB),
                    work: Box::new(move || {
                        let source = black_box(text.as_bytes());
                        black_box(render(&read(source), source, false));
                    }),
                });
            }
        }
        cases.push(Case {
            name: match language.name {
                "YAML" => "hostile YAML",
                "YAML, API check" => "hostile YAML, API check",
                "JSON" => "hostile JSON",
                "CIL" => "hostile CIL",
                _ => "hostile AppArmor",
            },
            parts,
            hostile: true,
        });
    }
    cases
}

fn case(name: &'static str, work: impl Fn() + 'static) -> Case {
    let part = Part {
        what: String::new(),
        work: Box::new(work),
    };
    Case {
        name,
        parts: vec![part],
        hostile: false,
    }
}

/// Profiles as `spo record` makes them: most calls are the same in all.
fn recorded(count: usize, calls: usize) -> Vec<SeccompSpec> {
    let known = syscalls::calls(Arch::X86_64);
    let mut seed = 1;
    let profile = |_| {
        let mut names: BTreeSet<String> = known[..calls * 2 / 3]
            .iter()
            .map(|(_, name)| (*name).to_owned())
            .collect();
        while names.len() < calls {
            let at = usize::try_from(next(&mut seed) >> 33).unwrap_or_default() % known.len();
            names.insert(known[at].1.to_owned());
        }
        SeccompSpec {
            architectures: vec![Arch::X86_64.into(), Arch::X86.into(), Arch::X32.into()],
            syscalls: vec![SyscallRule {
                names: names.into_iter().collect(),
                action: Action::Allow,
                errno_ret: None,
                args: Vec::new(),
            }],
            ..SeccompSpec::new(Action::Errno)
        }
    };
    (0..count).map(profile).collect()
}

const LINE: &str = "(allow process type_000000_t (file (read open getattr ioctl lock map)))\n";

fn policy(size: usize) -> String {
    let mut text = String::with_capacity(size);
    for number in 0..size / LINE.len() {
        let line = LINE.replace("000000", &format!("{number:06}"));
        text.write_str(&line).unwrap_or_default();
    }
    text
}

/// xorshift.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
