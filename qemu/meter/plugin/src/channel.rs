//! The client's side: a Unix socket, one client at a time, one line per command, one line of JSON per answer.
//!
//! - `read`: tell everything.
//! - `mark`: tell everything; from here on count accesses to devices, if that was not so before, and follow cache lines anew.
//!
//! The client subtracts what it was told before; see [`crate::answer`] for the form.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::answer;
use crate::arguments::Arguments;
use crate::instrument::Instrument;

/// Listens, in a thread of its own, until QEMU ends.
pub fn open(arguments: &Arguments, instrument: &'static Instrument) -> io::Result<()> {
    let listener = UnixListener::bind(&arguments.socket)?;
    let serve = move || {
        for client in listener.incoming().flatten() {
            // A client that goes away is no loss.
            let _ = talk(&client, instrument);
        }
    };
    thread::Builder::new().name("weir-meter".into()).spawn(serve)?;
    Ok(())
}

fn talk(client: &UnixStream, instrument: &Instrument) -> io::Result<()> {
    for command in BufReader::new(client).lines() {
        let mut answer = match command?.as_str() {
            "read" => instrument.tell(),
            "mark" => {
                let answer = instrument.tell();
                instrument.watch();
                answer
            }
            other => answer::error(&format!("unknown command {other}")),
        };
        answer.push('\n');
        let mut client = client;
        client.write_all(answer.as_bytes())?;
    }
    Ok(())
}
