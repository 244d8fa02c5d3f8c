//! When a recording ends by a rule. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::jobs::JobEnd;
use super::plan::PATIENCE;
use crate::api::profile_recording::{
    FINISHED, Finish, JOB_COMPLETED, JOB_FAILED, QUIET, TIME_OVER, pace, period,
};
use crate::profile::few::few;

/// How late it may be told that a node has something to hand in.
const LAG: Duration = Duration::from_secs(10);

/// What is said of nodes that did not hand in what they had.
pub(super) const NOT_HANDED_IN: &str = "not handed in is what was recorded on";

/// What rules go by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// The rules.
    pub(super) rules: Option<Finish>,
    pub(super) now: Timestamp,
    pub(super) generation: Option<i64>,
    /// When the recording was made.
    pub(super) created: Timestamp,
    /// `status.startTime`.
    pub(super) started: Option<Timestamp>,
    /// Whether a node says of a container that it recorded it.
    pub(super) records: bool,
    /// How many nodes tell of it.
    pub(super) nodes: usize,
    /// When a container made a call that it had not made before.
    pub(super) last_new: Option<Timestamp>,
    /// How the job ended.
    pub(super) job: Option<JobEnd>,
    /// What the recording says of its end by a rule.
    pub(super) finished: Option<Condition>,
    /// The nodes that have not said yet that they have handed in all.
    pub(super) open: Vec<String>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing, as far as is known.
    Open,
    /// Nothing before this time has passed.
    Later(Duration),
    /// It ends, or its end is complete: this is to be said.
    Say(Condition),
}

/// Whether a recording ends.
pub(super) fn verdict(progress: &Progress) -> Verdict {
    match &progress.finished {
        Some(said) if said.status == "True" => Verdict::Open,
        Some(said) => handed_in(progress, said),
        None => due(progress),
    }
}

fn due(progress: &Progress) -> Verdict {
    let Some(Finish { after, quiet, job }) = &progress.rules else {
        return Verdict::Open;
    };
    // An end of the same second may be that of a Job that was made with the recording.
    let end = progress.job.filter(|end| end.at >= progress.created);
    if let (Some(job), Some(JobEnd { failed, .. })) = (job, end) {
        let (reason, did) = if failed {
            (JOB_FAILED, "failed")
        } else {
            (JOB_COMPLETED, "completed")
        };
        return ends(progress, reason, format!("the Job {job} {did}"));
    }
    let read = |text: &Option<String>| text.as_deref().and_then(period);
    let mut wait: Option<Duration> = None;
    if let (Some(period), Some(started)) = (read(after), progress.started) {
        match left(progress.now, started, period) {
            None => {
                let after = after.as_deref().unwrap_or_default();
                let why = format!("{after} had passed since the first container was recorded");
                return ends(progress, TIME_OVER, why);
            }
            Some(left) => wait = Some(left),
        }
    }
    // As long as no node tells of a call, nothing is known to be quiet; and what one saw it may tell late.
    let lag = pace(progress.nodes).saturating_mul(2);
    if let (Some(period), Some(last)) = (read(quiet), progress.last_new) {
        match left(progress.now, last, period.saturating_add(lag)) {
            None => {
                let quiet = quiet.as_deref().unwrap_or_default();
                let why = format!("no container had made a new system call for {quiet}");
                return ends(progress, QUIET, why);
            }
            Some(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
        }
    }
    wait.map_or(Verdict::Open, Verdict::Later)
}

/// How much of a period is left; nothing if it has passed.
fn left(now: Timestamp, since: Timestamp, period: Duration) -> Option<Duration> {
    let left = period.saturating_sub(passed(now, since));
    (!left.is_zero()).then_some(left)
}

fn passed(now: Timestamp, since: Timestamp) -> Duration {
    let passed: SignedDuration = now.duration_since(since);
    passed.try_into().unwrap_or_default()
}

fn ends(progress: &Progress, reason: &str, message: String) -> Verdict {
    Verdict::Say(Condition {
        type_: FINISHED.to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: progress.generation,
        last_transition_time: Time(progress.now),
    })
}

/// Whether all nodes have handed in what they recorded. One that began just before the end may not have
/// said yet that it did.
fn handed_in(progress: &Progress, said: &Condition) -> Verdict {
    let since = passed(progress.now, said.last_transition_time.0);
    let patience = if progress.open.is_empty() {
        LAG
    } else {
        PATIENCE
    };
    if since < patience {
        return Verdict::Later(patience.saturating_sub(since));
    }
    let mut message = said.message.clone();
    if !progress.open.is_empty() {
        let nodes = few(&progress.open);
        message = format!("{message}; {NOT_HANDED_IN} {nodes}");
    }
    Verdict::Say(Condition {
        status: "True".to_owned(),
        message,
        last_transition_time: Time(progress.now),
        ..said.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn progress(after: Option<&str>, quiet: Option<&str>, job: Option<&str>) -> Progress {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Progress {
            rules: Some(Finish {
                after: text(after),
                quiet: text(quiet),
                job: text(job),
            }),
            now: at(1000),
            created: at(100),
            started: Some(at(400)),
            records: true,
            last_new: Some(at(900)),
            ..Progress::default()
        }
    }

    fn said(progress: &Progress) -> (String, String, String) {
        match verdict(progress) {
            Verdict::Say(Condition {
                status,
                reason,
                message,
                ..
            }) => (status, reason, message),
            other => panic!("{other:?}"),
        }
    }

    fn later(progress: &Progress) -> u64 {
        match verdict(progress) {
            Verdict::Later(after) => after.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn time_counts_from_the_first_container() {
        assert_eq!(later(&progress(Some("10m1s"), None, None)), 1);
        let (status, reason, message) = said(&progress(Some("10m"), None, None));
        assert_eq!((&*status, &*reason), ("False", TIME_OVER));
        assert!(message.starts_with("10m had passed"), "{message}");
        let waiting = Progress {
            started: None,
            ..progress(Some("10m"), None, None)
        };
        assert_eq!(verdict(&waiting), Verdict::Open);
        // A clock that was set back.
        let before = Progress {
            now: at(300),
            ..progress(Some("10m"), None, None)
        };
        assert_eq!(later(&before), 600);
    }

    #[test]
    fn quiet_counts_from_the_last_new_call() {
        // What a node has seen is told a little later.
        assert_eq!(later(&progress(None, Some("91s"), None)), 1);
        let (_, reason, message) = said(&progress(None, Some("1m30s"), None));
        assert_eq!(reason, QUIET);
        assert!(message.ends_with("for 1m30s"), "{message}");
        // Many nodes tell seldom.
        let many = Progress {
            nodes: 100,
            ..progress(None, Some("91s"), None)
        };
        assert_eq!(later(&many), 191);
        let unknown = Progress {
            last_new: None,
            ..progress(None, Some("1s"), None)
        };
        assert_eq!(verdict(&unknown), Verdict::Open);
    }

    #[test]
    fn whichever_is_first() {
        assert_eq!(later(&progress(Some("1h"), Some("2m"), None)), 30);
        assert_eq!(later(&progress(Some("11m"), Some("2h"), None)), 60);
        assert_eq!(said(&progress(Some("1h"), Some("1m"), None)).1, QUIET);
    }

    #[test]
    fn a_job_of_an_earlier_run_does_not_count() {
        let with = |end: Option<(i64, bool)>| Progress {
            job: end.map(|(end, failed)| JobEnd {
                at: at(end),
                failed,
            }),
            ..progress(None, None, Some("e2e"))
        };
        assert_eq!(verdict(&with(None)), Verdict::Open);
        assert_eq!(verdict(&with(Some((99, false)))), Verdict::Open);
        assert_eq!(said(&with(Some((100, false)))).1, JOB_COMPLETED);
        let (_, reason, message) = said(&with(Some((500, true))));
        assert_eq!((&*reason, &*message), (JOB_FAILED, "the Job e2e failed"));
    }

    #[test]
    fn it_is_finished_when_all_is_handed_in_and_stays_so() {
        let mut progress = progress(Some("1s"), None, None);
        let Verdict::Say(condition) = verdict(&progress) else {
            panic!("it is over")
        };
        progress.finished = Some(condition);
        assert_eq!(later(&progress), 10);
        progress.now = at(1010);
        assert_eq!(said(&progress).0, "True");
        progress.open = vec!["node-1".to_owned()];
        assert_eq!(later(&progress), 110);
        progress.now = at(1120);
        let (status, reason, message) = said(&progress);
        assert_eq!((&*status, &*reason), ("True", TIME_OVER));
        assert!(message.contains("not handed in") && message.contains("node-1"));
        // Another rule changes nothing.
        let Verdict::Say(condition) = verdict(&progress) else {
            panic!("it is over")
        };
        progress.finished = Some(condition);
        progress.rules = Some(Finish::default());
        assert_eq!(verdict(&progress), Verdict::Open);
        progress.rules = None;
        assert_eq!(verdict(&progress), Verdict::Open);
    }
}
