//! Whether the nodes of a fleet can hold the labels of a mig-parted file.
//!
//! Nodes with the same boards give the same answers and are checked once. Knows nothing of plans,
//! flags or drivers.

use std::collections::BTreeMap;

use super::assignments::Assignments;
use super::{Config, NodeGpu};
use crate::error::Diagnostic;
use crate::fleet::{Fleet, LeftOut, Node};
use crate::text::plural;

/// What a check of a file against a fleet found.
#[derive(Debug, Clone, Default)]
pub struct FleetCheck {
    /// Every reason why the file is not valid or does not fit.
    pub problems: Vec<Diagnostic>,
    /// What is odd but works.
    pub warnings: Vec<Diagnostic>,
    /// For each label that fits, the nodes that can hold it.
    pub held: BTreeMap<String, Held>,
}

/// The nodes that can hold a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// How many nodes.
    pub nodes: u64,
    /// Their GPUs, of all of them together.
    pub gpus: u64,
}

/// Nodes of the same boards at the same indices, which give the same answers.
struct NodeGroup<'f> {
    first: &'f Node,
    nodes: Vec<&'f str>,
}

impl FleetCheck {
    /// Checks that every node of the fleet can hold every one of `labels`.
    pub fn of_labels(config: &Config, labels: &[&str], fleet: &Fleet) -> FleetCheck {
        let cases = labels.iter().flat_map(|label| {
            groups(fleet.nodes().iter()).into_iter().map(move |group| (*label, group))
        });
        FleetCheck::of_cases(config, cases.collect())
    }

    /// Checks that every node can hold the label that it is assigned.
    pub fn of_assignments(
        config: &Config,
        assignments: &Assignments<'_>,
        fleet: &Fleet,
    ) -> FleetCheck {
        let mut nodes_of: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        for node in fleet.nodes() {
            if let Some(label) = assignments.labels.get(node.name.as_str()) {
                nodes_of.entry(label).or_default().push(node);
            }
        }
        let cases = nodes_of.into_iter().flat_map(|(label, nodes)| {
            groups(nodes.into_iter()).into_iter().map(move |group| (label, group))
        });
        FleetCheck::of_cases(config, cases.collect())
    }

    fn of_cases(config: &Config, cases: Vec<(&str, NodeGroup<'_>)>) -> FleetCheck {
        let mut check = FleetCheck::default();
        let several = cases.len() > 1;
        for (label, group) in &cases {
            let place = |found: Diagnostic| match several {
                true => {
                    let message = format!("{} ({})", found.message, group.describe(label));
                    Diagnostic { message, ..found }
                }
                false => found,
            };
            match config.resolve_node(Some(label), &NodeGpu::of_fleet(group.first)) {
                Err(error) => check.problems.extend(error.problems.into_iter().map(place)),
                Ok(resolved) => {
                    check.warnings.extend(resolved.warnings.into_iter().map(place));
                    let held = check.held.entry((*label).to_string()).or_default();
                    let nodes = group.nodes.len() as u64;
                    held.nodes += nodes;
                    held.gpus += nodes * group.first.gpus.len() as u64;
                }
            }
        }
        check
    }
}

impl NodeGroup<'_> {
    /// `label 'migplan' on gpu-01 and 3 more nodes`.
    fn describe(&self, label: &str) -> String {
        let first = self.nodes.first().copied().unwrap_or_default();
        match self.nodes.len() {
            0 | 1 => format!("label '{label}' on {first}"),
            n => format!("label '{label}' on {first} and {}", plural(n as u64 - 1, "more node")),
        }
    }
}

/// Groups nodes that have the same boards at the same indices.
fn groups<'f>(nodes: impl Iterator<Item = &'f Node>) -> Vec<NodeGroup<'f>> {
    let mut groups: BTreeMap<(Vec<&str>, &[LeftOut]), NodeGroup<'f>> = BTreeMap::new();
    for node in nodes {
        let boards = node.gpus.iter().map(|b| b.id.as_str()).collect();
        let group = groups
            .entry((boards, &node.left_out))
            .or_insert_with(|| NodeGroup { first: node, nodes: Vec::new() });
        group.nodes.push(&node.name);
    }
    groups.into_values().collect()
}
