//! Recording what pods do by the audit records of a node with auditd.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::get;

use crate::recording::{BPF, LOGS, Recording, calls, cannot_record, ensure_whole, evidence};
use crate::world::{PROFILES, World, localhost, skipped};

/// auditd, which writes into the node's `/var/log/audit`. The kernel has one at a time.
pub(crate) struct Auditd {
    daemon: Child,
    log: PathBuf,
    _settings: tempfile::TempDir,
}

impl Auditd {
    /// None where there is no auditd.
    pub(crate) fn start(world: &World) -> Result<Option<Self>> {
        let holder = world.node.holder.context("the node is not ours")?;
        let Some(program) = program() else {
            skipped("there is no auditd");
            return Ok(None);
        };
        let logs = world.root().join("var/log/audit");
        fs::create_dir_all(&logs)?;
        let settings = tempfile::tempdir()?;
        let text = "local_events = yes\nwrite_logs = yes\nlog_file = /var/log/audit/audit.log\n\
            log_group = root\nlog_format = RAW\nflush = INCREMENTAL_ASYNC\nfreq = 50\n\
            max_log_file = 50\nnum_logs = 2\npriority_boost = 0\nname_format = NONE\n\
            max_log_file_action = IGNORE\nspace_left = 75\nspace_left_action = IGNORE\n\
            admin_space_left = 50\nadmin_space_left_action = IGNORE\n\
            disk_full_action = IGNORE\ndisk_error_action = IGNORE\n";
        let file = settings.path().join("auditd.conf");
        fs::write(&file, text)?;
        let daemon = Command::new("nsenter")
            .arg(format!("--mount=/proc/{holder}/ns/mnt"))
            .arg(program)
            .args(["-n", "-c"])
            .arg(settings.path())
            .spawn()
            .context("failed to start auditd")?;
        Ok(Some(Self {
            daemon,
            log: logs.join("audit.log"),
            _settings: settings,
        }))
    }

    /// The lines of its log that have all of these.
    pub(crate) fn lines(&self, with: &[&str]) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log)?;
        let lines = text.lines();
        let lines = lines.filter(|line| with.iter().all(|part| line.contains(part)));
        Ok(lines.map(str::to_owned).collect())
    }
}

impl Drop for Auditd {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.daemon.id()) {
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
        }
        drop(self.daemon.wait());
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut programs = folders.into_iter().map(|folder| folder.join("auditd"));
    programs.find(|program| program.is_file())
}

/// Says whether its work was refused. Its processes live long enough to be looked up, also on a machine
/// that is busy. Of two dollars Kubernetes makes one.
const WORK: &str = "umask 077; kill -0 $$$$ && echo done || echo refused; sleep 5";

/// Runs a script in a pod whose container is bound by a profile; what it printed.
async fn bound(world: &World, name: &str, profile: &str, script: &str) -> Result<String> {
    world.installed(profile, 1).await?;
    let mut bound = node::pod(name, script);
    bound["spec"]["containers"][0]["securityContext"] =
        json!({ "seccompProfile": localhost(profile) });
    let said = node::run(&world.admin, &world.users, &bound).await?;
    world.end_pod(name).await?;
    Ok(said)
}

pub(crate) async fn a_pod_runs_under_what_was_logged(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    let recording = Recording::begin_by(&LOGS, world, "logged", "logged", "None").await?;
    let trace = format!("{PROFILES}/log-enricher-trace");
    ensure!(get(&world.admin, &trace).await?.is_some(), "no profile");
    world.installed("log-enricher-trace", 1).await?;
    let printed = node::run(&world.admin, &world.users, &recording.pod("one", WORK)).await?;
    ensure!(printed == "done\n", "{printed}");
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let profile = recording.profile("main", is_last).await?;
    ensure_whole(&profile)?;
    ensure!(evidence(&profile, "recorder") == "Logs", "{profile:#}");
    let all = calls(&profile);
    ensure!(all.contains("kill") && all.contains("umask"), "{all:?}");
    ensure!(!all.contains("link") && !all.contains("linkat"), "{all:?}");

    let printed = bound(world, "bound", "logged-main", WORK).await?;
    ensure!(printed == "done\n", "{printed}");
    recording.end().await?;
    world.delete_profile("logged-main").await?;
    world.end_pod("one").await
}

pub(crate) async fn both_recorders_tell_the_same_of_one_container(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    let logs = Recording::begin_by(&LOGS, world, "by-logs", "both", "None").await?;
    let bpf = Recording::begin_by(&BPF, world, "by-bpf", "both", "None").await?;
    node::run(&world.admin, &world.users, &logs.pod("both", WORK)).await?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let logged = logs.profile("main", is_last).await?;
    ensure_whole(&logged)?;
    let seen = bpf.profile("main", is_last).await?;
    ensure_whole(&seen)?;
    let (logged, seen) = (calls(&logged), calls(&seen));
    ensure!(logged.contains("kill"), "{logged:?}");
    // The filter is loaded before the workload begins: what the runtime does until then is logged.
    let lacking: Vec<_> = seen.difference(&logged).collect();
    ensure!(lacking.is_empty(), "not logged: {lacking:?}");
    logs.end().await?;
    bpf.end().await?;
    for name in ["by-logs-main", "by-bpf-main"] {
        world.delete_profile(name).await?;
    }
    world.end_pod("both").await
}

pub(crate) async fn what_was_gone_before_it_was_looked_up_is_told(world: &World) -> Result<()> {
    let Some(_auditd) = Auditd::start(world)? else {
        return Ok(());
    };
    let recording = Recording::begin_by(&LOGS, world, "gone", "gone", "None").await?;
    let readers = world.node.processes("log-enricher")?;
    let [reader] = readers[..] else {
        anyhow::bail!("{readers:?} read logs")
    };
    let reader = Pid::from_raw(reader);
    kill(reader, Signal::SIGSTOP)?;
    // Nobody looks while these processes come and go.
    let script =
        "for i in 1 2 3 4 5; do mkdir /tmp/$i; done; until [ -e /tmp/end ]; do sleep 1; done";
    let started = world.runs_pod(&recording.pod("gone", script)).await;
    let ran = ["sh", "-c", "until [ -e /tmp/5 ]; do sleep 1; done"];
    let ran = started.and_then(|()| node::exec(&world.users, "gone", &ran));
    kill(reader, Signal::SIGCONT)?;
    ensure!(ran?.status.success(), "it did not run");
    let lost = |found: &Value| {
        let lost = &found["status"]["nodes"][0]["containers"][0]["lost"];
        lost.as_u64().is_some_and(|lost| lost > 0)
    };
    world.becomes(&recording.path(), "told", lost).await?;
    node::exec(&world.users, "gone", &["sh", "-c", "echo > /tmp/end"])?;
    let is_last = |found: &Value| evidence(found, "end") == "the pod ended";
    let profile = recording.profile("main", is_last).await?;
    let unresolved = evidence(&profile, "losses").as_str().unwrap_or_default();
    ensure!(unresolved.contains("unresolved"), "{profile:#}");
    recording.end().await?;
    world.delete_profile("gone-main").await?;
    world.end_pod("gone").await
}

/// Also switches it off again.
pub(crate) async fn where_nothing_delivers_records_this_is_told(world: &World) -> Result<()> {
    LOGS.switch_on(world).await?;
    // First there is somebody, who goes while the recorder reads.
    let heard = match Auditd::start(world)? {
        None => None,
        Some(auditd) => {
            let heard = Recording::begin_by(&LOGS, world, "heard", "heard", "None").await?;
            drop(auditd);
            Some(heard)
        }
    };
    let path = format!(
        "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilerecordings",
        world.users
    );
    let recording = json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "ProfileRecording",
        "metadata": { "name": "silent" },
        "spec": { "kind": "SeccompProfile", "recorder": "Logs", "podSelector": {} },
    });
    spo_cluster_tests::objects::create(&world.admin, &path, &recording).await??;
    cannot_record(world, "silent", "no audit record comes").await?;
    if let Some(heard) = heard {
        cannot_record(world, "heard", "no audit record comes").await?;
        heard.end().await?;
    }
    let path = format!("{path}/silent");
    world.delete(&path).await?;
    world.not_there(&path).await?;
    let off = json!({ "spec": { "enricher": { "enableLogEnricher": null } } });
    world.merge(crate::world::SPOD, &off).await?;
    world.runs().await?;
    world
        .until("nobody reads logs", async || {
            Ok(world
                .node
                .processes("log-enricher")?
                .is_empty()
                .then_some(()))
        })
        .await?;
    world.delete_profile("log-enricher-trace").await
}
