//! Handshakes that nobody remembers (RFC 4987, 3.6): SYNs that are answered with a cookie, and the ACKs that bring it back.
//!
//! That is so when the SYN cache is full, and when it has another handshake between the same endpoints. The cookies themselves are
//! made in [`crate::cookie`].

use weir_socket::ListenerId;

use super::Engine;
use crate::counters::Counter;
use crate::flow::handshake::{Handshake, syn_window};
use crate::half_open::HalfOpen;
use crate::options::Timestamp;
use crate::reply::Reply;
use crate::segment::{Flags, Origin, Segment};
use crate::shared::Shared;

impl Engine {
    /// Answers a SYN without remembering it.
    pub(super) fn send_cookie(&mut self, mut half_open: HalfOpen) {
        let HalfOpen { tuple, next_hop, handshake, .. } = &mut half_open;
        let clock = Shared::timestamp_clock(self.shared.now, handshake.timestamp_offset);
        let value = self.cookies.bake(handshake, tuple, &self.shared.secrets, (self.shared.now, clock));
        let mut reply = Reply::new(*tuple, *next_hop, handshake.syn_ack_flags(), handshake.iss, handshake.irs + 1);
        reply.header.options = handshake.syn_ack_options(&self.shared);
        reply.header.options.timestamp = value.map(|value| Timestamp { value, echo: handshake.ts_recent });
        reply.header.window = syn_window(&self.shared.limits);
        self.shared.count(Counter::SynCookiesSent);
        self.reply(reply);
    }

    /// Second step of LISTEN: an ACK is bad, unless it carries a cookie.
    pub(super) fn ack_for_listener(&mut self, origin: &Origin, segment: &mut Segment, listener: ListenerId) {
        let opened = self.cookies.open(segment, &origin.tuple, &self.shared.secrets, self.shared.now);
        let Some(handshake) = opened.filter(|_| !segment.flags.has(Flags::SYN)) else {
            if self.cookies.are_in_use(self.shared.now) {
                // It may have overtaken the ACK that carries the cookie: a RST would end a good handshake.
                return self.shared.count(Counter::SynCookiesFailed);
            }
            self.shared.count(Counter::DropNoFlow);
            return self.reset_stray(Reply::reset(origin.tuple, segment));
        };
        self.establish_by_cookie(origin, segment, listener, handshake);
    }

    /// Whether a segment completes another handshake than the one that is remembered between its endpoints: its SYN was answered
    /// with a cookie, before the other one came or because it had. That it came back proves who is really there.
    pub(super) fn completes_by_cookie(&mut self, index: u32, origin: &Origin, segment: &mut Segment) -> bool {
        if !segment.flags.has(Flags::ACK) || segment.flags.has(Flags::SYN) || segment.flags.has(Flags::RST) {
            return false;
        }
        let opened = self.cookies.open(segment, &origin.tuple, &self.shared.secrets, self.shared.now);
        let Some(handshake) = opened else { return false };
        let listener = self.half_open.get(index).listener;
        self.forget_half_open(index);
        self.establish_by_cookie(origin, segment, listener, handshake);
        true
    }

    fn establish_by_cookie(
        &mut self,
        origin: &Origin,
        segment: &mut Segment,
        listener: ListenerId,
        handshake: Handshake,
    ) {
        self.shared.count(Counter::SynCookiesReceived);
        let mut half_open = HalfOpen::new(origin, listener, handshake, self.shared.now);
        self.establish_with(None, &mut half_open, segment);
    }
}
