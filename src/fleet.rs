//! Which GPUs exist: nodes with their GPUs, each of a known board.
//!
//! Readers for each source live below (`spec`, `csv`, `nodes_json`); this file holds what they all produce. It
//! knows boards, but nothing of demand or plans.

pub mod csv;
pub mod kubernetes_node;
pub mod nodes_json;
pub mod observed;
pub mod price;
pub mod spec;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hardware::catalogue::names_instances;
use crate::hardware::{BoardRef, Catalogue};
use crate::table::shorten;

pub use kubernetes_node::KubernetesNode;

/// One server: its name and the board of each of its GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name that plans and labels use.
    pub name: String,
    /// The board of each GPU to plan for, in the order of their indices.
    pub gpus: Vec<BoardRef>,
    /// Its other GPUs, ordered by index; known only where the node itself was asked.
    pub left_out: Vec<LeftOut>,
}

/// A GPU of a node that cannot be planned for, but has an index as the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeftOut {
    /// Its index on the node.
    pub gpu: u32,
    /// Why.
    pub reason: WhyLeftOut,
}

/// Why a GPU cannot be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhyLeftOut {
    /// It cannot do MIG, as the display GPU of a workstation.
    WithoutMig,
    /// The driver lists it, but does not tell of it: a lost one, mostly.
    Unreadable,
}

impl Node {
    /// A node whose GPUs 0, 1, 2 … are of these boards.
    pub fn new(name: impl Into<String>, gpus: Vec<BoardRef>) -> Node {
        Node { name: name.into(), gpus, left_out: Vec::new() }
    }

    /// The index that each GPU of [`Self::gpus`] has on the node: those left out have one, too.
    pub fn indices(&self) -> impl Iterator<Item = u32> {
        let is_left_out = |index: &u32| self.left_out.iter().any(|other| other.gpu == *index);
        (0u32..).filter(move |index| !is_left_out(index)).take(self.gpus.len())
    }

    /// The index of the GPU at this position of [`Self::gpus`].
    pub fn index(&self, position: usize) -> u32 {
        let index = u32::try_from(position).unwrap_or(u32::MAX);
        if self.left_out.is_empty() {
            return index;
        }
        self.indices().nth(position).unwrap_or(index)
    }
}

/// All GPUs to plan for. Nodes are ordered by name, so the order of an input file is of no
/// consequence; within a node a reader that knows no indices numbers GPUs by board id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    nodes: Vec<Node>,
    kubernetes: KubernetesNodes,
}

/// What a Kubernetes cluster says of its nodes, by name.
pub type KubernetesNodes = BTreeMap<String, KubernetesNode>;

/// The name of the one node that `--gpus` describes.
pub const LOCAL_NODE: &str = "local";

/// The most GPUs that a fleet may have: far above any that exists, and a bound on memory use.
pub const MAX_GPUS: u64 = 10_000_000;

/// The board of which a flag or a file gives a number of GPUs.
///
/// # Errors
/// No such board, or a name of instances, whose number would be taken for one of GPUs; in a sentence.
fn counted_board<'c>(
    name: &str,
    catalogue: &'c Catalogue,
) -> std::result::Result<&'c BoardRef, String> {
    let board = catalogue.find(name, None).map_err(|e| e.to_string())?;
    match names_instances(name) {
        false => Ok(board),
        true => Err(format!(
            "'{}' is a label of MIG strategy single, which counts instances: write {} and the number of GPUs, or give the cluster's nodes with --nodes",
            shorten(name),
            board.id
        )),
    }
}

impl Fleet {
    /// A fleet of these nodes. Names must be distinct.
    pub fn new(mut nodes: Vec<Node>) -> Fleet {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Fleet { nodes, kubernetes: BTreeMap::new() }
    }

    /// The same fleet with what a cluster says of its nodes, also of those that are not planned.
    #[must_use]
    pub fn with_kubernetes(mut self, nodes: KubernetesNodes) -> Fleet {
        self.kubernetes = nodes;
        self
    }

    /// What the cluster says of a node, where the fleet comes from one.
    pub fn kubernetes(&self, node: &str) -> Option<&KubernetesNode> {
        self.kubernetes.get(node)
    }

    /// What the cluster says of all its nodes with GPUs, also of those that are not planned.
    pub fn kubernetes_nodes(&self) -> &KubernetesNodes {
        &self.kubernetes
    }

    /// The same fleet of one node, as that node really is.
    #[must_use]
    pub fn with_node(self, node: Node) -> Fleet {
        Fleet { nodes: vec![node], ..self }
    }

    /// The nodes, ordered by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// GPUs in all.
    pub fn gpu_count(&self) -> usize {
        self.nodes.iter().map(|n| n.gpus.len()).sum()
    }

    /// The distinct boards, ordered by id.
    pub fn boards(&self) -> Vec<BoardRef> {
        let mut boards: Vec<BoardRef> = Vec::new();
        for node in &self.nodes {
            for board in &node.gpus {
                // Neighbours are mostly alike; look at the last one before searching.
                if let Err(at) = boards.binary_search_by(|b| b.id.cmp(&board.id)) {
                    boards.insert(at, board.clone());
                }
            }
        }
        boards
    }
}
