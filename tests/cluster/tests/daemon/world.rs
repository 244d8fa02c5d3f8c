//! A cluster with our definitions, an account with the daemon's role and no other, and a folder
//! that is a node.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, Request};
use kube::Client;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace, remove_namespace, service_account_config};
use spo_cluster_tests::crd;
use spo_cluster_tests::files::folder;
use spo_cluster_tests::objects::{create, get, send};
use spo_cluster_tests::proxy::Proxy;
use spo_cluster_tests::web::free_port;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const GROUP: &str = "security-profiles-operator.x-k8s.io";
pub(crate) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
pub(crate) const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
pub(crate) const STATUSES: &str =
    "/apis/security-profiles-operator.x-k8s.io/v1/securityprofilenodestatuses";
pub(crate) const FINALIZER: &str = "spo.x-k8s.io/profile";
pub(crate) const NODE: &str = "node-1";
const PATIENCE: Duration = Duration::from_secs(45);
const INTERVAL: Duration = Duration::from_millis(20);
/// A server learns of a role a moment after it has taken it.
const ROLE_SETTLING: Duration = Duration::from_secs(1);

/// Profiles are there for the whole cluster.
static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) files: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) proxy: Proxy,
    /// Where metrics are.
    pub(crate) metrics: u16,
    _turn: MutexGuard<'static, ()>,
}

/// A daemon that is killed when it goes.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let turn = TURN.lock().await;
        let admin = admin().await?;
        for file in folder("deploy/crds")? {
            crd::apply(&admin, &file.object).await?;
        }
        let namespace = namespace(&admin).await?;
        let files = TempDir::new().context("failed to make a folder")?;
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755))?;
        let mut config = service_account_config(&admin, &namespace, "spod").await?;
        let proxy = Proxy::before(&mut config, files.path())?;
        let text = serde_json::to_string(&config).context("failed to write the kubeconfig")?;
        fs::write(files.path().join("kubeconfig"), text)?;
        let root = files.path().join("root");
        fs::create_dir(&root)?;
        let world = Self {
            admin,
            namespace,
            files,
            root,
            proxy,
            metrics: free_port()?,
            _turn: turn,
        };
        world.sweep().await?;
        world.permit().await?;
        world.allow(&[]).await?;
        Ok(world)
    }

    /// Removes all profiles and statuses.
    async fn sweep(&self) -> Result<()> {
        for path in [PROFILES, STATUSES] {
            let list = get(&self.admin, path).await?.context("not served")?;
            for object in list["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                if !object["metadata"]["finalizers"].is_null() {
                    let none = json!({ "metadata": { "finalizers": null } });
                    merge(&self.admin, &path, &none).await?;
                }
                send(&self.admin, Method::DELETE, &path, None).await?.ok();
            }
        }
        Ok(())
    }

    /// Gives the account exactly what `deploy/base/daemon-role.yaml` says.
    async fn permit(&self) -> Result<()> {
        let text = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/base/daemon-role.yaml"),
        )?;
        let namespace = &self.namespace;
        for part in text.split("\n---\n") {
            let mut role: Value = serde_saphyr::from_str(part).context("not YAML")?;
            let is_cluster = role["kind"] == "ClusterRole";
            let name = format!("spod-{namespace}");
            role["metadata"] = json!({ "name": name });
            let (kind, scope) = if is_cluster {
                ("ClusterRole", RBAC.to_owned())
            } else {
                ("Role", format!("{RBAC}/namespaces/{namespace}"))
            };
            let lower = kind.to_lowercase();
            create(&self.admin, &format!("{scope}/{lower}s"), &role).await??;
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": format!("{kind}Binding"),
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": "spod", "namespace": namespace }],
            });
            create(&self.admin, &format!("{scope}/{lower}bindings"), &binding).await??;
        }
        tokio::time::sleep(ROLE_SETTLING).await;
        Ok(())
    }

    /// Removes what is not in the namespace or a folder.
    pub(crate) async fn remove(self) -> Result<()> {
        self.sweep().await?;
        for kind in ["clusterroles", "clusterrolebindings"] {
            let path = format!("{RBAC}/{kind}/spod-{}", self.namespace);
            send(&self.admin, Method::DELETE, &path, None).await??;
        }
        remove_namespace(&self.admin, &self.namespace).await
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.files.path().join("kubeconfig")
    }

    /// Where the Secret with the certificate of metrics is mounted.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.files.path().join("metrics")
    }

    /// What every daemon is told, whoever starts it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            "daemon".to_owned(),
            "--root".to_owned(),
            self.root.to_string_lossy().into_owned(),
            "--health-address=127.0.0.1:0".to_owned(),
            format!("--metrics-address=127.0.0.1:{}", self.metrics),
            format!("--metrics-certificates={}", self.certificates().display()),
        ]
    }

    /// A folder of the kubelet, as `node-setup` leaves it; returns what of it is about profiles. For
    /// daemons that are told `--kubelet`.
    pub(crate) fn kubelet(&self) -> Result<PathBuf> {
        let seccomp = self.files.path().join("kubelet/seccomp");
        fs::create_dir_all(&seccomp)?;
        symlink(&self.root, seccomp.join("operator"))?;
        fs::write(seccomp.join("security-profiles-operator.json"), "{}")?;
        Ok(seccomp)
    }

    /// How a daemon is told of that folder.
    pub(crate) fn told_of_kubelet(&self) -> String {
        let kubelet = self.files.path().join("kubelet");
        format!("--kubelet={}", kubelet.display())
    }

    pub(crate) fn start(&self) -> Result<Daemon> {
        let mut command = Command::new(spo());
        command.args(self.arguments());
        self.start_as(command)
    }

    pub(crate) fn start_as(&self, mut command: Command) -> Result<Daemon> {
        let log = self.files.path().join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .env_clear()
            .env("KUBECONFIG", self.kubeconfig())
            .env("NODE_NAME", NODE)
            .env("OPERATOR_NAMESPACE", &self.namespace)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("failed to start the daemon")?;
        Ok(Daemon { child, log })
    }

    pub(crate) async fn apply(&self, name: &str, spec: &Value) -> Result<Value> {
        self.apply_with(name, json!({ "name": name }), spec).await
    }

    pub(crate) async fn apply_with(
        &self,
        name: &str,
        metadata: Value,
        spec: &Value,
    ) -> Result<Value> {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "SeccompProfile",
            "metadata": metadata,
            "spec": spec,
        });
        let path = format!("{PROFILES}/{name}");
        Ok(match get(&self.admin, &path).await? {
            None => create(&self.admin, PROFILES, &object).await??,
            Some(mut old) => {
                old["spec"] = spec.clone();
                send(&self.admin, Method::PUT, &path, Some(&old)).await??
            }
        })
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        let path = format!("{PROFILES}/{name}");
        send(&self.admin, Method::DELETE, &path, None).await??;
        Ok(())
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) -> Result<()> {
        merge(&self.admin, &format!("{PROFILES}/{name}"), &patch).await
    }

    pub(crate) fn file(&self, profile: &str) -> PathBuf {
        self.root.join(format!("{profile}.json"))
    }

    pub(crate) async fn status(&self, profile: &str) -> Result<Option<Value>> {
        let path = format!("{STATUSES}/seccompprofile-{profile}-{NODE}");
        get(&self.admin, &path).await
    }

    /// Waits until this node says something of a profile.
    pub(crate) async fn says(
        &self,
        profile: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let start = Instant::now();
        loop {
            let last = self.status(profile).await?;
            if let Some(object) = last.as_ref().filter(|object| is(&object["status"])) {
                ensure!(
                    object["metadata"]["labels"]["spo.x-k8s.io/profile-state"]
                        == object["status"]["status"],
                    "the label says something else: {object:#}"
                );
                return Ok(object.clone());
            }
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.files.path().join("log")).unwrap_or_default();
                let last = last.unwrap_or_default();
                bail!("{profile} is never {what}: {last:#}\n{log}");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Waits until a profile is in a state, for this reason if there is one.
    pub(crate) async fn is(&self, profile: &str, state: &str, reason: &str) -> Result<Value> {
        let what = format!("{state} {reason}");
        self.says(profile, &what, |status| {
            status["status"] == state && status["reason"].as_str().unwrap_or_default() == reason
        })
        .await
    }

    /// Waits until a profile as it is now is installed, and the file is the object's spec.
    pub(crate) async fn is_installed(&self, profile: &str) -> Result<Value> {
        let path = format!("{PROFILES}/{profile}");
        let object = get(&self.admin, &path).await?.context("no profile")?;
        let generation = &object["metadata"]["generation"];
        let digest = || {
            let text = fs::read(self.file(profile)).unwrap_or_default();
            format!("sha256:{}", sha256(&text))
        };
        // The file of a profile that stands on a base is written anew with that.
        let status = self
            .says(profile, "Installed", |status| {
                status["status"] == "Installed"
                    && status["observedGeneration"] == *generation
                    && status["digest"] == digest()
            })
            .await?;
        let text = fs::read(self.file(profile))?;
        if object["spec"]["baseProfileName"].is_null() {
            let content: Value = serde_json::from_slice(&text)?;
            ensure!(content == object["spec"], "{content:#} is not the spec");
        }
        Ok(status)
    }

    /// What daemons logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is() {
            ensure!(start.elapsed() < PATIENCE, "it never came to: {what}");
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Waits until this node says nothing of a profile.
    pub(crate) async fn is_silent(&self, profile: &str) -> Result<()> {
        let start = Instant::now();
        while self.status(profile).await?.is_some() {
            ensure!(
                start.elapsed() < PATIENCE,
                "{profile} has a status for ever"
            );
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Waits for an event.
    pub(crate) async fn event(&self, profile: &str, reason: &str) -> Result<Value> {
        let start = Instant::now();
        loop {
            let path = "/apis/events.k8s.io/v1/namespaces/default/events";
            let list = get(&self.admin, path).await?.context("no events")?;
            let mut events = list["items"].as_array().into_iter().flatten();
            let found = events
                .rfind(|event| event["regarding"]["name"] == profile && event["reason"] == reason);
            if let Some(event) = found {
                return Ok(event.clone());
            }
            if start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.files.path().join("log")).unwrap_or_default();
                bail!("no event {reason} of {profile}\n{log}");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Requests to the server so far, by verb and resource.
    pub(crate) async fn requests(&self, verb: &str, resource: &str) -> Result<f64> {
        let request = Request::get("/metrics").body(Vec::new())?;
        let text = self.admin.request_text(request).await?;
        let lines = text.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && line.contains(&format!("verb=\"{verb}\""))
                && line.contains(&format!("resource=\"{resource}\""))
        });
        lines
            .map(|line| {
                let value = line.rsplit(' ').next().unwrap_or_default();
                value.parse::<f64>().context("no number")
            })
            .sum()
    }
}

/// A profile that allows some calls.
pub(crate) fn allows(syscalls: &[&str]) -> Value {
    json!({
        "state": "Enabled",
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": syscalls }],
    })
}

pub(crate) fn spo() -> PathBuf {
    std::env::var_os("SPO_BIN")
        .expect("SPO_BIN names the binary: run cargo xtask test cluster")
        .into()
}

/// As `sha256sum` writes it.
pub(crate) fn sha256(content: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in digest(&SHA256, content.as_ref()).as_ref() {
        write!(text, "{byte:02x}").expect("a text takes any text");
    }
    text
}

pub(crate) async fn merge(client: &Client, path: &str, change: &Value) -> Result<()> {
    let request = Request::patch(path)
        .header("Content-Type", "application/merge-patch+json")
        .body(change.to_string().into_bytes())?;
    let _: Value = client
        .request(request)
        .await
        .with_context(|| format!("failed to patch {path}"))?;
    Ok(())
}
