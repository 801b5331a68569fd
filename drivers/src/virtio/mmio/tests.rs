//! A device with registers in memory, played by a list of what was written.

use std::collections::HashMap;
use std::sync::Mutex;
use std::vec::Vec;

use weir_hal::{MapError, PhysAddr};

use super::*;
use crate::fake::FakeMachine;

/// Registers that answer from a table and remember what is written.
#[derive(Default)]
struct Board {
    answers: HashMap<usize, u32>,
    written: Mutex<Vec<(usize, u32)>>,
    config: Vec<u8>,
}

impl Board {
    fn new(answers: &[(usize, u32)]) -> Self {
        let mut board = Self { config: std::vec![1, 2, 3], ..Self::default() };
        board.answers.extend([(register::MAGIC, MAGIC), (register::VERSION, 2), (register::DEVICE_ID, 1)]);
        board.answers.extend(answers.iter().copied());
        board
    }

    fn last(&self, offset: usize) -> Option<u32> {
        let written = self.written.lock().unwrap();
        written.iter().rev().find(|(at, _)| *at == offset).map(|(_, value)| *value)
    }
}

impl Registers for Board {
    type Doorbell = Bell;
    type MmioDoorbell = Bell;

    fn len(&self) -> usize {
        register::CONFIG + self.config.len()
    }

    fn read8(&self, offset: usize) -> u8 {
        self.config[offset - register::CONFIG]
    }

    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.read8(offset), self.read8(offset + 1)])
    }

    fn read32(&self, offset: usize) -> u32 {
        if offset == register::DEVICE_FEATURES {
            // Another half for each selection.
            return 0xa000_0000 | self.last(register::DEVICE_FEATURES_SEL).unwrap();
        }
        self.answers.get(&offset).copied().unwrap_or(0)
    }

    fn write8(&self, offset: usize, _: u8) {
        panic!("registers have 32 bits: {offset:#x}");
    }

    fn write16(&self, offset: usize, _: u16) {
        panic!("registers have 32 bits: {offset:#x}");
    }

    fn write32(&self, offset: usize, value: u32) {
        self.written.lock().unwrap().push((offset, value));
    }

    fn doorbell(&self, _: usize, _: u16) -> Option<Bell> {
        panic!("a doorbell of 16 bits");
    }

    fn mmio_doorbell(&self, offset: usize, queue: u16) -> Option<Bell> {
        Some(Bell(offset, queue))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Bell(usize, u16);

impl Doorbell for Bell {
    fn ring(&self) {}
}

fn open(answers: &[(usize, u32)]) -> Result<Option<MmioTransport<Board>>, DeviceError> {
    MmioTransport::over(Board::new(answers), 12, |line, message| line == 12 && message.data == 0x40)
}

fn device(answers: &[(usize, u32)]) -> MmioTransport<Board> {
    open(answers).expect("a good device").expect("a device")
}

#[test]
fn a_place_is_empty_or_foreign_or_old_or_a_device() {
    assert!(open(&[(register::DEVICE_ID, 0)]).unwrap().is_none());
    assert_eq!(open(&[(register::MAGIC, 7)]).err(), Some(DeviceError::NotVirtioMmio));
    assert_eq!(open(&[(register::VERSION, 1)]).err(), Some(DeviceError::LegacyDevice));
    assert_eq!(device(&[]).device_type(), DeviceType::Network);
    assert_eq!(device(&[(register::DEVICE_ID, 0x1_0001)]).device_type(), DeviceType::Unknown(u16::MAX));
    let short = Board { config: Vec::new(), ..Board::new(&[]) };
    assert!(MmioTransport::over(short, 0, |_, _| true).is_ok());
}

#[test]
fn registers_at_an_odd_address_are_refused_before_they_are_mapped() {
    for (at, error) in [(0xd000_0002, DeviceError::NotVirtioMmio), (0xd000_0004, DeviceError::Map(MapError::BadRange))]
    {
        let device = MmioDevice { at: PhysAddr(at), len: 0x200, line: 5 };
        assert_eq!(MmioTransport::open(device, &FakeMachine, |_, _| true).err(), Some(error), "{at:#x}");
    }
}

#[test]
fn features_are_read_and_written_in_halves() {
    let mut transport = device(&[]);
    assert_eq!(transport.offered().bits(), 0xa000_0001_a000_0000);
    transport.choose(Features::from_bits(0x1_2345_6789));
    let written = transport.registers.written.lock().unwrap();
    let wanted = [(0, 0x2345_6789), (1, 1)];
    let wanted = wanted.map(|(half, bits)| [(register::DRIVER_FEATURES_SEL, half), (register::DRIVER_FEATURES, bits)]);
    assert_eq!(written[written.len() - 4..], wanted.concat());
}

#[test]
fn a_queue_has_its_ring_before_it_is_ready() {
    let mut transport = device(&[(register::QUEUE_NUM_MAX, 1024)]);
    assert_eq!(transport.queue_len_max(3), Ok(1024));
    let ring = RingAddresses { len: 256, descriptors: 0x1_0000_1000, available: 0x2000, used: 0x3000 };
    transport.enable_queue(3, ring, Some(0)).unwrap();
    let board = &transport.registers;
    assert_eq!([register::QUEUE_SEL, register::QUEUE_NUM].map(|at| board.last(at)), [Some(3), Some(256)]);
    let halves = [register::QUEUE_DESC, register::QUEUE_DESC + 4, register::QUEUE_DRIVER, register::QUEUE_DEVICE];
    assert_eq!(halves.map(|at| board.last(at)), [0x1000, 1, 0x2000, 0x3000].map(Some));
    assert_eq!(board.written.lock().unwrap().last(), Some(&(register::QUEUE_READY, 1)));
    assert_eq!(transport.enable_queue(3, ring, Some(1)), Err(DeviceError::VectorRefused(3)));
    assert_eq!(transport.doorbell(3), Ok(Bell(register::QUEUE_NOTIFY, 3)));
}

#[test]
fn queues_of_impossible_lengths_are_refused() {
    for (len, error) in [
        (0, DeviceError::QueueMissing(1)),
        (3, DeviceError::QueueLenInvalid(3)),
        (0x1_0000, DeviceError::QueueLenInvalid(u16::MAX)),
    ] {
        assert_eq!(device(&[(register::QUEUE_NUM_MAX, len)]).queue_len_max(1), Err(error));
    }
}

#[test]
fn there_is_one_interrupt_and_it_goes_where_the_line_can() {
    let mut transport = device(&[]);
    let message = |data| MsiMessage { address: 0xfee0_0000, data };
    assert_eq!((transport.vectors(), transport.set_vector(0, message(0x40))), (1, Ok(())));
    assert_eq!(transport.set_vector(0, message(0x41)), Err(DeviceError::LineUnreachable(12)));
    assert_eq!(transport.set_vector(1, message(0x40)), Err(PciError::NoSuchVector(1).into()));
}

#[test]
fn the_configuration_has_an_end() {
    let transport = device(&[(register::CONFIG_GENERATION, 9)]);
    assert_eq!((transport.config8(2), transport.config16(1)), (Ok(3), Ok(0x302)));
    assert_eq!(transport.config8(3), Err(DeviceError::ConfigTooShort(3)));
    assert_eq!(transport.config16(2), Err(DeviceError::ConfigTooShort(2)));
    assert_eq!(transport.config_generation(), 9);
}
