//! The arguments of the processes that run in a cluster.

use clap::Args;

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
