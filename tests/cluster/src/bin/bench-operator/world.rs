//! Everything that `deploy/` installs, with its processes on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use spo::api::names;
use spo::api::webhooks::validating;
use spo_cluster_tests::access::admin;
use spo_cluster_tests::installed::{
    self, GROUP, NAMESPACE, Process, WEBHOOK, Webhook, object, program, register, until,
};
use spo_cluster_tests::meter::{Audit, Mark, Memory};
use spo_cluster_tests::node::about;
use spo_cluster_tests::objects::{create, get};
use tempfile::TempDir;

/// Accounts of the processes, as the manifests name them.
pub(crate) const OPERATOR: &str = "security-profiles-operator";
pub(crate) const DAEMON: &str = "spod";
pub(crate) const ACCOUNTS: [&str; 3] = [OPERATOR, DAEMON, WEBHOOK];
pub(crate) const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";
pub(crate) const STATUSES: &str =
    "/apis/security-profiles-operator.x-k8s.io/v1/securityprofilenodestatuses";
pub(crate) const KIND: &str = "SeccompProfile";
/// The node of our daemon.
const NODE: &str = "node-1";
const PATIENCE: Duration = Duration::from_mins(6);
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

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let admin = admin().await?;
        let about = about()?.context("this cluster does not say where its audit log is")?;
        install(&admin).await?;
        let files = TempDir::new().context("failed to make a folder")?;
        let root = files.path().join("root");
        fs::create_dir(&root).context("failed to make a folder")?;
        let webhook = webhook(&admin, files.path()).await?;
        let mut operator = program(&admin, files.path(), OPERATOR).await?;
        operator
            .args(["operator", "--webhook=false"])
            .args([
                "--health-address=127.0.0.1:0",
                "--metrics-address=127.0.0.1:0",
            ])
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
            daemon: daemon(&admin, files.path(), &root).await?,
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
        let profile = object(KIND, name, &self.spec);
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
    pub(crate) async fn restart_daemon(&mut self) -> Result<()> {
        self.daemon.end();
        self.daemon = daemon(&self.admin, self.files.path(), &self.root).await?;
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

/// Applies `deploy/`, and has daemons everywhere.
async fn install(admin: &Client) -> Result<()> {
    installed::install(admin).await?;
    // Our nodes have no kubelet that says they are ready; daemons are wanted there all the same.
    let spec = json!({ "scheduling": { "tolerations": [{ "operator": "Exists" }] } });
    let configuration = object("SecurityProfilesOperatorDaemon", "spod", &spec);
    let configurations =
        format!("/apis/{GROUP}/v1/namespaces/{NAMESPACE}/securityprofilesoperatordaemons");
    create(admin, &configurations, &configuration).await??;
    Ok(())
}

/// Starts the webhook, and has the API server ask it.
async fn webhook(admin: &Client, files: &Path) -> Result<Process> {
    let Webhook {
        process,
        reach,
        authority,
    } = Webhook::start(admin, files).await?;
    let webhooks = validating(&reach, NAMESPACE, Some(&authority.bundle), &[]);
    register(admin, "ValidatingWebhookConfiguration", webhooks).await?;
    // Only the webhook refuses this.
    let probe = object(
        "RawSelinuxProfile",
        "probe",
        &json!({ "policy": "(allow process" }),
    );
    let probes = format!("/apis/{GROUP}/v1/rawselinuxprofiles?dryRun=All");
    until("the webhook is asked", async || {
        let refused = create(admin, &probes, &probe).await?.err();
        Ok(refused.is_some_and(|refused| refused.to_string().contains("spec.policy")))
    })
    .await?;
    Ok(process)
}

async fn daemon(admin: &Client, files: &Path, root: &Path) -> Result<Process> {
    let mut command = program(admin, files, DAEMON).await?;
    command
        .args(["daemon", "--health-address=127.0.0.1:0"])
        .args(["--metrics-address=127.0.0.1:0", "--root"])
        .arg(root)
        .env("NODE_NAME", NODE);
    Process::start(command)
}
