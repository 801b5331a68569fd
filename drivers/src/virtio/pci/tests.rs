//! Finding a device's structures, and refusing what cannot be.

use std::vec::Vec;

use weir_hal::PciFunction;

use super::{PciTransport, Structure};
use crate::DeviceError;
use crate::fake::config::{FakeConfig, MappingMachine, Space, place};
use crate::pci::{Function, PciError, Window};
use crate::virtio::{DeviceType, Transport};

const HERE: PciFunction = PciFunction { bus: 0, device: 2, function: 0 };
const BAR: u64 = 0x38_0000_0000;

/// A virtio capability: kind, register, offset, length, and what is added for doorbells.
#[derive(Clone, Copy)]
struct Cap(u8, u8, u32, u32, u32);

const COMMON: Cap = Cap(1, 4, 0x0000, 0x38, 0);
const DEVICE: Cap = Cap(4, 4, 0x2000, 0x0c, 0);
const NOTIFY: Cap = Cap(2, 4, 0x3000, 0x1000, 4);

fn device(id: u16, caps: &[Cap]) -> FakeConfig {
    let mut space = Space::new(0x1af4, id).word(0x2c, 0x0001_1af4).bar64(4, BAR, 0x4000);
    for (number, &Cap(kind, bar, offset, len, extra)) in caps.iter().enumerate() {
        let at = 0x40 + 0x18 * number;
        let next = if number + 1 == caps.len() { 0 } else { at + 0x18 };
        let words: Vec<u8> = [offset, len, extra].iter().flat_map(|word| word.to_le_bytes()).collect();
        let rest = [&[20, kind, bar, 0, 0, 0][..], &words].concat();
        space = space.capability(at, 0x09, next as u8, &rest);
    }
    FakeConfig::default().with(HERE, space)
}

fn open(config: &FakeConfig) -> Result<(PciTransport, MappingMachine), DeviceError> {
    let machine = MappingMachine::default();
    let transport = PciTransport::open(&Function::new(config, HERE), &machine, &mut Window::empty())?;
    Ok((transport, machine))
}

fn refused(caps: &[Cap]) -> DeviceError {
    open(&device(0x1041, caps)).err().expect("cannot be")
}

#[test]
fn the_structures_are_mapped_and_the_function_switched_on() {
    let config = device(0x1041, &[COMMON, DEVICE, NOTIFY]);
    let (transport, machine) = open(&config).expect("good");
    assert_eq!(transport.device_type(), DeviceType::Network);
    let mapped: Vec<_> = machine.mapped.borrow().keys().copied().collect();
    assert_eq!(mapped, [BAR, BAR + 0x2000, BAR + 0x3000]);
    assert_eq!(config.word(HERE, 4) & 0x406, 0x406, "memory, bus master, no interrupt line");
    assert_eq!(transport.vectors(), 0);
}

#[test]
fn the_type_is_in_the_device_number_or_in_the_subsystem_of_a_transitional_one() {
    for (id, expected) in [
        (0x1041, Some(DeviceType::Network)),
        (0x1044, Some(DeviceType::Entropy)),
        (0x1042, Some(DeviceType::Block)),
        (0x1043, Some(DeviceType::Unknown(3))),
        (0x1000, Some(DeviceType::Network)),
        (0x103f, Some(DeviceType::Network)),
        (0x1080, None),
        (0x0fff, None),
    ] {
        let config = device(id, &[]);
        assert_eq!(PciTransport::probe(&Function::new(&config, HERE)), expected, "{id:#x}");
    }
    let other = FakeConfig::default().with(HERE, Space::new(0x8086, 0x1041));
    assert_eq!(PciTransport::probe(&Function::new(&other, HERE)), None);
    assert_eq!(open(&other).err(), Some(DeviceError::NotVirtio(0x8086, 0x1041)));
    assert_eq!(PciTransport::probe(&Function::new(&other, place(7, 7, 7))), None);
}

#[test]
fn a_device_without_modern_structures_is_legacy() {
    assert_eq!(open(&device(0x1000, &[])).err(), Some(DeviceError::LegacyDevice));
    assert_eq!(refused(&[DEVICE, NOTIFY]), DeviceError::LegacyDevice);
}

#[test]
fn structures_that_cannot_be_are_refused_by_name() {
    let bad = DeviceError::BadStructure;
    assert_eq!(refused(&[COMMON, DEVICE]), bad(Structure::Notify));
    assert_eq!(refused(&[Cap(1, 4, 0, 0x37, 0), NOTIFY]), bad(Structure::Common));
    assert_eq!(refused(&[Cap(1, 4, 2, 0x38, 0), NOTIFY]), bad(Structure::Common));
    assert_eq!(refused(&[COMMON, Cap(2, 4, 0x3000, 1, 4)]), bad(Structure::Notify));
    assert_eq!(refused(&[Cap(1, 4, 0x3ff0, 0x38, 0), NOTIFY]), PciError::OutsideBar(4).into());
    assert_eq!(refused(&[Cap(1, 4, 0, u32::MAX, 0), NOTIFY]), PciError::OutsideBar(4).into());
    assert_eq!(refused(&[Cap(1, 7, 0, 0x38, 0), NOTIFY]), PciError::NoSuchBar(7).into());
    assert_eq!(refused(&[Cap(1, 3, 0, 0x38, 0), NOTIFY]), PciError::BarAbsent(3).into());
}

#[test]
fn the_first_usable_one_of_several_structures_is_taken() {
    let config = device(0x1041, &[Cap(1, 0, 0, 0x38, 0), COMMON, NOTIFY, Cap(2, 4, 0, 0x1000, 4)]);
    let (_, machine) = open(&config).expect("the second is good");
    let mapped: Vec<_> = machine.mapped.borrow().keys().copied().collect();
    assert_eq!(mapped, [BAR, BAR + 0x3000]);
}

#[test]
fn a_device_without_queues_or_configuration_answers_with_errors() {
    let config = device(0x1041, &[COMMON, NOTIFY]);
    let (mut transport, _) = open(&config).expect("good so far");
    assert_eq!(transport.queue_len_max(0), Err(DeviceError::QueueMissing(0)));
    assert_eq!(transport.config8(0), Err(DeviceError::ConfigTooShort(0)));
    assert_eq!(transport.config16(10), Err(DeviceError::ConfigTooShort(10)));
}

#[test]
fn a_doorbell_beyond_the_notification_structure_is_refused() {
    let config = device(0x1041, &[COMMON, Cap(2, 4, 0x3000, 0x1000, u32::MAX)]);
    let (mut transport, machine) = open(&config).expect("good so far");
    machine.mapped.borrow()[&BAR].write::<u16>(0x1e, 0xffff);
    assert_eq!(transport.doorbell(0).err(), Some(DeviceError::DoorbellOutside(0)));
    machine.mapped.borrow()[&BAR].write::<u16>(0x1e, 0);
    assert!(transport.doorbell(0).is_ok());
}
