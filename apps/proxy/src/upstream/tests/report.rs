//! Cores that tell each other of their load, and what comes of it: cores, servers and requests at random.

extern crate std;

use alloc::collections::BinaryHeap;
use alloc::vec;
use core::cmp::Reverse;

use super::super::report::PARTS;
use super::*;

/// Of each core, in microseconds.
const PERIOD_US: u64 = 10_000;

/// Requests that a server works on at once; others wait there.
const WORKERS: usize = 4;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Arrives { core: usize },
    Ends { core: usize, server: u16, began_us: u64 },
    Reports { core: usize },
}

struct World {
    cores: Vec<Upstream>,
    /// When each of a server's workers is free.
    servers: Vec<[u64; WORKERS]>,
    future: BinaryHeap<Reverse<(u64, usize, Happens)>>,
    events: usize,
    random: u64,
    took_us: Vec<u64>,
}

impl World {
    fn new(balance: &str, (cores, servers): (usize, usize)) -> Self {
        let pool = pool(servers, &format!("balance = \"{balance}\""));
        let core = |core| Upstream::new(&pool, 0, mix(core as u64), (core, cores));
        Self {
            cores: (0..cores).map(core).collect(),
            servers: vec![[0; WORKERS]; servers],
            future: BinaryHeap::new(),
            events: 0,
            random: 1,
            took_us: Vec::new(),
        }
    }

    fn later(&mut self, at_us: u64, what: Happens) {
        self.events += 1;
        self.future.push(Reverse((at_us, self.events, what)));
    }

    /// A time with this mean, distributed exponentially.
    fn about(&mut self, mean_us: u64) -> u64 {
        self.random = mix(self.random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let unit = ((self.random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        (-unit.ln() * mean_us as f64) as u64 + 1
    }

    /// How long requests took on average that keep servers busy for `work_us` each, on average, and together for 85 % of the time.
    fn run(mut self, work_us: u64, is_told: bool) -> u64 {
        let gap_us = work_us * (self.cores.len() * 100) as u64 / (self.servers.len() * WORKERS * 85) as u64;
        for core in 0..self.cores.len() {
            self.later(0, Happens::Arrives { core });
            self.later(PERIOD_US * core as u64 / self.cores.len() as u64, Happens::Reports { core });
        }
        while self.took_us.len() < 20_000
            && let Some(Reverse((now_us, _, what))) = self.future.pop()
        {
            match what {
                Happens::Arrives { core } => {
                    let server = choose(&mut self.cores[core], NOW).expect("a server");
                    self.cores[core].occupy(server, NOW);
                    let work_us = self.about(work_us);
                    let worker = self.servers[usize::from(server)].iter_mut().min().expect("a worker");
                    *worker = now_us.max(*worker) + work_us;
                    let end_us = *worker;
                    self.later(end_us, Happens::Ends { core, server, began_us: now_us });
                    let gap_us = self.about(gap_us);
                    self.later(now_us + gap_us, Happens::Arrives { core });
                }
                Happens::Ends { core, server, began_us } => {
                    self.cores[core].release(server, NOW);
                    self.took_us.push(now_us - began_us);
                }
                Happens::Reports { core } if is_told => {
                    tell(&mut self.cores, core);
                    self.later(now_us + PERIOD_US, Happens::Reports { core });
                }
                Happens::Reports { .. } => {}
            }
        }
        self.took_us.iter().sum::<u64>() / self.took_us.len() as u64
    }
}

/// One core tells all others what has changed.
fn tell(cores: &mut [Upstream], core: usize) {
    cores[core].begin_report();
    while let Some(loads) = cores[core].next_loads(0) {
        let others = cores.iter_mut().enumerate().filter(|(other, _)| *other != core);
        others.for_each(|(_, other)| other.hear_loads(&loads, NOW));
    }
}

#[test]
fn in_the_end_all_cores_know_the_load_of_all() {
    for balance in ["random-2", "least-connections"] {
        let pool = pool(20, &format!("balance = \"{balance}\""));
        let mut cores: Vec<Upstream> = (0..3).map(|core| Upstream::new(&pool, 0, 0, (core, 3))).collect();
        for (core, server, count) in [(0, 0, 1), (0, 19, 700), (1, 0, 5), (2, 7, 40)] {
            (0..count).for_each(|_| cores[core].occupy(server, NOW));
        }
        let settle = |cores: &mut Vec<Upstream>| (0..300).for_each(|step| tell(cores, step % 3));
        let elsewhere = |cores: &[Upstream], server: usize| -> Vec<u32> {
            cores.iter().map(|core| core.servers[server].elsewhere / PARTS).collect()
        };
        tell(&mut cores, 2);
        assert_eq!((cores[0].servers[7].elsewhere, cores[2].servers[7].elsewhere), (40 * PARTS / 8, 0), "an eighth");
        settle(&mut cores);
        let loads = [0, 7, 19].map(|server| elsewhere(&cores, server));
        assert_eq!(loads.map(<[u32; 3]>::try_from), [Ok([5, 1, 6]), Ok([40, 40, 0]), Ok([0, 700, 700])]);
        let others = (0..200).filter(|_| matches!(choose(&mut cores[1], NOW), Some(7 | 19))).count();
        assert!(others < 8, "{balance}: {others} went where others have so much");
        for _ in 0..700 {
            cores[0].release(19, NOW);
        }
        settle(&mut cores);
        assert_eq!(elsewhere(&cores, 19), [0; 3]);
        cores[0].begin_report();
        assert_eq!(cores[0].next_loads(0), None, "nothing has changed");
    }
}

#[test]
fn nobody_tells_what_nobody_chooses_by() {
    for (servers, balance, is_told) in [(1, "random-2", false), (2, "random-2", true), (2, "round-robin", false)] {
        let mut upstream = upstream(servers, &format!("balance = \"{balance}\""), 0);
        upstream.occupy(0, NOW);
        upstream.begin_report();
        assert_eq!(upstream.next_loads(0).is_some(), is_told, "{servers} {balance}");
    }
}

/// Requests that take long find shorter queues, and those that are over before they are told of lose nothing by it.
#[test]
fn what_others_tell_helps_long_requests_and_does_not_hurt_short_ones() {
    let took = |work_us, is_told| World::new("random-2", (8, 4)).run(work_us, is_told) as f64;
    for (work_us, ratio_max) in [(1_000, 1.05), (200_000, 0.92)] {
        let ratio = took(work_us, true) / took(work_us, false);
        assert!(ratio < ratio_max, "{work_us}: {ratio}");
    }
}

/// No load gets much worse by what others tell. Prints the figures of `docs/decisions/load.md`.
#[test]
fn times_with_and_without_reports() {
    const SIZES: [(usize, usize); 4] = [(2, 2), (8, 4), (8, 16), (32, 16)];
    // The larger ones take long where nothing is optimised.
    let sizes = if cfg!(debug_assertions) { &SIZES[..2] } else { &SIZES };
    for &size in sizes {
        for balance in ["random-2", "least-connections"] {
            for work_us in [1_000, 20_000, 200_000] {
                let [alone, told] = [false, true].map(|is_told| World::new(balance, size).run(work_us, is_told));
                std::println!("{size:?} {balance} {work_us}: {alone} -> {told}");
                assert!(told as f64 <= 1.2 * alone as f64, "what others tell makes it worse");
            }
        }
    }
}
