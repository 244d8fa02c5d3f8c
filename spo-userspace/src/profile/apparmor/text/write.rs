//! Writing policy text, in the reference's form.

use std::collections::BTreeSet;

use thiserror::Error;

use super::lexer::DEFERRED;
use crate::profile::apparmor::access::Access;
use crate::profile::apparmor::check::{self, Refusal, hatch};
use crate::profile::apparmor::model::{Abstract, AppArmorSpec, Mode};
use crate::profile::apparmor::rules::path_text;
use crate::profile::apparmor::words::RAWIO;

/// Why there is no policy text for a profile.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A value would not compile, or would mean something else.
    #[error("{0}")]
    Refused(String),
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { message, help } = refusal;
        Self::Refused(match help {
            Some(help) => format!("{message}; {help}"),
            None => message,
        })
    }
}

/// What every enforced profile denies: what a container's processes must not do to the node.
///
/// Writing next to the folders of processes in `/proc`, below what is neither a process nor
/// `sys`, and in all of `/proc/sys` but the limits of shared memory; all access to the files that
/// crash a machine or show its memory, and to the firmware's variables.
pub(super) const DEFAULT_DENIALS: &[(&str, Access)] = &[
    ("/sys/firmware/efi/efivars/**", PROTECTED),
    ("@{PROC}/*", Access::WRITE),
    ("@{PROC}/kcore", PROTECTED),
    ("@{PROC}/kmem", PROTECTED),
    ("@{PROC}/mem", PROTECTED),
    ("@{PROC}/sys/[^k]**", Access::WRITE),
    ("@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**}", Access::WRITE),
    ("@{PROC}/sysrq-trigger", PROTECTED),
    (
        "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/**",
        Access::WRITE,
    ),
];

const PROTECTED: Access = Access::READ_CHANGE.or(Access::EXECUTE);

/// What [`RAWIO`] brings along: mounting, and these programs.
pub(super) const RAWIO_PROGRAMS: &[&str] = &["/sbin/fsck", "/sbin/fsck.ext4"];
pub(super) const RAWIO_MOUNTS: &[&str] = &["mount", "remount", "umount"];

/// The policy text of a profile: always the same for the same profile, and sorted.
///
/// Rules that deny are comments in complain mode, since the kernel enforces rules that deny there
/// as well. [`read_text`](super::read_text) knows them, so that nothing is lost.
pub fn write_text(name: &str, spec: &AppArmorSpec) -> Result<String, WriteError> {
    check::name(name)?;
    check::spec(spec)?;
    let enforced = spec.mode == Mode::Enforce;
    let mode = if enforced { "enforce" } else { "complain" };
    let mut text = format!(
        "#include <tunables/global>\n\nprofile {name} \
         flags=({mode}, attach_disconnected, mediate_deleted) {{\n  #include <abstractions/base>\n"
    );
    for (title, rules) in blocks(&spec.abstract_, enforced) {
        if rules.is_empty() {
            continue;
        }
        text.extend(["\n  # ", title, "\n"]);
        for rule in rules {
            let deferred = !enforced && rule.starts_with("deny ");
            let mark = if deferred { [DEFERRED, " "] } else { [""; 2] };
            text.extend(["  ", mark[0], mark[1], &rule, ",\n"]);
        }
    }
    text.push_str("}\n");
    Ok(text)
}

type Block = (&'static str, BTreeSet<String>);

fn blocks(abstract_: &Abstract, enforced: bool) -> Vec<Block> {
    let Abstract {
        executable,
        filesystem,
        network,
        capability,
        rules,
    } = abstract_;
    let path = |path: &String, letters: &str| match hatch(path) {
        Some(word) => format!("ptrace ({word})"),
        None => format!("{} {letters}", path_text(path)),
    };
    let mut executables: BTreeSet<String> = executable
        .allowed_executables
        .iter()
        .map(|name| path(name, "ixr"))
        .collect();
    executables.extend(
        executable
            .allowed_libraries
            .iter()
            .map(|name| path(name, "mr")),
    );
    let mut files = BTreeSet::new();
    for (paths, letters, denied) in [
        (&filesystem.read_only_paths, "r", "wlk"),
        (&filesystem.write_only_paths, "wlk", "r"),
        (&filesystem.read_write_paths, "rwlk", ""),
    ] {
        for name in paths {
            files.insert(path(name, letters));
            if !denied.is_empty() && hatch(name).is_none() {
                files.insert(format!("deny {}", path(name, denied)));
            }
        }
    }
    let mut sockets = BTreeSet::new();
    if let Some(network) = network {
        if network.allow_raw {
            sockets.insert("network raw".to_owned());
        } else {
            sockets.insert("deny network raw".to_owned());
        }
        for (allowed, rule) in [
            (network.allow_tcp, "network tcp"),
            (network.allow_udp, "network udp"),
        ] {
            if allowed {
                sockets.insert(rule.to_owned());
            }
        }
    }
    let words = &capability.allowed_capabilities;
    let capabilities = words
        .iter()
        .map(|word| format!("capability {word}"))
        .collect();
    let mut raw_io = BTreeSet::new();
    if words.contains(RAWIO) {
        raw_io.extend(RAWIO_MOUNTS.iter().map(|rule| (*rule).to_owned()));
        raw_io.extend(RAWIO_PROGRAMS.iter().map(|path| format!("{path} ixr")));
    }
    let allowed = rules.allow.texts(false).into_iter().collect();
    let denied = rules.deny.texts(true).into_iter();
    let denied = denied.map(|rule| format!("deny {rule}")).collect();
    let mut defaults = BTreeSet::new();
    if enforced {
        defaults.extend(
            DEFAULT_DENIALS
                .iter()
                .map(|(path, access)| format!("deny {} {}", path_text(path), access.letters(true))),
        );
    }
    vec![
        ("programs and libraries", executables),
        ("files", files),
        ("sockets", sockets),
        ("capabilities", capabilities),
        ("what sys_rawio is for", raw_io),
        ("other rules", allowed),
        ("denied", denied),
        ("denied to every container", defaults),
    ]
}
