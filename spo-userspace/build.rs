//! Builds the eBPF objects that `src/bpf/objects.rs` embeds.
//!
//! `SPO_EBPF=skip` asks for stubs; without an eBPF toolchain a debug build gets them too, with a warning,
//! so that `cargo check`, clippy and rustdoc work everywhere. A binary with stubs refuses to
//! record. A release build without a toolchain fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

const OBJECTS: [&str; 4] = ["recorder", "denials", "filters", "empty"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=SPO_EBPF");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../spo-common/src");
    println!("cargo:rustc-check-cfg=cfg(spo_ebpf_stubs)");

    if env::var_os("SPO_EBPF").is_some_and(|value| value == "skip") {
        return stubs("SPO_EBPF=skip");
    }
    let Some(toolchain) = find_toolchain() else {
        if env::var_os("PROFILE").is_some_and(|profile| profile == "release") {
            bail!("no toolchain for the eBPF programs: run `cargo xtask setup`");
        }
        return stubs("no toolchain for the eBPF programs (`cargo xtask setup` installs one)");
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spo-ebpf");
    let root = root
        .to_str()
        .context("the path of the workspace is not UTF-8")?;
    aya_build::build_ebpf(
        [Package {
            name: "spo-ebpf",
            root_dir: root,
            ..Package::default()
        }],
        toolchain,
    )
}

/// Empty files in place of the objects, and a cfg that says so.
fn stubs(reason: &str) -> Result<()> {
    println!("cargo:warning=eBPF objects are stubs: {reason}; this build cannot record");
    println!("cargo:rustc-cfg=spo_ebpf_stubs");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    for object in OBJECTS {
        fs::write(out.join(object), [])
            .with_context(|| format!("failed to write the stub of {object}"))?;
    }
    Ok(())
}

/// rustup's nightly where it has `rust-src`, else a compiler of the distribution, linked into
/// rustup as `bpf`, whose unstable features `RUSTC_BOOTSTRAP` opens.
fn find_toolchain() -> Option<Toolchain<'static>> {
    output(Command::new("bpf-linker").arg("--version"))?;
    let linker = linker_llvm();
    let fits = |toolchain: &str| {
        has_sources(toolchain)
            && linker.is_none_or(|linker| rustc_llvm(toolchain).is_none_or(|llvm| llvm <= linker))
    };
    // What the inner cargo says comes out as warnings of this script.
    set("CARGO_TERM_QUIET", "true");
    if fits("nightly") {
        return Some(Toolchain::Nightly);
    }
    if fits("bpf") {
        set("RUSTC_BOOTSTRAP", "1");
        return Some(Toolchain::Custom("bpf"));
    }
    None
}

/// aya-build takes these from its own environment.
fn set(name: &str, value: &str) {
    // SAFETY: the build script has one thread.
    #[expect(unsafe_code, reason = "the environment belongs to the whole process")]
    unsafe {
        env::set_var(name, value);
    }
}

fn has_sources(toolchain: &str) -> bool {
    rustc(toolchain, &["--print", "sysroot"]).is_some_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core")
            .exists()
    })
}

/// The major version of a compiler's LLVM. The linker reads no bitcode of a newer one than its own.
fn rustc_llvm(toolchain: &str) -> Option<u32> {
    let version = rustc(toolchain, &["-vV"])?;
    let llvm = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

/// The major version of the linker's LLVM, where the linker is linked with it dynamically, as in
/// `libLLVM.so.22.1`. A released linker is not; the build would say then.
fn linker_llvm() -> Option<u32> {
    let path = env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())?;
    let libraries = output(Command::new("ldd").arg(path))?;
    let (_, name) = libraries.split_once("libLLVM")?;
    name.trim_start_matches(".so.")
        .trim_start_matches('-')
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn rustc(toolchain: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, "rustc"]).args(arguments);
    output(command.env_remove("RUSTC"))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())?
}
