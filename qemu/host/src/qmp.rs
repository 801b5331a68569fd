//! QEMU's control channel: one JSON object per line, both ways, over a socket that QEMU inherits as its standard input.
//!
//! Only what Weir needs: a few commands, and the names of events. Answers to commands are not waited for; what
//! a command does shows in the machine's behaviour.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::machine::NETDEV;

/// Our end of the channel.
#[derive(Debug)]
pub struct Qmp {
    socket: UnixStream,
}

/// What QEMU is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Presses the power button: the guest ends what it does and switches itself off.
    PowerDown,
    /// Ends QEMU at once.
    Quit,
    /// Lets a guest run that was started with `-S`.
    Continue,
    /// Plugs the network cable in, so to speak, or out.
    Link {
        /// In.
        up: bool,
    },
    /// Has the guest announce its addresses, as after a migration.
    Announce,
}

impl Qmp {
    /// Takes the socket and leaves the negotiation phase, in which QEMU accepts no other command.
    ///
    /// # Errors
    /// When QEMU has closed the channel.
    pub fn open(socket: UnixStream) -> io::Result<Self> {
        let mut qmp = Self { socket };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Tells QEMU what to do.
    ///
    /// # Errors
    /// When QEMU has closed the channel.
    pub fn send(&mut self, order: Order) -> io::Result<()> {
        let (command, arguments) = match order {
            Order::PowerDown => ("system_powerdown", json!({})),
            Order::Quit => ("quit", json!({})),
            Order::Continue => ("cont", json!({})),
            Order::Link { up } => ("set_link", json!({ "name": NETDEV, "up": up })),
            Order::Announce => ("announce-self", json!({ "initial": 50, "max": 50, "rounds": 1, "step": 0 })),
        };
        self.execute(command, arguments)
    }

    fn execute(&mut self, command: &str, arguments: Value) -> io::Result<()> {
        writeln!(self.socket, "{}", json!({ "execute": command, "arguments": arguments }))
    }
}

/// The name of the event that a line from QEMU tells, with the reason if there is one: `SHUTDOWN guest-panic`.
#[must_use]
pub fn event_name(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    let name = message.get("event")?.as_str()?;
    let reason = message.pointer("/data/reason").and_then(Value::as_str);
    Some(reason.map_or_else(|| name.to_owned(), |reason| format!("{name} {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_names_and_other_lines_have_none() {
        let line =
            r#"{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-panic"}}"#;
        assert_eq!(event_name(line).as_deref(), Some("SHUTDOWN guest-panic"));
        assert_eq!(event_name(r#"{"event": "POWERDOWN"}"#).as_deref(), Some("POWERDOWN"));
        for line in ["", "{", r#"{"return": {}}"#, r#"{"event": 7}"#] {
            assert_eq!(event_name(line), None, "{line}");
        }
    }
}
