//! Whether the device plugin of a cluster will advertise a plan: its MIG strategy on each node against
//! the one that the plan is for.
//!
//! Under `single`, which is the GPU Operator's default, a node with several profiles advertises
//! nothing, and one with a single profile advertises it as `nvidia.com/gpu`, which the plan's pods do
//! not ask for. Under `none` a GPU with MIG on is advertised as if it had none.

use std::collections::BTreeMap;

use super::nodes::{self, NodeGpus, Resources};
use crate::error::Diagnostic;
use crate::fleet::{Fleet, KubernetesNode};
use crate::kubernetes::{GPU_RESOURCE, list};
use crate::plan::{Checked, Strategy};

/// Warnings on the nodes that will not advertise their layouts as a plan for `strategy` needs it.
/// `present` is what the cluster says of a node.
pub fn warnings<'n>(
    strategy: Strategy,
    nodes: &[NodeGpus<'_>],
    present: impl Fn(&str) -> Option<&'n KubernetesNode>,
) -> Vec<Diagnostic> {
    let mut unlike: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in nodes {
        let Some(own) = present(node.name).and_then(|n| n.strategy.as_deref()) else { continue };
        // A layout that no strategy advertises is told of elsewhere.
        let Ok(wanted) = nodes::allocatable(strategy, node) else { continue };
        if under(own, node).is_some_and(|advertised| advertised != wanted) {
            unlike.entry(own).or_default().push(node.name.to_string());
        }
    }
    let warning = |(own, names): (&str, Vec<String>)| {
        let other_way = match (own, strategy) {
            ("single", Strategy::Mixed) => ", or plan with --strategy single",
            ("mixed", Strategy::Single) => ", or plan with --strategy mixed",
            _ => "",
        };
        Diagnostic::new(format!(
            "MIG strategy '{own}' on {}: the device plugin there will not advertise these layouts as this plan needs them. Set '{wanted}' before you label nodes (`{}`, or the values of `migplan emit device-plugin`){other_way}",
            list::names(&names),
            patch(strategy),
            wanted = strategy.name(),
        ))
    };
    unlike.into_iter().map(warning).collect()
}

/// As [`warnings`], for plans of a fleet that comes from a cluster.
pub fn warnings_for(strategy: Strategy, plans: &[&Checked], fleet: &Fleet) -> Vec<Diagnostic> {
    if !fleet.nodes().iter().any(|node| fleet.kubernetes(&node.name).is_some()) {
        return Vec::new();
    }
    let of_plan =
        |plan: &&Checked| warnings(strategy, &nodes::nodes(plan), |name| fleet.kubernetes(name));
    let mut all: Vec<Diagnostic> = plans.iter().flat_map(of_plan).collect();
    all.sort_by_key(ToString::to_string);
    all.dedup();
    all
}

/// The command that sets the strategy of the GPU Operator, as `snippets/configmap.yaml` has it.
fn patch(strategy: Strategy) -> String {
    format!(
        r#"kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge -p '{{"spec": {{"mig": {{"strategy": "{}"}}}}}}'"#,
        strategy.name()
    )
}

/// What a node advertises with the plan's layouts under the strategy that it has now: nothing where
/// the device plugin refuses it. `None` where the strategy is none that is known.
fn under(strategy: &str, node: &NodeGpus<'_>) -> Option<Resources> {
    match strategy {
        "mixed" => Some(nodes::allocatable(Strategy::Mixed, node).unwrap_or_default()),
        "single" => Some(nodes::allocatable(Strategy::Single, node).unwrap_or_default()),
        "none" => {
            // With MIG off everywhere it is the same; with MIG on pods get a GPU that they cannot use.
            let mig = node.gpus.iter().any(|gpu| gpu.mig);
            let gpus = if mig { 0 } else { node.gpus.len() as u64 };
            Some(Resources::from([(GPU_RESOURCE.to_string(), gpus)]))
        }
        _ => None,
    }
}
