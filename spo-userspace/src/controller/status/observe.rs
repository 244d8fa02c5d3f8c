//! What is known of a profile, from the stores.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource as _, ResourceExt as _};

use super::plan::{Nodes, Observed, Report};
use super::stores::Stores;
use crate::api::SeccompProfileSpec;
use crate::api::names::{self, PARTIAL, SYSCALLS};
use crate::api::seccomp_profile::Syscall;
use crate::api::{AppArmorProfile, RawSelinuxProfile, SeccompProfile, SelinuxProfile};
use crate::controller::profile::{Kind, Known, Profile, ProfileKey};
use crate::profile::seccomp::{SeccompSpec, resolve_base};
use crate::profile::state::State;

/// A profile in a store; one that this version cannot read is there, too.
pub(super) type Guarded<K> = DeserializeGuard<K>;

/// A profile as it was at a moment.
pub(super) struct Seen {
    /// The version of the object.
    pub(super) version: Option<String>,
    pub(super) observed: Observed,
}

/// What is known of the profile; nothing if there is none.
pub(super) fn observe(key: &ProfileKey, stores: &Stores) -> Option<Seen> {
    let (version, mut observed) = match key.kind {
        Kind::Seccomp => object(&stores.seccomp, &key.name),
        Kind::Selinux => object(&stores.selinux, &key.name),
        Kind::RawSelinux => object(&stores.raw_selinux, &key.name),
        Kind::AppArmor => object(&stores.apparmor, &key.name),
    }?;
    observed.unsupported = observed.unsupported.or_else(|| unsupported(key, stores));
    if key.kind == Kind::Seccomp {
        observed.syscalls = syscalls(stores, &key.name);
    }
    observed.reports = stores.reports_of(key);
    observed.nodes = nodes(stores);
    observed.pods = stores.pods_of(key);
    Some(Seen { version, observed })
}

fn object<K: Profile>(store: &Store<Guarded<K>>, name: &str) -> Option<(Option<String>, Observed)>
where
    Guarded<K>: kube::Resource<DynamicType = ()>,
{
    let object = store.get(&ObjectRef::new(name))?;
    let meta = object.meta();
    let (state, known, unsupported) = match &object.0 {
        Ok(profile) => (profile.state(), profile.known(), None),
        Err(invalid) => {
            let why = format!(
                "this version of the operator cannot read it: {}",
                invalid.error
            );
            (State::Enabled, Known::default(), Some(why))
        }
    };
    let observed = Observed {
        generation: meta.generation.unwrap_or_default(),
        deleted: meta.deletion_timestamp.is_some(),
        finalizers: meta.finalizers.clone().unwrap_or_default(),
        state,
        partial: object.labels().contains_key(PARTIAL),
        unsupported,
        usage: K::usage(name),
        installable: K::KIND == Kind::Seccomp,
        syscalls: None,
        known,
        reports: Vec::new(),
        nodes: Nodes::default(),
        pods: BTreeSet::new(),
        now: k8s_openapi::jiff::Timestamp::now(),
    };
    Some((meta.resource_version.clone(), observed))
}

/// Why nobody installs profiles like this one.
fn unsupported(key: &ProfileKey, stores: &Stores) -> Option<String> {
    let what = match key.kind {
        Kind::Selinux | Kind::RawSelinux => "SELinux",
        Kind::AppArmor => "AppArmor",
        Kind::Seccomp => {
            let profile = stores.seccomp.get(&ObjectRef::new(&key.name))?;
            let base = profile.0.as_ref().ok()?.spec.base_profile_name.as_ref()?;
            return base.starts_with("oci://").then(|| {
                "base profiles from a registry (oci://) cannot be fetched by this version; name a \
                 SeccompProfile of the cluster"
                    .to_owned()
            });
        }
    };
    Some(format!(
        "profiles for {what} cannot be installed by this version; nothing on the nodes changes"
    ))
}

/// The annotation with all rules of a profile, those of its bases included, if it is to be written.
fn syscalls(stores: &Stores, name: &str) -> Option<String> {
    let profile = stores.seccomp.get(&ObjectRef::new(name))?;
    let spec = profile.0.as_ref().ok()?.spec.clone();
    let rules = if spec.base_profile_name.is_some() {
        let merged = resolve_base(&SeccompSpec::from(spec), |base| {
            let base = stores.seccomp.get(&ObjectRef::new(base))?;
            Some(SeccompSpec::from(base.0.as_ref().ok()?.spec.clone()))
        });
        let merged = SeccompProfileSpec::try_from(merged.ok()?.spec).ok()?;
        merged.syscalls
    } else {
        spec.syscalls
    };
    let text = annotation(&rules)?;
    let known = profile.annotations().get(SYSCALLS);
    // The store has only a digest, see `trim`.
    (known.map(String::as_str) != Some(names::digest(&text).as_str())).then_some(text)
}

fn annotation(rules: &[Syscall]) -> Option<String> {
    serde_json::to_string(rules).ok()
}

/// What the nodes report of a seccomp profile; nothing if there is no such profile.
pub(super) fn reports(key: &ProfileKey, stores: &Stores) -> Option<Vec<Report>> {
    stores.seccomp.get(&ObjectRef::new(&key.name))?;
    Some(stores.reports_of(key))
}

fn nodes(stores: &Stores) -> Nodes {
    let names: BTreeSet<_> = stores
        .nodes
        .state()
        .iter()
        .map(|node| node.name_any())
        .collect();
    let daemons = stores.daemons.state();
    let desired = daemons.first().and_then(|daemons| daemons.status.as_ref());
    let desired = desired.map(|status| u32::try_from(status.desired_number_scheduled).unwrap_or(0));
    let all = u32::try_from(names.len()).unwrap_or(u32::MAX);
    // The daemon of a node that was removed is counted until somebody removes its pod, too.
    let desired = desired.map_or(all, |desired| desired.min(all));
    Nodes { names, desired }
}

/// Removes from a profile what is only compared: of the annotation with all rules, the digest is
/// enough.
pub(super) fn trim_seccomp(profile: &mut Guarded<SeccompProfile>) -> bool {
    if let Some(rules) = profile.annotations_mut().get_mut(SYSCALLS) {
        *rules = names::digest(&rules);
    }
    true
}

/// Removes what nobody reads from a profile of the other kinds: what it is all about.
pub(super) fn trim_apparmor(profile: &mut Guarded<AppArmorProfile>) -> bool {
    if let Ok(profile) = &mut profile.0 {
        profile.spec.abstract_ = None;
    }
    true
}

pub(super) fn trim_selinux(profile: &mut Guarded<SelinuxProfile>) -> bool {
    if let Ok(profile) = &mut profile.0 {
        profile.spec.allow = BTreeMap::new();
    }
    true
}

pub(super) fn trim_raw_selinux(profile: &mut Guarded<RawSelinuxProfile>) -> bool {
    if let Ok(profile) = &mut profile.0 {
        profile.spec.policy = None;
    }
    true
}
