//! A server that does exactly what a test says, right or wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::{Failed, Tested};

/// Longest time for one read or write: longer than anything that a test has Weir wait for.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Serves each connection with `script`, in a thread of its own, for as long as this program runs. A script that fails ends its
/// connection.
pub fn start(at: impl Into<SocketAddr>, script: impl Fn(&mut Peer) -> Tested + Send + Sync + 'static) -> Tested {
    let listener = TcpListener::bind(at.into())?;
    let script = Arc::new(script);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let script = Arc::clone(&script);
            thread::spawn(move || script(&mut Peer { stream, held: Vec::new() }));
        }
    });
    Ok(())
}

/// A connection from Weir.
pub struct Peer {
    stream: TcpStream,
    /// What came and was not asked for yet.
    held: Vec<u8>,
}

impl Peer {
    /// The next head, to its empty line; none: the connection has ended.
    pub fn head(&mut self) -> Result<Option<String>, Failed> {
        loop {
            if let Some(at) = self.held.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.held.drain(..at + 4).collect();
                return Ok(Some(String::from_utf8(head)?));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// The next bytes of a body.
    pub fn body(&mut self, len: usize) -> Result<Vec<u8>, Failed> {
        while self.held.len() < len {
            if !self.more()? {
                return Err(format!("{} of {len} bytes", self.held.len()).into());
            }
        }
        Ok(self.held.drain(..len).collect())
    }

    /// All that still comes, up to the end. A reset is an end too.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more().unwrap_or(false) {}
        std::mem::take(&mut self.held)
    }

    /// Sends bytes.
    pub fn say(&mut self, bytes: &[u8]) -> Tested {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Sends bytes in pieces, each a packet of its own.
    pub fn say_in(&mut self, piece_len: usize, bytes: &[u8]) -> Tested {
        self.stream.set_nodelay(true)?;
        bytes.chunks(piece_len).try_for_each(|piece| self.say(piece))
    }

    /// Has the connection end with a reset.
    pub fn reset(&mut self) -> Tested {
        Ok(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?)
    }

    fn more(&mut self) -> Result<bool, Failed> {
        let mut buffer = [0; 16 << 10];
        self.stream.set_read_timeout(Some(STEP_LIMIT))?;
        let count = self.stream.read(&mut buffer)?;
        self.held.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}
