//! Buses, registers and capability lists, good and bad.

use std::vec::Vec;

use weir_hal::{MapError, MsiMessage, PciConfig, PhysAddr};

use super::{BarIndex, Capability, Function, MsixTable, PciError, Window, scan};
use crate::fake::config::{FakeConfig, MappingMachine, Space, place};

const HERE: weir_hal::PciFunction = weir_hal::PciFunction { bus: 0, device: 1, function: 0 };

fn with(space: Space) -> FakeConfig {
    FakeConfig::default().with(HERE, space)
}

fn index(number: u8) -> BarIndex {
    BarIndex::new(number).expect("0 to 5")
}

#[test]
fn the_walk_finds_functions_and_what_lies_behind_bridges() {
    let bridge = Space::new(1, 2).header_type(0x01).word(0x18, 0x00_05_03_00);
    let config = FakeConfig::default()
        .with(place(0, 0, 0), Space::new(0x8086, 0x29c0))
        .with(place(0, 3, 0), Space::new(1, 1).header_type(0x80))
        .with(place(0, 3, 5), Space::new(1, 1))
        .with(place(0, 4, 0), Space::new(1, 1))
        .with(place(0, 4, 1), Space::new(9, 9))
        .with(place(0, 31, 0), bridge)
        .with(place(3, 0, 0), Space::new(7, 7));
    let found: Vec<_> = scan(&config).iter().map(|found| found.place).collect();
    // 00:04.1 is not looked at: its device says that it has a single function.
    let expected = [place(0, 0, 0), place(0, 3, 0), place(0, 3, 5), place(0, 4, 0), place(0, 31, 0), place(3, 0, 0)];
    assert_eq!(found, expected);
}

#[test]
fn bridges_in_a_circle_are_walked_once() {
    let to = |bus: u32| Space::new(1, 2).header_type(0x01).word(0x18, bus << 8);
    let config =
        FakeConfig::default().with(place(0, 0, 0), to(1)).with(place(1, 0, 0), to(0)).with(place(1, 1, 0), to(1));
    assert_eq!(scan(&config).len(), 3);
}

#[test]
fn a_function_says_what_it_is() {
    let space = Space::new(0x1af4, 0x1041).word(0x08, 0x0200_0001).word(0x2c, 0x1100_1af4);
    let config = with(space);
    let identity = Function::new(&config, HERE).identity().expect("present");
    assert_eq!((identity.vendor, identity.device), (0x1af4, 0x1041));
    assert_eq!((identity.class, identity.revision, identity.subsystem), (0x02_0000, 1, 0x1100));
    assert_eq!(Function::new(&config, place(9, 9, 0)).identity(), None);
}

#[test]
fn registers_of_both_widths_are_measured_and_left_as_they_were() {
    let space = Space::new(1, 1).bar32(0, 0xfeb0_0000, 0x1000).bar64(2, 0x38_0000_0000, 0x4000).word(4, 0b111);
    let config = with(space);
    let bars = Function::new(&config, HERE).bars(&mut Window::empty());
    let bar = bars.get(index(0)).expect("32 bits");
    assert_eq!((bar.start, bar.len), (PhysAddr(0xfeb0_0000), 0x1000));
    let bar = bars.get(index(2)).expect("64 bits");
    assert_eq!((bar.start, bar.len), (PhysAddr(0x38_0000_0000), 0x4000));
    assert_eq!(config.word(HERE, 0x10), 0xfeb0_0000);
    assert_eq!(config.word(HERE, 0x1c), 0x38);
    assert_eq!(config.word(HERE, 4) & 0b111, 0b111, "the function answers again");
}

#[test]
fn a_register_that_cannot_be_used_says_why() {
    let space = Space::new(1, 1).word(0x10, 0xc001).word(0x18, 0b010).word(0x24, 0b100);
    let config = with(space);
    let bars = Function::new(&config, HERE).bars(&mut Window::empty());
    assert_eq!(bars.get(index(0)), Err(PciError::BarIsPorts(0)));
    assert_eq!(bars.get(index(1)), Err(PciError::BarAbsent(1)));
    assert_eq!(bars.get(index(2)), Err(PciError::BarMalformed(2)), "the type of 16-bit registers is history");
    assert_eq!(bars.get(index(5)), Err(PciError::BarMalformed(5)), "64 bits without a second half");
    assert_eq!(BarIndex::new(6).err(), Some(PciError::NoSuchBar(6)));
    let wide = with(Space::new(1, 1).bar64(0, 0x1_0000_0000, 0x1000));
    let bars = Function::new(&wide, HERE).bars(&mut Window::empty());
    assert_eq!(bars.get(index(1)), Err(PciError::BarMalformed(1)), "a second half is no register of its own");
}

#[test]
fn a_register_without_address_gets_one_from_the_window() {
    let space = || Space::new(1, 1).bar32(0, 0, 0x1000).bar64(2, 0, 0x10_0000).bar32(4, 0, 0x100);
    let config = with(space());
    let mut window = Window::new(PhysAddr(0xe000_0800), PhysAddr(0xe020_0000));
    let bars = Function::new(&config, HERE).bars(&mut window);
    let starts = [0, 2].map(|number| bars.get(index(number)).expect("room").start.0);
    assert_eq!(starts, [0xe000_1000, 0xe010_0000], "aligned to their sizes");
    assert_eq!(bars.get(index(4)), Err(PciError::BarUnassigned(4)), "the window is used up");
    assert_eq!(config.word(HERE, 0x18), 0xe010_000c, "the device knows");
    let without = with(space());
    let bars = Function::new(&without, HERE).bars(&mut Window::empty());
    assert_eq!(bars.get(index(0)), Err(PciError::BarUnassigned(0)));
    let beyond = with(space());
    let mut high = Window::new(PhysAddr(0xffff_f000), PhysAddr(0x10_0000_0000));
    let bars = Function::new(&beyond, HERE).bars(&mut high);
    assert_eq!(bars.get(index(0)).map(|bar| bar.start), Ok(PhysAddr(0xffff_f000)));
    assert_eq!(bars.get(index(4)), Err(PciError::BarUnassigned(4)), "32 bits do not reach there");
}

#[test]
fn only_what_lies_within_a_register_is_mapped() {
    let machine = MappingMachine::default();
    let config = with(Space::new(1, 1).bar32(0, 0xfeb0_0000, 0x1000).bar64(2, 1 << 50, 0x1000));
    let bars = Function::new(&config, HERE).bars(&mut Window::empty());
    let bar = bars.get(index(0)).expect("good");
    assert_eq!(bar.map(&machine, 0xf00, 0x100).expect("within").len(), 0x100);
    for (offset, len) in [(0xf00, 0x101), (0x1000, 1), (0, 0), (u64::MAX, 2), (1, u64::MAX)] {
        assert_eq!(bar.map(&machine, offset, len).err(), Some(PciError::OutsideBar(0)), "{offset:#x} {len:#x}");
    }
    let far = bars.get(index(2)).expect("good").map(&machine, 0, 0x1000).err();
    assert_eq!(far, Some(PciError::Map(MapError::BadRange)));
}

#[test]
fn the_capability_list_is_read_in_order_and_ends() {
    let config = with(Space::new(1, 1).capability(0x98, 0x11, 0x40, &[]).capability(0x40, 0x09, 0, &[]));
    let list: Result<Vec<_>, _> = Function::new(&config, HERE).capabilities().collect();
    let expected = [Capability { id: 0x11, offset: 0x98 }, Capability { id: 0x09, offset: 0x40 }];
    assert_eq!(list.as_deref(), Ok(&expected[..]));
    let none = with(Space::new(1, 1).word(0x34, 0x40));
    assert_eq!(Function::new(&none, HERE).capabilities().count(), 0, "the status says that there is no list");
}

#[test]
fn a_capability_list_in_a_circle_or_in_the_header_is_an_error() {
    let circle = with(Space::new(1, 1).capability(0x40, 9, 0x50, &[]).capability(0x50, 9, 0x40, &[]));
    let list: Result<Vec<_>, _> = Function::new(&circle, HERE).capabilities().collect();
    assert_eq!(list, Err(PciError::CapabilityListBroken));
    let header = with(Space::new(1, 1).capability(0x40, 9, 0x10, &[]));
    let list: Result<Vec<_>, _> = Function::new(&header, HERE).capabilities().collect();
    assert_eq!(list, Err(PciError::CapabilityListBroken));
    let machine = MappingMachine::default();
    let function = Function::new(&circle, HERE);
    let bars = function.bars(&mut Window::empty());
    assert_eq!(MsixTable::open(&function, &machine, &bars).err(), Some(PciError::CapabilityListBroken));
}

/// A function with an MSI-X table of four entries in register 1.
fn msix(place_in_bar: u32) -> Space {
    let rest = [&[3, 0][..], &place_in_bar.to_le_bytes()].concat();
    Space::new(1, 1).bar32(1, 0xfeb0_0000, 0x1000).capability(0x98, 0x11, 0, &rest)
}

#[test]
fn the_table_is_masked_switched_on_and_set_entry_by_entry() {
    let machine = MappingMachine::default();
    let config = with(msix(0x801));
    let function = Function::new(&config, HERE);
    let bars = function.bars(&mut Window::empty());
    let table = MsixTable::open(&function, &machine, &bars).expect("good").expect("there is one");
    assert_eq!(table.len(), 4);
    assert_eq!(config.word(HERE, 0x98) >> 30, 0b10, "enabled, not masked as a whole");
    let registers = machine.mapped.borrow()[&0xfeb0_0800];
    let mask = |entry: usize| registers.read::<u32>(16 * entry + 12);
    assert_eq!([0, 1, 2, 3].map(mask), [1; 4]);
    table.set(2, MsiMessage { address: 0x1_fee0_1000, data: 0x41 }).expect("there is such an entry");
    assert_eq!([0, 1, 2, 3].map(mask), [1, 1, 0, 1]);
    let words = [0, 4, 8].map(|field| registers.read::<u32>(32 + field));
    assert_eq!(words, [0xfee0_1000, 1, 0x41]);
    let error = table.set(4, MsiMessage { address: 0, data: 0 }).err();
    assert_eq!(error, Some(PciError::NoSuchVector(4)));
}

#[test]
fn a_table_outside_of_its_register_is_refused() {
    for (place_in_bar, error) in
        [(0xff9, PciError::OutsideBar(1)), (0x006, PciError::NoSuchBar(6)), (0x002, PciError::BarAbsent(2))]
    {
        let machine = MappingMachine::default();
        let config = with(msix(place_in_bar));
        let function = Function::new(&config, HERE);
        let bars = function.bars(&mut Window::empty());
        assert_eq!(MsixTable::open(&function, &machine, &bars).err(), Some(error));
        assert!(machine.mapped.borrow().is_empty());
    }
}

#[test]
fn a_function_without_a_table_has_none() {
    let config = with(Space::new(1, 1));
    let function = Function::new(&config, HERE);
    let bars = function.bars(&mut Window::empty());
    assert!(MsixTable::open(&function, &MappingMachine::default(), &bars).expect("no error").is_none());
    assert_eq!(config.read32(HERE, 0x34), 0);
}
