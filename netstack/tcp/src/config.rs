//! The engine's limits and choices.

use core::time::Duration;

/// Limits and choices of one core's engine. Sizes are per core.
#[derive(Debug, Clone)]
pub struct Config {
    /// Secret for the keyed hash of the flow table, initial sequence numbers, timestamps offsets and SYN cookies.
    pub seed: [u64; 4],
    /// Flows, those included that the application has closed and the peer has not.
    pub flows_max: usize,
    /// Listeners.
    pub listeners_max: usize,
    /// Half-open passive handshakes (the SYN cache); beyond, SYN cookies are sent.
    pub half_open_max: usize,
    /// SYNs that are answered, beside those that are free, although nobody has completed a handshake meanwhile.
    pub syn_credit_max: u32,
    /// SYNs per second that are answered at once beyond those that completed handshakes pay for; others when they come again.
    pub syns_free_per_second: u32,
    /// Memory for notes of SYNs that were not answered.
    pub syn_notes_bytes: usize,
    /// Established flows that wait to be accepted, per listener.
    pub accept_queue_max: usize,
    /// TIME-WAIT records; the oldest is dropped for a newer one.
    pub time_wait_max: usize,
    /// How long a TIME-WAIT record stays: 2 MSL.
    pub time_wait: Duration,
    /// Bytes that a flow queues for sending.
    pub send_queue_max: usize,
    /// Bytes that a flow offers to receive at its beginning.
    pub receive_window_initial: usize,
    /// Bytes that a flow offers to receive at most, once the window was tuned up.
    pub receive_window_max: usize,
    /// Bytes that the windows of all flows are tuned up by together, beyond their beginning; none: half of the buffers.
    pub receive_budget: Option<usize>,
    /// Largest segment payload that we ask the peer for; the link's MTU lowers it.
    pub mss_max: u16,
    /// Congestion control of new flows.
    pub congestion: CongestionAlgorithm,
    /// Offer and accept ECN (RFC 3168).
    pub ecn: bool,
    /// Longest delay of an acknowledgement.
    pub delayed_ack: Duration,
    /// Silence after which a flow is probed; none: never (RFC 9293, 3.8.4).
    pub keepalive: Option<Keepalive>,
    /// Unacknowledged data older than that ends a flow (RFC 9293, 3.8.3).
    pub user_timeout: Duration,
    /// How long a flow that the application has closed waits for the peer's FIN.
    pub fin_wait_2: Duration,
    /// Retransmissions of a SYN before a connect fails.
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK before a half-open handshake is forgotten.
    pub syn_ack_retries: u8,
    /// Challenge ACKs per second (RFC 5961, 7).
    pub challenge_acks_per_second: u32,
    /// RSTs per second to segments that belong to no flow.
    pub resets_per_second: u32,
    /// The expected segment and the short answer take their short cuts; without, every one goes step by step. Nobody but a test
    /// sees a difference.
    pub short_cuts: bool,
}

/// Which congestion control a flow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CongestionAlgorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 and 6582.
    NewReno,
}

/// When a silent flow is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without answer that end the flow.
    pub probes: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: [0; 4],
            flows_max: 65_536,
            listeners_max: 256,
            half_open_max: 1_024,
            syn_credit_max: 16_384,
            syns_free_per_second: 5_000,
            syn_notes_bytes: 1 << 16,
            accept_queue_max: 1_024,
            time_wait_max: 32_768,
            time_wait: Duration::from_secs(60),
            send_queue_max: 1 << 20,
            receive_window_initial: 1 << 16,
            receive_window_max: 1 << 20,
            receive_budget: None,
            mss_max: 8_960,
            congestion: CongestionAlgorithm::Cubic,
            ecn: true,
            delayed_ack: Duration::from_millis(40),
            keepalive: None,
            user_timeout: Duration::from_secs(300),
            fin_wait_2: Duration::from_secs(60),
            // Eight SYNs over 255 s: RFC 9293, 3.8.3 asks for three minutes.
            syn_retries: 7,
            syn_ack_retries: 5,
            challenge_acks_per_second: 1_000,
            resets_per_second: 10_000,
            short_cuts: true,
        }
    }
}

/// Memory that a flow is reckoned with: what an idle one costs at most, in bytes.
pub const FLOW_BYTES_MAX: usize = 512;

impl Config {
    /// Limits for an engine that may use `bytes` of memory for its tables (buffers are the pool's).
    #[must_use]
    pub fn for_memory(bytes: usize) -> Self {
        // Three quarters for flows, an eighth for TIME-WAIT records of 64 bytes with their table entry, the rest for
        // half-open handshakes, notes of SYNs and queue nodes.
        Self {
            flows_max: (bytes / 4 * 3 / FLOW_BYTES_MAX).clamp(64, 1 << 24),
            time_wait_max: (bytes / 8 / 64).clamp(64, 1 << 20),
            half_open_max: (bytes / 32 / 128).clamp(64, 1 << 16),
            syn_notes_bytes: (bytes / 32).clamp(1 << 12, 1 << 20),
            ..Self::default()
        }
    }
}
