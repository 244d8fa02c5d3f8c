//! Recordings of the tests, and what they left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spo::profile::seccomp::{self, Document};
use spo_kernel_tests::probe;
use spo_kernel_tests::spo::command;
use spo_kernel_tests::tier;
use tempfile::TempDir;

/// The program that makes the calls.
pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// What the file is called in the folder of the recording.
const FILE: &str = "profile.yaml";

/// A recording that runs. Dropping it kills it.
pub(crate) struct Session {
    child: Child,
    folder: TempDir,
}

/// A recording that ended.
pub(crate) struct Recording {
    /// How `spo` ended.
    pub(crate) status: ExitStatus,
    /// What the command said.
    pub(crate) stdout: String,
    /// What `spo` said.
    pub(crate) stderr: String,
    /// What was written, by file.
    pub(crate) profiles: BTreeMap<String, Profile>,
    /// How long it took.
    pub(crate) time: Duration,
}

/// A profile that was written.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) names: BTreeSet<String>,
    pub(crate) architectures: BTreeSet<String>,
    annotations: BTreeMap<String, String>,
}

/// Records a command until it ends.
pub(crate) fn record(options: &[&str], words: &[&str]) -> Recording {
    Session::start(options, words).finish()
}

/// Records a command that must succeed, and of which nothing may be lost.
pub(crate) fn complete(words: &[&str]) -> Recording {
    let recording = record(&[], words);
    assert!(recording.status.success(), "{}", recording.stderr);
    recording.assert_nothing_lost();
    recording
}

impl Session {
    /// Starts `spo record` without base calls, and with the output in the folder, unless the options name another.
    pub(crate) fn start(options: &[&str], words: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name| File::create(folder.path().join(name)).expect("a file");
        let mut spo = command(["record", "-n"]);
        if !options.contains(&"-o") {
            spo.arg("-o").arg(folder.path().join(FILE));
        }
        spo.args(options);
        if !words.is_empty() {
            spo.arg("--").args(words);
        }
        let child = spo
            .stdin(Stdio::piped())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn();
        Self {
            child: child.expect("spo starts"),
            folder,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the programs are attached.
    pub(crate) fn wait_until_attached(&self) {
        until("spo records", || self.stderr().contains("spo: recording "));
    }

    /// Waits until `spo` takes signals in: it holds them back, and reads them.
    pub(crate) fn wait_until_listening(&self) {
        let interrupt = 1_u64 << (Signal::SIGINT as i32 - 1);
        until("spo takes signals in", || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.id()));
            let held = status.expect("spo runs").lines().find_map(|line| {
                u64::from_str_radix(line.strip_prefix("SigBlk:")?.trim(), 16).ok()
            });
            held.is_some_and(|held| held & interrupt != 0)
        });
    }

    /// Closes the standard input that the command has from `spo`.
    pub(crate) fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until the command says something.
    pub(crate) fn wait_for_output(&self, text: &str) {
        until("the command speaks", || self.read("stdout").contains(text));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("spo runs");
    }

    /// Closes the standard input, and waits for `spo` to end.
    pub(crate) fn finish(mut self) -> Recording {
        let began = Instant::now();
        self.close_input();
        let mut status = None;
        until("spo ends", || {
            status = self.child.try_wait().expect("spo can be waited for");
            status.is_some()
        });
        Recording {
            status: status.expect("spo has ended"),
            stdout: self.read("stdout"),
            stderr: self.stderr(),
            profiles: profiles(self.folder.path()),
            time: began.elapsed(),
        }
    }

    fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(name)).expect("a file"))
            .into_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().expect("spo can be killed");
            self.child.wait().expect("spo ends");
        }
    }
}

impl Recording {
    /// The one profile that was written.
    pub(crate) fn profile(&self) -> &Profile {
        assert_eq!(self.profiles.len(), 1, "{}", self.stderr);
        self.profiles.values().next().expect("one profile")
    }

    /// The exit code, as a shell would tell it.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Every counter is zero, in the summary and in the profiles.
    pub(crate) fn assert_nothing_lost(&self) {
        assert!(!self.profiles.is_empty(), "{}", self.stderr);
        // The counters that are not zero would follow, lost events among them.
        assert_eq!(
            self.stderr.matches("; lost: 0\n").count(),
            self.profiles.len(),
            "{}",
            self.stderr
        );
        for profile in self.profiles.values() {
            assert_eq!(profile.annotation("lost"), Some("0"), "{}", self.stderr);
            assert_eq!(profile.annotation("losses"), None, "{}", self.stderr);
        }
    }

    /// A counter in the summary.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let found = self
            .stderr
            .split([' ', '\n', ',', ')'])
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.map_or(0, |number| number.parse().expect("a number"))
    }
}

impl Profile {
    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations
            .get(&format!("spo.x-k8s.io/recording-{name}"))
            .map(String::as_str)
    }

    /// The rare calls in it.
    pub(crate) fn rare(&self) -> BTreeSet<&str> {
        probe::rare(&self.names)
    }

    /// Of the rare calls it has these, and no others.
    pub(crate) fn assert_rare<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let expected: BTreeSet<&str> = names.into_iter().collect();
        let found = self.rare();
        let missing: Vec<_> = expected.difference(&found).collect();
        let extra: Vec<_> = found.difference(&expected).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "missing {missing:?}, and found {extra:?} besides"
        );
    }
}

/// The profiles in a folder.
fn profiles(folder: &Path) -> BTreeMap<String, Profile> {
    let files = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let yaml = |file: &PathBuf| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    };
    files
        .filter(yaml)
        .map(|file| (file.to_string_lossy().into_owned(), read(&file)))
        .collect()
}

fn read(file: &Path) -> Profile {
    let text = fs::read(file).expect("a profile");
    let (document, complaints) = seccomp::read("profile", &text);
    assert!(complaints.is_empty(), "{complaints:?}");
    let Some(Document::Object(profile)) = document else {
        panic!("no object in {}", file.display())
    };
    Profile {
        names: profile
            .spec
            .syscalls
            .into_iter()
            .flat_map(|rule| rule.names)
            .collect(),
        architectures: profile
            .spec
            .architectures
            .iter()
            .map(ToString::to_string)
            .collect(),
        annotations: profile.metadata.annotations,
    }
}

/// Waits until something is the case.
pub(crate) fn until(what: &str, is: impl FnMut() -> bool) {
    tier::until(Duration::from_secs(30), what, is);
}

/// A size for this machine, or a smaller one for a guest, which is slow.
pub(crate) fn sized<T>(machine: T, guest: T) -> T {
    if tier::is_vm() { guest } else { machine }
}
