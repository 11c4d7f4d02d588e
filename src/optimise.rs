//! From demand and fleet to the proved best plan.
//!
//! The way: `problem` aggregates, `formulation` writes the integer program, `stages` runs
//! the goal through `solve`, `assign` turns counts into instances on GPUs, `explain` says why
//! somebody is left out. The room knows no files, no NVML and no output format, and the plan's
//! checker knows nothing of this room.

mod assign;
pub(crate) mod explain;
mod formulation;
pub(crate) mod model;
pub(crate) mod problem;
mod solve;
pub(crate) mod stages;
pub(crate) mod supply;

use std::sync::Arc;
use std::time::Duration;

use crate::demand::Demand;
use crate::error::Result;
use crate::fleet::Fleet;
pub use crate::plan::Spare;
use crate::plan::{Plan, Policy};
use crate::reconfigure::change::PresentInstance;
use problem::Problem;

/// How to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// What becomes of free slices.
    pub spare: Spare,
    /// Stop proving after this time and take the best plan so far.
    pub time_limit: Option<Duration>,
    /// The last stage to solve.
    pub until: Until,
    /// Rules of the site.
    pub policy: Policy,
    /// What each GPU of the one node of the fleet holds now, by index. Of all plans equal before,
    /// the one is found that destroys least of it; what is busy stays.
    pub present: Option<Arc<Vec<Vec<PresentInstance>>>>,
    /// Whether busy instances may be destroyed after all.
    pub allow_disruption: bool,
}

/// Where the stages end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// After `gpus_used`: enough to know how many GPUs a demand needs.
    GpusUsed,
    /// After `rounding_mib`: enough to compare one cut with another.
    RoundingMib,
    /// The whole goal.
    #[default]
    Everything,
}

/// Finds the best plan for `demand` on `fleet` and proves it, stage by stage.
///
/// # Errors
/// No plan within the time limit (exit 5); a contradiction inside (exit 1).
pub fn suggest(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Result<Plan> {
    plan(demand, fleet, &Problem::new(demand, fleet, options), options)
}

/// The best plan for a problem that `demand` and `fleet` pose.
pub(crate) fn plan(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    options: &PlanOptions,
) -> Result<Plan> {
    let solution = stages::run(problem, options)?;
    let placed = assign::lay_out(demand, fleet, problem, &solution)?;
    Ok(explain::plan(demand, fleet, problem, solution, placed))
}
