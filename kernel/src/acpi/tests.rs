//! Tables as QEMU has them, and as a broken firmware might.

use super::*;
use crate::memory::phys::Slices;
use std::vec::Vec;

const ROOT_AT: u64 = 0xf_5ad0;
const LIST_AT: u64 = 0x7fe_0000;
const TABLE_AT: u64 = 0x7fe_1000;
const DSDT_AT: u64 = 0x7fe_2000;

fn seal(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = std::vec![0; HEADER_BYTES as usize];
    bytes[..4].copy_from_slice(signature);
    bytes.extend_from_slice(body);
    let len = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    seal(&mut bytes, 9);
    bytes
}

fn root(list: u64, revision: u8) -> Vec<u8> {
    let mut bytes = std::vec![0; 36];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[15] = revision;
    if revision >= 2 {
        bytes[24..32].copy_from_slice(&list.to_le_bytes());
    } else {
        bytes[16..20].copy_from_slice(&(list as u32).to_le_bytes());
    }
    seal(&mut bytes[..20], 8);
    bytes
}

/// Memory with a root pointer, an RSDT, and one table.
fn with_table(table_bytes: &[u8], test: impl FnOnce(Tables, &Slices<'_>)) {
    let root = root(LIST_AT, 0);
    let list = table(b"RSDT", &(TABLE_AT as u32).to_le_bytes());
    let memory = [(ROOT_AT, &root[..]), (LIST_AT, &list[..]), (TABLE_AT, table_bytes)];
    let memory = Slices(&memory);
    test(Tables::find(&memory, ROOT_AT).expect("good tables"), &memory);
}

fn madt(entries: &[&[u8]]) -> Vec<u8> {
    table(b"APIC", &[&[0; 8][..], &entries.concat()].concat())
}

fn core(id: u8, flags: u8) -> [u8; 8] {
    [0, 8, id, id, flags, 0, 0, 0]
}

fn core2(id: u32, flags: u8) -> [u8; 16] {
    let id = id.to_le_bytes();
    [9, 16, 0, 0, id[0], id[1], id[2], id[3], flags, 0, 0, 0, 0, 0, 0, 0]
}

fn cores(table: &[u8], boot: u32) -> Vec<u32> {
    let mut found = Vec::new();
    with_table(table, |tables, memory| found = madt_cores(&tables, memory, boot).as_slice().to_vec());
    found
}

#[test]
fn the_root_is_found_by_hint_or_by_search() {
    let root = root(LIST_AT, 2);
    let list = table(b"XSDT", &[]);
    let memory = [(ROOT_AT, &root[..]), (LIST_AT, &list[..])];
    for hint in [ROOT_AT, 0, 0xdead_beef] {
        assert!(Tables::find(&Slices(&memory), hint).is_ok());
    }
    assert_eq!(Tables::find(&Slices(&[]), 0), Err(AcpiError::NoRoot));
}

#[test]
fn a_root_that_lies_is_an_error() {
    let mut bad_sum = root(LIST_AT, 2);
    bad_sum[10] ^= 1;
    assert_eq!(Tables::find(&Slices(&[(ROOT_AT, &bad_sum)]), ROOT_AT), Err(AcpiError::NoRoot));
    let wild = root(u64::MAX - 4, 2);
    assert_eq!(Tables::find(&Slices(&[(ROOT_AT, &wild)]), ROOT_AT), Err(AcpiError::BadRoot));
}

#[test]
fn a_table_with_bad_checksum_or_length_does_not_exist() {
    let mut bad_sum = madt(&[&core(1, 1)]);
    bad_sum[20] ^= 1;
    let mut huge = madt(&[&core(1, 1)]);
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut tiny = madt(&[&core(1, 1)]);
    tiny[4..8].copy_from_slice(&8u32.to_le_bytes());
    for bytes in [bad_sum, huge, tiny] {
        with_table(&bytes, |tables, memory| assert_eq!(tables.get(memory, b"APIC"), None));
        assert_eq!(cores(&bytes, 7), [7]);
    }
}

#[test]
fn cores_come_in_order_with_the_boot_core_first() {
    assert_eq!(cores(&madt(&[&core(0, 1), &core(1, 1), &core(2, 1)]), 1), [1, 0, 2]);
    assert_eq!(cores(&madt(&[&core2(0x300, 1), &core2(0x301, 1)]), 0x300), [0x300, 0x301]);
}

#[test]
fn disabled_repeated_and_broadcast_entries_are_no_cores() {
    let entries =
        [&core(0, 1)[..], &core(1, 0), &core(0, 1), &core(255, 1), &core2(0, 1), &core2(u32::MAX, 1), &core2(5, 2)];
    assert_eq!(cores(&madt(&entries), 0), [0]);
}

#[test]
fn unknown_entries_are_skipped_and_broken_ones_end_the_table() {
    let unknown = [42, 4, 1, 2];
    assert_eq!(cores(&madt(&[&unknown, &core(1, 1)]), 0), [0, 1]);
    let without_end = [42, 0, 1, 2];
    assert_eq!(cores(&madt(&[&core(1, 1), &without_end, &core(2, 1)]), 0), [0, 1]);
    assert_eq!(cores(&madt(&[&core(1, 1), &core(2, 1)[..5]]), 0), [0, 1]);
    let short_core = [0, 3, 9];
    assert_eq!(cores(&madt(&[&short_core, &core(2, 1)]), 0), [0, 2]);
}

#[test]
fn more_cores_than_fit_are_ignored() {
    let entries: Vec<[u8; 16]> = (0..1000).map(|id| core2(id, 1)).collect();
    let entries: Vec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
    let found = cores(&madt(&entries), 999);
    assert_eq!((found.len(), found[0]), (crate::cores::CORES_MAX, 999));
}

#[test]
fn the_window_of_segment_zero_is_taken() {
    let entry = |base: u64, segment: u16, buses: [u8; 2]| {
        [&base.to_le_bytes()[..], &segment.to_le_bytes(), &buses, &[0; 4]].concat()
    };
    let both = [entry(0xa000_0000, 1, [0, 255]), entry(0xb000_0000, 0, [0, 255])].concat();
    let window = ConfigWindow { base: 0xb000_0000, first_bus: 0, last_bus: 255 };
    let bodies =
        [(both, Some(window)), (entry(0xb000_0000, 0, [9, 3]), None), (entry(0, 0, [0, 1]), None), (Vec::new(), None)];
    for (body, expected) in bodies {
        let table = table(b"MCFG", &[&[0; 8][..], &body].concat());
        with_table(&table, |tables, memory| assert_eq!(config_window(&tables, memory), expected));
    }
}

fn fadt(flags: u32) -> Vec<u8> {
    let mut body = std::vec![0; 244 - 36];
    let mut put = |offset: usize, bytes: &[u8]| body[offset - 36..offset - 36 + bytes.len()].copy_from_slice(bytes);
    put(40, &(DSDT_AT as u32).to_le_bytes());
    put(48, &0xb2u32.to_le_bytes());
    put(52, &[2]);
    put(56, &0x600u32.to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(88, &[4]);
    put(91, &[4]);
    put(112, &flags.to_le_bytes());
    put(116, &[1, 8, 0, 1]);
    put(120, &0xcf9u64.to_le_bytes());
    put(128, &[0x0f]);
    table(b"FACP", &body)
}

fn read_fadt(fadt: &[u8], dsdt: &[u8]) -> Option<Fadt> {
    let root = root(LIST_AT, 0);
    let list = table(b"RSDT", &(TABLE_AT as u32).to_le_bytes());
    let memory = [(ROOT_AT, &root[..]), (LIST_AT, &list[..]), (TABLE_AT, fadt), (DSDT_AT, dsdt)];
    let memory = Slices(&memory);
    Fadt::read(&Tables::find(&memory, ROOT_AT).unwrap(), &memory)
}

#[test]
fn ports_are_read_from_the_fadt() {
    let fadt = read_fadt(&fadt(1 << 10 | 1 << 8), &[]).unwrap();
    assert_eq!((fadt.event_port, fadt.event_enable_offset), (Some(0x600), 2));
    assert_eq!(fadt.control_ports, [Some(0x604), None]);
    assert_eq!(fadt.timer_port, Some((0x608, true)));
    assert_eq!(fadt.acpi_enable, Some((0xb2, 2)));
    assert_eq!(fadt.reset, Some((Register { space: RegisterSpace::Port, address: 0xcf9 }, 0x0f)));
    assert_eq!(fadt.off_types, None);
}

#[test]
fn reduced_hardware_has_no_ports() {
    let fadt = read_fadt(&fadt(1 << 20), &[]).unwrap();
    assert_eq!((fadt.event_port, fadt.timer_port, fadt.reset), (None, None, None));
    assert_eq!(fadt.control_ports, [None; 2]);
}

#[test]
fn the_sleep_type_is_found_by_its_encoding() {
    let cases: [(&[u8], Option<[u8; 2]>); 6] = [
        (b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00", Some([0, 0])),
        (b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\x00\x00", Some([5, 5])),
        (b"\x08_S5_\x12\x46\x00\x04\x01\x0a\x07\x00\x00", Some([1, 7])),
        (b"\x08_S5_\x12\x06\x01\x00\x00", None),
        (b"\x08_S5_\x12\x06\x04\x0a", None),
        (b"\x08_S4_\x12\x06\x04\x00\x00\x00\x00", None),
    ];
    for (aml, expected) in cases {
        let dsdt = table(b"DSDT", &[b"junk", aml].concat());
        assert_eq!(read_fadt(&fadt(0), &dsdt).unwrap().off_types, expected, "{aml:02x?}");
    }
}

fn io_apic(at: u32, first_line: u32) -> [u8; 12] {
    let ([a, b, c, d], [e, f, g, h]) = (at.to_le_bytes(), first_line.to_le_bytes());
    [1, 12, 0, 0, a, b, c, d, e, f, g, h]
}

#[test]
fn interrupt_controllers_stand_between_the_cores() {
    let table = madt(&[&core(0, 1), &io_apic(0xfec0_0000, 0), &core(1, 1), &io_apic(0xfec1_0000, 24), &[1, 4, 0, 0]]);
    with_table(&table, |tables, memory| {
        let found: Vec<_> = madt_io_apics(Some(&tables), memory).into_iter().flatten().collect();
        let controller = |at, first_line| IoApic { at, first_line };
        assert_eq!(found, [controller(0xfec0_0000, 0), controller(0xfec1_0000, 24)]);
        assert_eq!(madt_cores(&tables, memory, 0).as_slice(), [0, 1]);
    });
    let usual: Vec<_> = madt_io_apics(None, &Slices(&[])).into_iter().flatten().collect();
    assert_eq!(usual, [IoApic { at: 0xfec0_0000, first_line: 0 }]);
}

/// The AML of one virtio device, as QEMU writes it.
fn virtio_aml(at: u32, line: u32) -> Vec<u8> {
    let mut aml = b"[\x82\x42\x04VR00\x08_HID\x0dLNRO0005\0\x08_UID\0\x08_CCA\x01\x08_CRS\x11\x1a\x0a\x17".to_vec();
    aml.extend_from_slice(&[0x86, 9, 0, 1]);
    aml.extend_from_slice(&at.to_le_bytes());
    aml.extend_from_slice(&512u32.to_le_bytes());
    aml.extend_from_slice(&[0x89, 6, 0, 9, 1]);
    aml.extend_from_slice(&line.to_le_bytes());
    aml.extend_from_slice(&[0x79, 0]);
    aml
}

fn devices(aml: &[u8]) -> Vec<weir_hal::MmioDevice> {
    let dsdt = table(b"DSDT", aml);
    let mut body = std::vec![0; 240];
    body[4..8].copy_from_slice(&(DSDT_AT as u32).to_le_bytes());
    let (fadt, root, list) =
        (table(b"FACP", &body), root(LIST_AT, 0), table(b"RSDT", &(TABLE_AT as u32).to_le_bytes()));
    let memory = [(ROOT_AT, &root[..]), (LIST_AT, &list[..]), (TABLE_AT, &fadt[..]), (DSDT_AT, &dsdt[..])];
    let memory = Slices(&memory);
    let tables = Tables::find(&memory, ROOT_AT).expect("good tables");
    mmio_devices(&tables, &memory).into_iter().flatten().collect()
}

#[test]
fn devices_without_a_bus_stand_in_the_dsdt() {
    let device = |at, line| weir_hal::MmioDevice { at: weir_hal::PhysAddr(at), len: 512, line };
    let aml = [virtio_aml(0xfeb0_0e00, 12), virtio_aml(0xfeb0_0c00, 31)].concat();
    assert_eq!(devices(&aml), [device(0xfeb0_0e00, 12), device(0xfeb0_0c00, 31)]);
    assert_eq!(devices(b""), []);
}

#[test]
fn a_device_that_is_cut_off_or_of_another_kind_is_none() {
    let aml = virtio_aml(0xfeb0_0e00, 12);
    for len in 0..aml.len() - 2 {
        assert_eq!(devices(&aml[..len]), [], "{len}");
    }
    let mut other = aml.clone();
    let at = other.windows(8).position(|bytes| bytes == b"LNRO0005").unwrap();
    other[at] = b'X';
    assert_eq!(devices(&other), []);
    // Nothing else than the nearest descriptors is taken.
    let mut many = b"LNRO0005\0".to_vec();
    many.extend([0; 200]);
    many.extend_from_slice(&virtio_aml(1, 2)[20..]);
    assert_eq!(devices(&many), []);
    let full: Vec<u8> = (0..40).flat_map(|n| virtio_aml(0xfeb0_0000 + 512 * n, n)).collect();
    assert_eq!(devices(&full).len(), 32);
}
