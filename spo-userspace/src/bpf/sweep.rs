//! Makes room in the maps of a recorder of containers, so that no index is used again before the last program that took it for what it
//! was is over, and whoever refers to it finds out.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{HashMap, MapData, Queue};
use spo_common::capabilities::Capabilities;
use spo_common::counter::Counter;
use spo_common::namespace::Place;
use spo_common::started::Started;
use spo_common::subject::{
    FIRST, SET_SIZE, STATE_ENTERED, STATE_HANDED_OVER, STATE_NONE, STATE_RELEASED, STATE_SETUP,
    STATE_WORKLOAD, Set, Subject, reference,
};
use spo_common::unnamed::UnnamedKey;

use super::containers::Containers;
use super::recorder::map_error;
use super::subjects::{array, array_mut, counter};
use super::{Error, places};
use crate::event::SubjectId;

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Subjects that began, and of which no task is left: what they did is complete. They keep their places until they are
    /// released.
    pub ended: BTreeSet<SubjectId>,
    /// Mount namespaces that ended, in which programs were executed although no workload was seen to start. Their calls belong to
    /// nobody, and are gone.
    pub unrecognised: u64,
}

impl Containers {
    /// Releases subjects, and frees what nobody needs: those, what runtimes prepared, namespaces that ended. What a released
    /// subject still does is not recorded.
    ///
    /// It waits for the kernel three times, some milliseconds each: not to be called where others wait for this thread, and
    /// rather once for many subjects.
    pub fn sweep(&mut self, release: &[SubjectId]) -> Result<Swept, Error> {
        for id in release {
            self.check(*id)?;
        }
        let before = self.subjects()?;
        // Programs that made one of these are over: its place is in the map.
        self.grace.wait()?;
        let (namespaces, living) = self.remove_namespaces()?;
        let now = self.subjects()?;
        let mut swept = Swept::default();
        let mut going = BTreeMap::new();
        for (index, then) in before {
            let Some(subject) = now.get(&index) else {
                continue;
            };
            let id = SubjectId {
                index,
                since_ns: subject.taken_ns,
            };
            let ended = match subject.state {
                STATE_ENTERED => subject.tasks == 0,
                _ => !living.contains(&reference(index, subject.incarnation)),
            };
            match (then.state, subject.state) {
                (STATE_WORKLOAD | STATE_ENTERED, _) if release.contains(&id) => {
                    going.insert(index, *subject);
                }
                (STATE_WORKLOAD | STATE_ENTERED, _) if ended => drop(swept.ended.insert(id)),
                (STATE_SETUP, STATE_SETUP) if ended => {
                    swept.unrecognised += u64::from(subject.executed != 0);
                    going.insert(index, *subject);
                }
                // A sweep that failed left some of these.
                (STATE_HANDED_OVER | STATE_RELEASED, _) => drop(going.insert(index, *subject)),
                _ => {}
            }
        }
        let left = now.len() - going.len();
        self.free(going)?;
        self.make_room(namespaces, u32::try_from(left).unwrap_or(u32::MAX))?;
        Ok(swept)
    }

    /// Sets how far the counters may rise until the maps are three quarters full.
    pub(super) fn make_room(&mut self, namespaces: u32, subjects: u32) -> Result<(), Error> {
        let room = [
            (Counter::Admitted, self.limits.namespaces, namespaces),
            (Counter::Taken, self.limits.subjects, subjects + FIRST),
        ];
        for (index, (counted, size, used)) in (0..).zip(room) {
            let left = (size - size / 4).saturating_sub(used);
            let value = counter(&self.ebpf, counted)? + u64::from(left);
            array_mut::<u64>(&mut self.ebpf, "ROOM")?
                .set(index, value, 0)
                .map_err(map_error("ROOM"))?;
        }
        Ok(())
    }

    /// Frees subjects. Each gets two incarnations further: what takes a reference to it in between refers to nobody, ever.
    fn free(&mut self, mut going: BTreeMap<u32, Subject>) -> Result<(), Error> {
        if going.is_empty() {
            return Ok(());
        }
        for (index, subject) in &mut going {
            // The kernel does not change the state of one that began, or whose namespace is gone; and what else it writes
            // meanwhile counts for nothing any more.
            if subject.state != STATE_RELEASED {
                subject.state = STATE_RELEASED;
                subject.incarnation = subject.incarnation.wrapping_add(1);
                self.set_subject(*index, *subject)?;
            }
        }
        // No program goes on that has not seen it.
        self.grace.wait()?;
        // Words in front of the map that lead to one of them lose their force.
        places::gone(&mut self.ebpf)?;
        // No program goes on that found one of them by such a word.
        self.grace.wait()?;
        for (index, subject) in &going {
            let next = Subject {
                incarnation: subject.incarnation.wrapping_add(1),
                ..Subject::default()
            };
            self.clear(*index)?;
            self.set_subject(*index, next)?;
        }
        self.clear_unnamed(&going)?;
        self.told.retain(|id| !going.contains_key(&id.index));
        let queue = self.ebpf.map_mut("FREE").ok_or(Error::Missing("FREE"))?;
        let mut queue: Queue<_, u32> = Queue::try_from(queue).map_err(map_error("FREE"))?;
        for index in going.into_keys() {
            queue.push(index, 0).map_err(map_error("FREE"))?;
        }
        Ok(())
    }

    fn subjects(&self) -> Result<BTreeMap<u32, Subject>, Error> {
        let subjects = array::<Subject>(&self.ebpf, "SUBJECTS")?;
        let mut all = BTreeMap::new();
        for index in FIRST..subjects.len() {
            let subject = subjects.get(&index, 0).map_err(map_error("SUBJECTS"))?;
            if subject.state != STATE_NONE {
                all.insert(index, subject);
            }
        }
        Ok(all)
    }

    /// Removes the namespaces that are gone; how many are left, and to which subjects they refer. No task is left that could look
    /// for one that is removed, so that its memory may serve another one at once.
    fn remove_namespaces(&mut self) -> Result<(u32, BTreeSet<u32>), Error> {
        let gone = places::gone(&mut self.ebpf)?;
        let mut namespaces: HashMap<_, u64, Place> = self.hash("NAMESPACES")?;
        for id in gone {
            namespaces.remove(&id).map_err(map_error("NAMESPACES"))?;
        }
        let mut left = 0;
        let mut living = BTreeSet::new();
        for entry in &namespaces {
            let (_, place) = entry.map_err(map_error("NAMESPACES"))?;
            left += 1;
            living.insert(place.subject);
        }
        Ok((left, living))
    }

    fn set_subject(&mut self, index: u32, subject: Subject) -> Result<(), Error> {
        array_mut::<Subject>(&mut self.ebpf, "SUBJECTS")?
            .set(index, subject, 0)
            .map_err(map_error("SUBJECTS"))
    }

    fn clear(&mut self, index: u32) -> Result<(), Error> {
        array_mut::<Set>(&mut self.ebpf, "SETS")?
            .set(index, [0; SET_SIZE], 0)
            .map_err(map_error("SETS"))?;
        array_mut::<Capabilities>(&mut self.ebpf, "CAPABILITIES")?
            .set(index, Capabilities::NONE, 0)
            .map_err(map_error("CAPABILITIES"))?;
        array_mut::<Started>(&mut self.ebpf, "STARTED")?
            .set(index, Started::NONE, 0)
            .map_err(map_error("STARTED"))
    }

    fn clear_unnamed(&mut self, going: &BTreeMap<u32, Subject>) -> Result<(), Error> {
        let mut unnamed: HashMap<_, UnnamedKey, u64> = self.hash("UNNAMED")?;
        let mut gone = Vec::new();
        for key in unnamed.keys() {
            let key = key.map_err(map_error("UNNAMED"))?;
            if going.contains_key(&key.subject) {
                gone.push(key);
            }
        }
        for key in gone {
            unnamed.remove(&key).map_err(map_error("UNNAMED"))?;
        }
        Ok(())
    }

    fn hash<K: aya::Pod, V: aya::Pod>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, K, V>, Error> {
        HashMap::try_from(self.ebpf.map_mut(name).ok_or(Error::Missing(name))?)
            .map_err(map_error(name))
    }
}
