//! The recorder under its own seccomp profile, which comes from a recording of what is done here.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::access::{BINDINGS, ROLES, allow, bearer, service_account_config};
use spo_cluster_tests::node::{self, exec};
use spo_cluster_tests::objects::{create, send};
use spo_cluster_tests::web::{certificate, free_port, https_get, mount, plain_get, trusting};
use tempfile::TempDir;

use crate::faults::{process, processes};
use crate::recording::evidence;
use crate::world::{OWN, PROFILES, World, object};

/// Set by `cargo xtask record-own bpf-recorder`: the file to record into, instead of holding the recorder to the
/// profile.
const RECORD: &str = "SPO_RECORD_RECORDER";
/// What `spo run` says of a call that the profile refuses.
const DENIED: &str = "spo: denied ";
/// How long the API server says nothing: longer than anybody waits.
const SILENCE: Duration = Duration::from_secs(25);
/// Threads that have no work end after ten seconds.
const IDLE: Duration = Duration::from_secs(12);
const READER: &str = "reader-of-the-recorder";

/// The recorder is no container here, so that another `spo` can watch it. What it records are
/// containers all the same.
pub(crate) async fn it_has_all_that_the_recorder_does(world: &World) -> Result<()> {
    let recording = std::env::var_os(RECORD);
    let spo = std::env::var_os("SPO_BIN").context("SPO_BIN does not name the binary spo")?;
    let profile =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/profiles/bpf-recorder.json");
    let mut above = Command::new(&spo);
    match &recording {
        Some(file) => above.args(["record", "--no-base-syscalls", "-o"]).arg(file),
        None => above.args(["run", "-p"]).arg(profile),
    };
    above.arg("--").arg(&spo);
    let below = Below::start(world, above)?;
    below.everything().await?;
    let said = below.stop().await?;
    ensure!(
        !said.contains(DENIED) && !said.contains("watcher were lost"),
        "the profile lacks what the recorder calls: cargo xtask record-own bpf-recorder\n{said}"
    );
    if recording.is_some() {
        ensure!(said.contains("lost: 0"), "{said}");
    }
    Ok(())
}

/// A recorder that `spo` watches, as its child.
struct Below<'w> {
    world: &'w World,
    files: TempDir,
    above: Child,
    health: u16,
    metrics: u16,
    profiling: u16,
}

impl Drop for Below<'_> {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.above.id()) {
            // Both processes. They may have ended already.
            killpg(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
        self.above.wait().ok();
    }
}

impl<'w> Below<'w> {
    fn start(world: &'w World, mut above: Command) -> Result<Self> {
        let files = TempDir::new()?;
        let [health, metrics, profiling] = [free_port()?, free_port()?, free_port()?];
        let log = File::create(files.path().join("log"))?;
        above
            .arg("bpf-recorder")
            .arg(format!("--health-address=127.0.0.1:{health}"))
            .arg(format!("--metrics-address=127.0.0.1:{metrics}"))
            .arg("--metrics-certificates")
            .arg(files.path().join("certificates"))
            .args(["-p", &format!("--profiling-port={profiling}")])
            .env("NODE_NAME", &world.node.name)
            .env("OPERATOR_NAMESPACE", OWN)
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(Self {
            world,
            files,
            above: above.spawn().context("failed to start spo")?,
            health,
            metrics,
            profiling,
        })
    }

    fn log(&self) -> PathBuf {
        self.files.path().join("log")
    }

    async fn says(&self, what: &str, times: usize) -> Result<()> {
        let said = async || {
            let said = fs::read_to_string(self.log())?;
            ensure!(said.matches(what).count() >= times, "{said}");
            Ok(Some(()))
        };
        self.world.until(what, said).await
    }

    /// All that a recorder can be brought to do.
    async fn everything(&self) -> Result<()> {
        let world = self.world;
        let enabled = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-recording": "" } } });
        world
            .merge(&format!("/api/v1/namespaces/{}", world.users), &enabled)
            .await?;
        self.says("the recorder begins", 1).await?;
        self.record("own", &json!({})).await?;
        self.says("the programs are attached", 1).await?;
        self.pods().await?;
        self.silence().await?;
        self.tells().await?;
        // One ends by a rule, one early; then there is none, and one again.
        self.record(
            "ruled",
            &json!({ "finish": { "after": "2s" }, "mergeStrategy": "Containers" }),
        )
        .await?;
        world.runs_pod(&pod("ruled", "sleep 1000")).await?;
        let is_over = |found: &Value| found["status"]["conditions"][0]["status"] == "True";
        world
            .becomes(&self.path("ruled"), "finished", is_over)
            .await?;
        for name in ["own", "ruled"] {
            world.delete(&self.path(name)).await?;
            world.not_there(&self.path(name)).await?;
        }
        self.says("the programs are detached", 1).await?;
        tokio::time::sleep(IDLE).await;
        self.record("again", &json!({})).await?;
        self.says("the programs are attached", 2).await?;
        // It ends while this one runs.
        world.runs_pod(&pod("runs-on", "sleep 1000")).await?;
        self.told("again", 1).await
    }

    fn path(&self, recording: &str) -> String {
        format!(
            "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings/{recording}",
            self.world.users
        )
    }

    async fn record(&self, name: &str, more: &Value) -> Result<()> {
        let mut spec = json!({
            "kind": "SeccompProfile",
            "recorder": "Bpf",
            "podSelector": { "matchLabels": { "app": "own" } },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        let all = self.path("");
        let object = object("ProfileRecording", name, &spec);
        create(&self.world.admin, all.trim_end_matches('/'), &object).await??;
        Ok(())
    }

    /// Waits until a recording says of as many containers that they run.
    async fn told(&self, recording: &str, running: usize) -> Result<()> {
        let is = |found: &Value| {
            let containers = found["status"]["nodes"][0]["containers"].as_array();
            let containers = containers.into_iter().flatten();
            containers.filter(|one| one["running"] == 1).count() == running
        };
        self.world
            .becomes(&self.path(recording), "told", is)
            .await
            .map(drop)
    }

    /// They come, crash, are entered, asked for, and go; some are nobody's.
    async fn pods(&self) -> Result<()> {
        let world = self.world;
        let mut probed = pod("probed", "until [ -e /tmp/end ]; do sleep 1; done");
        probed["spec"]["containers"][0]["readinessProbe"] =
            json!({ "exec": { "command": ["sh", "-c", "true"] }, "periodSeconds": 1 });
        world.runs_pod(&probed).await?;
        self.told("own", 1).await?;
        let taken = json!({ "metadata": { "annotations": { "spo.x-k8s.io/take": "now" } } });
        world.merge(&self.path("own"), &taken).await?;
        let is_taken = |found: &Value| found["status"]["nodes"][0]["taken"] == "now";
        world.becomes(&self.path("own"), "taken", is_taken).await?;
        let mut crashes = pod("crashes", "cd /tmp; ls; exit 1");
        crashes["spec"]["restartPolicy"] = json!("OnFailure");
        world.runs_pod(&crashes).await.ok();
        let many: Vec<_> = (0..15).map(|number| format!("many-{number}")).collect();
        for name in &many {
            node::start(&world.admin, &world.users, &pod(name, "cd /tmp; ls; sync")).await?;
            let nobodys = node::pod(&format!("nobodys-{name}"), "ls");
            node::start(&world.admin, &world.users, &nobodys).await?;
        }
        let output = exec(&world.users, "probed", &["sh", "-c", "echo > /tmp/end"])?;
        ensure!(output.status.success(), "{output:?}");
        for name in many.iter().map(String::as_str).chain(["probed"]) {
            let path = format!("{PROFILES}/own-{name}");
            let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
            world.becomes(&path, "recorded", is_last).await?;
        }
        for name in &many {
            world.end_pod(&format!("nobodys-{name}")).await?;
            world.end_pod(name).await?;
        }
        for name in ["probed", "crashes"] {
            world.end_pod(name).await?;
        }
        Ok(())
    }

    /// The API server says nothing for a while.
    async fn silence(&self) -> Result<()> {
        let Some(folder) = processes("kube-apiserver") else {
            return Ok(());
        };
        let world = self.world;
        world.runs_pod(&pod("unheard", "sleep 20")).await?;
        let server = process(&folder, "kube-apiserver")?;
        kill(server, Signal::SIGSTOP)?;
        tokio::time::sleep(SILENCE).await;
        kill(server, Signal::SIGCONT)?;
        let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
        let path = format!("{PROFILES}/own-unheard");
        world.becomes(&path, "recorded", is_last).await?;
        world.end_pod("unheard").await
    }

    /// It says that it is alive, how much it did, and where its time goes.
    async fn tells(&self) -> Result<()> {
        let world = self.world;
        for path in ["/healthz", "/readyz"] {
            let said = plain_get(self.health, path, &[]).await?;
            ensure!(said.starts_with("HTTP/1.1 200"), "{path}: {said}");
        }
        let paths = ["/metrics", "/metrics-spod"];
        let rules = json!([{ "nonResourceURLs": paths, "verbs": ["get"] }]);
        allow(&world.admin, (&world.users, READER), READER, &rules).await?;
        let token = [bearer(
            &service_account_config(&world.admin, &world.users, READER).await?,
        )?];
        let certificates = self.files.path().join("certificates");
        fs::create_dir_all(&certificates)?;
        for generation in 1..=2 {
            let (authority, signed) = certificate()?;
            mount(&certificates, generation, &signed)?;
            for path in paths {
                let asked = async || {
                    let tls = trusting(&authority);
                    let (_, said) = https_get(self.metrics, &tls, path, &token).await?;
                    ensure!(said.starts_with("HTTP/1.1 200"), "{path}: {said}");
                    Ok(Some(()))
                };
                world.until("metrics are told", asked).await?;
            }
        }
        for collection in [ROLES, BINDINGS] {
            let path = format!("{collection}/{READER}");
            send(&world.admin, Method::DELETE, &path, None).await??;
        }
        let profile = plain_get(self.profiling, "/debug/pprof/profile?seconds=3", &[]);
        let busy = async {
            for name in ["busy-a", "busy-b", "busy-c"] {
                node::run(&world.admin, &world.users, &pod(name, "ls")).await?;
                world.end_pod(name).await?;
            }
            Ok(())
        };
        let (said, busy): (_, Result<()>) = tokio::join!(profile, busy);
        busy?;
        let said = said?;
        ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
        Ok(())
    }

    /// Asks it to end, and returns what was said.
    async fn stop(mut self) -> Result<String> {
        let world = self.world;
        kill(
            Pid::from_raw(i32::try_from(self.above.id())?),
            Signal::SIGTERM,
        )?;
        let mut status = None;
        for _ in 0..1000 {
            status = self.above.try_wait()?;
            if status.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = fs::read_to_string(self.log())?;
        let status = status.context("it does not end")?;
        ensure!(status.success(), "{status}\n{said}");
        world.delete(&self.path("again")).await?;
        world.not_there(&self.path("again")).await?;
        for name in ["ruled", "runs-on"] {
            world.end_pod(name).await?;
        }
        for name in ["own", "ruled", "again"] {
            crate::recording_cases::delete_all(world, name).await?;
        }
        Ok(said)
    }
}

/// A pod that is recorded, of one container with its name.
fn pod(name: &str, script: &str) -> Value {
    let mut pod = node::pod(name, script);
    pod["metadata"]["labels"] = json!({ "app": "own" });
    pod["spec"]["containers"][0]["name"] = json!(name);
    pod
}
