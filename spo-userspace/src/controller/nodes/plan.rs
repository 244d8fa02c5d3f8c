//! Whether a node's daemon is to begin anew. Pure.

use std::time::Duration;

/// The least time between two repairs of one node.
pub(super) const PAUSE: Duration = Duration::from_mins(2);

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    /// Whether its daemon reports that its folder is unusable.
    pub(super) broken: bool,
    /// Whether the daemon has a pod that nobody has deleted.
    pub(super) pod: bool,
    /// The time since the last repair by this process.
    pub(super) since_last: Option<Duration>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, until something changes.
    Nothing,
    /// Delete the pod.
    Restart,
    /// Look again after this time.
    Wait(Duration),
}

pub(super) fn plan(observed: &Observed) -> Decision {
    let Observed {
        broken,
        pod,
        since_last,
    } = *observed;
    if !broken || !pod {
        return Decision::Nothing;
    }
    match since_last.and_then(|time| PAUSE.checked_sub(time)) {
        Some(left) if !left.is_zero() => Decision::Wait(left),
        _ => Decision::Restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_repaired_at_most_every_two_minutes() {
        let seconds = Duration::from_secs;
        for (broken, pod, since_last, expected) in [
            (true, true, None, Decision::Restart),
            (true, true, Some(seconds(1)), Decision::Wait(seconds(119))),
            (true, true, Some(seconds(120)), Decision::Restart),
            (true, true, Some(seconds(500)), Decision::Restart),
            (true, false, None, Decision::Nothing),
            (false, true, None, Decision::Nothing),
        ] {
            let observed = Observed {
                broken,
                pod,
                since_last,
            };
            assert_eq!(plan(&observed), expected, "{observed:?}");
        }
    }
}
