//! Bulk throughput against what the RFCs' models predict, in short. The whole table, with more seeds, delays and queues, is
//! written by `cargo run --release -p weir-sim --example throughput`.

use weir_sim::bulk::{Bulk, Loss, Measured, Path, cubic_segments, jain, reno_segments};
use weir_tcp::CongestionAlgorithm;

const GBIT: u64 = 1_000_000_000;

/// A link of 10 Gbit/s and 20 ms, with a queue of so many bytes.
fn long_fat(queue_bytes: u64, loss: Loss) -> Path {
    Path {
        rate_bps: 10 * GBIT,
        access_bps: 40 * GBIT,
        round_trip_us: 20_000,
        queue_bytes,
        loss,
        mtu: 1_500,
        segmentation_max: 64_000,
    }
}

fn run(bulk: &Bulk) -> Measured {
    bulk.run().unwrap_or_else(|what| panic!("{what}: {bulk:?}"))
}

/// One flow fills 10 Gbit/s with two round trips' worth of queue, and HyStart++ leaves slow start before that overflows.
#[test]
fn cubic_fills_ten_gbit_at_20_ms() {
    let bulk = Bulk { from_ms: 700, to_ms: 1_700, ..Bulk::new(1, long_fat(50_000_000, Loss::None)) };
    let measured = run(&bulk);
    let share = measured.goodput[0] / bulk.link_goodput();
    assert!(share >= 0.95, "{share:.3} of the link: {measured:?}");
    assert_eq!((measured.dropped, measured.recoveries, measured.timeouts), (0, 0, 0), "{measured:?}");
}

/// A queue of one round trip does overflow; the loss of thousands of segments at once is repaired without a timeout.
#[test]
fn cubic_recovers_from_an_overflow_at_ten_gbit() {
    let bulk = Bulk { from_ms: 800, to_ms: 1_300, ..Bulk::new(1, long_fat(25_000_000, Loss::None)) };
    let measured = run(&bulk);
    let share = measured.goodput[0] / bulk.link_goodput();
    assert!(share >= 0.95, "{share:.3} of the link: {measured:?}");
    assert!(measured.dropped > 1_000 && measured.timeouts == 0, "{measured:?}");
}

/// The average window, in segments, over three seeds of a flow whose segments are lost at random.
fn average_window(algorithm: CongestionAlgorithm, p: f64, to_ms: u64) -> f64 {
    let window = |seed| {
        let mut bulk = Bulk { from_ms: 5_000, to_ms, ..Bulk::new(seed, long_fat(25_000_000, Loss::Random(p))) };
        bulk.config.congestion = algorithm;
        let measured = run(&bulk);
        measured.goodput[0] / f64::from(measured.mss) * 0.02
    };
    (1..=3).map(window).sum::<f64>() / 3.0
}

#[test]
fn rfc_9438_5_cubic_at_random_loss() {
    for (p, to_ms) in [(1e-4, 300_000), (1e-3, 60_000), (1e-2, 40_000)] {
        let (window, model) = (average_window(CongestionAlgorithm::Cubic, p, to_ms), cubic_segments(p, 0.02));
        assert!((window / model - 1.0).abs() <= 0.2, "p = {p}: {window:.1} segments, the model has {model:.1}");
    }
}

#[test]
fn rfc_5681_new_reno_at_random_loss() {
    for (p, to_ms) in [(1e-4, 300_000), (1e-3, 60_000), (1e-2, 40_000)] {
        let (window, model) = (average_window(CongestionAlgorithm::NewReno, p, to_ms), reno_segments(p));
        assert!((window / model - 1.0).abs() <= 0.2, "p = {p}: {window:.1} segments, the model has {model:.1}");
    }
}

#[test]
fn two_flows_share_a_link_fairly() {
    for algorithm in [CongestionAlgorithm::Cubic, CongestionAlgorithm::NewReno] {
        for queue_bytes in [50_000, 250_000] {
            let path = Path { rate_bps: GBIT / 10, access_bps: GBIT, queue_bytes, ..long_fat(0, Loss::None) };
            let mut bulk = Bulk { from_ms: 20_000, to_ms: 50_000, starts_ms: vec![0, 2_000], ..Bulk::new(1, path) };
            bulk.config.congestion = algorithm;
            let measured = run(&bulk);
            let index = jain(&measured.goodput);
            assert!(index >= 0.95, "{algorithm:?}, queue of {queue_bytes} bytes: {index:.3}, {measured:?}");
            let share = measured.goodput.iter().sum::<f64>() / bulk.link_goodput();
            assert!(share >= 0.85, "{share:.3} of the link: {measured:?}");
        }
    }
}

/// What is random is the seed's: a measurement can be repeated.
#[test]
fn the_same_seed_gives_the_same_figures() {
    let bulk = Bulk { to_ms: 2_000, ..Bulk::new(5, long_fat(1_000_000, Loss::Random(1e-3))) };
    assert_eq!(format!("{:?}", run(&bulk)), format!("{:?}", run(&bulk)));
}
