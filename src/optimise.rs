//! From demand and fleet to the proved best plan.
//!
//! The way: `problem` aggregates, `formulation` puts the integer program together from
//! `constraints`, `stages` takes the objectives of [`crate::plan::goal`] one after the other through
//! `search`, which asks the `solver` (the shares of teams through `fair`; `first_plan` is
//! for a search that time ends before it has a solution); `assign` turns counts into instances on
//! GPUs, `explain` says why replicas are unplaced. Knows no files, no NVML and no output format; the
//! plan's checker knows nothing of this module, and every plan passes it before it leaves here.

mod assign;
mod branch;
pub(crate) mod configurations;
mod constraints;
mod curve;
pub(crate) mod ends;
pub(crate) mod explain;
mod fair;
pub(crate) mod fewest;
mod first_plan;
mod formulation;
pub(crate) mod model;
mod options;
pub mod over_time;
pub(crate) mod prices;
pub(crate) mod problem;
mod search;
mod solver;
pub(crate) mod stages;
pub(crate) mod supply;
mod windows;

pub use crate::plan::Spare;
pub use crate::plan::goal::Until;
pub use configurations::Keeps;
pub use options::{PlanOptions, Progress, SearchProgress, StageProgress};

use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::plan::check::{Checked, Conditions, HeldGpu, HeldInstance};
use crate::reconfigure::change::{PresentGpu, PresentInstance};
use problem::Problem;

/// Finds the best plan for `demand` on `fleet` and proves it, stage by stage.
///
/// # Errors
/// No plan within the time limit (exit 5); a contradiction inside (exit 1).
pub fn suggest(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Result<Checked> {
    plan(demand, fleet, &Problem::new(demand, fleet, options), options)
}

/// The best plan for a problem that `demand` and `fleet` pose.
pub(crate) fn plan(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    options: &PlanOptions,
) -> Result<Checked> {
    let solution = stages::run(problem, options)?;
    let placed = assign::lay_out(demand, fleet, problem, &solution, 0)?;
    let plan = explain::plan(demand, fleet, problem, solution.proof, placed);
    Checked::new(plan, demand, fleet, &conditions(fleet, options)).map_err(broken)
}

/// The error of a plan that the checker refuses.
fn broken(violations: Vec<String>) -> Error {
    Error::internal(format!(
        "the plan breaks its own promises, so nothing is written: {}",
        violations.join("; ")
    ))
    .hint("this is a bug in migplan; please report it with the workloads and the GPUs")
}

/// What a plan that is made with `options` must keep.
pub fn conditions(fleet: &Fleet, options: &PlanOptions) -> Conditions {
    let held = |board: &crate::hardware::Board, instance: &PresentInstance| HeldInstance {
        profile: board.profiles[instance.placement.profile].name.clone(),
        start: instance.placement.start,
        compute: instance.compute.iter().map(|c| c.slices).collect(),
        busy: instance.is_busy(),
    };
    let present = match (&options.present, fleet.nodes()) {
        (Some(present), [node]) => {
            let gpus = present.iter().zip(&node.gpus);
            let held_by = |gpu: &PresentGpu, board| HeldGpu {
                instances: gpu.instances.iter().map(|i| held(board, i)).collect(),
                in_use_whole: gpu.in_use_whole,
            };
            Some(gpus.map(|(gpu, board)| held_by(gpu, board)).collect())
        }
        _ => None,
    };
    Conditions {
        policy: options.policy,
        spare: options.spare,
        share: options.share,
        quotas: options.quotas.clone(),
        until: options.until,
        present,
        allow_disruption: options.allow_disruption,
    }
}
