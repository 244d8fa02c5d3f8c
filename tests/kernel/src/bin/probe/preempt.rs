//! Two threads on one CPU, of which one interrupts the other all the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::calls::{number, rare, say};

/// For some seconds, a common thread makes calls without a pause, and a `SCHED_FIFO` thread wakes up every 50 µs and makes some
/// too. Both make a rare call now and then, until none is left. Says how many calls each made.
pub(crate) fn run(seconds: usize, names: &[&str]) {
    let mut only = CpuSet::new();
    let last = thread::available_parallelism().map_or(0, |count| count.get() - 1);
    only.set(last).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &only).expect("a CPU to be pinned to");
    let (common, urgent) = names.split_at(names.len() / 2);
    let time = Duration::from_secs(seconds as u64);
    let done = AtomicBool::new(false);
    let wakeups = AtomicU64::new(0);
    let mut calls: u64 = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            become_urgent();
            let mut moments = Moments::new(time, urgent);
            while !done.load(Relaxed) {
                #[expect(clippy::disallowed_methods, reason = "the thread is to wake up often")]
                thread::sleep(Duration::from_micros(50));
                number(libc::SYS_getppid);
                number(libc::SYS_getuid);
                moments.call_if_due();
                wakeups.fetch_add(1, Relaxed);
            }
            moments.call_the_rest();
        });
        let mut moments = Moments::new(time, common);
        while moments.began.elapsed() < time {
            for _ in 0..16 {
                number(libc::SYS_getppid);
                number(libc::SYS_getuid);
                number(libc::SYS_getgid);
            }
            calls += 48;
            moments.call_if_due();
        }
        moments.call_the_rest();
        done.store(true, Relaxed);
    });
    say(&format!("{calls} {}", wakeups.load(Relaxed)));
}

/// Rare calls, spread over a time.
struct Moments<'a> {
    began: Instant,
    time: Duration,
    names: &'a [&'a str],
    next: usize,
}

impl<'a> Moments<'a> {
    fn new(time: Duration, names: &'a [&'a str]) -> Self {
        Self {
            began: Instant::now(),
            time,
            names,
            next: 0,
        }
    }

    fn call_if_due(&mut self) {
        let due = self.began.elapsed().as_micros() * self.names.len() as u128;
        if let Some(name) = self.names.get(self.next)
            && due > self.time.as_micros() * self.next as u128
        {
            rare(name);
            self.next += 1;
        }
    }

    fn call_the_rest(&self) {
        for name in &self.names[self.next..] {
            rare(name);
        }
    }
}

fn become_urgent() {
    let parameters = libc::sched_param { sched_priority: 10 };
    #[expect(unsafe_code, reason = "only the C library has it")]
    // SAFETY: the kernel reads the parameters.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "SCHED_FIFO: {}", std::io::Error::last_os_error());
}
