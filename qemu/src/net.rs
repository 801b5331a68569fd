//! Ports and TAP interfaces of the host: what can be checked before QEMU is started, and what QEMU's complaints mean.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::net::{AddressFamily, SocketType};

use crate::failure::Failure;
use crate::machine::Forward;

/// The port that is tried first when none is asked for.
pub const PORT_PREFERRED: u16 = 8080;

/// A free port of the loopback interface: [`PORT_PREFERRED`] if possible, else one that the system picks. Ports that have
/// been given away already do not count as free.
///
/// # Errors
/// When no port can be had at all.
pub fn free_port(taken: &[Forward]) -> Result<u16, Failure> {
    let is_new = |port: &u16| taken.iter().all(|forward| forward.host.port() != *port);
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr()).ok();
    // The system may pick the same port twice.
    let candidates = [PORT_PREFERRED].into_iter().chain([0; 16]);
    let port = candidates.filter_map(bind).map(|address| address.port()).find(is_new);
    port.ok_or_else(|| Failure::new("no free port on 127.0.0.1"))
}

/// Checks that QEMU will be able to listen at an address of the host.
///
/// # Errors
/// When somebody else listens there, when the port needs privilege, or when the address is not ours.
pub fn check_listen(address: SocketAddrV4) -> Result<(), Failure> {
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    let port = address.port();
    Err(match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(format!("port {port} is in use on {}", address.ip()))
            .help(format!("stop what listens there ('ss -ltnp sport = :{port}' names it) or choose another port")),
        io::ErrorKind::PermissionDenied => {
            Failure::new(format!("port {port} may be opened only with privilege")).help("choose a port above 1023")
        }
        io::ErrorKind::AddrNotAvailable => Failure::new(format!("this machine has no address {}", address.ip()))
            .help("'ip address' lists the addresses it has"),
        _ => Failure::new(format!("cannot listen at {address}: {error}")),
    })
}

/// Checks that a TAP interface exists. (QEMU would make one, if it may, that nobody has configured.)
///
/// # Errors
/// When there is no interface of that name.
pub fn check_tap(name: &str, queues: u32) -> Result<(), Failure> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None);
    match socket.and_then(|socket| rustix::net::netdevice::name_to_index(socket, name)) {
        Ok(_) => Ok(()),
        Err(error) if error == rustix::io::Errno::NODEV => {
            Err(Failure::new(format!("there is no network interface {name:?}")).help(make_tap(name, queues)))
        }
        Err(error) => Err(Failure::new(format!("cannot look up the network interface {name:?}: {error}"))),
    }
}

/// Says in our words why QEMU could not open a TAP interface, if that is what it complains about.
#[must_use]
pub fn explain_tap(complaints: &str, name: &str, queues: u32) -> Option<Failure> {
    if !complaints.contains("/dev/net/tun") {
        return None;
    }
    let has = |text| complaints.contains(text);
    Some(if has("could not open") && has("No such file") {
        Failure::new("the host has no /dev/net/tun").help("load the kernel module: 'sudo modprobe tun'")
    } else if has("could not open") {
        Failure::new("/dev/net/tun may not be opened by this user")
            .help("allow it ('sudo chmod 0666 /dev/net/tun' is usual: interfaces have owners), or run as root")
    } else if has("Invalid argument") || has("multiqueue required") {
        let (made, needed) = if queues > 1 { ("without", "with") } else { ("with", "without") };
        Failure::new(format!(
            "the interface {name:?} was made {made} multi_queue, and --queues {queues} needs one {needed}"
        ))
        .help(make_tap(name, queues))
    } else if has("Operation not permitted") {
        Failure::new(format!("the interface {name:?} belongs to another user"))
            .help(format!("make it yours: {}", make_tap(name, queues)))
    } else if has("busy") {
        Failure::new(format!("the interface {name:?} is in use")).help("end the program that holds it, or take another")
    } else {
        return None;
    })
}

fn make_tap(name: &str, queues: u32) -> String {
    let multi_queue = if queues > 1 { " multi_queue" } else { "" };
    format!("'sudo ip tuntap add {name} mode tap{multi_queue} user $USER && sudo ip link set {name} up'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let failure = check_listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap_err().to_string();
        assert!(failure.starts_with(&format!("error: port {port} is in use on 127.0.0.1\nhelp: ")), "{failure}");
        assert_eq!(check_listen(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)), Ok(()));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_the_command_that_makes_it() {
        let failure = check_tap("weir-none", 2).unwrap_err().to_string();
        assert!(failure.contains("no network interface \"weir-none\""), "{failure}");
        assert!(failure.contains("mode tap multi_queue"), "{failure}");
        assert_eq!(check_tap("lo", 1), Ok(()));
    }

    #[test]
    fn complaints_about_the_tap_are_translated() {
        let mismatch = "-netdev tap: could not configure /dev/net/tun (t0): Invalid argument";
        let one = explain_tap(mismatch, "t0", 1).unwrap().to_string();
        assert!(one.contains("was made with multi_queue, and --queues 1 needs one without"), "{one}");
        let two = explain_tap(mismatch, "t0", 2).unwrap().to_string();
        assert!(two.contains("was made without multi_queue, and --queues 2 needs one with"), "{two}");
        let denied = "could not open /dev/net/tun: Permission denied";
        assert!(explain_tap(denied, "t0", 1).unwrap().to_string().contains("may not be opened"));
        assert_eq!(explain_tap("could not load kernel", "t0", 1), None);
    }
}
