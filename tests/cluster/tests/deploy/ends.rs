//! How a leader ends.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::create;

use crate::world::{DAEMONS, NAMESPACE, World};
use crate::{GROUP, base};

/// Profiles that the leader has to do with when it is asked to end.
const MANY: usize = 60;

/// Whoever lost the lease ends, also if a request is never answered: another one may lead.
#[tokio::test]
async fn a_leader_whose_requests_are_not_answered_ends() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let world = World::install(&base).await?;
    let (mut operator, proxy) = world.start_behind("one")?;
    world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    proxy.swallow();
    // It is told of that, and asks what nobody answers.
    let foreign = json!({ "spec": { "template": { "spec": { "hostPID": true } } } });
    world.merge(DAEMONS, &foreign).await?;
    let status = world.ended(&mut operator).await?;
    ensure!(!status.success(), "it ended with {status}");
    let log = operator.log()?;
    ensure!(
        log.contains("was lost: another replica may lead now"),
        "{log}"
    );
    world.remove().await
}

/// The lease is the last that a leader writes: from then on another one may lead.
#[tokio::test]
async fn nothing_is_written_after_the_lease_is_given_back() -> Result<()> {
    let Some(base) = base()? else {
        return Ok(());
    };
    let Some(about) = node::about()? else {
        println!("skipped: audit log: the cluster was made elsewhere");
        return Ok(());
    };
    let world = World::install(&base).await?;
    let mut operator = world.start("one")?;
    world
        .becomes(DAEMONS, "there are daemons", |_| true)
        .await?;
    let path = format!("/apis/{GROUP}/v1/seccompprofiles");
    let names = (0..MANY).map(|number| format!("ending-{number}"));
    let names: Vec<_> = names.collect();
    forget(&world, &names).await?;
    for name in &names {
        let profile = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "SeccompProfile",
            "metadata": { "name": name },
            "spec": { "defaultAction": "SCMP_ACT_LOG" },
        });
        create(&world.admin, &path, &profile).await??;
    }
    let first = format!("{path}/{}", names[0]);
    world
        .becomes(&first, "the leader begins", |profile| {
            !profile["metadata"]["finalizers"].is_null()
        })
        .await?;
    operator.ask_to_end()?;
    let status = world.ended(&mut operator).await?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(
        world.leader().await?.is_none(),
        "the lease was not given back"
    );

    let user = format!("system:serviceaccount:{NAMESPACE}:{NAMESPACE}");
    let text = fs::read_to_string(about.audit_log)?;
    let writes = text.lines().filter(|line| line.contains(&user));
    let writes = writes.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = writes
        .filter(|event| {
            let verb = event["verb"].as_str().unwrap_or_default();
            event["user"]["username"] == user.as_str()
                && ["create", "update", "patch", "delete"].contains(&verb)
        })
        .max_by_key(|event| event["requestReceivedTimestamp"].to_string())
        .context("the audit log has nothing of it")?;
    ensure!(last["objectRef"]["resource"] == "leases", "{last:#}");
    forget(&world, &names).await?;
    world.remove().await
}

async fn forget(world: &World, names: &[String]) -> Result<()> {
    for name in names {
        let path = format!("/apis/{GROUP}/v1/seccompprofiles/{name}");
        if spo_cluster_tests::objects::get(&world.admin, &path)
            .await?
            .is_some()
        {
            let free = json!({ "metadata": { "finalizers": null } });
            world.merge(&path, &free).await?;
        }
        world.delete(&path).await?;
    }
    Ok(())
}
