//! `--share fair`: the weight that each team of a priority is served, as a column, so that a share
//! can be raised by a bound. Which shares are raised how far is not decided here.

use crate::optimise::model::{Column, ColumnBounds, Model, Terms};
use crate::optimise::problem::Problem;
use crate::units::{Ratio, gcd};

/// The teams of the priorities so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct TeamShares(Vec<TeamColumn>);

/// The weight that one team is served.
#[derive(Debug, Clone)]
pub(crate) struct TeamColumn {
    /// Its priority.
    pub priority: i64,
    /// The weight served, times its hours, in units of `unit`.
    pub column: Column,
    /// What a value of 1 stands for: the greatest weight of which all of the team's are multiples.
    unit: i64,
    /// Weight asked for that this fleet could serve at all.
    asked: u128,
    /// Replicas served, each with its weight.
    served: Terms,
}

impl TeamShares {
    /// Adds the teams of a priority, and returns the values of their columns in the solution
    /// `values`.
    pub(crate) fn add(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        served: &[Column],
        priority: i64,
        values: &[i64],
    ) -> Vec<i64> {
        let mut added = Vec::new();
        for (t, team) in problem.teams.iter().enumerate().filter(|(_, t)| t.priority == priority) {
            let classes = problem.classes.iter().zip(served).filter(|(c, _)| c.team == Some(t));
            let weights: Terms =
                classes.map(|(c, column)| (*column, c.weight * problem.hours_of(c))).collect();
            let unit = weights.iter().map(|(_, weight)| *weight).fold(0, gcd).max(1);
            let served: Terms = weights.into_iter().map(|(c, weight)| (c, weight / unit)).collect();
            let upper = served.iter().map(|(c, a)| a * model.columns[*c].upper).sum();
            // An integer already, since the replicas served are.
            let bounds = ColumnBounds { lower: 0, upper, integer: false, unit: 1 };
            let column = model.column(bounds);
            let mut terms = served.clone();
            terms.push((column, -1));
            model.equal(terms, 0);
            let team = TeamColumn { priority, column, unit, asked: team.asked, served };
            added.push(team.value(values));
            self.0.push(team);
        }
        added
    }

    /// The teams of a priority.
    pub(crate) fn of_priority(&self, priority: i64) -> Vec<TeamColumn> {
        self.0.iter().filter(|team| team.priority == priority).cloned().collect()
    }

    /// The distinct shares of the teams of a priority in a solution, the smallest first.
    pub(crate) fn shares(&self, priority: i64, values: &[i64]) -> Vec<Ratio> {
        let of_priority = self.0.iter().filter(|team| team.priority == priority);
        let mut shares: Vec<Ratio> = of_priority.map(|t| t.share(values[t.column])).collect();
        shares.sort();
        shares.dedup();
        shares
    }

    /// Sets the columns of a solution to what its replicas weigh.
    pub(crate) fn settle(&self, values: &mut [i64]) {
        for team in &self.0 {
            values[team.column] = team.value(values);
        }
    }
}

impl TeamColumn {
    /// The value of the column in a solution; 0 where there is none.
    fn value(&self, values: &[i64]) -> i64 {
        self.served.iter().map(|(c, weight)| weight * values.get(*c).copied().unwrap_or(0)).sum()
    }

    /// The share that a value of the column is.
    pub(crate) fn share(&self, value: i64) -> Ratio {
        let weight = u128::try_from(i128::from(value) * i128::from(self.unit)).unwrap_or(0);
        Ratio::new(weight, self.asked)
    }

    /// The least value from `lower` to `upper` that is at least such a share; `None` where even
    /// `upper` is less.
    pub(crate) fn needed(&self, share: Ratio, lower: i64, upper: i64) -> Option<i64> {
        let (mut low, mut high) = (lower, upper);
        if self.share(high) < share {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.share(middle) < share {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }
}
