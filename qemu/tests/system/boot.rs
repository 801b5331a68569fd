//! From the start of QEMU to the ready line, and every way this can fail.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_host::machine::{MachineType, Nic, debug_exit_status};
use weir_host::qmp::Order;

use crate::guest::{Guest, Spec};
use crate::lab::command_line;
use crate::metrics::{self, Metrics};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("boot::one_core", || boots(1)),
    ("boot::two_cores", || boots(2)),
    ("boot::four_cores", || boots(4)),
    ("boot::eight_cores", || boots(8)),
    ("boot::sixteen_cores", || boots(16)),
    ("boot::sixty_four_cores", || boots_with(64, 512)),
    ("boot::without_pci", without_pci),
    ("boot::an_old_device_without_pci_is_said", an_old_device_without_pci_is_said),
    ("boot::power_button_switches_off", power_button_switches_off),
    ("boot::power_button_lets_requests_end", power_button_lets_requests_end),
    ("boot::a_second_press_does_not_wait", a_second_press_does_not_wait),
    ("boot::the_health_page_fails_before_the_machine_leaves", the_health_page_fails_before_the_machine_leaves),
    ("boot::no_network_device_is_said", no_network_device_is_said),
    ("boot::no_dhcp_answer_is_said", no_dhcp_answer_is_said),
    ("boot::page_fault_is_reported", page_fault_is_reported),
    ("boot::stack_overflow_is_reported", stack_overflow_is_reported),
    ("boot::panic_is_reported", panic_is_reported),
];

/// Time for one line on the console.
const LINE_LIMIT: Duration = Duration::from_secs(30);

/// Time to boot: 64 vCPUs take turns on a host with few processors.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// What a guest that has panicked writes to the debug exit port.
const PANICKED: u8 = 1;

fn user() -> Nic {
    Nic::User { forwards: Vec::new(), subnet: None }
}

/// With a queue pair for each core, so that each has work.
fn boots(cores: u32) -> Tested {
    boots_with(cores, Spec::default().memory_mib)
}

fn boots_with(cores: u32, memory_mib: u32) -> Tested {
    let tap = Tap::new(cores)?;
    let config =
        tap.config() + "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npage = \"demo\"\n";
    let mut guest = Guest::start(Spec { config, cores, memory_mib, nic: tap.nic(), ..Spec::default() })?;
    let ready = guest.wait_for(&["weir: ready"], BOOT_LIMIT)?;
    let told = format!("cores={cores}");
    ensure(ready.split_whitespace().any(|word| word.trim_end_matches(',') == told), || {
        format!("no {told} in {ready:?}")
    })?;
    let answer = http::get(tap.at(80), "/")?;
    ensure(answer.status == 200, || answer.head)
}

/// QEMU's `microvm`: one queue pair, which feeds four cores.
fn without_pci() -> Tested {
    let tap = Tap::new(1)?;
    let config =
        tap.config() + "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npage = \"demo\"\n";
    let spec = Spec { machine_type: MachineType::Microvm, config, cores: 4, nic: tap.nic(), ..Spec::default() };
    let mut guest = Guest::boot(spec)?;
    ensure(guest.ready.contains("cores=4") && guest.ready.contains("1 of 1 pairs"), || guest.ready.clone())?;
    let said = command_line(&format!("ab -q -r -n 2000 -c 20 -s 20 http://{}/", tap.at(80)))?;
    ensure(said.lines().any(|line| line.starts_with("Failed requests:") && line.ends_with(" 0")), || {
        guest.report(&said).to_string()
    })?;
    let served = Metrics::read(tap.at(9000))?.per_core("weir_requests_total", "listener=\"web\"");
    ensure(served.len() == 4 && served.iter().all(|count| *count > 20), || format!("requests per core: {served:?}"))?;
    guest.still_runs()
}

fn an_old_device_without_pci_is_said() -> Tested {
    let nic_properties = Vec::new();
    let machine_type = MachineType::Microvm;
    let spec = Spec { machine_type, nic: user(), nic_properties, ..Spec::default() };
    let mut guest = Guest::start_with(spec, &["-global", "virtio-mmio.force-legacy=true"])?;
    guest.wait_for(&["virtio-mmio at", "legacy virtio device", "force-legacy=false"], LINE_LIMIT)?;
    guest.wait_for(&["cannot start: no network device"], LINE_LIMIT).map(drop)
}

fn power_button_switches_off() -> Tested {
    let mut guest = Guest::boot(Spec { nic: user(), ..Spec::default() })?;
    guest.still_runs()?;
    guest.vm.order(Order::PowerDown);
    ends_well(guest)
}

/// A client in the middle of a request, one that waits for its next request, and new ones; on two cores.
fn power_button_lets_requests_end() -> Tested {
    let tap = Tap::new(2)?;
    let mut guest = serving(&tap)?;
    let [mut begun, mut idle] = [connect(&tap)?, connect(&tap)?];
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    idle.write_all(request.as_bytes())?;
    idle.read_exact(&mut [0; 20])?;
    begun.write_all(&request.as_bytes()[..10])?;
    are_counted(&mut guest, &tap, 2)?;
    guest.vm.order(Order::PowerDown);
    let said = guest.wait_for(&["power button: ", "connections may end"], LINE_LIMIT)?;
    ensure(!said.contains(": 0 connections"), || said)?;
    idle.read_to_end(&mut Vec::new())?;
    // Each core learns of it by itself: until the last one has, a new connection may be taken.
    let deadline = Instant::now() + LINE_LIMIT;
    while TcpStream::connect(tap.at(80)).is_ok() {
        ensure(Instant::now() < deadline, || "connections are still taken".into())?;
    }
    // Some looks of the control core later, the one who has begun is still waited for.
    ensure(guest.vm.wait_end(Duration::from_secs(1)).is_none(), || "the machine did not wait".into())?;
    begun.write_all(&request.as_bytes()[10..])?;
    let mut answer = String::new();
    begun.read_to_string(&mut answer)?;
    ensure(answer.starts_with("HTTP/1.1 200") && answer.contains("Connection: close"), || answer.clone())?;
    guest.wait_for(&["switching off: all connections have ended"], LINE_LIMIT)?;
    ends_well(guest)
}

fn a_second_press_does_not_wait() -> Tested {
    let tap = Tap::new(2)?;
    let mut guest = serving(&tap)?;
    let mut begun = connect(&tap)?;
    begun.write_all(b"GET / HT")?;
    are_counted(&mut guest, &tap, 1)?;
    guest.vm.order(Order::PowerDown);
    guest.wait_for(&["power button: ", "connections may end"], LINE_LIMIT)?;
    guest.vm.order(Order::PowerDown);
    guest.wait_for(&["switching off: the power button was pressed again"], LINE_LIMIT)?;
    ends_well(guest)
}

/// On two cores, with a notice: the page fails at once on both, and everything else goes on until the notice is over.
fn the_health_page_fails_before_the_machine_leaves() -> Tested {
    let tap = Tap::new(2)?;
    let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[listener.health]\nnotice = \"5s\"\n";
    let config = tap.config() + listener + "[[listener.route]]\npage = \"demo\"\n";
    let mut guest = Guest::boot(Spec { config, cores: 2, nic: tap.nic(), ..Spec::default() })?;
    let answer = http::get(tap.at(80), "/healthz")?;
    ensure(answer.status == 200, || answer.head)?;
    guest.vm.order(Order::PowerDown);
    guest.wait_for(&["power button: ", "connections may end, within 35s"], LINE_LIMIT)?;
    // Each core learns of it by itself.
    let deadline = Instant::now() + LINE_LIMIT;
    while http::get(tap.at(80), "/healthz")?.status != 503 {
        ensure(Instant::now() < deadline, || "the page is still good".into())?;
    }
    let answer = http::get(tap.at(80), "/")?;
    ensure(answer.status == 200, || answer.head)?;
    guest.wait_for(&["switching off: all connections have ended"], LINE_LIMIT)?;
    ends_well(guest)
}

fn serving(tap: &Tap) -> Result<Guest, Failed> {
    let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npage = \"demo\"\n";
    Guest::boot(Spec { config: tap.config() + listener, cores: 2, nic: tap.nic(), ..Spec::default() })
}

/// Waits until the metrics show so many connections of clients.
fn are_counted(guest: &mut Guest, tap: &Tap, connections: u64) -> Tested {
    // The connection that asks may be among them, or not yet: then the last one has until the power button is looked at.
    let good = |metrics: &Metrics| metrics.sum("weir_client_connections") >= connections;
    metrics::wait_until(guest, tap.at(9000), LINE_LIMIT, good).map(drop)
}

fn connect(tap: &Tap) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(tap.at(80))?;
    stream.set_read_timeout(Some(LINE_LIMIT))?;
    Ok(stream)
}

fn ends_well(mut guest: Guest) -> Tested {
    match guest.vm.wait_end(LINE_LIMIT) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(guest.report(&format!("ended with {status}"))),
        None => Err(guest.report("still runs")),
    }
}

fn no_network_device_is_said() -> Tested {
    let mut guest = Guest::start(Spec::default())?;
    guest.wait_for(&["no network device"], LINE_LIMIT).map(drop)
}

fn no_dhcp_answer_is_said() -> Tested {
    let tap = Tap::new(1)?;
    let mut guest = Guest::start(Spec { nic: tap.nic(), ..Spec::default() })?;
    guest.wait_for(&["no address", "DHCP"], LINE_LIMIT).map(drop)
}

/// Fails the guest on purpose and looks for the cause, the core, and functions by name, the innermost first.
fn fails(hook: &'static str, cause: &[&str], functions: &[&str]) -> Tested {
    let mut guest = Guest::start(Spec { append: hook, nic: user(), ..Spec::default() })?;
    let said = guest.wait_for(&["panic: core 0: "], LINE_LIMIT)?;
    ensure(cause.iter().all(|text| said.contains(text)), || format!("no {cause:?} in {said:?}"))?;
    for function in functions {
        guest.wait_for(&["  #", function], LINE_LIMIT)?;
    }
    let status = guest.vm.wait_end(LINE_LIMIT).and_then(|status| status.code());
    ensure(status == Some(debug_exit_status(PANICKED)), || format!("the exit status is {status:?}"))
}

fn page_fault_is_reported() -> Tested {
    fails("weir.test=page-fault", &["page fault", "read at 0x10"], &["read_word", "read_through_null", "page_fault"])
}

fn stack_overflow_is_reported() -> Tested {
    fails("weir.test=stack-overflow", &["stack overflow", "guard page"], &["call_again", "stack_overflow"])
}

fn panic_is_reported() -> Tested {
    fails("weir.test=panic", &["a deliberate panic", "hooks.rs"], &["deliberate_panic"])
}
