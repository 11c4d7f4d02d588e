//! Calls HiGHS, by way of good_lp. The only file that knows a solver, and the only one with floats.

use std::time::Instant;

use good_lp::solvers::highs::highs;
use good_lp::{Expression, SolverModel, constraint, variable, variables};
use highs::{HighsModelStatus, HighsSolutionStatus};

use super::model::{Answer, Model, Objective, Sense, Terms, dot};
use crate::error::{Error, Result};

/// HiGHS works to 1e-6, so the coefficients it sees are kept below this.
const LARGEST_COEFFICIENT: i64 = 1024;

/// By what a sum is divided before HiGHS sees it: what its coefficients have in common, times a
/// power of two that keeps them small. Both are exact, and one unit stays far above the solver's
/// tolerance.
struct Scale {
    common: i64,
    power: i64,
}

impl Scale {
    fn of(terms: &Terms, model: &Model) -> Scale {
        let seen = |(c, a): &(usize, i64)| a.saturating_mul(model.columns[*c].unit).abs();
        let common = terms.iter().map(|(_, a)| a.abs()).fold(0, gcd).max(1);
        let largest = terms.iter().map(seen).max().unwrap_or(0) / common;
        let mut power = 1;
        while largest / power > LARGEST_COEFFICIENT {
            power *= 2;
        }
        Scale { common, power }
    }

    /// A coefficient, which is a multiple of what is common.
    fn down(&self, value: i64) -> f64 {
        (value / self.common) as f64 / self.power as f64
    }

    /// A lower limit, raised to the next value that the sum can take.
    fn lower(&self, limit: i64) -> f64 {
        -self.upper(-limit)
    }

    /// An upper limit, lowered to the next value that the sum can take.
    fn upper(&self, limit: i64) -> f64 {
        limit.div_euclid(self.common) as f64 / self.power as f64
    }
}

impl Scale {
    /// What a bound that the solver states for the scaled objective means for the objective.
    fn bound(&self, stated: f64, sense: Sense) -> i128 {
        integer_bound(stated * self.power as f64, sense) * i128::from(self.common)
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What the model's linear relaxation allows the objective at most (or at least): a bound that
/// costs a fraction of a solve and is often enough to prove a solution that is already there.
///
/// # Errors
/// As [`solve`].
pub(crate) fn relaxed_bound(model: &Model, objective: &Objective) -> Result<i128> {
    let (mut highs, scale) = translate(model, objective, true)?;
    highs.make_quiet();
    let solved =
        highs.try_solve().map_err(|e| Error::internal(format!("the solver failed: {e:?}")))?;
    if solved.status() != HighsModelStatus::Optimal {
        return Ok(integer_bound(f64::NAN, objective.sense));
    }
    Ok(scale.bound(solved.objective_value(), objective.sense))
}

/// Solves `model` for `objective`, starting from `start` where one is known, until `deadline`.
///
/// The answer's bound is exact for objectives of integers: the solver's own bound is within far
/// less than one unit of the truth, and is rounded to the next value that a solution can have.
///
/// # Errors
/// An internal error where the solver calls a model infeasible or returns what does not satisfy it.
pub(crate) fn solve(
    model: &Model,
    objective: &Objective,
    start: Option<&[i64]>,
    deadline: Option<Instant>,
) -> Result<Answer> {
    let (mut highs, scale) = translate(model, objective, false)?;
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
    let values = if solved.primal_solution_status() == HighsSolutionStatus::Feasible {
        let solution = solved.get_solution();
        let values: Vec<i64> = solution
            .columns()
            .iter()
            .enumerate()
            .map(|(i, v)| (v * unit(i)).round() as i64)
            .collect();
        Some(values)
    } else {
        None
    };
    let bound = match solved.status() {
        HighsModelStatus::Optimal
        | HighsModelStatus::ReachedTimeLimit
        | HighsModelStatus::ReachedSolutionLimit
        | HighsModelStatus::ReachedInterrupt => {
            let bound =
                solved.double_info_value(c"mip_dual_bound").unwrap_or(match objective.sense {
                    Sense::Maximise => f64::INFINITY,
                    Sense::Minimise => f64::NEG_INFINITY,
                });
            scale.bound(bound, objective.sense)
        }
        HighsModelStatus::Infeasible | HighsModelStatus::UnboundedOrInfeasible => {
            return Err(Error::internal("the solver finds no solution where one exists"));
        }
        status => return Err(Error::internal(format!("the solver stopped with {status:?}"))),
    };
    let bound = match &values {
        // Rounding may not let a bound contradict a solution that is there.
        Some(values) => match objective.sense {
            Sense::Maximise => bound.max(dot(&objective.terms, values)),
            Sense::Minimise => bound.min(dot(&objective.terms, values)),
        },
        None => bound,
    };
    Ok(Answer { values, bound })
}

/// The model as HiGHS takes it, and the scale of its objective.
fn translate(model: &Model, objective: &Objective, relaxed: bool) -> Result<(highs::Model, Scale)> {
    let unit = |column: usize| model.columns[column].unit as f64;
    let mut columns = variables!();
    let handles: Vec<_> = model
        .columns
        .iter()
        .enumerate()
        .map(|(i, c)| {
            let definition = variable().min(c.lower as f64 / unit(i)).max(c.upper as f64 / unit(i));
            columns.add(if c.integer && !relaxed { definition.integer() } else { definition })
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

/// The best integer that a bound allows, forgiving the solver 0.4 of a unit.
fn integer_bound(bound: f64, sense: Sense) -> i128 {
    match sense {
        Sense::Maximise if bound.is_finite() => (bound + 0.4).floor() as i128,
        Sense::Minimise if bound.is_finite() => (bound - 0.4).ceil() as i128,
        // Small enough that what the coefficients have in common can be multiplied back in.
        Sense::Maximise => i128::MAX / (1 << 64),
        Sense::Minimise => i128::MIN / (1 << 64),
    }
}
