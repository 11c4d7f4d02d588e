//! The stages of the goal, one after the other: each is solved and proved with all earlier ones
//! held at their values.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Number;

use super::formulation::Formulation;
use super::model::{Column, Objective, Sense, Terms, dot};
use super::problem::Problem;
use super::{PlanOptions, Spare, Until, solve};
use crate::error::{Error, ExitCode, Result};
use crate::plan::{Proof, Stage, Status};
use crate::units::Weight;

/// With more classes than this, narrowing costs more than it saves.
const MOST_NARROWED: usize = 100;

/// The counts that the stages settled on.
#[derive(Debug, Clone)]
pub(crate) struct Solution {
    /// The program, for the meaning of the columns.
    pub formulation: Formulation,
    /// The value of every column.
    pub values: Vec<i64>,
    /// What was proved.
    pub proof: Proof,
    /// Whether instances that nobody has are made.
    pub keeps_spare: bool,
    /// Whether busy instances may go.
    pub allow_disruption: bool,
}

/// How a stage's value is shown.
#[derive(Clone, Copy)]
enum Shown {
    /// As it is.
    Plain,
    /// Less this constant.
    Less(i128),
    /// In millionths.
    Millionths,
}

impl Shown {
    fn number(self, value: i128) -> Number {
        let whole = |v: i128| Number::from_i128(v).unwrap_or_else(|| Number::from(0));
        match self {
            Shown::Plain => whole(value),
            Shown::Less(constant) => whole(value - constant),
            Shown::Millionths if value % i128::from(Weight::SCALE) == 0 => {
                whole(value / i128::from(Weight::SCALE))
            }
            Shown::Millionths => Number::from_f64(value as f64 / Weight::SCALE as f64)
                .unwrap_or_else(|| Number::from(0)),
        }
    }
}

/// The work in progress.
struct Search<'p> {
    problem: &'p Problem,
    formulation: Formulation,
    /// The best solution so far; holds for the model as it is.
    values: Option<Vec<i64>>,
    stages: Vec<Stage>,
    deadline: Option<Instant>,
    /// Whether the time limit ended a stage.
    timed_out: bool,
}

/// Runs the stages.
///
/// # Errors
/// No solution within the time limit (exit 5), or a solver that contradicts itself (exit 1).
pub(crate) fn run(problem: &Problem, options: &PlanOptions) -> Result<Solution> {
    let start = Instant::now();
    let mut search = Search::new(problem, options, start);
    search.run(options).map_err(|e| explain_time_limit(e, options))?;
    let Some(values) = search.values else {
        return Err(Error::internal("the stages ended without a solution"));
    };
    let status = if search.timed_out { Status::TimeLimit } else { Status::Optimal };
    let proof =
        Proof { status, stages: search.stages, solve_seconds: start.elapsed().as_secs_f64() };
    let keeps_spare = options.spare != Spare::None;
    Ok(Solution {
        formulation: search.formulation,
        values,
        proof,
        keeps_spare,
        allow_disruption: options.allow_disruption,
    })
}

/// The fewest GPUs of one board with which every replica that the fleet could hold at all has a
/// place; `None` where even all GPUs are not enough, or time runs out.
///
/// # Errors
/// A solver that contradicts itself (exit 1).
pub(crate) fn fewest_of_board(
    problem: &Problem,
    board: &str,
    options: &PlanOptions,
) -> Result<Option<u64>> {
    let mut search = Search::new(problem, options, Instant::now());
    let all = search.formulation.placed();
    let Some(pool) = problem.pools.iter().position(|p| p.board.id == board) else {
        return Ok(None);
    };
    let found = search.optimise(&all);
    let value = search.value_of(&all.terms);
    if found.is_err() || search.natural_limit(&all) != Some(value) {
        return Ok(None);
    }
    search.hold(all, value)?;
    let objective = search.formulation.gpus_of_pool(problem, pool);
    let bound = search.optimise(&objective)?;
    let value = search.value_of(&objective.terms);
    Ok((bound == Some(value)).then(|| u64::try_from(value).unwrap_or(0)))
}

/// The GPUs with which everything has a place that these GPUs could hold at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cheapest {
    /// GPUs in use, for each pool.
    pub gpus: Vec<u64>,
    /// Whether nothing cheaper does.
    pub proved: bool,
}

/// The cheapest GPUs, at a price for each pool, on which `wanted` replicas have a place, which is
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
    let mut search = Search::new(problem, options, Instant::now());
    let all = search.formulation.placed();
    if search.natural_limit(&all).is_none_or(|limit| limit < i128::from(wanted)) {
        return Ok(None);
    }
    let bound = search.optimise(&all).map_err(|e| explain_time_limit(e, options))?;
    let value = search.value_of(&all.terms);
    if value < i128::from(wanted) {
        return match bound {
            Some(bound) if bound == value => Ok(None),
            _ => Err(explain_time_limit(
                Error::new(ExitCode::TimeLimit, "no plan within the time limit"),
                options,
            )),
        };
    }
    search.hold(all, value)?;
    let mut cost = Terms::new();
    for (pool, price) in prices.iter().enumerate() {
        let used = search.formulation.gpus_of_pool(problem, pool);
        cost.extend(used.terms.into_iter().map(|(c, a)| (c, a * price)));
    }
    let fewest = search.formulation.gpus_used(problem);
    let mut proved = true;
    for objective in [Objective { sense: Sense::Minimise, terms: cost }, fewest] {
        let bound = search.optimise(&objective)?;
        let value = search.value_of(&objective.terms);
        proved &= bound == Some(value);
        search.hold(objective, value)?;
    }
    let gpus = (0..problem.pools.len())
        .map(|p| search.value_of(&search.formulation.gpus_of_pool(problem, p).terms))
        .map(|used| u64::try_from(used).unwrap_or(0))
        .collect();
    Ok(Some(Cheapest { gpus, proved }))
}

fn explain_time_limit(error: Error, options: &PlanOptions) -> Error {
    match (error.code, options.time_limit) {
        (ExitCode::TimeLimit, Some(limit)) => {
            Error::new(error.code, format!("no plan within {} s", limit.as_secs_f64()))
                .hint("give more time with --time-limit")
        }
        _ => error,
    }
}

impl<'p> Search<'p> {
    fn new(problem: &'p Problem, options: &PlanOptions, start: Instant) -> Self {
        Search {
            problem,
            formulation: Formulation::new(problem),
            values: None,
            stages: Vec::new(),
            deadline: options.time_limit.and_then(|limit| start.checked_add(limit)),
            timed_out: false,
        }
    }

    fn run(&mut self, options: &PlanOptions) -> Result<()> {
        let problem = self.problem;
        let priorities: BTreeSet<i64> = problem.classes.iter().map(|c| c.priority).collect();
        if priorities.len() > 1 {
            // Often everything fits; then one solve settles every priority.
            self.try_all()?;
        }
        for &priority in priorities.iter().rev() {
            let objective = self.formulation.placed_weight(problem, priority);
            let name = format!("placed_weight[priority={priority}]");
            self.stage(&name, objective, Shown::Millionths)?;
        }
        let objective = self.formulation.placed_mib(problem);
        self.stage("placed_mib", objective.clone(), Shown::Plain)?;
        let placed_mib = self.value_of(&objective.terms);
        self.narrow_served()?;
        let objective = self.formulation.gpus_used(problem);
        self.stage("gpus_used", objective, Shown::Plain)?;
        if options.until == Until::GpusUsed {
            return Ok(());
        }
        let objective = self.formulation.allocated_mib(problem);
        self.stage("rounding_mib", objective, Shown::Less(placed_mib))?;
        if options.until == Until::RoundingMib {
            return Ok(());
        }
        self.add_switches();
        let objective = self.formulation.profile_kinds();
        self.stage("profile_kinds", objective, Shown::Plain)?;
        let objective = self.formulation.compute_slices(problem);
        self.stage("compute_slices", objective, Shown::Plain)?;
        if problem.knows_present {
            let (objective, constant) = self.formulation.instances_destroyed(problem);
            self.stage("instances_destroyed", objective, Shown::Less(-i128::from(constant)))?;
        }
        self.spare(options.spare)
    }

    /// The value of a sum in the best solution.
    fn value_of(&self, terms: &Terms) -> i128 {
        self.values.as_ref().map_or(0, |values| dot(terms, values))
    }

    /// Looks for a solution that serves everybody, to start from.
    fn try_all(&mut self) -> Result<()> {
        let objective = self.formulation.placed();
        self.optimise(&objective)?;
        Ok(())
    }

    /// Optimises one sum, records the stage, and holds it from here on. After the time limit
    /// nothing more is solved and no stage is recorded.
    fn stage(&mut self, name: &str, objective: Objective, shown: Shown) -> Result<()> {
        if self.timed_out {
            return Ok(());
        }
        let Some(bound) = self.optimise(&objective)? else {
            self.timed_out = true;
            return Ok(());
        };
        let value = self.value_of(&objective.terms);
        self.stages.push(Stage {
            objective: name.to_string(),
            value: shown.number(value),
            bound: shown.number(bound),
        });
        if bound != value {
            self.timed_out = true;
            return Ok(());
        }
        self.hold(objective, value)
    }

    /// Optimises one sum without holding it; returns its bound, `None` after the time limit where
    /// there is a solution to fall back to.
    fn optimise(&mut self, objective: &Objective) -> Result<Option<i128>> {
        let limit = self.natural_limit(objective);
        if let Some(limit) = limit
            && self.values.is_some()
            && self.value_of(&objective.terms) == limit
        {
            return Ok(Some(limit));
        }
        if self.values.is_some() {
            let bound = solve::relaxed_bound(&self.formulation.model, objective)?;
            if bound == self.value_of(&objective.terms) {
                return Ok(Some(bound));
            }
        }
        loop {
            if self.deadline.is_some_and(|d| Instant::now() >= d) {
                return self.out_of_time(limit);
            }
            let model = &self.formulation.model;
            let answer = solve::solve(model, objective, self.values.as_deref(), self.deadline)?;
            let bound = match (limit, objective.sense) {
                (Some(limit), Sense::Maximise) => answer.bound.min(limit),
                (Some(limit), Sense::Minimise) => answer.bound.max(limit),
                (None, _) => answer.bound,
            };
            let Some(mut values) = answer.values else {
                return self.out_of_time(Some(bound));
            };
            let tightened = self.formulation.tighten(self.problem, &values);
            self.formulation.settle(self.problem, &mut values);
            if self.formulation.model.holds(&values) && self.is_better(objective, &values) {
                self.values = Some(values);
            }
            let value = self.value_of(&objective.terms);
            if self.values.is_some() && (value == bound || !tightened) {
                return Ok(Some(bound));
            }
            if !tightened {
                return Err(Error::internal("the solver's answer breaks its own model"));
            }
        }
    }

    /// What is known of a sum when time is up: only a bound, beside the solution that is there.
    fn out_of_time(&self, bound: Option<i128>) -> Result<Option<i128>> {
        match self.values {
            Some(_) => Ok(bound),
            None => Err(Error::new(ExitCode::TimeLimit, "no plan within the time limit")),
        }
    }

    fn is_better(&self, objective: &Objective, values: &[i64]) -> bool {
        let Some(known) = &self.values else { return true };
        let (old, new) = (dot(&objective.terms, known), dot(&objective.terms, values));
        match objective.sense {
            Sense::Maximise => new >= old,
            Sense::Minimise => new <= old,
        }
    }

    /// What bounds alone allow: the limit that needs no solver to be proved.
    fn natural_limit(&self, objective: &Objective) -> Option<i128> {
        let columns = &self.formulation.model.columns;
        let maximise = objective.sense == Sense::Maximise;
        objective
            .terms
            .iter()
            .map(|(c, a)| {
                let at = if (*a > 0) == maximise { columns[*c].upper } else { columns[*c].lower };
                i128::from(*a).checked_mul(i128::from(at))
            })
            .sum()
    }

    /// Narrows the bounds of the replicas served to what the linear relaxation still allows. With
    /// the memory placed held, that is often one value, and the later stages are far easier.
    fn narrow_served(&mut self) -> Result<()> {
        if self.timed_out || self.formulation.served.len() > MOST_NARROWED {
            return Ok(());
        }
        for column in self.formulation.served.clone() {
            for sense in [Sense::Minimise, Sense::Maximise] {
                let objective = Objective { sense, terms: vec![(column, 1)] };
                let bound = solve::relaxed_bound(&self.formulation.model, &objective)?;
                let bounds = &mut self.formulation.model.columns[column];
                let limit = i64::try_from(bound).unwrap_or(match sense {
                    Sense::Minimise => bounds.lower,
                    Sense::Maximise => bounds.upper,
                });
                match sense {
                    Sense::Minimise => bounds.lower = bounds.lower.max(limit),
                    Sense::Maximise => bounds.upper = bounds.upper.min(limit),
                }
            }
        }
        Ok(())
    }

    /// Adds the row that keeps a sum at its value.
    fn hold(&mut self, objective: Objective, value: i128) -> Result<()> {
        let value = i64::try_from(value)
            .map_err(|_| Error::internal("a stage's value is beyond 64 bits"))?;
        match objective.sense {
            Sense::Maximise => self.formulation.model.at_least(objective.terms, value),
            Sense::Minimise => self.formulation.model.at_most(objective.terms, value),
        }
        Ok(())
    }

    fn add_switches(&mut self) {
        if self.timed_out {
            return;
        }
        self.formulation.add_kind_switches(self.problem);
        let used: Vec<i64> = self.used_kinds();
        self.extend_values(used);
    }

    /// For each kind 1 where somebody sits in it, else 0.
    fn used_kinds(&self) -> Vec<i64> {
        let mut used = vec![0; self.problem.kinds.len()];
        let Some(values) = &self.values else { return used };
        for (kind_set, seats) in self.problem.types.iter().zip(&self.formulation.seats) {
            for (k, column) in kind_set.kinds.iter().zip(seats) {
                if values[*column] > 0 {
                    used[*k] = 1;
                }
            }
        }
        used
    }

    /// Gives the best solution values for columns that were just added.
    fn extend_values(&mut self, more: impl IntoIterator<Item = i64>) {
        if let Some(values) = &mut self.values {
            values.extend(more);
        }
    }

    /// Stage 8.
    fn spare(&mut self, spare: Spare) -> Result<()> {
        if self.timed_out {
            return Ok(());
        }
        match spare {
            Spare::None => Ok(()),
            Spare::Mix => self.spare_mix(),
            Spare::Largest => self.spare_largest(),
        }
    }

    /// As many further replicas as fit beside the plan, each type within less than one replica of
    /// its exact share of the demand; then the most memory in instances.
    fn spare_mix(&mut self) -> Result<()> {
        let problem = self.problem;
        let further = self.formulation.add_further_replicas(problem);
        self.extend_values(further.iter().map(|_| 0));
        let shareable = |t: &usize| problem.types[*t].whole_gpus == 0;
        let wanted = &problem.shares;
        let all: i64 = (0..wanted.len()).filter(shareable).map(|t| wanted[t]).sum();
        for t in (0..wanted.len()).filter(shareable) {
            let mut terms: Terms = further.iter().map(|(c, _)| (*c, -wanted[t])).collect();
            for (term, (_, of)) in terms.iter_mut().zip(&further) {
                if *of == t {
                    term.1 += all;
                }
            }
            self.formulation.model.at_least(terms.clone(), -(all - 1));
            self.formulation.model.at_most(terms, all - 1);
        }
        let columns: Vec<Column> = further.iter().map(|(c, _)| *c).collect();
        let terms: Terms = columns.iter().map(|c| (*c, 1)).collect();
        self.stage("spare", Objective { sense: Sense::Maximise, terms }, Shown::Plain)?;
        if !self.timed_out {
            // What the shares leave over is cut as well: an instance can be used, a hole cannot.
            let objective = self.formulation.made_mib(problem);
            self.optimise(&objective)?;
        }
        Ok(())
    }

    /// The most spare instances of the largest memory, then of the next, and so on.
    fn spare_largest(&mut self) -> Result<()> {
        let problem = self.problem;
        let sizes: BTreeSet<i64> =
            problem.kinds.iter().filter(|k| k.profile.is_some()).map(|k| k.memory_mib).collect();
        for memory_mib in sizes.into_iter().rev() {
            let terms = self.formulation.spare_of_size(problem, memory_mib);
            let name = format!("spare[{memory_mib}MiB]");
            self.stage(&name, Objective { sense: Sense::Maximise, terms }, Shown::Plain)?;
        }
        Ok(())
    }
}
