//! The test tiers, one file each; `test` runs them.

pub(crate) mod cluster;
mod counts;
mod failures;
pub(crate) mod host;
mod kernel_tests;
pub(crate) mod unit;
pub(crate) mod vm;

use counts::outcome;
