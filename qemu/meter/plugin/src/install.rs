//! The two symbols that QEMU looks for.

use std::ffi::{CStr, c_char, c_int};

use crate::api::{self, Info, PluginId};
use crate::arguments::Arguments;
use crate::channel;
use crate::instrument::Instrument;

/// Version of the interface that this plugin needs. QEMU looks for it by this name.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = api::VERSION;

/// Called by QEMU once, before any guest code is translated. Returns 0 if all is well.
///
/// # Safety
/// `words` points to `count` C strings, and `info` to what QEMU says about itself, as QEMU promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU promises that `info` is valid during this call.
    let is_system = unsafe { (*info).is_system };
    // SAFETY: QEMU promises `count` strings, which live as long as the plugin. Without any, the pointer may be null.
    let words = (0..count.max(0) as usize).map(|index| unsafe { CStr::from_ptr(*words.add(index)) });
    match install(id, is_system, words) {
        Ok(()) => 0,
        Err(sentence) => {
            eprintln!("weir-meter: {sentence}");
            1
        }
    }
}

fn install(id: PluginId, is_system: bool, words: impl Iterator<Item = &'static CStr>) -> Result<(), String> {
    if !is_system {
        return Err("only whole systems can be measured".into());
    }
    let words: Vec<&str> = words.map(CStr::to_str).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let arguments = Arguments::parse(words.into_iter())?;
    let instrument = Instrument::start(id, &arguments)?;
    channel::open(&arguments, instrument)
        .map_err(|error| format!("cannot listen at {}: {error}", arguments.socket.display()))
}
