//! Several recorded profiles of one container as one, with what is known of all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::api::SeccompProfileSpec;
use crate::api::names::COVERAGE;
use crate::profile::seccomp::{Action, SeccompSpec, merge};
use crate::recorder::ANNOTATION_PREFIX;
use crate::recorder::capabilities::{self, CAPABILITIES, UNSURE};

/// Reasons why a profile is not complete that are told one by one.
pub(super) const MOST: usize = 8;

/// A profile that a node recorded.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Partial {
    pub(in crate::controller) name: String,
    pub(in crate::controller) uid: Option<String>,
    pub(in crate::controller) container: String,
    pub(in crate::controller) annotations: BTreeMap<String, String>,
    /// Nothing if this version cannot read it.
    pub(in crate::controller) spec: Option<SeccompProfileSpec>,
}

/// What they are together.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::controller) struct Whole {
    pub(in crate::controller) spec: SeccompProfileSpec,
    /// Coverage and evidence.
    pub(in crate::controller) annotations: BTreeMap<String, String>,
}

/// Merges profiles of one container.
pub(in crate::controller) fn whole(partials: &[&Partial]) -> Result<Whole, String> {
    let mut specs = Vec::new();
    for partial in partials {
        let spec = partial.spec.clone();
        let spec = spec.ok_or_else(|| {
            format!(
                "this version cannot read the SeccompProfile {}",
                partial.name
            )
        })?;
        specs.push(SeccompSpec::from(spec));
    }
    let merged = merge(&specs.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())?;
    let mut annotations = evidence(partials);
    annotations.insert(COVERAGE.to_owned(), coverage(&specs).text());
    Ok(Whole {
        spec: SeccompProfileSpec::try_from(merged.spec).map_err(|error| error.to_string())?,
        annotations,
    })
}

/// In how many profiles each call is allowed, as the reference writes it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Coverage {
    version: String,
    total: usize,
    syscalls: BTreeMap<String, usize>,
}

impl Coverage {
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn coverage(specs: &[SeccompSpec]) -> Coverage {
    let mut syscalls: BTreeMap<String, usize> = BTreeMap::new();
    for spec in specs {
        let allowed = spec
            .syscalls
            .iter()
            .filter(|rule| rule.action == Action::Allow);
        let names: BTreeSet<_> = allowed.flat_map(|rule| &rule.names).collect();
        for name in names {
            *syscalls.entry(name.clone()).or_default() += 1;
        }
    }
    Coverage {
        version: "v1".to_owned(),
        total: specs.len(),
        syscalls,
    }
}

/// Merges profiles that came late with what had been merged of the same recording, whose parts are gone.
/// Nothing, if they say nothing new.
pub(super) fn late(before: &Partial, partials: &[&Partial]) -> Result<Option<Whole>, String> {
    let own = whole(partials)?;
    let mut both = whole(&[&[before], partials].concat())?;
    let key = format!("{ANNOTATION_PREFIX}partial");
    let reasons = |all: &BTreeMap<String, String>| -> BTreeSet<String> {
        let all = all.get(&key).into_iter().flat_map(|text| text.split("; "));
        all.map(str::to_owned).collect()
    };
    let known = reasons(&before.annotations);
    let is_known = reasons(&own.annotations).is_subset(&known);
    let key = format!("{ANNOTATION_PREFIX}{CAPABILITIES}");
    let is_known = is_known && before.annotations.get(&key) == both.annotations.get(&key);
    if before.spec.as_ref() == Some(&both.spec) && is_known {
        return Ok(None);
    }
    let counted = |annotations: &BTreeMap<String, String>| {
        let text = annotations.get(COVERAGE)?;
        serde_json::from_str::<Coverage>(text).ok()
    };
    if let (Some(mut sum), Some(more)) = (counted(&before.annotations), counted(&own.annotations)) {
        sum.total += more.total;
        for (name, count) in more.syscalls {
            *sum.syscalls.entry(name).or_default() += count;
        }
        let profiles = format!("{ANNOTATION_PREFIX}profiles");
        both.annotations.insert(profiles, sum.total.to_string());
        both.annotations.insert(COVERAGE.to_owned(), sum.text());
    }
    Ok(Some(both))
}

/// What holds for all of them: what was lost, and why they are not complete.
fn evidence(partials: &[&Partial]) -> BTreeMap<String, String> {
    let key = |name: &str| format!("{ANNOTATION_PREFIX}{name}");
    let values = |name: &str| {
        let key = key(name);
        let values = partials.iter().map(move |one| one.annotations.get(&key));
        values.collect::<Vec<_>>()
    };
    let mut evidence = BTreeMap::from([(key("profiles"), partials.len().to_string())]);
    // One of which nobody can tell makes the sum unknown.
    let lost = values("lost").into_iter().try_fold(0_u64, |sum, lost| {
        Some(sum.saturating_add(lost?.parse().ok()?))
    });
    let lost = lost.map_or_else(|| "unknown".to_owned(), |lost| lost.to_string());
    evidence.insert(key("lost"), lost);
    let used = values(CAPABILITIES).into_iter();
    let used = capabilities::merged(used.map(|value| value.map(String::as_str)));
    evidence.insert(key(CAPABILITIES), used);
    if let Some(began) = values("began").into_iter().flatten().min() {
        evidence.insert(key("began"), began.clone());
    }
    if let Some(until) = values("until").into_iter().flatten().max() {
        evidence.insert(key("until"), until.clone());
    }
    for name in [
        "recorder",
        "uid",
        "architecture",
        "kernel",
        "runtime",
        "image",
        "left-out",
        "partial",
        "privileged",
        UNSURE,
    ] {
        // A value may have come of several already.
        let all = values(name).into_iter().flatten();
        let all = all.flat_map(|value| value.split("; "));
        let (cut, mut all): (Vec<_>, Vec<_>) = all.partition(|one| is_cut(one));
        all.sort_unstable();
        all.dedup();
        let more = all.len().saturating_sub(MOST);
        all.truncate(MOST);
        let mut texts: Vec<_> = all.into_iter().map(str::to_owned).collect();
        if !cut.is_empty() {
            // Nobody can tell how many these are together.
            texts.push("and more".to_owned());
        } else if more > 0 {
            texts.push(format!("and {more} more"));
        }
        if !texts.is_empty() {
            evidence.insert(key(name), texts.join("; "));
        }
    }
    evidence
}

/// Whether this stands for what did not fit.
fn is_cut(text: &str) -> bool {
    text == "and more"
        || text
            .strip_prefix("and ")
            .and_then(|rest| rest.strip_suffix(" more"))
            .is_some_and(|count| count.parse::<u64>().is_ok())
}

#[cfg(test)]
pub(in crate::controller) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(in crate::controller) fn partial(
        name: &str,
        calls: &[&str],
        annotations: &[(&str, &str)],
    ) -> Partial {
        let spec = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": calls, "action": "SCMP_ACT_ALLOW" }],
        });
        let annotations = annotations.iter();
        Partial {
            name: name.to_owned(),
            uid: None,
            container: "app".to_owned(),
            annotations: annotations
                .map(|(name, value)| (format!("{ANNOTATION_PREFIX}{name}"), (*value).to_owned()))
                .collect(),
            spec: Some(serde_json::from_value(spec).unwrap()),
        }
    }

    #[test]
    fn calls_are_counted_and_evidence_is_added_up() {
        let one = partial(
            "a",
            &["read", "write"],
            &[
                ("lost", "1"),
                ("began", "2026-01-02T00:00:00Z"),
                ("until", "2026-01-03T00:00:00Z"),
                ("kernel", "6.1"),
            ],
        );
        let two = partial(
            "b",
            &["mknod", "read"],
            &[
                ("lost", "2"),
                ("began", "2026-01-01T00:00:00Z"),
                ("partial", "so"),
                ("kernel", "6.1"),
            ],
        );
        let Whole { spec, annotations } = whole(&[&one, &two]).unwrap();
        assert_eq!(spec.syscalls[0].names, ["mknod", "read", "write"]);
        let coverage: Value = serde_json::from_str(&annotations[COVERAGE]).unwrap();
        let expected = json!({ "version": "v1", "total": 2, "syscalls": { "mknod": 1, "read": 2, "write": 1 } });
        assert_eq!(coverage, expected);
        for (name, value) in [
            ("lost", "3"),
            ("profiles", "2"),
            ("began", "2026-01-01T00:00:00Z"),
            ("until", "2026-01-03T00:00:00Z"),
            ("kernel", "6.1"),
            ("partial", "so"),
        ] {
            assert_eq!(
                annotations[&format!("{ANNOTATION_PREFIX}{name}")],
                value,
                "{name}"
            );
        }
        // The order makes no difference.
        assert_eq!(whole(&[&two, &one]).unwrap().annotations, annotations);
    }

    #[test]
    fn what_one_does_not_say_is_unknown() {
        let one = partial("a", &["read"], &[("lost", "0")]);
        let two = partial("b", &["read"], &[]);
        let annotations = whole(&[&one, &two]).unwrap().annotations;
        assert_eq!(annotations["spo.x-k8s.io/recording-lost"], "unknown");
        let broken = Partial { spec: None, ..one };
        assert!(whole(&[&broken, &two]).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn capabilities_of_all_are_told() {
        let one = partial(
            "a",
            &["read"],
            &[
                ("capabilities", "CAP_CHOWN, CAP_SYS_ADMIN"),
                ("capabilities-unsure", "why"),
                ("privileged", "so"),
            ],
        );
        let two = partial("b", &["read"], &[("capabilities", "CAP_CHOWN, CAP_BPF")]);
        let three = partial("c", &["read"], &[("capabilities", "none")]);
        let annotations = whole(&[&one, &two, &three]).unwrap().annotations;
        for (name, value) in [
            ("capabilities", "CAP_BPF, CAP_CHOWN, CAP_SYS_ADMIN"),
            ("capabilities-unsure", "why"),
            ("privileged", "so"),
        ] {
            let key = format!("{ANNOTATION_PREFIX}{name}");
            assert_eq!(annotations[&key], value, "{name}");
        }
        // One of which nobody knows may have used others.
        let four = partial("d", &["read"], &[]);
        let annotations = whole(&[&two, &four]).unwrap().annotations;
        let told = &annotations["spo.x-k8s.io/recording-capabilities"];
        assert_eq!(told, "CAP_BPF, CAP_CHOWN, unknown");
        // What came late may say nothing new but that.
        let Whole { spec, annotations } = whole(&[&two]).unwrap();
        let before = Partial {
            spec: Some(spec),
            annotations,
            ..two
        };
        assert!(late(&before, &[&three]).unwrap().is_none());
        assert!(late(&before, &[&one]).unwrap().is_some());
    }

    #[test]
    fn evidence_of_many_does_not_grow() {
        let evidence = |one: &str, two: &str| {
            let one = partial("a", &["read"], &[("kernel", one)]);
            let two = partial("b", &["read"], &[("kernel", two)]);
            let annotations = whole(&[&one, &two]).unwrap().annotations;
            annotations["spo.x-k8s.io/recording-kernel"].clone()
        };
        assert_eq!(evidence("2; 1", "2"), "1; 2");
        let nine = "1; 2; 3; 4; 5; 6; 7; 8; 9";
        let cut = evidence(nine, "1");
        assert_eq!(cut, "1; 2; 3; 4; 5; 6; 7; 8; and 1 more");
        let cut = evidence(&cut, "9");
        assert_eq!(cut, "1; 2; 3; 4; 5; 6; 7; 8; and more");
        assert_eq!(evidence(&cut, "9"), cut);
    }
}
