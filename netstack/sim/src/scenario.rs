//! What a seed means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_tcp::{Config, CongestionAlgorithm, Keepalive};

use crate::application::{Ending, FlowPlan};
use crate::disturbance::{Disturbance, DisturbanceKind, disturbances};
use crate::network::Conditions;
use crate::random::Random;

/// A world before it begins.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The way between the hosts.
    pub conditions: Conditions,
    /// The engines' configurations.
    pub configs: [Config; 2],
    /// Buffers of each host's pool.
    pub buffers: [usize; 2],
    /// The flows.
    pub plans: Vec<FlowPlan>,
    /// What else happens to the hosts, in the order of time.
    pub disturbances: Vec<Disturbance>,
}

impl Scenario {
    /// The scenario of a seed: anything may happen.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let conditions = conditions(&mut random);
        let mut configs = [config(&mut random), config(&mut random)];
        if conditions.loss_ppm == 0 && conditions.corrupt_ppm == 0 && conditions.bottleneck.is_none() {
            // Cookies. A handshake that ends with a lost cookie is never heard of again if the client has nothing to say:
            // only a way without loss owes us its flows then.
            configs[1].half_open_max = random.pick(&[1, 64]);
        }
        let buffers = [random.pick(&[256, 1_024, 8_192]), random.pick(&[256, 1_024, 8_192])];
        let flows = random.pick(&[1, 2, 5, 20]);
        let is_v4 = random.chance_ppm(500_000);
        let plans = (0..flows).map(|number| plan(&mut random, number, is_v4)).collect();
        let disturbances = disturbances(&mut random);
        if disturbances.iter().any(|one| matches!(one.kind, DisturbanceKind::TakeBuffers(_))) {
            // A host without buffers loses what arrives: no cookies there either.
            configs[1].half_open_max = Config::default().half_open_max;
        }
        // After a flood: who comes first waits for its second SYN, and some or all who follow do.
        (configs[1].syn_credit_max, configs[1].syns_free_per_second) =
            random.pick(&[(0, 0), (1, 0), (8, 1), (u32::MAX, 0), (u32::MAX, 0)]);
        Self { seed, conditions, configs, buffers, plans, disturbances }
    }
}

fn conditions(random: &mut Random) -> Conditions {
    let link_mtu = random.pick(&[1_500, 1_500, 1_400, 9_000]);
    let is_narrow = random.chance_ppm(150_000);
    Conditions {
        delay_us: random.pick(&[10, 1_000, 20_000, 100_000]),
        jitter_us: random.pick(&[0, 0, 100, 5_000, 30_000]),
        loss_ppm: random.pick(&[0, 0, 1_000, 10_000, 50_000, 100_000]),
        duplicate_ppm: random.pick(&[0, 0, 10_000, 100_000]),
        corrupt_ppm: random.pick(&[0, 0, 10_000, 50_000]),
        mark_ppm: random.pick(&[0, 0, 10_000, 200_000]),
        link_mtu,
        path_mtu: if is_narrow { 1_300 } else { link_mtu },
        segmentation_max: random.pick(&[0, 0, 16_000, 64_000]),
        checksum_offload: random.chance_ppm(500_000),
        bottleneck: random.pick(&[None, None, Some((2_000_000, 30_000)), Some((100_000_000, 200_000))]),
    }
}

fn config(random: &mut Random) -> Config {
    let receive_window_initial = random.pick(&[3_000, 8_192, 65_536]);
    Config {
        seed: [random.bits(), random.bits(), random.bits(), random.bits()],
        flows_max: random.pick(&[64, 4_096]),
        accept_queue_max: random.pick(&[2, 128]),
        send_queue_max: random.pick(&[2_000, 20_000, 1 << 20]),
        receive_window_initial,
        receive_window_max: random.pick(&[receive_window_initial, 1 << 18, 1 << 22]),
        congestion: random.pick(&[CongestionAlgorithm::Cubic, CongestionAlgorithm::NewReno]),
        ecn: random.chance_ppm(500_000),
        user_timeout: Duration::from_secs(900),
        // A RST that is lost tells nobody: without keepalive, a flow with nothing to send would never hear of its end.
        keepalive: Some(Keepalive { idle: Duration::from_secs(120), interval: Duration::from_secs(20), probes: 30 }),
        syn_retries: 12,
        syn_ack_retries: 12,
        ..Config::default()
    }
}

fn plan(random: &mut Random, number: u16, is_v4: bool) -> FlowPlan {
    let address = |host: u8| -> IpAddr {
        if is_v4 { [10, 0, 0, host].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)].into() }
    };
    let bytes = |random: &mut Random| {
        let limit = random.pick(&[1, 100, 10_000, 200_000]);
        random.below(limit)
    };
    let slow = |random: &mut Random| random.pick(&[(usize::MAX, 0), (usize::MAX, 0), (1, 1), (5_000, 10), (700, 1)]);
    let (slow_client, slow_server) = (slow(random), slow(random));
    FlowPlan {
        client: SocketAddr::new(address(1), 10_000 + number),
        server: SocketAddr::new(address(2), 80),
        starts_ms: random.below(300),
        bytes: [bytes(random), bytes(random)],
        read_max: [slow_client.0, slow_server.0],
        pause_ms: [slow_client.1, slow_server.1],
        write_max: random.pick(&[1, 100, 1_500, 1_700]).max(1),
        ending: random.pick(&[
            Ending::ClientShutsDown,
            Ending::ServerShutsDown,
            Ending::BothShutDown,
            Ending::ClientCloses,
            Ending::ServerCloses,
            Ending::ClientAborts,
        ]),
        nagle: random.chance_ppm(300_000),
    }
}
