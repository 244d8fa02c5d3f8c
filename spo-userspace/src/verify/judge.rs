//! What is true of a container, from what was seen. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::State;
use super::bindings::Lack;
use super::look::{Look, Threads};
use super::objects::Expected;
use super::pods::Given;
use crate::bpf::filters::Unread;
use crate::event::KernelFilter;
use crate::profile::arch::Arch;
use crate::profile::few::few;
use crate::profile::seccomp::{Comparison, InForce, SeccompSpec, compare};

/// Differences that are told of a container.
const MOST_TOLD: usize = 8;
/// Comparisons that are remembered: about as many as a node has containers.
const MOST_KNOWN: usize = 2048;

/// What is true of a container.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) state: State,
    pub(super) reasons: Vec<String>,
    /// Reasons that are left out.
    pub(super) more: usize,
    pub(super) notes: Vec<String>,
    /// Another look may say something else.
    pub(super) may_settle: bool,
}

impl Judgement {
    /// Adds what bindings have for the container.
    pub(super) fn bind(&mut self, lack: Lack) {
        match lack {
            Lack::Nothing => {}
            Lack::Noted(note) => self.notes.push(note),
            Lack::Something(state, reason) => {
                self.reasons.insert(0, reason);
                self.state = self.state.min(state);
            }
        }
    }
}

/// What was seen of a container.
pub(super) struct Seen<'a> {
    look: &'a Look,
    threads: Option<&'a Threads>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(look: &'a Look, id: &str) -> Self {
        Self {
            look,
            threads: look.containers.get(id),
        }
    }
}

/// What some filters are beside a profile.
#[derive(Debug)]
enum Found {
    /// They do what it says; so many others make them more severe.
    Same {
        added: usize,
        newer: Vec<String>,
    },
    Differ(Vec<String>),
    Unknown(String),
}

/// Compares, and remembers: most containers have what others have.
pub(super) struct Judge {
    native: Arch,
    known: HashMap<(usize, Vec<KernelFilter>), Arc<Found>>,
    /// The profiles in `known`, by their place.
    profiles: Vec<SeccompSpec>,
}

impl Judge {
    pub(super) fn new(native: Arch) -> Self {
        Self {
            native,
            known: HashMap::new(),
            profiles: Vec::new(),
        }
    }

    pub(super) fn judge(
        &mut self,
        given: &Given,
        profiles: &BTreeMap<String, Expected>,
        seen: &Seen<'_>,
    ) -> Judgement {
        let Given::Ours(name) = given else {
            return without(given, seen);
        };
        let Some(threads) = seen.threads else {
            return Judgement {
                may_settle: true,
                ..unknown(
                    "no process of it was found on this node: it ended, or its runtime keeps its processes where this kernel does not see them",
                )
            };
        };
        let expected = profiles.get(name);
        let (spec, changed) = match expected.map(|expected| (&expected.spec, expected)) {
            Some((Ok(spec), expected)) => (spec, expected.changed),
            Some((Err(reason), _)) => return unknown(reason),
            None => return unknown("its profile was not asked for"),
        };
        let mut judgement = self.filters(spec, threads, seen, changed);
        if judgement.state == State::Mismatch
            && let Some(file) = expected.and_then(Expected::other)
            && self.filters(file, threads, seen, None).state == State::Verified
        {
            let reason =
                "it has what the file on the node says, which is not what the profile says";
            judgement.reasons.insert(0, reason.to_owned());
        }
        judgement
    }

    /// What is true of threads that are to have a profile.
    fn filters(
        &mut self,
        spec: &SeccompSpec,
        threads: &Threads,
        seen: &Seen<'_>,
        changed: Option<SystemTime>,
    ) -> Judgement {
        let Threads {
            started,
            all,
            filtered,
            bare,
            young,
        } = threads;
        // A container that started later has the profile as it is now.
        let is_older = match (started, changed) {
            (Some(started), Some(changed)) => *started < changed,
            _ => false,
        };
        let (mut reasons, mut unknown, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ended, mut known, mut excused) = (0, 0, true);
        if let Some(first) = bare.first() {
            excused = false;
            reasons.push(format!(
                "threads without a filter: {} of {all}, such as thread {} of process {}",
                bare.len(),
                first.tid,
                first.tgid,
            ));
        }
        let mut newer_told = None;
        for (chain, (task, number)) in filtered {
            match seen.look.chains.get(chain) {
                None | Some(Err(Unread::Changed)) => ended += number,
                Some(Err(error)) => unknown.push(format!("process {}: {error}", task.tgid)),
                Some(Ok(filters)) => {
                    known += 1;
                    match &*self.found(spec, filters) {
                        Found::Same { added, newer } => {
                            if *added > 0 {
                                notes.push(added_note(*added, *number, task.tgid));
                            }
                            if !newer.is_empty() {
                                newer_told = Some(newer.clone());
                            }
                        }
                        Found::Differ(differences) => reasons.extend(differences.iter().cloned()),
                        Found::Unknown(why) => {
                            unknown.push(format!("process {}: {why}", task.tgid));
                        }
                    }
                }
            }
        }
        if let Some(newer) = newer_told {
            let newer = few(newer);
            if is_older {
                reasons.push(format!(
                    "{newer}: the filter has no rule for them: the profile did not have them yet, or the runtime's libseccomp does not know them"
                ));
            } else {
                notes.push(format!(
                    "the runtime's libseccomp does not know {newer}: they fare worse than the profile says"
                ));
            }
        }
        if ended > 0 {
            notes.push(format!(
                "threads that ended, or got another filter, while they were looked at: {ended}"
            ));
        }
        if *young > 0 {
            notes.push(format!(
                "threads without a filter that have only begun: {young}"
            ));
        }
        if reasons.is_empty() && unknown.is_empty() && known == 0 {
            unknown.push("its threads ended while they were looked at".to_owned());
        }
        reasons.sort();
        reasons.dedup();
        let (state, mut reasons) = match (reasons.is_empty(), unknown.is_empty()) {
            (false, _) if is_older && excused => (State::Stale, reasons),
            (false, _) => (State::Mismatch, reasons),
            (true, false) => (State::Unknown, unknown),
            (true, true) => (State::Verified, Vec::new()),
        };
        let more = reasons.len().saturating_sub(MOST_TOLD);
        reasons.truncate(MOST_TOLD);
        notes.sort();
        notes.dedup();
        Judgement {
            state,
            reasons,
            more,
            notes,
            may_settle: *young > 0 || ended > 0,
        }
    }

    fn found(&mut self, spec: &SeccompSpec, filters: &[KernelFilter]) -> Arc<Found> {
        let mut profiles = self.profiles.iter();
        let place = profiles.position(|known| known == spec).unwrap_or_else(|| {
            self.profiles.push(spec.clone());
            self.profiles.len() - 1
        });
        let key = (place, filters.to_vec());
        if let Some(found) = self.known.get(&key) {
            return Arc::clone(found);
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
            self.profiles.clear();
            return Arc::new(found(spec, filters, self.native));
        }
        let found = Arc::new(found(spec, filters, self.native));
        self.known.insert(key, Arc::clone(&found));
        found
    }
}

/// A filter can only make calls fare worse. So where one of several does what the profile says, the profile is in force, and
/// the others were added: by the program itself, or by what runs the runtime.
fn found(spec: &SeccompSpec, filters: &[KernelFilter], native: Arch) -> Found {
    let compared = |filters: &[KernelFilter]| -> Result<Comparison, String> {
        let in_force = InForce::new(filters).map_err(|error| error.to_string())?;
        Ok(compare(spec, &in_force, native))
    };
    let whole = match compared(filters) {
        Ok(whole) => whole,
        Err(why) => return Found::Unknown(why),
    };
    if let Some(same) = same(&whole, 0) {
        return same;
    }
    if filters.len() > 1 {
        for filter in filters {
            if let Ok(single) = compared(std::slice::from_ref(filter))
                && let Some(Found::Same { newer, .. }) = same(&single, 0)
            {
                return Found::Same {
                    added: filters.len() - 1,
                    newer,
                };
            }
        }
    }
    let Comparison {
        differences,
        unlogged,
        newer: _,
        opaque,
    } = whole;
    let mut told: Vec<_> = differences.iter().map(ToString::to_string).collect();
    if unlogged {
        told.push(
            "the profile has SECCOMP_FILTER_FLAG_LOG, and the kernel does not log what the filter does"
                .to_owned(),
        );
    }
    if told.is_empty() {
        return Found::Unknown(format!(
            "the conditions on {} are more than can be compared",
            few(opaque.into_iter().collect::<Vec<_>>())
        ));
    }
    Found::Differ(told)
}

fn same(comparison: &Comparison, added: usize) -> Option<Found> {
    let is_same = comparison.is_same() && comparison.opaque.is_empty();
    is_same.then(|| Found::Same {
        added,
        newer: comparison.newer.iter().cloned().collect(),
    })
}

fn added_note(added: usize, threads: usize, tgid: u32) -> String {
    let filters = if added == 1 { "filter" } else { "filters" };
    let threads = if threads == 1 {
        "1 thread".to_owned()
    } else {
        format!("{threads} threads")
    };
    format!("{added} more {filters} on {threads} (process {tgid}): they can only refuse more")
}

fn unknown(reason: impl Into<String>) -> Judgement {
    Judgement {
        state: State::Unknown,
        reasons: vec![reason.into()],
        more: 0,
        notes: Vec::new(),
        may_settle: false,
    }
}

/// What is to be said of a container that is given no profile of ours.
fn without(given: &Given, seen: &Seen<'_>) -> Judgement {
    let is_given = match given {
        Given::Ours(_) | Given::Nothing => "the pod names no profile".to_owned(),
        Given::Foreign(path) => format!("the pod names a file that is not the operator's: {path}"),
        Given::RuntimeDefault => "the pod names the runtime's own profile".to_owned(),
        Given::Unconfined => "the pod asks for no filter".to_owned(),
        Given::Privileged => {
            "it is privileged, and runtimes give such containers no filter".to_owned()
        }
    };
    let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
    if let Some(threads) = seen.threads {
        for (task, number) in threads.filtered.values() {
            *numbers.entry(task.filters).or_default() += number;
        }
        let filtered: usize = numbers.values().sum();
        if threads.all > filtered {
            numbers.insert(0, threads.all - filtered);
        }
    }
    let has = numbers.into_iter().map(|(filters, threads)| match filters {
        0 => format!("threads without a filter: {threads}"),
        1 => format!("threads with one filter: {threads}"),
        more => format!("threads with {more} filters: {threads}"),
    });
    let has: Vec<_> = has.collect();
    let has = if has.is_empty() {
        "no process of it was found".to_owned()
    } else {
        has.join(", ")
    };
    Judgement {
        state: State::NoProfile,
        reasons: vec![format!("{is_given}; {has}")],
        more: 0,
        notes: Vec::new(),
        may_settle: false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};
    use std::time::Duration;

    use super::*;
    use crate::bpf::filters::Chain;
    use crate::event::{FilteredTask, Instruction};
    use crate::node::filter;
    use crate::profile::seccomp::{Action, SyscallRule};

    const NEW: SystemTime = SystemTime::UNIX_EPOCH;

    fn allowing(names: &[&str]) -> SeccompSpec {
        let mut spec = SeccompSpec::new(Action::Errno);
        spec.syscalls = vec![SyscallRule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        }];
        spec
    }

    /// What libseccomp makes of it.
    fn in_force(spec: &SeccompSpec) -> KernelFilter {
        let (filter, _) = filter::build(spec).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        filter.write_program(&file).unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let instruction = |bytes: &[u8]| Instruction {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jump_true: bytes[2],
            jump_false: bytes[3],
            operand: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        KernelFilter {
            program: bytes.chunks(8).map(instruction).collect(),
            logs: false,
        }
    }

    fn task(chain: u64, filters: u32) -> FilteredTask {
        FilteredTask {
            tgid: 7,
            tid: 7,
            started_ns: 1,
            chain,
            filters,
            more: false,
        }
    }

    /// A container that started then, with threads that have these filters.
    fn look(started: SystemTime, chains: Vec<Chain>, bare: usize) -> Look {
        let mut threads = Threads {
            started: Some(started),
            all: chains.len() + bare,
            bare: vec![task(0, 0); bare],
            ..Threads::default()
        };
        let mut look = Look {
            containers: BTreeMap::new(),
            chains: BTreeMap::new(),
        };
        for (at, chain) in (1..).zip(chains) {
            let filters = chain.as_ref().map_or(1, Vec::len);
            let filters = u32::try_from(filters).unwrap();
            threads.filtered.insert(at, (task(at, filters), 1));
            look.chains.insert(at, chain);
        }
        look.containers.insert("c".to_owned(), threads);
        look
    }

    /// What is said of it, where the file of the profile, which is the same, changed one second after 1970.
    fn said(spec: SeccompSpec, look: &Look) -> String {
        let changed = Some(NEW + Duration::from_secs(1));
        let profiles = [("web".to_owned(), Expected::same(spec, changed))];
        let known = profiles.into();
        let native = Arch::from_machine(std::env::consts::ARCH).unwrap();
        let given = Given::Ours("web".to_owned());
        let judgement = Judge::new(native).judge(&given, &known, &Seen::of(look, "c"));
        let Judgement {
            state,
            reasons,
            more,
            notes,
            may_settle: _,
        } = judgement;
        format!("{state:?} {reasons:?} {more} {notes:?}")
    }

    #[test]
    fn threads_that_have_only_begun_are_told() {
        let web = allowing(&["read", "write"]);
        let mut seen = look(NEW, vec![Ok(vec![in_force(&web)])], 0);
        seen.containers.get_mut("c").unwrap().young = 2;
        assert_eq!(
            said(web, &seen),
            r#"Verified [] 0 ["threads without a filter that have only begun: 2"]"#
        );
    }

    #[test]
    fn states() {
        let (old, new) = (NEW, NEW + Duration::from_secs(2));
        let web = || allowing(&["read", "write"]);
        let other = in_force(&allowing(&["read", "write", "openat"]));
        let right = in_force(&web());
        let newer = allowing(&["read", "write", "futex_waitv"]);
        let many: Vec<_> = crate::profile::syscalls::calls(Arch::X86_64)
            .iter()
            .take(100)
            .map(|(_, name)| *name)
            .collect();
        let lines = [
            (
                "right",
                said(web(), &look(old, vec![Ok(vec![right.clone()])], 0)),
            ),
            (
                "other",
                said(web(), &look(new, vec![Ok(vec![other.clone()])], 0)),
            ),
            (
                "older",
                said(web(), &look(old, vec![Ok(vec![other.clone()])], 0)),
            ),
            (
                "one of two",
                said(
                    web(),
                    &look(
                        new,
                        vec![Ok(vec![right.clone()]), Ok(vec![other.clone()])],
                        0,
                    ),
                ),
            ),
            (
                "its own on top",
                said(
                    web(),
                    &look(
                        new,
                        vec![Ok(vec![in_force(&allowing(&["read"])), right.clone()])],
                        0,
                    ),
                ),
            ),
            (
                "bare",
                said(web(), &look(old, vec![Ok(vec![right.clone()])], 2)),
            ),
            ("none", said(web(), &look(new, vec![], 1))),
            (
                "not kept",
                said(web(), &look(new, vec![Err(Unread::NotKept)], 0)),
            ),
            (
                "ended",
                said(web(), &look(new, vec![Err(Unread::Changed)], 0)),
            ),
            (
                "one ended",
                said(
                    web(),
                    &look(new, vec![Ok(vec![right.clone()]), Err(Unread::Changed)], 0),
                ),
            ),
            (
                "not kept, and another",
                said(
                    web(),
                    &look(new, vec![Err(Unread::NotKept), Ok(vec![other.clone()])], 0),
                ),
            ),
            (
                "newer call",
                said(newer.clone(), &look(new, vec![Ok(vec![right.clone()])], 0)),
            ),
            (
                "newer call, older container",
                said(newer, &look(old, vec![Ok(vec![right.clone()])], 0)),
            ),
            (
                "many",
                said(
                    allowing(&many),
                    &look(new, vec![Ok(vec![right.clone()])], 0),
                ),
            ),
        ];
        let lines = lines.map(|(what, said)| format!("{what}: {said}"));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn without_a_process_or_a_profile() {
        let new = NEW + Duration::from_secs(2);
        let gone = look(new, Vec::new(), 0);
        let known = BTreeMap::new();
        let native = Arch::from_machine(std::env::consts::ARCH).unwrap();
        let mut judge = Judge::new(native);
        let mut of = |given, id| {
            let judgement = judge.judge(&given, &known, &Seen::of(&gone, id));
            (judgement.state, judgement.reasons.concat())
        };
        let (state, why) = of(Given::Ours("web".to_owned()), "nobody");
        assert_eq!(state, State::Unknown);
        assert!(why.contains("no process of it was found"), "{why}");
        assert_eq!(of(Given::Ours("web".to_owned()), "c").0, State::Unknown);
        let (state, why) = of(Given::Privileged, "c");
        assert_eq!(state, State::NoProfile);
        assert!(why.contains("no filter"), "{why}");
    }

    #[test]
    fn what_a_binding_has_for_it_counts_as_well() {
        use State::{Mismatch, NoProfile, Stale, Unbound, Unknown, Verified};
        let bound = |state: State, lack: Lack| {
            let mut judgement = Judgement {
                state,
                ..unknown("so it is")
            };
            judgement.bind(lack);
            (
                judgement.state,
                judgement.reasons.concat(),
                judgement.notes.concat(),
            )
        };
        let why = "no binding".to_owned();
        for (state, lack, expected) in [
            (Verified, Unbound, Unbound),
            (NoProfile, Unbound, Unbound),
            (Unknown, Unbound, Unbound),
            (Stale, Unbound, Unbound),
            (Mismatch, Unbound, Mismatch),
            (Verified, Stale, Stale),
        ] {
            let (state, reasons, _) = bound(state, Lack::Something(lack, why.clone()));
            assert_eq!((state, reasons.as_str()), (expected, "no bindingso it is"));
        }
        let expected = (Verified, "so it is".to_owned(), String::new());
        assert_eq!(bound(Verified, Lack::Nothing), expected);
        let (state, _, notes) = bound(NoProfile, Lack::Noted(why));
        assert_eq!((state, notes.as_str()), (NoProfile, "no binding"));
    }
}
