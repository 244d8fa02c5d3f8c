//! What the programs must know of the running kernel: where its structures hold what, and
//! which helpers it has. Found by looking, never by version.

use aya::EbpfLoader;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use btf::btf::{Btf, Struct, Type};
use spo_common::layout::Layout;

use super::{Error, memory};

/// Where the kernel describes its types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel, as far as the programs care.
#[derive(Debug)]
pub struct Kernel {
    /// For the loader: program attachment needs it too.
    pub(super) btf: aya::Btf,
    /// For the programs.
    pub(super) layout: Layout,
}

/// A field of the layout, and the members whose offset it holds, from the newest kernel's name to the oldest's:
/// "type:path".
type Member = (fn(&mut Layout) -> &mut u32, &'static [&'static str]);

/// Members without which nothing can be recorded.
const REQUIRED: &[Member] = &[
    (|layout| &mut layout.task_pid, &["task_struct:pid"]),
    (|layout| &mut layout.task_tgid, &["task_struct:tgid"]),
    (
        |layout| &mut layout.task_real_parent,
        &["task_struct:real_parent"],
    ),
    (|layout| &mut layout.task_nsproxy, &["task_struct:nsproxy"]),
    (
        |layout| &mut layout.task_real_cred,
        &["task_struct:real_cred"],
    ),
    (|layout| &mut layout.cred_user_ns, &["cred:user_ns"]),
    (
        |layout| &mut layout.task_exit_code,
        &["task_struct:exit_code"],
    ),
    (|layout| &mut layout.nsproxy_mnt_ns, &["nsproxy:mnt_ns"]),
    (
        |layout| &mut layout.nsproxy_pid_ns,
        &["nsproxy:pid_ns_for_children"],
    ),
    (
        |layout| &mut layout.pid_ns_child_reaper,
        &["pid_namespace:child_reaper"],
    ),
    // The number that is not used twice: every namespace has one since 6.18, mount namespaces since 3.8.
    (
        |layout| &mut layout.mnt_ns_id,
        &["mnt_namespace:ns.ns_id", "mnt_namespace:seq"],
    ),
    (|layout| &mut layout.mnt_ns_inum, &["mnt_namespace:ns.inum"]),
    (|layout| &mut layout.regs_arg0, REGS_ARG0),
    (|layout| &mut layout.regs_syscall, REGS_SYSCALL),
];

/// Members that a kernel's configuration may leave out; zero then.
const OPTIONAL: &[Member] = &[
    (
        |layout| &mut layout.task_seccomp_mode,
        &["task_struct:seccomp.mode"],
    ),
    (|layout| &mut layout.task_compat, COMPAT),
    (|layout| &mut layout.task_cgroups, &["task_struct:cgroups"]),
    (|layout| &mut layout.task_mm, &["task_struct:mm"]),
    (|layout| &mut layout.mm_arg_start, &["mm_struct:arg_start"]),
    (|layout| &mut layout.mm_arg_end, &["mm_struct:arg_end"]),
    (|layout| &mut layout.css_set_dfl_cgrp, &["css_set:dfl_cgrp"]),
    (
        |layout| &mut layout.css_cgroup,
        &["cgroup_subsys_state:cgroup"],
    ),
    (|layout| &mut layout.cgroup_kn, &["cgroup:kn"]),
    (
        |layout| &mut layout.kernfs_parent,
        &["kernfs_node:__parent", "kernfs_node:parent"],
    ),
    (|layout| &mut layout.kernfs_name, &["kernfs_node:name"]),
    (
        |layout| &mut layout.task_seccomp_filter,
        &["task_struct:seccomp.filter"],
    ),
    (
        |layout| &mut layout.seccomp_filter_prev,
        &["seccomp_filter:prev"],
    ),
    (
        |layout| &mut layout.seccomp_filter_prog,
        &["seccomp_filter:prog"],
    ),
    (
        |layout| &mut layout.seccomp_filter_log,
        &["seccomp_filter:log"],
    ),
    (
        |layout| &mut layout.bpf_prog_orig_prog,
        &["bpf_prog:orig_prog"],
    ),
    (
        |layout| &mut layout.sock_fprog_len,
        &["sock_fprog_kern:len"],
    ),
    (
        |layout| &mut layout.sock_fprog_filter,
        &["sock_fprog_kern:filter"],
    ),
    (|layout| &mut layout.task_flags, &["task_struct:flags"]),
    (
        |layout| &mut layout.task_start,
        &["task_struct:start_boottime", "task_struct:real_start_time"],
    ),
];

/// The number of references to a mount namespace.
const REFERENCES: &[&str] = &[
    "mnt_namespace:ns.__ns_ref",
    "mnt_namespace:ns.count",
    "mnt_namespace:count",
];

/// Controllers into whose hierarchies of version 1 runtimes put each container, in the kernel's `enum cgroup_subsys_id`. One
/// that the kernel lacks has no number there.
const CONTROLLERS: &[&str] = &[
    "pids_cgrp_id",
    "memory_cgrp_id",
    "cpu_cgrp_id",
    "devices_cgrp_id",
];

#[cfg(target_arch = "x86_64")]
mod arch {
    pub(super) const REGS_ARG0: &[&str] = &["pt_regs:di"];
    pub(super) const REGS_SYSCALL: &[&str] = &["pt_regs:orig_ax"];
    pub(super) const COMPAT: &[&str] = &["task_struct:thread_info.status"];
    /// `TS_COMPAT`, `arch/x86/include/asm/thread_info.h`. Also set during `int $0x80` of a 64-bit program.
    pub(super) const COMPAT_MASK: u32 = 0x2;
    /// `__X32_SYSCALL_BIT`, `arch/x86/include/uapi/asm/unistd.h`.
    pub(super) const X32_BIT: u32 = 0x4000_0000;
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub(super) const REGS_ARG0: &[&str] = &["pt_regs:orig_x0"];
    pub(super) const REGS_SYSCALL: &[&str] = &["pt_regs:syscallno"];
    pub(super) const COMPAT: &[&str] = &["task_struct:thread_info.flags"];
    /// `_TIF_32BIT`, `arch/arm64/include/asm/thread_info.h`.
    pub(super) const COMPAT_MASK: u32 = 1 << 22;
    pub(super) const X32_BIT: u32 = 0;
}

#[cfg(target_arch = "riscv64")]
mod arch {
    pub(super) const REGS_ARG0: &[&str] = &["pt_regs:orig_a0"];
    pub(super) const REGS_SYSCALL: &[&str] = &["pt_regs:a7"];
    pub(super) const COMPAT: &[&str] = &[];
    pub(super) const COMPAT_MASK: u32 = 0;
    pub(super) const X32_BIT: u32 = 0;
}

use arch::{COMPAT, COMPAT_MASK, REGS_ARG0, REGS_SYSCALL, X32_BIT};

impl Kernel {
    /// Looks at the running kernel.
    pub fn probe() -> Result<Self, Error> {
        // Each of the two takes dozens of megabytes: one after the other.
        let layout = layout()?;
        memory::give_back();
        let btf = aya::Btf::from_sys_fs().map_err(|source| Error::Btf {
            path: BTF_PATH,
            source: Box::new(source),
        })?;
        Ok(Self { btf, layout })
    }

    /// Whether the programs read kernel structures by plain loads, or through a helper that costs more.
    pub fn typed_loads(&self) -> bool {
        self.layout.typed_loads != 0
    }

    /// Refuses a kernel whose tasks do not tell their cgroups (no container would have a name), or that does not tell which mount
    /// namespaces are gone.
    pub(super) fn tells_containers(&self) -> Result<(), Error> {
        if self.layout.task_cgroups == 0 {
            return Err(Error::Member("task_struct:cgroups".to_owned()));
        }
        if self.layout.mnt_ns_references == u32::MAX {
            return Err(Error::Member(REFERENCES.join(" or ")));
        }
        Ok(())
    }

    /// Refuses a kernel whose tasks do not tell their filters. (The length of a program is at the beginning of its structure.)
    pub(super) fn tells_filters(&self) -> Result<(), Error> {
        let layout = &self.layout;
        let needed = [
            (layout.task_seccomp_filter, "task_struct:seccomp.filter"),
            (layout.seccomp_filter_prev, "seccomp_filter:prev"),
            (layout.seccomp_filter_prog, "seccomp_filter:prog"),
            (layout.seccomp_filter_log, "seccomp_filter:log"),
            (layout.bpf_prog_orig_prog, "bpf_prog:orig_prog"),
            (layout.sock_fprog_filter, "sock_fprog_kern:filter"),
            (layout.task_flags, "task_struct:flags"),
            (layout.task_start, "task_struct:start_boottime"),
        ];
        match needed.into_iter().find(|(offset, _)| *offset == 0) {
            Some((_, member)) => Err(Error::Member(member.to_owned())),
            None => Ok(()),
        }
    }

    /// A loader of objects for this kernel.
    pub(super) fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&self.btf))
            .override_global("LAYOUT", &self.layout, true);
        loader
    }
}

/// Globals of an object by name.
pub(super) type Globals = Vec<(&'static str, u32)>;

/// Sets globals where the object has them: one that no program uses is not in the object.
pub(super) fn set_globals<'a>(loader: &mut EbpfLoader<'a>, globals: &'a Globals) {
    for (name, value) in globals {
        loader.override_global(name, value, false);
    }
}

/// What the programs must know.
fn layout() -> Result<Layout, Error> {
    let types = Btf::from_file(BTF_PATH).map_err(|source| Error::Btf {
        path: BTF_PATH,
        source: Box::new(source),
    })?;
    let types = Types::new(&types);
    let mut layout = Layout {
        typed_loads: u32::from(has_helper(BpfHelper::BPF_FUNC_get_current_task_btf)?),
        task_regs: u32::from(has_helper(BpfHelper::BPF_FUNC_task_pt_regs)?),
        x32_bit: X32_BIT,
        ..Layout::UNSET
    };
    for (field, members) in REQUIRED {
        *field(&mut layout) = types
            .first_of(members)
            .ok_or_else(|| Error::Member(members.join(" or ")))?;
    }
    for (field, members) in OPTIONAL {
        *field(&mut layout) = types.first_of(members).unwrap_or(0);
    }
    layout.mnt_ns_references = types.first_of(REFERENCES).unwrap_or(u32::MAX);
    layout.css_set_controller = types.controller().unwrap_or(0);
    if layout.task_compat != 0 {
        layout.compat_mask = COMPAT_MASK;
    }
    Ok(layout)
}

/// The kernel offers the same helpers to the type that our programs have (`tp_btf`) and to raw tracepoints, which
/// need no target and so can be tried (`tracing_prog_func_proto`, `kernel/trace/bpf_trace.c`).
fn has_helper(helper: BpfHelper) -> Result<bool, Error> {
    is_helper_supported(ProgramType::RawTracePoint, helper).map_err(|error| {
        if super::error::is_permission(&error) {
            Error::Permission
        } else {
            Error::Program {
                program: "(probe)",
                source: Box::new(error),
            }
        }
    })
}

/// The structures of the kernel by name.
struct Types<'a> {
    btf: &'a Btf,
}

impl<'a> Types<'a> {
    fn new(btf: &'a Btf) -> Self {
        Self { btf }
    }

    /// The offset in bytes of the first member in the list that exists.
    fn first_of(&self, members: &[&str]) -> Option<u32> {
        members.iter().find_map(|member| {
            let (structure, path) = member.split_once(':')?;
            let structure = self.structure(structure)?;
            self.offset_bits(structure, path).map(|bits| bits / 8)
        })
    }

    /// The definition: a name may also stand for a typedef or a declaration.
    fn structure(&self, name: &str) -> Option<&'a Struct> {
        self.btf
            .get_types()
            .iter()
            .find_map(|candidate| match &candidate.base_type {
                Type::Struct(structure)
                    if candidate.num_refs == 0
                        && candidate.name.as_deref() == Some(name)
                        && !structure.members.is_empty() =>
                {
                    Some(structure)
                }
                _ => None,
            })
    }

    fn offset_bits(&self, structure: &'a Struct, path: &str) -> Option<u32> {
        let (first, rest) = path
            .split_once('.')
            .map_or((path, None), |(first, rest)| (first, Some(rest)));
        for member in &structure.members {
            match member.name.as_deref() {
                Some(name) if name == first => {
                    let Some(rest) = rest else {
                        return Some(member.offset);
                    };
                    let inner = self.members_of(member.type_id)?;
                    return self
                        .offset_bits(inner, rest)
                        .map(|bits| member.offset + bits);
                }
                // An anonymous structure or union: its members are as good as the outer one's own.
                None | Some("") => {
                    if let Some(inner) = self.members_of(member.type_id)
                        && let Some(bits) = self.offset_bits(inner, path)
                    {
                        return Some(member.offset + bits);
                    }
                }
                Some(_) => {}
            }
        }
        None
    }

    /// The offset of the element of `css_set.subsys` for the first controller that the kernel has.
    fn controller(&self) -> Option<u32> {
        let entries =
            self.btf
                .get_types()
                .iter()
                .find_map(|candidate| match &candidate.base_type {
                    Type::Enum32(numbers)
                        if candidate.name.as_deref() == Some("cgroup_subsys_id") =>
                    {
                        Some(&numbers.entries)
                    }
                    _ => None,
                })?;
        let number = CONTROLLERS.iter().find_map(|name| {
            let mut entries = entries.iter();
            entries.find(|entry| entry.name.as_deref() == Some(*name))
        })?;
        let first = self.first_of(&["css_set:subsys"])?;
        let size = u32::try_from(size_of::<u64>()).ok()?;
        Some(first + u32::try_from(number.value).ok()? * size)
    }

    fn members_of(&self, type_id: u32) -> Option<&'a Struct> {
        let inner = self.btf.get_type_by_id(type_id).ok()?;
        match &inner.base_type {
            Type::Struct(structure) | Type::Union(structure) if inner.num_refs == 0 => {
                Some(structure)
            }
            _ => None,
        }
    }
}
