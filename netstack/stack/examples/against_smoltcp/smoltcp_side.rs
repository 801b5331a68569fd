//! smoltcp's `Interface` as the server. Every connection is a socket that listened; one more waits for the next.

use std::hint::black_box;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::client::sequence_behind;
use super::{SERVER, SERVER_MAC, Server, TEXT, Work};

const BUFFER_BYTES: usize = 2_048;
const BUFFER_BYTES_BULK: usize = 65_535;

static BULK: [u8; BUFFER_BYTES_BULK] = [b'z'; BUFFER_BYTES_BULK];

pub(crate) struct Smoltcp {
    interface: Interface,
    device: Wire,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
    /// Those that stay open.
    connections: usize,
    now_us: i64,
}

/// A device that takes frames from a slice, and looks at headers only of what is sent.
struct Wire {
    arrived: Option<Vec<u8>>,
    out: Vec<u8>,
    sent: (u32, u64),
}

pub(crate) struct Arrived(Vec<u8>);
pub(crate) struct Departing<'a>(&'a mut Vec<u8>, &'a mut (u32, u64));

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let answer = f(&mut self.0[..len]);
        if let Some(sequence) = sequence_behind(&self.0[..len], 0) {
            *self.1 = (sequence, self.1.1 + 1);
        }
        answer
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Departing<'_>)> {
        Some((Arrived(self.arrived.take()?), Departing(&mut self.out, &mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Departing<'_>> {
        Some(Departing(&mut self.out, &mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

fn socket(bytes: usize) -> Socket<'static> {
    let mut socket = Socket::new(SocketBuffer::new(vec![0; bytes]), SocketBuffer::new(vec![0; bytes]));
    socket.listen(80).expect("a port");
    socket
}

impl Server for Smoltcp {
    fn new(connections: usize, is_bulk: bool) -> Self {
        let mut device = Wire { arrived: None, out: vec![0; 1_514], sent: (0, 0) };
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(SERVER_MAC)));
        let mut interface = Interface::new(config, &mut device, Instant::from_secs(1));
        let [a, b, c, d] = SERVER;
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(a, b, c, d), 24)).expect("room for an address");
        });
        let mut sockets = SocketSet::new(Vec::with_capacity(connections + 1));
        let first = if is_bulk { BUFFER_BYTES_BULK } else { BUFFER_BYTES };
        let handles = vec![sockets.add(socket(first))];
        Self { interface, device, sockets, handles, connections, now_us: 1_000_000 }
    }

    fn turn(&mut self, frames: &[Vec<u8>], work: Work) {
        self.now_us += 10;
        let now = Instant::from_micros(self.now_us);
        for frame in frames {
            self.device.arrived = Some(frame.clone());
            self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets);
        }
        self.work(work);
        self.interface.poll_egress(now, &mut self.device, &mut self.sockets);
        black_box(self.interface.poll_at(now, &self.sockets));
    }

    fn sent(&self) -> (u32, u64) {
        self.device.sent
    }
}

impl Smoltcp {
    fn work(&mut self, work: Work) {
        match work {
            Work::Nothing => {}
            // The socket behind those that stay open is used again and again: nothing is allocated for it.
            Work::Accept(number) if number < self.connections => {
                self.handles.push(self.sockets.add(socket(BUFFER_BYTES)));
            }
            Work::Accept(_) => {}
            Work::Answer(first, count) => (first..first + count).for_each(|number| self.read(number, true)),
            Work::Read(number) => self.read(number, false),
            Work::Send(number) => {
                let socket = self.socket(number);
                while socket.send_slice(&BULK).is_ok_and(|len| len > 0) {}
            }
            Work::Close(number) => self.socket(number).close(),
            Work::Forget(number) => {
                let socket = self.socket(number);
                socket.abort();
                socket.listen(80).expect("a port");
            }
        }
    }

    fn socket(&mut self, number: usize) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handles[number])
    }

    fn read(&mut self, number: usize, is_answered: bool) {
        let socket = self.socket(number);
        while socket.recv(|bytes| (black_box(&*bytes).len(), bytes.len())).is_ok_and(|len| len > 0) {
            if is_answered {
                socket.send_slice(&TEXT).expect("room");
            }
        }
    }
}
