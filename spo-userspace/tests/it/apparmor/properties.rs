//! What must hold for all profiles.

use proptest::prelude::*;
use spo::api::check;
use spo::profile::apparmor::{
    AppArmorProfile, AppArmorSpec, Merged, as_text, complain, diff, enforce, merge, read,
    read_text, to_abstract, write_object, write_text,
};
use spo::profile::diagnostic::{Severity, has_errors};
use spo::profile::object::Metadata;

use super::judge::{ACCESSES, PATHS, allows};
use super::strategy::spec;

fn merged(specs: &[&AppArmorSpec]) -> AppArmorSpec {
    let Merged { spec, .. } = merge(specs);
    spec
}

fn object(spec: AppArmorSpec) -> AppArmorProfile {
    let metadata = Metadata {
        name: "x".to_owned(),
        ..Metadata::default()
    };
    AppArmorProfile { metadata, spec }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn merging_does_not_depend_on_the_order(a in spec(), b in spec(), c in spec()) {
        let (ab, ba) = (merged(&[&a, &b]), merged(&[&b, &a]));
        prop_assert_eq!(&ab, &ba);
        let all = merged(&[&a, &b, &c]);
        prop_assert_eq!(merged(&[&ab, &c]), all.clone());
        prop_assert_eq!(merged(&[&a, &merged(&[&b, &c])]), all);
    }

    #[test]
    fn merging_with_itself_changes_nothing(a in spec()) {
        let once = merged(&[&a]);
        prop_assert_eq!(&merged(&[&a, &a]), &once);
        prop_assert_eq!(&merged(&[&once]), &once);
        prop_assert_eq!(&merged(&[&once, &a]), &once);
    }

    /// What one of them allows, the result allows. The judge is not the code that merges.
    #[test]
    fn merging_takes_nothing_away(a in spec(), b in spec()) {
        let all = merged(&[&a, &b]);
        for path in PATHS {
            for access in ACCESSES {
                let either = allows(&a, path, access) || allows(&b, path, access);
                prop_assert!(!either || allows(&all, path, access), "{} {:?}", path, access);
            }
        }
        for one in [&a, &b] {
            let mut lost = diff(one, &all).less;
            // A mode or state is told by a note, and a denial of the other side takes nothing.
            lost.retain(|change| change.category != "profile" && change.category != "deny");
            prop_assert!(lost.is_empty(), "{:?}", lost);
        }
    }

    /// A difference that is not told is none.
    #[test]
    fn no_path_is_allowed_behind_the_back_of_diff(a in spec(), b in spec()) {
        let told = diff(&a, &b);
        for path in PATHS {
            for access in ACCESSES {
                let (before, after) = (allows(&a, path, access), allows(&b, path, access));
                prop_assert!(before || !after || told.widens(), "{} {:?}", path, access);
                prop_assert!(!before || after || !told.less.is_empty(), "{} {:?}", path, access);
            }
        }
    }

    /// Another form of the same profile allows the same.
    #[test]
    fn the_canonical_form_means_the_same(a in spec()) {
        let once = merged(&[&a]);
        for path in PATHS {
            for access in ACCESSES {
                prop_assert_eq!(
                    allows(&a, path, access), allows(&once, path, access), "{} {:?}", path, access
                );
            }
        }
    }

    #[test]
    fn a_profile_does_not_differ_from_itself(a in spec()) {
        prop_assert!(diff(&a, &a).is_same());
        prop_assert!(diff(&a, &merged(&[&a])).is_same(), "{:?}", diff(&a, &merged(&[&a])));
    }

    #[test]
    fn text_and_back_gives_what_the_text_says(a in spec()) {
        let text = write_text("x", &a).unwrap();
        let (profile, diagnostics) = read_text("x", text.as_bytes());
        prop_assert_eq!(&diagnostics, &[], "{}", text);
        let (back, diagnostics) = to_abstract(&profile.unwrap());
        prop_assert_eq!(diagnostics, [], "{}", text);
        prop_assert_eq!(&back, &as_text(&a), "{}", text);
        // From here on, nothing changes any more.
        let again = write_text("x", &back).unwrap();
        let (profile, _) = read_text("x", again.as_bytes());
        let (back_again, _) = to_abstract(&profile.unwrap());
        prop_assert_eq!(back_again, back);
    }

    #[test]
    fn objects_survive_a_round_trip(a in spec()) {
        let object = object(a);
        let text = write_object(&object).unwrap();
        let (back, diagnostics) = read("x", text.as_bytes());
        prop_assert_eq!(diagnostics, [], "{}", text);
        prop_assert_eq!(back.unwrap(), object);
    }

    /// The definition has every field that we write, and the type of the API keeps what it says:
    /// what an API server drops is not allowed any more, or not denied.
    #[test]
    fn api_servers_keep_all_of_an_object(a in spec()) {
        let object = object(a);
        let text = write_object(&object).unwrap();
        prop_assert_eq!(check("x", text.as_bytes()), [], "{}", text);
        let kept: spo::api::AppArmorProfile = serde_saphyr::from_str(&text).unwrap();
        let kept = serde_json::to_vec(&kept).unwrap();
        let (back, diagnostics) = read("x", &kept);
        prop_assert_eq!(diagnostics, [], "{}", text);
        prop_assert_eq!(back.unwrap(), object);
    }

    #[test]
    fn complain_mode_denies_nothing(a in spec()) {
        let text = write_text("x", &complain(&a)).unwrap();
        let denies = |line: &str| line.trim_start().starts_with("deny ");
        prop_assert!(!text.lines().any(denies), "{}", text);
        prop_assert_eq!(enforce(&complain(&a)), enforce(&a));
        // Nor does the text forget what is denied once it is enforced.
        let (profile, _) = read_text("x", text.as_bytes());
        let (back, _) = to_abstract(&profile.unwrap());
        prop_assert_eq!(enforce(&back), as_text(&enforce(&a)), "{}", text);
    }

    /// Readers take any text, and what they refuse has an error.
    #[test]
    fn readers_survive_any_text(text in "([a-z@/{}(),=\"\\\\#<>\\[\\]^*. \n-]|deny |profile |peer=|\\PC){0,60}") {
        for text in [text.clone(), format!("profile x {{\n{text}\n}}")] {
            let (profile, diagnostics) = read_text("x", text.as_bytes());
            prop_assert_eq!(profile.is_none(), has_errors(&diagnostics));
            if let Some(profile) = profile {
                let (spec, diagnostics) = to_abstract(&profile);
                let written = write_text("x", &spec);
                prop_assert!(written.is_ok(), "{:?}", written);
                prop_assert!(diagnostics.iter().all(|told| told.severity <= Severity::Warning));
            }
            let (document, diagnostics) = read("x", text.as_bytes());
            prop_assert_eq!(document.is_none(), has_errors(&diagnostics));
        }
    }
}

/// What a list says in short only because of what other rules cover is not said twice.
#[test]
fn what_a_list_brings_along_is_no_rule_beside_it() {
    let told = |text: &str| {
        let (profile, diagnostics) = read_text("x", text.as_bytes());
        assert_eq!(diagnostics, [], "{text}");
        to_abstract(&profile.unwrap()).0
    };
    let text = "profile x {\n  \"/x y\" mr,\n  /* m,\n  deny \"/x y\" wlk,\n}\n";
    let once = told(text);
    assert!(once.abstract_.filesystem.read_only_paths.contains("/x y"));
    assert!(once.abstract_.rules.deny.file.is_empty(), "{once:?}");
    assert_eq!(told(&write_text("x", &once).unwrap()), once);
    let text = "profile x {\n  /** r,\n  capability sys_rawio,\n  /sbin/fsck ix,\n}\n";
    let once = told(text);
    let executables = &once.abstract_.executable.allowed_executables;
    assert!(executables.is_empty(), "sys_rawio brings it: {once:?}");
    assert_eq!(told(&write_text("x", &once).unwrap()), once);
}
