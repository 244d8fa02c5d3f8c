//! A suite of Debian's archive, whichever the machine itself has: apt in a world of its own, with
//! its lists and downloads in the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::env::cache_dir;

/// The archive as apt sees it with sources, lists and downloads of its own.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Fetches the lists of a suite. The mirror is the one in the machine's own package sources;
    /// `None` if they have nothing of Debian's.
    pub(crate) fn open(suite: &str) -> Result<Option<Self>> {
        let Some(source) = source(suite) else {
            return Ok(None);
        };
        let archive = Self {
            folder: world(suite, &[source])?,
        };
        archive.apt_get(&["update"])?;
        Ok(Some(archive))
    }

    /// Downloads a binary package for this machine.
    pub(crate) fn binary(&self, package: &str) -> Result<PathBuf> {
        let files = self.fetch(&["download", package])?;
        files
            .into_iter()
            .next()
            .context("apt-get downloaded nothing")
    }

    /// Downloads the files of a source package.
    pub(crate) fn source(&self, package: &str) -> Result<Vec<PathBuf>> {
        self.fetch(&["source", "--download-only", package])
    }

    /// What a command of apt-get leaves in the folder for downloads, which is empty before.
    fn fetch(&self, args: &[&str]) -> Result<Vec<PathBuf>> {
        let download = self.folder.join("download");
        for old in entries(&download)? {
            fs::remove_file(&old).with_context(|| format!("failed to remove {}", old.display()))?;
        }
        self.apt_get(args)?;
        let files = entries(&download)?;
        ensure!(!files.is_empty(), "apt-get {} left nothing", args.join(" "));
        Ok(files)
    }

    fn apt_get(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new("apt-get");
        command
            .args(options(&self.folder))
            .args(["-o", "Dir::State::status=/dev/null", "-qq"])
            .args(args)
            .current_dir(self.folder.join("download"));
        let what = format!("apt-get {}", args.join(" "));
        let output = command
            .output()
            .with_context(|| format!("failed to run {what}"))?;
        // The options above would bury what it says.
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what} failed: {}", said.trim());
        Ok(())
    }
}

/// What shows apt the distribution's backports beside the distribution, and makes it take them:
/// options for `apt-get`. `None` where there are no backports.
pub(crate) fn backports() -> Result<Option<Vec<String>>> {
    let Some(codename) = codename() else {
        return Ok(None);
    };
    let suite = format!("{codename}-backports");
    let (Some(own), Some(newer)) = (source(&codename), source(&suite)) else {
        return Ok(None);
    };
    let newer = (newer.0.replace("spo", "spo-backports"), newer.1);
    let mut options = options(&world(&suite, &[own, newer])?);
    options.push(format!("--target-release={suite}"));
    Ok(Some(options))
}

/// A folder with the sources in it, and room for what apt keeps.
fn world(name: &str, sources: &[(String, String)]) -> Result<PathBuf> {
    let folder = cache_dir()?.join("apt").join(name);
    for part in ["sources", "lists/partial", "archives/partial", "download"] {
        let part = folder.join(part);
        fs::create_dir_all(&part)
            .with_context(|| format!("failed to make the folder {}", part.display()))?;
    }
    for (file_name, text) in sources {
        let path = folder.join("sources").join(file_name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(folder)
}

/// What makes apt use that folder. Its own unprivileged user could not write into this user's cache.
/// Without the error mode an update from nowhere succeeds, and the download then blames the package.
fn options(folder: &Path) -> Vec<String> {
    let folders = [
        ("sourcelist", PathBuf::from("/dev/null")),
        ("sourceparts", folder.join("sources")),
    ]
    .map(|(name, path)| format!("--option=Dir::Etc::{name}={}", path.display()));
    let mut options = folders.to_vec();
    options.extend([
        format!(
            "--option=Dir::State::Lists={}",
            folder.join("lists").display()
        ),
        format!("--option=Dir::Cache={}", folder.display()),
        "--option=APT::Sandbox::User=root".to_owned(),
        "--option=APT::Update::Error-Mode=any".to_owned(),
        "--option=Acquire::Languages=none".to_owned(),
    ]);
    options
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("failed to read the folder {}", folder.display());
    let entries = folder.read_dir().with_context(context)?;
    entries
        .map(|entry| Ok(entry.with_context(context)?.path()))
        .collect()
}

/// What Debian calls this release; `None` on other distributions.
fn codename() -> Option<String> {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !os_release.lines().any(|line| line == "ID=debian") {
        return None;
    }
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
}

/// The machine's own package source with another suite instead, and a name for its file.
fn source(suite: &str) -> Option<(String, String)> {
    let codename = codename()?;
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => {
                stanza(&text, &codename, suite).map(|text| ("spo.sources".to_owned(), text))
            }
            Some("list") => {
                lines(&text, &codename, suite).map(|text| ("spo.list".to_owned(), text))
            }
            _ => None,
        }
    })
}

/// The stanza of the distribution itself, out of a file in the format of `.sources`.
fn stanza(text: &str, codename: &str, suite: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let lines: Vec<_> = stanza
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let suites = lines.iter().find_map(|line| line.strip_prefix("Suites:"))?;
        suites
            .split_whitespace()
            .find(|suite| is_own(suite, codename))?;
        let copy = lines.iter().map(|line| {
            if line.starts_with("Suites:") {
                format!("Suites: {suite}\n")
            } else if line.starts_with("Types:") {
                "Types: deb deb-src\n".to_owned()
            } else {
                format!("{line}\n")
            }
        });
        Some(copy.collect())
    })
}

/// The line of the distribution itself, out of a file in the format of `sources.list`, once for
/// packages and once for their sources.
fn lines(text: &str, codename: &str, suite: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words: Vec<_> = line.split_whitespace().collect();
        if words.first() != Some(&"deb") {
            return None;
        }
        let own = words.iter().position(|word| is_own(word, codename))?;
        words[own] = suite;
        let rest = words[1..].join(" ");
        Some(format!("deb {rest}\ndeb-src {rest}\n"))
    })
}

fn is_own(suite: &str, codename: &str) -> bool {
    suite == codename || ["stable", "testing", "unstable", "sid"].contains(&suite)
}

#[cfg(test)]
mod tests {
    use super::{lines, stanza};

    #[test]
    fn finds_the_distribution_among_the_package_sources() {
        let text = "# A comment.\nTypes: deb\nURIs: mirror\nSuites: other\n\n\
                    Types: deb\nURIs: mirror\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(
            stanza(text, "bookworm", "sid").as_deref(),
            Some("Types: deb deb-src\nURIs: mirror\nSuites: sid\nComponents: main\n")
        );
        assert_eq!(
            lines(
                "# x\ndeb-src m bookworm main\ndeb [a=b] m bookworm main\n",
                "bookworm",
                "sid"
            ),
            Some("deb [a=b] m sid main\ndeb-src [a=b] m sid main\n".to_owned())
        );
    }
}
