//! Which machine this is, and what it must have.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A guest in QEMU, which has only what was put into it, and is slow.
pub fn is_vm() -> bool {
    std::env::var_os("SPO_TEST_TIER").is_some_and(|tier| tier == "vm")
}

/// Waits until something is the case: as long as `limit`, or five minutes in a guest.
pub fn until(limit: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let limit = if is_vm() {
        Duration::from_mins(5)
    } else {
        limit
    };
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < limit, "in vain: until {what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "not all that is waited for is an event"
        )]
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether all of these programs are there. In a guest their absence is a skip, which is printed; elsewhere a failure:
/// `cargo xtask setup --tests` installs them.
#[expect(
    clippy::print_stdout,
    reason = "what is skipped is told where the results are"
)]
pub fn has(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|program| find(program).is_none())
        .copied()
        .collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        is_vm(),
        "{test}: not on this machine: {missing:?} (cargo xtask setup --tests)"
    );
    println!("skipped: {test}: not in the guest: {missing:?}");
    false
}

fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).exists().then(|| program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
