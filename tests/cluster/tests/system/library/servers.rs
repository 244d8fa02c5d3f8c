//! The servers, how they are started, and who asks them. What they are configured with and asked is in
//! `tests/data/library`.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use spo_cluster_tests::node;
use spo_cluster_tests::objects::create;
use spo_cluster_tests::web::certificate;

use crate::world::World;

/// What asks all of them.
const CLIENT: &str = "localhost/python:test";

/// A server with a profile in the library.
pub(super) struct Server {
    /// Also of its profile, and of its folder.
    pub(super) name: &'static str,
    pub(super) image: &'static str,
    /// Where it comes from.
    pub(super) packages: &'static [&'static str],
    command: &'static [&'static str],
    ready: Ready,
    /// What the kubelet executes in the container when it has begun.
    begun: Option<&'static str>,
    /// A second server in the pod.
    peer: Option<&'static [&'static str]>,
}

/// How a kubelet finds out whether it serves.
enum Ready {
    Http(u16),
    Exec(&'static [&'static str]),
}

pub(super) const SERVERS: [Server; 3] = [
    Server {
        name: "nginx",
        image: "localhost/nginx:test",
        packages: &["nginx"],
        command: &["nginx", "-c", "/conf/nginx.conf", "-g", "daemon off;"],
        ready: Ready::Http(8080),
        begun: Some(
            "until [ -s /work/nginx.pid ]; do sleep 0.1; done; nginx -t -c /conf/nginx.conf && nginx -c /conf/nginx.conf -s reload",
        ),
        peer: None,
    },
    Server {
        name: "redis",
        image: "localhost/redis:test",
        packages: &["redis-server", "redis-tools"],
        command: &["redis-server", "/work/redis.conf"],
        ready: Ready::Exec(&["redis-cli", "ping"]),
        begun: None,
        peer: Some(&[
            "redis-server",
            "--port",
            "6380",
            "--protected-mode",
            "no",
            "--save",
            "",
        ]),
    },
    Server {
        name: "python-web",
        image: CLIENT,
        packages: &["python3"],
        command: &["python3", "/conf/server.py"],
        ready: Ready::Http(8000),
        begun: None,
        peer: None,
    },
];

impl Server {
    /// Makes the files of its folder, and a certificate, those of a `ConfigMap`.
    pub(super) async fn configure(&self, world: &World) -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/library");
        let folder = folder.join(self.name);
        let context = || format!("failed to read {}", folder.display());
        let mut files = Map::new();
        for entry in std::fs::read_dir(&folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = std::fs::read_to_string(&path).with_context(context)?;
            files.insert(name.into_owned(), json!(text));
        }
        let (_, signed) = certificate()?;
        for (name, bytes) in [("tls.crt", signed.certificate), ("tls.key", signed.key)] {
            files.insert(name.to_owned(), json!(String::from_utf8(bytes)?));
        }
        // One that a failed run left.
        self.remove(world).await?;
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": self.name }, "data": files,
        });
        let all = configurations(world);
        create(&world.admin, &all, &map).await??;
        Ok(())
    }

    pub(super) async fn remove(&self, world: &World) -> Result<()> {
        let path = format!("{}/{}", configurations(world), self.name);
        world.delete(&path).await
    }

    /// The server and who asks it. With crun, it is started by a script, as images do.
    pub(super) fn pod(&self, runtime: &str, suffix: &str) -> Value {
        let mut pod = self.alone(&format!("{runtime}-{suffix}"));
        let spec = &mut pod["spec"];
        spec["runtimeClassName"] = json!(runtime);
        // The client tells the server's processes what people tell them.
        spec["shareProcessNamespace"] = json!(true);
        if runtime == "crun" {
            let script = ["sh", "/conf/start.sh"].iter().chain(self.command);
            spec["containers"][0]["command"] = script.copied().collect();
        }
        if let Some(script) = self.begun {
            spec["containers"][0]["lifecycle"] =
                json!({ "postStart": { "exec": { "command": ["sh", "-c", script] } } });
        }
        let client = container("client", CLIENT, &["python3", "-u", "/conf/client.py"]);
        let peer = self.peer.map(|peer| container("peer", self.image, peer));
        if let Some(containers) = spec["containers"].as_array_mut() {
            containers.extend([client].into_iter().chain(peer));
        }
        pod
    }

    /// The server alone.
    pub(super) fn alone(&self, suffix: &str) -> Value {
        let mut pod = node::pod(&format!("{}-on-{suffix}", self.name), "");
        let mut server = container(self.name, self.image, self.command);
        server["readinessProbe"] = match self.ready {
            Ready::Http(port) => json!({ "httpGet": { "path": "/", "port": port } }),
            Ready::Exec(command) => json!({ "exec": { "command": command } }),
        };
        server["readinessProbe"]["periodSeconds"] = json!(1);
        let prepare = ["sh", "-e", "/conf/prepare.sh"];
        let spec = &mut pod["spec"];
        spec["initContainers"] = json!([container("prepare", "localhost/busybox:test", &prepare)]);
        spec["containers"] = json!([server]);
        spec["volumes"] = json!([
            { "name": "conf", "configMap": { "name": self.name } },
            { "name": "work", "emptyDir": {} },
        ]);
        pod
    }
}

fn configurations(world: &World) -> String {
    format!("/api/v1/namespaces/{}/configmaps", world.users)
}

fn container(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "volumeMounts": [
            { "name": "conf", "mountPath": "/conf" },
            { "name": "work", "mountPath": "/work" },
        ],
    })
}
