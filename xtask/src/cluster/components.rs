//! The parts of a control plane, and with which arguments each is started.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::binaries::Binaries;
use super::node::Node;
use super::pki::{self, Identity, Pki};
use super::ports::Ports;
use crate::process;

/// Addresses of services, and the first of them, which is the API server's. Without a node, no
/// packet goes there.
const SERVICES: &str = "10.96.0.0/24";
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";
/// Who makes tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The largest audit log in megabytes; one older file of that size is kept beside it.
const AUDIT_SIZE: &str = "128";

/// A process of the cluster.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// What answers when it works; etcd is asked by the API server alone.
    pub(super) health: Option<Health>,
}

/// A path that answers with 200.
#[derive(Debug)]
pub(super) struct Health {
    /// Such as `https://127.0.0.1:6443`.
    pub(super) server: String,
    pub(super) path: &'static str,
}

/// What the arguments depend on.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) pki: Pki,
    pub(super) ports: Ports,
    /// In whose namespaces all of it runs.
    pub(super) node: Option<Node>,
}

impl Layout {
    /// Where servers listen.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.node
            .as_ref()
            .map_or(Ipv4Addr::LOCALHOST, Node::address)
    }

    /// Where the API server is.
    pub(super) fn server(&self) -> String {
        format!("https://{}:{}", self.address(), self.ports.apiserver)
    }

    fn health(&self, port: u16, path: &'static str) -> Health {
        let server = format!("https://{}:{port}", self.address());
        Health { server, path }
    }

    /// What the API server was asked, by whom, and what it answered.
    pub(super) fn audit_log(&self) -> PathBuf {
        audit_log(&self.folder)
    }

    /// The file with the address and the identity for a client of the API server.
    pub(super) fn kubeconfig(&self, identity: &Identity) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", identity.file))
    }
}

/// The audit log of the cluster in a folder.
pub(super) fn audit_log(folder: &Path) -> PathBuf {
    folder.with_extension("logs").join("audit.log")
}

/// The file that says what is logged.
fn audit_policy(layout: &Layout) -> PathBuf {
    layout.folder.join("audit-policy.json")
}

/// Writes the files that components read.
pub(super) fn write_files(layout: &Layout) -> Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata" }],
    });
    pki::write(&audit_policy(layout), &policy.to_string())
}

/// The control plane, in the order in which it is started.
pub(super) fn all(binaries: &Binaries, layout: &Layout) -> Result<Vec<Component>> {
    let Binaries {
        etcd: etcd_program,
        apiserver: apiserver_program,
        kubectl: _,
        controller_manager: manager_program,
        scheduler: scheduler_program,
        kubelet: _,
        proxy: _,
        origin: _,
    } = binaries;
    let mut components = vec![
        etcd(etcd_program, layout),
        apiserver(apiserver_program, layout),
    ];
    if let Some(program) = manager_program {
        components.push(controller_manager(program, layout));
    }
    if let Some(program) = scheduler_program {
        components.push(scheduler(program, layout));
    }
    match &layout.node {
        None => Ok(components),
        Some(node) => components
            .into_iter()
            .map(|component| node.inside(component))
            .collect(),
    }
}

fn etcd(program: &Path, layout: &Layout) -> Component {
    let Layout {
        folder,
        pki,
        ports,
        node: _,
    } = layout;
    let clients = format!("https://127.0.0.1:{}", ports.etcd);
    let peers = format!("https://127.0.0.1:{}", ports.etcd_peer);
    let mut args = Args::default();
    args.add("name", "etcd")
        .path("data-dir", &folder.join("etcd"))
        .add("logger", "zap")
        .add("log-level", "warn")
        // What a crash of the machine loses is of no worth.
        .flag("unsafe-no-fsync")
        .add("listen-client-urls", &clients)
        .add("advertise-client-urls", &clients)
        .add("listen-peer-urls", &peers)
        .add("initial-advertise-peer-urls", &peers)
        .add("initial-cluster", &format!("etcd={peers}"));
    // Other users of the machine reach the port, too.
    for prefix in ["", "peer-"] {
        args.flag(&format!("{prefix}client-cert-auth"))
            .path(&format!("{prefix}cert-file"), &pki.certificate("etcd"))
            .path(&format!("{prefix}key-file"), &pki.key("etcd"))
            .path(
                &format!("{prefix}trusted-ca-file"),
                &pki.certificate("etcd-ca"),
            );
    }
    Component {
        name: "etcd",
        program: program.to_owned(),
        args: args.0,
        health: None,
    }
}

fn apiserver(program: &Path, layout: &Layout) -> Component {
    let Layout {
        folder: _,
        pki,
        ports,
        node: _,
    } = layout;
    let mut args = Args::default();
    args.add("etcd-servers", &format!("https://127.0.0.1:{}", ports.etcd))
        .path("etcd-cafile", &pki.certificate("etcd-ca"))
        .path("etcd-certfile", &pki.certificate("etcd"))
        .path("etcd-keyfile", &pki.key("etcd"))
        .address(layout)
        .add("advertise-address", &layout.address().to_string())
        .path("audit-policy-file", &audit_policy(layout))
        .path("audit-log-path", &layout.audit_log())
        .add("audit-log-maxsize", AUDIT_SIZE)
        .add("audit-log-maxbackup", "1")
        .add("secure-port", &ports.apiserver.to_string())
        .served(pki)
        .path("client-ca-file", &pki.certificate("ca"))
        .add("authorization-mode", "Node,RBAC")
        .add("enable-admission-plugins", "NodeRestriction")
        .flag("allow-privileged")
        .add("service-cluster-ip-range", SERVICES)
        .add("service-account-issuer", ISSUER)
        .path("service-account-key-file", &pki.token_key())
        .path("service-account-signing-key-file", &pki.key("tokens"))
        .path(
            "requestheader-client-ca-file",
            &pki.certificate("front-proxy-ca"),
        )
        .add("requestheader-allowed-names", "front-proxy-client")
        .add("requestheader-username-headers", "X-Remote-User")
        .add("requestheader-group-headers", "X-Remote-Group")
        .add("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .path(
            "proxy-client-cert-file",
            &pki.certificate("front-proxy-client"),
        )
        .path("proxy-client-key-file", &pki.key("front-proxy-client"))
        .without_plain_port(program, "insecure-port");
    match layout.node {
        // An endpoint on the loopback address would be refused, and nobody asks for one.
        None => args.add("endpoint-reconciler-type", "none"),
        Some(_) => args
            .path(
                "kubelet-client-certificate",
                &pki.certificate(pki::KUBELET_CLIENT.file),
            )
            .path("kubelet-client-key", &pki.key(pki::KUBELET_CLIENT.file))
            .path("kubelet-certificate-authority", &pki.certificate("ca"))
            .add("kubelet-preferred-address-types", "InternalIP"),
    };
    Component {
        name: "kube-apiserver",
        program: program.to_owned(),
        args: args.0,
        health: Some(layout.health(ports.apiserver, "/readyz")),
    }
}

fn controller_manager(program: &Path, layout: &Layout) -> Component {
    let Layout {
        folder: _,
        pki,
        ports,
        node: _,
    } = layout;
    let mut args = Args::default();
    args.client(layout, &pki::CONTROLLER_MANAGER)
        .address(layout)
        .add("secure-port", &ports.controller_manager.to_string())
        .served(pki)
        .path("service-account-private-key-file", &pki.key("tokens"))
        .path("root-ca-file", &pki.certificate("ca"))
        .path("cluster-signing-cert-file", &pki.certificate("ca"))
        .path("cluster-signing-key-file", &pki.key("ca"))
        .flag("use-service-account-credentials")
        .add("leader-elect", "false")
        .without_plain_port(program, "port");
    Component {
        name: "kube-controller-manager",
        program: program.to_owned(),
        args: args.0,
        health: Some(layout.health(ports.controller_manager, "/healthz")),
    }
}

fn scheduler(program: &Path, layout: &Layout) -> Component {
    let mut args = Args::default();
    args.client(layout, &pki::SCHEDULER)
        .address(layout)
        .add("secure-port", &layout.ports.scheduler.to_string())
        .served(&layout.pki)
        .add("leader-elect", "false")
        .without_plain_port(program, "port");
    Component {
        name: "kube-scheduler",
        program: program.to_owned(),
        args: args.0,
        health: Some(layout.health(layout.ports.scheduler, "/healthz")),
    }
}

/// Arguments of the form `--name=value`.
#[derive(Debug, Default)]
pub(super) struct Args(Vec<String>);

impl Args {
    pub(super) fn add(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push(format!("--{name}={value}"));
        self
    }

    pub(super) fn path(&mut self, name: &str, value: &Path) -> &mut Self {
        self.add(name, &value.to_string_lossy())
    }

    pub(super) fn flag(&mut self, name: &str) -> &mut Self {
        self.add(name, "true")
    }

    pub(super) fn done(self) -> Vec<String> {
        self.0
    }

    fn address(&mut self, layout: &Layout) -> &mut Self {
        self.add("bind-address", &layout.address().to_string())
            .add("v", "1")
    }

    fn served(&mut self, pki: &Pki) -> &mut Self {
        self.path("tls-cert-file", &pki.certificate("server"))
            .path("tls-private-key-file", &pki.key("server"))
    }

    fn client(&mut self, layout: &Layout, identity: &Identity) -> &mut Self {
        let file = layout.kubeconfig(identity);
        self.path("kubeconfig", &file)
            .path("authentication-kubeconfig", &file)
            .path("authorization-kubeconfig", &file)
    }

    /// Older programs listen without TLS, on every address, unless told not to; newer ones don't
    /// know the argument.
    fn without_plain_port(&mut self, program: &Path, name: &str) -> &mut Self {
        self.if_known(program, name, "0")
    }

    /// An argument that some versions know. An obsolete one is in no help text, but only an unknown
    /// one makes asking for help fail.
    pub(super) fn if_known(&mut self, program: &Path, name: &str, value: &str) -> &mut Self {
        let argument = format!("--{name}={value}");
        if process::succeeds(Command::new(program).args([&argument, "--help"])) {
            self.0.push(argument);
        }
        self
    }
}
