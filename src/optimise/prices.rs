//! What an instance is worth in each stretch of time, by the relaxation of the solutions of one
//! division of the hours, and the bound that those prices give for any other division.
//!
//! Lagrangian relaxation: whoever pays these prices for instances may have as many as they want, and
//! the GPUs are laid out for what is paid. Any prices that are not negative bound what can be served,
//! so they are rounded to whole numbers and the bound is exact; the relaxation's own prices make it
//! tight. Where the solutions of a division were divided by their instances (`branch`), each part has
//! prices of its own, the limits of the part included, and as the same limits divide the solutions of
//! any division, the most of all parts is a bound for it. Two stages are looked at, one after the
//! other, with all replicas of higher priorities served.

use std::collections::BTreeMap;

use super::branch::{self, Ended, Part as Branch, Solutions};
use super::configurations::Joints;
use super::ends::Ends;
use super::formulation::Formulation;
use super::model::{LinearObjective, Terms, merge};
use super::options::PlanOptions;
use super::problem::{Part, Problem};
use super::solver::relaxation::{Limit, Node, Relaxation};
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

/// The prices of a part of the solutions of a division.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    /// Of the instances, by part of the division.
    parts: Vec<PartPrices>,
    /// Of a GPU with each joint layout, by its column, beside what its instances get: for the limits
    /// of the part of the solutions.
    layouts: Vec<i128>,
    /// What the limits give back.
    limits: i128,
}

/// What became of the solutions of a division.
#[derive(Debug)]
pub(crate) struct Divided {
    /// Whether some of them may be wanted; else all are ruled out.
    pub may_win: bool,
    /// The prices of the parts that the solutions were divided into: what another division can serve
    /// is no more than the most that any of them allows. Empty where none are known.
    pub prices: Vec<Prices>,
}

/// Divides the solutions of what is served, with all replicas of higher priorities served, until the
/// relaxation shows of each part that nothing in it is wanted. That is as exact as the solver: the
/// first stage of a [`Worth`] is far above its tolerance, the last digits of the second are not.
///
/// # Errors
/// An internal error where the solver breaks down.
pub(crate) fn divide(
    problem: &Problem,
    worth: &Worth,
    options: &PlanOptions,
    is_wanted: &dyn Fn(i128) -> bool,
) -> Result<Divided> {
    let mut formulation = Formulation::new(problem);
    let mut may_be_empty = false;
    for (class, column) in problem.classes.iter().zip(&formulation.assignment.served) {
        if class.priority > worth.priority {
            let bounds = &mut formulation.model.columns[*column];
            bounds.lower = bounds.upper;
            may_be_empty = true;
        }
    }
    let first = formulation.placed_weight(problem, worth.priority).into_iter();
    let mut terms: Terms = first.map(|(c, a)| (c, a.saturating_mul(worth.factor))).collect();
    terms.extend(match worth.then {
        Some(then) => formulation.placed_weight(problem, then),
        None => formulation.placed_mib(problem),
    });
    let ends = Ends::of(options);
    let sums = formulation.patterns.instances(problem);
    let layouts = formulation.patterns.gpus.iter().map(Vec::len).sum();
    let mut priced = Priced {
        problem,
        formulation,
        objective: LinearObjective { sense: Sense::Maximise, terms: merge(terms) },
        relaxation: Relaxation::until(ends.clone()).with_sums(sums),
        ends,
        layouts,
        is_wanted,
        may_be_empty,
        root: None,
        done: Vec::new(),
        known: true,
    };
    let ended = branch::search(&mut priced)?;
    let Priced { root, done, known, .. } = priced;
    Ok(match ended {
        Ended::Done => Divided { may_win: false, prices: if known { done } else { Vec::new() } },
        _ => Divided { may_win: true, prices: root.into_iter().collect() },
    })
}

/// The solutions of a division, for branch and bound.
struct Priced<'p> {
    problem: &'p Problem,
    formulation: Formulation,
    objective: LinearObjective,
    relaxation: Relaxation,
    ends: Ends,
    /// Columns of layouts, which are the first.
    layouts: usize,
    is_wanted: &'p dyn Fn(i128) -> bool,
    /// Whether a part may have no solution because of the replicas of higher priorities: in another
    /// division it may have some.
    may_be_empty: bool,
    /// The prices of all solutions.
    root: Option<Prices>,
    /// Those of the parts in which nothing is wanted, and whether they are all there.
    done: Vec<Prices>,
    known: bool,
}

impl Solutions for Priced<'_> {
    fn part(&mut self, limits: &[Limit]) -> Result<Branch> {
        loop {
            let model = &self.formulation.model;
            let (relaxed, halves) = match self.relaxation.limited(model, &self.objective, limits)? {
                Node::Empty => {
                    self.known &= !self.may_be_empty;
                    return Ok(Branch::Done);
                }
                Node::Unknown => return Ok(Branch::Unknown),
                Node::Solved(relaxed, halves) => (relaxed, halves),
            };
            if self.formulation.tighten_relaxed(self.problem, &relaxed.thousandths) {
                continue;
            }
            if self.root.is_none() {
                self.root = self.prices();
            }
            if !(self.is_wanted)(relaxed.stated) {
                match self.prices() {
                    Some(prices) => self.done.push(prices),
                    None => self.known = false,
                }
                return Ok(Branch::Done);
            }
            // A solution that is wanted: the stages are to say how good it is.
            let Some(halves) = halves else { return Ok(Branch::Unknown) };
            return Ok(Branch::Open { bound: relaxed.stated, halves });
        }
    }

    fn is_wanted(&self, bound: i128) -> bool {
        (self.is_wanted)(bound)
    }

    fn must_end(&self) -> bool {
        self.ends.now()
    }
}

impl Priced<'_> {
    /// The prices of the last relaxation; `None` where its limits are of no layouts.
    fn prices(&self) -> Option<Prices> {
        let (problem, model) = (self.problem, &self.formulation.model);
        let of_rows = self.relaxation.prices(model, &self.objective);
        let kinds = kinds_of_a_supply(problem);
        let none = PartPrices { instance: vec![0; kinds], outliving: vec![0; kinds] };
        let mut parts = vec![none; problem.hours.len()];
        for (kind, rows) in self.formulation.patterns.supply_rows.iter().enumerate() {
            let supply = problem.kinds[kind].supply;
            let periods = (0..problem.hours.len()).filter(|p| problem.supplies[*p] == supply);
            for (period, row) in periods.zip(rows) {
                parts[period].instance[kind % kinds] = of_rows[*row] / problem.hours[period].max(1);
            }
        }
        for ((kind, period), row) in &self.formulation.patterns.outlive_rows {
            parts[*period].outliving[kind % kinds] += of_rows[*row] / problem.hours[*period].max(1);
        }
        let mut prices = Prices { parts, layouts: vec![0; self.layouts], limits: 0 };
        for (limit, terms, price) in self.relaxation.limit_prices(model, &self.objective) {
            let at = if price > 0 { limit.upper } else { limit.lower };
            prices.limits += i128::from(price) * i128::from(at);
            for (column, coefficient) in terms {
                *prices.layouts.get_mut(column)? += i128::from(price) * i128::from(coefficient);
            }
        }
        Some(prices)
    }
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

/// For the parts of a division, the parts of another one whose prices they pay, with the weight that
/// each is for.
pub(crate) type Pays = Vec<(usize, usize, i64)>;

/// Prices with what replicas gain that pay them.
#[derive(Debug)]
pub(crate) struct Gains {
    prices: Prices,
    /// For each part and workload: of a replica that ends before the next change, and of one that
    /// does not.
    by_part: Vec<Vec<[i64; 2]>>,
}

impl Gains {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_part.iter().map(Vec::len).sum()
    }
}

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

    /// What each replica gains where it pays these prices.
    pub(crate) fn gains(&self, prices: Prices) -> Gains {
        let of_part = |price: &PartPrices| -> Vec<[i64; 2]> {
            let of_workload = |(priority, kinds): &(i64, Vec<(usize, i64)>)| {
                let gain = |outlives: bool| {
                    let of = |(k, value): &(usize, i64)| {
                        let outliving = if outlives { price.outliving[*k] } else { 0 };
                        value - price.instance[*k] - outliving
                    };
                    let best = kinds.iter().map(of).max().unwrap_or(0);
                    // Nobody must be served but those of higher priorities.
                    if *priority > self.worth.priority { best } else { best.max(0) }
                };
                [gain(false), gain(true)]
            };
            self.workloads.iter().map(of_workload).collect()
        };
        Gains { by_part: prices.parts.iter().map(of_part).collect(), prices }
    }

    /// The bound of what is served within the limits that the prices are of, with all replicas of
    /// higher priorities served.
    pub(crate) fn bound(&self, parts: &[Part], pays: &Pays, gains: &Gains) -> i128 {
        let kinds = self.base.kinds.len();
        let prices = &gains.prices;
        // What is paid for one more of each kind, by supply and by its place there.
        let mut worth: BTreeMap<usize, Vec<i128>> = BTreeMap::new();
        let mut pay = |supply: usize, prices: &[i64], weight: i64| {
            let of_supply = worth.entry(supply).or_insert_with(|| vec![0; kinds]);
            for (sum, price) in of_supply.iter_mut().zip(prices) {
                *sum += i128::from(*price) * i128::from(weight);
            }
        };
        let mut gained: i128 = 0;
        for (at, other, weight) in pays {
            let (part, price) = (&parts[*at], &prices.parts[*other]);
            pay(part.supply, &price.instance, *weight);
            if let Some((supply, _)) = &part.staying {
                pay(*supply, &price.outliving, *weight);
            }
            let gain = Bounding::gained(part, &gains.by_part[*other]);
            gained += gain * i128::from(*weight);
        }
        gained + prices.limits + self.joints.most_paid(self.base, &worth, &prices.layouts)
    }

    /// What the replicas of a part are worth beyond what their instances cost, for one unit of its
    /// weight.
    fn gained(part: &Part, gains: &[[i64; 2]]) -> i128 {
        let replicas = part.counts.iter().zip(gains);
        match &part.staying {
            None => replicas.map(|(count, [gain, _])| product(*gain, *count)).sum(),
            Some((_, staying)) => {
                let of = |((count, [ends, stays]), staying): ((&u64, &[i64; 2]), &u64)| {
                    let ending = count.saturating_sub(*staying);
                    product(*ends, ending) + product(*stays, *staying)
                };
                replicas.zip(staying.iter()).map(of).sum()
            }
        }
    }
}

fn product(gain: i64, count: u64) -> i128 {
    i128::from(gain) * i128::from(count)
}
