//! Where a profile of a recording is written: never over one that is somebody else's, or that somebody
//! has changed. Pure.

use std::collections::BTreeMap;

use crate::api::SeccompProfileSpec;
use crate::api::names::{SPEC_DIGEST, digest};
use crate::profile::seccomp::{SeccompSpec, diff};

/// The reason of the event that tells of a proposal.
pub(in crate::controller) const PROPOSED: &str = "ProfileProposed";

/// A profile that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::controller) struct Present {
    pub(in crate::controller) labels: BTreeMap<String, String>,
    pub(in crate::controller) annotations: BTreeMap<String, String>,
    /// Nothing if this version cannot read it.
    pub(in crate::controller) spec: Option<SeccompProfileSpec>,
    /// Whether it is being deleted, and all that is written into it with it.
    pub(in crate::controller) deleting: bool,
}

/// A profile that is to be there.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Profile {
    pub(in crate::controller) name: String,
    pub(in crate::controller) labels: BTreeMap<String, String>,
    pub(in crate::controller) annotations: BTreeMap<String, String>,
    pub(in crate::controller) spec: SeccompProfileSpec,
}

/// What is to be done to have a profile.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Put {
    /// The profile, where it is not there already.
    pub(in crate::controller) write: Option<Profile>,
    /// Why it stands elsewhere than it was to, and what differs.
    pub(in crate::controller) proposed: Option<String>,
}

/// Puts a profile in its place, or else in that of the proposal; or says why it can be in neither.
pub(in crate::controller) fn put(
    present: &BTreeMap<String, Present>,
    mut profile: Profile,
    proposal: String,
) -> Result<Put, String> {
    profile
        .annotations
        .insert(SPEC_DIGEST.to_owned(), digest_of(&profile.spec));
    let Some(theirs) = taken(present, &profile) else {
        return Ok(Put {
            write: changed(present, profile),
            proposed: None,
        });
    };
    let name = std::mem::replace(&mut profile.name, proposal);
    if let Some(reason) = taken(present, &profile) {
        return Err(format!(
            "{name} is not overwritten: {theirs}; nor is {}: {reason}. Delete one of them to have what was recorded",
            profile.name
        ));
    }
    let difference = difference(present, &name, &profile.spec);
    let message = format!(
        "{name} is not overwritten: {theirs}. What was recorded is in {}; {difference}",
        profile.name
    );
    let write = changed(present, profile);
    Ok(Put {
        proposed: write.is_some().then_some(message),
        write,
    })
}

fn changed(present: &BTreeMap<String, Present>, profile: Profile) -> Option<Profile> {
    let same = present.get(&profile.name).is_some_and(|present| {
        let has = |(key, value): (&String, &String)| present.annotations.get(key) == Some(value);
        let spec = present.spec.as_ref();
        spec == Some(&profile.spec) && profile.annotations.iter().all(has) && !present.deleting
    });
    (!same).then_some(profile)
}

/// Why a profile must not be written where one is.
fn taken(present: &BTreeMap<String, Present>, profile: &Profile) -> Option<&'static str> {
    let present = present.get(&profile.name)?;
    if !is_own(present, &profile.labels) {
        Some("it is not of this recording")
    } else if !is_untouched(present) {
        Some("somebody has changed it since")
    } else {
        None
    }
}

/// Whether a profile is of the recording and the container that these labels name.
pub(in crate::controller) fn is_own(present: &Present, labels: &BTreeMap<String, String>) -> bool {
    let mut labels = labels.iter();
    labels.all(|(key, value)| present.labels.get(key) == Some(value))
}

/// Whether a profile is as it was written.
pub(in crate::controller) fn is_untouched(present: &Present) -> bool {
    let digest = present.annotations.get(SPEC_DIGEST);
    digest.is_some() && present.spec.as_ref().map(digest_of).as_ref() == digest
}

fn difference(
    present: &BTreeMap<String, Present>,
    name: &str,
    spec: &SeccompProfileSpec,
) -> String {
    let present = present.get(name);
    let Some(theirs) = present.and_then(|present| present.spec.clone()) else {
        return "what differs cannot be told, since this version cannot read it".to_owned();
    };
    let difference = diff(&SeccompSpec::from(theirs), &SeccompSpec::from(spec.clone()));
    if difference.is_same() {
        "both allow the same".to_owned()
    } else {
        difference.to_string()
    }
}

/// Tells whether a profile is as it was written.
pub(in crate::controller) fn digest_of(spec: &SeccompProfileSpec) -> String {
    digest(serde_json::to_vec(spec).unwrap_or_default())
}
