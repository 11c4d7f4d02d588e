//! `--strategy single`: all GPUs of a node with MIG on have one pattern, which is one profile as
//! often as it fits.

use std::collections::BTreeMap;

use super::node_mode::NodeModes;
use super::patterns::Patterns;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;
use crate::plan::Strategy;

/// The columns, by node type and pool: nodes of each pattern.
#[derive(Debug, Clone, Default)]
pub(crate) struct SingleProfile(BTreeMap<(usize, usize), Vec<Column>>);

impl SingleProfile {
    /// Adds the choice of a pattern for the nodes of a pool, where the site has that rule.
    pub(crate) fn add_pool(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        pool: usize,
        modes: &NodeModes,
        patterns: &Patterns,
    ) {
        if problem.policy.strategy != Strategy::Single {
            return;
        }
        let of_pool = &patterns.gpus[pool];
        let mut gpus_of: Vec<Terms> = vec![Terms::new(); of_pool.len()];
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let only = node_type.only_pool() == Some(pool);
            let Some(on) = modes.column(t).filter(|_| only) else { continue };
            let columns: Vec<Column> =
                of_pool.iter().map(|_| model.integer(0, node_type.nodes)).collect();
            let mut terms: Terms = columns.iter().map(|c| (*c, 1)).collect();
            terms.push((on, -1));
            model.equal(terms, 0);
            for (gpus, column) in gpus_of.iter_mut().zip(&columns) {
                gpus.push((*column, -(node_type.of_pool[pool] as i64)));
            }
            self.0.insert((t, pool), columns);
        }
        for (mut terms, column) in gpus_of.into_iter().zip(of_pool) {
            terms.push((*column, 1));
            model.at_most(terms, 0);
        }
    }

    /// The nodes of a type that have a pattern of a pool; `None` where nodes may have several.
    pub(crate) fn column(&self, node_type: usize, pool: usize, pattern: usize) -> Option<Column> {
        self.0.get(&(node_type, pool))?.get(pattern).copied()
    }

    /// How many nodes of a type have each pattern of a pool; `None` where nodes may have several.
    pub(crate) fn decode(&self, node_type: usize, pool: usize, values: &[i64]) -> Option<Vec<i64>> {
        let columns = self.0.get(&(node_type, pool))?;
        Some(columns.iter().map(|column| values[*column]).collect())
    }
}
