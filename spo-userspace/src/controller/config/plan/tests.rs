use serde_json::json;

use super::super::render::Own;
use super::*;

fn settings() -> Settings {
    Settings {
        namespace: "ns".to_owned(),
        kubelet: "/var/lib/kubelet".to_owned(),
        uid: "1".to_owned(),
        spec: crate::api::SecurityProfilesOperatorDaemonSpec::default(),
        own: Own {
            image: "image".to_owned(),
            ..Own::default()
        },
        webhook: true,
        monitors: true,
    }
}

/// Everything was written, and is there.
fn complete() -> Observed {
    let settings = settings();
    let mut observed = Observed {
        settings: Some(settings.clone()),
        live: BTreeMap::new(),
        written: BTreeMap::new(),
    };
    for wanted in render(&settings) {
        let version = Version {
            uid: "a".to_owned(),
            number: 5,
        };
        let written = Written {
            hash: wanted.hash.clone(),
            version: version.clone(),
        };
        if !wanted.optional {
            observed.live.insert(wanted.key(), version);
        }
        observed.written.insert(wanted.key(), written);
    }
    observed
}

fn keys(observed: &Observed) -> Vec<Key> {
    writes(observed).iter().map(Wanted::key).collect()
}

const DAEMONS_KEY: &str = "DaemonSet/spod";

#[test]
fn what_is_as_it_should_be_is_not_written() {
    assert!(keys(&complete()).is_empty());
}

#[test]
fn everything_is_written_once_after_the_start() {
    let mut observed = complete();
    observed.written.clear();
    assert_eq!(keys(&observed).len(), 6);
    observed.settings = None;
    assert!(keys(&observed).is_empty());
}

#[test]
fn what_somebody_else_changed_or_deleted_is_written_again() {
    let mut observed = complete();
    observed.live.get_mut(DAEMONS_KEY).unwrap().number = 6;
    assert_eq!(keys(&observed), [DAEMONS_KEY]);
    let mut observed = complete();
    observed.live.get_mut(DAEMONS_KEY).unwrap().uid = "b".to_owned();
    assert_eq!(keys(&observed), [DAEMONS_KEY]);
    let mut observed = complete();
    observed.live.remove(DAEMONS_KEY);
    assert_eq!(keys(&observed), [DAEMONS_KEY]);
}

#[test]
fn old_news_is_no_change() {
    let mut observed = complete();
    observed.live.get_mut(DAEMONS_KEY).unwrap().number = 4;
    assert!(keys(&observed).is_empty());
}

#[test]
fn a_changed_configuration_changes_what_depends_on_it() {
    let mut observed = complete();
    observed.settings.as_mut().unwrap().spec.verbosity = Some(1);
    let changed = [DAEMONS_KEY, "Deployment/security-profiles-operator-webhook"];
    assert_eq!(keys(&observed), changed);
}

#[test]
fn what_is_no_longer_wanted_is_forgotten() {
    let mut observed = complete();
    assert_eq!(kept(&observed), observed.written);
    observed.settings.as_mut().unwrap().monitors = false;
    assert_eq!(kept(&observed).len(), 5);
    observed.settings = None;
    assert_eq!(kept(&observed).len(), 6);
}

fn daemons() -> Daemons {
    Daemons {
        generation: 2,
        observed: 2,
        desired: 3,
        updated: 3,
        ready: 3,
    }
}

fn told(change: impl FnOnce(&mut Progress<'_>)) -> (String, String, String) {
    told_after(None, change)
}

fn told_after(
    before: Option<DaemonState>,
    change: impl FnOnce(&mut Progress<'_>),
) -> (String, String, String) {
    let known = SecurityProfilesOperatorDaemonStatus {
        state: before,
        ..SecurityProfilesOperatorDaemonStatus::default()
    };
    let settings = settings();
    let mut progress = Progress {
        generation: 7,
        known: &known,
        settings: Some(&settings),
        failure: None,
        daemons: Some(daemons()),
        written: 2,
        webhook: None,
        unready: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    change(&mut progress);
    let status = status(&progress).unwrap();
    let ready = status.conditions.into_iter().next().unwrap();
    assert_eq!(ready.observed_generation, Some(7));
    let expected = status.state == Some(DaemonState::Running);
    assert_eq!(ready.status == "True", expected);
    let state = json!(status.state).as_str().unwrap().to_owned();
    (state, ready.reason, ready.message)
}

fn words(state: &str, reason: &str, message: &str) -> (String, String, String) {
    (state.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn the_states_follow_from_the_counts() {
    assert_eq!(
        told(|_| {}),
        words("Running", "Available", "the daemons of 3 nodes are ready")
    );
    assert_eq!(
        told(|progress| progress.settings = None).0,
        "Pending",
        "the operator's own Deployment is not known"
    );
    assert_eq!(told(|progress| progress.daemons = None).0, "Creating");
    let some = |progress: &mut Progress<'_>| progress.daemons.as_mut().unwrap().ready = 1;
    assert_eq!(
        told(some),
        words("Creating", "Creating", "1 of 3 daemons are ready")
    );
    let running = Some(DaemonState::Running);
    assert_eq!(told_after(running, some).1, "Unavailable");
    let old = |progress: &mut Progress<'_>| progress.daemons.as_mut().unwrap().updated = 1;
    let message = "3 of 3 daemons are ready, 1 are up to date";
    assert_eq!(
        told_after(running, old),
        words("Updating", "Updating", message)
    );
    let failed = |progress: &mut Progress<'_>| progress.failure = Some("no right".to_owned());
    assert_eq!(told(failed), words("Error", "Unavailable", "no right"));
}

#[test]
fn counts_of_an_older_version_of_the_daemons_do_not_count() {
    let running = Some(DaemonState::Running);
    let written = |progress: &mut Progress<'_>| progress.written = 3;
    assert_eq!(told_after(running, written).0, "Updating");
    let observed = |progress: &mut Progress<'_>| progress.daemons.as_mut().unwrap().observed = 1;
    assert_eq!(told(observed).0, "Creating");
}

#[test]
fn nodes_are_named_and_counted() {
    let nodes = |progress: &mut Progress<'_>| {
        progress.daemons.as_mut().unwrap().ready = 0;
        progress.unready = ["a", "b", "c", "d", "e"]
            .map(|node| Unready {
                node: node.to_owned(),
                why: (node == "a").then(|| "ImagePullBackOff".to_owned()),
            })
            .to_vec();
    };
    let message = "0 of 3 daemons are ready; not on a (ImagePullBackOff), b, c and 2 more";
    assert_eq!(told(nodes).2, message);
}

#[test]
fn what_is_not_supported_is_told() {
    let mut other = settings();
    other.spec.enable_app_armor = true;
    other.spec.host_proc_volume_path = Some("/hostproc".to_owned());
    let security = json!({
        "disableOciArtifactSignatureVerification": true,
        "allowedIdentityRegexp": "a",
        "allowedOidcIssuerRegexp": "b",
    });
    other.spec.security = serde_json::from_value(security).unwrap();
    let told = told(|progress| {
        // The daemons run all the same.
        progress.webhook = Some(Replicas {
            available: 0,
            wanted: 3,
        });
    });
    let message = "the daemons of 3 nodes are ready; the webhook has no replica that answers, of 3";
    assert_eq!(told, words("Running", "Available", message));
    let known = SecurityProfilesOperatorDaemonStatus::default();
    let progress = Progress {
        generation: 1,
        known: &known,
        settings: Some(&other),
        failure: None,
        daemons: Some(daemons()),
        written: 0,
        webhook: None,
        unready: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    let message = status(&progress).unwrap().conditions[0].message.clone();
    let fields = [
        "spec.enableAppArmor",
        "spec.hostProcVolumePath",
        "spec.security.disableOciArtifactSignatureVerification",
        "spec.security.allowedIdentityRegexp",
        "spec.security.allowedOidcIssuerRegexp",
    ];
    let end = format!(
        "not supported by this version, and left out: {}",
        fields.join(", ")
    );
    assert!(message.ends_with(&end), "{message}");
    other.spec.host_proc_volume_path = Some("/proc".to_owned());
    other.spec.security = serde_json::from_value(json!({})).unwrap();
    assert_eq!(unsupported(&other.spec), ["spec.enableAppArmor"]);
}

#[test]
fn a_status_that_is_true_is_not_written_again() {
    let known = SecurityProfilesOperatorDaemonStatus::default();
    let settings = settings();
    let progress = Progress {
        generation: 1,
        known: &known,
        settings: Some(&settings),
        failure: None,
        daemons: Some(daemons()),
        written: 0,
        webhook: None,
        unready: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    let first = status(&progress).unwrap();
    let later = Progress {
        known: &first,
        now: Timestamp::MAX,
        ..progress
    };
    assert_eq!(status(&later), None);
}
