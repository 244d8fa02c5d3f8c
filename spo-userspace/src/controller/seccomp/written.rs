//! What we wrote and the watch has not shown us yet, so that nothing is written twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use kube::ResourceExt as _;

use crate::api::SecurityProfileNodeStatus;
use crate::cluster::watch::Change;

/// Objects that are newer than the store's.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<String, Newer>>);

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
        self.map()
            .insert(object.name_any(), Newer::Is(Box::new(object)));
    }

    /// Notes that an object was deleted.
    pub(super) fn deleted(&self, name: &str, uid: Option<String>) {
        self.map().insert(name.to_owned(), Newer::Gone(uid));
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
            Some(Newer::Is(object)) => Some((**object).clone()),
            Some(Newer::Gone(_)) => None,
            None => stored.cloned(),
        }
    }

    /// Takes in what the watch shows; whether it is news.
    pub(super) fn shown(&self, change: &Change<'_, SecurityProfileNodeStatus>) -> bool {
        let object = change.object();
        let name = object.name_any();
        let mut map = self.map();
        let is_old = match (map.get(&name), change) {
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

    fn map(&self) -> MutexGuard<'_, HashMap<String, Newer>> {
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
        assert!(written.shown(&Change::Present(&object("1", "11"))));
        written.wrote(object("1", "12"));
        assert!(written.shown(&Change::Present(&object("1", "13"))));
        let stored = object("1", "13");
        let newest = written.newest("a", Some(&stored)).unwrap();
        assert_eq!(newest.resource_version().as_deref(), Some("13"));
    }

    #[test]
    fn deletions_are_told_apart_from_new_objects() {
        let written = Written::default();
        written.deleted("a", Some("1".to_owned()));
        let old = object("1", "9");
        assert_eq!(written.newest("a", Some(&old)), None);
        assert!(!written.shown(&Change::Present(&old)));
        assert!(!written.shown(&Change::Gone(&old)));
        assert!(written.newest("a", None).is_none());
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
