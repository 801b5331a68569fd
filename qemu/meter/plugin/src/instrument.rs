//! What QEMU calls while the guest runs.
//!
//! QEMU's callbacks carry a number at most, so the instrument is one static value, made once. vCPUs run, and translate, in
//! threads of their own: the tables are behind mutexes, which only translation, device accesses and shared lines take.

use std::ffi::{CStr, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::VCPUS_MAX;
use crate::answer::{self, Facts};
use crate::api::{self, Counter, HwAddr, Insn, MemInfo, PluginId, Scoreboard, Tb};
use crate::arguments::Arguments;
use crate::blocks::{Blocks, SLOTS_MAX, Shape};
use crate::decode;
use crate::devices::{Devices, Place};
use crate::lines::Lines;

/// The longest instruction of x86-64, in bytes.
const INSN_LEN_MAX: usize = 15;

static INSTRUMENT: OnceLock<Instrument> = OnceLock::new();

/// Everything that is counted.
pub struct Instrument {
    counters: Counters,
    blocks: Mutex<Blocks>,
    halts: [AtomicU64; VCPUS_MAX],
    /// Whether device accesses are counted.
    counts_devices: bool,
    devices: Mutex<Devices>,
    lines: Option<Lines>,
    ram_len: u64,
    /// Whether accesses to memory are looked at: from the first mark on.
    ///
    /// Before, a guest boots and arranges its devices. QEMU (10.0.2) asserts in `iotlb_to_section` if one vCPU asks where an
    /// access to a device has led after another has changed the map of memory, and before the first has noticed.
    is_watching: AtomicBool,
}

/// One counter for each slot of [`Blocks`], for each vCPU.
struct Counters(*mut Scoreboard);

// SAFETY: the scoreboard is never freed, and QEMU's functions on it may be called from every thread.
unsafe impl Send for Counters {}
// SAFETY: as above.
unsafe impl Sync for Counters {}

impl Counters {
    fn of_slot(&self, slot: usize) -> Counter {
        assert!(slot < SLOTS_MAX, "a block with a counter that nobody made");
        Counter { score: self.0, offset: slot * size_of::<u64>() }
    }
}

impl Instrument {
    /// Makes the instrument and asks QEMU to call it.
    pub fn start(id: PluginId, arguments: &Arguments) -> Result<&'static Self, String> {
        // SAFETY: called while the plugin is installed, as QEMU wants it; a size has no further conditions.
        let scoreboard = unsafe { api::qemu_plugin_scoreboard_new(SLOTS_MAX * size_of::<u64>()) };
        let instrument = Self {
            counters: Counters(scoreboard),
            blocks: Mutex::default(),
            halts: [const { AtomicU64::new(0) }; VCPUS_MAX],
            counts_devices: arguments.devices,
            devices: Mutex::default(),
            lines: arguments.lines.then(|| Lines::new(arguments.ram_len)),
            ram_len: arguments.ram_len,
            is_watching: AtomicBool::new(false),
        };
        INSTRUMENT.set(instrument).map_err(|_| "the plugin is loaded twice")?;
        // SAFETY: `id` is the one QEMU gave us, and the functions have the types QEMU expects and live for ever.
        unsafe {
            api::qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
            api::qemu_plugin_register_vcpu_idle_cb(id, on_idle);
        }
        Ok(INSTRUMENT.get().expect("it was set above"))
    }

    /// Everything, as an answer for the client.
    pub fn tell(&self) -> String {
        // SAFETY: no conditions.
        let vcpus = unsafe { api::qemu_plugin_num_vcpus() }.max(0) as usize;
        let runs = |slot| {
            let counter = self.counters.of_slot(slot);
            // SAFETY: the counter lies within an element, and these vCPUs have been started.
            (0..vcpus).map(|vcpu| unsafe { api::qemu_plugin_u64_get(counter, vcpu as c_uint) }).collect()
        };
        answer::facts(&Facts {
            vcpus,
            halts: self.halts.iter().take(vcpus).map(|count| count.load(Ordering::Relaxed)).collect(),
            blocks: &lock(&self.blocks),
            runs: &runs,
            devices: &lock(&self.devices),
            lines: self.lines.as_ref(),
        })
    }

    /// Looks at accesses to memory from here on, and follows cache lines anew.
    pub fn watch(&self) {
        self.is_watching.store(true, Ordering::Relaxed);
        if let Some(lines) = &self.lines {
            lines.forget();
        }
    }

    fn access(&self, vcpu: usize, info: MemInfo, address: u64, at: u64) {
        let physical = if address < self.ram_len {
            address
        } else {
            // SAFETY: called from within a callback for this very access.
            let place = unsafe { api::qemu_plugin_get_hwaddr(info, address) };
            if place.is_null() {
                return;
            }
            // SAFETY: it is not null, and valid during the callback.
            if unsafe { api::qemu_plugin_hwaddr_is_io(place) } {
                self.count_device(vcpu, at, place);
                return;
            }
            // SAFETY: as above.
            unsafe { api::qemu_plugin_hwaddr_phys_addr(place) }
        };
        if let Some(lines) = &self.lines {
            // SAFETY: a question about a number.
            lines.access(vcpu, physical, at, unsafe { api::qemu_plugin_mem_is_store(info) });
        }
    }

    fn count_device(&self, vcpu: usize, at: u64, place: *const HwAddr) {
        if !self.counts_devices {
            return;
        }
        // SAFETY: the caller has looked the place up in this callback, and QEMU's names live as long as the plugin.
        let name = unsafe { api::qemu_plugin_hwaddr_device_name(place) };
        let device = if name.is_null() {
            String::new()
        } else {
            // SAFETY: not null, a C string, and alive as said above.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        };
        lock(&self.devices).count(Place { vcpu, at, device });
    }
}

/// A panic elsewhere has not made the counters worse.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

extern "C" fn on_idle(_id: PluginId, vcpu: c_uint) {
    let halts = INSTRUMENT.get().and_then(|instrument| instrument.halts.get(vcpu as usize));
    if let Some(halts) = halts {
        halts.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn on_translate(_id: PluginId, tb: *mut Tb) {
    let Some(instrument) = INSTRUMENT.get() else { return };
    // SAFETY: QEMU lends the block for the time of this call.
    let (start, count) = unsafe { (api::qemu_plugin_tb_vaddr(tb), api::qemu_plugin_tb_n_insns(tb)) };
    let mut shape = Shape { start, ..Shape::default() };
    for index in 0..count {
        // SAFETY: the index is below the count that QEMU gave.
        let insn = unsafe { api::qemu_plugin_tb_get_insn(tb, index) };
        let mut buffer = [0; INSN_LEN_MAX];
        let bytes = read_insn(insn, &mut buffer);
        shape.lens.push(bytes.len() as u8);
        shape.specials.extend(decode::kind(bytes).map(|kind| (index as u16, kind)));
        if instrument.counts_devices || instrument.lines.is_some() {
            watch_memory(insn);
        }
    }
    let slot = lock(&instrument.blocks).slot(shape);
    let counter = instrument.counters.of_slot(slot);
    // SAFETY: the block is lent to us, and the counter lies within an element of a scoreboard that lives for ever.
    unsafe { api::qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, api::ADD, counter, 1) };
}

fn read_insn(insn: *const Insn, buffer: &mut [u8; INSN_LEN_MAX]) -> &[u8] {
    // SAFETY: the instruction belongs to the block that is being translated, and QEMU writes at most the buffer's length.
    let len = unsafe { api::qemu_plugin_insn_data(insn, buffer.as_mut_ptr().cast(), buffer.len()) };
    &buffer[..len.min(buffer.len())]
}

/// Asks for a call for each access of an instruction, with the instruction's address.
fn watch_memory(insn: *mut Insn) {
    // SAFETY: the instruction belongs to the block that is being translated.
    let at = unsafe { api::qemu_plugin_insn_vaddr(insn) };
    let user_data = ptr::without_provenance_mut(at as usize);
    // SAFETY: as above; the user data is a number that nobody follows.
    unsafe {
        api::qemu_plugin_register_vcpu_mem_cb(insn, on_access, api::NO_REGISTERS, api::LOADS_AND_STORES, user_data);
    }
}

extern "C" fn on_access(vcpu: c_uint, info: MemInfo, address: u64, user_data: *mut c_void) {
    let Some(instrument) = INSTRUMENT.get() else { return };
    // The common case under `devices` alone: plain memory, nothing to do.
    let is_plain = address < instrument.ram_len && instrument.lines.is_none();
    if !is_plain && instrument.is_watching.load(Ordering::Relaxed) {
        instrument.access(vcpu as usize, info, address, user_data.addr() as u64);
    }
}
