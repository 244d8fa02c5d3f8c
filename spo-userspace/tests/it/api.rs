//! The Kubernetes API: definitions, checks, conversions.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

mod convert;
mod crds;
mod model;
mod read;
mod table;

use std::path::PathBuf;

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}
