//! The ways on which a configuration reaches the image: which one wins, and what is said of one that is broken.
//!
//! Seed disks are made by the tools that users make them with. Each guest answers with the name of the configuration that
//! holds, and its boot log says why.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use weir_host::machine::{COMMAND_LINE_BYTES_MAX, MachineType};

use crate::guest::{Guest, Spec};
use crate::lab::{READY_LIMIT, weir};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("delivery::the_later_wins", the_later_wins),
    ("delivery::an_invalid_one_gives_way_to_the_next_best", an_invalid_one_gives_way_to_the_next_best),
    ("delivery::disks_of_every_tool_are_read", disks_of_every_tool_are_read),
    ("delivery::weir_makes_disks_too", weir_makes_disks_too),
    ("delivery::without_pci_too", without_pci_too),
    ("delivery::broken_disks_are_said_and_the_image_goes_on", broken_disks_are_said_and_the_image_goes_on),
    ("delivery::a_disk_that_fails_to_read_is_said", a_disk_that_fails_to_read_is_said),
    ("delivery::a_command_line_is_read_to_its_end", a_command_line_is_read_to_its_end),
];

/// Time for one line on the console.
const LINE_LIMIT: Duration = Duration::from_secs(30);

/// How a disk is made of a folder with `user-data` and `meta-data`, as `DISK` in the current folder.
const TOOLS: &[(&str, &[&str], &str)] = &[
    ("cloud-localds", &["cloud-localds DISK user-data meta-data"], "ISO 9660"),
    ("cloud-localds", &["cloud-localds -f vfat DISK user-data meta-data"], "FAT"),
    ("genisoimage", &["genisoimage -quiet -V cidata -r -o DISK user-data meta-data"], "ISO 9660"),
    ("xorriso", &["xorriso -as genisoimage -V CIDATA -J -o DISK user-data meta-data"], "ISO 9660"),
    ("mkfs.vfat", &["mkfs.vfat -n CIDATA -C DISK 1440", "mcopy -oi DISK user-data meta-data ::"], "FAT"),
    ("mkfs.vfat", &["mkfs.vfat -F 32 -n cidata -C DISK 65536", "mcopy -oi DISK user-data meta-data ::"], "FAT"),
];

/// A configuration whose answer is `name`.
fn config(tap: &Tap, name: &str) -> String {
    let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\n";
    format!("{}{listener}respond = {{ body = \"{name}\" }}\n", tap.config())
}

/// The same with a mistake in the first column of its last line.
fn broken(tap: &Tap, name: &str) -> (String, usize) {
    let text = config(tap, name) + "bnid = 1\n";
    let line = text.lines().count();
    (text, line)
}

/// A folder for disks and files.
struct Desk(TempDir);

impl Desk {
    fn new() -> Result<Self, Failed> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line of a tool in the folder.
    fn run(&self, line: &str) -> Tested {
        let mut words = line.split(' ');
        let program = words.next().unwrap_or_default();
        // The administrators' tools are not in every user's path.
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let output = Command::new(program).args(words).current_dir(self.0.path()).env("PATH", path).output();
        let output = output.map_err(|error| format!("{program}: {error}; './setup test' installs it"))?;
        ensure(output.status.success(), || format!("'{line}': {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Makes a disk with this user-data.
    fn disk(&self, recipe: &[&str], user_data: &str) -> Result<PathBuf, Failed> {
        let disk = self.path("seed.img");
        let _ = fs::remove_file(&disk);
        fs::write(self.path("user-data"), user_data)?;
        fs::write(self.path("meta-data"), "instance-id: weir\n")?;
        recipe.iter().try_for_each(|line| self.run(&line.replace("DISK", "seed.img")))?;
        Ok(disk)
    }

    /// The same with the first of the tools.
    fn usual_disk(&self, user_data: &str) -> Result<PathBuf, Failed> {
        self.disk(TOOLS[0].1, user_data)
    }
}

/// `weir build` with this configuration, to `name` in the folder.
fn build(desk: &Desk, text: &str, name: &str) -> Result<PathBuf, Failed> {
    let (config, disk) = (desk.path("lb.toml"), desk.path(name));
    fs::write(&config, text)?;
    let output = weir().args(["build", "--format", "cidata"]).arg(&config).arg("-o").arg(&disk).output()?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(disk)
}

/// The argument for QEMU that hands over a file.
fn fw_cfg(desk: &Desk, text: &str) -> Result<[String; 2], Failed> {
    let path = desk.path("fw_cfg");
    fs::write(&path, text)?;
    Ok(["-fw_cfg".into(), format!("name=opt/weir/config,file={}", path.display())])
}

/// The arguments that attach a disk.
fn attach(disk: &Path, device: &str) -> [String; 4] {
    let drive = format!("id=seed,if=none,format=raw,readonly=on,file={}", disk.display());
    ["-drive".into(), drive, "-device".into(), format!("{device},drive=seed")]
}

/// The argument that replaces the kernel command line.
fn append(text: &str) -> [String; 2] {
    ["-append".into(), format!("weir.panic=exit weir.config={}", base64(text))]
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(bytes.get(at).copied().unwrap_or(0)));
        let digit = |place: usize| char::from(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]);
        (0..4).map(|place| if place <= bytes.len() { digit(place) } else { '=' }).collect::<String>()
    };
    text.as_bytes().chunks(3).map(group).collect()
}

/// Boots with these arguments for QEMU and asks for the name of the configuration that holds. The boot log must have lines
/// with these texts in this order, all before the guest serves.
fn holds(tap: &Tap, spec: Spec, arguments: &[String], name: &str, lines: &[&[&str]]) -> Tested {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut guest = Guest::start_with(Spec { nic: tap.nic(), ..spec }, &words)?;
    for texts in lines {
        guest.wait_for(texts, LINE_LIMIT)?;
    }
    let ready = guest.vm.wait_ready(READY_LIMIT);
    ready.map_err(|error| guest.report(&format!("not ready: {error}")))?;
    let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.text() == name, || guest.report(&format!("{:?} holds, not {name:?}", answer.text())).to_string())?;
    // The admin port repeats what the boot log said of configurations.
    let told = http::get(tap.at(9000), "/configuration")?.text();
    let mut of_configurations =
        lines.iter().flat_map(|texts| *texts).filter_map(|text| text.strip_prefix("configuration: "));
    of_configurations.try_for_each(|text| ensure(told.contains(text), || format!("no {text:?} in {told:?}")))
}

fn embedded(tap: &Tap) -> Spec {
    Spec { config: config(tap, "image"), ..Spec::default() }
}

fn the_later_wins() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let disk = attach(&desk.usual_disk(&config(&tap, "disk"))?, "virtio-blk-pci").to_vec();
    let fw_cfg = fw_cfg(&desk, &config(&tap, "fw_cfg"))?.to_vec();
    let line = append(&config(&tap, "line")).to_vec();
    let cases: [(&str, &[&[String]], &str); 5] = [
        ("image", &[], "image, BYTES (kernel command line absent, fw_cfg absent, cidata disk absent)"),
        ("disk", &[&disk], "cidata disk, BYTES (kernel command line absent, fw_cfg absent, image overruled)"),
        (
            "fw_cfg",
            &[&disk, &fw_cfg],
            "fw_cfg, BYTES (kernel command line absent, cidata disk overruled, image overruled)",
        ),
        (
            "line",
            &[&disk, &fw_cfg, &line],
            "kernel command line, BYTES (fw_cfg overruled, cidata disk overruled, image overruled)",
        ),
        ("line", &[&line], "kernel command line, BYTES (fw_cfg absent, cidata disk absent, image overruled)"),
    ];
    for (name, arguments, summary) in cases {
        let bytes = format!("{} bytes", config(&tap, name).len());
        let summary = format!("configuration: {}", summary.replace("BYTES", &bytes));
        holds(&tap, embedded(&tap), &arguments.concat(), name, &[&[&summary]])?;
    }
    Ok(())
}

fn an_invalid_one_gives_way_to_the_next_best() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let (text, number) = broken(&tap, "broken");
    let place = |name: &str| format!("configuration: {name}:{number}:1: ");
    let arguments = [&fw_cfg(&desk, &text)?[..], &append(&text)].concat();
    let lines: [&[&str]; 4] = [
        &[&place("kernel command line"), "bnid"],
        &["configuration: help: "],
        &[&place("fw_cfg"), "bnid"],
        &["configuration: image, ", "(kernel command line invalid, fw_cfg invalid, cidata disk absent)"],
    ];
    holds(&tap, embedded(&tap), &arguments, "image", &lines)?;
    // The next best need not be the image's.
    let disk = attach(&desk.usual_disk(&config(&tap, "disk"))?, "virtio-blk-pci");
    let no_base64 = ["-append".to_owned(), "weir.panic=exit weir.config=lb.toml".to_owned()];
    let arguments = [&fw_cfg(&desk, &text)?[..], &disk, &no_base64].concat();
    let lines: [&[&str]; 3] = [
        &["configuration: kernel command line: weir.config= is no base64", "base64 -w0"],
        &[&place("fw_cfg")],
        &["configuration: cidata disk, ", "(kernel command line unreadable, fw_cfg invalid, image overruled)"],
    ];
    holds(&tap, embedded(&tap), &arguments, "disk", &lines)
}

fn disks_of_every_tool_are_read() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    for (number, (tool, recipe, kind)) in TOOLS.iter().enumerate() {
        let name = format!("disk {number} of {tool}");
        // Long enough for several clusters and blocks.
        let user_data = config(&tap, &name) + &"# a comment that makes it long\n".repeat(1000);
        let disk = attach(&desk.disk(recipe, &user_data)?, "virtio-blk-pci");
        let cidata = format!("disk 1: cidata, {kind}");
        let summary = format!("cidata disk, {} bytes", user_data.len());
        holds(&tap, embedded(&tap), &disk, &name, &[&[&cidata], &[&summary]])?;
    }
    Ok(())
}

fn weir_makes_disks_too() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let text = config(&tap, "weir's");
    let first = build(&desk, &text, "first")?;
    // Dates have seconds: another one has begun when the second disk is made.
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).map(|passed| passed.as_secs());
    let before = seconds()?;
    while seconds()? == before {
        std::thread::yield_now();
    }
    let second = build(&desk, &text, "second")?;
    ensure(fs::read(&first)? == fs::read(&second)?, || "two disks of one configuration differ".into())?;
    holds(&tap, embedded(&tap), &attach(&first, "virtio-blk-pci"), "weir's", &[&["disk 1: cidata, ISO 9660"]])
}

fn without_pci_too() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let disk = attach(&desk.usual_disk(&config(&tap, "disk"))?, "virtio-blk-device");
    let spec = Spec { machine_type: MachineType::Microvm, ..embedded(&tap) };
    holds(&tap, spec, &disk, "disk", &[&["configuration: cidata disk, "]])
}

fn broken_disks_are_said_and_the_image_goes_on() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let padding = "# a comment that makes it long\n".repeat(1000);
    let long = config(&tap, "disk") + &padding;
    type Break = fn(&Desk, &str) -> Result<PathBuf, Failed>;
    let cases: [(Break, &[&str], &str); 7] = [
        (
            |desk, text| cut(desk.usual_disk(text)?, 52 << 10),
            &["disk 1: cut off: ", "KiB are needed, and the disk has 52"],
            "unreadable",
        ),
        (|desk, text| cut(desk.disk(TOOLS[4].1, text)?, 20 << 10), &["disk 1: cut off: "], "unreadable"),
        (|desk, text| cut(desk.usual_disk(text)?, 20 << 10), &["disk 1: neither ISO 9660 nor FAT"], "absent"),
        (|desk, text| cut(desk.usual_disk(text)?, 0), &["disk 1: neither ISO 9660 nor FAT"], "absent"),
        (
            |desk, text| desk.disk(&["genisoimage -quiet -V config -r -o DISK user-data"], text),
            &["disk 1: the label is \"config\", not \"cidata\""],
            "absent",
        ),
        (
            |desk, text| desk.disk(&["genisoimage -quiet -V cidata -r -o DISK meta-data"], text),
            &["disk 1: there is no file user-data in its root"],
            "unreadable",
        ),
        (
            |desk, text| desk.usual_disk(&format!("#cloud-config\n{text}")),
            &["cidata disk:1:1: #cloud-config is for cloud-init"],
            "invalid",
        ),
    ];
    for (make, texts, fate) in cases {
        let disk = attach(&make(&desk, &long)?, "virtio-blk-pci");
        let summary = format!("fw_cfg absent, cidata disk {fate})");
        holds(&tap, embedded(&tap), &disk, "image", &[texts, &["configuration: image, ", &summary]])?;
    }
    Ok(())
}

/// Leaves the first `bytes` of a disk.
fn cut(disk: PathBuf, bytes: u64) -> Result<PathBuf, Failed> {
    File::options().write(true).open(&disk)?.set_len(bytes)?;
    Ok(disk)
}

/// QEMU's `blkdebug` fails each read behind the volume descriptors.
fn a_disk_that_fails_to_read_is_said() -> Tested {
    let tap = Tap::new(1)?;
    let desk = Desk::new()?;
    let disk = desk.usual_disk(&config(&tap, "disk"))?;
    fs::write(desk.path("rules"), "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"64\"\n")?;
    let drive = format!(
        "id=seed,if=none,format=raw,readonly=on,rerror=report,file=blkdebug:{}:{}",
        desk.path("rules").display(),
        disk.display()
    );
    let arguments = ["-drive".into(), drive, "-device".into(), "virtio-blk-pci,drive=seed".into()];
    let lines: [&[&str]; 2] = [
        &["cidata disk: disk 1: sector 64 cannot be read: the device reports a failure of input"],
        &["configuration: image, ", "cidata disk unreadable)"],
    ];
    holds(&tap, embedded(&tap), &arguments, "image", &lines)
}

/// The longest command line that QEMU's loader takes, without the NUL at its end.
fn a_command_line_is_read_to_its_end() -> Tested {
    let tap = Tap::new(1)?;
    let text = config(&tap, "line");
    let padding = "# a comment that makes it long".to_owned();
    let room = (COMMAND_LINE_BYTES_MAX - "weir.panic=exit weir.config=".len()) / 4 * 3;
    let text = format!("{text}{padding}{}", "x".repeat(room - text.len() - padding.len()));
    let summary = format!("configuration: kernel command line, {room} bytes");
    holds(&tap, embedded(&tap), &append(&text), "line", &[&[&summary]])
}
