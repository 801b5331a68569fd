//! The servers behind the proxy: nginx, as in the figures for other balancers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use tempfile::TempDir;
use weir_host::tether;

use super::{Failed, HOST};

/// The answer to every request: 64 bytes.
const BODY: &str = "0123456789012345678901234567890123456789012345678901234567890123";

/// What nginx says when its sockets are open.
const READY: &str = "start worker";

/// A server that ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts one on the host's end of the wire.
    ///
    /// # Errors
    /// When there is no nginx, or it does not start.
    pub fn start(port: u16) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let at = folder.path().display();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr notice;\n\
             events {{ worker_connections 10000; }}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; keepalive_requests 100000000;\n\
             server {{ listen {HOST}:{port} backlog=65535; location / {{ return 200 \"{BODY}\"; }} }} }}\n"
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
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let server = Self { child, _folder: folder };
        let mut said = String::new();
        // It either says so or ends.
        while let Some(Ok(line)) = lines.next() {
            if line.contains(READY) {
                // Somebody has to read on, so that it never waits for a reader.
                thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
            said += &line;
        }
        Err(format!("nginx ended before it was ready: {said}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
