//! From an observation to a profile: names, base calls, losses. No IO, no clock.

pub mod capabilities;
pub mod cluster;
mod logs;
mod profile;
mod stream;
mod summary;

pub use logs::Logs;
pub use profile::{ANNOTATION_PREFIX, Recorded, Settings, record};
pub use stream::Stream;
pub use summary::{Summary, count};

use crate::event::{Abi, Call};
use crate::profile::arch::Arch;
use crate::profile::syscalls;

/// A call with the table that names it, as far as there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedCall {
    /// The table; none for an ABI that this architecture is not known to have.
    pub arch: Option<Arch>,
    /// The name; none for a number without one.
    pub name: Option<&'static str>,
    /// The call.
    pub call: Call,
}

impl NamedCall {
    /// Looks a call up that was made on a host of architecture `host`.
    pub fn of(call: Call, host: Arch) -> Self {
        let arch = match call.abi {
            Abi::Native => Some(host),
            Abi::Compat => host.compat(),
            Abi::X32 => host.x32(),
        };
        let name = arch
            .zip(u32::try_from(call.number).ok())
            .and_then(|(arch, number)| syscalls::name(arch, number));
        Self { arch, name, call }
    }
}

impl std::fmt::Display for NamedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arch = self.arch.map_or("unknown ABI", Arch::name);
        match self.name {
            Some(name) => write!(f, "{name} ({arch})"),
            None => write!(f, "number {} ({arch})", self.call.number),
        }
    }
}
