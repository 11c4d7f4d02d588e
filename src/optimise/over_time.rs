//! From demand over time to the one partition of the GPUs that serves most of all its hours.
//!
//! The program is that of a plan, with one copy of the assignment for each period: the GPUs are
//! partitioned once, replicas are assigned anew in each period, and every sum is weighted with the
//! hours. Given the partition a period is a transport problem, so what has to be integer is few.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::assign::Placed;
use super::problem::Problem;
use super::stages::{self, Solution};
use super::{PlanOptions, assign, broken, conditions, explain, suggest as suggest_once};
use crate::demand::over_time::OverTime;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::plan::over_time::OverTimePlan;
use crate::plan::{Allocated, Checked, InstanceProfile, Proof, Share, Spare, Unplaced};

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
    let shown = shown(demand, fleet, &periods);
    let part = demand.demand_in(shown);
    let placed = assign::lay_out(&part, fleet, &problem, &solution, shown)?;
    let found = Found { placed, shown, periods, proof: solution.proof };
    finish(demand, fleet, &problem, options, found)
}

/// What is known of a plan over time before it is checked.
pub(super) struct Found {
    /// The layouts, with the replicas of the period that is shown.
    pub placed: Placed,
    /// That period.
    pub shown: usize,
    /// For each period, what is allocated.
    pub periods: Vec<Vec<Allocated>>,
    /// What was proved.
    pub proof: Proof,
}

/// Puts the plan together and checks it.
///
/// # Errors
/// A contradiction inside (exit 1).
pub(super) fn finish(
    demand: &OverTime,
    fleet: &Fleet,
    problem: &Problem,
    options: &PlanOptions,
    found: Found,
) -> Result<OverTimePlan> {
    let Found { placed, shown, periods, proof } = found;
    let plan = explain::plan(&demand.demand_in(shown), fleet, problem, proof, placed);
    let conditions = conditions(fleet, options);
    let plan = Checked::over_time(plan, demand, shown, &periods, fleet, &conditions);
    Ok(OverTimePlan { plan: plan.map_err(broken)?, shown, periods })
}

/// The workloads that not even empty GPUs of this fleet could serve in any hour, whatever the layouts.
pub fn out_of_reach(demand: &OverTime, fleet: &Fleet) -> Vec<Unplaced> {
    let problem = Problem::new(demand.peak(), fleet, &PlanOptions::default());
    // Replicas of several whole GPUs cannot be planned over time, so nothing is helped by them.
    explain::out_of_reach(demand.peak(), &fleet.boards(), &problem, &|_| 1)
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
        return Err(Error::usage("--share fair and --quota do not work with --over-time").hint(
            "leave them out, or plan without --over-time; the column min holds in every hour",
        ));
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
    let mut replicas: BTreeMap<(usize, Arc<str>, InstanceProfile), u64> = BTreeMap::new();
    for (k, batch) in queues.batches() {
        let kind = &problem.kinds[k];
        let board = &problem.pools[kind.pool].board;
        let name = |p: usize| InstanceProfile::Mig(board.profiles[p].name.clone());
        let profile = kind.profile.map_or(InstanceProfile::Full, name);
        let of = replicas.entry((batch.workload, board.id.as_str().into(), profile));
        *of.or_default() += batch.count as u64;
    }
    Allocated::rows(replicas)
}

/// The period whose assignment the plan shows: the one that misses most replicas, of several the
/// one that is served most memory, and of those the first.
pub(super) fn shown(demand: &OverTime, fleet: &Fleet, periods: &[Vec<Allocated>]) -> usize {
    let boards = fleet.boards();
    let workloads = demand.peak().workloads();
    let worth = |p: usize| {
        let asked: u64 = demand.periods()[p].counts.iter().sum();
        let served: u64 = periods[p].iter().map(|row| row.replicas).sum();
        let mib = |row: &Allocated| {
            let memory = workloads[row.workload].memory;
            row.replicas * memory.map_or_else(|| row.memory_mib(&boards), |m| m.0)
        };
        (asked.saturating_sub(served), periods[p].iter().map(mib).sum::<u64>())
    };
    (0..periods.len()).max_by_key(|p| (worth(*p), Reverse(*p))).unwrap_or(0)
}
