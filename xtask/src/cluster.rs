//! A Kubernetes control plane on this machine: etcd, API server, controller manager, scheduler. All
//! listen on the loopback address; there is no node, so that no pod runs.

pub(crate) mod binaries;
mod build;
mod components;
mod control_plane;
mod kubeconfig;
mod log;
mod openapi;
mod pki;
mod ports;
mod processes;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;

pub(crate) use self::control_plane::ControlPlane;
pub(crate) use self::processes::Lifetime;
use crate::env::cache_dir;

/// Names the cluster to use, for everything that talks to Kubernetes.
pub(crate) const KUBECONFIG: &str = "KUBECONFIG";

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Verb {
    /// Start what does not run, and wait until it is ready
    Up,
    /// End it, and remove its data
    Down,
    /// Say what runs
    Status,
    /// Print the path of the file for `KUBECONFIG`
    Kubeconfig,
}

/// The verb.
pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    let own = ControlPlane::at(cache_dir()?.join("cluster"));
    // Whoever uses our cluster names it there, too.
    if let Some(other) = named().filter(|named| *named != own.kubeconfig()) {
        return Ok(with_other(verb, &other));
    }
    match verb {
        Verb::Up => up(&own),
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
    }
}

/// What `KUBECONFIG` names.
pub(crate) fn named() -> Option<PathBuf> {
    std::env::var_os(KUBECONFIG)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// A cluster that was not started here is not ended here either.
fn with_other(verb: Verb, file: &Path) -> ExitCode {
    let file = file.display();
    match verb {
        Verb::Kubeconfig => println!("{file}"),
        Verb::Up | Verb::Down | Verb::Status => println!(
            "{KUBECONFIG} names the cluster of {file}: it is used, and is neither started nor ended here"
        ),
    }
    ExitCode::SUCCESS
}

fn up(own: &ControlPlane) -> Result<ExitCode> {
    let binaries = match binaries::find()? {
        Ok(binaries) => binaries,
        Err(reason) => bail!("no cluster can be started: {reason}"),
    };
    let _lock = own.lock()?;
    own.up(&binaries, Lifetime::Detached)?;
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
    Ok(if seen.iter().all(|component| component.pid.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
