//! The relaxation of a part of the solutions: with columns, and sums of columns, within limits.
//!
//! The solver learns the sums when they are first asked for, each as a column of its own with a row
//! that says so; the model does not have them.

use highs::Col;

use super::{Answer, INTEGRAL, Relaxation, Relaxed, fractional};
use crate::error::{Error, Result};
use crate::optimise::model::{Column, LinearObjective, Model, Row, Terms};
use crate::optimise::solver::scale::{Margin, Scale};

/// The sums in the solver: a column for each, with a row that says so.
pub(super) struct KnownSums {
    pub columns: Vec<Col>,
    /// Rows of the model before those of the sums.
    pub rows_before: usize,
}

/// What can be limited in [`Relaxation::limited`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// A column of the model.
    Column(Column),
    /// A sum of columns, by its place.
    Sum(usize),
}

/// The range of a column or of a sum, at most as wide as that of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Of what.
    pub of: Limited,
    /// Least value.
    pub lower: i64,
    /// Greatest value.
    pub upper: i64,
}

/// What a relaxation with limits came to.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// There is no solution.
    Empty,
    /// The solver has no answer.
    Unknown,
    /// A relaxation, and the limits of the two halves that it divides into: below and above a value
    /// that is no integer. `None` where all is integer.
    Solved(Relaxed, Option<[Limit; 2]>),
}

impl Relaxation {
    /// After [`Relaxation::solve`] for the same objective: the same within limits. They stay until
    /// the next call; none take them back. What is said of the last relaxation is still that of the
    /// one without limits.
    ///
    /// # Errors
    /// As [`Relaxation::solve`].
    pub(crate) fn limited(
        &mut self,
        model: &Model,
        objective: &LinearObjective,
        limits: &[Limit],
    ) -> Result<Node> {
        self.keep_in_step(model)?;
        let scale = self.set_objective(model, objective);
        self.know_sums(model)?;
        self.limit(model, limits);
        let Some(answer) = self.run()? else {
            return Ok(if self.empty { Node::Empty } else { Node::Unknown });
        };
        let halves = self.halves(model, &answer);
        let bound = scale.bound(answer.value, Margin::LP, objective.sense);
        let relaxed = Relaxed::of(&answer, model, objective, &scale, bound);
        self.limited = Some(answer);
        Ok(Node::Solved(relaxed, halves))
    }

    /// Divides at the sum that is farthest from an integer; where all are integers, at such a
    /// column.
    fn halves(&self, model: &Model, answer: &Answer) -> Option<[Limit; 2]> {
        let off = |value: f64| (value - value.round()).abs();
        let sums = answer.sums.iter().enumerate().filter(|(_, value)| off(**value) > INTEGRAL);
        let farthest = sums.max_by(|a, b| off(*a.1).total_cmp(&off(*b.1)).then(b.0.cmp(&a.0)));
        let (of, value, (lower, upper)) = match farthest {
            Some((sum, value)) => (Limited::Sum(sum), *value, range(model, &self.sums[sum])),
            None => {
                let columns = fractional(model, &answer.columns);
                let (_, column) = columns.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
                let bounds = &model.columns[column];
                let value = answer.columns[column] * bounds.unit as f64;
                (Limited::Column(column), value, (bounds.lower, bounds.upper))
            }
        };
        let known = self.limits.iter().find(|limit| limit.of == of);
        let (lower, upper) = known.map_or((lower, upper), |limit| (limit.lower, limit.upper));
        let below = value.floor() as i64;
        Some([Limit { of, lower, upper: below }, Limit { of, lower: below + 1, upper }])
    }

    /// Takes all limits back.
    pub(crate) fn without_limits(&mut self, model: &Model) {
        self.limit(model, &[]);
    }

    /// Sets these limits instead of those that are there.
    fn limit(&mut self, model: &Model, limits: &[Limit]) {
        for old in std::mem::take(&mut self.limits) {
            match old.of {
                Limited::Column(column) => self.unfix(column),
                Limited::Sum(sum) => self.set_sum_bounds(sum, f64::NEG_INFINITY, f64::INFINITY),
            }
        }
        for limit in limits {
            let (lower, upper) = (limit.lower as f64, limit.upper as f64);
            match limit.of {
                Limited::Column(column) => {
                    let unit = model.columns[column].unit as f64;
                    self.set_bounds(column, lower / unit, upper / unit);
                }
                Limited::Sum(sum) => self.set_sum_bounds(sum, lower, upper),
            }
        }
        self.limits = limits.to_vec();
    }

    fn set_sum_bounds(&mut self, sum: usize, lower: f64, upper: f64) {
        let column = self.known_sums.as_ref().and_then(|known| known.columns.get(sum));
        if let (Some(solver), Some(column)) = (&mut self.solver, column) {
            solver.change_column_bounds(*column, lower..=upper);
        }
    }

    /// Tells the solver the sums, if it does not know them yet.
    fn know_sums(&mut self, model: &Model) -> Result<()> {
        let (None, Some(solver)) = (&self.known_sums, &mut self.solver) else { return Ok(()) };
        let refused = |e| Error::internal(format!("the solver refused a sum: {e:?}"));
        let mut columns = Vec::with_capacity(self.sums.len());
        for terms in &self.sums {
            let column = solver.try_add_column::<f64, _>(0.0, .., []).map_err(refused)?;
            let units = terms
                .iter()
                .map(|(c, a)| (self.columns[*c].0, (a * model.columns[*c].unit) as f64));
            solver.try_add_row(0.0..=0.0, units.chain([(column, -1.0)])).map_err(refused)?;
            columns.push(column);
        }
        self.known_sums = Some(KnownSums { columns, rows_before: self.rows });
        Ok(())
    }

    /// What one unit more of each row's limit was worth in the last relaxation within limits, either
    /// way, in whole units of its objective; empty where there was none.
    pub(crate) fn prices(&self, model: &Model, objective: &LinearObjective) -> Vec<i64> {
        let Some(answer) = &self.limited else { return Vec::new() };
        let unit = Scale::of(&objective.terms, model).unit();
        let price = |(row, price): (&Row, &f64)| {
            (price.abs() * unit / Scale::of(&row.terms, model).unit()).round() as i64
        };
        model.rows.iter().zip(&answer.row_prices).map(price).collect()
    }

    /// What each limit of the last relaxation within limits cost: what is limited, and for its upper
    /// limit or, less than nothing, for its lower one, what one more would be worth.
    pub(crate) fn limit_prices(
        &self,
        model: &Model,
        objective: &LinearObjective,
    ) -> Vec<(Limit, Terms, i64)> {
        let Some(answer) = &self.limited else { return Vec::new() };
        let unit = Scale::of(&objective.terms, model).unit();
        let of = |limit: &Limit| {
            let (terms, cost, column_unit) = match limit.of {
                Limited::Column(c) => {
                    (vec![(c, 1)], answer.reduced_costs[c], model.columns[c].unit)
                }
                Limited::Sum(sum) => (self.sums[sum].clone(), answer.sum_costs[sum], 1),
            };
            (*limit, terms, (cost * unit / column_unit as f64).round() as i64)
        };
        self.limits.iter().map(of).collect()
    }
}

/// What a sum can be at all.
fn range(model: &Model, terms: &Terms) -> (i64, i64) {
    let of = |(column, coefficient): &(Column, i64)| {
        let bounds = &model.columns[*column];
        let (a, b) = (coefficient * bounds.lower, coefficient * bounds.upper);
        (a.min(b), a.max(b))
    };
    terms.iter().map(of).fold((0, 0), |sum, (lower, upper)| (sum.0 + lower, sum.1 + upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::goal::Sense;

    #[test]
    fn sums_are_limited_and_divided_and_leave_no_trace() {
        let mut model = Model::default();
        let (x, y) = (model.integer(0, 10), model.integer(0, 10));
        model.at_most(vec![(x, 2), (y, 3)], 11);
        let both = LinearObjective { sense: Sense::Maximise, terms: vec![(x, 3), (y, 3)] };
        let mut relaxation = Relaxation::default().with_sums(vec![vec![(x, 1), (y, 1)]]);
        relaxation.solve(&model, &both).unwrap();
        let sum = |lower, upper| Limit { of: Limited::Sum(0), lower, upper };
        // Half a column: the sum comes first, in its whole range.
        let Node::Solved(_, halves) = relaxation.limited(&model, &both, &[]).unwrap() else {
            panic!("no answer");
        };
        assert_eq!(halves, Some([sum(0, 5), sum(6, 20)]));
        assert!(matches!(relaxation.limited(&model, &both, &[sum(6, 20)]), Ok(Node::Empty)));
        let Node::Solved(below, halves) = relaxation.limited(&model, &both, &[sum(0, 5)]).unwrap()
        else {
            panic!("no answer");
        };
        assert_eq!((below.bound, halves), (15, None));
        assert_eq!(below.integers.map(|values| values[x] + values[y]), Some(5));
        // One more would be worth three.
        let prices = relaxation.limit_prices(&model, &both);
        assert_eq!(prices, [(sum(0, 5), vec![(x, 1), (y, 1)], 3)]);
        // Rows that come later have their prices in their places.
        model.at_most(vec![(x, 1)], 3);
        let x_is_one = Limit { of: Limited::Column(x), lower: 0, upper: 1 };
        relaxation.limited(&model, &both, &[x_is_one]).unwrap();
        assert_eq!(relaxation.limit_prices(&model, &both), [(x_is_one, vec![(x, 1)], 1)]);
        assert_eq!(relaxation.prices(&model, &both), [1, 0]);
        relaxation.limited(&model, &both, &[]).unwrap();
        assert_eq!(relaxation.prices(&model, &both), [1, 1]);
        relaxation.without_limits(&model);
        let after = relaxation.solve(&model, &both).unwrap().unwrap();
        let fresh = Relaxation::default().solve(&model, &both).unwrap().unwrap();
        assert_eq!((after.bound, after.thousandths), (fresh.bound, fresh.thousandths));
    }
}
