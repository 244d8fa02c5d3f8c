//! The first look at all profiles: when it is done, pods that need one may come to the node.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Files that were not looked at yet since the process began.
#[derive(Debug)]
pub(super) struct First {
    left: Mutex<HashSet<String>>,
    done: CancellationToken,
}

impl First {
    /// Cancels `done` when each of the files was looked at.
    pub(super) fn of(files: impl IntoIterator<Item = String>, done: CancellationToken) -> Self {
        let left: HashSet<_> = files.into_iter().collect();
        if left.is_empty() {
            done.cancel();
        }
        Self {
            left: Mutex::new(left),
            done,
        }
    }

    /// A file was looked at. What went wrong with it stands in the profile's status, and no pod starts
    /// without it: nothing more is to be waited for.
    pub(super) fn looked_at(&self, file: &str) {
        if self.done.is_cancelled() {
            return;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.remove(file);
        if left.is_empty() {
            self.done.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_when_each_was_looked_at() {
        let done = CancellationToken::new();
        let first = First::of(["a.json".to_owned(), "b.json".to_owned()], done.clone());
        first.looked_at("other.json");
        first.looked_at("a.json");
        first.looked_at("a.json");
        assert!(!done.is_cancelled());
        first.looked_at("b.json");
        assert!(done.is_cancelled());
        let nothing = CancellationToken::new();
        First::of([], nothing.clone());
        assert!(nothing.is_cancelled());
    }
}
