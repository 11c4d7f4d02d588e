//! Nodes whose GPUs agree on MIG mode (`--mig-mode per-node`, and `--strategy single`): for each
//! node type the number of its nodes with MIG on.

use crate::optimise::model::{Column, Model};
use crate::optimise::problem::Problem;
use crate::plan::Strategy;

/// The columns.
#[derive(Debug, Clone)]
pub(crate) struct NodeModes {
    /// For each node type, where all GPUs of a node agree: nodes with MIG on.
    on: Vec<Option<Column>>,
}

impl NodeModes {
    /// Adds a column for each node type, where GPUs must agree.
    pub(crate) fn add(model: &mut Model, problem: &Problem) -> NodeModes {
        if !problem.policy.nodes_agree_on_mig() {
            return NodeModes { on: vec![None; problem.node_types.len()] };
        }
        let single = problem.policy.strategy == Strategy::Single;
        let busy = problem.pools.iter().flat_map(|p| &p.groups).any(|g| g.busy_stays);
        let whole = problem.pools.iter().flat_map(|p| &p.groups).any(|g| g.stays_whole);
        let on = problem.node_types.iter().map(|node_type| {
            let most = if busy || !whole { node_type.nodes } else { 0 };
            Some(model.integer(i64::from(busy && !single), most))
        });
        NodeModes { on: on.collect() }
    }

    /// The nodes of a type with MIG on; `None` where each GPU has its own mode.
    pub(crate) fn column(&self, node_type: usize) -> Option<Column> {
        self.on[node_type]
    }

    /// Whether the GPUs of a node agree.
    pub(crate) fn by_node(&self) -> bool {
        self.on.iter().any(Option::is_some)
    }

    /// How many nodes of a type have MIG on; `None` where each GPU has its own mode.
    pub(crate) fn decode(&self, node_type: usize, values: &[i64]) -> Option<i64> {
        self.on[node_type].map(|column| values[column])
    }
}
