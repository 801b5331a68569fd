//! The `weir` command as a user calls it: exit status, cause, next step.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};

use crate::lab::{READY_LIMIT, command_line, lab, weir};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("command::unknown_flag_is_wrong_usage", unknown_flag_is_wrong_usage),
    ("command::bad_configuration_has_a_place", bad_configuration_has_a_place),
    ("command::good_configuration_is_explained", good_configuration_is_explained),
    ("command::whoever_reads_only_the_beginning_is_content", whoever_reads_only_the_beginning_is_content),
    ("command::qemu_missing", qemu_missing),
    ("command::qemu_too_old", qemu_too_old),
    ("command::port_in_use", port_in_use),
    ("command::interface_missing", interface_missing),
    ("command::queues_and_interface_disagree", queues_and_interface_disagree),
    ("command::same_input_same_image", same_input_same_image),
    ("command::what_cannot_be_built_leaves_nothing", what_cannot_be_built_leaves_nothing),
    ("command::an_interrupted_build_leaves_nothing", an_interrupted_build_leaves_nothing),
    ("command::a_device_is_written_over", a_device_is_written_over),
    ("command::run_answers_and_ends_on_interrupt", run_answers_and_ends_on_interrupt),
    ("command::no_qemu_outlives_a_killed_command", no_qemu_outlives_a_killed_command),
];

/// Time for a command that boots nothing, and for a signal to work.
const SOON: Duration = Duration::from_secs(10);

/// Runs `weir` and checks its exit status and what it prints on the standard error.
pub fn fails_with(command: &mut Command, status: i32, texts: &[&str]) -> Tested {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(status), || format!("{}, and it said: {said}", output.status))?;
    let missing = texts.iter().find(|text| !said.contains(**text));
    ensure(missing.is_none(), || format!("no {missing:?} in: {said}"))
}

fn unknown_flag_is_wrong_usage() -> Tested {
    fails_with(weir().args(["run", "--frobnicate"]), 2, &["--frobnicate", "Usage:"])
}

fn bad_configuration_has_a_place() -> Tested {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bad.toml");
    fs::write(
        &file,
        "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\nbnid = 1\n[[listener.route]]\npage = \"demo\"\n",
    )?;
    let place = format!("error: {}:4:1: ", file.display());
    fails_with(weir().arg("check").arg(&file), 1, &[&place, "bnid", "\nhelp: "])?;
    fails_with(weir().arg("run").arg(&file), 1, &[&place])
}

fn good_configuration_is_explained() -> Tested {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("demo.toml");
    fs::write(&file, weir_config::DEMO)?;
    let output = weir().args(["check", "--explain"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success() && said.contains("0.0.0.0:80"), || format!("{}: {said}", output.status))
}

fn whoever_reads_only_the_beginning_is_content() -> Tested {
    for arguments in [&["schema"][..], &["schema", "--reference"], &["sizing"]] {
        // Nobody reads the pipe from the beginning.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = weir().args(arguments).stdout(writer).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure(output.status.success() && said.is_empty(), || format!("{arguments:?}: {}, {said}", output.status))?;
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
    fails_with(weir().arg("schema").stdout(full), 1, &["cannot write to the standard output", "No space left"])
}

fn qemu_missing() -> Tested {
    let folder = tempfile::tempdir()?;
    fails_with(weir().arg("run").env("PATH", folder.path()), 1, &["qemu-system-x86_64 not found", "help: "])
}

fn qemu_too_old() -> Tested {
    let folder = tempfile::tempdir()?;
    let fake = folder.path().join("qemu-system-x86_64");
    fs::write(&fake, "#!/bin/sh\necho 'QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7+deb12u18)'\n")?;
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755))?;
    fails_with(weir().arg("run").env("PATH", folder.path()), 1, &["is version 7.2.19, and 8.0 or newer", "help: "])
}

fn port_in_use() -> Tested {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = holder.local_addr()?.port().to_string();
    let cause = format!("port {port} is in use");
    fails_with(weir().args(["run", "--port", &port]), 1, &[&cause, "help: "])
}

fn interface_missing() -> Tested {
    fails_with(weir().args(["run", "--net", "tap:weir-none"]), 1, &["no network interface", "ip tuntap add"])
}

fn queues_and_interface_disagree() -> Tested {
    let [one, two] = [Tap::new(1)?, Tap::new(2)?];
    for (tap, queues, cause) in [(one, "2", "was made without multi_queue"), (two, "1", "was made with multi_queue")] {
        let net = format!("tap:{}", tap.name());
        let arguments = ["--queues", queues, "--net", &net, "--accel", "tcg", "--base"];
        fails_with(weir().arg("run").args(arguments).arg(&lab()?.base_path), 1, &[cause, "help: "])?;
    }
    Ok(())
}

fn same_input_same_image() -> Tested {
    let folder = tempfile::tempdir()?;
    let [config, first, second] = ["demo.toml", "first.elf", "second.elf"].map(|name| folder.path().join(name));
    fs::write(&config, weir_config::DEMO)?;
    for out in [&first, &second] {
        let output =
            weir().arg("build").arg(&config).arg("-o").arg(out).arg("--base").arg(&lab()?.base_path).output()?;
        ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    }
    ensure(fs::read(&first)? == fs::read(&second)?, || "two builds of one configuration differ".into())?;
    let manifest = |image: &Path| fs::read_to_string(image.with_extension("elf.json"));
    let (text, other) = (manifest(&first)?, manifest(&second)?);
    ensure(text == other, || format!("two manifests of one image differ: {text}{other}"))?;
    let hash: String = Sha256::digest(fs::read(&first)?).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure(text.contains(&hash), || format!("no {hash} in {text}"))
}

/// Each failure has a cause and a status, and the folder is as empty as before.
fn what_cannot_be_built_leaves_nothing() -> Tested {
    let folder = tempfile::tempdir()?;
    let out = tempfile::tempdir()?;
    let config = folder.path().join("demo.toml");
    fs::write(&config, weir_config::DEMO)?;
    let base = &lab()?.base_path;
    let no_grub = folder.path().join("bin");
    fs::create_dir(&no_grub)?;
    let cases: [(&[&str], i32, &[&str]); 5] = [
        (&["--format", "floppy"], 2, &["floppy", "possible values"]),
        (&["--format", "elf", "--size", "64M"], 2, &["--size is for disks", "help: "]),
        (&["--format", "raw", "--size", "1M"], 1, &["the image has", "room for 1024", "help: "]),
        (&["--format", "qcow2", "--size", "1M"], 1, &["the image has", "room for 1024"]),
        (&["--base", "/nonexistent"], 1, &["cannot read the base image /nonexistent"]),
    ];
    for (arguments, status, texts) in cases {
        let mut command = weir();
        command.arg("build").arg(&config).arg("-o").arg(out.path().join("lb")).args(arguments);
        if !arguments.contains(&"--base") {
            command.arg("--base").arg(base);
        }
        fails_with(&mut command, status, texts)?;
        is_empty(out.path())?;
    }
    let mut command = weir();
    command.args(["build", "/nonexistent.toml", "-o"]).arg(out.path().join("lb"));
    fails_with(&mut command, 1, &["cannot read /nonexistent.toml", "help: "])?;
    let mut command = weir();
    command
        .arg("build")
        .arg(&config)
        .arg("--base")
        .arg(base)
        .args(["--format", "raw", "-o"])
        .arg(out.path().join("lb"));
    fails_with(command.env("PATH", &no_grub), 1, &["xorriso not found", "./setup image"])?;
    let mut command = weir();
    command.arg("build").arg(&config).arg("--base").arg(base).arg("-o").arg(out.path());
    fails_with(&mut command, 1, &["is a folder", "help: "])?;
    for (folder, cause, help) in [
        ("absent", "there is no folder absent", "\nhelp: mkdir -p absent\n"),
        ("/proc", "/proc takes no files: ", "\nhelp: choose another folder\n"),
    ] {
        let mut command = weir();
        command.arg("build").arg(&config).arg("--base").arg(base).arg("-o").arg(format!("{folder}/lb"));
        let cause = format!("error: cannot write {folder}/lb: {cause}");
        fails_with(command.current_dir(out.path()), 1, &[&cause, help])?;
    }
    is_empty(out.path())
}

fn is_empty(folder: &Path) -> Tested {
    let left: Vec<_> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    ensure(left.is_empty(), || format!("left behind: {left:?}"))
}

fn an_interrupted_build_leaves_nothing() -> Tested {
    let (folder, out, scratch) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let config = folder.path().join("demo.toml");
    fs::write(&config, weir_config::DEMO)?;
    let mut command = weir();
    command.args(["build", "--format", "iso", "--base"]).arg(&lab()?.base_path).arg("-o").arg(out.path().join("lb"));
    let mut building = Running::of(command.arg(&config).env("TMPDIR", scratch.path()))?;
    building.wait_for(Some("putting GRUB in front"), SOON)?;
    building.signal(Signal::INT)?;
    building.wait_for(Some("error: interrupted"), SOON)?;
    let status = building.child.wait()?;
    ensure(status.code() == Some(1), || format!("after ^C: {status}"))?;
    is_empty(out.path())?;
    is_empty(scratch.path())
}

/// What is no file is written to and not replaced.
fn a_device_is_written_over() -> Tested {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("demo.toml");
    fs::write(&config, weir_config::DEMO)?;
    let mut command = weir();
    command.arg("build").arg(&config).arg("--base").arg(&lab()?.base_path).args(["-o", "/dev/full"]);
    fails_with(&mut command, 1, &["cannot write /dev/full: No space left on device"])?;
    ensure(fs::metadata("/dev/full")?.file_type().is_char_device(), || "/dev/full was replaced".into())?;
    ensure(!Path::new("/dev/full.json").exists(), || "a manifest among the devices".into())
}

/// A command with its lines.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// `weir run`.
    fn start(port: &str) -> Result<Self, Failed> {
        Self::of(weir().args(["run", "--accel", "tcg", "--port", port, "--base"]).arg(&lab()?.base_path))
    }

    fn of(command: &mut Command) -> Result<Self, Failed> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let second = sender.clone();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| second.send(line)));
        Ok(Self { child, lines })
    }

    /// Waits for a line with this text; without one, until all output is closed.
    fn wait_for(&self, text: Option<&str>, limit: Duration) -> Result<String, Failed> {
        let deadline = Instant::now() + limit;
        let mut before = Vec::new();
        loop {
            match (self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())), text) {
                (Ok(line), Some(text)) if line.contains(text) => return Ok(line),
                (Ok(line), _) => before.push(line),
                (Err(mpsc::RecvTimeoutError::Disconnected), None) => return Ok(String::new()),
                (Err(error), _) => return Err(format!("waited for {text:?}: {error}\n{}", before.join("\n")).into()),
            }
        }
    }

    fn signal(&self, signal: Signal) -> Tested {
        let pid = Pid::from_raw(self.child.id().try_into()?).ok_or("no process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_answers_and_ends_on_interrupt() -> Tested {
    let mut running = Running::start("18080")?;
    running.wait_for(Some("http://127.0.0.1:18080/"), READY_LIMIT)?;
    let page = command_line("curl -sS --fail --max-time 20 http://127.0.0.1:18080/hello")?;
    ensure(page.starts_with("hello from "), || format!("curl got {page:?}"))?;
    let direct = http::get(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 18080), "/")?;
    ensure(direct.status == 200, || direct.head)?;
    running.signal(Signal::INT)?;
    running.wait_for(None, SOON)?;
    let status = running.child.wait()?;
    ensure(status.success(), || format!("after ^C: {status}"))
}

fn no_qemu_outlives_a_killed_command() -> Tested {
    let mut running = Running::start("18081")?;
    running.wait_for(Some("starting QEMU"), READY_LIMIT)?;
    running.child.kill()?;
    // The port is free again when QEMU is gone; listening to it is the proof, whatever process ids say.
    let deadline = Instant::now() + SOON;
    while TcpListener::bind((Ipv4Addr::LOCALHOST, 18081)).is_err() {
        ensure(Instant::now() < deadline, || "QEMU still holds its port".into())?;
        thread::yield_now();
    }
    Ok(())
}
