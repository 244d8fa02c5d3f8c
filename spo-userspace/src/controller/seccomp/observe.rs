//! What is known about a file: from the stores, and from the folder.

use std::sync::Arc;

use kube::core::{DeserializeGuard, ObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use serde::Deserialize;

use super::Context;
use super::content::{Limits, Refusal, content, digest_of};
use super::seen::{Claimant, FileState, Intent, Observed, Word};
use super::status::Target;
use crate::api::common::ProfileStatus;
use crate::api::daemon::Security;
use crate::api::names::{IN_USE, PARTIAL, READY, seccomp_file};
use crate::api::node_status::{NodeStatus, Reason};
use crate::api::{
    SeccompProfile, SeccompProfileSpec, SecurityProfileNodeStatus, SecurityProfilesOperatorDaemon,
};
use crate::node::profiles::{Entry, Profiles, ProfilesError};
use crate::profile::seccomp::{Restrictions, SeccompSpec};
use crate::profile::state::State;

/// A profile, or what is left of one that cannot be read: it must not keep others from being.
pub(super) type Guarded = DeserializeGuard<SeccompProfile>;
/// A node's status; older versions left some that have other fields.
pub(super) type GuardedStatus = DeserializeGuard<SecurityProfileNodeStatus>;

/// The cluster's configuration. Nothing is installed by one that cannot be read.
pub(super) type Configuration = DeserializeGuard<ConfigurationObject>;

/// Of the configuration, what concerns profiles: the rest may be of a newer version.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "SecurityProfilesOperatorDaemon")]
pub(super) struct ConfigurationObject {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ConfigurationSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct ConfigurationSpec {
    security: Option<Security>,
}

/// What a configuration says of profiles, or why that cannot be read.
pub(super) fn security(configuration: &Configuration) -> Result<Option<Security>, String> {
    match &configuration.0 {
        Ok(configuration) => Ok(configuration.spec.security.clone()),
        Err(invalid) => Err(invalid.error.clone()),
    }
}

/// What is known, and the objects that it is known from.
pub(super) struct Sight {
    pub(super) observed: Observed,
    /// For each claimant.
    pub(super) objects: Vec<Objects>,
}

pub(super) struct Objects {
    pub(super) profile: Arc<Guarded>,
    pub(super) status: Option<SecurityProfileNodeStatus>,
}

impl Context {
    /// Looks at everything that a file depends on.
    pub(super) async fn observe(self: &Arc<Self>, file: &str) -> Sight {
        let (entry, is_ours) = self.entry(file).await;
        let profiles = self.claimants(file);
        let restrictions = self.restrictions();
        let mut claimants = Vec::new();
        let mut objects = Vec::new();
        for profile in profiles {
            let target = Target {
                profile: &profile.name_any(),
                uid: &profile.uid().unwrap_or_default(),
                node: &self.node,
            };
            let name = target.name();
            let stored = self.statuses.get(&ObjectRef::new(&name));
            let stored = stored.as_deref().and_then(|stored| stored.0.as_ref().ok());
            let status = self.written.newest(&name, stored);
            claimants.push(Claimant {
                name: profile.name_any(),
                generation: profile.meta().generation,
                intent: self.intent(&profile, &restrictions),
                users: users(&profile),
                word: word(&profile),
                status: status.as_ref().map(|object| said(object, target.uid)),
            });
            objects.push(Objects { profile, status });
        }
        let observed = Observed {
            claimants,
            is_allowed: is_allowed(&entry, &restrictions),
            file: file_state(entry),
            is_ours,
        };
        Sight { observed, objects }
    }

    /// The profiles whose file it is, from the oldest.
    fn claimants(&self, file: &str) -> Vec<Arc<Guarded>> {
        let stem = file.strip_suffix(".json").unwrap_or(file);
        let mut found: Vec<_> = [stem, file]
            .into_iter()
            .filter(|name| seccomp_file(name) == file)
            .filter_map(|name| self.profiles.get(&ObjectRef::new(name)))
            .collect();
        let age = |profile: &Arc<Guarded>| {
            let created = profile.meta().creation_timestamp.clone();
            (created.map(|time| time.0), profile.name_any())
        };
        found.sort_by_key(age);
        found
    }

    fn intent(&self, profile: &Guarded, restrictions: &Result<Restrictions, Refusal>) -> Intent {
        let meta = profile.meta();
        let is_deleted = meta.deletion_timestamp.is_some();
        if is_deleted && is_released(profile) {
            return Intent::Released;
        }
        let wanted = self.wanted(profile, restrictions);
        if !is_deleted {
            return wanted;
        }
        match wanted {
            Intent::Install(Ok(content)) => Intent::Deleted(Some(content)),
            _ => Intent::Deleted(None),
        }
    }

    /// What is to become of it, if it is not deleted.
    fn wanted(&self, profile: &Guarded, restrictions: &Result<Restrictions, Refusal>) -> Intent {
        let DeserializeGuard(Ok(object)) = profile else {
            return Intent::Install(Err(unreadable(profile)));
        };
        if object.spec.state == State::Disabled {
            return Intent::Disabled;
        }
        if object.labels().contains_key(PARTIAL) {
            return Intent::Partial;
        }
        let restrictions = match restrictions {
            Ok(restrictions) => restrictions,
            Err(refusal) => return Intent::Install(Err(refusal.clone())),
        };
        let limits = Limits {
            restrictions,
            actions: &self.actions,
        };
        let lookup = |name: &str| -> Option<SeccompSpec> {
            let base = self.profiles.get(&ObjectRef::new(name))?;
            let base = base.0.as_ref().ok()?;
            Some(base.spec.clone().into())
        };
        Intent::Install(content(&object.name_any(), object, &limits, lookup))
    }

    /// What the cluster's configuration lets profiles say.
    fn restrictions(&self) -> Result<Restrictions, Refusal> {
        let Some(security) = self.security().clone() else {
            return Err(Refusal {
                reason: Reason::NoConfiguration,
                message: format!(
                    "there is no configuration {} in the namespace {}, so that it is not known what profiles may say: the operator makes one; does it run?",
                    self.configuration, self.namespace
                ),
            });
        };
        let security = security.map_err(|error| Refusal {
            reason: Reason::Unsupported,
            message: format!(
                "what the configuration {} lets profiles say cannot be read by this version: {error}",
                self.configuration
            ),
        })?;
        Ok(
            security.map_or_else(Restrictions::default, |security| Restrictions {
                allowed_syscalls: security.allowed_syscalls.into_iter().collect(),
                actions: security.allowed_seccomp_actions,
            }),
        )
    }

    /// What is in the folder, and whether it is ours.
    async fn entry(self: &Arc<Self>, file: &str) -> (Result<Entry, ProfilesError>, bool) {
        let entry = self.in_folder(file, Profiles::read).await;
        let is_ours = match &entry {
            Ok(_) | Err(ProfilesError::File { .. }) => {
                self.in_folder(file, Profiles::is_ours).await
            }
            Err(_) => Ok(false),
        };
        // It is tried again with the next change, and nothing is removed until then.
        let is_ours = is_ours.unwrap_or_else(|error| {
            tracing::warn!(file, error = chain(&error), "cannot tell whose file it is");
            false
        });
        (entry, is_ours)
    }
}

fn file_state(entry: Result<Entry, ProfilesError>) -> FileState {
    match entry {
        // Names that no profile's file can have are refused by the plan's content.
        Ok(Entry::Missing) | Err(ProfilesError::Name { .. }) => FileState::Missing,
        Ok(Entry::Other) => FileState::Other,
        Ok(Entry::File(content)) => FileState::Has(digest_of(content)),
        // The next write may mend it, or say why not.
        Err(error @ (ProfilesError::File { .. } | ProfilesError::Differs { .. })) => {
            tracing::warn!(error = chain(&error), "a file cannot be read");
            FileState::Unreadable
        }
        Err(error) => unusable(&error),
    }
}

/// Whether the configuration allows what a file says. What is no profile cannot be allowed.
fn is_allowed(
    entry: &Result<Entry, ProfilesError>,
    restrictions: &Result<Restrictions, Refusal>,
) -> bool {
    let (Ok(Entry::File(content)), Ok(restrictions)) = (entry, restrictions) else {
        return false;
    };
    // To read all files again and again would be dear.
    restrictions.allowed_syscalls.is_empty()
        || serde_json::from_slice::<SeccompProfileSpec>(content)
            .is_ok_and(|spec| restrictions.violations(&spec.into()).is_empty())
}

/// An error and its reasons, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn unusable(error: &ProfilesError) -> FileState {
    let gone = matches!(
        error,
        ProfilesError::Folder { source, .. } if source.kind() == std::io::ErrorKind::NotFound
    );
    FileState::Unusable {
        why: chain(error),
        gone,
    }
}

fn unreadable(profile: &Guarded) -> Refusal {
    let error = match &profile.0 {
        Ok(_) => String::new(),
        Err(invalid) => invalid.to_string(),
    };
    Refusal {
        reason: Reason::InvalidSeccompProfile,
        message: format!("the object cannot be read: {error}"),
    }
}

/// The pods that use it, as the operator wrote them.
fn users(profile: &Guarded) -> Vec<String> {
    match &profile.0 {
        Ok(object) => object
            .status
            .as_ref()
            .map(|status| status.active_workloads.clone())
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// What the operator said of it then.
fn word(profile: &Guarded) -> Word {
    let status = profile.0.as_ref().ok().and_then(|it| it.status.as_ref());
    let Some(status) = status else {
        return Word::default();
    };
    let ready = status.conditions.iter().find(|known| known.type_ == READY);
    Word {
        state: status.status,
        reason: ready.map(|ready| ready.reason.clone()),
        generation: ready.and_then(|ready| ready.observed_generation),
    }
}

/// What this node said of a profile. What it said of one that had the name before does not count,
/// but that it said something.
fn said(object: &SecurityProfileNodeStatus, uid: &str) -> NodeStatus {
    let is_about_this = object.owner_references().iter().any(|it| it.uid == uid);
    let status = object.status.clone().filter(|_| is_about_this);
    status.unwrap_or_default()
}

/// Whether the operator, which knows all pods, says that nothing needs the profile. It writes both
/// fields at once.
fn is_released(profile: &Guarded) -> bool {
    match &profile.0 {
        Ok(object) => object.status.as_ref().is_some_and(|status| {
            status.status == Some(ProfileStatus::Terminating) && status.active_workloads.is_empty()
        }),
        // Its status cannot be read, but the finalizer that says the same.
        Err(_) => !profile.finalizers().iter().any(|name| name == IN_USE),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn guarded(spec: &Value, metadata: &Value) -> Guarded {
        let object = json!({ "metadata": metadata, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn one_bad_object_does_not_keep_others_from_being() {
        let metadata = json!({ "name": "a", "finalizers": [IN_USE] });
        let bad = guarded(&json!({ "defaultAction": "SCMP_ACT_NEW" }), &metadata);
        let refusal = unreadable(&bad);
        assert_eq!(refusal.reason, Reason::InvalidSeccompProfile);
        assert!(refusal.message.contains("SCMP_ACT_NEW"), "{refusal:?}");
        assert!(!is_released(&bad));
        let bad = guarded(&json!({}), &json!({ "name": "a" }));
        assert!(is_released(&bad) && users(&bad).is_empty());
        // As release 0.10.1 left them, once the fields are gone that v1 does not know.
        let old = json!({ "metadata": { "name": "a-node-1" } });
        let old: GuardedStatus = serde_json::from_value(old).unwrap();
        assert!(old.0.is_err());
    }

    #[test]
    fn what_a_newer_version_says_elsewhere_is_no_matter() {
        let read = |spec: Value| {
            let object = json!({ "metadata": { "name": "spod" }, "spec": spec });
            security(&serde_json::from_value(object).unwrap())
        };
        let elsewhere = json!({
            "enricher": { "logEnricherSource": "Clairvoyance" },
            "security": { "allowedSyscalls": ["read"], "oracle": true },
        });
        let found = read(elsewhere).unwrap().unwrap();
        assert_eq!(found.allowed_syscalls, ["read"]);
        assert_eq!(read(json!({})), Ok(None));
        let unknown = json!({ "security": { "allowedSeccompActions": ["SCMP_ACT_NEW"] } });
        assert!(read(unknown).unwrap_err().contains("SCMP_ACT_NEW"));
    }

    #[test]
    fn only_the_operator_releases() {
        let spec = json!({ "defaultAction": "SCMP_ACT_LOG" });
        let mut profile = guarded(&spec, &json!({ "name": "a" })).0.unwrap();
        let mut released = |status: Value| {
            profile.status = serde_json::from_value(status).unwrap();
            is_released(&DeserializeGuard(Ok(profile.clone())))
        };
        assert!(!released(Value::Null));
        assert!(!released(json!({ "status": "Installed" })));
        assert!(!released(
            json!({ "status": "Terminating", "activeWorkloads": ["ns/pod"] })
        ));
        assert!(released(json!({ "status": "Terminating" })));
    }
}
