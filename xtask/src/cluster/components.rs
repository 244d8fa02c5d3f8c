//! The parts of a control plane, and with which arguments each is started.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries::Binaries;
use super::pki::{self, Identity, Pki};
use super::ports::Ports;
use crate::process;

/// Addresses of services, and the first of them, which is the API server's. No packet goes there:
/// the cluster has no node.
const SERVICES: &str = "10.96.0.0/24";
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";
/// Who makes tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A process of the control plane.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: &'static str,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) port: u16,
    /// The path that answers with 200 when it works; etcd is asked by the API server alone.
    pub(super) health: Option<&'static str>,
}

/// What the arguments depend on.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) pki: Pki,
    pub(super) ports: Ports,
}

impl Layout {
    /// The file with the address and the identity for a client of the API server.
    pub(super) fn kubeconfig(&self, identity: &Identity) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", identity.file))
    }
}

/// The control plane, in the order in which it is started.
pub(super) fn all(binaries: &Binaries, layout: &Layout) -> Vec<Component> {
    let Binaries {
        etcd: etcd_program,
        apiserver: apiserver_program,
        kubectl: _,
        controller_manager: manager_program,
        scheduler: scheduler_program,
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
    components
}

fn etcd(program: &Path, layout: &Layout) -> Component {
    let Layout { folder, pki, ports } = layout;
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
        port: ports.etcd,
        health: None,
    }
}

fn apiserver(program: &Path, layout: &Layout) -> Component {
    let Layout {
        folder: _,
        pki,
        ports,
    } = layout;
    let mut args = Args::default();
    args.add("etcd-servers", &format!("https://127.0.0.1:{}", ports.etcd))
        .path("etcd-cafile", &pki.certificate("etcd-ca"))
        .path("etcd-certfile", &pki.certificate("etcd"))
        .path("etcd-keyfile", &pki.key("etcd"))
        .address()
        .add("advertise-address", &Ipv4Addr::LOCALHOST.to_string())
        // An endpoint on the loopback address would be refused, and nobody asks for one.
        .add("endpoint-reconciler-type", "none")
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
    Component {
        name: "kube-apiserver",
        program: program.to_owned(),
        args: args.0,
        port: ports.apiserver,
        health: Some("/readyz"),
    }
}

fn controller_manager(program: &Path, layout: &Layout) -> Component {
    let Layout {
        folder: _,
        pki,
        ports,
    } = layout;
    let mut args = Args::default();
    args.client(layout, &pki::CONTROLLER_MANAGER)
        .address()
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
        port: ports.controller_manager,
        health: Some("/healthz"),
    }
}

fn scheduler(program: &Path, layout: &Layout) -> Component {
    let mut args = Args::default();
    args.client(layout, &pki::SCHEDULER)
        .address()
        .add("secure-port", &layout.ports.scheduler.to_string())
        .served(&layout.pki)
        .add("leader-elect", "false")
        .without_plain_port(program, "port");
    Component {
        name: "kube-scheduler",
        program: program.to_owned(),
        args: args.0,
        port: layout.ports.scheduler,
        health: Some("/healthz"),
    }
}

/// Arguments of the form `--name=value`.
#[derive(Debug, Default)]
struct Args(Vec<String>);

impl Args {
    fn add(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push(format!("--{name}={value}"));
        self
    }

    fn path(&mut self, name: &str, value: &Path) -> &mut Self {
        self.add(name, &value.to_string_lossy())
    }

    fn flag(&mut self, name: &str) -> &mut Self {
        self.add(name, "true")
    }

    fn address(&mut self) -> &mut Self {
        self.add("bind-address", &Ipv4Addr::LOCALHOST.to_string())
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
    /// know the argument. An obsolete argument is in no help text, but only an unknown one makes
    /// asking for help fail.
    fn without_plain_port(&mut self, program: &Path, name: &str) -> &mut Self {
        let argument = format!("--{name}=0");
        if process::succeeds(Command::new(program).args([&argument, "--help"])) {
            self.0.push(argument);
        }
        self
    }
}
