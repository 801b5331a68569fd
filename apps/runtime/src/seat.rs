//! How the boot core hands each core what it needs to begin.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use spin::Mutex;
use weir_config::Config;
use weir_drivers::net::{NetControl, Report};
use weir_hal::CoreId;
use weir_httpd::Archive;
use weir_kernel::cores;
use weir_packet::Pool;
use weir_plan::Plan;
use weir_stack::PassiveOwner;

use crate::bed::Bed;
use crate::board::Board;
use crate::core_life;
use crate::mail::Mail;
use crate::mesh::Links;
use crate::wire::ParkedWire;

/// What all cores see and no core changes, but for its own lines of board and beds.
pub struct Common {
    /// What to serve.
    pub config: Config,
    /// Files to serve.
    pub archive: Archive,
    /// Where the configuration came from, and what was wrong with others.
    pub origin: String,
    /// Everybody's share of memory.
    pub plan: Plan,
    /// Published counters.
    pub board: Board,
    /// Who sleeps.
    pub beds: Vec<Bed>,
    /// The device.
    pub report: Report,
    /// Who owns the flows that clients open.
    pub passive: PassiveOwner,
}

/// What one core begins with.
pub struct Seat {
    /// Its way to the wire.
    pub wire: ParkedWire,
    /// Its ends of the rings.
    pub links: Links<Mail>,
    /// Memory of its packet pool.
    pub pool_memory: &'static mut [u8],
    /// Secret, different on each core.
    pub seed: [u64; 4],
    /// On core 0: the device's control side.
    pub control: Option<NetControl>,
    /// What all see.
    pub common: Arc<Common>,
}

static SEATS: [Mutex<Option<Seat>>; cores::CORES_MAX] = [const { Mutex::new(None) }; cores::CORES_MAX];

/// Gives core `id` its seat and wakes it.
pub fn give(id: CoreId, seat: Seat) {
    if let Some(place) = SEATS.get(id.index()) {
        *place.lock() = Some(seat);
        cores::wake(id);
    }
}

/// What a core does first: wait for its seat, then live.
pub fn wait(id: CoreId) -> ! {
    loop {
        let seat = SEATS.get(id.index()).and_then(|place| place.lock().take());
        if let Some(seat) = seat {
            core_life::live(id, seat);
        }
        cores::idle(None, || SEATS.get(id.index()).is_some_and(|place| place.lock().is_some()));
    }
}

impl Seat {
    /// The core's pool, made on the core itself.
    ///
    /// # Panics
    /// The memory is none that a pool can be made of: the plan never gives such.
    pub fn pool(memory: &'static mut [u8]) -> Pool {
        Pool::new(memory).expect("the plan gives whole large pages")
    }
}
