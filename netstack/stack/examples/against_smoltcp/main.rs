//! A shard against smoltcp's `Interface`: the same frames, the same application, Ethernet to Ethernet. Only what the server
//! does is measured: time here, instructions by callgrind, which counts in [`measure::counted`] alone.
//!
//! ```text
//! cargo build --release -p weir-stack --example against_smoltcp
//! target/release/examples/against_smoltcp table
//! target/release/examples/against_smoltcp weir requests 10000 2000
//! valgrind --tool=callgrind --toggle-collect='*counted*' target/release/examples/against_smoltcp smoltcp requests 10000 2000
//! ```
//!
//! Arguments: the server, the mode, how many connections are open, how many operations, and how many frames arrive in one
//! turn (1, unless said otherwise).
//!
//! - `requests`: 64 bytes arrive on an open connection, are read and answered by 64 bytes;
//! - `connections`: handshake, one request with its answer, close by the client, the last acknowledgement;
//! - `receive`, `send`: so many MiB in full segments, 16 of them in a turn;
//! - `idle`: what an open connection costs in memory of the process.
//!
//! Neither side verifies or computes TCP checksums, nor uses timestamps or segmentation offload. Where smoltcp leaves a
//! choice, the cheapest is taken: its application knows which socket has something, and is not charged for finding out.

mod client;
mod measure;
mod smoltcp_side;
mod weir_side;

use measure::{Report, run};

/// A server with `connections` open connections at most, besides those that come and go.
pub(crate) trait Server {
    fn new(connections: usize, bulk: bool) -> Self;
    /// One turn: the frames arrive, the application of connection `number` reads, answers with `reply`, and what follows is
    /// sent.
    fn turn(&mut self, frames: &[Vec<u8>], work: Work);
    /// The sequence number behind the latest segment that was sent, and how many segments were.
    fn sent(&self) -> (u32, u64);
}

/// What the application does in a turn.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Nothing,
    /// Accepts connection `number`.
    Accept(usize),
    /// Reads all, and answers each of so many connections from `number` on.
    Answer(usize, usize),
    /// Reads and drops.
    Read(usize),
    /// Queues what there is room for.
    Send(usize),
    /// Closes after the peer did.
    Close(usize),
    /// The connection is over: listens again, where that is needed.
    Forget(usize),
}

pub(crate) const TEXT: [u8; 64] = [b'x'; 64];
pub(crate) const SERVER_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 9];
pub(crate) const SERVER: [u8; 4] = [10, 0, 0, 2];
pub(crate) const CLIENT: [u8; 4] = [10, 0, 0, 9];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let text = |at: usize| arguments.get(at).map_or("", String::as_str);
    if text(0) == "table" {
        return table();
    }
    let (mode, open, count, batch) = (text(1), number(2, 1), number(3, 1_000), number(4, 1));
    let report = match text(0) {
        "weir" => run::<weir_side::Weir>(mode, open, count, batch),
        "smoltcp" => run::<smoltcp_side::Smoltcp>(mode, open, count, batch),
        _ => None,
    };
    match report {
        Some(report) => println!("{} {mode} {open} open: {report}", text(0)),
        None => println!("against_smoltcp table | (weir | smoltcp) MODE OPEN COUNT [BATCH]"),
    }
}

/// All cells, as times.
fn table() {
    println!("| | connections | weir | smoltcp | ratio |\n| --- | --- | --- | --- | --- |");
    for (mode, count) in [("requests", 20_000), ("connections", 4_000), ("receive", 1_024), ("send", 1_024)] {
        for open in [1, 100, 10_000] {
            // What is linear in the number of connections is measured with fewer operations.
            let fewer = if open == 10_000 { 20 } else { 1 };
            let Some(weir) = run::<weir_side::Weir>(mode, open, count, 1) else { continue };
            let Some(smoltcp) = run::<smoltcp_side::Smoltcp>(mode, open, count / fewer, 1) else { continue };
            let (ours, theirs): (&Report, &Report) = (&weir, &smoltcp);
            let ratio = theirs.ns_each() / ours.ns_each();
            println!("| `{mode}` | {open} | {:.0} ns | {:.0} ns | {ratio:.1} |", ours.ns_each(), theirs.ns_each());
        }
    }
}
