use super::*;

fn tally(json: &str) -> Tally {
    serde_json::from_str(json).unwrap()
}

/// Two vCPUs; a block of three instructions (the second locked, the third an `out`) and a plain one.
fn before() -> Tally {
    tally(
        r#"{"vcpus":2,"halts":[1,2],"unplaced":[0,0],
            "blocks":[[4096,[2,4,1],[[1,"locked"],[2,"port"]],[10,0]],[8192,[1],[],[1,1]]],
            "devices":[[0,4098,"bell",3]],"lines":[[64,1,2,[[1,8192,0,5]]]],"lines_total":1}"#,
    )
}

fn after() -> Tally {
    tally(
        r#"{"vcpus":2,"halts":[1,5],"unplaced":[0,0],
            "blocks":[[8192,[1],[],[1,1]],[4096,[2,4,1],[[1,"locked"],[2,"port"]],[12,7]],[4096,[2],[],[0,4]],
                      [9000,[3,2],[[0,"barrier"],[1,"msr"]],[1,0]]],
            "devices":[[0,4098,"bell",4],[1,4098,"bell",6]],"lines":[],"lines_total":0}"#,
    )
}

#[test]
fn the_work_between_two_moments() {
    let work = after().since(&before());
    let [first, second] = work.by_vcpu()[..] else { panic!("{work:?}") };
    let expected = Counts { instructions: 8, locked: 2, barriers: 1, ports: 2, msrs: 1, devices: 1, halts: 0 };
    assert_eq!(first, expected);
    let expected = Counts { instructions: 25, locked: 7, barriers: 0, ports: 7, msrs: 0, devices: 6, halts: 3 };
    assert_eq!(second, expected);
    let mut total = first;
    total += second;
    assert_eq!(work.total(), total);
}

#[test]
fn nothing_happens_between_a_moment_and_itself() {
    let work = after().since(&after());
    assert_eq!(work.total(), Counts::default());
    assert!(work.blocks.is_empty() && work.devices.is_empty());
}

#[test]
fn the_whole_is_the_work_since_nothing() {
    assert_eq!(after().since(&Tally::default()), after());
}

#[test]
fn special_instructions_have_addresses() {
    let work = after().since(&before());
    assert_eq!(work.by_address(Special::Locked), BTreeMap::from([(4098, 9)]));
    assert_eq!(work.by_address(Special::Port), BTreeMap::from([(4102, 9)]));
    assert_eq!(work.by_address(Special::Msr), BTreeMap::from([(9003, 1)]));
}

#[test]
fn shared_lines_are_those_of_the_later_moment() {
    let work = before().since(&after());
    assert_eq!(work.lines.len(), 1);
    assert_eq!(work.lines[0].accesses, [LineAccess { vcpu: 1, at: 8192, is_store: 0, count: 5 }]);
}
