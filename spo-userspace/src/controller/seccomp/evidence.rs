//! Whether a profile was recorded on something else than this node. That is no error: the profile is
//! installed, and what it was recorded on may make other calls.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::Api;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::cluster::watch::{Change, Wish, store, watch};
use crate::recorder::ANNOTATION_PREFIX;

/// The annotations that are compared.
const COMPARED: [&str; 3] = ["architecture", "kernel", "runtime"];

/// What the node is.
#[derive(Debug, Default)]
pub struct Machine {
    /// The architecture, as profiles say it.
    pub architecture: String,
    /// The release of the kernel.
    pub kernel: String,
    /// The container runtime, once it is known.
    pub runtime: OnceLock<String>,
}

/// Something that differs, in one word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) words: String,
}

/// Leaves of a profile's annotations what is compared.
pub(super) fn trim(annotations: &mut BTreeMap<String, String>) {
    annotations.retain(|key, _| {
        let name = key.strip_prefix(ANNOTATION_PREFIX);
        name.is_some_and(|name| COMPARED.contains(&name))
    });
}

/// What of a profile's evidence is not so on this node. What is not known is not compared.
pub(super) fn differences(
    annotations: &BTreeMap<String, String>,
    machine: &Machine,
) -> Vec<Difference> {
    let Machine {
        architecture,
        kernel,
        runtime,
    } = machine;
    let own = [Some(architecture), Some(kernel), runtime.get()];
    let compare = |(what, own): (&'static str, Option<&String>)| {
        let (own, recorded) = (
            own?,
            annotations.get(&format!("{ANNOTATION_PREFIX}{what}"))?,
        );
        let short = |text: &'_ str| match what {
            "kernel" => series(text).to_owned(),
            _ => text.to_owned(),
        };
        let own = short(own);
        // Of several profiles that were merged, each has its own.
        let mut all = recorded.split("; ");
        let known = all.clone().any(|one| short(one) == own);
        let unknown = all.any(|one| one.starts_with("and "));
        (!known && !unknown).then(|| Difference {
            what,
            words: format!(
                "recorded on {what} {}, this node has {own}",
                recorded.escape_debug()
            ),
        })
    };
    COMPARED.into_iter().zip(own).filter_map(compare).collect()
}

/// `6.1` of `6.1.0-13-amd64`.
fn series(release: &str) -> &str {
    let minor = release.find('.').map_or(0, |dot| dot + 1);
    let rest = release[minor..].find(|character: char| !character.is_ascii_digit());
    let end = rest.map_or(release.len(), |at| minor + at);
    &release[..end]
}

impl Context {
    /// Finds out which runtime the node has: the daemon's own containers are told with it.
    pub(super) async fn find_runtime(self: Arc<Self>, stop: CancellationToken) {
        let own = Wish {
            labels: Some("name=spod".to_owned()),
            fields: Some(format!("spec.nodeName={}", self.node)),
            ..Wish::default()
        };
        let found = stop.child_token();
        let (_, writer) = store();
        let (context, known) = (self.clone(), found.clone());
        watch(
            Api::<Pod>::namespaced(self.client.clone(), &self.namespace),
            own,
            writer,
            found,
            |_| true,
            move |change| {
                if let Change::Present(pod) = change
                    && let Some(runtime) = runtime(pod)
                    && context.machine.runtime.set(runtime).is_ok()
                {
                    context.every_profile();
                    known.cancel();
                }
            },
            self.failed(),
        )
        .await;
    }
}

/// The runtime that a pod's containers run in.
fn runtime(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let mut all = lists.into_iter().flatten().flatten();
    let id = |one: &ContainerStatus| {
        let (runtime, _) = one.container_id.as_deref()?.split_once("://")?;
        Some(runtime.to_owned())
    };
    all.find_map(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_said_and_what_is_unknown_is_not() {
        let machine = Machine {
            architecture: "x86_64".to_owned(),
            kernel: "6.1.0-13-amd64".to_owned(),
            runtime: OnceLock::new(),
        };
        let of = |evidence: &[(&str, &str)]| {
            let mut annotations: BTreeMap<_, _> = evidence
                .iter()
                .map(|(name, value)| (format!("{ANNOTATION_PREFIX}{name}"), (*value).to_owned()))
                .collect();
            annotations.insert("other".to_owned(), "x".to_owned());
            trim(&mut annotations);
            assert!(!annotations.contains_key("other"));
            let all = differences(&annotations, &machine);
            all.into_iter().map(|one| one.words).collect::<Vec<_>>()
        };
        assert!(of(&[]).is_empty());
        let same = [("architecture", "x86_64"), ("kernel", "6.1.112")];
        assert!(of(&same).is_empty());
        assert_eq!(
            of(&[
                ("architecture", "aarch64"),
                ("kernel", "6.12.1"),
                ("runtime", "cri-o")
            ]),
            [
                "recorded on architecture aarch64, this node has x86_64",
                "recorded on kernel 6.12.1, this node has 6.1",
            ]
        );
        machine.runtime.set("containerd".to_owned()).unwrap();
        assert_eq!(of(&[("runtime", "cri-o")]).len(), 1);
        // One of several is enough.
        assert!(
            of(&[
                ("runtime", "containerd; cri-o"),
                ("kernel", "5.10.1; 6.1.1")
            ])
            .is_empty()
        );
        assert!(of(&[("kernel", "5.10.1; 5.15.1; and 2 more")]).is_empty());
        // What another wrote is escaped.
        assert!(of(&[("kernel", "5\n")])[0].contains(r"5\n"));
    }

    #[test]
    fn series_of_kernels() {
        for (release, expected) in [
            ("6.1.0-13-amd64", "6.1"),
            ("6.18-rc1", "6.18"),
            ("6.18", "6.18"),
            ("6", "6"),
            ("", ""),
        ] {
            assert_eq!(series(release), expected, "{release}");
        }
    }

    #[test]
    fn the_runtime_is_that_of_any_container() {
        let pod: Pod = serde_json::from_value(json!({
            "status": {
                "containerStatuses": [{
                    "name": "a", "image": "a", "imageID": "", "ready": false, "restartCount": 0,
                }],
                "initContainerStatuses": [{
                    "name": "b", "image": "a", "imageID": "", "ready": true, "restartCount": 0,
                    "containerID": "containerd://1",
                }],
            },
        }))
        .unwrap();
        assert_eq!(runtime(&pod).as_deref(), Some("containerd"));
        assert_eq!(runtime(&Pod::default()), None);
    }
}
