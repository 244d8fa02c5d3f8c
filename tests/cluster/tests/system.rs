//! Everything in pods of a real node, as `deploy/` installs it, with the rights that it gives.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::{admin, namespace, remove_namespace};
use spo_cluster_tests::manifests::{Objects, apply, kustomized};
use spo_cluster_tests::node::{self, Node};
use spo_cluster_tests::objects::{create, get, send};

const OWN: &str = "security-profiles-operator";
const GROUP: &str = "/apis/security-profiles-operator.x-k8s.io/v1";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spo-validating-webhook-configuration";
/// Loaded into the node by `cargo xtask test cluster`.
const IMAGE: &str = "localhost/spo:test";
const PATIENCE: Duration = Duration::from_mins(2);
const INTERVAL: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_profile_gets_to_a_node_binds_a_pod_and_stays_while_it_is_used() -> Result<()> {
    let Some(node) = node::required()? else {
        return Ok(());
    };
    let admin = admin().await?;
    install(&admin).await?;
    let users = namespace(&admin).await?;

    let policy = json!({ "policy": "(allow process" });
    let bad = object("RawSelinuxProfile", "bad", &policy);
    let refused = create(&admin, &format!("{GROUP}/rawselinuxprofiles"), &bad).await?;
    let refused = refused.expect_err("the webhook refuses it");
    ensure!(refused.to_string().contains("spec.policy"), "{refused}");

    let spec = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "action": "SCMP_ACT_ERRNO", "names": ["mkdir", "mkdirat"] }],
    });
    let profiles = format!("{GROUP}/seccompprofiles");
    let profile = format!("{profiles}/system-test");
    create(
        &admin,
        &profiles,
        &object("SeccompProfile", "system-test", &spec),
    )
    .await??;
    let installed = |profile: &Value| {
        profile["status"]["status"] == "Installed" && profile["status"]["nodes"]["ready"] == 1
    };
    becomes(&admin, &profile, "installed", installed).await?;

    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x; echo mkdir $?; sleep 1000";
    let mut user = node::pod("user", script);
    user["spec"]["securityContext"]["seccompProfile"] = localhost("system-test");
    let mut lost = node::pod("lost", "true");
    lost["spec"]["securityContext"]["seccompProfile"] = localhost("not-there");
    node::start(&admin, &users, &user).await?;
    node::start(&admin, &users, &lost).await?;
    node::wait(&admin, &users, "user", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await?;
    let in_use =
        |profile: &Value| profile["status"]["activeWorkloads"][0] == format!("{users}/user");
    becomes(&admin, &profile, "used", in_use).await?;
    let logs = until("the script has begun", async || {
        let logs = node::logs(&admin, &users, "user").await?;
        Ok(logs.contains("mkdir 1").then_some(logs))
    });
    let logs = logs.await?;
    ensure!(
        logs.contains("Seccomp:\t2") && logs.contains("not permitted"),
        "{logs}"
    );
    until("the pod is told", async || {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{users}/events");
        let events = get(&admin, &path).await?.unwrap_or_default();
        let mut events = events["items"].as_array().into_iter().flatten();
        Ok(events
            .find(|event| event["reason"] == "ProfileNotOnNode")
            .cloned())
    })
    .await?;

    send(&admin, Method::DELETE, &profile, None).await??;
    becomes(&admin, &profile, "terminating", |profile| {
        profile["status"]["status"] == "Terminating"
    })
    .await?;
    // Whoever starts a container now finds the file.
    ensure!(file(&node).exists(), "{} is gone", file(&node).display());
    let now = json!({ "gracePeriodSeconds": 0 });
    let path = format!("/api/v1/namespaces/{users}/pods/user");
    send(&admin, Method::DELETE, &path, Some(&now)).await??;
    until("the profile is gone", async || {
        Ok(get(&admin, &profile).await?.is_none().then_some(()))
    })
    .await?;
    ensure!(!file(&node).exists(), "{} is left", file(&node).display());

    processes_have_no_rights()?;
    remove_namespace(&admin, &users).await?;
    remove(&admin).await
}

/// Applies `deploy/` with the image of this build, and waits until all of it runs.
async fn install(admin: &Client) -> Result<()> {
    let mut objects: Objects = kustomized()?.context("no kubectl")?;
    for ((kind, _, _), object) in &mut objects {
        if kind == "Deployment" {
            object["spec"]["replicas"] = json!(1);
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!(IMAGE);
            container["imagePullPolicy"] = json!("Never");
        }
    }
    apply(admin, &objects).await?;
    let configuration = format!("{GROUP}/namespaces/{OWN}/securityprofilesoperatordaemons/spod");
    becomes(admin, &configuration, "running", |configuration| {
        configuration["status"]["state"] == "Running"
    })
    .await?;
    let webhook = format!("/apis/apps/v1/namespaces/{OWN}/deployments/{OWN}-webhook");
    becomes(admin, &webhook, "available", |webhook| {
        webhook["status"]["availableReplicas"] == webhook["spec"]["replicas"]
    })
    .await?;
    becomes(admin, REGISTRATION, "trusted", |registration| {
        let mut webhooks = registration["webhooks"].as_array().into_iter().flatten();
        webhooks.all(|webhook| webhook["clientConfig"]["caBundle"].is_string())
    })
    .await
}

async fn remove(admin: &Client) -> Result<()> {
    remove_namespace(admin, OWN).await?;
    send(admin, Method::DELETE, REGISTRATION, None).await??;
    Ok(())
}

/// None of our processes has a capability, or root's id, or no filter.
fn processes_have_no_rights() -> Result<()> {
    let mut found = 0;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let command = fs::read(folder.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if !["/spo operator", "/spo daemon", "/spo webhook"]
            .iter()
            .any(|begin| command.starts_with(begin))
        {
            continue;
        }
        let status = fs::read_to_string(folder.join("status"))?;
        for line in [
            "Uid:\t65535\t65535\t65535\t65535",
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            ensure!(status.contains(line), "{command}: not {line}:\n{status}");
        }
        found += 1;
    }
    ensure!(found >= 3, "{found} processes");
    Ok(())
}

/// The file of the profile, as the kubelet finds it. The node has a `/var/lib` of its own, which is
/// seen through a process in it.
fn file(node: &Node) -> std::path::PathBuf {
    let root = node.holder.map_or_else(
        || "/".into(),
        |holder| Path::new("/proc").join(holder.to_string()).join("root"),
    );
    root.join("var/lib/security-profiles-operator/system-test.json")
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

fn localhost(profile: &str) -> Value {
    json!({ "type": "Localhost", "localhostProfile": format!("operator/{profile}.json") })
}

async fn becomes(
    admin: &Client,
    path: &str,
    what: &str,
    is: impl Fn(&Value) -> bool,
) -> Result<()> {
    let last = std::cell::RefCell::new(Value::Null);
    let done = until(what, async || {
        let object = get(admin, path).await?.unwrap_or_default();
        let done = is(&object);
        last.replace(object);
        Ok(done.then_some(()))
    });
    done.await
        .with_context(|| format!("{path}: {:#}", last.borrow()))
}

async fn until<T>(what: &str, try_it: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(done) = try_it().await? {
            return Ok(done);
        }
        ensure!(start.elapsed() < PATIENCE, "it never came to: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
}
