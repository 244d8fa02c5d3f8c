//! A Prometheus that reads what the monitor names, as the monitor says it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use spo_cluster_tests::crd;
use spo_cluster_tests::objects::{create, get};
use tempfile::TempDir;

use crate::world::{OWN, PROFILES, World, object, refuses, skipped};

const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicemonitors.monitoring.coreos.com";
const MONITOR: &str = "/apis/monitoring.coreos.com/v1/namespaces/security-profiles-operator/servicemonitors/security-profiles-operator-monitor";
const DAEMONS: &str = "/apis/apps/v1/namespaces/security-profiles-operator/daemonsets/spod";
/// In the network of the cluster, which is nobody else's.
const ADDRESS: &str = "127.0.0.1:9090";

pub(crate) async fn all_is_read_as_the_monitor_says(world: &World) -> Result<()> {
    for program in ["prometheus", "promtool"] {
        if Command::new(program).arg("--version").output().is_err() {
            skipped(&format!("there is no {program}: install prometheus"));
            return Ok(());
        }
    }
    crd::apply(&world.admin, &crd::monitors()).await?;
    let monitor = world.becomes(MONITOR, "there is a monitor", |found| !found.is_null());
    let monitor = monitor.await?;
    let files = TempDir::new()?;
    let jobs = jobs(world, &monitor, files.path()).await?;
    // Of daemons, operators and webhooks, and of what runs beside the daemons.
    let daemons = get(&world.admin, DAEMONS).await?.context("no daemons")?;
    let beside = daemons["spec"]["template"]["spec"]["containers"].as_array();
    let beside = beside.map_or(0, |containers| containers.len() - 1);
    ensure!(beside > 0, "no recorder is switched on");
    ensure!(jobs.len() == 6 + 2 * beside, "{jobs:#?}");
    let targets = |job: &Value| {
        let targets = job["static_configs"][0]["targets"].as_array();
        targets.map_or(0, Vec::len)
    };
    let all = jobs.iter().map(targets).sum::<usize>();
    ensure!(jobs.iter().all(|job| targets(job) > 0), "{jobs:#?}");
    let prometheus = Prometheus::start(world, &json!({ "scrape_configs": jobs }), files)?;

    // Of each process both pages are read.
    let is_all = |found: &[Sample]| found.len() == all && found.iter().all(|(_, up)| up == "1");
    prometheus.says("up", is_all).await?;
    let is_much =
        |found: &[Sample]| found.len() == all && found.iter().all(|(_, many)| many != "0");
    prometheus.says("scrape_samples_scraped", is_much).await?;
    let answer = "security_profiles_operator_webhook_available_replicas";
    let is_some = |(_, replicas): &Sample| replicas.parse::<u32>().is_ok_and(|many| many > 0);
    let do_some = |found: &[Sample]| found.iter().all(is_some);
    prometheus.says(answer, do_some).await?;
    // What an alert would ask, before, meanwhile and after.
    let refused = "sum(security_profiles_operator_node_profiles{state=\"Error\"}) or vector(0)";
    let is =
        |count: &'static str| move |found: &[Sample]| found.iter().all(|(_, now)| now == count);
    prometheus.says(refused, is("0")).await?;
    let mut bad = refuses(&["mkdir"]);
    bad["baseProfileName"] = json!("there-is-none");
    let bad = object("SeccompProfile", "prometheus", &bad);
    create(&world.admin, PROFILES, &bad).await??;
    world.is("prometheus", "Error").await?;
    prometheus.says(refused, is("1")).await?;
    world.delete_profile("prometheus").await?;
    prometheus.says(refused, is("0")).await?;

    drop(prometheus);
    world.delete(DEFINITION).await?;
    world.not_there(DEFINITION).await
}

/// What an operator of Prometheus makes of the monitor: a job for each of its endpoints.
async fn jobs(world: &World, monitor: &Value, files: &Path) -> Result<Vec<Value>> {
    let selected = &monitor["spec"]["selector"]["matchExpressions"][0];
    let list = format!(
        "/api/v1/namespaces/{OWN}/endpoints?labelSelector={}%3D{}",
        selected["key"].as_str().context("no key")?,
        selected["values"][0].as_str().context("no value")?,
    );
    let list = get(&world.admin, &list).await?.context("not served")?;
    let mut jobs = Vec::new();
    for endpoint in monitor["spec"]["endpoints"].as_array().context("none")? {
        let mut targets = Vec::new();
        for subset in list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|service| service["subsets"].as_array().into_iter().flatten())
        {
            let port = subset["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|port| port["name"] == endpoint["port"]);
            let Some(port) = port else { continue };
            for address in subset["addresses"].as_array().into_iter().flatten() {
                let address = address["ip"].as_str().context("no address")?;
                targets.push(format!("{address}:{}", port["port"]));
            }
        }
        let tls = &endpoint["tlsConfig"];
        jobs.push(json!({
            "job_name": format!("{}{}", endpoint["port"].as_str().unwrap_or_default(), endpoint["path"].as_str().unwrap_or_default()),
            "scrape_interval": "1s",
            "metrics_path": endpoint["path"],
            "scheme": endpoint["scheme"],
            "authorization": { "credentials_file": key(world, &endpoint["bearerTokenSecret"], files).await? },
            "tls_config": {
                "ca_file": key(world, &tls["ca"]["secret"], files).await?,
                "server_name": tls["serverName"],
            },
            "static_configs": [{ "targets": targets }],
        }));
    }
    Ok(jobs)
}

/// A file with what a Secret has under a key.
async fn key(world: &World, reference: &Value, files: &Path) -> Result<PathBuf> {
    let text = |part: &str| reference[part].as_str().context("it names no secret");
    let (name, key) = (text("name")?, text("key")?);
    let secret = get(
        &world.admin,
        &format!("/api/v1/namespaces/{OWN}/secrets/{name}"),
    )
    .await?;
    let data = secret.with_context(|| format!("there is no secret {name}"))?["data"][key].take();
    let file = files.join(format!("{name}-{key}"));
    let data: ByteString = serde_json::from_value(data).context("it is not in the secret")?;
    fs::write(&file, data.0)?;
    Ok(file)
}

/// Of which job, and what.
type Sample = (String, String);

struct Prometheus<'w> {
    world: &'w World,
    process: Child,
    files: TempDir,
}

impl<'w> Prometheus<'w> {
    fn start(world: &'w World, config: &Value, files: TempDir) -> Result<Self> {
        let file = files.path().join("prometheus.json");
        fs::write(&file, config.to_string())?;
        let log = fs::File::create(files.path().join("log"))?;
        let process = world
            .node
            .inside("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                files.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            world,
            process,
            files,
        })
    }

    /// Waits until the answer to a question is as it should be.
    async fn says(&self, question: &str, is: impl Fn(&[Sample]) -> bool) -> Result<()> {
        let last = RefCell::new(String::new());
        let done = self.world.until(question, async || {
            let found = self.ask(question)?;
            last.replace(format!("{found:?}"));
            Ok((!found.is_empty() && is(&found)).then_some(()))
        });
        let done = done.await;
        done.with_context(|| {
            let log = fs::read_to_string(self.files.path().join("log")).unwrap_or_default();
            format!("it says {}; its log: {log}", last.borrow())
        })
    }

    fn ask(&self, question: &str) -> Result<Vec<Sample>> {
        let output = self
            .world
            .node
            .inside("promtool")
            .args(["query", "-o", "json", "instant"])
            .args([&format!("http://{ADDRESS}"), question])
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        let found: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        Ok(found
            .iter()
            .map(|sample| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&sample["metric"]["job"]), text(&sample["value"][1]))
            })
            .collect())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
