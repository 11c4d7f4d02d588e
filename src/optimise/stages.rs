//! The stages of the goal, one after the other: each is solved and proved with all earlier ones
//! held at their values.

use std::time::Instant;

use super::formulation::Formulation;
use super::model::{LinearObjective, Terms};
use super::options::PlanOptions;
use super::problem::Problem;
use super::search::{Search, explain_time_limit};
use crate::error::Result;
use crate::plan::Spare;
use crate::plan::goal::{self, Objective};
use crate::plan::{Proof, Stage, Status};

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
        stages: Vec::new(),
        status: Status::Optimal,
        placed: Terms::new(),
    };
    stages.run(options).map_err(|e| explain_time_limit(e, options.time_limit))?;
    let (status, proved) = (stages.status, stages.stages);
    let (formulation, values) = stages.search.into_solution()?;
    Ok(Solution {
        formulation,
        values,
        proof: Proof { status, stages: proved, solve_seconds: start.elapsed().as_secs_f64() },
        keeps_spare: options.spare != Spare::None,
        allow_disruption: options.allow_disruption,
    })
}

struct Stages<'p> {
    search: Search<'p>,
    stages: Vec<Stage>,
    /// The first reason why a stage is not proved.
    status: Status,
    /// The memory placed.
    placed: Terms,
}

impl Stages<'_> {
    fn run(&mut self, options: &PlanOptions) -> Result<()> {
        let problem = self.search.problem;
        self.placed = self.search.formulation.placed_mib(problem);
        let scope = problem.scope(options);
        if scope.priorities.len() > 1 {
            // Often everything fits; then one solve settles every priority.
            let all = self.search.formulation.placed();
            self.search.optimise(&all)?;
        }
        for objective in goal::objectives(&scope) {
            self.stage(objective)?;
            match objective {
                Objective::PlacedMib => self.search.narrow_served()?,
                // What the shares leave over becomes instances too: an instance can be used, bare
                // slices cannot.
                Objective::SpareMix if !self.search.out_of_time() => {
                    let made = self.search.formulation.made_mib(problem);
                    self.search.optimise(&made)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Optimises one objective, records the stage, and holds it from here on.
    fn stage(&mut self, objective: Objective) -> Result<()> {
        let start = Instant::now();
        let problem = self.search.problem;
        let search = &mut self.search;
        let values = search.values().to_vec();
        let new = search.formulation.prepare(problem, objective, &values);
        search.extend_values(new);
        let placed_mib = search.value_of(&self.placed);
        let (sum, constant) = search.formulation.objective(problem, objective, placed_mib);
        let bound = search.optimise(&sum)?;
        let value = search.value_of(&sum.terms);
        self.stages.push(Stage {
            objective: objective.name(),
            value: objective.number(value + constant),
            bound: objective.number(bound.value.saturating_add(constant)),
            seconds: start.elapsed().as_secs_f64(),
            effort: search.take_effort(),
        });
        if self.status == Status::Optimal {
            self.status = bound.status;
        }
        self.hold(sum, bound.status == Status::Optimal)
    }

    fn hold(&mut self, sum: LinearObjective, proved: bool) -> Result<()> {
        self.search.hold(sum, proved)
    }
}
