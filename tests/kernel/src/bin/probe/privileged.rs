//! Does what needs a capability each.

use std::os::unix::fs::{chown, chroot};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Uid, setuid};

use super::calls::say;

/// Does it, in this order, with files in an empty folder of its own.
pub(crate) fn run(folder: &str, steps: &[&str]) {
    let file = |name: &str| Path::new(folder).join(name);
    for step in steps {
        match *step {
            // CAP_CHOWN
            "chown" => {
                std::fs::write(file("owned"), "").expect("a file");
                chown(file("owned"), Some(1), None).expect("root may");
            }
            // The same calls, for which nothing is needed.
            "chown-own" => {
                std::fs::write(file("owned"), "").expect("a file");
                chown(file("owned"), Some(0), None).expect("it is its own");
            }
            "wait" => {
                say("ready");
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).expect("an end");
            }
            // CAP_MKNOD
            "mknod" => {
                let (kind, device) = (SFlag::S_IFCHR, makedev(1, 3));
                mknod(&file("null"), kind, Mode::S_IRUSR, device).expect("root may");
            }
            // CAP_SETUID; and all are gone then.
            "setuid" => setuid(Uid::from_raw(65534)).expect("root may"),
            // CAP_SYS_CHROOT
            "chroot" => chroot("/").expect("it has it"),
            "no-chroot" => {
                let error = chroot("/").expect_err("it has it not");
                assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32));
            }
            // A user namespace in which it has all, and they are worth nothing outside.
            "user-namespace" => unshare(CloneFlags::CLONE_NEWUSER).expect("everybody may"),
            _ => panic!("nobody knows what {step} needs"),
        }
    }
}
