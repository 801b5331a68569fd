//! LISTEN: who waits for flows, and the flows that wait for them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use weir_socket::{FlowId, ListenError, ListenerId, Token};

use crate::tuple::{Address, Tuple};

pub(crate) struct Listener {
    local: (Address, u16),
    pub token: Token,
    /// Established flows that wait to be accepted.
    pub queue: VecDeque<FlowId>,
    /// In the queue of events.
    pub is_event_queued: bool,
    is_used: bool,
    generation: u16,
}

/// The listeners of an engine.
pub(crate) struct Listeners {
    entries: Vec<Listener>,
    /// Port and address of those in use, in order, and their places.
    index: Vec<(u16, u128, u16)>,
    len_max: usize,
}

impl Listeners {
    pub fn new(len_max: usize) -> Self {
        Self { entries: Vec::new(), index: Vec::new(), len_max: len_max.min(usize::from(u16::MAX)) }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn insert(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError> {
        let address = Address::of_application(local.ip());
        if local.port() == 0 || local.ip().is_multicast() {
            return Err(ListenError::InvalidAddress);
        }
        let Err(at) = self.search(local.port(), address) else { return Err(ListenError::AddressInUse) };
        if self.index.len() == self.len_max {
            return Err(ListenError::TableFull);
        }
        let place = self.entries.iter().position(|listener| !listener.is_used).unwrap_or(self.entries.len());
        let generation = self.entries.get(place).map_or(0, |listener| listener.generation.wrapping_add(1));
        let listener = Listener {
            local: (address, local.port()),
            token,
            queue: VecDeque::new(),
            is_event_queued: false,
            is_used: true,
            generation,
        };
        match self.entries.get_mut(place) {
            Some(entry) => *entry = listener,
            None => self.entries.push(listener),
        }
        self.index.insert(at, (local.port(), address.to_bits(), place as u16));
        Ok(ListenerId(u32::from(generation) << 16 | place as u32))
    }

    /// Takes a listener away; answers with what waited there.
    pub fn remove(&mut self, id: ListenerId) -> VecDeque<FlowId> {
        let Some(listener) = self.get_mut(id) else { return VecDeque::new() };
        listener.is_used = false;
        let (queue, (address, port)) = (core::mem::take(&mut listener.queue), listener.local);
        if let Ok(at) = self.search(port, address) {
            self.index.remove(at);
        }
        queue
    }

    #[inline]
    pub fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        let listener = self.entries.get_mut(id.0 as usize & 0xffff)?;
        (listener.is_used && u32::from(listener.generation) == id.0 >> 16).then_some(listener)
    }

    /// The event queue's entry for a listener has been taken out: who it is, if somebody waits there.
    pub fn take_event(&mut self, place: u32) -> Option<(ListenerId, Token)> {
        let listener = self.entries.get_mut(place as usize)?;
        listener.is_event_queued = false;
        let id = ListenerId(u32::from(listener.generation) << 16 | place);
        (listener.is_used && !listener.queue.is_empty()).then_some((id, listener.token))
    }

    /// Who listens for a flow with this local end: the exact address comes before the unspecified one.
    #[inline]
    pub fn find(&self, tuple: &Tuple) -> Option<ListenerId> {
        let (exact, any) = (tuple.local.to_bits(), tuple.local.any().to_bits());
        let first = self.index.partition_point(|&(port, ..)| port < tuple.local_port());
        let mut found = None;
        // As many as we have addresses, at most.
        for &(port, address, place) in self.index.get(first..)? {
            if port != tuple.local_port() {
                break;
            }
            if address == exact {
                found = Some(place);
                break;
            }
            if address == any {
                found = Some(place);
            }
        }
        let place = found?;
        Some(ListenerId(u32::from(self.entries[usize::from(place)].generation) << 16 | u32::from(place)))
    }

    fn search(&self, port: u16, address: Address) -> Result<usize, usize> {
        self.index.binary_search_by_key(&(port, address.to_bits()), |&(port, address, _)| (port, address))
    }
}
