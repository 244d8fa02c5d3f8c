//! From a recording to a pod that runs under what was recorded, by bindings alone.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo::api::bindings::BINDINGS;
use spo::api::names::ENABLE_BINDING;
use spo::profile::arch::Arch;
use spo::profile::syscalls;
use spo_cluster_tests::node::{self, pod};
use spo_cluster_tests::objects::{create, get};

use crate::logs::Auditd;
use crate::recording::{Recording, calls, ensure_whole};
use crate::world::{PROFILES, World, object};

/// The image of all pods here.
const IMAGE: &str = "localhost/busybox:test";
/// Of the webhook.
const REPLICAS: usize = 3;
/// Does something whose call a profile may lack, and says whether it could.
const WORK: &str = "cd /tmp; mkdir made && echo made || echo refused; sleep 1000";

/// A binding of the users' namespace.
pub(crate) struct Binding<'w> {
    world: &'w World,
    name: String,
}

impl<'w> Binding<'w> {
    pub(crate) async fn create(world: &'w World, name: &str, spec: &Value) -> Result<Self> {
        opt_in(world).await?;
        let binding = Self {
            world,
            name: name.to_owned(),
        };
        let object = object("ProfileBinding", name, spec);
        create(&world.admin, &binding.all(), &object).await??;
        Ok(binding)
    }

    fn all(&self) -> String {
        let users = &self.world.users;
        format!("/apis/security-profiles-operator.x-k8s.io/v1/namespaces/{users}/profilebindings")
    }

    fn path(&self) -> String {
        format!("{}/{}", self.all(), self.name)
    }

    /// Waits until it counts for these pods, and for no others.
    pub(crate) async fn counts_for(&self, pods: &[&str]) -> Result<Value> {
        let users = &self.world.users;
        let pods: Vec<_> = pods.iter().map(|pod| format!("{users}/{pod}")).collect();
        let held = !pods.is_empty();
        let is = |binding: &Value| {
            let finalizers = binding["metadata"]["finalizers"].as_array();
            let mut finalizers = finalizers.into_iter().flatten();
            let workloads = binding["status"]["activeWorkloads"].as_array();
            let number = binding["status"]["pods"].as_u64().unwrap_or_default();
            workloads.map_or(0, Vec::len) == pods.len()
                && number == pods.len() as u64
                && (!held || binding["status"]["activeWorkloads"] == json!(pods))
                && finalizers.any(|name| name == "active-workload-lock") == held
        };
        self.world.becomes(&self.path(), "of these pods", is).await
    }

    pub(crate) async fn end(&self) -> Result<()> {
        self.world.delete(&self.path()).await?;
        self.world.not_there(&self.path()).await
    }
}

/// Lets the users' pods be bound, and waits until the webhook is asked about them: what they say of
/// bindings themselves is not left.
async fn opt_in(world: &World) -> Result<()> {
    let labels = json!({ "metadata": { "labels": { ENABLE_BINDING: "" } } });
    let space = format!("/api/v1/namespaces/{}", world.users);
    world.merge(&space, &labels).await?;
    let mut probe = pod("probe", "true");
    probe["metadata"]["annotations"] = json!({ BINDINGS: "[]" });
    let path = format!("{space}/pods?dryRun=All");
    let asked = async || {
        let tried = create(&world.admin, &path, &probe).await??;
        let said = &tried["metadata"]["annotations"][BINDINGS];
        Ok((said != "[]").then_some(()))
    };
    world.until("the webhook is asked about pods", asked).await
}

/// Makes a pod that does its work, once a binding gives this profile, and says whether it could. A change of a
/// binding counts when the webhooks' watches have told of it.
async fn works(world: &World, pod: &Value, profile: &str) -> Result<String> {
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    let expected = format!("operator/{profile}.json");
    let pods = format!("/api/v1/namespaces/{}/pods", world.users);
    let given = async || {
        let tried = create(&world.admin, &format!("{pods}?dryRun=All"), pod).await?;
        Ok((*profile_of(&tried?) == expected).then_some(()))
    };
    // Each of the webhook's replicas has a watch of its own.
    for _ in 0..REPLICAS {
        world.until("the binding counts", given).await?;
    }
    world.runs_pod(pod).await?;
    let said = world
        .until("it says how it went", async || {
            let said = node::logs(&world.admin, &world.users, name).await?;
            let outcome = said.lines().find(|line| ["made", "refused"].contains(line));
            Ok(outcome.map(str::to_owned))
        })
        .await?;
    let made = get(&world.admin, &format!("{pods}/{name}")).await?;
    let made = made.context("no pod")?;
    ensure!(*profile_of(&made) == expected, "{made:#}");
    Ok(said)
}

fn profile_of(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]["securityContext"]["seccompProfile"]["localhostProfile"]
}

/// The rules of a profile without one call.
fn without(profile: &Value, call: &str) -> Value {
    let mut spec = profile["spec"].clone();
    for rule in spec["syscalls"].as_array_mut().into_iter().flatten() {
        if let Some(names) = rule["names"].as_array_mut() {
            names.retain(|name| name != call);
        }
    }
    spec
}

/// Recorded, bound, enforced; a call short of it in complain mode, and enforced again.
pub(crate) async fn what_is_recorded_is_bound_complains_and_is_enforced(
    world: &World,
) -> Result<()> {
    let recording = Recording::begin(world, "circle", "None").await?;
    world.runs_pod(&recording.pod("circle", WORK)).await?;
    world
        .until("the work is done", async || {
            let said = node::logs(&world.admin, &world.users, "circle").await?;
            Ok(said.contains("made").then_some(()))
        })
        .await?;
    world.end_pod("circle").await?;
    let profile = recording.profile("main", |_| true).await?;
    ensure_whole(&profile)?;
    ensure!(calls(&profile).contains("mkdir"), "{profile:#}");
    recording.end().await?;
    world.installed("circle-main", 1).await?;

    let enforced = json!({
        "profileRef": { "kind": "SeccompProfile", "name": "circle-main" }, "image": IMAGE,
    });
    let binding = Binding::create(world, "circle", &enforced).await?;
    let said = works(world, &pod("bound", WORK), "circle-main").await?;
    ensure!(said == "made", "{said}");
    binding.counts_for(&["bound"]).await?;
    world.end_pod("bound").await?;
    binding.counts_for(&[]).await?;

    // A call less, and it is refused.
    world
        .merge(
            &format!("{PROFILES}/circle-main"),
            &json!({ "spec": without(&profile, "mkdir") }),
        )
        .await?;
    world.installed("circle-main", 1).await?;
    let said = works(world, &pod("refused", WORK), "circle-main").await?;
    ensure!(said == "refused", "{said}");
    world.end_pod("refused").await?;

    // In complain mode nothing breaks, and the kernel logs it.
    let complains = json!({ "spec": { "mode": "Complain" } });
    world.merge(&binding.path(), &complains).await?;
    world.installed("circle-main.complain", 1).await?;
    let auditd = Auditd::start(world)?;
    // By its user's id, it is told from all else that is logged.
    let user = 1_000_000 + std::process::id();
    let mut complaining = pod("complains", WORK);
    complaining["spec"]["securityContext"] = json!({ "runAsUser": user });
    let said = works(world, &complaining, "circle-main.complain").await?;
    ensure!(said == "made", "{said}");
    if let Some(auditd) = auditd {
        let number = syscalls::number(Arch::X86_64, "mkdir").context("no such call")?;
        let record = [
            "type=SECCOMP",
            &format!(" uid={user} "),
            " comm=\"mkdir\" ",
            &format!(" syscall={number} "),
            " code=0x7ffc0000",
        ];
        let logged = async || Ok((!auditd.lines(&record)?.is_empty()).then_some(()));
        world.until("the call is logged", logged).await?;
    }
    binding.counts_for(&["complains"]).await?;

    // The form stays for the pod that runs under it, and goes with it.
    let no_mode = json!({ "spec": { "mode": null } });
    world.merge(&binding.path(), &no_mode).await?;
    let said = works(world, &pod("again", WORK), "circle-main").await?;
    ensure!(said == "refused", "{said}");
    let form = format!("{PROFILES}/circle-main.complain");
    ensure!(
        get(&world.admin, &form).await?.is_some(),
        "the form is gone"
    );
    world.end_pod("complains").await?;
    world.not_there(&form).await?;
    world.end_pod("again").await?;
    binding.counts_for(&[]).await?;
    binding.end().await?;
    world.delete_profile("circle-main").await?;
    world.gone("circle-main").await
}

/// All at once, in whatever order: what is not there yet is waited for.
pub(crate) async fn what_comes_in_another_order_starts_unaided(world: &World) -> Result<()> {
    let spec = json!({
        "profileRef": { "kind": "SeccompProfile", "name": "later" }, "image": "localhost/busy*:*",
    });
    let binding = Binding::create(world, "later", &spec).await?;
    let waiting = pod("waits", WORK);
    node::start(&world.admin, &world.users, &waiting).await?;
    let path = format!("/api/v1/namespaces/{}/pods/waits", world.users);
    let held = |pod: &Value| {
        let waits = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        *waits == "CreateContainerError"
    };
    let found = world.becomes(&path, "held back", held).await?;
    ensure!(*profile_of(&found) == "operator/later.json", "{found:#}");
    binding.counts_for(&["waits"]).await?;
    world
        .apply("later", &crate::world::refuses(&["mkdir"]))
        .await?;
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    world.becomes(&path, "running", runs).await?;
    world.end_pod("waits").await?;
    binding.end().await?;
    world.delete_profile("later").await?;
    world.gone("later").await
}
