//! Properties over random profiles. What a profile does is asked of libseccomp's own program.
//!
//! libseccomp does not take every profile as it is meant, so that the inputs are first brought
//! into the form that it does: what a merge of one profile makes of it. That this form means the
//! same to libseccomp and to us is a property of its own.

use proptest::prelude::*;
use spo::profile::seccomp::{
    Merged, SeccompSpec, Verdict, complain, diff, enforce, merge, verdict,
};

use super::oracle::Program;
use super::random::{NAMES, calls, profile, single};

/// Many cases, and no file that keeps those that failed.
fn cases(number: u32) -> ProptestConfig {
    ProptestConfig {
        cases: number,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn merged(specs: &[&SeccompSpec]) -> Merged {
    merge(specs).unwrap()
}

fn widened(merged: &Merged) -> bool {
    merged.notes.iter().any(|note| note.widens)
}

/// A profile as libseccomp takes it.
fn plain() -> impl Strategy<Value = SeccompSpec> {
    profile().prop_map(|spec| merged(&[&spec]).spec)
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn our_verdict_is_that_of_libseccomp(spec in plain(), calls in calls()) {
        let program = Program::of(&spec).unwrap();
        for (name, args) in calls {
            prop_assert_eq!(verdict(&spec, name, &args), program.verdict(name, &args), "{} {:x?}", name, args);
        }
    }

    #[test]
    fn our_verdict_of_single_rules_is_that_of_libseccomp(spec in single(), calls in calls()) {
        let program = Program::of(&spec).unwrap();
        for (name, args) in calls {
            prop_assert_eq!(verdict(&spec, name, &args), program.verdict(name, &args), "{} {:x?}", name, args);
        }
    }

    #[test]
    fn a_form_of_its_own_widens_only_if_it_says_so(spec in profile(), calls in calls()) {
        let once = merged(&[&spec]);
        for (name, args) in calls {
            let (before, after) = (verdict(&spec, name, &args), verdict(&once.spec, name, &args));
            prop_assert!(before == after || (before < after && widened(&once)), "{} {:x?}", name, args);
        }
        let twice = merged(&[&once.spec]);
        prop_assert_eq!(&twice.spec, &once.spec);
        prop_assert!(twice.notes.is_empty(), "{:?}", twice.notes);
    }

    #[test]
    fn a_merge_allows_what_either_allows(a in plain(), b in plain(), calls in calls()) {
        let both = merged(&[&a, &b]);
        let programs = [&a, &b, &both.spec].map(|spec| Program::of(spec).unwrap());
        let widened: Vec<_> = both.notes.iter().filter(|note| note.widens).filter_map(|note| note.syscall.as_deref()).collect();
        for (name, args) in calls {
            let [a, b, both] = programs.each_ref().map(|program| program.verdict(name, &args));
            let expected = a.max(b);
            if widened.contains(&name) {
                prop_assert!(both >= expected, "{} {:x?}: {} and {}, not {}", name, args, a, b, both);
            } else {
                prop_assert_eq!(both, expected, "{} {:x?}: {} and {}", name, args, a, b);
            }
        }
    }

    #[test]
    fn merging_is_commutative_and_idempotent(a in profile(), b in profile()) {
        prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
        let both = merged(&[&a, &b]).spec;
        prop_assert_eq!(&merged(&[&both, &both]).spec, &both);
        prop_assert_eq!(&merged(&[&both, &a]).spec, &both);
    }

    /// Where a step has to widen, the steps to come start from more than they need: no way of
    /// writing profiles could avoid that (docs/merging.md). All at once is the tightest then.
    #[test]
    fn merging_is_associative(a in profile(), b in profile(), c in profile(), calls in calls()) {
        let (ab, bc) = (merged(&[&a, &b]), merged(&[&b, &c]));
        let left = merged(&[&ab.spec, &c]);
        let right = merged(&[&a, &bc.spec]);
        let all = merged(&[&a, &b, &c]);
        if ![&ab, &bc, &left, &right].into_iter().any(widened) {
            prop_assert_eq!(&left.spec, &right.spec);
            prop_assert_eq!(&left.spec, &all.spec);
        }
        for (name, args) in calls {
            let least = [&a, &b, &c].map(|spec| verdict(spec, name, &args)).into_iter().max().unwrap();
            for grouped in [&left, &right, &all] {
                prop_assert!(verdict(&grouped.spec, name, &args) >= least);
            }
        }
    }

    #[test]
    fn no_difference_is_the_same_verdicts(a in plain(), b in plain(), calls in calls()) {
        let programs = [&a, &b].map(|spec| Program::of(spec).unwrap());
        let difference = diff(&a, &b);
        prop_assert_eq!(difference.is_same(), a == b);
        let mut widens = false;
        for (name, args) in calls {
            let [a, b] = programs.each_ref().map(|program| program.verdict(name, &args));
            widens |= b.action != a.action && b > a;
            let told = difference.calls.iter().any(|call| call.syscall == name);
            let unnamed = !NAMES.contains(&name) && difference.default.is_some();
            prop_assert!(a == b || told || unnamed || difference.default.is_some(), "{} {:x?}", name, args);
        }
        prop_assert!(difference.widens() || !widens);
    }

    #[test]
    fn complaining_denies_nothing(spec in plain(), calls in calls()) {
        let (complaining, notes) = complain(&spec, &["socket".to_owned()]);
        prop_assert!(!notes.iter().any(|note| note.widens), "{:?}", notes);
        let programs = [&spec, &complaining].map(|spec| Program::of(spec).unwrap());
        for (name, args) in calls {
            let [before, after] = programs.each_ref().map(|program| program.verdict(name, &args));
            let log = Verdict::new(spo::profile::seccomp::Action::Log, None);
            if name == "socket" {
                prop_assert!(after == before || (after.is_denial() && !notes.is_empty()));
            } else {
                prop_assert_eq!(after, if before.is_denial() { log } else { before });
            }
        }
        prop_assert_eq!(enforce(&complaining, Some(&spec)), (spec, Vec::new()));
    }
}
