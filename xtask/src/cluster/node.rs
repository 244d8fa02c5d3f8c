//! A node: containerd, kubelet and kube-proxy, and with them the control plane, in a mount and a
//! network namespace of their own. Processes stay in the machine's pid namespace, as on any node.

mod cgroups;
pub(super) mod images;
mod namespaces;
pub(super) mod programs;

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::cgroups::Hierarchies;
use super::binaries::Binaries;
use super::components::Component;
use super::pki;
use super::processes::{Lifetime, Process, boot};
use crate::env::is_root;
use crate::process;
use crate::setup::needs::{self, Group};

/// What the node is called in the cluster.
pub(super) const NAME: &str = "spo-node";
/// The process that holds the namespaces.
const HOLDER: &str = "namespaces";
/// The folders of the namespaces that are the node's own; a cluster cannot be in one of them.
const OWN: [&str; 3] = ["/var/lib", "/var/log", "/run"];

/// Which cgroups a node sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum View {
    /// Those of the machine, as they are
    #[default]
    Host,
    /// The cgroup2 hierarchy alone; where controllers are in others, nothing is limited
    V2,
}

/// What is kept about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Tells it apart from the other nodes of the machine: in addresses, and in the names of its
    /// cgroups and of its network interface.
    number: u8,
    /// The start of the machine in which these were taken; empty once they are given back.
    boot: String,
    view: View,
}

/// The node of a cluster, which runs or not.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The cluster's.
    cluster: PathBuf,
    state: State,
    hierarchies: Hierarchies,
}

/// Whether this machine can have a node with these programs; or why not. Installs what is missing.
pub(crate) fn possible(binaries: &Binaries) -> Result<Result<(), String>> {
    if !is_root() {
        return Ok(Err("a node needs root".to_owned()));
    }
    if binaries.kubelet.is_none() || binaries.proxy.is_none() {
        return Ok(Err(format!(
            "a node needs kubelet and kube-proxy, which are not both in {}",
            binaries.origin
        )));
    }
    let unmet = needs::ensure(&[Group::Node]);
    if !unmet.is_empty() {
        return Ok(Err(format!("a node is not possible: {unmet}")));
    }
    if let Err(reason) = Hierarchies::find()? {
        return Ok(Err(format!("a node is not possible: {reason}")));
    }
    let mut namespaces = Command::new("unshare");
    if !process::succeeds(namespaces.args(["--mount", "--net", "true"])) {
        return Ok(Err(
            "a node is not possible: this process may make no namespaces".to_owned(),
        ));
    }
    Ok(Ok(()))
}

impl Node {
    /// The node of a cluster's folder, if it has one.
    pub(super) fn open(cluster: &Path) -> Result<Option<Self>> {
        let file = state_file(cluster);
        let context = || format!("failed to read {}: take the cluster down", file.display());
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(context)?,
        };
        Ok(Some(Self {
            cluster: cluster.to_owned(),
            state: serde_json::from_str(&text).with_context(context)?,
            hierarchies: hierarchies()?,
        }))
    }

    /// A new node for a cluster's folder.
    pub(super) fn create(cluster: &Path, view: View) -> Result<Self> {
        if let Some(folder) = OWN.iter().find(|own| cluster.starts_with(own)) {
            bail!(
                "{} is below {folder}, of which a node has its own",
                cluster.display()
            );
        }
        let hierarchies = hierarchies()?;
        let mut number = 1;
        while !is_free(number) || !hierarchies.claim(&name(number))? {
            if number == u8::MAX {
                bail!("the addresses of all nodes are taken");
            }
            number += 1;
        }
        let node = Self {
            cluster: cluster.to_owned(),
            state: State {
                number,
                boot: boot()?,
                view,
            },
            hierarchies,
        };
        let folder = node.folder();
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        node.write()?;
        Ok(node)
    }

    fn write(&self) -> Result<()> {
        let text = serde_json::to_string(&self.state).context("failed to write a node's state")?;
        let file = state_file(&self.cluster);
        let part = file.with_extension("part");
        pki::write(&part, &text)?;
        fs::rename(&part, &file).with_context(|| format!("failed to write {}", file.display()))
    }

    pub(super) fn view(&self) -> View {
        self.state.view
    }

    /// Where the cluster is reached from the machine, and the machine's other way round.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.in_network(2)
    }

    /// Where the machine is reached from the cluster.
    pub(super) fn host_address(&self) -> Ipv4Addr {
        self.in_network(1)
    }

    fn in_network(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 250, self.state.number, last)
    }

    /// The name of its cgroups and of its network interface on the machine.
    pub(super) fn name(&self) -> String {
        name(self.state.number)
    }

    fn folder(&self) -> PathBuf {
        self.cluster.join("node")
    }

    /// `/var/lib` of the node.
    fn lib(&self) -> PathBuf {
        self.folder().join("lib")
    }

    /// The kubelet's folder, as seen from the machine.
    pub(super) fn kubelet(&self) -> PathBuf {
        self.lib().join("kubelet")
    }

    fn holder_file(&self) -> PathBuf {
        self.cluster.join("pids").join(HOLDER)
    }

    /// The process in whose namespaces the cluster is.
    pub(super) fn holder(&self) -> Option<i32> {
        Process::running(&self.holder_file()).map(|holder| holder.pid())
    }

    /// How many processes it has; those of pods are among them.
    pub(super) fn processes(&self) -> usize {
        if self.is_of_this_boot() {
            self.hierarchies.processes(&self.name())
        } else {
            0
        }
    }

    fn is_of_this_boot(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.state.boot)
    }

    /// Makes the namespaces, unless they are there. If their holder has ended, what is left in them
    /// is ended first.
    pub(super) fn enter(&mut self, lifetime: Lifetime, log: &Path) -> Result<()> {
        let complete = self.folder().join("complete");
        if self.holder().is_some() && complete.exists() {
            return Ok(());
        }
        if self.is_of_this_boot() {
            self.clear()?;
        }
        if !self.hierarchies.claim(&self.name())? {
            bail!("another cluster has taken the addresses of this one: take it down");
        }
        self.state.boot = boot()?;
        self.write()?;
        // The kubelet wants to have all that it sees.
        let hand_on = self.view() == View::V2 || !self.hierarchies.are_divided();
        self.hierarchies.fill(&self.name(), hand_on)?;
        namespaces::make(self, lifetime, log)?;
        fs::write(&complete, "").with_context(|| format!("failed to write {}", complete.display()))
    }

    /// A component, to be started in the namespaces.
    pub(super) fn inside(&self, component: Component) -> Result<Component> {
        let mut args = self.entering()?;
        args.push(component.program.to_string_lossy().into_owned());
        args.extend(component.args);
        Ok(self.counted(Component {
            program: "nsenter".into(),
            args,
            ..component
        }))
    }

    /// A command in the namespaces, which ends soon.
    pub(super) fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(self.entering()?).arg(program);
        Ok(command)
    }

    fn entering(&self) -> Result<Vec<String>> {
        let holder = self
            .holder()
            .context("the namespaces of the node are gone")?;
        let words = ["--mount", "--net", "--target", &holder.to_string(), "--"];
        Ok(words.map(str::to_owned).into())
    }

    /// A component whose process, with all that descend from it, is counted among the node's. An
    /// ordinary user's search path may leave out where the node's programs look for others.
    fn counted(&self, component: Component) -> Component {
        let script = "echo 0 >\"$0\" && PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin exec \"$@\"";
        let entry = self.hierarchies.entry(&self.name());
        let mut args = vec![
            "-c".to_owned(),
            script.to_owned(),
            entry.to_string_lossy().into_owned(),
            component.program.to_string_lossy().into_owned(),
        ];
        args.extend(component.args);
        Component {
            program: "sh".into(),
            args,
            ..component
        }
    }

    /// Ends all processes of the node, those of pods among them, and removes what it has outside of
    /// its folder.
    pub(super) fn clear(&self) -> Result<()> {
        if !self.is_of_this_boot() {
            return Ok(());
        }
        let name = self.name();
        self.hierarchies.kill(&name)?;
        // Mounts, the network and its rules end with the namespaces. This is only sooner.
        if !is_free(self.state.number) {
            process::run(Command::new("ip").args(["link", "delete", &name]))?;
        }
        // Nothing is taken any more, before another cluster can take it.
        let mut free = self.clone();
        free.state.boot.clear();
        free.write()?;
        self.hierarchies.remove(&name)
    }
}

fn state_file(cluster: &Path) -> PathBuf {
    cluster.join("node/state.json")
}

fn hierarchies() -> Result<Hierarchies> {
    Hierarchies::find()?.map_err(anyhow::Error::msg)
}

fn name(number: u8) -> String {
    format!("spo-{number}")
}

/// Whether no network interface has the name.
fn is_free(number: u8) -> bool {
    !Path::new("/sys/class/net").join(name(number)).exists()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Node, View};

    #[test]
    fn a_folder_that_the_node_would_hide_is_refused() {
        let error = Node::create(Path::new("/var/lib/ci/cluster"), View::Host).unwrap_err();
        assert!(error.to_string().contains("/var/lib, of which"), "{error}");
    }

    #[test]
    fn a_folder_without_a_state_has_no_node() {
        assert!(Node::open(Path::new("/nonexistent")).unwrap().is_none());
    }
}
