//! An independent check of a schedule of several configurations: what it serves, counted again from
//! the layouts alone.
//!
//! How long which configuration serves is counted hour by hour; what a change keeps is what two
//! layouts of a GPU have at the same place; the most that can be served is asked of the matching
//! that replays use, which knows no solver. Shares no code with the search.

use std::collections::{BTreeMap, BTreeSet};

use super::Keeps;
use super::parts::HOUR_MINUTES;
use super::search::{Found, Search};
use crate::compare::replay::{self, Configuration};
use crate::demand::hours::WEEK;
use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::error::{Error, Result};
use crate::hardware::BoardRef;
use crate::plan::{self, Allocated, Checked, GpuPlan, Instance, InstanceProfile};

/// What serves for a while: one configuration, or what a change between two leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Serving {
    Configuration(usize),
    Change(usize, usize),
}

/// What is served: weight by priority, and MiB, times minutes.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    weights: BTreeMap<i64, u128>,
    mib: u128,
}

struct Check<'c> {
    search: &'c Search<'c>,
    found: &'c Found,
    plans: &'c [&'c Checked],
    violations: Vec<String>,
}

/// Checks what a search found: `rows` are the replicas of its parts, `plans` the configurations.
///
/// # Errors
/// Everything that is wrong (exit 1).
pub(super) fn check(
    search: &Search<'_>,
    found: &Found,
    rows: &[Vec<Allocated>],
    plans: &[&Checked],
) -> Result<()> {
    let mut check = Check { search, found, plans, violations: Vec::new() };
    let minutes = check.minutes();
    check.parts(&minutes, rows);
    check.sums(rows)?;
    if check.violations.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "the schedule breaks its own promises, so nothing is written: {}",
        check.violations.join("; ")
    ))
    .hint("this is a bug in migplan; please report it with the workloads and the GPUs"))
}

/// Instances of a GPU that a change to another layout of it leaves.
fn left<'g>(from: &'g GpuPlan, to: &GpuPlan, keeps: Keeps) -> Vec<&'g Instance> {
    let place = |i: &Instance| (i.profile.clone(), i.start);
    let all = |gpu: &GpuPlan| gpu.instances.iter().map(place).collect::<BTreeSet<_>>();
    let after = all(to);
    if from.mig != to.mig || keeps == Keeps::Gpus && all(from) != after {
        return Vec::new();
    }
    from.instances.iter().filter(|i| after.contains(&place(i))).collect()
}

impl Check<'_> {
    /// What serves an hour and for how many minutes, by the hour's index.
    fn serving(&self, hour: usize) -> Vec<(Serving, i64)> {
        let hours = self.search.demand.hours();
        let division = &self.found.division;
        let now = division.at(hours[hour].of_week);
        let follows = hour > 0 && hours[hour].start_ms - hours[hour - 1].start_ms == HOUR_MS;
        let of_week =
            if follows { hours[hour - 1].of_week } else { hours[hour].of_week + WEEK - 1 };
        let before = division.at(of_week);
        if before == now {
            return vec![(Serving::Configuration(now), HOUR_MINUTES)];
        }
        let change = self.search.schedule.change_minutes;
        let served = [
            (Serving::Change(before.min(now), before.max(now)), change),
            (Serving::Configuration(now), HOUR_MINUTES - change),
        ];
        served.into_iter().filter(|(_, minutes)| *minutes > 0).collect()
    }

    /// Minutes by what serves and by period of the demand.
    fn minutes(&self) -> BTreeMap<(Serving, usize), i64> {
        let mut sums = BTreeMap::new();
        for (hour, of) in self.search.demand.hours().iter().enumerate() {
            for (serving, minutes) in self.serving(hour) {
                *sums.entry((serving, of.period)).or_default() += minutes;
            }
        }
        sums
    }

    /// What serves a part of the schedule.
    fn serving_of(&self, supply: usize) -> Serving {
        let count = self.plans.len();
        if supply < count {
            return Serving::Configuration(supply);
        }
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        let (a, b) = pairs.clone().nth(supply - count).unwrap_or_default();
        Serving::Change(a, b)
    }

    /// The layouts as a replay takes them.
    fn configuration(&self, serving: Serving) -> Configuration {
        let plan = |c: usize| self.plans[c];
        let fleet = self.search.fleet;
        let (from, to) = match serving {
            Serving::Configuration(c) => (plan(c), plan(c)),
            Serving::Change(a, b) => (plan(a), plan(b)),
        };
        // GPUs of a plan stand in the order of the fleet.
        let mut gpus = from.gpus.iter().zip(&to.gpus);
        Configuration::new("check", fleet, |_, _, board: &BoardRef| {
            let Some((a, b)) = gpus.next() else { return Some(vec![0; board.profiles.len()]) };
            let left = left(a, b, self.search.schedule.keeps);
            // A whole GPU, MIG off, or what the instances are; one that is cleared serves nothing.
            (a.mig || left.is_empty()).then(|| plan::counts(board, left))
        })
    }

    /// The parts have the minutes of the hours, and their replicas fit the layouts.
    fn parts(&mut self, minutes: &BTreeMap<(Serving, usize), i64>, rows: &[Vec<Allocated>]) {
        let parts = &self.found.parts;
        let mut sums: BTreeMap<(Serving, usize), i64> = BTreeMap::new();
        for (part, period) in parts.with_periods() {
            *sums.entry((self.serving_of(part.supply), period)).or_default() += part.weight;
        }
        if sums != *minutes {
            self.violations.push("its parts are not the hours of the demand".to_string());
        }
        let keeps = self.search.schedule.keeps;
        for (part, rows) in parts.parts.iter().zip(rows) {
            let supply = self.supply(self.serving_of(part.supply), keeps);
            let mut used: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
            let mut served = vec![0u64; part.counts.len()];
            for row in rows {
                *used.entry((&row.board, &row.profile)).or_default() += row.replicas;
                served[row.workload] += row.replicas;
            }
            if used.iter().any(|(kind, n)| supply.get(kind).is_none_or(|has| has < n)) {
                self.violations.push("it serves more replicas than it has instances".to_string());
            }
            if served.iter().zip(&*part.counts).any(|(served, asked)| served > asked) {
                self.violations.push("it serves more replicas than there are".to_string());
            }
            let Some((after, staying)) = &part.staying else { continue };
            // Where all replicas of a workload run through the change, all that are served must be
            // in instances that outlive it.
            let after = self.supply(self.serving_of(*after), keeps);
            let mut outlive: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
            for row in rows.iter().filter(|r| staying[r.workload] == part.counts[r.workload]) {
                *outlive.entry((&row.board, &row.profile)).or_default() += row.replicas;
            }
            if outlive.iter().any(|(kind, n)| after.get(kind).is_none_or(|has| has < n)) {
                self.violations.push("a change ends replicas that run through it".to_string());
            }
        }
    }

    fn supply(&self, serving: Serving, keeps: Keeps) -> BTreeMap<(&str, &InstanceProfile), u64> {
        let (a, b) = match serving {
            Serving::Configuration(c) => (c, c),
            Serving::Change(a, b) => (a, b),
        };
        let mut supply: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
        for (from, to) in self.plans[a].gpus.iter().zip(&self.plans[b].gpus) {
            for instance in left(from, to, keeps) {
                *supply.entry((&from.board, &instance.profile)).or_default() += 1;
            }
        }
        supply
    }

    /// What is served is the most that the layouts allow, or less only where replicas that run
    /// through a change must keep their instances.
    fn sums(&mut self, rows: &[Vec<Allocated>]) -> Result<()> {
        let demand = self.search.demand;
        let claimed = self.claimed(rows);
        let mut most = Sums::default();
        let mut groups: BTreeMap<(Serving, i64), BTreeSet<usize>> = BTreeMap::new();
        for hour in 0..demand.hours().len() {
            for of in self.serving(hour) {
                groups.entry(of).or_default().insert(hour);
            }
        }
        for ((serving, minutes), hours) in groups {
            let part: OverTime = demand.only(|hour| hours.contains(&hour));
            let row = replay::bound(&part, self.search.fleet, &self.configuration(serving))?;
            let of_hours = |times: u128| {
                times / HOUR_MS.unsigned_abs() as u128 * u128::from(minutes.unsigned_abs())
            };
            for priority in claimed.weights.keys() {
                let weight = row.served_weight(&part, *priority);
                *most.weights.entry(*priority).or_default() += of_hours(weight);
            }
            most.mib += of_hours(row.served_mib);
        }
        let order = |sums: &Sums| {
            let weights: Vec<u128> = sums.weights.values().rev().copied().collect();
            (weights, sums.mib)
        };
        let proved = self.found.solution.proof.status == crate::plan::Status::Optimal;
        let exact = self.search.allows_disruption() && proved;
        if order(&claimed) > order(&most) || exact && claimed != most {
            self.violations.push(format!("it claims {claimed:?}, the layouts serve {most:?}"));
        }
        Ok(())
    }

    /// What the replicas of the parts add up to.
    fn claimed(&self, rows: &[Vec<Allocated>]) -> Sums {
        let demand = self.search.demand;
        let boards = self.search.fleet.boards();
        let workloads = demand.peak().workloads();
        let mut sums =
            Sums { weights: workloads.iter().map(|w| (w.priority, 0)).collect(), mib: 0 };
        for (part, rows) in self.found.parts.parts.iter().zip(rows) {
            for row in rows {
                let workload = &workloads[row.workload];
                let times = u128::from(part.weight.unsigned_abs()) * u128::from(row.replicas);
                let weight = sums.weights.entry(workload.priority).or_default();
                *weight += times * u128::from(workload.weight.0);
                let each = workload.memory.map_or_else(|| row.memory_mib(&boards), |m| m.0);
                sums.mib += times * u128::from(each);
            }
        }
        sums
    }
}
