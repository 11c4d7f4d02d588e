//! From a workloads file to the file of nvidia-mig-parted, with the library alone.
//!
//! `cargo run --example plan -- examples/teams.csv 4xa100-80gb`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows its result")]

use std::fs::File;

use migplan::emit::mig_parted;
use migplan::error::{Diagnostic, Error, Result};
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::{demand, fleet};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().unwrap_or_else(|| "examples/teams.csv".to_string());
    let gpus = arguments.next().unwrap_or_else(|| "4xa100-80gb".to_string());

    let catalogue = Catalogue::built_in();
    let fleet = fleet::spec::parse(&gpus, "GPUS", &catalogue)?;
    let input = File::open(&file)
        .map_err(|e| Error::input(Diagnostic::new(e.to_string()).in_file(&file)))?;
    let (demand, warnings) = demand::csv::read(input, &file, &catalogue)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }

    let plan = optimise::suggest(&demand, &fleet, &PlanOptions::default())?;
    for row in &plan.unplaced {
        eprintln!("unplaced: {} × {}/{}: {}", row.replicas, row.team, row.workload, row.detail);
    }
    let config = mig_parted::write(&plan, &catalogue, &mig_parted::MigPartedOptions::default())?;
    print!("{}", config.text);
    Ok(())
}
