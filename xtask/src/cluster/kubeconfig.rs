//! Files that tell a client where the API server is, and who the client is.

use anyhow::Result;
use serde_json::json;

use super::components::Layout;
use super::pki::{self, Identity};

/// Writes one for everybody who needs one. JSON is YAML.
pub(super) fn write_all(layout: &Layout) -> Result<()> {
    for identity in [pki::ADMIN, pki::CONTROLLER_MANAGER, pki::SCHEDULER] {
        let text = text(layout, &identity);
        pki::write(&layout.kubeconfig(&identity), &text)?;
    }
    Ok(())
}

fn text(layout: &Layout, identity: &Identity) -> String {
    let Layout {
        folder: _,
        pki,
        ports,
    } = layout;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "spo", "cluster": {
            "server": format!("https://127.0.0.1:{}", ports.apiserver),
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
