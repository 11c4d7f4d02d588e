//! Which GPUs exist: nodes with their GPUs, each of a known board.
//!
//! Readers for each source live below (`spec`, `csv`); this file holds what they all produce. It
//! knows boards, but nothing of demand or plans.

pub mod csv;
pub mod observed;
pub mod spec;

use crate::hardware::BoardRef;

/// One server: its name and the board of each of its GPUs, by index from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name that plans and labels use.
    pub name: String,
    /// The board of GPU 0, 1, 2 …
    pub gpus: Vec<BoardRef>,
}

/// All GPUs to plan for. Nodes are ordered by name, so the order of an input file is of no
/// consequence; within a node a reader that knows no indices numbers GPUs by board id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    nodes: Vec<Node>,
}

/// The name of the one node that `--gpus` describes.
pub const LOCAL_NODE: &str = "local";

/// The most GPUs that a fleet may have: far above any that exists, and a bound on memory use.
pub const MAX_GPUS: u64 = 10_000_000;

impl Fleet {
    /// A fleet of these nodes. Names must be distinct.
    pub fn new(mut nodes: Vec<Node>) -> Fleet {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Fleet { nodes }
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
