//! Loads, attaches and reads the watcher of denials (`spo-ebpf/src/bin/denials.rs`).

use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLink;
use spo_common::counter::Counter;

use super::kernel::{Kernel, set_globals};
use super::recorder::{MARK, attach, load_error, map_error, program, program_error};
use super::{Error, info, objects, records};
use crate::event::Denial;

/// The programs, in the order in which they are attached.
const PROGRAMS: [&str; 5] = [
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "sys_exit",
    "sys_enter",
];

/// Watches a command that announces itself, and all that descends from it. Dropping it detaches the programs.
pub struct Watcher {
    _links: Vec<BtfTracePointLink>,
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
}

impl Watcher {
    /// Loads and attaches the programs. The process that calls [`MARK`] with `nonce` is watched from that call on.
    pub fn start(kernel: &Kernel, nonce: u32, pid_max: u32) -> Result<Self, Error> {
        objects::check()?;
        let globals = vec![
            ("NONCE", nonce),
            ("NR_MARK", u32::try_from(MARK).unwrap_or(u32::MAX)),
        ];
        let mut loader = kernel.loader();
        set_globals(&mut loader, &globals);
        loader.map_max_entries("TASKS", pid_max.div_ceil(2));
        let mut ebpf = loader.load(objects::DENIALS).map_err(load_error)?;
        let ring = ebpf.take_map("EVENTS").ok_or(Error::Missing("EVENTS"))?;
        let ring = RingBuf::try_from(ring).map_err(map_error("EVENTS"))?;
        for name in PROGRAMS {
            let program: &mut BtfTracePoint = program(&mut ebpf, name)?;
            program
                .load(name, &kernel.btf)
                .map_err(program_error(name))?;
        }
        let mut links = Vec::new();
        for name in PROGRAMS {
            links.push(attach(&mut ebpf, name)?);
        }
        Ok(Self {
            _links: links,
            ebpf,
            ring,
        })
    }

    /// Whether the command has announced itself.
    pub fn is_armed(&self) -> Result<bool, Error> {
        Ok(self.counter(Counter::Armed)? > 0)
    }

    /// The next denial; `None` when there is none now.
    pub fn take(&mut self) -> Option<Denial> {
        loop {
            let item = self.ring.next()?;
            if let Some(denial) = records::denial(&item) {
                return Some(denial);
            }
        }
    }

    /// How many denials may be missing, or wrongly reported: records that did not fit, tasks beyond the table,
    /// runs that the kernel skipped.
    pub fn uncertain(&mut self) -> Result<u64, Error> {
        let mut sum = self.counter(Counter::RingFull)? + self.counter(Counter::Unresolved)?;
        for name in PROGRAMS {
            let program: &mut BtfTracePoint = program(&mut self.ebpf, name)?;
            sum += info::recursion_misses(program.fd().map_err(program_error(name))?)?;
        }
        Ok(sum)
    }

    fn counter(&self, counter: Counter) -> Result<u64, Error> {
        let map = self
            .ebpf
            .map("COUNTERS")
            .ok_or(Error::Missing("COUNTERS"))?;
        let counters: Array<_, u64> = Array::try_from(map).map_err(map_error("COUNTERS"))?;
        counters
            .get(&counter.index(), 0)
            .map_err(map_error("COUNTERS"))
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}
