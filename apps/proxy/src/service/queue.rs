//! Requests that wait because all servers of their pool have as many as they may.

use alloc::collections::VecDeque;

use weir_socket::Sockets;

use super::Service;
use crate::counters::Incident;
use crate::front::Front;
use crate::metrics::MetricsSource;
use crate::slab::{Key, Slab};
use crate::upstream::{Choice, Offer, Trade, Upstream};

/// Clients that went while they waited are cleared away when the queue is this much longer than it has to be.
const GONE_MAX: usize = 64;

impl<M: MetricsSource> Service<M> {
    /// Lets a request wait for a server with room.
    #[cold]
    pub(super) fn enqueue(&mut self, net: &mut impl Sockets, key: Key, pool: u16) {
        let Self { fronts, upstreams, .. } = self;
        let Some(upstream) = upstreams.get_mut(usize::from(pool)) else { return };
        if upstream.queue.len() > upstream.queued as usize + GONE_MAX {
            upstream.queue.retain(|&key| is_queued(fronts, key));
        }
        if upstream.queued >= upstream.queue_max || upstream.queue.try_reserve(1).is_err() {
            self.mishap(key, Incident::QueueFull);
            return self.fail(net, key, 503);
        }
        upstream.queue.push_back(key);
        upstream.queued += 1;
        self.counters.queued += 1;
        let Some(front) = fronts.get_mut(key) else { return };
        front.timer.set(net, front.flow, net.now() + self.times.queue);
        if let Some(exchange) = front.exchange_mut() {
            exchange.is_queued = true;
        }
        self.wish_for_share(pool);
    }

    /// Asks the other cores for a share of one of the pool's servers.
    fn wish_for_share(&mut self, pool: u16) {
        let (core, cores) = (self.core, self.cores);
        let upstream = self.upstreams.get_mut(usize::from(pool)).filter(|_| cores > 1);
        let Some(server) = upstream.and_then(Upstream::wish) else { return };
        let wish = Trade { pool, server, offer: Offer::Wish(core) };
        self.trades.extend((0..cores).filter(|&other| other != core).map(|other| (other, wish)));
    }

    /// What another core is to be told about shares, and which one; to be asked in every turn.
    #[inline]
    pub fn poll_trade(&mut self) -> Option<(u16, Trade)> {
        self.trades.pop_front()
    }

    /// What [`poll_trade`](Self::poll_trade) gave and the way to the core has no room for: it will be given again.
    #[cold]
    pub fn refuse_trade(&mut self, core: u16, trade: Trade) {
        self.trades.push_front((core, trade));
    }

    /// What another core says about shares.
    #[cold]
    pub fn apply_trade(&mut self, net: &mut impl Sockets, trade: Trade) {
        let Trade { pool, server, offer } = trade;
        let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
        match offer {
            Offer::Wish(core) => upstream.hear_wish(server, core),
            Offer::Share => upstream.hear_share(server, net.now()),
        }
        self.backs.freed.push(pool);
    }

    /// Gives shares that are to spare to cores that wish for them.
    fn give_shares(&mut self, net: &impl Sockets, pool: u16) {
        let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
        while let Some((server, core)) = upstream.give_share(net.now()) {
            self.trades.push_back((core, Trade { pool, server, offer: Offer::Share }));
        }
    }

    /// The request does not wait any more. Its place is found empty later.
    #[cold]
    pub(super) fn dequeue(&mut self, key: Key) {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
        exchange.is_queued = false;
        self.counters.queued -= 1;
        if let Some(upstream) = self.upstreams.get_mut(usize::from(exchange.pool)) {
            upstream.queued -= 1;
        }
    }

    /// Servers have got room: begins what waits for them, in the order it came.
    #[cold]
    pub(super) fn serve_queues(&mut self, net: &mut impl Sockets) {
        while let Some(pool) = self.backs.freed.pop() {
            self.give_shares(net, pool);
            while let Some(key) = self.next_queued(pool) {
                let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { break };
                let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { break };
                let Choice::Server(server) = upstream.choose(net.now(), exchange.hash) else { break };
                exchange.server = server;
                let may_reuse = exchange.is_replayable;
                upstream.queue.pop_front();
                self.dequeue(key);
                self.attempt(net, key, may_reuse);
                self.drive(net, key);
            }
            if self.next_queued(pool).is_some() {
                self.wish_for_share(pool);
            }
        }
    }

    /// Places of a pool's queue, those of clients that have gone included.
    #[cfg(test)]
    pub(crate) fn queue_places(&self, pool: usize) -> usize {
        self.upstreams.get(pool).map_or(0, |upstream| upstream.queue.len())
    }

    /// The client that waits the longest.
    fn next_queued(&mut self, pool: u16) -> Option<Key> {
        let queue: &mut VecDeque<Key> = &mut self.upstreams.get_mut(usize::from(pool))?.queue;
        while let Some(&key) = queue.front() {
            if is_queued(&mut self.fronts, key) {
                return Some(key);
            }
            queue.pop_front();
        }
        None
    }
}

fn is_queued(fronts: &mut Slab<Front>, key: Key) -> bool {
    let exchange = fronts.get_mut(key).and_then(|front| front.exchange_mut());
    exchange.is_some_and(|exchange| exchange.is_queued)
}
