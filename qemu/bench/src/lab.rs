//! The network that both guests are in, each on a wire of its own, with the same servers behind both.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use tempfile::TempDir;
use weir_host::machine::Nic;
use weir_meter::lab::servers::Server;
use weir_meter::lab::tap::Tap;
use weir_meter::lab::{Failed, command_line};

use crate::baseline;
use crate::guest::{Guest, Images, Watch};
use crate::matrix::{BULK_LEN, Service, System};

/// Ports of the servers behind the proxies, on the host's end of each wire.
const SERVER_PORTS: [u16; 2] = [8001, 8002];

/// Frames that wait for a guest. A crowd of a thousand fits; frames that do not are lost, and a slow guest would look worse than
/// it is.
const QUEUE_FRAMES: u32 = 20_000;

/// The Ethernet address that QEMU gives a first device.
const GUEST_MAC: &str = "52:54:00:12:34:56";

impl System {
    fn subnet(self) -> u8 {
        match self {
            Self::Weir => 77,
            Self::Linux => 78,
        }
    }

    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Weir => "weir0",
            Self::Linux => "linux0",
        }
    }

    fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.subnet(), 0, 1)
    }

    /// A port of its guest.
    #[must_use]
    pub fn at(self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, self.subnet(), 0, 2), port)
    }
}

impl Service {
    /// Where it answers.
    #[must_use]
    pub fn at(self) -> SocketAddrV4 {
        self.system().at(self.port())
    }
}

/// The servers behind the proxies, with their files.
#[derive(Debug)]
pub struct Servers {
    _servers: Vec<Server>,
    _folder: TempDir,
}

impl Servers {
    /// Starts them.
    ///
    /// # Errors
    /// When there is no nginx, or it does not start.
    pub fn start() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        baseline::write_files(folder.path())?;
        fs::write(folder.path().join("bulk"), vec![b'w'; BULK_LEN])?;
        let servers = SERVER_PORTS.iter().map(|port| Server::with_files(*port, folder.path()));
        Ok(Self { _servers: servers.collect::<Result<_, _>>()?, _folder: folder })
    }
}

/// A wire to a guest.
///
/// # Errors
/// When the interface cannot be made.
pub fn wire(system: System, queues: u32) -> Result<(Tap, Nic), Failed> {
    let tap = Tap::named(system.wire(), system.host(), queues)?;
    command_line(&format!("ip link set {} txqueuelen {QUEUE_FRAMES}", system.wire()))?;
    // The host knows the guest's address before the guest is there: the first SYN waits for no question.
    let guest = *system.at(0).ip();
    command_line(&format!("ip neigh replace {guest} lladdr {GUEST_MAC} dev {} nud permanent", system.wire()))?;
    let nic = tap.nic();
    Ok((tap, nic))
}

/// Both guests, running at the same time; the one that is not asked is idle.
#[derive(Debug)]
pub struct Pair {
    weir: Guest,
    linux: Guest,
    _taps: [Tap; 2],
}

impl Pair {
    /// Boots both, with a queue pair for each vCPU.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub fn boot(images: &Images, cores: u32, watch: Watch) -> Result<Self, Failed> {
        let (weir_tap, weir_nic) = wire(System::Weir, cores)?;
        let (linux_tap, linux_nic) = wire(System::Linux, cores)?;
        Ok(Self {
            weir: Guest::boot(images, System::Weir, cores, weir_nic, watch)?,
            linux: Guest::boot(images, System::Linux, cores, linux_nic, watch)?,
            _taps: [weir_tap, linux_tap],
        })
    }

    /// One of them.
    pub fn guest(&mut self, system: System) -> &mut Guest {
        match system {
            System::Weir => &mut self.weir,
            System::Linux => &mut self.linux,
        }
    }
}
