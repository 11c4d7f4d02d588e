//! Flags of the commands that make a plan to look at (`compare`, `chart`), and the checked plan.

use std::time::Duration;

use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::suggest::{SpareChoice, seconds};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::Options;
use crate::plan::{Plan, check};

/// How to plan, as `suggest` takes it.
#[derive(Debug, Clone, clap::Args)]
pub struct OptionArgs {
    /// What becomes of the slices that the demand leaves free on GPUs in use
    #[arg(long, value_enum, default_value_t)]
    spare: SpareChoice,
    /// Stop proving after so many seconds and take the best plan so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
}

impl OptionArgs {
    /// The options of the optimiser.
    pub fn options(&self) -> Options {
        Options { spare: self.spare.into(), time_limit: self.time_limit, ..Options::default() }
    }
}

/// The demand and the GPUs to plan for.
#[derive(Debug, Clone, clap::Args)]
pub struct InputArgs {
    #[command(flatten)]
    demand: DemandArgs,
    #[command(flatten)]
    fleet: FleetArgs,
    #[command(flatten)]
    catalogue: CatalogueArgs,
}

impl InputArgs {
    /// Reads the boards, the demand and the GPUs.
    ///
    /// # Errors
    /// Whatever is wrong with the files or flags (exit 3), no GPUs named (exit 6).
    pub fn read(&self, console: &super::output::Console) -> Result<(Catalogue, Demand, Fleet)> {
        let catalogue = self.catalogue.read()?;
        let fleet = self.fleet.read(&catalogue, console)?;
        let demand = self.demand.read(&catalogue, console)?;
        Ok((catalogue, demand, fleet))
    }
}

/// Refuses a plan that breaks its own promises.
///
/// # Errors
/// An internal error with everything that is wrong (exit 1).
pub fn checked(plan: &Plan, demand: &Demand, fleet: &Fleet) -> Result<()> {
    let violations = check::violations(plan, demand, fleet);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "the plan breaks its own promises, so nothing is written: {}",
        violations.join("; ")
    ))
    .hint("this is a bug in migplan; please report it with the workloads and the GPUs"))
}
