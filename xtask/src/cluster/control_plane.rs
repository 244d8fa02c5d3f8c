//! A control plane in a folder: keys, addresses, data, logs, and the ids of its processes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::binaries::Binaries;
use super::components::{self, Layout};
use super::kubeconfig;
use super::log::ending;
use super::pki::{self, Pki};
use super::ports::Ports;
use super::processes::{Lifetime, Process};
use crate::process;

/// How long a component may take to become ready; on two idle cores the slowest takes five seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often waiting is mentioned, in seconds.
const TELL: u64 = 10;
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

    /// Keeps other processes from starting or ending this one, as long as the file is held; waits
    /// for one that does so now.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.folder.with_extension("lock");
        let context = || format!("failed to lock {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(context)?;
        }
        let file = File::create(&path).with_context(context)?;
        if file.try_lock().is_err() {
            eprintln!(
                "waiting for another process, which works with {}",
                self.folder.display()
            );
            file.lock().with_context(context)?;
        }
        Ok(file)
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
        let mut started = Vec::new();
        for component in components::all(binaries, &layout) {
            let name = component.name;
            let start = Instant::now();
            let file = self.folder.join("pids").join(name);
            let process = match Process::running(&file) {
                Some(process) => process,
                None => Process::start(&component, lifetime, &self.log(name), &file)?,
            };
            started.push((name, process));
            if let Some(health) = component.health {
                self.wait(name, &started, || {
                    self.answers(binaries, component.port, health)
                })?;
                eprintln!("{name} is ready ({:.1} s)", start.elapsed().as_secs_f32());
            }
        }
        if binaries.controller_manager.is_some() {
            self.wait("kube-controller-manager", &started, || {
                self.answers(binaries, layout.ports.apiserver, ACCOUNT)
            })?;
        }
        Ok(())
    }

    /// Waits until a component is ready, as long as all that were started run. The API server waits
    /// for etcd, so that its own log says little when etcd has ended.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server tells nobody that it is ready: it has to be asked"
    )]
    fn wait(
        &self,
        name: &str,
        started: &[(&str, Process)],
        ready: impl Fn() -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        let mut told = 0;
        while !ready() {
            if let Some((ended, _)) = started.iter().find(|(_, process)| !process.is_running()) {
                let log = self.log(ended);
                let text = fs::read(&log).unwrap_or_default();
                let taken = String::from_utf8_lossy(&text).contains(PORT_TAKEN);
                let reason = if taken {
                    PORT_TAKEN
                } else {
                    "its log says why"
                };
                bail!("{ended} has ended: {reason}; {}", ending(&log));
            }
            let passed = start.elapsed();
            let log = self.log(name);
            if passed > PATIENCE {
                bail!(
                    "{name} is not ready after {} s; {}",
                    passed.as_secs(),
                    ending(&log)
                );
            }
            if passed.as_secs() >= TELL * (told + 1) {
                told += 1;
                eprintln!(
                    "waiting for {name} ({} s); its log is {}",
                    passed.as_secs(),
                    log.display()
                );
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(())
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
        remove(&self.logs())?;
        let below = |name| self.folder.join(name);
        for folder in [
            self.folder.clone(),
            below("pids"),
            below("etcd"),
            self.logs(),
        ] {
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

    /// Ends what runs and removes the folder, but no logs; whether there was anything.
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
        self.logs().join(name).with_extension("log")
    }

    /// Beside the rest, so that they can still be read when it is gone.
    fn logs(&self) -> PathBuf {
        self.folder.with_extension("logs")
    }
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
