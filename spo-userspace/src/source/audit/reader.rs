//! What came of all sources together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Losses, Source, now_ms};
use crate::enrich::audit::{Kernel, Kind, Record, Serials, Told};
use crate::event::{Audited, Comm, Process};

/// Records of one event that wait for the one that says who made the call. No event has nearly as many.
const WAITING: usize = 64;

/// What is known of what came.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) kernel: Kernel,
    pub(super) serials: Serials,
    pub(super) losses: Losses,
    /// How this machine is called in logs that say so.
    node: Option<Vec<u8>>,
    /// The name of the thread whose record is awaited, and who had it already.
    pub(super) mark: Option<(Comm, BTreeSet<Source>)>,
    /// Records of security modules: behind them may come one of the type `SYSCALL`.
    waiting: BTreeMap<Source, Vec<Audited>>,
    pub(super) came: Vec<Audited>,
}

impl Reader {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            serials: Serials::default(),
            losses: Losses::default(),
            node: None,
            mark: None,
            waiting: BTreeMap::new(),
            came: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, source: Source, told: Told<'_>) {
        let Record { node, stamp, kind } = match told {
            Told::Record(record) => record,
            Told::Dropped => {
                self.losses.dropped += 1;
                return;
            }
            Told::Other => return,
        };
        let marked = match (&mut self.mark, &kind) {
            (Some((mark, had)), Kind::Seccomp(verdict)) if verdict.comm == *mark => {
                had.insert(source);
                true
            }
            _ => false,
        };
        if marked && let Some(node) = node {
            self.node = Some(node.to_owned());
        }
        if let (Some(node), Some(own)) = (node, &self.node)
            && node != own
        {
            self.losses.foreign += 1;
            return;
        }
        if let Some(stamp) = stamp {
            self.serials.came(stamp.serial, now_ms());
        }
        let waiting = self.waiting.get(&source);
        let follows = waiting.and_then(|all| all.first()).map(Audited::stamp);
        if follows.is_some_and(|waits| waits != stamp) {
            self.wait_no_more(source, None);
        }
        let told = match kind {
            Kind::Seccomp(_) if marked => return,
            Kind::Seccomp(verdict) => Audited::Seccomp(*verdict),
            Kind::Avc(avc) => Audited::Selinux(*avc),
            Kind::AppArmor(record) => Audited::AppArmor(*record),
            Kind::Caller(caller) => return self.wait_no_more(source, Some(&caller)),
            Kind::Unreadable => return self.serials.unreadable(stamp),
            Kind::UnreadableAccess => {
                self.losses.unreadable_accesses += 1;
                return;
            }
            Kind::Other => return,
        };
        let Some(at) = stamp else {
            self.came.push(told);
            return;
        };
        if !self.serials.is_new(at, &told) {
            return;
        }
        let has_caller = matches!(source, Source::Netlink | Source::AuditLog);
        if has_caller && !matches!(told, Audited::Seccomp(_)) {
            let waiting = self.waiting.entry(source).or_default();
            waiting.push(told);
            if waiting.len() == WAITING {
                self.wait_no_more(source, None);
            }
        } else {
            self.came.push(told);
        }
    }

    /// Nothing more is there now. `now` is in milliseconds.
    pub(super) fn drained(&mut self, now: u64) {
        for source in [Source::Netlink, Source::AuditLog] {
            self.wait_no_more(source, None);
        }
        self.serials.drained(now);
    }

    /// Tells what waited, and who made the call, if that is known.
    fn wait_no_more(&mut self, source: Source, caller: Option<&Process>) {
        for mut told in self.waiting.remove(&source).unwrap_or_default() {
            let process = match &mut told {
                Audited::Seccomp(_) => None,
                Audited::Selinux(avc) => Some(&mut avc.process),
                Audited::AppArmor(record) => Some(&mut record.process),
            };
            if let (Some(process), Some(caller)) = (process, caller)
                && process.tgid == caller.tgid
            {
                process.exe.clone_from(&caller.exe);
            }
            self.came.push(told);
        }
    }
}
