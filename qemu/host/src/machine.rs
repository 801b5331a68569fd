//! The virtual machine as a value, and the QEMU arguments it stands for.
//!
//! Standard input and output of QEMU are ours: the control channel comes in as file descriptor 0 and the guest's serial
//! console goes out on file descriptor 1. So nothing is created in the file system, and the terminal is never touched.

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::accel::Accelerator;

/// I/O port at which the guest ends QEMU; a value `v` becomes the exit status `2 v + 1`.
pub const DEBUG_EXIT_PORT: u16 = 0x501;

/// The longest command line that QEMU's loader of PVH kernels has room for; what is longer it writes over its own variables.
pub const COMMAND_LINE_BYTES_MAX: usize = 4095;

/// What QEMU's side of the network device is called.
pub(crate) const NETDEV: &str = "net0";

/// Address at which QEMU's user networking shows the host to a guest with an address from its DHCP server.
pub const USER_NET_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Exit status of QEMU when the guest writes `value` to [`DEBUG_EXIT_PORT`].
#[must_use]
pub const fn debug_exit_status(value: u8) -> i32 {
    (value as i32) << 1 | 1
}

/// Types of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum MachineType {
    /// A PC with PCI Express.
    #[default]
    Q35,
    /// A machine without PCI: it boots faster, and its network device has one queue pair.
    Microvm,
}

/// What the machine boots from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Medium {
    /// The image is an ELF, which QEMU itself puts into memory.
    #[default]
    Kernel,
    /// The image is a disk at a virtio controller, in this format of QEMU's.
    VirtioDisk(&'static str),
    /// The image is a disk at a SATA controller, in this format.
    SataDisk(&'static str),
    /// The image is a CD.
    Cd,
}

/// One virtual machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is like.
    pub machine_type: MachineType,
    /// Bootable ELF with a PVH entry, or what [`medium`](Self::medium) says.
    pub image: PathBuf,
    /// What the image is.
    pub medium: Medium,
    /// Firmware instead of QEMU's own.
    pub firmware: Option<PathBuf>,
    /// Kernel command line.
    pub append: Option<String>,
    /// Virtual processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What executes guest code.
    pub accelerator: Accelerator,
    /// The network device, or none.
    pub nic: Nic,
    /// Properties added to the network device, such as `rss=on`.
    pub nic_properties: Vec<String>,
    /// Host processors QEMU may use: a first one and a count.
    pub host_cpus: Option<(usize, usize)>,
    /// A configuration disk: NoCloud's, with the label `cidata`.
    pub cidata: Option<PathBuf>,
    /// Arguments handed to QEMU as they are.
    pub extra: Vec<OsString>,
}

/// How the guest is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nic {
    /// Not at all.
    None,
    /// Through QEMU's own user-level network stack: no privilege, one queue pair.
    User {
        /// Ports of the host that lead into the guest.
        forwards: Vec<Forward>,
        /// The subnet and addresses the guest expects, when it brings its own.
        subnet: Option<UserSubnet>,
    },
    /// Through an existing TAP interface of the host.
    Tap {
        /// Name of the interface.
        name: String,
        /// Queue pairs. More than one need an interface made with `multi_queue`, and one needs an interface made without.
        queues: u32,
    },
}

/// A port of the host that leads into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// Where the guest listens.
    pub guest_port: u16,
}

/// The subnet of the user-level network stack for a guest with a static address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSubnet {
    /// The guest.
    pub guest: Ipv4Addr,
    /// Bits of the subnet prefix.
    pub prefix_len: u8,
    /// The router that the guest expects, which becomes the host's address.
    pub gateway: Option<Ipv4Addr>,
}

impl Machine {
    /// A machine with one core, no network and nothing special.
    #[must_use]
    pub fn new(image: PathBuf, accelerator: Accelerator) -> Self {
        Self {
            machine_type: MachineType::default(),
            image,
            medium: Medium::default(),
            firmware: None,
            append: None,
            cores: 1,
            memory_mib: 256,
            accelerator,
            nic: Nic::None,
            nic_properties: Vec::new(),
            host_cpus: None,
            cidata: None,
            extra: Vec::new(),
        }
    }

    /// The arguments for QEMU, without the program's name.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &str| arguments.extend(words.split(' ').map(OsString::from));
        add("-nodefaults -no-user-config -display none -no-reboot -action panic=none");
        add(match self.machine_type {
            MachineType::Q35 if self.medium != Medium::Kernel => "-machine q35,usb=off,smbus=off,vmport=off",
            MachineType::Q35 => "-machine q35,usb=off,sata=off,smbus=off,vmport=off",
            // Its devices are of before virtio 1.0 if nobody objects.
            MachineType::Microvm => "-machine microvm -global virtio-mmio.force-legacy=false",
        });
        add(match self.accelerator {
            Accelerator::Kvm => "-accel kvm -cpu host",
            Accelerator::Tcg => "-accel tcg,thread=multi -cpu max",
        });
        add(&format!("-smp {} -m {}M", self.cores, self.memory_mib));
        add("-chardev socket,id=control,fd=0 -mon chardev=control,mode=control");
        add("-chardev file,id=console,path=/proc/self/fd/1 -serial chardev:console");
        add(&format!("-device isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=0x04 -device pvpanic"));
        add("-object rng-builtin,id=rng0 -device");
        add(match self.machine_type {
            MachineType::Q35 => "virtio-rng-pci,rng=rng0,disable-legacy=on",
            MachineType::Microvm => "virtio-rng-device,rng=rng0",
        });
        arguments.extend(self.nic_arguments());
        arguments.extend(self.medium_arguments());
        arguments.extend(self.cidata_arguments());
        if let Some(line) = &self.append {
            arguments.extend(["-append".into(), line.into()]);
        }
        arguments.extend(self.extra.iter().cloned());
        arguments
    }

    fn cidata_arguments(&self) -> Vec<OsString> {
        let Some(path) = &self.cidata else { return Vec::new() };
        let device = match self.machine_type {
            MachineType::Q35 => "virtio-blk-pci,drive=cidata,disable-legacy=on",
            MachineType::Microvm => "virtio-blk-device,drive=cidata",
        };
        // A comma in the name would go on as another option.
        let path = path.as_os_str().as_encoded_bytes().split_inclusive(|byte| *byte == b',');
        let doubled = path.flat_map(|part| [part, if part.ends_with(b",") { b"," } else { b"" }]);
        let mut drive = OsString::from("id=cidata,if=none,readonly=on,format=raw,file=");
        drive.push(OsStr::from_bytes(&doubled.collect::<Vec<_>>().concat()));
        ["-drive".into(), drive, "-device".into(), device.into()].into()
    }

    fn medium_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(firmware) = &self.firmware {
            arguments.extend(["-bios".into(), firmware.clone().into()]);
        }
        let (format, device) = match self.medium {
            Medium::Kernel => {
                arguments.extend(["-kernel".into(), self.image.clone().into()]);
                return arguments;
            }
            Medium::VirtioDisk(format) => (format, "virtio-blk-pci,drive=medium"),
            Medium::SataDisk(format) => (format, "ide-hd,drive=medium"),
            Medium::Cd => ("raw", "ide-cd,drive=medium"),
        };
        let mut drive = OsString::from(format!("id=medium,if=none,snapshot=on,format={format},file="));
        drive.push(&self.image);
        arguments.extend(["-drive".into(), drive, "-device".into(), device.into()]);
        arguments
    }

    fn nic_arguments(&self) -> Vec<OsString> {
        let (netdev, mut device) = match &self.nic {
            Nic::None => return Vec::new(),
            Nic::User { forwards, subnet } => (user_netdev(forwards, *subnet), String::new()),
            Nic::Tap { name, queues: 1 } => (tap_netdev(name), String::new()),
            Nic::Tap { name, queues } => {
                // One vector per queue, one for changes of the configuration, one for the control queue.
                (format!("{},queues={queues}", tap_netdev(name)), format!(",mq=on,vectors={}", 2 * queues + 2))
            }
        };
        for property in &self.nic_properties {
            device = format!("{device},{property}");
        }
        let device = match self.machine_type {
            MachineType::Q35 => format!("virtio-net-pci,netdev={NETDEV},disable-legacy=on,romfile={device}"),
            MachineType::Microvm => format!("virtio-net-device,netdev={NETDEV}{device}"),
        };
        ["-netdev".into(), netdev.into(), "-device".into(), device.into()].into()
    }
}

fn tap_netdev(name: &str) -> String {
    format!("tap,id={NETDEV},ifname={name},script=no,downscript=no,vhost=off")
}

fn user_netdev(forwards: &[Forward], subnet: Option<UserSubnet>) -> String {
    let mut netdev = format!("user,id={NETDEV},ipv6=off");
    if let Some(subnet) = subnet {
        netdev += &subnet.options();
    }
    let guest = subnet.map(|subnet| subnet.guest.to_string()).unwrap_or_default();
    for forward in forwards {
        netdev += &format!(",hostfwd=tcp:{}-{guest}:{}", forward.host, forward.guest_port);
    }
    netdev
}

impl UserSubnet {
    /// The network stack insists on an address for itself, its name server and its DHCP pool, all different and all within
    /// the subnet: whatever the guest left free.
    fn options(self) -> String {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0);
        let network = u32::from(self.guest) & mask;
        let mut taken = vec![self.guest];
        taken.extend(self.gateway);
        let mut next_free = || {
            let free = (1..=!mask).map(|host| Ipv4Addr::from(network | host)).find(|address| !taken.contains(address));
            let free = free.unwrap_or(self.guest);
            taken.push(free);
            free
        };
        let host = self.gateway.unwrap_or_else(&mut next_free);
        let (dns, dhcp) = (next_free(), next_free());
        format!(",net={}/{},host={host},dns={dns},dhcpstart={dhcp}", Ipv4Addr::from(network), self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(nic: Nic) -> String {
        let machine = Machine { nic, ..Machine::new("image.elf".into(), Accelerator::Tcg) };
        machine.arguments().iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_queue_and_several_are_different_devices() {
        let one = joined(Nic::Tap { name: "t0".into(), queues: 1 });
        assert!(one.contains("ifname=t0") && !one.contains("queues=") && !one.contains("mq=on"), "{one}");
        let four = joined(Nic::Tap { name: "t0".into(), queues: 4 });
        assert!(four.contains(",queues=4 ") && four.contains(",mq=on,vectors=10"), "{four}");
    }

    #[test]
    fn a_port_of_the_host_leads_to_the_guest() {
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
        let forwards = vec![Forward { host, guest_port: 80 }];
        assert!(joined(Nic::User { forwards, subnet: None }).contains(",hostfwd=tcp:127.0.0.1:8080-:80 "));
    }

    #[test]
    fn a_guest_with_a_static_address_finds_its_subnet() {
        let [guest, gateway] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Ipv4Addr::from);
        let subnet = UserSubnet { guest, prefix_len: 29, gateway: Some(gateway) };
        assert_eq!(subnet.options(), ",net=192.0.2.0/29,host=192.0.2.2,dns=192.0.2.3,dhcpstart=192.0.2.4");
        let host = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
        let forwards = vec![Forward { host, guest_port: 80 }];
        assert!(joined(Nic::User { forwards, subnet: Some(subnet) }).contains("8080-192.0.2.1:80 "));
    }

    #[test]
    fn a_machine_without_pci_has_no_pci_devices() {
        let nic = Nic::Tap { name: "t0".into(), queues: 1 };
        let machine = Machine { nic, ..Machine::new("image.elf".into(), Accelerator::Tcg) };
        let machine = Machine { machine_type: MachineType::Microvm, ..machine };
        let words: Vec<_> = machine.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.iter().all(|word| !word.contains("-pci")), "{words:?}");
        assert!(words.iter().any(|word| word == "virtio-net-device,netdev=net0"), "{words:?}");
    }

    #[test]
    fn a_comma_in_the_name_of_a_configuration_disk_is_no_option() {
        let machine = Machine::new("image.elf".into(), Accelerator::Tcg);
        let machine = Machine { cidata: Some("a,b,readonly=off".into()), ..machine };
        let words: Vec<_> = machine.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.iter().any(|word| word.ends_with(",file=a,,b,,readonly=off")), "{words:?}");
    }

    #[test]
    fn extra_arguments_come_last_and_whole() {
        let mut machine = Machine::new("an image.elf".into(), Accelerator::Kvm);
        machine.append = Some("one two".into());
        machine.extra = vec!["-trace".into(), "a b".into()];
        let arguments = machine.arguments();
        let last: Vec<_> = arguments[arguments.len() - 6..].iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(last, ["-kernel", "an image.elf", "-append", "one two", "-trace", "a b"]);
    }
}
