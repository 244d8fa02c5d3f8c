//! Exit codes, and what ends a verb early.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; of `record` and `run`: the command's own |
//! | 1 | `doctor`: something cannot be done here; `check`: there are errors; `diff`: they differ; `merge --check`: not up to date; other verbs: failed |
//! | 2 | the command line is wrong |
//! | 3 | `diff` failed |
//! | 4 | `verify`: a container does not have its profile, or a file is not what its profile says |
//! | 5 | `verify`: something could not be told, or nothing was there to be verified |
//! | 124 | the time ran out, and the command did not end |
//! | 125 | `record` and `run` themselves failed |
//! | 126 | the command cannot be executed |
//! | 127 | the command was not found |
//! | 128 + n | the command died of signal n |

use std::process::ExitCode;

use anyhow::anyhow;

use super::progress;
use crate::bpf;
use crate::node::capabilities;
use crate::node::program::ProgramError;

/// A verb other than `record` and `run` failed.
pub(super) const FAILED: u8 = 1;
/// `diff`: the profiles differ.
pub(super) const DIFFERENT: u8 = 1;
/// `diff` failed, so that nobody knows whether they differ.
pub(super) const TROUBLE: u8 = 3;
/// `verify`: something is not as it should be.
pub(super) const MISMATCH: u8 = 4;
/// `verify`: something could not be told.
pub(super) const UNKNOWN: u8 = 5;
/// The command line is wrong.
pub(super) const USAGE: u8 = 2;
/// The time ran out, and the command did not end.
pub(super) const TIMED_OUT: u8 = 124;
/// `record` and `run` themselves failed.
pub(super) const OURS: u8 = 125;
/// The command cannot be executed.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub(super) const NOT_FOUND: u8 = 127;

/// What ends a verb early: an exit code, and an error to print.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    pub(super) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// Prints the whole chain of reasons.
    pub(super) fn report(self) -> ExitCode {
        let Self { code, error } = self;
        progress::line(format_args!("{error:#}"));
        ExitCode::from(code)
    }
}

/// Inside `record` and `run`, an error without a code of its own is theirs.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(OURS, error)
    }
}

impl From<bpf::Error> for Failure {
    fn from(error: bpf::Error) -> Self {
        let missing = capabilities::missing(&capabilities::TO_RECORD);
        if matches!(error, bpf::Error::Permission) && !missing.is_empty() {
            let missing = missing.join(" and ");
            if !capabilities::in_initial_user_namespace() {
                return Self::new(
                    OURS,
                    anyhow!(
                        "not permitted to load eBPF programs: this is a user namespace of its own, in \
                         which even root may not (run spo outside of it)"
                    ),
                );
            }
            return Self::new(
                OURS,
                anyhow!(
                    "not permitted to load eBPF programs: {missing} missing (run spo with sudo, or see `spo doctor`)"
                ),
            );
        }
        Self::new(OURS, error)
    }
}

impl From<ProgramError> for Failure {
    fn from(error: ProgramError) -> Self {
        let code = match error {
            ProgramError::NotFound(_) => NOT_FOUND,
            ProgramError::NotExecutable(_) => NOT_EXECUTABLE,
        };
        Self::new(code, error)
    }
}
