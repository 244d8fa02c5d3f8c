//! Audit records in the kernel's own log, where they are as long as there is no auditd. The kernel
//! limits how many (`kernel.printk_ratelimit`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::bpf::Ready;

/// Longer records are not given (`PRINTKRB_RECORD_MAX` and what is put around it).
const LONGEST: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct KernelLog {
    file: File,
    ready: Ready,
    /// There may be something without anything new.
    pub(super) more: bool,
    buffer: Vec<u8>,
    /// How often the kernel overwrote what was not read yet.
    pub(super) overruns: u64,
}

impl KernelLog {
    /// Reads what comes from now on. Where `kernel.dmesg_restrict` is set it needs `CAP_SYSLOG`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            ready: Ready::of(&file)?,
            file,
            more: true,
            buffer: vec![0; LONGEST],
            overruns: 0,
        })
    }

    /// Waits until there may be something.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        if self.more {
            tokio::task::yield_now().await;
        } else {
            self.ready.wait().await?;
            self.more = true;
        }
        Ok(())
    }

    /// Tells the next record of those that are there; false if there is none.
    pub(super) fn next(&mut self, told: impl FnOnce(&[u8])) -> io::Result<bool> {
        loop {
            match self.file.read(&mut self.buffer) {
                Ok(length) => {
                    told(&self.buffer[..length]);
                    return Ok(true);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.more = false;
                        return Ok(false);
                    }
                    // What comes next is the oldest record that is left.
                    io::ErrorKind::BrokenPipe => self.overruns += 1,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}
