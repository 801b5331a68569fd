//! The servers behind the proxy: nginx, as in the figures for other balancers.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_host::tether;

use super::Failed;

/// The answer to every request: 64 bytes.
const BODY: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// What nginx says next after it has opened its sockets: how many files the system allows it.
const READY: &str = "getrlimit";

/// Time to become ready.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts one on the host's end of every wire.
    ///
    /// # Errors
    /// When there is no nginx, or it does not start.
    pub fn start(port: u16) -> Result<Self, Failed> {
        Self::launch(port, &format!("location / {{ return 200 \"{BODY}\"; }}"))
    }

    /// As [`start`](Self::start), with the files of a folder below `/files/`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn with_files(port: u16, folder: &Path) -> Result<Self, Failed> {
        let files = format!("location /files/ {{ alias {}/; }}", folder.display());
        Self::launch(port, &format!("location / {{ return 200 \"{BODY}\"; }} {files}"))
    }

    fn launch(port: u16, locations: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let at = folder.path().display();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr notice;\n\
             events {{ worker_connections 10000; }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; keepalive_requests 100000000;\n\
             sendfile on; tcp_nopush on; server {{ listen {port} backlog=65535; {locations} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text)?;
        let mut child = tether::command("nginx", None)
            .args(["-p", &at.to_string(), "-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let server = Self { child, _folder: folder };
        wait_until_ready(lines).map_err(|said| format!("nginx is not ready within {READY_LIMIT:?}: {said}"))?;
        Ok(server)
    }
}

/// Reads in a thread of its own, and goes on behind the line, so that nginx never waits for a reader. The error is what it
/// said instead.
fn wait_until_ready(lines: impl Iterator<Item = io::Result<String>> + Send + 'static) -> Result<(), String> {
    let (sender, said) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let deadline = Instant::now() + READY_LIMIT;
    let mut before = String::new();
    while let Ok(line) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.contains(READY) {
            return Ok(());
        }
        before = before + "\n" + &line;
    }
    Err(before)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
