//! A first solution without a solver, for a search whose time ends before the solver has one:
//! class by class, the most weight first, each replica in the smallest instance that suffices, and
//! a new GPU in the layout that has most of those. Worse than the best, but it holds.
//!
//! It takes steps of several columns at once and asks the rows how often each step may be taken, so
//! it needs to know of no rule: a step that a rule forbids is not taken. Its time grows with the
//! classes and the patterns, not with the replicas. Knows no solver.

use std::cmp::Reverse;

use super::formulation::Formulation;
use super::model::{Column, Model, Terms};
use super::problem::Problem;

/// A solution of the formulation as it is, without any value held; `None` where not even the one
/// that serves nobody is found.
pub(super) fn find(problem: &Problem, formulation: &Formulation) -> Option<Vec<i64>> {
    let mut steps = Steps::new(&formulation.model);
    steps.satisfy();
    let mut classes: Vec<usize> = (0..problem.classes.len()).collect();
    classes.sort_by_key(|c| {
        let class = &problem.classes[*c];
        // Of equal weight those for which most kinds suffice: they are the smallest.
        let kinds = problem.item_types[class.item_type].kinds.len();
        (Reverse((class.priority, class.guaranteed, class.weight, kinds)), *c)
    });
    for class in classes {
        serve(problem, formulation, &mut steps, class);
    }
    let mut values = steps.values;
    formulation.settle(problem, &mut values);
    formulation.model.holds(&values).then_some(values)
}

/// Serves as many replicas of a class as there are instances for, on GPUs in use and on new ones.
fn serve(problem: &Problem, formulation: &Formulation, steps: &mut Steps<'_>, class: usize) {
    let served = formulation.assignment.served[class];
    let item_type = problem.classes[class].item_type;
    let mut kinds: Vec<(usize, Column)> = formulation.assignment.columns_of(problem, item_type);
    kinds.sort_by_key(|(k, _)| (problem.kinds[*k].memory_mib, problem.kinds[*k].compute_slices));
    for (k, column) in kinds {
        steps.open(column);
        let replica: Terms = vec![(served, 1), (column, 1)];
        steps.take(&replica, i64::MAX);
        let kind = &problem.kinds[k];
        let Some(profile) = kind.made_at else { continue };
        let pool = &problem.pools[kind.pool];
        let mut patterns: Vec<(u32, usize)> =
            pool.patterns.iter().enumerate().map(|(p, of)| (of.counts[profile], p)).collect();
        patterns.retain(|(count, _)| *count > 0);
        patterns.sort_by_key(|(count, p)| (Reverse(*count), *p));
        for (count, p) in patterns {
            for (gpus, step) in formulation.steps_of_pattern(problem, kind.pool, p) {
                let left = formulation.model.columns[served].upper - steps.values[served];
                let most = (i64::from(count) * gpus).max(1);
                if left == 0 || steps.take(&step, (left + most - 1) / most) == 0 {
                    continue;
                }
                steps.take(&replica, i64::MAX);
            }
        }
    }
}

/// A solution that grows, with what each row's sum is.
struct Steps<'m> {
    model: &'m Model,
    values: Vec<i64>,
    sums: Vec<i128>,
    /// For each column the rows that it stands in, with its coefficients.
    rows: Vec<Vec<(usize, i64)>>,
}

impl<'m> Steps<'m> {
    /// Every column at its lower bound.
    fn new(model: &'m Model) -> Steps<'m> {
        let mut rows = vec![Vec::new(); model.columns.len()];
        for (r, row) in model.rows.iter().enumerate() {
            for (column, coefficient) in &row.terms {
                rows[*column].push((r, *coefficient));
            }
        }
        let values: Vec<i64> = model.columns.iter().map(|c| c.lower).collect();
        let sums = model.rows.iter().map(|row| super::model::dot(&row.terms, &values)).collect();
        Steps { model, values, sums, rows }
    }

    /// Takes a step as often as columns and rows allow, and no more than `most` times; returns how
    /// often.
    fn take(&mut self, step: &Terms, most: i64) -> i64 {
        let mut changes: Vec<(usize, i128)> = step
            .iter()
            .flat_map(|(c, times)| {
                let rows = self.rows[*c].iter();
                rows.map(|(row, a)| (*row, i128::from(*a) * i128::from(*times)))
            })
            .collect();
        changes.sort_unstable();
        changes.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1 += next.1;
            }
            same
        });
        let of_columns = step.iter().map(|(c, times)| {
            let bounds = &self.model.columns[*c];
            let room = if *times > 0 {
                bounds.upper - self.values[*c]
            } else {
                self.values[*c] - bounds.lower
            };
            i128::from(room) / i128::from(times.abs())
        });
        let of_rows = changes.iter().filter_map(|(row, change)| {
            let (limits, sum) = (&self.model.rows[*row], self.sums[*row]);
            let limit = if *change > 0 { limits.upper } else { limits.lower };
            let left = limit.filter(|_| *change != 0)?;
            Some(((i128::from(left) - sum) / change).max(0))
        });
        let times = of_columns.chain(of_rows).fold(i128::from(most), i128::min);
        let times = i64::try_from(times).unwrap_or(0);
        if times > 0 {
            for (column, each) in step {
                self.values[*column] += each * times;
            }
            for (row, change) in changes {
                self.sums[row] += change * i128::from(times);
            }
        }
        times
    }

    /// Raises columns until the rows that the lower bounds break hold: where one column alone does
    /// that and breaks nothing.
    fn satisfy(&mut self) {
        for (r, row) in self.model.rows.iter().enumerate() {
            for (column, coefficient) in &row.terms {
                let sum = self.sums[r];
                let missing = match (row.lower, row.upper) {
                    (Some(lower), _) if sum < i128::from(lower) => i128::from(lower) - sum,
                    (_, Some(upper)) if sum > i128::from(upper) => i128::from(upper) - sum,
                    _ => break,
                };
                let times = missing / i128::from(*coefficient);
                if times > 0 && missing % i128::from(*coefficient) == 0 {
                    self.take(&vec![(*column, 1)], i64::try_from(times).unwrap_or(0));
                }
            }
        }
    }

    /// Puts on the switches without which a column cannot be raised, where they may be.
    fn open(&mut self, column: Column) {
        for (row, coefficient) in self.rows[column].clone() {
            let limits = &self.model.rows[row];
            let full = limits.upper.is_some_and(|u| self.sums[row] + 1 > i128::from(u));
            if coefficient <= 0 || !full {
                continue;
            }
            let is_switch = |c: Column| {
                let bounds = &self.model.columns[c];
                bounds.integer && (bounds.lower, bounds.upper) == (0, 1) && self.values[c] == 0
            };
            let switch = limits.terms.iter().find(|(c, a)| *a < 0 && is_switch(*c));
            if let Some((switch, _)) = switch {
                self.take(&vec![(*switch, 1)], 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_taken_as_often_as_rows_allow() {
        let mut model = Model::default();
        let (x, y, switch) = (model.integer(0, 10), model.integer(0, 10), model.integer(0, 1));
        model.at_most(vec![(x, 2), (y, 1)], 11);
        model.at_least(vec![(y, 1), (x, -1)], 0);
        model.at_most(vec![(y, 1), (switch, -4)], 0);
        let mut steps = Steps::new(&model);
        assert_eq!(steps.take(&vec![(x, 1), (y, 1)], i64::MAX), 0);
        steps.open(y);
        assert_eq!(steps.take(&vec![(x, 1), (y, 1)], i64::MAX), 3);
        assert_eq!(steps.take(&vec![(x, 1)], i64::MAX), 0);
        assert_eq!(steps.take(&vec![(y, 1)], i64::MAX), 1);
        assert_eq!(steps.take(&vec![(x, -1)], 2), 2);
        assert_eq!(steps.values, [1, 4, 1]);
        assert!(model.holds(&steps.values));
    }

    #[test]
    fn rows_that_the_least_values_break_are_satisfied() {
        let mut model = Model::default();
        let (x, y) = (model.integer(0, 10), model.integer(1, 10));
        model.equal(vec![(x, 1), (y, 3)], 8);
        let mut steps = Steps::new(&model);
        steps.satisfy();
        assert_eq!(steps.values, [5, 1]);
        assert!(model.holds(&steps.values));
    }
}
