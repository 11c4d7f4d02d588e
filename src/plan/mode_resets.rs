//! Which GPUs change their MIG mode between plans, on boards that do so only in a reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Plan;
use crate::fleet::LOCAL_NODE;
use crate::hardware::BoardRef;
use crate::text::plural;

/// GPUs of one node that must be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeResets {
    /// The node.
    pub node: Arc<str>,
    /// Their indices.
    pub gpus: BTreeSet<u32>,
    /// Their boards, by id.
    pub boards: BTreeSet<Arc<str>>,
}

/// The GPUs that must be reset in changes from one plan to another of the same GPUs, by node: MIG is
/// on in one and off in the other. GPUs stand in the same order in all plans.
pub fn of_changes<'p>(
    changes: impl IntoIterator<Item = (&'p Plan, &'p Plan)>,
    boards: &[BoardRef],
) -> Vec<NodeResets> {
    let in_a_reset = |id: &str| boards.iter().any(|b| b.id == id && b.mode_change_needs_reset);
    let mut nodes: BTreeMap<Arc<str>, NodeResets> = BTreeMap::new();
    for (from, to) in changes {
        let pairs = from.gpus.iter().zip(&to.gpus);
        for (gpu, _) in pairs.filter(|(a, b)| a.mig != b.mig && in_a_reset(&a.board)) {
            let of_node = nodes.entry(gpu.node.clone()).or_insert_with(|| NodeResets {
                node: gpu.node.clone(),
                gpus: BTreeSet::new(),
                boards: BTreeSet::new(),
            });
            of_node.gpus.insert(gpu.gpu);
            of_node.boards.insert(gpu.board.clone());
        }
    }
    nodes.into_values().collect()
}

/// The GPUs in words: `GPUs 0, 1 of a and GPU 0 of b (a100-sxm4-80gb)`; of many nodes the first few.
pub fn in_words<'r>(nodes: impl IntoIterator<Item = &'r NodeResets>) -> String {
    const SHOWN: usize = 3;
    let nodes: Vec<&NodeResets> = nodes.into_iter().collect();
    let of_node = |of: &&NodeResets| {
        let gpus: Vec<String> = of.gpus.iter().map(ToString::to_string).collect();
        let noun = if gpus.len() == 1 { "GPU" } else { "GPUs" };
        let gpus = format!("{noun} {}", gpus.join(", "));
        if *of.node == *LOCAL_NODE { gpus } else { format!("{gpus} of {}", of.node) }
    };
    let mut named: Vec<String> = nodes.iter().take(SHOWN).map(of_node).collect();
    if nodes.len() > SHOWN {
        named.push(format!("those of {}", plural((nodes.len() - SHOWN) as u64, "more node")));
    }
    let boards: BTreeSet<&str> = nodes.iter().flat_map(|n| &n.boards).map(|b| &**b).collect();
    let boards = boards.into_iter().collect::<Vec<_>>().join(", ");
    match named.split_last() {
        Some((last, [])) => format!("{last} ({boards})"),
        Some((last, before)) => format!("{} and {last} ({boards})", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_that_are_reset_are_named() {
        let of = |node: &str, gpus: &[u32], board: &str| NodeResets {
            node: node.into(),
            gpus: gpus.iter().copied().collect(),
            boards: [Arc::from(board)].into(),
        };
        let local = of(LOCAL_NODE, &[0], "a30-24gb");
        assert_eq!(in_words([&local]), "GPU 0 (a30-24gb)");
        let nodes = ["a", "b", "c", "d", "e"].map(|name| of(name, &[1, 0], "a100-sxm4-80gb"));
        assert_eq!(in_words(&nodes[..2]), "GPUs 0, 1 of a and GPUs 0, 1 of b (a100-sxm4-80gb)");
        let many = "GPUs 0, 1 of a, GPUs 0, 1 of b, GPUs 0, 1 of c and those of 2 more nodes (a100-sxm4-80gb)";
        assert_eq!(in_words(&nodes), many);
    }
}
