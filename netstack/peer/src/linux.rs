//! Linux' side of the flows, and what the kernel says of them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::Failed;
use crate::namespace::command_line;
use crate::plan::{Ends, Plan, Stream};

/// How long a call may block before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

const BUFFER_BYTES: usize = 64 << 10;

/// Connects and gives the stream its deadlines.
///
/// # Errors
/// What the kernel said.
pub fn connect(remote: SocketAddr) -> io::Result<TcpStream> {
    patient(TcpStream::connect_timeout(&remote, PATIENCE)?)
}

/// Takes the next client and gives the stream its deadlines.
///
/// # Errors
/// What the kernel said.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    patient(listener.accept()?.0)
}

fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Follows `plan`, as it was made for the client's port.
///
/// # Errors
/// The kernel says so, or the bytes are not the plan's.
pub fn exchange(stream: &TcpStream, plan: &Plan) -> Result<(), Failed> {
    exchange_and_look(stream, plan, || Ok(()))
}

/// Follows `plan`, and does `look` when all bytes were exchanged and Linux has not ended its direction yet.
///
/// # Errors
/// The kernel says so, the bytes are not the plan's, or `look` fails.
pub fn exchange_and_look(
    stream: &TcpStream,
    plan: &Plan,
    look: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    match plan.ends {
        Ends::First => {
            send(stream, plan.send)?;
            look()?;
            stream.shutdown(Shutdown::Write)?;
            receive(stream, plan.receive)?;
            receive_end(stream)
        }
        Ends::Last => {
            receive(stream, plan.receive)?;
            receive_end(stream)?;
            send(stream, plan.send)?;
            look()?;
            Ok(stream.shutdown(Shutdown::Write)?)
        }
        Ends::Both => {
            thread::scope(|scope| {
                let sending = scope.spawn(|| send(stream, plan.send));
                receive(stream, plan.receive)?;
                sending.join().map_err(|_| "the sender panicked")?
            })?;
            look()?;
            stream.shutdown(Shutdown::Write)?;
            receive_end(stream)
        }
    }
}

/// Sends all of a stream.
///
/// # Errors
/// What the kernel said, and how far it came.
pub fn send(mut stream: &TcpStream, what: Stream) -> Result<(), Failed> {
    let mut offset = 0;
    while offset < what.len {
        match stream.write(what.at(offset, BUFFER_BYTES)) {
            Ok(len) => offset += len as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("Linux sent {offset} of {} bytes: {error}", what.len).into()),
        }
    }
    Ok(())
}

/// Receives all of a stream, and nothing beyond it.
///
/// # Errors
/// What the kernel said, or where the bytes differ.
pub fn receive(mut stream: &TcpStream, what: Stream) -> Result<(), Failed> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    while offset < what.len {
        let limit = usize::try_from(what.len - offset).unwrap_or(usize::MAX).min(buffer.len());
        match stream.read(&mut buffer[..limit]) {
            Ok(0) => return Err(format!("Linux saw the end after {offset} of {} bytes", what.len).into()),
            Ok(len) => {
                if let Some(wrong) = what.difference(offset, &buffer[..len]) {
                    return Err(format!("Linux received a wrong byte at {wrong} of {}", what.len).into());
                }
                offset += len as u64;
            }
            // A socket with a deadline is not restarted after a signal.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("Linux received {offset} of {} bytes: {error}", what.len).into()),
        }
    }
    Ok(())
}

/// Expects the end of the peer's direction.
///
/// # Errors
/// Bytes come instead, or what the kernel said.
pub fn receive_end(mut stream: &TcpStream) -> Result<(), Failed> {
    loop {
        match stream.read(&mut [0; 16]) {
            Ok(0) => return Ok(()),
            Ok(len) => return Err(format!("{len} bytes beyond the end").into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("Linux waited for the end: {error}").into()),
        }
    }
}

/// What `ss` says of one flow of Linux': words like `sack`, `ts`, `wscale:7,7`, `retrans:0/3`.
///
/// # Errors
/// There is no `ss`, or no such flow.
pub fn socket_info(stream: &TcpStream) -> Result<Vec<String>, Failed> {
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let text =
        command_line(&format!("ss --tcp --info --options --numeric --no-header --oneline src {local} dst {peer}"))?;
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() { Err("ss does not know the flow".into()) } else { Ok(words) }
}
