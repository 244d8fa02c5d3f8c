//! Everything that `deploy/` installs, with its processes on this machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use spo::api::names;
use spo::api::webhooks::{Reach, validating};
use spo::server::certificates::{Stored, authority, serving};
use spo_cluster_tests::access::{admin, service_account_config};
use spo_cluster_tests::manifests::{apply, kustomized};
use spo_cluster_tests::meter::{Audit, Mark, Memory};
use spo_cluster_tests::node::about;
use spo_cluster_tests::objects::{create, get};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Accounts of the processes, as the manifests name them.
pub(crate) const OPERATOR: &str = "security-profiles-operator";
pub(crate) const DAEMON: &str = "spod";
const WEBHOOK: &str = "spo-webhook";
pub(crate) const ACCOUNTS: [&str; 3] = [OPERATOR, DAEMON, WEBHOOK];
const NAMESPACE: &str = "security-profiles-operator";
pub(crate) const GROUP: &str = "security-profiles-operator.x-k8s.io";
pub(crate) const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
pub(crate) const STATUSES: &str =
    "/apis/security-profiles-operator.x-k8s.io/v1/securityprofilenodestatuses";
pub(crate) const KIND: &str = "SeccompProfile";
/// The node of our daemon.
const NODE: &str = "node-1";
/// A thousand pods of the `DaemonSet` take two minutes.
const PATIENCE: Duration = Duration::from_mins(6);
const INTERVAL: Duration = Duration::from_millis(100);
/// When nothing was asked for so long, what was begun is done.
const QUIET: Duration = Duration::from_secs(5);
/// What a profile allows: a hundred calls, as many as programs make.
const CALLS: &str = "\
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk \
    rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access \
    pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 \
    pause nanosleep getitimer alarm setitimer getpid sendfile socket connect accept \
    sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername \
    socketpair setsockopt getsockopt clone fork vfork execve exit wait4 kill uname \
    semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync fdatasync \
    truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link \
    unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday \
    getrlimit getrusage sysinfo";

pub(crate) struct World {
    pub(crate) admin: Client,
    pub(crate) audit: Audit,
    /// The daemon's folder of profiles.
    pub(crate) root: PathBuf,
    /// What all profiles say.
    pub(crate) spec: Value,
    pub(crate) operator: Process,
    pub(crate) daemon: Process,
    webhook: Process,
    files: TempDir,
}

/// A process that is killed when it goes.
pub(crate) struct Process(Child);

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let admin = admin().await?;
        let about = about()?.context("this cluster does not say where its audit log is")?;
        install(&admin).await?;
        let files = TempDir::new().context("failed to make a folder")?;
        for account in ACCOUNTS {
            let config = service_account_config(&admin, NAMESPACE, account).await?;
            write(&files.path().join(account), &config)?;
        }
        let root = files.path().join("root");
        fs::create_dir(&root).context("failed to make a folder")?;
        let webhook = webhook(&admin, files.path()).await?;
        let mut operator = spo(files.path(), OPERATOR)?;
        operator
            .args(["operator", "--webhook=false"])
            .args([
                "--health-address=127.0.0.1:0",
                "--metrics-address=127.0.0.1:0",
            ])
            .env("OPERATOR_NAMESPACE", NAMESPACE)
            .env("POD_NAME", "bench");
        let calls: Vec<_> = CALLS.split_whitespace().collect();
        let world = Self {
            audit: Audit::at(&about.audit_log, &ACCOUNTS),
            spec: json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": calls }],
            }),
            operator: Process::start(operator)?,
            daemon: daemon(files.path(), &root)?,
            webhook,
            admin,
            root,
            files,
        };
        world.add_node(NODE).await?;
        world.apply("first").await?;
        let path = format!("{PROFILES}/first");
        until("the first profile is installed", async || {
            let profile = get(&world.admin, &path).await?.unwrap_or_default();
            Ok(is_installed(&profile))
        })
        .await?;
        world.quiet().await?;
        Ok(world)
    }

    /// Makes a profile.
    pub(crate) async fn apply(&self, name: &str) -> Result<Value> {
        let profile = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": KIND,
            "metadata": { "name": name },
            "spec": self.spec,
        });
        Ok(create(&self.admin, PROFILES, &profile).await??)
    }

    /// Makes the object of a node.
    pub(crate) async fn add_node(&self, name: &str) -> Result<()> {
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": name, "labels": {
                "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": name,
            }},
        });
        create(&self.admin, "/api/v1/nodes", &node).await??;
        Ok(())
    }

    /// Waits until our processes ask for nothing any more.
    pub(crate) async fn quiet(&self) -> Result<Mark> {
        let start = Instant::now();
        loop {
            let mark = self.audit.mark()?;
            tokio::time::sleep(QUIET).await;
            let asked = self.audit.since(mark)?;
            let Some(last) = asked.iter().rfind(|asked| !asked.is_upkeep()) else {
                return self.audit.mark();
            };
            ensure!(
                start.elapsed() < PATIENCE,
                "it never becomes quiet: {} asks for {}",
                last.account(),
                last.what()
            );
        }
    }

    /// Something of each process, by its name.
    pub(crate) fn each<T>(&self, of: impl Fn(u32) -> Result<T>) -> Result<BTreeMap<String, T>> {
        let Self {
            operator,
            daemon,
            webhook,
            ..
        } = self;
        [
            ("operator", operator),
            ("daemon", daemon),
            ("webhook", webhook),
        ]
        .into_iter()
        .map(|(name, process)| Ok((name.to_owned(), of(process.id())?)))
        .collect()
    }

    pub(crate) fn memory(&self) -> Result<BTreeMap<String, Memory>> {
        self.each(Memory::of)
    }

    /// Ends the daemon, and starts another.
    pub(crate) fn restart_daemon(&mut self) -> Result<()> {
        self.daemon.end();
        self.daemon = daemon(self.files.path(), &self.root)?;
        Ok(())
    }
}

/// The object in which our daemon says how far a profile got.
pub(crate) fn status_name(profile: &str) -> String {
    names::node_status(KIND, profile, NODE)
}

/// Whether a profile, or a node's status of it, says that it is installed.
pub(crate) fn is_installed(object: &Value) -> bool {
    object["status"]["status"] == "Installed"
}

/// Applies `deploy/`, of which no pod runs: there is no kubelet.
async fn install(admin: &Client) -> Result<()> {
    let mut objects = kustomized()?.context("there is no kubectl")?;
    for ((kind, _, _), object) in &mut objects {
        if kind == "Deployment" {
            object["spec"]["replicas"] = json!(0);
        }
    }
    apply(admin, &objects).await?;
    // Our nodes have no kubelet that says they are ready; daemons are wanted there all the same.
    let configuration = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "SecurityProfilesOperatorDaemon",
        "metadata": { "name": "spod" },
        "spec": { "scheduling": { "tolerations": [{ "operator": "Exists" }] } },
    });
    let configurations =
        format!("/apis/{GROUP}/v1/namespaces/{NAMESPACE}/securityprofilesoperatordaemons");
    create(admin, &configurations, &configuration).await??;
    Ok(())
}

/// Starts the webhook, and has the API server ask it.
async fn webhook(admin: &Client, files: &Path) -> Result<Process> {
    let (port, health) = (free_port().await?, free_port().await?);
    let now = Timestamp::now();
    let (authority, _): (Stored, _) = authority(None, now)?.write.context("no authority")?;
    let names = ["localhost".to_owned()];
    let serving = serving(None, &authority, &names, now)?;
    let (certificate, _) = serving.write.context("no certificate")?;
    let folder = files.join("certificates");
    fs::create_dir(&folder).context("failed to make a folder")?;
    for (name, content) in [
        ("tls.crt", certificate.certificate),
        ("tls.key", certificate.key),
    ] {
        fs::write(folder.join(name), content).context("failed to write a certificate")?;
    }
    let mut command = spo(files, WEBHOOK)?;
    command
        .args(["webhook", "--port", &port.to_string()])
        .args(["--health-port", &health.to_string(), "--certificates"])
        .arg(&folder);
    let process = Process::start(command)?;
    let reach = Reach::Url(format!("https://localhost:{port}"));
    let object = validating(&reach, NAMESPACE, Some(&authority.bundle), &[]);
    let mut object = serde_json::to_value(object)?;
    object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
    object["kind"] = json!("ValidatingWebhookConfiguration");
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    create(admin, path, &object).await??;
    // Only the webhook refuses this.
    let probe = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "RawSelinuxProfile",
        "metadata": { "name": "probe" },
        "spec": { "policy": "(allow process" },
    });
    let probes = format!("/apis/{GROUP}/v1/rawselinuxprofiles?dryRun=All");
    until("the webhook is asked", async || {
        let refused = create(admin, &probes, &probe).await?.err();
        Ok(refused.is_some_and(|refused| refused.to_string().contains("spec.policy")))
    })
    .await?;
    Ok(process)
}

fn daemon(files: &Path, root: &Path) -> Result<Process> {
    let mut command = spo(files, DAEMON)?;
    command
        .args(["daemon", "--health-address=127.0.0.1:0"])
        .args(["--metrics-address=127.0.0.1:0", "--root"])
        .arg(root)
        .env("NODE_NAME", NODE)
        .env("OPERATOR_NAMESPACE", NAMESPACE);
    Process::start(command)
}

/// The program, as one of the accounts.
fn spo(files: &Path, account: &str) -> Result<Command> {
    let spo = std::env::var_os("SPO_BIN");
    let mut command = Command::new(spo.context("SPO_BIN does not name the program")?);
    let log = files.join(format!("{account}.log"));
    let log = File::options().create(true).append(true).open(log);
    let log = log.context("failed to make a log")?;
    command
        .env_clear()
        .env("KUBECONFIG", files.join(account))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("failed to share a log")?)
        .stderr(log);
    Ok(command)
}

fn write(path: &Path, config: &Kubeconfig) -> Result<()> {
    let text = serde_json::to_string(config).context("failed to write a kubeconfig")?;
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

async fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let address = listener.context("failed to listen")?.local_addr();
    Ok(address.context("no address")?.port())
}

/// Waits until something is so that happens once, before or between measurements.
pub(crate) async fn until(what: &str, is: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is().await? {
        if start.elapsed() > PATIENCE {
            bail!("it never came to: {what}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

impl Process {
    fn start(mut command: Command) -> Result<Self> {
        command.spawn().map(Self).context("failed to start spo")
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    fn end(&mut self) {
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
