//! Which kinds of instance are in use: a switch for each kind, and replicas are assigned to the
//! kind only where its switch is on.
//!
//! One row for each item type of a kind, with the most replicas of that type as its factor. One row
//! for the whole kind has a far weaker relaxation, and its large factor let a solver open a switch
//! by less than it can tell from nothing.

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
        // The same instance in several supplies is one kind.
        for kind in (0..problem.kinds.len()).filter(|k| problem.kinds[*k].supply == 0) {
            let columns = assignment.in_kind_of_any_period(problem, kind);
            let switch = model.integer(0, i64::from(!columns.is_empty()));
            for column in &columns {
                let most = model.columns[*column].upper.min(problem.most_of_kind(kind));
                model.at_most(vec![(*column, 1), (switch, -most)], 0);
            }
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
