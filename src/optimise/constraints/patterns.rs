//! What the GPUs are partitioned into: for each pool and pattern the GPUs of that pattern.
//!
//! For each profile of a pool: instances that the patterns make ≥ replicas in them (≥, since an
//! instance may stay free).

use super::assignment::Assignment;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// The columns and the rows that further replicas join.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    /// For each pool, for each of its patterns: GPUs of that pattern.
    pub gpus: Vec<Vec<Column>>,
    /// For each kind: the rows, one for each period, that say instances made ≥ replicas in them;
    /// none for a whole GPU.
    pub supply_rows: Vec<Vec<usize>>,
}

impl Patterns {
    /// Adds the columns.
    pub(crate) fn add(model: &mut Model, problem: &Problem) -> Patterns {
        let gpus = problem
            .pools
            .iter()
            .map(|pool| pool.patterns.iter().map(|_| model.integer(0, pool.gpus)).collect())
            .collect();
        Patterns { gpus, supply_rows: Vec::new() }
    }

    /// Adds the supply of the profile of one kind, after what else its pool has to say.
    pub(crate) fn supply(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        kind: usize,
        assignment: &Assignment,
    ) {
        let Some(profile) = problem.kinds[kind].profile else {
            self.supply_rows.push(Vec::new());
            return;
        };
        let mut rows = Vec::with_capacity(problem.hours.len());
        for period in 0..problem.hours.len() {
            let mut terms = self.made(problem, problem.kinds[kind].pool, profile);
            terms.extend(assignment.in_kind(problem, kind, period).into_iter().map(|c| (c, -1)));
            rows.push(model.rows.len());
            model.at_least(terms, 0);
        }
        self.supply_rows.push(rows);
    }

    /// The instances of a profile that the patterns of its pool make.
    pub(crate) fn made(&self, problem: &Problem, pool: usize, profile: usize) -> Terms {
        problem.pools[pool]
            .patterns
            .iter()
            .zip(&self.gpus[pool])
            .filter(|(pattern, _)| pattern.counts[profile] > 0)
            .map(|(pattern, column)| (*column, i64::from(pattern.counts[profile])))
            .collect()
    }

    /// For each pattern of a pool that `of` admits, how many GPUs have it.
    pub(crate) fn decode(
        &self,
        pool: usize,
        values: &[i64],
        of: impl Fn(usize) -> bool,
    ) -> Vec<(usize, i64)> {
        let columns = self.gpus[pool].iter().enumerate();
        columns.filter(|(p, _)| of(*p)).map(|(p, column)| (p, values[*column])).collect()
    }
}
