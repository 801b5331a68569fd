//! What was being run when something panicked or did not end, and where it is kept.

use std::cell::RefCell;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::features::hash;

/// No input may take longer, in seconds.
pub const INPUT_SECONDS_MAX: u64 = 10;

/// An input that is being run.
struct Running {
    target: &'static str,
    input: Vec<u8>,
    since: Instant,
}

type Slot = Arc<Mutex<Option<Running>>>;

thread_local! {
    static SLOT: RefCell<Slot> = RefCell::default();
}

/// Runs a target, so that the input is known if it does not come back.
pub(crate) fn watched<R>(target: &'static str, input: &[u8], run: impl FnOnce(&[u8]) -> R) -> R {
    let slot = SLOT.with_borrow(Arc::clone);
    *lock(&slot) = Some(Running { target, input: input.to_vec(), since: Instant::now() });
    let result = run(input);
    *lock(&slot) = None;
    result
}

/// From now on, the input of a panic is written to `folder`, with the command that replays it.
pub fn on_crash_write_to(folder: &Path) {
    let folder = folder.to_owned();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        let running = SLOT.with_borrow(|slot| lock(slot).take());
        if let Some(running) = running {
            keep(&folder, &running, "panics");
        }
    }));
}

/// Ends the program when an input of this thread takes longer than [`INPUT_SECONDS_MAX`].
pub fn watch_for_hangs(folder: &Path) {
    let folder: PathBuf = folder.to_owned();
    let slot = SLOT.with_borrow(Arc::clone);
    thread::spawn(move || {
        loop {
            // Nothing waits for this thread: it looks once a second.
            thread::park_timeout(Duration::from_secs(1));
            let running = lock(&slot);
            let late = running.as_ref().filter(|running| running.since.elapsed().as_secs() >= INPUT_SECONDS_MAX);
            if let Some(running) = late {
                keep(&folder, running, "does not end");
                process::abort();
            }
        }
    });
}

fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Running>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(folder: &Path, running: &Running, what: &str) {
    let Running { target, input, .. } = running;
    let path = folder.join(format!("{target}-{:08x}", hash(input)));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, input));
    if let Err(error) = written {
        eprintln!("{}: {error}; the input is {input:02x?}", path.display());
    }
    eprintln!("{target} {what} with {} bytes. Again with", input.len());
    eprintln!("    cargo run --profile fuzz -p weir-fuzz -- {target} --replay {}", path.display());
}
