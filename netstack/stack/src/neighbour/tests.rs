//! Who gets into the table, who stays, and who is asked.

use super::table::ENTRIES_MAX;
use super::*;
use core::net::Ipv4Addr;

const START: Instant = Instant::from_nanos(1_000_000_000);
const MAC: Mac = Mac::NONE;
const OTHER: Mac = Mac::BROADCAST;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
}

fn table(capacity: usize) -> Neighbours {
    Neighbours::new(capacity, 0x1234_5678_9abc_def1)
}

/// Asks for a neighbour and lets it answer.
fn verify(neighbours: &mut Neighbours, n: u32, now: Instant) {
    assert_eq!(neighbours.resolve(address(n), now), Resolution::Pending);
    assert_eq!(neighbours.confirm(address(n), MAC, now), Confirmed::New);
}

#[test]
fn a_destination_is_asked_for_until_it_answers() {
    let mut neighbours = table(8);
    assert_eq!(neighbours.resolve(address(1), START), Resolution::Pending);
    assert_eq!(neighbours.poll_question(START), Some(Ok(Question { address: address(1), station: None })));
    assert_eq!(neighbours.poll_question(START), None);
    assert_eq!(neighbours.next_deadline(), START + RETRY_AFTER);
    assert_eq!(neighbours.resolve(address(1), START), Resolution::Pending);
    assert_eq!(neighbours.confirm(address(1), MAC, START), Confirmed::New);
    assert_eq!(neighbours.resolve(address(1), START), Resolution::Known(MAC));
    assert_eq!(neighbours.next_deadline(), NEVER);
}

#[test]
fn an_absent_neighbour_fails_after_three_questions_and_is_left_alone_for_a_while() {
    let mut neighbours = table(8);
    let mut now = START;
    assert_eq!(neighbours.resolve(address(1), now), Resolution::Pending);
    for _ in 0..QUESTIONS_MAX {
        assert!(matches!(neighbours.poll_question(now), Some(Ok(_))));
        now = now + RETRY_AFTER;
    }
    assert_eq!(neighbours.poll_question(now), Some(Err(address(1))));
    assert_eq!(neighbours.poll_question(now), None);
    assert_eq!(neighbours.resolve(address(1), now), Resolution::Absent);
    assert_eq!(neighbours.resolve(address(1), now + ABSENT_FOR), Resolution::Pending);
}

#[test]
fn a_verified_neighbour_in_use_is_asked_again_only_when_it_has_been_silent() {
    let mut neighbours = table(8);
    verify(&mut neighbours, 1, START);
    let mut now = START;
    // Its own packets keep it verified.
    for _ in 0..10 {
        now = now + VERIFIED_FOR / 2;
        let next_hop = neighbours.sender(address(1), MAC, now).expect("known");
        assert_eq!(neighbours.reach(next_hop, now), Some(MAC));
        assert_eq!(neighbours.poll_question(now), None);
    }
    now = now + VERIFIED_FOR;
    assert_eq!(neighbours.resolve(address(1), now), Resolution::Known(MAC), "used while it is asked");
    assert_eq!(neighbours.poll_question(now), Some(Ok(Question { address: address(1), station: Some(MAC) })));
    assert_eq!(neighbours.confirm(address(1), MAC, now), Confirmed::Same);
    assert_eq!(neighbours.poll_question(now + RETRY_AFTER), None);
}

#[test]
fn packets_of_another_station_do_not_move_a_verified_neighbour() {
    let mut neighbours = table(8);
    verify(&mut neighbours, 1, START);
    let next_hop = neighbours.sender(address(1), OTHER, START).expect("known");
    assert_eq!(neighbours.reach(next_hop, START), Some(MAC));
    assert_eq!(neighbours.confirm(address(1), OTHER, START), Confirmed::Moved);
    assert_eq!(neighbours.reach(next_hop, START), Some(OTHER));
}

#[test]
fn a_flood_of_senders_evicts_nobody_who_is_verified() {
    let mut neighbours = table(64);
    for n in 0..32 {
        verify(&mut neighbours, n, START);
    }
    for n in 1000..20_000 {
        let _ = neighbours.sender(address(n), OTHER, START);
    }
    for n in 0..32 {
        assert_eq!(neighbours.resolve(address(n), START), Resolution::Known(MAC));
    }
    assert_eq!(neighbours.len(), 64);
}

#[test]
fn a_full_table_of_verified_neighbours_takes_nobody() {
    let mut neighbours = table(4);
    for n in 0..4 {
        verify(&mut neighbours, n, START);
    }
    assert_eq!(neighbours.sender(address(9), OTHER, START), None);
    assert_eq!(neighbours.resolve(address(9), START), Resolution::Absent);
    let later = START + VERIFIED_FOR;
    assert!(neighbours.sender(address(9), OTHER, later).is_some());
}

#[test]
fn a_next_hop_of_a_replaced_entry_is_void() {
    let mut neighbours = table(1);
    let old = neighbours.sender(address(1), MAC, START).expect("room");
    let new = neighbours.sender(address(2), OTHER, START).expect("replaces the unverified");
    assert_ne!(old, new);
    assert_eq!(neighbours.reach(old, START), None);
    assert_eq!(neighbours.reach(new, START), Some(OTHER));
    let six = neighbours.table.len();
    neighbours.forget(IpAddr::is_ipv6);
    assert_eq!(neighbours.len(), six);
    neighbours.forget(IpAddr::is_ipv4);
    assert_eq!(neighbours.reach(new, START), None);
    assert_eq!(neighbours.len(), 0);
}

#[test]
fn reserved_next_hops_never_name_an_entry() {
    let mut neighbours = table(ENTRIES_MAX);
    for n in 0..ENTRIES_MAX as u32 {
        assert!(neighbours.sender(address(n), MAC, START).is_some());
    }
    assert_eq!(neighbours.reach(NextHop::UNKNOWN, START), None);
    assert_eq!(neighbours.reach(crate::loopback::NEXT_HOP, START), None);
}

#[test]
fn the_gateway_stays_whatever_happens() {
    let mut neighbours = table(2);
    let gateway = neighbours.pin(address(1), START).expect("room");
    assert!(matches!(neighbours.poll_question(START), Some(Ok(_))));
    assert_eq!(neighbours.confirm(address(1), MAC, START), Confirmed::New);
    let later = START + VERIFIED_FOR * 10;
    for n in 10..1000 {
        let _ = neighbours.sender(address(n), OTHER, later);
    }
    assert_eq!(neighbours.reach(gateway, later), Some(MAC));
}

#[test]
fn questions_are_bounded() {
    let mut neighbours = table(1024);
    let pending = (0..1024).filter(|&n| neighbours.resolve(address(n), START) == Resolution::Pending).count();
    assert_eq!(pending, QUESTIONED_MAX);
}

#[test]
fn both_families_share_the_table() {
    let mut neighbours = table(8);
    let six: IpAddr = "fe80::1".parse().expect("an address");
    assert_eq!(neighbours.resolve(six, START), Resolution::Pending);
    assert_eq!(neighbours.poll_question(START), Some(Ok(Question { address: six, station: None })));
    assert_eq!(neighbours.resolve(address(1), START), Resolution::Pending);
    assert_eq!(neighbours.poll_question(START), Some(Ok(Question { address: address(1), station: None })));
}
