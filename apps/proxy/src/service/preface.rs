//! What comes before a connection's own bytes: the PROXY header of a proxy in front, and the ClientHello whose name chooses
//! the route.

use alloc::boxed::Box;
use alloc::vec::Vec;

use weir_config::contains_address;
use weir_packet::Chunk;
use weir_socket::{Received, Sockets};

use super::listener::Entry;
use super::{Service, Step, Target};
use crate::client_hello::{self, Hello, RECORD_BYTES_MAX};
use crate::counters::Incident;
use crate::exchange::Head;
use crate::front::FrontState;
use crate::metrics::MetricsSource;
use crate::proxy_header;
use crate::slab::Key;

/// Bytes that are read before a connection begins.
#[derive(Default)]
pub(crate) struct Preface {
    bytes: Vec<u8>,
    /// The same as they came, to be sent on.
    chunks: Vec<Chunk>,
    /// Not worth reading before there are so many.
    needs: usize,
}

impl Preface {
    /// None: there is no memory.
    fn add(&mut self, chunk: Chunk) -> Option<()> {
        self.bytes.try_reserve(chunk.len()).ok()?;
        self.chunks.try_reserve(1).ok()?;
        self.bytes.extend_from_slice(&chunk);
        self.chunks.push(chunk);
        Some(())
    }
}

impl<M: MetricsSource> Service<M> {
    /// A client's connection begins, or goes on behind its PROXY header.
    pub(super) fn enter(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(listener) = self.listeners.get(usize::from(front.listener)) else { return };
        match listener.entry {
            Entry::Http => front.state = FrontState::Head,
            Entry::Tcp(pool) => self.begin_tunnel(net, key, pool, Head::None),
            Entry::Hello => {
                front.state = FrontState::Hello(Box::default());
                front.timer.set(net, front.flow, net.now() + self.times.proxy_header);
            }
        }
    }

    /// Whether a client's address is one of a proxy that is believed. False: the connection is refused.
    pub(super) fn check_proxy(&mut self, net: &mut impl Sockets, key: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let Some(listener) = self.listeners.get(usize::from(front.listener)) else { return false };
        let peer = net.peer_address(front.flow);
        front.is_trusted = peer.is_some_and(|peer| contains_address(&listener.trusted, peer.ip()));
        if !listener.proxy_protocol {
            return true;
        }
        if front.is_trusted {
            front.state = FrontState::ProxyHeader(Box::default());
            front.timer.set(net, front.flow, net.now() + self.times.proxy_header);
            return true;
        }
        self.counters.incident(Incident::UntrustedProxy);
        self.drop_front(net, key, true);
        false
    }

    /// [`FrontState::ProxyHeader`].
    #[inline(never)]
    pub(super) fn read_proxy_header(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::ProxyHeader(preface) = &mut front.state else { return Step::Again };
        let mut chunk = match front.inbox.next(net, front.flow) {
            Received::Data(chunk) => chunk,
            Received::Nothing => return Step::Wait,
            Received::End | Received::Closed(_) => return self.drop_front(net, key, false),
        };
        let before = preface.bytes.len();
        if preface.add(chunk.clone()).is_none() {
            self.no_buffer(net, key);
            return Step::Wait;
        }
        match proxy_header::parse(&preface.bytes) {
            Ok(None) => Step::Again,
            Ok(Some(header)) => {
                chunk.advance(header.len.saturating_sub(before));
                front.inbox.keep(chunk);
                front.ends = header.ends.map(Box::new);
                // Whoever speaks through the proxy is a stranger until its own address says otherwise.
                let listener = self.listeners.get(usize::from(front.listener));
                if let (Some(ends), Some(listener)) = (header.ends, listener) {
                    front.is_trusted = contains_address(&listener.trusted, ends.source.ip());
                }
                front.timer.set(net, front.flow, net.now() + self.times.head);
                // Only now it is known whose connection it is.
                if self.admit_connection(net, key) && self.let_in(net, key) {
                    self.enter(net, key);
                }
                Step::Again
            }
            Err(proxy_header::NotAHeader) => {
                self.counters.incident(Incident::BadProxyHeader);
                self.drop_front(net, key, true)
            }
        }
    }

    /// [`FrontState::Hello`].
    #[inline(never)]
    pub(super) fn read_hello(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::Hello(preface) = &mut front.state else { return Step::Again };
        match front.inbox.next(net, front.flow) {
            Received::Data(chunk) => {
                if preface.add(chunk).is_none() {
                    self.no_buffer(net, key);
                    return Step::Wait;
                }
            }
            Received::Nothing => return Step::Wait,
            Received::End | Received::Closed(_) => return self.drop_front(net, key, false),
        }
        if preface.bytes.len() < preface.needs {
            return Step::Again;
        }
        match client_hello::server_name(&preface.bytes) {
            Ok(Hello::Needs(needs)) if needs <= RECORD_BYTES_MAX => preface.needs = needs,
            Ok(Hello::Name(name)) => {
                let chunks = core::mem::take(&mut preface.chunks);
                self.route_hello(net, key, &name, chunks);
            }
            Ok(Hello::Needs(_)) | Err(client_hello::NotAHello) => {
                self.counters.incident(Incident::BadClientHello);
                return self.drop_front(net, key, true);
            }
        }
        Step::Again
    }

    fn route_hello(&mut self, net: &mut impl Sockets, key: Key, name: &[u8], chunks: Vec<Chunk>) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(listener) = self.listeners.get(usize::from(front.listener)) else { return };
        match listener.router.find(b"/", || name) {
            Some(Target::Pool { pool, .. }) => self.begin_tunnel(net, key, pool, Head::Many(chunks)),
            _ => {
                self.counters.incident(Incident::NoRoute);
                self.drop_front(net, key, true);
            }
        }
    }
}
