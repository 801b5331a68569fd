//! What the stack costs in instructions, without a device: run it under callgrind with two counts and divide the
//! difference, so that what is done once falls out.
//!
//! ```text
//! cargo build --release --example cost
//! valgrind --tool=callgrind target/release/examples/cost frames 10000
//! ```

use std::hint::black_box;

use weir_packet::frame::{Capabilities, ChecksumStatus, RxFrame};
use weir_packet::{Packet, Pool};
use weir_socket::Instant;
use weir_stack::{Ipv4Configuration, Ipv4Source, Shard, ShardConfig};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// A stray RST over IPv4: the cheapest segment that goes all the way from Ethernet to TCP.
const RESET: [u8; 54] = [
    0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 9, 8, 0, // Ethernet
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0xc6, 10, 0, 0, 9, 10, 0, 0, 2, // IPv4
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 4, 0, 0, 0, 0, 0, 0, // TCP
];

fn packet(pool: &Pool) -> Option<Packet> {
    let mut packet = pool.allocate()?;
    packet.extend_from_slice(black_box(&RESET)).ok()?;
    Some(packet)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let count: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let pool = Pool::with_capacity(64).expect("memory");
    let device = Capabilities { mac: MAC, mtu: 1500, transmit_checksum: true, tso4: false, tso6: false };
    let mut config = ShardConfig::new(0, 2, [1, 2, 3, 4], device);
    config.ipv4 = Ipv4Source::Static(Ipv4Configuration::new([10, 0, 0, 2].into(), 24));
    let mut shard = Shard::new(config, pool.clone());
    shard.set_now(Instant::from_nanos(1_000_000_000));
    for _ in 0..count {
        let packet = packet(&pool).expect("a buffer");
        match &*mode {
            // What the benchmark itself costs.
            "nothing" => drop(black_box(packet)),
            _ => shard.handle_frame(RxFrame { packet, checksum: ChecksumStatus::Verified }),
        }
    }
    let counters = shard.counters();
    println!("{count} frames, {} dropped", counters.dropped_total());
}
