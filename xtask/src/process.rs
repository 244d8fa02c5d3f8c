//! Running other programs.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command with its output where ours goes; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("failed to run {}", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command and returns its standard output; an error when it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("failed to run {}", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed: {}: {}",
            line(command),
            output.status,
            said.trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of {} is not UTF-8", line(command)))
}

/// Whether a command can be run and succeeds, with its output thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a command, shows its output line by line on standard error, and returns it too.
pub(crate) fn tee(command: &mut Command) -> Result<(ExitStatus, String)> {
    tee_after("", command)
}

/// The same, with a text before each line that is shown.
pub(crate) fn tee_after(before: &str, command: &mut Command) -> Result<(ExitStatus, String)> {
    let context = format!("failed to run {}", line(command));
    let (reader, writer) = io::pipe().with_context(|| context.clone())?;
    command.stdin(Stdio::null());
    command.stdout(writer.try_clone().with_context(|| context.clone())?);
    command.stderr(writer);
    let mut child = command.spawn().with_context(|| context.clone())?;
    // The command holds the writing ends of the pipe; without this the loop below would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = String::new();
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader
        .read_until(b'\n', &mut bytes)
        .with_context(|| context.clone())?
        > 0
    {
        let text = String::from_utf8_lossy(&bytes);
        eprint!("{before}{text}");
        said.push_str(&text);
        bytes.clear();
    }
    Ok((child.wait().context(context)?, said))
}

/// A command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    // The target directory is the same for every command, and long.
    let variables = command
        .get_envs()
        .filter(|(name, _)| *name != "CARGO_TARGET_DIR");
    let variables = variables.filter_map(|(name, value)| {
        let value = value?;
        Some(format!(
            "{}={}",
            name.to_string_lossy(),
            quoted(&value.to_string_lossy())
        ))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    variables
        .chain(words.map(|word| quoted(&word.to_string_lossy())))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `cargo`, run in the root of the workspace with the target directory that the user has chosen. It
/// runs as if from a shell: crates such as ring are compiled anew whenever these variables differ.
pub(crate) fn cargo(root: &Path, target: &Path) -> Command {
    let mut command = Command::new("cargo");
    without_cargo(&mut command)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target);
    command
}

/// Takes away what `cargo run` added to the environment of this process, so that it does not
/// reach a program that is recorded: a search path for libraries alone changes its calls.
pub(crate) fn without_cargo(command: &mut Command) -> &mut Command {
    let added = |name: &str| {
        name == "CARGO"
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name == "RUST_RECURSION_COUNT"
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(added) {
            command.env_remove(&name);
        }
    }
    let cargo_added = |dir: &Path| {
        let dir = dir.to_string_lossy();
        dir.contains("/.rustup/")
            || dir.contains("/rustlib/")
            || dir.contains("/debug/")
            || dir.ends_with("/debug")
            || dir.contains("/toolchains/")
    };
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        let kept: Vec<_> = std::env::split_paths(&path)
            .filter(|dir| !dir.as_os_str().is_empty() && !cargo_added(dir))
            .collect();
        match std::env::join_paths(&kept) {
            Ok(path) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", path),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{line, output, succeeds, tee};

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("printf");
        command.args(["a b", "it's", ""]).env("LEVEL", "1 2");
        assert_eq!(line(&command), r"LEVEL='1 2' printf 'a b' 'it'\''s' ''");
    }

    #[test]
    fn failures_say_which_command_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no such luck"),
            "{error}"
        );
        assert!(!succeeds(&mut Command::new("/no/such/program")));
    }

    #[test]
    fn tee_returns_both_streams_and_the_status() {
        let (status, said) =
            tee(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 4"])).unwrap();
        assert_eq!(status.code(), Some(4));
        assert_eq!(said, "out\nerr\n");
    }
}
