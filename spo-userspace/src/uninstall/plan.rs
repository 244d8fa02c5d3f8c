//! What is to be done, by what was seen. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Keep;
use super::observe::{Object, Seen};
use super::own::{self, Presence};
use crate::api::names::{
    BOUND, FINALIZER, IN_USE, OLD_NODE_FINALIZER, OLD_PARTIAL_FINALIZER, RECORDED, UNMERGED,
    seccomp_file,
};
use crate::api::pods::SeccompFile;
use crate::cluster::MANAGER;

/// What the reference holds on recordings and bindings.
const OLD_FINALIZERS: [&str; 3] = [RECORDED, BOUND, UNMERGED];
const SECCOMP: &str = "SeccompProfile";

/// A pod, and the files of profiles that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// As `namespace/name`.
    pub pod: String,
    /// The node that it is on, if it is on one.
    pub node: Option<String>,
    /// As it names them, such as `operator/nginx.json`.
    pub files: Vec<String>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// Pods use profiles that would go.
    InUse(Vec<Use>),
    /// Nobody knows which image to run on nodes.
    NoImage,
}

/// When something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Operator,
    Webhooks,
    Daemons,
    Nodes,
    Objects,
    Rest,
}

impl Phase {
    /// In their order.
    pub(super) const ALL: [Self; 6] = [
        Self::Operator,
        Self::Webhooks,
        Self::Daemons,
        Self::Nodes,
        Self::Objects,
        Self::Rest,
    ];
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It gets no replicas.
    Stop,
    /// It goes, whatever finalizers of ours hold it.
    Delete,
    /// It stays, without finalizers of ours.
    Release,
    /// Files of ours go from it.
    Clean,
    /// Nothing: it is a node that does not answer.
    Unreachable,
    /// Nothing: it is somebody else's.
    Foreign,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    #[serde(skip)]
    pub(super) phase: Phase,
    /// The object's kind.
    pub kind: String,
    /// The object's namespace, if it is in one.
    pub namespace: Option<String>,
    /// The object's name; of many that go together, how many there are.
    pub name: String,
    /// What is done to it.
    pub action: Action,
    /// What else there is to know.
    pub note: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Why it is not done.
    pub refused: Option<Refusal>,
    /// In the order in which it is done.
    pub steps: Vec<Step>,
    /// Files that stay on nodes.
    pub(super) keep: BTreeSet<String>,
}

/// The plan.
pub fn plan(seen: &Seen, keep: Keep) -> Plan {
    let mut steps = Vec::new();
    let mut step = |phase, kind: &str, namespace: Option<&str>, name: &str, action, note| {
        steps.push(Step {
            phase,
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            action,
            note,
        });
    };
    let space = Some(seen.namespace.as_str());
    if seen.operator.is_some_and(|replicas| replicas != 0) {
        step(
            Phase::Operator,
            "Deployment",
            space,
            MANAGER,
            Action::Stop,
            None,
        );
    }
    for (own, presence) in own::all().iter().zip(&seen.own) {
        let (action, note) = match presence {
            Presence::Absent => continue,
            Presence::Ours => (Action::Delete, None),
            Presence::Foreign => (
                Action::Foreign,
                Some(format!("it has no label app={MANAGER}")),
            ),
        };
        let namespace = space.filter(|_| own.is_namespaced());
        step(
            own.phase,
            &own.resource.kind,
            namespace,
            own.name,
            action,
            note,
        );
    }
    let kept = if keep == Keep::Used {
        used(&seen.uses)
    } else {
        BTreeSet::new()
    };
    for node in seen.nodes.iter().filter(|_| keep != Keep::All) {
        let action = if node.is_ready {
            Action::Clean
        } else {
            Action::Unreachable
        };
        step(Phase::Nodes, "Node", None, &node.name, action, None);
    }
    for object in &seen.objects {
        let stays = keep == Keep::All
            || (object.kind == SECCOMP && kept.contains(&seccomp_file(&object.name)));
        let (action, note) = if stays {
            let goes = if object.kind == SECCOMP {
                "it was deleted before, and goes; its file stays on the nodes"
            } else {
                "it was deleted before, and goes"
            };
            let note = object.deleted.then(|| goes.to_owned());
            (Action::Release, note)
        } else {
            (Action::Delete, left_of(object))
        };
        let namespace = object.namespace.as_deref();
        step(
            Phase::Objects,
            &object.kind,
            namespace,
            &object.name,
            action,
            note,
        );
    }
    if seen.reports > 0 {
        let all = format!("({})", seen.reports);
        step(Phase::Objects, REPORTS, None, &all, Action::Delete, None);
    }
    // Within a phase the order is kept.
    steps.sort_by_key(|step| step.phase);
    Plan {
        refused: refusal(seen, keep),
        steps,
        keep: kept,
    }
}

/// What nodes report.
pub(super) const REPORTS: &str = "SecurityProfileNodeStatus";

fn refusal(seen: &Seen, keep: Keep) -> Option<Refusal> {
    if keep == Keep::Nothing && !seen.uses.is_empty() {
        return Some(Refusal::InUse(seen.uses.clone()));
    }
    let cleans = keep != Keep::All && seen.nodes.iter().any(|node| node.is_ready);
    (cleans && seen.runs.image.is_none()).then_some(Refusal::NoImage)
}

/// The names of the files that pods use.
pub(super) fn used(uses: &[Use]) -> BTreeSet<String> {
    let files = uses.iter().flat_map(|one| &one.files);
    let files = files.filter_map(|path| SeccompFile::of(path));
    files.map(|file| file.file_name()).collect()
}

/// What stays on nodes of a profile that only the reference can have installed.
fn left_of(object: &Object) -> Option<String> {
    let nodes = object.finalizers.iter();
    let nodes = nodes
        .filter(|name| name.ends_with(OLD_NODE_FINALIZER))
        .count();
    let how = match object.kind.as_str() {
        "AppArmorProfile" => "apparmor_parser -R",
        "SelinuxProfile" | "RawSelinuxProfile" => "semodule -r",
        _ => return None,
    };
    (nodes > 0).then(|| {
        format!("the older operator's policy stays loaded on nodes ({nodes}); {how} removes it")
    })
}

/// The finalizers that stay: those of others.
pub(super) fn foreign(finalizers: &[String]) -> Vec<String> {
    let is_ours = |name: &str| {
        [FINALIZER, IN_USE, OLD_PARTIAL_FINALIZER].contains(&name)
            || OLD_FINALIZERS.contains(&name)
            || (name.ends_with(OLD_NODE_FINALIZER) && !name.contains('/'))
    };
    let foreign = finalizers.iter().filter(|name| !is_ours(name));
    foreign.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::observe::{OneNode, Runs};
    use super::*;

    fn profile(kind: &str, name: &str, finalizers: &[&str]) -> Object {
        Object {
            kind: kind.to_owned(),
            name: name.to_owned(),
            finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
            ..Object::default()
        }
    }

    fn seen() -> Seen {
        let mut own = vec![Presence::Ours; own::all().len()];
        own[4] = Presence::Foreign;
        own[7] = Presence::Absent;
        let node = |name: &str, is_ready| OneNode {
            name: name.to_owned(),
            is_ready,
        };
        Seen {
            namespace: "spo".to_owned(),
            is_active: true,
            operator: Some(3),
            own,
            objects: vec![
                profile(SECCOMP, "web", &[FINALIZER]),
                profile(SECCOMP, "db.json", &[]),
                profile("SelinuxProfile", "old", &["one-deleted"]),
            ],
            reports: 4,
            nodes: vec![node("one", true), node("two", false)],
            uses: Vec::new(),
            runs: Runs {
                image: Some("spo".to_owned()),
                ..Runs::default()
            },
        }
    }

    fn lines(plan: &Plan) -> String {
        let lines = plan.steps.iter().map(|step| {
            let Step {
                phase,
                kind,
                name,
                action,
                note,
                ..
            } = step;
            let note = note.as_deref().unwrap_or_default();
            format!("{phase:?} {kind} {name} {action:?} {note}")
                .trim_end()
                .to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn writers_go_first_and_what_a_further_run_needs_goes_last() {
        let plan = plan(&seen(), Keep::Nothing);
        assert_eq!(plan.refused, None);
        insta::assert_snapshot!(lines(&plan));
    }

    #[test]
    fn what_pods_use_is_not_removed() {
        let mut seen = seen();
        seen.uses = vec![Use {
            pod: "shop/web-1".to_owned(),
            node: None,
            files: vec![
                "operator/web.json".to_owned(),
                "./operator/a//db.json".to_owned(),
            ],
        }];
        let refused = plan(&seen, Keep::Nothing).refused;
        assert_eq!(refused, Some(Refusal::InUse(seen.uses.clone())));
        let used = plan(&seen, Keep::Used);
        assert_eq!(used.refused, None);
        assert_eq!(Vec::from_iter(&used.keep), ["db.json", "web.json"]);
        let action = |plan: &Plan, name: &str| {
            let step = plan.steps.iter().find(|step| step.name == name);
            step.map(|step| step.action.clone())
        };
        assert_eq!(action(&used, "web"), Some(Action::Release));
        assert_eq!(action(&used, "db.json"), Some(Action::Release));
        assert_eq!(action(&used, "old"), Some(Action::Delete));
        let all = plan(&seen, Keep::All);
        assert_eq!(all.refused, None);
        assert_eq!(action(&all, "old"), Some(Action::Release));
        assert_eq!(action(&all, "one"), None, "nodes are left as they are");
    }

    #[test]
    fn without_an_image_nodes_cannot_be_cleaned() {
        let mut seen = seen();
        seen.runs.image = None;
        assert_eq!(plan(&seen, Keep::Nothing).refused, Some(Refusal::NoImage));
        assert_eq!(plan(&seen, Keep::All).refused, None);
        seen.nodes.clear();
        assert_eq!(plan(&seen, Keep::Nothing).refused, None);
    }

    #[test]
    fn finalizers_of_others_stay() {
        let all = [
            FINALIZER,
            IN_USE,
            "node-1-deleted",
            "spo.x-k8s.io/partial-profile-finalizer",
            "active-workload-lock",
            "active-seccomp-profile-recording-lock",
            "spo.x-k8s.io/has-unmerged-profiles",
            "example.com/backup",
            "example.com/is-deleted",
        ];
        let all = all.map(str::to_owned);
        assert_eq!(
            foreign(&all),
            ["example.com/backup", "example.com/is-deleted"]
        );
    }
}
