//! Versions of a workload, each under the profile that is bound to its image: through a rollout, while
//! both run, and back; and a canary.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::{create, get};

use crate::binding::Binding;
use crate::verify;
use crate::world::{World, object, refuses};

/// A version of a workload: its image, and the profile that is bound to that.
type Version<'v> = (&'v str, &'static str);

/// Each refuses another call, so that no two have the same filter. By name alone, those of tags count most.
const PROFILES: [(&str, &str); 5] = [
    ("by-tag-one", "mkdir"),
    ("by-tag-two", "rmdir"),
    ("of-digest-one", "link"),
    ("of-digest-two", "symlink"),
    ("canary", "rename"),
];
const REPOSITORY: &str = "localhost/busybox";
/// Its two tags.
const ONE: &str = "localhost/busybox:test";
const TWO: &str = "localhost/busybox:next";

/// A Deployment of one pod, which its name is a label of.
struct Workload<'w> {
    world: &'w World,
    name: &'static str,
}

impl<'w> Workload<'w> {
    async fn create(world: &'w World, name: &'static str, image: &str) -> Result<Self> {
        let mut template = node::pod(name, "sleep 1000");
        template["metadata"] = json!({ "labels": { "app": name } });
        template["spec"]["restartPolicy"] = json!("Always");
        template["spec"]["containers"][0]["image"] = json!(image);
        let mut deployment = object("Deployment", name, &Value::Null);
        deployment["apiVersion"] = json!("apps/v1");
        deployment["spec"] = json!({
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": { "metadata": template["metadata"], "spec": template["spec"] },
        });
        let workload = Self { world, name };
        create(&world.admin, &workload.all(), &deployment).await??;
        Ok(workload)
    }

    fn all(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments", self.world.users)
    }

    /// Has another version rolled out, which nobody waits for: both run.
    async fn begin(&self, image: &str) -> Result<()> {
        let path = format!("{}/{}", self.all(), self.name);
        let available = |found: &Value| found["status"]["availableReplicas"] == 1;
        self.world.becomes(&path, "available", available).await?;
        let container = json!({ "name": "main", "image": image });
        let template = json!({ "spec": { "containers": [container] } });
        let change = json!({ "spec": { "minReadySeconds": 500, "template": template } });
        self.kubectl(&["patch", "--patch", &change.to_string()])
    }

    /// The new version is good.
    async fn finish(&self) -> Result<()> {
        let path = format!("{}/{}", self.all(), self.name);
        let change = json!({ "spec": { "minReadySeconds": 0 } });
        self.world.merge(&path, &change).await.map(drop)
    }

    /// What kubectl does to it.
    fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let deployment = format!("deployment/{}", self.name);
        let whose = ["--namespace", &self.world.users, &deployment];
        World::kubectl(&[arguments, &whose].concat()).map(drop)
    }

    fn undo(&self) -> Result<()> {
        self.kubectl(&["rollout", "undo"])
    }

    /// Waits until it runs these versions alone, and returns its containers, with what the kernel is to
    /// have of each.
    async fn runs(&self, versions: &[Version<'_>]) -> Result<BTreeMap<String, String>> {
        let Self { world, name } = self;
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app%3D{name}",
            world.users
        );
        let images = |list: &Value| -> Vec<String> {
            let mut images: Vec<_> = list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|pod| {
                    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
                    let image = pod["spec"]["containers"][0]["image"].as_str();
                    format!("{phase} {}", image.unwrap_or_default())
                })
                .collect();
            images.sort();
            images
        };
        let mut expected: Vec<_> = versions
            .iter()
            .map(|(image, _)| format!("Running {image}"))
            .collect();
        expected.sort();
        let what = format!("{name} runs {versions:?}");
        let list = world
            .becomes(&path, &what, |list| images(list) == expected)
            .await?;
        let mut containers = BTreeMap::new();
        for pod in list["items"].as_array().into_iter().flatten() {
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            let image = &pod["spec"]["containers"][0]["image"];
            let version = versions.iter().find(|(one, _)| image == one);
            let (_, profile) = version.context("another image")?;
            containers.insert(format!("{name}/main"), format!("{profile} Verified"));
        }
        Ok(containers)
    }

    async fn end(&self) -> Result<()> {
        let path = format!("{}/{}", self.all(), self.name);
        let path = format!("{path}?propagationPolicy=Foreground");
        self.world.delete(&path).await
    }
}

/// The digest of an image, as the kubelet knows it.
async fn digest(world: &World, image: &str) -> Result<String> {
    let path = format!("/api/v1/nodes/{}", world.node.name);
    let found = world.until("the kubelet knows the image", async || {
        let node = get(&world.admin, &path).await?.context("no node")?;
        let images = node["status"]["images"].as_array().into_iter().flatten();
        let mut names = images.filter_map(|one| one["names"].as_array());
        let names = names.find(|names| names.iter().any(|name| name == image));
        let mut names = names.into_iter().flatten().filter_map(Value::as_str);
        let digest = names.find_map(|name| name.split_once('@'));
        Ok(digest.map(|(_, digest)| digest.to_owned()))
    });
    found.await
}

/// Two Deployments, whose versions are told apart by tags and by digests.
pub(crate) async fn each_version_has_its_profile_forward_and_back(world: &World) -> Result<()> {
    for (profile, call) in PROFILES {
        world.apply(profile, &refuses(&[call])).await?;
    }
    for (profile, _) in PROFILES {
        world.installed(profile, 1).await?;
    }
    let one = format!("{REPOSITORY}@{}", digest(world, ONE).await?);
    let two = format!("{REPOSITORY}@{}", digest(world, TWO).await?);
    ensure!(one != two, "both are {one}");
    let mut bindings = Vec::new();
    for ((profile, _), image) in PROFILES.into_iter().zip([ONE, TWO, &one, &two, ONE]) {
        let mut spec = json!({
            "profileRef": { "kind": "SeccompProfile", "name": profile }, "image": image,
        });
        if profile == "canary" {
            spec["podSelector"] = json!({ "matchLabels": { "track": "canary" } });
        }
        bindings.push(Binding::create(world, profile, &spec).await?);
    }

    let of_tags = Workload::create(world, "of-tags", ONE).await?;
    let of_digests = Workload::create(world, "of-digests", &one).await?;
    let mut canary = node::pod("canary", "sleep 1000");
    canary["metadata"]["labels"] = json!({ "track": "canary" });
    world.runs_pod(&canary).await?;
    // Tags do not matter beside digests.
    let next = format!("{TWO}{}", &two[REPOSITORY.len()..]);
    let tags: [Version<'_>; 2] = [(ONE, "by-tag-one"), (TWO, "by-tag-two")];
    let digests: [Version<'_>; 2] = [(&one, "of-digest-one"), (&next, "of-digest-two")];
    let are = async |of: std::ops::Range<usize>| -> Result<()> {
        let mut expected = of_tags.runs(&tags[of.clone()]).await?;
        expected.extend(of_digests.runs(&digests[of.clone()]).await?);
        expected.insert("canary/main".to_owned(), "canary Verified".to_owned());
        let found = verify::has(world, &world.users)?;
        ensure!(found == expected, "{of:?}: {found:#?}, not {expected:#?}");
        Ok(())
    };

    are(0..1).await?;
    of_tags.begin(TWO).await?;
    of_digests.begin(&next).await?;
    are(0..2).await?;
    of_tags.finish().await?;
    of_digests.finish().await?;
    are(1..2).await?;
    of_tags.undo()?;
    of_digests.undo()?;
    are(0..1).await?;

    of_tags.end().await?;
    of_digests.end().await?;
    world.end_pod("canary").await?;
    for binding in bindings {
        binding.end().await?;
    }
    for (profile, _) in PROFILES {
        world.delete_profile(profile).await?;
    }
    for (profile, _) in PROFILES {
        world.gone(profile).await?;
    }
    Ok(())
}
