//! The linear relaxation of a model that grows from stage to stage: one instance of the solver,
//! which starts each time from where it was. A relaxation costs a fraction of an integer program,
//! bounds it, and, rounded step by step, often is its answer.
//!
//! # Tried, and lost, over hundreds of hours
//!
//! - A column for the instances of each kind, so that each hour names one column instead of all
//!   patterns: a quarter of the entries, and slower.
//! - The interior point method, with and without crossover: 6 s became 11 s.
//! - Asking the solver back by the clock: each time it begins anew, and 0.7 s became 19 s.

mod dive;
mod limits;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use highs::{Col, HighsModelStatus, RowProblem};

use limits::KnownSums;
pub(crate) use limits::{Limit, Node};

use super::processors::AFewProcessors;
use super::scale::{Margin, Scale, range};
use crate::error::{Error, Result};
use crate::optimise::ends::Ends;
use crate::optimise::model::{Column, ColumnBounds, LinearObjective, Model, Row, Terms};
use crate::plan::goal::Sense;

/// Closer to an integer than this is integer.
const INTEGRAL: f64 = 1e-6;

/// A column with more values than this is wide.
const WIDE: i64 = 64;

/// After so many simplex iterations the solver is asked back, so that someone can stop a large
/// relaxation: the bindings offer no other way. It begins anew each time, without what its presolve
/// found, so not often; and not by the clock, since the answer depends on where it began anew.
const ITERATIONS_AT_ONCE: i64 = 10_000;
/// With so many rows the solver goes on from the last answer by the primal simplex where the
/// objective is another: the answer still holds, and the dual simplex would give that up. (Two to ten
/// times as fast over hundreds of hours; smaller relaxations are soon done either way.)
const MANY_ROWS: usize = 5_000;
/// What HiGHS calls its choices of simplex.
const SIMPLEX_CHOOSE: i32 = 0;
const SIMPLEX_PRIMAL: i32 = 4;

/// A relaxation, kept in step with its model.
#[derive(Default)]
pub(crate) struct Relaxation {
    solver: Option<highs::Model>,
    /// Handles of the columns, and the bounds that the solver knows.
    columns: Vec<(Col, ColumnBounds)>,
    /// What one unit of each column costs in the objective that the solver knows.
    costs: Vec<f64>,
    /// How many rows the solver knows.
    rows: usize,
    /// What can be limited beside columns.
    sums: Vec<Terms>,
    /// Where the solver has the sums; a row of the model from there on comes after them.
    known_sums: Option<KnownSums>,
    /// What is limited beyond the bounds of the model.
    limits: Vec<Limit>,
    /// The last objective, with what its relaxation came to.
    last: Option<(LinearObjective, Answer)>,
    /// The last one within limits.
    limited: Option<Answer>,
    /// Relaxations solved so far.
    pub solved: u64,
    /// What ends the one that is being solved.
    ends: Ends,
    /// Simplex iterations of all of them.
    iterations: i64,
    /// How long the solver ran for all of them, which its time limit counts from.
    ran: Duration,
    /// The longest that it ran for one of them.
    longest: Duration,
    /// Whether the last relaxation has no solution.
    empty: bool,
    /// Whether the solver has an answer, and whether its objective was another one.
    answered: bool,
    other_objective: bool,
}

/// What the solver says, as it sees the columns.
struct Answer {
    value: f64,
    columns: Vec<f64>,
    /// The value of each sum, as far as the solver knows them.
    sums: Vec<f64>,
    /// What one unit more of each column would cost.
    reduced_costs: Vec<f64>,
    /// The same of each sum.
    sum_costs: Vec<f64>,
    /// What one unit more of each row's limit would be worth.
    row_prices: Vec<f64>,
}

impl Answer {
    /// Each column with what one unit more of it loses.
    fn losses(&self, sense: Sense) -> impl Iterator<Item = (f64, f64)> + '_ {
        let sign = -(sense.sign() as f64);
        self.columns.iter().zip(&self.reduced_costs).map(move |(at, cost)| (*at, sign * cost))
    }

    /// What the solver's tolerance leaves to be gained, as it sees the objective: columns that would
    /// gain on their way to a bound. With that the value is a bound by the prices of the rows, even
    /// where these are not the best ones.
    fn to_be_gained(&self, model: &Model, sense: Sense) -> f64 {
        let gains = model.columns.iter().zip(self.losses(sense)).map(|(bounds, (at, loss))| {
            let (lower, upper) = range(bounds);
            loss * (at - if loss > 0.0 { lower } else { upper })
        });
        gains.filter(|gain| *gain > 0.0).sum()
    }
}

/// What a relaxation came to.
#[derive(Debug, Clone)]
pub(crate) struct Relaxed {
    /// No solution passes this value of the objective.
    pub bound: i128,
    /// The same as the solver states it, which its tolerance may put a little beyond the truth.
    pub stated: i128,
    /// The value of every column in thousandths.
    pub thousandths: Vec<i64>,
    /// The value of every column, rounded, where each that must be integer is.
    pub integers: Option<Vec<i64>>,
}

impl Relaxation {
    /// A relaxation of which no solve goes on far beyond `ends`.
    pub(crate) fn until(ends: Ends) -> Relaxation {
        Relaxation { ends, ..Relaxation::default() }
    }

    /// The same with sums of columns that can be limited.
    pub(crate) fn with_sums(self, sums: Vec<Terms>) -> Relaxation {
        Relaxation { sums, ..self }
    }

    /// Lets no solve go on far beyond a time.
    pub(crate) fn end_at(&mut self, deadline: Option<Instant>) {
        self.ends.deadline = deadline;
    }

    /// Solves the relaxation of `model` for `objective`; `None` where the solver has no answer.
    ///
    /// # Errors
    /// An internal error where the solver breaks down.
    pub(crate) fn solve(
        &mut self,
        model: &Model,
        objective: &LinearObjective,
    ) -> Result<Option<Relaxed>> {
        self.keep_in_step(model)?;
        let scale = self.set_objective(model, objective);
        self.last = None;
        let Some(answer) = self.run()? else { return Ok(None) };
        let sign = objective.sense.sign() as f64;
        let most = answer.value + sign * answer.to_be_gained(model, objective.sense);
        let bound = scale.bound(most, Margin::LP_BY_PRICES, objective.sense);
        let relaxed = Relaxed::of(&answer, model, objective, &scale, bound);
        self.last = Some((objective.clone(), answer));
        Ok(Some(relaxed))
    }

    /// Whether it has so many rows that it takes long.
    pub(crate) fn is_large(&self) -> bool {
        self.rows >= MANY_ROWS
    }

    /// Whether it is large and has taken longer than is left until `deadline`: the solver, which
    /// begins with a relaxation of its own, would not come to anything by then.
    pub(crate) fn is_longer_than(&self, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        self.is_large() && left.is_some_and(|left| left < self.longest)
    }

    /// After [`Relaxation::solve`] for the same objective: the best solution with whole numbers near
    /// those of the relaxation in some columns; `None` where other columns that must be integer are
    /// not. The columns come in groups, each of which keeps its sum, rounded down.
    ///
    /// # Errors
    /// As [`Relaxation::solve`].
    pub(crate) fn rounded(
        &mut self,
        model: &Model,
        groups: &[Vec<Column>],
    ) -> Result<Option<Vec<i64>>> {
        let Some((_, answer)) = &self.last else { return Ok(None) };
        let down = |column: Column| (answer.columns[column] + INTEGRAL).floor();
        let rest = |column: Column| answer.columns[column] - down(column);
        let mut whole: Vec<(Column, f64)> = Vec::new();
        for group in groups {
            let up = (group.iter().map(|c| rest(*c)).sum::<f64>() + INTEGRAL).floor();
            let mut by_rest = group.clone();
            by_rest.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)).then(a.cmp(b)));
            let value = |(at, c): (usize, &Column)| (*c, down(*c) + f64::from((at as f64) < up));
            whole.extend(by_rest.iter().enumerate().map(value));
        }
        for (column, value) in &whole {
            self.set_bounds(*column, *value, *value);
        }
        let solved = self.run()?;
        for (column, _) in whole {
            self.unfix(column);
        }
        Ok(solved.and_then(|answer| integers(model, &answer.columns)))
    }

    /// The ranges that integer columns keep in every solution whose objective reaches `value`, by
    /// their reduced costs in the last relaxation of that objective: a column at a bound may go as
    /// far as the relaxation has to give. Only the columns that lose a part of their range; nothing
    /// where the last relaxation was of another objective.
    pub(crate) fn narrowed_by(
        &self,
        model: &Model,
        objective: &LinearObjective,
        value: i128,
    ) -> Vec<(usize, i64, i64)> {
        let Some(answer) = self.last_of(objective) else { return Vec::new() };
        let scale = Scale::of(&objective.terms, model);
        let to_give = (answer.value - scale.value(value)).abs()
            + answer.to_be_gained(model, objective.sense)
            + scale.value_of_a_tenth();
        let mut narrowed = Vec::new();
        for (column, (bounds, (at, cost))) in
            model.columns.iter().zip(answer.losses(objective.sense)).enumerate()
        {
            let (lower, upper) = (bounds.lower, bounds.upper);
            if !bounds.integer || lower == upper || cost.abs() < INTEGRAL {
                continue;
            }
            let range = (to_give / cost.abs()).floor();
            if range >= (upper - lower) as f64 {
                continue;
            }
            if cost > 0.0 && (at - lower as f64).abs() < INTEGRAL {
                narrowed.push((column, lower, lower + range as i64));
            } else if cost < 0.0 && (at - upper as f64).abs() < INTEGRAL {
                narrowed.push((column, upper - range as i64, upper));
            }
        }
        narrowed
    }

    /// What the objective may lose so that a column, at the median of the reduced costs in the last
    /// relaxation of that objective, moves by so many steps; `None` where there was none.
    pub(crate) fn loss_of_steps(
        &self,
        model: &Model,
        objective: &LinearObjective,
        steps: f64,
    ) -> Option<i128> {
        let answer = self.last_of(objective)?;
        let costs = model.columns.iter().zip(&answer.reduced_costs);
        let mut costs: Vec<f64> = costs
            .filter(|(bounds, cost)| bounds.integer && cost.abs() > INTEGRAL)
            .map(|(_, cost)| cost.abs())
            .collect();
        costs.sort_by(f64::total_cmp);
        let scale = Scale::of(&objective.terms, model);
        let median = costs.get(costs.len() / 2).map_or(0.0, |cost| steps * cost * scale.unit());
        Some((median as i128).max(scale.step()))
    }

    /// Whether columns are wide that a step costs something, which takes the solver long.
    pub(crate) fn has_wide_columns(&self, model: &Model, objective: &LinearObjective) -> bool {
        let Some(answer) = self.last_of(objective) else { return false };
        let mut columns = model.columns.iter().zip(&answer.reduced_costs);
        columns.any(|(c, cost)| c.integer && is_wide(c) && cost.abs() > INTEGRAL)
    }

    /// The last relaxation, if it was of this objective.
    fn last_of(&self, objective: &LinearObjective) -> Option<&Answer> {
        let (last, answer) = self.last.as_ref()?;
        (last.sense == objective.sense && last.terms == objective.terms).then_some(answer)
    }

    /// Tells the solver what is new in the model since the last time.
    fn keep_in_step(&mut self, model: &Model) -> Result<()> {
        if self.solver.is_none() || self.columns.len() != model.columns.len() {
            // New columns may stand in old rows, so everything is told again. That is rare.
            return self.build(model);
        }
        for column in 0..self.columns.len() {
            let bounds = model.columns[column];
            let known = self.columns[column].1;
            if (known.lower, known.upper) != (bounds.lower, bounds.upper) {
                self.columns[column].1 = bounds;
                self.unfix(column);
            }
        }
        let Some(solver) = &mut self.solver else { return Ok(()) };
        for row in &model.rows[self.rows..] {
            let (bounds, terms) = scaled(row, model, &self.columns);
            solver
                .try_add_row(bounds, terms)
                .map_err(|e| Error::internal(format!("the solver refused a row: {e:?}")))?;
        }
        self.rows = model.rows.len();
        Ok(())
    }

    fn build(&mut self, model: &Model) -> Result<()> {
        let mut problem = RowProblem::default();
        self.columns = model
            .columns
            .iter()
            .map(|c| {
                let (lower, upper) = range(c);
                (problem.add_column(0.0, lower..=upper), *c)
            })
            .collect();
        for row in &model.rows {
            let (bounds, terms) = scaled(row, model, &self.columns);
            problem.add_row(bounds, terms);
        }
        let mut solver = problem
            .try_optimise(highs::Sense::Maximise)
            .map_err(|e| Error::internal(format!("the solver refused the model: {e:?}")))?;
        solver.make_quiet();
        solver.set_option("parallel", "off");
        solver.set_option("threads", 1);
        solver.set_option("solver", "simplex");
        self.costs = vec![0.0; self.columns.len()];
        self.rows = model.rows.len();
        // A new solver has not run yet.
        (self.iterations, self.ran, self.answered) = (0, Duration::ZERO, false);
        (self.known_sums, self.limits) = (None, Vec::new());
        self.solver = Some(solver);
        Ok(())
    }

    fn set_bounds(&mut self, column: usize, lower: f64, upper: f64) {
        if let Some(solver) = &mut self.solver {
            solver.change_column_bounds(self.columns[column].0, lower..=upper);
        }
    }

    /// Gives a column the bounds again that it has in the model.
    fn unfix(&mut self, column: Column) {
        let (lower, upper) = range(&self.columns[column].1);
        self.set_bounds(column, lower, upper);
    }

    fn set_objective(&mut self, model: &Model, objective: &LinearObjective) -> Scale {
        let scale = Scale::of(&objective.terms, model);
        let mut costs = vec![0.0; self.columns.len()];
        for (column, coefficient) in &objective.terms {
            costs[*column] += scale.down(*coefficient) * model.columns[*column].unit as f64;
        }
        if let Some(solver) = &mut self.solver {
            solver.set_sense(match objective.sense {
                Sense::Maximise => highs::Sense::Maximise,
                Sense::Minimise => highs::Sense::Minimise,
            });
            // A call takes longer than many a step of the solver, and often few costs change.
            let known = self.costs.iter_mut().zip(costs);
            for ((column, _), (known, cost)) in self.columns.iter().zip(known) {
                if *known != cost {
                    *known = cost;
                    self.other_objective = true;
                    solver.change_column_cost(*column, cost);
                }
            }
        }
        scale
    }

    /// Runs the solver; `None` where it has no best answer.
    fn run(&mut self) -> Result<Option<Answer>> {
        let Some(mut solver) = self.solver.take() else { return Ok(None) };
        let _few = AFewProcessors::new();
        self.solved += 1;
        let mut at_once = ITERATIONS_AT_ONCE;
        let goes_on = std::mem::take(&mut self.other_objective) && self.answered;
        let primal = goes_on && self.is_large();
        solver.set_option("simplex_strategy", if primal { SIMPLEX_PRIMAL } else { SIMPLEX_CHOOSE });
        let left = self.ends.deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let until = left.map_or(f64::INFINITY, |left| (self.ran + left).as_secs_f64());
        solver.set_option("time_limit", until);
        let before = self.ran;
        let solved = loop {
            let start = Instant::now();
            // The solver counts the iterations of all relaxations.
            let most = self.iterations.saturating_add(at_once);
            let most = i32::try_from(most).unwrap_or(i32::MAX);
            solver.set_option("simplex_iteration_limit", most);
            let solved = solver
                .try_solve()
                .map_err(|e| Error::internal(format!("the solver failed: {e:?}")))?;
            self.iterations = solved.simplex_iteration_count();
            self.ran += start.elapsed();
            let unfinished = solved.status() == HighsModelStatus::ReachedIterationLimit;
            if !unfinished || most == i32::MAX || self.ends.now() {
                break solved;
            }
            solver = solved.into();
            at_once = at_once.saturating_mul(2);
        };
        let own = self.columns.len();
        let answer = (solved.status() == HighsModelStatus::Optimal).then(|| {
            let solution = solved.get_solution();
            let (columns, sums) = solution.columns().split_at(own);
            let mut row_prices = solution.dual_rows().to_vec();
            if let Some(known) = &self.known_sums {
                row_prices.drain(known.rows_before..known.rows_before + known.columns.len());
            }
            Answer {
                value: solved.objective_value(),
                columns: columns.to_vec(),
                sums: sums.to_vec(),
                reduced_costs: solution.dual_columns()[..own].to_vec(),
                sum_costs: solution.dual_columns()[own..].to_vec(),
                row_prices,
            }
        });
        self.empty = matches!(
            solved.status(),
            HighsModelStatus::Infeasible | HighsModelStatus::UnboundedOrInfeasible
        );
        self.longest = self.longest.max(self.ran - before);
        self.answered = answer.is_some();
        self.solver = Some(solved.into());
        Ok(answer)
    }
}

impl Relaxed {
    fn of(
        answer: &Answer,
        model: &Model,
        objective: &LinearObjective,
        scale: &Scale,
        bound: i128,
    ) -> Relaxed {
        let columns = model.columns.iter().zip(&answer.columns);
        let in_units = columns.map(|(c, v)| v * c.unit as f64);
        Relaxed {
            bound,
            stated: scale.bound(answer.value, Margin::LP_AS_STATED, objective.sense),
            thousandths: in_units.map(|v| (v * 1000.0).round() as i64).collect(),
            integers: integers(model, &answer.columns),
        }
    }
}

/// A row as the solver sees it: its bounds, and its coefficients in the units of the columns.
fn scaled(
    row: &Row,
    model: &Model,
    columns: &[(Col, ColumnBounds)],
) -> (RangeInclusive<f64>, Vec<(Col, f64)>) {
    let scale = Scale::of(&row.terms, model);
    let term =
        |(c, a): &(Column, i64)| (columns[*c].0, scale.down(*a) * model.columns[*c].unit as f64);
    let lower = row.lower.map_or(f64::NEG_INFINITY, |lower| scale.lower(lower));
    let upper = row.upper.map_or(f64::INFINITY, |upper| scale.upper(upper));
    (lower..=upper, row.terms.iter().map(term).collect())
}

/// Whether a column has so many values that narrowing it is worth while.
pub(crate) fn is_wide(column: &ColumnBounds) -> bool {
    column.upper - column.lower > WIDE
}

/// The value of every column, rounded, where each that must be integer is.
fn integers(model: &Model, values: &[f64]) -> Option<Vec<i64>> {
    let columns = model.columns.iter().zip(values);
    let rounded = columns.map(|(c, v)| (v * c.unit as f64).round() as i64);
    fractional(model, values).next().is_none().then(|| rounded.collect())
}

/// The columns that must be integer and are not, with their distance from an integer.
fn fractional<'a>(model: &'a Model, values: &'a [f64]) -> impl Iterator<Item = (f64, usize)> + 'a {
    let columns = model.columns.iter().zip(values).enumerate();
    columns.filter(|(_, (c, _))| c.integer).filter_map(|(i, (_, v))| {
        let distance = (v - v.round()).abs();
        (distance > INTEGRAL).then_some((distance, i))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(sense: Sense, terms: &[(usize, i64)]) -> LinearObjective {
        LinearObjective { sense, terms: terms.to_vec() }
    }

    #[test]
    fn it_keeps_in_step_with_its_model() {
        let mut model = Model::default();
        let (x, y) = (model.integer(0, 10), model.integer(0, 10));
        model.at_most(vec![(x, 2), (y, 3)], 7);
        let both = objective(Sense::Maximise, &[(x, 2), (y, 2)]);
        let mut relaxation = Relaxation::default();
        let relaxed = relaxation.solve(&model, &both).unwrap().unwrap();
        // At most 7, and a sum of even terms is even.
        assert_eq!((relaxed.bound, relaxed.thousandths), (6, vec![3_500, 0]));
        model.columns[x].upper = 2;
        let relaxed = relaxation.solve(&model, &both).unwrap().unwrap();
        assert_eq!((relaxed.bound, relaxed.integers), (6, Some(vec![2, 1])));
        model.at_most(vec![(y, 1)], 0);
        assert_eq!(relaxation.solve(&model, &both).unwrap().unwrap().bound, 4);
        let z = model.integer(0, 3);
        let fewest = objective(Sense::Minimise, &[(x, 1), (z, 1)]);
        model.at_least(vec![(x, 1), (z, 1)], 2);
        assert_eq!(relaxation.solve(&model, &fewest).unwrap().unwrap().bound, 2);
        model.at_least(vec![(z, 1)], 4);
        assert!(relaxation.solve(&model, &fewest).unwrap().is_none());
    }

    #[test]
    fn layouts_are_rounded_and_the_rest_is_the_best_for_them() {
        let mut model = Model::default();
        let (x, y, served) = (model.integer(0, 3), model.integer(0, 3), model.integer(0, 9));
        model.at_most(vec![(x, 1), (y, 1)], 3);
        model.at_most(vec![(x, 1), (y, 3)], 6);
        model.at_most(vec![(served, 1), (x, -1), (y, -2)], 0);
        let most = objective(Sense::Maximise, &[(served, 1)]);
        let mut relaxation = Relaxation::default();
        assert_eq!(relaxation.rounded(&model, &[vec![x, y]]).unwrap(), None);
        let relaxed = relaxation.solve(&model, &most).unwrap().unwrap();
        assert_eq!(relaxed.thousandths, [1_500, 1_500, 4_500]);
        let rounded = relaxation.rounded(&model, &[vec![x, y]]).unwrap();
        assert_eq!(rounded, Some(vec![2, 1, 4]));
        // By itself each column is rounded down.
        let apart = relaxation.rounded(&model, &[vec![x], vec![y]]).unwrap();
        assert_eq!(apart, Some(vec![1, 1, 3]));
        // The bounds are the model's again.
        let again = relaxation.solve(&model, &most).unwrap().unwrap();
        assert_eq!(again.thousandths, relaxed.thousandths);
    }

    #[test]
    fn columns_keep_what_the_relaxation_has_to_give() {
        let mut model = Model::default();
        let (x, y) = (model.integer(0, 1000), model.integer(0, 1000));
        model.at_most(vec![(x, 1), (y, 1)], 50);
        let best = objective(Sense::Maximise, &[(x, 5), (y, 3)]);
        let mut relaxation = Relaxation::default();
        // One of y costs 2.
        assert_eq!(relaxation.solve(&model, &best).unwrap().unwrap().bound, 250);
        assert_eq!(relaxation.narrowed_by(&model, &best, 245), [(y, 0, 2)]);
        assert_eq!(relaxation.narrowed_by(&model, &best, 250), [(y, 0, 0)]);
        assert!(relaxation.narrowed_by(&model, &best, -3_000).is_empty());
        assert!(relaxation.has_wide_columns(&model, &best));
        assert_eq!(relaxation.loss_of_steps(&model, &best, 8.0), Some(16));
        let other = objective(Sense::Maximise, &[(x, 1)]);
        assert!(relaxation.narrowed_by(&model, &other, 0).is_empty());
        assert_eq!(relaxation.loss_of_steps(&model, &other, 8.0), None);
        let fewest = objective(Sense::Minimise, &[(x, 2), (y, 3)]);
        model.at_least(vec![(x, 1), (y, 1)], 7);
        assert_eq!(relaxation.solve(&model, &fewest).unwrap().unwrap().bound, 14);
        assert_eq!(relaxation.narrowed_by(&model, &fewest, 17), [(y, 0, 3)]);
        assert_eq!(relaxation.narrowed_by(&model, &fewest, 14), [(y, 0, 0)]);
        assert!(relaxation.has_wide_columns(&model, &fewest));
        model.columns[y].upper = 60;
        assert!(!relaxation.has_wide_columns(&model, &fewest));
    }
}
