//! Debian's package linux-libc-dev, fetched and unpacked in the user's cache folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};

/// The package's name.
pub(super) const PACKAGE: &str = "linux-libc-dev";
/// Debian's newest suite never changes its name.
const SUITE: &str = "sid";

/// An unpacked package.
pub(super) struct Package {
    /// Its version.
    pub(super) version: String,
    folder: PathBuf,
}

impl Package {
    /// Reads a file of the package.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.folder.join(path))
            .with_context(|| format!("{PACKAGE} {} has no readable {path}", self.version))
    }

    /// The package as an earlier run left it.
    pub(super) fn cached(version: &str) -> Option<Self> {
        let folder = cache_folder().ok()?.join(PACKAGE).join(version);
        folder.is_dir().then(|| Self {
            version: version.to_owned(),
            folder,
        })
    }

    /// Fetches the newest package with apt, whose lists and downloads go to the cache folder.
    pub(super) fn fetch_newest() -> Result<Self> {
        let cache = cache_folder()?;
        let apt = cache.join("apt");
        for folder in ["sources", "lists/partial", "archives/partial", "download"] {
            let folder = apt.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        }
        let (file_name, text) = newest_suite_source()?;
        let sources = apt.join("sources").join(file_name);
        fs::write(&sources, text)
            .with_context(|| format!("failed to write {}", sources.display()))?;

        apt_get(&apt, &["update"])?;
        let download = apt.join("download");
        for old in fs::read_dir(&download)?.flatten() {
            fs::remove_file(old.path()).context("failed to remove an earlier download")?;
        }
        apt_get(&apt, &["download", PACKAGE])?;
        let file = fs::read_dir(&download)?
            .flatten()
            .next()
            .context("apt-get downloaded nothing")?
            .path();
        let version = output(
            Command::new("dpkg-deb")
                .args(["--field"])
                .arg(&file)
                .arg("Version"),
        )?;
        if let Some(package) = Self::cached(&version) {
            return Ok(package);
        }

        // Only a rename makes the folder valid, so that half an unpacking is never used.
        let folder = cache.join(PACKAGE).join(&version);
        let unpacked = apt.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).context("failed to remove an earlier unpacking")?;
        }
        output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(&unpacked),
        )?;
        fs::create_dir_all(cache.join(PACKAGE)).context("failed to make the cache folder")?;
        fs::rename(&unpacked, &folder)
            .with_context(|| format!("failed to make the folder {}", folder.display()))?;
        Ok(Self { version, folder })
    }
}

fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("spo"))
}

/// Runs apt-get in a world of its own: other sources, lists and archives, no installed packages.
fn apt_get(apt: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    for (option, value) in [
        ("Dir::Etc::sourcelist", Path::new("/dev/null").to_owned()),
        ("Dir::Etc::sourceparts", apt.join("sources")),
        ("Dir::State::Lists", apt.join("lists")),
        ("Dir::State::status", Path::new("/dev/null").to_owned()),
        ("Dir::Cache", apt.to_owned()),
    ] {
        command
            .arg("-o")
            .arg(format!("{option}={}", value.display()));
    }
    // apt's own unprivileged user could not write into this user's cache folder. Without the
    // error mode an update from nowhere succeeds, and the download then blames the package.
    for option in [
        "APT::Sandbox::User=root",
        "APT::Update::Error-Mode=any",
        "Acquire::Languages=none",
    ] {
        command.args(["-o", option]);
    }
    command
        .arg("-qq")
        .args(args)
        .current_dir(apt.join("download"));
    output(&mut command).with_context(|| format!("failed to fetch the newest {PACKAGE}"))?;
    Ok(())
}

/// The machine's own package source with the newest suite instead, and a name for its file.
fn newest_suite_source() -> Result<(&'static str, String)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
        .unwrap_or_default();
    if os_release.lines().any(|line| line == "ID=debian") {
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let found = match file.extension().and_then(|extension| extension.to_str()) {
                Some("sources") => {
                    with_newest_suite(&text, codename).map(|text| ("spo.sources", text))
                }
                Some("list") => {
                    line_with_newest_suite(&text, codename).map(|text| ("spo.list", text))
                }
                _ => None,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
    bail!(
        "{PACKAGE} with the headers of every architecture comes from Debian, and this machine has \
         no package source of Debian's; unpack one into {}/{PACKAGE}/VERSION",
        cache_folder()?.display()
    )
}

/// The stanza of the distribution itself, out of a file in the format of `.sources`.
fn with_newest_suite(text: &str, codename: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let lines: Vec<_> = stanza
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let suites = lines.iter().find_map(|line| line.strip_prefix("Suites:"))?;
        suites
            .split_whitespace()
            .find(|suite| is_own(suite, codename))?;
        let mut copy = String::new();
        for line in lines {
            if line.starts_with("Suites:") {
                writeln!(copy, "Suites: {SUITE}").ok()?;
            } else if line.starts_with("Types:") {
                copy.push_str("Types: deb\n");
            } else {
                writeln!(copy, "{line}").ok()?;
            }
        }
        Some(copy)
    })
}

/// The line of the distribution itself, out of a file in the format of `sources.list`.
fn line_with_newest_suite(text: &str, codename: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if words.first() != Some(&"deb") {
            return None;
        }
        let suite = words.iter().position(|word| is_own(word, codename))?;
        words[suite] = SUITE;
        Some(words.join(" ") + "\n")
    })
}

fn is_own(suite: &str, codename: &str) -> bool {
    suite == codename || ["stable", "testing", "unstable", "sid"].contains(&suite)
}

/// Runs a command to its end and returns what it printed.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("failed to run {program}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        errors.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_distribution_among_the_package_sources() {
        let text = "# A comment.\nTypes: deb deb-src\nURIs: mirror\nSuites: other\n\n\
                    Types: deb deb-src\nURIs: mirror\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(
            with_newest_suite(text, "bookworm").as_deref(),
            Some("Types: deb\nURIs: mirror\nSuites: sid\nComponents: main\n")
        );
        assert_eq!(
            line_with_newest_suite(
                "# x\ndeb-src m bookworm main\ndeb [a=b] m bookworm main\n",
                "bookworm"
            ),
            Some("deb [a=b] m sid main\n".to_owned())
        );
    }
}
