//! Rights that deserve a second look in a policy.

/// Why a permission on a class is risky to allow, or none for ordinary ones.
pub fn reason(class: &str, permission: &str) -> Option<&'static str> {
    let by_class = RISKY
        .iter()
        .find(|(classes, name, _)| *name == permission && classes.contains(&class));
    by_class
        .or_else(|| {
            RISKY
                .iter()
                .find(|(classes, name, _)| *name == permission && classes.is_empty())
        })
        .map(|(_, _, reason)| *reason)
}

/// Why an attribute is too broad a target, or none for others.
pub(super) fn broad(name: &str) -> Option<&'static str> {
    BROAD
        .iter()
        .find(|(attribute, _)| *attribute == name)
        .map(|(_, reason)| *reason)
}

const CAPABILITY: &[&str] = &["capability", "cap_userns"];
const CAPABILITY2: &[&str] = &["capability2", "cap2_userns"];
const FILES: &[&str] = &[
    "file",
    "dir",
    "lnk_file",
    "chr_file",
    "blk_file",
    "sock_file",
    "fifo_file",
];

/// Classes (none means all), permission, reason.
const RISKY: &[(&[&str], &str, &str)] = &[
    (&["blk_file"], "read", "reads a disk below its file system"),
    (
        &["blk_file"],
        "write",
        "writes to a disk below its file system",
    ),
    (&["bpf"], "prog_load", "loads programs into the kernel"),
    (CAPABILITY, "audit_control", "switches the audit system"),
    (
        CAPABILITY,
        "dac_override",
        "ignores the owner and mode of files",
    ),
    (
        CAPABILITY,
        "dac_read_search",
        "ignores the owner and mode of files",
    ),
    (CAPABILITY, "mknod", "makes device files"),
    (CAPABILITY, "net_admin", "changes the network"),
    (CAPABILITY, "setfcap", "gives capabilities to programs"),
    (CAPABILITY, "sys_admin", "is close to all that root may do"),
    (CAPABILITY, "sys_boot", "restarts the machine"),
    (CAPABILITY, "sys_module", "loads code into the kernel"),
    (CAPABILITY, "sys_ptrace", "controls other processes"),
    (
        CAPABILITY,
        "sys_rawio",
        "reaches hardware and memory directly",
    ),
    (CAPABILITY, "sys_time", "changes the system's clock"),
    (CAPABILITY2, "bpf", "loads programs into the kernel"),
    (
        CAPABILITY2,
        "mac_admin",
        "changes the policy of the machine",
    ),
    (
        CAPABILITY2,
        "mac_override",
        "steps around the policy of the machine",
    ),
    (
        CAPABILITY2,
        "perfmon",
        "watches the kernel and other processes",
    ),
    (
        CAPABILITY2,
        "syslog",
        "reads the kernel's log and addresses",
    ),
    (&["file"], "entrypoint", "makes a way into the domain"),
    (
        FILES,
        "execmod",
        "runs code from a file that was changed in memory",
    ),
    (FILES, "mounton", "mounts over files"),
    (
        &["io_uring"],
        "override_creds",
        "acts with another process's credentials",
    ),
    (&["io_uring"], "sqpoll", "makes calls from a kernel thread"),
    (
        &["memprotect"],
        "mmap_zero",
        "maps the first page, a help for exploits of the kernel",
    ),
    (&["perf_event"], "kernel", "watches the kernel"),
    (
        &["process"],
        "dyntransition",
        "changes its own type while it runs",
    ),
    (&["process"], "execheap", "runs code from the heap"),
    (
        &["process"],
        "execmem",
        "runs code from memory that it can write to",
    ),
    (&["process"], "execstack", "runs code from the stack"),
    (&["process"], "ptrace", "controls another process"),
    (
        &["process"],
        "setcurrent",
        "changes its own type while it runs",
    ),
    (
        &["process"],
        "setexec",
        "chooses the type of what it executes",
    ),
    (
        &["process"],
        "transition",
        "enters another type, with all that it may do",
    ),
    (
        &["security"],
        "load_policy",
        "replaces the policy of the machine",
    ),
    (
        &["security"],
        "setbool",
        "changes the policy of the machine",
    ),
    (&["security"], "setenforce", "switches SELinux off"),
    (
        &["security"],
        "setsecparam",
        "changes the policy of the machine",
    ),
    (&["system"], "module_load", "loads code into the kernel"),
    (
        &["user_namespace"],
        "create",
        "opens kernel code that only root could reach",
    ),
    (&[], "relabelfrom", "takes a label away"),
    (
        &[],
        "relabelto",
        "gives a label, and so what others may do with it",
    ),
    (
        &[],
        "all",
        "is every permission that the class has, now and later",
    ),
    (&[], "not", "is every permission but those that follow"),
];

const BROAD: &[(&str, &str)] = &[
    ("application_domain_type", "all applications"),
    ("base_ro_file_type", "all files of the base system"),
    ("configfile", "all configuration files"),
    ("container_domain", "all containers"),
    ("container_file_type", "the files of all containers"),
    ("daemon", "all services"),
    ("dev_node", "all device files"),
    ("device_node", "all device files"),
    ("domain", "all processes"),
    ("exec_type", "all programs"),
    ("file_type", "all files"),
    ("filesystem_type", "all file systems"),
    ("logfile", "all log files"),
    ("non_auth_file_type", "nearly all files"),
    ("non_security_file_type", "nearly all files"),
    ("pidfile", "all run-time files"),
    ("port_type", "all network ports"),
    ("proc_type", "all of /proc"),
    ("security_file_type", "all files that guard the machine"),
    ("sysctl_type", "all kernel parameters"),
    ("userdomain", "all processes of users"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::selinux::classes;

    #[test]
    fn names_are_those_of_the_kernel() {
        for (names, permission, text) in RISKY {
            for class in *names {
                assert!(
                    classes::permissions(class)
                        .unwrap()
                        .any(|one| one == *permission),
                    "{class} {permission}"
                );
            }
            assert!(text.len() <= 60, "{text}");
        }
        assert!(BROAD.is_sorted_by(|left, right| left.0 < right.0));
    }

    #[test]
    fn reasons() {
        assert_eq!(
            reason("process", "execmem"),
            Some("runs code from memory that it can write to")
        );
        assert_eq!(reason("file", "read"), None);
        assert_eq!(
            reason("blk_file", "read"),
            Some("reads a disk below its file system")
        );
        assert_eq!(reason("x", "relabelto"), reason("file", "relabelto"));
        assert_eq!(broad("domain"), Some("all processes"));
        assert_eq!(broad("etc_t"), None);
    }
}
