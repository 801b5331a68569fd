//! The part of QEMU's plugin interface that is used here, as `qemu-plugin.h` of QEMU 9.1 and later declares it.
//!
//! Distributions rarely ship that header, and its few functions are stable since version 3 of the interface, so they are
//! declared by hand. QEMU exports them from its own executable; nothing is linked.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// Version of the interface this is written against; QEMU refuses the plugin when it cannot provide it.
pub const VERSION: c_int = 3;

/// QEMU's name for a loaded plugin.
pub type PluginId = u64;

/// What an access to memory was like; to be asked about with functions.
pub type MemInfo = u32;

/// A block while it is translated.
#[repr(C)]
pub struct Tb {
    _opaque: [u8; 0],
}

/// An instruction while its block is translated.
#[repr(C)]
pub struct Insn {
    _opaque: [u8; 0],
}

/// Memory with one element for each vCPU.
#[repr(C)]
pub struct Scoreboard {
    _opaque: [u8; 0],
}

/// Where an access to memory went.
#[repr(C)]
pub struct HwAddr {
    _opaque: [u8; 0],
}

/// A counter in each element of a scoreboard.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Counter {
    /// The scoreboard.
    pub score: *mut Scoreboard,
    /// Byte offset of the counter within an element.
    pub offset: usize,
}

/// What QEMU says about itself when it loads a plugin. Only a part is looked at.
#[repr(C)]
pub struct Info {
    pub target_name: *const c_char,
    pub version_min: c_int,
    pub version_now: c_int,
    pub is_system: bool,
    pub vcpus: c_int,
    pub vcpus_max: c_int,
}

/// The translated code adds a constant to a counter (`QEMU_PLUGIN_INLINE_ADD_U64`).
pub const ADD: c_int = 0;

/// The callback looks at no register (`QEMU_PLUGIN_CB_NO_REGS`).
pub const NO_REGISTERS: c_int = 0;

/// Loads and stores (`QEMU_PLUGIN_MEM_RW`).
pub const LOADS_AND_STORES: c_int = 3;

/// Called when a block is translated.
pub type OnTranslate = extern "C" fn(PluginId, *mut Tb);

/// Called when something happens to a vCPU.
pub type OnVcpu = extern "C" fn(PluginId, c_uint);

/// Called when an instruction accesses memory: vCPU, kind, virtual address, user data.
pub type OnAccess = extern "C" fn(c_uint, MemInfo, u64, *mut c_void);

unsafe extern "C" {
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: OnTranslate);
    pub fn qemu_plugin_register_vcpu_idle_cb(id: PluginId, callback: OnVcpu);
    pub fn qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb: *mut Tb, op: c_int, counter: Counter, operand: u64);
    pub fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        callback: OnAccess,
        registers: c_int,
        accesses: c_int,
        user_data: *mut c_void,
    );

    pub fn qemu_plugin_tb_n_insns(tb: *const Tb) -> usize;
    pub fn qemu_plugin_tb_vaddr(tb: *const Tb) -> u64;
    pub fn qemu_plugin_tb_get_insn(tb: *const Tb, index: usize) -> *mut Insn;
    pub fn qemu_plugin_insn_data(insn: *const Insn, to: *mut c_void, len_max: usize) -> usize;
    pub fn qemu_plugin_insn_vaddr(insn: *const Insn) -> u64;

    pub fn qemu_plugin_scoreboard_new(element_len: usize) -> *mut Scoreboard;
    pub fn qemu_plugin_u64_get(counter: Counter, vcpu: c_uint) -> u64;
    pub fn qemu_plugin_num_vcpus() -> c_int;

    pub fn qemu_plugin_mem_is_store(info: MemInfo) -> bool;
    pub fn qemu_plugin_get_hwaddr(info: MemInfo, address: u64) -> *mut HwAddr;
    pub fn qemu_plugin_hwaddr_is_io(place: *const HwAddr) -> bool;
    pub fn qemu_plugin_hwaddr_phys_addr(place: *const HwAddr) -> u64;
    pub fn qemu_plugin_hwaddr_device_name(place: *const HwAddr) -> *const c_char;
}
