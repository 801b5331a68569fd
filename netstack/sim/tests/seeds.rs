//! Hundreds of worlds. `SEED=17 cargo test -p weir-sim --test seeds one_seed -- --nocapture` replays one, with all segments;
//! `SEEDS=20000 cargo test --release -p weir-sim --test seeds many_seeds` runs more of them.

use std::collections::BTreeSet;

use weir_sim::{Scenario, World};

fn run(seed: u64, verbose: bool) -> Result<weir_sim::Report, String> {
    World::new(Scenario::of_seed(seed)).verbose(verbose).run().map_err(|failure| failure.to_string())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Worlds of every run of the tests: `transitions.txt` is what happens in them.
const SEEDS: u64 = 300;

#[test]
fn many_seeds() {
    let mut transitions = BTreeSet::new();
    let mut failures = Vec::new();
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        match run(seed, false) {
            Ok(report) => transitions.extend(report.transitions),
            Err(failure) => failures.push(failure),
        }
    }
    let first: String = failures.first().cloned().unwrap_or_default();
    let names: Vec<&str> = failures.iter().filter_map(|failure| failure.split(':').next()).collect();
    assert!(failures.is_empty(), "{} fail: {names:?}\n{first}", failures.len());
    // Each state by its roads from and to others: none that the table does not have, and none that no world ever took. A
    // simultaneous open needs two ends that connect: the dialogues have it.
    let seen: String = transitions.iter().map(|(from, to)| format!("{from} -> {to}\n")).collect();
    if seeds == SEEDS {
        assert_eq!(seen, include_str!("transitions.txt"), "the transitions of all worlds");
    } else {
        println!("{seen}");
    }
}

#[test]
fn one_seed() {
    let Some(seed) = number("SEED") else { return };
    println!("{:#?}", Scenario::of_seed(seed));
    match run(seed, true) {
        Ok(report) => println!("{report:#?}"),
        Err(failure) => panic!("{failure}"),
    }
}

/// The engine's short cuts for expected segments and short answers are only that: without them, a world is the same byte for
/// byte and moment for moment.
#[test]
fn a_world_without_short_cuts_is_the_same() {
    // One of these passed over a recovery of what a smaller path had lost.
    let known = [940];
    for seed in (0..number("SEEDS").unwrap_or(SEEDS)).step_by(5).chain(known) {
        let mut scenario = Scenario::of_seed(seed);
        scenario.configs.iter_mut().for_each(|config| config.short_cuts = false);
        let without = World::new(scenario).run().map_err(|failure| failure.to_string());
        assert_eq!(run(seed, false), without, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 2, 3, 17, 99] {
        assert_eq!(run(seed, false), run(seed, false));
    }
}
