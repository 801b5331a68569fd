//! Weir's TCP against Linux': the kernel listens and connects, sends and receives, through all sorts of weather.
//!
//! Everything runs in a network namespace of its own and ends with it; where there can be none, the tests are skipped and say
//! why. Nothing sleeps: tests wait for bytes, an end or a condition, each with a deadline. `WEIR_TEST_LONG=1` makes the
//! transfers longer.

mod attack;
mod frames;
mod matrix;
mod situations;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};
use weir_peer::{Failed, Host, namespace};

/// What a test returns.
type Tested = Result<(), Failed>;

/// A table of tests: name and function.
type Tests = &'static [(&'static str, fn() -> Tested)];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of the time is spent waiting for delays and timers; more threads than that, and one starves another's timers.
    arguments.test_threads.get_or_insert(3);
    if !arguments.list {
        namespace::enter_if_outside();
    }
    let mut trials: Vec<Trial> =
        matrix::cells().into_iter().map(|cell| trial(&cell.name(), move || cell.run())).collect();
    let tables = [situations::TESTS, attack::TESTS];
    trials.extend(tables.concat().into_iter().map(|(name, test)| trial(name, test)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() -> Tested + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match namespace::obstacle() {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => test().map(|()| Completion::Completed).map_err(|error| error.to_string().into()),
    })
}

/// `short`, or `long` when the environment asks for the long run.
fn long_or(short: u64, long: u64) -> u64 {
    if std::env::var_os("WEIR_TEST_LONG").is_some_and(|value| value == "1") { long } else { short }
}

/// What failed, with all counters of the host.
fn with_state(host: &Host, tested: Tested) -> Tested {
    tested.map_err(|error| match host.state() {
        Ok(state) => format!("{error}\n  Weir: {state}").into(),
        Err(_) => error,
    })
}
