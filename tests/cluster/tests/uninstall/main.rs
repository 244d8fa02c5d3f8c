//! `spo uninstall` in a cluster with a node: the job of the manifests, the repair after a bare
//! deletion, and everything that can come between.

mod world;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::access::{namespace, remove_namespace};
use spo_cluster_tests::crd;
use spo_cluster_tests::manifests::{apply, uninstalling};
use spo_cluster_tests::node::{self, About};
use spo_cluster_tests::objects::{create, get};

use self::world::{GROUP, IMAGE, OWN, World};

const JOB: &str = "/apis/batch/v1/namespaces/security-profiles-operator/jobs/spo-uninstall";
const PROFILES: &str = "/apis/security-profiles-operator.x-k8s.io/v1/seccompprofiles";

/// Acceptance 6 of the reference, and the hook of the chart, which is the same job.
#[tokio::test]
async fn the_job_removes_everything_and_a_new_installation_works() -> Result<()> {
    let Some(world) = World::install().await? else {
        return Ok(());
    };
    let users = namespace(&world.admin).await?;
    world.profile("uninstall-a").await?;
    world.user(&users, "uninstall-a").await?;

    let said = job(&world, false).await?;
    let pod = format!("{users}/user");
    ensure!(
        said.contains(&pod) && said.contains("--keep used"),
        "{said}"
    );
    world
        .becomes(&world::profile("uninstall-a"), "as before", |profile| {
            profile["status"]["status"] == "Installed"
        })
        .await?;
    ensure!(world.file("uninstall-a.json").exists());

    world.end(&users, "user").await?;
    world.one_of_each_kind(&users).await?;
    crd::apply(&world.admin, &crd::monitors()).await?;
    world
        .becomes(world::MONITOR, "there", |monitor| !monitor.is_null())
        .await?;
    let said = job(&world, true).await?;
    world.nothing_is_left().await.context(said)?;
    world.gone(world::MONITOR).await?;
    world.delete(world::MONITORS).await?;
    nobody_was_refused(&world)?;

    // What the manifests have goes with them, and nothing waits for anybody.
    world.bare_deletion()?;
    world.gone(&format!("/api/v1/namespaces/{OWN}")).await?;
    world.gone(world::DEFINITION).await?;

    world.again().await?;
    world.profile("uninstall-a").await?;
    world.user(&users, "uninstall-a").await?;
    world.end(&users, "user").await?;
    let (code, said) = world.uninstall(&[]).await?;
    ensure!(code == Some(0), "{said}");
    world.nothing_is_left().await.context(said)?;
    // There is nothing to do, and that is said, not assumed: nodes are looked at again.
    let (code, said) = world.uninstall(&["-o", "json"]).await?;
    ensure!(code == Some(0) && said.contains("\"clean\""), "{said}");
    remove_namespace(&world.admin, &users).await
}

#[tokio::test]
async fn it_repairs_after_a_bare_deletion() -> Result<()> {
    let Some(world) = World::install().await? else {
        return Ok(());
    };
    let users = namespace(&world.admin).await?;
    world.profile("uninstall-b").await?;
    world.one_of_each_kind(&users).await?;

    // The operator ends first or last, as it comes; here it is first.
    world.stop_operator().await?;
    world.bare_deletion()?;
    world.gone(&format!("/api/v1/namespaces/{OWN}")).await?;
    let stuck = |object: &Value| !object["metadata"]["deletionTimestamp"].is_null();
    world
        .becomes(&world::profile("uninstall-b"), "stuck", stuck)
        .await?;
    world.becomes(world::DEFINITION, "stuck", stuck).await?;
    ensure!(world.file("uninstall-b.json").exists());
    ensure!(get(&world.admin, world::REGISTRATION).await?.is_some());

    let (code, said) = world.uninstall(&[]).await?;
    ensure!(code == Some(1) && said.contains("--image"), "{said}");
    ensure!(
        world.file("uninstall-b.json").exists(),
        "nothing is changed"
    );

    let (code, said) = world.uninstall(&["--image", IMAGE]).await?;
    ensure!(code == Some(0), "{said}");
    world.gone(world::DEFINITION).await?;
    let bindings = format!("{GROUP}/namespaces/{users}/profilebindings");
    world.gone(&format!("{bindings}/old")).await?;
    world
        .gone(&format!("/api/v1/namespaces/{OWN}-uninstall"))
        .await?;
    world.nothing_is_left().await.context(said)?;
    remove_namespace(&world.admin, &users).await
}

#[tokio::test]
async fn ended_in_the_midst_of_it_it_goes_on() -> Result<()> {
    let Some(world) = World::install().await? else {
        return Ok(());
    };
    world.profile("uninstall-c").await?;
    for moment in [
        "the operator gets",
        "waits for pods",
        "removes webhooks",
        "removes daemons",
        "cleans up",
        "1/1 node",
        "removes profiles",
        "removes services",
    ] {
        World::uninstall_until(moment)?;
    }
    let (code, said) = world.uninstall(&[]).await?;
    ensure!(code == Some(0), "{said}");
    world.nothing_is_left().await.context(said)
}

#[tokio::test]
async fn what_pods_use_can_stay_and_a_node_that_is_away_is_named() -> Result<()> {
    let Some(world) = World::install().await? else {
        return Ok(());
    };
    let users = namespace(&world.admin).await?;
    world.profile("uninstall-d").await?;
    world.profile("uninstall-e").await?;
    world.user(&users, "uninstall-d").await?;
    let theirs = world.file("theirs.json");
    std::fs::write(&theirs, "{}")?;

    let (code, said) = world.uninstall(&["--dry-run", "--keep", "used"]).await?;
    ensure!(code == Some(0), "{said}");
    ensure!(
        world.file("uninstall-e.json").exists(),
        "nothing is changed"
    );

    let away = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "uninstall-away", "labels": { "kubernetes.io/os": "linux" } },
    });
    create(&world.admin, "/api/v1/nodes", &away).await??;
    let (code, said) = world.uninstall(&["--keep", "used"]).await?;
    world.delete("/api/v1/nodes/uninstall-away").await?;
    ensure!(code == Some(1) && said.contains("uninstall-away"), "{said}");
    ensure!(said.contains("it keeps: uninstall-d.json"), "{said}");
    ensure!(said.contains("theirs.json"), "{said}");
    ensure!(world.file("uninstall-d.json").exists());
    ensure!(!world.file("uninstall-e.json").exists());
    let kept = get(&world.admin, &world::profile("uninstall-d")).await?;
    let kept = kept.context("the profile is gone")?;
    ensure!(kept["metadata"]["finalizers"].is_null(), "{kept}");
    ensure!(
        get(&world.admin, &world::profile("uninstall-e"))
            .await?
            .is_none()
    );
    // A container that starts now finds its file.
    let mut second = world::user_pod("uninstall-d");
    second["metadata"]["name"] = json!("second");
    node::start(&world.admin, &users, &second).await?;
    node::wait(&world.admin, &users, "second", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await?;

    // All of it can be taken over.
    let (code, said) = world.uninstall(&["--keep", "all"]).await?;
    ensure!(code == Some(0), "{said}");
    ensure!(world.file("uninstall-d.json").exists());
    world.again().await?;
    world.profile_is_installed("uninstall-d").await?;
    let (code, said) = world.uninstall(&["--keep", "all"]).await?;
    ensure!(code == Some(0), "{said}");
    let kept = get(&world.admin, &world::profile("uninstall-d")).await?;
    let kept = kept.context("the profile is gone")?;
    ensure!(kept["metadata"]["finalizers"].is_null(), "{kept}");
    ensure!(world.file("uninstall-d.json").exists());

    world.end(&users, "second").await?;
    world.end(&users, "user").await?;
    let (code, said) = world.uninstall(&[]).await?;
    ensure!(code == Some(0) && said.contains("theirs.json"), "{said}");
    ensure!(theirs.exists() && !world.file("uninstall-d.json").exists());
    std::fs::remove_file(theirs)?;
    let (code, said) = world.uninstall(&[]).await?;
    ensure!(code == Some(0), "{said}");
    world.nothing_is_left().await.context(said)?;
    remove_namespace(&world.admin, &users).await
}

/// Runs the job of `deploy/uninstall`, and returns what it logged.
async fn job(world: &World, succeeds: bool) -> Result<String> {
    let mut objects = uninstalling()?.context("no kubectl")?;
    for ((kind, _, _), object) in &mut objects {
        if kind == "Job" {
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!(IMAGE);
            container["imagePullPolicy"] = json!("Never");
        }
    }
    world
        .delete(&format!("{JOB}?propagationPolicy=Background"))
        .await?;
    world.gone(JOB).await?;
    apply(&world.admin, &objects).await?;
    world
        .becomes(JOB, "ended", |job| {
            let status = &job["status"];
            !status["succeeded"].is_null() || !status["failed"].is_null()
        })
        .await?;
    let pods = format!("/api/v1/namespaces/{OWN}/pods?labelSelector=job-name%3Dspo-uninstall");
    let pods = get(&world.admin, &pods).await?.unwrap_or_default();
    let name = pods["items"][0]["metadata"]["name"].as_str();
    let logs = node::logs(&world.admin, OWN, name.context("the job has no pod")?).await?;
    let job = get(&world.admin, JOB).await?.unwrap_or_default();
    ensure!((job["status"]["succeeded"] == 1) == succeeds, "{logs}");
    Ok(logs)
}

/// The account of the job had all rights that it asked for.
fn nobody_was_refused(world: &World) -> Result<()> {
    let About { audit_log, .. } = &world.about;
    let text = std::fs::read_to_string(audit_log)?;
    let user = format!("system:serviceaccount:{OWN}:spo-uninstall");
    let records = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own: Vec<_> = records
        .filter(|record| record["user"]["username"] == user.as_str())
        .collect();
    ensure!(!own.is_empty(), "the audit log does not know of {user}");
    let refused = own
        .iter()
        .find(|record| record["responseStatus"]["code"] == 403);
    ensure!(refused.is_none(), "{refused:?}");
    ensure!(get_profiles(&own), "it has listed no profiles: {PROFILES}");
    Ok(())
}

fn get_profiles(records: &[Value]) -> bool {
    records.iter().any(|record| {
        let uri = record["requestURI"].as_str().unwrap_or_default();
        uri.starts_with(PROFILES)
    })
}
