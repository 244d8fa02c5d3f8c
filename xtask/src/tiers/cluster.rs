//! The tier `cluster`, which needs something to deploy.

use anyhow::Result;

use crate::table::Outcome;

/// Says that there is nothing to run yet.
#[expect(clippy::unnecessary_wraps, reason = "a tier may fail to run")]
pub(crate) fn run() -> Result<Outcome> {
    Ok(Outcome::Skipped(
        "does not exist yet: arrives with the operator".to_owned(),
    ))
}
