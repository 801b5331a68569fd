//! Programs that run beside the guest: servers, mostly.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_host::tether;

use crate::lab::command_line;
use crate::{CannotTest, Failed};

/// Time for a daemon to be ready.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A program that ends with this value.
pub struct Daemon {
    child: Child,
    _folder: Option<TempDir>,
}

impl From<Child> for Daemon {
    fn from(child: Child) -> Self {
        Self { child, _folder: None }
    }
}

impl Daemon {
    /// A program whose files live as long as it does.
    pub fn with_folder(child: Child, folder: TempDir) -> Self {
        Self { child, _folder: Some(folder) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts nginx at an address. `location` goes into its server block; `ROOT` in it stands for the folder `root`.
pub fn nginx(address: impl Into<SocketAddr>, root: &Path, location: &str) -> Result<Daemon, Failed> {
    nginx_with(&address.into().to_string(), root, location)
}

/// The same, where `listen` says more than an address: ` ssl`, ` proxy_protocol`.
pub fn nginx_with(listen: &str, root: &Path, location: &str) -> Result<Daemon, Failed> {
    let folder = tempfile::tempdir()?;
    let at = folder.path().display();
    let location = location.replace("ROOT", &root.display().to_string());
    let text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log stderr notice;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
         uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; keepalive_requests 1000000; sendfile on;\n\
         server {{ listen {listen} backlog=16384; {location} }} }}\n"
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
    // The sockets are open when it begins to tell what the system allows it.
    let said = wait_for_line(child.stderr.take().expect("stderr is a pipe"), "getrlimit", START_LIMIT);
    let daemon = Daemon { child, _folder: Some(folder) };
    said.map(|()| daemon).map_err(|error| format!("nginx: {error}").into())
}

/// Attaches two queues to the interface named by its argument, with the flags that QEMU has set, and holds them.
///
/// An `ioctl` is nothing that safe Rust can do, and another QEMU would change the format of the first one's frames.
const HOLD_QUEUES: &str = "
import fcntl, os, struct, sys
TUNSETIFF, TAP, MULTI_QUEUE, NO_PI, VNET_HDR = 0x400454ca, 0x2, 0x100, 0x1000, 0x4000
queues = [os.open('/dev/net/tun', os.O_RDWR) for _ in range(2)]
for queue in queues:
    fcntl.ioctl(queue, TUNSETIFF, struct.pack('16sH22x', sys.argv[1].encode(), TAP | MULTI_QUEUE | NO_PI | VNET_HDR))
print('held', flush=True)
sys.stdin.read()
";

/// Attaches two more queues to an interface that has several: the host spreads its flows anew, and what comes to these two
/// is lost.
pub fn hold_queues(interface: &str) -> Result<Daemon, Failed> {
    start_python(HOLD_QUEUES, &[interface], START_LIMIT)
}

/// Starts a program in Python that says `held` when it is ready, and then stays until it is ended.
pub fn start_python(program: &str, arguments: &[&str], limit: Duration) -> Result<Daemon, Failed> {
    command_line("python3 --version").map_err(|_| CannotTest("there is no python3"))?;
    let mut child = tether::command("python3", None)
        .args(["-c", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let said = wait_for_line(child.stdout.take().expect("stdout is a pipe"), "held", limit);
    let daemon = Daemon { child, _folder: None };
    said.map(|()| daemon).map_err(|error| format!("python3: {error}").into())
}

/// Waits for a line with `text` in it, and reads on behind it, so that the program never waits for a reader.
fn wait_for_line(source: impl Read + Send + 'static, text: &'static str, limit: Duration) -> Result<(), Failed> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + limit;
    let mut before = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.contains(text) {
            return Ok(());
        }
        before.push(line);
    }
    Err(format!("not ready: {}", before.join("\n")).into())
}
