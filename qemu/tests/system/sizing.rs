//! What `weir sizing` and the manifest promise, against what images say of themselves.

use std::fs;
use std::process::Command;

use serde_json::Value;
use weir_host::machine::MachineType;

use crate::guest::{Guest, Spec};
use crate::lab::{lab, weir};
use crate::tap::Tap;
use crate::{Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("sizing::images_keep_what_is_promised", images_keep_what_is_promised),
    ("sizing::the_largest_machine_boots", the_largest_machine_boots),
    ("sizing::files_are_counted", files_are_counted),
    ("sizing::a_machine_too_small_is_refused", a_machine_too_small_is_refused),
    ("sizing::a_manifest_says_the_same", a_manifest_says_the_same),
];

const FIGURES: [&str; 3] = ["connections_max", "flows_max", "buffers"];

/// How far apart promise and image may be: a hundredth of either.
const PARTS: u64 = 100;

fn config(tap: &Tap) -> String {
    tap.config() + "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\npage = \"demo\"\n"
}

/// What `weir sizing` says.
fn promised(memory_mib: u32, cores: u32) -> Result<[u64; 3], Failed> {
    said_by(weir().arg("sizing"), memory_mib, cores)
}

fn said_by(sizing: &mut Command, memory_mib: u32, cores: u32) -> Result<[u64; 3], Failed> {
    let size = ["--memory".into(), format!("{memory_mib}M"), "--cores".into(), cores.to_string()];
    let output = sizing.args(size).output()?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    let said = String::from_utf8(output.stdout)?;
    let row = said.lines().find(|line| line.contains(" MiB |")).ok_or_else(|| format!("no row in {said}"))?;
    let figures: Vec<u64> = row.split('|').skip(3).filter_map(|cell| cell.trim().parse().ok()).collect();
    <[u64; 3]>::try_from(figures).map_err(|_| format!("no figures in {row}").into())
}

/// What the image says when it is ready.
fn kept(ready: &str) -> Result<[u64; 3], Failed> {
    let mut figures = [0; 3];
    for (figure, name) in figures.iter_mut().zip(FIGURES) {
        let value = ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        *figure = value.ok_or_else(|| format!("no {name} in {ready}"))?.parse()?;
    }
    Ok(figures)
}

fn images_keep_what_is_promised() -> Tested {
    let sizes = [(64, 1), (256, 2), (1024, 4)].map(|size| (MachineType::Q35, size));
    for (machine_type, (memory_mib, cores)) in sizes.into_iter().chain([(MachineType::Microvm, (128, 2))]) {
        let tap = Tap::new(1)?;
        let spec = Spec { machine_type, config: config(&tap), memory_mib, cores, nic: tap.nic(), ..Spec::default() };
        is_kept(promised(memory_mib, cores)?, spec)?;
    }
    Ok(())
}

/// Boots and compares.
fn is_kept(promised: [u64; 3], spec: Spec) -> Tested {
    let kept = kept(&Guest::boot(spec)?.ready)?;
    let is_near = promised.iter().zip(&kept).all(|(one, other)| one.abs_diff(*other) <= one / PARTS);
    ensure(is_near, || format!("promised {promised:?}, and it has {kept:?}"))
}

/// 64 GiB in a file with holes: the image writes to little of its memory before there is traffic.
fn the_largest_machine_boots() -> Tested {
    const MEMORY_MIB: u32 = 64 << 10;
    let tap = Tap::new(1)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("memory");
    let object = format!("memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path={},share=on", path.display());
    let extra = ["-object", &object, "-machine", "memory-backend=memory"].map(Into::into).into();
    let spec = Spec { config: config(&tap), memory_mib: MEMORY_MIB, nic: tap.nic(), extra, ..Spec::default() };
    is_kept(promised(MEMORY_MIB, 1)?, spec)
}

/// The archive of an image takes memory away from its connections.
fn files_are_counted() -> Tested {
    let tap = Tap::new(1)?;
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    fs::create_dir(&files)?;
    fs::write(files.join("large"), vec![b'x'; 9 << 20])?;
    let path = folder.path().join("lb.toml");
    let config = config(&tap);
    fs::write(&path, &config)?;
    let promise = said_by(weir().arg("sizing").arg(&path).arg("--files").arg(&files), 64, 1)?;
    let whole = promised(64, 1)?;
    ensure(promise[0] < whole[0] * 9 / 10, || format!("{promise:?} with files, {whole:?} without"))?;
    is_kept(promise, Spec { config, files: Some(files), memory_mib: 64, nic: tap.nic(), ..Spec::default() })
}

fn a_machine_too_small_is_refused() -> Tested {
    let output = weir().args(["sizing", "--memory", "64M", "--cores", "64"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(1) && said.contains("will not start") && said.contains("help: "), || said)
}

fn a_manifest_says_the_same() -> Tested {
    let folder = tempfile::tempdir()?;
    let [config, image] = ["lb.toml", "lb.elf"].map(|name| folder.path().join(name));
    fs::write(&config, weir_config::DEMO)?;
    let output =
        weir().arg("build").arg(&config).arg("-o").arg(&image).arg("--base").arg(&lab()?.base_path).output()?;
    ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
    let manifest: Value = serde_json::from_slice(&fs::read(folder.path().join("lb.elf.json"))?)?;
    let limits = manifest["limits"].as_array().ok_or("no limits")?;
    let row = limits.iter().find(|row| row["memory_mib"] == 256 && row["cores"] == 2).ok_or("no row")?;
    let figures = FIGURES.map(|name| row[name].as_u64());
    let promised = said_by(weir().arg("sizing").arg(&config), 256, 2)?.map(Some);
    ensure(figures == promised, || format!("{figures:?} and {promised:?}"))
}
