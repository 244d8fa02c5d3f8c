//! Objects of all kinds, as YAML and JSON.

use spo::api;
use spo::profile::{apparmor, seccomp, selinux};

use super::{FILE, check_all, checked};

/// Reads an object as what it says it is, and checks it against the API.
pub fn objects(source: &[u8]) {
    check_all(source, &api::check(FILE, source));
    let (object, told) = api::read(FILE, source);
    checked(source, (object, told));
    let says = |word: &[u8]| source.windows(word.len()).any(|bytes| bytes == word);
    // The readers find out by themselves; to ask all of them each time would take longer.
    if says(b"Seccomp") {
        seccomp_object(source);
    }
    if says(b"AppArmor") {
        apparmor_object(source);
    }
    if says(b"Selinux") {
        selinux_object(source);
        raw_selinux_object(source);
    }
}

fn seccomp_object(source: &[u8]) {
    let read = checked(source, seccomp::read_and_lint(FILE, source));
    let Some(seccomp::Document::Object(object)) = read else {
        return;
    };
    super::seccomp::check_spec(&object.spec);
    let Ok(text) = seccomp::write_object(&object) else {
        // What an object cannot say comes from files of other formats only.
        panic!("an object that was read cannot be written: {object:?}");
    };
    let Some(seccomp::Document::Object(again)) = seccomp::read(FILE, text.as_bytes()).0 else {
        panic!("what is written cannot be read: {text}");
    };
    assert_eq!(object.metadata, again.metadata, "{text}");
    assert!(seccomp::diff(&object.spec, &again.spec).is_same(), "{text}");
    assert_eq!(seccomp::write_object(&again).ok(), Some(text));
    if !object
        .metadata
        .annotations
        .contains_key(seccomp::COMPLAIN_OF)
        && let Ok((complaining, _)) = seccomp::complain_object(&object, &[])
    {
        let (enforcing, _) = seccomp::enforce_object(&complaining);
        assert!(seccomp::diff(&object.spec, &enforcing.spec).is_same());
    }
}

fn apparmor_object(source: &[u8]) {
    let Some(object) = checked(source, apparmor::read_and_lint(FILE, source)) else {
        return;
    };
    super::apparmor_text::check_spec(&object.spec);
    let text = apparmor::write_object(&object).expect("what was read can be written");
    let again = apparmor::read(FILE, text.as_bytes()).0;
    assert_eq!(again, Some(object), "{text}");
}

fn selinux_object(source: &[u8]) {
    let Some(object) = checked(source, selinux::read_and_lint(FILE, source)) else {
        return;
    };
    let spec = &object.spec;
    assert!(selinux::diff(spec, spec).is_same());
    let merged = selinux::merge(&[spec]);
    assert_eq!(selinux::merge(&[spec, spec]), merged);
    assert_eq!(selinux::merge(&[&merged, spec]), merged);
    assert_eq!(
        selinux::complain(&selinux::complain(spec)),
        selinux::complain(spec)
    );
    let text = selinux::write_object(&object).expect("an object can be written");
    let again = selinux::read(FILE, text.as_bytes()).0;
    let again = again.unwrap_or_else(|| panic!("what is written cannot be read: {text}"));
    assert_eq!(object.metadata, again.metadata, "{text}");
    assert!(selinux::diff(spec, &again.spec).is_same(), "{text}");
    assert_eq!(selinux::write_object(&again).ok(), Some(text));
    if let Ok(policy) =
        selinux::write_cil(&object.metadata.name, spec, &selinux::Options::default())
    {
        super::cil::check_block(&policy, &object.metadata.name);
    }
}

fn raw_selinux_object(source: &[u8]) {
    if let Some(object) = checked(source, selinux::read_raw_and_lint(FILE, source)) {
        super::cil::check_raw(&object);
    }
}
