//! The stages of the goal, one after the other: each is solved and proved with all earlier ones
//! held at their values.

use std::cmp::Ordering;
use std::time::Instant;

use super::fair;
use super::formulation::Formulation;
use super::model::LinearObjective;
use super::options::{PlanOptions, Progress, SearchProgress, StageProgress};
use super::problem::Problem;
use super::search::{Bound, Search};
use crate::error::{Error, ExitCode, Result};
use crate::plan::Spare;
use crate::plan::goal::{self, Objective, Sense};
use crate::plan::{Effort, Proof, Stage, Status};
use crate::units::Ratio;

/// The counts that the stages settled on.
#[derive(Debug, Clone)]
pub(crate) struct Solution {
    /// The program, for the meaning of the columns.
    pub formulation: Formulation,
    /// The value of every column.
    pub values: Vec<i64>,
    /// What was proved.
    pub proof: Proof,
    /// What each stage reached, as its sum has it.
    pub reached: Vec<i128>,
    /// Whether free instances are made.
    pub keeps_spare: bool,
    /// Whether busy instances may go.
    pub allow_disruption: bool,
}

/// What another problem of the same stages has reached, for a search that asks for no less.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToBeat<'v> {
    /// The value of each stage; all are maximised.
    pub values: &'v [i128],
    /// Whether equal values are enough.
    pub or_equal: bool,
}

/// A solution that is known before the search, such as that of another problem that has fewer
/// patterns to choose from.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The value of every column.
    pub values: Vec<i64>,
    /// Whether it is proved that none serves more: more of a priority, or then more memory.
    pub serves_most: bool,
}

/// Runs the stages.
///
/// # Errors
/// No solution within the time limit (exit 5), or a solver that contradicts itself (exit 1).
pub(crate) fn run(problem: &Problem, options: &PlanOptions) -> Result<Solution> {
    run_with(problem, options, None)
}

/// Runs the stages from a solution that is known, if there is one. One that does not hold is not looked at.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(
    problem: &Problem,
    options: &PlanOptions,
    known: Option<Known>,
) -> Result<Solution> {
    let solution = run_from(problem, options, None, known)?;
    solution.ok_or_else(|| Error::internal("a search without a target gave up"))
}

/// As [`run`], but gives up as soon as a relaxation shows that `target` is out of reach: `None`.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_to_beat(
    problem: &Problem,
    options: &PlanOptions,
    target: Option<ToBeat<'_>>,
) -> Result<Option<Solution>> {
    run_from(problem, options, target, None)
}

fn run_from(
    problem: &Problem,
    options: &PlanOptions,
    target: Option<ToBeat<'_>>,
    known: Option<Known>,
) -> Result<Option<Solution>> {
    let start = Instant::now();
    let mut search = Search::new(problem, options);
    let serves_most = known.is_some_and(|k| search.know(k.values) && k.serves_most);
    let mut stages =
        Stages { search, serves_most, reached: Vec::new(), progress: options.progress.clone() };
    if !stages.run(options, target)? {
        return Ok(None);
    }
    let (status, mut proved) = stages.proof();
    if status != Status::Optimal {
        stages.search.guarantee_first();
        proved = stages.proof().1;
    }
    let value = |reached: &Reached| stages.value(reached);
    let reached = stages.reached.iter().map(value).collect();
    let (formulation, values) = stages.search.into_solution()?;
    Ok(Some(Solution {
        formulation,
        values,
        proof: Proof { status, stages: proved, solve_seconds: start.elapsed().as_secs_f64() },
        reached,
        keeps_spare: options.spare != Spare::None,
        allow_disruption: options.allow_disruption,
    }))
}

/// A stage that was solved.
struct Reached {
    objective: Objective,
    value: Value,
    bound: Bound,
    seconds: f64,
    effort: Effort,
}

/// Where the value of a stage is to be found in a solution.
enum Value {
    /// A sum.
    Sum(LinearObjective),
    /// The share of teams of a priority than which so many distinct ones are smaller; in millionths.
    Share { priority: i64, level: usize },
}

struct Stages<'p> {
    search: Search<'p>,
    /// Whether the solution that the search began with is proved to serve the most.
    serves_most: bool,
    reached: Vec<Reached>,
    progress: Option<Progress>,
}

impl Stages<'_> {
    /// Returns whether the target, if there is one, was reached.
    fn run(&mut self, options: &PlanOptions, target: Option<ToBeat<'_>>) -> Result<bool> {
        let problem = self.search.problem;
        let scope = problem.scope(options);
        if scope.priorities.len() > 1 && !self.serves_most {
            // Often everything fits; then one solve settles every priority.
            let all = self.search.formulation.placed();
            self.search.reach_limit(&all)?;
        }
        for objective in goal::objectives(&scope) {
            if let Objective::TeamShare(priority) = objective {
                self.team_shares(priority)?;
                continue;
            }
            if target.is_some_and(|t| self.is_behind(t)) {
                return self.stays_behind();
            }
            if let Some(target) = target
                && self.falls_short(objective, target)?
            {
                return Ok(false);
            }
            self.stage(objective)?;
            match objective {
                Objective::PlacedMib => self.search.narrow_served()?,
                // What the shares leave over becomes instances too: an instance can be used, bare
                // slices cannot. The replicas stay where they are: this is no stage, and over all of
                // their assignments it took as long as one, for 64 MiB more in one of 13 fleets of
                // 1,000 GPUs.
                Objective::SpareMix if !self.search.is_over() => {
                    let made = self.search.formulation.made_mib(problem);
                    self.search.optimise_patterns(&made)?;
                }
                _ => {}
            }
        }
        if target.is_some_and(|t| self.is_behind(t)) { self.stays_behind() } else { Ok(true) }
    }

    /// That the target is not reached.
    ///
    /// # Errors
    /// A stage is not proved, so with more time it might be (exit 5).
    fn stays_behind(&self) -> Result<bool> {
        match self.proof().0 {
            Status::Optimal => Ok(false),
            _ => Err(Error::new(ExitCode::TimeLimit, "a stage was not proved in its time")),
        }
    }

    /// The order of what was reached and the target, as far as the stages went.
    fn against(&self, target: ToBeat<'_>) -> Ordering {
        let reached = self.reached.iter().map(|r| self.value(r));
        let pairs = reached.zip(target.values);
        pairs.map(|(own, other)| own.cmp(other)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Whether what was reached is less than the target, or equal to the end where that is too
    /// little.
    fn is_behind(&self, target: ToBeat<'_>) -> bool {
        let ends = self.reached.len() == target.values.len();
        match self.against(target) {
            Ordering::Less => true,
            Ordering::Equal => ends && !target.or_equal,
            Ordering::Greater => false,
        }
    }

    /// Whether the next stage cannot reach the target: by its relaxation, else by asking for no less.
    fn falls_short(&mut self, objective: Objective, target: ToBeat<'_>) -> Result<bool> {
        let at = self.reached.len();
        if self.against(target).is_ne() || self.search.formulation.needs_more(objective) {
            return Ok(false);
        }
        let sum = self.search.formulation.objective(self.search.problem, objective);
        let (Some(bound), Some(wanted)) = (self.search.relaxed(&sum)?, target.values.get(at))
        else {
            return Ok(false);
        };
        let is_last = at + 1 == target.values.len();
        let least = wanted + i128::from(is_last && !target.or_equal);
        Ok(bound < least || !self.search.reach(&sum, least)?)
    }

    /// Optimises one objective and holds what it reached from here on.
    fn stage(&mut self, objective: Objective) -> Result<()> {
        let start = Instant::now();
        let problem = self.search.problem;
        let search = &mut self.search;
        if objective == Objective::ProfileKinds {
            search.narrow_kinds()?;
        }
        let values = search.values().to_vec();
        let new = search.formulation.prepare(problem, objective, &values);
        search.extend_values(new);
        let sum = search.formulation.objective(problem, objective);
        self.tell(objective, &sum, None);
        let is_served = matches!(objective, Objective::PlacedWeight(_) | Objective::PlacedMib);
        let bound = if self.serves_most && is_served {
            // What the relaxation says of the columns narrows them below.
            self.search.relaxed(&sum)?;
            Bound { value: self.search.value_of(&sum.terms), status: Status::Optimal }
        } else {
            self.search.optimise(&sum)?
        };
        self.tell(objective, &sum, Some(bound));
        let search = &mut self.search;
        search.hold(sum.clone())?;
        let effort = search.take_effort();
        let seconds = start.elapsed().as_secs_f64();
        self.reached.push(Reached { objective, value: Value::Sum(sum), bound, seconds, effort });
        Ok(())
    }

    /// Raises the shares of the teams of a priority: a stage for each level.
    fn team_shares(&mut self, priority: i64) -> Result<()> {
        let objective = Objective::TeamShare(priority);
        let in_millionths = |share: Ratio| i128::try_from(share.millionths()).unwrap_or(i128::MAX);
        let progress = self.progress.clone();
        let tell = |share, proved: bool| {
            let number = objective.number(in_millionths(share));
            if let Some(progress) = &progress {
                let bound = proved.then(|| number.clone());
                progress.tell(SearchProgress::Stage(StageProgress {
                    objective,
                    value: Some(number),
                    bound,
                }));
            }
        };
        for (level, found) in fair::raise(&mut self.search, priority, tell)?.into_iter().enumerate()
        {
            self.reached.push(Reached {
                objective,
                value: Value::Share { priority, level },
                bound: Bound { value: in_millionths(found.bound), status: found.status },
                seconds: found.seconds,
                effort: found.effort,
            });
        }
        Ok(())
    }

    /// The value of a stage in the last solution, without its constant.
    fn value(&self, reached: &Reached) -> i128 {
        match &reached.value {
            Value::Sum(sum) => self.search.value_of(&sum.terms),
            Value::Share { priority, level } => {
                let shares = &self.search.formulation.shares;
                let share = shares.shares(*priority, self.search.values()).get(*level).copied();
                share.map_or(reached.bound.value, |share| share.millionths() as i128)
            }
        }
    }

    /// Tells how far a stage is.
    fn tell(&self, objective: Objective, sum: &LinearObjective, bound: Option<Bound>) {
        let Some(progress) = &self.progress else { return };
        let constant = self.constant(objective);
        let number = |value: i128| objective.number(value.saturating_add(constant));
        let known = !self.search.values().is_empty();
        progress.tell(SearchProgress::Stage(StageProgress {
            objective,
            value: known.then(|| number(self.search.value_of(&sum.terms))),
            bound: bound.map(|bound| objective.number(self.bound(objective, bound))),
        }));
    }

    /// What no value of an objective can pass: nothing that is to be few is less than none.
    fn bound(&self, objective: Objective, bound: Bound) -> i128 {
        let value = bound.value.saturating_add(self.constant(objective));
        match objective.sense() {
            Sense::Minimise => value.max(0),
            Sense::Maximise => value,
        }
    }

    /// The stages with the values of the last solution, which may be better than what a stage that
    /// was not proved had reached. Each bound holds all the same: what comes later only narrows.
    fn proof(&self) -> (Status, Vec<Stage>) {
        let mut status = Status::Optimal;
        let over_time = self.search.problem.is_over_time();
        let name = |o: Objective| if over_time { o.name_over_time() } else { o.name() };
        let stage = |reached: &Reached| {
            let constant = self.constant(reached.objective);
            let value = self.value(reached);
            // Shares that differ by less than a millionth look the same.
            let share = matches!(reached.value, Value::Share { .. });
            if status == Status::Optimal && share {
                status = reached.bound.status;
            }
            if status == Status::Optimal && value != reached.bound.value {
                status = match reached.bound.status {
                    // A later solution passes what was called the bound.
                    Status::Optimal => Status::SolverGap,
                    status => status,
                };
            }
            Stage {
                objective: name(reached.objective),
                value: reached.objective.number(value + constant),
                bound: reached.objective.number(self.bound(reached.objective, reached.bound)),
                seconds: reached.seconds,
                effort: reached.effort,
            }
        };
        let stages = self.reached.iter().map(stage).collect();
        (status, stages)
    }

    /// What must be added to the sum that was optimised for the value of the objective.
    fn constant(&self, objective: Objective) -> i128 {
        let (problem, formulation) = (self.search.problem, &self.search.formulation);
        match objective {
            // With the memory placed held, the least allocated is the least fragmentation.
            Objective::RoundingMib => -self.search.value_of(&formulation.placed_mib(problem)),
            Objective::InstancesDestroyed => formulation.destroyed(problem).1.into(),
            _ => 0,
        }
    }
}
