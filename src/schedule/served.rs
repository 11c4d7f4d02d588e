//! What a schedule serves: of each priority, in each hour, and in the stages of the goal.

use std::collections::{BTreeMap, HashMap};

use super::parts::{HOUR_MINUTES, Parts};
use crate::demand::Workload;
use crate::demand::over_time::OverTime;
use crate::hardware::BoardRef;
use crate::optimise::problem::Problem;
use crate::plan::Allocated;
use crate::plan::over_time::OverTimePlan;

/// What is served, in replica-minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    /// Asked for.
    pub asked: u128,
    /// Served.
    pub served: u128,
    /// Of what is served, that of each priority of the demand.
    pub of_priority: BTreeMap<i64, ServedOfPriority>,
}

/// What is served of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServedOfPriority {
    /// Replica-minutes.
    pub served: u128,
    /// Weight-minutes, in millionths.
    pub weight: u128,
}

impl Served {
    /// Nothing yet, of the priorities of these workloads.
    fn none_of(workloads: &[Workload]) -> Served {
        let asked = workloads.iter().filter(|w| w.count > 0);
        let of_priority = asked.map(|w| (w.priority, ServedOfPriority::default())).collect();
        Served { of_priority, ..Served::default() }
    }

    /// Adds so many minutes in which `counts` replicas of the workloads are asked for and `rows`
    /// served.
    fn add(&mut self, workloads: &[Workload], counts: &[u64], rows: &[Allocated], minutes: u128) {
        self.asked += minutes * u128::from(counts.iter().sum::<u64>());
        for row in rows {
            let workload = &workloads[row.workload];
            let served = minutes * u128::from(row.replicas);
            self.served += served;
            let of_priority = self.of_priority.entry(workload.priority).or_default();
            of_priority.served += served;
            of_priority.weight += served * u128::from(workload.weight.0);
        }
    }
}

/// What a plan serves of all hours, in replica-minutes.
pub(super) fn served_by(plan: &OverTimePlan, demand: &OverTime) -> Served {
    let workloads = demand.peak().workloads();
    let mut served = Served::none_of(workloads);
    for (period, rows) in demand.periods().iter().zip(&plan.periods) {
        let minutes = u128::from(period.hours) * HOUR_MINUTES.unsigned_abs() as u128;
        served.add(workloads, &period.counts, rows, minutes);
    }
    served
}

/// What a plan serves in the order of the stages of `problem`, up to the memory placed: weight by
/// priority and MiB, in each of these periods times as many as stand beside it.
pub(super) fn served_in(
    problem: &Problem,
    plan: &OverTimePlan,
    demand: &OverTime,
    periods: impl Iterator<Item = (usize, i128)>,
) -> Vec<i128> {
    let workloads = demand.peak().workloads();
    let boards: Vec<BoardRef> = problem.pools.iter().map(|p| p.board.clone()).collect();
    let mut weights: BTreeMap<i64, i128> =
        problem.classes.iter().map(|class| (-class.priority, 0)).collect();
    let mut mib: i128 = 0;
    for (period, times) in periods {
        for row in &plan.periods[period] {
            let workload = &workloads[row.workload];
            let times = times * i128::from(row.replicas);
            let each = workload.memory.map_or_else(|| row.memory_mib(&boards), |m| m.0);
            *weights.entry(-workload.priority).or_default() +=
                times * i128::from(workload.weight.0);
            mib += times * i128::from(each);
        }
    }
    weights.into_values().chain([mib]).collect()
}

/// What the parts of a schedule serve with these replicas of the workloads.
pub(super) fn served_by_parts(
    parts: &Parts,
    workloads: &[Workload],
    rows: &[Vec<Allocated>],
) -> Served {
    let mut served = Served::none_of(workloads);
    for ((part, _), rows) in parts.with_periods().zip(rows) {
        served.add(workloads, &part.counts, rows, u128::from(part.weight.unsigned_abs()));
    }
    served
}

/// The replicas of these rows.
fn replicas(rows: &[Allocated]) -> u64 {
    rows.iter().map(|row| row.replicas).sum()
}

/// What a plan for all hours serves in each hour of the demand, in replica-minutes.
pub(super) fn hourly_of_plan(plan: &OverTimePlan, demand: &OverTime) -> Vec<u64> {
    let of_period = |period: usize| plan.periods.get(period).map_or(0, |rows| replicas(rows));
    let minutes = HOUR_MINUTES.unsigned_abs();
    demand.hours().iter().map(|hour| of_period(hour.period) * minutes).collect()
}

/// What the parts of a schedule serve in each hour of the demand, in replica-minutes.
pub(super) fn hourly_of_parts(parts: &Parts, rows: &[Vec<Allocated>]) -> Vec<u64> {
    let of = |(part, minutes): &(usize, i64)| replicas(&rows[*part]) * minutes.unsigned_abs();
    parts.by_hour.iter().map(|of_hour| of_hour.iter().map(of).sum()).collect()
}

/// What is allocated in each period that these hours have, which stand with their periods: in the
/// hour of it that serves least, after the minutes of a change if it has others. Hours of one period
/// differ where replicas that run through the next change must be in instances that outlive it.
pub(super) fn least_of_periods(
    parts: &Parts,
    rows: &[Vec<Allocated>],
    hours: impl Iterator<Item = (usize, usize)>,
) -> Vec<Vec<Allocated>> {
    let mut least: Vec<&[Allocated]> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for (hour, period) in hours {
        let Some((part, _)) = parts.by_hour[hour].last() else { continue };
        let (own, next) = (rows[*part].as_slice(), least.len());
        match least.get_mut(*places.entry(period).or_insert(next)) {
            Some(known) if replicas(own) < replicas(known) => *known = own,
            Some(_) => {}
            None => least.push(own),
        }
    }
    least.into_iter().map(<[Allocated]>::to_vec).collect()
}
