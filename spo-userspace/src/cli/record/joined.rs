//! What runs already.

use std::collections::BTreeSet;
use std::fs::File;

use anyhow::{Context as _, anyhow};

use super::super::exit::Failure;
use crate::bpf::recorder::Target;
use crate::node::process::{self, ProcessKey};

/// A process that a recording joins, and what belongs to it.
pub(super) struct Joined {
    process: ProcessKey,
    name: String,
    target: Target,
    /// Keeps the number of the namespace from being used again.
    _namespace: Option<File>,
}

impl Joined {
    /// Finds the process of `--pid`, or the first one of `--container`.
    pub(super) fn find(pid: Option<i32>, container: Option<&str>) -> Result<Self, Failure> {
        let (pid, name) = match (pid, container) {
            (Some(pid), _) => {
                let name =
                    process::comm(pid).with_context(|| format!("there is no process {pid}"))?;
                (pid, name)
            }
            (None, Some(id)) => {
                let (full, pid) = process::find_container(id).map_err(anyhow::Error::from)?;
                (pid, full)
            }
            (None, None) => return Err(anyhow!("neither a process nor a container").into()),
        };
        let unreadable = || {
            format!(
                "failed to read the mount namespace of process {pid}, which needs CAP_SYS_PTRACE"
            )
        };
        let key = process::find(pid).with_context(|| format!("there is no process {pid}"))?;
        let leader = process::thread_group(pid).unwrap_or(pid);
        if leader != pid {
            return Err(
                anyhow!("{pid} is a thread of process {leader}: use --pid {leader}").into(),
            );
        }
        if process::is_kernel_thread(pid).unwrap_or(false) {
            return Err(anyhow!(
                "process {pid} is a thread of the kernel, which makes no system calls"
            )
            .into());
        }
        if process::living([pid.unsigned_abs()]).is_empty() {
            return Err(anyhow!("process {pid} has ended, and waits for its parent").into());
        }
        let inum = process::mount_namespace(pid).with_context(unreadable)?;
        let host =
            process::host_mount_namespace().context("failed to find the host's mount namespace")?;
        if inum != host {
            let namespace = process::hold_mount_namespace(pid).with_context(unreadable)?;
            return Ok(Self {
                process: key,
                name,
                target: Target::Namespace { inum },
                _namespace: Some(namespace),
            });
        }
        let myself = std::process::id().cast_signed();
        let below = process::descendants(&BTreeSet::from([pid]));
        if below
            .context("failed to list the processes")?
            .iter()
            .any(|process| process.pid == myself)
        {
            return Err(anyhow!(
                "process {pid} is spo's own ancestor: spo would record itself, and wait for itself \
                 to end (start spo from another terminal)"
            )
            .into());
        }
        let tgid = u32::try_from(pid).context("a process id is positive")?;
        Ok(Self {
            process: key,
            name,
            target: Target::Tree { tgid },
            _namespace: None,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.process.pid
    }

    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Whether it is a tree of processes, not a namespace.
    pub(super) fn is_tree(&self) -> bool {
        matches!(self.target, Target::Tree { .. })
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// The processes that belong to it now.
    pub(super) fn processes(&self) -> procfs::ProcResult<BTreeSet<ProcessKey>> {
        if let Target::Namespace { inum } = self.target {
            return process::in_mount_namespace(inum);
        }
        let mut family = process::descendants(&BTreeSet::from([self.process.pid]))?;
        // Its id may have become another's.
        if process::find(self.process.pid).ok() != Some(self.process) {
            return Ok(BTreeSet::new());
        }
        family.insert(self.process);
        Ok(family)
    }
}
