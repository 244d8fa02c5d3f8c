//! The arguments of `spo uninstall`, and of what it runs on nodes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::services::absolute;
use super::{Form, duration};
use crate::node::setup::{KUBELET, ROOT};

const EXAMPLES: &str = "\
Examples:
  spo uninstall --dry-run                  what would happen, and what stands in the way
  spo uninstall                            do it; then remove the manifests or the release
  spo uninstall --keep used                what pods use stays, object and file
  spo uninstall --keep all                 all profiles stay, for the next operator to take over
  spo uninstall --image REGISTRY/IMAGE     after kubectl delete -k, when nothing runs any more

Profiles are deleted with their files on all nodes, and with them what the operator made: daemons,
webhook, services, certificates. What the manifests made (accounts, roles, the operator's
Deployment, definitions) is removed with them, by kubectl or Helm. While pods use profiles, nothing
is changed, unless --keep says that they stay. It can be run again at any time.

The cluster is that of KUBECONFIG, else of ~/.kube/config, else the one that this runs in.

Exit codes: 0 done; 1 refused, or something is left, which the table names; 2 wrong command
line.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct UninstallArgs {
    /// The operator's namespace
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        env = "OPERATOR_NAMESPACE",
        default_value = "security-profiles-operator"
    )]
    pub(in crate::cli) namespace: String,

    /// Profiles that stay, objects and files
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub(in crate::cli) keep: KeepArg,

    /// The image of spo for the pods that clean up nodes; without it, that of the operator
    #[arg(long, value_name = "IMAGE")]
    pub(in crate::cli) image: Option<String>,

    /// The kubelet's folder on the nodes; without it, what the operator's Deployment says
    #[arg(long, env = "KUBELET_DIR", value_name = "DIR", value_parser = absolute)]
    pub(in crate::cli) kubelet_dir: Option<String>,

    /// How long each step may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m")]
    pub(in crate::cli) timeout: Duration,

    /// Change nothing, and tell what would be changed
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(in crate::cli) output: Form,
}

/// Which profiles stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KeepArg {
    /// None; refused while pods use one
    None,
    /// Those that pods use
    Used,
    /// All, for the next operator; nodes are left as they are
    All,
}

const CLEANUP_HELP: &str = "\
Run as root on each node by spo uninstall, with the folders of the host below /host.
Environment: KUBELET_DIR is the kubelet's folder on the host (default /var/lib/kubelet).

What others put into the folder of profiles is left there, and is told.
Exit codes: 0 nothing of ours is left but what is to stay; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = CLEANUP_HELP, disable_version_flag = true)]
pub(in crate::cli) struct NodeCleanupArgs {
    /// File of a profile that stays
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) keep: Vec<String>,

    /// File for what became of it, as JSON
    #[arg(long, value_name = "FILE", default_value = "/dev/stdout", hide = true)]
    pub(in crate::cli) report: PathBuf,

    /// The kubelet's folder, on the host
    #[arg(long, env = "KUBELET_DIR", value_name = "DIR", default_value = KUBELET, hide = true)]
    pub(in crate::cli) kubelet: PathBuf,

    /// The folder of profiles, on the host
    #[arg(long, value_name = "DIR", default_value = ROOT, hide = true)]
    pub(in crate::cli) root: PathBuf,

    /// Where the host's root is mounted
    #[arg(long, value_name = "DIR", default_value = "/host", hide = true)]
    pub(in crate::cli) host: PathBuf,
}
