//! `weir sizing`: what a machine will carry, by the image's own computation.

use std::fmt::Write;

use weir_image::payload;
use weir_plan::{Machine, Plan, TooLittleMemory};

use super::Outcome;
use super::source::Source;
use crate::cli;
use crate::failure::Failure;

/// Machines of usual sizes: memory in MiB, and cores.
pub(super) const USUAL: [(u32, u32); 9] =
    [(64, 1), (128, 1), (256, 1), (256, 2), (512, 2), (1024, 4), (4096, 8), (16384, 16), (65536, 64)];

pub(super) fn run(options: &cli::Sizing) -> Outcome {
    let mut archive_bytes = 0;
    let mut connections_max = None;
    if let Some(path) = &options.file {
        let source = Source::read(path)?;
        let archive = payload::pack(&source.text, options.files.as_deref());
        archive_bytes = archive.map_err(|error| Failure::new(error.to_string()))?.len() as u64;
        connections_max = source.config.limits.connections;
    }
    let machine = |(memory, cores)| machine(memory, cores, archive_bytes);
    if options.memory.is_none() && options.cores.is_none() {
        return super::print(&table(&USUAL.map(|size| (size, machine(size).plan(connections_max)))));
    }
    let size = (options.memory.unwrap_or(cli::MEMORY_MIB_DEFAULT), options.cores.unwrap_or(1));
    let plan = machine(size).plan(connections_max).map_err(|error| cannot_start(size, error))?;
    super::print(&(table(&[(size, Ok(plan))]) + &explain(&plan, connections_max)))
}

pub(super) fn machine(memory_mib: u32, cores: u32, archive_bytes: u64) -> Machine {
    Machine { memory_bytes: u64::from(memory_mib) << 20, cores: cores as usize, archive_bytes }
}

fn cannot_start((memory, cores): (u32, u32), error: TooLittleMemory) -> Failure {
    let machine = format!("the image will not start with {memory} MiB and {cores} cores");
    Failure::new(format!("{machine}: {} MiB will be free", error.free_bytes >> 20))
        .help(format!("{} MiB must be free; give it more memory or fewer cores", error.needed_bytes.div_ceil(1 << 20)))
}

type Row = ((u32, u32), Result<Plan, TooLittleMemory>);

/// A table that is also one in Markdown.
fn table(rows: &[Row]) -> String {
    let mut text = String::from("| memory | cores | `connections_max` | `flows_max` | `buffers` |\n");
    text += "| ---: | ---: | ---: | ---: | ---: |\n";
    for ((memory, cores), plan) in rows {
        let figures = match plan {
            Ok(plan) => {
                format!("{} | {} | {}", plan.connections_of_all(), plan.flows_of_all(), plan.buffers_of_all())
            }
            Err(_) => "too little memory | | ".into(),
        };
        writeln!(text, "| {memory} MiB | {cores} | {figures} |").expect("a string takes everything");
    }
    text
}

/// The same in words, and what else is limited.
fn explain(plan: &Plan, connections_max: Option<u32>) -> String {
    let tcp = plan.tcp();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let why = if connections_max.is_some() { "memory and [limits] connections" } else { "memory" };
    format!(
        "connections_max  client connections of the whole image, from {why}\n\
         flows_max        TCP flows of clients and servers together\n\
         buffers          packets under way, {:.0} MiB on each core\n\
         Each core besides: {} half-open handshakes, {} records of closed connections, {:.1} MiB of flow tables.\n",
        mib(plan.pool_bytes),
        tcp.half_open_max,
        tcp.time_wait_max,
        mib(plan.table_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_figures_that_the_image_computes() {
        let page = include_str!("../../../docs/sizing.md");
        let rows = USUAL.map(|(memory, cores)| ((memory, cores), machine(memory, cores, 0).plan(None)));
        let table = table(&rows);
        assert!(page.contains(&table), "docs/sizing.md should have\n{table}");
    }

    #[test]
    fn a_machine_that_will_not_start_is_said() {
        let error = machine(64, 64, 0).plan(None).expect_err("64 cores");
        let said = cannot_start((64, 64), error).to_string();
        assert!(said.contains("64 MiB and 64 cores") && said.contains("help: 350 MiB"), "{said}");
    }
}
