//! The TAP device as a shard sees it, with weather in both directions.

use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use weir_packet::frame::{Capabilities, ChecksumStatus, Offload, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};

use crate::Failed;
use crate::interface::{Interface, WEIR_MAC};
use crate::weather::{Conditions, Weather};

/// Room that the shard wants in front of a received frame.
const HEADROOM: usize = 16;

/// Frames taken from the device in one go.
const BURST: usize = 256;

/// One queue of a TAP device.
pub struct Wire {
    device: SyncDevice,
    capabilities: Capabilities,
    frame: Vec<u8>,
    now_ns: u64,
    towards_weir: Weather,
    towards_linux: Weather,
}

impl Wire {
    /// Attaches to an interface.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new(interface: &Interface, conditions: Conditions, seed: u64) -> Result<Self, Failed> {
        let device =
            DeviceBuilder::new().name(interface.name()).layer(Layer::L2).inherit_enable_state().build_sync()?;
        device.set_nonblocking(true)?;
        let capabilities =
            Capabilities { mac: WEIR_MAC, mtu: 1_500, transmit_checksum: false, tso4: false, tso6: false };
        Ok(Self {
            device,
            capabilities,
            frame: Vec::with_capacity(2_048),
            now_ns: 0,
            towards_weir: Weather::new(conditions, seed),
            towards_linux: Weather::new(conditions, seed ^ 0xffff),
        })
    }

    /// Changes the weather; what is under way arrives as it would have.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.towards_weir.set_conditions(conditions);
        self.towards_linux.set_conditions(conditions);
    }

    /// The time of this turn. Takes from the device what the weather will deliver later, and gives what it delivers now.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        while let Some(frame) = self.towards_linux.take(now_ns) {
            // Damaged frames may be none that the kernel takes.
            let _ = self.device.send(&frame);
        }
        if self.towards_weir.is_clear() {
            return;
        }
        let mut buffer = [0; 2_048];
        for _ in 0..BURST {
            let Ok(len) = self.device.recv(&mut buffer) else { return };
            self.towards_weir.admit(now_ns, &buffer[..len]);
        }
    }

    /// The next frame for the shard.
    pub fn receive(&mut self, pool: &Pool) -> Option<RxFrame> {
        let mut packet = pool.allocate_whole()?;
        packet.trim_front(HEADROOM).ok()?;
        if let Some(frame) = self.towards_weir.take(self.now_ns) {
            packet.get_mut(..frame.len())?.copy_from_slice(&frame);
            packet.truncate(frame.len());
        } else if self.towards_weir.is_clear() {
            let len = self.device.recv(&mut packet).ok()?;
            packet.truncate(len);
        } else {
            return None;
        }
        Some(RxFrame { packet, checksum: ChecksumStatus::Unverified })
    }

    /// When a frame that is under way arrives at either end.
    #[must_use]
    pub fn next_arrival(&self) -> Option<u64> {
        self.towards_weir.next_arrival().into_iter().chain(self.towards_linux.next_arrival()).min()
    }

    /// What becomes readable when Linux sends a frame.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Transmit for Wire {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn room(&self) -> usize {
        BURST
    }

    fn transmit<P>(&mut self, head: Packet, payload: P, _: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        self.frame.clear();
        self.frame.extend_from_slice(&head);
        payload.for_each(|chunk| self.frame.extend_from_slice(&chunk));
        if self.towards_linux.is_clear() {
            return self.device.send(&self.frame).map(drop).map_err(|_| TransmitError::Full);
        }
        self.towards_linux.admit(self.now_ns, &self.frame);
        Ok(())
    }
}
