//! The arguments of the processes that run in a cluster.

use clap::{ArgAction, Args};

use super::Form;

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

#[derive(Debug, Args)]
pub(in crate::cli) struct OperatorArgs {
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

    /// How much to log; 0 is the least
    #[arg(
        short = 'V',
        long,
        value_name = "LEVEL",
        env = "SPO_VERBOSITY",
        default_value_t = 0
    )]
    pub(in crate::cli) verbosity: u8,
}

fn absolute(text: &str) -> Result<String, String> {
    let upwards = text.split('/').any(|part| part == "..");
    if !text.starts_with('/') || upwards {
        return Err("it must begin with / and must not have the part ..".to_owned());
    }
    Ok(text.to_owned())
}
