//! `weir check`: is this a configuration that the image will accept?

use std::process::ExitCode;

use super::Outcome;
use super::source::Source;
use crate::cli;

pub(super) fn run(options: &cli::Check) -> Outcome {
    let source = Source::read(&options.file)?;
    if options.explain {
        print!("{}", source.config.explain());
    } else {
        println!("{}: good", options.file.display());
    }
    Ok(ExitCode::SUCCESS)
}
