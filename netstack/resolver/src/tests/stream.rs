//! Answers that do not fit into a datagram (RFC 7766).

use alloc::vec::Vec;
use core::time::Duration;

use super::wire::*;
use crate::{Event, Failure, Happening};

/// What is asked over TCP now: its identifier, and its message without it.
fn opened(world: &mut World) -> (u16, Vec<u8>) {
    let (to, bytes) = world.net.opened.take().expect("a connection");
    assert_eq!(to, server(1), "the server that was asked");
    let (length, message) = bytes.split_at(2);
    assert_eq!(length, (message.len() as u16).to_be_bytes());
    (u16::from_be_bytes([message[0], message[1]]), message[2..].to_vec())
}

/// The server says bytes on the only connection.
fn says(world: &mut World, bytes: &[u8]) {
    world.net.streams.values_mut().for_each(|(said, _)| said.extend(bytes));
    world.poll();
}

/// The server ends the only connection.
fn ends(world: &mut World) {
    world.net.streams.values_mut().for_each(|(_, is_over)| *is_over = true);
    world.poll();
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// A world whose first question was answered with these records and a cut.
fn cut(records: &[Vec<u8>]) -> (World, Asked) {
    let mut world = World::new(&[APP]);
    world.net.has_tcp = true;
    world.poll();
    let asked = world.asked();
    world.answer(&asked, TRUNCATED, records);
    assert!(world.is_quiet() && world.net.ports.is_empty() && world.net.streams.len() == 1);
    (world, asked)
}

#[test]
fn rfc7766_5_a_truncated_answer_is_asked_for_again_over_tcp() {
    for before in [&[][..], &[a([192, 0, 2, 1], 60)]] {
        let (mut world, asked) = cut(before);
        let (id, message_of) = opened(&mut world);
        assert!(id != asked.id && message_of.ends_with(&asked.question));
        let records: Vec<_> = (1..=9).map(|host| a([192, 0, 2, host], 60)).collect();
        for piece in framed(&message(id, GOOD, &asked.question, &records)).chunks(7) {
            assert!(world.is_quiet());
            says(&mut world, piece);
        }
        let Event::Resolved { addresses, .. } = world.event() else { panic!("not resolved") };
        assert_eq!((addresses.len(), world.net.streams.len()), (9, 0));
        let counted = [Happening::Truncated, Happening::AskedTcp, Happening::Answered].map(|what| world.count(what));
        assert_eq!(counted, [1; 3]);
        let before = world.now;
        assert_eq!(world.ask().server, server(1), "the next question is a datagram again");
        assert_eq!(world.since(before), Duration::from_secs(60));
    }
}

#[test]
fn what_came_before_the_cut_is_better_than_nothing() {
    let silence = |world: &mut World| assert!(world.pass(10));
    let nonsense = |world: &mut World| says(world, &framed(&[0xff; 40]));
    for failure in [ends as fn(&mut World), silence, nonsense] {
        let (mut world, _) = cut(&[a([192, 0, 2, 7], 60)]);
        failure(&mut world);
        assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
        assert!(world.net.streams.is_empty() && !world.resolver.is_waiting());
        let (mut world, _) = cut(&[]);
        failure(&mut world);
        assert_eq!(world.asked().server, server(2), "another server may do better");
        assert!(world.net.streams.is_empty());
    }
    // Nor is there a connection to be had.
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    world.answer(&asked, TRUNCATED, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
}

#[test]
fn an_answer_over_tcp_is_as_good_as_any() {
    let (mut world, asked) = cut(&[]);
    let (id, _) = opened(&mut world);
    says(&mut world, &framed(&message(id, NO_SUCH_NAME, &asked.question, &[])));
    assert_eq!(world.event(), Event::Failed { name: 0, failure: Failure::NoSuchName, is_kept: false });
}
