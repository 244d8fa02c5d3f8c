//! The arguments of `spo webhook`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::services::{CommonArgs, PROFILING_PORT};

#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(in crate::cli) struct WebhookArgs {
    #[command(flatten)]
    pub(in crate::cli) common: CommonArgs,

    /// The namespace of the operator and its configuration
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "OPERATOR_NAMESPACE",
        default_value = "security-profiles-operator"
    )]
    pub(in crate::cli) namespace: String,

    /// The port of the webhooks
    #[arg(short, long, default_value_t = 9443)]
    pub(in crate::cli) port: u16,

    /// Taken, and without a meaning: who installs the webhooks is not this process's business
    #[arg(short = 's', long = "static")]
    pub(in crate::cli) is_static: bool,

    /// The oldest version of TLS that is spoken
    #[arg(long, value_name = "VERSION", default_value = "1.2")]
    pub(in crate::cli) tls_min_version: TlsVersion,

    /// Let everybody have the process profiled, by plain HTTP at /debug/pprof
    #[arg(long, env = "SPO_PROFILING", default_value_t = false, value_parser = BoolishValueParser::new(), action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) profiling: bool,

    /// The port for that
    #[arg(
        long,
        env = "SPO_PROFILING_PORT",
        value_name = "PORT",
        default_value_t = PROFILING_PORT
    )]
    pub(in crate::cli) profiling_port: u16,

    /// The port of /healthz and /readyz
    #[arg(long, value_name = "PORT", default_value_t = 8085, hide = true)]
    pub(in crate::cli) health_port: u16,

    /// The folder of tls.crt and tls.key
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/tmp/k8s-webhook-server/serving-certs",
        hide = true
    )]
    pub(in crate::cli) certificates: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TlsVersion {
    /// TLS 1.2
    #[value(name = "1.2")]
    V1_2,
    /// TLS 1.3
    #[value(name = "1.3")]
    V1_3,
}
