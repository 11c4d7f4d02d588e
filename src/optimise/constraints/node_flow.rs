//! Replicas of several whole GPUs, which must be on one node.
//!
//! An arc-flow (Valério de Carvalho 1999): a node of `n` GPUs is a path from 0 to `n` by arcs of
//! the replicas' sizes and one last arc that leaves the rest as single GPUs. All nodes of one type
//! share one flow, so the model does not grow with the number of nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::node_mode::NodeModes;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// Replicas of several whole GPUs on the nodes of one type.
#[derive(Debug, Clone)]
pub(crate) enum NodeFlow {
    /// Paths through the nodes.
    Paths {
        /// Replicas of several whole GPUs: (first GPU, GPUs) → column.
        replicas: BTreeMap<(usize, usize), Column>,
        /// From this GPU on, all are single: first GPU → column.
        rest: BTreeMap<usize, Column>,
    },
    /// The one node of its type: its GPUs need no order, the sizes of its replicas add up.
    OneNode {
        /// Replicas by their GPUs.
        replicas: BTreeMap<usize, Column>,
        /// Whether the node has MIG on, and so no whole GPU.
        on: Option<Column>,
    },
}

/// For each pool, by node type: the flow of replicas of several GPUs, where there are any.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFlows(Vec<BTreeMap<usize, NodeFlow>>);

impl NodeFlows {
    /// Adds the flows of the next pool, whose whole-GPU replicas are `whole`, by size.
    pub(crate) fn add_pool(
        &mut self,
        model: &mut Model,
        problem: &Problem,
        modes: &NodeModes,
        whole: &BTreeMap<usize, Vec<Column>>,
    ) {
        let pool = self.0.len();
        self.0.push(BTreeMap::new());
        let sizes: Vec<usize> = whole.keys().copied().filter(|size| *size > 1).collect();
        // Of one node with a known present state the GPUs are counted, not ordered.
        if sizes.is_empty() || problem.knows_present {
            return;
        }
        let mut arcs_of: BTreeMap<usize, Terms> = BTreeMap::new();
        for (t, node_type) in problem.node_types.iter().enumerate() {
            let gpus = node_type.of_pool[pool];
            if gpus == 0 {
                continue;
            }
            // GPUs that stay whole are kept node by node, so they need paths.
            let counted = node_type.nodes == 1
                && (problem.policy.keep_whole == 0 || problem.node_types.len() == 1);
            let flow = if counted {
                NodeFlow::one_node(model, gpus, modes.column(t), &sizes)
            } else {
                NodeFlow::paths(model, gpus, node_type.nodes, modes.column(t), &sizes)
            };
            for (size, column) in flow.replicas() {
                arcs_of.entry(size).or_default().push((column, 1));
            }
            self.0[pool].insert(t, flow);
        }
        for size in sizes {
            let mut terms = arcs_of.remove(&size).unwrap_or_default();
            terms.extend(whole[&size].iter().map(|c| (*c, -1)));
            model.equal(terms, 0);
        }
    }

    /// The flow of a pool through the nodes of a type.
    pub(crate) fn flow(&self, pool: usize, node_type: usize) -> Option<&NodeFlow> {
        self.0[pool].get(&node_type)
    }
}

impl NodeFlow {
    /// Adds replicas of `sizes` on one node of `gpus` GPUs.
    fn one_node(model: &mut Model, gpus: usize, on: Option<Column>, sizes: &[usize]) -> NodeFlow {
        let column = |size: &usize| (*size, model.integer(0, (gpus / size) as i64));
        let replicas: BTreeMap<usize, Column> = sizes.iter().map(column).collect();
        let mut terms: Terms = replicas.iter().map(|(size, c)| (*c, *size as i64)).collect();
        terms.extend(on.map(|on| (on, gpus as i64)));
        model.at_most(terms, gpus as i64);
        NodeFlow::OneNode { replicas, on }
    }

    /// Adds the flow of `nodes` units, less those that column `on` takes out, through nodes of
    /// `gpus` GPUs, by arcs of `sizes` (ascending).
    fn paths(
        model: &mut Model,
        gpus: usize,
        nodes: i64,
        on: Option<Column>,
        sizes: &[usize],
    ) -> NodeFlow {
        let (mut replicas, mut rest) = (BTreeMap::new(), BTreeMap::new());
        let mut reachable = BTreeSet::from([0]);
        let mut balance: BTreeMap<usize, Terms> = BTreeMap::new();
        for at in 0..=gpus {
            if !reachable.contains(&at) {
                continue;
            }
            let last = model.integer(0, nodes);
            rest.insert(at, last);
            balance.entry(at).or_default().push((last, -1));
            for &size in sizes.iter().filter(|size| at + **size <= gpus) {
                let column = model.integer(0, nodes);
                replicas.insert((at, size), column);
                balance.entry(at).or_default().push((column, -1));
                balance.entry(at + size).or_default().push((column, 1));
                reachable.insert(at + size);
            }
        }
        for (at, mut terms) in balance {
            if at == 0 {
                terms.extend(on.map(|on| (on, -1)));
            }
            terms.sort_unstable();
            model.equal(terms, if at == 0 { -nodes } else { 0 });
        }
        NodeFlow::Paths { replicas, rest }
    }

    /// The columns of the replicas, with the GPUs of one.
    fn replicas(&self) -> Vec<(usize, Column)> {
        match self {
            NodeFlow::Paths { replicas, .. } => {
                replicas.iter().map(|((_, size), column)| (*size, *column)).collect()
            }
            NodeFlow::OneNode { replicas, .. } => {
                replicas.iter().map(|(size, column)| (*size, *column)).collect()
            }
        }
    }

    /// GPUs that are left single on nodes of `gpus` GPUs, at most `most` of each: a constant, less
    /// a sum.
    pub(crate) fn left(&self, gpus: usize, most: usize) -> (i64, Terms) {
        match self {
            NodeFlow::Paths { rest, .. } => {
                let left = |at: usize| (gpus - at).min(most) as i64;
                (0, rest.iter().map(|(at, column)| (*column, -left(*at))).collect())
            }
            // Whoever counts fewer than all also counts all, so the rest is no matter here.
            NodeFlow::OneNode { .. } if most < gpus => (most as i64, Terms::new()),
            NodeFlow::OneNode { replicas, on } => {
                let mut less: Terms =
                    replicas.iter().map(|(size, column)| (*column, *size as i64)).collect();
                less.extend(on.map(|on| (on, gpus as i64)));
                (gpus as i64, less)
            }
        }
    }

    /// Takes the flow through nodes of `gpus` GPUs apart into `nodes` paths: for each node the
    /// sizes of its replicas, largest first. `None` where the values are no flow.
    pub(crate) fn decode(
        &self,
        values: &[i64],
        gpus: usize,
        nodes: usize,
    ) -> Option<Vec<Vec<usize>>> {
        let replicas = match self {
            NodeFlow::Paths { replicas, .. } => replicas,
            NodeFlow::OneNode { replicas, .. } => {
                let mut sizes = Vec::new();
                for (size, column) in replicas.iter().rev() {
                    sizes.extend(std::iter::repeat_n(*size, values[*column] as usize));
                }
                let fits = sizes.iter().sum::<usize>() <= gpus * nodes;
                return fits.then(|| vec![sizes; nodes]);
            }
        };
        let mut left: BTreeMap<(usize, usize), i64> =
            replicas.iter().map(|(arc, column)| (*arc, values[*column])).collect();
        let mut paths = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            let (mut at, mut sizes) = (0, Vec::new());
            while let Some((&(_, size), count)) =
                left.range_mut((at, 0)..=(at, gpus)).rev().find(|(_, count)| **count > 0)
            {
                *count -= 1;
                at += size;
                sizes.push(size);
            }
            sizes.sort_by(|a, b| b.cmp(a));
            paths.push(sizes);
        }
        left.values().all(|count| *count == 0).then_some(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart_as_they_went_in() {
        let mut model = Model::default();
        let flow = NodeFlow::paths(&mut model, 8, 3, None, &[2, 3, 5]);
        let NodeFlow::Paths { replicas, rest } = &flow else { panic!("no paths") };
        let mut values = vec![0; model.columns.len()];
        for (at, size) in [(0, 5), (5, 3), (0, 2)] {
            values[replicas[&(at, size)]] = 1;
        }
        // One node is full, one has a pair, one has no replica.
        (values[rest[&8]], values[rest[&2]], values[rest[&0]]) = (1, 1, 1);
        assert!(model.holds(&values));
        assert_eq!(flow.decode(&values, 8, 3), Some(vec![vec![5, 3], vec![2], vec![]]));
        let (constant, less) = flow.left(8, 8);
        assert_eq!(i128::from(constant) - crate::optimise::model::dot(&less, &values), 14);
        values[replicas[&(2, 2)]] = 1;
        assert!(!model.holds(&values));
    }

    #[test]
    fn one_node_counts_its_gpus() {
        let mut model = Model::default();
        let on = model.integer(0, 1);
        let flow = NodeFlow::one_node(&mut model, 8, Some(on), &[2, 3]);
        let columns: BTreeMap<usize, Column> = flow.replicas().into_iter().collect();
        let mut values = vec![0; model.columns.len()];
        (values[columns[&2]], values[columns[&3]]) = (1, 2);
        assert!(model.holds(&values));
        assert_eq!(flow.decode(&values, 8, 1), Some(vec![vec![3, 3, 2]]));
        let (constant, less) = flow.left(8, 8);
        assert_eq!(i128::from(constant) - crate::optimise::model::dot(&less, &values), 0);
        values[on] = 1;
        assert!(!model.holds(&values));
    }
}
