//! Checks objects of our kinds before the API server takes them.

use serde_json::{Value, json};

use super::review::{Answer, Request};
use super::told;
use crate::api;
use crate::profile::diagnostic::{Diagnostic, Severity, has_errors};
use crate::profile::tree::{self, Parsed};
use crate::profile::{apparmor, seccomp, selinux};

/// Warnings that are told; `spo check --strict` tells all of them.
const MOST_WARNINGS: usize = 5;
/// Findings that nobody needs to see each time that a good profile is applied.
const MINOR: &[&str] = &[
    "duplicate-permission",
    "errno-enosys",
    "libc-drift",
    "no-effect",
    "self-by-name",
    "unused-architecture",
];

/// Refuses an object that could not be used, and warns of what was likely not meant.
///
/// Never refused is what changes no `spec`, and what belongs to an object that is being deleted: a
/// bad object from before there was this check must be possible to get rid of.
pub(super) fn review(request: &Request) -> Answer {
    let Request {
        object, old_object, ..
    } = request;
    let unchanged = !old_object.is_null() && object["spec"] == old_object["spec"];
    if request.is_deleting() || !request.sub_resource.is_empty() || unchanged {
        return Answer::default();
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    let source = own(object).to_string();
    let found = check(kind, source.as_bytes());
    let (Some(root), _) = tree::parse("", source.as_bytes()) else {
        // Too large or nested too deep, which is in what was found.
        let messages: Vec<_> = found.into_iter().map(|found| found.message).collect();
        return Answer {
            refusal: Some(messages.join("; ")),
            ..Answer::default()
        };
    };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let refusal = told::refusal(kind, name, &root, &found);
    let warnings: Vec<_> = found
        .iter()
        .filter(|found| found.severity == Severity::Warning)
        .filter(|found| found.rule.is_none_or(|rule| !MINOR.contains(&rule)))
        .collect();
    let mut lines: Vec<_> = warnings
        .iter()
        .take(MOST_WARNINGS)
        .map(|found| told::line(&root, found))
        .collect();
    if warnings.len() > lines.len() {
        let more = warnings.len() - lines.len();
        lines.push(format!("{more} more: `spo check --strict` tells all"));
    }
    Answer {
        refusal,
        warnings: lines,
        patch: None,
    }
}

/// The part of an object that its author writes. What the server and other programs keep in it is
/// not his.
fn own(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let generated = metadata["generateName"].as_str();
    let name = match (metadata["name"].as_str(), generated) {
        (Some(name), _) if !name.is_empty() => name.to_owned(),
        // The server makes the name of it.
        (_, Some(prefix)) => format!("{prefix}x"),
        _ => String::new(),
    };
    let mut own = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": { "name": name },
    });
    if !object["spec"].is_null() {
        own["spec"] = object["spec"].clone();
    }
    own
}

fn check(kind: &str, source: &[u8]) -> Vec<Diagnostic> {
    let mut parsed = Parsed::of("", source);
    if let Some(root) = &mut parsed.root {
        let notes = api::upgrade("", root);
        parsed.found.extend(notes);
    }
    let mut found = match kind {
        "SeccompProfile" => seccomp::read_parsed(parsed, true).1,
        "SelinuxProfile" => selinux::read_parsed(parsed, true).1,
        "RawSelinuxProfile" => selinux::read_raw_parsed(parsed, true).1,
        "AppArmorProfile" => apparmor::read_parsed(parsed, true).1,
        _ => return api::check("", source),
    };
    if !has_errors(&found) {
        // The rules of the definition, which older API servers do not know.
        let rules = api::check("", source);
        found.extend(
            rules
                .into_iter()
                .filter(|found| found.severity == Severity::Error),
        );
    }
    found
}

#[cfg(test)]
mod tests;
