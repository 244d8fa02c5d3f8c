//! The kernel's object classes with their permissions.
//!
//! The names are those of `security/selinux/include/classmap.h` in Linux 6.18, and of what the
//! reference policy has for services in user space. A node's policy may have more.

use super::super::suggest::nearest;

const SOCKET_AND_FILE: &str =
    "ioctl read write create getattr setattr lock relabelfrom relabelto append map";
const FILE: &str = "unlink link rename execute quotaon mounton audit_access open execmod watch \
                    watch_mount watch_sb watch_with_perm watch_reads watch_mountns";
const SOCKET: &str = "bind connect listen accept getopt setopt shutdown recvfrom sendto name_bind";
const IPC: &str = "create destroy getattr setattr read write associate unix_read unix_write";
const CAPABILITY: &str = "chown dac_override dac_read_search fowner fsetid kill setgid setuid \
     setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner \
     sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice \
     sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap";
const CAPABILITY2: &str = "mac_override mac_admin syslog wake_alarm block_suspend audit_read \
                           perfmon bpf checkpoint_restore";
const NETLINK: &str = "nlmsg_read nlmsg_write nlmsg";

/// What all sockets have.
const ANY_SOCKET: &[&str] = &[SOCKET_AND_FILE, SOCKET];
/// What all files have.
const ANY_FILE: &[&str] = &[SOCKET_AND_FILE, FILE];

/// The classes, each with its permissions.
const CLASSES: &[(&str, &[&str])] = &[
    ("alg_socket", ANY_SOCKET),
    ("anon_inode", ANY_FILE),
    ("appletalk_socket", ANY_SOCKET),
    ("association", &["sendto recvfrom setcontext polmatch"]),
    ("atmpvc_socket", ANY_SOCKET),
    ("atmsvc_socket", ANY_SOCKET),
    ("ax25_socket", ANY_SOCKET),
    ("binder", &["impersonate call set_context_mgr transfer"]),
    ("blk_file", ANY_FILE),
    ("bluetooth_socket", ANY_SOCKET),
    ("bpf", &["map_create map_read map_write prog_load prog_run"]),
    ("caif_socket", ANY_SOCKET),
    ("can_socket", ANY_SOCKET),
    ("cap2_userns", &[CAPABILITY2]),
    ("cap_userns", &[CAPABILITY]),
    ("capability", &[CAPABILITY]),
    ("capability2", &[CAPABILITY2]),
    ("chr_file", ANY_FILE),
    ("dbus", &["acquire_svc send_msg"]),
    (
        "dccp_socket",
        &[SOCKET_AND_FILE, SOCKET, "node_bind name_connect"],
    ),
    ("decnet_socket", ANY_SOCKET),
    (
        "dir",
        &[
            SOCKET_AND_FILE,
            FILE,
            "add_name remove_name reparent search rmdir",
        ],
    ),
    ("fd", &["use"]),
    ("fifo_file", ANY_FILE),
    (
        "file",
        &[SOCKET_AND_FILE, FILE, "execute_no_trans entrypoint"],
    ),
    (
        "filesystem",
        &["mount remount unmount getattr relabelfrom relabelto associate quotamod quotaget watch"],
    ),
    ("icmp_socket", &[SOCKET_AND_FILE, SOCKET, "node_bind"]),
    ("ieee802154_socket", ANY_SOCKET),
    ("infiniband_endport", &["manage_subnet"]),
    ("infiniband_pkey", &["access"]),
    ("io_uring", &["override_creds sqpoll cmd allowed"]),
    ("ipc", &[IPC]),
    ("ipx_socket", ANY_SOCKET),
    ("irda_socket", ANY_SOCKET),
    ("isdn_socket", ANY_SOCKET),
    ("iucv_socket", ANY_SOCKET),
    ("kcm_socket", ANY_SOCKET),
    ("kernel_service", &["use_as_override create_files_as"]),
    ("key", &["view read write search link setattr create"]),
    ("key_socket", ANY_SOCKET),
    ("llc_socket", ANY_SOCKET),
    ("lnk_file", ANY_FILE),
    ("mctp_socket", ANY_SOCKET),
    ("memprotect", &["mmap_zero"]),
    ("msg", &["send receive"]),
    ("msgq", &[IPC, "enqueue"]),
    ("netif", &["ingress egress"]),
    (
        "netlink_audit_socket",
        &[
            SOCKET_AND_FILE,
            SOCKET,
            NETLINK,
            "nlmsg_relay nlmsg_readpriv nlmsg_tty_audit",
        ],
    ),
    ("netlink_connector_socket", ANY_SOCKET),
    ("netlink_crypto_socket", ANY_SOCKET),
    ("netlink_dnrt_socket", ANY_SOCKET),
    ("netlink_fib_lookup_socket", ANY_SOCKET),
    ("netlink_generic_socket", ANY_SOCKET),
    ("netlink_iscsi_socket", ANY_SOCKET),
    ("netlink_kobject_uevent_socket", ANY_SOCKET),
    ("netlink_netfilter_socket", ANY_SOCKET),
    ("netlink_nflog_socket", ANY_SOCKET),
    ("netlink_rdma_socket", ANY_SOCKET),
    ("netlink_route_socket", &[SOCKET_AND_FILE, SOCKET, NETLINK]),
    ("netlink_scsitransport_socket", ANY_SOCKET),
    ("netlink_selinux_socket", ANY_SOCKET),
    ("netlink_socket", ANY_SOCKET),
    (
        "netlink_tcpdiag_socket",
        &[SOCKET_AND_FILE, SOCKET, NETLINK],
    ),
    ("netlink_xfrm_socket", &[SOCKET_AND_FILE, SOCKET, NETLINK]),
    ("netrom_socket", ANY_SOCKET),
    ("nfc_socket", ANY_SOCKET),
    ("node", &["recvfrom sendto"]),
    ("packet", &["send recv relabelto forward_in forward_out"]),
    ("packet_socket", ANY_SOCKET),
    ("passwd", &["passwd chfn chsh rootok crontab"]),
    ("peer", &["recv"]),
    ("perf_event", &["open cpu kernel tracepoint read write"]),
    ("phonet_socket", ANY_SOCKET),
    ("pppox_socket", ANY_SOCKET),
    (
        "process",
        &[
            "fork transition sigchld sigkill sigstop signull signal ptrace getsched setsched \
             getsession getpgid setpgid getcap setcap share getattr setexec setfscreate \
             noatsecure siginh setrlimit rlimitinh dyntransition setcurrent execmem execstack \
             execheap setkeycreate setsockcreate getrlimit",
        ],
    ),
    ("process2", &["nnp_transition nosuid_transition"]),
    ("qipcrtr_socket", ANY_SOCKET),
    ("rawip_socket", &[SOCKET_AND_FILE, SOCKET, "node_bind"]),
    ("rds_socket", ANY_SOCKET),
    ("rose_socket", ANY_SOCKET),
    ("rxrpc_socket", ANY_SOCKET),
    (
        "sctp_socket",
        &[
            SOCKET_AND_FILE,
            SOCKET,
            "node_bind name_connect association",
        ],
    ),
    (
        "security",
        &[
            "compute_av compute_create compute_member check_context load_policy compute_relabel \
             compute_user setenforce setbool setsecparam setcheckreqprot read_policy \
             validate_trans",
        ],
    ),
    ("sem", &[IPC]),
    (
        "service",
        &["start stop status reload kill load enable disable"],
    ),
    ("shm", &[IPC, "lock"]),
    ("smc_socket", ANY_SOCKET),
    ("sock_file", ANY_FILE),
    ("socket", ANY_SOCKET),
    (
        "system",
        &[
            "ipc_info syslog_read syslog_mod syslog_console module_request module_load halt \
             reboot status start stop enable disable reload",
        ],
    ),
    (
        "tcp_socket",
        &[SOCKET_AND_FILE, SOCKET, "node_bind name_connect"],
    ),
    ("tipc_socket", ANY_SOCKET),
    ("tun_socket", &[SOCKET_AND_FILE, SOCKET, "attach_queue"]),
    ("udp_socket", &[SOCKET_AND_FILE, SOCKET, "node_bind"]),
    ("unix_dgram_socket", ANY_SOCKET),
    (
        "unix_stream_socket",
        &[SOCKET_AND_FILE, SOCKET, "connectto"],
    ),
    ("user_namespace", &["create"]),
    ("vsock_socket", ANY_SOCKET),
    ("x25_socket", ANY_SOCKET),
    ("xdp_socket", ANY_SOCKET),
];

/// The permissions of a class that is known.
pub(super) fn permissions(class: &str) -> Option<impl Iterator<Item = &'static str>> {
    let index = CLASSES
        .binary_search_by_key(&class, |(name, _)| name)
        .ok()?;
    let parts = CLASSES[index].1;
    Some(parts.iter().flat_map(|part| part.split_ascii_whitespace()))
}

/// The class that was likely meant.
pub(super) fn suggest_class(class: &str) -> Option<&'static str> {
    nearest(class, CLASSES.iter().map(|(name, _)| *name))
}

/// The permission of a class that was likely meant.
pub(super) fn suggest_permission(class: &str, permission: &str) -> Option<&'static str> {
    nearest(permission, permissions(class)?)
}

/// The type that was likely meant, where a name is no known type but differs from one by a slip.
pub(super) fn suggest_type(name: &str) -> Option<&'static str> {
    if is_among(TYPES, name) || name.len() < 8 {
        return None;
    }
    // Other names of the same form, such as `tcp_port_t`, are no slips.
    let similar = |one: &&str| one.len() >= 8 && one.as_bytes()[0] == name.as_bytes()[0];
    nearest(name, TYPES.split_ascii_whitespace().filter(similar))
}

fn is_among(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|one| one == name)
}

/// Types that container policies name often.
const TYPES: &str = "bin_t cgroup_t cert_t container_file_t container_log_t container_ro_file_t \
     container_runtime_t container_share_t container_t container_var_lib_t device_t devlog_t \
     devpts_t dns_port_t etc_t fixed_disk_device_t fs_t http_port_t init_t kernel_t kmsg_device_t \
     lib_t locale_t net_conf_t node_t null_device_t passwd_file_t proc_net_t proc_t random_device_t \
     selinux_config_t security_t shadow_t shell_exec_t spc_t sshd_key_t sysctl_net_t sysfs_t \
     syslogd_var_run_t system_dbusd_t tmp_t tmpfs_t unconfined_t unlabeled_t unreserved_port_t \
     urandom_device_t user_home_t user_tmp_t usr_t var_lib_t var_log_t var_run_t var_t zero_device_t";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_without_repetition() {
        assert!(CLASSES.is_sorted_by(|left, right| left.0 < right.0));
        for (class, _) in CLASSES {
            let mut names: Vec<_> = permissions(class).unwrap().collect();
            assert!(!names.is_empty(), "{class}");
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{class}");
        }
        let mut types: Vec<_> = TYPES.split_ascii_whitespace().collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types.len(), TYPES.split_ascii_whitespace().count());
    }

    #[test]
    fn suggestions() {
        assert_eq!(suggest_class("tcp_sokcet"), Some("tcp_socket"));
        assert_eq!(suggest_class("lnkfile"), Some("lnk_file"));
        assert_eq!(suggest_class("wine"), None);
        assert_eq!(suggest_permission("file", "raed"), Some("read"));
        assert_eq!(suggest_permission("dir", "serach"), Some("search"));
        assert_eq!(suggest_permission("wine", "read"), None);
        assert_eq!(suggest_type("contianer_file_t"), Some("container_file_t"));
        assert_eq!(suggest_type("container_file_t"), None);
        assert_eq!(suggest_type("etcd_t"), None);
        assert_eq!(suggest_type("tcp_port_t"), None);
        assert!(permissions("file").unwrap().any(|one| one == "entrypoint"));
        assert!(permissions("dir").unwrap().all(|one| one != "entrypoint"));
    }
}
