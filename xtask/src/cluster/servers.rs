//! Images of the servers for which there are profiles in `deploy/library`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::image::Image;
use crate::env::which;
use crate::process;

type Make = fn() -> Result<Image>;

/// What each is called, and how it is made.
pub(super) const ALL: [(&str, Make); 3] = [
    ("localhost/nginx:test", nginx),
    ("localhost/redis:test", redis),
    ("localhost/python:test", python),
];

const UNWINDER: &str = "libgcc_s.so.1";
/// The distribution's, and not one that a person has built.
const PYTHON: &str = "/usr/bin/python3";
/// What servers do not use.
const LEFT_OUT: [&str; 7] = [
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "test",
    "tkinter",
    "turtledemo",
];
/// What the scripts need that start servers in images.
const TOOLS: [&str; 17] = [
    "cat", "chown", "cut", "env", "find", "grep", "id", "ls", "mkdir", "rm", "sed", "setpriv",
    "sh", "sleep", "sort", "touch", "true",
];

fn nginx() -> Result<Image> {
    with_tools(&["nginx"])
}

fn redis() -> Result<Image> {
    with_tools(&["redis-server", "redis-cli"])
}

fn python() -> Result<Image> {
    let asked = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let library = process::output(Command::new(PYTHON).args(["-c", asked]))?;
    let mut image = with_tools(&[])?;
    image.add(Path::new(PYTHON), Path::new("usr/bin/python3"));
    // Those of its folders that are for building other programs have names of their own.
    let left_out = |name: &str| LEFT_OUT.contains(&name) || name.starts_with("config-");
    image.add_folder(Path::new(library.trim()), &left_out)?;
    Ok(image)
}

/// An image of programs and of what scripts need, where a search finds them.
fn with_tools(programs: &[&str]) -> Result<Image> {
    let mut image = Image::new();
    for name in programs.iter().chain(&TOOLS) {
        let program = which(name).with_context(|| format!("there is no {name}"))?;
        image.add(&program, &Path::new("usr/bin").join(name));
    }
    image.link("bin", "usr/bin");
    // Threads that end look for it, and nobody is linked to it.
    let asked = Command::new("cc")
        .arg(format!("-print-file-name={UNWINDER}"))
        .output();
    let said = asked.context("failed to run cc")?.stdout;
    let unwinder = fs::canonicalize(String::from_utf8_lossy(&said).trim())
        .with_context(|| format!("there is no {UNWINDER}"))?;
    image.add(&unwinder, &Path::new("usr/lib").join(UNWINDER));
    Ok(image)
}
