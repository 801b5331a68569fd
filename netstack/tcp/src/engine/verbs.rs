//! What the application asks for: the verbs of [`weir_socket::Sockets`], with the same meaning.

use core::net::SocketAddr;

use weir_packet::Chunk;
use weir_socket::{
    CloseReason, ConnectError, Event, FlowId, Instant, ListenError, ListenerId, Readiness, Received, SendError, Token,
};

use super::Engine;
use super::agenda::LISTENER_EVENT;
use crate::budget::Pressure;
use crate::counters::{Counter, FlowState};
use crate::demux::Target;
use crate::flow::opening::Opening;
use crate::flow::{Common, NotOpen, Outcome, Slot, State};
use crate::link::NextHop;
use crate::time::NEVER;
use crate::tuple::Tuple;

impl Engine {
    /// See [`weir_socket::Sockets::listen`].
    ///
    /// # Errors
    /// As there.
    pub fn listen(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError> {
        self.listeners.insert(local, token)
    }

    /// See [`weir_socket::Sockets::unlisten`].
    pub fn unlisten(&mut self, listener: ListenerId) {
        for flow in self.listeners.remove(listener) {
            if self.flows.get(flow.index()).is_some_and(|slot| slot.generation == flow.generation()) {
                self.conclude(flow.index(), Outcome::Abort(CloseReason::Released));
            }
        }
    }

    /// See [`weir_socket::Sockets::accept`].
    pub fn accept(&mut self, listener: ListenerId, token: Token) -> Option<FlowId> {
        loop {
            let flow = self.listeners.get_mut(listener)?.queue.pop_front()?;
            let slot = &mut self.flows[flow.index()];
            // A flow that ended meanwhile has left its slot.
            if slot.generation != flow.generation() {
                continue;
            }
            let State::Open(open) = &slot.state else { continue };
            slot.common.pending = open.readiness();
            slot.common.is_held = true;
            slot.common.token = token;
            self.settle(flow.index());
            return Some(flow);
        }
    }

    /// Opens a flow from `local` to `remote`. See [`weir_socket::Sockets::connect`].
    ///
    /// # Errors
    /// As there; [`ConnectError::NoSourcePort`] when the pair of endpoints is in use.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        let is_nobody = |address: SocketAddr| {
            let is_broadcast = matches!(address, SocketAddr::V4(v4) if v4.ip().is_broadcast());
            address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() || is_broadcast
        };
        if is_nobody(local) || is_nobody(remote) || local.is_ipv4() != remote.is_ipv4() {
            return Err(ConnectError::InvalidAddress);
        }
        if self.shared.pressure >= Pressure::Exhausted {
            self.shared.count(Counter::FlowsRefused);
            return Err(ConnectError::TableFull);
        }
        let tuple = Tuple::new(local, remote);
        let hash = self.hash(&tuple);
        let mut derived = self.shared.secrets.derive(&tuple, self.shared.now);
        match self.find(&tuple, hash) {
            None => {}
            Some(Target::TimeWait(index)) if self.time_waits.is_reusable(index, self.shared.now) => {
                let record = self.time_waits.remove(index);
                self.forget(index, hash, &record);
                self.shared.count(Counter::TimeWaitReused);
                derived.iss = derived.iss.max(record.snd_nxt + super::input::REUSE_DISTANCE);
            }
            Some(_) => return Err(ConnectError::NoSourcePort),
        }
        let mut common = Common::new(tuple, hash, NextHop::UNKNOWN);
        (common.token, common.is_held, common.output) = (token, true, true);
        let Some(index) = self.add_flow(common, NotOpen::Opening(Opening::new(derived)).into()) else {
            self.shared.count(Counter::FlowTableFull);
            return Err(ConnectError::TableFull);
        };
        self.flows[index].common.holds_source_port = self.source_ports.take(&tuple, self.shared.now);
        self.shared.count(Counter::ActiveOpens);
        self.shared.transition(None, Some(FlowState::SynSent));
        self.settle(index);
        Ok(self.id(index))
    }

    /// See [`weir_socket::Sockets::receive`].
    #[inline]
    pub fn receive(&mut self, flow: FlowId) -> Received {
        let Some(slot) = held(&mut self.flows, flow) else { return Received::Closed(CloseReason::Released) };
        match &mut slot.state {
            State::Open(open) => {
                let received = open.receive(&mut slot.common, &mut self.shared);
                if slot.common.output {
                    self.agenda.enter(flow.index(), slot);
                }
                received
            }
            State::NotOpen(NotOpen::Opening(_)) => Received::Nothing,
            State::NotOpen(NotOpen::Ended(ended)) => match ended.inbox.pop() {
                Some(chunk) => {
                    self.shared.gauges.receive_queued -= chunk.len() as u64;
                    Received::Data(chunk)
                }
                None if ended.fin_received && ended.reason == CloseReason::Finished => Received::End,
                None => Received::Closed(ended.reason),
            },
            State::NotOpen(NotOpen::Vacant) => Received::Closed(CloseReason::Released),
        }
    }

    /// See [`weir_socket::Sockets::send`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        let Some(slot) = held(&mut self.flows, flow) else { return Err(SendError::Closed(CloseReason::Released)) };
        match &mut slot.state {
            State::Open(open) => {
                open.send(chunk, &mut slot.common, &mut self.shared)?;
                self.agenda.enter(flow.index(), slot);
                Ok(())
            }
            State::NotOpen(NotOpen::Opening(opening)) => opening.send(chunk, &mut self.shared),
            State::NotOpen(NotOpen::Ended(ended)) => Err(SendError::Closed(ended.reason)),
            State::NotOpen(NotOpen::Vacant) => Err(SendError::Closed(CloseReason::Released)),
        }
    }

    /// See [`weir_socket::Sockets::send_room`].
    #[must_use]
    pub fn send_room(&self, flow: FlowId) -> usize {
        match self.state(flow) {
            Some(State::Open(open)) => open.send_room(&self.shared),
            Some(State::NotOpen(NotOpen::Opening(opening))) => opening.send_room(&self.shared),
            _ => 0,
        }
    }

    /// See [`weir_socket::Sockets::send_queued`].
    #[must_use]
    pub fn send_queued(&self, flow: FlowId) -> usize {
        match self.state(flow) {
            Some(State::Open(open)) => open.send_queued(),
            Some(State::NotOpen(NotOpen::Opening(opening))) => opening.queue.len() as usize,
            _ => 0,
        }
    }

    /// See [`weir_socket::Sockets::shutdown`].
    pub fn shutdown(&mut self, flow: FlowId) {
        let Some(slot) = held(&mut self.flows, flow) else { return };
        match &mut slot.state {
            State::Open(open) => {
                open.shutdown(&mut self.shared);
                slot.common.output = true;
                self.settle(flow.index());
            }
            State::NotOpen(NotOpen::Opening(opening)) => opening.fin_queued = true,
            State::NotOpen(NotOpen::Vacant | NotOpen::Ended(_)) => {}
        }
    }

    /// See [`weir_socket::Sockets::close`].
    pub fn close(&mut self, flow: FlowId) {
        let Some(slot) = held(&mut self.flows, flow) else { return };
        let goes_on = match &mut slot.state {
            State::Open(open) => open.orphan(&mut slot.common, &mut self.shared),
            _ => false,
        };
        if !goes_on {
            return self.abort(flow);
        }
        Self::give_back(slot);
        self.settle(flow.index());
    }

    /// See [`weir_socket::Sockets::abort`].
    pub fn abort(&mut self, flow: FlowId) {
        let Some(slot) = held(&mut self.flows, flow) else { return };
        Self::give_back(slot);
        match &mut slot.state {
            State::Open(_) | State::NotOpen(NotOpen::Opening(_)) => {
                self.conclude(flow.index(), Outcome::Abort(CloseReason::Released));
            }
            State::NotOpen(NotOpen::Ended(ended)) => {
                self.shared.gauges.receive_queued -= u64::from(ended.inbox.len());
                self.shared.transition(Some(FlowState::Ended), None);
                self.free(flow.index());
            }
            State::NotOpen(NotOpen::Vacant) => {}
        }
    }

    /// See [`weir_socket::Sockets::set_timer`].
    pub fn set_timer(&mut self, flow: FlowId, deadline: Option<Instant>) {
        if let Some(slot) = held(&mut self.flows, flow) {
            slot.common.timers.app = deadline.unwrap_or(NEVER);
            self.settle(flow.index());
        }
    }

    /// See [`weir_socket::Sockets::set_token`].
    pub fn set_token(&mut self, flow: FlowId, token: Token) {
        if let Some(slot) = held(&mut self.flows, flow) {
            slot.common.token = token;
        }
    }

    /// See [`weir_socket::Sockets::set_nagle`].
    pub fn set_nagle(&mut self, flow: FlowId, on: bool) {
        if let Some(slot) = held(&mut self.flows, flow) {
            slot.common.nagle = on;
            slot.common.output = true;
            self.settle(flow.index());
        }
    }

    /// See [`weir_socket::Sockets::local_address`].
    #[must_use]
    pub fn local_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.slot(flow).map(|slot| slot.common.tuple.local())
    }

    /// See [`weir_socket::Sockets::peer_address`].
    #[must_use]
    pub fn peer_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.slot(flow).map(|slot| slot.common.tuple.remote())
    }

    /// See [`weir_socket::Sockets::poll_event`].
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let entry = self.agenda.events.pop_front()?;
            if entry & LISTENER_EVENT != 0 {
                match self.listeners.take_event(entry & !LISTENER_EVENT) {
                    Some((listener, token)) => return Some(Event::Acceptable { listener, token }),
                    None => continue,
                }
            }
            let slot = &mut self.flows[entry];
            slot.is_event_queued = false;
            let ready = core::mem::take(&mut slot.common.pending);
            if slot.common.is_held && ready != Readiness::NONE {
                let flow = FlowId::new(entry, slot.generation);
                return Some(Event::Flow { flow, token: slot.common.token, ready });
            }
        }
    }

    /// Whether [`poll_event`](Self::poll_event) may have something to say.
    #[inline]
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.agenda.events.is_empty()
    }

    /// The application's id becomes stale.
    fn give_back(slot: &mut Slot) {
        slot.generation = slot.generation.wrapping_add(1);
        slot.common.is_held = false;
        slot.common.pending = Readiness::NONE;
        slot.common.timers.app = NEVER;
    }

    fn slot(&self, flow: FlowId) -> Option<&Slot> {
        self.flows.get(flow.index()).filter(|slot| is_held_as(slot, flow))
    }

    fn state(&self, flow: FlowId) -> Option<&State> {
        self.slot(flow).map(|slot| &slot.state)
    }
}

#[inline(always)]
fn is_held_as(slot: &Slot, flow: FlowId) -> bool {
    slot.generation == flow.generation() && slot.common.is_held
}

/// The slot behind an id of the application's, if it is not stale.
#[inline(always)]
pub(super) fn held(flows: &mut crate::slab::Slab<Slot>, flow: FlowId) -> Option<&mut Slot> {
    flows.get_mut(flow.index()).filter(|slot| is_held_as(slot, flow))
}
