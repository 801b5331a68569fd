//! Looking up names in good tables and in broken ones.

use super::*;
use std::vec::Vec;

const NAMES: &[u8] = b"\0first\0second\0label\0";
const FIRST: u32 = 1;
const SECOND: u32 = 7;
const LABEL: u32 = 14;

fn symbol(name: u32, kind: u8, section: u16, start: u64, len: u64) -> Vec<u8> {
    let mut bytes = name.to_le_bytes().to_vec();
    bytes.extend([kind, 0]);
    bytes.extend(section.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes
}

fn table() -> Vec<u8> {
    [
        symbol(0, 0, 0, 0, 0),
        symbol(SECOND, 2, 1, 0x2000, 0x100),
        symbol(FIRST, 2, 1, 0x1000, 0x100),
        symbol(LABEL, 0, 1, 0x3000, 0),
        symbol(FIRST, 1, 2, 0x2010, 0x10),
        symbol(FIRST, 0, 0xfff1, 0x2020, 0),
    ]
    .concat()
}

fn find(address: u64) -> Option<(&'static str, u64)> {
    let table = table();
    let found = Symbols::new(&table, NAMES).find(address)?;
    let name = ["first", "second", "label"].into_iter().find(|name| *name == found.name)?;
    Some((name, found.offset))
}

#[test]
fn an_address_belongs_to_the_function_around_it() {
    assert_eq!(find(0x1000), Some(("first", 0)));
    assert_eq!(find(0x10ff), Some(("first", 0xff)));
    assert_eq!(find(0x2015), Some(("second", 0x15)), "data and absolute values are no functions");
}

#[test]
fn an_address_between_functions_belongs_to_none() {
    assert_eq!(find(0x1100), None);
    assert_eq!(find(0xfff), None);
}

#[test]
fn a_label_reaches_to_the_next_symbol() {
    assert_eq!(find(0x3abc), Some(("label", 0xabc)));
}

#[test]
fn broken_tables_give_no_name_and_no_fault() {
    let outside = symbol(1000, 2, 1, 0x1000, 0x100);
    assert_eq!(Symbols::new(&outside, NAMES).find(0x1000), None);
    let cut = &table()[..30];
    assert_eq!(Symbols::new(cut, NAMES).find(0x2000), None);
    let not_text = symbol(1, 2, 1, 0x1000, 0x100);
    assert_eq!(Symbols::new(&not_text, b"\0\xff\xfe\0").find(0x1000), None);
    let unending = symbol(1, 2, 1, 0x1000, 0x100);
    assert_eq!(Symbols::new(&unending, b"\0open").find(0x1000).map(|found| found.name), Some("open"));
    assert_eq!(Symbols::new(&[], &[]).find(0), None);
}
