//! Situations that are not about the weather: half closes, many flows, ports that come back at once, peers that do not read.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use weir_peer::{Conditions, Ends, Host, Plan, Reading, linux};
use weir_tcp::{Counter, FlowState};

use crate::{Failed, Tested, Tests, with_state};

/// All tests here.
pub const TESTS: Tests = &[
    ("half_close::linux_ends_first", || half_close(Ends::Last)),
    ("half_close::weir_ends_first", || half_close(Ends::First)),
    ("source_port_reused_at_once::after_weir_closed_first::ipv4", || reuse(false, Ends::First, None)),
    ("source_port_reused_at_once::after_weir_closed_first::ipv6", || reuse(true, Ends::First, None)),
    ("source_port_reused_at_once::after_a_reset::ipv4", || reuse(false, Ends::First, Some(Duration::ZERO))),
    ("source_port_reused_at_once::after_a_reset::ipv6", || reuse(true, Ends::First, Some(Duration::ZERO))),
    ("parallel_flows::weir_listens", parallel_flows_to_weir),
    ("parallel_flows::weir_connects", parallel_flows_from_weir),
    ("zero_window::of_linux", zero_window_of_linux),
    ("zero_window::of_weir", zero_window_of_weir),
    ("nobody_listens", nobody_listens),
    ("reset_by_linux", reset_by_linux),
];

const PORT: u16 = 7_000;

const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// Connections with one source port, one after the other.
const REUSES: usize = 1_000;

/// Flows at the same time.
const FLOWS: usize = 200;

fn on_a_clear_day(test: impl FnOnce(&Host) -> Tested) -> Tested {
    let host = Host::new(Conditions::CLEAR, 4_711)?;
    with_state(&host, test(&host).and_then(|()| host.settle()))
}

/// RFC 9293, 3.6: the end that has closed goes on receiving; here it receives everything after it has closed.
fn half_close(weir: Ends) -> Tested {
    for ipv6 in [false, true] {
        on_a_clear_day(|host| {
            let plan = Plan::new(300_000, 500_000).ending(weir);
            let outcomes = host.listen(ipv6, PORT, plan)?;
            let stream = linux::connect(host.interface().at(ipv6, PORT))?;
            linux::exchange(&stream, &plan.mirrored().of_client(stream.local_addr()?.port()))?;
            outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)?;

            let listener = TcpListener::bind((host.interface().linux(ipv6), 0))?;
            let outcomes = host.connect(listener.local_addr()?, plan)?;
            let stream = linux::accept(&listener)?;
            linux::exchange(&stream, &plan.mirrored().of_client(stream.peer_addr()?.port()))?;
            outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)
        })?;
    }
    Ok(())
}

/// A client that may not choose its port, as a proxy that ran out of ports or a device with one socket: its next SYN meets
/// what the last connection left (RFC 9293, 3.6.1; RFC 6191).
fn reuse(ipv6: bool, weir: Ends, linger: Option<Duration>) -> Tested {
    on_a_clear_day(|host| {
        let plan = Plan::new(64, 64).ending(weir);
        let outcomes = host.listen(ipv6, PORT, plan)?;
        let remote = host.interface().at(ipv6, PORT);
        let mut local = SocketAddr::new(host.interface().linux(ipv6), 0);
        for round in 0..REUSES {
            let stream = connect_from(local, remote).map_err(|error| format!("connection {round}: {error}"))?;
            local = stream.local_addr()?;
            SockRef::from(&stream).set_linger(linger)?;
            let linux_plan = plan.mirrored().of_client(local.port());
            if linger.is_some() {
                linux::receive(&stream, linux_plan.receive)?;
                drop(stream);
                outcomes.recv_timeout(REPORT_LIMIT)?;
                continue;
            }
            if round % 50 == 1 {
                let words = linux::socket_info(&stream)?;
                let is_repeated = words.iter().any(|word| word.starts_with("retrans:"));
                weir_peer::ensure(!is_repeated, || format!("SYN {round} was sent twice: {}", words.join(" ")))?;
            }
            linux::exchange(&stream, &linux_plan).map_err(|error| format!("connection {round}: {error}"))?;
            outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)?;
            // With the end of this turn, Weir's last ACK is at Linux, which may use the port again from then on.
            host.with(|_| ())?;
        }
        let time_waits = host.with(|world| world.shard.tcp_gauges().time_wait)?;
        let expected = u32::from(linger.is_none());
        weir_peer::ensure(time_waits == expected, || format!("{time_waits} TIME-WAIT records for one pair of ports"))
    })
}

fn connect_from(local: SocketAddr, remote: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_read_timeout(Some(REPORT_LIMIT))?;
    socket.bind(&local.into())?;
    socket.connect_timeout(&remote.into(), REPORT_LIMIT)?;
    Ok(socket.into())
}

fn parallel_flows_to_weir() -> Tested {
    on_a_clear_day(|host| {
        let plan = Plan::new(50_000, 50_000);
        let outcomes = [host.listen(false, PORT, plan)?, host.listen(true, PORT, plan)?];
        let flow = |n: usize| -> Tested {
            let stream = linux::connect(host.interface().at(n % 2 == 1, PORT))?;
            linux::exchange(&stream, &plan.mirrored().of_client(stream.local_addr()?.port()))
        };
        all_at_once(flow)?;
        for outcomes in outcomes {
            (0..FLOWS / 2).try_for_each(|_| outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan))?;
        }
        Ok(())
    })
}

fn parallel_flows_from_weir() -> Tested {
    on_a_clear_day(|host| {
        let plan = Plan::new(50_000, 50_000);
        let listeners = [false, true].map(|ipv6| TcpListener::bind((host.interface().linux(ipv6), 0)));
        let listeners = listeners.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut outcomes = Vec::new();
        for n in 0..FLOWS {
            outcomes.push(host.connect(listeners[n % 2].local_addr()?, plan)?);
        }
        let flow = |n: usize| -> Tested {
            let stream = linux::accept(&listeners[n % 2])?;
            linux::exchange(&stream, &plan.mirrored().of_client(stream.peer_addr()?.port()))
        };
        all_at_once(flow)?;
        outcomes.iter().try_for_each(|outcomes| outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan))
    })
}

fn all_at_once(flow: impl Fn(usize) -> Tested + Sync) -> Tested {
    let flow = &flow;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..FLOWS).map(|n| scope.spawn(move || flow(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a flow panicked")?)
    })
}

/// Linux does not read: Weir queues no more than it may, asks again and again, and goes on when it is answered.
fn zero_window_of_linux() -> Tested {
    for ipv6 in [false, true] {
        on_a_clear_day(|host| {
            let plan = Plan::new(12 << 20, 0);
            let outcomes = host.listen(ipv6, PORT, plan)?;
            let stream = linux::connect(host.interface().at(ipv6, PORT))?;
            SockRef::from(&stream).set_recv_buffer_size(64 << 10)?;
            let asked = |counters: &weir_tcp::Counters| counters.get(Counter::WindowProbes) >= 3;
            host.wait_until("Weir asks for a window", move |world| asked(world.shard.tcp_counters()))?;
            let queued = host.with(|world| world.shard.tcp_gauges().send_queued)?;
            // The queue takes one chunk beyond its limit.
            let limit = weir_tcp::Config::default().send_queue_max as u64 + (64 << 10);
            weir_peer::ensure(queued <= limit, || format!("{queued} bytes are queued, at most {limit} may be"))?;
            linux::exchange(&stream, &plan.mirrored().of_client(stream.local_addr()?.port()))?;
            outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)
        })?;
    }
    Ok(())
}

/// Weir does not read: it holds no more than its window, answers probes, and announces the window when it reads.
fn zero_window_of_weir() -> Tested {
    for ipv6 in [false, true] {
        on_a_clear_day(|host| {
            let plan = Plan::new(0, 12 << 20).reading(Reading::Held);
            let outcomes = host.listen(ipv6, PORT, plan)?;
            let stream = linux::connect(host.interface().at(ipv6, PORT))?;
            let linux_plan = plan.mirrored().of_client(stream.local_addr()?.port());
            thread::scope(|scope| {
                let sending = scope.spawn(|| linux::exchange(&stream, &linux_plan));
                // A probe of Linux' is a segment with old data.
                host.wait_until("Linux asks for a window", |world| {
                    world.shard.tcp_counters().get(Counter::OldData) >= 2
                })?;
                let held = host.with(|world| world.shard.tcp_gauges().receive_queued)?;
                let limit = weir_tcp::Config::default().receive_window_max as u64;
                weir_peer::ensure(held <= limit, || format!("{held} bytes are held, the window is {limit}"))?;
                host.with(|world| world.application.release(&mut world.shard))?;
                sending.join().map_err(|_| "the sender panicked")?
            })?;
            outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)
        })?;
    }
    Ok(())
}

/// A SYN to a port without listener is refused, in both directions.
fn nobody_listens() -> Tested {
    for ipv6 in [false, true] {
        on_a_clear_day(|host| {
            let refused = linux::connect(host.interface().at(ipv6, PORT));
            let kind = refused.map_err(|error| error.kind());
            weir_peer::ensure(matches!(kind, Err(std::io::ErrorKind::ConnectionRefused)), || format!("{kind:?}"))?;
            let nobody = SocketAddr::new(host.interface().linux(ipv6), 9);
            let outcome = host.connect(nobody, Plan::new(10, 10))?.recv_timeout(REPORT_LIMIT)?;
            let broken = outcome.broken;
            weir_peer::ensure(broken == Some(weir_socket::CloseReason::Refused), || format!("{broken:?}"))
        })?;
    }
    Ok(())
}

/// Linux drops a flow in the middle of a transfer: the application hears of it and nothing is left.
fn reset_by_linux() -> Tested {
    on_a_clear_day(|host| {
        let outcomes = host.listen(false, PORT, Plan::new(8 << 20, 0))?;
        let stream = linux::connect(host.interface().at(false, PORT))?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        host.wait_until("data are under way", |world| {
            let gauges = world.shard.tcp_gauges();
            gauges.flows[FlowState::Established as usize] == 1 && gauges.send_queued > 0
        })?;
        drop(stream);
        let broken = outcomes.recv_timeout(REPORT_LIMIT)?.broken;
        weir_peer::ensure(broken == Some(weir_socket::CloseReason::Reset), || format!("{broken:?}"))
    })
}
