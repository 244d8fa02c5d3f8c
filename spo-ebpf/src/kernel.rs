//! Reads kernel structures at offsets that user space found in the kernel's BTF.
//!
//! A global holds the offsets; the verifier knows their values while it checks the program, so that a
//! plain load at `pointer + offset` is as good as one that the compiler relocated.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
};
use spo_common::layout::Layout;

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

/// Set by user space. One global for all, so that the programs need its address once.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNSET;

/// A field of the layout.
#[macro_export]
macro_rules! layout {
    ($field:ident) => {
        $crate::kernel::read(&$crate::kernel::layout().$field)
    };
}

/// The layout. To be read by `layout!` only: the compiler takes a plain read for zero.
#[inline(always)]
pub fn layout() -> &'static Layout {
    &LAYOUT
}

/// A field as user space set it.
#[inline(always)]
pub fn read(field: &u32) -> u32 {
    // SAFETY: as for `globals`.
    unsafe { core::ptr::read_volatile(field) }
}

/// How a program reads from a kernel structure. A program holds its code once for each way and the verifier removes
/// the one that `Layout::typed_loads` excludes, so that nothing is decided while it runs.
pub trait Access: Copy {
    /// The task that runs the program.
    fn current() -> *const u8;

    /// Loads a field of a kernel structure.
    ///
    /// # Safety
    ///
    /// `base` points to a kernel structure of the type for which `offset` was found (or is null, which reads as zero).
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T;
}

/// By plain loads from pointers whose type the verifier knows.
#[derive(Clone, Copy)]
pub struct Typed;

/// Through a helper, on kernels before 5.11.
#[derive(Clone, Copy)]
pub struct Probed;

impl Access for Typed {
    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: no preconditions.
        unsafe { bpf_get_current_task_btf() }.cast()
    }

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: the verifier accepts the load only from a pointer that the kernel handed out with its type,
        // and a fault in such a load reads zero.
        unsafe { core::ptr::read_volatile(base.add(offset as usize).cast()) }
    }
}

impl Access for Probed {
    #[inline(always)]
    fn current() -> *const u8 {
        // SAFETY: no preconditions.
        unsafe { bpf_get_current_task() as *const u8 }
    }

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        // SAFETY: the helper checks the source, writes no more than the size of `value`, and
        // that is all zero, or what the kernel holds.
        unsafe {
            let source = base.add(offset as usize).cast();
            let _ = bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source);
            value.assume_init()
        }
    }
}

/// Calls a function that is generic over [`Access`] in the way that the kernel allows.
#[macro_export]
macro_rules! with_access {
    ($function:ident($($argument:expr),*)) => {
        if $crate::layout!(typed_loads) != 0 {
            $function::<$crate::kernel::Typed>($($argument),*)
        } else {
            $function::<$crate::kernel::Probed>($($argument),*)
        }
    };
}

/// A `struct task_struct`.
#[derive(Clone, Copy)]
pub struct Task<A>(*const u8, PhantomData<A>);

impl<A: Access> Task<A> {
    /// The task that runs the program.
    #[inline(always)]
    pub fn current() -> Self {
        Self::from_argument(A::current())
    }

    /// A task that the kernel passed to the program.
    #[inline(always)]
    pub fn from_argument(pointer: *const u8) -> Self {
        Self(pointer, PhantomData)
    }

    /// The thread id in the initial pid namespace.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        // SAFETY: a task, and `task_struct.pid`.
        unsafe { A::load(self.0, layout!(task_pid)) }
    }

    /// The thread group id in the initial pid namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        // SAFETY: a task, and `task_struct.tgid`.
        unsafe { A::load(self.0, layout!(task_tgid)) }
    }

    /// The parent, as if nobody traced the task.
    #[inline(always)]
    pub fn real_parent(self) -> Self {
        // SAFETY: a task, and `task_struct.real_parent`.
        Self::from_argument(unsafe { A::load(self.0, layout!(task_real_parent)) })
    }

    /// Whether the system call that the task is in is a 32-bit one.
    #[inline(always)]
    pub fn in_compat_call(self) -> bool {
        let mask = layout!(compat_mask);
        // SAFETY: a task, and a word of its `thread_info`.
        mask != 0 && unsafe { A::load::<u32>(self.0, layout!(task_compat)) } & mask != 0
    }

    /// Whether a seccomp filter (or strict mode) is in force.
    #[inline(always)]
    pub fn is_filtered(self) -> bool {
        let offset = layout!(task_seccomp_mode);
        // SAFETY: a task, and `task_struct.seccomp.mode`.
        offset != 0 && unsafe { A::load::<u32>(self.0, offset) } != 0
    }

    /// The wait status with which the task ends, once it ends.
    #[inline(always)]
    pub fn exit_code(self) -> u32 {
        // SAFETY: a task, and `task_struct.exit_code`.
        unsafe { A::load(self.0, layout!(task_exit_code)) }
    }

    /// The credentials that the task has by itself, not those that it acts with for a while: where the kernel keeps them.
    #[inline(always)]
    pub fn real_credentials(self) -> u64 {
        self.credentials() as u64
    }

    /// The user namespace of these credentials: where the kernel keeps it.
    #[inline(always)]
    pub fn user_namespace(self) -> u64 {
        // SAFETY: credentials, and `cred.user_ns`.
        unsafe { A::load::<*const u8>(self.credentials(), layout!(cred_user_ns)) as u64 }
    }

    #[inline(always)]
    fn credentials(self) -> *const u8 {
        // SAFETY: a task, and `task_struct.real_cred`.
        unsafe { A::load(self.0, layout!(task_real_cred)) }
    }

    /// The structure itself.
    #[inline(always)]
    pub fn pointer(self) -> *const u8 {
        self.0
    }

    /// The mount namespace.
    #[inline(always)]
    pub fn mount_namespace(self) -> MountNamespace<A> {
        // SAFETY: a task, its `nsproxy`, and that one's `mnt_ns`.
        let pointer = unsafe { A::load(self.namespaces(), layout!(nsproxy_mnt_ns)) };
        MountNamespace(pointer, PhantomData)
    }

    /// Whether the task is the first of its pid namespace.
    #[inline(always)]
    pub fn is_namespace_init(self) -> bool {
        // SAFETY: the pid namespace that the task's children get (its own, unless it has changed that one), and that one's
        // `child_reaper`.
        let reaper: *const u8 = unsafe {
            let namespace = A::load(self.namespaces(), layout!(nsproxy_pid_ns));
            A::load(namespace, layout!(pid_ns_child_reaper))
        };
        reaper as u64 == self.0 as u64
    }

    /// The `struct nsproxy`.
    #[inline(always)]
    fn namespaces(self) -> *const u8 {
        // SAFETY: a task, and `task_struct.nsproxy`.
        unsafe { A::load(self.0, layout!(task_nsproxy)) }
    }
}

/// A `struct mnt_namespace`.
#[derive(Clone, Copy)]
pub struct MountNamespace<A>(*const u8, PhantomData<A>);

impl<A: Access> MountNamespace<A> {
    /// The number that no other mount namespace has or had since boot; 0 if the task has none any more.
    #[inline(always)]
    pub fn id(self) -> u64 {
        // SAFETY: a mount namespace, and its id.
        unsafe { A::load(self.0, layout!(mnt_ns_id)) }
    }

    /// Where the kernel keeps it.
    #[inline(always)]
    pub fn pointer(self) -> u64 {
        self.0 as u64
    }

    /// The inode number, which another namespace may have had before.
    #[inline(always)]
    pub fn inum(self) -> u32 {
        // SAFETY: a mount namespace, and `ns.inum`.
        unsafe { A::load(self.0, layout!(mnt_ns_inum)) }
    }
}

/// Whether the namespace with an id, which was at `pointer` once, is there still: nobody else has its id, and what is freed has no
/// references.
#[inline(always)]
pub fn is_namespace_alive(pointer: u64, id: u64) -> bool {
    let pointer = pointer as *const u8;
    // SAFETY: the helper checks what it reads, and what is read is compared with what it must be.
    let (found, references) = unsafe {
        (
            Probed::load::<u64>(pointer, layout!(mnt_ns_id)),
            Probed::load::<u32>(pointer, layout!(mnt_ns_references)),
        )
    };
    found == id && references != 0
}

/// The `struct pt_regs` of a system call.
#[derive(Clone, Copy)]
pub struct Registers<A>(*const u8, PhantomData<A>);

impl<A: Access> Registers<A> {
    /// Registers that the kernel passed to the program.
    #[inline(always)]
    pub fn from_argument(pointer: *const u8) -> Self {
        Self(pointer, PhantomData)
    }

    /// The first argument of a native call.
    #[inline(always)]
    pub fn first_argument(self) -> u64 {
        // SAFETY: registers, and the one with the first argument.
        unsafe { A::load(self.0, layout!(regs_arg0)) }
    }

    /// The number of the call.
    #[inline(always)]
    pub fn syscall(self) -> i32 {
        // SAFETY: registers, and the one with the number, of which the kernel too takes the low half
        // (`syscall_get_nr`).
        unsafe { A::load(self.0, layout!(regs_syscall)) }
    }
}
