//! Which profiles have to be looked at again when one changes: those whose base it is, those whose
//! base those are, and so on.

use std::collections::{BTreeSet, HashMap};

/// Who is whose base.
#[derive(Debug, Default)]
pub struct Bases {
    known: HashMap<String, Known>,
    /// The profiles that name one as their base; it need not be there.
    above: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Known {
    base: Option<String>,
    /// What changes with the `spec`.
    version: (Option<String>, Option<i64>),
}

impl Bases {
    /// Notes a profile as it is now. If its `spec` changed, those that stand on it are told.
    pub fn changed(
        &mut self,
        profile: &str,
        base: Option<&str>,
        uid: Option<&str>,
        generation: Option<i64>,
    ) -> Vec<String> {
        let now = Known {
            base: base.map(str::to_owned),
            version: (uid.map(str::to_owned), generation),
        };
        if self.known.get(profile) == Some(&now) {
            return Vec::new();
        }
        self.forget(profile);
        if let Some(base) = &now.base {
            let above = self.above.entry(base.clone()).or_default();
            above.insert(profile.to_owned());
        }
        self.known.insert(profile.to_owned(), now);
        self.standing_on(profile)
    }

    /// Notes that a profile is gone. Those that stood on it are told.
    pub fn gone(&mut self, profile: &str) -> Vec<String> {
        self.forget(profile);
        self.standing_on(profile)
    }

    fn forget(&mut self, profile: &str) {
        let Some(Known {
            base: Some(base), ..
        }) = self.known.remove(profile)
        else {
            return;
        };
        if let Some(above) = self.above.get_mut(&base) {
            above.remove(profile);
            if above.is_empty() {
                self.above.remove(&base);
            }
        }
    }

    /// Those that stand on a profile, directly or not; in a circle also the profile itself.
    fn standing_on(&self, profile: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![profile];
        while let Some(base) = open.pop() {
            for name in self.above.get(base).into_iter().flatten() {
                if found.insert(name.clone()) {
                    open.push(name);
                }
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_stand_on_a_profile_are_told_once_it_changes() {
        let mut bases = Bases::default();
        let uid = Some("1");
        assert!(bases.changed("c", Some("b"), uid, Some(1)).is_empty());
        assert_eq!(bases.changed("b", Some("a"), uid, Some(1)), ["c"]);
        assert_eq!(bases.changed("a", None, uid, Some(1)), ["b", "c"]);
        assert!(bases.changed("a", None, uid, Some(1)).is_empty());
        assert_eq!(bases.changed("a", None, uid, Some(2)), ["b", "c"]);
        assert_eq!(bases.changed("a", None, Some("2"), Some(2)), ["b", "c"]);
        assert_eq!(bases.gone("a"), ["b", "c"]);
        assert!(bases.changed("b", None, uid, Some(2)) == ["c"]);
        assert!(bases.gone("a").is_empty());
    }

    #[test]
    fn a_circle_ends() {
        let mut bases = Bases::default();
        bases.changed("a", Some("b"), None, Some(1));
        assert_eq!(bases.changed("b", Some("a"), None, Some(1)), ["a", "b"]);
        assert_eq!(bases.gone("a"), ["b"]);
    }
}
