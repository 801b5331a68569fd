//! Messages of DNS (RFC 1035 4): questions out, answers in. The formats are smoltcp's; what an answer is worth is decided here.

use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData, DnsRepr,
};

use crate::name::Name;

/// Records of an answer that are looked at.
const RECORDS_MAX: usize = 64;
/// Aliases on the way from a name to its addresses.
const ALIASES_MAX: usize = 8;
/// Addresses of a name that are kept.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// What kind of address is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// At least one address, and for how many seconds they hold.
    Addresses {
        addresses: Vec<IpAddr>,
        ttl_seconds: u32,
    },
    NoSuchName,
    /// The name exists, without an address of that family.
    NoAddress,
    /// All of its addresses are of a kind that no server can have.
    Unusable,
    Refused,
    /// No address came, and there is more than fits into a datagram.
    Truncated,
    Malformed,
    /// No answer to the question.
    Stranger,
}

/// The bytes of a question.
pub(crate) fn question(id: u16, name: &Name, family: Family) -> Vec<u8> {
    let repr = DnsRepr {
        transaction_id: id,
        opcode: DnsOpcode::Query,
        flags: DnsFlags::RECURSION_DESIRED,
        question: DnsQuestion { name: name.wire(), type_: query_type(family) },
    };
    let mut bytes = alloc::vec![0; repr.buffer_len()];
    repr.emit(&mut DnsPacket::new_unchecked(&mut bytes[..]));
    bytes
}

/// Reads the answer to a question.
pub(crate) fn read(bytes: &[u8], id: u16, name: &Name, family: Family) -> Answer {
    let Ok(packet) = DnsPacket::new_checked(bytes) else { return Answer::Stranger };
    let Some(records) = after_question(&packet, id, name, family) else { return Answer::Stranger };
    match packet.rcode() {
        DnsRcode::NoError => {}
        DnsRcode::NXDomain => return Answer::NoSuchName,
        _ => return Answer::Refused,
    }
    let is_truncated = packet.flags().contains(DnsFlags::TRUNCATED);
    let Some(records) = Records::parse(&packet, records, is_truncated) else { return Answer::Malformed };
    records.addresses(name, family, is_truncated)
}

/// Whether more was to be said than a datagram holds (RFC 1035 4.1.1).
pub(crate) fn is_truncated(bytes: &[u8]) -> bool {
    DnsPacket::new_checked(bytes).is_ok_and(|packet| packet.flags().contains(DnsFlags::TRUNCATED))
}

/// The bytes behind the question, if it is ours and the message answers it (RFC 5452 9.1).
fn after_question<'p>(packet: &'p DnsPacket<&[u8]>, id: u16, name: &Name, family: Family) -> Option<&'p [u8]> {
    let is_answer = packet.transaction_id() == id
        && packet.flags().contains(DnsFlags::RESPONSE)
        && packet.opcode() == DnsOpcode::Query
        && packet.question_count() == 1;
    let (rest, question) = DnsQuestion::parse(packet.payload()).ok().filter(|_| is_answer)?;
    let is_ours = question.type_ == query_type(family) && read_name(packet, question.name)? == *name;
    is_ours.then_some(rest)
}

const fn query_type(family: Family) -> DnsQueryType {
    match family {
        Family::V4 => DnsQueryType::A,
        Family::V6 => DnsQueryType::Aaaa,
    }
}

fn read_name(packet: &DnsPacket<&[u8]>, bytes: &[u8]) -> Option<Name> {
    Name::from_labels(packet.parse_name(bytes).map(Result::ok))
}

/// The answer section: whose, for how many seconds, and what.
struct Records(Vec<(Name, u32, Record)>);

enum Record {
    Address(IpAddr),
    Alias(Name),
}

impl Records {
    /// None: a record makes no sense, and the message claims to be whole.
    fn parse(packet: &DnsPacket<&[u8]>, mut rest: &[u8], is_truncated: bool) -> Option<Self> {
        let mut records = Vec::new();
        for _ in 0..usize::from(packet.answer_record_count()).min(RECORDS_MAX) {
            let Ok((more, record)) = DnsRecord::parse(rest) else { return is_truncated.then_some(Self(records)) };
            rest = more;
            let owner = read_name(packet, record.name)?;
            // RFC 2181 8: a lifetime with the highest bit set is none.
            let ttl_seconds = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            let value = match record.data {
                DnsRecordData::A(address) => Record::Address(IpAddr::V4(address)),
                DnsRecordData::Aaaa(address) => Record::Address(IpAddr::V6(address)),
                DnsRecordData::Cname(alias) => Record::Alias(read_name(packet, alias)?),
                DnsRecordData::Other(..) => continue,
            };
            records.push((owner, ttl_seconds, value));
        }
        Some(Self(records))
    }

    /// Follows aliases from `name` (RFC 1034 3.6.2) to addresses. Records may stand in any order.
    fn addresses(&self, name: &Name, family: Family, is_truncated: bool) -> Answer {
        let (mut owner, mut ttl_seconds) = (name, u32::MAX);
        let mut aliases = 0;
        while let Some((ttl, alias)) = self.alias_of(owner) {
            (owner, ttl_seconds) = (alias, ttl_seconds.min(ttl));
            aliases += 1;
            if aliases > ALIASES_MAX {
                return Answer::Malformed;
            }
        }
        let mut addresses = Vec::new();
        let mut is_any = false;
        for (of, ttl, record) in &self.0 {
            let Record::Address(address) = record else { continue };
            if of != owner || address.is_ipv4() != (family == Family::V4) {
                continue;
            }
            is_any = true;
            if is_usable(*address) && !addresses.contains(address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(*address);
                ttl_seconds = ttl_seconds.min(*ttl);
            }
        }
        match (addresses.is_empty(), is_any) {
            (false, _) => Answer::Addresses { addresses, ttl_seconds },
            (true, _) if is_truncated => Answer::Truncated,
            (true, true) => Answer::Unusable,
            (true, false) => Answer::NoAddress,
        }
    }

    fn alias_of(&self, owner: &Name) -> Option<(u32, &Name)> {
        self.0.iter().find_map(|(of, ttl, record)| match record {
            Record::Alias(alias) if of == owner => Some((*ttl, alias)),
            _ => None,
        })
    }
}

/// Whether another machine can have the address. Loopback would lead back into this one.
fn is_usable(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let is_disguised = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_broadcast || is_disguised)
}
