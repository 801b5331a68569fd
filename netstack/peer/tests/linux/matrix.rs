//! Every weather, both directions, both roles, both versions of IP.

use std::net::TcpListener;
use std::sync::RwLock;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use weir_peer::{Conditions, Host, Outcome, Plan, linux};
use weir_tcp::Counter;

use crate::{Failed, Tested, long_or, with_state};

const PORT: u16 = 7_000;

/// How long Weir may take to report what it saw, once Linux is through.
const REPORT_LIMIT: Duration = Duration::from_secs(60);

const WEATHERS: &[(&str, Conditions)] = &[
    ("clear", Conditions::CLEAR),
    ("loss_0.1_percent", Conditions { loss_per_mille: 1, ..Conditions::CLEAR }),
    ("loss_1_percent", Conditions { loss_per_mille: 10, ..Conditions::CLEAR }),
    ("loss_5_percent", Conditions { loss_per_mille: 50, ..Conditions::CLEAR }),
    ("reorder_5_percent", Conditions { reorder_per_mille: 50, ..Conditions::CLEAR }),
    ("duplicate_2_percent", Conditions { duplicate_per_mille: 20, ..Conditions::CLEAR }),
    ("corrupt_1_percent", Conditions { corrupt_per_mille: 10, ..Conditions::CLEAR }),
    ("delay_10_ms", Conditions { delay: Duration::from_millis(10), ..Conditions::CLEAR }),
    ("rate_50_mbit", Conditions { rate: Some(50_000_000), ..Conditions::CLEAR }),
    (
        "everything",
        Conditions {
            loss_per_mille: 10,
            duplicate_per_mille: 5,
            reorder_per_mille: 50,
            corrupt_per_mille: 2,
            delay: Duration::from_millis(5),
            rate: Some(100_000_000),
        },
    ),
];

/// Bytes of a transfer.
fn transfer_bytes() -> u64 {
    long_or(2 << 20, 64 << 20)
}

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToWeir,
    FromWeir,
    Both,
}

/// Which end listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Listens,
    Connects,
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    ipv6: bool,
    role: Role,
    direction: Direction,
    weather: (&'static str, Conditions),
}

/// All cells.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for &weather in WEATHERS {
        for ipv6 in [false, true] {
            for role in [Role::Listens, Role::Connects] {
                for direction in [Direction::ToWeir, Direction::FromWeir, Direction::Both] {
                    cells.push(Cell { ipv6, role, direction, weather });
                }
            }
        }
    }
    cells
}

impl Cell {
    /// The cell as the name of a test.
    pub fn name(&self) -> String {
        let version = if self.ipv6 { "ipv6" } else { "ipv4" };
        let role = if self.role == Role::Listens { "weir_listens" } else { "weir_connects" };
        let direction = match self.direction {
            Direction::ToWeir => "to_weir",
            Direction::FromWeir => "from_weir",
            Direction::Both => "both_ways",
        };
        format!("matrix::{}::{version}::{role}::{direction}", self.weather.0)
    }

    /// Weir's plan.
    fn plan(&self) -> Plan {
        let bytes = transfer_bytes();
        match self.direction {
            Direction::ToWeir => Plan::new(0, bytes),
            Direction::FromWeir => Plan::new(bytes, 0),
            Direction::Both => Plan::new(bytes, bytes),
        }
    }

    fn seed(&self) -> u64 {
        self.name().bytes().fold(17, |seed, byte| seed * 31 % 1_000_000_007 + u64::from(byte))
    }

    /// Transfers, and looks at what is left.
    pub fn run(&self) -> Tested {
        /// A thread that the machine leaves waiting for a processor looks like loss to the other end; not each time.
        const TRIES: usize = 3;
        static ALONE: RwLock<()> = RwLock::new(());
        if self.weather.1 != Conditions::CLEAR {
            let _together = ALONE.read();
            return self.run_once();
        }
        let _alone = ALONE.write();
        let tested = self.run_once();
        (1..TRIES).fold(tested, |tested, _| tested.or_else(|_| self.run_once()))
    }

    fn run_once(&self) -> Tested {
        let host = Host::new(self.weather.1, self.seed())?;
        let is_clear = self.weather.1 == Conditions::CLEAR;
        let tested = self.transfer(&host, is_clear);
        let tested = tested.and_then(|()| if is_clear { nothing_was_repeated(&host) } else { Ok(()) });
        with_state(&host, tested.and_then(|()| host.settle()))
    }

    fn transfer(&self, host: &Host, is_clear: bool) -> Tested {
        let plan = self.plan();
        let outcomes: Receiver<Outcome>;
        let stream = match self.role {
            Role::Listens => {
                outcomes = host.listen(self.ipv6, PORT, plan)?;
                linux::connect(host.interface().at(self.ipv6, PORT))?
            }
            Role::Connects => {
                let listener = TcpListener::bind((host.interface().linux(self.ipv6), 0))?;
                outcomes = host.connect(listener.local_addr()?, plan)?;
                linux::accept(&listener)?
            }
        };
        let client = if self.role == Role::Listens { stream.local_addr()? } else { stream.peer_addr()? };
        let linux_plan = plan.mirrored().of_client(client.port());
        // A SYN that is repeated goes without ECN (RFC 3168, 6.1.1.1): only then may it be missing.
        let is_lossless = self.weather.1.loss_per_mille == 0 && self.weather.1.corrupt_per_mille == 0;
        let look = || options_are_in_use(&linux::socket_info(&stream)?, is_lossless, is_clear);
        linux::exchange_and_look(&stream, &linux_plan, look)?;
        outcomes.recv_timeout(REPORT_LIMIT)?.check(&plan)
    }
}

/// Linux' view of the flow: what was agreed on and, under a clear sky, that neither end had to repeat anything.
fn options_are_in_use(words: &[String], is_lossless: bool, is_clear: bool) -> Tested {
    let has = |word: &str| words.iter().any(|other| other == word);
    let begins = |word: &str| words.iter().any(|other| other.starts_with(word));
    let agreed = has("ts") && has("sack") && begins("wscale:") && (has("ecn") || !is_lossless);
    let repeated = ["retrans:", "bytes_retrans:", "dsack_dups:", "lost:", "rcv_ooopack:"];
    let seen = repeated.iter().find(|word| begins(word));
    let complaint = match seen {
        _ if !agreed => "timestamps, SACK, window scale and ECN are not all in use".to_owned(),
        Some(word) if is_clear => format!("{word} under a clear sky"),
        _ => return Ok(()),
    };
    Err(Failed::from(format!("{complaint}: {}", words.join(" "))))
}

/// Weir's view of a flow under a clear sky.
fn nothing_was_repeated(host: &Host) -> Tested {
    let suspicious = [
        Counter::SegmentsRetransmitted,
        Counter::RetransmissionTimeouts,
        Counter::FastRecoveries,
        Counter::SpuriousRecoveries,
        Counter::OutOfOrder,
        Counter::OldData,
        Counter::OutOfWindow,
        Counter::EcnReductions,
    ];
    for counter in suspicious {
        let count = host.counter(counter)?;
        weir_peer::ensure(count == 0, || format!("{counter:?} is {count} under a clear sky"))?;
    }
    Ok(())
}
