//! The kernel on machines: builds `examples/boot.rs` and starts it in QEMU, on the processors, memory sizes and core counts
//! that matter, and in each way to end.
//!
//! Every run has a time limit and nothing sleeps: a test ends when QEMU does, or when a line has come.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::Duration;

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// QEMU's status when all went well, and when the image panicked: see `weir_kernel::power::exit`.
const GOOD: i32 = 1;
const PANICKED: i32 = 3;
const TIME_LIMIT: Duration = Duration::from_secs(60);

static IMAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "weir-kernel", "--example", "boot", "--features", "bare"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Crelocation-model=static\u{1f}-Cforce-frame-pointers=yes")
        .status()
        .expect("cargo starts");
    assert!(built.success(), "the example does not build");
    folder.join(TARGET).join("release/examples/boot")
});

/// A machine and its console.
struct Machine {
    qemu: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Machine {
    fn start(arguments: &str) -> Machine {
        let mut command = Command::new("qemu-system-x86_64");
        command.args("-nodefaults -no-user-config -display none -serial stdio -device isa-debug-exit".split(' '));
        command.args(["-accel", "tcg,thread=multi"]).arg("-kernel").arg(&*IMAGE);
        for (option, default) in [("-machine", "q35"), ("-cpu", "max"), ("-m", "128M"), ("-smp", "2")] {
            if !arguments.split(' ').any(|word| word == option) {
                command.args([option, default]);
            }
        }
        // A no-break space stands for a space inside of an argument.
        let words = arguments.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('\u{a0}', " "));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut qemu = command.spawn().expect("qemu-system-x86_64 starts; install qemu-system-x86");
        let console = BufReader::new(qemu.stdout.take().expect("a piped console"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in console.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                // The firmware's last words end without a line feed.
                let start = line.find("weir: ").unwrap_or(0);
                let _ = sender.send(line[start..].trim_end().to_owned());
            }
        });
        Machine { qemu, lines, seen: Vec::new() }
    }

    /// Waits for a line that contains `text`.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(TIME_LIMIT) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {text:?} ({error}) after:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Waits for QEMU to end; returns its status and all lines.
    fn end(mut self) -> (Option<i32>, String) {
        loop {
            match self.lines.recv_timeout(TIME_LIMIT) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("QEMU does not end after:\n{}", self.seen.join("\n")),
            }
        }
        let status = self.qemu.wait().expect("QEMU was started");
        (status.code(), self.seen.join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn run(arguments: &str) -> (Option<i32>, String) {
    Machine::start(&format!("-no-reboot {arguments}")).end()
}

#[track_caller]
fn expect(arguments: &str, status: i32, texts: &[&str]) {
    let (ended, console) = run(arguments);
    assert_eq!(ended, Some(status), "{arguments}:\n{console}");
    for text in texts {
        assert!(console.contains(text), "no {text:?} with {arguments}:\n{console}");
    }
}

#[test]
fn one_to_eight_cores_start_wake_and_keep_time() {
    for cores in [1, 2, 4, 8] {
        expect(&format!("-smp {cores}"), GOOD, &[&format!("weir: ready cores={cores}")]);
    }
}

#[test]
fn sixty_four_cores_start() {
    expect("-smp 64 -m 256M", GOOD, &["weir: ready cores=64"]);
}

#[test]
fn an_old_interrupt_controller_serves_as_well() {
    expect("-cpu max,-x2apic -smp 4", GOOD, &["weir: ready cores=4"]);
}

#[test]
fn a_processor_without_random_numbers_gives_none() {
    expect("-cpu qemu64", GOOD, &["random: NoEntropy", "weir: ready cores=2"]);
}

#[test]
fn a_processor_without_gigabyte_pages_boots() {
    expect("-cpu max,-pdpe1gb -m 3G", GOOD, &["weir: ready"]);
}

#[test]
fn little_memory_suffices_and_much_is_reached() {
    expect("-m 64M", GOOD, &["weir: ready"]);
    let backend = "-object memory-backend-ram,id=ram,size=64G,reserve=off -machine q35,memory-backend=ram";
    expect(&format!("-m 64G {backend}"), GOOD, &["weir: boot: memory 6710", "weir: ready"]);
}

#[test]
fn the_older_chipset_boots() {
    expect("-machine pc", GOOD, &["weir: ready"]);
}

#[test]
fn a_file_and_a_module_come_from_the_host() {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let len = std::fs::metadata(module).expect("our own manifest").len();
    let arguments = format!("-fw_cfg name=opt/weir/test,string=hello -initrd {module}");
    expect(&arguments, GOOD, &["file \"hello\"", &format!("payload of {len} bytes")]);
}

#[test]
fn a_page_fault_is_reported_with_its_callers() {
    let console = ["page fault: read at 0x10, not mapped", "rip 0x", "rax 0x", "#3"];
    expect("-append weir.test=page-fault\u{a0}weir.panic=exit", PANICKED, &console);
}

#[test]
fn a_stack_overflow_is_called_by_its_name_on_every_core() {
    expect(
        "-append weir.test=stack-overflow\u{a0}weir.panic=exit",
        PANICKED,
        &["core 0: stack overflow: main stack, guard page hit", "times more"],
    );
    let last = "-smp 4 -append weir.test=stack-overflow-on-last\u{a0}weir.panic=exit";
    expect(last, PANICKED, &["core 3: stack overflow: main stack"]);
}

#[test]
fn a_panic_ends_by_its_policy() {
    let place = "panic: core 0: a deliberate panic, at ";
    expect("-append weir.test=panic\u{a0}weir.panic=exit", PANICKED, &[place]);
    expect("-append weir.test=panic", 0, &[place, "weir: panic: rebooting"]);
    let mut machine = Machine::start("-append weir.test=panic");
    for _ in 0..3 {
        machine.wait_for(place);
    }
    let mut machine = Machine::start("-append weir.test=panic\u{a0}weir.panic=halt");
    machine.wait_for("weir: panic: halted");
}

#[test]
fn the_hypervisor_is_told_of_a_panic() {
    expect(
        "-device pvpanic -action panic=exit-failure -append weir.test=panic\u{a0}weir.panic=halt",
        1,
        &["deliberate"],
    );
}

#[test]
fn the_power_button_is_seen_and_the_machine_goes_off() {
    let monitor = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("monitor-{}", std::process::id()));
    let socket = format!("-monitor unix:{},server,nowait", monitor.display());
    let mut machine = Machine::start(&format!("-append weir.test=button {socket}"));
    machine.wait_for("waiting for the power button");
    let mut stream = UnixStream::connect(&monitor).expect("QEMU's monitor");
    stream.write_all(b"system_powerdown\n").expect("QEMU listens");
    machine.wait_for("weir: power button");
    let (status, console) = machine.end();
    assert_eq!(status, Some(0), "{console}");
    assert!(!console.contains("did not switch off"), "{console}");
}
