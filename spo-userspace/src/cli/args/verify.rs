//! The arguments of `spo verify`.

use std::path::PathBuf;

use clap::Args;

use super::Form;
use crate::node::setup::ROOT;

const EXAMPLES: &str = "\
Examples:
  sudo -E spo verify                       all containers of this node
  sudo -E spo verify --pod shop/web-0      those of one pod
  sudo -E spo verify -o json | jq '.containers[] | select(.state != \"Verified\")'

Compares what the kernel's filters do with what the SeccompProfile objects say, over all system
calls. It runs on the node, as root or with CAP_BPF and CAP_PERFMON; the cluster is that of
KUBECONFIG, else of ~/.kube/config, else the one that this runs in.

Exit codes: 0 every container that is given a profile has it; 4 one does not, or has an older one, or
a binding is for it and it has nothing of that, or a file on the node is not what its profile says;
5 something could not be told, or no container is given a profile; 1 it failed; 2 wrong command line.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct VerifyArgs {
    /// Only this pod
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pub(in crate::cli) pod: Option<(String, String)>,

    /// The name that this node has in the cluster; without it, its host name
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub(in crate::cli) node: Option<String>,

    /// The operator's namespace, whose bindings may be for pods of others
    #[arg(
        long,
        env = "OPERATOR_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "security-profiles-operator"
    )]
    pub(in crate::cli) namespace: String,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(in crate::cli) output: Form,

    /// The folder of profiles
    #[arg(long, value_name = "DIR", default_value = ROOT, hide = true)]
    pub(in crate::cli) root: PathBuf,
}

fn pod(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("it must be the pod's namespace and its name, as shop/web-0".to_owned()),
    }
}
