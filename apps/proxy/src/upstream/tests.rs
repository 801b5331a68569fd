//! Who gets the next request.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use weir_config::Config;

mod report;
mod slow;

use super::judge::{ERRORS_MAX, LEFT_ALONE};
use super::*;

/// A pool of servers `s0`, `s1`, …; `more` are lines of its section, and of its servers' where they say which one.
fn pool(servers: usize, more: &str) -> Pool {
    let mut text = String::from(
        "[[listener]]\nname = \"l\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npool = \"p\"\n[[pool]]\nname = \"p\"\n",
    );
    let (of_servers, of_pool): (Vec<&str>, Vec<&str>) =
        more.lines().partition(|line| line.starts_with('s') && line.contains(": "));
    of_pool.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    for n in 0..servers {
        text.push_str(&format!("[[pool.server]]\nname = \"s{n}\"\naddress = \"10.0.0.{}:80\"\n", n + 1));
        let own = of_servers.iter().filter_map(|line| line.strip_prefix(&format!("s{n}: ")));
        own.for_each(|line| text.push_str(&format!("{line}\n")));
    }
    Config::parse(&text).unwrap_or_else(|error| panic!("{error}")).pools.remove(0)
}

fn upstream(servers: usize, more: &str, seed: u64) -> Upstream {
    Upstream::new(&pool(servers, more), 0, seed, (0, 1))
}

const NOW: Instant = Instant::from_nanos(5_000_000_000);

fn choose(upstream: &mut Upstream, now: Instant) -> Option<u16> {
    match upstream.choose(now, 0) {
        Choice::Server(server) => Some(server),
        Choice::Full | Choice::Down => None,
    }
}

#[test]
fn servers_that_are_down_are_passed_over_for_a_second() {
    let now = Instant::from_nanos(5_000_000_000);
    let mut upstream = upstream(3, "balance = \"round-robin\"", 1);
    assert_eq!(choose(&mut upstream, now), Some(1), "the seed decides who is first");
    upstream.mark_down(2, now);
    assert_eq!(
        [choose(&mut upstream, now), choose(&mut upstream, now), choose(&mut upstream, now)],
        [Some(0), Some(1), Some(0)]
    );
    upstream.mark_down(0, now);
    upstream.mark_down(1, now);
    assert_eq!(choose(&mut upstream, now), None);
    assert!(upstream.choose_any().is_some());
    assert!(choose(&mut upstream, now + LEFT_ALONE).is_some());
}

#[test]
fn a_server_that_fails_again_and_again_is_left_alone_for_twice_as_long_each_time() {
    let mut now = Instant::from_nanos(5_000_000_000);
    let mut upstream = upstream(1, "", 0);
    for seconds in [1, 2, 4, 8, 16, 32, 32, 32] {
        assert!(upstream.mark_down(0, now));
        assert!(!upstream.mark_down(0, now), "what was under way says nothing new");
        now = now + Duration::from_millis(1000 * seconds - 1);
        assert_eq!(choose(&mut upstream, now), None, "{seconds} s");
        now = now + Duration::from_millis(1);
        assert_eq!(choose(&mut upstream, now), Some(0), "{seconds} s");
    }
    upstream.mark_good(0);
    assert!(upstream.mark_down(0, now));
    assert_eq!(choose(&mut upstream, now + LEFT_ALONE), Some(0), "one answer, and it begins anew");
}

#[test]
fn errors_in_a_row_eject_at_most_half_of_the_servers() {
    let now = Instant::from_nanos(5_000_000_000);
    let mut upstream = upstream(3, "balance = \"round-robin\"", 0);
    let mut fails = |index, times| (0..times).filter(|_| upstream.mark_error(index, now)).count();
    assert_eq!(fails(0, ERRORS_MAX - 1), 0);
    assert_eq!(fails(0, 1), 1);
    assert_eq!(fails(1, 3 * ERRORS_MAX), 0, "two of three would be more than half");
    upstream.mark_good(1);
    assert_eq!(
        [choose(&mut upstream, now), choose(&mut upstream, now), choose(&mut upstream, now)],
        [Some(1), Some(2), Some(1)]
    );
}

#[test]
fn a_verdict_lasts_until_the_next() {
    let now = Instant::from_nanos(5_000_000_000);
    let late = now + Duration::from_secs(1 << 30);
    let mut upstream = Upstream::new(&pool(2, "[pool.health]"), 7, 0, (0, 1));
    assert_eq!((choose(&mut upstream, late), upstream.choose_any()), (None, None), "nothing before the first verdict");
    assert_eq!(upstream.set_health(1, false, now), Some(8));
    assert_eq!((choose(&mut upstream, late), upstream.choose_any()), (None, Some(1)));
    assert_eq!(upstream.set_health(0, true, now), Some(7));
    assert_eq!([choose(&mut upstream, now), choose(&mut upstream, now)], [Some(0), Some(0)]);
    assert!(!upstream.mark_down(1, now), "a failure does not shorten the verdict");
    assert_eq!([choose(&mut upstream, late), choose(&mut upstream, late)], [Some(0), Some(0)]);
    assert_eq!(upstream.set_health(9, true, now), None);
}

/// How often each of three servers gets one of 3,000 requests that all stay under way.
fn pile_up(more: &str) -> [u32; 3] {
    let mut upstream = upstream(3, more, 7);
    let mut counts = [0; 3];
    for _ in 0..3_000 {
        let server = choose(&mut upstream, NOW).expect("a server");
        upstream.occupy(server, NOW);
        counts[usize::from(server)] += 1;
    }
    counts
}

#[test]
fn the_least_loaded_server_is_chosen_in_proportion_to_its_weight() {
    assert_eq!(pile_up("balance = \"least-connections\""), [1_000; 3]);
    assert_eq!(pile_up("balance = \"least-connections\"\ns1: weight = 4"), [500, 2_000, 500]);
}

#[test]
fn equals_take_turns_and_who_is_done_is_last() {
    let mut upstream = upstream(3, "balance = \"least-connections\"", 0);
    let turn = |upstream: &mut Upstream| {
        let server = choose(upstream, NOW).expect("a server");
        upstream.occupy(server, NOW);
        upstream.release(server, NOW);
        server
    };
    let turns: Vec<u16> = (0..9).map(|_| turn(&mut upstream)).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    upstream.mark_down(1, NOW);
    let turns: Vec<u16> = (0..4).map(|_| turn(&mut upstream)).collect();
    assert_eq!(turns, [0, 2, 0, 2]);
    let later = NOW + LEFT_ALONE;
    let turns: Vec<u16> = (0..3)
        .map(|_| {
            let server = choose(&mut upstream, later).expect("a server");
            upstream.occupy(server, later);
            server
        })
        .collect();
    assert_eq!(turns, [0, 2, 1], "who is back is one of the equals again");
}

#[test]
fn random_of_two_keeps_servers_nearly_even() {
    let counts = pile_up("balance = \"random-2\"");
    assert!(counts.iter().all(|count| (990..1_010).contains(count)), "{counts:?}");
    let counts = pile_up("balance = \"random-2\"\ns2: weight = 2");
    assert!((1_450..1_550).contains(&counts[2]), "{counts:?}");
}

#[test]
fn a_hash_stays_with_its_server_while_that_is_up() {
    let mut upstream = upstream(3, "balance = \"hash\"", 0);
    let all = |upstream: &mut Upstream| -> Vec<Choice> {
        (0..999).map(|key| upstream.choose(NOW, hash(&[key as u8, (key >> 8) as u8]))).collect()
    };
    let before = all(&mut upstream);
    for server in 0..3 {
        let share = before.iter().filter(|&&choice| choice == Choice::Server(server)).count();
        assert!((280..390).contains(&share), "{server}: {share}");
    }
    upstream.mark_down(1, NOW);
    let meanwhile = all(&mut upstream);
    for (old, new) in before.iter().zip(&meanwhile) {
        assert!(old == new || *old == Choice::Server(1), "only the keys of the server that is down move");
    }
    for server in [0, 2] {
        let moved = before.iter().zip(&meanwhile).filter(|(old, new)| old != new && **new == Choice::Server(server));
        assert!(moved.count() > 100, "and to all others");
    }
    let after: Vec<Choice> =
        (0..999_u32).map(|key| upstream.choose(NOW + LEFT_ALONE, hash(&[key as u8, (key >> 8) as u8]))).collect();
    assert_eq!(before, after);
}

#[test]
fn backups_serve_when_nobody_else_is_up() {
    for balance in ["round-robin", "least-connections", "random-2", "hash"] {
        let mut upstream = upstream(4, &format!("balance = \"{balance}\"\ns2: backup = true\ns3: backup = true"), 0);
        assert!((0..50).all(|_| matches!(choose(&mut upstream, NOW), Some(0 | 1))), "{balance}");
        upstream.mark_down(0, NOW);
        assert!((0..50).all(|_| choose(&mut upstream, NOW) == Some(1)), "{balance}");
        upstream.mark_down(1, NOW);
        assert_eq!([(); 4].map(|()| choose(&mut upstream, NOW)), [2, 3, 2, 3].map(Some), "{balance}");
        assert!(matches!(choose(&mut upstream, NOW + LEFT_ALONE), Some(0 | 1)), "{balance}");
    }
}

#[test]
fn who_drains_or_is_in_maintenance_gets_nothing_new() {
    for balance in ["round-robin", "least-connections", "random-2", "hash"] {
        let more = format!("balance = \"{balance}\"\ns0: state = \"drain\"\ns1: state = \"maintenance\"");
        let mut upstream = upstream(3, &more, 0);
        assert!((0..50).all(|_| choose(&mut upstream, NOW) == Some(2)), "{balance}");
        upstream.mark_down(2, NOW);
        assert_eq!(upstream.choose(NOW, 0), Choice::Down, "{balance}");
        assert_eq!(upstream.choose_any(), Some(2), "{balance}: the one that may be tried");
        upstream.set_health(1, true, NOW);
        assert_eq!(upstream.choose(NOW, 0), Choice::Down, "{balance}: well, and in maintenance");
    }
}

#[test]
fn when_all_are_down_nobody_is_tried_if_that_is_wanted() {
    let mut upstream = upstream(1, "when_all_down = \"fail\"", 0);
    upstream.mark_down(0, NOW);
    assert_eq!((upstream.choose(NOW, 0), upstream.choose_any()), (Choice::Down, None));
}

#[test]
fn nobody_gets_more_than_it_may_have() {
    for balance in ["round-robin", "least-connections", "random-2", "hash"] {
        let more = format!("balance = \"{balance}\"\ns0: max_connections = 2\ns1: max_connections = 3");
        let mut upstream = upstream(2, &more, 0);
        for _ in 0..5 {
            let server = choose(&mut upstream, NOW).expect("room");
            upstream.occupy(server, NOW);
        }
        assert_eq!(upstream.choose(NOW, 0), Choice::Full, "{balance}");
        upstream.release(0, NOW);
        assert_eq!(upstream.choose(NOW, 0), Choice::Server(0), "{balance}");
        upstream.occupy(0, NOW);
        upstream.mark_down(1, NOW);
        assert_eq!(upstream.choose(NOW, 0), Choice::Full, "{balance}: one is up, and busy");
        upstream.mark_down(0, NOW);
        assert_eq!((upstream.choose(NOW, 0), upstream.choose_any()), (Choice::Down, None), "{balance}");
    }
}

#[test]
fn cores_share_what_a_server_may_have() {
    for (max, cores) in [(10, 4), (3, 4), (1, 1), (7, 2)] {
        assert_eq!((0..cores).map(|core| first_share(max, core, cores)).sum::<u32>(), max);
    }
}

#[test]
fn a_fifth_of_the_exchanges_may_be_sent_again() {
    let mut upstream = upstream(1, "", 0);
    let burst = (0..1_000).take_while(|_| upstream.spend_retry()).count();
    assert_eq!(burst, 10);
    let granted = (0..1_000).filter(|_| {
        upstream.earn_retry();
        upstream.spend_retry()
    });
    assert_eq!(granted.count(), 200);
}

/// A server of a busy pool dies, and with it as many requests as it had.
#[test]
fn what_was_not_sent_again_is_saved_up() {
    for (exchanges, retries) in [(500, 10 + 100), (5_000, 1_000), (1_000_000, 1_000)] {
        let mut upstream = upstream(1, "", 0);
        (0..exchanges).for_each(|_| upstream.earn_retry());
        assert_eq!((0..2_000).filter(|_| upstream.spend_retry()).count(), retries);
    }
}

/// Any number of cores that need shares at random: together they never have more than there is, and everybody gets one.
#[test]
fn shares_are_traded_and_never_made() {
    for (max, cores) in [(1, 2), (1, 8), (3, 4), (10, 3)] {
        let pool = pool(1, &format!("s0: max_connections = {max}"));
        let mut all: Vec<Upstream> = (0..cores).map(|core| Upstream::new(&pool, 0, 0, (core, cores))).collect();
        let mut mail: VecDeque<(usize, Offer)> = VecDeque::new();
        let mut active = alloc::vec![0_u32; cores];
        let mut served = alloc::vec![0; cores];
        let mut random = 7;
        for step in 0..20_000_u64 {
            random = mix(random + step);
            let mut core = random as usize % cores;
            if random >> 33 & 1 == 0 {
                if active[core] > 0 {
                    active[core] -= 1;
                    all[core].release(0, NOW);
                }
            } else if let Some((to, offer)) = mail.pop_front() {
                core = to;
                match offer {
                    Offer::Wish(from) => all[to].hear_wish(0, from),
                    Offer::Share => all[to].hear_share(0, NOW),
                }
            } else {
                all[core].queued += 1;
            }
            while let Some((_, to)) = all[core].give_share(NOW) {
                mail.push_back((to.into(), Offer::Share));
            }
            while all[core].queued > 0 && choose(&mut all[core], NOW).is_some() {
                all[core].occupy(0, NOW);
                all[core].queued -= 1;
                (active[core], served[core]) = (active[core] + 1, served[core] + 1);
            }
            if all[core].queued > 0 && all[core].wish().is_some() {
                mail.extend((0..cores).filter(|&other| other != core).map(|other| (other, Offer::Wish(core as u16))));
            }
            assert!(active.iter().sum::<u32>() <= max, "{active:?}");
        }
        assert!(served.iter().all(|&count| count > 100), "{max} for {cores}: {served:?}");
    }
}

/// Whoever asked for a share has it first, whoever had the one before, and gives it away then.
#[test]
fn a_share_is_for_who_asked_for_it() {
    let pool = pool(1, "s0: max_connections = 1");
    for had_the_last in [false, true] {
        let mut upstream = Upstream::new(&pool, 0, 0, (1, 4));
        upstream.queued = 1;
        upstream.is_our_turn = had_the_last;
        upstream.hear_wish(0, 2);
        upstream.hear_share(0, NOW);
        assert_eq!(upstream.give_share(NOW), None, "{had_the_last}");
        assert_eq!(choose(&mut upstream, NOW), Some(0));
        upstream.occupy(0, NOW);
        upstream.release(0, NOW);
        assert_eq!(upstream.give_share(NOW), Some((0, 2)), "{had_the_last}");
    }
}

/// Cookies overtake nobody: but who waits does not wait for a server that drains.
#[test]
fn only_towards_a_server_that_drains_a_cookie_passes_the_queue() {
    let mut upstream = upstream(2, "sticky = { cookie = \"W\" }\ns1: state = \"drain\"", 0);
    upstream.queued = 1;
    for (server, expected) in [(0, None), (1, Some(1))] {
        let lines = upstream.sticky.as_ref().expect("a cookie").lines(server);
        let value = lines.strip_prefix(b"Set-Cookie: W=").and_then(|rest| rest.split(|&byte| byte == b';').next());
        let value = value.expect("a value").to_vec();
        let placed = upstream.place_by_cookie(NOW, 0, Some(&value));
        let choice = if let Choice::Server(server) = placed.choice { Some(server) } else { None };
        assert_eq!((choice, placed.is_new), (expected, false), "s{server}");
    }
}
