//! The other side of `hold`: starts a command, and lets it go once it may.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Pid, Uid, User, close, pipe2};

use super::args::HOLD;
use super::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use crate::node::program;
use crate::profile::diagnostic::escape;

/// From the held process: "I made the call".
pub(super) const ANNOUNCED: u8 = b'a';
/// To the held process: "it was not seen, make it again".
pub(super) const AGAIN: u8 = b'r';
/// To the held process: "become the command".
const GO: u8 = b'g';

/// How often the call may go unseen: each time is a skipped run of the program.
const TRIES: u32 = 100;

/// Two pipes, from the held process's side.
pub(super) struct Channel {
    pub(super) orders: File,
    pub(super) answers: File,
}

impl Channel {
    /// Opens the pipes anew, so that they close when the command is executed, and closes what was inherited.
    pub(super) fn inherited(orders: i32, answers: i32) -> io::Result<Self> {
        let channel = Self {
            orders: File::open(format!("/proc/self/fd/{orders}"))?,
            answers: File::options()
                .write(true)
                .open(format!("/proc/self/fd/{answers}"))?,
        };
        close(orders)?;
        close(answers)?;
        Ok(channel)
    }
}

/// What to start, and as whom.
pub(super) struct Start<'a> {
    /// The command as it was given.
    pub(super) command: &'a [OsString],
    /// Under sudo, stay root.
    pub(super) privileged: bool,
    /// What the process announces itself with.
    pub(super) nonce: u32,
    /// The profile that it comes under, as an OCI runtime reads it.
    pub(super) profile: Option<&'a [u8]>,
}

/// A command that has not begun yet.
pub(super) struct Held {
    pid: Pid,
    program: PathBuf,
    orders: File,
    answers: File,
}

impl Held {
    /// Starts it.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, Failure> {
        let Start {
            command,
            privileged,
            nonce,
            profile,
        } = start;
        let name = command.first().context("no command")?;
        let program = program::find(name)?;
        let (their_orders, orders) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        let (answers, their_answers) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        inherit(&their_orders)?;
        inherit(&their_answers)?;
        // This very file, also if another is in its place by now.
        let mut held = Command::new("/proc/self/exe");
        held.arg(HOLD)
            .args(["--orders", &their_orders.as_raw_fd().to_string()])
            .args(["--answers", &their_answers.as_raw_fd().to_string()])
            .arg("--program")
            .arg(&program);
        // Handed over as it was read: the file may have changed since, or be a pipe.
        let profile = profile.map(in_memory).transpose()?;
        if let Some(profile) = &profile {
            inherit(profile)?;
            held.args(["--profile", &profile.as_raw_fd().to_string()]);
        }
        if let Some(user) = sudo_user(*privileged)? {
            held.args(["--user", &user.uid.to_string()])
                .env("HOME", user.dir)
                .env("USER", &user.name)
                .env("LOGNAME", user.name);
        }
        let child = held
            .arg("--")
            .args(*command)
            .spawn()
            .context("failed to start the command")?;
        let pid = i32::try_from(child.id()).context("the process id is too large")?;
        let mut orders = File::from(orders);
        // Not on the command line, which everybody may read: who knows it could have itself recorded.
        orders
            .write_all(&nonce.to_ne_bytes())
            .context("the command is gone")?;
        Ok(Self {
            pid: Pid::from_raw(pid),
            program,
            orders,
            answers: answers.into(),
        })
    }

    /// The process: of the held one, and then of the command.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the process has announced itself, as `is_seen` confirms, and lets it become the command.
    pub(super) fn release(
        mut self,
        mut is_seen: impl FnMut() -> Result<bool>,
    ) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let mut announced = [0];
            if self.answers.read_exact(&mut announced).is_err() || announced != [ANNOUNCED] {
                return Err(anyhow!("the command could not be prepared (see above)").into());
            }
            if is_seen()? {
                self.orders
                    .write_all(&[GO])
                    .context("the command is gone")?;
                return self.begun();
            }
            self.orders
                .write_all(&[AGAIN])
                .context("the command is gone")?;
        }
        Err(anyhow!(
            "the command announced itself {TRIES} times, and the eBPF program saw none of them"
        )
        .into())
    }

    /// The pipe closes when the command is executed; before, it may tell why that failed.
    fn begun(mut self) -> Result<(), Failure> {
        let mut errno = Vec::new();
        self.answers
            .read_to_end(&mut errno)
            .context("failed to read from the command")?;
        let Ok(errno) = <[u8; 4]>::try_from(errno) else {
            return Ok(());
        };
        let errno = Errno::from_raw(i32::from_ne_bytes(errno));
        let code = if errno == Errno::ENOENT {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        };
        let program = shown(self.program.as_os_str());
        let reason = match errno {
            Errno::ENOENT => "its interpreter was not found".to_owned(),
            Errno::ENOEXEC => {
                "it is no program for this machine, and a script needs a first line like #!/bin/sh"
                    .to_owned()
            }
            errno => errno.desc().to_owned(),
        };
        Err(Failure::new(
            code,
            anyhow!("{program}: cannot be executed: {reason}"),
        ))
    }
}

/// A number that nobody else announces himself with.
pub(super) fn nonce() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    // Negative: the id of no session, so that no other program asks for it.
    Ok(u32::from_ne_bytes(bytes) | 1 << 31)
}

/// A name that is safe to show.
pub(super) fn shown(name: &OsStr) -> String {
    escape(&name.to_string_lossy())
}

/// A file that has no name, with this content.
fn in_memory(content: &[u8]) -> Result<OwnedFd> {
    let file = memfd_create(c"profile", MFdFlags::MFD_CLOEXEC)
        .context("failed to make a file in memory")?;
    let mut file = File::from(file);
    file.write_all(content)
        .context("failed to write a file in memory")?;
    Ok(file.into())
}

/// Lets a descriptor survive the next `execve`.
fn inherit(descriptor: &OwnedFd) -> Result<()> {
    fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))
        .context("failed to prepare a pipe")?;
    Ok(())
}

/// The person who called sudo, if the command is to run as them.
fn sudo_user(privileged: bool) -> Result<Option<User>> {
    if privileged || !Uid::effective().is_root() {
        return Ok(None);
    }
    let Some(text) = std::env::var_os("SUDO_UID") else {
        return Ok(None);
    };
    let user: u32 = text
        .to_str()
        .and_then(|user| user.parse().ok())
        .with_context(|| {
            format!(
                "SUDO_UID is no user: {}; --privileged runs the command as root",
                shown(&text)
            )
        })?;
    if user == 0 {
        return Ok(None);
    }
    let user = User::from_uid(Uid::from_raw(user))
        .context("failed to look up the user who called sudo")?
        .with_context(|| {
            format!("SUDO_UID names no user: {user}; --privileged runs the command as root")
        })?;
    Ok(Some(user))
}
