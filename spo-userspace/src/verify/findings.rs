//! What of a look is certain, and what of that nobody was told yet. Pure.
//!
//! Between two looks, pods, objects and files are changed by several processes, and a single look may fall in
//! between. So what is wrong counts when the next look says the same; until then it is unknown.

use std::collections::BTreeMap;

use super::{Container, File, FileState, Report, State};

/// What is told after one look; the rest after the next ones.
const MOST_TOLD: usize = 20;

/// What looks found before.
#[derive(Debug, Default)]
pub struct Findings {
    containers: Memory<State>,
    files: Memory<FileState>,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Turn<'r> {
    /// How many containers are in each state, for certain.
    pub containers: BTreeMap<State, usize>,
    /// The same of files.
    pub files: BTreeMap<FileState, usize>,
    /// Containers of which somebody is to be told.
    pub bad_containers: Vec<&'r Container>,
    /// Files of which somebody is to be told.
    pub bad_files: Vec<&'r File>,
    /// Something is not certain yet, or there was more to tell.
    pub again: bool,
}

impl Findings {
    /// Takes what a look found.
    pub fn take<'r>(&mut self, report: &'r Report) -> Turn<'r> {
        let mut turn = Turn::default();
        let mut room = MOST_TOLD;
        let mut look = self.containers.begin();
        for container in &report.containers {
            let Container { id, state, .. } = container;
            let seen = look.see(id, *state, !state.is_wrong(), &mut room);
            let state = if seen.certain { *state } else { State::Unknown };
            *turn.containers.entry(state).or_default() += 1;
            turn.bad_containers.extend(seen.tell.then_some(container));
            turn.again |= seen.again;
        }
        look.end();
        let mut look = self.files.begin();
        for file in &report.files {
            let File { profile, state, .. } = file;
            let seen = look.see(profile, *state, !state.is_wrong(), &mut room);
            let state = if seen.certain {
                *state
            } else {
                FileState::Unknown
            };
            *turn.files.entry(state).or_default() += 1;
            turn.bad_files.extend(seen.tell.then_some(file));
            turn.again |= seen.again;
        }
        look.end();
        turn
    }
}

/// What is remembered of each thing by its key.
#[derive(Debug)]
struct Memory<S> {
    /// What was wrong at the last look.
    last: BTreeMap<String, S>,
    /// What was told.
    told: BTreeMap<String, S>,
}

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self {
            last: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }
}

/// One look.
struct Looking<'m, S> {
    memory: &'m mut Memory<S>,
    last: BTreeMap<String, S>,
    told: BTreeMap<String, S>,
}

/// What is to be made of one thing.
struct Seen {
    certain: bool,
    tell: bool,
    again: bool,
}

impl<S: Copy + Eq> Memory<S> {
    fn begin(&mut self) -> Looking<'_, S> {
        Looking {
            memory: self,
            last: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }
}

impl<S: Copy + Eq> Looking<'_, S> {
    fn see(&mut self, key: &str, state: S, is_right: bool, room: &mut usize) -> Seen {
        if is_right {
            return Seen {
                certain: true,
                tell: false,
                again: false,
            };
        }
        let Memory { last, told } = &*self.memory;
        let certain = last.get(key) == Some(&state);
        let before = told.get(key).copied();
        let is_new = certain && before != Some(state);
        let tell = is_new && *room > 0;
        if tell {
            *room -= 1;
        }
        if let Some(told) = if tell { Some(state) } else { before } {
            self.told.insert(key.to_owned(), told);
        }
        self.last.insert(key.to_owned(), state);
        Seen {
            certain,
            tell,
            again: !certain || is_new && !tell,
        }
    }

    /// What was not wrong, or is gone, is forgotten.
    fn end(self) {
        *self.memory = Memory {
            last: self.last,
            told: self.told,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(states: &[State], file: FileState) -> Report {
        let containers = states.iter().zip(0..).map(|(state, id)| Container {
            namespace: "shop".to_owned(),
            pod: format!("p{id}"),
            container: "app".to_owned(),
            id: id.to_string(),
            profile: None,
            state: *state,
            reasons: Vec::new(),
            more: 0,
            notes: Vec::new(),
        });
        Report {
            node: "n".to_owned(),
            containers: containers.collect(),
            files: vec![File {
                profile: "web".to_owned(),
                state: file,
                reason: None,
            }],
            not_looked_at: Vec::new(),
        }
    }

    /// How many are in a state, how many are told of, and whether to look again.
    fn took(findings: &mut Findings, states: &[State], of: State) -> (usize, usize, bool) {
        let report = report(states, FileState::Same);
        let turn = findings.take(&report);
        let count = turn.containers.get(&of).copied().unwrap_or_default();
        (count, turn.bad_containers.len(), turn.again)
    }

    #[test]
    fn what_is_wrong_once_is_unknown_and_twice_is_told_once() {
        use State::{Mismatch, Stale, Unknown, Verified};
        let mut findings = Findings::default();
        let of = |findings: &mut Findings, state, counted| took(findings, &[state], counted);
        assert_eq!(of(&mut findings, Verified, Verified), (1, 0, false));
        assert_eq!(of(&mut findings, Mismatch, Unknown), (1, 0, true));
        assert_eq!(of(&mut findings, Verified, Verified), (1, 0, false));
        assert_eq!(of(&mut findings, Mismatch, Unknown), (1, 0, true));
        assert_eq!(of(&mut findings, Mismatch, Mismatch), (1, 1, false));
        assert_eq!(of(&mut findings, Mismatch, Mismatch), (1, 0, false));
        // Another state is another finding.
        assert_eq!(of(&mut findings, Stale, Unknown), (1, 0, true));
        assert_eq!(of(&mut findings, Stale, Stale), (1, 1, false));
        // As is one that was right in between.
        assert_eq!(of(&mut findings, Verified, Verified), (1, 0, false));
        assert_eq!(of(&mut findings, Stale, Unknown), (1, 0, true));
        assert_eq!(of(&mut findings, Stale, Stale), (1, 1, false));
    }

    #[test]
    fn what_there_is_no_room_for_is_told_later() {
        let mut findings = Findings::default();
        let all = [State::Unbound; 50];
        let told: Vec<_> = (0..5)
            .map(|_| took(&mut findings, &all, State::Unbound))
            .collect();
        let expected = [
            (0, 0, true),
            (50, 20, true),
            (50, 20, true),
            (50, 10, false),
            (50, 0, false),
        ];
        assert_eq!(told, expected);
        // Those that are gone are forgotten.
        took(&mut findings, &[], State::Unbound);
        assert_eq!(findings.containers.told.len(), 0);
        assert_eq!(findings.containers.last.len(), 0);
    }

    #[test]
    fn files_are_told_of_as_well() {
        let mut findings = Findings::default();
        let said = report(&[], FileState::Differs);
        assert_eq!(findings.take(&said).files[&FileState::Unknown], 1);
        let turn = findings.take(&said);
        assert_eq!(
            (turn.files[&FileState::Differs], turn.bad_files.len()),
            (1, 1)
        );
        assert_eq!(findings.take(&said).bad_files.len(), 0);
        let said = report(&[], FileState::Unknown);
        assert!(!findings.take(&said).again);
    }
}
