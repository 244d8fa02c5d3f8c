//! What a pod becomes.

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use super::super::lookup::Server;
use super::super::policy::{is_for, joined, refusal, unheld};
use super::super::review::{Answer, Request};
use super::super::standing::Standing;
use super::super::state::Found;
use super::super::uses::{self, Named};
use super::fields::{Part, Under, forget, give, said, within};
use super::{Circumstances, Decision, Gift, LISTS, Plan, Profiles};
use crate::api::bindings::{Applied, BINDINGS, BOUND_POD, GATE, Outcome};
use crate::api::common::ProfileKind;
use crate::api::profile_binding::{BindingMode, WhenNotInstalled};
use crate::cluster::events::Note;
use crate::profile::diagnostic::{escape, quoted};
use crate::profile::few::few;

/// On the copy of a pod that the kubelet has from a file: it runs already, as the file says.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Why no binding counts for a pod, whatever they say.
fn exempt(pod: &Value, server: Server) -> Option<&'static str> {
    if !pod["metadata"]["annotations"][MIRROR].is_null() {
        return Some("a static pod stays as its file says");
    }
    let windows = pod["spec"]["os"]["name"] == "windows";
    (windows && server.has_systems()).then_some("Windows has no such profiles")
}

/// What becomes of a pod.
pub(in crate::webhook) fn decide(
    request: &Request,
    plan: Plan,
    profiles: &Profiles,
    circumstances: &Circumstances<'_>,
) -> Decision {
    let Plan { gifts, warnings } = plan;
    let mut decider = Decider {
        request,
        circumstances,
        pod: request.object.clone(),
        warnings: Vec::new(),
        refusals: Vec::new(),
        applied: Vec::new(),
        notes: Vec::new(),
    };
    match exempt(&request.object, circumstances.server) {
        Some(why) if !gifts.is_empty() => {
            decider.warnings.push(format!("no binding counts: {why}"));
        }
        Some(_) => {}
        None => decider.apply(gifts, profiles),
    }
    if request.sub_resource.is_empty() {
        decider.annotate();
    }
    let Decider {
        pod: wanted,
        warnings: mut all,
        refusals,
        notes,
        ..
    } = decider;
    all.extend(warnings);
    let patch = json_patch::diff(&request.object, &wanted);
    let refused = joined(&refusals);
    Decision {
        answer: Answer {
            patch: (refused.is_none() && !patch.is_empty()).then_some(patch),
            refusal: refused,
            warnings: all,
        },
        notes,
    }
}

struct Decider<'d> {
    request: &'d Request,
    circumstances: &'d Circumstances<'d>,
    pod: Value,
    warnings: Vec<String>,
    refusals: Vec<String>,
    applied: Vec<Applied>,
    notes: Vec<(ObjectReference, Note)>,
}

impl Decider<'_> {
    fn apply(&mut self, mut gifts: Vec<Gift>, profiles: &Profiles) {
        gifts.retain(|gift| !self.yields(gift));
        // What one binding does is told once, for all the parts that it is done to.
        let mut groups: Vec<Vec<Gift>> = Vec::new();
        for gift in gifts {
            let same = |group: &&mut Vec<Gift>| group.iter().any(|one| one.binding == gift.binding);
            match groups.iter_mut().find(same) {
                Some(group) => group.push(gift),
                None => groups.push(vec![gift]),
            }
        }
        for group in &groups {
            self.apply_group(group, profiles);
        }
        self.tell_of_unheld(&groups);
    }

    /// Whether a container is recorded from the audit log, for which it needs another profile.
    fn yields(&mut self, gift: &Gift) -> bool {
        let Part::Container(_, _, name) = &gift.part else {
            return false;
        };
        let recording = self.circumstances.recorded.get(name);
        let Some(recording) = recording.filter(|_| gift.kind == ProfileKind::SeccompProfile) else {
            return false;
        };
        self.warnings.push(format!(
            "{} is recorded by {}, and does not get the profile of the ProfileBinding {} until that has ended",
            parts(std::slice::from_ref(gift)),
            quoted(recording),
            quoted(&gift.binding)
        ));
        true
    }

    fn apply_group(&mut self, group: &[Gift], profiles: &Profiles) {
        let Some(gift) = group.first() else {
            return;
        };
        let parts = parts(group);
        let named = gift.named();
        let found = |name: &str| profiles.get(&(gift.kind, name.to_owned()));
        let (bound, form) = (found(&gift.profile), found(&named));
        let mut all = [bound, form].into_iter().flatten();
        if let Some(found) = all.find(|one| !is_for(&one.namespaces, self.circumstances.labels)) {
            let by = format!("by the ProfileBinding {}, {parts}", quoted(&gift.binding));
            let why = refusal(&by, found, &self.request.namespace);
            return self.refuse(gift, why);
        }
        let (outcome, under) = match standing(gift, bound, form) {
            Standing::OnNodes(nodes) => {
                if nodes.ready < nodes.desired {
                    self.warnings.push(format!(
                        "{} is on {} of {} nodes: on others, {parts} waits for it",
                        of(gift),
                        nodes.ready,
                        nodes.desired
                    ));
                }
                (Outcome::Bound, Under::Profile(&named))
            }
            Standing::OnNone { why, remedy } => match gift.policy {
                WhenNotInstalled::Refuse => {
                    let why = format!(
                        "by the ProfileBinding {}, {parts} must run under the {} {}, which {why}; {remedy}, \
                         or set spec.whenNotInstalled of the binding to Wait or RuntimeDefault",
                        quoted(&gift.binding),
                        gift.kind,
                        quoted(&gift.profile),
                    );
                    return self.refuse(gift, why);
                }
                WhenNotInstalled::Wait => {
                    self.warnings
                        .push(format!("{parts} waits for {}, which {why}", of(gift)));
                    (Outcome::Waiting, Under::Profile(&named))
                }
                WhenNotInstalled::RuntimeDefault => {
                    self.warnings.push(format!(
                        "{parts} runs under the runtime's default, and not under {}, which {why}",
                        of(gift)
                    ));
                    (Outcome::RuntimeDefault, Under::RuntimeDefault)
                }
            },
        };
        if gift.mode == BindingMode::Complain && outcome != Outcome::RuntimeDefault {
            self.warnings.push(format!(
                "{parts} runs in complain mode: what {} does not allow is logged, and not denied",
                of(gift)
            ));
        }
        for gift in group {
            self.put(gift, under);
        }
        let containers = group.iter().filter_map(|gift| match &gift.part {
            Part::Pod => None,
            Part::Container(_, _, name) => Some(name.clone()),
        });
        self.applied.push(Applied {
            binding: gift.binding.clone(),
            kind: gift.kind,
            profile: gift.profile.clone(),
            mode: gift.mode,
            containers: containers.collect(),
            outcome,
        });
    }

    fn refuse(&mut self, gift: &Gift, why: String) {
        if !self.request.dry_run {
            let metadata = &self.request.object["metadata"];
            let name = metadata["name"].as_str();
            let name = name.or_else(|| metadata["generateName"].as_str());
            let note = Note {
                warning: true,
                reason: "PodRefused".to_owned(),
                message: format!(
                    "refused the pod {} in {}: {why}",
                    quoted(name.unwrap_or_default()),
                    quoted(&self.request.namespace)
                ),
            };
            self.notes.push((gift.object.clone(), note));
        }
        self.refusals.push(why);
    }

    fn put(&mut self, gift: &Gift, under: Under<'_>) {
        let server = self.circumstances.server;
        let before = said(gift.kind, &self.pod, &gift.part, server);
        give(gift.kind, &mut self.pod, &gift.part, under, server);
        let now = said(gift.kind, &self.pod, &gift.part, server);
        // That is what pods say who want any profile at all.
        let usual = ["RuntimeDefault", "runtime/default"];
        let before = before.filter(|before| !usual.contains(&before.as_str()));
        if let Some(before) = before
            && Some(&before) != now.as_ref()
            && !gift.wildcard
        {
            self.warnings.push(format!(
                "{} runs no longer under {}: the ProfileBinding {} counts more",
                parts(std::slice::from_ref(gift)),
                quoted(&before),
                quoted(&gift.binding)
            ));
        }
    }

    /// Says of privileged containers that the profile does not hold them.
    fn tell_of_unheld(&mut self, groups: &[Vec<Gift>]) {
        let unfiltered = if self.request.sub_resource.is_empty() {
            uses::unfiltered(&self.pod)
        } else {
            uses::unfiltered_among_new(&self.pod, &self.request.old_object)
        };
        let gifts = || groups.iter().flatten();
        let is_ours = |name: &str| {
            let seccomp = |gift: &&Gift| gift.kind == ProfileKind::SeccompProfile;
            gifts().filter(seccomp).any(|gift| gift.named() == name)
        };
        let unfiltered = unfiltered.into_iter();
        let ours =
            unfiltered.filter(|one| matches!(&one.profile, Named::Seccomp(name) if is_ours(name)));
        self.warnings
            .extend(ours.filter_map(|unfiltered| unheld(&unfiltered)));
    }

    /// Writes down what was done, in place of what the pod brought along.
    fn annotate(&mut self) {
        if self.applied.is_empty() {
            forget(&mut self.pod, BINDINGS);
            let labels = self.pod.pointer_mut("/metadata/labels");
            if let Some(labels) = labels.and_then(Value::as_object_mut) {
                labels.remove(BOUND_POD);
            }
        } else {
            let metadata = within(&mut self.pod, "metadata");
            *within(within(metadata, "labels"), BOUND_POD) = json!("true");
            let annotations = within(metadata, "annotations");
            *within(annotations, BINDINGS) = json!(Applied::joined(&self.applied));
        }
        // Nobody installs the other kinds yet, who could say when they are there.
        let waits = |applied: &Applied| {
            applied.outcome == Outcome::Waiting && applied.kind == ProfileKind::SeccompProfile
        };
        let waits = self.applied.iter().any(waits) && self.circumstances.server.has_gates();
        // A pod that has its node already cannot wait; its kubelet does.
        let waits = waits
            && self.pod["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .is_empty();
        let gates = &self.pod["spec"]["schedulingGates"];
        let mut gates = gates.as_array().cloned().unwrap_or_default();
        let there = gates.iter().any(|gate| gate["name"] == GATE);
        if waits == there {
            return;
        }
        gates.retain(|gate| gate["name"] != GATE);
        if waits {
            gates.push(json!({ "name": GATE }));
        }
        *within(within(&mut self.pod, "spec"), "schedulingGates") = json!(gates);
    }
}

/// What parts of the pod are called in a message.
fn parts(group: &[Gift]) -> String {
    let names: Vec<_> = group
        .iter()
        .map(|gift| match &gift.part {
            Part::Pod => "the pod".to_owned(),
            Part::Container(list, _, name) => {
                let what = LISTS.iter().find(|(known, _)| known == list);
                let what = what.map_or("container", |(_, what)| *what);
                format!("the {what} {}", escape(name))
            }
        })
        .collect();
    few(&names)
}

/// How far a profile got in the form that is wanted, which may be the profile itself.
fn standing(gift: &Gift, bound: Option<&Found>, form: Option<&Found>) -> Standing {
    let is_form = |found: &Found| found.complains_for.as_deref() == Some(gift.profile.as_str());
    match (bound, form) {
        (None, _) => Standing::missing(),
        (Some(_), Some(form)) if gift.mode == BindingMode::Complain && !is_form(form) => {
            Standing::on_none(
                format!(
                    "has no complain form: {} is somebody else's",
                    quoted(&gift.named())
                ),
                "rename one of them",
            )
        }
        (Some(_), None) => Standing::on_none("has no complain form yet", "wait until it has"),
        (Some(_), Some(form)) => form.standing.clone(),
    }
}

/// A profile, and who gives it.
fn of(gift: &Gift) -> String {
    format!(
        "the {} {} of the ProfileBinding {}",
        gift.kind,
        quoted(&gift.profile),
        quoted(&gift.binding)
    )
}
