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

/// Tells the user what is going on, on the standard error.
fn say(text: &str) {
    eprintln!("weir: {text}");
}

/// A command's result: success, or an exit status of its own, or a failure to explain.
type Outcome = Result<ExitCode, Failure>;
