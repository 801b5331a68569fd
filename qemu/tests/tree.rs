//! The shape of the source tree: which crate may know which, where `unsafe` may stand, how long a file may be.
//!
//! Each rule is one table here. To change a rule is to change its table, in a commit that says why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each crate may depend on. Dependencies of tests alone are free.
const ARROWS: &[(&str, &[&str])] = &[
    // The vocabularies: of hardware, of packets, of sockets, of HTTP, of the configuration.
    ("weir-hal", &[]),
    ("weir-packet", &[]),
    ("weir-socket", &["weir-packet"]),
    ("weir-async", &["weir-socket"]),
    ("weir-http1", &[]),
    ("weir-config", &[]),
    // kernel and network stack never meet; drivers know neither.
    ("weir-kernel", &["weir-hal"]),
    ("weir-drivers", &["weir-hal", "weir-packet"]),
    ("weir-seed", &[]),
    ("weir-tcp", &["weir-packet", "weir-socket"]),
    ("weir-stack", &["weir-packet", "weir-socket", "weir-tcp"]),
    ("weir-resolver", &["weir-socket"]),
    ("weir-sim", &["weir-packet", "weir-socket", "weir-stack", "weir-tcp"]),
    ("weir-peer", &["weir-packet", "weir-socket", "weir-stack", "weir-tcp"]),
    (
        "weir-fuzz",
        &[
            "weir-config",
            "weir-drivers",
            "weir-http1",
            "weir-packet",
            "weir-resolver",
            "weir-seed",
            "weir-socket",
            "weir-stack",
            "weir-tcp",
        ],
    ),
    // Applications know sockets and HTTP.
    ("weir-httpd", &["weir-config", "weir-http1", "weir-packet", "weir-socket"]),
    ("weir-proxy", &["weir-config", "weir-http1", "weir-httpd", "weir-packet", "weir-socket"]),
    // Only the runtime sees everything in the guest.
    (
        "weir-runtime",
        &[
            "weir-config",
            "weir-drivers",
            "weir-hal",
            "weir-http1",
            "weir-httpd",
            "weir-kernel",
            "weir-packet",
            "weir-plan",
            "weir-proxy",
            "weir-resolver",
            "weir-seed",
            "weir-socket",
            "weir-stack",
            "weir-tcp",
        ],
    ),
    // What the image computes of its memory, for the host to promise.
    ("weir-plan", &["weir-packet", "weir-tcp"]),
    // Host tools share two crates with the guest: the configuration and the plan of its memory.
    ("weir-image", &["weir-config"]),
    ("weir-host", &[]),
    // The schema knows no crate: its tests compare it with the configuration's reader.
    ("weir-schema", &[]),
    ("weir", &["weir-bench", "weir-config", "weir-host", "weir-image", "weir-plan", "weir-schema"]),
    ("weir-bench", &["weir-host", "weir-image", "weir-meter"]),
    ("weir-meter", &["weir-host", "weir-image"]),
    ("weir-meter-plugin", &[]),
];

/// Crates of others that have one place in the tree, and the folders that are this place.
const PLACES: &[(&str, &str)] = &[
    ("smoltcp", "netstack/"),
    ("virtio-drivers", "drivers/"),
    ("x86_64", "kernel/"),
    ("linked_list_allocator", "kernel/"),
    ("acpi", "kernel/"),
    ("httparse", "apps/http1/"),
];

/// Where `unsafe` may stand: folders end with a slash. Every other crate forbids it at its root.
const UNSAFE: &[(&str, &str)] = &[
    ("kernel/", "hardware"),
    ("drivers/src/virtio/ring/", "memory that the device reads and writes"),
    ("drivers/src/fake/", "a device made of plain memory, for the tests of drivers"),
    ("netstack/packet/src/", "the packet pool hands out memory"),
    ("qemu/meter/plugin/src/", "QEMU loads it and calls it as C"),
];

/// Lines above which a file fails, and above which it is mentioned.
const LINES_MAX: usize = 800;
const LINES_ASK: usize = 400;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// A member of the workspace.
struct Member {
    name: String,
    folder: PathBuf,
    roots: Vec<PathBuf>,
    dependencies: BTreeSet<String>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let is_program = |target: &&Value| {
        let kinds = target["kind"].as_array().unwrap();
        kinds.iter().any(|kind| kind == "lib" || kind == "bin")
    };
    let for_more_than_tests = |dependency: &&Value| dependency["kind"] != "dev";
    Member {
        name: text(&package["name"]),
        folder: Path::new(&text(&package["manifest_path"])).parent().unwrap().to_owned(),
        roots: package["targets"]
            .as_array()
            .unwrap()
            .iter()
            .filter(is_program)
            .map(|t| text(&t["src_path"]).into())
            .collect(),
        dependencies: package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(for_more_than_tests)
            .map(|dependency| text(&dependency["name"]))
            .collect(),
    }
}

/// Every Rust file of every member, as a path relative to the workspace.
fn rust_files() -> Vec<String> {
    let root = workspace();
    let mut folders: Vec<PathBuf> = members().into_iter().map(|member| member.folder).collect();
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.into_iter().collect()
}

fn read(relative: &str) -> String {
    fs::read_to_string(workspace().join(relative)).unwrap()
}

fn may_be_unsafe(file: &str) -> bool {
    UNSAFE.iter().any(|(place, _)| if place.ends_with('/') { file.starts_with(place) } else { file == *place })
}

/// Whether a line of code has the word `unsafe`, not counting comments and strings.
fn has_unsafe(line: &str) -> bool {
    let code: String = line.split("//").next().unwrap_or_default().split('"').step_by(2).collect();
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

fn fail_if_any(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn crates_know_only_whom_they_may_know() {
    let members = members();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, targets)| (*name, targets.iter().copied().collect())).collect();
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let without_row = names.iter().filter(|name| !allowed.contains_key(*name));
    let mut complaints: Vec<String> =
        without_row.map(|name| format!("{name} has no row in the table of arrows")).collect();
    fail_if_any(&complaints);
    for member in &members {
        let ours = member.dependencies.iter().filter(|name| names.contains(name.as_str()));
        let forbidden = ours.filter(|name| !allowed[member.name.as_str()].contains(name.as_str()));
        complaints.extend(forbidden.map(|name| format!("{} may not depend on {name}", member.name)));
    }
    fail_if_any(&complaints);
}

#[test]
fn crates_of_others_stay_in_their_place() {
    let root = workspace();
    let mut complaints = Vec::new();
    for member in members() {
        let folder = format!("{}/", member.folder.strip_prefix(&root).unwrap().display());
        for (name, place) in PLACES {
            if member.dependencies.contains(*name) && !folder.starts_with(place) {
                complaints.push(format!("{} may not depend on {name}: its place is {place}", member.name));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn unsafe_stands_only_where_hardware_is() {
    let mut complaints = Vec::new();
    for file in rust_files().iter().filter(|file| !may_be_unsafe(file)) {
        let text = read(file);
        let hits = text.lines().enumerate().filter(|(_, line)| has_unsafe(line));
        complaints.extend(hits.map(|(index, line)| format!("{file}:{}: {}", index + 1, line.trim())));
    }
    fail_if_any(&complaints);
}

#[test]
fn every_other_crate_forbids_unsafe_at_its_root() {
    let root = workspace();
    let mut complaints = Vec::new();
    for member in members() {
        let folder = format!("{}/", member.folder.strip_prefix(&root).unwrap().display());
        if UNSAFE.iter().any(|(place, _)| place.starts_with(&folder) || folder.starts_with(place)) {
            continue;
        }
        for path in member.roots {
            if !fs::read_to_string(&path).unwrap().contains("#![forbid(unsafe_code)]") {
                complaints.push(format!("{} lacks #![forbid(unsafe_code)]", path.display()));
            }
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn the_places_of_unsafe_exist_and_have_it() {
    let files = rust_files();
    for (place, reason) in UNSAFE {
        let mut inside = files.iter().filter(|file| file.starts_with(place));
        assert!(inside.any(|file| read(file).lines().any(has_unsafe)), "no unsafe in {place} ({reason}): drop the row");
    }
}

#[test]
fn files_are_short() {
    let mut complaints = Vec::new();
    for file in rust_files() {
        let lines = read(&file).lines().count();
        let excused = LONG_FILES.iter().any(|(name, _)| *name == file);
        if lines > LINES_MAX && !excused {
            complaints.push(format!("{file} has {lines} lines: which two nouns are in here?"));
        } else if lines > LINES_ASK {
            println!("note: {file} has {lines} lines");
        }
    }
    fail_if_any(&complaints);
}

#[test]
fn every_crate_begins_with_what_it_is() {
    let roots = members().into_iter().flat_map(|member| member.roots);
    let silent = roots.filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"));
    fail_if_any(&silent.map(|path| format!("{} does not begin with //!", path.display())).collect::<Vec<_>>());
}
