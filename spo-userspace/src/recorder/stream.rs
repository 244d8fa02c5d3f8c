//! The second account of a recording: what the events told, to be compared with the sets.

use std::collections::BTreeSet;

use crate::event::{Call, FirstSight, Observation};

/// The first sights that arrived. As large as the sets at most.
#[derive(Debug, Default)]
pub struct Stream {
    seen: BTreeSet<(u32, Call)>,
    last_ns: u64,
}

impl Stream {
    /// Takes an event.
    pub fn push(&mut self, event: &FirstSight) {
        self.seen.insert((event.subject, event.call));
        self.last_ns = self.last_ns.max(event.time_ns);
    }

    /// Different calls so far.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether nothing arrived yet.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// When the last new call was made, in nanoseconds of the monotonic clock.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Compares both accounts. What only the stream has joins the set, and is counted as a loss of the
    /// set; what only a set has is counted, beyond the events that are known not to have fitted.
    pub fn compare(&self, observation: &mut Observation) {
        let mut only_in_sets = 0;
        let mut only_in_stream = self.seen.clone();
        for subject in &observation.subjects {
            for call in &subject.calls {
                if !only_in_stream.remove(&(subject.index, *call)) {
                    only_in_sets += 1;
                }
            }
        }
        observation.losses.events_missing =
            u64::saturating_sub(only_in_sets, observation.losses.events_full);
        for (index, call) in only_in_stream {
            observation.losses.sets_missing += 1;
            if let Some(subject) = observation
                .subjects
                .iter_mut()
                .find(|subject| subject.index == index)
            {
                subject.calls.push(call);
                subject.calls.sort_unstable();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Abi, Comm, Losses, SubjectObservation};

    fn call(number: i32) -> Call {
        Call {
            abi: Abi::Native,
            number,
        }
    }

    fn event(number: i32) -> FirstSight {
        FirstSight {
            subject: 2,
            call: call(number),
            time_ns: 1,
            tgid: 1,
            comm: Comm::default(),
        }
    }

    fn compared(set: &[i32], stream: &[i32], events_full: u64) -> (Vec<i32>, Losses) {
        let mut accounts = Stream::default();
        for number in stream {
            accounts.push(&event(*number));
        }
        let subject = SubjectObservation {
            index: 2,
            calls: set.iter().map(|number| call(*number)).collect(),
            ..SubjectObservation::default()
        };
        let mut observation = Observation {
            subjects: vec![subject],
            losses: Losses {
                events_full,
                ..Losses::default()
            },
            ..Observation::default()
        };
        accounts.compare(&mut observation);
        (
            observation.subjects[0]
                .calls
                .iter()
                .map(|call| call.number)
                .collect(),
            observation.losses,
        )
    }

    #[test]
    fn equal_accounts_lose_nothing() {
        assert_eq!(
            compared(&[1, 2], &[2, 1, 1], 0),
            (vec![1, 2], Losses::default())
        );
    }

    #[test]
    fn an_event_that_did_not_fit_explains_its_absence() {
        let (calls, losses) = compared(&[1, 2, 3], &[1], 1);
        assert_eq!(calls, [1, 2, 3]);
        assert_eq!(losses.events_missing, 1);
        assert_eq!(losses.lost(), 0);
    }

    #[test]
    fn what_a_set_lacks_is_added_and_counted_as_lost() {
        let (calls, losses) = compared(&[2], &[1, 2], 0);
        assert_eq!(calls, [1, 2]);
        assert_eq!((losses.sets_missing, losses.lost()), (1, 1));
    }
}
