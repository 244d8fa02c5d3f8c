//! One look at the kernel and at the processes of the node: which filters the threads of each container have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use super::{Error, UNFILTERED};
use crate::bpf::filters::{Chain, Filters};
use crate::event::FilteredTask;
use crate::node::process::{self, InContainer};

/// Threads that were seen without a filter, and since when.
pub(super) type Unfiltered = BTreeMap<(u32, u64), Instant>;

/// What was seen.
pub(super) struct Look {
    pub(super) containers: BTreeMap<String, Threads>,
    /// What is in the filters, by what stands for them.
    pub(super) chains: BTreeMap<u64, Chain>,
}

/// The threads of a container.
#[derive(Default)]
pub(super) struct Threads {
    /// When its first process started.
    pub(super) started: Option<SystemTime>,
    pub(super) all: usize,
    /// One of those with the same filters, and how many there are.
    pub(super) filtered: BTreeMap<u64, (FilteredTask, usize)>,
    /// Those without a filter, for long enough.
    pub(super) bare: Vec<FilteredTask>,
    /// Those without a filter that have not been there for as long: they may get one yet, or end soon.
    pub(super) young: usize,
}

/// Looks at the kernel, again and again.
pub(super) struct Looks {
    filters: Filters,
    /// Threads that were seen without a filter.
    unfiltered: Unfiltered,
    /// What was read before. The filters of a task only become more: with the same newest one, it has the same.
    read: BTreeMap<FilteredTask, Chain>,
}

impl Looks {
    pub(super) fn new(filters: Filters) -> Self {
        Self {
            filters,
            unfiltered: Unfiltered::new(),
            read: BTreeMap::new(),
        }
    }

    /// Looks. What is in filters is read of these containers.
    pub(super) fn take(&mut self, read: &BTreeSet<&str>) -> Result<Look, Error> {
        let tasks = self.filters.tasks()?;
        let boot = process::boot_time().map_err(Error::Processes)?;
        // After the tasks: a process whose id is another's by now is told by its start.
        let known = process::containers().map_err(Error::Processes)?;
        let now = Instant::now();
        let mut look = Look {
            containers: BTreeMap::new(),
            chains: BTreeMap::new(),
        };
        let mut still = Unfiltered::new();
        for task in &tasks {
            let Some(process) = known.get(&task.tgid) else {
                continue;
            };
            let InContainer { id, started_ticks } = process;
            if task.tid == task.tgid && process::ticks(task.started_ns) != *started_ticks {
                continue;
            }
            let threads = look.containers.entry(id.clone()).or_default();
            let started = boot + Duration::from_nanos(task.started_ns);
            threads.started = threads.started.into_iter().chain([started]).min();
            threads.all += 1;
            if task.chain != 0 {
                threads.filtered.entry(task.chain).or_insert((*task, 0)).1 += 1;
                continue;
            }
            let key = (task.tid, task.started_ns);
            let since = *self.unfiltered.get(&key).unwrap_or(&now);
            still.insert(key, since);
            if now.duration_since(since) >= UNFILTERED {
                threads.bare.push(*task);
            } else {
                threads.young += 1;
            }
        }
        self.unfiltered = still;
        let of_read = look.containers.iter();
        let of_read = of_read.filter(|(id, _)| read.contains(id.as_str()));
        let asked: Vec<_> = of_read
            .flat_map(|(_, threads)| threads.filtered.values().map(|(task, _)| *task))
            .collect();
        self.read(&asked)?;
        let chains = asked.iter().filter_map(|task| {
            let chain = self.read.get(task)?;
            Some((task.chain, chain.clone()))
        });
        look.chains = chains.collect();
        Ok(look)
    }

    /// Reads what is not known of these tasks, and forgets all others.
    fn read(&mut self, asked: &[FilteredTask]) -> Result<(), Error> {
        let mut before = std::mem::take(&mut self.read);
        let known = asked.iter();
        let known =
            known.filter_map(|task| before.remove_entry(task).filter(|(_, one)| one.is_ok()));
        self.read = known.collect();
        let is_new = |task: &&FilteredTask| !self.read.contains_key(task);
        let new: Vec<_> = asked.iter().filter(is_new).copied().collect();
        let chains = self.filters.chains(&new)?;
        self.read.extend(new.into_iter().zip(chains));
        Ok(())
    }
}
