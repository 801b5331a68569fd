//! `^C` while files are made: nothing that is half done stays.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// While it lives, `^C`, `kill` and a closed terminal do not end us, but are told by [`check`](Self::check): so we come to where
/// temporary files are removed. Soon, for a terminal's `^C` ends the programs that we wait for, too. A second one ends us at once.
///
/// There is one in a program.
#[derive(Debug)]
pub struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// Signals are kept from now on.
    ///
    /// # Errors
    /// The system takes no signal handler.
    pub fn deferred() -> Result<Self, Failure> {
        let is_there = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let cannot = |error: io::Error| Failure::new(format!("cannot listen for signals: {error}"));
            // In this order: a first signal does not find itself.
            flag::register_conditional_default(signal, Arc::clone(&is_there)).map_err(cannot)?;
            flag::register(signal, Arc::clone(&is_there)).map_err(cannot)?;
        }
        Ok(Self(is_there))
    }

    /// Fails after a signal.
    ///
    /// # Errors
    /// There was one.
    pub fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::new("interrupted")) } else { Ok(()) }
    }

    /// What came of something that a signal may have ended.
    ///
    /// # Errors
    /// That of `outcome`, or that there was a signal.
    pub fn explain<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        outcome.map_err(|failure| self.check().err().unwrap_or(failure))
    }
}

impl Drop for Interruption {
    /// From now on signals end us as usual.
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
