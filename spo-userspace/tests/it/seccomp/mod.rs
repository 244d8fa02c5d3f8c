//! Merging, comparing and converting seccomp profiles, held against libseccomp.
#![expect(
    clippy::unwrap_used,
    reason = "a helper's panic fails the test that it helps"
)]

mod enforced;
mod files;
mod merging;
mod oracle;
mod properties;
mod random;
