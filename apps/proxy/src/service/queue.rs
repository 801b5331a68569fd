//! Requests that wait because all servers of their pool have as many as they may.

use alloc::collections::VecDeque;

use weir_socket::Sockets;

use super::Service;
use crate::counters::Incident;
use crate::front::Front;
use crate::metrics::MetricsSource;
use crate::slab::{Key, Slab};
use crate::upstream::Choice;

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
        }
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
