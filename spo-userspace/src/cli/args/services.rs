//! The arguments of the processes that run in a cluster.

use clap::Args;

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
