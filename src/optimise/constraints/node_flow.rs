//! Replicas of several whole GPUs, which must be on one node.
//!
//! An arc-flow (Valério de Carvalho 1999): a node of `n` GPUs is a path from 0 to `n` by arcs of
//! the replicas' sizes and one last arc that leaves the rest as single GPUs. All nodes of one type
//! share one flow, so the model does not grow with the number of nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::node_mode::NodeModes;
use crate::optimise::model::{Column, Model, Terms};
use crate::optimise::problem::Problem;

/// Arcs of the flow through the nodes of one type.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFlow {
    /// Replicas of several whole GPUs: (first GPU, GPUs) → column.
    replicas: BTreeMap<(usize, usize), Column>,
    /// From this GPU on, all are single: first GPU → column.
    pub rest: BTreeMap<usize, Column>,
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
            let flow = NodeFlow::add(model, gpus, node_type.nodes, modes.column(t), &sizes);
            for ((_, size), column) in &flow.replicas {
                arcs_of.entry(*size).or_default().push((*column, 1));
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
    /// Adds the flow of `nodes` units, less those that column `on` takes out, through nodes of
    /// `gpus` GPUs, by arcs of `sizes` (ascending).
    fn add(
        model: &mut Model,
        gpus: usize,
        nodes: i64,
        on: Option<Column>,
        sizes: &[usize],
    ) -> NodeFlow {
        let mut flow = NodeFlow::default();
        let mut reachable = BTreeSet::from([0]);
        let mut balance: BTreeMap<usize, Terms> = BTreeMap::new();
        for at in 0..=gpus {
            if !reachable.contains(&at) {
                continue;
            }
            let rest = model.integer(0, nodes);
            flow.rest.insert(at, rest);
            balance.entry(at).or_default().push((rest, -1));
            for &size in sizes.iter().filter(|size| at + **size <= gpus) {
                let column = model.integer(0, nodes);
                flow.replicas.insert((at, size), column);
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
        flow
    }

    /// Takes the flow through nodes of `gpus` GPUs apart into `nodes` paths: for each node the
    /// sizes of its replicas, largest first. `None` where the values are no flow.
    pub(crate) fn decode(
        &self,
        values: &[i64],
        gpus: usize,
        nodes: usize,
    ) -> Option<Vec<Vec<usize>>> {
        let mut left: BTreeMap<(usize, usize), i64> =
            self.replicas.iter().map(|(arc, column)| (*arc, values[*column])).collect();
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
