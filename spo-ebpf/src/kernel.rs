//! Reads kernel structures at offsets that user space found in the kernel's BTF.
//!
//! A global holds the offset; the verifier knows its value while it checks the program, so
//! that a plain load at `pointer + offset` is as good as one that the compiler relocated.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
};

/// Declares globals that user space sets before it loads the object, and their readers.
#[macro_export]
macro_rules! globals {
    ($($(#[$doc:meta])* $vis:vis $function:ident = $name:ident: $type:ty;)*) => {$(
        #[unsafe(no_mangle)]
        static $name: $type = 0;
        $(#[$doc])*
        #[inline(always)]
        $vis fn $function() -> $type {
            // SAFETY: the global is never written after the object is loaded. Volatile, because
            // the compiler must not take the zero for its value.
            unsafe { core::ptr::read_volatile(&raw const $name) }
        }
    )*};
}

/// Set by user space to `spo_common::ABI_VERSION` of its own build; checked before it loads anything.
#[unsafe(no_mangle)]
static ABI_VERSION: u32 = spo_common::ABI_VERSION;

globals! {
    /// 1 where the kernel has `bpf_get_current_task_btf` (5.11) and so lets a program load from a task directly.
    typed = TYPED_LOADS: u32;
    off_pid = OFF_TASK_PID: u64;
    off_tgid = OFF_TASK_TGID: u64;
    off_real_parent = OFF_TASK_REAL_PARENT: u64;
    off_nsproxy = OFF_TASK_NSPROXY: u64;
    off_seccomp_mode = OFF_TASK_SECCOMP_MODE: u64;
    off_exit_code = OFF_TASK_EXIT_CODE: u64;
    off_compat = OFF_TASK_COMPAT: u64;
    /// The bit of the word at `OFF_TASK_COMPAT` that says that the current call is a 32-bit one; 0 if there is no such call.
    compat_mask = COMPAT_MASK: u32;
    off_mnt_ns = OFF_NSPROXY_MNT_NS: u64;
    off_pid_ns = OFF_NSPROXY_PID_NS: u64;
    off_child_reaper = OFF_PID_NS_CHILD_REAPER: u64;
    off_mnt_ns_id = OFF_MNT_NS_ID: u64;
    off_mnt_ns_inum = OFF_MNT_NS_INUM: u64;
    off_regs_arg0 = OFF_REGS_ARG0: u64;
    off_regs_syscall = OFF_REGS_SYSCALL: u64;
}

/// Loads a field of a kernel structure.
///
/// # Safety
///
/// `base` points to a kernel structure of the type for which `offset` was found (or is null,
/// which reads as zero).
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: u64) -> T {
    // SAFETY: the verifier accepts the load only from a pointer that the kernel handed out with its
    // type, and a fault in such a load reads zero.
    let address = unsafe { base.add(offset as usize) }.cast::<T>();
    if typed() != 0 {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(address) }
    } else {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: the helper checks the source, and writes no more than the size of `value`.
        unsafe {
            let _ = bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                address.cast(),
            );
            value.assume_init()
        }
    }
}

/// A `struct task_struct`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Task(*const u8);

impl Task {
    /// The task that runs the program.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: both helpers have no preconditions.
        Self(if typed() != 0 {
            unsafe { bpf_get_current_task_btf() }.cast()
        } else {
            unsafe { bpf_get_current_task() as *const u8 }
        })
    }

    /// A task that the kernel passed to the program.
    #[inline(always)]
    pub fn from_argument(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The thread id in the initial pid namespace.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        // SAFETY: a task, and `task_struct.pid`.
        unsafe { load(self.0, off_pid()) }
    }

    /// The thread group id in the initial pid namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        // SAFETY: a task, and `task_struct.tgid`.
        unsafe { load(self.0, off_tgid()) }
    }

    /// The parent, as if nobody traced the task.
    #[inline(always)]
    pub fn real_parent(self) -> Self {
        // SAFETY: a task, and `task_struct.real_parent`.
        Self(unsafe { load(self.0, off_real_parent()) })
    }

    /// Whether the system call that the task is in is a 32-bit one.
    #[inline(always)]
    pub fn in_compat_call(self) -> bool {
        let mask = compat_mask();
        // SAFETY: a task, and a word of its `thread_info`.
        mask != 0 && unsafe { load::<u32>(self.0, off_compat()) } & mask != 0
    }

    /// Whether a seccomp filter (or strict mode) is in force.
    #[inline(always)]
    pub fn is_filtered(self) -> bool {
        // SAFETY: a task, and `task_struct.seccomp.mode`.
        off_seccomp_mode() != 0 && unsafe { load::<u32>(self.0, off_seccomp_mode()) } != 0
    }

    /// The wait status with which the task ends, once it ends.
    #[inline(always)]
    pub fn exit_code(self) -> u32 {
        // SAFETY: a task, and `task_struct.exit_code`.
        unsafe { load(self.0, off_exit_code()) }
    }

    /// The mount namespace.
    #[inline(always)]
    pub fn mount_namespace(self) -> MountNamespace {
        // SAFETY: a task, its `nsproxy`, and that one's `mnt_ns`.
        MountNamespace(unsafe { load(load(self.0, off_nsproxy()), off_mnt_ns()) })
    }

    /// Whether the task is the first of its pid namespace.
    #[inline(always)]
    pub fn is_namespace_init(self) -> bool {
        // SAFETY: a task, its `nsproxy`, the pid namespace that its children get (its own, unless it
        // has changed that one), and that one's `child_reaper`.
        let reaper: *const u8 = unsafe {
            load(
                load(load(self.0, off_nsproxy()), off_pid_ns()),
                off_child_reaper(),
            )
        };
        reaper as u64 == self.0 as u64
    }
}

/// A `struct mnt_namespace`.
#[derive(Clone, Copy)]
pub struct MountNamespace(*const u8);

impl MountNamespace {
    /// The number that no other mount namespace has or had since boot; 0 if the task has none any more.
    #[inline(always)]
    pub fn id(self) -> u64 {
        // SAFETY: a mount namespace, and its id.
        unsafe { load(self.0, off_mnt_ns_id()) }
    }

    /// The inode number, which another namespace may have had before.
    #[inline(always)]
    pub fn inum(self) -> u32 {
        // SAFETY: a mount namespace, and `ns.inum`.
        unsafe { load(self.0, off_mnt_ns_inum()) }
    }
}

/// The `struct pt_regs` of a system call.
#[derive(Clone, Copy)]
pub struct Registers(*const u8);

impl Registers {
    /// Registers that the kernel passed to the program.
    #[inline(always)]
    pub fn from_argument(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// The first argument of a native call.
    #[inline(always)]
    pub fn first_argument(self) -> u64 {
        // SAFETY: registers, and the one with the first argument.
        unsafe { load(self.0, off_regs_arg0()) }
    }

    /// The number of the call.
    #[inline(always)]
    pub fn syscall(self) -> i32 {
        // SAFETY: registers, and the one with the number, of which the kernel too takes the low half
        // (`syscall_get_nr`).
        unsafe { load(self.0, off_regs_syscall()) }
    }
}
