//! Which records were seen, and which never came.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::event::{Audited, Stamp};

/// How long another source, or another CPU, may take to tell what is missing.
const PATIENCE_MS: u64 = 2000;
/// Numbers that are waited for at most; those beyond are missing at once.
const WAITED_FOR: usize = 1 << 16;
/// Records that are known again when another source tells them.
const REMEMBERED: usize = 1 << 14;

/// In the place of a digest.
const VERDICT: u64 = 0;

/// The numbers of records, from one start of the kernel, from all sources together.
///
/// The kernel numbers its events one by one, whatever they are about. A number that no source told,
/// although greater ones came, is of an event that was lost on the way.
#[derive(Debug, Default)]
pub struct Serials {
    greatest: Option<u32>,
    /// Numbers that did not come yet.
    waited_for: BTreeSet<u32>,
    /// The same, and those of them that came since, with the time from which they were waited for.
    since: VecDeque<(u64, u32)>,
    missing: u64,
    /// Verdicts of filters that could not be read, and of which no source had more.
    unreadable: BTreeSet<Stamp>,
    more_unreadable: u64,
    /// Records that came; also in the order in which they did. An event has several, and at most one verdict:
    /// all others have a digest of what they say.
    seen: BTreeSet<(Stamp, u64)>,
    order: VecDeque<(Stamp, u64)>,
}

impl Serials {
    /// A record of any kind came. `now` is in milliseconds.
    pub fn came(&mut self, serial: u32, now: u64) {
        let Some(greatest) = self.greatest else {
            self.greatest = Some(serial);
            return;
        };
        let ahead = serial.wrapping_sub(greatest);
        // What is that far ahead is behind.
        if ahead == 0 || ahead > u32::MAX / 2 {
            self.waited_for.remove(&serial);
            return;
        }
        self.greatest = Some(serial);
        let skipped = ahead - 1;
        let room = u32::try_from(WAITED_FOR - self.waited_for.len()).unwrap_or(u32::MAX);
        self.missing += u64::from(skipped.saturating_sub(room));
        for back in 1..=skipped.min(room) {
            let skipped = serial.wrapping_sub(back);
            self.waited_for.insert(skipped);
            self.since.push_back((now, skipped));
        }
    }

    /// Whether a record comes for the first time. All sources tell the same of it, or less.
    pub fn is_new(&mut self, stamp: Stamp, told: &Audited) -> bool {
        let digest = match told {
            Audited::Seccomp(_) => VERDICT,
            Audited::Selinux(_) | Audited::AppArmor(_) => {
                let mut digest = DefaultHasher::new();
                told.hash(&mut digest);
                digest.finish().max(VERDICT + 1)
            }
        };
        self.is_first((stamp, digest))
    }

    fn is_first(&mut self, record: (Stamp, u64)) -> bool {
        let (stamp, digest) = record;
        if digest == VERDICT {
            self.unreadable.remove(&stamp);
        }
        if !self.seen.insert(record) {
            return false;
        }
        self.order.push_back(record);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// A verdict came, and nobody can tell what it says. Another source may.
    pub fn unreadable(&mut self, stamp: Option<Stamp>) {
        match stamp {
            Some(stamp) if self.seen.contains(&(stamp, VERDICT)) => {}
            Some(stamp) if self.unreadable.len() < REMEMBERED => {
                self.unreadable.insert(stamp);
            }
            _ => self.more_unreadable += 1,
        }
    }

    /// How many records could not be read.
    pub fn not_read(&self) -> u64 {
        u64::try_from(self.unreadable.len()).unwrap_or(u64::MAX) + self.more_unreadable
    }

    /// What did not come by now never will.
    pub fn give_up(&mut self) {
        self.missing += u64::try_from(self.waited_for.len()).unwrap_or(u64::MAX);
        self.waited_for.clear();
        self.since.clear();
    }

    /// How many events never came, as far as that is known.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// How many may come yet.
    pub fn waited_for(&self) -> usize {
        self.waited_for.len()
    }

    /// All has been read that is there. What others told of some time ago never comes any more; as
    /// long as a source has more, it may only be late.
    pub fn drained(&mut self, now: u64) {
        while let Some((since, serial)) = self.since.front().copied()
            && now.saturating_sub(since) >= PATIENCE_MS
        {
            self.since.pop_front();
            self.missing += u64::from(self.waited_for.remove(&serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(serials: &[u32]) -> (usize, u64) {
        let mut all = Serials::default();
        for serial in serials {
            all.came(*serial, 0);
        }
        let waiting = all.waited_for();
        all.drained(PATIENCE_MS);
        (waiting, all.missing())
    }

    #[test]
    fn gaps() {
        for (serials, missing) in [
            (&[][..], 0),
            (&[7], 0),
            (&[7, 8, 9], 0),
            (&[7, 7, 8, 8], 0),
            (&[7, 9], 1),
            (&[7, 9, 8], 0),
            (&[9, 7, 8], 0),
            (&[7, 10, 8, 12], 2),
            (&[u32::MAX - 1, 2], 3),
            (&[u32::MAX, 1, 0], 0),
        ] {
            let waiting = usize::try_from(missing).unwrap();
            assert_eq!(after(serials), (waiting, missing), "{serials:?}");
        }
    }

    #[test]
    fn what_comes_late_is_missing_and_told_once() {
        let mut serials = Serials::default();
        serials.came(1, 0);
        serials.came(3, 10);
        serials.came(4, 10 + 2 * PATIENCE_MS);
        serials.drained(10 + PATIENCE_MS - 1);
        assert_eq!(serials.missing(), 0);
        serials.drained(10 + PATIENCE_MS);
        assert_eq!(serials.missing(), 1);
        serials.came(2, 10 + PATIENCE_MS);
        serials.drained(u64::MAX);
        assert_eq!(serials.missing(), 1);
    }

    #[test]
    fn what_there_is_no_room_for_is_missing_at_once() {
        let mut serials = Serials::default();
        let room = u32::try_from(WAITED_FOR).unwrap();
        serials.came(0, 0);
        serials.came(room + 4, 0);
        assert_eq!((serials.waited_for(), serials.missing()), (WAITED_FOR, 3));
    }

    #[test]
    fn a_record_is_new_once() {
        let stamp = |serial| Stamp { at_ms: 5, serial };
        let mut serials = Serials::default();
        assert!(serials.is_first((stamp(1), VERDICT)));
        assert!(!serials.is_first((stamp(1), VERDICT)));
        // The same number after a new start of the kernel.
        assert!(serials.is_first((
            Stamp {
                at_ms: 6,
                ..stamp(1)
            },
            VERDICT
        )));
        // Another record of the same event.
        assert!(serials.is_first((stamp(1), 1)));
        assert!(!serials.is_first((stamp(1), 1)));
        for serial in 3..=u32::try_from(REMEMBERED).unwrap() {
            assert!(serials.is_first((stamp(serial), VERDICT)));
        }
        assert_eq!(serials.seen.len(), REMEMBERED);
        assert!(serials.is_first((stamp(1), VERDICT)));
    }

    #[test]
    fn what_one_source_cut_another_may_have_whole() {
        let stamp = |serial| Stamp { at_ms: 5, serial };
        let mut serials = Serials::default();
        assert!(serials.is_first((stamp(1), VERDICT)));
        serials.unreadable(Some(stamp(1)));
        serials.unreadable(Some(stamp(2)));
        serials.unreadable(Some(stamp(2)));
        assert_eq!(serials.not_read(), 1);
        serials.unreadable(None);
        assert_eq!(serials.not_read(), 2);
        // Another record of the event says nothing of the verdict.
        assert!(serials.is_first((stamp(2), 1)));
        assert_eq!(serials.not_read(), 2);
        assert!(serials.is_first((stamp(2), VERDICT)));
        assert_eq!(serials.not_read(), 1);
    }

    #[test]
    fn what_is_given_up_is_missing_at_once() {
        let mut serials = Serials::default();
        serials.came(1, 0);
        serials.came(4, 0);
        serials.came(3, 0);
        serials.give_up();
        assert_eq!((serials.waited_for(), serials.missing()), (0, 1));
        serials.drained(u64::MAX);
        assert_eq!(serials.missing(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn missing_is_what_did_not_come(serials in prop::collection::vec(1000_u32..1100, 1..200)) {
            let came: BTreeSet<_> = serials.iter().copied().collect();
            // What came before the first one is not known.
            let least = serials[0];
            let greatest = *came.last().unwrap();
            let expected = (least..=greatest).filter(|one| !came.contains(one)).count();
            prop_assert_eq!(after(&serials).0, expected);
        }
    }
}
