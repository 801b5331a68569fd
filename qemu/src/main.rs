//! The `weir` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_host::tether::enter_if_asked();
    weir_command::command::main()
}
