//! A second node: an object, and a daemon of its own, as a process of this machine with a folder of
//! its own and the rights of `deploy/`. It has no kubelet.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use spo_cluster_tests::access::service_account_config;
use spo_cluster_tests::objects::create;
use tempfile::TempDir;

use crate::world::{OWN, World};

const NODES: &str = "/api/v1/nodes";

pub(crate) struct Second {
    pub(crate) name: &'static str,
    files: TempDir,
    daemon: Option<Child>,
}

impl Second {
    /// Joins the cluster.
    pub(crate) async fn join(world: &World, name: &'static str) -> Result<Self> {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux" } },
        });
        let files = TempDir::new().context("failed to make a folder")?;
        fs::create_dir(files.path().join("root"))?;
        let config = service_account_config(&world.admin, OWN, "spod").await?;
        fs::write(
            files.path().join("kubeconfig"),
            serde_json::to_string(&config)?,
        )?;
        world.delete(&format!("{NODES}/{name}")).await?;
        create(&world.admin, NODES, &node).await??;
        let mut second = Self {
            name,
            files,
            daemon: None,
        };
        second.start()?;
        Ok(second)
    }

    /// Starts the daemon.
    pub(crate) fn start(&mut self) -> Result<()> {
        let spo = std::env::var_os("SPO_BIN").context("SPO_BIN does not name the binary spo")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.files.path().join("log"))?;
        let daemon = Command::new(spo)
            .arg("daemon")
            .arg("--root")
            .arg(self.root())
            .arg("--health-address=127.0.0.1:0")
            .env_clear()
            .env("KUBECONFIG", self.files.path().join("kubeconfig"))
            .env("NODE_NAME", self.name)
            .env("OPERATOR_NAMESPACE", OWN)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start the daemon")?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Kills the daemon, as the end of a machine does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// Its folder of profiles.
    pub(crate) fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    pub(crate) fn file(&self, profile: &str) -> PathBuf {
        self.root().join(format!("{profile}.json"))
    }

    /// Leaves the cluster: somebody removes the object.
    pub(crate) async fn leave(&self, world: &World) -> Result<()> {
        world.delete(&format!("{NODES}/{}", self.name)).await
    }

    /// Puts a small file system in the place of its folder, which is full.
    pub(crate) fn fill(&self) -> Result<()> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=744", "tmpfs"])
            .arg(self.root())
            .status()?;
        ensure!(done.success(), "mount: {done}");
        let filler = self.root().join("filler");
        let mut size = 64 << 10;
        while fs::write(&filler, vec![b'x'; size]).is_err() {
            size -= 4096;
        }
        Ok(())
    }

    /// Makes room there.
    pub(crate) fn clear(&self) -> Result<()> {
        fs::remove_file(self.root().join("filler")).context("failed to make room")
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // Whoever did not end it was interrupted by an error.
        if self.daemon.is_some()
            && let Ok(log) = fs::read_to_string(self.files.path().join("log"))
        {
            eprintln!("the daemon of {} said:\n{log}", self.name);
        }
        self.kill().ok();
        World::kubectl(&["delete", "node", self.name, "--ignore-not-found"]).ok();
        // It may not be one.
        Command::new("umount")
            .args(["--lazy", "--quiet"])
            .arg(self.root())
            .status()
            .ok();
    }
}
