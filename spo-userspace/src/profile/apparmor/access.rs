//! What a rule for files lets a process do.

use serde::{Serialize, Serializer};

/// A set of accesses to a file.
///
/// Whoever may write may append, so a set that has [`Access::WRITE`] has [`Access::APPEND`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access(u8);

impl Access {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `r`
    pub const READ: Self = Self(1);
    /// `a`
    pub const APPEND: Self = Self(1 << 1);
    /// `w`
    pub const WRITE: Self = Self(1 << 2 | Self::APPEND.0);
    /// `l`: making a hard link to the file.
    pub const LINK: Self = Self(1 << 3);
    /// `k`
    pub const LOCK: Self = Self(1 << 4);
    /// `m`: mapping the file as code.
    pub const MAP: Self = Self(1 << 5);
    /// `ix`, and `x` where it is denied: executing the file under the same profile.
    pub const EXECUTE: Self = Self(1 << 6);
    /// What a path of `writeOnlyPaths` gets, and what one of `readOnlyPaths` is denied.
    pub const CHANGE: Self = Self(Self::WRITE.0 | Self::LINK.0 | Self::LOCK.0);
    /// What a path of `readWritePaths` gets.
    pub const READ_CHANGE: Self = Self(Self::READ.0 | Self::CHANGE.0);
    /// Everything.
    pub const ALL: Self = Self(Self::READ_CHANGE.0 | Self::MAP.0 | Self::EXECUTE.0);

    /// The words of objects, with the letters of policy text, in the order in which both are
    /// written.
    pub const WORDS: &'static [(Self, &'static str, &'static str)] = &[
        (Self::READ, "read", "r"),
        (Self::WRITE, "write", "w"),
        (Self::APPEND, "append", "a"),
        (Self::LINK, "link", "l"),
        (Self::LOCK, "lock", "k"),
        (Self::MAP, "map", "m"),
        (Self::EXECUTE, "execute", "ix"),
    ];

    /// The access of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, known, _)| *known == word)
            .map(|(access, ..)| *access)
    }

    /// What either allows.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What must still be allowed where `other` is. Writing takes appending along.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        let left = self.0 & !other.0;
        if left & (Self::WRITE.0 & !Self::APPEND.0) == 0 {
            Self(left)
        } else {
            Self(left | Self::WRITE.0)
        }
    }

    /// What may still be denied where `other` must be allowed: without appending, no writing.
    #[must_use]
    pub fn sparing(self, other: Self) -> Self {
        let left = self.0 & !other.0;
        if left & Self::APPEND.0 == 0 {
            Self(left & !Self::WRITE.0)
        } else {
            Self(left)
        }
    }

    /// What is in it and not in `other`, bit by bit.
    #[must_use]
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is nothing in it.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The letters of policy text; in a rule that denies, execution has no manner.
    pub(super) fn letters(self, denied: bool) -> String {
        self.named()
            .map(|(access, _, letters)| match access {
                Self::EXECUTE if denied => "x",
                _ => letters,
            })
            .collect()
    }

    /// The words.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        self.named().map(|(_, word, _)| word)
    }

    fn named(self) -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        Self::WORDS
            .iter()
            .filter(move |(access, ..)| self.has(*access))
            .filter(move |(access, ..)| *access != Self::APPEND || !self.has(Self::WRITE))
            .copied()
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_takes_appending_along() {
        assert!(Access::WRITE.has(Access::APPEND));
        assert_eq!(Access::CHANGE.letters(false), "wlk");
        assert_eq!(Access::READ_CHANGE.letters(false), "rwlk");
        assert_eq!(Access::ALL.letters(true), "rwlkmx");
        assert_eq!(Access::WRITE.beyond(Access::APPEND), Access::WRITE);
        assert_eq!(Access::APPEND.beyond(Access::WRITE), Access::NONE);
        assert_eq!(Access::WRITE.sparing(Access::APPEND), Access::NONE);
        assert_eq!(Access::APPEND.words().collect::<Vec<_>>(), ["append"]);
    }
}
