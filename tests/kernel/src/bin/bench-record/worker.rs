//! The processes that make the calls.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// How many different calls are made in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) calls: usize,
}

/// Calls that fail or answer at once when all arguments are -1, the cheapest first.
const CALLS: [libc::c_long; 60] = [
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_ioctl,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_epoll_ctl,
    libc::SYS_inotify_rm_watch,
    libc::SYS_fallocate,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_syncfs,
    libc::SYS_getpgid,
    libc::SYS_getpriority,
    libc::SYS_sched_getscheduler,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_readahead,
    libc::SYS_sync_file_range,
    libc::SYS_getpgid,
];

/// After so many calls a worker lets another one on its CPU run.
const SLICE: u64 = 64;

/// Where a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the mount namespace of this process.
    Here,
    /// In one that it makes itself.
    New,
    /// In one that was made for it before it was executed.
    Container,
}

/// A process that measures.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one.
    pub(crate) fn spawn(home: Home, load: Load) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = if home == Home::Container {
            let mut command = Command::new("unshare");
            command.arg("--mount").arg(program);
            command
        } else {
            Command::new(program)
        };
        let mut child = command
            .args([
                "worker",
                if home == Home::New { "1" } else { "0" },
                &load.calls.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start a worker")?;
        let orders = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut worker = Self {
            child,
            orders,
            answers,
        };
        worker.line().context("the worker did not get ready")?;
        Ok(worker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes calls, and waits for the end.
    pub(crate) fn run(&mut self, calls: u64) -> Result<()> {
        self.begin(calls)?;
        self.end().map(drop)
    }

    pub(crate) fn begin(&mut self, calls: u64) -> Result<()> {
        writeln!(self.orders, "{calls}").context("the worker is gone")
    }

    /// When the calls began and ended.
    pub(crate) fn end(&mut self) -> Result<(u64, u64)> {
        let line = self.line()?;
        let (began, ended) = line
            .split_once(' ')
            .context("the worker's answer is no pair")?;
        Ok((began.parse()?, ended.parse()?))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the worker ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("bench-record: failed to end a worker: {error}");
        }
    }
}

/// Processes in namespaces of their own that make a few calls and then sleep.
pub(crate) fn bystanders(number: u32) -> Result<Vec<Worker>> {
    (0..number)
        .map(|_| {
            let mut child = Command::new(std::env::current_exe()?)
                .arg("bystander")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("failed to start a bystander")?;
            let orders = child.stdin.take().context("no standard input")?;
            let answers = BufReader::new(child.stdout.take().context("no standard output")?);
            let mut worker = Worker {
                child,
                orders,
                answers,
            };
            worker.line()?;
            Ok(worker)
        })
        .collect()
}

pub(crate) fn stand_by() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("failed to make a mount namespace")?;
    answer("ready")?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(())
}

/// The worker's side.
pub(crate) fn serve(own_namespace: bool, calls: &str) -> Result<()> {
    let calls = CALLS
        .get(..calls.parse::<usize>()?)
        .context("too many calls")?;
    let mut cpus = CpuSet::new();
    cpus.set(std::thread::available_parallelism()?.get() - 1)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("failed to pin the worker")?;
    if own_namespace {
        unshare(CloneFlags::CLONE_NEWNS).context("failed to make a mount namespace")?;
    }
    answer("ready")?;
    for line in std::io::stdin().lock().lines() {
        let number: u64 = line?.trim().parse()?;
        let began = now()?;
        make(calls, number);
        answer(&format!("{began} {}", now()?))?;
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "the C library has no functions for some of the calls"
)]
fn make(calls: &[libc::c_long], number: u64) {
    let mut left = SLICE;
    let mut turn = calls.iter().cycle();
    for _ in 0..number {
        let Some(call) = turn.next() else { return };
        // SAFETY: with -1 for every argument each of these answers or fails, and touches nothing.
        unsafe {
            libc::syscall(*call, -1, -1, -1, -1, -1, -1);
        }
        left -= 1;
        if left == 0 {
            left = SLICE;
            std::thread::yield_now();
        }
    }
}

fn answer(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(std::time::Duration::from(time).as_nanos())?)
}
