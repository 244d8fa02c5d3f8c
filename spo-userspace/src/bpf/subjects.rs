//! Reads what the recorder's maps hold.

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};
use aya::programs::BtfTracePoint;
use spo_common::counter::Counter;
use spo_common::subject::{
    NUMBERS, SEEN, STATE_ENTERED, STATE_HANDED_OVER, STATE_NONE, STATE_SETUP, Set, Subject, WATCHED,
};
use spo_common::unnamed::UnnamedKey;

use super::recorder::{PROGRAMS, map_error, program, program_error};
use super::{Error, info, records};
use crate::event::{Call, Comm, Losses, Phase, SubjectObservation};

/// The maps with the subjects.
pub(super) struct Subjects<'ebpf> {
    known: Array<&'ebpf MapData, Subject>,
    sets: Array<&'ebpf MapData, Set>,
    /// Numbers that no set has room for.
    numbers: Vec<(UnnamedKey, u64)>,
}

impl<'ebpf> Subjects<'ebpf> {
    pub(super) fn of(ebpf: &'ebpf Ebpf) -> Result<Self, Error> {
        let unnamed = ebpf.map("UNNAMED").ok_or(Error::Missing("UNNAMED"))?;
        let unnamed: HashMap<_, UnnamedKey, u64> =
            HashMap::try_from(unnamed).map_err(map_error("UNNAMED"))?;
        let mut numbers = Vec::new();
        for entry in &unnamed {
            numbers.push(entry.map_err(map_error("UNNAMED"))?);
        }
        Ok(Self {
            known: array(ebpf, "SUBJECTS")?,
            sets: array(ebpf, "SETS")?,
            numbers,
        })
    }

    pub(super) fn len(&self) -> u32 {
        self.known.len()
    }

    /// The subject with an index; `None` if nobody owns the index.
    pub(super) fn observe(&self, index: u32) -> Result<Option<SubjectObservation>, Error> {
        let subject = self.known.get(&index, 0).map_err(map_error("SUBJECTS"))?;
        let phase = match subject.state {
            STATE_NONE => return Ok(None),
            STATE_SETUP => Phase::Setup,
            STATE_HANDED_OVER => Phase::HandedOver,
            STATE_ENTERED => Phase::Entered,
            _ => Phase::Workload,
        };
        let set = self.sets.get(&index, 0).map_err(map_error("SETS"))?;
        Ok(Some(SubjectObservation {
            index,
            phase,
            namespace_inum: subject.inum,
            namespace_id: subject.namespace,
            tgid: subject.tgid,
            comm: Comm(subject.comm),
            last_new_ns: subject.last_new_ns,
            filtered: subject.filtered != 0,
            executed: subject.executed != 0,
            calls: calls(&set),
            capabilities: 0,
            unnamed: self.unnamed(index),
        }))
    }

    fn unnamed(&self, index: u32) -> Vec<(Call, u64)> {
        let own = self.numbers.iter().filter(|(key, _)| key.subject == index);
        let mut unnamed: Vec<_> = own
            .filter_map(|(key, times)| {
                let abi = records::abi(key.abi)?;
                let number = key.number;
                Some((Call { abi, number }, *times))
            })
            .collect();
        unnamed.sort_unstable();
        unnamed
    }
}

/// The calls whose byte is set.
fn calls(set: &Set) -> Vec<Call> {
    let mut calls = Vec::new();
    for (index, byte) in (0..).zip(set) {
        if (*byte == SEEN || *byte == WATCHED)
            && let Some(abi) = records::abi(index / NUMBERS)
            && let Ok(number) = i32::try_from(index % NUMBERS)
        {
            calls.push(Call { abi, number });
        }
    }
    calls
}

/// What was lost so far.
pub(super) fn losses(ebpf: &mut Ebpf) -> Result<Losses, Error> {
    let mut losses = Losses {
        subjects_full: counter(ebpf, Counter::SubjectsFull)?,
        namespaces_full: counter(ebpf, Counter::NamespacesFull)?,
        unresolved: counter(ebpf, Counter::Unresolved)?,
        unnamed_full: counter(ebpf, Counter::UnnamedFull)?,
        events_full: counter(ebpf, Counter::RingFull)?,
        ..Losses::default()
    };
    for name in PROGRAMS {
        let program: &mut BtfTracePoint = program(ebpf, name)?;
        let fd = program.fd().map_err(program_error(name))?;
        losses.skipped_runs += info::recursion_misses(fd)?;
    }
    Ok(losses)
}

pub(super) fn counter(ebpf: &Ebpf, counter: Counter) -> Result<u64, Error> {
    let counters: Array<_, u64> = array(ebpf, "COUNTERS")?;
    counters
        .get(&counter.index(), 0)
        .map_err(map_error("COUNTERS"))
}

pub(super) fn array<'ebpf, T: aya::Pod>(
    ebpf: &'ebpf Ebpf,
    name: &'static str,
) -> Result<Array<&'ebpf MapData, T>, Error> {
    Array::try_from(ebpf.map(name).ok_or(Error::Missing(name))?).map_err(map_error(name))
}

/// An array to be written to.
pub(super) fn array_mut<'ebpf, T: aya::Pod>(
    ebpf: &'ebpf mut Ebpf,
    name: &'static str,
) -> Result<Array<&'ebpf mut MapData, T>, Error> {
    Array::try_from(ebpf.map_mut(name).ok_or(Error::Missing(name))?).map_err(map_error(name))
}
