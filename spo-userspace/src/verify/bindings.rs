//! Whether containers have what bindings have for them: a pod that was made while nobody asked the webhook
//! has nothing of it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::core::{DeserializeGuard, Selector, SelectorExt as _};

use super::State;
use super::pods::{Given, Running};
use crate::api::bindings::choice::{self, Binding, Choices};
use crate::api::bindings::image::Image;
use crate::api::bindings::{Applied, BINDINGS, Outcome};
use crate::api::common::ProfileKind;
use crate::api::names::{CONFIGURATION, LOG_PROFILE, complain_form, seccomp_file};
use crate::api::profile_binding::{BindingMode, WhenNotInstalled};
use crate::api::profile_recording::Recorder;
use crate::api::webhooks::{Reach, mutating};
use crate::api::{ProfileBinding, SecurityProfilesOperatorDaemon, marks};

const KIND: ProfileKind = ProfileKind::SeccompProfile;
/// On the copy of a pod that the kubelet has from a file, which no binding counts for.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels of an object.
type Labels = BTreeMap<String, String>;

/// All bindings, and whom the webhook that applies them is asked about.
pub struct Bindings {
    all: Vec<Arc<DeserializeGuard<ProfileBinding>>>,
    namespaces: BTreeMap<String, Labels>,
    operator: String,
    of_namespaces: Selector,
    of_pods: Selector,
}

/// What a container has of what bindings have for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// All of it, or there is nothing for it.
    Nothing,
    /// It has none, as is configured.
    Noted(String),
    /// It is to have something else.
    Something(State, String),
}

impl Bindings {
    /// `namespaces` are all that there are, with their labels; `operator` is its own; `configuration` says
    /// whom the webhook is asked about.
    pub fn new(
        all: Vec<Arc<DeserializeGuard<ProfileBinding>>>,
        namespaces: BTreeMap<String, Labels>,
        operator: &str,
        configuration: Option<&DeserializeGuard<SecurityProfilesOperatorDaemon>>,
    ) -> Result<Self, String> {
        let webhook = match configuration.map(|configuration| &configuration.0) {
            None if all.is_empty() => None,
            None => {
                return Err(format!(
                    "whom bindings are for: the namespace {operator} has no configuration {CONFIGURATION}: name the operator's namespace by --namespace"
                ));
            }
            Some(Ok(configuration)) => configuration.spec.webhook.clone(),
            Some(Err(error)) => {
                return Err(format!(
                    "whom bindings are for: the configuration cannot be read: {}",
                    error.error
                ));
            }
        };
        let options = webhook.unwrap_or_default().options;
        let reach = Reach::Service(operator.to_owned());
        let registered = mutating(&reach, operator, None, &options, false).webhooks;
        let binding = registered.into_iter().flatten().next().unwrap_or_default();
        let readable = |selector: Option<_>| {
            Selector::try_from(selector.unwrap_or_default()).map_err(|error| {
                format!("whom bindings are for: a selector of the webhook cannot be read: {error}")
            })
        };
        Ok(Self {
            all,
            namespaces,
            operator: operator.to_owned(),
            of_namespaces: readable(binding.namespace_selector)?,
            of_pods: readable(binding.object_selector)?,
        })
    }

    /// How many cannot be read, or are left out for what they say.
    pub fn unread(&self) -> usize {
        let bindings = self.all.iter();
        bindings
            .filter(|binding| match &binding.0 {
                Ok(binding) => choice::problem(&binding.spec).is_some(),
                Err(_) => true,
            })
            .count()
    }

    /// Those that are for a pod; none where nobody asks.
    pub(super) fn of_pod<'b>(&'b self, pod: &'b Pod) -> Option<OfPod<'b>> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = self.namespaces.get(namespace)?;
        let is_asked = self.of_namespaces.matches(labels) && self.of_pods.matches(pod.labels());
        let os = pod.spec.as_ref().and_then(|spec| spec.os.as_ref());
        let is_windows = os.is_some_and(|os| os.name == "windows");
        if !is_asked || is_windows || pod.annotations().contains_key(MIRROR) {
            return None;
        }
        let asked = self.all.iter().filter_map(|binding| {
            let binding = binding.0.as_ref().ok()?;
            let metadata = &binding.metadata;
            let is_kept = metadata.deletion_timestamp.is_none();
            is_kept.then_some(Binding {
                namespace: metadata.namespace.as_deref()?,
                name: metadata.name.as_deref()?,
                spec: &binding.spec,
            })
        });
        let asked_about = choice::Pod {
            namespace,
            namespace_labels: Some(labels),
            labels: pod.labels(),
        };
        let applied = pod.annotations().get(BINDINGS);
        let mut applied = applied.map_or_else(Vec::new, |value| Applied::all(value));
        applied.retain(|one| one.kind == KIND);
        Some(OfPod {
            bindings: self,
            pod,
            choices: Choices::of(asked, &self.operator, &asked_about),
            applied,
        })
    }
}

/// The bindings for a pod, and what was done when it was made.
pub(super) struct OfPod<'b> {
    bindings: &'b Bindings,
    pod: &'b Pod,
    choices: Choices<'b>,
    applied: Vec<Applied>,
}

impl OfPod<'_> {
    /// What a container lacks. It goes by what the pod says now; what filters do is looked at elsewhere.
    pub(super) fn lack(&self, container: &Running) -> Lack {
        let Running {
            name,
            id: _,
            image,
            given,
        } = container;
        // Nobody gives those a filter.
        if *given == Given::Privileged {
            return Lack::Nothing;
        }
        let specific = self.choices.specific(KIND, &Image::of(image));
        let was_given = self.applied.iter().find(|one| {
            let is_its = one.containers.is_empty() || one.containers.contains(name);
            is_its && one.outcome != Outcome::RuntimeDefault && is(given, &named(one))
        });
        let binding = match (specific, was_given, given) {
            (Some(binding), _, _) => binding,
            // A wildcard is for whoever names nothing of its own.
            (None, Some(_), _) | (None, None, Given::Nothing) => {
                match self.choices.wildcard(KIND) {
                    Some(binding) => binding,
                    None => return Lack::Nothing,
                }
            }
            (None, None, _) => return Lack::Nothing,
        };
        let profile = &binding.spec.profile_ref.name;
        let wanted = form(profile, binding.spec.mode());
        if is(given, &wanted) {
            return Lack::Nothing;
        }
        if let Some(lack) = self.excused(&binding, name, given) {
            return lack;
        }
        let id = binding.id();
        if let Some(was_given) = was_given {
            return Lack::Something(
                State::Stale,
                format!(
                    "the ProfileBinding {} gave it {}; for a pod that is made now, {id} has {wanted}",
                    was_given.binding,
                    named(was_given)
                ),
            );
        }
        let why = if self.is_older_than(&binding) {
            "the pod is older than the binding"
        } else {
            "the webhook did not answer when the pod was made, or something has changed since by which the binding is for it"
        };
        Lack::Something(
            State::Unbound,
            format!("the ProfileBinding {id} has the SeccompProfile {wanted} for it: {why}"),
        )
    }

    /// Where the configuration, or a recording, says that it has another one.
    fn excused(&self, binding: &Binding<'_>, name: &str, given: &Given) -> Option<Lack> {
        let id = binding.id();
        let had_none = self.applied.iter().any(|one| {
            let is_its = one.containers.is_empty() || one.containers.iter().any(|own| own == name);
            is_its && one.outcome == Outcome::RuntimeDefault && one.binding == id
        });
        let may = binding.spec.when_not_installed() == WhenNotInstalled::RuntimeDefault;
        if had_none && may && *given == Given::RuntimeDefault {
            return Some(Lack::Noted(format!(
                "no node had the profile of the ProfileBinding {id} when the pod was made, whose whenNotInstalled is RuntimeDefault"
            )));
        }
        let mark = marks::annotation(KIND, Recorder::Logs, name)?;
        let is_recorded = self.pod.annotations().contains_key(&mark) && is(given, LOG_PROFILE);
        is_recorded.then(|| {
            Lack::Noted(format!(
                "it is recorded by audit records, for which it does not get the profile of the ProfileBinding {id}"
            ))
        })
    }

    fn is_older_than(&self, binding: &Binding<'_>) -> bool {
        let mut all = self.bindings.all.iter();
        let found = all.find(|one| {
            one.namespace().as_deref() == Some(binding.namespace) && one.name_any() == binding.name
        });
        let made = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            time.map(|time| time.0)
        };
        let pod = made(self.pod.metadata.creation_timestamp.as_ref());
        let binding = found.and_then(|found| found.creation_timestamp());
        matches!((pod, made(binding.as_ref())), (Some(pod), Some(binding)) if pod < binding)
    }
}

/// The profile that a pod names to run under another in a mode.
fn form(profile: &str, mode: BindingMode) -> String {
    match mode {
        BindingMode::Enforce => profile.to_owned(),
        BindingMode::Complain => complain_form(profile),
    }
}

fn named(applied: &Applied) -> String {
    form(&applied.profile, applied.mode)
}

/// Whether it is given that profile, `a` and `a.json` having the same file.
fn is(given: &Given, profile: &str) -> bool {
    matches!(given, Given::Ours(name) if seccomp_file(name) == seccomp_file(profile))
}

#[cfg(test)]
mod tests;
