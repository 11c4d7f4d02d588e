//! From demand over time to the one partition of the GPUs that serves most of all its hours.
//!
//! The program is that of a plan, with one copy of the assignment for each period: the GPUs are
//! partitioned once, replicas are assigned anew in each period, and every sum is weighted with the
//! hours. Given the partition a period is a transport problem, so what has to be integer is few.

use super::constraints::assignment::Batch;
use super::problem::Problem;
use super::stages::{self, Solution};
use super::{PlanOptions, assign, conditions, explain, suggest as suggest_once};
use crate::demand::over_time::OverTime;
use crate::error::{Error, Result};
use crate::fleet::Fleet;

use crate::plan::over_time::OverTimePlan;
use crate::plan::{Allocated, Checked, InstanceProfile, Share, Spare};

/// Finds the best partition for all hours of `demand` and proves it, stage by stage. With one
/// period it is the plan for that period.
///
/// # Errors
/// Replicas of several whole GPUs, fair shares or quotas, which no plan over time holds, or `--spare none` around a known
/// present state (exit 2); no plan within the time limit (exit 5); a contradiction inside (exit 1).
pub fn suggest(demand: &OverTime, fleet: &Fleet, options: &PlanOptions) -> Result<OverTimePlan> {
    if demand.periods().len() <= 1 {
        let part =
            if demand.periods().is_empty() { demand.peak().clone() } else { demand.demand_in(0) };
        let plan = suggest_once(&part, fleet, options)?;
        return Ok(OverTimePlan::of_one_period(plan, demand));
    }
    refuse(demand, options)?;
    let problem = Problem::over_time(demand, fleet, options);
    let solution = stages::run(&problem, options)?;
    let periods: Vec<Vec<Allocated>> =
        (0..demand.periods().len()).map(|p| allocated(&problem, &solution, p)).collect();
    let shown = shown(demand, &problem, &solution);
    let part = demand.demand_in(shown);
    let placed = assign::lay_out(&part, fleet, &problem, &solution, shown)?;
    let plan = explain::plan(&part, fleet, &problem, solution.proof, placed);
    let conditions = conditions(fleet, options);
    let plan = Checked::over_time(plan, demand, shown, &periods, fleet, &conditions);
    let plan = plan.map_err(super::broken)?;
    Ok(OverTimePlan { plan, shown, periods })
}

/// What a plan over time cannot hold yet.
pub(crate) fn refuse(demand: &OverTime, options: &PlanOptions) -> Result<()> {
    if let Some(several) = demand.peak().workloads().iter().find(|w| w.whole_gpus > 1) {
        return Err(Error::usage(format!(
            "{} takes several whole GPUs of a node, which a plan over time does not hold",
            several.label()
        ))
        .hint("keep GPUs for it with --keep-whole or a fleet of their own, and plan the other workloads over time"));
    }
    if options.share == Share::Fair || !options.quotas.is_empty() {
        return Err(Error::usage("a plan over time knows no fair shares and no quotas")
            .hint("drop --share fair and --quota, or plan without --over-time; the column min holds in every hour"));
    }
    if options.present.is_some() && options.spare == Spare::None {
        return Err(Error::usage("--over-time with --current cannot have --spare none")
            .hint("an instance that is free in one hour serves another; drop --spare none"));
    }
    Ok(())
}

/// The replicas of one period by workload and kind of instance.
pub(super) fn allocated(problem: &Problem, solution: &Solution, period: usize) -> Vec<Allocated> {
    let queues = solution.formulation.assignment.decode(problem, &solution.values, period);
    let mut rows: Vec<Allocated> = queues
        .batches()
        .map(|(k, batch)| {
            let kind = &problem.kinds[k];
            let board = &problem.pools[kind.pool].board;
            let name = |p: usize| InstanceProfile::Mig(board.profiles[p].name.clone());
            Allocated {
                workload: batch.workload,
                board: board.id.as_str().into(),
                profile: kind.profile.map_or(InstanceProfile::Full, name),
                replicas: batch.count as u64,
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        (a.workload, &a.board, &a.profile).cmp(&(b.workload, &b.board, &b.profile))
    });
    // Batches of the same workload and kind are one row.
    rows.dedup_by(|next, row| {
        let same =
            (next.workload, &next.board, &next.profile) == (row.workload, &row.board, &row.profile);
        if same {
            row.replicas += next.replicas;
        }
        same
    });
    rows
}

/// The period whose assignment the plan shows: the one that misses most replicas, of several the
/// one that is served most memory, and of those the first.
fn shown(demand: &OverTime, problem: &Problem, solution: &Solution) -> usize {
    let assignment = &solution.formulation.assignment;
    let worth = |p: usize| {
        let queues = assignment.decode(problem, &solution.values, p);
        let replicas: i64 = queues.batches().map(|(_, b)| b.count).sum();
        let mib = |(k, b): (usize, &Batch)| {
            let each = if b.memory_mib > 0 { b.memory_mib } else { problem.kinds[k].memory_mib };
            b.count * each
        };
        let asked: u64 = demand.periods()[p].counts.iter().sum();
        (asked.saturating_sub(replicas as u64), queues.batches().map(mib).sum::<i64>())
    };
    let best = (0..demand.periods().len()).map(|p| (worth(p), std::cmp::Reverse(p))).max();
    best.map_or(0, |(_, p)| p.0)
}
