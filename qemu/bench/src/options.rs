//! `weir bench` on the command line, and what each pace means.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::counts::Window;
use crate::matrix::{Reuse, Service};

/// `weir bench`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    /// What else than measuring to do.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The essentials, without nginx as a proxy.
    #[arg(long)]
    pub quick: bool,
    /// One cell, in some ten seconds: does everything work here?
    #[arg(long, conflicts_with = "quick")]
    pub smoke: bool,
    /// Folder for report.md, report.json and the plots [default: target/bench/report].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Numbers of vCPUs for rates [default: 1, 2, and 4 if this machine has as many processors].
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cores: Vec<u32>,
    /// Measures only these [default: all that the pace has].
    #[arg(long, value_enum, value_name = "PART,…", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Takes a ready base image of Weir instead of building it.
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What a guest executes per request.
    Counts,
    /// Requests per second.
    Rates,
    /// Cache lines that cores share.
    Sharing,
    /// Time from the start of QEMU to the first answer.
    Boot,
    /// Time to answer at half load; needs rates.
    Latency,
    /// Idle time, bulk, floods, memory.
    Extras,
}

/// What can be done with reports.
#[derive(Debug, Clone, Subcommand)]
pub enum Action {
    /// Shows what changed from one report.json to another; exit status 1 if something got worse.
    Compare(Compare),
    /// Writes report.md and the plots again, from a report.json.
    Render(Render),
}

/// `weir bench compare`.
#[derive(Debug, Clone, Args)]
pub struct Compare {
    /// The report from before.
    pub before: PathBuf,
    /// The report from after.
    pub after: PathBuf,
    /// Changes below are noise, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub threshold: f64,
}

/// `weir bench render`.
#[derive(Debug, Clone, Args)]
pub struct Render {
    /// The report.
    pub report: PathBuf,
    /// Folder for what is written [default: the report's own].
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// How long things take.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Its name in the report.
    pub name: &'static str,
    /// Numbers of vCPUs for which instructions are counted.
    pub count_cores: Vec<u32>,
    /// Windows in which they are counted.
    pub count_windows: usize,
    /// How long each is.
    pub window: Window,
    /// Numbers of vCPUs for which rates are measured.
    pub rate_cores: Vec<u32>,
    /// Rounds, each with every service once.
    pub rounds: usize,
    /// Length of one measurement of a rate.
    pub rate_seconds: u32,
    /// Whether answers longer than 64 bytes and 1,000 connections are measured, too.
    pub all_shapes: bool,
    /// What is measured.
    pub parts: Vec<Part>,
    /// How often each system is booted for the time to its first answer.
    pub boots: usize,
    /// Who is measured.
    pub services: Vec<Service>,
    /// How connections are used.
    pub reuses: Vec<Reuse>,
}

impl Bench {
    /// The pace asked for, on a machine with so many processors.
    #[must_use]
    pub fn pace(&self, processors: usize) -> Pace {
        let mut rate_cores = vec![1, 2];
        if processors >= 4 {
            rate_cores.push(4);
        }
        let full = Pace {
            name: "full",
            count_cores: vec![1, 2, 4, 8],
            count_windows: 2,
            window: Window { seconds: 2, requests: 2_000 },
            rate_cores,
            rounds: 5,
            rate_seconds: 2,
            all_shapes: true,
            parts: Part::value_variants().to_vec(),
            boots: 5,
            services: Service::ALL.to_vec(),
            reuses: Reuse::ALL.to_vec(),
        };
        let quick = Pace {
            name: "quick",
            count_cores: vec![1, 2],
            count_windows: 1,
            window: Window { seconds: 1, requests: 1_000 },
            rate_cores: vec![1, 2],
            rounds: 3,
            rate_seconds: 1,
            all_shapes: false,
            parts: vec![Part::Counts, Part::Rates, Part::Boot],
            boots: 1,
            services: vec![Service::Httpd, Service::Nginx, Service::Proxy, Service::Haproxy],
            reuses: Reuse::ALL.to_vec(),
        };
        let smoke = Pace {
            name: "smoke",
            count_cores: vec![1],
            rate_cores: vec![1],
            rounds: 1,
            parts: vec![Part::Counts, Part::Rates],
            services: vec![Service::Httpd, Service::Nginx],
            reuses: vec![Reuse::KeepAlive],
            ..quick.clone()
        };
        let mut pace = match (self.smoke, self.quick) {
            (true, _) => smoke,
            (false, true) => quick,
            (false, false) => full,
        };
        if !self.only.is_empty() {
            pace.parts.clone_from(&self.only);
        }
        if !self.cores.is_empty() {
            pace.count_cores.clone_from(&self.cores);
            pace.rate_cores.clone_from(&self.cores);
        }
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::DUELS;

    fn bench() -> Bench {
        Bench {
            action: None,
            quick: false,
            smoke: false,
            output: None,
            cores: Vec::new(),
            only: Vec::new(),
            base: None,
        }
    }

    #[test]
    fn four_cores_want_as_many_processors() {
        assert_eq!(bench().pace(3).rate_cores, [1, 2]);
        assert_eq!(bench().pace(4).rate_cores, [1, 2, 4]);
    }

    #[test]
    fn no_pace_measures_half_a_duel() {
        for (quick, smoke) in [(false, false), (true, false), (false, true)] {
            let pace = Bench { quick, smoke, ..bench() }.pace(2);
            assert!(DUELS.iter().any(|(weir, linux)| pace.services.starts_with(&[*weir, *linux])), "{}", pace.name);
            for service in &pace.services {
                let has = |of: &Service| pace.services.contains(of);
                let is_measured = |(weir, linux): &(Service, Service)| has(weir) && has(linux);
                let is_in = |(weir, linux): &(Service, Service)| [weir, linux].contains(&service);
                assert!(DUELS.iter().any(|duel| is_in(duel) && is_measured(duel)), "{}: {}", pace.name, service.name());
            }
        }
    }

    #[test]
    fn cores_that_are_asked_for_are_all_there_is() {
        let pace = Bench { quick: true, cores: vec![4], ..bench() }.pace(2);
        assert_eq!((pace.name, pace.count_cores, pace.rate_cores), ("quick", vec![4], vec![4]));
    }

    #[test]
    fn parts_that_are_asked_for_are_all_there_is() {
        let pace = Bench { smoke: true, only: vec![Part::Boot], ..bench() }.pace(2);
        assert_eq!(pace.parts, [Part::Boot]);
    }
}
