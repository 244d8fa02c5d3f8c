//! Writing profiles in both formats.

use std::collections::BTreeSet;

use serde::Serialize;
use thiserror::Error;

use super::verdict::Verdict;
use super::{
    Action, Architecture, Flag, KIND, Operator, SeccompProfile, SeccompSpec, SyscallArg,
    SyscallRule,
};
use crate::profile::object;
use crate::profile::state::State;

/// Why a profile cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// An object has no field for this, so that the default action would give EPERM.
    #[error(
        "a SeccompProfile object has no field for `defaultErrnoRet: {number}`, and its default \
         action {action} always gives 1 (EPERM); name the calls that need {number} in a rule with \
         `errnoRet: {number}`, or keep the profile in the raw form"
    )]
    DefaultErrnoRet {
        /// The default action.
        action: Action,
        /// The error number.
        number: u32,
    },
    /// An object's numbers are signed.
    #[error(
        "the value {value} of an argument of {syscall} is too large for a SeccompProfile object"
    )]
    LargeValue {
        /// The value.
        value: u64,
        /// The call that the condition is for.
        syscall: String,
    },
    /// The serializer failed.
    #[error("failed to write YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// The serializer failed.
    #[error("failed to write JSON")]
    Json(#[from] serde_json::Error),
}

/// The object as YAML: always the same text for the same profile, names sorted, what is default
/// or empty left out.
pub fn write_object(profile: &SeccompProfile) -> Result<String, WriteError> {
    let SeccompProfile { metadata, spec } = profile;
    // What is given anyway needs no field.
    if let Some(number) = Verdict::of_default(spec).errno_ret() {
        let action = spec.default_action;
        return Err(WriteError::DefaultErrnoRet { action, number });
    }
    for rule in &spec.syscalls {
        let values = rule.args.iter().flat_map(|arg| [arg.value, arg.value_two]);
        if let Some(value) = values
            .filter(|value| *value > i64::MAX.unsigned_abs())
            .max()
        {
            let syscall = rule.names.first().cloned().unwrap_or_default();
            return Err(WriteError::LargeValue { value, syscall });
        }
    }
    Ok(object::write(&KIND, metadata, &Spec::of(spec, true))?)
}

/// The profile as the JSON that OCI runtimes read. What only objects have is left out.
pub fn write_raw(spec: &SeccompSpec) -> Result<String, WriteError> {
    let mut text = serde_json::to_string_pretty(&Spec::of(spec, false))?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_profile_name: Option<&'a str>,
    default_action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    architectures: &'a [Architecture],
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    flags: &'a [Flag],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    syscalls: Vec<Rule<'a>>,
}

impl<'a> Spec<'a> {
    fn of(spec: &'a SeccompSpec, object: bool) -> Self {
        let SeccompSpec {
            state,
            base_profile_name,
            default_action,
            default_errno_ret,
            architectures,
            listener_path,
            listener_metadata,
            flags,
            syscalls,
        } = spec;
        Self {
            state: (object && *state != State::Enabled).then_some(*state),
            base_profile_name: base_profile_name.as_deref().filter(|_| object),
            default_action: *default_action,
            default_errno_ret: default_errno_ret.filter(|_| !object),
            architectures,
            listener_path: listener_path.as_deref(),
            listener_metadata: listener_metadata.as_deref(),
            flags,
            syscalls: syscalls.iter().map(Rule::of).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    names: BTreeSet<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Arg>,
}

impl<'a> Rule<'a> {
    fn of(rule: &'a SyscallRule) -> Self {
        let SyscallRule {
            names,
            action,
            errno_ret,
            args,
        } = rule;
        Self {
            action: *action,
            errno_ret: *errno_ret,
            names: names.iter().map(String::as_str).collect(),
            args: args.iter().map(Arg::of).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
    op: Operator,
}

impl Arg {
    fn of(arg: &SyscallArg) -> Self {
        let SyscallArg {
            index,
            value,
            value_two,
            op,
        } = *arg;
        let used = op == Operator::MaskedEqual || value_two != 0;
        Self {
            index,
            value,
            value_two: used.then_some(value_two),
            op,
        }
    }
}
