//! A DHCP server for the guest (RFC 2131), on the host's side of its wire: as dnsmasq on a bridge of the same host, with an ordinary
//! socket, whose checksums the interface is to complete.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Failed;
use crate::tap::Tap;

/// How often the server looks whether it is to end.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a lease holds, in seconds: it is to be renewed after four (RFC 2131 4.4.5).
const LEASE: u8 = 8;

/// Kinds of messages (RFC 2132 9.6).
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// Where a message's parts are (RFC 2131 2).
const TRANSACTION_AT: usize = 4;
const YOUR_ADDRESS_AT: usize = 16;
const STATION_AT: usize = 28;
const COOKIE_AT: usize = 236;
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

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

fn answer(question: &[u8], stance: Stance, host: Ipv4Addr) -> Option<Vec<u8>> {
    let (kind, address) = match (kind_of(question)?, stance) {
        (DISCOVER, Stance::Gives(address)) => (OFFER, address),
        (REQUEST, Stance::Gives(address)) => (ACK, address),
        (REQUEST, Stance::Refuses) => (NAK, Ipv4Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut answer = vec![0; OPTIONS_AT];
    answer[..3].copy_from_slice(&[2, 1, 6]);
    for part in [TRANSACTION_AT..TRANSACTION_AT + 4, STATION_AT..STATION_AT + 16] {
        answer[part.clone()].copy_from_slice(question.get(part)?);
    }
    answer[YOUR_ADDRESS_AT..YOUR_ADDRESS_AT + 4].copy_from_slice(&address.octets());
    answer[COOKIE_AT..].copy_from_slice(&COOKIE);
    // Kind, server; and of a lease its length, the mask and the router.
    answer.extend([53, 1, kind, 54, 4]);
    answer.extend(host.octets());
    if kind != NAK {
        answer.extend([51, 4, 0, 0, 0, LEASE, 1, 4, 255, 255, 255, 0, 3, 4]);
        answer.extend(host.octets());
    }
    answer.push(255);
    Some(answer)
}

/// The kind of a message.
fn kind_of(message: &[u8]) -> Option<u8> {
    let mut options = message.get(OPTIONS_AT..)?;
    while let &[code, len, ref rest @ ..] = options {
        let (value, rest) = rest.split_at_checked(len.into())?;
        if code == 53 {
            return value.first().copied();
        }
        options = rest;
    }
    None
}
