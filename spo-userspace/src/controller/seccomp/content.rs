//! What is to be in a profile's file, or why there can be none.

use std::collections::BTreeSet;

use serde_json::json;

use crate::api::names::{digest, seccomp_file};
use crate::api::node_status::Reason;
use crate::api::{SeccompProfile, SeccompProfileSpec};
use crate::node::profiles::LONGEST_NAME;
use crate::node::setup::KUBELET_CONFIG;
use crate::profile::diagnostic::{Severity, quoted};
use crate::profile::object::API_VERSION;
use crate::profile::seccomp::{
    self, Action, BaseError, Restrictions, SeccompSpec, SyscallRule, resolve_base,
};

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) digest: String,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// What a profile must keep to beside its own rules.
#[derive(Clone, Debug)]
pub(super) struct Limits<'a> {
    pub(super) restrictions: &'a Restrictions,
    /// The kernel's words for what its filters can do.
    pub(super) actions: &'a BTreeSet<String>,
}

/// The digest of a content, as node statuses have it.
pub(super) fn digest_of(content: impl AsRef<[u8]>) -> String {
    format!("sha256:{}", digest(content))
}

/// What a profile's file is to be. `lookup` finds bases.
pub(super) fn content(
    name: &str,
    profile: &SeccompProfile,
    limits: &Limits<'_>,
    lookup: impl FnMut(&str) -> Option<SeccompSpec>,
) -> Result<Content, Refusal> {
    check_name(name)?;
    if limits.actions.is_empty() {
        return refuse(
            Reason::SeccompNotSupportedOnNode,
            "this node's kernel was built without seccomp filters".to_owned(),
        );
    }
    check_profile(name, &profile.spec)?;
    let mut spec = SeccompSpec::from(profile.spec.clone());
    let base = spec.base_profile_name.take_if(|base| !base.is_empty());
    let own = limits.restrictions.violations(&spec);
    let (merged, written) = match base.clone() {
        None => (spec, profile.spec.clone()),
        Some(base) => {
            spec.base_profile_name = Some(base.clone());
            let merged = resolve_base(&spec, lookup).map_err(|error| match error {
                // It waits for no base that would help it.
                BaseError::Missing { .. } if !own.is_empty() => {
                    refusal(Reason::ProfileNotAllowed, own.join("\n"))
                }
                error => base_refusal(&error),
            })?;
            let mut all = merged.spec.clone();
            all.syscalls = one_name_each(all.syscalls);
            let mut written = SeccompProfileSpec::try_from(all)
                .map_err(|error| refusal(Reason::InvalidSeccompProfile, error.to_string()))?;
            written.base_profile_name = Some(base);
            (merged.spec, written)
        }
    };
    let violations = limits.restrictions.violations(&merged).join("\n");
    match base {
        _ if violations.is_empty() => {}
        Some(base) if own.is_empty() => {
            let message = format!(
                "the profile itself is allowed, but not with what its base {} has: change the base, or name another\n{violations}",
                quoted(&base)
            );
            return refuse(Reason::BaseNotAllowed, message);
        }
        _ => return refuse(Reason::ProfileNotAllowed, violations),
    }
    check_kernel(&merged, limits.actions)?;
    let text = serde_json::to_string(&written)
        .map_err(|error| refusal(Reason::InvalidSeccompProfile, error.to_string()))?;
    Ok(Content {
        digest: digest_of(&text),
        text,
    })
}

/// What a daemon puts into a profile's file, or why it cannot, whatever the configuration allows.
pub fn file_content(
    name: &str,
    profile: &SeccompProfile,
    actions: &BTreeSet<String>,
    lookup: impl FnMut(&str) -> Option<SeccompSpec>,
) -> Result<String, String> {
    let restrictions = Restrictions::default();
    let limits = Limits {
        restrictions: &restrictions,
        actions,
    };
    match content(name, profile, &limits, lookup) {
        Ok(Content { text, digest: _ }) => Ok(text),
        Err(Refusal { reason, message }) => Err(format!("{reason}: {message}")),
    }
}

fn refusal(reason: Reason, message: String) -> Refusal {
    Refusal { reason, message }
}

fn refuse<T>(reason: Reason, message: String) -> Result<T, Refusal> {
    Err(refusal(reason, message))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let file = seccomp_file(name);
    if file == KUBELET_CONFIG {
        let message =
            format!("the file {file} on the nodes is the operator's own: rename the profile");
        return refuse(Reason::NameCollision, message);
    }
    if file.len() > LONGEST_NAME {
        let message = format!(
            "the name has {} bytes, and a file's name with .json at most {LONGEST_NAME}: shorten it",
            name.len()
        );
        return refuse(Reason::InvalidSeccompProfile, message);
    }
    Ok(())
}

/// What the tools would say to the object: no webhook may have asked them.
fn check_profile(name: &str, spec: &SeccompProfileSpec) -> Result<(), Refusal> {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": seccomp::KIND.name,
        "metadata": { "name": name },
        "spec": spec,
    });
    let (_, found) = seccomp::read(name, object.to_string().as_bytes());
    let errors: Vec<_> = found
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| match problem.help {
            Some(help) => format!("{}; {help}", problem.message),
            None => problem.message,
        })
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    refuse(Reason::InvalidSeccompProfile, errors.join("\n"))
}

fn base_refusal(error: &BaseError) -> Refusal {
    let reason = match error {
        BaseError::Registry { .. } => Reason::Unsupported,
        BaseError::Missing { .. } | BaseError::Cycle { .. } | BaseError::TooDeep { .. } => {
            Reason::InvalidSeccompProfile
        }
    };
    let help = match error {
        BaseError::Registry { .. } => {
            "; create a SeccompProfile with the artifact's rules and name it in baseProfileName"
        }
        BaseError::Missing { .. } => "; it is taken in as soon as there is one",
        BaseError::Cycle { .. } | BaseError::TooDeep { .. } => "",
    };
    refusal(reason, format!("baseProfileName: {error}{help}"))
}

/// As the reference writes merged rules: each name by itself, sorted.
fn one_name_each(rules: Vec<SyscallRule>) -> Vec<SyscallRule> {
    let mut single: Vec<_> = rules
        .into_iter()
        .flat_map(|rule| {
            let SyscallRule {
                names,
                action,
                errno_ret,
                args,
            } = rule;
            names.into_iter().map(move |name| SyscallRule {
                names: vec![name],
                action,
                errno_ret,
                args: args.clone(),
            })
        })
        .collect();
    single.sort_by(|left, right| left.names.cmp(&right.names));
    single
}

fn check_kernel(spec: &SeccompSpec, actions: &BTreeSet<String>) -> Result<(), Refusal> {
    let rules = spec.syscalls.iter().map(|rule| rule.action);
    let used: BTreeSet<_> = rules.chain([spec.default_action]).collect();
    let missing: Vec<_> = used
        .into_iter()
        .filter(|action| !actions.contains(kernels_word(*action)))
        .map(|action| quoted(&action.to_string()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this node's kernel does not know {}: use another action, or a newer kernel",
        missing.join(", ")
    );
    refuse(Reason::SeccompNotSupportedOnNode, message)
}

/// `kernel/seccomp.c`, `seccomp_log_names` and its neighbours.
fn kernels_word(action: Action) -> &'static str {
    match action {
        Action::Kill | Action::KillThread => "kill_thread",
        Action::KillProcess => "kill_process",
        Action::Trap => "trap",
        Action::Errno => "errno",
        Action::Trace => "trace",
        Action::Allow => "allow",
        Action::Log => "log",
        Action::Notify => "user_notif",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn profile(spec: &Value) -> SeccompProfile {
        SeccompProfile::new("a", serde_json::from_value(spec.clone()).unwrap())
    }

    fn all_actions() -> BTreeSet<String> {
        "kill_process kill_thread trap errno user_notif trace log allow"
            .split(' ')
            .map(str::to_owned)
            .collect()
    }

    fn result(name: &str, spec: &Value, others: &[(&str, Value)]) -> String {
        let others: BTreeMap<_, _> = others.iter().cloned().collect();
        let restrictions = Restrictions {
            allowed_syscalls: ["read", "write", "exit"].map(str::to_owned).into(),
            actions: Vec::new(),
        };
        let limits = Limits {
            restrictions: &restrictions,
            actions: &all_actions(),
        };
        let lookup = |name: &str| others.get(name).map(|spec| profile(spec).spec.into());
        match content(name, &profile(spec), &limits, lookup) {
            Ok(content) => {
                assert_eq!(content.digest, digest_of(&content.text));
                content.text
            }
            Err(Refusal { reason, message }) => format!("{reason}: {message}"),
        }
    }

    #[test]
    fn contents_and_refusals() {
        let rule = |names: &[&str]| json!({ "action": "SCMP_ACT_ALLOW", "names": names });
        let spec =
            |rules: &[Value]| json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules });
        let based = |base: &str, rules: &[Value]| {
            let mut spec = spec(rules);
            spec["baseProfileName"] = base.into();
            spec
        };
        let write = [rule(&["write", "exit"])];
        let base = [
            ("base", spec(&[rule(&["read", "exit"])])),
            ("bad", spec(&[rule(&["mount"])])),
        ];
        let circle = [("b", based("c", &[])), ("c", based("b", &[]))];
        let long = "a".repeat(251);
        let bad_index = json!({
            "action": "SCMP_ACT_ALLOW", "names": ["read"],
            "args": [{ "index": 6, "op": "SCMP_CMP_EQ" }],
        });
        let lines = [
            ("as it is", result("a", &spec(&write), &[])),
            ("no base", result("a", &based("", &write), &[])),
            ("base", result("a", &based("base", &write), &base)),
            ("no such base", result("a", &based("base", &[]), &[])),
            ("circle", result("a", &based("b", &[]), &circle)),
            ("registry", result("a", &based("oci://x/y:1", &[]), &[])),
            ("invalid", result("a", &spec(&[bad_index]), &[])),
            ("not allowed", result("a", &spec(&[rule(&["mount"])]), &[])),
            (
                "base not allowed",
                result("a", &based("bad", &write), &base),
            ),
            (
                "neither allowed",
                result("a", &based("bad", &[rule(&["reboot"])]), &base),
            ),
            (
                "not allowed, no such base",
                result("a", &based("base", &[rule(&["mount"])]), &[]),
            ),
            ("long name", result(&long, &spec(&[]), &[])),
            ("our name", result("kubelet-config", &spec(&[]), &[])),
        ];
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, line)| format!("{name}: {line}"))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_the_kernel_cannot_do_is_refused() {
        let restrictions = Restrictions::default();
        let refused = |actions: BTreeSet<String>, action: &str| {
            let limits = Limits {
                restrictions: &restrictions,
                actions: &actions,
            };
            let profile = profile(&json!({ "defaultAction": action }));
            content("a", &profile, &limits, |_| None).map_err(|refusal| refusal.reason)
        };
        let no_log: BTreeSet<_> = ["allow".to_owned()].into();
        let unsupported = Err(Reason::SeccompNotSupportedOnNode);
        assert_eq!(refused(BTreeSet::new(), "SCMP_ACT_ALLOW"), unsupported);
        assert_eq!(refused(no_log.clone(), "SCMP_ACT_LOG"), unsupported);
        assert!(refused(no_log, "SCMP_ACT_ALLOW").is_ok());
    }
}
