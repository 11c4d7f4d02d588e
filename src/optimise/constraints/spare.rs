//! Free instances: what the patterns make beyond the replicas, and the further replicas, in the
//! proportions of the demand, that they could take.

use super::assignment::Assignment;
use super::patterns::Patterns;
use crate::optimise::model::{Column, Model, Terms, merge};
use crate::optimise::problem::Problem;

/// With more item types than this, the further replicas have a column for their sum: a type's
/// share is then a row over its own columns, not over those of all types.
const MOST_WITHOUT_SUM: usize = 32;

/// Further replicas, added for the stage that counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FurtherReplicas {
    /// What was added.
    columns: Vec<Column>,
    /// All further replicas.
    all: Terms,
}

impl FurtherReplicas {
    /// Adds further replicas to what the supply must carry, each type within less than one replica
    /// of its exact share.
    pub(crate) fn add(model: &mut Model, problem: &Problem, patterns: &Patterns) -> Self {
        let mut further: Vec<(Column, usize)> = Vec::new();
        for (t, _) in &problem.shares {
            let item_type = &problem.item_types[*t];
            // A whole GPU is no free instance.
            for &k in item_type.kinds.iter().filter(|_| item_type.whole_gpus == 0) {
                if patterns.supply_rows[k].is_empty() {
                    continue;
                }
                let column = model.integer(0, problem.most_of_kind(k));
                // Over time a further replica runs in all hours.
                for row in &patterns.supply_rows[k] {
                    model.rows[*row].terms.push((column, -1));
                }
                further.push((column, *t));
            }
        }
        let mut of_all: Terms = further.iter().map(|(c, _)| (*c, 1)).collect();
        let mut columns: Vec<Column> = further.iter().map(|(column, _)| *column).collect();
        if problem.shares.len() > MOST_WITHOUT_SUM {
            let most = further.iter().map(|(column, _)| model.columns[*column].upper).sum();
            let sum = model.integer(0, most);
            of_all.push((sum, -1));
            model.equal(of_all, 0);
            of_all = vec![(sum, 1)];
            columns.push(sum);
        }
        let shareable = |(t, _): &&(usize, i64)| problem.item_types[*t].whole_gpus == 0;
        let all: i64 = problem.shares.iter().filter(shareable).map(|(_, share)| share).sum();
        for (t, share) in problem.shares.iter().filter(shareable) {
            let mut terms: Terms = of_all.iter().map(|(c, a)| (*c, -a * share)).collect();
            for (column, _) in further.iter().filter(|(_, of)| of == t) {
                match terms.iter_mut().find(|(c, _)| c == column) {
                    Some(term) => term.1 += all,
                    None => terms.push((*column, all)),
                }
            }
            model.at_least(terms.clone(), -(all - 1));
            model.at_most(terms, all - 1);
        }
        FurtherReplicas { columns, all: of_all }
    }

    /// The columns that were added, in the order of the model.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The further replicas.
    pub(crate) fn terms(&self) -> Terms {
        self.all.clone()
    }
}

/// Over time: for each kind the instances that are allocated in the period that needs most.
#[derive(Debug, Clone, Default)]
pub(crate) struct MostAllocated(Vec<Column>);

impl MostAllocated {
    /// Adds the columns, and returns the value of each in the solution `values`. Nothing is added
    /// without demand over time, or a second time.
    pub(crate) fn add(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        assignment: &Assignment,
        values: &[i64],
    ) -> Vec<i64> {
        if !problem.is_over_time() || !self.0.is_empty() {
            return Vec::new();
        }
        let mut most = Vec::with_capacity(problem.kinds.len());
        for kind in 0..problem.kinds.len() {
            let column = model.integer(0, problem.most_of_kind(kind));
            for period in 0..problem.hours.len() {
                let columns = assignment.in_kind(problem, kind, period);
                let mut terms: Terms = columns.into_iter().map(|c| (c, 1)).collect();
                terms.push((column, -1));
                model.at_most(terms, 0);
            }
            self.0.push(column);
            most.push(assignment.most_allocated(problem, kind, values));
        }
        most
    }
}

/// Free instances of one memory size; over time those that are free in all hours.
pub(crate) fn free_of_size(
    problem: &Problem,
    patterns: &Patterns,
    assignment: &Assignment,
    most: &MostAllocated,
    memory_mib: i64,
) -> Terms {
    let mut terms = Terms::new();
    for (k, kind) in problem.kinds.iter().enumerate() {
        if let (Some(profile), true) = (kind.profile, kind.memory_mib == memory_mib) {
            terms.extend(patterns.made(problem, kind.pool, profile));
            match most.0.get(k) {
                Some(column) => terms.push((*column, -1)),
                None => {
                    let assigned = assignment.in_kind(problem, k, 0);
                    terms.extend(assigned.into_iter().map(|c| (c, -1)));
                }
            }
        }
    }
    merge(terms)
}

/// Memory of all instances made, allocated or free, in MiB.
pub(crate) fn made_mib(problem: &Problem, patterns: &Patterns) -> Terms {
    let mut terms = Terms::new();
    for kind in &problem.kinds {
        if let Some(profile) = kind.profile {
            let made = patterns.made(problem, kind.pool, profile);
            terms.extend(made.into_iter().map(|(c, a)| (c, a * kind.memory_mib)));
        }
    }
    merge(terms)
}
