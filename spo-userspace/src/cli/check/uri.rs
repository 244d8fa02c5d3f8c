//! Where a file is, for other programs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// The URI of a file: relative to the folder, or if the file is not below it, absolute. Standard
/// input has no other name than `-`.
pub(super) fn of(path: &Path, folder: &Path) -> String {
    let upwards = path.components().any(|part| part == Component::ParentDir);
    if path.is_relative() && !upwards {
        return encoded(path);
    }
    let full = folder.join(path);
    let full = if upwards {
        full.canonicalize().unwrap_or(full)
    } else {
        full
    };
    match full.strip_prefix(folder) {
        Ok(below) => encoded(below),
        Err(_above) => format!("file://{}", encoded(&full)),
    }
}

/// A path as a reference (RFC 3986): all but unreserved characters and slashes in percent form.
fn encoded(path: &Path) -> String {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let path: PathBuf = parts.collect();
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn below_and_beside() {
        for (path, uri) in [
            ("a.yaml", "a.yaml"),
            ("./a b/c,d:e%.yaml", "a%20b/c%2Cd%3Ae%25.yaml"),
            ("/work/dir/x/a.yaml", "x/a.yaml"),
            (
                "/work/directory/a#.yaml",
                "file:///work/directory/a%23.yaml",
            ),
            ("x/../../gone/a.yaml", "x/../../gone/a.yaml"),
            ("\u{e4}.yaml", "%C3%A4.yaml"),
            ("-", "-"),
        ] {
            assert_eq!(of(Path::new(path), Path::new("/work/dir")), uri, "{path}");
        }
        let bytes = Path::new(OsStr::from_bytes(b"\xff\n"));
        assert_eq!(of(bytes, Path::new("/")), "%FF%0A");
    }

    #[test]
    fn upwards() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        for name in ["in", "out"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        let uri = of(Path::new("../out"), &folder.join("in"));
        assert_eq!(uri, format!("file://{}/out", folder.to_str().unwrap()));
        let uri = of(Path::new("../in/../in"), &folder.join("in"));
        assert_eq!(uri, "");
    }
}
