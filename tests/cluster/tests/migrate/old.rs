//! A cluster with objects of old versions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use spo_cluster_tests::access::{
    BINDINGS, ROLES, admin, allow, namespace, remove_namespace, service_account_config,
};
use spo_cluster_tests::crd::{self, Kind};
use spo_cluster_tests::files::folder;
use spo_cluster_tests::objects::{create, get, lost, replace, send};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

pub(crate) const GROUP: &str = "security-profiles-operator.x-k8s.io";
pub(crate) const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const PATIENCE: Duration = Duration::from_secs(30);
const INTERVAL: Duration = Duration::from_millis(100);
/// A server learns of a role a moment after it has taken it.
const ROLE_SETTLING: Duration = Duration::from_secs(1);

/// There is one set of definitions in a cluster.
static TURN: Mutex<()> = Mutex::const_new(());

/// Old definitions and objects, and an account that may migrate them.
pub(crate) struct Old {
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    /// The account's `kubeconfig`, and backups.
    pub(crate) files: TempDir,
    kinds: Vec<Kind>,
    _turn: MutexGuard<'static, ()>,
}

impl Old {
    pub(crate) async fn install() -> Result<Self> {
        let turn = TURN.lock().await;
        let admin = admin().await?;
        let namespace = namespace(&admin).await?;
        let config = service_account_config(&admin, &namespace, "migrate").await?;
        let files = TempDir::new().context("failed to make a folder")?;
        let text = serde_json::to_string(&config).context("failed to write the kubeconfig")?;
        std::fs::write(files.path().join("kubeconfig"), text)?;
        let mut old = Self {
            admin,
            namespace,
            files,
            kinds: Vec::new(),
            _turn: turn,
        };
        for file in folder("deploy/crds")? {
            let plural = file.object["spec"]["names"]["plural"].as_str();
            old.remove_definition(plural.context("no plural")?).await?;
        }
        for file in folder("tests/data/migrate/definitions")? {
            let kind = crd::apply(&old.admin, &file.object)
                .await
                .with_context(|| format!("failed to apply {}", file.name))?;
            old.kinds.push(kind);
        }
        for file in folder("tests/data/migrate/objects")? {
            old.put(&file.object)
                .await
                .with_context(|| format!("failed to create {}", file.name))?;
        }
        old.own().await?;
        old.permit(|_| true).await?;
        Ok(old)
    }

    async fn put(&self, object: &Value) -> Result<()> {
        let (kind, version) = self.kind(object)?;
        let collection = kind.path(&version, Some(&self.namespace));
        let made = create(&self.admin, &collection, object).await??;
        if kind.has_status(&version) == Some(true) && !object["status"].is_null() {
            let mut made = made;
            made["status"] = object["status"].clone();
            let name = made["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("{collection}/{name}/status");
            let read = replace(&self.admin, &path, &made).await??;
            let lost = lost(&object["status"], &read["status"]);
            ensure!(lost.is_empty(), "{}", lost.join("; "));
        }
        Ok(())
    }

    /// Makes a profile the owner of its node's status, as the operator does.
    async fn own(&self) -> Result<()> {
        let path = format!("/apis/{GROUP}/v1beta1/seccompprofiles/web");
        let owner = get(&self.admin, &path).await?.context("no profile")?;
        let path = format!("/apis/{GROUP}/v1alpha1/securityprofilenodestatuses/web-node-1");
        let mut status = get(&self.admin, &path).await?.context("no status")?;
        status["metadata"]["ownerReferences"] = json!([{
            "apiVersion": format!("{GROUP}/v1beta1"),
            "kind": "SeccompProfile",
            "name": "web",
            "uid": owner["metadata"]["uid"],
            "controller": true,
        }]);
        replace(&self.admin, &path, &status).await??;
        Ok(())
    }

    /// The kind of an object, and its version.
    fn kind(&self, object: &Value) -> Result<(&Kind, String)> {
        let kind = self.kinds.iter().find(|kind| object["kind"] == kind.kind);
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let version = version.rsplit('/').next().unwrap_or_default();
        Ok((kind.context("an unknown kind")?, version.to_owned()))
    }

    /// All definitions, and all objects in the versions in which they are stored, without what
    /// servers write by themselves.
    pub(crate) async fn everything(&self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        for file in folder("tests/data/migrate/definitions")? {
            let plural = file.object["spec"]["names"]["plural"].as_str();
            let plural = plural.context("no plural")?;
            let crd = get(&self.admin, &definition_path(plural)).await?;
            let crd = crd.context("a definition is gone")?;
            for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                let name = version["name"].as_str().unwrap_or_default();
                let list = get(&self.admin, &format!("/apis/{GROUP}/{name}/{plural}")).await?;
                let list = list.context("a version is not served")?;
                all.extend(list["items"].as_array().into_iter().flatten().cloned());
            }
            all.push(crd);
        }
        Ok(all)
    }

    /// The folder for a backup.
    pub(crate) fn backup(&self, name: &str) -> String {
        self.files.path().join(name).to_string_lossy().into_owned()
    }

    /// The file with an object in a backup.
    pub(crate) fn backed_up(&self, backup: &str, object: &Value) -> PathBuf {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let folder = self.files.path().join(backup);
        let kind = text(&object["kind"]);
        let name = text(&object["metadata"]["name"]);
        if kind == "CustomResourceDefinition" {
            let kind = text(&object["spec"]["names"]["kind"]);
            return folder.join(format!("definitions/{kind}.yaml"));
        }
        folder.join(match object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("objects/{kind}_{namespace}_{name}.yaml"),
            None => format!("objects/{kind}_{name}.yaml"),
        })
    }

    /// Goes back as `docs/api.md` says, and fails if something of what was there before is not
    /// there then.
    pub(crate) async fn restore(&self, backup: &str, before: &[Value]) -> Result<()> {
        let (definitions, objects): (Vec<_>, Vec<_>) = before
            .iter()
            .partition(|object| object["kind"] == "CustomResourceDefinition");
        let read = |object: &Value| -> Result<Value> {
            let file = self.backed_up(backup, object);
            let text = std::fs::read_to_string(file).context("failed to read the backup")?;
            serde_saphyr::from_str(&text).context("the backup is not YAML")
        };
        for definition in &definitions {
            let plural = definition["spec"]["names"]["plural"].as_str();
            self.remove_definition(plural.unwrap_or_default()).await?;
            crd::apply(&self.admin, &read(definition)?).await?;
        }
        for object in objects {
            self.put(&read(object)?).await?;
            // The owner of a node's status is another object now, so that it is collected.
            if object["kind"] == "SecurityProfileNodeStatus" {
                continue;
            }
            let (kind, version) = self.kind(object)?;
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let path = kind.path(&version, Some(&self.namespace));
            let there = get(&self.admin, &format!("{path}/{name}")).await?;
            let mut expected = object.clone();
            for own in [
                "uid",
                "resourceVersion",
                "managedFields",
                "creationTimestamp",
                "generation",
            ] {
                expected["metadata"][own] = Value::Null;
            }
            let lost = lost(&expected, &there.context("not restored")?);
            ensure!(lost.is_empty(), "{kind:?} {name}: {}", lost.join("; "));
        }
        Ok(())
    }

    /// Fails if an object is not in `v1` with all that it had, or a definition is not ours.
    pub(crate) async fn is_migrated(&self) -> Result<()> {
        for file in folder("tests/data/migrate/expected")? {
            let (kind, version) = self.kind(&file.object)?;
            let collection = kind.path(&version, Some(&self.namespace));
            let name = file.object["metadata"]["name"].as_str().unwrap_or_default();
            let read = get(&self.admin, &format!("{collection}/{name}")).await?;
            let read = read.with_context(|| format!("{} is gone", file.name))?;
            let lost = lost(&file.object, &read);
            ensure!(lost.is_empty(), "{}: {}", file.name, lost.join("; "));
            if kind.kind == "SecurityProfileNodeStatus" {
                let owner = &read["metadata"]["ownerReferences"][0];
                ensure!(owner["name"] == "web", "the owner is lost: {owner}");
                // Else the cluster would collect the object.
                ensure!(
                    owner["apiVersion"] == format!("{GROUP}/v1"),
                    "the owner's version is gone: {owner}"
                );
            }
        }
        for file in folder("deploy/crds")? {
            let plural = file.object["spec"]["names"]["plural"].as_str();
            let crd = get(&self.admin, &definition_path(plural.unwrap_or_default())).await?;
            // Not all kinds are in the old cluster.
            let Some(crd) = crd else { continue };
            let is = |expected: bool, what: &str| {
                ensure!(expected, "{}: {what}: {crd:#}", file.name);
                Ok(())
            };
            is(crd["status"]["storedVersions"] == json!(["v1"]), "stored")?;
            is(crd["spec"]["conversion"]["strategy"] == "None", "converted")?;
            is(crd["spec"]["conversion"]["webhook"].is_null(), "a webhook")?;
            let versions = crd["spec"]["versions"].as_array().map(Vec::len);
            is(versions == Some(1), "versions")?;
            is(
                crd["spec"]["versions"][0]["subresources"]["status"].is_object(),
                "status",
            )?;
            is(crd["metadata"]["labels"]["app"] == "kept", "labels")?;
            is(
                crd["metadata"]["annotations"]["cert-manager.io/inject-ca-from"].is_null(),
                "injection",
            )?;
        }
        Ok(())
    }

    /// Binds the rules of the role in `docs/api.md` that fit, and no others, to the account.
    pub(crate) async fn permit(&self, fits: impl Fn(&Value) -> bool) -> Result<()> {
        let mut role = documented_role()?;
        if let Value::Array(rules) = &mut role["rules"] {
            rules.retain(&fits);
        }
        self.bind(&self.namespace, &role).await
    }

    /// Binds a rule for one kind beside the others.
    pub(crate) async fn permit_only(&self, plural: &str, verbs: &[&str]) -> Result<()> {
        let mut role = documented_role()?;
        let rules = role["rules"].as_array().into_iter().flatten();
        let others = rules.flat_map(|rule| rule["resources"].as_array().into_iter().flatten());
        let others: Vec<_> = others
            .filter(|name| **name != plural && !name.to_string().contains("customresource"))
            .cloned()
            .collect();
        role["rules"] = json!([
            { "apiGroups": [GROUP], "resources": others, "verbs": ["get", "list", "update"] },
            { "apiGroups": [GROUP], "resources": [plural], "verbs": verbs },
        ]);
        self.bind(&format!("{}-only", self.namespace), &role).await
    }

    async fn bind(&self, name: &str, role: &Value) -> Result<()> {
        for collection in [BINDINGS, ROLES] {
            send(
                &self.admin,
                Method::DELETE,
                &format!("{collection}/{name}"),
                None,
            )
            .await?
            .ok();
        }
        let account = (self.namespace.as_str(), "migrate");
        allow(&self.admin, account, name, &role["rules"]).await?;
        tokio::time::sleep(ROLE_SETTLING).await;
        Ok(())
    }

    /// Removes a definition with its objects, whatever finalizers they have; returns what can be
    /// created again.
    pub(crate) async fn remove_definition(&self, plural: &str) -> Result<Value> {
        let path = definition_path(plural);
        let Some(mut crd) = get(&self.admin, &path).await? else {
            return Ok(Value::Null);
        };
        // A server asks the webhook to remove objects, too, and that one is dead.
        if crd["spec"]["conversion"]["strategy"] == "Webhook" {
            let mut without = crd.clone();
            without["spec"]["conversion"] = json!({ "strategy": "None" });
            replace(&self.admin, &path, &without).await??;
        }
        send(&self.admin, Method::DELETE, &path, None).await??;
        let start = Instant::now();
        while get(&self.admin, &path).await?.is_some() {
            ensure!(start.elapsed() < PATIENCE, "{plural} does not go");
            self.free(&crd, plural).await?;
            tokio::time::sleep(INTERVAL).await;
        }
        let metadata = json!({ "name": crd["metadata"]["name"] });
        crd["metadata"] = metadata;
        Ok(crd)
    }

    async fn free(&self, crd: &Value, plural: &str) -> Result<()> {
        let kind = Kind::of(crd)?;
        for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
            let version = version["name"].as_str().unwrap_or_default();
            let path = format!("/apis/{GROUP}/{version}/{plural}");
            let Ok(Some(list)) = get(&self.admin, &path).await else {
                continue;
            };
            for object in list["items"].as_array().into_iter().flatten() {
                if object["metadata"]["finalizers"].is_null() {
                    continue;
                }
                let mut object = object.clone();
                object["metadata"]["finalizers"] = Value::Null;
                let namespace = object["metadata"]["namespace"].as_str();
                let collection = kind.path(version, namespace);
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{collection}/{name}");
                // Another round comes if that was too early.
                replace(&self.admin, &path, &object).await?.ok();
            }
        }
        Ok(())
    }

    /// Leaves a cluster without these definitions.
    pub(crate) async fn remove(self) -> Result<()> {
        for file in folder("deploy/crds")? {
            let plural = file.object["spec"]["names"]["plural"].as_str();
            self.remove_definition(plural.unwrap_or_default()).await?;
        }
        for name in [self.namespace.clone(), format!("{}-only", self.namespace)] {
            for collection in [BINDINGS, ROLES] {
                let path = format!("{collection}/{name}");
                send(&self.admin, Method::DELETE, &path, None).await?.ok();
            }
        }
        remove_namespace(&self.admin, &self.namespace).await
    }
}

/// Where a definition is.
pub(crate) fn definition_path(plural: &str) -> String {
    format!("{CRDS}/{plural}.{GROUP}")
}

/// The role that the documentation gives.
fn documented_role() -> Result<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let text = std::fs::read_to_string(path).context("failed to read docs/api.md")?;
    let begin = "    apiVersion: rbac.authorization.k8s.io/v1\n";
    let start = text.find(begin).context("docs/api.md has no role")?;
    let role: String = text[start..]
        .lines()
        .map_while(|line| line.strip_prefix("    "))
        .flat_map(|line| [line, "\n"])
        .collect();
    serde_saphyr::from_str(&role).context("the role in docs/api.md is not YAML")
}
