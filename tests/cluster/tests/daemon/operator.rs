//! What the operator and an administrator write, whom the daemon goes by.

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use spo_cluster_tests::objects::{create, get, send};

use crate::world::{GROUP, PROFILES, World, merge};

impl World {
    /// Writes what the operator writes.
    pub(crate) async fn operator_says(&self, name: &str, status: Value) -> Result<()> {
        let path = format!("{PROFILES}/{name}/status");
        merge(&self.admin, &path, &json!({ "status": status })).await
    }

    /// Writes what the operator writes when it has looked at a profile as it is now, and at all pods.
    pub(crate) async fn operator_saw(
        &self,
        name: &str,
        state: &str,
        reason: &str,
        pods: &[&str],
    ) -> Result<()> {
        let path = format!("{PROFILES}/{name}");
        let profile = get(&self.admin, &path).await?.context("no profile")?;
        let ready = json!({
            "type": "Ready",
            "status": "False",
            "reason": reason,
            "message": "as a test has it",
            "observedGeneration": profile["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({ "status": state, "activeWorkloads": pods, "conditions": [ready] });
        self.operator_says(name, status).await
    }

    /// Removes the configuration.
    pub(crate) async fn unconfigure(&self) -> Result<()> {
        let path = format!("{}/spod", self.configurations());
        send(&self.admin, Method::DELETE, &path, None).await??;
        Ok(())
    }

    fn configurations(&self) -> String {
        let namespace = &self.namespace;
        format!("/apis/{GROUP}/v1/namespaces/{namespace}/securityprofilesoperatordaemons")
    }

    /// Makes the configuration allow only these calls; all of them if there is none.
    pub(crate) async fn allow(&self, syscalls: &[&str]) -> Result<()> {
        let path = self.configurations();
        let security = json!({ "allowedSyscalls": syscalls });
        if get(&self.admin, &format!("{path}/spod")).await?.is_some() {
            let change = json!({ "spec": { "security": security } });
            return merge(&self.admin, &format!("{path}/spod"), &change).await;
        }
        let object = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "SecurityProfilesOperatorDaemon",
            "metadata": { "name": "spod" },
            "spec": { "security": security },
        });
        create(&self.admin, &path, &object).await??;
        Ok(())
    }
}
