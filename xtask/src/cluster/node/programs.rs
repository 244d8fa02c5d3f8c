//! containerd, kubelet and kube-proxy: how each is configured and started.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::images::PAUSE;
use super::{NAME, Node, View};
use crate::cluster::binaries::Binaries;
use crate::cluster::components::{Args, Component, Health, Layout};
use crate::cluster::pki;
use crate::env::which;
use crate::setup::needs::CNI;

/// Where containerd listens, as the node sees it.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
/// Addresses of pods. They are seen in the node's own network alone.
const PODS: &str = "10.244.0.0/24";
const KUBELET_PORT: u16 = 10250;
const PROXY_PORT: u16 = 10256;
/// Pods ask for them by name; the first is the default.
pub(crate) const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// containerd, with files for all that it reads.
pub(crate) fn containerd(node: &Node) -> Result<Component> {
    let folder = node.folder();
    let network = folder.join("net.d");
    fs::create_dir_all(&network)
        .with_context(|| format!("failed to make the folder {}", network.display()))?;
    let chain = json!({ "cniVersion": "0.4.0", "name": "pods", "plugins": [
        {
            "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local", "ranges": [[{ "subnet": PODS }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        },
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ]});
    pki::write(&network.join("10-pods.conflist"), &chain.to_string())?;
    let plugins = CNI
        .iter()
        .find(|folder| Path::new(folder).join("bridge").is_file())
        .context("there are no CNI plugins")?;
    let mut text = format!(
        "version = 2\n\
         [plugins.'io.containerd.grpc.v1.cri']\n\
         sandbox_image = '{PAUSE}'\n\
         stream_server_address = '127.0.0.1'\n\
         disable_apparmor = true\n\
         tolerate_missing_hugetlb_controller = true\n\
         disable_hugetlb_controller = true\n\
         restrict_oom_score_adj = true\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\n\
         bin_dir = '{plugins}'\n\
         conf_dir = '{}'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd]\n\
         default_runtime_name = '{}'\n",
        network.display(),
        RUNTIMES[0],
    );
    for name in RUNTIMES {
        text.push_str(&runtime_table(name, &runtime(node, name)?));
    }
    // Else the machine gets a folder /opt/containerd.
    text.push_str("[plugins.'io.containerd.internal.v1.opt']\npath = '/var/lib/containerd/opt'\n");
    let file = folder.join("containerd.toml");
    pki::write(&file, &text)?;
    let mut args = Args::default();
    args.path("config", &file);
    node.inside(Component {
        name: "containerd",
        program: which("containerd").context("there is no containerd")?,
        args: args.done(),
        health: None,
    })
}

fn runtime_table(name: &str, program: &Path) -> String {
    let table = format!("plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.{name}");
    format!(
        "[{table}]\n\
         runtime_type = 'io.containerd.runc.v2'\n\
         [{table}.options]\n\
         BinaryName = '{}'\n\
         SystemdCgroup = false\n",
        program.display()
    )
}

/// The program of a container runtime; one without limits, where the node sees no controllers.
fn runtime(node: &Node, name: &str) -> Result<PathBuf> {
    let program = which(name).with_context(|| format!("there is no {name}"))?;
    if node.view() == View::Host || !node.hierarchies.are_divided() {
        return Ok(program);
    }
    // A copy, since this program may be built anew meanwhile.
    let own = node.folder().join("xtask");
    let context = || format!("failed to write {}", own.display());
    let current = std::env::current_exe().context("failed to find this program")?;
    let part = own.with_extension("part");
    fs::copy(current, &part).with_context(context)?;
    fs::rename(&part, &own).with_context(context)?;
    let script = node.folder().join(name);
    let text = format!(
        "#!/bin/sh\nexec '{}' cluster oci-runtime '{}' \"$@\"\n",
        own.display(),
        program.display()
    );
    let context = || format!("failed to write {}", script.display());
    fs::write(&script, text).with_context(context)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).with_context(context)?;
    Ok(script)
}

/// The kubelet. It is ready when it answers; the node is some seconds later.
pub(crate) fn kubelet(layout: &Layout, node: &Node, binaries: &Binaries) -> Result<Component> {
    let Layout { pki, .. } = layout;
    let folder = node.folder();
    // Pods that are files; it does not look for a folder that is made later.
    let manifests = node.kubelet().join("manifests");
    let context = || format!("failed to make {}", manifests.display());
    fs::create_dir_all(&manifests).with_context(context)?;
    let resolver = folder.join("resolv.conf");
    // No name is known in this cluster; without a file, pods would get the machine's.
    pki::write(&resolver, "nameserver 127.0.0.1\n")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address().to_string(),
        "port": KUBELET_PORT,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.certificate("ca") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.certificate(pki::KUBELET.file),
        "tlsPrivateKeyFile": pki.key(pki::KUBELET.file),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.name()),
        "failSwapOn": false,
        "healthzBindAddress": "127.0.0.1",
        "resolvConf": resolver,
        // Ready nodes are noticed soon, and what has not changed is not told.
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "5m",
        // Pods get what has changed in secrets after seconds, not after a minute.
        "syncFrequency": "5s",
        "clusterDomain": "cluster.local",
        // A machine with little space is no reason to end pods: shares of a large disk are gigabytes.
        "evictionHard": {
            "imagefs.available": "100Mi", "nodefs.available": "100Mi", "memory.available": "50Mi",
        },
        // Images cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "staticPodPath": "/var/lib/kubelet/manifests",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    });
    let file = folder.join("kubelet.json");
    pki::write(&file, &config.to_string())?;
    let program = binaries.kubelet.as_ref().context("there is no kubelet")?;
    let mut args = Args::default();
    args.path("config", &file)
        .path("kubeconfig", &layout.kubeconfig(&pki::KUBELET))
        .add("hostname-override", NAME)
        .add("node-ip", &node.address().to_string())
        .add("container-runtime-endpoint", &format!("unix://{SOCKET}"))
        .add("v", "2")
        // Before 1.24 there was another one; from 1.35 on, cgroups of version 1 must be asked for.
        .if_known(program, "container-runtime", "remote")
        .if_known(program, "fail-cgroupv1", "false");
    node.inside(Component {
        name: "kubelet",
        program: program.clone(),
        args: args.done(),
        health: Some(Health {
            server: format!("https://{}:{KUBELET_PORT}", node.address()),
            path: "/healthz",
        }),
    })
}

/// kube-proxy, with which services work.
pub(crate) fn proxy(layout: &Layout, node: &Node, binaries: &Binaries) -> Result<Component> {
    let address = node.address();
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": layout.kubeconfig(&pki::PROXY) },
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "bindAddress": address.to_string(),
        "healthzBindAddress": format!("{address}:{PROXY_PORT}"),
        "metricsBindAddress": "127.0.0.1:10249",
        // The machine's own settings stay.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    });
    let file = node.folder().join("kube-proxy.json");
    pki::write(&file, &config.to_string())?;
    let mut args = Args::default();
    args.path("config", &file).add("v", "1");
    node.inside(Component {
        name: "kube-proxy",
        program: binaries.proxy.clone().context("there is no kube-proxy")?,
        args: args.done(),
        health: Some(Health {
            server: format!("http://{address}:{PROXY_PORT}"),
            path: "/healthz",
        }),
    })
}

/// The classes by which pods choose a runtime.
pub(crate) fn runtime_classes() -> String {
    let items = RUNTIMES.map(|name| {
        json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
            "metadata": { "name": name }, "handler": name,
        })
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}
