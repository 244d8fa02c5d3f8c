//! A cluster in which everything is installed, and operators that run as processes, as the service
//! account of the manifests and with no other right.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, service_account_config};
use spo_cluster_tests::manifests::{Objects, apply};
use spo_cluster_tests::objects::{create, get, send};
use spo_cluster_tests::proxy::Proxy;
use spo_cluster_tests::web::free_port;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const NAMESPACE: &str = "security-profiles-operator";
pub(crate) const DAEMONS: &str =
    "/apis/apps/v1/namespaces/security-profiles-operator/daemonsets/spod";
pub(crate) const WEBHOOK: &str = "/apis/apps/v1/namespaces/security-profiles-operator/deployments/security-profiles-operator-webhook";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/security-profiles-operator/services";
pub(crate) const PODS: &str = "/api/v1/namespaces/security-profiles-operator/pods";
pub(crate) const SPOD: &str = "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/security-profiles-operator/securityprofilesoperatordaemons/spod";
pub(crate) const QUOTA: &str =
    "/api/v1/namespaces/security-profiles-operator/resourcequotas/no-pods";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/security-profiles-operator/leases/security-profiles-operator-lock";
/// A leader that was killed holds its lease for 15 seconds.
const PATIENCE: Duration = Duration::from_mins(1);
const INTERVAL: Duration = Duration::from_millis(50);
/// A server learns of a role a moment after it has taken it.
const ROLE_SETTLING: Duration = Duration::from_secs(1);

/// There is one namespace of that name.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) struct World {
    pub(crate) admin: Client,
    files: TempDir,
    /// Kinds that the server does not know.
    pub(crate) unknown: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Applies all objects. The operators of the manifest do not run: ours do.
    pub(crate) async fn install(objects: &Objects) -> Result<Self> {
        let turn = TURN.lock().await;
        let admin = admin().await?;
        let mut world = Self {
            admin,
            files: TempDir::new().context("failed to make a folder")?,
            unknown: Vec::new(),
            _turn: turn,
        };
        world.sweep().await?;
        let mut objects = objects.clone();
        for ((kind, _, _), object) in &mut objects {
            if kind == "Deployment" {
                object["spec"]["replicas"] = json!(0);
            }
        }
        world.unknown = apply(&world.admin, &objects).await?;
        world.no_pods().await?;
        let config = service_account_config(&world.admin, NAMESPACE, NAMESPACE).await?;
        let text = serde_json::to_string(&config).context("failed to write the kubeconfig")?;
        fs::write(world.files.path().join("kubeconfig"), text)?;
        tokio::time::sleep(ROLE_SETTLING).await;
        Ok(world)
    }

    /// Keeps pods from the cluster's own nodes: the daemons' would make folders there.
    async fn no_pods(&self) -> Result<()> {
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": "no-pods" },
            "spec": { "hard": { "pods": "0" } },
        });
        let collection = format!("/api/v1/namespaces/{NAMESPACE}/resourcequotas");
        create(&self.admin, &collection, &quota).await??;
        self.becomes(QUOTA, "the quota holds", |quota| {
            quota["status"]["hard"]["pods"] == "0"
        })
        .await?;
        Ok(())
    }

    /// Removes the namespace of an earlier run, and waits for the end of that.
    async fn sweep(&self) -> Result<()> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}");
        self.delete(&path).await?;
        self.until("the namespace is gone", async || {
            self.end_pods().await?;
            Ok(get(&self.admin, &path).await?.is_none().then_some(()))
        })
        .await
    }

    /// Removes pods of nodes that have no kubelet to end them.
    async fn end_pods(&self) -> Result<()> {
        let pods = get(&self.admin, PODS).await?.unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            self.end_pod(name).await?;
        }
        Ok(())
    }

    /// Removes a pod without asking its node.
    pub(crate) async fn end_pod(&self, name: &str) -> Result<()> {
        let now = json!({ "gracePeriodSeconds": 0 });
        let path = format!("{PODS}/{name}");
        send(&self.admin, Method::DELETE, &path, Some(&now))
            .await?
            .ok();
        Ok(())
    }

    pub(crate) async fn remove(self) -> Result<()> {
        self.sweep().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        match send(&self.admin, Method::DELETE, path, None).await? {
            Err(refusal) if refusal.code != 404 => bail!("cannot delete {path}: {refusal}"),
            _ => Ok(()),
        }
    }

    pub(crate) async fn merge(&self, path: &str, change: &Value) -> Result<Value> {
        let request = Request::patch(path)
            .header("Content-Type", "application/merge-patch+json")
            .body(change.to_string().into_bytes())?;
        let context = || format!("failed to patch {path}");
        self.admin.request(request).await.with_context(context)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        get(&self.admin, path)
            .await?
            .with_context(|| format!("no {path}"))
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        ask: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = ask().await? {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                let spod = get(&self.admin, SPOD)
                    .await
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                bail!(
                    "not so after {PATIENCE:?}: {what}; the configuration: {}",
                    spod["status"]
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until what is at a path is as it should be.
    pub(crate) async fn becomes(
        &self,
        path: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.until(what, async || {
            Ok(get(&self.admin, path).await?.filter(|object| is_so(object)))
        })
        .await
    }

    /// The message of the configuration's condition, once it is about the configuration as it is.
    pub(crate) async fn message(&self, part: &str) -> Result<String> {
        let spod = self
            .becomes(SPOD, &format!("the message has {part:?}"), |spod| {
                let ready = &spod["status"]["conditions"][0];
                ready["observedGeneration"] == spod["metadata"]["generation"]
                    && ready["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(part))
            })
            .await?;
        let message = spod["status"]["conditions"][0]["message"].as_str();
        Ok(message.unwrap_or_default().to_owned())
    }

    /// Waits until an operator has ended.
    pub(crate) async fn ended(&self, operator: &mut Operator) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = operator.ended()? {
                return Ok(status);
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "the operator does not end: {}",
                operator.log()?
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Who leads.
    pub(crate) async fn leader(&self) -> Result<Option<String>> {
        let lease = get(&self.admin, LEASE).await?.unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str();
        Ok(holder
            .filter(|holder| !holder.is_empty())
            .map(str::to_owned))
    }

    pub(crate) fn start(&self, identity: &str) -> Result<Operator> {
        self.start_with(identity, "kubeconfig")
    }

    /// The same, with a wire to the server that can be cut.
    pub(crate) fn start_behind(&self, identity: &str) -> Result<(Operator, Proxy)> {
        let text = fs::read_to_string(self.files.path().join("kubeconfig"))?;
        let mut config: Kubeconfig = serde_json::from_str(&text)?;
        let proxy = Proxy::before(&mut config, self.files.path())?;
        let behind = self.files.path().join("behind");
        fs::write(behind, serde_json::to_string(&config)?)?;
        Ok((self.start_with(identity, "behind")?, proxy))
    }

    fn start_with(&self, identity: &str, kubeconfig: &str) -> Result<Operator> {
        let log = self.files.path().join(identity);
        let file = File::create(&log)?;
        let spo = std::env::var("SPO_BIN").context("SPO_BIN does not name the binary spo")?;
        let certificates = self.files.path().join(format!("{identity}-metrics"));
        let [health, metrics] = [free_port()?, free_port()?];
        let child = Command::new(spo)
            .arg("operator")
            .arg(format!("--health-address=127.0.0.1:{health}"))
            .arg(format!("--metrics-address=127.0.0.1:{metrics}"))
            .arg(format!("--metrics-certificates={}", certificates.display()))
            .env_clear()
            .env("KUBECONFIG", self.files.path().join(kubeconfig))
            .env("OPERATOR_NAMESPACE", NAMESPACE)
            .env("POD_NAME", identity)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("failed to start the operator")?;
        Ok(Operator {
            child,
            log,
            identity: identity.to_owned(),
            health,
            metrics,
            certificates,
        })
    }
}

/// An operator that is killed when it goes.
pub(crate) struct Operator {
    child: Child,
    log: PathBuf,
    pub(crate) identity: String,
    /// Where it says that it is alive.
    pub(crate) health: u16,
    /// Where its metrics are.
    pub(crate) metrics: u16,
    /// Where the certificate of its metrics is mounted.
    pub(crate) certificates: PathBuf,
}

impl Operator {
    /// Kills it, so that it ends nothing that it began.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, as a kubelet does.
    pub(crate) fn ask_to_end(&self) -> Result<()> {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").arg(&id).status()?;
        ensure!(asked.success(), "failed to ask the operator to end");
        Ok(())
    }

    /// How it ended; nothing while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Fails if it asked for something that it has no right to.
    pub(crate) fn had_all_rights(&self) -> Result<()> {
        let text = self.log()?;
        let refused: Vec<_> = text
            .lines()
            .filter(|line| line.contains("Forbidden") || line.contains("forbidden"))
            .collect();
        ensure!(refused.is_empty(), "{}", refused.join("\n"));
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill().ok();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
