//! A client that says exactly what it is told, and shows exactly what it got.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Failed;

/// Time for a connection, and for each read and write.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// Longest response that is kept in memory.
const RESPONSE_LEN_MAX: u64 = 16 << 20;

/// A response.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and fields.
    pub head: String,
    /// The body as it came; with a chunked one, the chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Gets a path on a connection of its own.
pub fn get(address: impl Into<SocketAddr>, path: &str) -> Result<Response, Failed> {
    let address = address.into();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, request.as_bytes())
}

/// Sends bytes and reads until the server closes the connection.
pub fn exchange(address: impl Into<SocketAddr>, request: &[u8]) -> Result<Response, Failed> {
    finish(connect(address, request)?)
}

/// Reads until the server closes the connection.
pub fn finish(stream: TcpStream) -> Result<Response, Failed> {
    let address = stream.peer_addr()?;
    let mut response = Vec::new();
    let read = stream.take(RESPONSE_LEN_MAX).read_to_end(&mut response);
    read.map_err(|error| said(address, &format!("reading the response, after {} bytes", response.len()), &error))?;
    parse(response)
}

/// What failed with whom: the system's own words tell neither.
fn said(address: SocketAddr, step: &str, error: &io::Error) -> String {
    use io::ErrorKind::{TimedOut, WouldBlock};
    let late = matches!(error.kind(), TimedOut | WouldBlock);
    let why = if late { format!("nothing for {} s", STEP_LIMIT.as_secs()) } else { error.to_string() };
    format!("{address}: {step}: {why}")
}

/// Gets a path and returns length and SHA-256 of its body, without keeping it.
pub fn digest(address: impl Into<SocketAddr>, path: &str) -> Result<(u64, String), Failed> {
    let address = address.into();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut stream = connect(address, request.as_bytes())?;
    let mut first = Vec::new();
    let mut buffer = vec![0; 256 << 10];
    let mut hash = Sha256::new();
    let mut len = 0;
    let mut in_body = false;
    loop {
        let read = stream.read(&mut buffer);
        let count = read.map_err(|error| said(address, &format!("reading {path}, after {len} bytes"), &error))?;
        if count == 0 {
            break;
        }
        if in_body {
            hash.update(&buffer[..count]);
            len += count as u64;
            continue;
        }
        first.extend_from_slice(&buffer[..count]);
        if let Some(at) = first.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let response = parse(std::mem::take(&mut first))?;
            if response.status != 200 {
                return Err(format!("{path}: {}", response.head).into());
            }
            debug_assert!(at > 0);
            hash.update(&response.body);
            len += response.body.len() as u64;
            in_body = true;
        }
    }
    Ok((len, hex(&hash.finalize())))
}

/// SHA-256 of bytes, as text.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a connection and sends bytes.
pub fn connect(address: impl Into<SocketAddr>, request: &[u8]) -> Result<TcpStream, Failed> {
    let address = address.into();
    let connected = TcpStream::connect_timeout(&address, STEP_LIMIT);
    let mut stream = connected.map_err(|error| said(address, "connecting", &error))?;
    stream.set_read_timeout(Some(STEP_LIMIT))?;
    stream.set_write_timeout(Some(STEP_LIMIT))?;
    stream.write_all(request).map_err(|error| said(address, "sending the request", &error))?;
    Ok(stream)
}

/// Takes a response apart.
pub fn parse(response: Vec<u8>) -> Result<Response, Failed> {
    let shown = || format!("no HTTP response: {:?}", String::from_utf8_lossy(&response[..response.len().min(200)]));
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(shown)?;
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    Ok(Response { status: status.ok_or_else(shown)?, head, body: response[end + 4..].to_vec() })
}
