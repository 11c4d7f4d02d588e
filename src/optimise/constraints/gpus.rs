//! GPUs of a pool: those that are partitioned, and those that are allocated whole, are no more
//! than there are, on the nodes that may have them so.

use super::node_flow::NodeFlows;
use super::node_mode::NodeModes;
use crate::optimise::model::{Column, Model, Terms, merge};
use crate::optimise::problem::Problem;

/// How many GPUs there are for something: a constant, less what columns take.
#[derive(Debug, Default)]
struct Available {
    gpus: i64,
    less: Terms,
}

impl Available {
    fn add(&mut self, (gpus, less): (i64, Terms)) {
        self.gpus += gpus;
        self.less.extend(less);
    }

    fn limit(self, model: &mut Model, mut taken: Terms) {
        taken.extend(self.less);
        model.at_most(merge(taken), self.gpus);
    }
}

/// Adds the rows of one pool: `partitioned` are the columns of its patterns, `single` the GPUs of
/// replicas that take one whole GPU (all whole GPUs, where nodes have no flow).
pub(crate) fn add(
    model: &mut Model,
    problem: &Problem,
    pool: usize,
    partitioned: &[Column],
    single: Terms,
    modes: &NodeModes,
    flows: &NodeFlows,
) {
    let partitioned: Terms = partitioned.iter().map(|c| (*c, 1)).collect();
    let (mut for_mig, mut for_whole) = (Available::default(), Available::default());
    for (t, node_type) in problem.node_types.iter().enumerate() {
        let gpus = node_type.of_pool[pool];
        let nodes = node_type.nodes;
        let flow = flows.flow(pool, t);
        match (modes.column(t), flow) {
            (None, None) => {
                for_mig.gpus += nodes * node_type.partitionable(pool) as i64;
                for_whole.gpus += nodes * gpus as i64;
            }
            (None, Some(flow)) => {
                for_mig.add(flow.left(gpus, node_type.partitionable(pool)));
                for_whole.add(flow.left(gpus, gpus));
            }
            (Some(on), flow) => {
                for_mig.less.push((on, -(gpus as i64)));
                match flow {
                    None => {
                        for_whole.gpus += nodes * gpus as i64;
                        for_whole.less.push((on, gpus as i64));
                    }
                    Some(flow) => for_whole.add(flow.left(gpus, gpus)),
                }
            }
        }
    }
    // With MIG on or off for all of a node, partitioned and whole GPUs never share one; else they
    // do.
    let mut together = single;
    if !modes.by_node() {
        together.extend(partitioned.iter().copied());
    }
    for_whole.limit(model, together);
    // Where the present state is known, GPUs that stay as they are count too, see `present`.
    if modes.by_node() || problem.policy.keep_whole > 0 && !problem.knows_present {
        for_mig.limit(model, partitioned);
    }
}
