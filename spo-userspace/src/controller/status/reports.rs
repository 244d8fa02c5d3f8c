//! What nodes report, in as little memory as it takes: there is a report for each profile and node,
//! five thousand for a single profile on a large cluster.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt as _;

use super::observe::Guarded;
use super::plan::Report;
use crate::api::SecurityProfileNodeStatus;
use crate::api::common::ProfileStatus;
use crate::api::names;
use crate::api::node_status::NodeStatus;
use crate::controller::profile::{Kind, ProfileKey};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// By the names of the objects.
    all: HashMap<Arc<str>, Kept>,
    /// The names of the objects, by the profile that they are about: their owner.
    of: HashMap<Arc<ProfileKey>, BTreeSet<Arc<str>>>,
    /// Names of nodes, and reasons, which many reports share.
    shared: HashSet<Arc<str>>,
    /// How many times the server has listed all of them.
    listing: u32,
}

/// What is read of a report.
#[derive(Debug)]
struct Kept {
    profile: Arc<ProfileKey>,
    /// The node; of what this version cannot read, its label, which may have less than its name.
    node: Arc<str>,
    readable: bool,
    status: Option<ProfileStatus>,
    reason: Option<Arc<str>>,
    message: Option<Box<str>>,
    generation: Option<i64>,
    /// In which listing, or after which, it was last seen.
    listing: u32,
}

/// The kind of a profile, a node, and the profile's state there.
pub(super) type State<'a> = (Kind, &'a str, Option<ProfileStatus>);

impl Kept {
    /// The node's name.
    fn node<'n>(&'n self, nodes: &'n BTreeSet<String>) -> &'n str {
        let labelled = |node: &&String| names::node_label(node) == *self.node;
        let full = (!self.readable).then(|| nodes.iter().find(labelled));
        full.flatten().map_or(&self.node, String::as_str)
    }
}

impl Reports {
    /// The server begins to list all of them.
    pub(super) fn begin(&mut self) {
        self.listing = self.listing.wrapping_add(1);
    }

    /// The server has listed all of them: what it did not name is gone. Returns the profiles that this
    /// is about.
    pub(super) fn end(&mut self) -> BTreeSet<ProfileKey> {
        let listing = self.listing;
        let gone = self.all.iter().filter(|(_, kept)| kept.listing != listing);
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        self.shared = HashSet::new();
        let profiles = gone.iter().filter_map(|name| self.remove(name)).collect();
        let nodes = self.all.values().map(|kept| kept.node.clone());
        self.shared = nodes.collect();
        profiles
    }

    /// A report is there. Returns the profiles that this is about: its own, and the one that it was
    /// about before.
    pub(super) fn put(
        &mut self,
        report: &Guarded<SecurityProfileNodeStatus>,
    ) -> BTreeSet<ProfileKey> {
        let name = report.name_any();
        let mut changed: BTreeSet<_> = self.remove(&name).into_iter().collect();
        let Some(profile) = profile_of(report) else {
            return changed;
        };
        changed.insert(profile.clone());
        let (node, status) = match &report.0 {
            Ok(report) => {
                let status = report.status.clone().unwrap_or_default();
                (report.spec.node_name.as_str(), status)
            }
            // Another version wrote it: its labels have been the same in all of them.
            Err(invalid) => {
                let message = format!("this version cannot read its status: {}", invalid.error);
                let status = NodeStatus {
                    message: Some(message),
                    ..NodeStatus::default()
                };
                let label = report.labels().get(names::NODE_NAME);
                (label.map(String::as_str).unwrap_or_default(), status)
            }
        };
        let node = self.share(node);
        let name: Arc<str> = name.into();
        let known = self
            .of
            .get_key_value(&profile)
            .map(|(known, _)| known.clone());
        let profile = known.unwrap_or_else(|| Arc::new(profile));
        self.of
            .entry(profile.clone())
            .or_default()
            .insert(name.clone());
        let kept = Kept {
            profile,
            node,
            readable: report.0.is_ok(),
            status: status.status,
            reason: status.reason.map(|reason| self.share(&reason)),
            message: status.message.map(String::into_boxed_str),
            generation: status.observed_generation,
            listing: self.listing,
        };
        self.all.insert(name, kept);
        changed
    }

    /// A report is gone. Returns the profile that it was about.
    pub(super) fn remove(&mut self, name: &str) -> Option<ProfileKey> {
        let (name, kept) = self.all.remove_entry(name)?;
        if let Some(names) = self.of.get_mut(&kept.profile) {
            names.remove(&name);
            if names.is_empty() {
                self.of.remove(&kept.profile);
            }
        }
        Some((*kept.profile).clone())
    }

    /// What the nodes report of a profile, by node.
    pub(super) fn of(&self, profile: &ProfileKey, nodes: &BTreeSet<String>) -> Vec<Report> {
        let names = self.of.get(profile).into_iter().flatten();
        let kept = names.filter_map(|name| self.all.get_key_value(name));
        let mut reports: Vec<_> = kept
            .map(|(name, kept)| {
                let node = kept.node(nodes);
                let expected = names::node_status(profile.kind.name(), &profile.name, node);
                Report {
                    object: name.to_string(),
                    node: node.to_owned(),
                    status: kept.status,
                    reason: kept.reason.as_deref().map(str::to_owned),
                    message: kept.message.as_deref().map(str::to_owned),
                    generation: kept.generation,
                    current: **name == *expected,
                }
            })
            .collect();
        reports.sort_by(|a, b| a.node.cmp(&b.node));
        reports
    }

    /// Kind, node and state of each.
    pub(super) fn states(&self) -> impl Iterator<Item = State<'_>> {
        let all = self.all.values();
        all.map(|kept| (kept.profile.kind, kept.node.as_ref(), kept.status))
    }

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.shared.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.shared.insert(new.clone());
        new
    }
}

/// The profile that a report is about: its owner.
fn profile_of(report: &Guarded<SecurityProfileNodeStatus>) -> Option<ProfileKey> {
    report.owner_references().iter().find_map(|owner| {
        Some(ProfileKey {
            kind: Kind::from_name(&owner.kind)?,
            name: owner.name.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, profile: &str, node: &str) -> Guarded<SecurityProfileNodeStatus> {
        let object = json!({
            "metadata": {
                "name": name,
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "SeccompProfile", "name": profile, "uid": "1",
                }],
            },
            "spec": { "nodeName": node },
            "status": { "status": "Error", "reason": "InUse", "message": "m", "observedGeneration": 3 },
        });
        serde_json::from_value(object).unwrap()
    }

    fn key(name: &str) -> ProfileKey {
        ProfileKey {
            kind: Kind::Seccomp,
            name: name.to_owned(),
        }
    }

    fn nodes(reports: &Reports, profile: &str) -> Vec<String> {
        let reports = reports.of(&key(profile), &BTreeSet::new()).into_iter();
        reports.map(|report| report.node).collect()
    }

    #[test]
    fn what_is_put_comes_out() {
        let mut reports = Reports::default();
        let changed = reports.put(&object("seccompprofile-a-one", "a", "one"));
        assert_eq!(changed, [key("a")].into());
        reports.put(&object("of-an-older-version", "a", "two"));
        let report = |object: &str, node: &str, current| Report {
            object: object.to_owned(),
            node: node.to_owned(),
            status: Some(ProfileStatus::Error),
            reason: Some("InUse".to_owned()),
            message: Some("m".to_owned()),
            generation: Some(3),
            current,
        };
        let expected = [
            report("seccompprofile-a-one", "one", true),
            report("of-an-older-version", "two", false),
        ];
        assert_eq!(reports.of(&key("a"), &BTreeSet::new()), expected);
        assert_eq!(reports.of(&key("b"), &BTreeSet::new()), []);
    }

    #[test]
    fn a_report_that_changes_its_profile_leaves_the_old_one() {
        let mut reports = Reports::default();
        reports.put(&object("x", "a", "one"));
        let changed = reports.put(&object("x", "b", "one"));
        assert_eq!(changed, [key("a"), key("b")].into());
        assert_eq!(reports.of(&key("a"), &BTreeSet::new()), []);
        assert_eq!(nodes(&reports, "b"), ["one"]);
        assert_eq!(reports.remove("x"), Some(key("b")));
        assert_eq!(reports.remove("x"), None);
        assert!(reports.all.is_empty() && reports.of.is_empty());
    }

    #[test]
    fn what_a_listing_does_not_name_is_gone() {
        let mut reports = Reports::default();
        reports.begin();
        for node in ["one", "two", "three"] {
            reports.put(&object(node, "a", node));
        }
        assert!(reports.end().is_empty());
        reports.begin();
        reports.put(&object("one", "a", "one"));
        reports.put(&object("four", "a", "four"));
        // Until the end, what was known counts.
        assert_eq!(nodes(&reports, "a"), ["four", "one", "three", "two"]);
        assert_eq!(reports.end(), [key("a")].into());
        assert_eq!(nodes(&reports, "a"), ["four", "one"]);
        let shared: BTreeSet<_> = reports.shared.iter().map(|node| &**node).collect();
        assert_eq!(shared, ["four", "one"].into());
    }
}
