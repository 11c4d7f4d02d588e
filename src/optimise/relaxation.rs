//! The linear relaxation of a model that grows from stage to stage: one instance of the solver,
//! which starts each time from where it was. A relaxation costs a fraction of an integer program,
//! bounds it, and, rounded step by step, often is its answer.
//!
//! Beside `solve` the only file that knows a solver and floats; what leaves it is exact, or is put
//! into the model in integers by whoever asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use highs::{Col, HighsModelStatus, RowProblem};

use super::model::{ColumnBounds, LinearObjective, Model, Row};
use super::scale::Scale;
use crate::error::{Error, Result};
use crate::plan::goal::Sense;

/// Closer to an integer than this is integer.
const INTEGRAL: f64 = 1e-6;

/// So many relaxations a dive may take.
const MOST_STEPS: usize = 60;

/// After so many simplex iterations the solver is asked back, so that a large relaxation can be
/// ended: the bindings offer no other way.
const ITERATIONS_AT_ONCE: i64 = 10_000;

/// When a search ends before it is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// At this time.
    pub deadline: Option<Instant>,
    /// Once it is true.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Ends {
    /// Whether someone has ended the search.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Whether the search must end.
    pub(crate) fn now(&self) -> bool {
        self.stopped() || self.deadline.is_some_and(|d| Instant::now() >= d)
    }
}

/// A relaxation, kept in step with its model.
#[derive(Default)]
pub(crate) struct Relaxation {
    solver: Option<highs::Model>,
    /// Handles of the columns, and the bounds that the solver knows.
    columns: Vec<(Col, ColumnBounds)>,
    /// How many rows the solver knows.
    rows: usize,
    /// The last objective, with what its relaxation came to.
    last: Option<(LinearObjective, Answer)>,
    /// Relaxations solved so far.
    pub solved: u64,
    /// What ends the one that is being solved.
    ends: Ends,
    /// Simplex iterations of all of them.
    iterations: i64,
}

/// What the solver says, as it sees the columns.
struct Answer {
    value: f64,
    columns: Vec<f64>,
    /// What one unit more of each column would cost.
    reduced_costs: Vec<f64>,
    /// What one unit more of each row's limit would be worth.
    row_prices: Vec<f64>,
}

/// What a relaxation came to.
#[derive(Debug, Clone)]
pub(crate) struct Relaxed {
    /// No solution passes this value of the objective.
    pub bound: i128,
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

    /// Solves the relaxation of `model` for `objective`; `None` where the solver has no answer.
    ///
    /// # Errors
    /// Lets no solve go on far beyond a time.
    pub(crate) fn end_at(&mut self, deadline: Option<Instant>) {
        self.ends.deadline = deadline;
    }

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
        let unit = |column: usize| model.columns[column].unit as f64;
        let in_units: Vec<f64> =
            answer.columns.iter().enumerate().map(|(c, v)| v * unit(c)).collect();
        let relaxed = Relaxed {
            bound: scale.bound(answer.value, objective.sense),
            thousandths: in_units.iter().map(|v| (v * 1000.0).round() as i64).collect(),
            integers: fractional(model, &answer.columns)
                .next()
                .is_none()
                .then(|| in_units.iter().map(|v| v.round() as i64).collect()),
        };
        self.last = Some((objective.clone(), answer));
        Ok(Some(relaxed))
    }

    /// After [`Relaxation::solve`] for the same objective: looks for an integer solution that
    /// reaches `target`, by fixing columns near an integer and solving again. The answer is rounded
    /// and may not hold.
    ///
    /// # Errors
    /// As [`Relaxation::solve`].
    pub(crate) fn dive(
        &mut self,
        model: &Model,
        objective: &LinearObjective,
        target: i128,
    ) -> Result<Option<Vec<i64>>> {
        let scale = Scale::of(&objective.terms, model);
        let mut fixed: Vec<usize> = Vec::new();
        let mut found = None;
        for _ in 0..MOST_STEPS {
            let Some(Answer { value, columns: values, .. }) = self.run()? else { break };
            let bound = scale.bound(value, objective.sense);
            let short = match objective.sense {
                Sense::Maximise => bound < target,
                Sense::Minimise => bound > target,
            };
            if short {
                break;
            }
            let mut open: Vec<(f64, usize)> = fractional(model, &values).collect();
            if open.is_empty() {
                let columns = model.columns.iter().zip(&values);
                found = Some(columns.map(|(c, v)| (v * c.unit as f64).round() as i64).collect());
                break;
            }
            open.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (_, column) in open.iter().take(1 + open.len() / 4) {
                self.set_bounds(*column, values[*column].round(), values[*column].round());
                fixed.push(*column);
            }
        }
        for column in fixed {
            let (_, bounds) = self.columns[column];
            let unit = bounds.unit as f64;
            self.set_bounds(column, bounds.lower as f64 / unit, bounds.upper as f64 / unit);
        }
        Ok(found)
    }

    /// What one unit more of each row's limit was worth in the last relaxation, either way, in whole
    /// units of its objective; empty where there was none.
    pub(crate) fn prices(&self, model: &Model) -> Vec<i64> {
        let Some((objective, answer)) = &self.last else { return Vec::new() };
        let unit = Scale::of(&objective.terms, model).unit();
        let price = |(row, price): (&Row, &f64)| {
            (price.abs() * unit / Scale::of(&row.terms, model).unit()).round() as i64
        };
        model.rows.iter().zip(&answer.row_prices).map(price).collect()
    }

    /// Integer columns that have one value in every solution whose objective reaches `value`, by
    /// their reduced costs in the last relaxation of that objective: where a column is at a bound,
    /// and one unit away costs more than the relaxation has to give. Nothing where the last
    /// relaxation was of another objective.
    pub(crate) fn fixed_by(
        &self,
        model: &Model,
        objective: &LinearObjective,
        value: i128,
    ) -> Vec<(usize, i64)> {
        let Some((last, answer)) = &self.last else { return Vec::new() };
        if last.sense != objective.sense || last.terms != objective.terms {
            return Vec::new();
        }
        let scale = Scale::of(&objective.terms, model);
        // A tenth of a unit is far above the solver's tolerance.
        let to_give = (answer.value - scale.value(value)).abs() + scale.value_of_a_tenth();
        let sign = if objective.sense == Sense::Maximise { -1.0 } else { 1.0 };
        let mut fixed = Vec::new();
        for (column, bounds) in model.columns.iter().enumerate().take(answer.columns.len()) {
            if !bounds.integer || bounds.lower == bounds.upper {
                continue;
            }
            let (at, cost) = (answer.columns[column], sign * answer.reduced_costs[column]);
            if cost > to_give && (at - bounds.lower as f64).abs() < INTEGRAL {
                fixed.push((column, bounds.lower));
            } else if -cost > to_give && (at - bounds.upper as f64).abs() < INTEGRAL {
                fixed.push((column, bounds.upper));
            }
        }
        fixed
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
                let unit = bounds.unit as f64;
                self.set_bounds(column, bounds.lower as f64 / unit, bounds.upper as f64 / unit);
            }
        }
        let Some(solver) = &mut self.solver else { return Ok(()) };
        for row in &model.rows[self.rows..] {
            let scale = Scale::of(&row.terms, model);
            let terms = row
                .terms
                .iter()
                .map(|(c, a)| (self.columns[*c].0, scale.down(*a) * model.columns[*c].unit as f64));
            let lower = row.lower.map_or(f64::NEG_INFINITY, |l| scale.lower(l));
            let upper = row.upper.map_or(f64::INFINITY, |u| scale.upper(u));
            solver
                .try_add_row(lower..=upper, terms)
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
                let unit = c.unit as f64;
                let bounds = c.lower as f64 / unit..=c.upper as f64 / unit;
                (problem.add_column(0.0, bounds), *c)
            })
            .collect();
        for row in &model.rows {
            let scale = Scale::of(&row.terms, model);
            let terms: Vec<(Col, f64)> = row
                .terms
                .iter()
                .map(|(c, a)| (self.columns[*c].0, scale.down(*a) * model.columns[*c].unit as f64))
                .collect();
            let lower = row.lower.map_or(f64::NEG_INFINITY, |l| scale.lower(l));
            let upper = row.upper.map_or(f64::INFINITY, |u| scale.upper(u));
            problem.add_row(lower..=upper, terms);
        }
        let mut solver = problem
            .try_optimise(highs::Sense::Maximise)
            .map_err(|e| Error::internal(format!("the solver refused the model: {e:?}")))?;
        solver.make_quiet();
        solver.set_option("parallel", "off");
        solver.set_option("threads", 1);
        solver.set_option("solver", "simplex");
        self.rows = model.rows.len();
        self.solver = Some(solver);
        Ok(())
    }

    fn set_bounds(&mut self, column: usize, lower: f64, upper: f64) {
        if let Some(solver) = &mut self.solver {
            solver.change_column_bounds(self.columns[column].0, lower..=upper);
        }
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
            for ((column, _), cost) in self.columns.iter().zip(costs) {
                solver.change_column_cost(*column, cost);
            }
        }
        scale
    }

    /// Runs the solver; `None` where it has no best answer.
    fn run(&mut self) -> Result<Option<Answer>> {
        let Some(mut solver) = self.solver.take() else { return Ok(None) };
        self.solved += 1;
        let mut at_once = ITERATIONS_AT_ONCE;
        let solved = loop {
            // The solver counts the iterations of all relaxations.
            let most = self.iterations.saturating_add(at_once);
            let most = i32::try_from(most).unwrap_or(i32::MAX);
            solver.set_option("simplex_iteration_limit", most);
            let solved = solver
                .try_solve()
                .map_err(|e| Error::internal(format!("the solver failed: {e:?}")))?;
            self.iterations = solved.simplex_iteration_count();
            let unfinished = solved.status() == HighsModelStatus::ReachedIterationLimit;
            if !unfinished || most == i32::MAX || self.ends.now() {
                break solved;
            }
            solver = solved.into();
            at_once = at_once.saturating_mul(2);
        };
        let answer = (solved.status() == HighsModelStatus::Optimal).then(|| {
            let solution = solved.get_solution();
            Answer {
                value: solved.objective_value(),
                columns: solution.columns().to_vec(),
                reduced_costs: solution.dual_columns().to_vec(),
                row_prices: solution.dual_rows().to_vec(),
            }
        });
        self.solver = Some(solved.into());
        Ok(answer)
    }
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
    fn a_dive_ends_at_integers_and_leaves_no_trace() {
        let mut model = Model::default();
        let (x, y) = (model.integer(0, 10), model.integer(0, 10));
        model.at_most(vec![(x, 2), (y, 3)], 7);
        let both = objective(Sense::Maximise, &[(x, 2), (y, 2)]);
        let mut relaxation = Relaxation::default();
        let relaxed = relaxation.solve(&model, &both).unwrap().unwrap();
        assert_eq!(relaxed.bound, 6);
        assert_eq!(relaxation.dive(&model, &both, 8).unwrap(), None);
        relaxation.solve(&model, &both).unwrap();
        let found = relaxation.dive(&model, &both, 6).unwrap();
        assert!(found.is_none_or(|values| model.holds(&values)));
        assert_eq!(relaxation.solve(&model, &both).unwrap().unwrap().bound, 6);
    }
}
