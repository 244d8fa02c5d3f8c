//! What this machine is to a container engine's profile.

use std::collections::BTreeSet;
use std::io;

use super::process;
use crate::profile::arch::Arch;
use crate::profile::seccomp::{KernelVersion, Machine};

/// This machine, for a container without any capability: that is what its profile gives to the
/// least of containers, whoever asks.
pub fn without_capabilities() -> io::Result<Machine> {
    let (release, _) = process::kernel()?;
    let unknown = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
    Ok(Machine {
        arch: Arch::from_machine(std::env::consts::ARCH)
            .ok_or_else(|| unknown("the machine's architecture is not known"))?,
        capabilities: BTreeSet::new(),
        kernel: version(&release).ok_or_else(|| unknown("the kernel's release has no numbers"))?,
    })
}

/// The first two numbers of a release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Option<KernelVersion> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("6"), None);
        assert_eq!(version("next"), None);
    }
}
