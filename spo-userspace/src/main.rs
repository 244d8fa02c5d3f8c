//! The command `spo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    spo::cli::main()
}
