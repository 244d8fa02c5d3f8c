//! The same profile in complain mode, and back: what was denied is let through and logged.

use std::collections::BTreeSet;

use super::express::{Expressed, express};
use super::merge::Rules;
use super::verdict::{Arguments, Call, Calls, Verdict};
use super::{Action, Document, Note, SeccompProfile, SeccompSpec, WriteError, read, write_raw};

/// The annotation that keeps the profile as it was before it was put into complain mode: what an
/// OCI runtime would read.
pub const COMPLAIN_OF: &str = "spo.x-k8s.io/complain-of";

/// The profile in complain mode: what fails, kills or traps becomes [`Action::Log`]. Calls that
/// are asked about (a tracer, a listener) stay as they are, and so do those in `keep_blocked`.
pub fn complain(spec: &SeccompSpec, keep_blocked: &[String]) -> (SeccompSpec, Vec<Note>) {
    let calls = Calls::of(spec);
    let default = logged(calls.default);
    let kept: BTreeSet<_> = keep_blocked.iter().map(String::as_str).collect();
    let names: BTreeSet<_> = calls.names().chain(kept.iter().copied()).collect();
    let mut notes = Vec::new();
    let mut rules = Rules::new(default);
    for name in names {
        let call = calls.get(name);
        let is_kept = kept.contains(name);
        if is_kept && call.denial().is_none() {
            let message = "is to stay blocked, but the profile does not block it";
            notes.push(Note::of(name, message));
        }
        let value = |args: &Arguments| {
            let verdict = call.verdict(args).unwrap_or(calls.default);
            if is_kept { verdict } else { logged(verdict) }
        };
        let expressed = expressed(&[&call], &value, default);
        // What is to stay blocked is not widened: it is blocked whatever the arguments are.
        let denial = call
            .denial()
            .filter(|_| is_kept && !expressed.ignored.is_empty());
        if let Some(denial) = denial {
            notes.push(Note::of(name, "is blocked now whatever its arguments are"));
            rules.add(name, &[Call::always(denial)], &mut notes);
        } else {
            rules.put(name, expressed, &mut notes);
        }
    }
    let spec = SeccompSpec {
        default_action: default.action,
        default_errno_ret: default.errno_ret(),
        syscalls: rules.finish(),
        ..spec.clone()
    };
    (spec, notes)
}

/// Back from complain mode.
///
/// With the profile as it was, everything that was not changed since goes back to what it was, and
/// what was changed stays changed: calls that were added meanwhile stay allowed. Without it, all
/// that is logged is denied, and a note names it: nobody knows whether it was denied before.
pub fn enforce(spec: &SeccompSpec, original: Option<&SeccompSpec>) -> (SeccompSpec, Vec<Note>) {
    let Some(original) = original else {
        return denied(spec);
    };
    let now = Calls::of(spec);
    let before = Calls::of(original);
    // What complain mode made wider, since it could not tell it otherwise, nobody changed.
    let complaining = complain(original, &[]).0;
    let complaining = Calls::of(&complaining);
    let unchanged_default = logged(before.default) == now.default;
    let default = if unchanged_default {
        before.default
    } else {
        now.default
    };
    let names: BTreeSet<_> = now.names().chain(before.names()).collect();
    let mut notes = Vec::new();
    let mut rules = Rules::new(default);
    let mut changed = !unchanged_default;
    for name in names {
        let (now_call, before_call) = (now.get(name), before.get(name));
        let blocked = before_call
            .denial()
            .is_some_and(|it| now_call == Call::always(it));
        let untouched = now_call == complaining.get(name);
        let differs = std::cell::Cell::new(false);
        let value = |args: &Arguments| {
            let now = now_call.verdict(args).unwrap_or(now.default);
            let before = before_call.verdict(args).unwrap_or(before.default);
            // Calls that stayed blocked are as they were, or blocked altogether.
            if now == logged(before) || now == before || blocked || untouched {
                before
            } else {
                differs.set(true);
                now
            }
        };
        let both = [&now_call, &before_call];
        rules.put(name, expressed(&both, &value, default), &mut notes);
        if differs.get() {
            changed = true;
            notes.push(Note::of(
                name,
                "was changed in complain mode, and stays as it is now",
            ));
        }
    }
    if !changed {
        let unchanged = SeccompSpec {
            default_action: original.default_action,
            default_errno_ret: original.default_errno_ret,
            syscalls: original.syscalls.clone(),
            ..spec.clone()
        };
        return (unchanged, Vec::new());
    }
    let spec = SeccompSpec {
        default_action: default.action,
        default_errno_ret: default.errno_ret(),
        syscalls: rules.finish(),
        ..spec.clone()
    };
    (spec, notes)
}

/// [`complain`] for an object, which remembers in [`COMPLAIN_OF`] what it was.
pub fn complain_object(
    object: &SeccompProfile,
    keep_blocked: &[String],
) -> Result<(SeccompProfile, Vec<Note>), WriteError> {
    let mut complaining = object.clone();
    let (spec, notes) = complain(&object.spec, keep_blocked);
    complaining.spec = spec;
    let original = write_raw(&object.spec)?;
    // A profile that complains already remembers what it was at first.
    let annotations = &mut complaining.metadata.annotations;
    annotations
        .entry(COMPLAIN_OF.to_owned())
        .or_insert(original);
    Ok((complaining, notes))
}

/// [`enforce`] for an object, by what it remembers.
pub fn enforce_object(object: &SeccompProfile) -> (SeccompProfile, Vec<Note>) {
    let mut enforcing = object.clone();
    let text = enforcing.metadata.annotations.remove(COMPLAIN_OF);
    let original = text
        .as_ref()
        .and_then(|text| match read(COMPLAIN_OF, text.as_bytes()).0 {
            Some(Document::Raw(spec)) => Some(spec),
            _ => None,
        });
    let (spec, mut notes) = enforce(&object.spec, original.as_ref());
    enforcing.spec = spec;
    if original.is_none() {
        let what = if text.is_some() {
            format!("the annotation {COMPLAIN_OF} is no profile")
        } else {
            format!("there is no annotation {COMPLAIN_OF}")
        };
        let message = format!(
            "{what}, so that nobody knows what was logged before complain mode: all that is logged \
             is denied"
        );
        let note = Note {
            syscall: None,
            widens: false,
            message,
        };
        notes.insert(0, note);
    }
    (enforcing, notes)
}

fn logged(verdict: Verdict) -> Verdict {
    if verdict.is_denial() {
        Verdict::new(Action::Log, None)
    } else {
        verdict
    }
}

fn denied(spec: &SeccompSpec) -> (SeccompSpec, Vec<Note>) {
    let mut enforcing = spec.clone();
    let mut notes = Vec::new();
    if enforcing.default_action == Action::Log {
        enforcing.default_action = Action::Errno;
        notes.push(Note {
            syscall: None,
            widens: false,
            message: "calls without a rule were logged, and are denied now".to_owned(),
        });
    }
    let mut names = BTreeSet::new();
    for rule in &mut enforcing.syscalls {
        if rule.action == Action::Log {
            rule.action = Action::Errno;
            names.extend(rule.names.iter().map(String::as_str));
        }
    }
    let message = "was logged, and is denied now";
    notes.extend(names.into_iter().map(|name| Note::of(name, message)));
    (enforcing, notes)
}

fn expressed(
    calls: &[&Call],
    value: &dyn Fn(&Arguments) -> Verdict,
    default: Verdict,
) -> Expressed {
    let conditions: Vec<_> = calls.iter().flat_map(|call| call.conditions()).collect();
    let most = calls.iter().filter_map(|call| call.most()).max();
    let most = most.map_or(default, |most| most.max(default));
    express(&conditions, value, most, default)
}
