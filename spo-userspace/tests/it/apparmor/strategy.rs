//! Random profiles that are valid.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use spo::profile::apparmor::words::{
    self, CAPABILITIES, DBUS_ACCESS, FAMILIES, MOUNT_OPTIONS, PTRACE_ACCESS, SIGNAL_ACCESS,
    SIGNALS, UNIX_ACCESS, UNIX_TYPES, Word,
};
use spo::profile::apparmor::{
    Abstract, Access, AppArmorSpec, Capabilities, DbusRule, Executable, FileRule, Filesystem, Mode,
    MountRule, Network, NetworkRule, PtraceRule, RuleSet, Rules, SignalRule, UnixRule,
};
use spo::profile::state::State;

/// Few paths, so that they meet: literals, patterns and variables.
fn listed() -> impl Strategy<Value = String> {
    let few = select(vec![
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/*",
        "/a/**",
        "/a/b*",
        "/**",
        "/a/?",
        "/proc/@{pid}/maps",
        "/proc/@{pid}/*",
        "/proc/1/maps",
        "/x y",
        "/sbin/fsck",
        "ptrace (readby),",
        "ptrace (trace), # why",
    ]);
    prop_oneof![
        4 => few.prop_map(str::to_owned),
        1 => "(/[a-c*?]{1,2}){1,3}".prop_map(|path| path.replace("***", "**")),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let few = select(vec![
        "/a",
        "/a/b",
        "/a/**",
        "/a/[b-d]",
        "/a/{b,c}",
        "/a/[^b]*",
        "@{PROC}/@{pid}/x",
        "@{HOME}/**",
        "/x~y",
        "/{a,b/{c,d}}",
        "/a b",
        "@{PROC}/mem",
    ]);
    few.prop_map(str::to_owned)
}

fn access() -> impl Strategy<Value = Access> {
    let all: Vec<Access> = Access::WORDS.iter().map(|(access, ..)| *access).collect();
    let few = subsequence(all, 1..4).prop_map(|all| all.into_iter().fold(Access::NONE, Access::or));
    prop_oneof![
        few,
        select(vec![Access::READ, Access::CHANGE, Access::READ_CHANGE]),
    ]
}

fn set<T: Ord + std::fmt::Debug>(
    values: impl Strategy<Value = T>,
    most: usize,
) -> impl Strategy<Value = BTreeSet<T>> {
    prop::collection::btree_set(values, 0..=most)
}

fn some_of(table: &'static [Word], most: usize) -> impl Strategy<Value = BTreeSet<Word>> {
    set(select(table), most)
}

fn peer() -> impl Strategy<Value = Option<String>> {
    let few = select(vec![
        "unconfined",
        "/usr/bin/a",
        "a//b",
        "/**",
        "@{profile_name}",
        "b {c,d}",
    ]);
    prop::option::of(few.prop_map(str::to_owned))
}

fn file(denied: bool) -> impl Strategy<Value = FileRule> {
    (prop_oneof![listed(), pattern()], access(), any::<bool>())
        .prop_filter("a path", |(path, ..)| !path.starts_with("ptrace"))
        .prop_map(move |(path, access, owner)| FileRule {
            path,
            access,
            owner: owner && !denied,
        })
}

fn network_rule() -> impl Strategy<Value = NetworkRule> {
    let family = prop::option::of(select(FAMILIES));
    let kind = prop::option::of(select(words::SOCKET_TYPES));
    (family, kind).prop_map(|(family, kind)| {
        let protocol = matches!(kind, Some("tcp" | "udp" | "icmp"));
        NetworkRule {
            family: if protocol { None } else { family },
            kind: kind.filter(|kind| *kind != "packet" || family.is_some()),
        }
    })
}

fn mount() -> impl Strategy<Value = MountRule> {
    let fstype = set(select(vec!["ext4", "tmpfs"]).prop_map(str::to_owned), 2);
    let path = || prop::option::of(pattern());
    (
        select(words::MOUNT_OPERATIONS),
        fstype,
        some_of(MOUNT_OPTIONS, 2),
        path(),
        path(),
    )
        .prop_map(|(operation, fstype, options, source, target)| {
            let pivots = operation == "pivot_root";
            MountRule {
                operation,
                fstype: if pivots { BTreeSet::new() } else { fstype },
                options: if pivots { BTreeSet::new() } else { options },
                source: source.filter(|_| pivots || operation == "mount"),
                target,
            }
        })
}

fn unix() -> impl Strategy<Value = UnixRule> {
    let address = || prop::option::of(select(vec!["none", "@a", "@a/b*"]).prop_map(str::to_owned));
    (
        some_of(UNIX_ACCESS, 3),
        prop::option::of(select(UNIX_TYPES)),
        address(),
        address(),
        peer(),
    )
        .prop_map(|(access, kind, address, peer_address, peer)| {
            let others = ["accept", "connect", "receive", "send"];
            let alone = access.iter().any(|word| !others.contains(word));
            UnixRule {
                access,
                kind,
                address,
                peer_address: peer_address.filter(|_| !alone),
                peer: peer.filter(|_| !alone),
            }
        })
}

fn dbus() -> impl Strategy<Value = DbusRule> {
    let text = |text: &'static str| prop::option::of(Just(text.to_owned()));
    (
        some_of(DBUS_ACCESS, 2),
        prop::option::of(select(vec!["system", "session"]).prop_map(str::to_owned)),
        text("/org/a/*"),
        text("org.a"),
        text("Get{A,B}"),
        text("org.a.*"),
        peer(),
    )
        .prop_map(|(access, bus, path, interface, member, name, peer)| {
            let messages = !access.contains("bind") && !access.contains("eavesdrop");
            let mut rule = DbusRule {
                access,
                bus,
                ..DbusRule::default()
            };
            if messages {
                rule.path = path;
                rule.interface = interface;
                rule.member = member;
                rule.peer_name = name;
                rule.peer = peer;
            } else if rule.access.iter().all(|word| *word == "bind") {
                rule.name = name;
            }
            rule
        })
}

fn rules(denied: bool) -> impl Strategy<Value = RuleSet> {
    let signal = (some_of(SIGNAL_ACCESS, 2), some_of(SIGNALS, 3), peer()).prop_map(
        |(access, signals, peer)| SignalRule {
            access,
            signals,
            peer,
        },
    );
    let ptrace =
        (some_of(PTRACE_ACCESS, 2), peer()).prop_map(|(access, peer)| PtraceRule { access, peer });
    (
        set(file(denied), 3),
        some_of(CAPABILITIES, if denied { 2 } else { 0 }),
        set(network_rule(), 2),
        set(signal, 1),
        set(ptrace, 1),
        set(mount(), 1),
        set(unix(), 1),
        set(dbus(), 1),
    )
        .prop_map(
            |(file, capability, network, signal, ptrace, mount, unix, dbus)| RuleSet {
                file,
                capability,
                network,
                signal,
                ptrace,
                mount,
                unix,
                dbus,
            },
        )
}

fn network() -> impl Strategy<Value = Network> {
    any::<(bool, bool, bool)>().prop_map(|(allow_raw, allow_tcp, allow_udp)| Network {
        allow_raw,
        allow_tcp,
        allow_udp,
    })
}

/// A profile.
pub(super) fn spec() -> impl Strategy<Value = AppArmorSpec> {
    let executable =
        (set(listed(), 3), set(listed(), 2)).prop_map(|(programs, libraries)| Executable {
            allowed_executables: programs,
            allowed_libraries: libraries,
        });
    let filesystem = (set(listed(), 3), set(listed(), 2), set(listed(), 3)).prop_map(
        |(read_only_paths, write_only_paths, read_write_paths)| Filesystem {
            read_only_paths,
            write_only_paths,
            read_write_paths,
        },
    );
    let capabilities = prop_oneof![
        3 => some_of(CAPABILITIES, 3),
        1 => Just(BTreeSet::from(["sys_rawio"])),
    ];
    let extension = prop_oneof![
        Just(Rules::default()),
        (rules(false), rules(true)).prop_map(|(allow, deny)| Rules { allow, deny }),
    ];
    (
        select(vec![State::Enabled, State::Disabled]),
        select(vec![Mode::Enforce, Mode::Enforce, Mode::Complain]),
        executable,
        filesystem,
        prop::option::of(network()),
        capabilities,
        extension,
    )
        .prop_map(
            |(state, mode, executable, filesystem, network, capabilities, rules)| AppArmorSpec {
                state,
                mode,
                abstract_: Abstract {
                    executable,
                    filesystem,
                    network,
                    capability: Capabilities {
                        allowed_capabilities: capabilities,
                    },
                    rules,
                },
            },
        )
}
