//! Pods that are recorded, and recordings, as the API server takes them.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::objects::{create, get, replace, send};

use crate::policy::account;
use crate::server::{GROUP, Ground, INTERVAL, PATIENCE, Webhook, profile};

const MARK: &str = "io.containers.trace-bpf/app";
const LOG_MARK: &str = "io.containers.trace-logs/app";

fn recording(name: &str, recorder: &str, app: &str) -> Value {
    let selector = json!({ "matchLabels": { "app": app } });
    let spec = json!({ "kind": "SeccompProfile", "recorder": recorder, "podSelector": selector });
    profile("ProfileRecording", name, &spec)
}

fn pod(app: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": app } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "app",
                "image": "none.example.com/none",
                "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
            }],
            "initContainers": [{ "name": "first", "image": "none.example.com/none" }],
        },
    })
}

/// Switches recorders on.
pub(crate) async fn configure(ground: &Ground, bpf: bool, logs: bool) -> Result<()> {
    let path = format!(
        "/apis/{GROUP}/v1/namespaces/{}/securityprofilesoperatordaemons",
        ground.namespace
    );
    let enricher = json!({ "enableBpfRecorder": bpf, "enableLogEnricher": logs });
    let mut object = profile(
        "SecurityProfilesOperatorDaemon",
        "spod",
        &json!({ "enricher": enricher }),
    );
    match get(&ground.admin, &format!("{path}/spod")).await? {
        None => create(&ground.admin, &path, &object).await??,
        Some(old) => {
            object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            replace(&ground.admin, &format!("{path}/spod"), &object).await??
        }
    };
    Ok(())
}

/// Creates the pod, without keeping it, until the answer is as it should be: watches take a moment.
async fn until(
    ground: &Ground,
    path: &str,
    pod: &Value,
    is: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let start = Instant::now();
    loop {
        let made = create(&ground.admin, &format!("{path}?dryRun=All"), pod).await??;
        if is(&made) {
            return Ok(made);
        }
        ensure!(start.elapsed() < PATIENCE, "still {made}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Old servers write annotations of their own.
fn is_marked(pod: &Value) -> bool {
    let annotations = pod["metadata"]["annotations"].as_object();
    let mut keys = annotations.into_iter().flat_map(|all| all.keys());
    keys.any(|key| key.starts_with("io.containers.trace-"))
}

#[tokio::test]
async fn pods_are_marked_where_namespaces_want_it() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let team = namespace(admin).await?;
    account(&ground, &team).await?;
    account(&ground, &ground.namespace).await?;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    configure(&ground, false, false).await?;
    let pods = format!("/api/v1/namespaces/{team}/pods");
    let recordings = format!("/apis/{GROUP}/v1/namespaces/{team}/profilerecordings");
    create(admin, &recordings, &recording(&team, "Bpf", "web")).await??;

    // Nobody wanted it, and it is off.
    let made = create(admin, &format!("{pods}?dryRun=All"), &pod("web")).await??;
    ensure!(!is_marked(&made), "{made}");
    let path = format!("/api/v1/namespaces/{team}");
    let mut object = get(admin, &path).await?.context("no namespace")?;
    object["metadata"]["labels"]["spo.x-k8s.io/enable-recording"] = json!("");
    replace(admin, &path, &object).await??;
    let made = create(admin, &format!("{pods}?dryRun=All"), &pod("web")).await??;
    ensure!(!is_marked(&made), "{made}");

    configure(&ground, true, false).await?;
    let marked = |made: &Value| made["metadata"]["annotations"][MARK].is_string();
    let made = until(&ground, &pods, &pod("web"), marked).await?;
    ensure!(made["metadata"]["annotations"]["io.containers.trace-bpf/first"].is_string());
    let made = create(admin, &format!("{pods}?dryRun=All"), &pod("other")).await??;
    ensure!(!is_marked(&made), "{made}");

    // A recording counts for a pod that is made right after it.
    let at_once = format!("{team}-at-once");
    create(admin, &recordings, &recording(&at_once, "Bpf", "new")).await??;
    let made = create(admin, &pods, &pod("new")).await??;
    let mark = made["metadata"]["annotations"][MARK].clone();
    ensure!(
        mark.as_str()
            .is_some_and(|mark| mark.starts_with(&format!("{at_once}_app_"))),
        "{made}"
    );

    // An update keeps it, also one that knows nothing of it.
    let name = made["metadata"]["name"].as_str().context("no name")?;
    let path = format!("{pods}/{name}");
    let changed = loop {
        let mut object = get(admin, &path).await?.context("no pod")?;
        object["metadata"]["annotations"] = json!({ "theirs": "1" });
        match replace(admin, &path, &object).await? {
            // The scheduler was there in between.
            Err(refusal) if refusal.code == 409 => {}
            answer => break answer?,
        }
    };
    ensure!(
        changed["metadata"]["annotations"][MARK] == mark,
        "{changed}"
    );
    ensure!(changed["metadata"]["annotations"]["theirs"] == "1");

    webhook.stop()?;
    remove_namespace(admin, &team).await?;
    ground.remove().await
}

#[tokio::test]
async fn containers_are_loosened_for_the_audit_log() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let team = namespace(admin).await?;
    account(&ground, &team).await?;
    let path = format!("/api/v1/namespaces/{team}");
    let mut object = get(admin, &path).await?.context("no namespace")?;
    object["metadata"]["labels"]["spo.x-k8s.io/enable-recording"] = json!("");
    replace(admin, &path, &object).await??;
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    configure(&ground, false, true).await?;
    let pods = format!("/api/v1/namespaces/{team}/pods");
    let recordings = format!("/apis/{GROUP}/v1/namespaces/{team}/profilerecordings");
    create(admin, &recordings, &recording(&team, "Logs", "web")).await??;

    let marked = |made: &Value| made["metadata"]["annotations"][LOG_MARK].is_string();
    let made = until(&ground, &pods, &pod("web"), marked).await?;
    let own = &made["spec"]["containers"][0]["securityContext"]["seccompProfile"];
    ensure!(own["type"] == "RuntimeDefault", "{made}");

    let log = profile(
        "SeccompProfile",
        "log-enricher-trace",
        &json!({ "defaultAction": "SCMP_ACT_LOG" }),
    );
    create(admin, &format!("/apis/{GROUP}/v1/seccompprofiles"), &log).await??;
    let loosened = |made: &Value| {
        let profile = &made["spec"]["containers"][0]["securityContext"]["seccompProfile"];
        profile["localhostProfile"] == "operator/log-enricher-trace.json"
    };
    until(&ground, &pods, &pod("web"), loosened).await?;
    // Old servers refuse a pod whose annotation says something else than the field.
    let mut annotated = pod("web");
    annotated["metadata"]["annotations"] =
        json!({ "container.seccomp.security.alpha.kubernetes.io/app": "runtime/default" });
    until(&ground, &pods, &annotated, loosened).await?;

    webhook.stop()?;
    let path = format!("/apis/{GROUP}/v1/seccompprofiles/log-enricher-trace");
    send(admin, Method::DELETE, &path, None).await??;
    remove_namespace(admin, &team).await?;
    ground.remove().await
}

#[tokio::test]
async fn recordings_that_cannot_be_are_refused() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let (one, two) = (namespace(admin).await?, namespace(admin).await?);
    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    let path =
        |namespace: &str| format!("/apis/{GROUP}/v1/namespaces/{namespace}/profilerecordings");
    create(admin, &path(&one), &recording(&one, "Bpf", "web")).await??;
    let start = Instant::now();
    let refusal = loop {
        let dry = format!("{}?dryRun=All", path(&two));
        match create(admin, &dry, &recording(&one, "Bpf", "web")).await? {
            Err(refusal) => break refusal,
            Ok(_) => ensure!(start.elapsed() < PATIENCE, "it is taken"),
        }
        tokio::time::sleep(INTERVAL).await;
    };
    for expected in [&format!("{one}-CONTAINER"), "in the namespace"] {
        ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
    }
    create(admin, &path(&two), &recording(&two, "Bpf", "web")).await??;
    for (object, expected) in [
        (recording("with.dot", "Bpf", "web"), "no dots"),
        (
            profile(
                "ProfileRecording",
                "pair",
                &json!({ "kind": "AppArmorProfile", "recorder": "Logs", "podSelector": {} }),
            ),
            "set recorder to Bpf",
        ),
    ] {
        let Err(refusal) = create(admin, &path(&two), &object).await? else {
            bail!("{object} is taken");
        };
        ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
    }
    webhook.stop()?;
    for name in [one, two] {
        remove_namespace(admin, &name).await?;
    }
    ground.remove().await
}
