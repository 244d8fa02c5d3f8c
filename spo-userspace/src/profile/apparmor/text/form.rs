//! From policy text to an object's spec.

use std::collections::BTreeSet;

use super::write::{DEFAULT_DENIALS, RAWIO_MOUNTS, RAWIO_PROGRAMS};
use super::{Content, Rule, TextProfile};
use crate::profile::apparmor::access::Access;
use crate::profile::apparmor::canon::Canon;
use crate::profile::apparmor::check::{self, Refusals, hatch};
use crate::profile::apparmor::model::{
    Abstract, AppArmorSpec, Capabilities, Filesystem, Mode, Network,
};
use crate::profile::apparmor::rules::{
    FileRule, MountRule, NetworkRule, PtraceRule, RuleSet, Rules,
};
use crate::profile::apparmor::words::{RAWIO, Word};
use crate::profile::diagnostic::{Diagnostic, quoted};
use crate::profile::fields::Problems;
use crate::profile::state::State;
use crate::profile::tree::Place;

/// What every profile made from an object includes.
const USUAL_INCLUDES: &[&str] = &["tunables/global", "abstractions/base"];

/// The spec that policy text stands for.
///
/// What has no place in it is told with its position: as a warning where the spec allows or denies
/// something that the text does not, but stays on the safe side, and as an error where a denial is
/// lost.
pub fn to_abstract(profile: &TextProfile) -> (AppArmorSpec, Vec<Diagnostic>) {
    let TextProfile {
        file,
        name: _,
        place,
        mode,
        unplaced,
        includes,
        rules,
        children,
    } = profile;
    let mut problems = Problems::new(file);
    let mut flat = Flat {
        mode: *mode,
        ..Flat::default()
    };
    for (place, what) in unplaced {
        no_place(&mut problems, *place, what, false);
    }
    for (place, name) in includes {
        if !USUAL_INCLUDES.contains(&name.as_str()) {
            let what = format!("what {} includes", quoted(name));
            no_place(&mut problems, *place, &what, false);
        }
    }
    for child in children {
        let what = format!("the profile {} inside of another", quoted(&child.name));
        no_place(&mut problems, child.place, &what, false);
    }
    for rule in rules {
        add(&mut flat, rule, &mut problems);
    }
    additions(&flat, *place, includes, &mut problems);
    (flat.fold(), problems.finish())
}

/// A spec as its own policy text says it: what [`to_abstract`] makes of the text that
/// [`write_text`](super::write_text) makes of it. The text does not say whether the profile is
/// enabled.
pub fn as_text(spec: &AppArmorSpec) -> AppArmorSpec {
    Flat::of(spec).fold()
}

fn no_place(problems: &mut Problems<'_>, place: Place, what: &str, denied: bool) {
    let message = format!("{what} has no place in an AppArmorProfile");
    if denied {
        let help = "without it, more is allowed";
        problems.error(place, message, Some(help.to_owned()));
    } else {
        problems.warn(place, message, None);
    }
}

fn add(flat: &mut Flat, rule: &Rule, problems: &mut Problems<'_>) {
    let Rule {
        place,
        audited,
        denied,
        deferred,
        content,
    } = rule;
    let set = if *denied {
        &mut flat.deny
    } else {
        &mut flat.allow
    };
    let refusals: Refusals = match content {
        Content::File(rule) => rule.check(*denied),
        Content::Network(rule) => rule.check(),
        Content::Signal(rule) => rule.check(),
        Content::Ptrace(rule) => rule.check(),
        Content::Mount(rule) => rule.check(),
        Content::Unix(rule) => rule.check(),
        Content::Dbus(rule) => rule.check(),
        Content::Capability(_) => Refusals::new(),
        Content::Unplaced(what) => {
            return no_place(problems, *place, what, *denied);
        }
    };
    if let Some((_, refusal)) = refusals.first() {
        let what = format!("this rule ({})", refusal.message);
        return no_place(problems, *place, &what, *denied);
    }
    if *audited {
        let message = "`audit` has no place in an AppArmorProfile".to_owned();
        let help = "the rule is kept, and what it is about is not logged";
        problems.warn(*place, message, Some(help.to_owned()));
    }
    if *denied && !*deferred && flat.mode == Mode::Complain {
        let message = "a profile made from an object denies nothing in complain mode".to_owned();
        let help = "the rule is kept, and denies again once the profile is enforced";
        problems.warn(*place, message, Some(help.to_owned()));
    }
    match content.clone() {
        Content::File(rule) => drop(set.file.insert(rule)),
        Content::Network(rule) => drop(set.network.insert(rule)),
        Content::Signal(rule) => drop(set.signal.insert(rule)),
        Content::Ptrace(rule) => drop(set.ptrace.insert(rule)),
        Content::Mount(rule) => drop(set.mount.insert(rule)),
        Content::Unix(rule) => drop(set.unix.insert(rule)),
        Content::Dbus(rule) => drop(set.dbus.insert(rule)),
        Content::Capability(words) => {
            if !*denied && words.contains(&RAWIO) {
                flat.rawio = Some(*place);
            }
            set.capability.extend(words);
        }
        Content::Unplaced(_) => {}
    }
}

/// Tells what a profile made from an object has and this text has not.
fn additions(flat: &Flat, place: Place, includes: &[(Place, String)], problems: &mut Problems<'_>) {
    for usual in USUAL_INCLUDES {
        if !includes.iter().any(|(_, name)| name == usual) {
            let message = format!("a profile made from an object also includes `{usual}`");
            problems.warn(place, message, None);
        }
    }
    let denials_are_missing = || {
        DEFAULT_DENIALS
            .iter()
            .any(|(path, access)| !flat.deny.file.contains(&plain(path, *access)))
    };
    if flat.mode == Mode::Enforce && denials_are_missing() {
        let message = "a profile made from an object also denies what harms the node: most of \
                       `/proc/sys`, and others";
        problems.warn(place, message.to_owned(), None);
    }
    if let Some(place) = flat.rawio
        && !rawio_rules().is_subset(&flat.allow)
    {
        let message = "with `sys_rawio`, a profile made from an object also allows all mounts, and \
                       to check file systems";
        problems.warn(place, message.to_owned(), None);
    }
}

/// How often a spec is folded again at most; two are enough for all that are known.
const MOST_FOLDS: usize = 8;

/// A profile as rules only, one for each line of its text.
#[derive(Default)]
struct Flat {
    mode: Mode,
    allow: RuleSet,
    deny: RuleSet,
    /// Where the capability is that brings others along.
    rawio: Option<Place>,
}

impl Flat {
    fn of(spec: &AppArmorSpec) -> Self {
        let AppArmorSpec {
            state: _,
            mode,
            abstract_,
        } = spec;
        let Abstract {
            executable,
            filesystem,
            network,
            capability,
            rules,
        } = abstract_;
        let mut flat = Self {
            mode: *mode,
            allow: rules.allow.clone(),
            deny: rules.deny.clone(),
            rawio: None,
        };
        flat.allow
            .capability
            .clone_from(&capability.allowed_capabilities);
        for (paths, access, denied) in [
            (
                &executable.allowed_executables,
                Access::READ.or(Access::EXECUTE),
                Access::NONE,
            ),
            (
                &executable.allowed_libraries,
                Access::READ.or(Access::MAP),
                Access::NONE,
            ),
            (&filesystem.read_only_paths, Access::READ, Access::CHANGE),
            (&filesystem.write_only_paths, Access::CHANGE, Access::READ),
            (
                &filesystem.read_write_paths,
                Access::READ_CHANGE,
                Access::NONE,
            ),
        ] {
            for path in paths {
                if let Some(word) = hatch(path) {
                    flat.allow.ptrace.insert(PtraceRule {
                        access: BTreeSet::from([word]),
                        peer: None,
                    });
                    continue;
                }
                flat.allow.file.insert(plain(path, access));
                if !denied.is_none() {
                    flat.deny.file.insert(plain(path, denied));
                }
            }
        }
        if let Some(network) = network {
            let raw = if network.allow_raw {
                &mut flat.allow
            } else {
                &mut flat.deny
            };
            raw.network.insert(of_type("raw"));
            if network.allow_tcp {
                flat.allow.network.insert(of_type("tcp"));
            }
            if network.allow_udp {
                flat.allow.network.insert(of_type("udp"));
            }
        }
        flat
    }

    /// The spec, in the form that its own text has, too. What lists say in short may only then be
    /// what another part of the spec brings along, and need not be said.
    fn fold(self) -> AppArmorSpec {
        let mut spec = self.fold_once();
        for _ in 0..MOST_FOLDS {
            let again = Self::of(&spec).fold_once();
            if again == spec {
                break;
            }
            spec = again;
        }
        spec
    }

    fn fold_once(self) -> AppArmorSpec {
        let Self {
            mode,
            mut allow,
            mut deny,
            rawio: _,
        } = self;
        for (path, access) in DEFAULT_DENIALS {
            deny.file.remove(&plain(path, *access));
        }
        if allow.capability.contains(RAWIO) {
            let RuleSet { file, mount, .. } = rawio_rules();
            allow.file.retain(|rule| !file.contains(rule));
            allow.mount.retain(|rule| !mount.contains(rule));
        }
        let mut filesystem = Filesystem::default();
        for (list, granted, denied) in [
            (
                &mut filesystem.read_only_paths,
                Access::READ,
                Access::CHANGE,
            ),
            (
                &mut filesystem.write_only_paths,
                Access::CHANGE,
                Access::READ,
            ),
        ] {
            let pairs: Vec<String> = deny
                .file
                .iter()
                .filter(|rule| rule.access == denied && !rule.owner)
                .filter(|rule| allow.file.contains(&plain(&rule.path, granted)))
                .filter(|rule| check::listed_path(&rule.path, false).is_ok())
                .map(|rule| rule.path.clone())
                .collect();
            for path in pairs {
                deny.file.remove(&plain(&path, denied));
                allow.file.remove(&plain(&path, granted));
                list.insert(path);
            }
        }
        let network = network(&mut allow, &mut deny);
        let allowed_capabilities = std::mem::take(&mut allow.capability);
        let spec = AppArmorSpec {
            state: State::Enabled,
            mode,
            abstract_: Abstract {
                filesystem,
                network,
                capability: Capabilities {
                    allowed_capabilities,
                },
                rules: Rules { allow, deny },
                ..Abstract::default()
            },
        };
        Canon::new(&spec).fold()
    }
}

/// The field `network` for rules that it stands for. The field denies raw sockets unless it allows
/// them, which must take away nothing.
fn network(allow: &mut RuleSet, deny: &mut RuleSet) -> Option<Network> {
    let raw = allow.network.remove(&of_type("raw"));
    let denied = deny.network.contains(&of_type("raw"));
    let harmless = !allow
        .network
        .iter()
        .any(|rule| matches!(rule.kind, None | Some("raw")));
    if !raw && !denied && !harmless {
        return None;
    }
    if !raw {
        deny.network.remove(&of_type("raw"));
    }
    let allow_tcp = allow.network.remove(&of_type("tcp"));
    let allow_udp = allow.network.remove(&of_type("udp"));
    (raw || denied || allow_tcp || allow_udp).then_some(Network {
        allow_raw: raw,
        allow_tcp,
        allow_udp,
    })
}

fn of_type(kind: Word) -> NetworkRule {
    NetworkRule {
        family: None,
        kind: Some(kind),
    }
}

fn plain(path: &str, access: Access) -> FileRule {
    FileRule {
        path: path.to_owned(),
        access,
        owner: false,
    }
}

/// What comes with [`RAWIO`].
fn rawio_rules() -> RuleSet {
    RuleSet {
        file: RAWIO_PROGRAMS
            .iter()
            .map(|path| plain(path, Access::READ.or(Access::EXECUTE)))
            .collect(),
        mount: RAWIO_MOUNTS
            .iter()
            .map(|operation| MountRule {
                operation,
                fstype: BTreeSet::new(),
                options: BTreeSet::new(),
                source: None,
                target: None,
            })
            .collect(),
        ..RuleSet::default()
    }
}

impl RuleSet {
    fn is_subset(&self, other: &Self) -> bool {
        self.file.is_subset(&other.file) && self.mount.is_subset(&other.mount)
    }
}
