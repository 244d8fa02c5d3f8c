//! What tests get to know about a cluster, in a file beside the one for `KUBECONFIG`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::binaries::Binaries;
use super::components::Layout;
use super::node::{self, Node};
use super::pki;

const FILE: &str = "about.json";

/// The contents of the file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About<'a> {
    audit_log: PathBuf,
    kubectl: &'a Path,
    node: Option<AboutNode>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AboutNode {
    name: &'static str,
    /// The kubelet's folder, as seen from the machine.
    kubelet: PathBuf,
    /// Where the machine is reached from the cluster.
    host_address: Ipv4Addr,
    /// The process in whose mount and network namespaces the cluster is.
    holder: Option<i32>,
}

impl<'a> About<'a> {
    pub(super) fn of(layout: &Layout, binaries: &'a Binaries) -> Self {
        let about = |node: &Node| AboutNode {
            name: node::NAME,
            kubelet: node.kubelet(),
            host_address: node.host_address(),
            holder: node.holder(),
        };
        Self {
            audit_log: layout.audit_log(),
            kubectl: &binaries.kubectl,
            node: layout.node.as_ref().map(about),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("failed to describe the cluster")?;
        pki::write(&folder.join(FILE), &text)
    }
}
