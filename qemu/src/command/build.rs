//! `weir build`: an image in a file.

use std::fs;
use std::process::ExitCode;

use super::source::Source;
use super::{Outcome, say};
use crate::cli::{self, Format};
use crate::failure::Failure;

pub(super) fn run(options: &cli::Build) -> Outcome {
    if options.format != Format::Elf {
        let name = format!("{:?}", options.format).to_lowercase();
        return Err(Failure::new(format!("images of the form {name} are not made yet")).help("use --format elf"));
    }
    let source = Source::read(&options.file)?;
    let image = source.image(&options.source)?;
    fs::write(&options.output, &image)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", options.output.display())))?;
    say(&format!("{} written, {} KiB", options.output.display(), image.len().div_ceil(1024)));
    Ok(ExitCode::SUCCESS)
}
