//! Connections to servers, and those among them that wait for reuse.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use weir_socket::{ConnectError, FlowId, Instant, Received, Sockets};

use crate::counters::Counters;
use crate::slab::{Key, Slab};
use crate::stream::{Inbox, Outbox};
use crate::timer::Timer;
use crate::token::Owner;
use crate::upstream::Upstream;

/// One connection to a server.
pub(crate) struct Back {
    pub flow: FlowId,
    pub pool: u16,
    pub server: u16,
    /// How often the server had moved when it was connected to.
    pub moves: u32,
    /// The client it works for; idle without one.
    pub front: Option<Key>,
    pub is_established: bool,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub timer: Timer,
    /// Neighbours in the list of the server's idle connections.
    newer: Option<u32>,
    older: Option<u32>,
}

/// All connections to servers of one core.
///
/// Each server has a list of idle ones, linked through the table, the newest first: the one that was used last is used
/// next, so that the surplus ages and is closed. Taking, adding and removing are O(1).
pub(crate) struct Backs {
    pub table: Slab<Back>,
    /// Pools where requests wait and a server has got room.
    pub freed: Vec<u16>,
}

impl Backs {
    /// Room for one connection per client and as many idle ones.
    pub(crate) fn new(clients: usize) -> Result<Self, TryReserveError> {
        Ok(Self { table: Slab::new(clients.saturating_mul(2))?, freed: Vec::new() })
    }

    /// Opens a connection to a server for a client.
    pub(crate) fn connect(
        &mut self,
        net: &mut impl Sockets,
        counters: &mut Counters,
        upstream: &mut Upstream,
        (pool, server): (u16, u16),
        front: Key,
    ) -> Result<Key, ConnectError> {
        let key = self.table.vacant_key().ok_or(ConnectError::TableFull)?;
        let address = upstream.server_mut(server).and_then(|server| server.address).ok_or(ConnectError::NoRoute)?;
        let flow = net.connect_from(upstream.sources(), address, Owner::Back(key).token())?;
        upstream.occupy(server, net.now());
        counters.open_backs += 1;
        let back = Back {
            flow,
            pool,
            server,
            moves: upstream.moves(server),
            front: Some(front),
            is_established: false,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            timer: Timer::new(),
            newer: None,
            older: None,
        };
        Ok(self.table.insert(back).unwrap_or(key))
    }

    /// Takes the newest idle connection of a server that is still alive; `stale` is told of every dead one.
    pub(crate) fn take_idle(
        &mut self,
        net: &mut impl Sockets,
        counters: &mut Counters,
        upstream: &mut Upstream,
        server: u16,
        front: Key,
    ) -> Option<Key> {
        loop {
            let index = upstream.server_mut(server)?.newest_idle?;
            let key = self.table.key_at(index)?;
            self.unlink(counters, upstream, key);
            let back = self.table.get_mut(key)?;
            // What the server sent meanwhile is its farewell, or nonsense.
            if matches!(net.receive(back.flow), Received::Nothing) {
                back.front = Some(front);
                back.timer.clear();
                upstream.occupy(server, net.now());
                return Some(key);
            }
            counters.incident(crate::counters::Incident::StaleConnection);
            self.close_idle(net, counters, key);
        }
    }

    /// Keeps a connection for reuse.
    pub(crate) fn put_idle(&mut self, counters: &mut Counters, upstream: &mut Upstream, key: Key, now: Instant) {
        let Some(back) = self.table.get_mut(key) else { return };
        if upstream.release(back.server, now) {
            self.freed.push(back.pool);
        }
        let Some(server) = upstream.server_mut(back.server) else { return };
        back.front = None;
        back.newer = None;
        back.older = server.newest_idle.replace(key.index);
        if let Some(older) = back.older.and_then(|older| self.table.at_mut(older)) {
            older.newer = Some(key.index);
        }
        counters.idle_backs += 1;
    }

    /// Removes an idle connection from its server's list.
    pub(crate) fn unlink(&mut self, counters: &mut Counters, upstream: &mut Upstream, key: Key) {
        let Some(back) = self.table.get_mut(key) else { return };
        let (newer, older, server) = (back.newer.take(), back.older.take(), back.server);
        if let Some(older) = older.and_then(|older| self.table.at_mut(older)) {
            older.newer = newer;
        }
        match newer.and_then(|newer| self.table.at_mut(newer)) {
            Some(newer) => newer.older = older,
            None => {
                if let Some(server) = upstream.server_mut(server) {
                    server.newest_idle = older;
                }
            }
        }
        counters.idle_backs -= 1;
    }

    /// Ends a connection that was idle and is not in its list any more.
    pub(crate) fn close_idle(&mut self, net: &mut impl Sockets, counters: &mut Counters, key: Key) {
        self.end(net, counters, key, false);
    }

    /// Ends a connection that works for a client.
    pub(crate) fn close(
        &mut self,
        net: &mut impl Sockets,
        counters: &mut Counters,
        upstreams: &mut [Upstream],
        key: Key,
        abort: bool,
    ) {
        let Some(back) = self.table.get_mut(key) else { return };
        if let Some(upstream) = upstreams.get_mut(usize::from(back.pool))
            && upstream.release(back.server, net.now())
        {
            self.freed.push(back.pool);
        }
        self.end(net, counters, key, abort);
    }

    fn end(&mut self, net: &mut impl Sockets, counters: &mut Counters, key: Key, abort: bool) {
        let Some(back) = self.table.remove(key) else { return };
        if abort || !back.outbox.is_empty() {
            net.abort(back.flow);
        } else {
            net.close(back.flow);
        }
        counters.open_backs -= 1;
    }
}
