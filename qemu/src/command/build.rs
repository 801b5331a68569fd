//! `weir build`: an image in a file.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use weir_image::disk::{self, DiskError, Form};
use weir_image::seed;

use super::source::Source;
use super::{Outcome, say};
use crate::cli::{self, Format};
use crate::failure::Failure;

pub(super) fn run(options: &cli::Build) -> Outcome {
    let source = Source::read(&options.file)?;
    let output = &options.output;
    let image = || source.image(&options.source);
    match options.format {
        Format::Elf => fs::write(output, image()?).map_err(|error| cannot_write(output, &error))?,
        Format::Raw => make_disk(&image()?, Form::Raw, output)?,
        Format::Qcow2 => make_disk(&image()?, Form::Qcow2, output)?,
        Format::Iso => make_disk(&image()?, Form::Iso, output)?,
        Format::Cidata => seed::build(&source.text, output).map_err(|error| cannot_make(&error))?,
    }
    let len = fs::metadata(output).map_err(|error| cannot_write(output, &error))?.len();
    say(&format!("{} written, {} KiB", output.display(), len.div_ceil(1024)));
    Ok(ExitCode::SUCCESS)
}

fn make_disk(elf: &[u8], form: Form, output: &Path) -> Result<(), Failure> {
    say("putting GRUB in front of the image");
    disk::build(elf, form, output).map_err(|error| cannot_make(&error))
}

fn cannot_make(error: &DiskError) -> Failure {
    let failure = Failure::new(format!("cannot make the disk: {error}"));
    match error {
        DiskError::ToolMissing { packages, .. } | DiskError::FirmwareMissing { packages, .. } => {
            failure.help(format!("'./setup image' installs it on Debian and Ubuntu (packages: {packages})"))
        }
        DiskError::ToolFailed { .. } | DiskError::File { .. } => failure,
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}
