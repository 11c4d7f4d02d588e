//! The fewest GPUs that a demand needs, of one board or at a price for each.

use std::collections::BTreeSet;

use super::model::{LinearObjective, Terms, dot};
use super::options::{PlanOptions, SearchProgress, StageProgress};
use super::problem::{DemandClass, Problem};
use super::search::Search;
use super::stages::{self, Solution};
use crate::error::Result;
use crate::plan::Status;
use crate::plan::goal::{Objective, Sense, Until};

/// A number of GPUs of one pool below which not every replica is placed that the fleet could hold
/// at all, by linear relaxation: far faster than [`fewest_of_pool`]. `None` where even all GPUs are
/// not enough.
///
/// # Errors
/// A solver that breaks down (exit 1).
pub(crate) fn least_of_pool(
    problem: &Problem,
    pool: usize,
    options: &PlanOptions,
) -> Result<Option<u64>> {
    let mut search = Search::new(problem, options);
    let all = search.formulation.placed();
    let objective = gpus_of_pool(&search, pool);
    let bound = search.bound_at_limit(&all, &objective)?;
    Ok(bound.map(|bound| u64::try_from(bound).unwrap_or(0)))
}

fn gpus_of_pool(search: &Search, pool: usize) -> LinearObjective {
    let terms = search.formulation.gpus_of_pool(search.problem, pool);
    LinearObjective { sense: Sense::Minimise, terms }
}

/// The fewest GPUs of one pool with which all `wanted` replicas are placed; `None` where even all
/// GPUs are not enough, or time runs out.
///
/// # Errors
/// A solver that contradicts itself (exit 1).
pub(crate) fn fewest_of_pool(
    problem: &Problem,
    pool: usize,
    wanted: u64,
    options: &PlanOptions,
) -> Result<Option<u64>> {
    let mut search = Search::new(problem, options);
    let all = search.formulation.placed();
    // The problem leaves out replicas beyond what all its GPUs could hold.
    if search.natural_limit(&all).is_none_or(|limit| limit < i128::from(wanted)) {
        return Ok(None);
    }
    let found = search.reach_limit(&all);
    let value = search.value_of(&all.terms);
    if found.is_err() || search.natural_limit(&all) != Some(value) {
        return Ok(None);
    }
    search.hold(all)?;
    let objective = gpus_of_pool(&search, pool);
    let bound = search.optimise(&objective)?;
    let value = search.value_of(&objective.terms);
    Ok((bound.status == Status::Optimal).then(|| u64::try_from(value).unwrap_or(0)))
}

/// The GPUs with which everything is placed that these GPUs could hold at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cheapest {
    /// GPUs in use, for each pool.
    pub gpus: Vec<u64>,
    /// [`Status::Optimal`] where it is proved that nothing cheaper does, else why it is not.
    pub status: Status,
}

/// The cheapest GPUs, at a price for each pool, on which `wanted` replicas are placed, which is
/// all that the pools could serve; of several the fewest. `None` where all GPUs are not enough.
///
/// # Errors
/// Nothing found within the time limit (exit 5); a solver that contradicts itself (exit 1).
pub(crate) fn cheapest(
    problem: &Problem,
    wanted: u64,
    prices: &[i64],
    options: &PlanOptions,
) -> Result<Option<Cheapest>> {
    let mut search = Search::new(problem, options);
    let all = search.formulation.placed();
    if search.natural_limit(&all).is_none_or(|limit| limit < i128::from(wanted)) {
        return Ok(None);
    }
    let bound = search.optimise(&all)?;
    if search.value_of(&all.terms) < i128::from(wanted) {
        return match bound.status {
            Status::Optimal => Ok(None),
            _ => Err(search.no_plan()),
        };
    }
    search.hold(all)?;
    let mut cost = Terms::new();
    for (pool, price) in prices.iter().enumerate() {
        let used = search.formulation.gpus_of_pool(problem, pool);
        cost.extend(used.into_iter().map(|(c, a)| (c, a * price)));
    }
    let fewest = search.formulation.gpus_used(problem);
    let used = fewest.clone();
    let tell = |search: &Search, bound: Option<i128>| {
        let Some(progress) = &options.progress else { return };
        let objective = Objective::GpusUsed;
        let value = Some(objective.number(search.value_of(&used)));
        let bound = bound.map(|bound| objective.number(bound));
        progress.tell(SearchProgress::Stage(StageProgress { objective, value, bound }));
    };
    tell(&search, None);
    let mut status = Status::Optimal;
    for terms in [cost, fewest] {
        let objective = LinearObjective { sense: Sense::Minimise, terms };
        let bound = search.optimise(&objective)?;
        status = status.and(bound.status);
        tell(&search, (objective.terms == used).then_some(bound.value));
        search.hold(objective)?;
    }
    Ok(Some(Cheapest { gpus: gpus_used(&search), status }))
}

/// GPUs in use in the best solution, for each pool.
fn gpus_used(search: &Search<'_>) -> Vec<u64> {
    (0..search.problem.pools.len())
        .map(|p| search.value_of(&search.formulation.gpus_of_pool(search.problem, p)))
        .map(|used| u64::try_from(used).unwrap_or(0))
        .collect()
}

/// What is to be served of one priority, in millionths of weight-hours.
#[derive(Debug, Clone, Copy)]
struct Least {
    priority: i64,
    /// Of all replicas.
    weight: i128,
    /// Of guaranteed ones: all of them.
    guaranteed: i128,
    /// What all replicas ask for that GPUs could serve at all.
    asked: i128,
}

/// What is to be served of each priority, the highest first.
#[derive(Debug, Clone)]
pub(crate) struct ToServe(Vec<Least>);

/// What the best plan of a problem serves, which serves all that it can of a priority before the
/// next one.
#[derive(Debug, Clone)]
pub(crate) struct ServedByBest {
    /// Of each priority, the highest first: the weight of all replicas, and that of guaranteed ones.
    weights: Vec<(i128, i128)>,
    /// Whether it is proved that this plan is the best.
    pub status: Status,
}

impl ToServe {
    /// All guaranteed replicas, and at least `share` (in millionths) of the weight-hours of each
    /// priority, of all that so many GPUs as one likes could serve, which the problem's are.
    pub(crate) fn share(problem: &Problem, share: u64) -> ToServe {
        let priorities: BTreeSet<i64> = problem.classes.iter().map(|c| c.priority).collect();
        let asked = |of: &dyn Fn(&DemandClass) -> bool| -> i128 {
            let classes = problem.classes.iter().filter(|class| of(class));
            let weight = |c: &DemandClass| {
                let hours = i128::from(problem.hours_of(c));
                i128::from(c.weight) * hours * i128::from(c.curve.count)
            };
            classes.map(weight).sum()
        };
        let least = |priority: i64| {
            let all = asked(&|c| c.priority == priority);
            Least {
                priority,
                weight: (all * i128::from(share) + 999_999).div_euclid(1_000_000),
                guaranteed: asked(&|c| c.priority == priority && c.guaranteed),
                asked: all,
            }
        };
        ToServe(priorities.into_iter().rev().map(least).collect())
    }

    /// How many priorities there are.
    pub(crate) fn priorities(&self) -> usize {
        self.0.len()
    }

    /// What the best plan of a problem serves of these priorities.
    ///
    /// # Errors
    /// As [`stages::run`].
    pub(crate) fn served_by_best(
        &self,
        problem: &Problem,
        options: &PlanOptions,
    ) -> Result<ServedByBest> {
        let options = PlanOptions { until: Until::PlacedMib, ..options.clone() };
        let Solution { formulation, values, proof, .. } = stages::run(problem, &options)?;
        let of = |least: &Least| {
            let weight = formulation.placed_weight(problem, least.priority);
            let guaranteed = formulation.guaranteed_weight(problem, least.priority);
            (dot(&weight, &values), dot(&guaranteed, &values))
        };
        Ok(ServedByBest { weights: self.0.iter().map(of).collect(), status: proof.status })
    }

    /// Whether so much is enough.
    pub(crate) fn is_served_by(&self, best: &ServedByBest) -> bool {
        let mut each = self.0.iter().zip(&best.weights);
        each.all(|(least, (weight, guaranteed))| {
            *weight >= least.weight && *guaranteed >= least.guaranteed
        })
    }

    /// Asks for what the best plan on any more GPUs serves at least, since it does so on these: no
    /// less of the highest priority, and where that is served whole, no less of the next one. Of a
    /// priority behind one that lacks something nothing is known: more GPUs may serve more of the one
    /// before, and less of it for that.
    pub(crate) fn raise(&mut self, best: &ServedByBest) {
        for (least, (weight, guaranteed)) in self.0.iter_mut().zip(&best.weights) {
            // What is guaranteed comes before all else of its priority.
            if *guaranteed < least.guaranteed {
                return;
            }
            least.weight = least.weight.max(*weight);
            if *weight < least.asked {
                return;
            }
        }
    }
}

/// The fewest GPUs that serve what is to be served, in whatever order. `None` where even all of them
/// do not.
///
/// # Errors
/// As [`cheapest`].
pub(crate) fn fewest_to_serve(
    problem: &Problem,
    to_serve: &ToServe,
    options: &PlanOptions,
) -> Result<Option<Cheapest>> {
    let mut search = Search::new(problem, options);
    let all = search.formulation.placed();
    let most = search.optimise(&all)?;
    // Where time ended that search, more may be served than it found.
    let too_few = |search: &Search| match most.status {
        Status::Optimal => Ok(None),
        _ => Err(search.no_plan()),
    };
    for Least { priority, weight, .. } in to_serve.0.iter().copied() {
        let terms = search.formulation.placed_weight(problem, priority);
        if search.value_of(&terms) < weight {
            return too_few(&search);
        }
        search.formulation.model.try_at_least(terms, weight)?;
        // What is guaranteed is served whole, whatever the share: so many GPUs can.
        let terms = search.formulation.guaranteed_weight(problem, priority);
        let guaranteed = LinearObjective { sense: Sense::Maximise, terms };
        if search.natural_limit(&guaranteed) != Some(search.value_of(&guaranteed.terms)) {
            return too_few(&search);
        }
        if !guaranteed.terms.is_empty() {
            search.hold(guaranteed)?;
        }
    }
    let terms = search.formulation.gpus_used(problem);
    let objective = LinearObjective { sense: Sense::Minimise, terms };
    let bound = search.optimise(&objective)?;
    Ok(Some(Cheapest { gpus: gpus_used(&search), status: bound.status }))
}
