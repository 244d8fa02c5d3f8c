//! How pods name profiles.

/// How the type ends that processes have under an `SELinux` profile.
const PROCESS: &str = ".process";
/// Annotations with which pods named profiles before there were fields.
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
/// How annotations say that a profile is one of the node.
const LOCALHOST: &str = "localhost/";

/// What an annotation names, if it is of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotated<'v> {
    /// The path of a seccomp profile.
    Seccomp(&'v str),
    /// A profile of `AppArmor`.
    AppArmor(&'v str),
}

impl<'v> Annotated<'v> {
    /// What a pod's annotation names.
    pub fn of(key: &str, value: &'v str) -> Option<Self> {
        let name = value.strip_prefix(LOCALHOST)?;
        if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            Some(Self::Seccomp(name))
        } else if key.starts_with(APPARMOR_CONTAINER) {
            Some(Self::AppArmor(name))
        } else {
            None
        }
    }
}

/// The type of the processes under an `SELinux` profile: what a pod names to run under it.
pub fn selinux_type(profile: &str) -> String {
    format!("{profile}{PROCESS}")
}

/// The profile of such a type.
pub fn selinux_profile(label: &str) -> Option<&str> {
    label.strip_suffix(PROCESS)
}
