//! A second oracle: smoltcp's own TCP as the peer, in memory, over IP packets that are lost, repeated, reordered and damaged.
//!
//! Both roles, both versions of IP, all orders of closing. `SEEDS=1000 cargo test --release -p weir-sim --test smoltcp` tries
//! more of each; a failure names its cell and its seed.

#[path = "smoltcp/oracle.rs"]
mod oracle;
#[path = "smoltcp/way.rs"]
mod way;
#[path = "smoltcp/weir.rs"]
mod weir;

use std::net::SocketAddr;

use oracle::Oracle;
use way::{Conditions, Way};
use weir::Weir;

/// Simulated time after which nothing will come any more.
const TIME_MAX_NS: u64 = 1_800 * 1_000_000_000;

/// Who ends its direction first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Each when it has sent all; both send at the same time.
    Both,
    /// Weir sends and ends; smoltcp begins only then.
    WeirFirst,
    SmoltcpFirst,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    ipv6: bool,
    weir_listens: bool,
    ends: Ends,
    weather: &'static str,
    seed: u64,
}

/// What one end sends, and what it has done so far.
#[derive(Debug)]
struct Talk {
    outgoing: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    /// Begins only when the other end has ended.
    is_second: bool,
    has_ended: bool,
    saw_end: bool,
}

impl Talk {
    fn new(len: usize, seed: u64, is_second: bool) -> Self {
        let mut random = weir_sim::Random::new(seed);
        let outgoing = std::iter::repeat_with(|| random.bits() as u8).take(len).collect();
        Self { outgoing, sent: 0, received: Vec::new(), is_second, has_ended: false, saw_end: false }
    }

    /// What may be sent now.
    fn unsent(&self) -> &[u8] {
        if self.is_second && !self.saw_end { &[] } else { &self.outgoing[self.sent..] }
    }

    /// Whether everything is sent, and the end of our direction is not told yet.
    fn should_end(&self) -> bool {
        (self.saw_end || !self.is_second) && self.sent == self.outgoing.len() && !self.has_ended
    }
}

fn conditions(weather: &str) -> Conditions {
    let clear = Conditions { delay_us: 2_000, ..Conditions::default() };
    match weather {
        "clear" => clear,
        "loss" => Conditions { loss_ppm: 20_000, ..clear },
        "reorder" => Conditions { jitter_us: 6_000, ..clear },
        "duplicate" => Conditions { duplicate_ppm: 50_000, ..clear },
        _ => Conditions { jitter_us: 3_000, loss_ppm: 10_000, duplicate_ppm: 10_000, corrupt_ppm: 10_000, ..clear },
    }
}

impl Cell {
    fn addresses(&self) -> [SocketAddr; 2] {
        let ends = if self.ipv6 { ["[fd00::1]:80", "[fd00::2]:80"] } else { ["10.0.0.1:80", "10.0.0.2:80"] };
        let client = if self.weir_listens { 1 } else { 0 };
        let mut ends = ends.map(|end| end.parse::<SocketAddr>().expect("an address"));
        ends[client].set_port(40_000 + (self.seed % 20_000) as u16);
        ends
    }

    /// How many segments Weir had to send again.
    fn run(&self) -> Result<u64, String> {
        let [local, remote] = self.addresses();
        let bytes = if self.weather == "clear" { 400_000 } else { 100_000 };
        let talk = |seed, is_second| Talk::new(bytes, self.seed * 2 + seed, is_second);
        let mut weir = Weir::new(local, self.seed, talk(0, self.ends == Ends::SmoltcpFirst));
        let mut oracle = Oracle::new(remote, self.seed, talk(1, self.ends == Ends::WeirFirst));
        let mut way = Way::new(conditions(self.weather), self.seed);
        if self.weir_listens {
            weir.listen();
            oracle.connect(local);
        } else {
            oracle.listen();
            weir.connect(remote);
        }
        let mut now_ns = 1_000_000_000;
        loop {
            way.set_now(now_ns);
            weir.turn(now_ns, &mut way)?;
            oracle.turn(now_ns, &mut way);
            if weir.is_gone() && oracle.is_done() {
                break;
            }
            let next = [way.next_arrival_ns(), weir.next_deadline_ns(), oracle.next_deadline_ns(now_ns)];
            let next = next.into_iter().flatten().min().ok_or("nothing will ever happen")?;
            now_ns = next.max(now_ns + 1);
            if now_ns > TIME_MAX_NS {
                return Err(format!("stuck: Weir {}, smoltcp {}", weir.describe(), oracle.describe()));
            }
        }
        weir.check_empty()?;
        let is_whole = weir.talk.received == oracle.talk.outgoing && oracle.talk.received == weir.talk.outgoing;
        if !is_whole {
            return Err(format!("other bytes: Weir {}, smoltcp {}", weir.describe(), oracle.describe()));
        }
        Ok(weir.retransmitted())
    }
}

/// All cells of one weather, with seeds of their own.
fn run_all(weather: &'static str) {
    let seeds = std::env::var("SEEDS").map_or(2, |seeds| seeds.parse().expect("a number"));
    let (mut failures, mut repeated) = (Vec::new(), 0);
    for seed in 0..seeds {
        for (ipv6, weir_listens) in [(false, false), (false, true), (true, false), (true, true)] {
            for ends in [Ends::Both, Ends::WeirFirst, Ends::SmoltcpFirst] {
                let cell = Cell { ipv6, weir_listens, ends, weather, seed };
                match cell.run() {
                    Ok(segments) => repeated += segments,
                    Err(what) => failures.push(format!("{cell:?}: {what}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n"));
    // The weather was what its name says.
    match weather {
        "clear" | "duplicate" => assert_eq!(repeated, 0, "segments were sent again without a loss"),
        "loss" | "everything" => assert!(repeated > 10, "{repeated}"),
        _ => {}
    }
}

#[test]
fn under_a_clear_sky() {
    run_all("clear");
}

#[test]
fn with_loss() {
    run_all("loss");
}

#[test]
fn with_reordering() {
    run_all("reorder");
}

#[test]
fn with_duplicates() {
    run_all("duplicate");
}

#[test]
fn with_everything() {
    run_all("everything");
}
