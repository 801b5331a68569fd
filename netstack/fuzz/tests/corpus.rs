//! Replays the corpus of each target and runs a short campaign from a fixed seed.
//!
//! What fails is written to `target/fuzz`, and the command that replays it is printed.

use std::path::Path;

use weir_fuzz::{Campaign, Target, on_crash_write_to};

/// The seed of all short campaigns.
const SEED: u64 = 20_260;

fn short_campaign(name: &str, inputs: u64) {
    on_crash_write_to(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz"));
    let target = Target::of_name(name).expect("a target");
    let files = std::fs::read_dir(target.corpus()).map_or(0, Iterator::count);
    assert!(files > 0, "{name} has no corpus");
    let mut campaign = Campaign::new(target, SEED).expect("the corpus can be read");
    let replayed = campaign.progress();
    assert!(replayed.features > 3, "the corpus shows nothing: {replayed:?}");
    campaign.run_inputs(inputs);
    println!("{name}: {:?}", campaign.progress());
}

#[test]
fn segments() {
    short_campaign("segments", 4_000);
}

#[test]
fn operations() {
    short_campaign("operations", 4_000);
}

#[test]
fn frames() {
    short_campaign("frames", 4_000);
}

#[test]
fn device() {
    short_campaign("device", 1_000);
}

#[test]
fn request() {
    short_campaign("request", 4_000);
}

#[test]
fn response() {
    short_campaign("response", 4_000);
}

#[test]
fn chunked() {
    short_campaign("chunked", 20_000);
}

#[test]
fn names() {
    short_campaign("names", 20_000);
}

#[test]
fn configuration() {
    short_campaign("configuration", 4_000);
}

#[test]
fn seed() {
    short_campaign("seed", 4_000);
}
