//! The empty program that benchmarks compare the recorder with (`spo-ebpf/src/bin/empty.rs`).

use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Ebpf, EbpfLoader};

use super::kernel::Kernel;
use super::recorder::{attach, load_error, program, program_error};
use super::{Error, objects};

/// An attached program that does nothing. Dropping it detaches the program.
pub struct Baseline {
    _link: BtfTracePointLink,
    _ebpf: Ebpf,
}

impl Baseline {
    /// Attaches it at syscall entry, as the recorder's program is.
    pub fn start(kernel: &Kernel) -> Result<Self, Error> {
        objects::check()?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&kernel.btf))
            .load(objects::EMPTY)
            .map_err(load_error)?;
        let empty: &mut BtfTracePoint = program(&mut ebpf, "empty")?;
        empty
            .load("sys_enter", &kernel.btf)
            .map_err(program_error("empty"))?;
        Ok(Self {
            _link: attach(&mut ebpf, "empty")?,
            _ebpf: ebpf,
        })
    }
}
