//! Loads and reads the programs that tell seccomp filters (`spo-ebpf/src/bin/filters.rs`).

use std::collections::BTreeMap;
use std::io::Read as _;

use aya::Ebpf;
use aya::maps::HashMap;
use aya::programs::Iter;
use spo_common::filter::{
    CHUNK, ChunkHeader, INSTRUCTION, MOST_FILTERS, MOST_WANTED, TaskFilters, Wanted,
};

use super::kernel::Kernel;
use super::recorder::{load_error, map_error, program, program_error};
use super::{Error, objects};
use crate::event::{FilteredTask, Instruction, KernelFilter};

/// The programs.
const PROGRAMS: [&str; 2] = ["tasks", "programs"];
/// `PF_EXITING`, `include/linux/sched.h`.
const EXITING: u32 = 0x4;

/// Why the filters of a task are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It ended, or got another filter meanwhile.
    #[error("it ended, or got another filter, while it was looked at")]
    Changed,
    /// The kernel keeps programs only as it runs them.
    #[error(
        "this kernel does not keep filters as they were handed in: that takes CONFIG_CHECKPOINT_RESTORE=y"
    )]
    NotKept,
    /// It has too many.
    #[error("it has more than {MOST_FILTERS} filters")]
    TooMany,
    /// The kernel's memory could not be read.
    #[error("the kernel did not let its filter be read")]
    Unreadable,
}

/// The filters of a task, from the newest.
pub type Chain = Result<Vec<KernelFilter>, Unread>;

/// Tells which filters tasks have. Nothing runs in the kernel but while it is asked.
pub struct Filters {
    ebpf: Ebpf,
}

impl Filters {
    /// Loads the programs. They see the tasks of the pid namespace of whoever reads.
    pub fn load(kernel: &Kernel) -> Result<Self, Error> {
        objects::check()?;
        kernel.tells_filters()?;
        let mut ebpf = kernel.loader().load(objects::FILTERS).map_err(load_error)?;
        for name in PROGRAMS {
            let program: &mut Iter = program(&mut ebpf, name)?;
            program
                .load("task", &kernel.btf)
                .map_err(program_error(name))?;
        }
        Ok(Self { ebpf })
    }

    /// All tasks but those that end.
    pub fn tasks(&mut self) -> Result<Vec<FilteredTask>, Error> {
        let told = self.walk("tasks")?;
        let tasks = told.chunks_exact(size_of::<TaskFilters>()).map(|bytes| {
            // SAFETY: the slice has the size of a record, which holds integers only, and the read is unaligned.
            unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast::<TaskFilters>()) }
        });
        Ok(tasks
            .filter(|task| task.flags & EXITING == 0)
            .map(|task| FilteredTask {
                tgid: task.tgid,
                tid: task.tid,
                started_ns: task.started_ns,
                chain: task.newest,
                filters: task.filters.min(MOST_FILTERS),
                more: task.filters > MOST_FILTERS,
            })
            .collect())
    }

    /// What is in the filters of each of these tasks, in their order. Tasks with the same chain need be asked for once.
    pub fn chains(&mut self, tasks: &[FilteredTask]) -> Result<Vec<Chain>, Error> {
        let mut chains = Vec::new();
        for some in tasks.chunks(MOST_WANTED as usize) {
            chains.extend(self.some_chains(some)?);
        }
        Ok(chains)
    }

    fn some_chains(&mut self, tasks: &[FilteredTask]) -> Result<Vec<Chain>, Error> {
        let mut open: BTreeMap<u32, Reading> = tasks
            .iter()
            .map(|task| (task.tid, Reading::new(*task)))
            .collect();
        let mut done = BTreeMap::new();
        loop {
            let ended: Vec<_> = open
                .iter()
                .filter_map(|(tid, reading)| Some((*tid, reading.outcome()?)))
                .collect();
            for (tid, chain) in ended {
                open.remove(&tid);
                done.insert(tid, chain);
            }
            if open.is_empty() {
                break;
            }
            self.want(&open)?;
            let told = self.walk("programs")?;
            let mut heard = Chunks(&told).collect::<BTreeMap<_, _>>();
            for (tid, reading) in &mut open {
                // A task of which nothing is told is gone.
                match heard.remove(tid) {
                    Some((header, instructions)) => reading.hear(&header, instructions),
                    None => reading.failed = Some(Unread::Changed),
                }
            }
        }
        let gone = || Err(Unread::Changed);
        let chains = tasks
            .iter()
            .map(|task| done.get(&task.tid).cloned().unwrap_or_else(gone));
        Ok(chains.collect())
    }

    /// Asks for the next part of each.
    fn want(&mut self, open: &BTreeMap<u32, Reading>) -> Result<(), Error> {
        let map = self
            .ebpf
            .map_mut("WANTED")
            .ok_or(Error::Missing("WANTED"))?;
        let mut wanted: HashMap<_, u32, Wanted> =
            HashMap::try_from(map).map_err(map_error("WANTED"))?;
        let known: Result<Vec<u32>, _> = wanted.keys().collect();
        for tid in known.map_err(map_error("WANTED"))? {
            if !open.contains_key(&tid) {
                wanted.remove(&tid).map_err(map_error("WANTED"))?;
            }
        }
        for (tid, reading) in open {
            wanted
                .insert(tid, reading.next(), 0)
                .map_err(map_error("WANTED"))?;
        }
        Ok(())
    }

    /// Has the kernel go through all tasks once.
    fn walk(&mut self, name: &'static str) -> Result<Vec<u8>, Error> {
        let iterator: &mut Iter = program(&mut self.ebpf, name)?;
        let link = iterator.attach().map_err(program_error(name))?;
        let link = iterator.take_link(link).map_err(program_error(name))?;
        let mut walk = link
            .into_file()
            .map_err(|error| Error::Iterate(std::io::Error::other(error)))?;
        let mut told = Vec::new();
        walk.read_to_end(&mut told).map_err(Error::Iterate)?;
        Ok(told)
    }
}

/// The filters of a task, as far as they are read.
struct Reading {
    task: FilteredTask,
    whole: Vec<KernelFilter>,
    part: Vec<Instruction>,
    failed: Option<Unread>,
}

impl Reading {
    fn new(task: FilteredTask) -> Self {
        Self {
            task,
            whole: Vec::new(),
            part: Vec::new(),
            failed: task.more.then_some(Unread::TooMany),
        }
    }

    /// What it ended with, if it did.
    fn outcome(&self) -> Option<Chain> {
        if let Some(failed) = self.failed {
            return Some(Err(failed));
        }
        (self.whole.len() == self.task.filters as usize).then(|| Ok(self.whole.clone()))
    }

    fn next(&self) -> Wanted {
        Wanted {
            started_ns: self.task.started_ns,
            newest: self.task.chain,
            filter: u32::try_from(self.whole.len()).unwrap_or(u32::MAX),
            first: u32::try_from(self.part.len()).unwrap_or(u32::MAX),
        }
    }

    fn hear(&mut self, header: &ChunkHeader, instructions: &[u8]) {
        let wanted = self.next();
        self.failed = match header.outcome {
            ChunkHeader::READ => None,
            ChunkHeader::NOT_KEPT => Some(Unread::NotKept),
            ChunkHeader::UNREADABLE => Some(Unread::Unreadable),
            _ => Some(Unread::Changed),
        };
        let is_next = (header.newest, header.filter, header.first)
            == (wanted.newest, wanted.filter, wanted.first);
        // The kernel takes no program without an instruction.
        if self.failed.is_none() && (!is_next || header.count == 0) {
            self.failed = Some(Unread::Unreadable);
        }
        if self.failed.is_some() {
            return;
        }
        self.part.extend(
            instructions
                .chunks_exact(INSTRUCTION as usize)
                .map(instruction),
        );
        if self.part.len() >= header.length as usize {
            self.whole.push(KernelFilter {
                program: std::mem::take(&mut self.part),
                logs: header.logs != 0,
            });
        }
    }
}

/// The parts that a walk wrote, by thread id.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, (ChunkHeader, &'a [u8]));

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = self.0.split_at_checked(size_of::<ChunkHeader>())?;
        // SAFETY: as in `tasks`.
        let header = unsafe { std::ptr::read_unaligned(header.as_ptr().cast::<ChunkHeader>()) };
        let follow = if header.outcome == ChunkHeader::READ {
            header.count.min(CHUNK) * INSTRUCTION
        } else {
            0
        };
        let (instructions, rest) = rest.split_at_checked(follow as usize)?;
        self.0 = rest;
        Some((header.tid, (header, instructions)))
    }
}

/// `struct sock_filter`; the slice has its size.
fn instruction(bytes: &[u8]) -> Instruction {
    Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jump_true: bytes[2],
        jump_false: bytes[3],
        operand: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}
