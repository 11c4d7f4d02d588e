//! What an instance is worth in each stretch of time, by the relaxation of one division of the
//! hours, and the bound that those prices give for any other division.
//!
//! Lagrangian relaxation: whoever pays these prices for instances may have as many as they want, and
//! the GPUs are laid out for what is paid. Any prices that are not negative bound what can be served,
//! so they are rounded to whole numbers and the bound is exact; the relaxation's own prices make it
//! tight. Two stages are looked at, one after the other, with all replicas of higher priorities served.

use std::collections::BTreeMap;

use super::configurations::Joints;
use super::formulation::Formulation;
use super::model::{LinearObjective, Terms, merge};
use super::options::PlanOptions;
use super::problem::{Part, Problem};
use super::relaxation::{Ends, Relaxation};
use crate::demand::{Demand, Workload};
use crate::error::Result;
use crate::plan::goal::Sense;

/// The first stage of which something is missing and the one after it, as one sum: a unit more of
/// the first is worth more than all of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Worth {
    /// The priority whose weight is the first.
    pub priority: i64,
    /// That whose weight is the second; `None` is the memory of all replicas.
    pub then: Option<i64>,
    /// By what the first is multiplied.
    pub factor: i64,
}

impl Worth {
    /// The sum that has these values of the two stages.
    pub(crate) fn of_stages(&self, first: i128, then: i128) -> i128 {
        i128::from(self.factor) * first + then
    }

    /// What one replica of this priority, weight and memory in MiB is worth.
    fn of_replica(&self, priority: i64, weight: i64, memory_mib: i64) -> i64 {
        let second = match self.then {
            Some(then) if then == priority => weight,
            Some(_) => 0,
            None => memory_mib,
        };
        if priority == self.priority { self.factor.saturating_mul(weight) + second } else { second }
    }
}

/// The prices of one part: for each kind, by its place in its supply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartPrices {
    /// Of an instance, per unit of the part's weight.
    instance: Vec<i64>,
    /// Of an instance that outlives the next change, beside that.
    outliving: Vec<i64>,
}

/// What the relaxation of one stage came to.
#[derive(Debug, Clone)]
pub(crate) struct Priced {
    /// No solution that serves all replicas of higher priorities is worth more.
    pub bound: i128,
    /// The prices of each part.
    pub parts: Vec<PartPrices>,
}

/// Solves the relaxation of what is served, with all replicas of higher priorities served. `None`
/// where the solver has no answer before the options end the search.
///
/// # Errors
/// An internal error where the solver breaks down.
pub(crate) fn relax(
    problem: &Problem,
    worth: &Worth,
    options: &PlanOptions,
) -> Result<Option<Priced>> {
    let mut formulation = Formulation::new(problem);
    for (class, column) in problem.classes.iter().zip(&formulation.assignment.served) {
        if class.priority > worth.priority {
            let bounds = &mut formulation.model.columns[*column];
            bounds.lower = bounds.upper;
        }
    }
    let first = formulation.placed_weight(problem, worth.priority).into_iter();
    let mut terms: Terms = first.map(|(c, a)| (c, a.saturating_mul(worth.factor))).collect();
    terms.extend(match worth.then {
        Some(then) => formulation.placed_weight(problem, then),
        None => formulation.placed_mib(problem),
    });
    let objective = LinearObjective { sense: Sense::Maximise, terms: merge(terms) };
    let mut relaxation = Relaxation::until(Ends::of(options));
    let Some(relaxed) = relaxation.solve(&formulation.model, &objective)? else { return Ok(None) };
    let of_rows = relaxation.prices(&formulation.model);
    let kinds = kinds_of_a_supply(problem);
    let none = PartPrices { instance: vec![0; kinds], outliving: vec![0; kinds] };
    let mut parts = vec![none; problem.hours.len()];
    for (kind, rows) in formulation.patterns.supply_rows.iter().enumerate() {
        let supply = problem.kinds[kind].supply;
        let periods = (0..problem.hours.len()).filter(|p| problem.supplies[*p] == supply);
        for (period, row) in periods.zip(rows) {
            parts[period].instance[kind % kinds] = of_rows[*row] / problem.hours[period].max(1);
        }
    }
    for ((kind, period), row) in &formulation.patterns.outlive_rows {
        parts[*period].outliving[kind % kinds] += of_rows[*row] / problem.hours[*period].max(1);
    }
    Ok(Some(Priced { bound: relaxed.bound, parts }))
}

/// Kinds of one supply; each has the same.
fn kinds_of_a_supply(problem: &Problem) -> usize {
    problem.kinds.iter().filter(|k| k.supply == 0).count()
}

/// What every division is bounded with.
#[derive(Debug)]
pub(crate) struct Bounding<'b> {
    base: &'b Problem,
    joints: &'b Joints,
    /// For each workload its priority, and the kinds that suffice for it with what a replica there
    /// is worth.
    workloads: Vec<(i64, Vec<(usize, i64)>)>,
    worth: Worth,
}

/// For each part of a division, the prices that it pays with the weight that each is for.
pub(crate) type Paid<'p> = Vec<Vec<(&'p PartPrices, i64)>>;

impl<'b> Bounding<'b> {
    pub(crate) fn new(
        base: &'b Problem,
        joints: &'b Joints,
        demand: &Demand,
        worth: Worth,
    ) -> Bounding<'b> {
        let of = |w: &Workload| {
            let weight = i64::try_from(w.weight.0).unwrap_or(i64::MAX);
            let value = |k: usize| {
                let memory = w.memory.map_or(base.kinds[k].memory_mib, |m| m.0 as i64);
                (k, worth.of_replica(w.priority, weight, memory))
            };
            (w.priority, base.usable_kinds(w).into_iter().map(value).collect())
        };
        Bounding { base, joints, workloads: demand.workloads().iter().map(of).collect(), worth }
    }

    /// The bound of what is served, with all replicas of higher priorities served.
    pub(crate) fn bound(&self, parts: &[Part], paid: &Paid<'_>) -> i128 {
        let kinds = self.base.kinds.len();
        // What is paid for one more of each kind, by supply and by its place there.
        let mut worth: BTreeMap<usize, Vec<i128>> = BTreeMap::new();
        let mut pay = |supply: usize, prices: &[i64], weight: i64| {
            let of_supply = worth.entry(supply).or_insert_with(|| vec![0; kinds]);
            for (sum, price) in of_supply.iter_mut().zip(prices) {
                *sum += i128::from(*price) * i128::from(weight);
            }
        };
        let mut gained: i128 = 0;
        for (part, prices) in parts.iter().zip(paid) {
            for (price, weight) in prices {
                pay(part.supply, &price.instance, *weight);
                if let Some((supply, _)) = &part.staying {
                    pay(*supply, &price.outliving, *weight);
                }
                gained += self.gained(part, price) * i128::from(*weight);
            }
        }
        gained + self.joints.most_paid(self.base, &worth)
    }

    /// What the replicas of a part are worth beyond what their instances cost, for one unit of its
    /// weight.
    fn gained(&self, part: &Part, price: &PartPrices) -> i128 {
        let mut sum = 0;
        for (w, (priority, kinds)) in self.workloads.iter().enumerate() {
            if part.counts[w] == 0 {
                continue;
            }
            let staying = part.staying.as_ref().map_or(0, |(_, counts)| counts[w]);
            let gain = |outlives: bool| {
                let of = |(k, value): &(usize, i64)| {
                    value - price.instance[*k] - if outlives { price.outliving[*k] } else { 0 }
                };
                let best = kinds.iter().map(of).max().unwrap_or(0);
                // Nobody must be served but those of higher priorities.
                if *priority > self.worth.priority { best } else { best.max(0) }
            };
            let ending = part.counts[w].saturating_sub(staying);
            sum += i128::from(gain(false)) * i128::from(ending);
            sum += i128::from(gain(true)) * i128::from(staying);
        }
        sum
    }
}
