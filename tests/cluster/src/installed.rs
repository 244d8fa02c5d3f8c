//! Everything that `deploy/` installs, on a cluster without a kubelet: its processes run on this machine, each
//! with the token of its service account.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use spo::api::webhooks::Reach;
use spo::server::certificates::{Stored, authority, serving};

use crate::access::service_account_config;
use crate::manifests::{apply, kustomized};
use crate::objects::create;
use crate::web::free_port;

/// Where everything is.
pub const NAMESPACE: &str = "security-profiles-operator";
/// The group of our kinds.
pub const GROUP: &str = "security-profiles-operator.x-k8s.io";
/// The account of the webhook.
pub const WEBHOOK: &str = "spo-webhook";
/// A thousand pods of the `DaemonSet` take two minutes.
const PATIENCE: Duration = Duration::from_mins(6);
const INTERVAL: Duration = Duration::from_millis(100);

/// A process that is killed when it goes.
pub struct Process(Child);

/// A webhook that answers.
pub struct Webhook {
    /// It.
    pub process: Process,
    /// Where it is.
    pub reach: Reach,
    /// Who signed its certificate.
    pub authority: Stored,
}

/// Applies `deploy/`, of which no pod runs.
pub async fn install(admin: &Client) -> Result<()> {
    let mut objects = kustomized()?.context("there is no kubectl")?;
    for ((kind, _, _), object) in &mut objects {
        if kind == "Deployment" {
            object["spec"]["replicas"] = json!(0);
        }
    }
    apply(admin, &objects).await.map(drop)
}

/// The program of `SPO_BIN`, as an account that has its `KUBECONFIG` and its log in this folder.
pub async fn program(admin: &Client, files: &Path, account: &str) -> Result<Command> {
    let kubeconfig = files.join(account);
    if !kubeconfig.exists() {
        let config = service_account_config(admin, NAMESPACE, account).await?;
        let text = serde_json::to_string(&config).context("failed to write a kubeconfig")?;
        fs::write(&kubeconfig, text)
            .with_context(|| format!("failed to write {}", kubeconfig.display()))?;
    }
    let spo = std::env::var_os("SPO_BIN");
    let mut command = Command::new(spo.context("SPO_BIN does not name the program")?);
    let log = files.join(format!("{account}.log"));
    let log = File::options().create(true).append(true).open(log);
    let log = log.context("failed to make a log")?;
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("OPERATOR_NAMESPACE", NAMESPACE)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("failed to share a log")?)
        .stderr(log);
    Ok(command)
}

impl Process {
    /// Starts a program.
    pub fn start(mut command: Command) -> Result<Self> {
        command.spawn().map(Self).context("failed to start spo")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it without a warning.
    pub fn end(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Webhook {
    /// Starts it, with a certificate for `localhost`.
    pub async fn start(admin: &Client, files: &Path) -> Result<Self> {
        let (port, health) = (free_port()?, free_port()?);
        let now = Timestamp::now();
        let (authority, _): (Stored, _) = authority(None, now)?.write.context("no authority")?;
        let names = ["localhost".to_owned()];
        let serving = serving(None, &authority, &names, now)?;
        let (certificate, _) = serving.write.context("no certificate")?;
        let folder = files.join("certificates");
        crate::web::mount(&folder, 1, &certificate)?;
        let mut command = program(admin, files, WEBHOOK).await?;
        command
            .args(["webhook", "--port", &port.to_string()])
            .args(["--health-port", &health.to_string(), "--certificates"])
            .arg(&folder);
        Ok(Self {
            process: Process::start(command)?,
            reach: Reach::Url(format!("https://localhost:{port}")),
            authority,
        })
    }
}

/// Registers webhooks, as an object of this kind.
pub async fn register(admin: &Client, kind: &str, object: impl serde::Serialize) -> Result<()> {
    let mut object = serde_json::to_value(object)?;
    object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
    object["kind"] = json!(kind);
    let path = format!(
        "/apis/admissionregistration.k8s.io/v1/{}s",
        kind.to_lowercase()
    );
    create(admin, &path, &object).await??;
    Ok(())
}

/// An object of one of our kinds.
pub fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// Waits until something is so that happens once, before or between measurements.
pub async fn until(what: &str, is: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is().await? {
        if start.elapsed() > PATIENCE {
            bail!("it never came to: {what}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}
