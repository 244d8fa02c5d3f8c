//! A webhook that serves, and is registered.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use spo::api::daemon::WebhookOptions;
use spo::api::webhooks::{MUTATING, Reach, VALIDATING, mutating, validating};
use spo::server::certificates::{Stored, authority, serving};
use spo_cluster_tests::access::{
    BINDINGS, ROLES, admin, allow, namespace, remove_namespace, service_account_config,
};
use spo_cluster_tests::crd;
use spo_cluster_tests::files::{documents, folder};
use spo_cluster_tests::objects::{create, get, replace, send};
use spo_cluster_tests::web::{self, free_port, plain_get};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);
pub(crate) const GROUP: &str = "security-profiles-operator.x-k8s.io";
const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING_CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Webhooks are registered for the whole cluster.
static TURN: Mutex<()> = Mutex::const_new(());

/// The cluster with our definitions, and nobody else who registers webhooks.
pub(crate) struct Ground {
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    roles: std::sync::Mutex<Vec<String>>,
    _turn: MutexGuard<'static, ()>,
}

impl Ground {
    pub(crate) async fn new() -> Result<Self> {
        let turn = TURN.lock().await;
        let admin = admin().await?;
        unregister(&admin).await?;
        for file in folder("deploy/crds")? {
            crd::apply(&admin, &file.object).await?;
        }
        clean(&admin).await?;
        let namespace = namespace(&admin).await?;
        Ok(Self {
            admin,
            namespace,
            roles: std::sync::Mutex::default(),
            _turn: turn,
        })
    }

    pub(crate) async fn remove(self) -> Result<()> {
        unregister(&self.admin).await?;
        for role in self.roles.into_inner()? {
            for path in [BINDINGS, ROLES] {
                let path = format!("{path}/{role}");
                send(&self.admin, Method::DELETE, &path, None).await??;
            }
        }
        remove_namespace(&self.admin, &self.namespace).await
    }

    /// Lets an account of the namespace do what a file says that has a `ClusterRole`, and a `Role` for
    /// the operator's namespace.
    pub(crate) async fn permit(&self, account: &str, role: &str, path: &str) -> Result<()> {
        let namespace = &self.namespace;
        for object in documents(path)? {
            if object["kind"] == "ClusterRole" {
                self.allow(account, role, &object["rules"]).await?;
                continue;
            }
            let mut own = object;
            own["metadata"] = json!({ "name": role });
            create(
                &self.admin,
                &format!("{RBAC}/namespaces/{namespace}/roles"),
                &own,
            )
            .await??;
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": { "name": role },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
                "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
            });
            let path = format!("{RBAC}/namespaces/{namespace}/rolebindings");
            create(&self.admin, &path, &binding).await??;
        }
        Ok(())
    }

    /// Lets an account of the namespace do what rules say, by a role of this name.
    pub(crate) async fn allow(&self, account: &str, role: &str, rules: &Value) -> Result<()> {
        let namespace = &self.namespace;
        let role = format!("{role}-{namespace}");
        if let Ok(mut roles) = self.roles.lock() {
            roles.push(role.clone());
        }
        allow(&self.admin, (namespace, account), &role, rules).await
    }
}

/// A webhook that serves.
pub(crate) struct Webhook {
    process: Child,
    port: u16,
    pub(crate) url: String,
    pub(crate) files: TempDir,
    pub(crate) authority: Stored,
}

impl Webhook {
    /// Starts it with a certificate for `localhost`, and waits until it is ready.
    pub(crate) async fn start(ground: &Ground) -> Result<Self> {
        let config =
            service_account_config(&ground.admin, &ground.namespace, "spo-webhook").await?;
        ground
            .permit("spo-webhook", "webhook", "deploy/base/webhook-role.yaml")
            .await?;
        let files = TempDir::new().context("failed to make a folder")?;
        let kubeconfig = files.path().join("kubeconfig");
        fs::write(&kubeconfig, serde_json::to_string(&config)?)?;
        let now = Timestamp::now();
        let (authority, _) = authority(None, now)?.write.context("no authority")?;
        let (port, health) = (free_port()?, free_port()?);
        let process = Command::new(binary()?)
            .args(["webhook", "--port", &port.to_string()])
            .args(["--health-port", &health.to_string()])
            .arg("--certificates")
            .arg(files.path().join("mounted"))
            .env("KUBECONFIG", &kubeconfig)
            .env("OPERATOR_NAMESPACE", &ground.namespace)
            .env("SSL_CERT_FILE", "/nonexistent")
            .stdin(Stdio::null())
            .spawn()
            .context("failed to start spo webhook")?;
        let webhook = Self {
            process,
            port,
            url: format!("https://localhost:{port}"),
            files,
            authority,
        };
        let start = Instant::now();
        let mut mounted = false;
        loop {
            let said = plain_get(health, "/readyz", &[]).await.unwrap_or_default();
            if said.starts_with("HTTP/1.1 200") {
                return Ok(webhook);
            }
            // It says what it waits for, and begins without a restart.
            if !mounted && said.contains("there is no certificate yet") {
                webhook.mount(1, &certificate(&webhook.authority)?)?;
                mounted = true;
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "the webhook is not ready: {said}"
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn most_memory(&self) -> Result<usize> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.split_whitespace().next());
        Ok(size.context("no VmHWM")?.parse::<usize>()? << 10)
    }

    /// Where it serves.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Mounts a Secret as the kubelet does.
    pub(crate) fn mount(&self, generation: u32, secret: &Stored) -> Result<()> {
        web::mount(&self.files.path().join("mounted"), generation, secret)
    }

    /// Registers it, and waits until the API server asks it.
    pub(crate) async fn register(&self, ground: &Ground, options: &[WebhookOptions]) -> Result<()> {
        let reach = Reach::Url(self.url.clone());
        let bundle = &self.authority.bundle;
        register(ground, &reach, bundle, options).await?;
        let start = Instant::now();
        let path = format!("/apis/{GROUP}/v1/seccompprofiles?dryRun=All");
        while create(&ground.admin, &path, &probe()).await?.is_ok() {
            ensure!(start.elapsed() < PATIENCE, "nobody asks the webhook");
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Lets it do nothing, as one that hangs.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status()?;
        ensure!(sent.success(), "failed to send {signal} to the webhook");
        Ok(())
    }

    /// Ends it without a warning, once and for all.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill().context("failed to kill the webhook")?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it as a kubelet does.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal("-TERM")?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the webhook ended with {status}");
        Ok(())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A certificate for [`Webhook`].
pub(crate) fn certificate(authority: &Stored) -> Result<Stored> {
    let names = ["localhost".to_owned()];
    let plan = serving(None, authority, &names, Timestamp::now())?;
    Ok(plan.write.context("no certificate")?.0)
}

/// An object that only the webhook refuses.
pub(crate) fn probe() -> Value {
    profile(
        "SeccompProfile",
        "probe",
        &json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{
                "names": ["read"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 9, "op": "SCMP_CMP_EQ" }],
            }],
        }),
    )
}

pub(crate) fn profile(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// Registers webhooks in place of those that were.
pub(crate) async fn register(
    ground: &Ground,
    reach: &Reach,
    bundle: &[u8],
    options: &[WebhookOptions],
) -> Result<()> {
    let object = validating(reach, &ground.namespace, Some(bundle), options);
    let mut object = serde_json::to_value(object)?;
    object["kind"] = json!("ValidatingWebhookConfiguration");
    put(&ground.admin, CONFIGURATIONS, object).await?;
    let object = mutating(reach, &ground.namespace, Some(bundle), options, true);
    let mut object = serde_json::to_value(object)?;
    object["kind"] = json!("MutatingWebhookConfiguration");
    put(&ground.admin, MUTATING_CONFIGURATIONS, object).await
}

async fn put(admin: &Client, collection: &str, mut object: Value) -> Result<()> {
    object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{collection}/{name}");
    loop {
        let written = match get(admin, &path).await? {
            None => create(admin, collection, &object).await?,
            Some(old) => {
                object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
                replace(admin, &path, &object).await?
            }
        };
        match written {
            // Whoever keeps bundles current wrote one in between.
            Err(refusal) if refusal.code == 409 => {}
            written => return Ok(written.map(drop)?),
        }
    }
}

/// Removes what a test that failed left.
async fn clean(admin: &Client) -> Result<()> {
    const KINDS: [&str; 4] = [
        "seccompprofiles",
        "selinuxprofiles",
        "rawselinuxprofiles",
        "apparmorprofiles",
    ];
    for kind in KINDS {
        for name in [
            "bad",
            "before",
            "good",
            "kept",
            "kept-raw",
            "probe",
            "log-enricher-trace",
        ] {
            let path = format!("/apis/{GROUP}/v1/{kind}/{name}");
            if let Some(mut object) = get(admin, &path).await? {
                object["metadata"]["finalizers"] = json!([]);
                replace(admin, &path, &object).await??;
                // Without its finalizer it may be gone already.
                drop(send(admin, Method::DELETE, &path, None).await?);
            }
        }
    }
    Ok(())
}

/// Has the API server wait for a second only.
pub(crate) async fn hurry(admin: &Client) -> Result<()> {
    for path in [
        format!("{CONFIGURATIONS}/{VALIDATING}"),
        format!("{MUTATING_CONFIGURATIONS}/{MUTATING}"),
    ] {
        let mut object = get(admin, &path).await?.context("none is registered")?;
        for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
            webhook["timeoutSeconds"] = json!(1);
        }
        replace(admin, &path, &object).await??;
    }
    Ok(())
}

/// The registration as it is.
pub(crate) async fn registered(admin: &Client) -> Result<Value> {
    let found = get(admin, &format!("{CONFIGURATIONS}/{VALIDATING}")).await?;
    found.context("the webhooks are not registered")
}

async fn unregister(admin: &Client) -> Result<()> {
    for path in [
        format!("{CONFIGURATIONS}/{VALIDATING}"),
        format!("{MUTATING_CONFIGURATIONS}/{MUTATING}"),
    ] {
        match send(admin, Method::DELETE, &path, None).await? {
            Err(refusal) if refusal.code != 404 => return Err(refusal.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The binary under test.
fn binary() -> Result<std::ffi::OsString> {
    std::env::var_os("SPO_BIN").context("SPO_BIN is not set: run cargo xtask test cluster")
}
