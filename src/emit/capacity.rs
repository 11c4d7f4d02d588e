//! `migplan emit capacity`: the numbers that `kubectl describe node` will show under Allocatable,
//! per node and in all, before and after.

use std::collections::BTreeMap;

use serde::Serialize;

use super::nodes::{self, Resources};
use super::output::Emitted;
use super::plan_view::PlanView;
use crate::error::{Diagnostic, Error, Result};
use crate::fleet::KubernetesNode;
use crate::kubernetes::GPU_RESOURCE;

/// Schema key of the JSON form.
pub const CAPACITY_SCHEMA: &str = "migplan.capacity/v1";

/// What every node advertises before and after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Capacity {
    /// Always [`CAPACITY_SCHEMA`].
    pub schema: &'static str,
    /// The device plugin's MIG strategy.
    pub strategy: &'static str,
    /// Where `before` comes from: `cluster`, or `whole_gpus` where nothing is known of it.
    pub before_from: &'static str,
    /// The nodes, ordered by name.
    pub nodes: Vec<NodeCapacity>,
    /// The sums over all nodes.
    pub totals: Totals,
}

/// What one node advertises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeCapacity {
    /// The node.
    pub node: String,
    /// Before the change.
    pub before: Resources,
    /// After it; empty where the device plugin refuses the node.
    pub after: Resources,
    /// Why the device plugin refuses the node, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The sums over all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Totals {
    /// Before the change.
    pub before: Resources,
    /// After it.
    pub after: Resources,
}

/// Works out the capacity. `present` is what the cluster says of its nodes now; without it all GPUs
/// are taken to be whole, and none to be shared.
pub fn capacity(
    view: &PlanView<'_>,
    present: Option<&BTreeMap<String, KubernetesNode>>,
) -> Capacity {
    let mut totals = Totals::default();
    let nodes = view
        .nodes
        .iter()
        .map(|node| {
            let now = present.and_then(|nodes| nodes.get(&**node.name));
            let before = match (present, now) {
                (Some(_), now) => now.map(|n| n.allocatable.clone()).unwrap_or_default(),
                (None, _) => Resources::from([(GPU_RESOURCE.to_string(), node.gpus.len() as u64)]),
            };
            let (after, refused) = match nodes::allocatable(view.strategy, node) {
                Ok(resources) => (resources, None),
                Err(reason) => (Resources::new(), Some(reason)),
            };
            let after: Resources = match now {
                Some(now) => after.iter().map(|(r, count)| now.advertised(r, *count)).collect(),
                None => after,
            };
            for (sum, part) in [(&mut totals.before, &before), (&mut totals.after, &after)] {
                for (resource, count) in part {
                    *sum.entry(resource.clone()).or_default() += count;
                }
            }
            NodeCapacity { node: node.name.to_string(), before, after, refused }
        })
        .collect();
    Capacity {
        schema: CAPACITY_SCHEMA,
        strategy: view.strategy.name(),
        before_from: if present.is_some() { "cluster" } else { "whole_gpus" },
        nodes,
        totals,
    }
}

/// Nodes that the device plugin refuses, as warnings.
pub fn warnings(capacity: &Capacity) -> Vec<Diagnostic> {
    capacity
        .nodes
        .iter()
        .filter_map(|node| {
            let reason = node.refused.as_ref()?;
            Some(Diagnostic::new(format!(
                "node '{}' will advertise nothing under MIG strategy {}: {reason}",
                node.node, capacity.strategy
            )))
        })
        .collect()
}

/// The capacity as JSON.
///
/// # Errors
/// An internal error (exit 1) that no capacity can cause.
pub fn json(capacity: &Capacity) -> Result<Emitted> {
    let mut text = serde_json::to_string_pretty(capacity)
        .map_err(|e| Error::internal(format!("capacity to JSON: {e}")))?;
    text.push('\n');
    Ok(Emitted { text, warnings: warnings(capacity), ..Emitted::default() })
}
