//! What does recording cost a system call?
//!
//! Everything is measured in one run, in turns, round after round: nothing attached, an empty program
//! at the same hook, `spo` recording the measuring task, `spo` recording something else.
//! What counts is the ratio of added costs.

mod report;
mod worker;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use spo::bpf::baseline::Baseline;
use spo::bpf::containers::Containers;
use spo::bpf::kernel::Kernel;
use spo::bpf::recorder::{Limits, Recorder, Target};

use crate::report::{Row, print};
use crate::worker::{Home, Load, Worker, bystanders};

/// What is attached while a worker measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Nothing,
    Empty,
    Recorded,
    Unrecorded,
}

const SETTINGS: [Setting; 4] = [
    Setting::Nothing,
    Setting::Empty,
    Setting::Recorded,
    Setting::Unrecorded,
];

/// How tasks are tied to subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the tree of processes.
    Tree,
    /// By mount namespace, with so many other subjects recorded.
    Namespaces { others: u32 },
    /// By mount namespace, as containers that come and go.
    Containers,
}

/// One thing to measure.
struct Case {
    name: &'static str,
    way: Way,
    load: Load,
    /// Two, in subjects of their own, take turns on one CPU.
    workers: usize,
}

const CASES: [Case; 10] = [
    Case {
        name: "command, 1 call",
        way: Way::Tree,
        load: Load { calls: 1 },
        workers: 1,
    },
    Case {
        name: "command, 4 calls",
        way: Way::Tree,
        load: Load { calls: 4 },
        workers: 1,
    },
    Case {
        name: "command, 60 calls",
        way: Way::Tree,
        load: Load { calls: 60 },
        workers: 1,
    },
    Case {
        name: "container, 1 call",
        way: Way::Namespaces { others: 0 },
        load: Load { calls: 1 },
        workers: 1,
    },
    Case {
        name: "container, 4 calls",
        way: Way::Namespaces { others: 0 },
        load: Load { calls: 4 },
        workers: 1,
    },
    Case {
        name: "container, 60 calls",
        way: Way::Namespaces { others: 0 },
        load: Load { calls: 60 },
        workers: 1,
    },
    Case {
        name: "node, 4 calls",
        way: Way::Containers,
        load: Load { calls: 4 },
        workers: 1,
    },
    Case {
        name: "node, 60 calls",
        way: Way::Containers,
        load: Load { calls: 60 },
        workers: 1,
    },
    Case {
        name: "2 containers, 4 calls",
        way: Way::Namespaces { others: 0 },
        load: Load { calls: 4 },
        workers: 2,
    },
    Case {
        name: "2 of 200, 60 calls",
        way: Way::Namespaces { others: 198 },
        load: Load { calls: 60 },
        workers: 2,
    },
];

/// Calls of one worker in one measurement.
const CALLS: u64 = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["worker", own_namespace, calls] => worker::serve(*own_namespace == "1", calls),
        ["bystander"] => worker::stand_by(),
        [] => bench(false, 21),
        ["-o", "json"] => bench(true, 21),
        ["--rounds", rounds] => rounds
            .parse()
            .context("--rounds")
            .and_then(|rounds| bench(false, rounds)),
        ["-o", "json", "--rounds", rounds] => rounds
            .parse()
            .context("--rounds")
            .and_then(|rounds| bench(true, rounds)),
        _ => Err(anyhow::anyhow!(
            "usage: bench-record [-o json] [--rounds N]"
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-record: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(json: bool, rounds: usize) -> Result<()> {
    if rounds == 0 {
        bail!("--rounds must be at least 1");
    }
    let kernel = Kernel::probe()?;
    let mut rows = Vec::new();
    for case in &CASES {
        let mut samples = [const { Vec::new() }; SETTINGS.len()];
        for round in 0..rounds {
            // Another order each time, so that no setting always follows the same one.
            for turn in 0..SETTINGS.len() {
                let at = (turn + round) % SETTINGS.len();
                samples[at].push(measure(&kernel, case, SETTINGS[at])?);
            }
        }
        eprintln!("{}: {rounds} rounds done", case.name);
        rows.push(Row::new(case.name, &samples));
    }
    print(&rows, json)
}

/// Nanoseconds per call.
fn measure(kernel: &Kernel, case: &Case, setting: Setting) -> Result<f64> {
    let home = match case.way {
        Way::Tree => Home::Here,
        Way::Namespaces { .. } => Home::New,
        Way::Containers => Home::Container,
    };
    // Recorded are namespaces that come into being after the recorder starts.
    let spawn = || -> Result<Vec<Worker>> {
        (0..case.workers)
            .map(|_| Worker::spawn(home, case.load))
            .collect()
    };
    let early = if setting == Setting::Recorded && home != Home::Here {
        Vec::new()
    } else {
        spawn()?
    };
    let baseline = if setting == Setting::Empty {
        Some(Baseline::start(kernel)?)
    } else {
        None
    };
    let target = match (setting, case.way) {
        (Setting::Nothing | Setting::Empty, _) | (_, Way::Containers) => None,
        (Setting::Recorded, Way::Tree) => early
            .first()
            .map(|worker| Target::Tree { tgid: worker.pid() }),
        (Setting::Unrecorded, Way::Tree) => Some(Target::Tree {
            tgid: std::process::id() + 1_000_000,
        }),
        (_, Way::Namespaces { .. }) => Some(Target::NewNamespaces),
    };
    let recorder = target
        .map(|target| {
            Recorder::start(kernel, target, Limits::for_target(target, pid_max()?))
                .map_err(anyhow::Error::from)
        })
        .transpose()?;
    let containers = if case.way == Way::Containers
        && matches!(setting, Setting::Recorded | Setting::Unrecorded)
    {
        Some(Containers::start(
            kernel,
            Limits::for_containers(pid_max()?),
        )?)
    } else {
        None
    };
    let mut workers = if early.is_empty() { spawn()? } else { early };
    let others = match case.way {
        Way::Namespaces { others } => bystanders(others)?,
        Way::Tree | Way::Containers => Vec::new(),
    };
    for worker in &mut workers {
        worker.run(2_000)?;
    }
    for worker in &mut workers {
        worker.begin(CALLS)?;
    }
    let times: Vec<(u64, u64)> = workers.iter_mut().map(Worker::end).collect::<Result<_>>()?;
    let began = times
        .iter()
        .map(|(began, _)| *began)
        .min()
        .context("no worker")?;
    let ended = times
        .iter()
        .map(|(_, ended)| *ended)
        .max()
        .context("no worker")?;
    if let Some(recorder) = recorder {
        check(recorder, case, setting)?;
    }
    if let Some(containers) = containers {
        check_containers(&containers, case, setting)?;
    }
    drop((baseline, others));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok((ended - began) as f64 / (CALLS * workers.len() as u64) as f64)
}

/// A measurement of a recorder that did not record would be worthless.
fn check(recorder: Recorder, case: &Case, setting: Setting) -> Result<()> {
    let observation = recorder.finish(|_| ())?;
    let full = observation
        .subjects
        .iter()
        .filter(|subject| subject.calls.len() >= case.load.calls)
        .count();
    let others = if let Way::Namespaces { others } = case.way {
        others as usize
    } else {
        0
    };
    let wanted = if setting == Setting::Recorded {
        case.workers
    } else {
        0
    };
    if full < wanted || (wanted == 0 && full > others) || observation.subjects.len() < others {
        bail!(
            "{}: {full} subjects of {} have the calls, not {wanted}",
            case.name,
            observation.subjects.len()
        );
    }
    Ok(())
}

/// The same of a recorder of containers. Others may start containers on this machine meanwhile.
fn check_containers(containers: &Containers, case: &Case, setting: Setting) -> Result<()> {
    let mut full = 0;
    for started in containers.started()? {
        let own = started.arguments.iter().any(|word| word == "worker");
        let calls = containers.observe(started.id)?.calls.len();
        full += usize::from(own && calls >= case.load.calls);
    }
    let wanted = if setting == Setting::Recorded {
        case.workers
    } else {
        0
    };
    if full != wanted {
        bail!("{}: {full} workers were recorded, not {wanted}", case.name);
    }
    Ok(())
}

fn pid_max() -> Result<u32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .context("failed to read kernel.pid_max")?;
    text.trim().parse().context("kernel.pid_max is no number")
}
