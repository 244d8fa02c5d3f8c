//! `spo diff`: what one profile allows and another does not.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use super::args::{DiffArgs, Form};
use super::exit::{DIFFERENT, Failure, TROUBLE};
use super::files;
use super::held::shown;
use super::input::{self, Profile, different, unfit};
use super::progress::output;
use super::result;
use crate::profile::apparmor::AppArmorSpec;
use crate::profile::selinux::SelinuxSpec;
use crate::profile::{apparmor, seccomp, selinux};

/// Tells the difference; exit code 1 if there is one.
pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    files::refuse_twice_standard(&[&args.left, &args.right])?;
    let trouble = |error| Failure::new(TROUBLE, error);
    let answer = compare(args).map_err(trouble)?;
    let text = match args.output {
        Form::Table => answer.words,
        Form::Json => format!("{:#}\n", answer.json),
    };
    output(&text)?;
    Ok(if answer.same {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

struct Answer {
    same: bool,
    words: String,
    json: serde_json::Value,
}

impl Answer {
    fn of(same: bool, widens: bool, difference: &(impl Display + Serialize)) -> Self {
        let text = difference.to_string();
        Self {
            same,
            words: format!("{}\n", text.trim_end()),
            json: json!({ "same": same, "widens": widens, "difference": difference }),
        }
    }
}

fn compare(args: &DiffArgs) -> Result<Answer> {
    let DiffArgs {
        left,
        right,
        output: _,
    } = args;
    let (a, b) = (input::one_to_compare(left)?, input::one_to_compare(right)?);
    Ok(match (a, b) {
        (Profile::Seccomp(a), Profile::Seccomp(b)) => {
            let difference = seccomp::diff(&result::seccomp_spec(a)?, &result::seccomp_spec(b)?);
            Answer::of(difference.is_same(), difference.widens(), &difference)
        }
        (
            a @ (Profile::AppArmor(_) | Profile::AppArmorText(_)),
            b @ (Profile::AppArmor(_) | Profile::AppArmorText(_)),
        ) => {
            let difference = apparmor::diff(&apparmor_spec(a)?, &apparmor_spec(b)?);
            Answer::of(difference.is_same(), difference.widens(), &difference)
        }
        (Profile::Selinux(a), Profile::Selinux(b)) => {
            let difference = selinux::diff(&a.spec, &b.spec);
            Answer::of(difference.is_same(), difference.widens(), &difference)
        }
        (
            a @ (Profile::Selinux(_) | Profile::RawSelinux(_) | Profile::SelinuxText(_)),
            b @ (Profile::Selinux(_) | Profile::RawSelinux(_) | Profile::SelinuxText(_)),
        ) => {
            let difference = selinux::diff(&selinux_spec(a, left)?, &selinux_spec(b, right)?);
            Answer::of(difference.is_same(), difference.widens(), &difference)
        }
        (Profile::Other(what), _) | (_, Profile::Other(what)) => {
            return Err(unfit(what, "compared"));
        }
        (a, b) => return Err(different(&a, &b)),
    })
}

fn apparmor_spec(profile: Profile) -> Result<AppArmorSpec> {
    match profile {
        Profile::AppArmor(object) => Ok(object.spec),
        Profile::AppArmorText(text) => result::apparmor_spec(&text),
        other => Err(unfit(other.family(), "compared")),
    }
}

/// The profile as text says it, so that an object and a text compare.
fn selinux_spec(profile: Profile, path: &Path) -> Result<SelinuxSpec> {
    let spec = match profile {
        Profile::Selinux(object) => return Ok(selinux::as_text(&object)),
        Profile::RawSelinux(object) => selinux::of_raw(&object),
        Profile::SelinuxText(spec) => *spec,
        other => return Err(unfit(other.family(), "compared")),
    };
    spec.with_context(|| format!("{} cannot be compared", shown(path.as_os_str())))
}
