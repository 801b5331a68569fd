//! `weir schema`: what a configuration may have, for editors and for people.

use super::Outcome;
use crate::cli;

pub(super) fn run(options: &cli::Schema) -> Outcome {
    super::print(&match options.reference {
        true => weir_schema::reference(),
        false => format!("{:#}\n", weir_schema::json_schema()),
    })
}
