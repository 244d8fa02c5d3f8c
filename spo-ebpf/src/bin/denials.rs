//! Which system calls were answered before they were made?
//!
//! A seccomp filter comes before the hook at syscall entry: a call that it refuses leaves the kernel
//! (`sys_exit`) without having entered it (`sys_enter`), or its task dies of SIGSYS. Watched are
//! the task that called `NR_MARK` with the nonce, and what descends from it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use spo_common::counter::Counter;
use spo_common::event::{Denial, EventKind};
use spo_ebpf::count::count;
use spo_ebpf::kernel::{Access, Registers, Task};
use spo_ebpf::syscall::Syscall;
use spo_ebpf::word::Word;
use spo_ebpf::{emit, layout, tasks, with_access};

spo_ebpf::globals! {
    nonce = NONCE: u32;
    nr_mark = NR_MARK: u32;
}

/// 1 once a task has announced itself: there is one command, and nobody else joins it.
static ANNOUNCED: Word = Word::new(0);

/// Not watched.
const UNWATCHED: u32 = 0;
/// In user space, as far as is known.
const OUTSIDE: u32 = 1;
/// In a system call (or on its first way out, after a fork).
const INSIDE: u32 = 2;
/// In user space after a denial that was reported.
const REPORTED: u32 = 3;

const SIGSYS: u32 = 31;

/// `trace_sys_enter(struct pt_regs *regs, long id)`.
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    with_access!(enter(&ctx))
}

#[inline(always)]
fn enter<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::<A>::current();
    let tid = task.tid();
    if tasks::get(tid) != UNWATCHED {
        tasks::set(tid, INSIDE);
        return 0;
    }
    let number = ctx.arg::<i64>(1) as i32;
    if number as u32 == nr_mark()
        && Registers::<A>::from_argument(ctx.arg(0)).first_argument() as u32 == nonce()
        && Syscall::of(task, number).is_native(nr_mark())
        && ANNOUNCED.load() == 0
    {
        ANNOUNCED.store(1);
        tasks::set(tid, INSIDE);
        count(Counter::Armed);
    }
    0
}

/// `trace_sys_exit(struct pt_regs *regs, long ret)`.
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    with_access!(leave(&ctx))
}

#[inline(always)]
fn leave<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::<A>::current();
    let tid = task.tid();
    match tasks::get(tid) {
        UNWATCHED => {}
        INSIDE => tasks::set(tid, OUTSIDE),
        _ => {
            tasks::set(tid, REPORTED);
            let number = Registers::<A>::from_argument(ctx.arg(0)).syscall();
            report(task, Syscall::of(task, number), ctx.arg(1), 0);
        }
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
    let watched = tasks::get(Task::<A>::from_argument(ctx.arg(0)).tid()) != UNWATCHED;
    // A child leaves a call that only its parent entered.
    tasks::set(
        Task::<A>::from_argument(ctx.arg(1)).tid(),
        if watched { INSIDE } else { UNWATCHED },
    );
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
    // A thread that is not the leader takes the leader's id (`de_thread`), and with it the leader's word, which says where
    // that one was when it was ended. This task is in `execve`.
    if tasks::get(task.tid()) != UNWATCHED {
        tasks::set(task.tid(), INSIDE);
    }
    0
}

/// `trace_sched_process_exit(struct task_struct *p, ...)`: some actions kill the task on the spot.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    with_access!(exit(&ctx))
}

#[inline(always)]
fn exit<A: Access>(ctx: &BtfTracePointContext) -> i32 {
    let argument: *const u8 = ctx.arg(0);
    let task = Task::<A>::from_argument(argument);
    if tasks::get(task.tid()) == OUTSIDE
        && task.exit_code() & 0x7f == SIGSYS
        && layout!(task_regs) != 0
    {
        // SAFETY: the helper takes a task.
        let registers = unsafe { bpf_task_pt_regs(argument as *mut _) };
        let number = Registers::<A>::from_argument(registers as *const u8).syscall();
        // Another thread that dies with it may have been interrupted in user space: no number.
        if number >= 0 {
            report(task, Syscall::of(task, number), 0, 1);
        }
    }
    0
}

#[inline(always)]
fn report<A: Access>(task: Task<A>, call: Syscall, result: i64, killed: u32) {
    emit::emit(Denial {
        header: emit::header::<Denial>(EventKind::DENIAL, emit::now()),
        result,
        abi: call.abi,
        number: call.number,
        tgid: task.tgid(),
        tid: task.tid(),
        killed,
        reserved: 0,
        comm: emit::comm(),
    });
}

#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
