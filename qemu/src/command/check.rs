//! `weir check`: is this a configuration that the image will accept?

use super::Outcome;
use super::source::Source;
use crate::cli;

pub(super) fn run(options: &cli::Check) -> Outcome {
    let source = Source::read(&options.file)?;
    super::print(&match options.explain {
        true => source.config.explain(),
        false => format!("{}: good\n", options.file.display()),
    })
}
