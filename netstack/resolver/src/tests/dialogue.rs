//! When is asked, whom, and what is kept.

use core::time::Duration;

use super::wire::*;
use crate::{Event, Failure, Happening, Network, QUESTIONS_MAX, States};

#[test]
fn a_name_is_resolved_and_asked_for_again_when_its_lifetime_ends() {
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    assert_eq!((asked.server, asked.kind), (server(1), TYPE_A));
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
    let before = world.now;
    let again = world.ask();
    assert_eq!(world.since(before), Duration::from_secs(60));
    assert!(again.port != asked.port && again.id != asked.id);
    world.answer(&again, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert!(world.is_quiet(), "the same address is no news");
    let asked = world.ask();
    world.answer(&asked, GOOD, &[a([192, 0, 2, 8], 60), a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.8", "192.0.2.7"]));
    let asked = world.ask();
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60), a([192, 0, 2, 8], 60)]);
    assert!(world.is_quiet(), "another order is no news");
}

#[test]
fn lifetimes_have_bounds() {
    let mut world = World::new(&[APP]);
    for (ttl, bounded) in [(0, 5), (4, 5), (6, 6), (1_000_000, 3600)] {
        let asked = world.ask();
        world.answer(&asked, GOOD, &[a([192, 0, 2, 7], ttl)]);
        let before = world.now;
        while world.net.sent.is_empty() {
            world.pass(10_000);
        }
        assert_eq!(world.since(before), Duration::from_secs(bounded), "{ttl}");
    }
}

#[test]
fn without_an_ipv4_address_the_ipv6_one_is_asked_for() {
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    world.answer(&asked, GOOD, &[]);
    let asked = world.asked();
    assert_eq!(asked.kind, TYPE_AAAA);
    world.answer(&asked, GOOD, &[record(&QUESTION, TYPE_AAAA, 60, &[0x20; 16])]);
    assert_eq!(world.event(), resolved(0, &["2020:2020:2020:2020:2020:2020:2020:2020"]));
    // Where there is no IPv6, it is of no use; where there is nothing else, it is asked for first.
    let mut world = World::new(&[APP]);
    let no_v6 = Network { has_v6: false, ..world.network.clone() };
    world.resolver.configure(&no_v6, world.now);
    world.poll();
    let asked = world.asked();
    world.answer(&asked, GOOD, &[]);
    assert_eq!(world.event(), Event::Failed { name: 0, failure: Failure::NoAddress, is_kept: false });
    let mut world = World::new(&[APP]);
    let no_v4 = Network { has_v4: false, ..world.network.clone() };
    world.resolver.configure(&no_v4, world.now);
    world.poll();
    assert_eq!(world.asked().kind, TYPE_AAAA);
}

#[test]
fn servers_are_asked_in_turn_with_more_patience_and_then_there_is_a_pause() {
    let mut world = World::new(&[APP]);
    let begin = world.now;
    let mut turns = alloc::vec::Vec::new();
    world.poll();
    while world.resolver.is_waiting() {
        let asked = world.asked();
        turns.push((asked.server, world.since(begin).as_secs()));
        world.pass(100);
    }
    assert_eq!(turns, [(server(1), 0), (server(2), 1), (server(1), 2), (server(2), 4)]);
    assert_eq!(world.event(), Event::Failed { name: 0, failure: Failure::Timeout, is_kept: false });
    assert_eq!((world.count(Happening::Timeout), world.since(begin)), (4, Duration::from_secs(6)));
    let mut pauses = alloc::vec::Vec::new();
    for _ in 0..9 {
        let end = world.now;
        let first = world.ask();
        pauses.push(world.since(end).as_secs());
        world.pass(100);
        world.net.sent.clear();
        while world.resolver.is_waiting() {
            world.pass(100);
            world.net.sent.clear();
        }
        assert!(world.is_quiet(), "the same failure is no news: {first:?}");
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn the_server_that_answers_is_asked_first_from_then_on() {
    let mut world = World::new(&[APP, "other.internal"]);
    world.poll();
    world.net.sent.clear();
    world.pass(1);
    let asked = core::mem::take(&mut world.net.sent);
    assert!(asked.len() == 2 && asked.iter().all(|asked| asked.server == server(2)), "{asked:?}");
    for asked in &asked {
        world.answer(asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    }
    world.pass(100);
    assert!(world.net.sent.iter().all(|asked| asked.server == server(2)));
    let asked = world.net.sent.remove(0);
    world.net.sent.clear();
    world.answer(&asked, SERVER_FAILURE, &[]);
    assert_eq!(world.asked().server, server(1), "at once, for there was an answer");
}

#[test]
fn a_resolved_name_keeps_its_addresses_whatever_comes_later() {
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
    assert_eq!(world.resolver.states(), States { resolved: 1, ..States::default() });
    let asked = world.ask();
    world.answer(&asked, NO_SUCH_NAME, &[]);
    assert_eq!(world.event(), Event::Failed { name: 0, failure: Failure::NoSuchName, is_kept: true });
    assert_eq!(world.resolver.states(), States { kept: 1, ..States::default() });
    loop {
        world.pass(100);
        world.net.sent.clear();
        match world.resolver.poll_event() {
            None => {}
            Some(event) => {
                break assert_eq!(event, Event::Failed { name: 0, failure: Failure::Timeout, is_kept: true });
            }
        }
    }
    let asked = world.ask();
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]), "the end of a failure is news");
}

#[test]
fn rfc5452_9_only_the_server_that_was_asked_answers_what_it_was_asked() {
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    let forged = message(asked.id, GOOD, &asked.question, &[a([192, 0, 2, 66], 60)]);
    for source in [server(2), ([10, 0, 0, 1], 54).into(), ([10, 0, 0, 66], 53).into()] {
        world.hear_from(source, asked.port, forged.clone());
    }
    world.hear(&asked, message(asked.id ^ 1, GOOD, &asked.question, &[a([192, 0, 2, 66], 60)]));
    world.hear(&asked, message(asked.id, GOOD, &[&wire_name("x.y")[..], &[0, 1, 0, 1]].concat(), &[]));
    world.hear(&asked, alloc::vec![0xff; 5]);
    assert_eq!((world.count(Happening::Stranger), world.is_quiet()), (6, true));
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
}

#[test]
fn an_answer_that_comes_too_late_finds_its_port_closed() {
    let mut world = World::new(&[APP]);
    world.poll();
    let late = world.asked();
    world.pass(1);
    let asked = world.asked();
    world.answer(&late, GOOD, &[a([192, 0, 2, 66], 60)]);
    assert!(world.is_quiet());
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
}

#[test]
fn many_names_are_asked_for_few_at_a_time() {
    let names: alloc::vec::Vec<_> = (0..50).map(|n| alloc::format!("n{n}.internal")).collect();
    let mut world = World::new(&names.iter().map(|name| &name[..]).collect::<alloc::vec::Vec<_>>());
    world.poll();
    let mut count = 0;
    while let Some(asked) = world.net.sent.first().cloned() {
        assert!(world.net.ports.len() <= QUESTIONS_MAX);
        world.net.sent.remove(0);
        world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 600)]);
        count += 1;
    }
    assert_eq!((count, world.resolver.states().resolved), (50, 50));
    assert!(!world.resolver.is_waiting());
}

#[test]
fn without_servers_nothing_is_asked_and_nothing_is_due_until_there_are() {
    let mut world = World::new(&[APP]);
    let servers = core::mem::take(&mut world.network.servers);
    world.resolver.configure(&world.network, world.now);
    world.poll();
    assert!(world.net.sent.is_empty() && world.resolver.next_deadline().is_none() && !world.resolver.has_servers());
    world.network.servers = servers;
    world.resolver.configure(&world.network, world.now);
    assert_eq!(world.resolver.next_deadline(), Some(world.now));
    world.poll();
    assert_eq!(world.asked().server, server(1));
}

#[test]
fn other_servers_are_tried_at_once_for_a_name_that_failed() {
    let mut world = World::new(&[APP]);
    world.poll();
    let asked = world.asked();
    world.answer(&asked, NO_SUCH_NAME, &[]);
    let _ = world.event();
    world.network.servers = [server(9)].into();
    world.resolver.configure(&world.network, world.now);
    world.poll();
    let asked = world.asked();
    assert_eq!(asked.server, server(9));
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.event(), resolved(0, &["192.0.2.7"]));
}

#[test]
fn what_cannot_be_sent_and_a_lack_of_ports_end_in_a_pause_and_no_more() {
    let mut world = World::new(&[APP]);
    world.net.is_cut_off = true;
    world.poll();
    assert_eq!((world.count(Happening::NotSent), world.count(Happening::Asked)), (1, 0));
    world.net.is_cut_off = false;
    world.pass(1);
    assert_eq!(world.count(Happening::Asked), 1);
    let mut world = World::new(&[APP]);
    world.net.has_no_ports = true;
    world.poll();
    assert_eq!((world.count(Happening::NoPort), world.resolver.is_waiting()), (1, false));
    world.net.has_no_ports = false;
    world.net.sent.clear();
    let before = world.now;
    let asked = world.ask();
    assert_eq!(world.since(before), Duration::from_secs(1));
    world.answer(&asked, GOOD, &[a([192, 0, 2, 7], 60)]);
    assert_eq!(world.resolver.states().resolved, 1);
}
