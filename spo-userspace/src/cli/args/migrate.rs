//! The arguments of `spo migrate`.

use std::path::PathBuf;

use clap::Args;

use super::Form;

const EXAMPLES: &str = "\
Examples:
  spo migrate --dry-run                    what would happen, and what stands in the way
  spo migrate --backup before-spo          do it; the objects as they were go into this folder
  kubectl replace -f before-spo/objects    put them back, after the definitions

Stop the old operator first. The cluster is that of KUBECONFIG, else of ~/.kube/config, else
the one that this runs in. What ended early is run again, with another folder.

Exit codes: 0 done, or nothing to do; 1 not possible, or not all of it was done; 2 wrong
command line.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct MigrateArgs {
    /// New folder for all objects and definitions as they are before
    #[arg(
        long,
        value_name = "FOLDER",
        required_unless_present = "dry_run",
        conflicts_with = "dry_run"
    )]
    pub(in crate::cli) backup: Option<PathBuf>,

    /// Change nothing, and tell what would be changed
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(in crate::cli) output: Form,
}
