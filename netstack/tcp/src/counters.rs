//! What the engine counts. Names follow Linux' `nstat` where the meaning is the same.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Something that is counted: an event, or the reason why a segment was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        const NAMES: [&str; [$($name),*].len()] = [$($name),*];
    };
}

counters! {
    /// Segments received, good or bad.
    SegmentsIn => "segments_in",
    /// Segments sent, retransmissions included.
    SegmentsOut => "segments_out",
    /// Segments sent again.
    SegmentsRetransmitted => "segments_retransmitted",
    /// RSTs sent.
    ResetsOut => "resets_out",
    /// Flows opened by us.
    ActiveOpens => "active_opens",
    /// Flows opened by a peer and established.
    PassiveOpens => "passive_opens",
    /// Opens that failed.
    AttemptFails => "attempt_fails",
    /// Established flows that were reset by the peer.
    ResetsIn => "resets_in",
}

/// The values of all [`Counter`]s.
#[derive(Debug, Clone)]
pub struct Counters([u64; NAMES.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; NAMES.len()])
    }
}

impl Counters {
    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// All counters by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.into_iter().zip(self.0)
    }

    /// Counts one.
    #[inline]
    pub(crate) fn count(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }
}

/// How many of what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Flows in each state, in the order of [`FlowState`].
    pub flows: [u32; FlowState::COUNT],
    /// TIME-WAIT records.
    pub time_wait: u32,
    /// Half-open passive handshakes (SYN-RECEIVED).
    pub half_open: u32,
    /// Listeners (LISTEN).
    pub listeners: u32,
    /// Bytes queued for sending or not yet acknowledged, all flows.
    pub send_queued: u64,
    /// Bytes received and not yet read, all flows.
    pub receive_queued: u64,
}

/// The states of RFC 9293, 3.3.2, in which a flow has a slot of its own. LISTEN, passive SYN-RECEIVED and TIME-WAIT are
/// other kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum FlowState {
    /// SYN-SENT.
    SynSent,
    /// SYN-RECEIVED after a simultaneous open.
    SynReceived,
    /// ESTABLISHED.
    Established,
    /// FIN-WAIT-1.
    FinWait1,
    /// FIN-WAIT-2.
    FinWait2,
    /// CLOSE-WAIT.
    CloseWait,
    /// CLOSING.
    Closing,
    /// LAST-ACK.
    LastAck,
    /// Ended; the application has not given the flow back yet.
    Ended,
}

impl FlowState {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// All, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::Ended,
    ];

    /// The name for a metrics label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::Established => "established",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::CloseWait => "close_wait",
            Self::Closing => "closing",
            Self::LastAck => "last_ack",
            Self::Ended => "ended",
        }
    }
}
