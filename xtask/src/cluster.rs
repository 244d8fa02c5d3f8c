//! A Kubernetes cluster on this machine: etcd, API server, controller manager, scheduler, and a node
//! if one is wanted. Without a node, all listen on the loopback address, and no pod runs; with one,
//! all are in namespaces of their own.

mod about;
pub(crate) mod binaries;
mod build;
mod components;
mod control_plane;
mod image;
mod kubeconfig;
mod log;
pub(crate) mod node;
mod oci_runtime;
mod openapi;
mod pki;
mod ports;
mod processes;
mod servers;
mod source;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;

pub(crate) use self::control_plane::{ControlPlane, TakenDown};
pub(crate) use self::node::View;
pub(crate) use self::processes::Lifetime;
use crate::env::{cache_dir, target_dir};
use crate::setup::needs::{self, Group};

/// Names the cluster to use, for everything that talks to Kubernetes.
pub(crate) const KUBECONFIG: &str = "KUBECONFIG";
/// Names, for tests, the folder with the ids of the cluster's processes: those that a test kills are
/// started again.
pub(crate) const RESTARTED: &str = "SPO_RESTARTED";
/// The image of `spo` for pods.
pub(crate) const IMAGE: &str = "localhost/spo:test";

/// What to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Verb {
    /// Start what does not run, and wait until it is ready
    Up {
        /// With a node, on which pods run: containerd, kubelet and kube-proxy; needs root
        #[arg(long)]
        node: bool,
        /// Which cgroups the node sees
        #[arg(long, requires = "node", default_value = "host")]
        cgroup: View,
    },
    /// End it, and remove its data
    Down,
    /// Say what runs
    Status,
    /// Print the path of the file for `KUBECONFIG`
    Kubeconfig,
    /// Make an image of a program of this machine, and load it into the node
    Image {
        /// It lies in the root of the image, with the libraries that it is linked to, and is started
        program: PathBuf,
        /// Such as localhost/spo:test; pods need `imagePullPolicy: Never`
        name: String,
    },
    /// Make the images of servers that the tests of the library of profiles need, and load them
    Servers,
    /// Run a container runtime without limits
    #[command(hide = true, disable_help_flag = true)]
    OciRuntime {
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Does something with a control plane that is made for it, and that nobody else uses: its folder,
/// of this name, is in the target directory. It is taken down afterwards, whatever went wrong.
pub(crate) fn fresh<T>(name: &str, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    made(name, None, |own| work(&own.kubeconfig()))
}

/// The same with a node, which has images of these programs, each under its name.
pub(crate) fn fresh_with_node<T>(
    name: &str,
    images: &[(&Path, &str)],
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    made(name, Some(images), |own| work(&own.kubeconfig()))
}

/// The same with the servers of the library of profiles.
pub(crate) fn fresh_with_servers<T>(
    name: &str,
    images: &[(&Path, &str)],
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    made(name, Some(images), |own| {
        own.load_servers()?;
        work(&own.kubeconfig())
    })
}

fn made<T>(
    name: &str,
    images: Option<&[(&Path, &str)]>,
    work: impl FnOnce(&ControlPlane) -> Result<T>,
) -> Result<T> {
    let unmet = needs::ensure(&[Group::Base]);
    if !unmet.is_empty() {
        bail!("{unmet}");
    }
    let binaries =
        binaries::find()?.map_err(|reason| anyhow!("there is no Kubernetes: {reason}"))?;
    let node = images.map(|_| View::default());
    if node.is_some() {
        node::possible(&binaries)?.map_err(|reason| anyhow!("there can be no node: {reason}"))?;
    }
    let own = ControlPlane::at(target_dir()?.join(name));
    let _lock = own.lock()?;
    // A run that was killed left its folder.
    own.down()?;
    let taken_down = TakenDown(own);
    taken_down.0.up(&binaries, Lifetime::Ours, node)?;
    for (program, name) in images.unwrap_or_default() {
        taken_down.0.load(program, name)?;
    }
    work(&taken_down.0)
}

/// The verb.
pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    if let Verb::OciRuntime { program, args } = &verb {
        return oci_runtime::run(program, args);
    }
    let own = ControlPlane::at(cache_dir()?.join("cluster"));
    // Whoever uses our cluster names it there, too.
    if let Some(other) = named().filter(|named| *named != own.kubeconfig()) {
        return Ok(with_other(&verb, &other));
    }
    match verb {
        Verb::Up { node, cgroup } => up(&own, node.then_some(cgroup)),
        Verb::Down => {
            let _lock = own.lock()?;
            println!(
                "{}",
                if own.down()? {
                    "the cluster is down, and its data are removed"
                } else {
                    "there is no cluster"
                }
            );
            Ok(ExitCode::SUCCESS)
        }
        Verb::Status => status(&own),
        Verb::Kubeconfig => {
            if !own.kubeconfig().exists() {
                bail!("there is no cluster: run cargo xtask cluster up");
            }
            println!("{}", own.kubeconfig().display());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Image { program, name } => {
            let _lock = own.lock()?;
            own.load(&program, &name)?;
            println!("{name} is loaded");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Servers => {
            let _lock = own.lock()?;
            own.load_servers()?;
            println!("the servers are loaded");
            Ok(ExitCode::SUCCESS)
        }
        Verb::OciRuntime { .. } => bail!("this is for containerd"),
    }
}

/// What `KUBECONFIG` names.
pub(crate) fn named() -> Option<PathBuf> {
    std::env::var_os(KUBECONFIG)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// A cluster that was not started here is not ended here either.
fn with_other(verb: &Verb, file: &Path) -> ExitCode {
    let file = file.display();
    match verb {
        Verb::Kubeconfig => println!("{file}"),
        _ => println!(
            "{KUBECONFIG} names the cluster of {file}: it is used, and is neither started nor ended here"
        ),
    }
    ExitCode::SUCCESS
}

fn up(own: &ControlPlane, node: Option<View>) -> Result<ExitCode> {
    let binaries = match binaries::find()? {
        Ok(binaries) => binaries,
        Err(reason) => bail!("no cluster can be started: {reason}"),
    };
    if node.is_some()
        && let Err(reason) = node::possible(&binaries)?
    {
        bail!("{reason}");
    }
    let _lock = own.lock()?;
    own.up(&binaries, Lifetime::Detached, node)?;
    eprintln!("kubectl: {}", binaries.kubectl.display());
    println!("export {KUBECONFIG}={}", own.kubeconfig().display());
    Ok(ExitCode::SUCCESS)
}

fn status(own: &ControlPlane) -> Result<ExitCode> {
    let seen = own.seen()?;
    for component in &seen {
        let state = match component.pid {
            Some(pid) => format!("process {pid}"),
            None => "has ended".to_owned(),
        };
        println!(
            "{:24} {state:16} {}",
            component.name,
            component.log.display()
        );
    }
    if seen.is_empty() {
        println!("there is no cluster");
        return Ok(ExitCode::FAILURE);
    }
    println!("{:24} {}", "audit log", own.audit_log().display());
    if let Some(node) = own.node()? {
        println!("{:24} {}", "node", node::NAME);
        println!("{:24} {}", "kubelet's folder", node.kubelet().display());
        println!("{:24} {}", "this machine, from pods", node.host_address());
        println!(
            "{:24} {} ({} processes)",
            "cgroup",
            node.name(),
            node.processes()
        );
    }
    Ok(if seen.iter().all(|component| component.pid.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
