//! The GPUs of a plan by node, and what the device plugin advertises of each node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{Diagnostic, Error, Result};
use crate::fleet::{LOCAL_NODE, WhyLeftOut};
use crate::hardware::{BoardRef, Catalogue};
use crate::kubernetes::{GPU_RESOURCE, MIG_RESOURCE_PREFIX};
use crate::plan::{Checked, GpuPlan, InstanceProfile, LeftOutGpu, Strategy};
use crate::text::plural;

/// Resource name → count, as under a node's `status.allocatable`.
pub type Resources = BTreeMap<String, u64>;

/// One node of a plan with its GPUs, ordered by index.
#[derive(Debug, Clone)]
pub struct NodeGpus<'p> {
    /// The node's name.
    pub name: &'p Arc<str>,
    /// Its GPUs, ordered by index.
    pub gpus: Vec<&'p GpuPlan>,
    /// Those that the plan leaves out, where it knows of some.
    pub left_out: Vec<&'p LeftOutGpu>,
}

impl NodeGpus<'_> {
    /// The indices of its GPUs that cannot do MIG, where the plan knows of some.
    pub fn without_mig(&self) -> Vec<u32> {
        let without = self.left_out.iter().filter(|gpu| gpu.reason == WhyLeftOut::WithoutMig);
        without.map(|gpu| gpu.gpu).collect()
    }
}

/// The GPUs of a plan by node, ordered by node and index whatever the order of the plan.
pub fn nodes(plan: &Checked) -> Vec<NodeGpus<'_>> {
    let mut gpus: Vec<&GpuPlan> = plan.gpus.iter().collect();
    gpus.sort_by(|a, b| (&a.node, a.gpu).cmp(&(&b.node, b.gpu)));
    gpus.chunk_by(|a, b| a.node == b.node)
        .filter_map(|of_node| {
            let name = &of_node.first()?.node;
            let left_out = plan.left_out.iter().filter(|gpu| gpu.node == *name).collect();
            Some(NodeGpus { name, gpus: of_node.to_vec(), left_out })
        })
        .collect()
}

/// A warning where a text names the node of a plan for `--gpus`, whose name is none that `program`
/// knows.
pub(super) fn unnamed<'n>(
    mut names: impl Iterator<Item = &'n str>,
    program: &str,
    text: &str,
) -> Option<Diagnostic> {
    names.any(|name| name == LOCAL_NODE).then(|| {
        Diagnostic::new(format!(
            "the plan calls its node '{LOCAL_NODE}', but {program} knows it by another name: plan with --nodes or --fleet, or change the name in {text}"
        ))
    })
}

/// Finds the node that a per-node kind is for: the one named, or the only one.
///
/// # Errors
/// A name that the plan lacks, or none where there are several (exit 2).
pub fn pick_node<'v, 'p>(
    nodes: &'v [NodeGpus<'p>],
    name: Option<&str>,
) -> Result<&'v NodeGpus<'p>> {
    let list = || {
        const SHOWN: usize = 8;
        let names: Vec<&str> = nodes.iter().take(SHOWN).map(|n| n.name.as_ref()).collect();
        let more = if nodes.len() > SHOWN { ", …" } else { "" };
        format!("nodes of the plan: {}{more}", names.join(", "))
    };
    match (name, nodes) {
        (Some(name), _) => nodes
            .iter()
            .find(|n| &**n.name == name)
            .ok_or_else(|| Error::usage(format!("the plan has no node '{name}'")).hint(list())),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Error::usage("the plan has several nodes; name one with --node").hint(list()))
        }
    }
}

/// The board of a GPU of the plan.
///
/// # Errors
/// A board that the catalogue lacks (exit 3).
pub fn board_of<'c>(catalogue: &'c Catalogue, id: &str) -> Result<&'c BoardRef> {
    catalogue.by_id(id).ok_or_else(|| {
        Error::input(Diagnostic::new(format!("the plan has the board '{id}', which is not known")))
            .hint("`migplan catalogue` lists the boards; --catalogue FILE adds yours")
    })
}

/// The resource that a pod asks for to get such an instance (NVIDIA/k8s-device-plugin,
/// `internal/rm/rm.go`: a `+` becomes a `.`).
pub fn resource(strategy: Strategy, profile: &InstanceProfile) -> String {
    match (strategy, profile) {
        (Strategy::Mixed, InstanceProfile::Mig(name)) => {
            format!("{MIG_RESOURCE_PREFIX}{}", name.label())
        }
        _ => GPU_RESOURCE.to_string(),
    }
}

/// What a node advertises with the plan's layouts, or why the device plugin refuses the node as a
/// whole (NVIDIA/k8s-device-plugin, `internal/rm/device_map.go`).
///
/// # Errors
/// The plugin's reason.
pub fn allocatable(
    strategy: Strategy,
    node: &NodeGpus<'_>,
) -> std::result::Result<Resources, String> {
    let mut resources = Resources::new();
    let mut profiles: BTreeSet<&InstanceProfile> = BTreeSet::new();
    let (mut mig_off, mut mig_on) = (0u64, 0u64);
    for gpu in &node.gpus {
        if !gpu.mig {
            mig_off += 1;
            *resources.entry(GPU_RESOURCE.to_string()).or_default() += 1;
            continue;
        }
        mig_on += 1;
        if gpu.instances.is_empty() {
            return Err(format!("GPU {} has MIG on and no instance", gpu.gpu));
        }
        for instance in &gpu.instances {
            profiles.insert(&instance.profile);
            *resources.entry(resource(strategy, &instance.profile)).or_default() += 1;
        }
    }
    if strategy == Strategy::Single && mig_on > 0 {
        if mig_off > 0 {
            return Err(format!("MIG is on for {} and off for {mig_off}", plural(mig_on, "GPU")));
        }
        if profiles.len() > 1 {
            let names: Vec<String> = profiles.iter().map(ToString::to_string).collect();
            return Err(format!("it has several profiles: {}", names.join(", ")));
        }
    }
    Ok(resources)
}
