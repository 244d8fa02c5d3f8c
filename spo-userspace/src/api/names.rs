//! Names that every process agrees on: labels, annotations, finalizers, and the names of objects.

use ring::digest::SHA256;

pub use crate::profile::labels::{
    CONTAINER_ID, COVERAGE, PARTIAL, RECORDING_ID, RECORDING_NAMESPACE,
};

/// What the operator's configuration is called.
pub const CONFIGURATION: &str = "spod";
/// On a node's status: the profile, as [`profile_id`] writes it.
pub const PROFILE_ID: &str = "spo.x-k8s.io/profile-id";
/// On a node's status: the profile's kind.
pub const PROFILE_KIND: &str = "spo.x-k8s.io/profile-kind";
/// On a node's status: how far the profile got.
pub const PROFILE_STATE: &str = "spo.x-k8s.io/profile-state";
/// On a node's status: the node.
pub const NODE_NAME: &str = "spo.x-k8s.io/node-name";
/// On a profile, held by the operator as long as a node may have it or a pod may use it.
pub const FINALIZER: &str = "spo.x-k8s.io/profile";
/// On a profile that pods use, held by the operator.
pub const IN_USE: &str = "in-use-by-active-pods";
/// What older versions held on profiles that were to be merged.
pub const OLD_PARTIAL_FINALIZER: &str = "spo.x-k8s.io/partial-profile-finalizer";
/// How the finalizers end that older versions held, one for each node.
pub const OLD_NODE_FINALIZER: &str = "-deleted";
/// On a binding, held by the operator while pods run by it.
pub const BOUND: &str = "active-workload-lock";
/// On a recording, held by the operator while pods are recorded.
pub const RECORDED: &str = "active-seccomp-profile-recording-lock";
/// On a recording, held by the operator while there are profiles to merge.
pub const UNMERGED: &str = "spo.x-k8s.io/has-unmerged-profiles";
/// On a seccomp profile: all its rules, those of its bases included, as JSON.
pub const SYSCALLS: &str = "syscalls";
/// On a namespace, whatever its value: its pods can be recorded.
pub const ENABLE_RECORDING: &str = "spo.x-k8s.io/enable-recording";
/// On a namespace, whatever its value: its pods get the profiles that bindings give them.
pub const ENABLE_BINDING: &str = "spo.x-k8s.io/enable-binding";
/// On a profile that was recorded: the digest of its `spec` as it was written. Where it differs,
/// somebody has changed the profile since.
pub const SPEC_DIGEST: &str = "spo.x-k8s.io/recording-spec-digest";
/// On a recording, with any value: profiles are wanted as they are now. Each other value is a new wish.
pub const TAKE: &str = "spo.x-k8s.io/take";
/// The profile under which containers run whose calls are recorded from the audit log.
pub const LOG_PROFILE: &str = "log-enricher-trace";
/// The only type of condition of a profile.
pub const READY: &str = "Ready";
/// Why a profile cannot be used, as its condition says it, when a node reports that the configuration
/// does not allow it. Daemons wait for this word before they remove such a profile's file.
pub const NOT_ALLOWED: &str = "NotAllowed";
/// The taint that kubelets may put on new nodes (`registerWithTaints`). The operator takes it away when
/// the node's daemon has looked at all profiles.
pub const STARTUP_TAINT: &str = "spo.x-k8s.io/profiles-not-installed";
/// What the folder is called in which the kubelet finds profiles.
pub const FOLDER: &str = "operator";
/// How the name ends of a profile that is the complain form of another one.
const COMPLAIN_FORM: &str = ".complain";

/// The longest value of a label.
const LABEL: usize = 63;
/// The longest name of an object.
const NAME: usize = 253;
/// How the name of a proposal ends.
const PROPOSAL: &str = "-proposal";
/// Digits of a hash that make a name unique.
const DIGITS: usize = 16;

/// The value of [`PROFILE_ID`].
pub fn profile_id(kind: &str, name: &str) -> String {
    let id = format!("{kind}-{name}");
    if id.len() < LABEL {
        return id;
    }
    let mut id = format!("{kind}-{}", digest(&id));
    id.truncate(LABEL);
    id
}

/// The name of the object that says how far a profile got on a node.
pub fn node_status(kind: &str, profile: &str, node: &str) -> String {
    let name = format!("{}-{profile}-{node}", kind.to_ascii_lowercase());
    shortened(name, NAME)
}

/// The name of a profile that was recorded, which leaves room for that of its proposal.
pub fn recorded(name: String) -> String {
    shortened(name, NAME - PROPOSAL.len())
}

/// Where a profile stands that is not written over another one.
pub fn proposal(name: &str) -> String {
    format!("{name}{PROPOSAL}")
}

/// A name, or its beginning made unique where it is longer than `most`.
fn shortened(name: String, most: usize) -> String {
    if name.len() <= most {
        return name;
    }
    let digest = digest(&name);
    let keep = most - DIGITS - 1;
    let begin = name[..keep].trim_end_matches(['-', '.']);
    format!("{begin}-{}", &digest[..DIGITS])
}

/// The value of [`NODE_NAME`]: the node's name, or its end made unique where it is longer than a
/// label may be.
pub fn node_label(node: &str) -> String {
    if node.len() <= LABEL {
        return node.to_owned();
    }
    let digest = digest(node);
    let begin = node[..LABEL - DIGITS - 1].trim_end_matches(['-', '.']);
    format!("{begin}-{}", &digest[..DIGITS])
}

/// The file of a seccomp profile, in the folder of all of them.
pub fn seccomp_file(profile: &str) -> String {
    let name = profile.strip_suffix(".json").unwrap_or(profile);
    format!("{name}.json")
}

/// What a pod names to run under a seccomp profile.
pub fn localhost_profile(profile: &str) -> String {
    format!("{FOLDER}/{}", seccomp_file(profile))
}

/// The profile that lets through and logs what this one denies. The operator keeps it.
pub fn complain_form(profile: &str) -> String {
    format!("{profile}{COMPLAIN_FORM}")
}

/// The profile whose complain form would have this name.
pub fn profile_of_form(form: &str) -> Option<&str> {
    form.strip_suffix(COMPLAIN_FORM)
}

/// A SHA-256, in hexadecimal digits.
pub fn digest(content: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in ring::digest::digest(&SHA256, content.as_ref()).as_ref() {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_labels() {
        assert_eq!(profile_id("SeccompProfile", "a"), "SeccompProfile-a");
        let long = profile_id("SeccompProfile", &"a".repeat(100));
        assert_eq!(long.len(), 63);
        // sha256sum of "SeccompProfile-" and a hundred times "a".
        let hash = digest(format!("SeccompProfile-{}", "a".repeat(100)));
        assert!(
            long.starts_with(&format!("SeccompProfile-{}", &hash[..40])),
            "{long}"
        );
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(""), empty);
    }

    #[test]
    fn kinds_do_not_collide_and_names_fit() {
        assert_eq!(
            node_status("SeccompProfile", "nginx", "node-1"),
            "seccompprofile-nginx-node-1"
        );
        let [one, two] = ["one", "two"].map(|end| recorded(format!("{}{end}", "a".repeat(250))));
        assert!(one != two && proposal(&one).len() == NAME);
        let one = node_status("SeccompProfile", &"a".repeat(250), "one");
        let two = node_status("SeccompProfile", &"a".repeat(250), "two");
        assert_ne!(one, two);
        assert!(one.len() <= 253 && two.len() <= 253);
        let label = node_label(&format!("{}.{}", "a".repeat(46), "b".repeat(60)));
        assert!(label.len() <= 63 && !label.contains(".-"), "{label}");
    }

    #[test]
    fn files_are_named_once() {
        assert_eq!(localhost_profile("nginx"), "operator/nginx.json");
        assert_eq!(localhost_profile("nginx.json"), "operator/nginx.json");
        assert_eq!(complain_form("nginx"), "nginx.complain");
        assert_eq!(profile_of_form("nginx.complain"), Some("nginx"));
        let complains = localhost_profile(&complain_form("nginx"));
        assert_eq!(complains, "operator/nginx.complain.json");
    }
}
