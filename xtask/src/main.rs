//! `cargo xtask VERB`: everything that developing spo needs. One file per verb.
#![expect(
    clippy::print_stdout,
    reason = "results of the verbs go to standard output, progress to standard error"
)]

mod apt;
mod bench;
mod build;
mod check;
mod cluster;
mod codegen;
mod env;
mod fuzz;
mod libraries;
mod process;
mod record;
mod setup;
mod table;
mod test;
mod tiers;
mod tools;
mod vm;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::check::Scope;
use crate::test::Tier;

const EXAMPLES: &str = "\
Examples:
  cargo xtask record -- ls -R /etc         record a command; the profile goes to profile.yaml
  cargo xtask record -o - -- ls            the same, to standard output
  cargo xtask test                         all test tiers that this machine can run
  cargo xtask test unit vm                 two of them
  cargo xtask cluster up                   a Kubernetes control plane for tests and for trying things
  cargo xtask cluster up --node            the same with a node, on which pods run
  cargo xtask setup --tests                install what building and testing need
  cargo xtask bench record -o json         what recording costs, as JSON
  cargo xtask fuzz cil --seconds 600       feed the reader of CIL with broken files for ten minutes
  cargo xtask ci                           everything that CI runs";

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Everything that developing spo needs", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set up whatever is missing for building (and testing)
    Setup {
        /// Also what the test tiers need: traced programs, container runtimes, QEMU, the guest kernel
        #[arg(long)]
        tests: bool,
        /// Also what `check` and `ci` need
        #[arg(long)]
        ci: bool,
    },
    /// Set up and build; leaves the release binary `spo`, with the eBPF objects inside
    Build,
    /// Set up, build, and record a command: `record [FLAGS OF SPO RECORD] -- COMMAND...`
    #[command(disable_help_flag = true)]
    Record {
        /// Passed to `spo record` as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Record a process of ours while it does all that it can do, and write its own profile anew
    RecordOwn {
        /// Which one
        which: record::Own,
    },
    /// Record nginx, Redis and a Python web server in pods, and write the profiles of `deploy/library` anew
    RecordLibrary,
    /// Set up, run test tiers, and end with a table of them
    Test {
        /// The tiers to run; all when none is named
        tiers: Vec<Tier>,
    },
    /// A real Kubernetes cluster on this machine, for tests and for trying things
    Cluster {
        /// What to do
        #[command(subcommand)]
        what: cluster::Verb,
    },
    /// Measure what spo costs: `bench record`, `bench recording`, `bench profiles`, `bench operator`, `bench admission`; `-o json` for programs
    Bench {
        /// What to measure
        #[command(subcommand)]
        what: Bench,
    },
    /// Feed everything that reads a profile with broken files, and end with a table
    Fuzz {
        /// The readers to feed; all when none is named
        targets: Vec<fuzz::Target>,
        /// For how long to feed each
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },
    /// Write the generated source files anew
    Codegen {
        /// Write nothing; fail if a file is not what would be written
        #[arg(long)]
        check: bool,
    },
    /// Formatting, lints, documentation, dependencies, generated files, the other architecture
    Check {
        /// Only these; all when none is named
        only: Vec<Scope>,
    },
    /// Everything that CI runs: `check`, then `test`
    Ci,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The added cost per system call while recording
    #[command(disable_help_flag = true)]
    Record {
        /// Passed to the measuring program as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// What recording costs a server in a pod of a real node, and what a node's recorder itself does
    #[command(disable_help_flag = true)]
    Recording {
        /// Passed to the measuring program as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// What operator, daemon and webhook cost: times, requests, memory; `--idle SECONDS` to be idle
    #[command(disable_help_flag = true)]
    Operator {
        /// Passed to the measuring program as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// What a pod waits for the webhook that binds it, where there are a thousand bindings; `--rounds N`
    #[command(disable_help_flag = true)]
    Admission {
        /// Passed to the measuring program as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Reading, checking and merging profiles, against a baseline
    #[command(disable_help_flag = true)]
    Profiles {
        /// Passed to the measuring program as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup { tests, ci } => setup::run(tests, ci),
        Verb::Build => build::run(),
        // clap takes the `--` away, and `spo record` needs it: the arguments are read as they came.
        Verb::Record { args: _ } => record::run(std::env::args_os().skip(2).collect()),
        Verb::RecordOwn { which } => record::own(which),
        Verb::RecordLibrary => record::library(),
        Verb::Test { tiers } => test::run(&tiers),
        Verb::Cluster { what } => cluster::run(what),
        Verb::Bench {
            what: Bench::Record { args: _ },
        } => bench::record(std::env::args_os().skip(3).collect()),
        Verb::Bench {
            what: Bench::Recording { args: _ },
        } => bench::recording(std::env::args_os().skip(3).collect()),
        Verb::Bench {
            what: Bench::Operator { args: _ },
        } => bench::operator(std::env::args_os().skip(3).collect()),
        Verb::Bench {
            what: Bench::Admission { args: _ },
        } => bench::admission(std::env::args_os().skip(3).collect()),
        Verb::Bench {
            what: Bench::Profiles { args: _ },
        } => bench::profiles(std::env::args_os().skip(3).collect()),
        Verb::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Verb::Codegen { check } => codegen::run(check).map(|()| ExitCode::SUCCESS),
        Verb::Check { only } => check::run(&only),
        Verb::Ci => check::ci(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
