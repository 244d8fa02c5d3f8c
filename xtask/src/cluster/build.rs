//! Kubernetes from the distribution's source package, built once into the user's cache.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::binaries::missing;
use super::log::Log;
use super::openapi;
use super::source::{self, MODULE, SUITE, VERSION};
use crate::apt::Archive;
use crate::setup::needs::{self, Group};

/// Where Debian puts the compiler that is of an age with the source.
const GO: &str = "/usr/lib/go-1.19";
/// The longest that one command may take, in seconds; compiling took 270 on two cores.
const LIMIT: &str = "2400";
/// What upstream's release of [`VERSION`] says of itself.
const RELEASE: &[(&str, &str)] = &[
    ("gitVersion", "v1.20.2"),
    ("gitMajor", "1"),
    ("gitMinor", "20"),
    ("gitCommit", "faecb196815e248d3ecfb03c680a4507229c2a56"),
    ("gitTreeState", "clean"),
    ("buildDate", "2021-01-13T13:20:00Z"),
];
/// The packages that keep it.
const RELEASE_IN: [&str; 2] = ["component-base/version", "client-go/pkg/version"];

/// Builds what the folder [`VERSION`] of `cache` lacks, unless another process did so meanwhile; or
/// says why that cannot be done here. What is half done is never seen there.
pub(super) fn build(cache: &Path) -> Result<Result<PathBuf, String>> {
    let context = || format!("failed to make the folder {}", cache.display());
    fs::create_dir_all(cache).with_context(context)?;
    let lock = cache.join("lock");
    let lock =
        File::create(&lock).with_context(|| format!("failed to create {}", lock.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another process, which builds Kubernetes {VERSION}");
        lock.lock().context("failed to wait for another build")?;
    }
    let finished = cache.join(VERSION);
    let missing = missing(&finished);
    if missing.is_empty() {
        return Ok(Ok(finished));
    }
    if !cfg!(target_arch = "x86_64") {
        return Ok(Err(format!(
            "building Kubernetes {VERSION} was tried on x86_64 alone"
        )));
    }
    let unmet = needs::ensure(&[Group::ClusterBuild]);
    if !unmet.is_empty() {
        return Ok(Err(format!("to build Kubernetes {VERSION}: {unmet}")));
    }
    if !Path::new(GO).join("bin/go").exists() {
        return Ok(Err(format!(
            "Kubernetes {VERSION} is built with Go 1.19, and there is no {GO}"
        )));
    }
    eprintln!("fetching the source of Kubernetes {VERSION} from Debian {SUITE}");
    let archive = match Archive::open(SUITE) {
        Ok(Some(archive)) => archive,
        Ok(None) => {
            return Ok(Err(format!(
                "Kubernetes {VERSION} is built from Debian's source package, and this machine has \
                 no package source of Debian's"
            )));
        }
        // Without a network, this is no failure of ours.
        Err(error) => {
            return Ok(Err(format!(
                "the source of Kubernetes {VERSION} cannot be fetched: {error:#}"
            )));
        }
    };
    let work = cache.join("work");
    remove(&work)?;
    let log = cache.join(format!("build-{VERSION}.log"));
    let result = build_in(&work, &archive, &log, &missing)
        .and_then(|built| add(&missing, &built, &finished));
    // Whatever went wrong, two gigabytes are not left behind.
    remove(&work)?;
    result.map(|()| Ok(finished))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Moves programs to those that were built earlier.
fn add(programs: &[&str], built: &Path, finished: &Path) -> Result<()> {
    let context = || format!("failed to fill the folder {}", finished.display());
    fs::create_dir_all(finished).with_context(context)?;
    for program in programs {
        fs::rename(built.join(program), finished.join(program)).with_context(context)?;
    }
    Ok(())
}

/// Does all of the work in a folder that serves as GOPATH; returns the folder of the programs.
fn build_in(work: &Path, archive: &Archive, log: &Path, programs: &[&str]) -> Result<PathBuf> {
    let start = Instant::now();
    let built = work.join("built");
    fs::create_dir_all(&built)
        .with_context(|| format!("failed to make the folder {}", built.display()))?;
    let log = Log::create(log)?;
    let source = source::unpack(archive, work, &log)?;
    eprintln!(
        "building {} of Kubernetes {VERSION}: some minutes, once; the log is {}",
        programs.join(", "),
        log.path().display()
    );
    let go = Go {
        work,
        source: &source,
    };
    openapi::generate(&go, &log).context("failed to generate the description of all types")?;
    let mut command = go.command("go");
    command.args(["build", "-trimpath", "-ldflags", &flags(), "-o"]);
    command.arg(&built);
    command.args(
        programs
            .iter()
            .map(|program| format!("{MODULE}/cmd/{program}")),
    );
    log.run(&mut command)
        .with_context(|| format!("failed to compile Kubernetes {VERSION}"))?;
    eprintln!("built in {} s", start.elapsed().as_secs());
    Ok(built)
}

/// A source tree, and the folder that is its GOPATH.
#[derive(Debug)]
pub(super) struct Go<'a> {
    pub(super) work: &'a Path,
    pub(super) source: &'a Path,
}

impl Go<'_> {
    /// A command in the source tree, to which no network is there; it does not outlast its limit,
    /// and leaves the machine to others.
    pub(super) fn command(&self, program: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", LIMIT, "nice", "-n", "10", program])
            .current_dir(self.source)
            .env("PATH", format!("{GO}/bin:{path}"))
            .env("GOROOT", GO)
            .env("GOPATH", self.work)
            .env("GOCACHE", self.work.join("cache"))
            .env("GOTMPDIR", self.work)
            .env("GO111MODULE", "off")
            .env("GOPROXY", "off")
            .env("GOSUMDB", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0");
        command
    }
}

/// The linker's flags: no symbols, and the version that the programs report.
fn flags() -> String {
    let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
    for package in RELEASE_IN {
        flags.extend(
            RELEASE
                .iter()
                .map(|(name, value)| format!("-X {MODULE}/vendor/k8s.io/{package}.{name}={value}")),
        );
    }
    flags.join(" ")
}
