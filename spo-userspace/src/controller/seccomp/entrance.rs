//! Whether the kubelet finds the files at all: it gets to them through a link beside its own.

use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Context;
use super::plan::{Plan, StatusStep, warn_once};
use super::seen::Observed;
use crate::api::common::ProfileStatus;
use crate::api::node_status::Reason;
use crate::node::entrance::Trouble;
use crate::node::profiles::{self, Noticed};

/// What is in a file that the kubelet does not find is not installed. Files are kept in order all
/// the same, so that nothing is missing once it finds them.
pub(super) fn behind(trouble: Option<&Trouble>, observed: &Observed, plan: Plan) -> Plan {
    let Some(Trouble { why, is_mended }) = trouble else {
        return plan;
    };
    let (reason, remedy) = if *is_mended {
        let remedy = "the operator restarts its pod on this node, which sets that up again";
        (Reason::FolderUnusable, remedy)
    } else {
        let remedy = "then the operator has this node set up again, and not before";
        (Reason::SetupBlocked, remedy)
    };
    let message = format!("the kubelet may not find the profile: {why}; {remedy}");
    let mut plan = plan;
    let mut note = None;
    for (number, (claimant, step)) in observed
        .claimants
        .iter()
        .zip(&mut plan.statuses)
        .enumerate()
    {
        let StatusStep::Say(said) = step else {
            continue;
        };
        if said.state != ProfileStatus::Installed {
            continue;
        }
        said.state = ProfileStatus::Error;
        said.reason = Some(reason);
        said.message = Some(message.clone());
        if number == 0 {
            note = warn_once(claimant, reason, &message);
        }
    }
    Plan {
        note: note.or(plan.note),
        ..plan
    }
}

impl Context {
    /// What keeps the kubelet from the files, as it was seen last.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks again; whether something else is the matter than before. Where nothing can be seen, that
    /// is said, and what was seen before counts.
    pub(super) async fn look(&self) -> bool {
        let Some(entrance) = self.entrance.clone() else {
            return false;
        };
        let now = match tokio::task::spawn_blocking(move || entrance.look()).await {
            Ok(Ok(now)) => now,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot tell whether the kubelet finds profiles");
                self.metrics.watch_failed("entrance");
                return false;
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble == now {
            return false;
        }
        if let Some(Trouble { why, .. }) = &now {
            tracing::warn!(why, "the kubelet may not find profiles");
        } else {
            tracing::info!("the kubelet finds profiles again");
        }
        *trouble = now;
        true
    }

    /// Watches the kubelet's folder, if it is known.
    pub(super) async fn notice_entrance(self: Arc<Self>, stop: CancellationToken) {
        let Some(entrance) = &self.entrance else {
            return;
        };
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let metrics = self.metrics.clone();
        let watching = profiles::watch(
            entrance.folder().to_owned(),
            stop,
            // When nobody listens any more, the process ends.
            move |noticed| drop(sender.send(noticed)),
            move |error| {
                tracing::warn!(%error, "cannot watch the kubelet's folder of profiles; trying again");
                metrics.watch_failed("entrance");
            },
        );
        let taking = async {
            while let Some(noticed) = receiver.recv().await {
                let matters = match &noticed {
                    Noticed::File(name) => entrance.has(name),
                    Noticed::Everything | Noticed::Gone => true,
                };
                if matters && self.look().await {
                    self.every_profile();
                }
            }
        };
        tokio::join!(watching, taking);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::node_status::NodeStatus;
    use crate::controller::seccomp::content::Content;
    use crate::controller::seccomp::plan::{FileStep, plan};
    use crate::controller::seccomp::seen::{Claimant, FileState, Intent, Word};

    fn observed(intent: Intent, file: FileState) -> Observed {
        Observed {
            claimants: vec![Claimant {
                name: "a".to_owned(),
                generation: Some(2),
                intent,
                users: vec!["ns/pod".to_owned()],
                word: Word::default(),
                status: None,
            }],
            file,
            is_ours: true,
            is_allowed: true,
        }
    }

    fn content() -> Content {
        Content {
            text: "{}".to_owned(),
            digest: "new".to_owned(),
        }
    }

    fn trouble(is_mended: bool) -> Trouble {
        let why = "why".to_owned();
        Trouble { why, is_mended }
    }

    #[test]
    fn what_is_not_found_is_not_installed_and_is_kept_in_order() {
        for file in [
            FileState::Missing,
            FileState::Has("new".to_owned()),
            FileState::Has("old".to_owned()),
        ] {
            let mut observed = observed(Intent::Install(Ok(content())), file);
            let before = plan(&observed);
            assert_eq!(behind(None, &observed, before.clone()), before);
            for (is_mended, reason) in [
                (true, Reason::FolderUnusable),
                (false, Reason::SetupBlocked),
            ] {
                let after = behind(Some(&trouble(is_mended)), &observed, before.clone());
                assert_eq!((&after.file, after.again), (&before.file, before.again));
                let [StatusStep::Say(said)] = &after.statuses[..] else {
                    panic!("{after:?}");
                };
                assert_eq!(said.state, ProfileStatus::Error);
                assert_eq!(
                    (said.reason, &said.digest),
                    (Some(reason), &Some("new".to_owned()))
                );
                assert_eq!(after.note.as_ref().unwrap().reason, reason.to_string());
                // Said once; then what became of the file is told.
                observed.claimants[0].status = Some(NodeStatus {
                    status: Some(said.state),
                    reason: said.reason.map(|reason| reason.to_string()),
                    message: said.message.clone(),
                    ..NodeStatus::default()
                });
                let again = behind(Some(&trouble(is_mended)), &observed, before.clone());
                assert_eq!(again.note, before.note);
                observed.claimants[0].status = None;
            }
        }
    }

    #[test]
    fn what_is_not_installed_says_what_it_said() {
        let old = || FileState::Has("old".to_owned());
        for (intent, file) in [
            (Intent::Disabled, FileState::Missing),
            (Intent::Deleted(None), old()),
            (Intent::Released, old()),
        ] {
            let observed = observed(intent, file);
            let before = plan(&observed);
            let after = behind(Some(&trouble(true)), &observed, before.clone());
            assert_eq!(after, before);
        }
        // A file that stays for pods is as far from them as any.
        let observed = observed(Intent::Disabled, old());
        let after = behind(Some(&trouble(true)), &observed, plan(&observed));
        assert_eq!(after.file, FileStep::Leave);
        assert!(
            matches!(&after.statuses[..], [StatusStep::Say(said)] if said.reason == Some(Reason::FolderUnusable))
        );
    }
}
