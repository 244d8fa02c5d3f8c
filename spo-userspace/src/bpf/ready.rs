//! Waiting for what a descriptor brings.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells when a descriptor has something to read. Must be made within a tokio runtime.
#[derive(Debug)]
pub struct Ready(AsyncFd<OwnedFd>);

impl Ready {
    /// For a ring buffer or another descriptor, which may go before this does.
    pub fn of(descriptor: &impl AsFd) -> io::Result<Self> {
        let own = descriptor.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor stays open, and the same, as long as it is owned.
        Ok(Self(unsafe {
            AsyncFd::register_with_interest(own, Interest::READABLE)
        }?))
    }

    /// Waits until something has arrived since the last time.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
