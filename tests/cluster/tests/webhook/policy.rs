//! Which namespaces may use a profile.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::objects::{create, get, replace, send};

use crate::server::{GROUP, Ground, INTERVAL, PATIENCE, Webhook, profile};

/// Profiles for trusted namespaces only, and the ways to name them.
fn kept() -> Vec<(&'static str, Value)> {
    let scope = json!({ "matchLabels": { "spo-test/tier": "trusted" } });
    vec![
        (
            "seccompprofiles",
            profile(
                "SeccompProfile",
                "kept",
                &json!({ "defaultAction": "SCMP_ACT_ALLOW", "namespaceSelector": scope }),
            ),
        ),
        (
            "apparmorprofiles",
            profile(
                "AppArmorProfile",
                "kept",
                &json!({ "namespaceSelector": scope }),
            ),
        ),
        (
            "selinuxprofiles",
            profile(
                "SelinuxProfile",
                "kept",
                &json!({ "namespaceSelector": scope }),
            ),
        ),
        (
            "rawselinuxprofiles",
            profile(
                "RawSelinuxProfile",
                "kept-raw",
                &json!({ "policy": "(blockinherit container)", "namespaceSelector": scope }),
            ),
        ),
    ]
}

pub(crate) fn pod(name: &str) -> Value {
    let container = json!({ "name": "app", "image": "none.example.com/none" });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "annotations": {} },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [container],
            "initContainers": [{ "name": "first", "image": "none.example.com/none" }],
            "securityContext": {},
        },
    })
}

/// Pods that name a kept profile, each in another way, and what names it.
fn pods() -> Vec<(Value, &'static str)> {
    let mut pods = Vec::new();
    let mut add = |part, change: &dyn Fn(&mut Value)| {
        let mut pod = pod(&format!("pod-{}", pods.len()));
        change(&mut pod);
        pods.push((pod, part));
    };
    let seccomp = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "operator/kept.json" } });
    let selinux = |kind: &str| json!({ "seLinuxOptions": { "type": kind } });
    add("the pod names the SeccompProfile", &|pod| {
        pod["spec"]["securityContext"] = seccomp.clone();
    });
    add("the container app names the SeccompProfile", &|pod| {
        pod["spec"]["containers"][0]["securityContext"] = seccomp.clone();
    });
    add(
        "the init container first names the SeccompProfile",
        &|pod| {
            pod["spec"]["initContainers"][0]["securityContext"] = seccomp.clone();
        },
    );
    add("the container app names the SeccompProfile", &|pod| {
        let context = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "./operator//kept.json" } });
        pod["spec"]["containers"][0]["securityContext"] = context;
    });
    add("names the SeccompProfile", &|pod| {
        pod["metadata"]["annotations"]["seccomp.security.alpha.kubernetes.io/pod"] =
            json!("localhost/operator/kept.json");
    });
    add("names the SeccompProfile", &|pod| {
        pod["metadata"]["annotations"]["container.seccomp.security.alpha.kubernetes.io/app"] =
            json!("localhost/operator/kept.json");
    });
    add("names the AppArmorProfile", &|pod| {
        pod["metadata"]["annotations"]["container.apparmor.security.beta.kubernetes.io/app"] =
            json!("localhost/kept");
    });
    add("the pod names the SelinuxProfile", &|pod| {
        pod["spec"]["securityContext"] = selinux("kept.process");
    });
    add("the container app names the RawSelinuxProfile", &|pod| {
        pod["spec"]["containers"][0]["securityContext"] = selinux("kept-raw.process");
    });
    pods
}

#[tokio::test]
async fn pods_are_held_to_the_namespaces_of_their_profiles() -> Result<()> {
    let ground = Ground::new().await?;
    let admin = &ground.admin;
    let trusted = namespace(admin).await?;
    let path = format!("/api/v1/namespaces/{trusted}");
    let mut object = get(admin, &path).await?.unwrap_or_default();
    object["metadata"]["labels"]["spo-test/tier"] = json!("trusted");
    replace(admin, &path, &object).await??;
    for (plural, object) in kept() {
        create(admin, &format!("/apis/{GROUP}/v1/{plural}"), &object).await??;
    }
    for name in [&ground.namespace, &trusted] {
        account(&ground, name).await?;
    }
    // Nobody is held back without a webhook.
    let pods_of = |name: &str| format!("/api/v1/namespaces/{name}/pods?dryRun=All");
    for (pod, _) in pods() {
        create(admin, &pods_of(&ground.namespace), &pod).await??;
    }

    let webhook = Webhook::start(&ground).await?;
    webhook.register(&ground, &[]).await?;
    // The operator's own namespace is left out, where the server labels it; `other` never is.
    let other = namespace(admin).await?;
    account(&ground, &other).await?;
    for (pod, part) in pods() {
        let Err(refusal) = create(admin, &pods_of(&other), &pod).await? else {
            bail!("{pod} is taken");
        };
        for expected in [part, "spo-test/tier=trusted", &other, "namespaceSelector"] {
            ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
        }
        create(admin, &pods_of(&trusted), &pod).await??;
    }
    let mut free = pod("free");
    free["spec"]["securityContext"] = json!({ "seLinuxOptions": { "type": "container_t" } });
    create(admin, &pods_of(&other), &free).await??;
    // A profile that does not exist keeps nobody from being created.
    free["spec"]["securityContext"] = json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "operator/none.json" } });
    create(admin, &pods_of(&other), &free).await??;

    // Labels and selectors count as they are now.
    let (held, _) = pods().swap_remove(0);
    let path = format!("/api/v1/namespaces/{trusted}");
    let mut object = get(admin, &path).await?.unwrap_or_default();
    object["metadata"]["labels"]["spo-test/tier"] = json!("lost");
    replace(admin, &path, &object).await??;
    until(&ground, &pods_of(&trusted), &held, false).await?;
    let path = format!("/apis/{GROUP}/v1/seccompprofiles/kept");
    let mut object = get(admin, &path).await?.unwrap_or_default();
    object["spec"]["namespaceSelector"] = Value::Null;
    replace(admin, &path, &object).await??;
    until(&ground, &pods_of(&trusted), &held, true).await?;

    webhook.stop()?;
    for (plural, object) in kept() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/{GROUP}/v1/{plural}/{name}");
        send(admin, Method::DELETE, &path, None).await??;
    }
    for name in [trusted, other] {
        remove_namespace(admin, &name).await?;
    }
    ground.remove().await
}

/// Waits until a pod is taken, or is not.
pub(crate) async fn until(ground: &Ground, path: &str, pod: &Value, taken: bool) -> Result<()> {
    let start = Instant::now();
    while create(&ground.admin, path, pod).await?.is_ok() != taken {
        ensure!(start.elapsed() < PATIENCE, "{path}: still {}", !taken);
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

/// Pods need the account `default`, which the cluster makes after the namespace.
pub(crate) async fn account(ground: &Ground, namespace: &str) -> Result<()> {
    let start = Instant::now();
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    while get(&ground.admin, &path).await?.is_none() {
        ensure!(start.elapsed() < PATIENCE, "{namespace} gets no account");
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}
