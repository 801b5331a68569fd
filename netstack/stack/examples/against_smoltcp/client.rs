//! The clients: they make the frames that a peer would send.

use super::{CLIENT, CLIENT_MAC, SERVER, SERVER_MAC};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// One end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    port: u16,
    sequence: u32,
    pub(crate) acknowledged: u32,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, sequence: 1, acknowledged: 0 }
    }

    /// The next segment. IPv4's checksum is right, TCP's is not looked at.
    pub(crate) fn segment(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        let options: &[u8] = if flags & SYN != 0 { &[2, 4, 5, 0xb4] } else { &[] };
        let mut frame = Vec::with_capacity(64 + payload.len());
        frame.extend(SERVER_MAC);
        frame.extend(CLIENT_MAC);
        frame.extend([8, 0]);
        let len = (40 + options.len() + payload.len()) as u16;
        let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip[12..16].copy_from_slice(&CLIENT);
        ip[16..20].copy_from_slice(&SERVER);
        let sum: u32 = ip.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        ip[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        frame.extend(ip);
        frame.extend(self.port.to_be_bytes());
        frame.extend([0, 80]);
        frame.extend(self.sequence.to_be_bytes());
        frame.extend(self.acknowledged.to_be_bytes());
        frame.extend([(5 + options.len() as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(options);
        frame.extend(payload);
        self.sequence = self.sequence.wrapping_add(payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0));
        frame
    }
}

/// A request for the server's address, from which it learns the clients'.
pub(crate) fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(CLIENT_MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(CLIENT_MAC);
    frame.extend(CLIENT);
    frame.extend([0; 6]);
    frame.extend(SERVER);
    frame
}

/// The sequence number behind a segment of the server's.
pub(crate) fn sequence_behind(headers: &[u8], payload_len: usize) -> Option<u32> {
    let fixed: &[u8; 54] = headers.first_chunk()?;
    if fixed[12..14] != [8, 0] || fixed[23] != 6 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([fixed[16], fixed[17]])) - 20 - usize::from(fixed[46] >> 4) * 4;
    debug_assert!(len >= payload_len);
    let seq = u32::from_be_bytes([fixed[38], fixed[39], fixed[40], fixed[41]]);
    Some(seq.wrapping_add(len as u32 + u32::from(fixed[47] & (SYN | FIN) != 0)))
}
