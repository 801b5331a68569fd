//! A wire with weather: frames between a TAP and a guest are lost, delayed and reordered on their way.
//!
//! `tc netem` on the TAP would do it, where the kernel has it; few kernels of containers and small machines do. So QEMU gets
//! its frames from us, through a socket, and we get the host's from the TAP; the weather between is that of `weir-peer`, in
//! both directions and from a seed.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};
use weir_peer::{Conditions, Weather};

use crate::Failed;
use crate::tap::Tap;

/// Longest frame, with room to spare.
const FRAME_LEN_MAX: usize = 2_048;

/// Frames taken from the TAP in one go.
const BURST: usize = 256;

/// How long the link looks at nothing but the clock.
const PATIENCE: Duration = Duration::from_secs(1);

/// A link between a TAP and one guest. It ends with the guest.
pub struct Link {
    folder: TempDir,
}

impl Link {
    /// Makes a link from `tap` to a guest that is started with [`arguments`](Self::arguments).
    pub fn new(tap: &Tap, towards_guest: Conditions, towards_host: Conditions, seed: u64) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("wire"))?;
        let device = DeviceBuilder::new().name(tap.name()).layer(Layer::L2).inherit_enable_state().build_sync()?;
        device.set_nonblocking(true)?;
        let (towards_guest, towards_host) = (Weather::new(towards_guest, seed), Weather::new(towards_host, seed ^ 1));
        thread::spawn(move || {
            let Ok((guest, _)) = listener.accept() else { return };
            let carrier = Carrier { device, guest, received: Vec::new(), start: Instant::now() };
            // It ends when QEMU has closed its end; a guest that has lost its wire fails the test by itself.
            let _ = carrier.run(towards_guest, towards_host);
        });
        Ok(Self { folder })
    }

    /// The network device, in QEMU's words. Without a TAP of its own it offers no offloads.
    pub fn arguments(&self) -> Vec<OsString> {
        let path = self.folder.path().join("wire");
        let netdev = format!("stream,id=net0,server=off,addr.type=unix,addr.path={}", path.display());
        let device = "virtio-net-pci,netdev=net0,disable-legacy=on,romfile=";
        ["-netdev".into(), netdev.into(), "-device".into(), device.into()].into()
    }
}

/// Carries frames from one end to the other.
struct Carrier {
    device: SyncDevice,
    guest: UnixStream,
    /// Bytes from the guest that are no complete frame yet: each has its length in front, in four bytes.
    received: Vec<u8>,
    start: Instant,
}

impl Carrier {
    fn run(mut self, mut towards_guest: Weather, mut towards_host: Weather) -> std::io::Result<()> {
        loop {
            let arrival = towards_guest.next_arrival().into_iter().chain(towards_host.next_arrival()).min();
            let is_guest_readable = self.wait(arrival)?;
            let now_ns = self.now_ns();
            let mut frame = [0; FRAME_LEN_MAX];
            for _ in 0..BURST {
                let Ok(len) = self.device.recv(&mut frame) else { break };
                towards_guest.admit(now_ns, &frame[..len]);
            }
            if is_guest_readable && !self.read_guest(|frame| towards_host.admit(now_ns, frame))? {
                return Ok(());
            }
            let now_ns = self.now_ns();
            while let Some(frame) = towards_guest.take(now_ns) {
                let len = u32::try_from(frame.len()).unwrap_or_default();
                self.guest.write_all(&[&len.to_be_bytes(), frame.as_slice()].concat())?;
            }
            while let Some(frame) = towards_host.take(now_ns) {
                // A full queue of the host is weather too.
                let _ = self.device.send(&frame);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Waits for a frame, or until one arrives that is under way. Whether the guest has sent something.
    fn wait(&self, arrival_ns: Option<u64>) -> std::io::Result<bool> {
        let wait_ns = arrival_ns.map(|arrival_ns| arrival_ns.saturating_sub(self.now_ns()));
        let limit = wait_ns.map_or(PATIENCE, Duration::from_nanos).min(PATIENCE);
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut ends = [
            PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.guest.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ends, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!ends[1].revents().is_empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the guest has sent. False when it has closed its end.
    fn read_guest(&mut self, mut take: impl FnMut(&[u8])) -> std::io::Result<bool> {
        let mut buffer = [0; 64 << 10];
        let len = self.guest.read(&mut buffer)?;
        self.received.extend_from_slice(&buffer[..len]);
        let mut rest = self.received.as_slice();
        while let Some((prefix, behind)) = rest.split_first_chunk::<4>()
            && let Some((frame, behind)) = behind.split_at_checked(u32::from_be_bytes(*prefix) as usize)
        {
            take(frame);
            rest = behind;
        }
        let used = self.received.len() - rest.len();
        self.received.drain(..used);
        Ok(len > 0)
    }
}
