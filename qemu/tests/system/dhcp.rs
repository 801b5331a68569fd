//! A DHCP server for the guest (RFC 2131), on the host's side of its wire: as dnsmasq on a bridge of the same host, with an ordinary
//! socket, whose checksums the interface is to complete.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use crate::Failed;
use crate::tap::Tap;

/// How often the server looks whether it is to end.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a lease holds, in seconds: it is to be renewed after four (RFC 2131 4.4.5).
const LEASE: u32 = 8;

/// What the server says to whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// Nothing.
    Silent,
    /// That this is its address.
    Gives(Ipv4Addr),
    /// That it cannot have the address that it has; to who has none, nothing.
    Refuses,
}

/// Answers until it is dropped.
pub struct DhcpServer {
    stance: Arc<Mutex<Stance>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DhcpServer {
    /// Begins to answer on a wire.
    pub fn start(tap: &Tap, stance: Stance) -> Result<Self, Failed> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67))?;
        socket.set_read_timeout(Some(PERIOD))?;
        socket.set_broadcast(true)?;
        let (stance, is_over) = (Arc::new(Mutex::new(stance)), Arc::new(AtomicBool::new(false)));
        let (shared, end, host) = (Arc::clone(&stance), Arc::clone(&is_over), tap.host());
        let [a, b, c, _] = host.octets();
        let everybody = SocketAddrV4::new(Ipv4Addr::new(a, b, c, 255), 68);
        let thread = thread::spawn(move || {
            let mut bytes = [0; 1500];
            while !end.load(Ordering::Relaxed) {
                let Ok((len, _)) = socket.recv_from(&mut bytes) else { continue };
                let stance = *shared.lock().expect("nobody panics with the lock");
                if let Some(answer) = answer(&bytes[..len], stance, host) {
                    let _ = socket.send_to(&answer, everybody);
                }
            }
        });
        Ok(Self { stance, is_over, thread: Some(thread) })
    }

    /// From now on.
    pub fn take(&self, stance: Stance) {
        *self.stance.lock().expect("nobody panics with the lock") = stance;
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the server says to a message, if anything (RFC 2131 table 3): the question's own fields, but for those named here.
fn answer(question: &[u8], stance: Stance, host: Ipv4Addr) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(question).ok()?;
    let question = DhcpRepr::parse(&packet).ok()?;
    let (message_type, your_ip) = match (question.message_type, stance) {
        (DhcpMessageType::Discover, Stance::Gives(address)) => (DhcpMessageType::Offer, address),
        (DhcpMessageType::Request, Stance::Gives(address)) => (DhcpMessageType::Ack, address),
        (DhcpMessageType::Request, Stance::Refuses) => (DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED),
        _ => return None,
    };
    let is_lease = message_type != DhcpMessageType::Nak;
    let answer = DhcpRepr {
        message_type,
        secs: 0,
        your_ip,
        router: is_lease.then_some(host),
        subnet_mask: is_lease.then_some(Ipv4Addr::new(255, 255, 255, 0)),
        requested_ip: None,
        server_identifier: Some(host),
        parameter_request_list: None,
        max_size: None,
        lease_duration: is_lease.then_some(LEASE),
        ..question
    };
    let mut bytes = vec![0; answer.buffer_len()];
    answer.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).ok()?;
    Some(bytes)
}
