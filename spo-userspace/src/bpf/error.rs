//! Why the kernel would not do it.

use std::io;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary was built without the eBPF programs.
    #[error("this build holds no eBPF programs: build it with `cargo xtask build`")]
    Stubs,
    /// No type information.
    #[error("the kernel offers no type information at {path}: it needs CONFIG_DEBUG_INFO_BTF=y")]
    Btf {
        /// Where it was looked for.
        path: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A structure or member that the programs read.
    #[error("the kernel's type information has no {0}")]
    Member(String),
    /// The kernel refused for want of a privilege.
    #[error(
        "not permitted to load eBPF programs: this needs the capabilities CAP_BPF and CAP_PERFMON (run it with sudo)"
    )]
    Permission,
    /// The object could not be loaded.
    #[error("failed to create the eBPF maps")]
    Load(#[source] Box<aya::EbpfError>),
    /// A program could not be loaded or attached.
    #[error("failed to load or attach the eBPF program {program}")]
    Program {
        /// Its name in the object.
        program: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A map could not be read or written.
    #[error("failed to access the eBPF map {map}")]
    Map {
        /// Its name in the object.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A subject was released, or never was.
    #[error("subject {} is not recorded (any more)", .0.index)]
    Gone(crate::event::SubjectId),
    /// The kernel does not wait for the programs that run.
    #[error("failed to wait for the eBPF programs that run")]
    Grace(#[source] io::Error),
    /// The map of namespaces could not be gone through.
    #[error("failed to look which mount namespaces are gone")]
    Places(#[source] io::Error),
    /// A name is missing in the object: the build is broken.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// Reading of the counters of a program failed.
    #[error("failed to read what the kernel knows of an eBPF program")]
    Info(#[source] io::Error),
    /// An iterator program could not be read.
    #[error("failed to walk the kernel's list of tasks")]
    Iterate(#[source] io::Error),
}

/// Whether the reason at the end of a chain of errors is EPERM.
pub(super) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.raw_os_error() == Some(libc::EPERM)
        {
            return true;
        }
        next = error.source();
    }
    false
}
