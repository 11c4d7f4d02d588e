//! Which kinds of instance are in use: a switch for each kind, and replicas are assigned to the
//! kind only where its switch is on.
//!
//! What the relaxation without switches says of a kind's replicas decides most of them: a kind that
//! always has a replica is in use, one that never has any is not. The others have a row for each of
//! their item types and, where it says more, one for all of them together, with the most replicas
//! that there can be as factors: how good the relaxation with switches is depends on these. The row for all alone has a
//! weaker relaxation, and its larger factor let a solver open a switch by less than it can tell from
//! nothing.
//!
//! Tried, and lost: a search for the fewest kinds in a program of its own, with a row for each set
//! of kinds that the relaxation cannot do without (Benders; the rows leave out too few sets, so
//! hundreds are needed).

use super::assignment::Assignment;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// The switches, by kind; added for the stage that counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KindsInUse(Vec<Column>);

/// The replicas of one kind that solutions may have.
#[derive(Debug, Clone)]
pub(crate) struct KindRange {
    /// Columns of the replicas in the kind, of all types and periods.
    pub replicas: Vec<Column>,
    /// The fewest.
    pub least: i64,
    /// The most.
    pub most: i64,
}

impl KindRange {
    /// The ranges that follow from the columns alone. The same instance in several supplies is one
    /// kind.
    pub(crate) fn all(model: &Model, problem: &Problem, assignment: &Assignment) -> Vec<KindRange> {
        let of_kind = |kind| {
            let replicas = assignment.in_kind_of_any_period(problem, kind);
            let most = replicas.iter().map(|c| model.columns[*c].upper).sum();
            KindRange { replicas, least: 0, most }
        };
        (0..problem.kinds.len()).filter(|k| problem.kinds[*k].supply == 0).map(of_kind).collect()
    }

    /// The sum of the replicas.
    pub(crate) fn terms(&self) -> Terms {
        self.replicas.iter().map(|c| (*c, 1)).collect()
    }
}

impl KindsInUse {
    /// Adds a switch for each kind, and returns the value of each in the solution `values`.
    pub(crate) fn add(
        model: &mut Model,
        ranges: &[KindRange],
        values: &[i64],
    ) -> (KindsInUse, Vec<i64>) {
        let (mut switches, mut used) = (Vec::new(), Vec::new());
        for range in ranges {
            let is_used = range.replicas.iter().any(|c| values[*c] > 0);
            let switch = model.integer(i64::from(range.least > 0), i64::from(range.most > 0));
            if range.least == 0 && range.most > 0 {
                for column in &range.replicas {
                    let most = model.columns[*column].upper.min(range.most);
                    model.at_most(vec![(*column, 1), (switch, -most)], 0);
                }
                if range.most < range.replicas.iter().map(|c| model.columns[*c].upper).sum() {
                    let mut all = range.terms();
                    all.push((switch, -range.most));
                    model.at_most(all, 0);
                }
            }
            switches.push(switch);
            used.push(i64::from(is_used));
        }
        (KindsInUse(switches), used)
    }

    /// The kinds in use.
    pub(crate) fn terms(&self) -> Terms {
        self.0.iter().map(|c| (*c, 1)).collect()
    }
}
