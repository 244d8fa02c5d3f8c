//! The hidden verb that a command starts as: it announces itself, waits for the word, and becomes the command.
//!
//! A separate program and not a fork of `spo`: nothing of `spo` is left in the process that is recorded.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::prctl::set_name;
use nix::unistd::{Pid, Uid, User, close, execve, getsid, initgroups, setgid, setuid};

use super::args::HoldArgs;
use super::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use super::held::{AGAIN, ANNOUNCED, Channel};
use crate::node::filter;
use crate::profile::seccomp::{self, Document};

/// Becomes the command, or reports over the channel why not.
pub(super) fn run(args: &HoldArgs) -> Result<ExitCode, Failure> {
    let mut channel =
        Channel::inherited(args.orders, args.answers).context("failed to open the channel")?;
    // It was started as /proc/self/exe.
    set_name(c"spo").context("failed to set the name")?;
    match become_command(args, &mut channel) {
        Ok(errno) => {
            let code = if errno == Errno::ENOENT {
                NOT_FOUND
            } else {
                NOT_EXECUTABLE
            };
            // The process that waits says it.
            let _gone = channel
                .answers
                .write_all(&(errno as i32).to_ne_bytes())
                .is_err();
            Ok(ExitCode::from(code))
        }
        Err(error) => Err(error.into()),
    }
}

fn become_command(args: &HoldArgs, channel: &mut Channel) -> Result<Errno> {
    let HoldArgs {
        orders: _,
        answers: _,
        user,
        profile,
        program,
        command,
    } = args;
    let filter = match profile {
        Some(descriptor) => {
            // Opened anew, and so read from its begin.
            let text = std::fs::read(format!("/proc/self/fd/{descriptor}"))
                .context("failed to read the profile")?;
            close(*descriptor).context("failed to close the profile")?;
            // What is wrong with it was told before this process was started.
            let (document, _) = seccomp::read("profile", &text);
            let Some(Document::Raw(spec)) = document else {
                bail!("the profile is not valid");
            };
            Some(filter::build(&spec)?.0)
        }
        None => None,
    };
    if let Some(user) = user {
        become_user(Uid::from_raw(*user))?;
    }
    let program = CString::new(program.as_os_str().as_bytes())?;
    let arguments: Vec<CString> = command
        .iter()
        .map(|text| CString::new(text.as_bytes()))
        .collect::<Result<_, _>>()?;
    let environment: Vec<CString> = std::env::vars_os()
        .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect::<Result<_, _>>()?;
    let _runtime = restore_sigpipe()?;
    // Room for what `execve` puts together: under a filter the allocator may not get more.
    drop(std::hint::black_box(vec![1_u8; 64 * 1024]));
    let mut nonce = [0; 4];
    channel
        .orders
        .read_exact(&mut nonce)
        .context("spo is gone")?;
    announce(i32::from_ne_bytes(nonce), channel)?;
    if let Some(filter) = filter {
        filter.load().context("failed to load the filter")?;
    }
    let Err(errno) = execve(&program, &arguments, &environment);
    Ok(errno)
}

/// Makes the call that the programs wait for until they have seen it.
fn announce(nonce: i32, channel: &mut Channel) -> Result<()> {
    loop {
        // There is no such session; nobody cares.
        let _session = getsid(Some(Pid::from_raw(nonce)));
        channel.answers.write_all(&[ANNOUNCED])?;
        let mut answer = [0];
        channel
            .orders
            .read_exact(&mut answer)
            .context("spo is gone")?;
        if answer != [AGAIN] {
            return Ok(());
        }
    }
}

fn become_user(user: Uid) -> Result<()> {
    let person = User::from_uid(user)?.with_context(|| format!("there is no user {user}"))?;
    initgroups(&CString::new(person.name)?, person.gid).context("failed to set the groups")?;
    setgid(person.gid).context("failed to set the group")?;
    setuid(user).context("failed to set the user")
}

/// Rust programs ignore SIGPIPE, and what is ignored stays so in the command; what has a handler is reset.
fn restore_sigpipe() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    drop(tokio::signal::unix::signal(
        tokio::signal::unix::SignalKind::pipe(),
    )?);
    drop(entered);
    Ok(runtime)
}
