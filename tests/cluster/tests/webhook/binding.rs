//! Pods that bindings give profiles to, as the API server takes them.

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use spo::api::bindings::{Applied, BINDINGS, Outcome};
use spo::api::daemon::WebhookOptions;
use spo::api::names::{ENABLE_BINDING, ENABLE_RECORDING, PARTIAL};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::objects::{Refusal, create, get, replace, send};
use spo_cluster_tests::waiting::until;

use crate::policy::account;
use crate::recording::configure;
use crate::server::{GROUP, Ground, PATIENCE, Webhook, profile};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A namespace that opted in, and a webhook that is asked about its pods.
pub(crate) struct Shop<'g> {
    pub(crate) ground: &'g Ground,
    pub(crate) name: String,
    pub(crate) webhook: Webhook,
}

impl<'g> Shop<'g> {
    pub(crate) async fn open(ground: &'g Ground, options: &[WebhookOptions]) -> Result<Self> {
        let name = namespace(&ground.admin).await?;
        account(ground, &name).await?;
        account(ground, &ground.namespace).await?;
        label(ground, &name, ENABLE_BINDING).await?;
        let webhook = Webhook::start(ground).await?;
        webhook.register(ground, options).await?;
        let shop = Self {
            ground,
            name,
            webhook,
        };
        // The two objects that register webhooks do not count from the same moment on.
        let probe = shop.bind("probe", "*", &json!({})).await?;
        until(PATIENCE, "the webhook is asked about pods", async || {
            let made = shop.dry(&shop.name, &pod(&["busybox"])).await?;
            Ok(made
                .is_ok_and(|made| !applied(&made).is_empty())
                .then_some(()))
        })
        .await?;
        send(&ground.admin, Method::DELETE, &probe, None).await??;
        Ok(shop)
    }

    async fn close(self) -> Result<()> {
        self.remove().await?;
        self.webhook.stop()
    }

    /// Removes what is left in the cluster.
    pub(crate) async fn remove(&self) -> Result<()> {
        let Self { ground, name, .. } = self;
        let path = format!("/apis/{GROUP}/v1/seccompprofiles");
        let all = get(&ground.admin, &path).await?.unwrap_or_default();
        for found in all["items"].as_array().into_iter().flatten() {
            let found = found["metadata"]["name"].as_str().unwrap_or_default();
            if found.starts_with(name.as_str()) {
                send(
                    &ground.admin,
                    Method::DELETE,
                    &format!("{path}/{found}"),
                    None,
                )
                .await??;
            }
        }
        remove_namespace(&ground.admin, name).await
    }

    /// The name of a profile that no other test has.
    fn of(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// What a pod says that runs under it.
    fn localhost(&self, name: &str) -> Value {
        let path = format!("operator/{}.json", self.of(name));
        json!({ "type": "Localhost", "localhostProfile": path })
    }

    /// Creates a profile that so many nodes have.
    pub(crate) async fn install(&self, name: &str, more: &Value, ready: u32) -> Result<()> {
        let mut spec = json!({ "defaultAction": "SCMP_ACT_LOG" });
        merge(&mut spec, more);
        let admin = &self.ground.admin;
        let path = format!("/apis/{GROUP}/v1/seccompprofiles");
        let object = profile("SeccompProfile", &self.of(name), &spec);
        create(admin, &path, &object).await??;
        self.status(name, json!({ "nodes": { "ready": ready, "desired": 1 } }))
            .await
    }

    /// Makes a profile the complain form of another one, as the operator does.
    async fn belongs(&self, form: &str, profile: &str) -> Result<()> {
        let admin = &self.ground.admin;
        let path = |name| format!("/apis/{GROUP}/v1/seccompprofiles/{}", self.of(name));
        let owner = get(admin, &path(profile)).await?.context("no profile")?;
        let mut object = get(admin, &path(form)).await?.context("no profile")?;
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "SeccompProfile",
            "name": self.of(profile),
            "uid": owner["metadata"]["uid"],
            "controller": true,
        }]);
        replace(admin, &path(form), &object).await??;
        Ok(())
    }

    async fn status(&self, name: &str, status: Value) -> Result<()> {
        let admin = &self.ground.admin;
        let path = format!("/apis/{GROUP}/v1/seccompprofiles/{}", self.of(name));
        let mut object = get(admin, &path).await?.context("no profile")?;
        object["status"] = status;
        replace(admin, &format!("{path}/status"), &object).await??;
        Ok(())
    }

    /// Creates a binding to the profile of its name, and returns where it is.
    pub(crate) async fn bind(&self, name: &str, image: &str, more: &Value) -> Result<String> {
        self.bind_in(&self.name, name, image, more)
            .await?
            .map_err(Into::into)
    }

    async fn bind_in(
        &self,
        namespace: &str,
        name: &str,
        image: &str,
        more: &Value,
    ) -> Result<Result<String, Refusal>> {
        let mut spec = json!({
            "profileRef": { "kind": "SeccompProfile", "name": self.of(name) }, "image": image,
        });
        merge(&mut spec, more);
        let path = format!("/apis/{GROUP}/v1/namespaces/{namespace}/profilebindings");
        let object = profile("ProfileBinding", name, &spec);
        let made = create(&self.ground.admin, &path, &object).await?;
        Ok(made.map(|_| format!("{path}/{name}")))
    }

    pub(crate) async fn dry(&self, namespace: &str, pod: &Value) -> Result<Result<Value, Refusal>> {
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        create(&self.ground.admin, &path, pod).await
    }

    /// The pod as the server would have it.
    pub(crate) async fn made(&self, pod: &Value) -> Result<Value> {
        Ok(self.dry(&self.name, pod).await??)
    }
}

fn merge(spec: &mut Value, more: &Value) {
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
}

pub(crate) async fn label(ground: &Ground, namespace: &str, key: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}");
    let mut object = get(&ground.admin, &path).await?.context("no namespace")?;
    object["metadata"]["labels"][key] = json!("");
    replace(&ground.admin, &path, &object).await??;
    Ok(())
}

/// A pod with a container `c0`, `c1` and so on of each image.
pub(crate) fn pod(images: &[&str]) -> Value {
    let containers: Vec<_> = images
        .iter()
        .enumerate()
        .map(|(index, image)| json!({ "name": format!("c{index}"), "image": image }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "web-", "labels": { "app": "web" } },
        "spec": { "automountServiceAccountToken": false, "containers": containers },
    })
}

pub(crate) fn applied(pod: &Value) -> Vec<Applied> {
    let value = pod["metadata"]["annotations"][BINDINGS].as_str();
    value.map(Applied::all).unwrap_or_default()
}

fn of_container(pod: &Value, index: usize) -> &Value {
    &pod["spec"]["containers"][index]["securityContext"]["seccompProfile"]
}

/// All orders of so many.
fn orders(number: usize) -> Vec<Vec<usize>> {
    let Some(last) = number.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for shorter in orders(last) {
        for place in 0..number {
            let mut order = shorter.clone();
            order.insert(place, last);
            all.push(order);
        }
    }
    all
}

#[tokio::test]
async fn each_container_gets_what_counts_most_for_it() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    for name in ["exact", "glob", "digest", "all", "chosen"] {
        shop.install(name, &json!({}), 1).await?;
    }
    let pinned = format!("nginx:1.25@{DIGEST}");
    let images = [
        &pinned,
        "docker.io/library/nginx:1.25",
        "nginx:1.26",
        "redis:7",
    ];
    let exact = shop.bind("exact", "nginx:1.25", &json!({})).await?;
    let chosen = json!({ "podSelector": { "matchLabels": { "app": "web" } } });
    let bindings = [
        ("digest", format!("nginx@{DIGEST}"), json!({})),
        ("glob", "nginx:1.*".to_owned(), json!({})),
        ("chosen", "nginx:1.*".to_owned(), chosen),
        ("all", "*".to_owned(), json!({})),
    ];
    for order in orders(bindings.len()) {
        let mut paths = Vec::new();
        for index in &order {
            let (name, image, more) = &bindings[*index];
            paths.push(shop.bind(name, image, more).await?);
        }
        // At once, whatever the watch has told so far.
        let made = shop.made(&pod(&images)).await?;
        for (index, name) in ["digest", "exact", "chosen"].iter().enumerate() {
            let expected = shop.localhost(name);
            ensure!(
                *of_container(&made, index) == expected,
                "{order:?}: {name}: {made:#}"
            );
        }
        ensure!(of_container(&made, 3).is_null(), "{order:?}: {made:#}");
        let whole = &made["spec"]["securityContext"]["seccompProfile"];
        ensure!(*whole == shop.localhost("all"), "{order:?}: {made:#}");
        let mut other = pod(&["nginx:1.26", "redis:7"]);
        other["metadata"]["labels"]["app"] = json!("other");
        other["spec"]["initContainers"] = json!([{ "name": "first", "image": "nginx:1.25" }]);
        let made = shop.made(&other).await?;
        ensure!(
            *of_container(&made, 0) == shop.localhost("glob"),
            "{order:?}: {made:#}"
        );
        ensure!(of_container(&made, 1).is_null(), "{order:?}: {made:#}");
        let first = &made["spec"]["initContainers"][0]["securityContext"]["seccompProfile"];
        ensure!(*first == shop.localhost("exact"), "{order:?}: {made:#}");
        let told = applied(&made);
        ensure!(told.len() == 3 && told.iter().all(|one| one.outcome == Outcome::Bound));
        for path in paths {
            send(&ground.admin, Method::DELETE, &path, None).await??;
        }
    }
    send(&ground.admin, Method::DELETE, &exact, None).await??;
    ensure!(applied(&shop.made(&pod(&images)).await?).is_empty());

    // What a pod brings itself counts more than a wildcard, and less than its image.
    let mut own = pod(&["nginx:1.25", "redis:7"]);
    own["spec"]["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    own["spec"]["containers"][0]["securityContext"] =
        json!({ "seccompProfile": { "type": "Unconfined" } });
    shop.bind("all", "*", &json!({})).await?;
    let made = shop.made(&own).await?;
    ensure!(applied(&made).is_empty(), "{made:#}");
    ensure!(of_container(&made, 0)["type"] == "Unconfined", "{made:#}");
    shop.bind("exact", "nginx:1.25", &json!({})).await?;
    let made = shop.made(&own).await?;
    ensure!(
        *of_container(&made, 0) == shop.localhost("exact"),
        "{made:#}"
    );
    shop.close().await?;
    ground.remove().await
}

#[tokio::test]
async fn only_namespaces_that_want_it_are_bound() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    shop.install("web", &json!({}), 1).await?;
    let operator = &ground.namespace;
    let images = pod(&["nginx:1.25"]);
    let other = namespace(&ground.admin).await?;
    account(&ground, &other).await?;
    let tier = json!({ "namespaceSelector": { "matchLabels": { "spo-test/tier": "shop" } } });

    // Elsewhere nobody selects namespaces.
    let Err(refusal) = shop.bind_in(&shop.name, "web", "nginx:1.25", &tier).await? else {
        bail!("it is taken");
    };
    for expected in ["remove spec.namespaceSelector", operator] {
        ensure!(refusal.message.contains(expected), "{refusal}");
    }
    // Without a selector, one of the operator's binds nothing, and its own pods never are.
    let path = shop
        .bind_in(operator, "web", "nginx:1.25", &json!({}))
        .await??;
    label(&ground, operator, ENABLE_BINDING).await?;
    ensure!(applied(&shop.made(&images).await?).is_empty());
    let own = shop.dry(operator, &images).await??;
    ensure!(applied(&own).is_empty(), "{own:#}");
    send(&ground.admin, Method::DELETE, &path, None).await??;

    shop.bind_in(operator, "web", "nginx:1.25", &tier).await??;
    ensure!(applied(&shop.made(&images).await?).is_empty());
    for namespace in [&shop.name, &other, operator] {
        let path = format!("/api/v1/namespaces/{namespace}");
        let mut object = get(&ground.admin, &path).await?.context("no namespace")?;
        object["metadata"]["labels"]["spo-test/tier"] = json!("shop");
        replace(&ground.admin, &path, &object).await??;
    }
    let made = until(PATIENCE, "the namespace is selected", async || {
        let made = shop.made(&images).await?;
        Ok((!applied(&made).is_empty()).then_some(made))
    })
    .await?;
    ensure!(*of_container(&made, 0) == shop.localhost("web"), "{made:#}");
    ensure!(applied(&made)[0].binding == format!("{operator}/web"));
    // Selected as well, but one never opted in, and the other is the operator's.
    for namespace in [&other, operator] {
        let made = shop.dry(namespace, &images).await??;
        ensure!(applied(&made).is_empty(), "{namespace}: {made:#}");
    }
    // The namespace's own counts more.
    shop.install("own", &json!({}), 1).await?;
    shop.bind("own", "nginx:1.25", &json!({})).await?;
    let made = shop.made(&images).await?;
    ensure!(*of_container(&made, 0) == shop.localhost("own"), "{made:#}");
    shop.close().await?;
    remove_namespace(&ground.admin, &other).await?;
    ground.remove().await
}

#[tokio::test]
async fn a_profile_that_is_on_no_node_is_waited_for_refused_or_replaced() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    shop.install("disabled", &json!({ "state": "Disabled" }), 1)
        .await?;
    shop.install("nowhere", &json!({}), 0).await?;
    let spec = json!({ "defaultAction": "SCMP_ACT_LOG" });
    let mut partial = profile("SeccompProfile", &shop.of("partial"), &spec);
    partial["metadata"]["labels"] = json!({ PARTIAL: "true" });
    let path = format!("/apis/{GROUP}/v1/seccompprofiles");
    create(&ground.admin, &path, &partial).await??;
    shop.install("refused", &json!({}), 0).await?;
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "Unavailable", "message": "node a: it is bad",
        "lastTransitionTime": "2026-01-31T12:00:00Z",
    });
    let status = json!({
        "status": "Error", "conditions": [ready], "nodes": { "ready": 0, "desired": 1 },
    });
    shop.status("refused", status).await?;
    let images = pod(&["nginx:1.25"]);
    for (name, why) in [
        ("missing", "does not exist"),
        ("disabled", "is disabled"),
        ("partial", "is one of several that are merged"),
        ("nowhere", "is on no node yet"),
        ("refused", "node a: it is bad"),
    ] {
        for policy in ["Wait", "RuntimeDefault", "Refuse"] {
            let more = json!({ "whenNotInstalled": policy });
            let path = shop.bind(name, "nginx:1.25", &more).await?;
            let answer = shop.dry(&shop.name, &images).await?;
            let told = answer.as_ref().map(applied).unwrap_or_default();
            let told = told.first().map(|one| one.outcome);
            match (policy, answer) {
                ("Wait", Ok(made)) => {
                    ensure!(told == Some(Outcome::Waiting), "{name}: {made:#}");
                    ensure!(*of_container(&made, 0) == shop.localhost(name), "{made:#}");
                }
                ("RuntimeDefault", Ok(made)) => {
                    ensure!(told == Some(Outcome::RuntimeDefault), "{name}: {made:#}");
                    ensure!(
                        of_container(&made, 0)["type"] == "RuntimeDefault",
                        "{made:#}"
                    );
                }
                ("Refuse", Err(refusal)) => {
                    for expected in [why, &format!("{}/{name}", shop.name), "whenNotInstalled"] {
                        ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
                    }
                }
                (policy, answer) => bail!("{name}, {policy}: {answer:?}"),
            }
            send(&ground.admin, Method::DELETE, &path, None).await??;
        }
    }

    // Of what is refused, an event tells; of what was only tried out, none does.
    let more = json!({ "whenNotInstalled": "Refuse" });
    let binding = shop.bind("missing", "nginx:1.25", &more).await?;
    let uid = get(&ground.admin, &binding).await?.context("no binding")?["metadata"]["uid"].clone();
    let pods = format!("/api/v1/namespaces/{}/pods", shop.name);
    let events = format!("/api/v1/namespaces/{}/events", shop.name);
    let told =
        async || {
            let found = get(&ground.admin, &events).await?.unwrap_or_default();
            let all = found["items"].as_array().cloned().unwrap_or_default();
            let mut all = all.into_iter();
            Ok::<_, anyhow::Error>(all.find(|event| {
                event["reason"] == "PodRefused" && event["involvedObject"]["uid"] == uid
            }))
        };
    let mut named = images.clone();
    named["metadata"]["name"] = json!("tried");
    ensure!(shop.dry(&shop.name, &named).await?.is_err());
    named["metadata"]["name"] = json!("meant");
    ensure!(create(&ground.admin, &pods, &named).await?.is_err());
    let event = until(PATIENCE, "an event tells of it", told).await?;
    // Another one like it is counted.
    ensure!(create(&ground.admin, &pods, &named).await?.is_err());
    until(PATIENCE, "the event is counted twice", async || {
        let event = told().await?.unwrap_or_default();
        Ok((event["series"]["count"] == 2).then_some(()))
    })
    .await?;
    let message = event["message"].as_str().unwrap_or_default();
    for expected in ["`meant`", "does not exist", "create it"] {
        ensure!(message.contains(expected), "{expected}: {event:#}");
    }
    // From now on there is one.
    shop.install("missing", &json!({}), 1).await?;
    let made = shop.made(&images).await?;
    ensure!(applied(&made)[0].outcome == Outcome::Bound, "{made:#}");
    shop.close().await?;
    ground.remove().await
}

#[tokio::test]
async fn the_namespaces_of_a_profile_hold_for_bindings_too() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    let kept = json!({ "namespaceSelector": { "matchLabels": { "spo-test/tier": "trusted" } } });
    shop.install("kept", &kept, 1).await?;
    shop.bind("kept", "nginx:1.25", &json!({})).await?;
    let Err(refusal) = shop.dry(&shop.name, &pod(&["nginx:1.25"])).await? else {
        bail!("it is taken");
    };
    for expected in ["ProfileBinding", "spo-test/tier=trusted", "c0"] {
        ensure!(refusal.message.contains(expected), "{expected}: {refusal}");
    }
    ensure!(applied(&shop.made(&pod(&["redis:7"])).await?).is_empty());
    shop.close().await?;
    ground.remove().await
}

#[tokio::test]
async fn in_complain_mode_a_pod_gets_the_complain_form() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    shop.install("web", &json!({}), 1).await?;
    let complains = json!({ "mode": "Complain" });
    let path = shop.bind("web", "nginx:1.25", &complains).await?;
    let images = pod(&["nginx:1.25"]);
    let made = shop.made(&images).await?;
    ensure!(applied(&made)[0].outcome == Outcome::Waiting, "{made:#}");
    // A profile of that name is no form of it unless it belongs to it.
    shop.install("web.complain", &json!({}), 1).await?;
    let made = shop.made(&images).await?;
    ensure!(applied(&made)[0].outcome == Outcome::Waiting, "{made:#}");
    shop.belongs("web.complain", "web").await?;
    let bound = async || {
        let made = shop.made(&images).await?;
        Ok((applied(&made)[0].outcome == Outcome::Bound).then_some(made))
    };
    let made = until(PATIENCE, "the form counts", bound).await?;
    ensure!(
        *of_container(&made, 0) == shop.localhost("web.complain"),
        "{made:#}"
    );
    // Taking the mode away enforces.
    let mut object = get(&ground.admin, &path).await?.context("no binding")?;
    object["spec"]["mode"] = Value::Null;
    replace(&ground.admin, &path, &object).await??;
    until(PATIENCE, "the profile is enforced", async || {
        let made = shop.made(&images).await?;
        Ok((*of_container(&made, 0) == shop.localhost("web")).then_some(()))
    })
    .await?;
    shop.close().await?;
    ground.remove().await
}

#[tokio::test]
async fn a_container_that_is_recorded_from_the_audit_log_is_not_bound() -> Result<()> {
    let ground = Ground::new().await?;
    let shop = Shop::open(&ground, &[]).await?;
    let admin = &ground.admin;
    label(&ground, &shop.name, ENABLE_RECORDING).await?;
    configure(&ground, false, true).await?;
    let log = profile(
        "SeccompProfile",
        "log-enricher-trace",
        &json!({ "defaultAction": "SCMP_ACT_LOG" }),
    );
    create(admin, &format!("/apis/{GROUP}/v1/seccompprofiles"), &log).await??;
    shop.install("web", &json!({}), 1).await?;
    shop.bind("web", "*/*:*", &json!({})).await?;
    let spec = json!({
        "kind": "SeccompProfile", "recorder": "Logs", "podSelector": {}, "containers": ["c0"],
    });
    let path = format!(
        "/apis/{GROUP}/v1/namespaces/{}/profilerecordings",
        shop.name
    );
    let recording = profile("ProfileRecording", &shop.of("rec"), &spec);
    create(admin, &path, &recording).await??;
    let images = pod(&["nginx:1.25", "redis:7"]);
    let is_logged = |made: &Value| {
        of_container(made, 0)["localhostProfile"] == "operator/log-enricher-trace.json"
    };
    let made = until(PATIENCE, "the container is recorded", async || {
        let made = shop.made(&images).await?;
        Ok(is_logged(&made).then_some(made))
    })
    .await?;
    // Both webhooks are there, and each knows the other's part.
    ensure!(*of_container(&made, 1) == shop.localhost("web"), "{made:#}");
    ensure!(applied(&made)[0].containers == ["c1"], "{made:#}");
    // Whoever says so himself is recorded by nobody.
    let mut lying = pod(&["redis:7", "nginx:1.25"]);
    lying["spec"]["containers"][1]["securityContext"] = json!({ "seccompProfile": {
        "type": "Localhost", "localhostProfile": "operator/log-enricher-trace.json",
    } });
    let made = shop.made(&lying).await?;
    ensure!(*of_container(&made, 1) == shop.localhost("web"), "{made:#}");
    let path = format!("/apis/{GROUP}/v1/seccompprofiles/log-enricher-trace");
    send(admin, Method::DELETE, &path, None).await??;
    shop.close().await?;
    ground.remove().await
}
