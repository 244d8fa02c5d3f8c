//! One subject's calls as a profile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{NamedCall, Summary};
use crate::event::{Abi, Losses, SubjectObservation};
use crate::profile::arch::Arch;
use crate::profile::object::Metadata;
use crate::profile::risk;
use crate::profile::seccomp::{Action, Architecture, SeccompProfile, SeccompSpec, SyscallRule};

/// All our annotations begin with it.
pub const ANNOTATION_PREFIX: &str = "spo.x-k8s.io/recording-";

/// Numbers without a name that an annotation names at most.
const MOST_UNNAMED: usize = 32;

/// What a profile is made with, besides the observation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `metadata.name`.
    pub name: String,
    /// Architecture of the host.
    pub host: Arch,
    /// Release of its kernel.
    pub kernel: String,
    /// The id of the container, where one is known.
    pub container: Option<String>,
    /// Calls that every container needs; empty to add none.
    pub base: Vec<String>,
    /// How long the recording ran.
    pub duration: Duration,
    /// How long before the end the last new call was made.
    pub last_new: Option<Duration>,
    /// Why the recording cannot be complete, in words.
    pub partial: Vec<String>,
}

/// A profile, and what to tell about it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The profile.
    pub profile: SeccompProfile,
    /// What to tell.
    pub summary: Summary,
}

/// Makes the profile of a subject.
pub fn record(subject: &SubjectObservation, losses: Losses, settings: &Settings) -> Recorded {
    let Settings {
        name,
        host,
        kernel,
        container,
        base,
        duration,
        last_new,
        partial,
    } = settings;
    let mut names = BTreeSet::new();
    let mut architectures = BTreeSet::new();
    let mut unnamed = Vec::new();
    for call in &subject.calls {
        let call = NamedCall::of(*call, *host);
        architectures.extend(call.arch);
        match call.name {
            Some(name) => {
                names.insert(name.to_owned());
            }
            None => unnamed.push((call, None)),
        }
    }
    for (call, times) in &subject.unnamed {
        let with_arch = NamedCall::of(*call, *host);
        // A nonsensical number does not make a program one of another ABI: native ones were seen before.
        if call.abi != Abi::Native {
            architectures.extend(with_arch.arch);
        }
        match with_arch.name {
            // The private calls of 32-bit arm have names, and numbers that no set has room for.
            Some(name) => {
                names.insert(name.to_owned());
            }
            None => unnamed.push((with_arch, Some(*times))),
        }
    }
    let seen = names.len();
    // The runtime's calls, which the base stands for, are native.
    if !base.is_empty() || architectures.is_empty() {
        architectures.insert(*host);
    }
    let base_added: Vec<String> = base
        .iter()
        .filter(|name| names.insert((*name).clone()))
        .cloned()
        .collect();

    let mut partial = partial.clone();
    if subject.filtered {
        partial.push(
            "it ran under a seccomp filter already, and what that one refused was not seen"
                .to_owned(),
        );
    }
    let risky = names
        .iter()
        .filter_map(|name| Some((name.clone(), risk::reason(name)?)))
        .collect();
    let spec = spec(names, &architectures);
    let summary = Summary {
        name: name.clone(),
        seen,
        base_added,
        architectures: architectures.into_iter().collect(),
        unnamed,
        risky,
        losses,
        partial,
        duration: *duration,
        last_new: *last_new,
    };
    let mut annotations = annotations(&summary, *host, kernel);
    if let Some(container) = container {
        annotations.insert(key("container"), container.clone());
    }
    let profile = SeccompProfile {
        metadata: Metadata {
            name: name.clone(),
            annotations,
            ..Metadata::default()
        },
        spec,
    };
    Recorded { profile, summary }
}

fn spec(names: BTreeSet<String>, architectures: &BTreeSet<Arch>) -> SeccompSpec {
    let mut spec = SeccompSpec::new(Action::Errno);
    spec.architectures = architectures
        .iter()
        .copied()
        .map(Architecture::from)
        .collect();
    if !names.is_empty() {
        spec.syscalls = vec![SyscallRule {
            names: names.into_iter().collect(),
            action: Action::Allow,
            errno_ret: None,
            args: Vec::new(),
        }];
    }
    spec
}

/// What a profile says of itself.
fn annotations(summary: &Summary, host: Arch, kernel: &str) -> BTreeMap<String, String> {
    let Summary {
        losses,
        partial,
        unnamed,
        duration,
        last_new,
        ..
    } = summary;
    let mut annotations = BTreeMap::from([
        (key("duration"), seconds(*duration)),
        (key("kernel"), kernel.to_owned()),
        (key("architecture"), host.to_string()),
        (key("lost"), losses.lost().to_string()),
    ]);
    if let Some(last_new) = last_new {
        annotations.insert(key("since-last-new-syscall"), seconds(*last_new));
    }
    let counters = losses.named();
    let counted: Vec<_> = counters.iter().filter(|(_, count)| *count > 0).collect();
    if !counted.is_empty() {
        annotations.insert(key("losses"), list(counted.into_iter()));
    }
    if !partial.is_empty() {
        annotations.insert(key("partial"), partial.join("; "));
    }
    if !unnamed.is_empty() {
        let mut text: Vec<String> = unnamed
            .iter()
            .take(MOST_UNNAMED)
            .map(|(named, _)| named.to_string())
            .collect();
        if unnamed.len() > MOST_UNNAMED {
            text.push(format!("{} more", unnamed.len() - MOST_UNNAMED));
        }
        annotations.insert(key("unnamed"), text.join(", "));
    }
    annotations
}

fn key(name: &str) -> String {
    format!("{ANNOTATION_PREFIX}{name}")
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

fn list<'a>(counters: impl Iterator<Item = &'a (&'static str, u64)>) -> String {
    counters
        .map(|(name, count)| format!("{name}={count}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;

    fn settings(base: &[&str]) -> Settings {
        Settings {
            name: "test".to_owned(),
            host: Arch::X86_64,
            kernel: "6.1.0".to_owned(),
            container: None,
            base: base.iter().map(|name| (*name).to_owned()).collect(),
            duration: Duration::from_millis(12_340),
            last_new: Some(Duration::from_secs(2)),
            partial: Vec::new(),
        }
    }

    fn subject(calls: &[(Abi, i32)]) -> SubjectObservation {
        SubjectObservation {
            index: 2,
            calls: calls
                .iter()
                .map(|(abi, number)| Call {
                    abi: *abi,
                    number: *number,
                })
                .collect(),
            ..SubjectObservation::default()
        }
    }

    #[test]
    fn abis_have_tables_of_their_own() {
        // Number 5 is fstat, open and fstat in the three tables; 102 is getuid and socketcall.
        let subject = subject(&[
            (Abi::Native, 5),
            (Abi::Native, 102),
            (Abi::Compat, 102),
            (Abi::X32, 520),
        ]);
        let Recorded { profile, summary } = record(&subject, Losses::default(), &settings(&[]));
        assert_eq!(
            profile.spec.syscalls[0].names,
            ["execve", "fstat", "getuid", "socketcall"]
        );
        let architectures: Vec<_> = profile
            .spec
            .architectures
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            architectures,
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        );
        assert_eq!((summary.seen, summary.base_added.len()), (4, 0));
    }

    #[test]
    fn the_base_adds_what_was_not_seen() {
        let Recorded { profile, summary } = record(
            &subject(&[(Abi::Native, 59)]),
            Losses::default(),
            &settings(&["brk", "execve"]),
        );
        assert_eq!(profile.spec.syscalls[0].names, ["brk", "execve"]);
        assert_eq!(
            (summary.seen, summary.base_added),
            (1, vec!["brk".to_owned()])
        );
        assert_eq!(
            profile.metadata.annotations["spo.x-k8s.io/recording-lost"],
            "0"
        );
        assert_eq!(
            profile.metadata.annotations["spo.x-k8s.io/recording-duration"],
            "12.3s"
        );
        assert!(
            !profile
                .metadata
                .annotations
                .contains_key("spo.x-k8s.io/recording-losses")
        );
    }

    #[test]
    fn losses_and_reasons_are_in_the_profile() {
        let mut subject = subject(&[(Abi::Native, 59)]);
        subject.filtered = true;
        subject.unnamed = vec![(
            Call {
                abi: Abi::Native,
                number: 9999,
            },
            3,
        )];
        let losses = Losses {
            skipped_runs: 7,
            events_full: 4,
            ..Losses::default()
        };
        let annotations = record(&subject, losses, &settings(&[]))
            .profile
            .metadata
            .annotations;
        assert_eq!(annotations["spo.x-k8s.io/recording-lost"], "7");
        assert_eq!(
            annotations["spo.x-k8s.io/recording-losses"],
            "skipped-runs=7,events-full=4"
        );
        assert_eq!(
            annotations["spo.x-k8s.io/recording-unnamed"],
            "number 9999 (x86_64)"
        );
        assert!(annotations["spo.x-k8s.io/recording-partial"].contains("seccomp filter"));
    }

    #[test]
    fn a_call_with_a_name_beyond_the_set_is_in_the_profile() {
        let set_tls = Call {
            abi: Abi::Compat,
            number: 0xf_0005,
        };
        let mut subject = subject(&[]);
        subject.unnamed = vec![(set_tls, 1)];
        let mut settings = settings(&[]);
        settings.host = Arch::Aarch64;
        let Recorded { profile, summary } = record(&subject, Losses::default(), &settings);
        assert_eq!(profile.spec.syscalls[0].names, ["set_tls"]);
        assert_eq!(summary.architectures, [Arch::Arm]);
        assert!(summary.unnamed.is_empty());
    }

    #[test]
    fn a_number_without_a_name_in_the_set_is_reported() {
        let summary = record(
            &subject(&[(Abi::Native, 1000)]),
            Losses::default(),
            &settings(&[]),
        )
        .summary;
        assert_eq!(summary.unnamed.len(), 1);
        assert_eq!(summary.seen, 0);
    }
}
