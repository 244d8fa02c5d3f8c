//! Complain forms: while a binding asks for a profile in complain mode, there is a second profile
//! beside it that lets through and logs what the first one denies. For nodes and pods it is a profile
//! like any other. It belongs to the profile, and goes with it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Error, Resource as _, ResourceExt as _};

use super::watches::Stores;
use super::{Context, Guarded, reference};
use crate::api::bindings::complains_for;
use crate::api::names::{IN_USE, PARTIAL, complain_form};
use crate::api::{SeccompProfile, SeccompProfileSpec};
use crate::cluster::MANAGER;
use crate::cluster::error::told;
use crate::cluster::events::Note;
use crate::cluster::queue::Outcome;
use crate::profile::diagnostic::escape;
use crate::profile::seccomp::{
    COMPLAIN_OF, MOST_BASES, SeccompSpec, complain, resolve_base, write_raw,
};

/// The reason of the event on bindings whose profile cannot be put into complain mode.
const CANNOT: &str = "CannotComplain";

/// What is known of a profile and its form.
struct Observed {
    /// Whether a binding asks for the form, or a pod waits for it or uses it.
    wanted: bool,
    profile: Option<Guarded<SeccompProfile>>,
    /// The profiles that it stands on, by name.
    bases: BTreeMap<String, SeccompSpec>,
    form: Option<Guarded<SeccompProfile>>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Nothing,
    Create(Box<SeccompProfile>),
    Replace(Box<SeccompProfile>),
    Delete,
    /// Nobody can do what is asked for.
    Refuse(String),
}

pub(super) async fn reconcile(context: &Context, stores: &Stores, profile: &str) -> Outcome {
    let asks = !stores.asking_for_form(profile).is_empty() || stores.is_awaited(profile);
    let observed = match observe(context, profile, asks).await {
        Ok(observed) => observed,
        Err(error) => return failed(profile, &error),
    };
    let step = plan(profile, &observed);
    let mut refused = match &step {
        Step::Refuse(why) => Some(why.clone()),
        _ => None,
    };
    let applied = apply(context, step, observed.form.as_ref()).await;
    if let Err(Error::Api(status)) = &applied
        && matches!(status.code, 403 | 413 | 422)
    {
        let why = escape(&status.message);
        refused = Some(format!("{profile} cannot be put into complain mode: {why}"));
    }
    tell(context, stores, profile, refused).await;
    match applied {
        Ok(()) => Outcome::Done,
        Err(error) => failed(profile, &error),
    }
}

/// Tells all who ask for a form why there can be none, each once.
async fn tell(context: &Context, stores: &Stores, profile: &str, refused: Option<String>) {
    let Some(message) = refused else {
        stores.indexes().told.remove(profile);
        return;
    };
    for binding in stores.asking_for_form(profile) {
        let uid = binding.uid().unwrap_or_default();
        let is_new = {
            let mut indexes = stores.indexes();
            let told = indexes.told.entry(profile.to_owned()).or_default();
            told.insert(uid, message.clone()).as_ref() != Some(&message)
        };
        if is_new {
            let note = Note {
                warning: true,
                reason: CANNOT.to_owned(),
                message: message.clone(),
            };
            context.events.tell(&reference(&binding), note).await;
        }
    }
}

fn failed(profile: &str, error: &Error) -> Outcome {
    if let Error::Api(status) = error
        && (status.is_conflict() || status.is_already_exists())
    {
        tracing::debug!(profile, "changed by somebody else in between");
    } else {
        let error = told(error);
        tracing::warn!(profile, error, "cannot keep the complain form of a profile");
    }
    Outcome::Failed
}

async fn observe(context: &Context, name: &str, asks: bool) -> Result<Observed, Error> {
    let profiles: Api<Guarded<SeccompProfile>> = Api::all(context.client.clone());
    let form = profiles.get_opt(&complain_form(name)).await?;
    // As long as pods use one, it follows its profile.
    let wanted = asks
        || form
            .as_ref()
            .is_some_and(|form| is_form_of(form, name) && is_used(form));
    let profile = if wanted {
        profiles.get_opt(name).await?
    } else {
        None
    };
    let mut bases = BTreeMap::new();
    let mut above = profile.as_ref().and_then(base_of);
    while let Some(base) = above.take() {
        if bases.len() > MOST_BASES || bases.contains_key(&base) {
            break;
        }
        let Some(found) = profiles.get_opt(&base).await? else {
            break;
        };
        above = base_of(&found);
        if let Ok(found) = found.0 {
            bases.insert(base, SeccompSpec::from(found.spec));
        }
    }
    Ok(Observed {
        wanted,
        profile,
        bases,
        form,
    })
}

/// The profile of the cluster that this one stands on.
fn base_of(profile: &Guarded<SeccompProfile>) -> Option<String> {
    let base = profile.0.as_ref().ok()?.spec.base_profile_name.clone()?;
    // What comes from a registry is no object, and no object has a name like that.
    (!base.is_empty() && !base.contains('/')).then_some(base)
}

fn plan(name: &str, observed: &Observed) -> Step {
    let Observed {
        wanted,
        profile,
        bases,
        form,
    } = observed;
    let own = form.as_ref().is_some_and(|form| is_form_of(form, name));
    if !wanted {
        let idle = own && form.as_ref().is_some_and(is_idle);
        return if idle { Step::Delete } else { Step::Nothing };
    }
    let Some(profile) = profile.as_ref().filter(|profile| {
        let meta = profile.meta();
        meta.deletion_timestamp.is_none() && !profile.labels().contains_key(PARTIAL)
    }) else {
        // There may be one later; a form without its profile goes by itself.
        return Step::Nothing;
    };
    if form.is_some() && !own {
        return Step::Refuse(format!(
            "{name} cannot be put into complain mode: the SeccompProfile {} is somebody else's, and \
             the complain form would have its name; rename one of them",
            complain_form(name)
        ));
    }
    let wanted = match wanted_form(name, profile, bases) {
        Ok(wanted) => wanted,
        Err(why) => {
            return Step::Refuse(format!("{name} cannot be put into complain mode: {why}"));
        }
    };
    let Some(form) = form else {
        return Step::Create(Box::new(wanted));
    };
    let is_current = form.0.as_ref().is_ok_and(|form| form.spec == wanted.spec)
        && form.annotations().get(COMPLAIN_OF) == wanted.annotations().get(COMPLAIN_OF)
        && form.meta().owner_references == wanted.metadata.owner_references;
    if is_current {
        return Step::Nothing;
    }
    let mut replaced = wanted;
    let annotations = replaced.metadata.annotations.take();
    let owners = replaced.metadata.owner_references.take();
    replaced.metadata = form.meta().clone();
    replaced.metadata.managed_fields = None;
    replaced.metadata.owner_references = owners;
    replaced
        .annotations_mut()
        .extend(annotations.unwrap_or_default());
    Step::Replace(Box::new(replaced))
}

fn is_form_of(form: &Guarded<SeccompProfile>, name: &str) -> bool {
    complains_for(form.meta()) == Some(name)
}

fn is_used(form: &Guarded<SeccompProfile>) -> bool {
    let mut finalizers = form.meta().finalizers.iter().flatten();
    finalizers.any(|name| name == IN_USE)
}

/// Whether no pod uses it, and nobody has deleted it already.
fn is_idle(form: &Guarded<SeccompProfile>) -> bool {
    form.meta().deletion_timestamp.is_none() && !is_used(form)
}

fn wanted_form(
    name: &str,
    profile: &Guarded<SeccompProfile>,
    bases: &BTreeMap<String, SeccompSpec>,
) -> Result<SeccompProfile, String> {
    let Ok(readable) = profile.0.as_ref() else {
        return Err("this version cannot read it".to_owned());
    };
    let selector = readable.spec.namespace_selector.clone();
    let spec = SeccompSpec::from(readable.spec.clone());
    let original = write_raw(&spec).map_err(|error| error.to_string())?;
    // What the bases deny is to be logged as well.
    let merged = resolve_base(&spec, |base| bases.get(base).cloned());
    let merged = merged.map_err(|error| error.to_string())?.spec;
    let (complaining, _) = complain(&merged, &[]);
    let mut spec = SeccompProfileSpec::try_from(complaining).map_err(|error| error.to_string())?;
    spec.namespace_selector = selector;
    let mut form = SeccompProfile::new(&complain_form(name), spec);
    form.annotations_mut()
        .insert(COMPLAIN_OF.to_owned(), original);
    form.metadata.owner_references = Some(vec![OwnerReference {
        api_version: SeccompProfile::api_version(&()).into_owned(),
        kind: SeccompProfile::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: profile.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    Ok(form)
}

async fn apply(
    context: &Context,
    step: Step,
    form: Option<&Guarded<SeccompProfile>>,
) -> Result<(), Error> {
    let profiles: Api<SeccompProfile> = Api::all(context.client.clone());
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    match step {
        Step::Nothing | Step::Refuse(_) => {}
        Step::Create(form) => {
            profiles.create(&parameters, &form).await?;
        }
        Step::Replace(form) => {
            profiles
                .replace(&form.name_any(), &parameters, &form)
                .await?;
        }
        Step::Delete => {
            let Some(form) = form else { return Ok(()) };
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: form.uid(),
                    resource_version: form.resource_version(),
                }),
                ..DeleteParams::default()
            };
            match profiles.delete(&form.name_any(), &parameters).await {
                Err(Error::Api(status)) if status.is_not_found() => {}
                result => drop(result?),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn profile(name: &str, change: impl FnOnce(&mut Value)) -> Guarded<SeccompProfile> {
        let mut object = json!({
            "apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "SeccompProfile",
            "metadata": { "name": name, "uid": "1" },
            "spec": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }],
            },
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn seen(profile: Guarded<SeccompProfile>) -> Observed {
        Observed {
            wanted: true,
            profile: Some(profile),
            bases: BTreeMap::new(),
            form: None,
        }
    }

    fn created(observed: &Observed) -> SeccompProfile {
        match plan("web", observed) {
            Step::Create(form) => *form,
            step => panic!("{step:?}"),
        }
    }

    fn guarded(form: &SeccompProfile, change: impl FnOnce(&mut Value)) -> Guarded<SeccompProfile> {
        let mut value = serde_json::to_value(form).unwrap();
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_form_logs_what_its_profile_denies_and_is_kept_current() {
        let observed = seen(profile("web", |_| {}));
        let form = created(&observed);
        assert_eq!(form.name_any(), "web.complain");
        let spec = serde_json::to_value(&form.spec).unwrap();
        assert_eq!(spec["defaultAction"], "SCMP_ACT_LOG");
        assert!(form.annotations()[COMPLAIN_OF].contains("SCMP_ACT_ERRNO"));
        let there = |change: fn(&mut Value)| Observed {
            form: Some(guarded(&form, change)),
            ..seen(profile("web", |_| {}))
        };
        assert_eq!(plan("web", &there(|_| {})), Step::Nothing);
        let changed = there(|form| {
            form["spec"]["defaultAction"] = json!("SCMP_ACT_ALLOW");
            form["metadata"]["resourceVersion"] = json!("7");
            form["metadata"]["labels"] = json!({ "theirs": "1" });
        });
        let Step::Replace(replaced) = plan("web", &changed) else {
            panic!("not replaced");
        };
        assert_eq!(replaced.spec, form.spec);
        assert_eq!(replaced.resource_version().as_deref(), Some("7"));
        assert_eq!(replaced.labels()["theirs"], "1");
    }

    #[test]
    fn what_a_base_denies_is_logged_as_well() {
        let on_base = |profile: &mut Value| profile["spec"]["baseProfileName"] = json!("base");
        let mut observed = seen(profile("web", on_base));
        assert!(matches!(plan("web", &observed), Step::Refuse(why) if why.contains("base")));
        let base = profile("base", |base| {
            base["spec"]["syscalls"] = json!([{ "names": ["chmod"], "action": "SCMP_ACT_KILL" }]);
        });
        let base = SeccompSpec::from(base.0.unwrap().spec);
        observed.bases.insert("base".to_owned(), base);
        let form = serde_json::to_string(&created(&observed).spec).unwrap();
        assert!(
            !form.contains("KILL") && !form.contains("baseProfileName"),
            "{form}"
        );
    }

    #[test]
    fn a_profile_of_somebody_else_is_not_touched() {
        let theirs = Observed {
            form: Some(profile("web.complain", |_| {})),
            ..seen(profile("web", |_| {}))
        };
        assert!(matches!(plan("web", &theirs), Step::Refuse(why) if why.contains("rename")));
        let unwanted = Observed {
            wanted: false,
            ..theirs
        };
        assert_eq!(plan("web", &unwanted), Step::Nothing);
    }

    #[test]
    fn a_form_goes_when_nobody_asks_and_no_pod_uses_it() {
        let form = created(&seen(profile("web", |_| {})));
        let unwanted = |change: fn(&mut Value)| Observed {
            wanted: false,
            profile: None,
            bases: BTreeMap::new(),
            form: Some(guarded(&form, change)),
        };
        assert_eq!(plan("web", &unwanted(|_| {})), Step::Delete);
        let used = unwanted(|form| form["metadata"]["finalizers"] = json!([IN_USE]));
        assert_eq!(plan("web", &used), Step::Nothing);
        let going = unwanted(|form| {
            form["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z");
        });
        assert_eq!(plan("web", &going), Step::Nothing);
    }

    #[test]
    fn of_what_is_not_there_or_not_whole_there_is_no_form() {
        let partial = |profile: &mut Value| {
            profile["metadata"]["labels"] = json!({ PARTIAL: "true" });
        };
        assert_eq!(plan("web", &seen(profile("web", partial))), Step::Nothing);
        let deleted = |profile: &mut Value| {
            profile["metadata"]["deletionTimestamp"] = json!("2026-01-31T12:00:00Z");
        };
        assert_eq!(plan("web", &seen(profile("web", deleted))), Step::Nothing);
        let missing = Observed {
            profile: None,
            ..seen(profile("web", |_| {}))
        };
        assert_eq!(plan("web", &missing), Step::Nothing);
    }
}
