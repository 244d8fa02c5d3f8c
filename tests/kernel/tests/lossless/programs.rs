//! What the kernel says of loaded programs, asked past `spo`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// The ids of the programs that a process holds.
pub(crate) fn held_by(process: u32) -> BTreeSet<u32> {
    let files = fs::read_dir(format!("/proc/{process}/fdinfo")).expect("a process");
    files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The ids of all programs.
pub(crate) fn loaded() -> BTreeSet<u32> {
    spo::bpf::loaded_programs()
        .expect("the kernel lists its programs")
        .into_iter()
        .map(|program| program.id)
        .collect()
}

/// The names of some of them.
pub(crate) fn names(ids: &BTreeSet<u32>) -> BTreeSet<String> {
    let programs = spo::bpf::loaded_programs().expect("the kernel lists its programs");
    programs
        .into_iter()
        .filter(|program| ids.contains(&program.id))
        .map(|program| program.name)
        .collect()
}

/// A program, kept from going away.
pub(crate) struct Program(OwnedFd);

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;

impl Program {
    pub(crate) fn by_id(id: u32) -> Self {
        Self(bpf_file(BPF_PROG_GET_FD_BY_ID, &[u64::from(id)]))
    }

    /// A program that interrupts itself: at every event it prints, which is an event.
    pub(crate) fn that_recurses() -> (Self, [OwnedFd; 2]) {
        const RAW_TRACEPOINT: u64 = 17;
        let instructions: [u64; 7] = [
            // r1 = the text "spo" and a zero
            instruction(0xb7, 1, 0, 0, 0x006f_7073),
            // *(u64 *)(r10 - 8) = r1
            instruction(0x7b, 10, 1, -8, 0),
            // r1 = r10 - 8
            instruction(0xbf, 1, 10, 0, 0),
            instruction(0x07, 1, 0, 0, -8),
            // r2 = 4; bpf_trace_printk(r1, r2)
            instruction(0xb7, 2, 0, 0, 4),
            instruction(0x85, 0, 0, 0, 6),
            // return
            instruction(0x95, 0, 0, 0, 0),
        ];
        let license = c"GPL";
        let words = [
            RAW_TRACEPOINT | (instructions.len() as u64) << 32,
            instructions.as_ptr() as u64,
            license.as_ptr() as u64,
            0,
            0,
            0,
        ];
        let program = bpf_file(BPF_PROG_LOAD, &words);
        let number = u64::from(program.as_raw_fd().unsigned_abs());
        let links = [c"sys_enter", c"bpf_trace_printk"]
            .map(|name| bpf_file(BPF_RAW_TRACEPOINT_OPEN, &[name.as_ptr() as u64, number]));
        (Self(program), links)
    }

    /// `bpf_prog_info.id` and `.recursion_misses`.
    pub(crate) fn id_and_skipped_runs(&self) -> (u32, u64) {
        // 224 bytes of `struct bpf_prog_info` (include/uapi/linux/bpf.h).
        let mut info = [0_u64; 28];
        let number = u64::from(self.0.as_raw_fd().unsigned_abs());
        let size = size_of_val(&info) as u64;
        let result = bpf(
            BPF_OBJ_GET_INFO_BY_FD,
            &[number | size << 32, info.as_mut_ptr() as u64],
        );
        assert!(
            result >= 0,
            "failed to ask for a program: {}",
            io::Error::last_os_error()
        );
        ((info[0] >> 32) as u32, info[26])
    }

    pub(crate) fn skipped_runs(&self) -> u64 {
        self.id_and_skipped_runs().1
    }
}

/// `struct bpf_insn` as a word.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from(code)
        | u64::from(from << 4 | to) << 8
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(value.cast_unsigned()) << 32
}

fn bpf_file(command: libc::c_long, words: &[u64]) -> OwnedFd {
    let number = bpf(command, words);
    assert!(
        number >= 0,
        "bpf({command}): {}",
        io::Error::last_os_error()
    );
    let number = libc::c_int::try_from(number).expect("a descriptor");
    #[expect(unsafe_code, reason = "the kernel hands descriptors out as numbers")]
    // SAFETY: it is new, and nobody else's.
    unsafe {
        OwnedFd::from_raw_fd(number)
    }
}

fn bpf(command: libc::c_long, words: &[u64]) -> libc::c_long {
    #[expect(
        unsafe_code,
        reason = "what spo says is compared with what the kernel says"
    )]
    // SAFETY: `union bpf_attr` begins with these words, and what they point to lives on.
    unsafe {
        libc::syscall(libc::SYS_bpf, command, words.as_ptr(), size_of_val(words))
    }
}
