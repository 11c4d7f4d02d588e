//! What a plan is measured against: the uniform presets that people apply today, and how many
//! GPUs more would have been enough.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::model::{Terms, dot};
use super::problem::Problem;
use super::{Options, Until, stages};
use crate::demand::Demand;
use crate::error::Result;
use crate::fleet::{Fleet, MAX_GPUS, Node};
use crate::hardware::{BoardRef, ProfileName, layout};
use crate::plan::{Plan, Reason, Status};

/// How a cut that somebody else chose serves the demand at its best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// mig-parted's label for it, such as `all-1g.10gb`.
    pub name: String,
    /// Replicas placed.
    pub placed: u64,
    /// Weight placed for each priority, highest first, in millionths.
    pub placed_weight: Vec<i64>,
    /// Memory placed, in MiB.
    pub placed_mib: u64,
    /// Memory of the fleet that serves nobody, in MiB.
    pub idle_mib: u64,
    /// Of that: handed out, but not asked for.
    pub rounding_mib: u64,
    /// Of that: in instances and whole GPUs that nobody has.
    pub spare_mib: u64,
    /// Of that: the rest.
    pub unusable_mib: u64,
    /// GPUs that serve somebody.
    pub gpus_used: u64,
}

/// Further GPUs that would place everything that has no place because the fleet is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoreGpus {
    /// Of which board.
    pub board: String,
    /// How many; no fewer would do.
    pub gpus: u64,
}

/// Every uniform preset of the fleet's boards: `all-<profile>` cuts each GPU that has the profile
/// into as many instances of it as fit, and leaves the others whole. The one that places most comes first.
pub(crate) fn presets(problem: &Problem, options: &Options) -> Result<Vec<Baseline>> {
    let names: BTreeSet<ProfileName> = problem
        .pools
        .iter()
        .flat_map(|pool| &pool.board.profiles)
        .filter(|p| p.name.is_plain())
        .map(|p| p.name.clone())
        .collect();
    let mut presets: Vec<Baseline> = names
        .into_par_iter()
        .map(|name| {
            let cuts = problem.pools.iter().map(|pool| uniform(&pool.board, &name)).collect();
            evaluate(problem, format!("all-{}", name.label()), cuts, options)
        })
        .collect::<Result<_>>()?;
    presets
        .sort_by(|a, b| (b.placed, b.placed_mib, &a.name).cmp(&(a.placed, a.placed_mib, &b.name)));
    Ok(presets)
}

/// As many instances of one profile as a board takes; none where the board lacks it.
fn uniform(board: &BoardRef, name: &ProfileName) -> layout::Counts {
    let mut counts = vec![0; board.profiles.len()];
    if let Some((index, profile)) = board.profile(name) {
        counts[index] = profile.max_instances;
    }
    counts
}

/// Serves the demand as well as one fixed cut for each pool allows.
fn evaluate(
    problem: &Problem,
    name: String,
    cuts: Vec<layout::Counts>,
    options: &Options,
) -> Result<Baseline> {
    let cut = problem.with_cuts(&cuts);
    let options = Options { until: Until::RoundingMib, ..options.clone() };
    let solution = stages::run(&cut, &options)?;
    let (formulation, values) = (&solution.formulation, &solution.values);
    let value = |terms: &Terms| u64::try_from(dot(terms, values)).unwrap_or(0);
    let placed_mib = value(&formulation.placed_mib(&cut).terms);
    let handed_out_mib = value(&formulation.handed_out_mib(&cut).terms);
    let priorities: BTreeSet<i64> = cut.classes.iter().map(|c| c.priority).collect();
    let placed_weight = priorities
        .into_iter()
        .rev()
        .map(|p| dot(&formulation.placed_weight(&cut, p).terms, values) as i64)
        .collect();
    let (mut fleet_mib, mut offered_mib) = (0, 0);
    for (pool, counts) in cut.pools.iter().zip(&cuts) {
        let of_gpu: u64 = match counts
            .iter()
            .zip(&pool.board.profiles)
            .map(|(n, p)| u64::from(*n) * p.memory.0)
            .sum()
        {
            // Not cut: the GPU stays whole.
            0 => pool.board.memory.0,
            instances => instances,
        };
        fleet_mib += pool.board.memory.0 * pool.gpus as u64;
        offered_mib += of_gpu * pool.gpus as u64;
    }
    let idle_mib = fleet_mib - placed_mib;
    let rounding_mib = handed_out_mib - placed_mib;
    let spare_mib = offered_mib.saturating_sub(handed_out_mib);
    Ok(Baseline {
        name,
        placed: value(&formulation.placed().terms),
        placed_weight,
        placed_mib,
        idle_mib,
        rounding_mib,
        spare_mib,
        unusable_mib: idle_mib.saturating_sub(rounding_mib + spare_mib),
        gpus_used: value(&formulation.gpus_used(&cut).terms),
    })
}

/// The fewest GPUs that must be added, all of one board of the fleet, so that everything has a
/// place that now has none because the fleet is full. `None` where there is no such demand, or
/// where the time limit leaves no time to find out.
pub(crate) fn more_gpus(
    demand: &Demand,
    fleet: &Fleet,
    plan: &Plan,
    options: &Options,
) -> Result<Option<MoreGpus>> {
    let full: Vec<_> = plan.unplaced.iter().filter(|u| u.reason == Reason::FleetFull).collect();
    // Where the present state binds the plan, more GPUs are not all that would help.
    let bound = options.present.is_some() || plan.proof.status == Status::TimeLimit;
    if full.is_empty() || bound {
        return Ok(None);
    }
    let missing = full.iter().map(|u| u.replicas).sum::<u64>().min(MAX_GPUS) as usize;
    let several = demand.workloads().iter().any(|w| w.whole_gpus > 1);
    let mut best: Option<MoreGpus> = None;
    for board in fleet.boards() {
        // So many more hold every missing replica: one to a GPU, or one to a node where replicas
        // that take several GPUs care for nodes.
        let size = if several {
            let on = |n: &Node| n.gpus.iter().filter(|b| b.id == board.id).count();
            fleet.nodes().iter().map(on).max().unwrap_or(1)
        } else {
            missing
        };
        let count = if several { missing } else { 1 };
        if count.saturating_mul(size) as u64 > MAX_GPUS {
            continue;
        }
        let mut nodes = fleet.nodes().to_vec();
        nodes.extend(
            (0..count)
                .map(|i| Node { name: format!("further {i}"), gpus: vec![board.clone(); size] }),
        );
        let larger = Problem::new(demand, &Fleet::new(nodes), options);
        let now = fleet.nodes().iter().flat_map(|n| &n.gpus).filter(|b| b.id == board.id).count();
        if let Some(needed) = stages::fewest_of_board(&larger, &board.id, options)? {
            let gpus = needed.saturating_sub(now as u64);
            if best.as_ref().is_none_or(|b| gpus < b.gpus) && gpus > 0 {
                best = Some(MoreGpus { board: board.id.clone(), gpus });
            }
        }
    }
    Ok(best)
}
