//! The `payflow` command; see [`payflow_controller::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    payflow_controller::cli::main()
}
