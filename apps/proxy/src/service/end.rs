//! How connections end: in order, in time, or because the other side went.

use weir_socket::{Readiness, Received, Sockets};

use super::serve::Reply;
use super::{LINGER_MAX, Service, Step};
use crate::counters::Incident;
use crate::exchange::ResponseState;
use crate::front::FrontState;
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// [`FrontState::Flush`]: ends our direction when everything is queued.
    #[inline(never)]
    pub(super) fn flush(&mut self, net: &mut impl Sockets, key: Key, linger: bool) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        match front.outbox.flush(net, front.flow) {
            Ok(true) => {}
            Ok(false) => return Step::Wait,
            Err(_) => return self.drop_front(net, key, true),
        }
        // A close with unread bytes is a reset, which may overtake the response (RFC 9112 9.6).
        let is_quiet = !linger && front.inbox.is_empty();
        match if is_quiet { net.receive(front.flow) } else { Received::Nothing } {
            Received::Nothing if !is_quiet => {}
            Received::Data(_) => {}
            Received::Nothing | Received::End | Received::Closed(_) => return self.drop_front(net, key, false),
        }
        front.inbox = Default::default();
        net.shutdown(front.flow);
        front.state = FrontState::Linger { until: net.now() + LINGER_MAX };
        front.timer.set(net, front.flow, net.now() + self.times.linger);
        Step::Again
    }

    /// [`FrontState::Linger`]: drops what the client still sends, until it has seen our end. One that sends a long body reads
    /// the response when it has sent all of it, or when it looks: a reset before could take the response along.
    #[inline(never)]
    pub(super) fn linger(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::Linger { until } = front.state else { return Step::Again };
        match net.receive(front.flow) {
            Received::Data(_) => {
                front.timer.set(net, front.flow, until.min(net.now() + self.times.linger));
                Step::Again
            }
            Received::Nothing => Step::Wait,
            Received::End | Received::Closed(_) => self.drop_front(net, key, false),
        }
    }

    /// Gives a client's connection back.
    pub(super) fn drop_front(&mut self, net: &mut impl Sockets, key: Key, abort: bool) -> Step {
        self.take_back(net, key, true);
        if self.is_watchful {
            self.close_entry(key, net.now());
        }
        if self.is_counting {
            self.dismiss(key);
        }
        let Some(mut front) = self.fronts.remove(key) else { return Step::Wait };
        let is_cut = !front.outbox.is_empty();
        front.outbox.clear();
        if abort || is_cut {
            net.abort(front.flow);
        } else {
            net.close(front.flow);
        }
        self.counters.open_fronts -= 1;
        Step::Wait
    }

    /// The client's flow is gone, or it ended in the middle of a request.
    pub(super) fn client_gone(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        if matches!(front.state, FrontState::Exchange(_) | FrontState::Drain { .. }) {
            self.mishap(key, Incident::ClientGone);
        }
        self.drop_front(net, key, true);
    }

    /// An event of a connection that waits for reuse: it is over, unless it is only the timer and too early.
    pub(super) fn idle_event(&mut self, net: &mut impl Sockets, key: Key, ready: Readiness) {
        let Some(back) = self.backs.table.get_mut(key) else { return };
        if ready == Readiness::TIMER && !back.timer.fired(net, back.flow) {
            return;
        }
        // Room in the send queue concerns nobody who has nothing to send.
        if ready == Readiness::WRITABLE {
            return;
        }
        if let Some(upstream) = self.upstreams.get_mut(usize::from(back.pool)) {
            self.backs.unlink(&mut self.counters, upstream, key);
        }
        self.backs.close_idle(net, &mut self.counters, key);
    }

    /// The client's timer fired.
    pub(super) fn front_timer(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        if !front.timer.fired(net, front.flow) {
            return;
        }
        match &front.state {
            FrontState::Head if front.inbox.is_empty() => {
                self.counters.incident(match (front.outbox.is_empty(), front.has_served) {
                    (false, _) => Incident::ClientTimeout,
                    (true, true) => Incident::KeepAliveTimeout,
                    (true, false) => Incident::HeadTimeout,
                });
                self.drop_front(net, key, false);
            }
            FrontState::Head => {
                self.counters.incident(Incident::HeadTimeout);
                front.inbox = Default::default();
                self.answer_error(net, key, 408, Reply::LAST);
                self.drive(net, key);
            }
            FrontState::Exchange(_) => self.exchange_timeout(net, key),
            FrontState::ProxyHeader(_) | FrontState::Hello(_) => {
                self.counters.incident(Incident::PrefaceTimeout);
                self.drop_front(net, key, true);
            }
            FrontState::Drain { .. } | FrontState::Flush { .. } => {
                self.mishap(key, Incident::ClientTimeout);
                self.drop_front(net, key, true);
            }
            FrontState::Linger { .. } => {
                self.drop_front(net, key, true);
            }
        }
    }

    /// Nothing moved for too long: whose turn was it?
    fn exchange_timeout(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let FrontState::Exchange(exchange) = &front.state else { return };
        if exchange.is_queued {
            self.mishap(key, Incident::QueueTimeout);
            self.fail(net, key, 503);
            return self.drive(net, key);
        }
        let Some(back) = exchange.back.and_then(|back| self.backs.table.get_mut(back)) else { return };
        let is_request_stuck = !exchange.request.is_complete() && back.outbox.is_empty();
        let is_begun = matches!(exchange.response, ResponseState::Body { .. });
        if !back.is_established {
            self.mishap(key, Incident::ConnectTimeout);
            self.connect_failed(net, key, 504);
        } else if matches!(exchange.response, ResponseState::Tunnel(_)) {
            self.mishap(key, Incident::TunnelTimeout);
            self.drop_front(net, key, true);
        } else if is_begun && !front.outbox.is_empty() {
            self.mishap(key, Incident::ClientTimeout);
            self.drop_front(net, key, true);
        } else if is_begun {
            self.mishap(key, Incident::ServerTimeout);
            self.server_failed(net, key);
            self.fail(net, key, 504);
        } else if is_request_stuck {
            self.mishap(key, Incident::ClientTimeout);
            self.fail(net, key, 408);
        } else {
            self.mishap(key, Incident::FirstByteTimeout);
            self.server_failed(net, key);
            self.fail(net, key, 504);
        }
        self.drive(net, key);
    }
}
