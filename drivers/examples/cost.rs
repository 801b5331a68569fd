//! What the driver does for a frame, in instructions: each step is a function of [`Bursts`], whose inclusive cost callgrind
//! tells; divide it by 1000 bursts of 32 frames.
//!
//! ```text
//! cargo build --release -p weir-drivers --features fake --example cost
//! valgrind --tool=callgrind --callgrind-out-file=out target/release/examples/cost send 3
//! callgrind_annotate --inclusive=yes out | grep Bursts
//! ```
//!
//! `receive`; `send N` with N pieces behind the head; `direct N` the same without tables of descriptors.

use weir_drivers::Bursts;
use weir_drivers::virtio::Features;
use weir_drivers::virtio::features::INDIRECT_DESC;

const BURSTS: usize = 1_000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["receive"] => run(Features::NONE, Bursts::receive),
        ["send", pieces] => send(Features::NONE, pieces),
        ["direct", pieces] => send(Features::of(&[INDIRECT_DESC]), pieces),
        _ => panic!("receive, send N or direct N"),
    }
}

fn send(refuse: Features, pieces: &str) {
    let pieces = pieces.parse().expect("a number of pieces");
    run(refuse, |bursts| bursts.send(pieces));
}

fn run(refuse: Features, step: impl Fn(&mut Bursts)) {
    let mut bursts = Bursts::new(refuse);
    (0..BURSTS).for_each(|_| step(&mut bursts));
    println!("{} frames", BURSTS * Bursts::frames());
}
