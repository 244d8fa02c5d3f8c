//! System calls that no program makes by accident, for the program `probe` and for the tests that look for them.

/// Names with numbers, from the names of `libc`'s constants.
macro_rules! rare {
    ($($constant:ident)*) => {
        [$((stringify!($constant).split_at("SYS_".len()).1, libc::$constant)),*]
    };
}

/// Native calls that neither `probe` itself nor its libraries make. With -1 for every argument each of them fails or
/// answers at once, and changes nothing. Some the kernel does not have any more: they are calls all the same.
pub const RARE: [(&str, libc::c_long); 168] = rare! {
    SYS_fdatasync SYS_fsync SYS_syncfs SYS_flock SYS_fchmod SYS_fchown SYS_fchdir SYS_ftruncate
    SYS_fallocate SYS_readahead SYS_sync_file_range SYS_splice SYS_tee SYS_vmsplice
    SYS_copy_file_range SYS_sendfile SYS_getdents SYS_fsetxattr SYS_fgetxattr SYS_flistxattr SYS_fremovexattr
    SYS_inotify_add_watch SYS_inotify_rm_watch SYS_timerfd_settime SYS_timerfd_gettime SYS_mq_notify
    SYS_mq_getsetattr SYS_fanotify_mark SYS_open_by_handle_at SYS_listen SYS_accept SYS_accept4 SYS_bind
    SYS_shutdown SYS_getsockname SYS_getpeername SYS_sendmmsg SYS_recvmmsg
    SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2 SYS_pidfd_getfd SYS_io_uring_enter SYS_io_uring_register
    SYS_open_tree SYS_move_mount SYS_fsmount SYS_fsconfig SYS_fspick SYS_mount_setattr SYS_landlock_add_rule
    SYS_landlock_restrict_self SYS_process_mrelease SYS_process_madvise SYS_quotactl_fd
    SYS_chroot SYS_acct SYS_swapon SYS_swapoff SYS_mount SYS_umount2 SYS_pivot_root SYS_sethostname
    SYS_setdomainname SYS_settimeofday SYS_adjtimex SYS_clock_adjtime SYS_clock_settime SYS_truncate
    SYS_link SYS_symlink SYS_rename SYS_mkdir SYS_rmdir SYS_creat SYS_mknod SYS_chmod SYS_chown SYS_lchown
    SYS_utime SYS_utimes SYS_futimesat SYS_utimensat SYS_mkdirat SYS_mknodat SYS_linkat SYS_symlinkat
    SYS_renameat SYS_renameat2 SYS_fchmodat SYS_fchownat SYS_setxattr SYS_lsetxattr SYS_getxattr SYS_lgetxattr
    SYS_listxattr SYS_llistxattr SYS_removexattr SYS_lremovexattr SYS_mq_open SYS_mq_unlink SYS_add_key
    SYS_request_key SYS_keyctl SYS_init_module SYS_delete_module SYS_kexec_load SYS_userfaultfd
    SYS_perf_event_open SYS_fanotify_init SYS_name_to_handle_at SYS_lookup_dcookie SYS_ustat SYS_sysfs SYS_uselib
    SYS_quotactl SYS_syslog SYS_kcmp SYS_migrate_pages SYS_mbind SYS_set_mempolicy SYS_get_mempolicy
    SYS_io_destroy SYS_io_cancel SYS_io_getevents SYS_semget SYS_semop SYS_semctl SYS_semtimedop SYS_msgsnd
    SYS_msgrcv SYS_msgctl SYS_shmat SYS_shmctl SYS_shmdt SYS_setpriority SYS_sched_setparam
    SYS_sched_rr_get_interval SYS_sched_setattr SYS_ioprio_set SYS_times SYS_setfsuid SYS_setfsgid SYS_capget
    SYS_iopl SYS_ioperm SYS_modify_ldt SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete
    SYS_getitimer SYS_setitimer SYS_remap_file_pages SYS_mincore SYS_mlock2 SYS_mlockall SYS_pkey_alloc
    SYS_pkey_free SYS_nfsservctl SYS_getpmsg SYS_putpmsg
    SYS_afs_syscall SYS_tuxcall SYS_security SYS_vserver SYS__sysctl
};

/// The number of one of them.
pub fn number(name: &str) -> libc::c_long {
    let found = RARE.iter().find(|(rare, _)| *rare == name);
    found
        .unwrap_or_else(|| panic!("{name} is not among the rare calls"))
        .1
}

/// The name that the `index`th process of many calls by.
pub fn nth(index: usize) -> &'static str {
    RARE[index % RARE.len()].0
}

/// Which rare calls are among some names.
pub fn rare<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> std::collections::BTreeSet<&'a str> {
    names
        .into_iter()
        .map(String::as_str)
        .filter(|name| RARE.iter().any(|(rare, _)| rare == name))
        .collect()
}
