//! The command line: one file per verb, and what they share.

mod args;
mod bpf_recorder;
mod check;
mod children;
mod columns;
mod convert;
mod daemon;
mod diff;
mod doctor;
mod exit;
mod files;
mod generate;
mod held;
mod hold;
mod input;
mod log_enricher;
mod manifest;
mod merge;
mod migrate;
mod node;
mod node_cleanup;
mod node_setup;
mod operator;
mod profiles;
mod progress;
mod record;
mod result;
mod run;
mod signals;
mod spoc;
mod uninstall;
mod verifier;
mod verify;
mod webhook;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, HOLD, HoldArgs, Verb};
use self::exit::Failure;

pub use self::args::command;

/// Runs the verb that the arguments of this process name.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let outcome = if arguments.next().is_some_and(|first| first == HOLD) {
        hold::run(&HoldArgs::parse_from(std::env::args_os().skip(1)))
    } else if Path::new(&name).file_name() == Some(OsStr::new("spoc")) {
        spoc::main()
    } else {
        dispatch(Cli::parse())
    };
    outcome.unwrap_or_else(Failure::report)
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { verb } = cli;
    match verb {
        Verb::Record(args) => record::run(args),
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Merge(args) => merge::run(&args),
        Verb::Convert(args) => convert::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Migrate(args) => migrate::run(&args),
        Verb::Uninstall(args) => uninstall::run(args),
        Verb::Profiles(args) => profiles::run(&args),
        Verb::Verify(args) => verify::run(args),
        Verb::Operator(args) => operator::run(args),
        Verb::Daemon(args) => daemon::run(args),
        Verb::BpfRecorder(args) => bpf_recorder::run(args),
        Verb::LogEnricher(args) => log_enricher::run(args),
        Verb::Verifier(args) => verifier::run(args),
        Verb::NodeCleanup(args) => node_cleanup::run(args),
        Verb::NodeSetup(args) => node_setup::run(args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Webhook(args) => webhook::run(args),
        Verb::Completions(args) => generate::completions(&args),
        Verb::Man(args) => generate::man(&args),
    }
}
