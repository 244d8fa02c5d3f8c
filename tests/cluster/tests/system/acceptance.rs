//! What the reference's end-to-end tests ask, as far as nothing else here shows it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo::profile::base::BASE_SYSCALLS;
use spo_cluster_tests::node;
use spo_cluster_tests::objects::get;

use crate::world::{OWN, PROFILES, REGISTRATION, SPOD, STATUSES, World, localhost, refuses, user};

fn allows(syscalls: &[&str]) -> Value {
    json!({
        "state": "Enabled",
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "action": "SCMP_ACT_ALLOW", "names": syscalls }],
    })
}

/// Acceptance 1.
pub(crate) async fn files_and_folder_are_as_the_references(world: &World) -> Result<()> {
    let specs = [
        (
            "example-allow",
            json!({ "state": "Enabled", "defaultAction": "SCMP_ACT_ALLOW" }),
        ),
        (
            "example-block",
            json!({ "state": "Enabled", "defaultAction": "SCMP_ACT_ERRNO" }),
        ),
        (
            "example-log",
            json!({ "state": "Enabled", "defaultAction": "SCMP_ACT_LOG" }),
        ),
    ];
    for (name, spec) in &specs {
        world.apply(name, spec).await?;
    }
    let kubelet = world.root().join("var/lib/kubelet/seccomp");
    let link = fs::read_link(kubelet.join("operator"))?;
    ensure!(
        link == std::path::Path::new("/var/lib/security-profiles-operator"),
        "{}",
        link.display()
    );
    let folder = fs::metadata(world.folder())?;
    ensure!(
        (
            folder.permissions().mode() & 0o777,
            folder.uid(),
            folder.gid()
        ) == (0o744, 65535, 65535),
        "{folder:?}"
    );
    let map = format!("/api/v1/namespaces/{OWN}/configmaps/security-profiles-operator-profile");
    let map = get(&world.admin, &map).await?.context("no map")?;
    let own = fs::read_to_string(kubelet.join("security-profiles-operator.json"))?;
    ensure!(
        map["data"]["security-profiles-operator.json"] == own,
        "{own}"
    );
    for (name, spec) in &specs {
        let profile = world.installed(name, 1).await?;
        ensure!(profile["status"]["localhostProfile"] == format!("operator/{name}.json"));
        let ready = &profile["status"]["conditions"][0];
        ensure!(
            ready["status"] == "True" && ready["reason"] == "Available",
            "{ready}"
        );
        let content: Value = serde_json::from_slice(&fs::read(world.file(name))?)?;
        ensure!(content == *spec, "{content}");
        let statuses = world.statuses(name).await?;
        ensure!(statuses.len() == 1 && statuses[0]["spec"]["nodeName"] == world.node.name);
        ensure!(statuses[0]["status"]["status"] == "Installed");
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

/// Acceptance 2. The base has what runtimes need, and the pod's program needs three calls more.
pub(crate) async fn a_base_profile_and_a_few_calls_run_a_pod_with_each_runtime(
    world: &World,
) -> Result<()> {
    world.apply("runtimes", &allows(&BASE_SYSCALLS)).await?;
    let mut spec = allows(&MORE);
    spec["baseProfileName"] = json!("runtimes");
    world.apply("hello", &spec).await?;
    world.installed("hello", 1).await?;
    for runtime in ["runc", "crun"] {
        let mut pod = node::pod(&format!("hello-{runtime}"), "");
        pod["spec"]["runtimeClassName"] = json!(runtime);
        pod["spec"]["containers"][0]["command"] = json!(["echo", "hello"]);
        pod["spec"]["securityContext"]["seccompProfile"] = localhost("hello");
        let said = node::run(&world.admin, &world.users, &pod).await?;
        ensure!(said == "hello\n", "{runtime}: {said}");
        let path = format!("/api/v1/namespaces/{}/pods/hello-{runtime}", world.users);
        let pod = get(&world.admin, &path).await?.context("no pod")?;
        ensure!(pod["status"]["phase"] == "Succeeded", "{}", pod["status"]);
        world.end_pod(&format!("hello-{runtime}")).await?;
    }
    // Without the base, no runtime gets as far as the program.
    spec["baseProfileName"] = Value::Null;
    world.apply("hello", &spec).await?;
    world.installed("hello", 1).await?;
    let mut pod = node::pod("no-base", "echo hello");
    pod["spec"]["securityContext"]["seccompProfile"] = localhost("hello");
    node::start(&world.admin, &world.users, &pod).await?;
    let failed = |pod: &Value| pod["status"]["phase"] == "Failed";
    node::wait(&world.admin, &world.users, "no-base", failed).await?;
    world.end_pod("no-base").await?;
    for name in ["hello", "runtimes"] {
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

/// What the program calls that runtimes do not.
const MORE: [&str; 3] = ["getrandom", "prlimit64", "rseq"];

/// Acceptance 4.
pub(crate) async fn only_what_is_allowed_is_installed_and_what_no_longer_is_goes(
    world: &World,
) -> Result<()> {
    let all: Vec<&str> = BASE_SYSCALLS.iter().chain(&MORE).copied().collect();
    let sleeps: Vec<&str> = all.iter().copied().chain(["clock_nanosleep"]).collect();
    restrict(world, &json!({ "security": { "allowedSyscalls": sleeps } })).await?;
    world
        .apply("compliant", &allows(&["read", "write"]))
        .await?;
    world
        .apply("block-all", &json!({ "defaultAction": "SCMP_ACT_ERRNO" }))
        .await?;
    world.apply("non-compliant", &allows(&["ptrace"])).await?;
    world
        .apply("allow-all", &json!({ "defaultAction": "SCMP_ACT_ALLOW" }))
        .await?;
    world.apply("in-use", &allows(&sleeps)).await?;
    for name in ["compliant", "block-all", "in-use"] {
        world.installed(name, 1).await?;
    }
    for name in ["non-compliant", "allow-all"] {
        let profile = world.is(name, "Error").await?;
        let message = &profile["status"]["conditions"][0]["message"];
        ensure!(message.to_string().contains("allow"), "{message}");
        ensure!(!world.file(name).exists(), "{name} is installed");
    }
    world.runs_pod(&user("in-use", "in-use")).await?;
    let path = format!("{PROFILES}/in-use");
    world
        .becomes(&path, "used", |profile| {
            !profile["status"]["activeWorkloads"].is_null()
        })
        .await?;

    // The list shrinks: what it no longer allows is deleted, and what a pod uses waits for it.
    restrict(
        world,
        &json!({ "security": { "allowedSyscalls": ["read"] } }),
    )
    .await?;
    world.gone("compliant").await?;
    world.is("in-use", "Terminating").await?;
    ensure!(
        world.file("in-use").exists(),
        "the file of a used profile is gone"
    );
    world.end_pod("in-use").await?;
    world.gone("in-use").await?;
    world.installed("block-all", 1).await?;
    restrict(world, &json!({ "security": null })).await?;
    world.installed("non-compliant", 1).await?;
    for name in ["block-all", "non-compliant", "allow-all"] {
        world.delete_profile(name).await?;
        world.gone(name).await?;
    }
    Ok(())
}

async fn restrict(world: &World, spec: &Value) -> Result<()> {
    world.merge(SPOD, &json!({ "spec": spec })).await.map(drop)
}

/// Acceptance 22.
pub(crate) async fn long_names_are_found_by_their_label(world: &World) -> Result<()> {
    let name = "a-profile-with-a-name-of-more-than-64-characters-that-no-label-can-have";
    world.apply(name, &refuses(&["mkdir"])).await?;
    world.installed(name, 1).await?;
    let statuses = world.statuses(name).await?;
    let labels = &statuses[0]["metadata"]["labels"];
    let id = labels["spo.x-k8s.io/profile-id"]
        .as_str()
        .context("no label")?;
    let path = format!("{STATUSES}?labelSelector=spo.x-k8s.io/profile-id={id}");
    let found = get(&world.admin, &path).await?.context("not served")?;
    ensure!(
        found["items"]
            .as_array()
            .is_some_and(|items| items.len() == 1)
    );
    ensure!(found["items"][0]["metadata"]["ownerReferences"][0]["name"] == name);
    ensure!(world.file(name).exists());
    world.delete_profile(name).await?;
    world.gone(name).await
}

/// Acceptance 23.
pub(crate) async fn options_of_one_webhook_are_applied_and_taken_back(world: &World) -> Result<()> {
    const NAME: &str = "profilepolicy.spo.io";
    let before = get(&world.admin, REGISTRATION).await?.context("none")?;
    let selector = json!({ "matchLabels": { "example.com/asks": "yes" } });
    let option = json!({
        "name": NAME,
        "failurePolicy": "Fail",
        "namespaceSelector": selector,
        "objectSelector": selector,
    });
    restrict(world, &json!({ "webhook": { "options": [option] } })).await?;
    let of = |registration: &Value, wanted: bool| -> Vec<Value> {
        let webhooks = registration["webhooks"].as_array().into_iter().flatten();
        webhooks
            .filter(|webhook| (webhook["name"] == NAME) == wanted)
            .cloned()
            .collect()
    };
    let after = world.becomes(REGISTRATION, "as it is asked for", |registration| {
        let webhook = &of(registration, true)[0];
        webhook["failurePolicy"] == "Fail"
            && ["namespaceSelector", "objectSelector"]
                .iter()
                .all(|field| webhook[*field] == selector)
    });
    let after = after.await?;
    ensure!(
        of(&after, false) == of(&before, false),
        "others were touched: {after:#}"
    );
    world.webhook_answers().await?;
    restrict(world, &json!({ "webhook": null })).await?;
    world
        .becomes(REGISTRATION, "as it was", |registration| {
            registration["webhooks"] == before["webhooks"]
        })
        .await?;
    world.webhook_answers().await
}
