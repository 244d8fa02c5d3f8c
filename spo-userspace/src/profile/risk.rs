//! Calls that deserve a second look in a profile.

/// Why a call is risky to allow, or none for ordinary ones.
///
/// Only names count here: `clone` with namespace flags, for one, cannot be told from the
/// harmless kind.
pub fn reason(name: &str) -> Option<&'static str> {
    let index = RISKY.binary_search_by_key(&name, |(name, _)| name).ok()?;
    Some(RISKY[index].1)
}

/// By name.
const RISKY: &[(&str, &str)] = &[
    ("_sysctl", "changes kernel parameters"),
    ("acct", "switches process accounting"),
    (
        "add_key",
        "reaches kernel keyrings, which are shared beyond a container",
    ),
    ("adjtimex", "changes the system's clock"),
    ("bpf", "loads programs into the kernel"),
    ("chroot", "changes the root folder, a step of known escapes"),
    ("clock_adjtime", "changes the system's clock"),
    ("clock_adjtime64", "changes the system's clock"),
    ("clock_settime", "changes the system's clock"),
    ("clock_settime64", "changes the system's clock"),
    ("create_module", "loads code into the kernel"),
    ("delete_module", "removes code from the kernel"),
    (
        "fanotify_init",
        "watches and may hold up file access of the whole system",
    ),
    ("finit_module", "loads code into the kernel"),
    ("fsconfig", "sets up a file system to mount"),
    ("fsmount", "mounts a file system"),
    ("fsopen", "sets up a file system to mount"),
    ("fspick", "changes a mounted file system"),
    ("init_module", "loads code into the kernel"),
    ("io_uring_enter", "makes calls that seccomp does not see"),
    ("io_uring_register", "makes calls that seccomp does not see"),
    ("io_uring_setup", "makes calls that seccomp does not see"),
    ("ioperm", "opens hardware ports"),
    ("iopl", "opens hardware ports"),
    ("kcmp", "tells about another process's kernel objects"),
    ("kexec_file_load", "replaces the running kernel"),
    ("kexec_load", "replaces the running kernel"),
    (
        "keyctl",
        "reaches kernel keyrings, which are shared beyond a container",
    ),
    ("lookup_dcookie", "tells about paths beyond the own root"),
    ("mbind", "moves memory of the whole machine's nodes"),
    ("migrate_pages", "moves another process's memory"),
    (
        "modify_ldt",
        "changes the processor's segments, a source of kernel bugs",
    ),
    ("mount", "mounts a file system"),
    ("mount_setattr", "changes a mounted file system"),
    ("move_mount", "mounts a file system"),
    ("move_pages", "moves another process's memory"),
    ("name_to_handle_at", "names files beyond the own root"),
    ("nfsservctl", "steers the kernel's NFS server"),
    (
        "open_by_handle_at",
        "opens files beyond the own root, a known escape",
    ),
    ("open_tree", "takes hold of a mount"),
    ("open_tree_attr", "takes hold of a mount"),
    ("perf_event_open", "watches the kernel and other processes"),
    (
        "personality",
        "switches off protections such as address randomization",
    ),
    ("pidfd_getfd", "takes another process's open files"),
    ("pivot_root", "changes the root of the file system"),
    ("process_madvise", "steers another process's memory"),
    ("process_vm_readv", "reads another process's memory"),
    ("process_vm_writev", "writes another process's memory"),
    ("ptrace", "controls another process"),
    ("quotactl", "changes disk quotas"),
    ("quotactl_fd", "changes disk quotas"),
    ("reboot", "restarts the machine"),
    (
        "request_key",
        "reaches kernel keyrings, which are shared beyond a container",
    ),
    ("rtas", "talks to the firmware"),
    ("s390_pci_mmio_read", "reads from hardware"),
    ("s390_pci_mmio_write", "writes to hardware"),
    ("setdomainname", "renames the machine"),
    ("sethostname", "renames the machine"),
    ("setns", "enters other namespaces"),
    ("settimeofday", "changes the system's clock"),
    ("stime", "changes the system's clock"),
    ("swapoff", "switches swap space"),
    ("swapon", "switches swap space"),
    ("syslog", "reads the kernel's log"),
    ("umount", "takes file systems away"),
    ("umount2", "takes file systems away"),
    (
        "unshare",
        "makes namespaces, a user namespace among them opens kernel code",
    ),
    ("uselib", "loads a library in an obsolete way"),
    (
        "userfaultfd",
        "holds the kernel up at a memory access, a help for exploits",
    ),
    ("vhangup", "cuts off a terminal"),
    ("vm86", "runs 16-bit code, a source of kernel bugs"),
    ("vm86old", "runs 16-bit code, a source of kernel bugs"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::syscalls;

    #[test]
    fn sorted_unique_and_known() {
        assert!(RISKY.is_sorted_by(|left, right| left.0 < right.0));
        for (name, reason) in RISKY {
            assert!(syscalls::known(name), "{name}");
            assert!(reason.len() <= 70, "{reason}");
        }
    }

    #[test]
    fn reasons() {
        assert_eq!(reason("bpf"), Some("loads programs into the kernel"));
        assert_eq!(reason("read"), None);
        assert_eq!(reason(""), None);
    }
}
