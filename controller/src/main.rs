//! The `payflow` command; see [`payflow_controller::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    payflow_controller::cli::main()
}
