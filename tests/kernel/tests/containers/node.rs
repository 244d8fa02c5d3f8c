//! The recorder, and what tests ask of it. Others may start containers on this machine meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use spo::bpf::containers::{Changes, Containers};
use spo::bpf::kernel::Kernel;
use spo::bpf::recorder::Limits;
use spo::event::{Abi, Started, SubjectId};
use spo_kernel_tests::probe::RARE;
use spo_kernel_tests::tier;

/// The program that makes the calls.
pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// A recorder, and all that it told.
pub(crate) struct Node {
    pub(crate) containers: Containers,
    pub(crate) told: Vec<Started>,
    pub(crate) crowded: bool,
}

impl Node {
    /// Starts one; the limits may be changed.
    pub(crate) fn start(limit: impl FnOnce(&mut Limits)) -> Self {
        let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("a limit");
        let mut limits = Limits::for_containers(most.trim().parse().expect("a number"));
        limit(&mut limits);
        let kernel = Kernel::probe().expect("the kernel tells its types");
        Self {
            containers: Containers::start(&kernel, limits).expect("the recorder starts"),
            told: Vec::new(),
            crowded: false,
        }
    }

    /// Takes in what happened; the subjects that began.
    pub(crate) fn poll(&mut self) -> Vec<Started> {
        let Changes {
            started,
            grown: _,
            crowded,
        } = self.containers.poll().expect("the recorder can be asked");
        self.crowded |= crowded;
        self.told.extend(started.iter().cloned());
        started
    }

    /// The subject whose arguments end with these words, once there is one.
    pub(crate) fn wait_for(&mut self, arguments: &[&str]) -> Started {
        let mut found = None;
        until(&format!("{arguments:?} begins"), || {
            self.poll();
            found = self.find(arguments);
            found.is_some()
        });
        found.expect("it began")
    }

    /// The subject that began last among those whose arguments end with these words.
    pub(crate) fn find(&self, arguments: &[&str]) -> Option<Started> {
        let words: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        let mut told = self.told.iter().rev();
        told.find(|started| started.arguments.ends_with(&words))
            .cloned()
    }

    /// The rare calls in a subject's set.
    pub(crate) fn rare(&self, id: SubjectId) -> BTreeSet<&'static str> {
        let observed = self.containers.observe(id).expect("it is recorded");
        let made = |number: &libc::c_long| {
            let mut calls = observed.calls.iter();
            calls.any(|call| call.abi == Abi::Native && i64::from(call.number) == *number)
        };
        let rare = RARE.iter().filter(|(_, number)| made(number));
        rare.map(|(name, _)| *name).collect()
    }

    /// Nothing was lost; events may be.
    pub(crate) fn assert_nothing_lost(&mut self) {
        let losses = self.containers.losses().expect("the recorder counts");
        assert_eq!(losses.lost(), 0, "{losses:?}");
    }
}

/// Waits until something is the case.
pub(crate) fn until(what: &str, is: impl FnMut() -> bool) {
    tier::until(Duration::from_mins(1), what, is);
}
