//! `weir build`: an image in a file.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use weir_image::disk::{self, DiskError, Form};

use super::source::Source;
use super::{Outcome, say};
use crate::cli::{self, Format};
use crate::failure::Failure;

pub(super) fn run(options: &cli::Build) -> Outcome {
    let source = Source::read(&options.file)?;
    let elf = source.image(&options.source)?;
    let output = &options.output;
    match options.format {
        Format::Elf => fs::write(output, &elf).map_err(|error| cannot_write(output, &error))?,
        Format::Raw => make_disk(&elf, Form::Raw, output)?,
        Format::Qcow2 => make_disk(&elf, Form::Qcow2, output)?,
        Format::Iso => make_disk(&elf, Form::Iso, output)?,
    }
    let len = fs::metadata(output).map_err(|error| cannot_write(output, &error))?.len();
    say(&format!("{} written, {} KiB", output.display(), len.div_ceil(1024)));
    Ok(ExitCode::SUCCESS)
}

fn make_disk(elf: &[u8], form: Form, output: &Path) -> Result<(), Failure> {
    say("putting GRUB in front of the image");
    disk::build(elf, form, output).map_err(|error| {
        let help = match &error {
            DiskError::ToolMissing { packages, .. } | DiskError::FirmwareMissing { packages, .. } => {
                Some(format!("'./setup image' installs it on Debian and Ubuntu (packages: {packages})"))
            }
            DiskError::ToolFailed { .. } | DiskError::File { .. } => None,
        };
        let failure = Failure::new(format!("cannot make the disk: {error}"));
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}
