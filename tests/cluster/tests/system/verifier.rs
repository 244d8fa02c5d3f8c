//! The verifier of a node: what it tells while things go wrong, and while they do not.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get};

use crate::privileges::{daemon, text, the_verifier_is_not_root};
use crate::verify::{Said, Stopped, put_back, what_is_right_is_never_told_as_wrong};
use crate::world::{MUTATING, PODS, SPOD, World, object, refuses, user};

/// How many pods that are right are looked at, beside the containers of one: 200 take some minutes.
const PODS_VARIABLE: &str = "SPO_VERIFIED_PODS";
/// So many of them at once: a kubelet takes 110.
const WAVE: usize = 80;
const PREFIX: &str = "security_profiles_operator_verifier_";
/// All that can be told of containers.
const WRONG: [&str; 3] = ["Mismatch", "Stale", "Unbound"];

/// It is the last: webhooks are not needed afterwards.
pub(crate) async fn what_is_wrong_is_told_and_what_is_right_is_not(world: &World) -> Result<()> {
    let on = json!({ "spec": {
        "enableVerifier": true,
        "enableInsecureMetricsAccess": true,
        "webhook": { "options": [{ "name": "binding.spo.io", "failurePolicy": "Ignore" }] },
    } });
    world.merge(SPOD, &on).await?;
    world.runs().await?;
    let ignores = |found: &Value| found["webhooks"][0]["failurePolicy"] == "Ignore";
    world
        .becomes(MUTATING, "webhooks are not needed", ignores)
        .await?;
    let verifier = Verifier {
        world,
        pod: daemon(world).await?,
    };
    verifier.looked().await?;
    the_verifier_is_not_root(world)?;

    what_is_right_is_never_told_as_wrong(world).await?;
    let pods = std::env::var(PODS_VARIABLE).unwrap_or_default();
    if !pods.is_empty() {
        many(world, pods.parse().context(PODS_VARIABLE)?).await?;
    }
    what_is_wrong(&verifier).await?;
    let off = json!({ "spec": { "enableVerifier": null } });
    world.merge(SPOD, &off).await?;
    world.runs().await?;
    world
        .until("no verifier runs", async || {
            let running = world.node.processes("verifier")?;
            Ok(running.is_empty().then_some(()))
        })
        .await
}

async fn what_is_wrong(verifier: &Verifier<'_>) -> Result<()> {
    let world = verifier.world;
    let name = "watched";
    world.apply(name, &refuses(&["mkdir", "mkdirat"])).await?;
    world.installed(name, 1).await?;
    world.runs_pod(&user("stale", name)).await?;
    world
        .apply(name, &refuses(&["mkdir", "mkdirat", "rmdir"]))
        .await?;
    world.installed(name, 1).await?;

    // The file changes on the node, and nobody repairs it.
    let file = world.file(name);
    let right = fs::read(&file)?;
    let changed = fs::metadata(&file)?.modified()?;
    let stopped = Stopped::all(world, "daemon")?;
    fs::write(&file, serde_json::to_vec(&refuses(&["mkdir"]))?)?;
    world.runs_pod(&user("deceived", name)).await?;
    // Meanwhile a pod is made while the webhook is down.
    let spec = json!({
        "profileRef": { "kind": "SeccompProfile", "name": name }, "image": "localhost/busybox:*",
        "podSelector": { "matchLabels": { "app": "bound" } },
    });
    let labels = json!({ "metadata": { "labels": { "spo.x-k8s.io/enable-binding": "" } } });
    let space = format!("/api/v1/namespaces/{}", world.users);
    world.merge(&space, &labels).await?;
    let bindings = format!(
        "/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{}/profilebindings",
        world.users
    );
    let binding = object("ProfileBinding", name, &spec);
    create(&world.admin, &bindings, &binding).await??;
    let mut escaped = node::pod("escaped", "sleep 1000");
    escaped["metadata"]["labels"] = json!({ "app": "bound" });
    let down = Stopped::all(world, "webhook")?;
    let (runs, differs) = tokio::join!(
        world.runs_pod(&escaped),
        verifier.tells("default", name, "ProfileFileDiffers"),
    );
    drop(down);
    runs?;
    differs?;
    ensure!(verifier.number("files", "Differs").await? == 1);
    // It is as it was: a container has another profile under the same name.
    put_back(&file, &right, changed)?;
    drop(stopped);
    world.runs_pod(&user("later", name)).await?;

    let users = &world.users;
    for (pod, reason, part) in [
        ("stale", "ProfileStale", "rmdir: profile says ERRNO"),
        ("deceived", "ProfileMismatch", "mkdirat: profile says ERRNO"),
        ("escaped", "ProfileUnbound", "the webhook did not answer"),
    ] {
        let event = verifier.tells(users, pod, reason).await?;
        let note = event["note"].as_str().unwrap_or_default();
        ensure!(note.contains(part), "{event:#}");
        let state = reason.trim_start_matches("Profile");
        ensure!(verifier.number("containers", state).await? == 1, "{state}");
    }
    let expected = [
        ("deceived", "ProfileMismatch"),
        ("escaped", "ProfileUnbound"),
        ("stale", "ProfileStale"),
    ];
    let expected = expected.map(|(pod, reason)| format!("{pod} {reason}"));
    ensure!(
        verifier.told().await? == expected,
        "{:?}",
        verifier.told().await?
    );
    let once = ["FileDiffers", "Mismatch", "Stale", "Unbound"].map(|word| (word.to_owned(), 1));
    ensure!(verifier.numbers("findings_total").await? == once);
    let repaired = async || Ok((verifier.number("files", "Same").await? == 1).then_some(()));
    world.until("the file is right", repaired).await?;
    // The command says the same.
    let said = Said::of_pod(world, "escaped")?;
    said.is("Unbound", "has the SeccompProfile watched for it", 4)?;
    Said::of_pod(world, "later")?.is("Verified", "null", 0)?;

    for pod in ["stale", "deceived", "later", "escaped"] {
        world.end_pod(pod).await?;
    }
    world.delete(&format!("{bindings}/{name}")).await?;
    world.not_there(&format!("{bindings}/{name}")).await?;
    let clears = async || {
        for state in WRONG {
            if verifier.number("containers", state).await? != 0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    };
    world.until("nothing is wrong any more", clears).await?;
    world.delete_profile(name).await?;
    world.gone(name).await
}

/// Pods that come and go, and are right all the time.
async fn many(world: &World, count: usize) -> Result<()> {
    world
        .apply("right", &refuses(&["mkdir", "mkdirat"]))
        .await?;
    world.installed("right", 1).await?;
    let names: Vec<_> = (0..count).map(|number| format!("right-{number}")).collect();
    for wave in names.chunks(WAVE) {
        for name in wave {
            node::start(&world.admin, &world.users, &user(name, "right")).await?;
        }
        // Of those that begin, it may not be known yet.
        let said = Said::of(world, &[])?;
        ensure!(said.code != Some(4), "{:#}", said.report);
        for name in wave {
            let running = |pod: &Value| pod["status"]["phase"] == "Running";
            let path = format!("/api/v1/namespaces/{}/pods/{name}", world.users);
            world.becomes(&path, "running", running).await?;
        }
        let said = Said::of(world, &[])?;
        ensure!(said.code == Some(0), "{:#}", said.report);
        for name in wave {
            world.end_pod(name).await?;
        }
    }
    world.delete_profile("right").await?;
    world.gone("right").await
}

/// What the verifier tells.
struct Verifier<'w> {
    world: &'w World,
    /// Its pod, which is the daemon's.
    pod: String,
}

impl Verifier<'_> {
    /// Numbers by the last label.
    async fn numbers(&self, name: &str) -> Result<Vec<(String, u64)>> {
        let path = format!("{PODS}/{}:9446/proxy/metrics-spod", self.pod);
        let told = text(self.world, &path).await?;
        let name = format!("{PREFIX}{name}");
        let lines = told.lines().filter_map(|line| {
            let rest = line.strip_prefix(&name)?;
            let (labels, number) = rest.rsplit_once(' ')?;
            let label = labels.rsplit('"').nth(1).unwrap_or_default();
            Some((label.to_owned(), number.parse().ok()?))
        });
        Ok(lines.collect())
    }

    async fn number(&self, name: &str, state: &str) -> Result<u64> {
        let numbers = self.numbers(name).await?;
        let mut found = numbers.iter().filter(|(label, _)| label == state);
        let (_, number) = found.next().with_context(|| format!("{numbers:?}"))?;
        Ok(*number)
    }

    /// Waits until it looked once more.
    async fn looked(&self) -> Result<()> {
        let last = async || {
            let told = self.numbers("last_look_timestamp_seconds").await?;
            Ok::<_, anyhow::Error>(told.first().context("no number")?.1)
        };
        let before = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let since = async || Ok((last().await? > before).then_some(()));
        self.world.until("it looks", since).await
    }

    /// What it told of pods, in the order of their names.
    async fn told(&self) -> Result<Vec<String>> {
        let mut told: Vec<_> = self
            .events(&self.world.users)
            .await?
            .iter()
            .map(|event| {
                format!(
                    "{} {}",
                    word(&event["regarding"]["name"]),
                    word(&event["reason"])
                )
            })
            .collect();
        told.sort();
        Ok(told)
    }

    async fn events(&self, namespace: &str) -> Result<Vec<Value>> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let mut events = get(&self.world.admin, &path).await?.context("not served")?;
        let mut events: Vec<Value> = serde_json::from_value(events["items"].take())?;
        events.retain(|event| {
            let reason = word(&event["reason"]);
            let state = reason.strip_prefix("Profile").unwrap_or_default();
            WRONG.contains(&state) || state.starts_with("File")
        });
        Ok(events)
    }

    /// Waits until an event is there, about a pod or a profile.
    async fn tells(&self, namespace: &str, object: &str, reason: &str) -> Result<Value> {
        let told = async || {
            let events = self.events(namespace).await?;
            let found = events
                .into_iter()
                .find(|event| event["regarding"]["name"] == object && event["reason"] == reason);
            Ok(found)
        };
        self.world
            .until(&format!("{reason} of {object}"), told)
            .await
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
