//! Bindings, before the API server takes them: whether they are where they may be, and whether anything
//! can come of them.

use std::collections::BTreeMap;

use super::review::{Answer, Request};
use super::standing::Standing;
use super::state::Found;
use crate::api::ProfileBindingSpec;
use crate::api::common::ProfileKind;
use crate::api::names::ENABLE_BINDING;
use crate::profile::diagnostic::quoted;

/// Adds to what is said about a binding as an object. `operator` is its own namespace, `labels` are the
/// binding's, and `known` finds profiles.
pub(super) fn review(
    mut answer: Answer,
    request: &Request,
    operator: &str,
    labels: Option<&BTreeMap<String, String>>,
    known: impl Fn(ProfileKind, &str) -> Option<Found>,
) -> Answer {
    let Request {
        namespace, object, ..
    } = request;
    if !request.changes_spec() || answer.refusal.is_some() {
        return answer;
    }
    let Ok(spec) = serde_json::from_value::<ProfileBindingSpec>(object["spec"].clone()) else {
        return answer;
    };
    if spec.namespace_selector.is_some() && namespace != operator {
        answer.refusal = Some(format!(
            "a ProfileBinding in the namespace {} is for its pods only: remove spec.namespaceSelector, or create the binding in {}, the operator's own namespace",
            quoted(namespace),
            quoted(operator)
        ));
        return answer;
    }
    let warnings = &mut answer.warnings;
    if namespace == operator && spec.namespace_selector.is_none() {
        warnings.push(format!(
            "no pods are bound: {} is the operator's own namespace, whose pods never are; spec.namespaceSelector says which others the binding is for",
            quoted(namespace)
        ));
    }
    if namespace != operator && !labels.is_some_and(|labels| labels.contains_key(ENABLE_BINDING)) {
        warnings.push(format!(
            "no pods are bound as long as the namespace {} has no label {ENABLE_BINDING}",
            quoted(namespace)
        ));
    }
    let profile = &spec.profile_ref;
    let standing = known(profile.kind, &profile.name);
    let standing = standing.map_or_else(Standing::missing, |found| found.standing);
    if let Standing::OnNone { why, remedy } = standing {
        warnings.push(format!(
            "the {} {} {why}: {remedy}",
            profile.kind,
            quoted(&profile.name)
        ));
    }
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(namespace: &str, labelled: bool, more: &Value, old: &Value) -> Answer {
        let mut spec = json!({
            "profileRef": { "kind": "SeccompProfile", "name": "web" }, "image": "nginx:1.25",
        });
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let request = Request {
            operation: "CREATE".to_owned(),
            namespace: namespace.to_owned(),
            object: json!({ "kind": "ProfileBinding", "metadata": { "name": "web" }, "spec": spec }),
            old_object: old.clone(),
            ..Request::default()
        };
        let label = (ENABLE_BINDING.to_owned(), String::new());
        let labels: BTreeMap<_, _> = labelled.then_some(label).into_iter().collect();
        review(Answer::default(), &request, "spo", Some(&labels), |_, _| {
            None
        })
    }

    #[test]
    fn only_the_operators_own_bindings_select_namespaces() {
        let selects = json!({ "namespaceSelector": {} });
        let refusal = said("shop", true, &selects, &Value::Null).refusal.unwrap();
        assert!(
            refusal.contains("in `spo`, the operator's own"),
            "{refusal}"
        );
        assert_eq!(said("spo", false, &selects, &Value::Null).refusal, None);
        // What is there already can be changed otherwise.
        let mut old = json!({ "spec": { "profileRef": { "kind": "SeccompProfile", "name": "web" }, "image": "nginx:1.25" } });
        old["spec"]["namespaceSelector"] = json!({});
        assert_eq!(said("shop", true, &selects, &old), Answer::default());
    }

    #[test]
    fn what_binds_nothing_is_told() {
        for (namespace, labelled, more, expected) in [
            ("shop", true, json!({}), &["does not exist: create it"][..]),
            (
                "shop",
                false,
                json!({}),
                &["has no label spo.x-k8s.io/enable-binding", "does not exist"],
            ),
            (
                "spo",
                false,
                json!({}),
                &["whose pods never are", "does not exist"],
            ),
            (
                "spo",
                false,
                json!({ "namespaceSelector": {} }),
                &["does not exist"],
            ),
        ] {
            let answer = said(namespace, labelled, &more, &Value::Null);
            assert_eq!(
                answer.warnings.len(),
                expected.len(),
                "{:?}",
                answer.warnings
            );
            for (warning, expected) in answer.warnings.iter().zip(expected) {
                assert!(warning.contains(expected), "{warning}");
            }
        }
    }
}
