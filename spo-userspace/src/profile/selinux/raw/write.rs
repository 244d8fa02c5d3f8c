//! Writing raw profiles: the object, and the policy for the node.

use serde::Serialize;

use super::RawSelinuxSpec;
use super::read::{check, renamed};
use super::restrict::check_raw_restrictions;
use crate::profile::diagnostic::Severity;
use crate::profile::fields::Problems;
use crate::profile::object;
use crate::profile::selinux::cil::{Flaws, Places, Tree};
use crate::profile::selinux::restrict::block_name;
use crate::profile::selinux::{Finding, Options, RAW_KIND, RawSelinuxProfile, Refused};
use crate::profile::state::State;

/// The object as YAML: always the same text for the same profile, what is default left out.
pub fn write_raw_object(profile: &RawSelinuxProfile) -> Result<String, serde_saphyr::ser::Error> {
    #[derive(Serialize)]
    struct Spec<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<State>,
        policy: serde_saphyr::LitStr<'a>,
    }
    let RawSelinuxProfile {
        metadata,
        spec: RawSelinuxSpec { state, policy },
    } = profile;
    let spec = Spec {
        state: (*state != State::Enabled).then_some(*state),
        policy: serde_saphyr::LitStr(policy),
    };
    object::write(&RAW_KIND, metadata, &spec)
}

/// The policy as the node's policy compiler reads it: a block that is called like the profile, so
/// that its type is the profile's usage. Names with the block as it was called earlier are brought
/// up to date.
///
/// Whatever keeps the policy from being installed is told, not only the first: what reading would
/// refuse, and what `options` deny.
pub fn write_raw_cil(
    name: &str,
    spec: &RawSelinuxSpec,
    options: &Options,
) -> Result<String, Refused> {
    let RawSelinuxSpec { state: _, policy } = spec;
    let mut findings = block_name(name, options);
    let places = Places::of_nowhere(policy);
    let mut problems = Problems::new("");
    let tree = check(name, policy, false, &mut Flaws::new(&mut problems, &places));
    let errors = problems
        .finish()
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error);
    findings.extend(errors.map(|error| Finding {
        path: "spec.policy".to_owned(),
        message: error.message,
        help: error.help,
    }));
    let Some(tree) = tree.filter(|_| findings.is_empty()) else {
        return Err(Refused(findings));
    };
    let findings = check_raw_restrictions(name, spec, options);
    if !findings.is_empty() {
        return Err(Refused(findings));
    }
    let mut text = format!("(block {name}\n{}", up_to_date(name, &tree));
    if !policy.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(")\n");
    Ok(text)
}

/// The text of a policy, with the block as it is called today.
pub(in crate::profile::selinux) fn up_to_date(name: &str, tree: &Tree<'_>) -> String {
    let policy = tree.text();
    let mut text = String::with_capacity(policy.len());
    let mut done = 0;
    for item in tree.all() {
        if let Some(new) = item.name().and_then(|old| renamed(name, old)) {
            text.push_str(&policy[done..item.span().start]);
            text.push_str(&new);
            done = item.span().end;
        }
    }
    text.push_str(&policy[done..]);
    text
}
