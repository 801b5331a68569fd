//! The client of the plugin's socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::tally::Tally;

/// How long an answer may take. It is the plugin's work alone, but the machine may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection to the plugin of a running QEMU.
#[derive(Debug)]
pub struct Meter {
    socket: BufReader<UnixStream>,
}

/// Why the plugin did not answer.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// The socket failed: QEMU has ended, or never loaded the plugin.
    #[error("the plugin cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The answer is no tally.
    #[error("the plugin's answer cannot be understood: {0}")]
    Unintelligible(#[from] serde_json::Error),
    /// The plugin says no.
    #[error("the plugin refuses: {0}")]
    Refused(String),
}

impl Meter {
    /// Connects. The plugin listens from before the guest's first instruction, so once the guest has printed anything there
    /// is nothing to wait for.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(socket: &Path) -> Result<Self, MeterError> {
        let socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { socket: BufReader::new(socket) })
    }

    /// The counts so far; from here on accesses to devices are counted, and shared cache lines followed anew.
    ///
    /// # Errors
    /// When the plugin does not answer.
    pub fn mark(&mut self) -> Result<Tally, MeterError> {
        self.ask("mark")
    }

    /// The counts so far, and the cache lines shared since the mark.
    ///
    /// # Errors
    /// When the plugin does not answer.
    pub fn read(&mut self) -> Result<Tally, MeterError> {
        self.ask("read")
    }

    fn ask(&mut self, command: &str) -> Result<Tally, MeterError> {
        writeln!(self.socket.get_mut(), "{command}")?;
        let mut line = String::new();
        if self.socket.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        parse(&line)
    }
}

fn parse(line: &str) -> Result<Tally, MeterError> {
    let answer: Value = serde_json::from_str(line)?;
    if let Some(sentence) = answer.get("error").and_then(Value::as_str) {
        return Err(MeterError::Refused(sentence.to_owned()));
    }
    Ok(serde_json::from_value(answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_tallies_or_refusals() {
        let tally = r#"{"vcpus":0,"halts":[],"unplaced":[],"blocks":[],"devices":[],"lines":[],"lines_total":0}"#;
        assert_eq!(parse(tally).unwrap(), Tally::default());
        let refused = parse(r#"{"error":"no such command"}"#).unwrap_err();
        assert_eq!(refused.to_string(), "the plugin refuses: no such command");
        for nonsense in ["", "{", "[]", r#"{"vcpus":1}"#] {
            assert!(matches!(parse(nonsense), Err(MeterError::Unintelligible(_))), "{nonsense}");
        }
    }
}
