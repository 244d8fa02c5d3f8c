//! Kernels in QEMU: a guest is one kernel and an initramfs with everything that it runs.

mod cpio;
mod initramfs;
pub(crate) mod kernel;
mod qemu;

pub(crate) use initramfs::Guest;
pub(crate) use qemu::boot;

/// A kernel that the tests run on.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What the tables call it.
    pub(crate) name: &'static str,
    /// A Debian package that depends on the current build of the kernel.
    depends: &'static str,
    /// How the name of that build's package begins.
    prefix: &'static str,
}

/// The kernels; a further one is a further line.
pub(crate) const KERNELS: &[Kernel] = &[Kernel {
    name: "6.1",
    depends: "linux-image-cloud-amd64",
    prefix: "linux-image-6.1.",
}];

/// The line with which the guest says that its own part begins.
const START: &str = "spo-vm: start";
/// The line with which it says how that ended.
const END: &str = "spo-vm: exit=";
