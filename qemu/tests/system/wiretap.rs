//! The host's end of a wire, frame by frame: to hear what a guest says below IP, and to say what no program at hand says when it is
//! wanted.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};

use crate::tap::Tap;
use crate::{Failed, Tested};

/// How often the deadline is looked at while no frame comes.
const PERIOD: Duration = Duration::from_millis(100);

/// Where a message of ICMPv6 begins, behind Ethernet and IPv6.
const ICMPV6_AT: usize = 14 + 40;
/// Router solicitation and advertisement (RFC 4861 4.1, 4.2).
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;

/// All frames of a wire from its making on.
pub struct Wiretap {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wiretap {
    /// Listens at `tap`.
    pub fn new(tap: &Tap) -> Result<Self, Failed> {
        let interfaces = pnet_datalink::interfaces();
        let interface = interfaces.iter().find(|interface| interface.name == tap.name()).ok_or("the tap is gone")?;
        let config = Config { read_timeout: Some(PERIOD), ..Config::default() };
        let Channel::Ethernet(sender, receiver) = pnet_datalink::channel(interface, config)? else {
            return Err("no Ethernet".into());
        };
        Ok(Self { sender, receiver })
    }

    /// Sends a frame to the guest.
    pub fn send(&mut self, frame: &[u8]) -> Tested {
        Ok(self.sender.send_to(frame, None).ok_or("no room")??)
    }

    /// Waits for a frame that is `what`, among those that have not been looked at.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&[u8]) -> bool, limit: Duration) -> Tested {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            match self.receiver.next() {
                Ok(frame) if is_it(frame) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("no {what} within {limit:?}").into())
    }
}

/// Whether a frame announces `address` (RFC 5227 1.1): an ARP request from it for itself.
pub fn announces(address: Ipv4Addr) -> impl Fn(&[u8]) -> bool {
    move |frame| {
        let says = |at: usize, what: &[u8]| frame.get(at..at + what.len()) == Some(what);
        says(12, &[8, 6]) && says(20, &[0, 1]) && says(28, &address.octets()) && says(38, &address.octets())
    }
}

/// Whether a frame asks for routers.
pub fn solicits_routers(frame: &[u8]) -> bool {
    let says = |at: usize, what: u8| frame.get(at) == Some(&what);
    says(12, 0x86) && says(13, 0xdd) && says(20, 58) && says(ICMPV6_AT, SOLICITATION)
}

/// The advertisement of a router at fe80::1 for a prefix of 64 bits (RFC 4861 4.2 and 4.6.2), in a frame to all nodes.
pub fn router_advertisement(prefix: Ipv6Addr) -> Vec<u8> {
    let [router, all] = [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)];
    // 64 hops; for 1800 s; reachability as it pleases.
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    // On the link, and for addresses; for a day.
    message.extend([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0]);
    message.extend(prefix.octets());
    let words = [&router.octets()[..], &all.octets(), &[0, 0, 0, message.len() as u8, 0, 0, 0, 58], &message].concat();
    let sum = words.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(router.octets());
    frame.extend(all.octets());
    frame.extend(message);
    frame
}
