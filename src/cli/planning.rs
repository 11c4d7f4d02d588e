//! Flags of the commands that make a plan to look at (`compare`, `chart`), and the checked plan.

use std::time::Duration;

use super::inputs::{CatalogueArgs, DemandArgs, FleetArgs};
use super::suggest::{SpareChoice, seconds};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::hardware::Catalogue;
use crate::optimise::PlanOptions;
use crate::plan::{MigModePolicy, Plan, Policy, Strategy, check};

/// The rules of a site.
#[derive(Debug, Clone, clap::Args)]
pub struct PolicyArgs {
    /// One profile per node (the device plugin's single strategy), or any side by side
    #[arg(long, value_enum, default_value_t)]
    strategy: StrategyChoice,
    /// Whether GPUs of one node may differ in MIG mode
    #[arg(long, value_enum, default_value_t)]
    mig_mode: MigModeChoice,
    /// GPUs of each node that stay whole, MIG off
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_whole: u32,
    /// Seat all replicas of a workload in instances of one profile, as one pod template needs
    #[arg(long)]
    one_profile_per_workload: bool,
}

/// `--strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum StrategyChoice {
    /// Any profiles side by side.
    #[default]
    Mixed,
    /// All GPUs of a node are cut into instances of one profile, or none is cut.
    Single,
}

/// `--mig-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum MigModeChoice {
    /// Each GPU has its own.
    #[default]
    PerGpu,
    /// All GPUs of a node or none; a whole GPU is then one 7g instance.
    PerNode,
}

impl PolicyArgs {
    /// The rules; `keeps_present` is whether the plan must keep what the GPUs hold.
    ///
    /// # Errors
    /// Rules that contradict each other (exit 2).
    pub fn read(&self, keeps_present: bool) -> Result<Policy> {
        let policy = Policy {
            strategy: match self.strategy {
                StrategyChoice::Mixed => Strategy::Mixed,
                StrategyChoice::Single => Strategy::Single,
            },
            mig_mode: match self.mig_mode {
                MigModeChoice::PerGpu => MigModePolicy::PerGpu,
                MigModeChoice::PerNode => MigModePolicy::PerNode,
            },
            keep_whole: self.keep_whole,
            one_profile_per_workload: self.one_profile_per_workload,
        };
        let all_alike =
            policy.strategy == Strategy::Single || policy.mig_mode == MigModePolicy::PerNode;
        if keeps_present && policy.strategy == Strategy::Single {
            return Err(Error::usage("--current cannot be used with --strategy single")
                .hint("one profile per node leaves nothing to choose; drop --current"));
        }
        if policy.keep_whole > 0 && all_alike {
            return Err(Error::usage(
                "--keep-whole leaves some GPUs of a node uncut, but --strategy single and --mig-mode per-node treat all alike",
            )
            .hint("drop --keep-whole, or use --strategy mixed --mig-mode per-gpu"));
        }
        Ok(policy)
    }
}

/// How to plan, as `suggest` takes it.
#[derive(Debug, Clone, clap::Args)]
pub struct OptionArgs {
    #[command(flatten)]
    policy: PolicyArgs,
    /// What becomes of the slices that the demand leaves free on GPUs in use
    #[arg(long, value_enum, default_value_t)]
    spare: SpareChoice,
    /// Stop proving after so many seconds and take the best plan so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
}

impl OptionArgs {
    /// The options of the optimiser.
    ///
    /// # Errors
    /// Rules that contradict each other (exit 2).
    pub fn read(&self) -> Result<PlanOptions> {
        Ok(PlanOptions {
            spare: self.spare.into(),
            time_limit: self.time_limit,
            policy: self.policy.read(false)?,
            ..PlanOptions::default()
        })
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
        self.demand.check_named()?;
        let catalogue = self.catalogue.read()?;
        let fleet = self.fleet.read(&catalogue, console)?;
        let demand = self.demand.read_for(&catalogue, Some(&fleet), console)?;
        Ok((catalogue, demand, fleet))
    }
}

/// Refuses a plan that breaks its own promises.
///
/// # Errors
/// An internal error with everything that is wrong (exit 1).
pub fn checked(plan: &Plan, demand: &Demand, fleet: &Fleet, policy: &Policy) -> Result<()> {
    let mut violations = check::violations(plan, demand, fleet);
    violations.extend(check::policy_violations(plan, policy));
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "the plan breaks its own promises, so nothing is written: {}",
        violations.join("; ")
    ))
    .hint("this is a bug in migplan; please report it with the workloads and the GPUs"))
}
