//! What the kernel's audit tells, from all that the node has of it.
//!
//! | from | needs | loses |
//! |---|---|---|
//! | netlink | `CAP_AUDIT_READ`, the first network namespace | what does not fit into the socket, in a burst |
//! | auditd's log | the folder `/var/log/audit` | what auditd loses |
//! | the kernel's log, or a syslog daemon's file of it | `CAP_SYSLOG` or the folder `/var/log`; no auditd | most, in a burst: the kernel limits its log |
//!
//! All that can be opened is read, whichever delivers: auditd may come and go. A record that comes
//! twice counts once, and what one source lost another may have.

mod containers;
mod kernel_log;
mod netlink;
mod reader;
mod tail;

use std::collections::BTreeSet;
use std::fmt;
use std::future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use self::containers::now_ms;
pub use self::containers::{Containers, Owner};
use self::kernel_log::KernelLog;
use self::netlink::Netlink;
use self::reader::Reader;
use self::tail::Tail;
use crate::enrich::audit::{Kernel, file_line, kernel_record, netlink as netlink_message};
use crate::event::{Audited, Comm};
use crate::node::seccomp::{LogError, log_a_call};

/// Records of our own that are made at most until one comes.
const MARKS: u32 = 4;
/// How long after the first source others have our own record.
const OTHERS: Duration = Duration::from_secs(1);
/// Messages that are taken at once from a source that has more and more. Few: whose a process is
/// must be looked up before it ends.
const AT_ONCE: usize = 16;

/// Where audit records may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The kernel, by netlink.
    Netlink,
    /// The file that auditd writes.
    AuditLog,
    /// The kernel's own log.
    KernelLog,
    /// The file that a syslog daemon writes.
    SystemLog,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "netlink",
            Self::AuditLog => "the log of auditd",
            Self::KernelLog => "the kernel's log",
            Self::SystemLog => "the system's log",
        })
    }
}

/// Where a node has its logs.
#[derive(Clone, Debug)]
pub struct Places {
    /// auditd's.
    pub audit_log: PathBuf,
    /// The kernel's.
    pub kernel_log: PathBuf,
    /// Those of syslog daemons, of which the first is read that is there.
    pub system_logs: Vec<PathBuf>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            audit_log: "/var/log/audit/audit.log".into(),
            kernel_log: "/dev/kmsg".into(),
            system_logs: ["syslog", "messages", "kern.log"]
                .map(|name| PathBuf::from("/var/log").join(name))
                .into(),
        }
    }
}

/// What did not come, or cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Events of any kind that the kernel numbered and no source told.
    pub missing: u64,
    /// Records of seccomp's that cannot be read.
    pub unreadable: u64,
    /// Records of security modules, and of programs that ask them, that cannot be read; once for each source.
    pub unreadable_accesses: u64,
    /// How often the kernel said that it dropped records: at most once a second, and no source told
    /// which.
    pub dropped: u64,
    /// How often nobody could tell whether all had come ([`Audit::settle`]).
    pub unsettled: u64,
    /// How often a source was too slow. What it lost is among `missing` unless another told.
    pub overruns: u64,
    /// Records of other machines, in logs that are collected. They are left out.
    pub foreign: u64,
}

impl Losses {
    /// How many of seccomp's records may be lacking.
    pub fn lost(&self) -> u64 {
        let Self {
            missing,
            unreadable,
            unreadable_accesses: _,
            dropped,
            unsettled,
            overruns: _,
            foreign: _,
        } = *self;
        missing + unreadable + dropped + unsettled
    }
}

/// The audit records of this node.
#[derive(Debug)]
pub struct Audit {
    netlink: Option<Netlink>,
    kernel_log: Option<KernelLog>,
    daemon_log: Option<Tail>,
    system_log: Option<Tail>,
    /// Those that had our own record.
    delivering: BTreeSet<Source>,
    reader: Reader,
}

impl Audit {
    /// Opens what can be opened, and tells why the rest cannot. Records are those that come from
    /// now on.
    pub fn open(places: &Places, kernel: Kernel) -> (Self, Vec<(Source, io::Error)>) {
        let mut failed = Vec::new();
        let netlink = kept(Source::Netlink, Netlink::open(), &mut failed);
        let kernel_log = KernelLog::open(&places.kernel_log);
        let kernel_log = kept(Source::KernelLog, kernel_log, &mut failed);
        let daemon_log = Tail::open(&places.audit_log);
        let daemon_log = kept(Source::AuditLog, daemon_log, &mut failed);
        // It has what the kernel's log has.
        let mut system_log = None;
        if kernel_log.is_none() {
            let there = places.system_logs.iter().find(|path| path.exists());
            let opened = match there {
                Some(path) => Tail::open(path),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            system_log = kept(Source::SystemLog, opened, &mut failed);
        }
        let audit = Self {
            netlink,
            kernel_log,
            daemon_log,
            system_log,
            delivering: BTreeSet::new(),
            reader: Reader::new(kernel),
        };
        (audit, failed)
    }

    /// The sources that had the last record of our own.
    pub fn delivering(&self) -> &BTreeSet<Source> {
        &self.delivering
    }

    /// What was lost, as known now.
    pub fn losses(&mut self) -> Losses {
        self.drained();
        let count = |source: Option<u64>| source.unwrap_or_default();
        let too_long = count(self.daemon_log.as_ref().map(|log| log.too_long))
            + count(self.system_log.as_ref().map(|log| log.too_long));
        let reader = &self.reader;
        Losses {
            missing: reader.serials.missing(),
            unreadable: reader.serials.not_read() + too_long,
            overruns: count(self.netlink.as_ref().map(|netlink| netlink.overruns))
                + count(self.kernel_log.as_ref().map(|log| log.overruns)),
            ..reader.losses
        }
    }

    /// Waits until there are records that were not told before. What is awaited may be given up: no
    /// record is lost by that.
    pub async fn next(&mut self) -> io::Result<Vec<Audited>> {
        loop {
            if !self.reader.came.is_empty() {
                return Ok(std::mem::take(&mut self.reader.came));
            }
            self.step().await?;
        }
    }

    /// Reads until all that was made before has come, or is known to be lost. For that, a record of
    /// our own is made: who delivers it has delivered everything before it. Records are told as they
    /// come, as whose they are must be looked up at once.
    ///
    /// The answer is whether any source had it in that time.
    pub async fn settle(
        &mut self,
        patience: Duration,
        mut told: impl FnMut(Audited),
    ) -> Result<bool, SettleError> {
        let random = RandomState::new().build_hasher().finish();
        let name = format!("spo{:012x}", random >> 16);
        let mut comm = Comm::default();
        comm.0[..name.len()].copy_from_slice(name.as_bytes());
        self.reader.mark = Some((comm, BTreeSet::new()));
        let settled = self.settle_by(&name, patience, &mut told).await;
        let had = self.reader.mark.take().map(|(_, had)| had);
        settled?;
        match had {
            Some(had) if !had.is_empty() => {
                self.reader.serials.give_up();
                self.delivering = had;
                Ok(true)
            }
            _ => {
                self.reader.losses.unsettled += 1;
                Ok(false)
            }
        }
    }

    async fn settle_by(
        &mut self,
        name: &str,
        patience: Duration,
        told: &mut impl FnMut(Audited),
    ) -> Result<(), SettleError> {
        for _ in 0..MARKS {
            log_a_call(name).map_err(SettleError::Mark)?;
            match tokio::time::timeout(patience / MARKS, self.marked(told)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(SettleError::Read(error)),
                // It may have been lost itself, where there was no room for more.
                Err(_) => {}
            }
        }
        if self.delivering.is_empty() {
            // Who else delivers is not known yet.
            if let Ok(Err(error)) = tokio::time::timeout(OTHERS, self.read_on(told)).await {
                return Err(SettleError::Read(error));
            }
        }
        Ok(())
    }

    /// Reads until all sources that delivered the last mark have delivered this one, or, if none has
    /// so far, until one does.
    async fn marked(&mut self, told: &mut impl FnMut(Audited)) -> io::Result<()> {
        // Where another delivers, nobody waits for what the kernel limits.
        let all = &self.delivering;
        let limited = [Source::KernelLog, Source::SystemLog].into();
        let mut awaited: BTreeSet<_> = all.difference(&limited).copied().collect();
        if awaited.is_empty() {
            awaited.clone_from(all);
        }
        loop {
            self.reader.came.drain(..).for_each(&mut *told);
            let had = self.reader.mark.as_ref().map(|(_, had)| had);
            if had.is_some_and(|had| !had.is_empty() && awaited.is_subset(had)) {
                return Ok(());
            }
            self.step().await?;
        }
    }

    async fn read_on(&mut self, told: &mut impl FnMut(Audited)) -> io::Result<()> {
        loop {
            self.step().await?;
            self.reader.came.drain(..).for_each(&mut *told);
        }
    }

    /// Waits for something, and takes what is there.
    async fn step(&mut self) -> io::Result<()> {
        let Self {
            netlink,
            kernel_log,
            daemon_log,
            system_log,
            reader,
            ..
        } = self;
        tokio::select! {
            ready = readable(netlink.as_mut().map(Netlink::readable)) => {
                ready?;
                if let Some(netlink) = netlink {
                    for _ in 0..AT_ONCE {
                        let kernel = reader.kernel;
                        if !netlink.next(|message| {
                            reader.take(Source::Netlink, netlink_message(message, kernel));
                        })? {
                            break;
                        }
                    }
                }
            }
            ready = readable(kernel_log.as_mut().map(KernelLog::readable)) => {
                ready?;
                if let Some(log) = kernel_log {
                    for _ in 0..AT_ONCE {
                        let kernel = reader.kernel;
                        if !log.next(|record| {
                            reader.take(Source::KernelLog, kernel_record(record, kernel));
                        })? {
                            break;
                        }
                    }
                }
            }
            changed = readable(daemon_log.as_mut().map(Tail::changed)) => {
                changed?;
                lines(daemon_log.as_mut(), Source::AuditLog, reader)?;
            }
            changed = readable(system_log.as_mut().map(Tail::changed)) => {
                changed?;
                lines(system_log.as_mut(), Source::SystemLog, reader)?;
            }
        }
        self.drained();
        Ok(())
    }

    /// Notes it if no source has more.
    fn drained(&mut self) {
        let netlink = self.netlink.as_ref().is_none_or(|netlink| !netlink.more);
        let log = self.kernel_log.as_ref().is_none_or(|log| !log.more);
        if netlink && log {
            self.reader.drained(now_ms());
        }
    }
}

/// Why it cannot be told whether all has come.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// There is no record of our own.
    #[error("failed to make an audit record")]
    Mark(#[source] LogError),
    /// A source cannot be read any more.
    #[error("failed to read audit records")]
    Read(#[source] io::Error),
}

fn kept<T>(
    source: Source,
    opened: io::Result<T>,
    failed: &mut Vec<(Source, io::Error)>,
) -> Option<T> {
    match opened {
        Ok(opened) => Some(opened),
        Err(error) => {
            failed.push((source, error));
            None
        }
    }
}

/// Waits for a source; without it, for ever.
async fn readable(source: Option<impl Future<Output = io::Result<()>>>) -> io::Result<()> {
    match source {
        Some(ready) => ready.await,
        None => future::pending().await,
    }
}

fn lines(tail: Option<&mut Tail>, source: Source, reader: &mut Reader) -> io::Result<()> {
    let kernel = reader.kernel;
    tail.map_or(Ok(()), |tail| {
        tail.lines(|line| reader.take(source, file_line(line, kernel)))
    })
}

#[cfg(test)]
mod tests;
