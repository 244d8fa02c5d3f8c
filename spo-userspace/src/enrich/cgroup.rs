//! Containers by the names of their cgroups.
//!
//! | who names it | as |
//! |---|---|
//! | containerd, cgroupfs | `kubepods/burstable/podUID/ID` |
//! | containerd, systemd | `kubepods-burstable-podUID.slice/cri-containerd-ID.scope` |
//! | containerd with cgroupfs under a kubelet with systemd | `kubepods-burstable-podUID.slice:cri-containerd:ID` |
//! | CRI-O, cgroupfs | `kubepods/burstable/podUID/crio-ID` |
//! | CRI-O, systemd | `kubepods-burstable-podUID.slice/crio-ID.scope` |
//! | docker | the same with `ID` or `docker-ID.scope`; without Kubernetes below `docker` or `system.slice` |
//! | podman | `libpod-ID.scope` |
//!
//! crun with systemd puts the container's processes into `container` below that. Version 1 and 2 of
//! cgroups have the same names. In names of slices, the pod's id has `_` for `-`.

use std::str;

/// A container, as its cgroup names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// The runtime's id.
    pub id: String,
    /// The pod's id as the kubelet knows it, where the names tell. Of a static pod this is not the
    /// id that the API server has, but its annotation `kubernetes.io/config.hash`.
    pub pod: Option<String>,
}

/// The container of a process in a cgroup, whose `names` begin with its own, and end with that of
/// the last ancestor that is known. Only long ids count: other names may be anything.
pub fn container<'n>(names: impl IntoIterator<Item = &'n [u8]>) -> Option<Container> {
    let mut names = names.into_iter().map(|name| str::from_utf8(name).ok());
    let (id, own) = names.find_map(|name| {
        let name = name?;
        Some((container_id(name).filter(|id| is_long_id(id))?, name))
    })?;
    let pod = pod(own).or_else(|| names.find_map(|name| pod(name?)));
    Some(Container {
        id: id.to_owned(),
        pod,
    })
}

/// The id in one name, which may also be one that a person chose: the whole name then.
pub fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let name = match name.rsplit_once(['-', ':']) {
        // The monitor of a container has a cgroup of its own.
        Some((kind, id)) if is_long_id(id) && kind.ends_with("conmon") => return None,
        Some((_, id)) if is_long_id(id) => id,
        _ => name,
    };
    (!name.is_empty()).then_some(name)
}

/// Whether an id is one that a runtime made up: 32 bytes in hexadecimal digits.
pub fn is_long_id(id: &str) -> bool {
    id.len() == 64 && is_hex(id)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pod's id in one name.
fn pod(name: &str) -> Option<String> {
    // With `:`, the slice and the container are one name.
    let name = name.split(':').next().unwrap_or(name);
    let id = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let id = id.replace('_', "-");
    is_pod_id(&id).then_some(id)
}

/// The API server's ids have five groups of digits; those of static pods are one hash.
fn is_pod_id(id: &str) -> bool {
    let groups = || id.split('-').map(str::len);
    is_hex(&id.replace('-', "")) && (groups().eq([8, 4, 4, 4, 12]) || groups().eq([32]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "0cbf8b24-0a59-4b2c-8a3a-1d2e3f405162";
    const FLAT: &str = "0cbf8b24_0a59_4b2c_8a3a_1d2e3f405162";
    const STATIC: &str = "a5e4d0b1c2f3948576a5b4c3d2e1f001";

    fn of(path: &str) -> Option<(String, Option<String>)> {
        let found = container(path.rsplit('/').map(str::as_bytes))?;
        Some((found.id, found.pod))
    }

    #[test]
    fn containers_of_pods() {
        for (path, pod) in [
            (format!("/kubepods/burstable/pod{POD}/{ID}"), POD),
            (format!("/kubepods/pod{POD}/{ID}"), POD),
            (format!("/kubepods/besteffort/pod{STATIC}/{ID}"), STATIC),
            (
                format!("/kubelet/kubepods/burstable/pod{POD}/crio-{ID}"),
                POD,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{FLAT}.slice/cri-containerd-{ID}.scope"
                ),
                POD,
            ),
            (
                format!("/kubelet.slice/kubelet-kubepods-pod{FLAT}.slice/crio-{ID}.scope"),
                POD,
            ),
            (
                format!("/kubepods-besteffort-pod{STATIC}.slice/docker-{ID}.scope"),
                STATIC,
            ),
            (
                format!("/system.slice/kubepods-burstable-pod{FLAT}.slice:cri-containerd:{ID}"),
                POD,
            ),
            (
                format!("/kubepods-pod{FLAT}.slice/crio-{ID}.scope/container"),
                POD,
            ),
            // What systemd makes in a container that it is the first process of.
            (
                format!("/kubepods-pod{FLAT}.slice/crio-{ID}.scope/system.slice/a.service"),
                POD,
            ),
        ] {
            let expected = Some((ID.to_owned(), Some(pod.to_owned())));
            assert_eq!(of(&path), expected, "{path}");
        }
    }

    #[test]
    fn containers_without_a_pod() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/default/{ID}"),
            // Not the id of a pod.
            format!("/kubepods/podium/{ID}"),
            format!("/kubepods/pod{POD}0/{ID}"),
            format!("/kubepods-pod{}.slice/{ID}", "g".repeat(32)),
            format!("/pod.slice/pod/{ID}"),
            // A pod's cgroup below the container's is the container's own doing.
            format!("/{ID}/pod{POD}"),
        ] {
            assert_eq!(of(&path), Some((ID.to_owned(), None)), "{path}");
        }
    }

    #[test]
    fn the_innermost_container_counts() {
        let other = "f".repeat(64);
        let path = format!("/kubepods/pod{POD}/{ID}/docker/{other}");
        assert_eq!(of(&path), Some((other, Some(POD.to_owned()))));
    }

    #[test]
    fn no_containers() {
        for path in [
            String::new(),
            "/".to_owned(),
            "/user.slice/user-0.slice/session-1.scope".to_owned(),
            format!("/kubepods/burstable/pod{POD}"),
            format!("/kubepods-pod{FLAT}.slice/crio-conmon-{ID}.scope"),
            format!("/kubepods/pod{POD}/{}", &ID[1..]),
            format!("/kubepods/pod{POD}/{ID}0"),
            format!("/kubepods/pod{POD}/{}\u{e4}", &ID[2..]),
        ] {
            assert_eq!(of(&path), None, "{path}");
        }
        assert_eq!(container([&[0xff; 64][..], b"\xc3"]), None);
        assert_eq!(container([]), None);
    }

    #[test]
    fn names_that_people_choose() {
        for (name, id) in [
            (ID.to_owned(), Some(ID)),
            (format!("docker-{ID}.scope"), Some(ID)),
            (format!("crio-{ID}"), Some(ID)),
            ("my-container".to_owned(), Some("my-container")),
            (String::new(), None),
            (format!("libpod-conmon-{ID}.scope"), None),
        ] {
            assert_eq!(container_id(&name), id, "{name}");
        }
    }

    /// Pieces of which names are made, in any order.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "kubepods", "-", ":", "/", "pod", ".slice", ".scope", "crio", "conmon", ID, POD, FLAT,
            STATIC, "_", "\u{e4}", "\0",
        ];
        let made = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8)
            .prop_map(|pieces| pieces.concat().into_bytes());
        prop_oneof![made, prop::collection::vec(any::<u8>(), 0..160)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_found_is_well_formed(names in prop::collection::vec(name(), 0..4)) {
            if let Some(Container { id, pod }) = container(names.iter().map(Vec::as_slice)) {
                prop_assert!(is_long_id(&id));
                prop_assert!(pod.is_none_or(|pod| is_pod_id(&pod)));
            }
        }
    }
}
