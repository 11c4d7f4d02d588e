//! An integer program in exact numbers, and what a solver answers to it.
//!
//! Every coefficient, bound and value is an integer, so a solution can be checked without a float.
//! How a solver is called is `solve`'s business; what the columns mean is `formulation`'s.

use std::collections::BTreeMap;

use crate::error::{Error, ExitCode, Result};
use crate::plan::goal::Sense;
use crate::units::gcd;

/// A column, by index.
pub(crate) type Column = usize;

/// Coefficients of a row or an objective.
pub(crate) type Terms = Vec<(Column, i64)>;

/// Bounds and kind of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnBounds {
    /// Least value.
    pub lower: i64,
    /// Greatest value.
    pub upper: i64,
    /// Whether the solver must find an integer. A column without it takes integer values all the
    /// same in the solutions that matter (a tangent's height is one of its integer lines).
    pub integer: bool,
    /// The solver sees the column in this many units: 1024 shows MiB as GiB, which keeps sums
    /// over a fleet within what a solver's tolerances can tell apart.
    pub unit: i64,
}

/// `lower ≤ Σ coefficient × column ≤ upper`.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The sum.
    pub terms: Terms,
    /// Least value, if any.
    pub lower: Option<i64>,
    /// Greatest value, if any.
    pub upper: Option<i64>,
}

/// An integer program without an objective.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// The columns.
    pub columns: Vec<ColumnBounds>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// What to optimise.
#[derive(Debug, Clone)]
pub(crate) struct LinearObjective {
    /// Which way.
    pub sense: Sense,
    /// The sum.
    pub terms: Terms,
}

impl Model {
    /// Adds an integer column.
    pub(crate) fn integer(&mut self, lower: i64, upper: i64) -> Column {
        self.column(ColumnBounds { lower, upper, integer: true, unit: 1 })
    }

    /// Adds a column.
    pub(crate) fn column(&mut self, bounds: ColumnBounds) -> Column {
        self.columns.push(bounds);
        self.columns.len() - 1
    }

    /// Adds `Σ terms ≥ lower`.
    pub(crate) fn at_least(&mut self, terms: Terms, lower: i64) {
        self.rows.push(Row { terms, lower: Some(lower), upper: None });
    }

    /// Adds `Σ terms ≤ upper`.
    pub(crate) fn at_most(&mut self, terms: Terms, upper: i64) {
        self.rows.push(Row { terms, lower: None, upper: Some(upper) });
    }

    /// Adds `Σ terms ≥ lower` for a sum that may be beyond 64 bits, without what its coefficients
    /// have in common.
    ///
    /// # Errors
    /// It is beyond 64 bits all the same (exit 3).
    pub(crate) fn try_at_least(&mut self, terms: Terms, lower: i128) -> Result<()> {
        let (terms, common) = without_common(terms);
        self.at_least(terms, in_64_bits(-(-lower).div_euclid(common))?);
        Ok(())
    }

    /// The same for `Σ terms ≤ upper`.
    ///
    /// # Errors
    /// As [`Model::try_at_least`].
    pub(crate) fn try_at_most(&mut self, terms: Terms, upper: i128) -> Result<()> {
        let (terms, common) = without_common(terms);
        self.at_most(terms, in_64_bits(upper.div_euclid(common))?);
        Ok(())
    }

    /// Adds `Σ terms = value`.
    pub(crate) fn equal(&mut self, terms: Terms, value: i64) {
        self.rows.push(Row { terms, lower: Some(value), upper: Some(value) });
    }

    /// Gives columns other ranges: of each the column, its least and its greatest value.
    pub(crate) fn narrow(&mut self, ranges: impl IntoIterator<Item = (Column, i64, i64)>) {
        for (column, lower, upper) in ranges {
            (self.columns[column].lower, self.columns[column].upper) = (lower, upper);
        }
    }

    /// Whether `values` satisfy every bound and row, exactly.
    pub(crate) fn holds(&self, values: &[i64]) -> bool {
        self.columns.iter().zip(values).all(|(c, v)| c.lower <= *v && *v <= c.upper)
            && self.rows.iter().all(|row| {
                let sum = dot(&row.terms, values);
                row.lower.is_none_or(|l| i128::from(l) <= sum)
                    && row.upper.is_none_or(|u| sum <= i128::from(u))
            })
    }
}

/// Terms divided by what their coefficients have in common, and that.
fn without_common(terms: Terms) -> (Terms, i128) {
    let common = terms.iter().map(|(_, a)| a.abs()).fold(0, gcd).max(1);
    (terms.into_iter().map(|(c, a)| (c, a / common)).collect(), common.into())
}

fn in_64_bits(sum: i128) -> Result<i64> {
    i64::try_from(sum).map_err(|_| {
        Error::new(ExitCode::BadInput, "weights times replicas are more than 64 bits can hold")
            .hint("give the column weight smaller numbers, or fewer digits")
    })
}

/// `Σ coefficient × value`, exactly.
pub(crate) fn dot(terms: &Terms, values: &[i64]) -> i128 {
    terms.iter().map(|(c, a)| i128::from(*a) * i128::from(values[*c])).sum()
}

/// Adds up the coefficients of equal columns.
pub(crate) fn merge(terms: Terms) -> Terms {
    let mut sums: BTreeMap<Column, i64> = BTreeMap::new();
    for (column, coefficient) in terms {
        *sums.entry(column).or_default() += coefficient;
    }
    sums.into_iter().filter(|(_, coefficient)| *coefficient != 0).collect()
}

/// What a solver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The best solution found, rounded to integers; whether it holds in the model is to be asked.
    /// `None` where the time limit came first.
    pub values: Option<Vec<i64>>,
    /// No solution passes this value of the objective.
    pub bound: i128,
    /// Simplex iterations that it took.
    pub iterations: u64,
}
