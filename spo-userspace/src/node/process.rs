//! What `/proc` says of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use procfs::ProcResult;
use procfs::process::{Process, Stat, Syscall, all_processes};

use crate::enrich::{container, container_id, is_long_id};
use crate::event::{Abi, Call};
use crate::profile::diagnostic::escape;

/// A process that may have ended since: the id alone could be another one's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Process id, in the pid namespace of `/proc`.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Whether process ids here are those that the kernel counts with.
pub fn in_initial_pid_namespace() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino() == INITIAL_PID_NAMESPACE)
}

/// The largest thread id and one.
pub fn pid_max() -> io::Result<u32> {
    let text = fs::read_to_string("/proc/sys/kernel/pid_max")?;
    text.trim().parse().map_err(io::Error::other)
}

/// The inode number of a process's mount namespace.
pub fn mount_namespace(pid: i32) -> io::Result<u32> {
    let number = fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino();
    u32::try_from(number).map_err(io::Error::other)
}

/// Keeps a process's mount namespace, and so its inode number, alive.
pub fn hold_mount_namespace(pid: i32) -> io::Result<fs::File> {
    fs::File::open(format!("/proc/{pid}/ns/mnt"))
}

/// The inode number of the host's mount namespace: that of the first process, or, where that one may not be looked at,
/// of the kernel's threads.
pub fn host_mount_namespace() -> io::Result<u32> {
    if !in_initial_pid_namespace()? {
        return Err(io::Error::other(
            "this is a pid namespace of its own, from which the host cannot be seen (docker run --pid=host, hostPID: true)",
        ));
    }
    let kernel_threads = Process::new(2)
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.comm == "kthreadd");
    mount_namespace(1).or_else(|error| {
        if kernel_threads && let Ok(number) = mount_namespace(2) {
            return Ok(number);
        }
        Err(io::Error::new(
            error.kind(),
            "process 1 may not be looked at: CAP_SYS_PTRACE is missing",
        ))
    })
}

/// All processes that can be seen, by id.
fn all() -> ProcResult<BTreeMap<i32, Stat>> {
    // A process that ends meanwhile is left out.
    Ok(all_processes()?
        .flatten()
        .filter_map(|process| Some((process.pid(), process.stat().ok()?)))
        .collect())
}

/// Whether a process is more than a record of its end.
fn is_alive(stat: &Stat) -> bool {
    !matches!(stat.state, 'Z' | 'X' | 'x')
}

fn key(stat: &Stat) -> ProcessKey {
    ProcessKey {
        pid: stat.pid,
        started: stat.starttime,
    }
}

/// The processes that descend from `roots`, without them, as far as their parents live.
pub fn descendants(roots: &BTreeSet<i32>) -> ProcResult<BTreeSet<ProcessKey>> {
    let all = all()?;
    let mut family = roots.clone();
    loop {
        let before = family.len();
        family.extend(
            all.values()
                .filter(|stat| family.contains(&stat.ppid))
                .map(|stat| stat.pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            break;
        }
    }
    Ok(all
        .values()
        .filter(|stat| is_alive(stat) && family.contains(&stat.pid) && !roots.contains(&stat.pid))
        .map(key)
        .collect())
}

/// The process that a thread belongs to.
pub fn thread_group(tid: i32) -> ProcResult<i32> {
    Ok(Process::new(tid)?.status()?.tgid)
}

/// The process with an id.
pub fn find(pid: i32) -> ProcResult<ProcessKey> {
    Ok(key(&Process::new(pid)?.stat()?))
}

/// Those of `processes` that still live.
pub fn alive(processes: &BTreeSet<ProcessKey>) -> BTreeSet<ProcessKey> {
    processes
        .iter()
        .filter(|process| {
            Process::new(process.pid)
                .and_then(|found| found.stat())
                .is_ok_and(|stat| is_alive(&stat) && stat.starttime == process.started)
        })
        .copied()
        .collect()
}

/// Those of the processes with these ids that live.
pub fn living(ids: impl IntoIterator<Item = u32>) -> BTreeSet<ProcessKey> {
    ids.into_iter()
        .filter_map(|id| {
            let stat = Process::new(id.cast_signed()).ok()?.stat().ok()?;
            is_alive(&stat).then(|| key(&stat))
        })
        .collect()
}

/// Whether a process is a thread of the kernel, which makes no system calls (`PF_KTHREAD`,
/// `include/linux/sched.h`).
pub fn is_kernel_thread(pid: i32) -> ProcResult<bool> {
    Ok(Process::new(pid)?.stat()?.flags & 0x0020_0000 != 0)
}

/// Whether `/proc` tells about the pid namespace that this process is in.
pub fn proc_is_ours() -> bool {
    fs::read_link("/proc/self")
        .is_ok_and(|id| id.as_os_str() == OsStr::new(&std::process::id().to_string()))
}

/// The processes in a mount namespace.
pub fn in_mount_namespace(inum: u32) -> ProcResult<BTreeSet<ProcessKey>> {
    Ok(all()?
        .values()
        .filter(|stat| is_alive(stat) && mount_namespace(stat.pid).is_ok_and(|found| found == inum))
        .map(key)
        .collect())
}

/// The name of a process, as the kernel keeps it.
pub fn comm(pid: i32) -> ProcResult<String> {
    Ok(Process::new(pid)?.stat()?.comm)
}

/// Whether a process runs under a seccomp filter.
pub fn is_filtered(pid: i32) -> ProcResult<bool> {
    Ok(Process::new(pid)?
        .status()?
        .seccomp
        .is_some_and(|mode| mode != 0))
}

/// The calls in which the threads of these processes wait.
pub fn blocked_calls(processes: &BTreeSet<ProcessKey>) -> BTreeSet<Call> {
    let mut calls = BTreeSet::new();
    for process in processes {
        let compat = is_32_bit(process.pid);
        let Ok(tasks) = Process::new(process.pid).and_then(|process| process.tasks()) else {
            continue;
        };
        for task in tasks.flatten() {
            // A task's folder is like a process's.
            let waits =
                Process::new_with_root(format!("/proc/{}/task/{}", process.pid, task.tid).into())
                    .and_then(|task| task.syscall());
            if let Ok(Syscall::Blocked { syscall_number, .. }) = waits
                && let Ok(number) = i32::try_from(syscall_number)
                && number >= 0
            {
                calls.insert(Call {
                    abi: if compat { Abi::Compat } else { Abi::Native },
                    number,
                });
            }
        }
    }
    calls
}

/// Whether the program is a 32-bit one: the class byte of its ELF header.
fn is_32_bit(pid: i32) -> bool {
    use std::io::Read as _;
    let mut header = [0; 5];
    fs::File::open(format!("/proc/{pid}/exe"))
        .and_then(|mut program| program.read_exact(&mut header))
        .is_ok()
        && header == *b"\x7fELF\x01"
}

/// A process in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InContainer {
    /// The runtime's id of the container.
    pub id: String,
    /// Start time in clock ticks since boot.
    pub started_ticks: u64,
}

/// The processes in containers that have long ids, by their ids.
pub fn containers() -> io::Result<BTreeMap<u32, InContainer>> {
    let mut found = BTreeMap::new();
    for process in all_processes().map_err(io::Error::other)?.flatten() {
        // Between the two, the id may become another process's.
        let (Ok(before), Some(id), Ok(after)) =
            (process.stat(), container_of(process.pid()), process.stat())
        else {
            continue;
        };
        if before.starttime == after.starttime {
            let process = InContainer {
                id,
                started_ticks: before.starttime,
            };
            found.insert(before.pid.cast_unsigned(), process);
        }
    }
    Ok(found)
}

/// Nanoseconds since boot in the clock ticks in which `/proc` tells them.
pub fn ticks(nanoseconds: u64) -> u64 {
    nanoseconds / (1_000_000_000 / procfs::ticks_per_second())
}

/// When the machine started, by the clock as it is now.
pub fn boot_time() -> io::Result<SystemTime> {
    let since = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)?;
    Ok(SystemTime::now() - Duration::from(since))
}

/// Why no process of a container was found.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The processes could not be listed.
    #[error("failed to list the processes")]
    Processes(#[source] procfs::ProcError),
    /// Nothing fits.
    #[error(
        "no running container has the id {0}: its id is part of a path in /proc/PID/cgroup (crictl ps, docker ps --no-trunc)"
    )]
    Unknown(String),
    /// Several fit.
    #[error("the id {0} fits several containers: {1}")]
    Ambiguous(String, String),
}

/// The first process of a container by its id, or by the beginning of a long one.
pub fn find_container(id: &str) -> Result<(String, i32), ContainerError> {
    let host = host_mount_namespace().ok();
    // Of each container, the oldest process outside the host's mount namespace, if one is: runtimes may have helpers beside.
    let mut found: BTreeMap<String, (bool, u64, i32)> = BTreeMap::new();
    for process in all_processes()
        .map_err(ContainerError::Processes)?
        .flatten()
    {
        let (Ok(groups), Ok(stat)) = (process.cgroups(), process.stat()) else {
            continue;
        };
        for group in groups {
            let ids = group.pathname.split('/').filter_map(container_id);
            if let Some(full) = ids.into_iter().find(|full| fits(full, id)) {
                let outside = mount_namespace(stat.pid).ok();
                let candidate = (outside == host, stat.starttime, stat.pid);
                let first = found.entry(full.to_owned()).or_insert(candidate);
                *first = candidate.min(*first);
            }
        }
    }
    let mut entries = found.into_iter().map(|(id, (_, _, pid))| (id, pid));
    match (entries.next(), entries.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(ContainerError::Unknown(escape(id))),
        (Some(first), Some(second)) => {
            let ids: Vec<String> = [first, second]
                .into_iter()
                .chain(entries)
                .map(|(id, _)| id)
                .collect();
            Err(ContainerError::Ambiguous(escape(id), ids.join(", ")))
        }
    }
}

/// The id of a process's container, if its cgroup is named after one with a long id.
pub fn container_of(pid: i32) -> Option<String> {
    let groups = Process::new(pid)
        .and_then(|process| process.cgroups())
        .ok()?;
    groups.into_iter().find_map(|group| {
        let names = group.pathname.rsplit('/').map(str::as_bytes);
        container(names).map(|container| container.id)
    })
}

fn fits(full: &str, id: &str) -> bool {
    full == id || (is_long_id(full) && id.len() >= 4 && full.starts_with(id))
}

/// The release and machine names of the kernel, as `uname` tells them.
pub fn kernel() -> io::Result<(String, String)> {
    let name = nix::sys::utsname::uname()?;
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    Ok((text(name.release()), text(name.machine())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn beginnings_fit_long_ids_only() {
        assert!(fits(LONG, "0123"));
        assert!(!fits(LONG, "012"));
        assert!(!fits("web-server", "web-"));
        assert!(fits("web", "web"));
    }

    #[test]
    fn a_process_that_is_gone_is_not_alive() {
        let myself = find(i32::try_from(std::process::id()).unwrap()).unwrap();
        let older = ProcessKey {
            started: myself.started.wrapping_sub(1),
            ..myself
        };
        assert_eq!(
            alive(&BTreeSet::from([myself, older])),
            BTreeSet::from([myself])
        );
    }
}
