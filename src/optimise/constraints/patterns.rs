//! What the GPUs are partitioned into: for each pool and pattern the GPUs of that pattern.
//!
//! For each profile of a pool: instances that the patterns make ≥ replicas in them (≥, since an
//! instance may stay free).

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::assignment::Assignment;
use crate::optimise::model::{Column, Model, Terms, merge};
use crate::optimise::problem::Problem;
use crate::optimise::supply::InstanceKind;

/// The columns and the rows that further replicas join.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    /// For each pool, for each of its patterns: GPUs of that pattern.
    pub gpus: Vec<Vec<Column>>,
    /// For each kind: the rows, one for each period, that say instances made ≥ replicas in them;
    /// none for a whole GPU.
    pub supply_rows: Vec<Vec<usize>>,
    /// By kind and period: the row that says replicas whose instances outlive a change ≤ instances
    /// after it.
    pub outlive_rows: Vec<((usize, usize), usize)>,
}

impl Patterns {
    /// Adds the columns.
    pub(crate) fn add(model: &mut Model, problem: &Problem) -> Patterns {
        let gpus = problem
            .pools
            .iter()
            .map(|pool| pool.patterns.iter().map(|_| model.integer(0, pool.gpus)).collect())
            .collect();
        Patterns { gpus, supply_rows: Vec::new(), outlive_rows: Vec::new() }
    }

    /// Adds the supply of the profile of one kind, after what else its pool has to say.
    pub(crate) fn supply(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        kind: usize,
        assignment: &Assignment,
    ) {
        let of = &problem.kinds[kind];
        let Some(made_at) = of.made_at else {
            self.supply_rows.push(Vec::new());
            return;
        };
        let mut rows = Vec::with_capacity(problem.hours.len());
        for period in (0..problem.hours.len()).filter(|p| problem.supplies[*p] == of.supply) {
            let mut terms = self.made(problem, of.pool, made_at);
            terms.extend(assignment.in_kind(problem, kind, period).into_iter().map(|c| (c, -1)));
            rows.push(model.rows.len());
            model.at_least(terms, 0);
        }
        self.supply_rows.push(rows);
    }

    /// Replicas whose instances outlive a change are in no more of a kind than there are after it.
    pub(crate) fn outlive(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        kind: usize,
        assignment: &Assignment,
    ) {
        for ((period, supply), columns) in assignment.staying(problem, kind) {
            let Some(after) = problem.in_supply(kind, supply) else { continue };
            let Some(made_at) = problem.kinds[after].made_at else { continue };
            let mut terms = self.made(problem, problem.kinds[after].pool, made_at);
            terms.extend(columns.into_iter().map(|c| (c, -1)));
            self.outlive_rows.push(((kind, period), model.rows.len()));
            model.at_least(terms, 0);
        }
    }

    /// The instances that the patterns of a pool make at one place of their counts.
    pub(crate) fn made(&self, problem: &Problem, pool: usize, profile: usize) -> Terms {
        problem.pools[pool]
            .patterns
            .iter()
            .zip(&self.gpus[pool])
            .filter(|(pattern, _)| pattern.counts[profile] > 0)
            .map(|(pattern, column)| (*column, i64::from(pattern.counts[profile])))
            .collect()
    }

    /// For each pool and supply, the instances of each kind that a replica may have and of all larger
    /// ones. Where these are whole numbers, so is the rest of a model over time: see `assignment`.
    pub(crate) fn instances(&self, problem: &Problem) -> Vec<Terms> {
        let used = problem.item_types.iter().flat_map(|t| t.kinds.iter().copied());
        let used: BTreeSet<usize> = used.collect();
        let mut kinds: Vec<&InstanceKind> = used.into_iter().map(|k| &problem.kinds[k]).collect();
        let supply = |k: &InstanceKind| (k.pool, k.supply);
        let size = |k: &InstanceKind| (k.memory_mib, k.compute_slices, k.made_at);
        kinds.sort_by_key(|k| (supply(k), Reverse(size(k))));
        let mut sums = Vec::new();
        for of_supply in kinds.chunk_by(|a, b| supply(a) == supply(b)) {
            let mut sum = Terms::new();
            for (kind, made_at) in of_supply.iter().filter_map(|k| Some((k, k.made_at?))) {
                sum.extend(self.made(problem, kind.pool, made_at));
                sum = merge(sum);
                sums.push(sum.clone());
            }
        }
        sums
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
