//! The arguments of the processes that run in a cluster. Those of the reference's that mean
//! nothing here yet are taken, so that manifests go on working, and a warning says so.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::Form;
use crate::node::setup::{KUBELET, ROOT};
use crate::services::telling::Places;

/// The port of profiles, that of Go programs.
pub(super) const PROFILING_PORT: u16 = 6060;

const DAEMON_HELP: &str = "\
Environment: NODE_NAME and OPERATOR_NAMESPACE must be set; SPOD_NAME names the configuration
(default spod). With KUBELET_DIR, the kubelet's folder, it looks whether the kubelet finds profiles.
The cluster is the one that this runs in, or that KUBECONFIG names.

Exit codes: 0 it was asked to end; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = DAEMON_HELP, disable_version_flag = true)]
pub(in crate::cli) struct DaemonArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// Install seccomp profiles
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_seccomp: bool,

    #[command(flatten)]
    pub(in crate::cli) later: LaterArgs,

    /// The folder of profiles
    #[arg(long, value_name = "DIR", default_value = ROOT, hide = true)]
    pub(in crate::cli) root: PathBuf,

    /// The kubelet's folder, to see whether it finds profiles
    #[arg(long, env = "KUBELET_DIR", value_name = "DIR", value_parser = absolute, hide = true)]
    pub(in crate::cli) kubelet: Option<String>,

    /// Let everybody read metrics, by plain HTTP
    #[arg(long, env = "ENABLE_INSECURE_METRICS_ACCESS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_insecure_metrics_access: bool,

    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

const BPF_RECORDER_HELP: &str = "\
Environment: NODE_NAME and OPERATOR_NAMESPACE must be set. The cluster is the one that this runs in,
or that KUBECONFIG names. It needs CAP_BPF and CAP_PERFMON, and no other privilege.

Exit codes: 0 it was asked to end; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = BPF_RECORDER_HELP, disable_version_flag = true)]
pub(in crate::cli) struct BpfRecorderArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// Record only pods with the label spo.x-k8s.io/enable-recording=true, and keep little of others
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_mem_optim: bool,

    /// Let everybody read metrics, by plain HTTP
    #[arg(long, env = "ENABLE_INSECURE_METRICS_ACCESS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_insecure_metrics_access: bool,

    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

const LOG_ENRICHER_HELP: &str = "\
Environment: NODE_NAME and OPERATOR_NAMESPACE must be set. The cluster is the one that this runs in,
or that KUBECONFIG names. It reads what the node has of /var/log/audit/audit.log and, in /var/log, syslog,
messages or kern.log; and netlink and /dev/kmsg, where it may.

Exit codes: 0 it was asked to end; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = LOG_ENRICHER_HELP, disable_version_flag = true)]
pub(in crate::cli) struct LogEnricherArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// What is read
    #[arg(
        long,
        value_name = "SOURCE",
        value_enum,
        ignore_case = true,
        default_value_t = LogSourceArg::Auditd
    )]
    pub(in crate::cli) enricher_log_source: LogSourceArg,

    /// Not there yet
    #[arg(long, value_name = "FILTERS", hide = true)]
    pub(in crate::cli) enricher_filters_json: Option<String>,

    /// Where the processes of the node are seen
    #[arg(long, value_name = "DIR", default_value = "/proc", hide = true)]
    pub(in crate::cli) proc: PathBuf,

    /// Record only pods with the label spo.x-k8s.io/enable-recording=true, and keep little of others
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_mem_optim: bool,

    /// Let everybody read metrics, by plain HTTP
    #[arg(long, env = "ENABLE_INSECURE_METRICS_ACCESS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_insecure_metrics_access: bool,

    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogSourceArg {
    /// Audit records
    Auditd,
    /// Programs in the kernel: not there yet
    Bpf,
}

const VERIFIER_HELP: &str = "\
Environment: NODE_NAME and OPERATOR_NAMESPACE must be set. The cluster is the one that this runs in, or
that KUBECONFIG names. It must run in the host's pid namespace. It needs CAP_BPF and CAP_PERFMON, and no other
privilege; started as root, it becomes user 65535, for which it needs CAP_SETUID.

Exit codes: 0 it was asked to end; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = VERIFIER_HELP, disable_version_flag = true)]
pub(in crate::cli) struct VerifierArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// The folder of profiles
    #[arg(long, value_name = "DIR", default_value = ROOT, hide = true)]
    pub(in crate::cli) root: PathBuf,

    /// Let everybody read metrics, by plain HTTP
    #[arg(long, env = "ENABLE_INSECURE_METRICS_ACCESS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) with_insecure_metrics_access: bool,

    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

/// Where a process tells about itself.
#[derive(Debug, Args)]
pub(in crate::cli) struct TellingArgs {
    /// Where to say that the process is alive
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8085", hide = true)]
    pub(in crate::cli) health_address: SocketAddr,

    /// Where to serve metrics
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9443", hide = true)]
    pub(in crate::cli) metrics_address: SocketAddr,

    /// The folder of tls.crt and tls.key, for metrics
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/run/secrets/metrics",
        hide = true
    )]
    pub(in crate::cli) metrics_certificates: PathBuf,

    /// Let everybody have the process profiled, by plain HTTP at /debug/pprof
    #[arg(short, long, env = "SPO_PROFILING", default_value_t = false, value_parser = BoolishValueParser::new(), action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) profiling: bool,

    /// The port for that
    #[arg(
        long,
        env = "SPO_PROFILING_PORT",
        value_name = "PORT",
        default_value_t = PROFILING_PORT
    )]
    pub(in crate::cli) profiling_port: u16,
}

impl TellingArgs {
    /// The same, for the service.
    pub(in crate::cli) fn places(self, insecure: bool) -> Places {
        let Self {
            health_address,
            metrics_address,
            metrics_certificates,
            profiling,
            profiling_port,
        } = self;
        Places {
            health: health_address,
            metrics: metrics_address,
            certificates: metrics_certificates,
            insecure,
            profiling: profiling_at(profiling, profiling_port),
        }
    }
}

/// All addresses, if profiles are to be made.
pub(in crate::cli) fn profiling_at(profiling: bool, port: u16) -> Option<SocketAddr> {
    profiling.then(|| (Ipv6Addr::UNSPECIFIED, port).into())
}

/// What is taken and does nothing yet.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the reference")]
pub(in crate::cli) struct LaterArgs {
    /// Not there yet
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(in crate::cli) with_selinux: bool,

    /// Not there yet
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(in crate::cli) with_apparmor: bool,

    /// Not there yet
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(in crate::cli) with_raw_selinux: bool,

    /// Not there yet
    #[arg(long, env = "ENABLE_RECORDING", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(in crate::cli) with_recording: bool,

    /// Not there yet
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(in crate::cli) with_mem_optim: bool,
}

impl LaterArgs {
    /// The flags that were set.
    pub(in crate::cli) fn set(&self) -> Vec<&'static str> {
        let Self {
            with_selinux,
            with_apparmor,
            with_raw_selinux,
            with_recording,
            with_mem_optim,
        } = *self;
        [
            (with_selinux, "--with-selinux"),
            (with_apparmor, "--with-apparmor"),
            (with_raw_selinux, "--with-raw-selinux"),
            (with_recording, "--with-recording"),
            (with_mem_optim, "--with-mem-optim"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect()
    }
}

/// What all processes in a cluster take.
#[derive(Debug, Args)]
pub(in crate::cli) struct CommonArgs {
    /// How much to log: 0 what changes and what is wrong, 1 every decision, 2 every request
    #[arg(
        short = 'V',
        long,
        env = "SPO_VERBOSITY",
        value_name = "LEVEL",
        default_value_t = 0
    )]
    pub(in crate::cli) verbosity: u8,
}

const SETUP_HELP: &str = "\
Run as root on each node before the daemon starts, with the host's root mounted at /host.
Environment: KUBELET_DIR is the kubelet's folder on the host (default /var/lib/kubelet).

What is as it should be is left alone. What is in the way and is not ours is never removed:
exit code 1 and a message say what to do.";

#[derive(Debug, Args)]
#[command(after_help = SETUP_HELP, disable_version_flag = true)]
pub(in crate::cli) struct NodeSetupArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// The container runtime; taken, and not needed
    #[arg(short, long, value_name = "NAME", default_value = "")]
    pub(in crate::cli) runtime: String,

    /// Load profiles for AppArmor; not there yet
    #[arg(short, long, env = "SPO_APPARMOR", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) apparmor: bool,

    /// The kubelet's folder, on the host
    #[arg(long, env = "KUBELET_DIR", value_name = "DIR", default_value = KUBELET, hide = true)]
    pub(in crate::cli) kubelet: PathBuf,

    /// The folder of profiles, on the host
    #[arg(long, value_name = "DIR", default_value = ROOT, hide = true)]
    pub(in crate::cli) root: PathBuf,

    /// Where the host's root is mounted
    #[arg(long, value_name = "DIR", default_value = "/host", hide = true)]
    pub(in crate::cli) host: PathBuf,

    /// The folder with what to copy
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/opt/spo-profiles",
        hide = true
    )]
    pub(in crate::cli) profiles: PathBuf,
}

const OPERATOR_HELP: &str = "\
The cluster is the one that this runs in, or that KUBECONFIG names. Of several replicas one leads,
the others wait.

Exit codes: 0 it was asked to end; 1 it failed, or may no longer lead; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = OPERATOR_HELP, disable_version_flag = true)]
pub(in crate::cli) struct OperatorArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// The namespace that the operator runs in
    #[arg(long, value_name = "NAMESPACE", env = "OPERATOR_NAMESPACE")]
    pub(in crate::cli) namespace: String,

    /// A name that no other replica has; without it, that of the host
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(in crate::cli) identity: Option<String>,

    /// The kubelet's folder on the nodes, an absolute path
    #[arg(long, value_name = "DIR", env = "KUBELET_DIR", default_value = "/var/lib/kubelet", value_parser = absolute)]
    pub(in crate::cli) kubelet_dir: String,

    /// Whether the operator runs the webhook, and manages what belongs to it
    #[arg(
        short,
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(in crate::cli) webhook: bool,

    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

const PROFILES_EXAMPLES: &str = "\
Examples:
  spo profiles                             a table
  spo profiles -o json                     all that the nodes say, for programs

The cluster is that of KUBECONFIG, else of ~/.kube/config, else the one that this runs in.

Exit codes: 0 no profile is in error; 1 one is, or the cluster cannot be read; 2 wrong
command line.";

#[derive(Debug, Args)]
#[command(after_help = PROFILES_EXAMPLES)]
pub(in crate::cli) struct ProfilesArgs {
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(in crate::cli) output: Form,
}

pub(super) fn absolute(text: &str) -> Result<String, String> {
    let upwards = text.split('/').any(|part| part == "..");
    if !text.starts_with('/') || upwards {
        return Err("it must begin with / and must not have the part ..".to_owned());
    }
    Ok(text.to_owned())
}
