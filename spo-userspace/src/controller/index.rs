//! Which objects belong to which keys, and which keys an object belongs to.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Objects by key. An object may belong to several keys.
#[derive(Clone, Debug)]
pub struct Index<K> {
    objects: HashMap<K, BTreeSet<String>>,
    keys: HashMap<String, BTreeSet<K>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            keys: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Index<K> {
    /// The keys of an object from now on; none, if it is gone. Returns those that it no longer
    /// has, and those that it has only now.
    pub fn set(&mut self, object: &str, keys: BTreeSet<K>) -> BTreeSet<K> {
        let before = self.keys.remove(object).unwrap_or_default();
        let changed: BTreeSet<K> = before.symmetric_difference(&keys).cloned().collect();
        for key in before.difference(&keys) {
            if let Some(objects) = self.objects.get_mut(key) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects.remove(key);
                }
            }
        }
        for key in keys.difference(&before) {
            let objects = self.objects.entry(key.clone()).or_default();
            objects.insert(object.to_owned());
        }
        if !keys.is_empty() {
            self.keys.insert(object.to_owned(), keys);
        }
        changed
    }

    /// All keys that an object has.
    pub fn keys(&self) -> BTreeSet<K> {
        self.objects.keys().cloned().collect()
    }

    /// The objects of a key, sorted.
    pub fn of(&self, key: &K) -> BTreeSet<String> {
        self.objects.get(key).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_change_their_keys() {
        let mut index = Index::default();
        let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(index.set("one", set(&["a", "b"])), set(&["a", "b"]));
        assert_eq!(index.set("two", set(&["b"])), set(&["b"]));
        assert_eq!(index.set("one", set(&["b", "c"])), set(&["a", "c"]));
        let of = |index: &Index<_>, key| index.of(&key).into_iter().collect::<Vec<_>>();
        assert!(of(&index, "a").is_empty());
        assert_eq!(index.keys(), set(&["b", "c"]));
        assert_eq!(of(&index, "b"), ["one", "two"]);
        assert_eq!(index.set("one", set(&[])), set(&["b", "c"]));
        assert_eq!(of(&index, "b"), ["two"]);
        assert_eq!(index.set("two", set(&[])), set(&["b"]));
        assert!(index.objects.is_empty() && index.keys.is_empty());
    }
}
