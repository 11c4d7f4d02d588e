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

/// The switch of each kind, with the replicas in the kind; added for the stage that counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KindsInUse(Vec<(Column, Vec<Column>)>);

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
            switches.push((switch, range.replicas.clone()));
            used.push(is_used(&range.replicas, values));
        }
        (KindsInUse(switches), used)
    }

    /// The kinds in use.
    pub(crate) fn terms(&self) -> Terms {
        self.0.iter().map(|(switch, _)| (*switch, 1)).collect()
    }

    /// Turns off the switches of a solution whose kinds have no replica: a solver that is ended
    /// early may leave them on.
    pub(crate) fn settle(&self, values: &mut [i64]) {
        for (switch, replicas) in &self.0 {
            values[*switch] = is_used(replicas, values);
        }
    }
}

/// 1 where a solution has one of the replicas, else 0.
fn is_used(replicas: &[Column], values: &[i64]) -> i64 {
    i64::from(replicas.iter().any(|column| values[*column] > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimise::model::dot;

    #[test]
    fn a_kind_without_replicas_is_not_in_use() {
        let mut model = Model::default();
        let columns: Vec<Column> = (0..4).map(|_| model.integer(0, 5)).collect();
        let range = |replicas: &[Column], least, most| KindRange {
            replicas: replicas.to_vec(),
            least,
            most,
        };
        let ranges =
            [range(&columns[..2], 0, 7), range(&columns[2..3], 1, 5), range(&columns[3..], 0, 0)];
        let mut values = vec![2, 0, 5, 0];
        let (kinds, used) = KindsInUse::add(&mut model, &ranges, &values);
        assert_eq!(used, [1, 1, 0]);
        values.extend(used);
        assert!(model.holds(&values));
        values[0] = 0;
        assert_eq!(dot(&kinds.terms(), &values), 2);
        kinds.settle(&mut values);
        assert_eq!(dot(&kinds.terms(), &values), 1);
        assert!(model.holds(&values));
        // No more than seven together, and only where the switch is on.
        for (replicas, on, holds) in [([5, 2], 1, true), ([5, 3], 1, false), ([0, 1], 0, false)] {
            (values[0], values[1], values[4]) = (replicas[0], replicas[1], on);
            assert_eq!(model.holds(&values), holds, "{replicas:?}");
        }
    }
}
