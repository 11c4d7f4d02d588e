//! The plan beside what people do today, and the frontier that no plan can pass.

use rayon::prelude::*;

use super::baselines::{self, Baseline, greedy};
use crate::demand::Demand;
use crate::error::Result;
use crate::fleet::Fleet;
use crate::optimise::model::{Terms, dot};
use crate::optimise::problem::{Problem, Unservable};
use crate::optimise::{self, PlanOptions, Until, stages};
use crate::plan::{Checked, Plan, Share, Status};

/// With more numbers of GPUs than this, the frontier is found at some of them.
const MOST_POINTS: u64 = 24;

/// The plan beside other ways to serve the same demand with the same GPUs.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The plan.
    pub plan: Checked,
    /// The priorities of the demand, highest first: what the weights of a row belong to.
    pub priorities: Vec<i64>,
    /// The plan first, then uniform presets by size, `all-balanced`, whole GPUs, heuristics.
    pub rows: Vec<Baseline>,
    /// Workloads that no instance or node of these GPUs could serve, by index: they count in no
    /// row.
    pub out_of_reach: Vec<OutOfReach>,
}

/// A workload that no instance or node of the GPUs could serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfReach {
    /// Index of the workload in the demand.
    pub workload: usize,
    /// Whether a whole GPU could serve a replica.
    pub fits_a_whole_gpu: bool,
}

/// The most that fits on so many GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontierPoint {
    /// GPUs that may be in use.
    pub gpus: u64,
    /// Replicas placed.
    pub placed: u64,
    /// Weight placed for each priority, highest first, in millionths.
    pub placed_weight: Vec<i64>,
    /// Memory placed, in MiB.
    pub placed_mib: u64,
    /// Whole memory of the GPUs in use, in MiB.
    pub used_mib: u64,
    /// Whether it is proved that no more fits.
    pub proved: bool,
}

/// For each number of GPUs the most that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// By rising number of GPUs; the last is all that the demand can use.
    pub points: Vec<FrontierPoint>,
    /// Whether every number of GPUs up to the last one has a point.
    pub complete: bool,
}

/// Finds the best plan and what the other ways come to, each at its best.
///
/// # Errors
/// No plan within the time limit (exit 5); a contradiction inside (exit 1).
pub fn compare(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Result<Comparison> {
    let problem = Problem::new(demand, fleet, options);
    let (plan, others) = rayon::join(
        || optimise::plan(demand, fleet, &problem, options),
        || others(demand, fleet, &problem, options),
    );
    beside(demand, fleet, &problem, plan?, others?)
}

/// As [`compare`], for a plan that is already there.
///
/// # Errors
/// As [`compare`].
pub fn compare_plan(
    plan: Checked,
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Comparison> {
    let problem = Problem::new(demand, fleet, options);
    let others = others(demand, fleet, &problem, options)?;
    beside(demand, fleet, &problem, plan, others)
}

fn others(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    options: &PlanOptions,
) -> Result<Vec<Baseline>> {
    let (presets, rest) = rayon::join(
        || baselines::presets_by_size(problem, demand, options),
        || {
            let (fixed, heuristics) = rayon::join(
                || {
                    rayon::join(
                        || baselines::all_balanced(problem, demand, options),
                        || baselines::whole_gpus(demand, fleet, problem, options),
                    )
                },
                || {
                    rayon::join(
                        || greedy::pack(problem, demand, fleet, greedy::Fit::First),
                        || greedy::pack(problem, demand, fleet, greedy::Fit::Best),
                    )
                },
            );
            let searched = [baselines::in_time(fixed.0)?, baselines::in_time(fixed.1)?];
            let heuristics = [heuristics.0, heuristics.1];
            Ok(searched.into_iter().flatten().chain(heuristics).collect::<Vec<_>>())
        },
    );
    let mut rows = presets?;
    rows.extend(rest?);
    Ok(rows)
}

fn beside(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    plan: Checked,
    others: Vec<Baseline>,
) -> Result<Comparison> {
    let mut rows = vec![baselines::of_plan(&plan, demand, fleet, problem)];
    rows.extend(others);
    let fits_a_whole_gpu = |index: usize, why: Unservable| {
        let workload = &demand.workloads()[index];
        why == Unservable::TooLarge
            && problem
                .pools
                .iter()
                .any(|pool| workload.allows(&pool.board) && workload.suits_whole(&pool.board))
    };
    let out_of_reach = |(index, why): (&usize, &Unservable)| OutOfReach {
        workload: *index,
        fits_a_whole_gpu: fits_a_whole_gpu(*index, *why),
    };
    Ok(Comparison {
        priorities: baselines::priorities(demand),
        out_of_reach: problem.unservable.iter().map(out_of_reach).collect(),
        plan,
        rows,
    })
}

/// The most that fits on 1, 2, 3 … of the fleet's GPUs, up to what the plan uses; of many numbers
/// of GPUs only some. The last point is the plan itself, unless it is a fair one.
///
/// # Errors
/// As [`compare`].
pub fn frontier(
    plan: &Plan,
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Frontier> {
    let problem = Problem::new(demand, fleet, options);
    let row = baselines::of_plan(plan, demand, fleet, &problem);
    let priorities = baselines::priorities(demand);
    let last = FrontierPoint {
        gpus: row.gpus_used,
        placed: row.placed,
        placed_weight: row.placed_weight,
        placed_mib: row.placed_mib,
        used_mib: row.used_mib,
        proved: plan.proof.status == Status::Optimal,
    };
    if options.share == Share::Fair {
        // A fair plan may place less than what could be placed on its GPUs.
        return up_to(&problem, &priorities, last.gpus, options);
    }
    let mut frontier = up_to(&problem, &priorities, last.gpus.saturating_sub(1), options)?;
    if last.gpus > 0 {
        frontier.points.push(last);
    }
    Ok(frontier)
}

/// The frontier of a problem at 1 to `last` GPUs, for these priorities of the demand.
pub(super) fn up_to(
    problem: &Problem,
    priorities: &[i64],
    last: u64,
    options: &PlanOptions,
) -> Result<Frontier> {
    // Where all GPUs are alike it does not matter which of them are in use.
    let until = if problem.pools.len() > 1 { Until::RoundingMib } else { Until::GpusUsed };
    let options = options.beside(until);
    let numbers = numbers(last);
    let complete = numbers.len() as u64 == last;
    let points = numbers
        .into_par_iter()
        .map(|gpus| point(problem, priorities, gpus, &options))
        .collect::<Result<Vec<_>>>()?;
    Ok(Frontier { points, complete })
}

/// The numbers of GPUs to look at: all, or evenly spread ones.
fn numbers(last: u64) -> Vec<u64> {
    if last <= MOST_POINTS {
        return (1..=last).collect();
    }
    let mut numbers: Vec<u64> =
        (1..=MOST_POINTS).map(|i| (last * i).div_ceil(MOST_POINTS)).collect();
    numbers.dedup();
    numbers
}

fn point(
    problem: &Problem,
    priorities: &[i64],
    gpus: u64,
    options: &PlanOptions,
) -> Result<FrontierPoint> {
    let limited = problem.with_most_gpus(i64::try_from(gpus).unwrap_or(i64::MAX));
    let solution = stages::run(&limited, options)?;
    let (formulation, values) = (&solution.formulation, &solution.values);
    let value = |terms: &Terms| u64::try_from(dot(terms, values)).unwrap_or(0);
    let used_mib = (0..limited.pools.len())
        .map(|p| {
            let used = value(&formulation.gpus_of_pool(&limited, p));
            used * limited.pools[p].board.memory.0
        })
        .sum();
    let weight = |p: &i64| dot(&formulation.placed_weight(&limited, *p), values) as i64;
    Ok(FrontierPoint {
        gpus,
        placed: value(&formulation.placed().terms),
        placed_weight: priorities.iter().map(weight).collect(),
        placed_mib: value(&formulation.placed_mib(&limited)),
        used_mib,
        proved: solution.proof.status == Status::Optimal,
    })
}
