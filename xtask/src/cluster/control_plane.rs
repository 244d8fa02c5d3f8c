//! A cluster in a folder: keys, addresses, data, logs, and the ids of its processes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use serde_json::Value;

use super::about::About;
use super::binaries::Binaries;
use super::components::{self, Component, Health, Layout};
use super::image::Image;
use super::kubeconfig;
use super::log::ending;
use super::node::{self, Node, View, images, programs};
use super::pki::{self, Pki};
use super::ports::Ports;
use super::processes::{Lifetime, Process};
use super::servers;
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
        for file in entries(&self.pids())? {
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

    /// The folder with the ids of its processes.
    pub(crate) fn pids(&self) -> PathBuf {
        self.folder.join("pids")
    }

    /// Starts again what has ended of a control plane that was started for [`Lifetime::Ours`], and
    /// waits for nothing.
    pub(crate) fn restart(&self, binaries: &Binaries, node: Option<View>) -> Result<()> {
        let is_ended = |name: &str| Process::running(&self.pids().join(name)).is_none();
        // To know the components takes asking programs; this is asked for many times a minute.
        let mut known = entries(&self.pids())?.into_iter();
        if known.all(|file| Process::running(&file).is_some()) {
            return Ok(());
        }
        for component in components::all(binaries, &self.layout(node)?)? {
            let name = component.name;
            if is_ended(name) {
                eprintln!("{name} has ended: it is started again");
                let file = self.pids().join(name);
                Process::start(&component, Lifetime::Ours, &self.log(name), &file)?;
            }
        }
        Ok(())
    }

    /// Copies what the API server was asked to a file, where the next cluster leaves it. Of a log
    /// that has become two, nobody knows whether there was a third.
    pub(crate) fn keep_audit_log(&self, copy: &Path) -> Result<()> {
        let log = self.audit_log();
        let names = entries(&self.logs())?.into_iter().filter_map(|file| {
            let name = file.file_name()?.to_string_lossy().into_owned();
            name.starts_with("audit").then_some(name)
        });
        let names: Vec<_> = names.collect();
        if names.len() != 1 {
            bail!("there is not one audit log, but {names:?}: not all that was asked is known");
        }
        let context = || format!("failed to copy {} to {}", log.display(), copy.display());
        if let Some(folder) = copy.parent() {
            fs::create_dir_all(folder).with_context(context)?;
        }
        fs::copy(&log, copy).with_context(context)?;
        Ok(())
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
    /// not there, with a node if one is wanted; one that is there keeps what it has.
    pub(crate) fn up(
        &self,
        binaries: &Binaries,
        lifetime: Lifetime,
        node: Option<View>,
    ) -> Result<()> {
        eprintln!("programs: {}", binaries.origin);
        let start = Instant::now();
        let mut attempt = 1;
        loop {
            let fresh = !self.folder.exists();
            let result = self.try_up(binaries, lifetime, node);
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

    fn try_up(&self, binaries: &Binaries, lifetime: Lifetime, node: Option<View>) -> Result<()> {
        let mut layout = self.layout(node)?;
        if let Some(node) = &mut layout.node {
            node.enter(lifetime, &self.log("namespaces"))?;
        }
        components::write_files(&layout)?;
        let mut running = Running {
            own: self,
            binaries,
            lifetime,
            processes: Vec::new(),
        };
        for component in components::all(binaries, &layout)? {
            running.add(&component)?;
        }
        if binaries.controller_manager.is_some() {
            running.wait("kube-controller-manager", || {
                self.get(binaries, &layout.server(), ACCOUNT).is_some()
            })?;
        }
        if let Some(node) = &layout.node {
            self.add_node(&mut running, &layout, node)?;
        }
        About::of(&layout, binaries).write(&self.folder)
    }

    /// Starts what makes a node, and waits until pods can run there.
    fn add_node(&self, running: &mut Running<'_>, layout: &Layout, node: &Node) -> Result<()> {
        let binaries = running.binaries;
        let start = Instant::now();
        running.add(&programs::containerd(node)?)?;
        running.wait("containerd", || images::is_served(node))?;
        images::ensure(node)?;
        running.add(&programs::kubelet(layout, node, binaries)?)?;
        running.add(&programs::proxy(layout, node, binaries)?)?;
        let path = format!("/api/v1/nodes/{}", node::NAME);
        running.wait("kubelet", || {
            let node = self.get(binaries, &layout.server(), &path);
            node.is_some_and(|node| is_ready(&node))
        })?;
        let classes = self.folder.join("runtime-classes.json");
        pki::write(&classes, &programs::runtime_classes())?;
        let mut kubectl = self.kubectl(binaries, &layout.server());
        process::output(kubectl.args(["apply", "-f"]).arg(&classes))?;
        eprintln!("the node is ready ({:.1} s)", start.elapsed().as_secs_f32());
        Ok(())
    }

    /// What a server answers with 200. `--raw` asks for nothing else, and keeps nothing.
    fn get(&self, binaries: &Binaries, server: &str, path: &str) -> Option<String> {
        let mut kubectl = self.kubectl(binaries, server);
        process::output(kubectl.args(["--request-timeout=5s", "get", "--raw", path])).ok()
    }

    fn kubectl(&self, binaries: &Binaries, server: &str) -> Command {
        let mut command = Command::new(&binaries.kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(["--server", server]);
        command
    }

    /// The keys and ports of an earlier start, or new ones.
    fn layout(&self, wanted: Option<View>) -> Result<Layout> {
        let state = self.folder.join("ports.json");
        let pki = Pki::at(self.folder.join("pki"));
        let layout = |ports, node| Layout {
            folder: self.folder.clone(),
            pki: pki.clone(),
            ports,
            node,
        };
        if let Ok(text) = fs::read_to_string(&state) {
            let ports = serde_json::from_str(&text).with_context(|| {
                format!("failed to read {}: take the cluster down", state.display())
            })?;
            let node = Node::open(&self.folder)?;
            if wanted.is_some() && wanted != node.as_ref().map(Node::view) {
                bail!("this cluster has no such node: run cargo xtask cluster down first");
            }
            return Ok(layout(ports, node));
        }
        // A folder without that file is one that was left half made.
        self.down()?;
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
        let node = wanted
            .map(|view| Node::create(&self.folder, view))
            .transpose()?;
        pki.create(node.as_ref().map(Node::address))?;
        let layout = layout(Ports::find()?, node);
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
        if let Some(node) = Node::open(&self.folder)? {
            node.clear()?;
        }
        for file in entries(&self.pids())? {
            if let Some(process) = Process::running(&file) {
                process.end()?;
            }
        }
        remove(&self.folder)?;
        Ok(true)
    }

    /// Loads an image of a program under a name.
    pub(crate) fn load(&self, program: &Path, name: &str) -> Result<()> {
        images::load(&self.with_node()?, &Image::of(program)?, name)
    }

    /// Loads the images of the servers in the library of profiles.
    pub(crate) fn load_servers(&self) -> Result<()> {
        let node = self.with_node()?;
        for (name, image) in servers::ALL {
            let image = image().with_context(|| format!("failed to make the image {name}"))?;
            images::load(&node, &image, name)?;
        }
        Ok(())
    }

    fn with_node(&self) -> Result<Node> {
        self.node()?
            .filter(|node| node.holder().is_some())
            .context("there is no node: run cargo xtask cluster up --node")
    }

    /// The node, if there is one.
    pub(super) fn node(&self) -> Result<Option<Node>> {
        Node::open(&self.folder)
    }

    /// What the API server was asked.
    pub(super) fn audit_log(&self) -> PathBuf {
        components::audit_log(&self.folder)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs().join(name).with_extension("log")
    }

    /// Beside the rest, so that they can still be read when it is gone.
    fn logs(&self) -> PathBuf {
        self.folder.with_extension("logs")
    }
}

/// Takes a control plane down when it goes, whatever went wrong before.
#[derive(Debug)]
pub(crate) struct TakenDown(pub(crate) ControlPlane);

impl Drop for TakenDown {
    fn drop(&mut self) {
        if let Err(error) = self.0.down() {
            eprintln!("failed to take the cluster down: {error:#}");
        }
    }
}

/// What runs of a cluster that is being started.
#[derive(Debug)]
struct Running<'a> {
    own: &'a ControlPlane,
    binaries: &'a Binaries,
    lifetime: Lifetime,
    processes: Vec<(&'static str, Process)>,
}

impl Running<'_> {
    /// Starts a component that does not run, and waits until it is ready.
    fn add(&mut self, component: &Component) -> Result<()> {
        let name = component.name;
        let start = Instant::now();
        let file = self.own.pids().join(name);
        let process = match Process::running(&file) {
            Some(process) => process,
            None => Process::start(component, self.lifetime, &self.own.log(name), &file)?,
        };
        self.processes.push((name, process));
        if let Some(Health { server, path }) = &component.health {
            self.wait(name, || self.own.get(self.binaries, server, path).is_some())?;
            eprintln!("{name} is ready ({:.1} s)", start.elapsed().as_secs_f32());
        }
        Ok(())
    }

    /// Waits until a component is ready, as long as all that were started run. The API server waits
    /// for etcd, so that its own log says little when etcd has ended.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server tells nobody that it is ready: it has to be asked"
    )]
    fn wait(&self, name: &str, ready: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        let mut told = 0;
        while !ready() {
            if let Some((ended, _)) = self
                .processes
                .iter()
                .find(|(_, process)| !process.is_running())
            {
                let log = self.own.log(ended);
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
            let log = self.own.log(name);
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
}

/// Whether pods can run on a node.
fn is_ready(node: &str) -> bool {
    let node: Value = serde_json::from_str(node).unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
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
