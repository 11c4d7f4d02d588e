//! `--strategy single`: all GPUs of a node with MIG on have instances of one profile, as many as fit.
//! The profile is the same by name on GPUs of different boards, as the device plugin compares it.

use super::node_mode::NodeModes;
use super::patterns::Patterns;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;
use crate::optimise::supply::Pool;
use crate::plan::Strategy;

/// The choices of each node type; empty where nodes may have several profiles.
#[derive(Debug, Clone, Default)]
pub(crate) struct SingleProfile(Vec<Vec<Choice>>);

/// A profile that all GPUs of a node can have.
#[derive(Debug, Clone)]
struct Choice {
    /// For each pool the pattern of that profile; `None` where the nodes have no such GPU.
    patterns: Vec<Option<usize>>,
    /// Nodes that have it.
    nodes: Column,
}

impl SingleProfile {
    /// Adds the choice of a profile for nodes of each type, where the site has that rule.
    pub(crate) fn add(
        model: &mut Model,
        problem: &Problem,
        modes: &NodeModes,
        patterns: &Patterns,
    ) -> SingleProfile {
        if problem.policy.strategy != Strategy::Single {
            return SingleProfile::default();
        }
        let mut of_types = Vec::with_capacity(problem.node_types.len());
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let mut choices = Vec::new();
            for patterns in profiles_of_all(&problem.pools, &node_type.of_pool) {
                choices.push(Choice { patterns, nodes: model.integer(0, node_type.nodes) });
            }
            if let Some(on) = modes.column(t) {
                let mut terms: Terms = choices.iter().map(|c| (c.nodes, 1)).collect();
                terms.push((on, -1));
                model.equal(terms, 0);
            }
            of_types.push(choices);
        }
        for (pool, of_pool) in patterns.gpus.iter().enumerate() {
            for (pattern, gpus) in of_pool.iter().enumerate() {
                let mut terms: Terms = vec![(*gpus, 1)];
                for (node_type, choices) in problem.node_types.iter().zip(&of_types) {
                    let of_pattern = choices.iter().filter(|c| c.patterns[pool] == Some(pattern));
                    let each = node_type.of_pool[pool] as i64;
                    terms.extend(of_pattern.map(|choice| (choice.nodes, -each)));
                }
                model.at_most(terms, 0);
            }
        }
        SingleProfile(of_types)
    }

    /// The nodes of a type that have a pattern of a pool; `None` where nodes may have several.
    pub(crate) fn column(&self, node_type: usize, pool: usize, pattern: usize) -> Option<Column> {
        let mut choices = self.0.get(node_type)?.iter();
        Some(choices.find(|choice| choice.patterns[pool] == Some(pattern))?.nodes)
    }

    /// The patterns of a pool that nodes of a type have, with how many nodes do, in the same order
    /// for all pools; `None` where nodes may have several.
    pub(crate) fn decode(
        &self,
        node_type: usize,
        pool: usize,
        values: &[i64],
    ) -> Option<Vec<(usize, i64)>> {
        let choices = self.0.get(node_type)?.iter();
        Some(choices.filter_map(|c| Some((c.patterns[pool]?, values[c.nodes]))).collect())
    }
}

/// The profiles that all pools have of which a node has GPUs, each as its pattern in every pool.
fn profiles_of_all(pools: &[Pool], of_pool: &[usize]) -> Vec<Vec<Option<usize>>> {
    let has: Vec<bool> = of_pool.iter().map(|gpus| *gpus > 0).collect();
    let Some(first) = has.iter().position(|has| *has) else { return Vec::new() };
    let mut all = Vec::new();
    for name in (0..pools[first].patterns.len()).map(|p| pools[first].name_of(p)) {
        let of_pools = pools.iter().zip(&has).map(|(pool, has)| {
            let mut patterns = 0..pool.patterns.len();
            patterns.find(|p| *has && pool.name_of(*p) == name)
        });
        let patterns: Vec<Option<usize>> = of_pools.collect();
        if patterns.iter().zip(&has).all(|(pattern, has)| pattern.is_some() == *has) {
            all.push(patterns);
        }
    }
    all
}
