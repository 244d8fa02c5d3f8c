//! Processes that outlast this one, found again by files with their ids.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::components::Component;
use super::log::ending;

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long processes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until they are ended.
    Detached,
    /// The kernel ends them with this process, however that ends.
    Ours,
}

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// When it was started, in ticks since the machine was; and which start of the machine that was.
    start: u64,
    boot: String,
}

impl Process {
    /// Starts a component; what it says is added to `log`, and who it is goes to `file`.
    pub(super) fn start(
        component: &Component,
        lifetime: Lifetime,
        log: &Path,
        file: &Path,
    ) -> Result<Self> {
        let name = component.name;
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("failed to open {}", log.display()))?;
        let errors = output
            .try_clone()
            .with_context(|| format!("failed to open {}", log.display()))?;
        let mut command = match lifetime {
            Lifetime::Detached => Command::new(&component.program),
            Lifetime::Ours => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--pdeathsig", "KILL", "--"])
                    .arg(&component.program);
                command
            }
        };
        let child = command
            .args(&component.args)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A key that interrupts this process is not for that one.
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let pid = i32::try_from(child.id()).context("a process id is a positive i32")?;
        let process = Self {
            pid,
            start: start_of(pid)
                .with_context(|| format!("{name} has ended at once; {}", ending(log)))?,
            boot: boot()?,
        };
        process.write(file)?;
        Ok(process)
    }

    fn write(&self, file: &Path) -> Result<()> {
        let Self { pid, start, boot } = self;
        let part = file.with_extension("part");
        fs::write(&part, format!("{pid} {start} {boot}\n"))
            .and_then(|()| fs::rename(&part, file))
            .with_context(|| format!("failed to write {}", file.display()))
    }

    /// The process of a file, if it still runs.
    pub(super) fn running(file: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file).ok()?).filter(Self::is_running)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        Some(Self {
            pid: words.next()?.parse().ok().filter(|pid| *pid > 1)?,
            start: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn is_running(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot) && start_of(self.pid) == Some(self.start)
    }

    /// Ends the process, and waits until it is gone. etcd keeps what it has acknowledged even so,
    /// and the others keep nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "the process may be no child of this one, and then its end is no event here"
    )]
    pub(super) fn end(&self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.pid);
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("failed to end {pid}")),
        }
        // A child of this process stays until it is asked after.
        if waitpid(pid, None).is_ok() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            if Instant::now() > deadline {
                bail!("process {pid} was killed and does not go");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// When a process was started; nothing if it is gone, or only waits to be reaped.
fn start_of(pid: i32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat` (proc(5)): the name, in parentheses, may hold anything; then the state is
/// the first word, and the start the twentieth.
fn start_in(stat: &str) -> Option<u64> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?;
    if ["Z", "X"].contains(&state) {
        return None;
    }
    words.nth(18)?.parse().ok()
}

/// An id that every start of the machine has for itself.
pub(super) fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Component, Lifetime, Process, start_in};

    fn sleeper() -> Component {
        Component {
            name: "sleeper",
            program: PathBuf::from("sleep"),
            args: vec!["60".to_owned()],
            health: None,
        }
    }

    #[test]
    fn a_process_is_found_again_and_ended_and_a_later_one_is_not_it() {
        let file =
            |name: &str| std::env::temp_dir().join(format!("spo-{}.{name}", std::process::id()));
        let (log, pid) = (file("log"), file("pid"));
        for lifetime in [Lifetime::Detached, Lifetime::Ours] {
            let process = Process::start(&sleeper(), lifetime, &log, &pid).unwrap();
            assert_eq!(Process::running(&pid), Some(process.clone()));

            let mut later = process.clone();
            later.start -= 1;
            assert!(!later.is_running());
            later.end().unwrap();
            let mut rebooted = process.clone();
            rebooted.boot = "another".to_owned();
            rebooted.end().unwrap();
            assert!(process.is_running(), "only the very process is ended");

            process.end().unwrap();
            assert_eq!(Process::running(&pid), None);
        }
        std::fs::remove_file(log).unwrap();
        std::fs::remove_file(pid).unwrap();
    }

    #[test]
    fn a_file_that_names_no_process_names_none() {
        for text in ["", "12", "0 5 a", "-1 5 a", "1 5 a", "x 5 a"] {
            assert_eq!(Process::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_cannot_pretend_to_be_a_start() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_in(&format!("7 (a) R 1 2) {rest}")), Some(4711));
        assert_eq!(start_in(&format!("7 (a) Z{}", &rest[1..])), None);
        assert_eq!(start_in("7"), None);
    }
}
