//! What this node's kernel can do with seccomp filters.

use std::collections::BTreeSet;
use std::fs;
use std::io;

/// The actions that the kernel knows, by its own words (`Documentation/userspace-api/seccomp_filter.rst`).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// The kernel's words for the actions that filters may take; none if it has no filters.
pub fn actions() -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(ACTIONS) {
        Ok(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_can_allow() {
        assert!(super::actions().unwrap().contains("allow"));
    }
}
