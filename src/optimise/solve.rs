//! Asks HiGHS for integer solutions, by way of good_lp. Beside `relaxation` the only file that knows
//! the solver.

use std::time::Instant;

use good_lp::solvers::highs::highs;
use good_lp::{Expression, SolverModel, constraint, variable, variables};
use highs::{HighsModelStatus, HighsSolutionStatus};

use super::model::{Answer, LinearObjective, Model, Terms};
use super::scale::Scale;
use crate::error::{Error, Result};
use crate::plan::goal::Sense;

/// How the solver is asked. The first way is the fast one; the others are for a model of which the
/// answer, rounded, does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Everything as it is.
    Usual,
    /// Tolerances a thousand times smaller.
    Tight,
    /// The same on the model as it is written, without presolve.
    WithoutPresolve,
    /// The same along another path.
    AnotherSeed(i32),
}

impl Care {
    /// In the order in which they are tried.
    pub(crate) const ALL: [Care; 6] = [
        Care::Usual,
        Care::Tight,
        Care::WithoutPresolve,
        Care::AnotherSeed(1),
        Care::AnotherSeed(2),
        Care::AnotherSeed(3),
    ];

    fn set(self, highs: &mut highs::Model) {
        if self == Care::Usual {
            return;
        }
        highs.set_option("mip_feasibility_tolerance", 1e-9);
        highs.set_option("primal_feasibility_tolerance", 1e-9);
        highs.set_option("dual_feasibility_tolerance", 1e-9);
        match self {
            Care::Usual | Care::Tight => {}
            Care::WithoutPresolve => highs.set_option("presolve", "off"),
            Care::AnotherSeed(seed) => {
                highs.set_option("presolve", "off");
                highs.set_option("random_seed", seed);
            }
        }
    }
}

/// Solves `model` for `objective`, starting from `start` where one is known, until `deadline`.
/// `None` where the solver calls the model infeasible, which none of ours is.
///
/// The answer's bound is exact for objectives of integers: the solver's own bound is within far
/// less than one unit of the truth, and is rounded to the next value that a solution can have.
///
/// # Errors
/// An internal error where the solver breaks down.
pub(crate) fn solve(
    model: &Model,
    objective: &LinearObjective,
    start: Option<&[i64]>,
    deadline: Option<Instant>,
    care: Care,
) -> Result<Option<Answer>> {
    let (mut highs, scale) = translate(model, objective)?;
    let unit = |column: usize| model.columns[column].unit as f64;
    highs.make_quiet();
    // One thread and the default seed: equal models give equal answers.
    highs.set_option("parallel", "off");
    highs.set_option("threads", 1);
    highs.set_option("mip_rel_gap", 0.0);
    // It looks for a first solution; every stage but the first starts with one.
    highs.set_option("mip_heuristic_run_feasibility_jump", false);
    // The objective takes integer values, so less than one unit between bound and value is proof.
    highs.set_option("mip_abs_gap", 0.4 / scale.power as f64);
    care.set(&mut highs);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        highs.set_option("time_limit", left.as_secs_f64());
    }
    if let Some(start) = start {
        let start: Vec<f64> = start.iter().enumerate().map(|(i, v)| *v as f64 / unit(i)).collect();
        highs.set_solution(Some(&start), None, None, None);
    }
    let solved =
        highs.try_solve().map_err(|e| Error::internal(format!("the solver failed: {e:?}")))?;
    let values = (solved.primal_solution_status() == HighsSolutionStatus::Feasible).then(|| {
        let solution = solved.get_solution();
        let columns = solution.columns().iter().enumerate();
        columns.map(|(i, v)| (v * unit(i)).round() as i64).collect::<Vec<i64>>()
    });
    let unknown = match objective.sense {
        Sense::Maximise => f64::INFINITY,
        Sense::Minimise => f64::NEG_INFINITY,
    };
    let bound = match solved.status() {
        HighsModelStatus::Optimal
        | HighsModelStatus::ReachedTimeLimit
        | HighsModelStatus::ReachedSolutionLimit
        | HighsModelStatus::ReachedInterrupt => {
            solved.double_info_value(c"mip_dual_bound").unwrap_or(unknown)
        }
        HighsModelStatus::Infeasible | HighsModelStatus::UnboundedOrInfeasible => return Ok(None),
        status => return Err(Error::internal(format!("the solver stopped with {status:?}"))),
    };
    let nodes = solved.int_info_value(c"mip_node_count").unwrap_or(0);
    Ok(Some(Answer {
        values,
        bound: scale.bound(bound, objective.sense),
        nodes: u64::try_from(nodes).unwrap_or(0),
    }))
}

/// The model as HiGHS takes it, and the scale of its objective.
fn translate(model: &Model, objective: &LinearObjective) -> Result<(highs::Model, Scale)> {
    let unit = |column: usize| model.columns[column].unit as f64;
    let mut columns = variables!();
    let handles: Vec<_> = model
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| {
            let definition = variable().min(c.lower as f64 / unit(i)).max(c.upper as f64 / unit(i));
            columns.add(if c.integer { definition.integer() } else { definition })
        })
        .collect();
    let sum = |terms: &Terms, scale: &Scale| -> Expression {
        let mut sum = Expression::with_capacity(terms.len());
        for (column, coefficient) in terms {
            sum.add_mul(scale.down(*coefficient) * unit(*column), handles[*column]);
        }
        sum
    };
    let scale = Scale::of(&objective.terms, model);
    let goal = sum(&objective.terms, &scale);
    let problem = match objective.sense {
        Sense::Maximise => columns.maximise(goal),
        Sense::Minimise => columns.minimise(goal),
    };
    let mut problem = problem.using(highs);
    for row in &model.rows {
        let row_scale = Scale::of(&row.terms, model);
        let terms = || sum(&row.terms, &row_scale);
        match (row.lower, row.upper) {
            (Some(lower), Some(upper)) if lower == upper => {
                problem.add_constraint(constraint!(terms() == row_scale.lower(lower)));
            }
            (lower, upper) => {
                if let Some(lower) = lower {
                    problem.add_constraint(constraint!(terms() >= row_scale.lower(lower)));
                }
                if let Some(upper) = upper {
                    problem.add_constraint(constraint!(terms() <= row_scale.upper(upper)));
                }
            }
        }
    }
    let highs = problem
        .try_into_inner()
        .map_err(|e| Error::internal(format!("the solver refused the model: {e}")))?;
    Ok((highs, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_bound() {
        let mut model = Model::default();
        model.integer(0, 1_000_000);
        model.integer(0, 1_000_000);
        model.at_most(vec![(0, 2), (1, 3)], 7);
        let objective = LinearObjective { sense: Sense::Maximise, terms: vec![(0, 2), (1, 2)] };
        let answer = solve(&model, &objective, None, None, Care::Usual).unwrap().unwrap();
        assert_eq!((answer.values, answer.bound), (Some(vec![3, 0]), 6));
        model.at_least(vec![(0, 1)], 4);
        assert!(solve(&model, &objective, None, None, Care::Tight).unwrap().is_none());
    }
}
