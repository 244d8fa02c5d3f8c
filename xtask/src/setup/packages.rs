//! Package managers of distributions.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::apt;
use crate::env::{Privilege, which};
use crate::process;

/// A distribution's package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Pacman,
    Apk,
}

pub(super) const MANAGERS: [(Manager, &str); 4] = [
    (Manager::Apt, "apt-get"),
    (Manager::Dnf, "dnf"),
    (Manager::Pacman, "pacman"),
    (Manager::Apk, "apk"),
];

/// Installs with apt, but lets no package start its service: a developer who tests spo has not
/// asked for a web server. A policy that the machine has already stays.
const APT_INSTALL: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends --no-remove "$@"
"#;

impl Manager {
    pub(crate) fn find() -> Option<Self> {
        MANAGERS
            .iter()
            .find(|(_, program)| which(program).is_some())
            .map(|(manager, _)| *manager)
    }

    /// The command for a person to type.
    pub(crate) fn advice(self, packages: &[&str]) -> String {
        let install = match self {
            Self::Apt => "sudo apt-get install -y --no-install-recommends",
            Self::Dnf => "sudo dnf install -y",
            Self::Pacman => "sudo pacman -S --needed",
            Self::Apk => "sudo apk add",
        };
        format!("{install} {}", packages.join(" "))
    }

    /// Installs packages; with apt the lists are fetched when they are absent, or when the
    /// first attempt fails, since old lists name versions that are gone. What then does not go
    /// with what is installed is taken from the backports: that may be from there as well.
    pub(crate) fn install(self, privilege: Privilege, packages: &[&str]) -> Result<()> {
        eprintln!("installing {}", packages.join(" "));
        let mut command = match self {
            Self::Apt => {
                if !has_lists() {
                    update(privilege)?;
                }
                let mut command = privilege.command("sh");
                command.args(["-c", APT_INSTALL, "sh"]);
                command
            }
            Self::Dnf => with(privilege.command("dnf"), &["install", "-y"]),
            Self::Pacman => with(
                privilege.command("pacman"),
                &["-S", "--needed", "--noconfirm"],
            ),
            Self::Apk => with(privilege.command("apk"), &["add"]),
        };
        command.args(packages);
        quietly(&mut command).or_else(|first| {
            if self != Self::Apt {
                return Err(first);
            }
            update(privilege)?;
            quietly(&mut command).or_else(|second| {
                let Some(options) = apt::backports()? else {
                    return Err(second);
                };
                eprintln!("fetching the package lists of the backports");
                quietly(privilege.command("apt-get").args(&options).arg("update"))?;
                let mut command = privilege.command("sh");
                command.args(["-c", APT_INSTALL, "sh"]).args(options);
                quietly(command.args(packages)).map_err(|third| second.context(third))
            })
        })
    }
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// Runs a command whose output matters only when it fails.
fn quietly(command: &mut Command) -> Result<()> {
    process::output(command.stdin(Stdio::null())).map(drop)
}

fn update(privilege: Privilege) -> Result<()> {
    eprintln!("fetching the package lists");
    quietly(
        with(privilege.command("apt-get"), &["update", "-q"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

fn has_lists() -> bool {
    Path::new("/var/lib/apt/lists")
        .read_dir()
        .is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
            })
        })
}

/// The version of a Debian package that would be installed; fetches the lists if it may.
pub(crate) fn apt_candidate(package: &str, privilege: Privilege) -> Option<String> {
    if !has_lists() && privilege != Privilege::None {
        update(privilege).ok()?;
    }
    let policy = process::output(Command::new("apt-cache").args(["policy", package])).ok()?;
    let candidate = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?
        .trim();
    (candidate != "(none)").then(|| candidate.to_owned())
}
