//! Which binding counts, of all that there are: for each container and each kind of profile, one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use super::image::{Image, Pattern, Precision};
use crate::api::ProfileBindingSpec;
use crate::api::common::ProfileKind;
use crate::api::profile_binding::BindingMode;

/// A binding, as it is asked whether it counts.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'b> {
    /// Its namespace.
    pub namespace: &'b str,
    /// Its name.
    pub name: &'b str,
    /// What it says.
    pub spec: &'b ProfileBindingSpec,
}

impl Binding<'_> {
    /// Its full name.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Whom bindings are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'p> {
    /// The pod's namespace.
    pub namespace: &'p str,
    /// The labels of that; without them it is in none of the selected ones.
    pub namespace_labels: Option<&'p BTreeMap<String, String>>,
    /// The pod's labels.
    pub labels: &'p BTreeMap<String, String>,
}

/// A binding that is left out although it may be meant for the pod, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The binding, as `namespace/name`.
    pub binding: String,
    /// Why, as what it is.
    pub why: &'static str,
}

/// The bindings that are for a pod.
#[derive(Debug, Default)]
pub struct Choices<'b> {
    all: Vec<Candidate<'b>>,
    /// Those of which nobody can say.
    pub left_out: Vec<LeftOut>,
}

#[derive(Debug)]
struct Candidate<'b> {
    pattern: Pattern,
    /// Whether it is of the pod's namespace.
    own: bool,
    binding: Binding<'b>,
}

impl<'b> Choices<'b> {
    /// Sorts out the bindings. `operator` is its own namespace, whose bindings may be for others, and
    /// whose pods none is for.
    pub fn of(bindings: impl Iterator<Item = Binding<'b>>, operator: &str, pod: &Pod<'_>) -> Self {
        let mut choices = Self::default();
        if pod.namespace == operator {
            return choices;
        }
        for binding in bindings {
            match is_for(&binding, operator, pod) {
                Ok(true) => choices.all.push(Candidate {
                    pattern: Pattern::of(&binding.spec.image),
                    own: binding.namespace == pod.namespace,
                    binding,
                }),
                Ok(false) => {}
                Err(why) => choices.left_out.push(LeftOut {
                    binding: binding.id(),
                    why,
                }),
            }
        }
        choices
    }

    /// The binding that counts for a container because of its image.
    pub fn specific(&self, kind: ProfileKind, image: &Image) -> Option<Binding<'b>> {
        self.first(kind, |pattern| {
            pattern.precision() != Precision::Any && pattern.matches(image)
        })
    }

    /// The binding that counts for whatever has no profile yet.
    pub fn wildcard(&self, kind: ProfileKind) -> Option<Binding<'b>> {
        self.first(kind, |pattern| pattern.precision() == Precision::Any)
    }

    /// The one that counts more than all others like it. Most of a thousand are not, so that putting all
    /// in order takes longer than looking at each.
    fn first(&self, kind: ProfileKind, is: impl Fn(&Pattern) -> bool) -> Option<Binding<'b>> {
        let like = self.all.iter().filter(|candidate| {
            candidate.binding.spec.profile_ref.kind == kind && is(&candidate.pattern)
        });
        let first = like.min_by_key(|candidate| {
            let Candidate {
                pattern,
                own,
                binding,
            } = candidate;
            let selects = binding.spec.pod_selector.as_ref().is_some_and(says_any);
            (
                Reverse(pattern.precision()),
                Reverse(selects),
                Reverse(*own),
                binding.name,
            )
        });
        first.map(|candidate| candidate.binding)
    }
}

/// Whether a binding is for a pod, whatever its containers; or why nobody can say.
fn is_for(binding: &Binding<'_>, operator: &str, pod: &Pod<'_>) -> Result<bool, &'static str> {
    let spec = binding.spec;
    match (&spec.namespace_selector, binding.namespace == operator) {
        (None, false) if binding.namespace == pod.namespace => {}
        (Some(selector), true) => {
            let selects = matches(selector, pod.namespace_labels)
                .ok_or("its namespaceSelector cannot be read")?;
            if !selects {
                return Ok(false);
            }
        }
        (Some(_), false) if binding.namespace == pod.namespace => {
            return Err(
                "it has a namespaceSelector, which only bindings in the operator's namespace may have",
            );
        }
        _ => return Ok(false),
    }
    if let Some(selector) = &spec.pod_selector
        && !matches(selector, Some(pod.labels)).ok_or("its podSelector cannot be read")?
    {
        return Ok(false);
    }
    if let Some(problem) = problem(spec) {
        return Err(problem);
    }
    Ok(true)
}

/// What keeps a binding from being used, wherever it is. Servers that know the rules of its definition
/// take none that has it.
pub fn problem(spec: &ProfileBindingSpec) -> Option<&'static str> {
    let image = spec.image.as_bytes();
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"*+._/:@-".contains(byte);
    if image.is_empty() || !image.iter().all(known) {
        return Some("no image is like its image");
    }
    let seccomp = spec.profile_ref.kind == ProfileKind::SeccompProfile;
    (spec.mode() == BindingMode::Complain && !seccomp)
        .then_some("only SeccompProfiles have a complain form: set the mode of the profile")
}

fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> Option<bool> {
    let selector = Selector::try_from(selector.clone()).ok()?;
    Some(match labels {
        Some(labels) => selector.matches(labels),
        None => selector.selects_all(),
    })
}

fn says_any(selector: &LabelSelector) -> bool {
    let LabelSelector {
        match_expressions,
        match_labels,
    } = selector;
    match_expressions
        .as_ref()
        .is_some_and(|all| !all.is_empty())
        || match_labels.as_ref().is_some_and(|all| !all.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OPERATOR: &str = "spo";
    const KIND: ProfileKind = ProfileKind::SeccompProfile;

    /// Bindings by namespace and name, with what differs from the least that one says.
    fn bindings(all: &[(&str, &str, Value)]) -> Vec<(String, String, ProfileBindingSpec)> {
        let binding = |(namespace, name, more): &(&str, &str, Value)| {
            let mut spec = json!({
                "profileRef": { "kind": "SeccompProfile", "name": name }, "image": "nginx:1.25",
            });
            for (field, value) in more.as_object().unwrap() {
                spec[field] = value.clone();
            }
            let spec = serde_json::from_value(spec).unwrap();
            ((*namespace).to_owned(), (*name).to_owned(), spec)
        };
        all.iter().map(binding).collect()
    }

    fn choices(all: &[(String, String, ProfileBindingSpec)], backwards: bool) -> Choices<'_> {
        let labels = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let (of_namespace, of_pod) = (labels("tier", "shop"), labels("app", "web"));
        let pod = Pod {
            namespace: "shop",
            namespace_labels: Some(&of_namespace),
            labels: &of_pod,
        };
        let mut bindings: Vec<_> = all
            .iter()
            .map(|(namespace, name, spec)| Binding {
                namespace,
                name,
                spec,
            })
            .collect();
        if backwards {
            bindings.reverse();
        }
        Choices::of(bindings.into_iter(), OPERATOR, &pod)
    }

    #[test]
    fn the_most_specific_one_counts_in_whichever_order_they_came() {
        const DIGEST: &str = "nginx@sha256:0";
        let selects = json!({ "matchLabels": { "app": "web" } });
        let shop = json!({ "matchLabels": { "tier": "shop" } });
        // From the one that counts most to the one that counts least.
        let all = bindings(&[
            ("shop", "z-digest", json!({ "image": DIGEST })),
            ("shop", "y", json!({ "podSelector": selects })),
            (
                OPERATOR,
                "x",
                json!({ "podSelector": selects, "namespaceSelector": shop }),
            ),
            ("shop", "w", json!({})),
            ("shop", "x", json!({ "podSelector": {} })),
            (OPERATOR, "a", json!({ "namespaceSelector": shop })),
            ("shop", "v", json!({ "image": "nginx:1.2*" })),
            (
                "shop",
                "u",
                json!({ "image": "nginx:*", "podSelector": selects }),
            ),
            ("shop", "t", json!({ "image": "*/nginx:*" })),
        ]);
        let image = Image::of("nginx:1.25@sha256:0");
        for backwards in [false, true] {
            for from in 0..all.len() {
                let left = &all[from..];
                let choices = choices(left, backwards);
                let chosen = choices.specific(KIND, &image).unwrap();
                assert_eq!((chosen.namespace, chosen.name), (&*left[0].0, &*left[0].1));
                assert!(choices.wildcard(KIND).is_none());
            }
        }
    }

    #[test]
    fn wildcards_stand_beside_the_others() {
        let selects = json!({ "matchLabels": { "app": "web" } });
        let all = bindings(&[
            ("shop", "all", json!({ "image": "*" })),
            (
                "shop",
                "web",
                json!({ "image": "*", "podSelector": selects }),
            ),
            (
                OPERATOR,
                "every",
                json!({ "image": "*", "namespaceSelector": {} }),
            ),
            ("shop", "nginx", json!({})),
        ]);
        for backwards in [false, true] {
            let choices = choices(&all, backwards);
            assert_eq!(choices.wildcard(KIND).unwrap().name, "web");
            let nginx = choices.specific(KIND, &Image::of("nginx:1.25")).unwrap();
            assert_eq!(nginx.name, "nginx");
            assert!(choices.specific(KIND, &Image::of("redis")).is_none());
            assert!(choices.wildcard(ProfileKind::SelinuxProfile).is_none());
        }
    }

    #[test]
    fn bindings_are_for_their_own_namespace_or_for_selected_ones() {
        let is_for = |namespace: &str, more: Value| {
            let all = bindings(&[(namespace, "a", more)]);
            let choices = choices(&all, false);
            let chosen = choices.specific(KIND, &Image::of("nginx:1.25"));
            (chosen.is_some(), choices.left_out.len())
        };
        let shop = json!({ "matchLabels": { "tier": "shop" } });
        let other = json!({ "matchLabels": { "tier": "other" } });
        let bad = json!({ "matchExpressions": [{ "key": "a", "operator": "in" }] });
        for (namespace, more, expected) in [
            ("shop", json!({}), (true, 0)),
            ("other", json!({}), (false, 0)),
            (OPERATOR, json!({}), (false, 0)),
            (OPERATOR, json!({ "namespaceSelector": shop }), (true, 0)),
            (OPERATOR, json!({ "namespaceSelector": {} }), (true, 0)),
            (OPERATOR, json!({ "namespaceSelector": other }), (false, 0)),
            (OPERATOR, json!({ "namespaceSelector": bad }), (false, 1)),
            ("shop", json!({ "namespaceSelector": shop }), (false, 1)),
            ("other", json!({ "namespaceSelector": shop }), (false, 0)),
            ("shop", json!({ "podSelector": other }), (false, 0)),
            ("shop", json!({ "podSelector": bad }), (false, 1)),
            ("shop", json!({ "image": "nginx:[0-9]" }), (false, 1)),
            ("shop", json!({ "mode": "Complain" }), (true, 0)),
        ] {
            assert_eq!(
                is_for(namespace, more.clone()),
                expected,
                "{namespace} {more}"
            );
        }
    }

    #[test]
    fn no_pod_of_the_operator_is_bound() {
        let all = bindings(&[
            (OPERATOR, "a", json!({})),
            (OPERATOR, "b", json!({ "namespaceSelector": {} })),
        ]);
        let labels = BTreeMap::new();
        let pod = Pod {
            namespace: OPERATOR,
            namespace_labels: Some(&labels),
            labels: &labels,
        };
        let bindings = all.iter().map(|(namespace, name, spec)| Binding {
            namespace,
            name,
            spec,
        });
        let choices = Choices::of(bindings, OPERATOR, &pod);
        assert!(choices.specific(KIND, &Image::of("nginx:1.25")).is_none());
    }
}
