//! What we wrote and the watch has not shown us yet, so that nothing is written twice.
//!
//! The watch may never show it: if it had shown the end of an object before we knew, or if an object
//! came and went while it was broken. So what we wrote is believed for a while only; whoever then goes
//! by the store writes once more, at worst.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kube::ResourceExt as _;

use crate::api::SecurityProfileNodeStatus;
use crate::cluster::watch::Change;

/// How long; a watch that is silent for longer has been broken, and has begun anew.
const BELIEVED: Duration = Duration::from_mins(5);

/// Objects that are newer than the store's, and when they were noted.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<String, (Instant, Newer)>>);

#[derive(Debug)]
enum Newer {
    /// It is this.
    Is(Box<SecurityProfileNodeStatus>),
    /// The one with this identity is gone.
    Gone(Option<String>),
}

impl Written {
    /// Notes the server's answer to a write.
    pub(super) fn wrote(&self, object: SecurityProfileNodeStatus) {
        self.note(
            Instant::now(),
            object.name_any(),
            Newer::Is(Box::new(object)),
        );
    }

    /// Notes that an object was deleted.
    pub(super) fn deleted(&self, name: &str, uid: Option<String>) {
        self.note(Instant::now(), name.to_owned(), Newer::Gone(uid));
    }

    fn note(&self, now: Instant, name: String, newer: Newer) {
        let mut map = self.map();
        map.retain(|_, (since, _)| now.saturating_duration_since(*since) < BELIEVED);
        map.insert(name, (now, newer));
    }

    /// Forgets what was noted: the server knows better.
    pub(super) fn forget(&self, name: &str) {
        self.map().remove(name);
    }

    /// What is there, where `stored` is what the watch has shown.
    pub(super) fn newest(
        &self,
        name: &str,
        stored: Option<&SecurityProfileNodeStatus>,
    ) -> Option<SecurityProfileNodeStatus> {
        match self.map().get(name) {
            Some((since, _)) if since.elapsed() >= BELIEVED => stored.cloned(),
            Some((_, Newer::Is(object))) => Some((**object).clone()),
            Some((_, Newer::Gone(_))) => None,
            None => stored.cloned(),
        }
    }

    /// Takes in what the watch shows; whether it is news.
    pub(super) fn shown(&self, change: &Change<'_, SecurityProfileNodeStatus>) -> bool {
        let object = change.object();
        let name = object.name_any();
        let mut map = self.map();
        let noted = map.get(&name).map(|(_, newer)| newer);
        let is_old = match (noted, change) {
            (None, _) => return true,
            (Some(Newer::Is(ours)), Change::Present(_)) => match (version(object), version(ours)) {
                (Some(shown), Some(ours)) if shown < ours => true,
                (Some(shown), Some(ours)) if shown == ours => {
                    map.remove(&name);
                    return false;
                }
                _ => false,
            },
            (Some(Newer::Is(ours)), Change::Gone(_)) => ours.uid() != object.uid(),
            (Some(Newer::Gone(uid)), Change::Present(_)) => *uid == object.uid(),
            (Some(Newer::Gone(_)), Change::Gone(_)) => {
                map.remove(&name);
                return false;
            }
        };
        if !is_old {
            map.remove(&name);
        }
        !is_old
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, (Instant, Newer)>> {
        match self.0.lock() {
            Ok(map) => map,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

/// Versions are numbers that grow (`KEP-5504`); where they are not, what is shown counts.
fn version(object: &SecurityProfileNodeStatus) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SecurityProfileNodeStatusSpec;

    fn object(uid: &str, version: &str) -> SecurityProfileNodeStatus {
        let spec = SecurityProfileNodeStatusSpec {
            node_name: "n".to_owned(),
        };
        let mut object = SecurityProfileNodeStatus::new("a", spec);
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[test]
    fn our_own_writes_are_no_news() {
        let written = Written::default();
        let old = object("1", "9");
        assert!(written.shown(&Change::Present(&old)));
        written.wrote(object("1", "10"));
        assert!(!written.shown(&Change::Present(&old)));
        let newest = written.newest("a", Some(&old)).unwrap();
        assert_eq!(newest.resource_version().as_deref(), Some("10"));
        assert!(!written.shown(&Change::Present(&object("1", "10"))));
        assert!(written.map().is_empty());
        assert!(written.shown(&Change::Present(&object("1", "11"))));
        written.wrote(object("1", "12"));
        assert!(written.shown(&Change::Present(&object("1", "13"))));
        let stored = object("1", "13");
        let newest = written.newest("a", Some(&stored)).unwrap();
        assert_eq!(newest.resource_version().as_deref(), Some("13"));
        written.wrote(object("1", "14"));
        written.forget("a");
        assert_eq!(written.newest("a", Some(&stored)), Some(stored));
    }

    #[test]
    fn what_the_watch_never_shows_is_believed_for_a_while() {
        let written = Written::default();
        let long_ago = Instant::now().checked_sub(BELIEVED).unwrap();
        let is = |version: &str| Newer::Is(Box::new(object("1", version)));
        written.note(long_ago, "a".to_owned(), is("10"));
        written.note(long_ago, "b".to_owned(), Newer::Gone(None));
        assert_eq!(written.newest("a", None), None);
        let stored = object("2", "11");
        assert_eq!(written.newest("b", Some(&stored)), Some(stored));
        assert_eq!(written.map().len(), 2);
        written.deleted("c", None);
        assert_eq!(written.map().len(), 1);
    }

    #[test]
    fn deletions_are_told_apart_from_new_objects() {
        let written = Written::default();
        written.deleted("a", Some("1".to_owned()));
        let old = object("1", "9");
        assert_eq!(written.newest("a", Some(&old)), None);
        assert!(!written.shown(&Change::Present(&old)));
        assert!(!written.shown(&Change::Gone(&old)));
        assert!(written.map().is_empty());
        written.deleted("a", Some("1".to_owned()));
        assert!(written.shown(&Change::Present(&object("2", "10"))));
        // The old one's end, shown after the new one was made.
        written.wrote(object("2", "11"));
        assert!(!written.shown(&Change::Gone(&old)));
        assert!(written.newest("a", None).is_some());
        assert!(written.shown(&Change::Gone(&object("2", "11"))));
        assert!(written.newest("a", None).is_none());
    }
}
