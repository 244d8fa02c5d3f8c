//! Which binding counts for which part of a pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource as _, ResourceExt as _};
use serde_json::Value;

use super::super::lookup::{GuardedBinding, Server};
use super::super::review::Request;
use super::fields::{Part, said};
use super::{EPHEMERAL, Gift, LISTS, Plan};
use crate::api::ProfileBinding;
use crate::api::bindings::choice::{Binding, Choices, LeftOut, Pod};
use crate::api::bindings::image::Image;
use crate::api::bindings::{Applied, BINDINGS};
use crate::api::common::ProfileKind;
use crate::profile::diagnostic::quoted;
use crate::profile::named::Named as _;

/// Finds out which bindings count. `operator` is its own namespace.
pub(in crate::webhook) fn choose(
    request: &Request,
    bindings: &[Arc<GuardedBinding>],
    labels: Option<&BTreeMap<String, String>>,
    operator: &str,
    server: Server,
) -> Plan {
    let pod = &request.object;
    let mut plan = Plan::default();
    let readable = bindings.iter().filter(|binding| {
        let deleted = binding.meta().deletion_timestamp.is_some();
        !deleted && binding.0.is_ok()
    });
    let asked = readable.filter_map(|binding| {
        Some(Binding {
            namespace: binding.meta().namespace.as_deref()?,
            name: binding.meta().name.as_deref()?,
            spec: &binding.0.as_ref().ok()?.spec,
        })
    });
    let own: BTreeMap<String, String> =
        serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let choices = Choices::of(
        asked,
        operator,
        &Pod {
            namespace: &request.namespace,
            namespace_labels: labels,
            labels: &own,
        },
    );
    for binding in bindings.iter().filter(|binding| binding.0.is_err()) {
        let id = format!(
            "{}/{}",
            binding.namespace().unwrap_or_default(),
            binding.name_any()
        );
        plan.warnings.push(format!(
            "the ProfileBinding {} is left out: this version cannot read it",
            quoted(&id)
        ));
    }
    for LeftOut { binding, why } in &choices.left_out {
        let binding = quoted(binding);
        plan.warnings
            .push(format!("the ProfileBinding {binding} is left out: {why}"));
    }
    let chooser = Chooser {
        request,
        pod,
        choices: &choices,
        bindings,
        server,
    };
    for (kind, _) in ProfileKind::ALL {
        chooser.choose(*kind, &mut plan.gifts);
    }
    plan
}

struct Chooser<'c> {
    request: &'c Request,
    pod: &'c Value,
    choices: &'c Choices<'c>,
    bindings: &'c [Arc<GuardedBinding>],
    server: Server,
}

impl Chooser<'_> {
    fn choose(&self, kind: ProfileKind, gifts: &mut Vec<Gift>) {
        let says = |part: &Part| said(kind, self.pod, part, self.server).is_some();
        let wildcard = self.choices.wildcard(kind);
        let mut silent = Vec::new();
        for part in self.new_containers() {
            let Part::Container(list, index, _) = &part else {
                continue;
            };
            let image = self.pod["spec"][*list][*index]["image"].as_str();
            let image = Image::of(image.unwrap_or_default());
            if let Some(binding) = self.choices.specific(kind, &image) {
                gifts.push(self.gift(&binding, part, false));
            } else if !says(&part) || wildcard.is_some_and(|one| self.gave(&one, &part)) {
                silent.push(part);
            }
        }
        let Some(binding) = wildcard.filter(|_| !silent.is_empty()) else {
            return;
        };
        if says(&Part::Pod) && !self.gave(&binding, &Part::Pod) {
            return;
        }
        let by_annotations =
            kind == ProfileKind::AppArmorProfile && !self.server.has_apparmor_fields();
        if self.request.sub_resource.is_empty() && !by_annotations {
            silent = vec![Part::Pod];
        } else if says(&Part::Pod) {
            // They have what the pod was given when it was made.
            return;
        }
        let given = silent.into_iter();
        gifts.extend(given.map(|part| self.gift(&binding, part, true)));
    }

    /// The containers whose profile can still be chosen.
    fn new_containers(&self) -> Vec<Part> {
        let is_new = |list: &str, name: &str| {
            if self.request.sub_resource.is_empty() {
                return true;
            }
            let before = self.request.old_object["spec"][list].as_array();
            let mut before = before.into_iter().flatten();
            list == EPHEMERAL && !before.any(|known| known["name"] == name)
        };
        let mut parts = Vec::new();
        for (list, _) in LISTS {
            let containers = self.pod["spec"][list].as_array().into_iter().flatten();
            for (index, container) in containers.enumerate() {
                let name = container["name"].as_str().unwrap_or_default();
                if is_new(list, name) {
                    parts.push(Part::Container(list, index, name.to_owned()));
                }
            }
        }
        parts
    }

    /// Whether a part has its profile from this very binding: the pod comes a second time, or is the
    /// copy of another one.
    fn gave(&self, binding: &Binding<'_>, part: &Part) -> bool {
        let annotation = self.pod["metadata"]["annotations"][BINDINGS].as_str();
        let applied = annotation.map(Applied::all).unwrap_or_default();
        let id = binding.id();
        applied.iter().any(|applied| {
            let same = applied.binding == id && applied.kind == binding.spec.profile_ref.kind;
            same && match part {
                Part::Pod => applied.containers.is_empty(),
                Part::Container(_, _, name) => applied.containers.contains(name),
            }
        })
    }

    fn gift(&self, binding: &Binding<'_>, part: Part, wildcard: bool) -> Gift {
        let found = self.bindings.iter().find(|found| {
            let metadata = found.meta();
            metadata.namespace.as_deref() == Some(binding.namespace)
                && metadata.name.as_deref() == Some(binding.name)
        });
        let spec = binding.spec;
        Gift {
            binding: binding.id(),
            object: ObjectReference {
                api_version: Some(ProfileBinding::api_version(&()).into_owned()),
                kind: Some(ProfileBinding::kind(&()).into_owned()),
                namespace: Some(binding.namespace.to_owned()),
                name: Some(binding.name.to_owned()),
                uid: found.and_then(|found| found.uid()),
                ..ObjectReference::default()
            },
            kind: spec.profile_ref.kind,
            profile: spec.profile_ref.name.clone(),
            mode: spec.mode(),
            policy: spec.when_not_installed(),
            part,
            wildcard,
        }
    }
}
