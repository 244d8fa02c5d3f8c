//! Paths that differ from run to run, made the same: a recorded profile must also fit the next
//! process, pod and node.
//!
//! It works on the names in a path one by one, and widens no more than it must: what has a fixed
//! length gets as many `?`. A name that is a pattern already stays as it is, so that a second time
//! changes nothing.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::profile::named::named;

named! {
    /// Why a part of a path became a pattern.
    Reason, "a reason" {
        /// The number of a process below `/proc`, or of a thread.
        Process = "process",
        /// A UUID, such as a pod's.
        Uuid = "uuid",
        /// A hash or a container's id: 32 hexadecimal digits or more.
        Hash = "hash",
        /// A layer of a container's file system.
        Layer = "layer",
        /// A generation of a volume, such as a mounted secret's.
        Volume = "volume",
        /// A name that was made up for a temporary file.
        Temporary = "temporary",
    }
}

/// A path that became a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// The path.
    pub from: String,
    /// The pattern.
    pub to: String,
    /// Why, from the left to the right.
    pub reasons: Vec<Reason>,
}

/// Generalises paths, and tells what became of which.
pub fn generalise(paths: &BTreeSet<String>) -> (BTreeSet<String>, Vec<Change>) {
    let mut changes = Vec::new();
    let mut general = BTreeSet::new();
    for from in paths {
        let (to, reasons) = path(from);
        if to != *from {
            changes.push(Change {
                from: from.clone(),
                to: to.clone(),
                reasons,
            });
        }
        general.insert(to);
    }
    (general, changes)
}

fn path(path: &str) -> (String, Vec<Reason>) {
    let mut reasons = Vec::new();
    if !path.starts_with('/') {
        return (path.to_owned(), reasons);
    }
    let names: Vec<&str> = path.split('/').collect();
    let mut general: Vec<String> = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        let before = &names[..at];
        general.push(match in_folder(before, name) {
            Some((pattern, reason)) => {
                reasons.push(reason);
                pattern
            }
            None => of_name(name, is_temporary(before), &mut reasons),
        });
    }
    (general.join("/"), reasons)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', ']', '{', '}', '@', '\\'])
}

/// Names that mean something because of the folder that they are in.
fn in_folder(before: &[&str], name: &str) -> Option<(String, Reason)> {
    let number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    match before {
        ["", "proc"] if number => Some(("@{pid}".to_owned(), Reason::Process)),
        ["", "proc", _, "task"] if number => Some(("@{tid}".to_owned(), Reason::Process)),
        [.., "io.containerd.snapshotter.v1.overlayfs", "snapshots"] if number => {
            Some(("*".to_owned(), Reason::Layer))
        }
        [.., "overlay2" | "overlay", "l"] if is_layer_link(name) => {
            Some(("?".repeat(name.len()), Reason::Layer))
        }
        _ if is_volume_generation(name) => Some(("..*".to_owned(), Reason::Volume)),
        _ => None,
    }
}

/// The short names that container engines give to layers: 26 letters and digits of base 32.
fn is_layer_link(name: &str) -> bool {
    name.len() == 26
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// `..2026_01_31_12_00_00.123456789`: the kubelet's folder behind `..data`.
fn is_volume_generation(name: &str) -> bool {
    const STAMP: &str = "0000_00_00_00_00_00.";
    name.strip_prefix("..").is_some_and(|stamp| {
        stamp.len() > STAMP.len()
            && stamp.bytes().zip(STAMP.bytes()).all(|(byte, like)| {
                if like == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == like
                }
            })
            && stamp
                .bytes()
                .skip(STAMP.len())
                .all(|byte| byte.is_ascii_digit())
    })
}

fn is_temporary(before: &[&str]) -> bool {
    matches!(
        before,
        ["", "tmp", ..] | ["", "var", "tmp", ..] | ["", "dev", "shm", ..]
    )
}

/// UUIDs and hashes anywhere in a name, then names of temporary files.
fn of_name(name: &str, temporary: bool, reasons: &mut Vec<Reason>) -> String {
    if is_pattern(name) {
        return name.to_owned();
    }
    let mut general = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(char) = rest.chars().next() {
        let fresh = !general.ends_with(|char: char| char.is_ascii_alphanumeric());
        let hex = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if fresh && is_uuid(rest) {
            general.push_str("????????-????-????-????-????????????");
            reasons.push(Reason::Uuid);
            rest = &rest[UUID.len()..];
        } else if fresh && hex >= SHORTEST_HASH && ends(rest, hex) {
            general.push('*');
            reasons.push(Reason::Hash);
            rest = &rest[hex..];
        } else {
            general.push(char);
            rest = &rest[char.len_utf8()..];
        }
    }
    if is_pattern(&general) {
        return general;
    }
    match temporary_name(name, temporary) {
        Some(kept) => {
            reasons.push(Reason::Temporary);
            format!("{}{}", &name[..kept], "?".repeat(name.len() - kept))
        }
        None => general,
    }
}

const UUID: &str = "00000000-0000-0000-0000-000000000000";
const SHORTEST_HASH: usize = 32;

fn ends(rest: &str, at: usize) -> bool {
    rest[at..]
        .chars()
        .next()
        .is_none_or(|char| !char.is_ascii_alphanumeric())
}

fn is_uuid(rest: &str) -> bool {
    rest.len() >= UUID.len()
        && rest.bytes().zip(UUID.bytes()).all(|(byte, like)| {
            if like == b'0' {
                byte.is_ascii_hexdigit()
            } else {
                byte == like
            }
        })
        && ends(rest, UUID.len())
}

/// How much of a temporary file's name is not made up.
///
/// `mktemp` makes `tmp.` and ten letters and digits, Python `tmp` and eight, in any folder. What
/// ends in six, behind a sign, counts in folders for temporary files only, and only if the six are
/// no word.
fn temporary_name(name: &str, temporary: bool) -> Option<usize> {
    let made_up = |text: &str| {
        let has = |kind: fn(&u8) -> bool| text.bytes().any(|byte| kind(&byte));
        let lower = has(u8::is_ascii_lowercase);
        let upper = has(u8::is_ascii_uppercase);
        let digit = has(u8::is_ascii_digit);
        text.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && [lower, upper, digit].into_iter().filter(|has| *has).count() >= 2
    };
    if let Some(rest) = name.strip_prefix("tmp.")
        && rest.len() == 10
        && made_up(rest)
    {
        return Some(4);
    }
    if let Some(rest) = name.strip_prefix("tmp")
        && rest.len() == 8
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && temporary
    {
        return Some(3);
    }
    let kept = name.len().checked_sub(6)?;
    let (before, rest) = name.split_at_checked(kept)?;
    (temporary && before.ends_with(['.', '-', '_']) && made_up(rest)).then_some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn general(path: &str) -> String {
        super::path(path).0
    }

    #[test]
    fn what_differs_from_run_to_run_becomes_a_pattern() {
        let hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (from, to) in [
            ("/proc/123/status", "/proc/@{pid}/status"),
            ("/proc/123/task/124/comm", "/proc/@{pid}/task/@{tid}/comm"),
            ("/proc/self/status", "/proc/self/status"),
            ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/pid_max"),
            ("/srv/123/x", "/srv/123/x"),
            (
                "/var/lib/kubelet/pods/01234567-89ab-cdef-0123-456789abcdef/volumes",
                "/var/lib/kubelet/pods/????????-????-????-????-????????????/volumes",
            ),
            (&format!("/cache/{hash}.bin"), "/cache/*.bin"),
            (&format!("/cache/x{hash}"), &format!("/cache/x{hash}")),
            ("/usr/lib/deadbeef.so", "/usr/lib/deadbeef.so"),
            (
                "/var/lib/docker/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXY2/x",
                "/var/lib/docker/overlay2/l/??????????????????????????/x",
            ),
            (
                "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/17/fs/bin",
                "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/bin",
            ),
            (
                "/etc/secret/..2026_01_31_12_00_00.123456789/key",
                "/etc/secret/..*/key",
            ),
            ("/tmp/tmp.aB3dE6gH9j", "/tmp/tmp.??????????"),
            ("/tmp/tmpab_d3fgh/x", "/tmp/tmp????????/x"),
            ("/srv/tmpabcdefgh", "/srv/tmpabcdefgh"),
            ("/tmp/build-aB3dE6", "/tmp/build-??????"),
            ("/tmp/my-server", "/tmp/my-server"),
            ("/tmp/x-*aB3dE6", "/tmp/x-*aB3dE6"),
            (&format!("/x/*{hash}"), &format!("/x/*{hash}")),
            ("/", "/"),
            ("ptrace (readby),", "ptrace (readby),"),
        ] {
            assert_eq!(general(from), to, "{from}");
        }
    }

    #[test]
    fn what_changed_is_told() {
        let paths = ["/proc/1/maps", "/proc/2/maps", "/x"].map(str::to_owned);
        let (general, changes) = generalise(&paths.into());
        assert_eq!(general.len(), 2);
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].to, "/proc/@{pid}/maps");
        assert_eq!(changes[0].reasons, [Reason::Process]);
    }

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-f0-9]{30,66}",
            "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
            "[a-z0-9._*?-]{0,12}",
            "(tmp|proc|task|overlay2|l|snapshots|io.containerd.snapshotter.v1.overlayfs)",
            "[0-9]{1,5}",
            "(tmp|tmp\\.|x-)[a-zA-Z0-9_]{6,10}",
            "\\.\\.[0-9_.]{20,24}",
            "\\PC{0,8}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_second_time_changes_nothing(names in prop::collection::vec(names(), 0..6)) {
            let once = general(&format!("/{}", names.join("/")));
            prop_assert_eq!(general(&once), once);
        }
    }
}
