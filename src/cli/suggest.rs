//! x
use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::output::{Console, write_result};
use crate::error::Result;
/// x
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    demand: DemandArgs,
    #[arg(long)]
    spare: Option<String>,
    #[arg(long)]
    quiet_plan: bool,
}
pub(super) fn run(args: &Args, console: &Console) -> Result<()> {
    let catalogue = args.catalogue.read()?;
    let t = std::time::Instant::now();
    let fleet = args.fleet.read(&catalogue, console)?;
    let demand = args.demand.read(&catalogue, console)?;
    console.say(&format!("read {:?}", t.elapsed()));
    let mut o = crate::optimise::Options::default();
    match args.spare.as_deref() {
        Some("none") => o.spare = crate::optimise::Spare::None,
        Some("largest") => o.spare = crate::optimise::Spare::Largest,
        _ => {}
    }
    let t = std::time::Instant::now();
    let plan = crate::optimise::suggest(&demand, &fleet, &o)?;
    console.say(&format!("suggest {:?}", t.elapsed()));
    let t = std::time::Instant::now();
    let v = crate::plan::check::violations(&plan, &demand, &fleet);
    console.say(&format!("check {:?} {v:?}", t.elapsed()));
    console.say(&format!("{:?}", plan.totals));
    for s in &plan.proof.stages {
        console.say(&format!("{} {} {}", s.objective, s.value, s.bound));
    }
    if !args.quiet_plan {
        write_result(None, |out| {
            serde_json::to_writer(&mut *out, &plan)?;
            writeln!(out)
        })
    } else {
        Ok(())
    }
}
