//! `weir bench`: Weir and Linux in turn.

use super::Outcome;

pub(super) fn run(options: &weir_bench::options::Bench) -> Outcome {
    weir_bench::run::main(options)
}
