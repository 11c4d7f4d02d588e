//! Several MIG configurations of the same GPUs, one after the other: each GPU has a layout in each
//! of them, and a change from one to the next keeps what both layouts have in common.
//!
//! To the integer program each configuration is a supply of its own, and so is what a change
//! between two of them keeps; a pattern says what one GPU offers in all of them. Layouts to which
//! nothing can be added are enough: whatever is added to a layout serves no less in its
//! configuration, and changes that touch it keep no less. So the most that can be served is exact,
//! and the instances destroyed are the fewest that such layouts allow. When each configuration is
//! active is not this file's business.

mod joints;
mod layouts;
mod plan;

pub(crate) use joints::{Chosen, Joints, kept_supply};
pub use layouts::Keeps;
pub(crate) use layouts::{GpuLayout, destroyed};
pub(crate) use plan::{on_gpus, plan};

use super::PlanOptions;
use super::over_time::allocated;
use super::problem::Problem;
use super::stages::{self, Known, Solution, ToBeat};
use crate::error::Result;
use crate::plan::goal::Until;
use crate::plan::{Allocated, Spare};

/// The most that a problem of several configurations serves, or `None` where that is less than
/// `target`.
///
/// # Errors
/// As [`stages::run`].
pub(crate) fn served(
    problem: &Problem,
    options: &PlanOptions,
    target: Option<ToBeat<'_>>,
) -> Result<Option<Solution>> {
    stages::run_to_beat(problem, &options.beside(Until::PlacedMib), target)
}

/// The best layouts for a problem of several configurations: after what is served the fewest GPUs,
/// the least internal fragmentation, the fewest kinds, the most compute slices, and the fewest
/// instances destroyed. The search goes on from `known`.
///
/// # Errors
/// As [`stages::run`].
pub(crate) fn best(
    problem: &Problem,
    options: &PlanOptions,
    known: Option<Known>,
) -> Result<Solution> {
    // What is free after all that is whatever the layouts leave.
    let options = PlanOptions { spare: Spare::None, ..options.beside(Until::Everything) };
    stages::run_with(problem, &options, known)
}

/// The replicas of each part, by workload and kind of instance.
pub(crate) fn parts_allocated(problem: &Problem, solution: &Solution) -> Vec<Vec<Allocated>> {
    (0..problem.hours.len()).map(|part| allocated(problem, solution, part)).collect()
}
