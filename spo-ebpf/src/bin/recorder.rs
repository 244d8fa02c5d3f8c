//! The recorder: which system calls does a subject make?
//!
//! `sys_enter` finds the subject of the current task and the byte of the call in the subject's
//! set; a byte that says "seen" ends the program there. Two ways lead to a subject:
//!
//! - by task (`BY_NAMESPACE` = 0): the command that was started for the recording, and what descends from it;
//! - by mount namespace: containers.
//!
//! Everything that is not recorded is a subject too, whose set nobody reads: one path for all.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::helpers::bpf_seq_write;
use aya_ebpf::macros::{btf_tracepoint, fexit, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use spo_common::counter::Counter;
use spo_common::event::{EventKind, FirstSight};
use spo_common::namespace::Place;
use spo_common::subject::{ARMED, FIRST, SEEN, Set, UNRECORDED, UNSEEN, WATCHED};
use spo_common::unnamed::{UNNAMED as UNNAMED_ENTRIES, UnnamedKey};
use spo_ebpf::count::count;
use spo_ebpf::emit;
use spo_ebpf::kernel::{Access, Registers, Task, is_namespace_alive};
use spo_ebpf::subjects::{self, SUBJECTS};
use spo_ebpf::syscall::Syscall;
use spo_ebpf::word::{Word, increment};
use spo_ebpf::{capabilities, namespaces, tasks, with_access};

spo_ebpf::globals! {
    by_namespace = BY_NAMESPACE: u32;
    /// What the held command passes to the call `NR_MARK` to be recognised.
    nonce = NONCE: u32;
    nr_mark = NR_MARK: u32;
    nr_execve = NR_EXECVE: u32;
    nr_execveat = NR_EXECVEAT: u32;
    nr_unshare = NR_UNSHARE: u32;
    nr_setns = NR_SETNS: u32;
    nr_compat_unshare = NR_COMPAT_UNSHARE: u32;
    nr_compat_setns = NR_COMPAT_SETNS: u32;
    /// The process whose tree a recording joins, in the initial pid namespace.
    seed_tgid = SEED_TGID: u32;
}

/// 1 once a task has announced itself: there is one command, and nobody else joins it.
static ANNOUNCED: Word = Word::new(0);

/// One set a subject.
#[map]
static SETS: Array<Set> = Array::with_max_entries(4, 0);

#[map]
static UNNAMED: HashMap<UnnamedKey, u64> = HashMap::with_max_entries(UNNAMED_ENTRIES, 0);

/// `trace_sys_enter(struct pt_regs *regs, long id)`.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    with_access!(enter(&ctx))
}

#[inline(always)]
fn enter<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::<A>::current();
    let call = Syscall::of(task, ctx.arg::<i64>(1) as i32);
    let subject = if by_namespace() != 0 {
        namespaces::subject_of(task)
    } else {
        tasks::get(task.tid())
    };
    let Some(index) = call.index() else {
        return unnamed(subject, call);
    };
    let Some(set) = SETS.get_ptr_mut(subject) else {
        count(Counter::Unresolved);
        return 0;
    };
    // SAFETY: `index` is within a set.
    let byte = unsafe { set.cast::<u8>().add(index) };
    // SAFETY: `byte` is within the map.
    let state = unsafe { core::ptr::read_volatile(byte) };
    if state == SEEN {
        return 0;
    }
    let next = if needs_every_call(subject, call) {
        WATCHED
    } else {
        SEEN
    };
    let subject = if subject == UNRECORDED || by_namespace() != 0 {
        watch(task, subject, call, Registers::from_argument(ctx.arg(0)));
        subject
    } else if subject == ARMED && (call.is_native(nr_execve()) || call.is_native(nr_execveat())) {
        return begin(task, call, index);
    } else {
        subject
    };
    // SAFETY: `byte` is within the map. Every thread stores the same value.
    unsafe { core::ptr::write_volatile(byte, next) };
    if state == UNSEEN && subject > ARMED {
        first_sight(task, subject, call);
    }
    0
}

/// Whether the program must see each of these calls, not just the first.
#[inline(always)]
fn needs_every_call(subject: u32, call: Syscall) -> bool {
    if by_namespace() != 0 {
        return changes_namespace(call).is_some();
    }
    match subject {
        UNRECORDED => call.is_native(nr_mark()),
        ARMED => call.is_native(nr_execve()) || call.is_native(nr_execveat()),
        _ => false,
    }
}

/// `Some(true)` for a call that may make a mount namespace, `Some(false)` for one that may enter another's.
#[inline(always)]
fn changes_namespace(call: Syscall) -> Option<bool> {
    let compat = call.abi == spo_common::subject::Abi::Compat as u32;
    let number = call.number as u32;
    let (unshare, setns) = if compat {
        (nr_compat_unshare(), nr_compat_setns())
    } else {
        (nr_unshare(), nr_setns())
    };
    if number == unshare {
        Some(true)
    } else if number == setns {
        Some(false)
    } else {
        None
    }
}

/// Notes what a later call will be judged by.
#[inline(always)]
fn watch<A: Access>(task: Task<A>, subject: u32, call: Syscall, registers: Registers<A>) {
    if by_namespace() != 0 {
        if let Some(creates) = changes_namespace(call) {
            namespaces::on_change(task, subject, creates);
        }
    } else if call.is_native(nr_mark())
        && registers.first_argument() as u32 == nonce()
        && ANNOUNCED.load() == 0
    {
        ANNOUNCED.store(1);
        tasks::set(task.tid(), ARMED);
        count(Counter::Armed);
    }
}

/// The held command calls `execve`: this is its first recorded call.
#[inline(always)]
fn begin<A: Access>(task: Task<A>, call: Syscall, index: usize) -> i32 {
    tasks::set(task.tid(), FIRST);
    if let Some(set) = SETS.get_ptr_mut(FIRST) {
        // SAFETY: `index` is within a set.
        unsafe { core::ptr::write_volatile(set.cast::<u8>().add(index), SEEN) };
        first_sight(task, FIRST, call);
    }
    0
}

#[inline(never)]
fn first_sight<A: Access>(task: Task<A>, subject: u32, call: Syscall) {
    let time_ns = emit::now();
    if let Some(known) = SUBJECTS.get_ptr_mut(subject) {
        // SAFETY: within the map; each field is stored at once, and any thread's value is right.
        unsafe {
            if (*known).first_ns == 0 {
                (*known).first_ns = time_ns;
                (*known).tgid = task.tgid();
                (*known).comm = emit::comm();
            }
            (*known).last_new_ns = time_ns;
        }
    }
    if task.is_filtered() {
        subjects::set_filtered(subject);
    }
    count(Counter::FirstSights);
    emit::emit(FirstSight {
        header: emit::header::<FirstSight>(EventKind::FIRST_SIGHT, time_ns),
        subject,
        abi: call.abi,
        number: call.number,
        tgid: task.tgid(),
        tid: task.tid(),
        reserved: 0,
        comm: emit::comm(),
    });
}

/// A number that no set has room for.
#[inline(never)]
fn unnamed(subject: u32, call: Syscall) -> i32 {
    if subject <= ARMED {
        return 0;
    }
    let key = UnnamedKey {
        subject,
        abi: call.abi,
        number: call.number,
        reserved: 0,
    };
    if let Some(times) = UNNAMED.get_ptr_mut(key) {
        // SAFETY: a value of the map.
        unsafe { increment(times) };
    } else if UNNAMED.insert(key, 1, 0).is_err() {
        count(Counter::UnnamedFull);
    }
    0
}

/// `trace_sched_process_fork(struct task_struct *parent, struct task_struct *child)`, before the child runs.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    with_access!(fork(&ctx))
}

#[inline(always)]
fn fork<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let parent = Task::<A>::from_argument(ctx.arg(0));
    let child = Task::<A>::from_argument(ctx.arg(1));
    if by_namespace() != 0 {
        namespaces::on_fork(parent, child);
    } else {
        let subject = tasks::get(parent.tid());
        tasks::set(
            child.tid(),
            if subject == ARMED {
                UNRECORDED
            } else {
                subject
            },
        );
    }
    0
}

/// `trace_sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`, after success.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    with_access!(exec(&ctx))
}

#[inline(always)]
fn exec<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::<A>::from_argument(ctx.arg(0));
    // In a tree there is nothing to do: a thread that is not the leader takes the leader's id (`de_thread`), and with
    // it the leader's word, which is there still and says the same. Its own id may be another task's by now.
    if by_namespace() != 0 {
        namespaces::on_exec(task);
    }
    0
}

/// `trace_sched_process_exit(struct task_struct *p, ...)`.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    with_access!(exit(&ctx))
}

/// A task that came under a filter after its last new call has made no first sight since.
#[inline(always)]
fn exit<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::<A>::from_argument(ctx.arg(0));
    if by_namespace() != 0 {
        namespaces::on_exit(task);
    }
    if !task.is_filtered() {
        return 0;
    }
    let subject = if by_namespace() != 0 {
        namespaces::subject_of(task)
    } else {
        tasks::get(task.tid())
    };
    if subject > ARMED {
        subjects::set_filtered(subject);
    }
    0
}

/// `CAP_OPT_NOAUDIT`, `include/linux/security.h`: it is asked whether a capability is there, and mostly nothing depends on
/// it. `seccomp_prepare_filter` does refuse without CAP_SYS_ADMIN where `no_new_privs` is not set.
const NOAUDIT: u32 = 1 << 1;

/// `int cap_capable(const struct cred *cred, struct user_namespace *target_ns, int cap, unsigned int opts)`, and what it
/// returned.
#[fexit(function = "cap_capable")]
pub fn checked(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(4) == 0 && ctx.arg::<u32>(3) & NOAUDIT == 0 {
        let (credentials, user_namespace) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
        with_access!(granted(credentials, user_namespace, ctx.arg::<u32>(2)));
    }
    0
}

/// `trace_cap_capable(const struct cred *cred, struct user_namespace *target_ns, const struct user_namespace *capable_ns, int
/// cap, int ret)`: the same, without the options.
#[btf_tracepoint(function = "cap_capable")]
pub fn cap_capable(ctx: BtfTracePointContext) -> i32 {
    if ctx.arg::<i32>(4) == 0 {
        let (credentials, user_namespace) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
        with_access!(granted(credentials, user_namespace, ctx.arg::<u32>(3)));
    }
    0
}

#[inline(always)]
fn granted<A: Access>(credentials: u64, user_namespace: u64, capability: u32) {
    capabilities::granted::<A>(credentials, user_namespace, capability);
}

/// `struct bpf_iter__task`: every task of the system, once a read. Adds the tree below `SEED_TGID`, and writes down the
/// process id of each task that is in it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn tree(ctx: *mut core::ffi::c_void) -> i32 {
    // SAFETY: the context holds two pointers: the iteration, and the task or null at the end. An iteration begins with
    // its file (`struct bpf_iter_meta`).
    let (task, file) = unsafe {
        let pointers = ctx.cast::<*const u8>();
        let iteration = (*pointers).cast::<*mut core::ffi::c_void>();
        (*pointers.add(1), *iteration)
    };
    if task.is_null() {
        return 0;
    }
    let Some(tgid) = with_access!(member(task)) else {
        return 0;
    };
    // SAFETY: the iteration's file, and four bytes. A full buffer makes the kernel run this task again.
    unsafe { bpf_seq_write(file.cast(), core::ptr::from_ref(&tgid).cast(), 4) };
    0
}

/// The process of a task that belongs to the tree.
#[inline(always)]
fn member<A: Access>(task: *const u8) -> Option<u32> {
    let task = Task::<A>::from_argument(task);
    let tid = task.tid();
    if tasks::get(tid) == FIRST {
        return Some(task.tgid());
    }
    // A parent's threads share one entry, the leader's, whichever of them forked.
    if task.tgid() == seed_tgid() || tasks::get(task.real_parent().tgid()) == FIRST {
        tasks::set(tid, FIRST);
        count(Counter::Seeded);
        return Some(task.tgid());
    }
    None
}

/// `struct bpf_iter__bpf_map_elem`: every place of a namespace, once a read. Writes down the id of each namespace that is gone. At
/// the end, words in front of the map lose their force.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
pub fn places(ctx: *mut core::ffi::c_void) -> i32 {
    // SAFETY: the context holds four pointers: the iteration, the map, and key and value or null at the end. An iteration begins
    // with its file.
    unsafe {
        let pointers = ctx.cast::<*const u8>();
        let iteration = (*pointers).cast::<*mut core::ffi::c_void>();
        let (file, key, value) = (*iteration, *pointers.add(2), *pointers.add(3));
        if key.is_null() || value.is_null() {
            namespaces::advance();
            return 0;
        }
        let id = *key.cast::<u64>();
        if !is_namespace_alive((*value.cast::<Place>()).pointer, id) {
            bpf_seq_write(file.cast(), core::ptr::from_ref(&id).cast(), 8);
        }
    }
    0
}

#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
