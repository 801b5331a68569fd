//! What a shard counts: every dropped frame by its reason, and events worth a number.

/// Defines an enum whose variants are the rows of a table, each with the name it has in metrics.
macro_rules! table {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident => $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

table! {
    /// Why a frame or a packet went no further.
    DropReason {
        /// Shorter than its headers, or than its length field says.
        Truncated => "truncated",
        /// Its Ethernet address is another station's.
        OtherStation => "other_station",
        /// An EtherType that the stack does not speak, VLAN tags included.
        UnknownEtherType => "unknown_ethertype",
        /// An ARP packet for other hardware or another protocol, or one that contradicts itself.
        ArpMalformed => "arp_malformed",
        /// An ARP reply that nobody asked for, about a neighbour that nobody knows.
        ArpUnsolicited => "arp_unsolicited",
        /// An ARP request for an address that is not ours.
        ArpOtherHost => "arp_other_host",
        /// A version or header length that IP does not have.
        IpMalformed => "ip_malformed",
        /// IPv4 options: refused as a whole, source routes among them (RFC 7126).
        Ipv4Options => "ipv4_options",
        /// IPv6 extension headers, other than fragments.
        Ipv6Extension => "ipv6_extension",
        /// The IPv4 header's checksum is wrong.
        IpChecksum => "ip_checksum",
        /// A fragment: reassembly is not done.
        Fragment => "fragment",
        /// A source or destination that must not appear on a wire (RFC 1122 3.2.1.3, RFC 4291 2.5).
        Martian => "martian",
        /// An IP destination that is not ours.
        OtherHost => "other_host",
        /// A transport protocol that the stack does not speak.
        UnknownProtocol => "unknown_protocol",
        /// An ICMP message with a wrong checksum.
        IcmpChecksum => "icmp_checksum",
        /// An ICMP message that is not for this host to act on, or cut short.
        IcmpIgnored => "icmp_ignored",
        /// An echo request beyond the rate that is answered.
        IcmpRateLimited => "icmp_rate_limited",
        /// An ICMP error whose quoted packet is none that we sent.
        IcmpErrorInvalid => "icmp_error_invalid",
        /// An ICMP error that belongs to no flow, or beyond the rate that is passed on.
        IcmpErrorStray => "icmp_error_stray",
        /// A UDP datagram to a port nobody listens on.
        UdpNoListener => "udp_no_listener",
        /// A UDP datagram whose length contradicts itself, or that is longer than a buffer.
        UdpMalformed => "udp_malformed",
        /// A UDP datagram with a wrong checksum, or over IPv6 with none.
        UdpChecksum => "udp_checksum",
        /// A UDP datagram for another core, beyond the rate at which they are passed on.
        UdpLimited => "udp_limited",
        /// More UDP datagrams than a port's queue, or the device's, holds.
        UdpQueueFull => "udp_queue_full",
        /// A UDP datagram of ours that is longer than the link carries.
        UdpTooLong => "udp_too_long",
        /// More frames for the control plane than it has room for.
        ControlQueueFull => "control_queue_full",
        /// More answers (ARP, ICMP) than the device takes.
        ReplyQueueFull => "reply_queue_full",
        /// More packets to ourselves than the loopback queue holds.
        LoopbackQueueFull => "loopback_queue_full",
        /// More packets wait for their neighbour's address than the queue holds.
        NeighbourQueueFull => "neighbour_queue_full",
        /// The neighbour did not answer, and the packet that waited for it was given up.
        NeighbourUnreachable => "neighbour_unreachable",
        /// Nothing leads to the destination.
        NoRoute => "no_route",
        /// No buffer was free.
        NoBuffer => "no_buffer",
        /// Headers did not fit in front of the packet.
        NoHeadroom => "no_headroom",
        /// The device did not take the frame.
        DeviceRefused => "device_refused",
        /// A segment of no flow of this core, beyond the rate at which other cores are asked.
        StrayLimited => "stray_limited",
        /// The ring to another core was full.
        RingFull => "ring_full",
    }
}

table! {
    /// What happened, and how often.
    Event {
        /// Frames taken from the device.
        FrameReceived => "frames_received",
        /// TCP segments handled on the core where they arrived.
        SegmentLocal => "segments_local",
        /// Frames passed to the core that owns their flow.
        FrameForwarded => "frames_forwarded",
        /// Frames that arrived at another core than the device's hash predicts.
        Mispredicted => "mispredicted",
        /// Flows that we opened with a source port whose answers arrive elsewhere: no other was free.
        SourcePortElsewhere => "source_port_elsewhere",
        /// Frames taken over from other cores.
        FrameTakenOver => "frames_taken_over",
        /// Segments of no flow of this core for which the other cores were asked.
        StrayAsked => "strays_asked",
        /// Segments that arrived at another core, of flows of this core.
        StrayFound => "strays_found",
        /// Segments for which all cores were asked in vain.
        StrayLost => "strays_lost",
        /// Segments of TCP given to the device.
        SegmentTransmitted => "segments_transmitted",
        /// Packets from ourselves to ourselves.
        LoopbackDelivered => "loopback_delivered",
        /// ARP requests sent.
        ArpRequestSent => "arp_requests_sent",
        /// ARP requests answered.
        ArpReplySent => "arp_replies_sent",
        /// Another station claims an address of ours.
        AddressConflict => "address_conflicts",
        /// A new lease was given back, for another station has its address.
        AddressDeclined => "addresses_declined",
        /// A known neighbour has a new Ethernet address.
        NeighbourMoved => "neighbour_moved",
        /// A neighbour was not remembered: the table is full of ones in use.
        NeighbourTableFull => "neighbour_table_full",
        /// Neighbours that did not answer.
        NeighbourFailed => "neighbour_failed",
        /// Echo requests answered.
        EchoReplySent => "echo_replies_sent",
        /// ICMP errors given to TCP.
        IcmpErrorDelivered => "icmp_errors_delivered",
        /// UDP datagrams of ours.
        DatagramSent => "datagrams_sent",
        /// UDP datagrams that arrived at a bound port.
        DatagramReceived => "datagrams_received",
        /// Connects refused because all source ports towards the peer are taken: no source port left.
        NoSourcePort => "no_source_port",
        /// Messages to other cores.
        MessageSent => "messages_sent",
        /// Messages from other cores.
        MessageReceived => "messages_received",
    }
}

/// The counters of one shard.
#[derive(Debug, Clone)]
pub struct Counters {
    drops: [u64; DropReason::ALL.len()],
    events: [u64; Event::ALL.len()],
}

impl Counters {
    pub(crate) const fn new() -> Self {
        Self { drops: [0; DropReason::ALL.len()], events: [0; Event::ALL.len()] }
    }

    #[inline(always)]
    pub(crate) fn dropped(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    #[inline(always)]
    pub(crate) fn count(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// How often something was dropped for `reason`.
    #[must_use]
    pub const fn drops_for(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// How often `event` happened.
    #[must_use]
    pub const fn events_of(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// All drops: name and count.
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason.name(), self.drops_for(reason)))
    }

    /// All events: name and count.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Event::ALL.iter().map(|&event| (event.name(), self.events_of(event)))
    }

    /// Frames and packets dropped, for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.drops.iter().sum()
    }
}
