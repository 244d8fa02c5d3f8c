//! Sees which capabilities are used.

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, FExit, ProgramError};
use spo_common::capabilities::{Capabilities, USED};

use super::kernel::Kernel;
use super::recorder::{map_error, program, program_error};
use super::subjects::array;
use super::{Error, info};
use crate::event::Checks;

/// The kernel's function that checks a capability, and its tracepoint there.
const CHECK: &str = "cap_capable";
/// The program for the function.
const CHECKED: &str = "checked";

/// A program that is attached to the kernel's checks. Dropping it detaches it.
pub(super) struct Watch {
    _link: FdLink,
    program: &'static str,
}

/// The longest reason that is told, in characters: the verifier may have much to say.
const REASON: usize = 160;

/// Attaches the program that tells most, and says how much that is.
///
/// Kernels refuse what they lack in many ways, EPERM among them. Who may not attach programs at all has not come as far as
/// this.
pub(super) fn watch(ebpf: &mut Ebpf, kernel: &Kernel) -> Result<(Option<Watch>, Checks), Error> {
    let checked: &mut FExit = program(ebpf, CHECKED)?;
    let function = match at_function(checked, kernel) {
        Ok(link) => return Ok((Some(Watch::of(link, CHECKED)), Checks::Used)),
        Err(error) => error,
    };
    // It may have been loaded.
    checked.unload().ok();
    let checked: &mut BtfTracePoint = program(ebpf, CHECK)?;
    Ok(match at_tracepoint(checked, kernel) {
        Ok(link) => (Some(Watch::of(link, CHECK)), Checks::Asked),
        Err(tracepoint) => {
            let [function, tracepoint] = [function, tracepoint].map(|error| reason(&error));
            let reason = format!(
                "the kernel lets no program see its checks (function {CHECK}: {function}, tracepoint {CHECK}: {tracepoint})"
            );
            (None, Checks::Untold(reason))
        }
    })
}

fn at_function(program: &mut FExit, kernel: &Kernel) -> Result<FdLink, ProgramError> {
    program.load(CHECK, &kernel.btf)?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

fn at_tracepoint(program: &mut BtfTracePoint, kernel: &Kernel) -> Result<FdLink, ProgramError> {
    program.load(CHECK, &kernel.btf)?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

/// The beginning of what an error says, in one line.
fn reason(error: &ProgramError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    let text = text.replace(['\n', ';'], " ");
    text.chars().take(REASON).collect()
}

impl Watch {
    fn of(link: FdLink, program: &'static str) -> Self {
        Self {
            _link: link,
            program,
        }
    }

    /// Checks of which the kernel did not tell the program.
    pub(super) fn skipped(&self, ebpf: &Ebpf) -> Result<u64, Error> {
        let program = ebpf
            .program(self.program)
            .ok_or(Error::Missing(self.program))?;
        info::recursion_misses(program.fd().map_err(program_error(self.program))?)
    }
}

/// The capabilities that a subject used, as bits.
pub(super) fn used(ebpf: &Ebpf, index: u32) -> Result<u64, Error> {
    let known = array::<Capabilities>(ebpf, "CAPABILITIES")?
        .get(&index, 0)
        .map_err(map_error("CAPABILITIES"))?;
    let numbers = (0_u32..).zip(known.used).filter(|(_, byte)| *byte == USED);
    Ok(numbers.fold(0, |bits, (number, _)| bits | 1 << number))
}
