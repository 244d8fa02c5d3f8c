//! Audit records by netlink: the kernel sends them to whoever joined the group
//! (`AUDIT_NLGRP_READLOG`), with auditd or without, but only in the first network namespace.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{AUDIT, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};

use crate::bpf::Ready;

/// `AUDIT_NLGRP_READLOG`, as a bit.
const READLOG: u32 = 1;
/// The kernel's records are not longer than about 9 KiB.
const LONGEST: usize = 64 << 10;
/// What the kernel keeps for us: records of some milliseconds in a burst.
const BUFFER: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    ready: Ready,
    /// There may be something without anything new.
    pub(super) more: bool,
    buffer: Vec<u8>,
    /// How often the kernel found no room for records.
    pub(super) overruns: u64,
}

impl Netlink {
    /// Needs `CAP_AUDIT_READ`.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(AUDIT))?;
        // With CAP_NET_ADMIN it may be more than the system's limit, and else as much as that.
        if set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        bind(&socket, &SocketAddrNetlink::new(0, READLOG))?;
        Ok(Self {
            ready: Ready::of(&socket)?,
            socket,
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

    /// Tells the next message of those that are there; false if there is none.
    pub(super) fn next(&mut self, told: impl FnOnce(&[u8])) -> io::Result<bool> {
        loop {
            match recvfrom(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((_, length, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    // Privileged processes may send something as well.
                    if from.is_some_and(|from| from.pid() == 0) {
                        told(&self.buffer[..length]);
                        return Ok(true);
                    }
                }
                Err(Errno::AGAIN) => {
                    self.more = false;
                    return Ok(false);
                }
                Err(Errno::NOBUFS) => self.overruns += 1,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
