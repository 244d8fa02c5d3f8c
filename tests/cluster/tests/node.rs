//! What tests on a node rely on: pods run there, profiles bind them, and the API server reaches
//! webhooks.
#![expect(
    clippy::print_stdout,
    reason = "what a test passes over is counted by its printed line"
)]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace, remove_namespace};
use spo_cluster_tests::node::{Node, about, exec, logs, pod, required, run, start, wait};
use spo_cluster_tests::objects::{Refusal, create, get, send};

const PATIENCE: Duration = Duration::from_secs(30);
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Says whether it has a filter, and whether it may make a folder.
const PROBE: &str =
    "exec 2>&1; grep Seccomp: /proc/self/status; mkdir /tmp/new; echo \"status $?\"";

#[tokio::test]
async fn a_pod_runs_and_can_be_asked() -> Result<()> {
    if required()?.is_none() {
        return Ok(());
    }
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    start(&admin, &namespace, &pod("one", "echo begun; sleep 600")).await?;
    let is_running = |pod: &Value| pod["status"]["phase"] == "Running";
    wait(&admin, &namespace, "one", is_running).await?;
    let answer = exec(&namespace, "one", &["sh", "-c", "id -u; exit 7"])?;
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "0\n");
    assert_eq!(answer.status.code(), Some(7));
    assert_eq!(logs(&admin, &namespace, "one").await?, "begun\n");
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn spo_runs_in_a_pod_without_privileges() -> Result<()> {
    if required()?.is_none() {
        return Ok(());
    }
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let mut spo = pod("spo", "");
    spo["spec"]["securityContext"] = json!({ "runAsUser": 65535, "runAsNonRoot": true });
    spo["spec"]["containers"][0] = json!({
        "name": "main",
        "image": "localhost/spo:test",
        "imagePullPolicy": "Never",
        "args": ["--version"],
        "securityContext": {
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
        },
    });
    let said = run(&admin, &namespace, &spo).await?;
    assert!(said.starts_with("spo "), "{said}");
    remove_namespace(&admin, &namespace).await
}

/// A profile in a folder of the test's own, which goes with it.
struct Profile {
    folder: PathBuf,
}

impl Profile {
    /// It refuses to make folders.
    fn install(node: &Node, name: &str) -> Result<Self> {
        let folder = node.kubelet.join("seccomp").join(name);
        fs::create_dir_all(&folder)?;
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{
                "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            }],
        });
        fs::write(folder.join("profile.json"), profile.to_string())?;
        Ok(Self { folder })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("failed to remove {}: {error}", self.folder.display());
        }
    }
}

fn with_profile(mut pod: Value, path: &str) -> Value {
    pod["spec"]["securityContext"] =
        json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": path } });
    pod
}

#[tokio::test]
async fn a_profile_binds_a_pod_with_each_runtime() -> Result<()> {
    let Some(node) = required()? else {
        return Ok(());
    };
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let _profile = Profile::install(&node, &namespace)?;
    for runtime in ["runc", "crun"] {
        let mut plain = pod(&format!("plain-{runtime}"), PROBE);
        plain["spec"]["runtimeClassName"] = json!(runtime);
        let said = run(&admin, &namespace, &plain).await?;
        assert_eq!(said, "Seccomp:\t0\nstatus 0\n", "{runtime}");

        plain["metadata"]["name"] = json!(format!("bound-{runtime}"));
        let bound = with_profile(plain, &format!("{namespace}/profile.json"));
        let said = run(&admin, &namespace, &bound).await?;
        let expected = "Seccomp:\t2\n\
                        mkdir: can't create directory '/tmp/new': Operation not permitted\n\
                        status 1\n";
        assert_eq!(said, expected, "{runtime}");
    }
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn a_profile_that_is_missing_holds_the_container() -> Result<()> {
    if required()?.is_none() {
        return Ok(());
    }
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let waiting = with_profile(pod("waiting", "true"), "no/such/profile.json");
    start(&admin, &namespace, &waiting).await?;
    let reason = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let held = wait(&admin, &namespace, "waiting", |pod| {
        reason(pod)["reason"] == "CreateContainerError"
    });
    let message = reason(&held.await?)["message"].to_string();
    assert!(message.contains("no/such/profile.json"), "{message}");
    remove_namespace(&admin, &namespace).await
}

/// A webhook that is asked about the config maps of one namespace, while it is there.
async fn with_webhook(
    admin: &Client,
    namespace: &str,
    name: &str,
    client_config: Value,
) -> Result<Refusal> {
    let name = format!("{namespace}-{name}.example.com");
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": name },
        "webhooks": [{
            "name": name,
            "clientConfig": client_config,
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["configmaps"],
            }],
            "objectSelector": { "matchLabels": { "asks": name } },
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"],
        }],
    });
    create(admin, WEBHOOKS, &webhook).await??;
    let path = format!("/api/v1/namespaces/{namespace}/configmaps?dryRun=All");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "map", "labels": { "asks": name } },
    });
    let begin = Instant::now();
    // The server learns of a webhook a moment after it has taken it.
    let refusal = loop {
        match create(admin, &path, &map).await? {
            Err(refusal) => break refusal,
            Ok(_) if begin.elapsed() > PATIENCE => bail!("the webhook is not asked"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let path = format!("{WEBHOOKS}/{name}");
    send(admin, http::Method::DELETE, &path, None).await??;
    Ok(refusal)
}

#[tokio::test]
async fn a_webhook_on_this_machine_is_reached() -> Result<()> {
    let Some(node) = required()? else {
        return Ok(());
    };
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let listener = TcpListener::bind((node.host_address, 0))?;
    let url = format!("https://{}/", listener.local_addr()?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut first = [0_u8];
        let read = listener
            .accept()
            .and_then(|(mut stream, _)| stream.read_exact(&mut first));
        sender.send(read.map(|()| first[0]))
    });
    let refusal = with_webhook(&admin, &namespace, "url", json!({ "url": url })).await?;
    // TLS begins with a record of this kind (RFC 8446, 5.1); nobody answered it.
    assert_eq!(receiver.recv_timeout(PATIENCE)??, 22);
    assert!(
        refusal.message.contains("failed calling webhook"),
        "{refusal}"
    );
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_reached() -> Result<()> {
    if required()?.is_none() {
        return Ok(());
    }
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    let mut server = pod("server", "httpd -f -p 8080");
    server["metadata"]["labels"] = json!({ "app": "server" });
    start(&admin, &namespace, &server).await?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "hook" },
        "spec": {
            "selector": { "app": "server" },
            "ports": [{ "port": 443, "targetPort": 8080 }],
        },
    });
    let services = format!("/api/v1/namespaces/{namespace}/services");
    create(&admin, &services, &service).await??;
    let config = json!({ "service": { "namespace": namespace, "name": "hook" } });
    // It speaks no TLS, and the API server says so: it was there.
    let begin = Instant::now();
    loop {
        let refusal = with_webhook(&admin, &namespace, "service", config.clone()).await?;
        if refusal.message.contains("HTTP response to HTTPS client") {
            break;
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "the service is not reached: {refusal}"
        );
    }
    remove_namespace(&admin, &namespace).await
}

#[tokio::test]
async fn the_audit_log_says_who_asked_for_what() -> Result<()> {
    let Some(about) = about()? else {
        println!("skipped: nobody knows where this cluster's audit log is");
        return Ok(());
    };
    let admin = admin().await?;
    let namespace = namespace(&admin).await?;
    get(&admin, &format!("/api/v1/namespaces/{namespace}")).await?;
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(&about.audit_log)
            .with_context(|| format!("failed to read {}", about.audit_log.display()))?;
        let found = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let asked = |record: &Value| {
            record["verb"] == "get"
                && record["responseStatus"]["code"] == 200
                && record["objectRef"]["resource"] == "namespaces"
                && record["objectRef"]["name"] == namespace.as_str()
        };
        if let Some(record) = found.into_iter().find(asked) {
            assert_eq!(record["user"]["username"], "admin");
            assert_eq!(record["level"], "Metadata");
            assert_eq!(record["stage"], "ResponseComplete");
            break;
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "the audit log does not know of {namespace}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    remove_namespace(&admin, &namespace).await
}
