//! `spo convert`: the same profile in another form, version or mode.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};

use super::args::{ConvertArgs, ProfileForm};
use super::exit::{FAILED, Failure};
use super::files;
use super::held::shown;
use super::input::{self, Profile, unfit};
use super::manifest;
use super::progress::line;
use super::result;
use crate::profile::diagnostic::quoted;
use crate::profile::format::Format;
use crate::profile::object::{Metadata, Object, is_object_name};
use crate::profile::seccomp::{Document, Note};
use crate::profile::selinux::Options;
use crate::profile::state::State;
use crate::profile::{apparmor, seccomp, selinux};

/// Which mode the result has.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    None,
    Complain,
    Enforce,
}

/// Writes the converted profile.
pub(super) fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    convert(args).map_err(|error| Failure::new(FAILED, error))?;
    Ok(ExitCode::SUCCESS)
}

fn convert(args: &ConvertArgs) -> Result<()> {
    let ConvertArgs {
        file,
        output_file,
        program_name,
        to,
        complain,
        keep_blocked,
        enforce,
    } = args;
    let change = match (complain, enforce) {
        (true, _) => Change::Complain,
        (_, true) => Change::Enforce,
        _ => Change::None,
    };
    if *to == Some(ProfileForm::Object) && change == Change::None && program_name.is_none() {
        let source = files::read(file)?;
        let name = shown(file.as_os_str());
        if Format::of(&name, &source) != Format::Tree {
            bail!("{name} holds policy text: to make an object of it, name it with --program-name");
        }
        if let Some(manifest) = manifest::upgrade(&name, &source)? {
            return result::write(output_file, &manifest);
        }
        return Err(anyhow!(
            "{name} holds no object: to make one, name it with --program-name"
        ));
    }
    let converter = Converter {
        change,
        keep_blocked,
        to: *to,
        name: program_name.as_deref(),
    };
    let text = match input::one(file)? {
        Profile::Seccomp(document) => converter.seccomp(document)?,
        Profile::AppArmor(object) => {
            let Object { metadata, spec } = *object;
            converter.apparmor(metadata, &spec, ProfileForm::Object)?
        }
        Profile::AppArmorText(text) => {
            let spec = result::apparmor_spec(&text)?;
            let metadata = Metadata {
                name: text.name().to_owned(),
                ..Metadata::default()
            };
            converter.apparmor(metadata, &spec, ProfileForm::Raw)?
        }
        Profile::Selinux(object) => converter.selinux(object)?,
        Profile::RawSelinux(object) => {
            if change != Change::None {
                return Err(unfit(
                    "RawSelinuxProfile",
                    "set to another mode: its rules are text",
                ));
            }
            let form = converter.form(ProfileForm::Object);
            let Object { metadata, spec } = object;
            let metadata = converter.named(metadata, form)?;
            match form {
                ProfileForm::Raw => {
                    tell_state(spec.state);
                    selinux::write_raw_cil(&metadata.name, &spec, &Options::default())?
                }
                ProfileForm::Object => selinux::write_raw_object(&Object { metadata, spec })?,
            }
        }
        Profile::SelinuxText(_) => return Err(unfit("policy in CIL", "converted")),
        Profile::Other(what) => return Err(unfit(what, "converted")),
    };
    result::write(output_file, &text)
}

struct Converter<'a> {
    change: Change,
    keep_blocked: &'a [String],
    to: Option<ProfileForm>,
    name: Option<&'a str>,
}

impl Converter<'_> {
    /// The form of the result: a change of mode alone leaves it.
    fn form(&self, from: ProfileForm) -> ProfileForm {
        match (self.to, self.change) {
            (Some(to), _) => to,
            (None, Change::None) => ProfileForm::Raw,
            (None, _) => from,
        }
    }

    fn named(&self, mut metadata: Metadata, form: ProfileForm) -> Result<Metadata> {
        if form == ProfileForm::Raw && metadata.namespaces.is_some() {
            line(format_args!(
                "the profile is for some namespaces only (namespaceSelector), which the raw form does not say"
            ));
        }
        if let Some(name) = self.name {
            name.clone_into(&mut metadata.name);
        }
        if form == ProfileForm::Object && !is_object_name(&metadata.name) {
            bail!(
                "{} cannot be an object's name: lower-case letters, digits, `-` and `.` can \
                 (--program-name)",
                quoted(&metadata.name)
            );
        }
        Ok(metadata)
    }

    fn seccomp(&self, document: Document) -> Result<String> {
        let (from, object) = match document {
            Document::Object(object) => (ProfileForm::Object, object),
            Document::Raw(spec) => (ProfileForm::Raw, self.unnamed(spec)?),
            engine @ Document::Engine(_) => {
                let spec = result::seccomp_spec(engine)?;
                (ProfileForm::Raw, self.unnamed(spec)?)
            }
        };
        let form = self.form(from);
        let (object, notes) = match self.change {
            Change::None => (object, Vec::new()),
            // The annotation that leads back has a place in objects only.
            Change::Complain if form == ProfileForm::Raw => {
                let (spec, notes) = seccomp::complain(&object.spec, self.keep_blocked);
                (Object { spec, ..object }, notes)
            }
            Change::Complain => seccomp::complain_object(&object, self.keep_blocked)?,
            Change::Enforce => seccomp::enforce_object(&object),
        };
        tell(&notes);
        let metadata = self.named(object.metadata, form)?;
        if form == ProfileForm::Object {
            let spec = object.spec;
            return Ok(seccomp::write_object(&Object { metadata, spec })?);
        }
        tell_state(object.spec.state);
        if let Some(base) = &object.spec.base_profile_name {
            bail!(
                "the profile builds on {base}, which the raw form cannot say: take `baseProfileName` \
                 out, and `spo merge` what is left with {base}"
            );
        }
        Ok(seccomp::write_raw(&object.spec)?)
    }

    /// An object needs a name, which other forms do not have.
    fn unnamed(&self, spec: seccomp::SeccompSpec) -> Result<seccomp::SeccompProfile> {
        if self.to == Some(ProfileForm::Object) && self.name.is_none() {
            bail!("an object needs a name: --program-name");
        }
        Ok(Object {
            metadata: Metadata::default(),
            spec,
        })
    }

    fn apparmor(
        &self,
        metadata: Metadata,
        spec: &apparmor::AppArmorSpec,
        from: ProfileForm,
    ) -> Result<String> {
        self.no_blocked("AppArmor")?;
        let spec = match self.change {
            Change::None => spec.clone(),
            Change::Complain => apparmor::complain(spec),
            Change::Enforce => apparmor::enforce(spec),
        };
        let form = self.form(from);
        let metadata = self.named(metadata, form)?;
        Ok(match form {
            ProfileForm::Raw => {
                tell_state(spec.state);
                apparmor::write_text(&metadata.name, &spec)?
            }
            ProfileForm::Object => apparmor::write_object(&Object { metadata, spec })?,
        })
    }

    fn selinux(&self, object: selinux::SelinuxProfile) -> Result<String> {
        self.no_blocked("SELinux")?;
        let Object { metadata, spec } = object;
        let spec = match self.change {
            Change::None => spec,
            Change::Complain => selinux::complain(&spec),
            Change::Enforce => selinux::enforce(&spec),
        };
        let form = self.form(ProfileForm::Object);
        let metadata = self.named(metadata, form)?;
        Ok(match form {
            ProfileForm::Raw => {
                tell_state(spec.state);
                selinux::write_cil(&metadata.name, &spec, &Options::default())?
            }
            ProfileForm::Object => selinux::write_object(&Object { metadata, spec })?,
        })
    }

    fn no_blocked(&self, kind: &str) -> Result<()> {
        if !self.keep_blocked.is_empty() {
            bail!("--keep-blocked names system calls, which {kind} profiles do not");
        }
        Ok(())
    }
}

/// Tells what is lost in the raw form.
fn tell_state(state: State) {
    if state == State::Disabled {
        line(format_args!(
            "the profile is disabled, which the raw form does not say"
        ));
    }
}

fn tell(notes: &[Note]) {
    for note in notes {
        line(format_args!("{note}"));
    }
}
