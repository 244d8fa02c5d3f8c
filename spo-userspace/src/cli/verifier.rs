//! `spo verifier`: verifies the containers of a node all the time.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::VerifierArgs;
use super::exit::{FAILED, Failure};
use super::node::{event_loop, mandatory};
use crate::node::capabilities::{self, TO_RECORD};
use crate::node::setup::DAEMON;
use crate::services::verifier::{self, Options};
use crate::telemetry::logging;

/// Runs until it is asked to end.
pub(super) fn run(args: VerifierArgs) -> Result<ExitCode, Failure> {
    go(args).map_err(|error| Failure::new(FAILED, error))
}

fn go(args: VerifierArgs) -> Result<ExitCode, anyhow::Error> {
    let VerifierArgs {
        common,
        root,
        with_insecure_metrics_access,
        telling,
    } = args;
    logging::begin(common.verbosity)?;
    // Root of the host's pid namespace could end the processes of all root's.
    if nix::unistd::geteuid().is_root() {
        let lacks = "cannot become user 65535: the verifier's container lacks CAP_SETUID";
        capabilities::become_user(DAEMON, &TO_RECORD).context(lacks)?;
    }
    let options = Options {
        node: mandatory("NODE_NAME", "the name of the node that this runs on")?,
        namespace: mandatory("OPERATOR_NAMESPACE", "the namespace of the operator")?,
        folder: root,
        places: telling.places(with_insecure_metrics_access),
    };
    event_loop()?.block_on(verifier::run(options))?;
    Ok(ExitCode::SUCCESS)
}
