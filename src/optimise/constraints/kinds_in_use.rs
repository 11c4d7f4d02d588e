//! Which kinds of instance are in use: a switch for each kind, and replicas are assigned to the
//! kind only where its switch is on.

use super::assignment::Assignment;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// The switches, by kind; added for the stage that counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KindsInUse(Vec<Column>);

impl KindsInUse {
    /// Adds the switches, and returns the value of each in the solution `values`.
    pub(crate) fn add(
        model: &mut Model,
        problem: &Problem,
        assignment: &Assignment,
        values: &[i64],
    ) -> (KindsInUse, Vec<i64>) {
        let (mut switches, mut used) = (Vec::new(), Vec::new());
        for kind in 0..problem.kinds.len() {
            let columns = assignment.in_kind(problem, kind);
            let most: i64 = columns.iter().map(|c| model.columns[*c].upper).sum();
            let switch = model.integer(0, i64::from(!columns.is_empty()));
            let mut terms: Terms = columns.iter().map(|c| (*c, 1)).collect();
            terms.push((switch, -most.min(problem.most_of_kind(kind))));
            model.at_most(terms, 0);
            switches.push(switch);
            used.push(i64::from(columns.iter().any(|c| values[*c] > 0)));
        }
        (KindsInUse(switches), used)
    }

    /// The kinds in use.
    pub(crate) fn terms(&self) -> Terms {
        self.0.iter().map(|c| (*c, 1)).collect()
    }
}
