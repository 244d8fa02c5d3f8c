//! The daemon as manifests start it: user 65535, no capability, a read-only root file system.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::world::{World, allows, spo};

#[tokio::test]
async fn it_needs_no_privilege_after_node_setup() -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        println!("skipped: a daemon without privileges: needs root, to give them up");
        return Ok(());
    }
    let mut world = World::new().await?;
    let host = world.files.path().join("host");
    fs::create_dir_all(host.join("var/lib/kubelet"))?;
    let copies = world.files.path().join("copies");
    fs::create_dir(&copies)?;
    fs::write(copies.join("security-profiles-operator.json"), "{}")?;
    let setup = Command::new(spo())
        .args(["non-root-enabler", "--runtime=containerd", "--host"])
        .arg(&host)
        .arg("--profiles")
        .arg(&copies)
        .env_clear()
        .output()?;
    ensure!(setup.status.success(), "{setup:?}");
    world.root = host.join("var/lib/security-profiles-operator");
    let data = fs::metadata(&world.root)?;
    assert_eq!(
        (data.uid(), data.gid(), data.mode() & 0o777),
        (65535, 65535, 0o744)
    );
    let seccomp = host.join("var/lib/kubelet/seccomp");
    assert!(seccomp.join("security-profiles-operator.json").exists());
    assert!(seccomp.join("operator").is_symlink());

    // A copy, because others may not look into the folder that the binary was built in.
    let binary = world.files.path().join("spo");
    fs::copy(spo(), &binary)?;
    let mut command = Command::new("unshare");
    let script = r#"
        mount --make-rprivate / &&
        mount --bind "$ROOT" "$ROOT" &&
        mount -o remount,bind,ro "$MOUNT" &&
        exec setpriv --reuid=65535 --regid=65535 --clear-groups --bounding-set=-all \
            --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"
    "#;
    let quoted = script
        .replace("$ROOT", &world.root.to_string_lossy())
        .replace("$MOUNT", "/");
    command
        .args([
            "--mount",
            "--propagation=private",
            "sh",
            "-c",
            &quoted,
            "sh",
        ])
        .arg(&binary)
        .args(world.arguments());
    let mut daemon = world.start_as(command)?;
    world.apply("a", &allows(&["read"])).await?;
    world.is_installed("a").await?;
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id()))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), ["65535"; 4]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", daemon.child.id()))?;
    let root = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(1) == Some("/"));
    let options = root
        .and_then(|line| line.split(' ').nth(3))
        .unwrap_or_default();
    assert!(options.split(',').any(|option| option == "ro"), "{root:?}");
    let file = world.file("a");
    assert_eq!(fs::metadata(&file)?.uid(), 65535);
    fs::write(&file, "by root")?;
    world
        .until("repaired", || {
            fs::read(&file).is_ok_and(|text| text != b"by root")
        })
        .await?;
    assert!(daemon.child.try_wait()?.is_none());
    drop(daemon);
    world.remove().await
}
