//! `weir schema`: what a configuration may have, for editors and for people.

use std::process::ExitCode;

use super::Outcome;
use crate::cli;

pub(super) fn run(options: &cli::Schema) -> Outcome {
    if options.reference {
        print!("{}", weir_schema::reference());
    } else {
        println!("{:#}", weir_schema::json_schema());
    }
    Ok(ExitCode::SUCCESS)
}
