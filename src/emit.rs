//! What the surroundings need from a plan, each kind in a file of its own: pure functions from a
//! [`Plan`] to text.
//!
//! This file holds what the kinds share: the plan by node, names that Kubernetes takes, text that
//! YAML takes. Nothing here prints, asks a driver or knows how a plan was found.

pub mod mig_parted;
pub mod report;
mod yaml;

use std::sync::Arc;

use crate::plan::{GpuPlan, Plan};

/// One node of a plan with its GPUs, ordered by index.
#[derive(Debug, Clone)]
pub struct NodeGpus<'p> {
    /// The node's name.
    pub name: &'p Arc<str>,
    /// Its GPUs, ordered by index.
    pub gpus: Vec<&'p GpuPlan>,
}

/// The GPUs of a plan by node, ordered by node and index whatever the order of the plan.
pub fn nodes(plan: &Plan) -> Vec<NodeGpus<'_>> {
    let mut gpus: Vec<&GpuPlan> = plan.gpus.iter().collect();
    gpus.sort_by(|a, b| (&a.node, a.gpu).cmp(&(&b.node, b.gpu)));
    gpus.chunk_by(|a, b| a.node == b.node)
        .filter_map(|of_node| {
            of_node.first().map(|first| NodeGpus { name: &first.node, gpus: of_node.to_vec() })
        })
        .collect()
}

/// Whether a text can be the value of a Kubernetes label: 1 to 63 of `[A-Za-z0-9._-]`, a letter or
/// digit at both ends.
pub fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
