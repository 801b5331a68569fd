//! A DNS server for the guest, on the host's side of its wire.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Failed, Tested, backend};

/// How often the server looks whether it is to end.
const PERIOD: Duration = Duration::from_millis(50);
/// Seconds for which its answers hold.
const TTL: u8 = 1;
/// Of the flags' first byte.
const TRUNCATED: u8 = 2;

/// Answers every question for an IPv4 address with the same one, until it is dropped.
pub struct DnsServer {
    at: SocketAddrV4,
    address: Arc<Mutex<Option<Ipv4Addr>>>,
    /// Datagrams say no more than that there is more to say.
    is_cut: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Begins to answer at `at`, with the news that there is no such name.
    pub fn start(at: SocketAddrV4) -> Result<Self, Failed> {
        let socket = UdpSocket::bind(at)?;
        socket.set_read_timeout(Some(PERIOD))?;
        let (address, is_over) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let is_cut = Arc::new(AtomicBool::new(false));
        let (shared, cut, end) = (Arc::clone(&address), Arc::clone(&is_cut), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let mut bytes = [0; 512];
            while !end.load(Ordering::Relaxed) {
                let Ok((len, client)) = socket.recv_from(&mut bytes) else { continue };
                let address = *shared.lock().expect("nobody panics with the lock");
                let mut answer = answer(&bytes[..len], address);
                if cut.load(Ordering::Relaxed) {
                    answer.truncate(len);
                    (answer[2], answer[7]) = (answer[2] | TRUNCATED, 0);
                }
                let _ = socket.send_to(&answer, client);
            }
        });
        Ok(Self { at, address, is_cut, is_over, thread: Some(thread) })
    }

    /// From now on answers are too long for a datagram, and come over TCP (RFC 7766).
    pub fn be_long(&self) -> Tested {
        let shared = Arc::clone(&self.address);
        backend::start(self.at, move |peer| {
            let length = peer.body(2)?;
            let question = peer.body(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            let answer = answer(&question, *shared.lock().expect("nobody panics with the lock"));
            peer.say_in(5, &[&(answer.len() as u16).to_be_bytes()[..], &answer].concat())
        })?;
        self.is_cut.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the server says from now on; none: there is no such name.
    pub fn say(&self, address: impl Into<Option<Ipv4Addr>>) {
        *self.address.lock().expect("nobody panics with the lock") = address.into();
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The answer to a question of one name (RFC 1035 4.1).
fn answer(question: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = question.to_vec();
    let is_for_v4 = question.ends_with(&[0, 1, 0, 1]);
    let (code, count) = match address {
        None => (3, 0),
        Some(_) => (0, u8::from(is_for_v4)),
    };
    bytes[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    bytes[7] = count;
    if let Some(address) = address.filter(|_| is_for_v4) {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL, 0, 4]);
        bytes.extend(address.octets());
    }
    bytes
}
