//! A cluster as a release of the reference leaves it: its definitions, objects, finalizers, node
//! statuses, what runs, its webhooks, and the files of its nodes. Its programs are not here: in
//! their place something runs that does nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use spo_cluster_tests::crd;
use spo_cluster_tests::files::folder;
use spo_cluster_tests::objects::{create, get, replace};

use crate::world::{GROUP, OWN, World, name_of};

const USER: u32 = 65535;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    V0_10_1,
    V1_0_1,
}

impl Release {
    /// The version in which it stores a kind.
    fn version(self, kind: &str) -> &'static str {
        match self {
            Self::V0_10_1 => older(kind),
            Self::V1_0_1 => "v1",
        }
    }
}

fn older(kind: &str) -> &'static str {
    match kind {
        "SeccompProfile" => "v1beta1",
        "SelinuxProfile" | "RawSelinuxProfile" => "v1alpha2",
        _ => "v1alpha1",
    }
}

/// The fields that the reference does not have, by the path of their schema.
const OURS: [&str; 8] = [
    "/spec/properties/namespaceSelector",
    "/spec/properties/abstract/properties/rules",
    "/status/properties/nodes",
    "/status/properties/digest",
    "/status/properties/message",
    "/status/properties/observedGeneration",
    "/status/properties/reason",
    "/status/properties/since",
];

/// The definition of release 1.0.1: a version beside `v1`, which only a webhook can convert.
pub(crate) fn definition(ours: &Value) -> Value {
    let mut crd = ours.clone();
    let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let older = older(kind);
    if let Value::Object(names) = &mut crd["spec"]["names"] {
        names.remove("categories");
    }
    let mut v1 = crd["spec"]["versions"][0].clone();
    let schema = &mut v1["schema"]["openAPIV3Schema"];
    without_rules(schema);
    for path in OURS {
        let (place, field) = path.rsplit_once('/').unwrap_or_default();
        if let Some(Value::Object(fields)) = schema["properties"].pointer_mut(place) {
            fields.remove(field);
        }
    }
    let path = "/properties/spec/properties/hostProcVolumePath/pattern";
    if let Some(pattern) = schema.pointer_mut(path) {
        *pattern = json!("^/proc(/.*)?$");
    }
    let mut before = v1.clone();
    before["name"] = json!(older);
    before["storage"] = json!(false);
    crd["spec"]["versions"] = json!([before, v1]);
    crd["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {
                "service": { "name": "webhook-service", "namespace": OWN, "path": "/convert" },
            },
        },
    });
    let inject = format!("{OWN}/webhook-cert");
    crd["metadata"]["annotations"] = json!({ "cert-manager.io/inject-ca-from": inject });
    crd
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

/// A profile whose every rule is known by its effect.
pub(crate) fn spec(release: Release, enabled: bool) -> Value {
    let mut spec = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "action": "SCMP_ACT_ERRNO", "names": ["mkdir", "mkdirat"] }],
    });
    match (release, enabled) {
        (Release::V0_10_1, _) => spec["disabled"] = json!(!enabled),
        (Release::V1_0_1, true) => spec["state"] = json!("Enabled"),
        (Release::V1_0_1, false) => spec["state"] = json!("Disabled"),
    }
    spec
}

/// A state of the cluster.
pub(crate) struct Reference<'w> {
    pub(crate) world: &'w World,
    pub(crate) release: Release,
    /// The namespace of its users.
    pub(crate) users: &'w str,
}

impl Reference<'_> {
    /// All but what users have.
    pub(crate) async fn leave(&self) -> Result<()> {
        let Self { world, release, .. } = self;
        let files = match release {
            Release::V0_10_1 => folder("tests/data/migrate/definitions")?,
            Release::V1_0_1 => folder("deploy/crds")?,
        };
        for file in files {
            let definition = match release {
                Release::V0_10_1 => file.object,
                Release::V1_0_1 => definition(&file.object),
            };
            self.define(&definition).await?;
        }
        self.files()?;
        self.make(
            "/api/v1/namespaces",
            &json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": { "name": OWN, "labels": { "app": OWN } },
            }),
        )
        .await?;
        self.configuration().await?;
        for name in ["web", "plain"] {
            self.profile(name, true, "Installed").await?;
        }
        self.profile("off", false, "Disabled").await?;
        self.profile("going", true, "Installed").await?;
        self.selinux().await?;
        if *release == Release::V1_0_1 {
            self.bindings().await?;
        }
        self.webhooks().await?;
        world
            .merge(
                &format!("/api/v1/namespaces/{}", self.users),
                &json!({
                    "metadata": { "labels": { "spo.x-k8s.io/enable-binding": "" } },
                }),
            )
            .await?;
        Ok(())
    }

    /// Without its webhook the server cannot show what it stores in another version: that is not
    /// waited for.
    async fn define(&self, definition: &Value) -> Result<()> {
        let mut without = definition.clone();
        without["spec"]["conversion"] = json!({ "strategy": "None" });
        crd::apply(&self.world.admin, &without).await?;
        if definition["spec"]["conversion"]["strategy"] == "Webhook" {
            let path = format!("{}/{}", crate::world::CRDS, name_of(definition));
            let mut now = self.world.get(&path).await?;
            now["spec"]["conversion"] = definition["spec"]["conversion"].clone();
            replace(&self.world.admin, &path, &now).await??;
        }
        Ok(())
    }

    async fn make(&self, collection: &str, object: &Value) -> Result<Value> {
        let made = create(&self.world.admin, collection, object).await?;
        let mut made = made.with_context(|| format!("{collection}: {object}"))?;
        if !object["status"].is_null() && made["status"].is_null() {
            made["status"] = object["status"].clone();
            let path = format!("{collection}/{}/status", name_of(&made));
            made = replace(&self.world.admin, &path, &made).await??;
        }
        Ok(made)
    }

    /// Makes an object of our kinds.
    async fn object(
        &self,
        kind: &str,
        plural: &str,
        namespace: Option<&str>,
        mut object: Value,
    ) -> Result<Value> {
        let version = self.release.version(kind);
        object["apiVersion"] = json!(format!("{GROUP}/{version}"));
        object["kind"] = json!(kind);
        let collection = match namespace {
            Some(namespace) => format!("/apis/{GROUP}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{GROUP}/{version}/{plural}"),
        };
        self.make(&collection, &object).await
    }

    /// A profile with its finalizers and the node's status.
    async fn profile(&self, name: &str, enabled: bool, state: &str) -> Result<()> {
        let profile = self.object("SeccompProfile", "seccompprofiles", None, json!({
            "metadata": {
                "name": name,
                "finalizers": [format!("{}-deleted", self.world.node.name), "in-use-by-active-pods"],
                "annotations": { "syscalls": "[]" },
                "labels": { "spo.x-k8s.io/profile-id": format!("SeccompProfile-{name}") },
            },
            "spec": spec(self.release, enabled),
            "status": {
                "status": state,
                "localhostProfile": format!("operator/{name}.json"),
                "activeWorkloads": [format!("{}/gone-long-ago", self.users)],
                "conditions": [{
                    "type": "Ready",
                    "status": "True",
                    "reason": "Available",
                    "message": "on every node",
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                }],
            },
        }))
        .await?;
        // Later releases put the kind in front.
        let prefix = if name == "plain" {
            "seccompprofile-"
        } else {
            ""
        };
        self.node_status(&profile, &format!("{prefix}{name}"), state)
            .await
    }

    async fn node_status(&self, profile: &Value, begin: &str, state: &str) -> Result<()> {
        let node = &self.world.node.name;
        let kind = profile["kind"].as_str().unwrap_or_default();
        let mut status = json!({
            "metadata": {
                "name": format!("{begin}-{node}"),
                "labels": {
                    "spo.x-k8s.io/node-name": node,
                    "spo.x-k8s.io/profile-id": format!("{kind}-{}", name_of(profile)),
                    "spo.x-k8s.io/profile-kind": kind,
                    "spo.x-k8s.io/profile-state": state,
                },
                "ownerReferences": [{
                    "apiVersion": profile["apiVersion"],
                    "kind": kind,
                    "name": name_of(profile),
                    "uid": profile["metadata"]["uid"],
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
        });
        match self.release {
            Release::V0_10_1 => {
                status["nodeName"] = json!(node);
                status["status"] = json!(state);
            }
            Release::V1_0_1 => {
                status["spec"] = json!({ "nodeName": node });
                status["status"] = json!({ "status": state });
            }
        }
        let kind = "SecurityProfileNodeStatus";
        self.object(kind, "securityprofilenodestatuses", None, status)
            .await?;
        Ok(())
    }

    /// A profile that this version cannot install.
    async fn selinux(&self) -> Result<()> {
        let profile = self
            .object(
                "SelinuxProfile",
                "selinuxprofiles",
                None,
                json!({
                    "metadata": {
                        "name": "confined",
                        "finalizers": [format!("{}-deleted", self.world.node.name)],
                    },
                    "spec": { "allow": { "@self": { "tcp_socket": ["listen"] } } },
                    "status": { "status": "Installed", "usage": "confined.process" },
                }),
            )
            .await?;
        self.node_status(&profile, "confined", "Installed").await
    }

    async fn bindings(&self) -> Result<()> {
        let users = Some(self.users);
        self.object(
            "ProfileBinding",
            "profilebindings",
            users,
            json!({
                "metadata": { "name": "bound", "finalizers": ["active-workload-lock"] },
                "spec": { "image": "*", "profileRef": { "kind": "SeccompProfile", "name": "web" } },
            }),
        )
        .await?;
        let finalizers = [
            "active-seccomp-profile-recording-lock",
            "spo.x-k8s.io/has-unmerged-profiles",
        ];
        self.object(
            "ProfileRecording",
            "profilerecordings",
            users,
            json!({
                "metadata": { "name": "recorded", "finalizers": finalizers },
                "spec": {
                    "kind": "SeccompProfile",
                    "recorder": "Logs",
                    "mergeStrategy": "Containers",
                    "podSelector": {},
                },
            }),
        )
        .await?;
        Ok(())
    }

    /// The configuration, and what follows from it.
    async fn configuration(&self) -> Result<()> {
        let spec = match self.release {
            Release::V0_10_1 => {
                json!({ "hostProcVolumePath": "/proc", "enableLogEnricher": false })
            }
            Release::V1_0_1 => json!({ "hostProcVolumePath": "/proc" }),
        };
        let kind = "SecurityProfilesOperatorDaemon";
        let object = json!({ "metadata": { "name": "spod" }, "spec": spec });
        let object = self
            .object(kind, "securityprofilesoperatordaemons", Some(OWN), object)
            .await?;
        let owner = json!([{
            "apiVersion": object["apiVersion"],
            "kind": kind,
            "name": "spod",
            "uid": object["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        }]);
        let apps = format!("/apis/apps/v1/namespaces/{OWN}");
        for (kind, name) in [
            ("Deployment", OWN),
            ("Deployment", "security-profiles-operator-webhook"),
            ("DaemonSet", "spod"),
        ] {
            let mut labels = json!({ "app": OWN, "name": name });
            if name == OWN && self.release == Release::V1_0_1 {
                // As its chart has it.
                labels["app.kubernetes.io/name"] = json!(OWN);
                labels["app.kubernetes.io/instance"] = json!(OWN);
            }
            let mut object = json!({
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": { "name": name },
                "spec": {
                    "selector": { "matchLabels": labels },
                    "template": { "metadata": { "labels": labels }, "spec": idle() },
                },
            });
            if name == "spod" {
                object["metadata"]["ownerReferences"] = owner.clone();
            }
            let plural = format!("{}s", kind.to_lowercase());
            self.make(&format!("{apps}/{plural}"), &object).await?;
        }
        self.make(
            &format!("/apis/coordination.k8s.io/v1/namespaces/{OWN}/leases"),
            &json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": { "name": "security-profiles-operator-lock" },
                "spec": {
                    "holderIdentity": "security-profiles-operator-0_1",
                    "leaseDurationSeconds": 15,
                    "renewTime": "2026-01-02T03:04:05.000000Z",
                    "acquireTime": "2026-01-02T03:04:05.000000Z",
                    "leaseTransitions": 3,
                },
            }),
        )
        .await?;
        let core = format!("/api/v1/namespaces/{OWN}");
        self.make(
            &format!("{core}/configmaps"),
            &json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "security-profiles-operator-profile" },
                "data": { "security-profiles-operator.json": "{}", "selinuxd.cil": "(block a)" },
            }),
        )
        .await?;
        for name in ["webhook-server-cert", "metrics-server-cert"] {
            self.make(&format!("{core}/secrets"), &json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": { "name": name, "annotations": { "cert-manager.io/issuer-name": "a" } },
                "stringData": { "tls.crt": "theirs", "tls.key": "theirs", "ca.crt": "theirs" },
            }))
            .await?;
        }
        Ok(())
    }

    /// Webhooks that fail when nobody answers.
    async fn webhooks(&self) -> Result<()> {
        let core = format!("/api/v1/namespaces/{OWN}/services");
        self.make(
            &core,
            &json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": "webhook-service" },
                "spec": {
                    "ports": [{ "port": 443, "targetPort": 9443 }],
                    "selector": { "app": OWN, "name": "security-profiles-operator-webhook" },
                },
            }),
        )
        .await?;
        let webhook = |name: &str, path: &str, group: &str, resource: &str| {
            json!({
                "name": name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "service": { "name": "webhook-service", "namespace": OWN, "path": path },
                },
                "rules": [{
                    "apiGroups": [group],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": [resource],
                }],
            })
        };
        let mut binding = webhook("binding.spo.io", "/mutate-v1-pod-binding", "", "pods");
        let label = json!({ "key": "spo.x-k8s.io/enable-binding", "operator": "Exists" });
        binding["namespaceSelector"] = json!({ "matchExpressions": [label] });
        let name = "rawselinuxprofile-validation.spo.io";
        let raw = webhook(
            name,
            "/validate-rawselinuxprofile",
            GROUP,
            "rawselinuxprofiles",
        );
        for (kind, name, webhook) in [
            ("Mutating", "spo-mutating-webhook-configuration", binding),
            ("Validating", "spo-validating-webhook-configuration", raw),
        ] {
            let plural = format!("{}webhookconfigurations", kind.to_lowercase());
            let inject = format!("{OWN}/webhook-cert");
            self.make(
                &format!("/apis/admissionregistration.k8s.io/v1/{plural}"),
                &json!({
                    "apiVersion": "admissionregistration.k8s.io/v1",
                    "kind": format!("{kind}WebhookConfiguration"),
                    "metadata": {
                        "name": name,
                        "annotations": { "cert-manager.io/inject-ca-from": inject },
                    },
                    "webhooks": [webhook],
                }),
            )
            .await?;
        }
        Ok(())
    }

    /// What its daemon wrote on the node, and one file of release 0.8, in a folder of a namespace.
    fn files(&self) -> Result<()> {
        let root = self.world.root();
        let old = root.join(self.users);
        fs::create_dir_all(&old)?;
        for folder in [&root, &old] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o744))?;
            chown(folder, Some(USER), Some(USER))?;
        }
        let content = |enabled| spec(self.release, enabled).to_string();
        for (file, content) in [
            (root.join("web.json"), content(true)),
            (root.join("plain.json"), content(true)),
            (root.join("off.json"), content(false)),
            (root.join("going.json"), content(true)),
            (old.join("web.json"), content(true)),
            (
                root.join("kubelet-config.json"),
                r#"{"kubeletDir":"/var/lib/kubelet"}"#.to_owned(),
            ),
        ] {
            fs::write(&file, content)?;
            chown(&file, Some(USER), Some(USER))?;
        }
        let seccomp = self.world.node.kubelet.join("seccomp");
        fs::create_dir_all(&seccomp)?;
        symlink(
            "/var/lib/security-profiles-operator",
            seccomp.join("operator"),
        )?;
        Ok(())
    }

    /// Deletes the profile `going`, as somebody does while a pod uses it.
    pub(crate) async fn delete_one(&self) -> Result<()> {
        let version = self.release.version("SeccompProfile");
        let path = format!("/apis/{GROUP}/{version}/seccompprofiles/going");
        self.world.delete(&path).await?;
        let held = get(&self.world.admin, &path).await?;
        held.context("it is held by its finalizers").map(drop)
    }
}

/// Something that does nothing.
fn idle() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": OWN,
            "image": "localhost/busybox:test",
            "imagePullPolicy": "Never",
            "command": ["sleep", "100000"],
        }],
    })
}
