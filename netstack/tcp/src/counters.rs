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
    /// Segments sent, retransmissions included; one that the device cuts counts once.
    SegmentsOut => "segments_out",
    /// Segments sent again.
    SegmentsRetransmitted => "segments_retransmitted",
    /// Flows that we began to open.
    ActiveOpens => "active_opens",
    /// Flows opened by a peer and established.
    PassiveOpens => "passive_opens",
    /// Handshakes, of either side, that failed.
    AttemptFails => "attempt_fails",
    /// Synchronised flows that a peer reset.
    ResetsIn => "resets_in",
    /// RSTs sent.
    ResetsOut => "resets_out",
    /// Flows that were reset by us: by the application, or because the peer did not answer.
    Aborts => "aborts",
    /// Dropped: shorter than its header says.
    DropTruncated => "drop_truncated",
    /// Dropped: wrong checksum.
    DropChecksum => "drop_checksum",
    /// Dropped: malformed option.
    DropOption => "drop_option",
    /// Dropped: port 0, or an address that is nobody's.
    DropMartian => "drop_martian",
    /// Dropped and answered with a RST: no flow and no listener.
    DropNoFlow => "drop_no_flow",
    /// A RST that was not sent: too many in this second.
    DropResetLimit => "drop_reset_limit",
    /// An answer that was not sent: too many wait.
    DropReplyQueue => "drop_reply_queue",
    /// Dropped by a listener: a SYN with FIN or RST.
    DropSynFlags => "drop_syn_flags",
    /// ACK of a handshake dropped: the accept queue is full.
    ListenOverflows => "listen_overflows",
    /// A flow was refused: the table is full, or memory is short.
    FlowTableFull => "flow_table_full",
    /// SYNs that were not answered at their first coming: so many had been answered that nobody completed.
    SynsDeferred => "syns_deferred",
    /// SYN-ACKs with a cookie.
    SynCookiesSent => "syn_cookies_sent",
    /// Flows opened by a cookie.
    SynCookiesReceived => "syn_cookies_received",
    /// Segments dropped because they carry no valid cookie, while cookies are being sent.
    SynCookiesFailed => "syn_cookies_failed",
    /// SYN-ACKs sent again.
    SynAckRetransmitted => "syn_ack_retransmitted",
    /// Half-open handshakes forgotten: the ACK never came.
    HalfOpenTimeouts => "half_open_timeouts",
    /// Flows that went to TIME-WAIT.
    TimeWaits => "time_waits",
    /// TIME-WAIT records that made room for a new flow between the same endpoints.
    TimeWaitReused => "time_wait_reused",
    /// TIME-WAIT records dropped before their time for newer ones.
    TimeWaitOverflow => "time_wait_overflow",
    /// Segments with nothing but what was received before.
    OldData => "old_data",
    /// Segments beyond the receive window.
    OutOfWindow => "out_of_window",
    /// Segments that came before the ones they follow.
    OutOfOrder => "out_of_order",
    /// Out-of-order segments dropped: too many are held.
    ReassemblyFull => "reassembly_full",
    /// Out-of-order segments dropped: buffers are short.
    MemoryPressure => "memory_pressure",
    /// Flows whose out-of-order data were dropped, though reported (RFC 2018, 8): buffers are short.
    ReorderedPruned => "reordered_pruned",
    /// Segments in order whose text was dropped: buffers are nearly gone.
    TextRefused => "text_refused",
    /// Flows refused, of a peer or of ours: buffers are nearly gone.
    FlowsRefused => "flows_refused",
    /// Sends refused before the queue was full: buffers are nearly gone.
    SendsRefused => "sends_refused",
    /// Segments dropped for an old timestamp.
    PawsRejected => "paws_rejected",
    /// Segments without the timestamp that was agreed on.
    NoTimestamp => "no_timestamp",
    /// Segments without ACK on a synchronised flow.
    NoAck => "no_ack",
    /// Segments without SYN in SYN-SENT.
    NoSyn => "no_syn",
    /// Segments that acknowledge what was never sent, or is long gone.
    UnacceptableAck => "unacceptable_ack",
    /// Segments with a SYN on a flow or handshake that has had its own (RFC 5961, 4.2).
    SynOnFlow => "syn_on_flow",
    /// RSTs in the window that do not stand at its beginning (RFC 5961, 3.2).
    ResetInexact => "reset_inexact",
    /// SACK blocks that are none, or beyond what was sent.
    SackDiscarded => "sack_discarded",
    /// Segments that came in TIME-WAIT and change nothing (RFC 1337).
    TimeWaitIgnored => "time_wait_ignored",
    /// User timeout options (RFC 5482): heard, not adopted.
    UserTimeoutOptions => "user_timeout_options",
    /// Challenge ACKs (RFC 5961).
    ChallengeAcks => "challenge_acks",
    /// Challenge ACKs that were not sent: too many in this second (RFC 5961, 7).
    ChallengesSkipped => "challenges_skipped",
    /// Flows reset because data came that nobody will read.
    DataAfterClose => "data_after_close",
    /// Segments with data beyond the peer's FIN.
    DataAfterFin => "data_after_fin",
    /// Acknowledgements sent because their delay was over.
    DelayedAcks => "delayed_acks",
    /// Retransmission timeouts.
    RetransmissionTimeouts => "retransmission_timeouts",
    /// Tail loss probes.
    TailLossProbes => "tail_loss_probes",
    /// Episodes of fast recovery.
    FastRecoveries => "fast_recoveries",
    /// Episodes that were undone: nothing had been lost.
    SpuriousRecoveries => "spurious_recoveries",
    /// Timeouts that F-RTO found to be spurious (RFC 5682).
    FrtoSpurious => "frto_spurious",
    /// Duplicates of what was acknowledged, reported to the peer (RFC 2883).
    DsackOldSent => "dsack_old_sent",
    /// Duplicates of what waits out of order, reported to the peer.
    DsackOfoSent => "dsack_ofo_sent",
    /// Duplicates that the peer reported.
    DsackReceived => "dsack_received",
    /// Reductions taken back because all that was sent again was reported as a duplicate (RFC 3708).
    DsackUndone => "dsack_undone",
    /// Losses that a tail loss probe repaired (RFC 8985, 7.4.2).
    ProbeRepairs => "probe_repairs",
    /// Reductions because of an ECN echo.
    EcnReductions => "ecn_reductions",
    /// Probes of a closed window or a silent peer.
    WindowProbes => "window_probes",
    /// Path MTUs lowered by ICMP.
    PathMtuReductions => "path_mtu_reductions",
    /// Path MTUs lowered because full segments timed out in a row and nobody said why (RFC 8899, 4.3).
    PathMtuBlackHoles => "path_mtu_black_holes",
    /// Segments sent to find out whether the path carries more.
    PathMtuProbes => "path_mtu_probes",
    /// Such segments that were lost.
    PathMtuProbesLost => "path_mtu_probes_lost",
    /// Path MTUs raised because such a segment arrived.
    PathMtuRaises => "path_mtu_raises",
    /// ICMP errors that fit no flow, quote nothing that is on its way, or say nothing that counts.
    IcmpIgnored => "icmp_ignored",
    /// Transmissions put off: no buffer was free.
    NoBuffer => "no_buffer",
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
    /// Bytes that receive windows were tuned up by, all flows.
    pub window_tuned: u64,
}

/// The states of RFC 9293, 3.3.2, in which a flow has a slot of its own. LISTEN, passive SYN-RECEIVED and TIME-WAIT are
/// other kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
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
