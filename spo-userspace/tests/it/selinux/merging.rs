//! Merging and comparing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use spo::profile::object::Metadata;
use spo::profile::selinux::{
    Allow, Inherit, InheritKind, Mode, Options, SelinuxProfile, SelinuxSpec, as_text, complain,
    diff, enforce, merge, merge_as, of_cil, write_cil,
};
use spo::profile::state::State;

pub(super) fn spec() -> impl Strategy<Value = SelinuxSpec> {
    let inherit = prop_oneof![
        Just(Inherit::system("container")),
        Just(Inherit::system("net_container")),
        Just(Inherit {
            kind: InheritKind::SelinuxProfile,
            name: "other".to_owned()
        }),
    ];
    let name =
        |names: &'static [&'static str]| proptest::sample::select(names).prop_map(str::to_owned);
    let classes = || {
        prop_oneof![
            (
                Just("file".to_owned()),
                prop::collection::vec(name(&["read", "open", "getattr", "write", "ioctl"]), 0..5)
            ),
            (
                Just("dir".to_owned()),
                prop::collection::vec(name(&["search", "open", "add_name"]), 0..4)
            ),
            (
                Just("process".to_owned()),
                prop::collection::vec(name(&["fork", "signal", "execmem"]), 0..3)
            ),
        ]
    };
    let allow = prop::collection::btree_map(
        name(&[
            "@self",
            "etc_t",
            "container_file_t",
            "container.process",
            "file_type",
        ]),
        prop::collection::vec(classes(), 0..4).prop_map(|all| all.into_iter().collect()),
        0..4,
    );
    let state = prop_oneof![Just(State::Enabled), Just(State::Disabled)];
    let mode = prop_oneof![4 => Just(Mode::Enforcing), 1 => Just(Mode::Permissive)];
    (state, mode, prop::collection::vec(inherit, 0..4), allow).prop_map(
        |(state, mode, inherit, allow)| SelinuxSpec {
            state,
            mode,
            inherit,
            allow,
        },
    )
}

fn rights(allow: &Allow) -> BTreeSet<(&str, &str, &str)> {
    allow
        .iter()
        .flat_map(|(target, classes)| classes.iter().map(move |class| (target, class)))
        .flat_map(|(target, (class, permissions))| {
            permissions
                .iter()
                .map(move |one| (target.as_str(), class.as_str(), one.as_str()))
        })
        .collect()
}

proptest! {
    #[test]
    fn merging_is_a_union(a in spec(), b in spec(), c in spec()) {
        let ab = merge(&[&a, &b]);
        prop_assert_eq!(&ab, &merge(&[&b, &a]));
        prop_assert_eq!(merge(&[&ab, &c]), merge(&[&a, &merge(&[&b, &c])]));
        prop_assert_eq!(merge(&[&ab, &c]), merge(&[&a, &b, &c]));
        prop_assert_eq!(merge(&[&a, &a]), merge(&[&a]));
        prop_assert_eq!(merge(&[&ab, &a]), ab.clone());
        let both: BTreeSet<_> = rights(&a.allow).union(&rights(&b.allow)).copied().collect();
        prop_assert_eq!(rights(&ab.allow), both);
        prop_assert!(diff(&a, &merge(&[&a])).is_same());
    }

    #[test]
    fn a_difference_goes_both_ways(a in spec(), b in spec()) {
        prop_assert!(diff(&a, &a).is_same());
        prop_assert!(!diff(&a, &a).widens());
        prop_assert_eq!(diff(&a, &a).to_string(), "no difference\n");
        let (there, back) = (diff(&a, &b), diff(&b, &a));
        prop_assert_eq!(&there.added, &back.removed);
        prop_assert_eq!(&there.removed, &back.added);
        prop_assert_eq!(&there.inherits_added, &back.inherits_removed);
        prop_assert_eq!(there.is_same(), back.is_same());
        prop_assert!(!diff(&complain(&a), &b).widens());
        // What both have, the first of them already allowed.
        let mut same = b.clone();
        same.inherit.clone_from(&a.inherit);
        same.mode = a.mode;
        let merged = merge(&[&a, &same]);
        let widens = a.mode == Mode::Enforcing
            && !rights(&b.allow).is_subset(&rights(&a.allow));
        prop_assert_eq!(diff(&a, &merged).widens(), widens);
    }

    #[test]
    fn the_policy_tells_only_what_the_profile_means(a in spec()) {
        let options = Options {
            allowed_system_profiles: vec!["net_container".to_owned()],
            ..Options::default()
        };
        let text = write_cil("name", &a, &options).unwrap();
        prop_assert_eq!(&text, &write_cil("name", &SelinuxSpec { state: State::Enabled, ..a.clone() }, &options).unwrap());
        let (tree, told) = spo::profile::selinux::read_cil("name.cil", text.as_bytes());
        prop_assert_eq!(told, []);
        // The text compares as the profile does, but for the state, which it does not say.
        let metadata = Metadata { name: "name".to_owned(), ..Metadata::default() };
        let spec = SelinuxSpec { state: State::Enabled, ..a.clone() };
        let said = as_text(&SelinuxProfile { metadata, spec });
        let read = of_cil(&tree.unwrap()).unwrap();
        prop_assert!(diff(&said, &read).is_same(), "{}", diff(&said, &read));
        let permissive = text.contains("(typepermissive process)");
        prop_assert_eq!(permissive, a.mode == Mode::Permissive);
        prop_assert_eq!(enforce(&complain(&a)), enforce(&a));
    }
}

#[test]
fn a_merged_profile_keeps_its_base_and_is_not_its_own() {
    let profile = |name: &str| Inherit {
        kind: InheritKind::SelinuxProfile,
        name: name.to_owned(),
    };
    let spec = |inherit: &[Inherit]| SelinuxSpec {
        inherit: inherit.to_vec(),
        ..SelinuxSpec::default()
    };
    let container = Inherit::system("container");
    let net = Inherit::system("net_container");
    for (a, b, expected) in [
        (vec![], vec![], vec![container.clone()]),
        (
            vec![container.clone()],
            vec![profile("other")],
            vec![container.clone(), profile("other")],
        ),
        (
            vec![net.clone()],
            vec![profile("web")],
            vec![container.clone(), net.clone()],
        ),
        (
            vec![profile("web")],
            vec![profile("web"), net.clone()],
            vec![container.clone(), net.clone()],
        ),
        (
            vec![profile("web")],
            vec![profile("other")],
            vec![profile("other")],
        ),
    ] {
        let (a, b) = (spec(&a), spec(&b));
        assert_eq!(merge_as("web", &[&a, &b]).inherit, expected);
        assert_eq!(merge_as("web", &[&b, &a]).inherit, expected);
    }
}

#[test]
fn differences_in_words() {
    let spec = |mode, inherit: &[&str], rights: &[(&str, &str, &str)]| {
        let mut allow = Allow::new();
        for (target, class, permission) in rights {
            allow
                .entry((*target).to_owned())
                .or_default()
                .entry((*class).to_owned())
                .or_default()
                .push((*permission).to_owned());
        }
        SelinuxSpec {
            mode,
            inherit: inherit.iter().map(|name| Inherit::system(name)).collect(),
            allow,
            ..SelinuxSpec::default()
        }
    };
    let first = spec(
        Mode::Enforcing,
        &[],
        &[("etc_t", "file", "read"), ("etc_t", "file", "open")],
    );
    let second = spec(
        Mode::Permissive,
        &["container", "net_container"],
        &[("etc_t", "file", "open"), ("@self", "process", "execmem")],
    );
    let diff = diff(&first, &second);
    assert!(diff.widens());
    insta::assert_snapshot!(diff.to_string(), @r"
    mode: Enforcing becomes Permissive: nothing is denied any more
    + inherits System net_container
    + execmem on process of its own processes (risk: runs code from memory that it can write to)
    - read on file of etc_t
    ");
    insta::assert_snapshot!(serde_json::to_string(&diff).unwrap(), @r#"{"mode":{"from":"Enforcing","to":"Permissive"},"inherits_added":[{"kind":"System","name":"net_container"}],"inherits_removed":[],"added":[{"target":"@self","class":"process","permission":"execmem","risk":"runs code from memory that it can write to"}],"removed":[{"target":"etc_t","class":"file","permission":"read"}]}"#);
}
