//! How pods name profiles. Whoever asks which profile a pod means asks here.

use super::names::FOLDER;

/// How the name of a file of ours ends.
const FILE: &str = ".json";
/// How the type ends that processes have under an `SELinux` profile.
const PROCESS: &str = ".process";
/// The annotation with which pods named their seccomp profile before there were fields.
pub const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// The same of a container, whose name follows.
pub const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// The annotation with which containers named their profile of `AppArmor`; the name follows.
pub const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
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

/// The names that a raw `SELinux` profile of that name may have: its block used to be called `NAME_`.
pub fn raw_selinux_profiles(name: &str) -> impl Iterator<Item = &str> {
    let old = name.strip_suffix('_').filter(|old| !old.is_empty());
    [Some(name), old].into_iter().flatten()
}

/// A file in the kubelet's folder of our seccomp profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeccompFile<'p> {
    /// Its name, without `.json`.
    pub name: &'p str,
    /// Whether it is in a folder of its namespace, as up to release 0.8.
    pub is_old: bool,
}

impl<'p> SeccompFile<'p> {
    /// The file that a path leads to, if it is one of ours. The kubelet joins paths, so that
    /// `operator//a.json`, `./operator/a.json` and `operator/a.json/` are `operator/a.json`. (The API
    /// server refuses `..` in them.)
    pub fn of(path: &'p str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        if parts.next() != Some(FOLDER) {
            return None;
        }
        let (first, second) = (parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let name = second.unwrap_or(first).strip_suffix(FILE)?;
        Some(Self {
            name,
            is_old: second.is_some(),
        })
    }

    /// Its name.
    pub fn file_name(&self) -> String {
        format!("{}{FILE}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_files_that_the_kubelet_opens() {
        for path in [
            "operator/a.json",
            "./operator/a.json",
            "operator///a.json",
            "operator/./a.json",
            "operator/a.json/",
            "operator/a.json/.",
            "/operator/a.json",
        ] {
            let expected = SeccompFile {
                name: "a",
                is_old: false,
            };
            assert_eq!(SeccompFile::of(path), Some(expected), "{path}");
        }
        for path in ["operator/space/a.json", ".//operator/space/./a.json/"] {
            let expected = SeccompFile {
                name: "a",
                is_old: true,
            };
            assert_eq!(SeccompFile::of(path), Some(expected), "{path}");
        }
        for path in [
            "",
            "operator",
            "operator/",
            "operator/a",
            "operator/a/b/c.json",
            "operator/a/b.json/c.json",
            "other/a.json",
            "a.json",
        ] {
            assert_eq!(SeccompFile::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_type_may_be_that_of_an_older_block() {
        let names = |name| raw_selinux_profiles(name).collect::<Vec<_>>();
        assert_eq!(names("a"), ["a"]);
        assert_eq!(names("a_"), ["a_", "a"]);
        assert_eq!(names("_"), ["_"]);
    }
}
