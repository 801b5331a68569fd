//! Running one target with many inputs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::crash::watched;
use crate::features::hash;
use crate::mutate::Mutator;
use crate::targets::Target;

/// How far a campaign has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Inputs that were run.
    pub inputs: u64,
    /// Features that were seen.
    pub features: usize,
    /// Inputs that showed something new, those from the tree included.
    pub corpus: usize,
}

/// One target, its corpus, and what was seen so far.
#[derive(Debug)]
pub struct Campaign {
    target: &'static Target,
    mutator: Mutator,
    seen: HashSet<u32>,
    corpus: Vec<Vec<u8>>,
    /// Inputs of [`corpus`](Self::corpus) that came from files.
    known: usize,
    inputs: u64,
}

impl Campaign {
    /// Begins with the corpus of the tree, and replays it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn new(target: &'static Target, seed: u64) -> io::Result<Self> {
        let mutator = Mutator::new(seed);
        let mut campaign = Self { target, mutator, seen: HashSet::new(), corpus: Vec::new(), known: 0, inputs: 0 };
        let mut paths: Vec<PathBuf> = match fs::read_dir(target.corpus()) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        paths.sort();
        for path in paths {
            let input = fs::read(path)?;
            campaign.run(&input);
            campaign.corpus.push(input);
        }
        campaign.known = campaign.corpus.len();
        // Something to begin with.
        campaign.try_out(Vec::new());
        campaign.try_out(vec![0; 64]);
        Ok(campaign)
    }

    /// Runs mutated inputs for a time, and tells the progress now and then.
    pub fn run_for(&mut self, limit: Duration, mut tell: impl FnMut(Progress)) {
        let begun = Instant::now();
        let mut told = begun;
        while begun.elapsed() < limit {
            self.run_inputs(64);
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                tell(self.progress());
            }
        }
    }

    /// Runs so many mutated inputs.
    pub fn run_inputs(&mut self, count: u64) {
        for _ in 0..count {
            let input = self.next_input();
            self.try_out(input);
        }
    }

    /// How far this has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { inputs: self.inputs, features: self.seen.len(), corpus: self.corpus.len() }
    }

    /// Writes what was found and is not in files yet, if it is small; how many.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, bytes_max: usize) -> io::Result<usize> {
        let folder = self.target.corpus();
        fs::create_dir_all(&folder)?;
        let fresh = self.corpus[self.known..].iter().filter(|input| (1..=bytes_max).contains(&input.len()));
        let mut saved = 0;
        for input in fresh {
            fs::write(folder.join(format!("{:08x}", hash(input))), input)?;
            saved += 1;
        }
        Ok(saved)
    }

    fn next_input(&mut self) -> Vec<u8> {
        // Half of the time from what was found last: it is the least explored.
        let len = self.corpus.len();
        let recent = len.min(32);
        let at =
            if self.mutator.below(2) == 0 { self.mutator.below(len) } else { len - 1 - self.mutator.below(recent) };
        let other = self.mutator.below(len);
        self.mutator.mutate(&self.corpus[at], &self.corpus[other], self.target.words)
    }

    fn try_out(&mut self, input: Vec<u8>) {
        if self.run(&input) || self.corpus.is_empty() {
            self.corpus.push(input);
        }
    }

    /// Whether the input showed something new.
    fn run(&mut self, input: &[u8]) -> bool {
        self.inputs += 1;
        let features = watched(self.target.name, input, self.target.run);
        features.iter().filter(|&feature| self.seen.insert(feature)).count() > 0
    }
}

/// Runs a target with the bytes of a file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn replay(target: &'static Target, path: &Path) -> io::Result<()> {
    let input = fs::read(path)?;
    watched(target.name, &input, target.run);
    Ok(())
}
