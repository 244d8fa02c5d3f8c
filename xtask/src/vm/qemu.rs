//! Booting a guest and reading its console.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{END, START};
use crate::process;

const PROGRAM: &str = "qemu-system-x86_64";
const APPEND: &str = "console=ttyS0 panic=-1 softlockup_panic=1 quiet lsm=landlock,lockdown,yama,integrity,apparmor,bpf";
/// Without what the emulation lacks, which QEMU would warn of.
const EMULATED: &str = "Haswell-v4,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl";
/// What the kernel says when it is broken; only lines with its time stamp count.
const BROKEN: &[&str] = &[
    "Kernel panic",
    "BUG: ",
    "Oops: ",
    "soft lockup",
    "hard LOCKUP",
    "self-detected stall",
    "detected stalls on CPUs",
    "general protection fault",
    "double fault",
];
/// How it begins that the time ran out.
const TOO_LONG: &str = "no end after";
const TAIL: usize = 60;

/// How a guest's run ended.
#[derive(Debug)]
pub(crate) struct Report {
    /// The exit code that the guest's part ended with, if it came so far.
    code: Option<i32>,
    /// What else went wrong.
    trouble: Vec<String>,
    /// Everything on the console since the guest's part began.
    pub(crate) said: String,
}

impl Report {
    /// Whether the guest's kernel broke, rather than a test, or nothing but the time ran out.
    pub(crate) fn is_broken(&self) -> bool {
        let broke = |trouble: &String| !trouble.starts_with(TOO_LONG);
        self.trouble.iter().any(broke)
    }

    /// Why the run counts as failed; `None` when it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        if let Some(trouble) = self.trouble.first() {
            return Some(trouble.clone());
        }
        match self.code {
            Some(0) => None,
            Some(code) => Some(format!("exit code {code}")),
            None => Some("the guest ended without a word".to_owned()),
        }
    }
}

/// Boots a kernel with an initramfs, shows the guest's part of the console and keeps all of it
/// in `log`. With hardware acceleration where it works.
pub(crate) fn boot(kernel: &Path, initramfs: &Path, log: &Path, limit: Duration) -> Result<Report> {
    if has_kvm() {
        let report = run(
            &["-accel", "kvm", "-cpu", "max"],
            kernel,
            initramfs,
            log,
            limit,
        )?;
        if !report.said.is_empty() {
            return Ok(report);
        }
        eprintln!("the guest does not come up with KVM; emulating instead");
    }
    run(
        &["-accel", "tcg", "-cpu", EMULATED],
        kernel,
        initramfs,
        log,
        limit,
    )
}

/// Some machines have the device, but no processor to it.
fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let capable = flags.lines().any(|line| {
        line.starts_with("flags") && line.split(' ').any(|flag| flag == "vmx" || flag == "svm")
    });
    capable
        && File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

fn run(
    machine: &[&str],
    kernel: &Path,
    initramfs: &Path,
    log: &Path,
    limit: Duration,
) -> Result<Report> {
    let mut command = Command::new(PROGRAM);
    command.args(machine).args([
        "-m",
        "2G",
        "-smp",
        "2",
        "-no-reboot",
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "stdio",
    ]);
    command
        .args(["-nodefaults", "-append", APPEND, "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    eprintln!("{}", process::line(&command));
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to run {PROGRAM}"))?;
    let report = watch(&mut child, log, limit);
    // It is gone already when the guest has switched itself off.
    let killed = child.kill();
    let waited = child.wait();
    let report = report?;
    killed
        .and(waited)
        .with_context(|| format!("failed to end {PROGRAM}"))?;
    if report.failure().is_some() {
        // What the guest's own part says has been shown.
        if report.code.is_none() || !report.trouble.is_empty() {
            show_tail(log)?;
        }
        eprintln!("the whole console is in {}", log.display());
    }
    Ok(report)
}

/// Reads the console until the guest's last word, its end, or the time limit.
fn watch(child: &mut Child, log: &Path, limit: Duration) -> Result<Report> {
    let mut console = BufReader::new(child.stdout.take().context("QEMU has no console")?);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        while console
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let text = String::from_utf8_lossy(&bytes).replace('\r', "");
            if sender.send(text.trim_end_matches('\n').to_owned()).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    let context = || format!("failed to write {}", log.display());
    let mut file = File::create(log).with_context(context)?;
    let end = Instant::now() + limit;
    let mut console = Console::default();
    while !console.is_over() {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                writeln!(file, "{line}").with_context(context)?;
                if let Some(line) = console.take(&line) {
                    eprintln!("    {line}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                console
                    .report
                    .trouble
                    .push(format!("{TOO_LONG} {} s", limit.as_secs()));
                break;
            }
        }
    }
    Ok(console.report)
}

fn show_tail(log: &Path) -> Result<()> {
    let text =
        fs::read_to_string(log).with_context(|| format!("failed to read {}", log.display()))?;
    let lines: Vec<_> = text.lines().collect();
    eprintln!("--- the end of {} ---", log.display());
    lines[lines.len().saturating_sub(TAIL)..]
        .iter()
        .for_each(|line| eprintln!("{line}"));
    eprintln!("---");
    Ok(())
}

/// The state machine that reads a console.
#[derive(Debug)]
struct Console {
    started: bool,
    report: Report,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            started: false,
            report: Report {
                code: None,
                trouble: Vec::new(),
                said: String::new(),
            },
        }
    }
}

impl Console {
    /// Takes a line; gives it back if it is of the guest's part.
    fn take<'line>(&mut self, line: &'line str) -> Option<&'line str> {
        if is_kernels(line) && BROKEN.iter().any(|sign| line.contains(sign)) {
            self.report.trouble.push(line.to_owned());
        }
        if let Some(begin) = line.find(START) {
            self.started = true;
            return Some(&line[begin..]);
        }
        if !self.started {
            return None;
        }
        if let Some(code) = line.strip_prefix(END) {
            self.report.code = Some(code.trim().parse().unwrap_or(-1));
        }
        self.report.said.push_str(line);
        self.report.said.push('\n');
        Some(line)
    }

    /// After a panic the machine ends by itself, once it has shown what it knows.
    fn is_over(&self) -> bool {
        self.report.code.is_some()
    }
}

/// Whether a line begins with the kernel's time stamp, such as `[    1.234567] `.
fn is_kernels(line: &str) -> bool {
    line.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .is_some_and(|(stamp, _)| stamp.trim().parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::Console;

    fn read(lines: &[&str]) -> (Console, Vec<String>) {
        let mut console = Console::default();
        let shown = lines
            .iter()
            .filter_map(|line| console.take(line))
            .map(str::to_owned)
            .collect();
        (console, shown)
    }

    #[test]
    fn a_good_run() {
        let (console, shown) = read(&[
            "SeaBIOS",
            "\u{1b}[?7lspo-vm: start 6.1.0",
            "test result: ok.",
            "spo-vm: exit=0",
        ]);
        assert!(console.is_over());
        assert_eq!(console.report.failure(), None);
        assert_eq!(
            shown,
            ["spo-vm: start 6.1.0", "test result: ok.", "spo-vm: exit=0"]
        );
    }

    #[test]
    fn a_failing_test() {
        let (console, _) = read(&["spo-vm: start", "spo-vm: exit=101"]);
        assert_eq!(console.report.failure().as_deref(), Some("exit code 101"));
    }

    #[test]
    fn a_broken_kernel_fails_a_run_that_looks_good() {
        let lockup = "[   12.500000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!";
        let (console, _) = read(&["spo-vm: start", lockup, "spo-vm: exit=0"]);
        assert_eq!(console.report.failure().as_deref(), Some(lockup));
    }

    #[test]
    fn a_panic_is_a_failure_and_a_tests_own_words_are_none() {
        let (console, _) = read(&["[    1.000000] Kernel panic - not syncing: no init"]);
        assert!(
            console
                .report
                .failure()
                .is_some_and(|failure| failure.contains("no init"))
        );
        let (console, _) = read(&["spo-vm: start", "Kernel panic is what this test prints"]);
        assert!(!console.is_over());
        assert_eq!(
            console.report.failure().as_deref(),
            Some("the guest ended without a word")
        );
    }
}
