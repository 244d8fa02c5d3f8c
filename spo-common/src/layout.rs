//! What the programs must know of the running kernel.

use core::mem::{offset_of, size_of};

/// Offsets of members, in bytes, and what the kernel's architecture looks like: the global `LAYOUT` of each object, which
/// user space sets before it loads the object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// 1 where the kernel lets a program load from a task directly (`bpf_get_current_task_btf`, 5.11).
    pub typed_loads: u32,
    /// 1 where the kernel has `bpf_task_pt_regs` (5.15).
    pub task_regs: u32,
    /// The bit of the word at `task_compat` that says that the current call is a 32-bit one; 0 if there is no such
    /// call.
    pub compat_mask: u32,
    /// The bit that makes a native number an x32 one; 0 if the architecture has no x32.
    pub x32_bit: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.real_parent`
    pub task_real_parent: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `task_struct.real_cred`
    pub task_real_cred: u32,
    /// `cred.user_ns`
    pub cred_user_ns: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.seccomp.mode`; 0 if the kernel has none.
    pub task_seccomp_mode: u32,
    /// A word of `task_struct.thread_info`, see `compat_mask`.
    pub task_compat: u32,
    /// `nsproxy.mnt_ns`
    pub nsproxy_mnt_ns: u32,
    /// `nsproxy.pid_ns_for_children`
    pub nsproxy_pid_ns: u32,
    /// `pid_namespace.child_reaper`
    pub pid_ns_child_reaper: u32,
    /// The member of `mnt_namespace` with the number that is not used twice.
    pub mnt_ns_id: u32,
    /// `mnt_namespace.ns.inum`
    pub mnt_ns_inum: u32,
    /// The number of references to a `mnt_namespace`; `u32::MAX` if it is not found.
    pub mnt_ns_references: u32,
    /// The member of `pt_regs` with the first argument of a call.
    pub regs_arg0: u32,
    /// The member of `pt_regs` with the number of the call.
    pub regs_syscall: u32,
    /// `task_struct.cgroups`; 0 if the kernel has none.
    pub task_cgroups: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `mm_struct.arg_start`; 0 if it is not found.
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arg_end: u32,
    /// `css_set.dfl_cgrp`: the cgroup in the hierarchy of version 2.
    pub css_set_dfl_cgrp: u32,
    /// The element of `css_set.subsys` for a controller that hierarchies of version 1 have; 0 if there is none.
    pub css_set_controller: u32,
    /// `cgroup_subsys_state.cgroup`
    pub css_cgroup: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// The member of `kernfs_node` with the node above.
    pub kernfs_parent: u32,
    /// `kernfs_node.name`
    pub kernfs_name: u32,
    /// `task_struct.seccomp.filter`: the newest of a task's filters; 0 if the kernel has none.
    pub task_seccomp_filter: u32,
    /// `seccomp_filter.prev`: the one before.
    pub seccomp_filter_prev: u32,
    /// `seccomp_filter.prog`
    pub seccomp_filter_prog: u32,
    /// `seccomp_filter.log`
    pub seccomp_filter_log: u32,
    /// `bpf_prog.orig_prog`: the program as it was handed in, where the kernel keeps it.
    pub bpf_prog_orig_prog: u32,
    /// `sock_fprog_kern.len`
    pub sock_fprog_len: u32,
    /// `sock_fprog_kern.filter`
    pub sock_fprog_filter: u32,
    /// `task_struct.flags`
    pub task_flags: u32,
    /// The member of `task_struct` with the time of its start, in nanoseconds since boot, suspend included.
    pub task_start: u32,
}

impl Layout {
    /// What the object holds until user space sets it.
    pub const UNSET: Self = Self {
        typed_loads: 0,
        task_regs: 0,
        compat_mask: 0,
        x32_bit: 0,
        task_pid: 0,
        task_tgid: 0,
        task_real_parent: 0,
        task_nsproxy: 0,
        task_real_cred: 0,
        cred_user_ns: 0,
        task_exit_code: 0,
        task_seccomp_mode: 0,
        task_compat: 0,
        nsproxy_mnt_ns: 0,
        nsproxy_pid_ns: 0,
        pid_ns_child_reaper: 0,
        mnt_ns_id: 0,
        mnt_ns_inum: 0,
        mnt_ns_references: 0,
        regs_arg0: 0,
        regs_syscall: 0,
        task_cgroups: 0,
        task_mm: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        css_set_dfl_cgrp: 0,
        css_set_controller: 0,
        css_cgroup: 0,
        cgroup_kn: 0,
        kernfs_parent: 0,
        kernfs_name: 0,
        task_seccomp_filter: 0,
        seccomp_filter_prev: 0,
        seccomp_filter_prog: 0,
        seccomp_filter_log: 0,
        bpf_prog_orig_prog: 0,
        sock_fprog_len: 0,
        sock_fprog_filter: 0,
        task_flags: 0,
        task_start: 0,
    };
}

const _: () = {
    assert!(size_of::<Layout>() == 160);
    assert!(offset_of!(Layout, task_pid) == 16);
    assert!(offset_of!(Layout, regs_syscall) == 80);
    assert!(offset_of!(Layout, kernfs_name) == 120);
    assert!(offset_of!(Layout, task_start) == 156);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above).
#[expect(unsafe_code, reason = "the type is a global of a BPF object")]
unsafe impl aya::Pod for Layout {}
