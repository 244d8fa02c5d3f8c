//! Files that tell a client where the API server is, and who the client is.

use anyhow::Result;
use serde_json::json;

use super::components::Layout;
use super::pki::{self, Identity};

/// Writes one for everybody who needs one. JSON is YAML.
pub(super) fn write_all(layout: &Layout) -> Result<()> {
    let mut identities = vec![pki::ADMIN, pki::CONTROLLER_MANAGER, pki::SCHEDULER];
    if layout.node.is_some() {
        identities.extend([pki::KUBELET, pki::PROXY]);
    }
    for identity in identities {
        let text = text(layout, &identity);
        pki::write(&layout.kubeconfig(&identity), &text)?;
    }
    Ok(())
}

fn text(layout: &Layout, identity: &Identity) -> String {
    let pki = &layout.pki;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "spo", "cluster": {
            "server": layout.server(),
            "certificate-authority": pki.certificate("ca"),
        }}],
        "users": [{ "name": identity.file, "user": {
            "client-certificate": pki.certificate(identity.file),
            "client-key": pki.key(identity.file),
        }}],
        "contexts": [{ "name": "spo", "context": { "cluster": "spo", "user": identity.file } }],
        "current-context": "spo",
    });
    format!("{config:#}\n")
}
