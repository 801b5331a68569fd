//! What each subcommand does.

mod bench;
mod build;
mod check;
mod demo;
mod manifest;
mod output;
mod rates;
mod run;
mod schema;
mod session;
mod sizing;
mod source;
mod test;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

pub use test::LONG_VARIABLE;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Check(options) => check::run(&options),
        Command::Schema(options) => schema::run(&options),
        Command::Build(options) => build::run(&options),
        Command::Run(options) => run::run(options),
        Command::Demo(options) => demo::run(options),
        Command::Sizing(options) => sizing::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

/// Writes what was asked for to the standard output. Who reads only its beginning, as `head` does, has what it wanted.
fn print(text: &str) -> Outcome {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Tells the user what is going on, on the standard error.
fn say(text: &str) {
    // Nobody need listen.
    let _ = writeln!(io::stderr(), "weir: {text}");
}

/// A command's result: success, or an exit status of its own, or a failure to explain.
type Outcome = Result<ExitCode, Failure>;
