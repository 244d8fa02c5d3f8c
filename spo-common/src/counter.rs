//! What the eBPF programs count: one `u64` each, in the array map `COUNTERS`.

/// An index into the map `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// First sights whose event did not fit into the ring buffer. The set has the call all the same.
    RingFull = 0,
    /// New subjects for which no free set was left: their calls are in no profile.
    SubjectsFull = 1,
    /// Mount namespaces that did not fit into the map of namespaces.
    NamespacesFull = 2,
    /// Calls of a task that could not be tied to a subject (thread id beyond the table, no namespace).
    Unresolved = 3,
    /// Unnamed numbers that did not fit into the list of unnamed numbers.
    UnnamedFull = 4,
    /// Calls that were seen for the first time by their subject (not a loss).
    FirstSights = 5,
    /// Tasks that announced themselves as the held command (not a loss).
    Armed = 6,
    /// Tasks that were added to the subject when the recording joined them (not a loss).
    Seeded = 7,
    /// Mount namespaces that found a place in the map of namespaces (not a loss).
    Admitted = 8,
    /// Subjects that were taken (not a loss).
    Taken = 9,
}

impl Counter {
    /// Number of counters: the size of the map `COUNTERS`.
    pub const COUNT: u32 = 10;

    /// The index of the counter in the map `COUNTERS`.
    pub const fn index(self) -> u32 {
        self as u32
    }
}
