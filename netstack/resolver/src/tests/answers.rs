//! What one answer is worth.

use alloc::vec;
use alloc::vec::Vec;

use super::wire::*;
use crate::message::{Answer, Family, question, read};
use crate::{Event, Failure, Happening, Name};

const V4: &str = "192.0.2.7";

/// Asks for one name, hears one answer, and tells what came of it.
fn hear(flags: u16, records: &[Vec<u8>]) -> Answer {
    let name = Name::new(APP).expect("a name");
    let asked = question(7, &name, Family::V4);
    read(&message(7, flags, &asked[12..], records), 7, &name, Family::V4)
}

fn addresses(list: &[[u8; 4]], ttl_seconds: u32) -> Answer {
    Answer::Addresses { addresses: list.iter().map(|&address| address.into()).collect(), ttl_seconds }
}

#[test]
fn rfc1035_4_1_1_a_question_is_ours_to_the_byte() {
    let name = Name::new("a.bc").expect("a name");
    let bytes = question(0x1234, &name, Family::V6);
    assert_eq!(bytes, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01");
}

#[test]
fn addresses_come_with_the_least_of_their_lifetimes() {
    let records = [a([192, 0, 2, 7], 60), a([192, 0, 2, 8], 30), a([192, 0, 2, 7], 60)];
    assert_eq!(hear(GOOD, &records), addresses(&[[192, 0, 2, 7], [192, 0, 2, 8]], 30));
    // RFC 2181 8.
    assert_eq!(hear(GOOD, &[a([192, 0, 2, 7], 1 << 31)]), addresses(&[[192, 0, 2, 7]], 0));
}

#[test]
fn rfc1034_3_6_2_aliases_are_followed_in_any_order_and_not_for_ever() {
    let alias = |from: &str, to: &str, ttl| record(&wire_name(from), TYPE_CNAME, ttl, &wire_name(to));
    let address = record(&wire_name("END.example"), TYPE_A, 50, &[192, 0, 2, 7]);
    let stranger = record(&wire_name("other.example"), TYPE_A, 1, &[192, 0, 2, 66]);
    let records = [stranger, address.clone(), alias("mid.example", "end.EXAMPLE", 40), alias(APP, "mid.example", 90)];
    assert_eq!(hear(GOOD, &records), addresses(&[[192, 0, 2, 7]], 40));
    assert_eq!(hear(GOOD, &[alias(APP, "mid.example", 9)]), Answer::NoAddress);
    assert_eq!(hear(GOOD, &[alias(APP, "x.y", 9), alias("x.y", APP, 9), a([192, 0, 2, 7], 9)]), Answer::Malformed);
    let long = |count: u8| -> Vec<Vec<u8>> {
        let name = |n: u8| if n == 0 { APP.into() } else { alloc::format!("n{n}") };
        let mut records: Vec<_> = (0..count).map(|n| alias(&name(n), &name(n + 1), 99)).collect();
        records.push(record(&wire_name(&name(count)), TYPE_A, 99, &[192, 0, 2, 7]));
        records
    };
    assert_eq!(hear(GOOD, &long(8)), addresses(&[[192, 0, 2, 7]], 99));
    assert_eq!(hear(GOOD, &long(9)), Answer::Malformed);
}

#[test]
fn what_came_before_the_cut_is_kept() {
    assert_eq!(hear(TRUNCATED, &[a([192, 0, 2, 7], 60)]), addresses(&[[192, 0, 2, 7]], 60));
    assert_eq!(hear(TRUNCATED, &[]), Answer::Truncated);
    let mut cut = a([192, 0, 2, 8], 60);
    cut.truncate(13);
    assert_eq!(hear(TRUNCATED, &[a([192, 0, 2, 7], 60), cut.clone()]), addresses(&[[192, 0, 2, 7]], 60));
    assert_eq!(hear(GOOD, &[a([192, 0, 2, 7], 60), cut]), Answer::Malformed);
}

#[test]
fn errors_of_the_server_have_their_names() {
    assert_eq!(hear(NO_SUCH_NAME, &[]), Answer::NoSuchName);
    assert_eq!(hear(SERVER_FAILURE, &[a([192, 0, 2, 7], 60)]), Answer::Refused);
    assert_eq!(hear(REFUSED, &[]), Answer::Refused);
    assert_eq!(hear(GOOD, &[]), Answer::NoAddress);
    assert_eq!(hear(GOOD, &[record(&QUESTION, TYPE_AAAA, 60, &[9; 16])]), Answer::NoAddress);
    assert_eq!(hear(GOOD, &[record(&QUESTION, TYPE_A, 60, &[9; 5])]), Answer::Malformed);
}

#[test]
fn addresses_that_lead_to_no_other_machine_are_not_used() {
    let bad = [[127, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]];
    let mut records: Vec<_> = bad.iter().map(|&address| a(address, 60)).collect();
    assert_eq!(hear(GOOD, &records), Answer::Unusable);
    records.push(a([192, 0, 2, 7], 60));
    assert_eq!(hear(GOOD, &records), addresses(&[[192, 0, 2, 7]], 60));
    let name = Name::new(APP).expect("a name");
    let asked = question(7, &name, Family::V6);
    for bad in ["::", "::1", "ff02::1", "::ffff:127.0.0.1"] {
        let address: core::net::Ipv6Addr = bad.parse().expect("an address");
        let records = [record(&QUESTION, TYPE_AAAA, 60, &address.octets())];
        assert_eq!(read(&message(7, GOOD, &asked[12..], &records), 7, &name, Family::V6), Answer::Unusable, "{bad}");
    }
}

#[test]
fn an_answer_to_another_question_is_a_strangers() {
    let name = Name::new(APP).expect("a name");
    let asked = question(7, &name, Family::V4);
    let good = message(7, GOOD, &asked[12..], &[a([192, 0, 2, 7], 60)]);
    let is_stranger = |bytes: &[u8]| read(bytes, 7, &name, Family::V4) == Answer::Stranger;
    assert!(!is_stranger(&good));
    assert!(is_stranger(&asked), "the question itself");
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    // Identifier, opcode, count of questions, a letter, the type, the class.
    for (at, byte) in [(0, 1), (1, 1), (2, 0x10), (5, 3), (13, 1), (27, 0x1d), (29, 2)] {
        assert!(is_stranger(&changed(at, byte)), "byte {at}");
    }
    // Capital letters are the same name (RFC 4343).
    assert!(!is_stranger(&changed(13, 0x20)));
}

#[test]
fn garbage_of_every_kind_is_survived() {
    let name = Name::new(APP).expect("a name");
    let asked = question(7, &name, Family::V4);
    let alias = record(&QUESTION, TYPE_CNAME, 60, &[1, b'x', 0xc0, 12]);
    let good = message(7, GOOD, &asked[12..], &[alias, a([192, 0, 2, 7], 60), a([192, 0, 2, 8], 60)]);
    for len in 0..good.len() {
        let _ = read(&good[..len], 7, &name, Family::V4);
    }
    let mut random = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = 2 + (random >> 33) as usize % (bytes.len() - 2);
            bytes[at] = (random >> 20) as u8;
        }
        let _ = read(&bytes, 7, &name, Family::V4);
    }
    // Names that point at themselves, and behind the end.
    for pointer in [[0xc0, 30], [0xc0, 46], [0xff, 0xff]] {
        let records = [record(&pointer, TYPE_A, 60, &[192, 0, 2, 7])];
        assert_eq!(read(&message(7, GOOD, &asked[12..], &records), 7, &name, Family::V4), Answer::Malformed);
    }
}

#[test]
fn a_thousand_records_are_not_all_looked_at() {
    let records = vec![a([192, 0, 2, 7], 60); 200];
    let mut many: Vec<_> = (0..64).map(|n| a([192, 0, 2, n], 60)).collect();
    many.extend(records);
    let Answer::Addresses { addresses, .. } = hear(GOOD, &many) else { panic!("no addresses") };
    assert_eq!(addresses.len(), 16);
}

#[test]
fn every_failure_reaches_the_user_by_name() {
    for (flags, records, failure, happening) in [
        (NO_SUCH_NAME, vec![], Failure::NoSuchName, Happening::NoSuchName),
        (GOOD, vec![a([127, 0, 0, 1], 60)], Failure::Unusable, Happening::Unusable),
        (REFUSED, vec![], Failure::Refused, Happening::Refused),
        (TRUNCATED, vec![], Failure::Truncated, Happening::Truncated),
        (GOOD, vec![vec![0xff; 20]], Failure::Malformed, Happening::Malformed),
        (GOOD, vec![], Failure::NoAddress, Happening::NoAddress),
    ] {
        let mut world = World::new(&[APP]);
        world.poll();
        while world.resolver.is_waiting() {
            let asked = world.asked();
            world.answer(&asked, flags, &records);
        }
        assert_eq!(world.event(), Event::Failed { name: 0, failure, is_kept: false });
        assert!(world.count(happening) > 0, "{failure}");
        assert!(world.net.ports.is_empty());
        let asked = world.ask();
        world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
        assert_eq!(world.event(), resolved(0, &[V4]));
    }
}
