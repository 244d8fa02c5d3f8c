//! The images that every node has, and the way in for others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Node;
use super::programs::SOCKET;
use crate::cluster::image::Image;
use crate::env::which;
use crate::process;

/// What holds the namespaces of a pod.
pub(super) const PAUSE: &str = "localhost/pause:test";
/// A shell and the usual programs.
const BUSYBOX: &str = "localhost/busybox:test";
/// The same with one file more, so that it has another digest: a next version.
const NEXT: &str = "localhost/busybox:next";

/// Ends when it is told to, and buries whom a pod with one pid namespace leaves behind.
const PAUSE_SOURCE: &str = "\
#include <signal.h>
#include <sys/wait.h>
int main(void)
{
    sigset_t set;
    int signal;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, 0);
    while (sigwait(&set, &signal) == 0 && signal == SIGCHLD)
        while (waitpid(-1, 0, WNOHANG) > 0)
            ;
    return 0;
}
";

/// Makes and loads what is not there yet.
pub(crate) fn ensure(node: &Node) -> Result<()> {
    let known = process::output(ctr(node)?.args(["images", "list", "--quiet"]))?;
    let is_there = |name: &str| known.lines().any(|line| line == name);
    if !is_there(PAUSE) {
        load(node, &pause(node)?, PAUSE)?;
    }
    if !is_there(BUSYBOX) {
        load(node, &busybox()?, BUSYBOX)?;
    }
    if !is_there(NEXT) {
        let mut image = busybox()?;
        image.link("next", "bin");
        load(node, &image, NEXT)?;
    }
    Ok(())
}

/// Loads an image under a name, and under its digest, as if it had been pulled.
pub(crate) fn load(node: &Node, image: &Image, name: &str) -> Result<()> {
    let file = node.folder().join("image.tar");
    image.write(name, &file)?;
    let tagged = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let repository = tagged.map_or(name, |(repository, _)| repository);
    let mut import = ctr(node)?;
    import.args(["images", "import", "--digests", "--base-name", repository]);
    let loaded = process::output(import.arg(&file))
        .with_context(|| format!("failed to load the image {name}"));
    fs::remove_file(&file).with_context(|| format!("failed to remove {}", file.display()))?;
    loaded.map(drop)
}

/// Whether containerd answers.
pub(crate) fn is_served(node: &Node) -> bool {
    ctr(node).is_ok_and(|mut ctr| process::succeeds(ctr.arg("version")))
}

fn ctr(node: &Node) -> Result<Command> {
    let mut command = node.command("ctr")?;
    command.args(["--address", SOCKET, "--namespace", "k8s.io"]);
    Ok(command)
}

fn pause(node: &Node) -> Result<Image> {
    let source = node.folder().join("pause.c");
    let program = node.folder().join("pause");
    fs::write(&source, PAUSE_SOURCE)
        .with_context(|| format!("failed to write {}", source.display()))?;
    let mut command = Command::new("cc");
    command.args(["-static", "-Os", "-s", "-o"]).arg(&program);
    process::run(command.arg(&source))?;
    Image::of(&program)
}

/// busybox, with links for all that it can be called.
fn busybox() -> Result<Image> {
    let program = which("busybox").context("there is no busybox")?;
    let names = process::output(Command::new(&program).arg("--list"))?;
    let mut image = Image::new();
    image.add(&program, Path::new("bin/busybox"));
    for name in names.lines().filter(|name| *name != "busybox") {
        image.link(PathBuf::from("bin").join(name), "busybox");
    }
    Ok(image)
}
