//! Ports of the loopback address that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Where each part of a cluster listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) apiserver: u16,
    pub(super) controller_manager: u16,
    pub(super) scheduler: u16,
}

impl Ports {
    /// Ports that are free now; another process may still take one before it is used.
    pub(super) fn find() -> Result<Self> {
        // All are held until the last is found, so that no two are the same.
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .context("failed to find a free port")?;
            let port = listener
                .local_addr()
                .context("failed to find a free port")?
                .port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            etcd: next()?,
            etcd_peer: next()?,
            apiserver: next()?,
            controller_manager: next()?,
            scheduler: next()?,
        })
    }
}
