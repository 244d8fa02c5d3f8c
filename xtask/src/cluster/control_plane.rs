//! A control plane in a folder: keys, addresses, data, logs, and the ids of its processes.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::binaries::Binaries;
use super::components::{self, Component, Layout};
use super::kubeconfig;
use super::log::ending;
use super::pki::{self, Pki};
use super::ports::Ports;
use super::processes::{Lifetime, Process};
use crate::process;

/// How long a component may take to become ready; on two idle cores the slowest takes five seconds.
const PATIENCE: Duration = Duration::from_mins(2);
const INTERVAL: Duration = Duration::from_millis(100);
/// How often other ports are tried when another process was faster.
const ATTEMPTS: usize = 3;
/// What each component says then.
const PORT_TAKEN: &str = "address already in use";
/// Made by the controller manager, so that it works when this is there.
const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";

/// The folder of a control plane, which runs or not.
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane {
    folder: PathBuf,
}

/// A component as `status` shows it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    /// The process's id, if it runs.
    pub(super) pid: Option<i32>,
    pub(super) log: PathBuf,
}

impl ControlPlane {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file with which its administrator reaches it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", pki::ADMIN.file))
    }

    /// What was started and not taken down.
    pub(super) fn seen(&self) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for file in entries(&self.folder.join("pids"))? {
            let Some(name) = file
                .extension()
                .is_none()
                .then(|| file.file_name())
                .flatten()
            else {
                continue;
            };
            let name = name.to_string_lossy().into_owned();
            seen.push(Seen {
                pid: Process::running(&file).map(|process| process.pid()),
                log: self.log(&name),
                name,
            });
        }
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// Keeps other processes from starting or ending this one meanwhile; an error if one does so
    /// now.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.folder.with_extension("lock");
        let context = || format!("failed to lock {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(context)?;
        }
        let file = File::create(&path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                bail!("another process works with {}", self.folder.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(context),
        }
    }

    /// Starts what does not run, and waits until all of it is ready. The folder is made if it is
    /// not there.
    pub(crate) fn up(&self, binaries: &Binaries, lifetime: Lifetime) -> Result<()> {
        eprintln!("programs: {}", binaries.origin);
        let start = Instant::now();
        let mut attempt = 1;
        loop {
            let fresh = !self.folder.exists();
            let result = self.try_up(binaries, lifetime);
            match result {
                Err(error)
                    if fresh && attempt < ATTEMPTS && error.to_string().contains(PORT_TAKEN) =>
                {
                    eprintln!("{error:#}\nanother process was faster; trying other ports");
                    attempt += 1;
                    self.down()?;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        eprintln!("ready after {:.1} s", start.elapsed().as_secs_f32());
        Ok(())
    }

    fn try_up(&self, binaries: &Binaries, lifetime: Lifetime) -> Result<()> {
        let layout = self.layout()?;
        for component in components::all(binaries, &layout) {
            self.bring_up(&component, binaries, lifetime)?;
        }
        if binaries.controller_manager.is_some() {
            let log = self.log("kube-controller-manager");
            let account = || self.answers(binaries, layout.ports.apiserver, ACCOUNT);
            wait("the controller manager's first work", &log, account, || {
                true
            })?;
        }
        Ok(())
    }

    /// Starts a component unless it runs, and waits for it.
    fn bring_up(
        &self,
        component: &Component,
        binaries: &Binaries,
        lifetime: Lifetime,
    ) -> Result<()> {
        let name = component.name;
        let start = Instant::now();
        let log = self.log(name);
        let file = self.folder.join("pids").join(name);
        let process = match Process::running(&file) {
            Some(process) => process,
            None => Process::start(component, lifetime, &log, &file)?,
        };
        let Some(health) = component.health else {
            return Ok(());
        };
        wait(
            name,
            &log,
            || self.answers(binaries, component.port, health),
            || process.is_running() && self.ended().is_none(),
        )
        .map_err(|error| match self.ended() {
            // The API server waits for etcd, so that its own log says little when etcd is gone.
            Some(other) if other != name => {
                anyhow::anyhow!("{other} has ended; {}", ending(&self.log(&other)))
            }
            _ => error,
        })?;
        eprintln!("{name} is ready ({:.1} s)", start.elapsed().as_secs_f32());
        Ok(())
    }

    /// A component that was started and does not run any more.
    fn ended(&self) -> Option<String> {
        let seen = self.seen().ok()?;
        seen.into_iter()
            .find(|seen| seen.pid.is_none())
            .map(|seen| seen.name)
    }

    /// Whether a server answers with 200. `--raw` asks for nothing else, and keeps nothing.
    fn answers(&self, binaries: &Binaries, port: u16, path: &str) -> bool {
        process::succeeds(
            Command::new(&binaries.kubectl)
                .arg("--kubeconfig")
                .arg(self.kubeconfig())
                .args(["--server", &format!("https://127.0.0.1:{port}")])
                .args(["--request-timeout=5s", "get", "--raw", path]),
        )
    }

    /// The keys and ports of an earlier start, or new ones.
    fn layout(&self) -> Result<Layout> {
        let state = self.folder.join("ports.json");
        let pki = Pki::at(self.folder.join("pki"));
        let layout = |ports| Layout {
            folder: self.folder.clone(),
            pki: pki.clone(),
            ports,
        };
        if let Ok(text) = fs::read_to_string(&state) {
            let ports = serde_json::from_str(&text).with_context(|| {
                format!("failed to read {}: take the cluster down", state.display())
            })?;
            return Ok(layout(ports));
        }
        // A folder without that file is one that was left half made.
        remove(&self.folder)?;
        for folder in ["", "pids", "logs", "etcd"] {
            let folder = self.folder.join(folder);
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&folder)
                .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        }
        pki.create()?;
        let layout = layout(Ports::find()?);
        kubeconfig::write_all(&layout)?;
        let text = serde_json::to_string(&layout.ports).context("failed to write ports")?;
        pki::write(&state, &text)?;
        Ok(layout)
    }

    /// Ends what runs and removes the folder; whether there was anything.
    pub(crate) fn down(&self) -> Result<bool> {
        if !self.folder.exists() {
            return Ok(false);
        }
        for file in entries(&self.folder.join("pids"))? {
            if let Some(process) = Process::running(&file) {
                process.end()?;
            }
        }
        remove(&self.folder)?;
        Ok(true)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(name).with_extension("log")
    }
}

/// Waits until something is ready, as long as that can still happen.
#[expect(
    clippy::disallowed_methods,
    reason = "a server tells nobody that it is ready: it has to be asked"
)]
fn wait(
    name: &str,
    log: &Path,
    ready: impl Fn() -> bool,
    possible: impl Fn() -> bool,
) -> Result<()> {
    let start = Instant::now();
    let mut told = 1;
    while !ready() {
        let passed = start.elapsed();
        if !possible() {
            let taken = fs::read_to_string(log).is_ok_and(|text| text.contains(PORT_TAKEN));
            let reason = if taken {
                format!(" ({PORT_TAKEN})")
            } else {
                String::new()
            };
            bail!("{name} has ended{reason}; {}", ending(log));
        }
        if passed > PATIENCE {
            bail!(
                "{name} is not ready after {} s; {}",
                passed.as_secs(),
                ending(log)
            );
        }
        if passed.as_secs() >= 10 * told {
            eprintln!(
                "waiting for {name} ({} s); its log is {}",
                passed.as_secs(),
                log.display()
            );
            told += 1;
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

/// The files of a folder, which may be missing.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read the folder {}", folder.display());
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(context)?,
    };
    entries
        .map(|entry| Ok(entry.with_context(context)?.path()))
        .collect()
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
