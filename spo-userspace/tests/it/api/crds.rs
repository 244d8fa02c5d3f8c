//! The files in `deploy/crds`.

use std::collections::BTreeSet;
use std::{env, fs};

use spo::api::crds::definitions;

use super::repository;

/// Set by `cargo xtask codegen`: write the files instead of comparing them.
const WRITE: &str = "SPO_WRITE_CRDS";

#[test]
fn the_files_are_what_the_types_say() {
    let folder = repository("deploy/crds");
    let write = env::var_os(WRITE).is_some();
    let mut names = BTreeSet::new();
    for definition in definitions() {
        let name = format!("{}.yaml", definition.plural);
        let path = folder.join(&name);
        let text = definition.yaml().unwrap();
        if write && fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert!(file == text, "{name}: rerun `cargo xtask codegen`");
        names.insert(name);
    }
    assert_eq!(names.len(), 8);
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name} is none of the definitions");
    }
}
