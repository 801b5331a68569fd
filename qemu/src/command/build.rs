//! `weir build`: an image in a file, and a manifest that says what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use weir_image::disk::{self, DiskError, Form};
use weir_image::{payload, seed};

use super::manifest::{self, Contents};
use super::output::{self, Output, cannot_write, check_room};
use super::source::Source;
use super::{Outcome, say};
use crate::cli::{self, Format};
use crate::failure::Failure;
use crate::interrupt::Interruption;

pub(super) fn run(options: &cli::Build) -> Outcome {
    let interruption = Interruption::deferred()?;
    interruption.explain(build(options, &interruption))
}

fn build(options: &cli::Build, interruption: &Interruption) -> Outcome {
    let form = form(options)?;
    let source = Source::read(&options.file)?;
    let output = Output::new(&options.output)?;
    let path = output.path();
    let mut elf = None;
    if options.format == Format::Cidata {
        seed::build(&source.text, &path).map_err(|error| cannot_make(&error))?;
    } else {
        let program = elf.insert(source.image(&options.source)?);
        say(&format!("the program has {} KiB with its configuration and files", program.len().div_ceil(1024)));
        match form {
            None => fs::write(&path, program).map_err(|error| cannot_write(&options.output, &error))?,
            Some(form) => make_disk(program, form, options, &path)?,
        }
    }
    let (image_bytes, image_sha256) =
        manifest::hash_file(&path).map_err(|error| cannot_write(&options.output, &error))?;
    let archive = payload::pack(&source.text, options.source.files.as_deref());
    let contents = Contents {
        format: options.format,
        image_bytes,
        image_sha256,
        elf: elf.as_deref(),
        text: &source.text,
        config: &source.config,
        archive_bytes: archive.map_err(|error| Failure::new(error.to_string()))?.len() as u64,
    };
    let manifest_path = manifest_path(options);
    let manifest = manifest_path.as_deref().map(|path| stage(path, &contents)).transpose()?;
    interruption.check()?;
    output.commit()?;
    say(&format!("{} written, {} KiB", options.output.display(), image_bytes.div_ceil(1024)));
    if let (Some(manifest), Some(path)) = (manifest, &manifest_path) {
        manifest.commit()?;
        say(&format!("{} says what is in it", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn stage<'a>(path: &'a Path, contents: &Contents<'_>) -> Result<Output<'a>, Failure> {
    let output = Output::new(path)?;
    fs::write(output.path(), contents.manifest()).map_err(|error| cannot_write(path, &error))?;
    Ok(output)
}

/// The form of medium that is wanted, if it is one that boots.
fn form(options: &cli::Build) -> Result<Option<Form>, Failure> {
    let form = match options.format {
        Format::Elf | Format::Cidata => None,
        Format::Raw => Some(Form::Raw),
        Format::Qcow2 => Some(Form::Qcow2),
        Format::Iso => Some(Form::Iso),
    };
    if options.size.is_some() && !matches!(form, Some(Form::Raw | Form::Qcow2)) {
        return Err(Failure::usage("--size is for disks").help("use it with --format raw or --format qcow2"));
    }
    Ok(form)
}

fn make_disk(elf: &[u8], form: Form, options: &cli::Build, path: &Path) -> Result<(), Failure> {
    say("putting GRUB in front of the program");
    let bytes = disk::hybrid(elf).map_err(|error| cannot_make(&error))?;
    let len = bytes.len() as u64;
    let size = options.size.map_or(len, |mib| u64::from(mib) << 20);
    check_room(len, size, "the disk")?;
    disk::write(&bytes, size, form, path).map_err(|error| cannot_make(&error))
}

/// Beside the image, unless it is wanted elsewhere; beside a device is no place for it.
fn manifest_path(options: &cli::Build) -> Option<PathBuf> {
    let beside = || {
        let mut name = options.output.clone().into_os_string();
        name.push(".json");
        (!output::is_device(&options.output)).then(|| name.into())
    };
    options.manifest.clone().or_else(beside)
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
