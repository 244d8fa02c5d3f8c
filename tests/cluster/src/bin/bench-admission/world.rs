//! A cluster with the webhook, and with namespaces that are full of bindings.

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::Client;
use serde_json::{Value, json};
use spo::api::bindings::{Applied, BINDINGS};
use spo::api::daemon::WebhookOptions;
use spo::api::webhooks::{POLICY, mutating, validating};
use spo_cluster_tests::access::admin;
use spo_cluster_tests::installed::{
    GROUP, NAMESPACE, WEBHOOK, Webhook, install, object, register, until,
};
use spo_cluster_tests::meter::{Audit, Memory};
use spo_cluster_tests::node::about;
use spo_cluster_tests::objects::{create, replace};
use tempfile::TempDir;

use crate::cases::{self, Case, HELD, IMAGE, INSTALLED, MANY};

const AT_ONCE: usize = 32;

pub(crate) struct World {
    pub(crate) admin: Client,
    /// What the webhook asks.
    pub(crate) audit: Audit,
    pub(crate) pod: Value,
    pub(crate) webhook: Webhook,
    _files: TempDir,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let admin = admin().await?;
        let about = about()?.context("this cluster does not say where its audit log is")?;
        install(&admin).await?;
        let profiles = format!("/apis/{GROUP}/v1/seccompprofiles");
        let spec = json!({ "defaultAction": "SCMP_ACT_LOG" });
        let profile = object("SeccompProfile", INSTALLED, &spec);
        let mut profile = create(&admin, &profiles, &profile).await??;
        // As the operator says it.
        profile["status"] = json!({ "status": "Installed", "nodes": { "ready": 1, "desired": 1 } });
        replace(&admin, &format!("{profiles}/{INSTALLED}/status"), &profile).await??;
        let files = TempDir::new().context("failed to make a folder")?;
        let webhook = Webhook::start(&admin, files.path()).await?;
        for case in cases::of_namespaces().iter().chain(&cases::unused()) {
            create(&admin, "/api/v1/namespaces", &case.object()).await??;
        }
        let world = Self {
            audit: Audit::at(&about.audit_log, &[WEBHOOK]),
            // Nobody but the API server has to do with it.
            pod: json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "generateName": "web-", "labels": { "app": "web" } },
                "spec": {
                    "automountServiceAccountToken": false,
                    "schedulerName": "nobody",
                    "containers": [{ "name": "web", "image": IMAGE }],
                },
            }),
            admin,
            webhook,
            _files: files,
        };
        world.register().await?;
        Ok(world)
    }

    /// Has the API server ask the webhook about pods.
    async fn register(&self) -> Result<()> {
        let Webhook {
            reach, authority, ..
        } = &self.webhook;
        let held = LabelSelectorRequirement {
            key: HELD.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        };
        let options = [WebhookOptions {
            name: POLICY.to_owned(),
            namespace_selector: Some(LabelSelector {
                match_expressions: Some(vec![held]),
                match_labels: None,
            }),
            ..WebhookOptions::default()
        }];
        let bundle = Some(&*authority.bundle);
        let mut webhooks = validating(reach, NAMESPACE, bundle, &options);
        // Bindings are made sooner if nobody is asked about them.
        let all = webhooks.webhooks.iter_mut().flatten();
        webhooks.webhooks = Some(
            all.filter(|one| one.name == POLICY)
                .map(|one| one.clone())
                .collect(),
        );
        register(&self.admin, "ValidatingWebhookConfiguration", webhooks).await?;
        let webhooks = mutating(reach, NAMESPACE, bundle, &[], false);
        register(&self.admin, "MutatingWebhookConfiguration", webhooks).await
    }

    /// Makes the bindings of all namespaces, and waits until pods are bound.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        for case in cases::of_namespaces().iter().chain(&cases::unused()) {
            self.bind(case.namespace, case.bindings()).await?;
        }
        for case in cases::of_namespaces() {
            until("pods are bound", async || {
                let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", case.namespace);
                // The namespace gets the account of its pods a moment later.
                let made = create(&self.admin, &path, &self.pod).await?;
                Ok(made.is_ok_and(|made| is_as_expected(&case, &made)))
            })
            .await
            .with_context(|| case.name)?;
        }
        Ok(())
    }

    /// Makes bindings in the operator's namespace.
    pub(crate) async fn fill_own(&mut self) -> Result<()> {
        let all = (0..MANY).map(cases::of_others).collect();
        self.bind(NAMESPACE, all).await
    }

    async fn bind(&self, namespace: &str, bindings: Vec<Value>) -> Result<()> {
        let path = format!("/apis/{GROUP}/v1/namespaces/{namespace}/profilebindings");
        let path = &path;
        let made = bindings.into_iter().map(|binding| async move {
            create(&self.admin, path, &binding).await??;
            Ok::<_, anyhow::Error>(())
        });
        let made = stream::iter(made).buffer_unordered(AT_ONCE);
        made.try_collect().await
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.webhook.process.id())
    }
}

/// Whether the binding that counts was applied to a pod, and no other.
pub(crate) fn is_as_expected(case: &Case, pod: &Value) -> bool {
    let applied = pod["metadata"]["annotations"][BINDINGS].as_str();
    let applied = applied.map(Applied::all).unwrap_or_default();
    let applied: Vec<_> = applied.into_iter().map(|one| one.binding).collect();
    applied == case.counts().into_iter().collect::<Vec<_>>()
}
