//! Programs that are executed by threads.

use std::io;
use std::process::Command;
use std::thread;

use super::calls::{execute, fork, leave, pause, rare, wait};

/// Makes one call, and a child makes another.
pub(crate) fn chain(mine: &str, childs: &str) {
    rare(mine);
    wait(fork(|| rare(childs)));
    leave();
}

/// A thread that is not the leader makes the first call, and executes a program that makes the others.
pub(crate) fn from_thread(how: &str, names: &[&str]) {
    let [in_thread, after, in_child] = names else {
        panic!("three names")
    };
    let arguments = ["chain", after, in_child].map(str::to_owned);
    let in_thread = (*in_thread).to_owned();
    match how {
        "blocked" => {
            thread::spawn(move || {
                rare(&in_thread);
                fail(&execute(&arguments.each_ref().map(String::as_str)));
            });
            loop {
                thread::park();
            }
        }
        "exited" => {
            thread::spawn(move || {
                while !leader_has_exited() {
                    pause(1);
                }
                rare(&in_thread);
                fail(&execute(&arguments.each_ref().map(String::as_str)));
            });
            #[expect(unsafe_code, reason = "the leader ends, and its process goes on")]
            // SAFETY: what the other thread uses is its own.
            unsafe {
                libc::syscall(libc::SYS_exit, 0);
            }
        }
        "failing" => {
            let thread = thread::spawn(move || {
                for program in ["/nonexistent", "/proc/self/status", "/"] {
                    use std::os::unix::process::CommandExt as _;
                    let error = Command::new(program).exec();
                    assert_ne!(error.kind(), io::ErrorKind::Unsupported, "{program}");
                }
                rare(&in_thread);
            });
            thread.join().expect("the thread goes on");
            chain(after, in_child);
        }
        _ => panic!("{how}: blocked, exited or failing"),
    }
}

fn fail(error: &io::Error) -> ! {
    panic!("exec: {error}")
}

fn leader_has_exited() -> bool {
    let pid = std::process::id();
    let stat = std::fs::read_to_string(format!("/proc/self/task/{pid}/stat"))
        .expect("the leader has a stat file");
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

/// A thread executes the program anew, whose thread executes it anew, and so on; the last one makes the call.
pub(crate) fn hop(left: usize, name: &str) {
    if left == 0 {
        rare(name);
        leave();
    }
    let (left, name) = ((left - 1).to_string(), name.to_owned());
    let thread = thread::spawn(move || fail(&execute(&["hop", &left, &name])));
    thread.join().expect("the thread becomes another program");
}
