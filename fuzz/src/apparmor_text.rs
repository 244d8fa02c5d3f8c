//! AppArmor's policy text.

use std::collections::BTreeSet;

use spo::profile::apparmor::{
    AppArmorSpec, as_text, complain, diff, enforce, generalise, merge, read_text, to_abstract,
    write_text,
};
use spo::profile::diagnostic::has_errors;

use super::{FILE, check_all, checked};

/// Reads policy text, makes a spec of it, and policy text of that.
pub fn apparmor_text(source: &[u8]) {
    let Some(profile) = checked(source, read_text(FILE, source)) else {
        return;
    };
    let (spec, told) = to_abstract(&profile);
    check_all(source, &told);
    check_spec(&spec);
}

/// What is true of every spec that was read.
pub(crate) fn check_spec(spec: &AppArmorSpec) {
    let text = write_text("name", spec).expect("a spec that was read can be written");
    let again = checked(text.as_bytes(), read_text(FILE, text.as_bytes()))
        .unwrap_or_else(|| panic!("what is written cannot be read: {text}"));
    let (again, told) = to_abstract(&again);
    assert!(!has_errors(&told), "{told:?}\n{text}");
    assert_eq!(again, as_text(spec), "{text}");
    assert_eq!(as_text(&again), again, "{text}");

    assert!(diff(spec, spec).is_same());
    let one = merge(&[spec]).spec;
    assert!(diff(spec, &one).is_same(), "{one:?}");
    for both in [[spec, spec], [spec, &one], [&one, &one]] {
        assert_eq!(merge(&both).spec, one);
    }
    assert!(write_text("name", &one).is_ok(), "{one:?}");
    assert_eq!(enforce(&complain(spec)), enforce(spec));

    let paths: BTreeSet<_> = spec.abstract_.filesystem.read_only_paths.clone();
    let (general, _) = generalise(&paths);
    assert_eq!(generalise(&general).0, general);
}
