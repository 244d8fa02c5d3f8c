//! A file that takes what programs say, and is named when one of them fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// How many of the last lines an error shows.
const SHOWN: usize = 8;

/// A log file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Begins an empty file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)
            .with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, command: &mut Command) -> Result<()> {
        let context = || format!("failed to run {}", process::line(command));
        let output = self.file.try_clone().with_context(context)?;
        let errors = self.file.try_clone().with_context(context)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let status = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .with_context(|| format!("failed to run {program}"))?;
        if !status.success() {
            bail!("{program} failed: {status}; {}", ending(&self.path));
        }
        Ok(())
    }
}

/// The file's name and its last lines.
pub(super) fn ending(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    if last.is_empty() {
        return format!("{} says nothing", path.display());
    }
    format!("{} ends with:\n  {}", path.display(), last.join("\n  "))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Log;

    #[test]
    fn a_failure_names_the_file_and_shows_its_end() {
        let path = std::env::temp_dir().join(format!("spo-log-{}", std::process::id()));
        let log = Log::create(&path).unwrap();
        log.run(Command::new("sh").args(["-c", "seq 1 20"]))
            .unwrap();
        let error = log
            .run(Command::new("sh").args(["-c", "echo so it goes >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.ends_with("  20\n  so it goes"), "{error}");
        assert!(!error.contains("  13\n"), "{error}");
    }
}
