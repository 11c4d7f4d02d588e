//! The stages of the goal, one after the other: each is solved and proved with all earlier ones
//! held at their values.

use std::time::Instant;

use super::formulation::Formulation;
use super::model::LinearObjective;
use super::options::{PlanOptions, Progress, StageProgress};
use super::problem::Problem;
use super::search::{Bound, Search, explain_time_limit};
use crate::error::Result;
use crate::plan::Spare;
use crate::plan::goal::{self, Objective};
use crate::plan::{Effort, Proof, Stage, Status};

/// The counts that the stages settled on.
#[derive(Debug, Clone)]
pub(crate) struct Solution {
    /// The program, for the meaning of the columns.
    pub formulation: Formulation,
    /// The value of every column.
    pub values: Vec<i64>,
    /// What was proved.
    pub proof: Proof,
    /// Whether free instances are made.
    pub keeps_spare: bool,
    /// Whether busy instances may go.
    pub allow_disruption: bool,
}

/// Runs the stages.
///
/// # Errors
/// No solution within the time limit (exit 5), or a solver that contradicts itself (exit 1).
pub(crate) fn run(problem: &Problem, options: &PlanOptions) -> Result<Solution> {
    let start = Instant::now();
    let mut stages = Stages {
        search: Search::new(problem, options, start),
        reached: Vec::new(),
        progress: options.progress.clone(),
    };
    stages.run(options).map_err(|e| explain_time_limit(e, options.time_limit))?;
    let (status, proved) = stages.proof();
    let (formulation, values) = stages.search.into_solution()?;
    Ok(Solution {
        formulation,
        values,
        proof: Proof { status, stages: proved, solve_seconds: start.elapsed().as_secs_f64() },
        keeps_spare: options.spare != Spare::None,
        allow_disruption: options.allow_disruption,
    })
}

/// A stage that was solved.
struct Reached {
    objective: Objective,
    sum: LinearObjective,
    bound: Bound,
    seconds: f64,
    effort: Effort,
}

struct Stages<'p> {
    search: Search<'p>,
    reached: Vec<Reached>,
    progress: Option<Progress>,
}

impl Stages<'_> {
    fn run(&mut self, options: &PlanOptions) -> Result<()> {
        let problem = self.search.problem;
        let scope = problem.scope(options);
        if scope.priorities.len() > 1 {
            // Often everything fits; then one solve settles every priority.
            let all = self.search.formulation.placed();
            self.search.reach_limit(&all)?;
        }
        for objective in goal::objectives(&scope) {
            self.stage(objective)?;
            match objective {
                Objective::PlacedMib => self.search.narrow_served()?,
                // What the shares leave over becomes instances too: an instance can be used, bare
                // slices cannot.
                Objective::SpareMix if !self.search.is_over() => {
                    let made = self.search.formulation.made_mib(problem);
                    self.search.optimise(&made)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Optimises one objective and holds what it reached from here on.
    fn stage(&mut self, objective: Objective) -> Result<()> {
        let start = Instant::now();
        let problem = self.search.problem;
        let search = &mut self.search;
        let values = search.values().to_vec();
        let new = search.formulation.prepare(problem, objective, &values);
        search.extend_values(new);
        let sum = search.formulation.objective(problem, objective);
        self.tell(objective, &sum, None);
        let bound = self.search.optimise(&sum)?;
        self.tell(objective, &sum, Some(bound));
        let search = &mut self.search;
        search.hold(sum.clone())?;
        let effort = search.take_effort();
        let seconds = start.elapsed().as_secs_f64();
        self.reached.push(Reached { objective, sum, bound, seconds, effort });
        Ok(())
    }

    /// Tells how far a stage is.
    fn tell(&self, objective: Objective, sum: &LinearObjective, bound: Option<Bound>) {
        let Some(progress) = &self.progress else { return };
        let constant = self.constant(objective);
        let number = |value: i128| objective.number(value.saturating_add(constant));
        let known = !self.search.values().is_empty();
        progress.tell(StageProgress {
            objective,
            value: known.then(|| number(self.search.value_of(&sum.terms))),
            bound: bound.map(|bound| number(bound.value)),
        });
    }

    /// The stages with the values of the last solution, which may be better than what a stage that
    /// was not proved had reached. Each bound holds all the same: what comes later only narrows.
    fn proof(&self) -> (Status, Vec<Stage>) {
        let mut status = Status::Optimal;
        let over_time = self.search.problem.is_over_time();
        let name = |o: Objective| if over_time { o.name_over_time() } else { o.name() };
        let stage = |reached: &Reached| {
            let constant = self.constant(reached.objective);
            let value = self.search.value_of(&reached.sum.terms);
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
                bound: reached.objective.number(reached.bound.value.saturating_add(constant)),
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
