//! Whose a process is that an audit record tells of: by its cgroup, if it is there still, or was
//! looked up before.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use procfs::process::Process;

use crate::enrich::{Container, container};

/// A process that was there is not looked up again for so long: its id would have to come round.
const TRUSTED_MS: u64 = 1000;
/// Times of processes are hundredths of a second, those of records a timer's tick old.
const INEXACT_MS: u64 = 20;
/// Processes that are remembered: at least so many, at most twice.
const REMEMBERED: usize = 8192;

/// `PF_EXITING` (`include/linux/sched.h`).
const EXITING: u32 = 4;

/// Whose a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A container's.
    Container(Container),
    /// It is in no container.
    Host,
    /// It was gone before it was looked up.
    Unknown,
}

/// The processes of a node, as far as records told of them.
#[derive(Debug)]
pub struct Containers {
    proc: PathBuf,
    /// After how many new processes an id may have come round.
    round: u64,
    young: HashMap<u32, Known>,
    old: HashMap<u32, Known>,
    forks: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Known {
    started: u64,
    owner: Owner,
    /// When it was there, or when it was found to be gone.
    checked_ms: u64,
    gone: bool,
    /// How many processes the node had had when it was there, or somewhat earlier.
    forks: u64,
}

impl Containers {
    /// Reads a `/proc` that has the processes of the first pid namespace.
    pub fn new(proc: &Path) -> io::Result<Self> {
        let most = fs::read_to_string(proc.join("sys/kernel/pid_max"))?;
        let most: u64 = most.trim().parse().map_err(io::Error::other)?;
        Ok(Self {
            proc: proc.to_owned(),
            round: most / 2,
            young: HashMap::new(),
            old: HashMap::new(),
            forks: None,
        })
    }

    /// Whose the process was that made a record; without a time, it was made just now.
    pub fn owner(&mut self, tgid: u32, at_ms: Option<u64>) -> Owner {
        let now = now_ms();
        let at = at_ms.unwrap_or(now);
        let before = self.young.get(&tgid).or_else(|| self.old.get(&tgid));
        // Who is known may have got the id since.
        let before = before.filter(|known| Self::is_before(known.started, at, now));
        // Who is in no container may get into one.
        if let Some(known) = before
            && (known.gone || known.owner != Owner::Host)
        {
            let trusted = if known.gone { 0 } else { TRUSTED_MS };
            if at <= known.checked_ms + trusted {
                return known.owner.clone();
            }
        }
        let before = before.cloned();
        if let Some(known) = self.look(tgid, now) {
            let owner = if Self::is_before(known.started, at, now) {
                known.owner.clone()
            } else {
                self.of_gone(before.as_ref(), now)
            };
            self.remember(tgid, known);
            return owner;
        }
        let owner = self.of_gone(before.as_ref(), now);
        if let Some(known) = before
            && owner != Owner::Unknown
        {
            let gone = Known {
                checked_ms: now,
                gone: true,
                ..known
            };
            self.remember(tgid, gone);
        }
        owner
    }

    /// Whose a process was that has gone since: what is known of its id, unless that may have been
    /// given to another one meanwhile.
    fn of_gone(&mut self, before: Option<&Known>, now: u64) -> Owner {
        let Some(known) = before else {
            return Owner::Unknown;
        };
        match self.forks(now, 0) {
            Some(forks) if forks.saturating_sub(known.forks) < self.round => known.owner.clone(),
            _ => Owner::Unknown,
        }
    }

    fn look(&mut self, tgid: u32, now: u64) -> Option<Known> {
        let forks = self.forks(now, TRUSTED_MS)?;
        // What is read through it is of one process, also if the id is another's meanwhile.
        let process = Process::new_with_root(self.proc.join(tgid.to_string())).ok()?;
        let started = process.stat().ok()?.starttime;
        let mut cgroups = Vec::new();
        let mut file = process.open_relative("cgroup").ok()?;
        file.read_to_end(&mut cgroups).ok()?;
        let owner = of_cgroups(&cgroups);
        // A process that ends leaves its cgroups.
        if owner == Owner::Host && process.stat().ok()?.flags & EXITING != 0 {
            return None;
        }
        Some(Known {
            started,
            owner,
            checked_ms: now,
            gone: false,
            forks,
        })
    }

    /// Whether a process that started then, in ticks since the system did, was there at a time.
    fn is_before(started: u64, at: u64, now: u64) -> bool {
        let Ok(up) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
            return false;
        };
        let up = u64::try_from(Duration::from(up).as_millis()).unwrap_or(u64::MAX);
        let began = now.saturating_sub(up);
        let started = began + started * 1000 / procfs::ticks_per_second();
        started <= at + INEXACT_MS
    }

    /// How many processes the node has had, as it was at most so long ago.
    fn forks(&mut self, now: u64, age_ms: u64) -> Option<u64> {
        if let Some((at, forks)) = self.forks
            && now < at + age_ms
        {
            return Some(forks);
        }
        let text = fs::read_to_string(self.proc.join("stat")).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("processes "));
        let forks = line?.trim().parse().ok()?;
        self.forks = Some((now, forks));
        Some(forks)
    }

    fn remember(&mut self, tgid: u32, known: Known) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tgid, known);
    }
}

/// The container of a process with these cgroups, as `/proc` has them.
fn of_cgroups(cgroups: &[u8]) -> Owner {
    let mut paths = cgroups.split(|byte| *byte == b'\n').filter_map(|line| {
        let path = line.splitn(3, |byte| *byte == b':').nth(2)?;
        // That of a process that has ended may be gone already.
        Some(path.strip_suffix(b" (deleted)").unwrap_or(path))
    });
    paths
        .find_map(|path| container(path.rsplit(|byte| *byte == b'/')))
        .map_or(Owner::Host, Owner::Container)
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn cgroups() {
        let owner = |id: &str| {
            Owner::Container(Container {
                id: id.to_owned(),
                pod: None,
            })
        };
        for (text, expected) in [
            (format!("0::/docker/{ID}\n"), owner(ID)),
            (format!("0::/../{ID}\n"), owner(ID)),
            (format!("0::/docker/{ID} (deleted)\n"), owner(ID)),
            (
                format!("12:pids:/docker/{ID}\n1:name=systemd:/a\n0::/\n"),
                owner(ID),
            ),
            (
                format!("1:name=systemd:/a\n0::/docker/{ID}/a:b\n"),
                owner(ID),
            ),
            ("0::/user.slice\n".to_owned(), Owner::Host),
            (String::new(), Owner::Host),
        ] {
            assert_eq!(of_cgroups(text.as_bytes()), expected, "{text}");
        }
    }

    fn waiting() -> Child {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().unwrap()
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_known_when_it_is_gone() {
        let mut containers = Containers::new(Path::new("/proc")).unwrap();
        let child = waiting();
        let id = child.id();
        let seen = containers.owner(id, None);
        assert_ne!(seen, Owner::Unknown);
        end(child);
        let later = now_ms() + TRUSTED_MS + 1;
        assert_eq!(containers.owner(id, Some(later)), seen);
        // Enough others have come since.
        containers.round = 0;
        assert_eq!(
            containers.owner(id, Some(later + TRUSTED_MS)),
            Owner::Unknown
        );
    }

    #[test]
    fn a_process_that_nobody_looked_at_is_unknown() {
        let mut containers = Containers::new(Path::new("/proc")).unwrap();
        let child = waiting();
        let id = child.id();
        end(child);
        assert_eq!(containers.owner(id, None), Owner::Unknown);
    }

    #[test]
    fn a_record_is_not_of_who_has_the_id_now() {
        let mut containers = Containers::new(Path::new("/proc")).unwrap();
        let before = now_ms() - 10 * INEXACT_MS;
        let child = waiting();
        let id = child.id();
        assert_eq!(containers.owner(id, Some(before)), Owner::Unknown);
        assert_ne!(containers.owner(id, None), Owner::Unknown);
        assert_eq!(containers.owner(id, Some(before)), Owner::Unknown);
        end(child);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut containers = Containers::new(Path::new("/proc")).unwrap();
        let known = containers.look(std::process::id(), now_ms()).unwrap();
        for tgid in 0..u32::try_from(5 * REMEMBERED).unwrap() {
            containers.remember(tgid, known.clone());
        }
        assert!(containers.young.len() + containers.old.len() <= 2 * REMEMBERED);
    }
}
