//! `fuzz`: broken files for everything that reads profiles or audit records.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::env::{root, target_dir};
use crate::table::{Outcome, Table};
use crate::{process, tools};

/// A group of readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Objects of all kinds, as YAML and JSON
    Objects,
    /// Seccomp profiles as runtimes and container engines have them
    Seccomp,
    /// CIL, by itself and in raw SELinux profiles
    Cil,
    /// AppArmor's policy text
    #[value(name = "apparmor_text")]
    AppArmorText,
    /// Records of the kernel's audit, in all forms
    Audit,
}

impl Target {
    /// The name of its program and of its folders.
    fn name(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Seccomp => "seccomp",
            Self::Cil => "cil",
            Self::AppArmorText => "apparmor_text",
            Self::Audit => "audit",
        }
    }
}

const NIGHTLY: &str = "rustup toolchain install nightly --profile minimal";

/// The verb: builds the targets, and runs each for a while.
pub(crate) fn run(targets: &[Target], seconds: u32) -> Result<ExitCode> {
    let fuzz = Fuzz::new()?;
    process::run(&mut fuzz.command("build", &[]))?;
    let mut table = Table::default();
    for target in Target::value_variants() {
        if targets.is_empty() || targets.contains(target) {
            table.step(target.name(), || fuzz.feed(target.name(), seconds));
        }
    }
    Ok(table.finish())
}

struct Fuzz {
    program: PathBuf,
    root: PathBuf,
    target: PathBuf,
}

impl Fuzz {
    fn new() -> Result<Self> {
        if !process::succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "-V"])) {
            bail!("fuzzing needs a nightly compiler: run {NIGHTLY}");
        }
        Ok(Self {
            program: tools::cargo_fuzz()?,
            root: root(),
            target: target_dir()?.join("fuzz"),
        })
    }

    /// A verb of `cargo fuzz`. What it builds loads no eBPF programs, so that it has stubs.
    fn command(&self, verb: &str, args: &[OsString]) -> Command {
        let mut command = Command::new("rustup");
        process::without_cargo(&mut command)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("SPO_EBPF", "skip")
            .args(["run", "nightly"])
            .arg(&self.program)
            .args(["fuzz", verb, "--fuzz-dir", "fuzz"])
            .args(args);
        command
    }

    /// Runs a target. It begins with the inputs that are kept; what it finds new goes to the target
    /// directory.
    fn feed(&self, name: &str, seconds: u32) -> Result<Outcome> {
        let found = self.target.join("found").join(name);
        let kept = self.root.join("fuzz/corpus").join(name);
        let regressions = self.root.join("fuzz/regressions").join(name);
        fs::create_dir_all(&found)
            .with_context(|| format!("failed to make {}", found.display()))?;
        let before = files(&found)?;
        let mut args: Vec<OsString> = vec![name.into(), found.clone().into(), kept.into()];
        if regressions.exists() {
            args.push(regressions.into());
        }
        args.push("--".into());
        let dictionary = self.root.join(format!("fuzz/dictionaries/{name}.dict"));
        args.extend(
            [
                &format!("-dict={}", dictionary.display()),
                &format!("-max_total_time={seconds}"),
                "-max_len=65536",
                "-timeout=5",
                "-rss_limit_mb=1024",
                "-print_final_stats=1",
            ]
            .map(OsString::from),
        );
        let (status, said) = process::tee(&mut self.command("run", &args))?;
        let executions = said
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .map_or("unknown", str::trim);
        let new = files(&found)? - before;
        let result = format!("{executions} executions, {new} new inputs");
        if status.success() {
            return Ok(Outcome::Passed(result));
        }
        let artifact = said
            .lines()
            .find_map(|line| line.split_once("Test unit written to "))
            .map_or("fuzz/artifacts", |(_, path)| path);
        Ok(Outcome::Failed(format!("{result}; see {artifact}")))
    }
}

fn files(folder: &Path) -> Result<usize> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("failed to read the folder {}", folder.display()))?;
    Ok(entries.count())
}
