//! The kernel's file systems that tests read and pin to.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::env::is_root;
use crate::process;

/// Type and place of each.
const MOUNTS: [(&str, &str); 2] = [("tracefs", "/sys/kernel/tracing"), ("bpf", "/sys/fs/bpf")];

/// Mounts what is absent, when this process is root and the kernel has it; returns a line for each.
pub(crate) fn ensure() -> Result<Vec<String>> {
    let mounted = fs::read_to_string("/proc/mounts").context("failed to read /proc/mounts")?;
    let mut lines = Vec::new();
    for (kind, place) in MOUNTS {
        if is_mounted(&mounted, kind, place) {
            lines.push(format!("ok        {kind} at {place}"));
        } else if !is_root() {
            lines.push(format!("absent    {kind} at {place}: mounting needs root"));
        } else {
            match process::run(Command::new("mount").args(["-t", kind, kind, place])) {
                Ok(()) => lines.push(format!("mounted   {kind} at {place}")),
                Err(error) => lines.push(format!("absent    {kind} at {place}: {error:#}")),
            }
        }
    }
    Ok(lines)
}

fn is_mounted(mounts: &str, kind: &str, place: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(place) && fields.next() == Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::is_mounted;

    #[test]
    fn reads_the_table_of_mounts() {
        let mounts = "none /sys/fs/bpf bpf rw,relatime 0 0\nproc /proc proc rw 0 0\n";
        assert!(is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "tracefs", "/sys/kernel/tracing"));
        assert!(!is_mounted(mounts, "proc", "/sys/fs/bpf"));
    }
}
