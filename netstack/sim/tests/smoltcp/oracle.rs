//! smoltcp's end: its interface, one of its sockets, and a device of two queues.

use std::collections::VecDeque;
use std::net::SocketAddr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::Talk;
use crate::way::{To, Way};

const BUFFER_BYTES: usize = 64 << 10;

pub struct Oracle {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    device: Queues,
    local: SocketAddr,
    pub talk: Talk,
}

#[derive(Default)]
struct Queues {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sent<'q>(&'q mut Vec<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Queues {
    type RxToken<'q> = Received;
    type TxToken<'q> = Sent<'q>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Received(packet), Sent(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ip, 1_500);
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

fn time(now_ns: u64) -> Instant {
    Instant::from_micros((now_ns / 1_000) as i64)
}

impl Oracle {
    pub fn new(local: SocketAddr, seed: u64, talk: Talk) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut device = Queues::default();
        let mut interface = Interface::new(config, &mut device, time(0));
        let prefix = if local.is_ipv4() { 24 } else { 64 };
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::from(local.ip()), prefix)).expect("room for an address");
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        Self { interface, sockets, handle, device, local, talk }
    }

    pub fn listen(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.handle).listen(self.local.port()).expect("a port");
    }

    pub fn connect(&mut self, remote: SocketAddr) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket.connect(self.interface.context(), remote, self.local.port()).expect("a route");
    }

    pub fn turn(&mut self, now_ns: u64, way: &mut Way) {
        while let Some(packet) = way.take(To::Oracle) {
            self.device.incoming.push_back(packet);
        }
        self.interface.poll(time(now_ns), &mut self.device, &mut self.sockets);
        self.talk();
        self.interface.poll(time(now_ns), &mut self.device, &mut self.sockets);
        self.device.outgoing.drain(..).for_each(|packet| way.send(To::Weir, packet));
    }

    fn talk(&mut self) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let talk = &mut self.talk;
        loop {
            let received = socket.recv(|bytes| {
                talk.received.extend_from_slice(bytes);
                (bytes.len(), bytes.len())
            });
            match received {
                Ok(0) | Err(RecvError::InvalidState) => break,
                Ok(_) => {}
                Err(RecvError::Finished) => break talk.saw_end = true,
            }
        }
        if socket.can_send() {
            talk.sent += socket.send_slice(talk.unsent()).unwrap_or(0);
        }
        if socket.may_send() && talk.should_end() {
            socket.close();
            talk.has_ended = true;
        }
    }

    fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    /// Both directions ended in order, as far as smoltcp knows.
    pub fn is_done(&self) -> bool {
        self.talk.saw_end && self.talk.has_ended && matches!(self.state(), State::Closed | State::TimeWait)
    }

    pub fn next_deadline_ns(&mut self, now_ns: u64) -> Option<u64> {
        let at = self.interface.poll_at(time(now_ns), &self.sockets)?;
        Some(at.total_micros() as u64 * 1_000)
    }

    pub fn describe(&self) -> String {
        let Talk { sent, received, has_ended, saw_end, .. } = &self.talk;
        format!("{:?}, sent {sent}, received {}, ended {has_ended}, saw end {saw_end}", self.state(), received.len())
    }
}
