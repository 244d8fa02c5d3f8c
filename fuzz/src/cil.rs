//! CIL, by itself and as a raw profile.

use spo::profile::object::Metadata;
use spo::profile::selinux::{
    Item, Options, RawSelinuxProfile, RawSelinuxSpec, diff, of_cil, of_raw, read_cil, read_raw,
    write_raw_cil, write_raw_object,
};
use spo::profile::state::State;

use super::{FILE, checked};

/// Reads a policy, and makes it a raw profile.
pub fn cil(source: &[u8]) {
    if let Some(tree) = checked(source, read_cil(FILE, source)) {
        assert_eq!(tree.text().as_bytes(), source);
        check_items(tree.items(), 0, source.len());
        if let Ok(spec) = of_cil(&tree) {
            assert!(diff(&spec, &spec).is_same());
        }
    }
    let Ok(policy) = str::from_utf8(source) else {
        return;
    };
    check_raw(&RawSelinuxProfile {
        metadata: Metadata {
            name: "name".to_owned(),
            ..Metadata::default()
        },
        spec: RawSelinuxSpec {
            state: State::Enabled,
            policy: policy.to_owned(),
        },
    });
}

/// A raw profile stays in its block, and is the same after it was written. It need not be good.
pub(crate) fn check_raw(object: &RawSelinuxProfile) {
    let name = &object.metadata.name;
    let policy = write_raw_cil(name, &object.spec, &Options::default());
    if let Ok(policy) = &policy {
        check_block(policy, name);
        // Both forms compare as the same profile, or as none.
        let (tree, _) = read_cil(FILE, policy.as_bytes());
        let said = tree.and_then(|tree| of_cil(&tree).ok());
        let mut same = of_raw(object).ok();
        if let Some(same) = &mut same {
            same.state = State::Enabled;
        }
        assert_eq!(said, same, "{policy}");
    }
    let text = write_raw_object(object).expect("an object can be written");
    let again = checked(text.as_bytes(), read_raw(FILE, text.as_bytes()));
    if let Some(again) = &again {
        assert_eq!(again, object, "{text}");
    }
    assert!(policy.is_err() || again.is_some(), "{text}");
}

/// A policy that is made for the node is one block with the profile's name, and nothing else.
pub(crate) fn check_block(policy: &str, name: &str) {
    let (tree, told) = read_cil(FILE, policy.as_bytes());
    let Some(tree) = tree else {
        panic!("a policy for the node is broken: {told:?}\n{policy}");
    };
    let items: Vec<_> = tree.items().collect();
    let [block] = items[..] else {
        panic!("{} statements beside the block:\n{policy}", items.len());
    };
    assert_eq!(block.head(), Some("block"), "{policy}");
    assert_eq!(
        block.items().nth(1).and_then(Item::name),
        Some(name),
        "{policy}"
    );
    let inside = block.span().start + 1..block.span().end - 1;
    check_items(block.items(), inside.start, inside.end);
}

/// Items stand one behind the other, and within the list that has them.
fn check_items<'t, 's: 't>(items: impl Iterator<Item = Item<'t, 's>>, mut from: usize, to: usize) {
    for item in items {
        let span = item.span();
        assert!(
            from <= span.start && span.start < span.end && span.end <= to,
            "{span:?}"
        );
        // Marks are lines, and what they hold follows them.
        if item.is_list() {
            check_items(
                Box::new(item.items()) as Box<dyn Iterator<Item = _>>,
                span.start + 1,
                span.end - 1,
            );
        }
        from = span.end;
    }
}
