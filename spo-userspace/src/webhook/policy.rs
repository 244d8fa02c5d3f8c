//! Holds pods to the namespaces that a profile is for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use super::review::{Answer, Request, shortened};
use super::state::{Found, Namespaces, Profiles};
use super::uses::{self, Named, Use};
use crate::profile::diagnostic::{escape, quoted};

/// Refusals that are told one by one.
const MOST: usize = 5;
/// The longest selector in a message, in bytes.
const SELECTOR: usize = 300;

/// Refuses a pod that names a profile which is not for its namespace, and warns where there is no
/// such profile, or where it is of no use. `labels` are the namespace's; without them it is in none of the selected ones.
pub(super) fn review(
    request: &Request,
    labels: Option<&BTreeMap<String, String>>,
    profiles: &Profiles,
) -> Answer {
    let Request {
        operation,
        namespace,
        sub_resource,
        object,
        old_object,
        ..
    } = request;
    if request.is_deleting() {
        return Answer::default();
    }
    let (uses, unfiltered) = match (operation.as_str(), sub_resource.as_str()) {
        ("CREATE", "") => (uses::of_pod(object), uses::unfiltered(object)),
        (_, "ephemeralcontainers") => (
            uses::of_new_containers(object, old_object),
            uses::unfiltered_among_new(object, old_object),
        ),
        _ => return Answer::default(),
    };
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    for Use { part, profile } in uses {
        let part = escape(&part);
        let found = match &profile {
            Named::Seccomp(name) => profiles.seccomp(name),
            Named::AppArmor(name) => profiles.apparmor(name),
            Named::Selinux(name) => profiles.selinux(name),
        };
        // Profiles of the others may well come from elsewhere.
        if let (true, Named::Seccomp(name)) = (found.is_empty(), &profile) {
            warnings.push(format!(
                "{part} names the SeccompProfile {}, which does not exist: it cannot start before there is one",
                quoted(name)
            ));
        }
        let is_denied = |found: &Found| !is_for(&found.namespaces, labels);
        let denied = found.into_iter().filter(is_denied);
        refusals.extend(denied.map(|found| refusal(&part, &found, namespace)));
    }
    warnings.extend(unfiltered.iter().filter_map(unheld));
    Answer {
        refusal: joined(&refusals),
        warnings,
        patch: None,
    }
}

/// What is said of a privileged container under a seccomp profile.
pub(super) fn unheld(unfiltered: &Use) -> Option<String> {
    let Named::Seccomp(name) = &unfiltered.profile else {
        return None;
    };
    Some(format!(
        "{} is privileged, and runtimes give privileged containers no seccomp filter: the profile {} does not hold it",
        escape(&unfiltered.part),
        quoted(name)
    ))
}

/// Whether a profile is for a namespace with these labels.
pub(super) fn is_for(namespaces: &Namespaces, labels: Option<&BTreeMap<String, String>>) -> bool {
    let selector = match namespaces {
        Namespaces::All => return true,
        Namespaces::Selected(selector) => selector,
        // It may be there to keep somebody out.
        Namespaces::Unreadable => return false,
    };
    match (Selector::try_from(selector.clone()), labels) {
        (Ok(selector), Some(labels)) => selector.matches(labels),
        (Ok(selector), None) => selector.selects_all(),
        // Whoever wrote it meant to keep somebody out.
        (Err(_), _) => false,
    }
}

/// Why a part of a pod may not name a profile.
pub(super) fn refusal(part: &str, found: &Found, namespace: &str) -> String {
    let Found {
        kind,
        name,
        namespaces,
        ..
    } = found;
    let wanted = match namespaces {
        Namespaces::All => String::new(),
        Namespaces::Selected(selector) => describe(selector),
        Namespaces::Unreadable => {
            return format!(
                "{part} names the {kind} {}, and this version of the webhook cannot read for which namespaces that is; \
                 name another profile, or mend spec.namespaceSelector of the profile",
                quoted(name),
            );
        }
    };
    format!(
        "{part} names the {kind} {}, which is only for namespaces with {wanted}, and the namespace {} is none of them; \
         name another profile, have the namespace labelled, or change spec.namespaceSelector of the profile",
        quoted(name),
        quoted(namespace),
    )
}

fn describe(selector: &LabelSelector) -> String {
    match Selector::try_from(selector.clone()) {
        Ok(selector) => shortened(&escape(&selector.to_string()), SELECTOR),
        Err(_) => "a selector that cannot be read".to_owned(),
    }
}

/// All refusals as one.
pub(super) fn joined(refusals: &[String]) -> Option<String> {
    let (first, rest) = refusals.split_first()?;
    let mut lines = vec![first.clone()];
    lines.extend(rest.iter().take(MOST - 1).cloned());
    if refusals.len() > MOST {
        lines.push(format!("and {} more", refusals.len() - MOST));
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests;
