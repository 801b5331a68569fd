//! Whole systems: the `weir` command as a user calls it, and Weir in QEMU with clients and servers around it.
//!
//! Everything runs in a network namespace of its own, so that interfaces, addresses and servers live and die with the run.
//! Tests wait for a line, an answer or an end, each with a deadline; none sleeps. `WEIR_TEST_LONG=1` makes the loads longer.

mod backend;
mod balance;
mod balancer;
mod bench;
mod boot;
mod browser;
mod command;
mod crowd;
mod daemon;
mod delivery;
mod dhcp;
mod disks;
mod dns;
mod drill;
mod exchange;
mod faults;
mod flood;
mod framing;
mod guest;
mod http;
mod ipv6;
mod lab;
mod link;
mod metrics;
mod names;
mod namespace;
mod peers;
mod plane;
mod proxy;
mod robust;
mod serve;
mod sizing;
mod steering;
mod syn;
mod tap;
mod transfer;
mod wiretap;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// Why a test fails: a sentence.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What a test returns.
type Tested = Result<(), Failed>;

fn main() -> ExitCode {
    weir_host::tether::enter_if_asked();
    let mut arguments = Arguments::from_args();
    // Virtual machines that share two processors slow one another down until deadlines pass.
    arguments.test_threads.get_or_insert(1);
    if !arguments.list {
        namespace::enter_if_outside();
    }
    let groups = [
        command::TESTS,
        boot::TESTS,
        disks::TESTS,
        delivery::TESTS,
        sizing::TESTS,
        serve::TESTS,
        proxy::TESTS,
        framing::TESTS,
        exchange::TESTS,
        ipv6::TESTS,
        transfer::TESTS,
        faults::TESTS,
        syn::TESTS,
        balancer::TESTS,
        balance::TESTS,
        drill::TESTS,
        peers::TESTS,
        browser::TESTS,
        names::TESTS,
        plane::TESTS,
        robust::TESTS,
        steering::TESTS,
        flood::TESTS,
        crowd::TESTS,
        bench::TESTS,
    ];
    let trials = groups.concat().into_iter().map(|(name, test)| Trial::ignorable_test(name, move || complete(test())));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn complete(tested: Tested) -> Result<Completion, libtest_mimic::Failed> {
    let Err(error) = tested else { return Ok(Completion::Completed) };
    match error.downcast::<CannotTest>() {
        Ok(reason) => Ok(Completion::ignored_with(reason.0)),
        Err(error) => Err(error.to_string().into()),
    }
}

/// A test's error that is none of Weir's: this machine, or this user, cannot do what the test needs. The test is skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotTest(pub &'static str);

/// A table of tests: name and function.
type Tests = &'static [(&'static str, fn() -> Tested)];

/// Fails a test with a sentence unless something holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Tested {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}
