//! Free instances: what the patterns make beyond the replicas, and the further replicas, in the
//! proportions of the demand, that they could take.

use super::assignment::Assignment;
use super::patterns::Patterns;
use crate::optimise::model::{Column, Model, Terms, merge};
use crate::optimise::problem::Problem;

/// Further replicas, added for the stage that counts them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FurtherReplicas {
    /// For each pair of item type and kind.
    columns: Vec<Column>,
}

impl FurtherReplicas {
    /// Adds further replicas to what the supply must carry, each type within less than one replica
    /// of its exact share.
    pub(crate) fn add(model: &mut Model, problem: &Problem, patterns: &Patterns) -> Self {
        let mut further: Vec<(Column, usize)> = Vec::new();
        for (t, item_type) in problem.item_types.iter().enumerate() {
            // A whole GPU is no free instance.
            for &k in item_type.kinds.iter().filter(|_| item_type.whole_gpus == 0) {
                let Some(row) = patterns.supply_rows[k] else { continue };
                let column = model.integer(0, problem.most_of_kind(k));
                model.rows[row].terms.push((column, -1));
                further.push((column, t));
            }
        }
        let shareable = |t: &usize| problem.item_types[*t].whole_gpus == 0;
        let wanted = &problem.shares;
        let all: i64 = (0..wanted.len()).filter(shareable).map(|t| wanted[t]).sum();
        for t in (0..wanted.len()).filter(shareable) {
            let mut terms: Terms = further.iter().map(|(c, _)| (*c, -wanted[t])).collect();
            for (term, (_, of)) in terms.iter_mut().zip(&further) {
                if *of == t {
                    term.1 += all;
                }
            }
            model.at_least(terms.clone(), -(all - 1));
            model.at_most(terms, all - 1);
        }
        FurtherReplicas { columns: further.into_iter().map(|(c, _)| c).collect() }
    }

    /// How many columns were added.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The further replicas.
    pub(crate) fn terms(&self) -> Terms {
        self.columns.iter().map(|c| (*c, 1)).collect()
    }
}

/// Free instances of one memory size.
pub(crate) fn free_of_size(
    problem: &Problem,
    patterns: &Patterns,
    assignment: &Assignment,
    memory_mib: i64,
) -> Terms {
    let mut terms = Terms::new();
    for (k, kind) in problem.kinds.iter().enumerate() {
        if let (Some(profile), true) = (kind.profile, kind.memory_mib == memory_mib) {
            terms.extend(patterns.made(problem, kind.pool, profile));
            terms.extend(assignment.in_kind(problem, k).into_iter().map(|c| (c, -1)));
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
