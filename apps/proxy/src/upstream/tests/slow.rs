//! Slow start: servers that come up get their share by and by.

use super::*;

/// How many of 4,000 requests, one every millisecond and done at once, go to the second server.
fn second_of(upstream: &mut Upstream, from: Instant) -> usize {
    let moment = |n: u64| from + Duration::from_millis(n);
    (0..4_000).filter(|&n| choose(upstream, moment(n)) == Some(1)).count()
}

/// Two servers that are up, of which the second was down and comes back now, a long time after the first.
fn with_one_back(more: &str) -> (Upstream, Instant) {
    let mut upstream = upstream(2, &format!("slow_start = \"40s\"\n{more}"), 3);
    let back = NOW + Duration::from_secs(1_000);
    upstream.set_health(1, false, NOW);
    upstream.set_health(1, true, back);
    (upstream, back)
}

#[test]
fn a_server_that_came_back_gets_its_share_by_and_by() {
    for balance in ["round-robin", "random-2"] {
        let (mut upstream, back) = with_one_back(&format!("balance = \"{balance}\""));
        // A tenth against one: an eleventh; half against one: a third; in the end a half. All are idle, so that draws decide.
        for (seconds, expected) in [(0, 300..440), (18, 1_150..1_500), (40, 1_900..2_100)] {
            let count = second_of(&mut upstream, back + Duration::from_secs(seconds));
            assert!(expected.contains(&count), "{balance} after {seconds} s: {count} of 4000");
        }
        assert!(!matches!(upstream.picker, Picker::Gradual { .. }), "{balance}: choosing is as quick as ever");
    }
}

#[test]
fn what_a_slow_server_has_under_way_grows() {
    for (balance, requests, steps) in [
        ("least-connections", 3_000, &[(0, 35..60), (20, 190..210), (40, 395..405)][..]),
        ("random-2", 600, &[(0, 35..60), (20, 205..250)]),
    ] {
        let (mut upstream, back) = with_one_back(&format!("balance = \"{balance}\""));
        (0..400).for_each(|_| upstream.occupy(0, back));
        let mut held = 0;
        for (seconds, expected) in steps {
            let now = back + Duration::from_secs(*seconds);
            // Requests that go to the first server are done at once, those that go to the second stay.
            for _ in 0..requests {
                if choose(&mut upstream, now) == Some(1) {
                    upstream.occupy(1, now);
                    held += 1;
                }
            }
            assert!(expected.contains(&held), "{balance} after {seconds} s: {held} beside 400");
        }
    }
}

#[test]
fn servers_that_came_together_share_as_if_they_were_not_slow() {
    for balance in ["round-robin", "random-2"] {
        let mut upstream = upstream(2, &format!("slow_start = \"40s\"\nbalance = \"{balance}\"\n[pool.health]"), 3);
        assert_eq!([0, 1].map(|server| upstream.set_health(server, true, NOW)), [Some(0), Some(1)]);
        let count = second_of(&mut upstream, NOW);
        assert!((1_850..2_150).contains(&count), "{balance}: {count} of 4000");
    }
}

#[test]
fn the_end_of_being_left_alone_and_an_address_begin_it_too() {
    let mut upstream = upstream(2, "slow_start = \"40s\"\nbalance = \"round-robin\"", 3);
    let late = NOW + Duration::from_secs(1_000);
    upstream.mark_down(1, late);
    let count = second_of(&mut upstream, late + LEFT_ALONE);
    assert!((300..440).contains(&count), "left alone: {count} of 4000");
    let later = late + Duration::from_secs(1_000);
    assert!((1_900..2_100).contains(&second_of(&mut upstream, later)));
    upstream.set_address(1, ([10, 0, 0, 99], 80).into(), later);
    let count = second_of(&mut upstream, later);
    assert!((300..440).contains(&count), "at another address: {count} of 4000");
}
