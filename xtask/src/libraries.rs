//! The shared libraries that programs of this machine are linked to.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// Those of a program, by the paths at which it looks for them; none for scripts and static
/// programs.
pub(crate) fn of(program: &Path) -> Vec<PathBuf> {
    // It fails for those, which need nothing.
    let said = process::output(Command::new("ldd").arg(program)).unwrap_or_default();
    named_in(&said).map(Path::to_path_buf).collect()
}

/// The paths in what ldd says: `name => /path (address)`, or `/path (address)`.
fn named_in(text: &str) -> impl Iterator<Item = &Path> {
    text.lines().filter_map(|line| {
        let path = line.trim().rsplit("=> ").next()?.split(' ').next()?;
        path.starts_with('/').then(|| Path::new(path))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::named_in;

    #[test]
    fn reads_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found: Vec<_> = named_in(said).collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert_eq!(named_in("\tstatically linked\n").count(), 0);
    }
}
