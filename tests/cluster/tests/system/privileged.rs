//! What privileged containers are told, and what is told of them.

use anyhow::{Result, ensure};
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};

use crate::recording::{Recording, ensure_whole, evidence};
use crate::world::{World, user};

const NO_FILTER: &str = "runtimes give privileged containers no seccomp filter";

pub(crate) async fn what_a_privileged_container_used_is_told(world: &World) -> Result<()> {
    let powerful = Recording::begin(world, "powerful", "Containers").await?;
    let powerless = powerful.beside("powerless", "None").await?;
    let privileged = |name: &str, script: &str| {
        let mut pod = powerful.pod(name, &format!("cd /tmp; {script}; sleep 1000"));
        pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
        pod
    };
    let mounts = privileged("mounts", "mkdir m; mount -t tmpfs none m; umount m");
    let makes = privileged("makes", "touch f; chown 1 f; mknod n c 1 3");
    // It asks for the same, and is refused.
    let mut tries = powerless.pod(
        "tries",
        "cd /tmp; touch f; chown 1 f; mkdir m; mount -t tmpfs none m; sleep 1000",
    );
    tries["spec"]["containers"][0]["securityContext"] =
        json!({ "capabilities": { "drop": ["ALL"] } });
    let said = warnings(world, &mounts).await?;
    ensure!(said.contains(NO_FILTER), "{said}");
    let said = warnings(world, &tries).await?;
    ensure!(!said.contains(NO_FILTER), "{said}");
    for pod in [&mounts, &makes, &tries] {
        world.runs_pod(pod).await?;
    }
    for recording in [&powerful, &powerless] {
        recording
            .becomes("they run", |found| {
                let main = &found["status"]["nodes"][0]["containers"][0];
                main["running"]
                    == if found["metadata"]["name"] == "powerful" {
                        2
                    } else {
                        1
                    }
            })
            .await?;
    }
    for name in ["mounts", "makes", "tries"] {
        world.end_pod(name).await?;
    }
    let ended = |found: &Value| evidence(found, "profiles") == "2";
    let profile = powerful.profile("main", ended).await?;
    ensure_whole(&profile)?;
    let used = "CAP_CHOWN, CAP_MKNOD, CAP_SYS_ADMIN";
    ensure!(evidence(&profile, "capabilities") == used, "{profile:#}");
    let said = evidence(&profile, "privileged")
        .as_str()
        .unwrap_or_default();
    ensure!(said.contains("no seccomp filter"), "{profile:#}");
    let profile = powerless.profile("main", |_| true).await?;
    ensure!(evidence(&profile, "capabilities") == "none", "{profile:#}");
    ensure!(evidence(&profile, "privileged").is_null(), "{profile:#}");
    for recording in [&powerful, &powerless] {
        recording.end().await?;
    }
    world.delete_profile("powerful-main").await?;
    world.delete_profile("powerless-main").await
}

/// A profile of ours that a privileged container names binds nothing, and its author is told.
pub(crate) async fn a_profile_of_a_privileged_container_is_warned_of(world: &World) -> Result<()> {
    let mut pod = user("bound", "some");
    let said = warnings(world, &pod).await?;
    ensure!(!said.contains(NO_FILTER), "{said}");
    pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    let said = warnings(world, &pod).await?;
    ensure!(said.contains(NO_FILTER), "{said}");
    Ok(())
}

/// What the API server says to a pod that it is asked about, and does not get.
async fn warnings(world: &World, pod: &Value) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", world.users);
    let request = Request::post(path)
        .header("Content-Type", "application/json")
        .body(Body::from(pod.to_string().into_bytes()))?;
    let answer = world.admin.send(request).await?;
    ensure!(answer.status().is_success(), "{answer:?}");
    let warnings: Vec<_> = answer.headers().get_all("Warning").iter().collect();
    Ok(format!("{warnings:?}"))
}
