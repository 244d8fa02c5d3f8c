//! Where the programs of a cluster come from.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::build;
use crate::env::{cache_dir, which};
use crate::setup::needs::{self, Group};

/// A folder with programs, as others who test against an API server name it.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
/// What is built here.
pub(super) const BUILT: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kube-proxy",
];

/// The programs of a cluster.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) kubectl: PathBuf,
    /// Folders of `KUBEBUILDER_ASSETS` often lack it and the next one: nobody makes tokens and
    /// collects garbage then.
    pub(super) controller_manager: Option<PathBuf>,
    pub(super) scheduler: Option<PathBuf>,
    /// For a node; those folders have neither.
    pub(super) kubelet: Option<PathBuf>,
    pub(super) proxy: Option<PathBuf>,
    /// Where they are from, for people.
    pub(crate) origin: String,
}

/// The programs: from `KUBEBUILDER_ASSETS`, from the user's cache, or built into it now; or why
/// there are none.
pub(crate) fn find() -> Result<Result<Binaries, String>> {
    if let Some(folder) = assets(std::env::var_os(ASSETS)) {
        return Ok(in_folder(&folder, format!("{ASSETS}={}", folder.display())));
    }
    let unmet = needs::ensure(&[Group::Cluster]);
    if !unmet.is_empty() {
        return Ok(Err(unmet.to_string()));
    }
    let cache = cache_dir()?.join("kube");
    let folder = match newest(&cache)? {
        Some(folder) => folder,
        None => match build::build(&cache)? {
            Ok(folder) => folder,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    Ok(in_folder(&folder, folder.display().to_string()))
}

fn assets(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of the cache with the newest version that is whole.
fn newest(cache: &Path) -> Result<Option<PathBuf>> {
    if !cache.exists() {
        return Ok(None);
    }
    let context = || format!("failed to read the folder {}", cache.display());
    let mut found = Vec::new();
    for entry in cache.read_dir().with_context(context)? {
        let entry = entry.with_context(context)?;
        let Some(version) = version(&entry.file_name().to_string_lossy()) else {
            continue;
        };
        let folder = entry.path();
        if is_whole(&folder) {
            found.push((version, folder));
        }
    }
    Ok(found.into_iter().max().map(|(_, folder)| folder))
}

/// Whether a folder has everything that is built here.
fn is_whole(folder: &Path) -> bool {
    missing(folder).is_empty()
}

/// What a folder lacks of what is built here.
pub(super) fn missing(folder: &Path) -> Vec<&'static str> {
    BUILT
        .into_iter()
        .filter(|program| !folder.join(program).is_file())
        .collect()
}

/// The numbers of a folder's name, such as `1.20.2`.
fn version(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

/// The programs of a folder. etcd may be the distribution's, and so may kubectl.
fn in_folder(folder: &Path, origin: String) -> Result<Binaries, String> {
    let own = |program: &str| {
        let path = folder.join(program);
        fs::metadata(&path)
            .is_ok_and(|data| data.is_file())
            .then_some(path)
    };
    let needed = |program: &str| {
        own(program)
            .or_else(|| which(program))
            .ok_or_else(|| format!("there is no {program} in {origin}"))
    };
    Ok(Binaries {
        etcd: needed("etcd")?,
        apiserver: own("kube-apiserver")
            .ok_or_else(|| format!("there is no kube-apiserver in {origin}"))?,
        kubectl: needed("kubectl")?,
        controller_manager: own("kube-controller-manager"),
        scheduler: own("kube-scheduler"),
        kubelet: own("kubelet"),
        proxy: own("kube-proxy"),
        origin,
    })
}

#[cfg(test)]
mod tests {
    use super::{BUILT, in_folder, newest, version};
    use std::fs;

    #[test]
    fn only_a_whole_folder_counts_and_the_newest_of_them() {
        let cache = std::env::temp_dir().join(format!("spo-kube-{}", std::process::id()));
        let put = |version: &str, programs: &[&str]| {
            fs::create_dir_all(cache.join(version)).unwrap();
            for program in programs {
                fs::write(cache.join(version).join(program), "").unwrap();
            }
        };
        assert_eq!(newest(&cache).unwrap(), None);
        put("1.9.1", &BUILT);
        put("1.20.2", &BUILT);
        put("1.33.0", &BUILT[..3]);
        put("work", &BUILT);
        assert_eq!(newest(&cache).unwrap(), Some(cache.join("1.20.2")));
        let error = in_folder(&cache, "here".to_owned()).unwrap_err();
        assert!(error.contains("in here"), "{error}");
        fs::remove_dir_all(&cache).unwrap();
    }

    #[test]
    fn a_version_is_numbers() {
        assert_eq!(version("1.20.2"), Some(vec![1, 20, 2]));
        assert_eq!(version("1.20.2.part"), None);
        assert_eq!(version("lock"), None);
    }
}
