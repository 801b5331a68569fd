//! Runs one fuzz target: `weir-fuzz TARGET [--seconds N] [--seed N] [--save] [--replay FILE]`.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use weir_fuzz::{Campaign, TARGETS, Target, on_crash_write_to, watch_for_hangs};

/// Where inputs go that were not survived.
const CRASHES: &str = "target/fuzz";

/// Inputs larger than that are not saved in the tree.
const SAVED_BYTES_MAX: usize = 512;

/// What the command line asks for.
struct Wanted {
    target: &'static Target,
    seconds: u64,
    seed: u64,
    save: bool,
    replay: Option<String>,
}

fn wanted() -> Result<Wanted, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("which target?")?;
    let target = Target::of_name(&name).ok_or_else(|| format!("there is no target {name}"))?;
    let mut wanted = Wanted { target, seconds: 60, seed: 1, save: false, replay: None };
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value"));
        match option.as_str() {
            "--seconds" => wanted.seconds = value()?.parse()?,
            "--seed" => wanted.seed = value()?.parse()?,
            "--replay" => wanted.replay = Some(value()?),
            "--save" => wanted.save = true,
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    Ok(wanted)
}

fn run(wanted: &Wanted) -> Result<(), Box<dyn Error>> {
    if !cfg!(debug_assertions) {
        eprintln!("debug assertions are off: use --profile fuzz");
    }
    if let Some(path) = &wanted.replay {
        wanted.target.replay(Path::new(path))?;
        println!("{}: survived", wanted.target.name);
        return Ok(());
    }
    on_crash_write_to(Path::new(CRASHES));
    watch_for_hangs(Path::new(CRASHES));
    let mut campaign = Campaign::new(wanted.target, wanted.seed)?;
    campaign.run_for(Duration::from_secs(wanted.seconds), |progress| println!("{progress:?}"));
    println!("{}: {:?}", wanted.target.name, campaign.progress());
    if wanted.save {
        println!("{} inputs saved", campaign.save(SAVED_BYTES_MAX)?);
    }
    Ok(())
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}");
            eprintln!("usage: weir-fuzz TARGET [--seconds N] [--seed N] [--save] [--replay FILE]");
            eprintln!("targets: {}", TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(" "));
            return ExitCode::from(2);
        }
    };
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
