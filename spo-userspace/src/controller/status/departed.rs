//! Reports of nodes that left. The daemon of such a node may still run, and then writes again what
//! is deleted: it is deleted again, each time later, so that the two do not keep the server busy.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The least time between two deletions of one report; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest time.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// When reports were deleted.
#[derive(Debug, Default)]
pub(super) struct Departed {
    deletions: HashMap<String, Deletions>,
}

#[derive(Debug)]
struct Deletions {
    last: Instant,
    wait: Duration,
}

impl Departed {
    /// Takes out of `reports` those that are to stay for now; and how long.
    pub(super) fn hold(&mut self, reports: &mut Vec<String>, now: Instant) -> Option<Duration> {
        self.deletions.retain(|_, deletions| {
            now.duration_since(deletions.last) < deletions.wait + LONGEST_WAIT
        });
        let mut held = None;
        reports.retain(|report| {
            let Some(deletions) = self.deletions.get_mut(report) else {
                let deletions = Deletions {
                    last: now,
                    wait: FIRST_WAIT,
                };
                self.deletions.insert(report.clone(), deletions);
                return true;
            };
            let left = deletions
                .wait
                .saturating_sub(now.duration_since(deletions.last));
            if left.is_zero() {
                deletions.last = now;
                deletions.wait = (deletions.wait * 2).min(LONGEST_WAIT);
                return true;
            }
            held = Some(held.map_or(left, |held: Duration| held.min(left)));
            false
        });
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_deleted_later_each_time() {
        let start = Instant::now();
        let mut departed = Departed::default();
        let mut hold = |report: &str, after: u64| {
            let mut reports = vec![report.to_owned()];
            let now = start + Duration::from_secs(after);
            let wait = departed.hold(&mut reports, now);
            assert_eq!(reports.is_empty(), wait.is_some());
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!(hold("a", 0), None);
        assert_eq!(hold("a", 0), Some(1));
        assert_eq!(hold("b", 0), None, "another report has its own time");
        assert_eq!(hold("a", 1), None);
        assert_eq!(hold("a", 2), Some(1));
        assert_eq!(hold("a", 3), None);
        assert_eq!(hold("a", 3), Some(4));
        // Long afterwards, it is as if nothing had been.
        assert_eq!(hold("a", 1000), None);
        assert_eq!(hold("a", 1000), Some(1));
    }

    #[test]
    fn the_shortest_wait_is_told() {
        let start = Instant::now();
        let mut departed = Departed::default();
        for seconds in [0, 1] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(departed.hold(&mut vec!["a".to_owned()], now), None);
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(departed.hold(&mut vec!["b".to_owned()], now), None);
        let mut both = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(departed.hold(&mut both, now), Some(FIRST_WAIT));
        assert_eq!(both, ["c"]);
    }
}
