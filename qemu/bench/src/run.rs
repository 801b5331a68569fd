//! The course of a benchmark: what is checked and built outside of the namespace, and what is measured inside.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use weir_host::accel;
use weir_host::failure::Failure;
use weir_host::interrupt::Interruption;
use weir_host::memfile::MemFile;
use weir_host::qemu::Qemu;
use weir_image::{base, elf, payload};
use weir_meter::lab::{Failed, namespace};
use weir_meter::plugin;

use crate::guest::{Images, Watch};
use crate::lab::{Pair, Servers};
use crate::model::{Report, VERSION};
use crate::options::{Action, Bench, Pace, Part};
use crate::{baseline, check, compare, counts, extras, facts, latency, markdown, number, rates};

/// Weir's configuration.
pub const CONFIG: &str = include_str!("../weir.toml");

/// Paths of what was built outside of the namespace, where cargo may have to fetch something.
const PLUGIN: &str = "WEIR_BENCH_PLUGIN";
const BASE: &str = "WEIR_BENCH_BASE";

/// Times that guests are booted before they are given up.
const BOOTS_MAX: usize = 4;

/// Longest text of what could not be measured, in characters: a client or QEMU may say a lot.
const FAILURE_LEN_MAX: usize = 1000;

/// `weir bench`.
///
/// # Errors
/// When something is missing, or nothing could be measured.
pub fn main(options: &Bench) -> Result<ExitCode, Failure> {
    match &options.action {
        Some(Action::Compare(compare)) => compare::main(compare),
        Some(Action::Render(render)) => {
            let report = compare::read(&render.report)?;
            let folder = render.output.as_deref().or(render.report.parent()).unwrap_or(Path::new("."));
            write(&report, folder)
        }
        None if namespace::is_inside() => measure(options),
        None => Err(prepare(options)?),
    }
}

/// The folder for what is kept between runs.
fn folder() -> Result<PathBuf, Failure> {
    let workspace = base::find_workspace()
        .ok_or_else(|| Failure::new("no Weir source tree here or above").help("run the benchmark inside of a clone"))?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    Ok(target.join("bench"))
}

/// Where temporary files are: an empty folder outside, memory inside of the namespace, so that nothing outlives it.
fn scratch() -> Result<PathBuf, Failure> {
    Ok(folder()?.join("scratch"))
}

/// Checks, builds, and goes into the namespace; returns only when something fails.
fn prepare(options: &Bench) -> Result<Failure, Failure> {
    let folder = folder()?;
    Qemu::find()?;
    check::programs()?;
    check::memory()?;
    check::namespace()?;
    let scratch = scratch()?;
    fs::create_dir_all(&scratch).map_err(|error| Failure::new(format!("{}: {error}", scratch.display())))?;
    make_baseline(&folder)?;
    let plugin = plugin::build().map_err(|error| Failure::new(error.to_string()))?;
    let base = match &options.base {
        Some(path) => path.clone(),
        None => base::build().map_err(|error| Failure::new(error.to_string()))?,
    };
    let variables: [(&'static str, OsString); 3] =
        [(PLUGIN, plugin.into()), (BASE, base.into()), ("TMPDIR", scratch.into())];
    Ok(Failure::new(namespace::enter_with(&["--mount"], variables).to_string()))
}

/// It takes a while, in a temporary folder, which goes when a user does not wait for it.
fn make_baseline(folder: &Path) -> Result<(), Failure> {
    let interruption = Interruption::deferred()?;
    interruption.explain(baseline::build(folder))?;
    interruption.check()
}

/// Inside: measures all and writes the report.
fn measure(options: &Bench) -> Result<ExitCode, Failure> {
    let failed = |error: Failed| Failure::new(error.to_string());
    mount_scratch().map_err(failed)?;
    namespace::set_up().map_err(failed)?;
    check::tap()?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let images = images().map_err(failed)?;
    let mut course = Course::new(options.pace(processors), images);
    let servers = Servers::start().map_err(failed)?;
    course.follow();
    drop(servers);
    let report = course.finish();
    let output = match &options.output {
        Some(output) => output.clone(),
        None => folder()?.join("report"),
    };
    if let Some(table) = markdown::headline(&report) {
        println!("{table}");
    }
    let code = write(&report, &output)?;
    if !report.has_figures() {
        return Err(Failure::new(format!("nothing could be measured: {}", report.failures.join("; "))));
    }
    Ok(code)
}

fn mount_scratch() -> Result<(), Failed> {
    let scratch = scratch()?;
    let output = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&scratch).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("cannot mount memory on {}: {}", scratch.display(), String::from_utf8_lossy(&output.stderr)).into())
}

fn images() -> Result<Images, Failed> {
    let qemu = Qemu::find().map_err(|error| error.to_string())?;
    let choice = accel::choose(accel::Request::Auto, &qemu)?;
    let path = |name| env::var_os(name).map(PathBuf::from).ok_or("started without what it needs");
    let files = tempfile::tempdir()?;
    baseline::write_files(files.path())?;
    let image = elf::attach(&base::read(&path(BASE)?)?, &payload::pack(CONFIG, Some(files.path()))?)?;
    Ok(Images {
        weir: MemFile::new(&image)?,
        linux: baseline::build(&folder()?)?,
        plugin: path(PLUGIN)?,
        accelerator: choice.accelerator,
        qemu,
    })
}

/// Writes all forms of the report.
fn write(report: &Report, folder: &Path) -> Result<ExitCode, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(format!("cannot write to {}: {error}", folder.display()))
            .help("choose another folder: --output DIR")
    };
    fs::create_dir_all(folder).map_err(cannot)?;
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::new(error.to_string()))?;
    fs::write(folder.join("report.json"), json + "\n").map_err(cannot)?;
    let plots = crate::plots::all(report);
    for plot in &plots {
        fs::write(folder.join(plot.file), &plot.svg).map_err(cannot)?;
    }
    fs::write(folder.join("report.md"), markdown::report(report, &plots)).map_err(cannot)?;
    eprintln!("weir: report.md, report.json and {} plots are in {}", plots.len(), folder.display());
    Ok(ExitCode::SUCCESS)
}

/// A benchmark under way.
#[derive(Debug)]
pub struct Course {
    /// How long things take.
    pub pace: Pace,
    /// What is booted.
    pub images: Images,
    /// What has been measured.
    pub report: Report,
    began: Instant,
}

impl Course {
    fn new(pace: Pace, images: Images) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let report = Report {
            version: VERSION,
            command: env::args().collect::<Vec<_>>().join(" "),
            pace: pace.name.into(),
            started: number::date(started),
            facts: facts::all(&images),
            ..Report::default()
        };
        Self { pace, images, report, began: Instant::now() }
    }

    fn follow(&mut self) {
        // In this order, since latency is measured at half of the rates.
        let order = [Part::Counts, Part::Rates, Part::Sharing, Part::Boot, Part::Latency, Part::Extras];
        let parts: Vec<Part> = order.into_iter().filter(|part| self.pace.parts.contains(part)).collect();
        for (index, part) in parts.iter().enumerate() {
            self.measure(*part, &format!("part {} of {}", index + 1, parts.len()));
        }
    }

    fn measure(&mut self, part: Part, which: &str) {
        let (what, measure): (&str, fn(&mut Self)) = match part {
            Part::Counts => ("instructions per request", counts::instructions),
            Part::Rates => ("requests per second, in turn", rates::all),
            Part::Sharing => ("cache lines that cores share", counts::sharing),
            Part::Boot => ("time to the first answer", extras::boots),
            Part::Latency => ("latency at half load", latency::all),
            Part::Extras => ("idle time, bulk, floods, memory", extras::all),
        };
        eprintln!("weir: {which}: {what}");
        measure(self);
    }

    fn finish(mut self) -> Report {
        self.report.seconds = self.began.elapsed().as_secs();
        self.report.facts.push(facts::load("load at the end"));
        self.report
    }

    /// Tells what has just been measured.
    pub fn tell(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("[{:2}:{:02}] {what}", seconds / 60, seconds % 60);
    }

    /// Takes note of what could not be measured; the rest goes on.
    pub fn fail(&mut self, what: &str) {
        let what = one_line(what);
        self.tell(&format!("not measured: {what}"));
        self.report.failures.push(what);
    }

    /// Boots both guests; `None` if that fails. QEMU itself ends in an assertion of its own now and then (10.0.2, in
    /// `iotlb_to_section`), when one vCPU arranges devices while another asks one; then it is tried again, and the report says so.
    pub fn boot(&mut self, cores: u32, watch: Watch) -> Option<Pair> {
        for attempt in 1..=BOOTS_MAX {
            match Pair::boot(&self.images, cores, watch) {
                Ok(pair) => return Some(pair),
                Err(error) if attempt == BOOTS_MAX => self.fail(&format!("everything with {cores} vCPU: {error}")),
                Err(error) => {
                    let what = one_line(&format!("{cores} vCPU, attempt {attempt} of {BOOTS_MAX} to boot: {error}"));
                    self.tell(&format!("trying again: {what}"));
                    self.report.retries.push(what);
                }
            }
        }
        None
    }
}

/// A text without its line breaks, and not too long of it.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(FAILURE_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_one_line_with_all_of_it() {
        assert_eq!(one_line("'wrk' failed:\n  no route\n"), "'wrk' failed: no route");
        assert_eq!(one_line(&"x".repeat(2000)).len(), FAILURE_LEN_MAX);
    }
}
