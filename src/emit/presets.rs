//! The MIG configurations beside a plan's own that a file carries: those of mig-parted's generated
//! file (`pkg/mig/builder` of NVIDIA/mig-parted v0.15.0), for the boards that a cluster has.
//!
//! A custom ConfigMap replaces the generated one, so a node that is labelled with a preset which the
//! file lacks loses its configuration (NVIDIA/gpu-operator issue 2913).

use std::collections::{BTreeMap, BTreeSet};

use super::mig_config::{self, Devices, Entry, GpuConfig};
use super::nodes::{NodeGpus, board_of};
use crate::error::{Diagnostic, Result};
use crate::hardware::layout::{self, Counts};
use crate::hardware::{Board, Catalogue};
use crate::kubernetes::profile_of_label;

/// The label of the configuration that switches MIG off on every GPU.
const ALL_DISABLED: &str = "all-disabled";

/// The label of the configuration that switches MIG on and creates nothing.
const ALL_ENABLED: &str = "all-enabled";

/// The label of the configuration with instances of several sizes on each GPU.
const ALL_BALANCED: &str = "all-balanced";

/// Which presets a file gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// None.
    None,
    /// `all-disabled`.
    AllDisabled,
    /// `all-disabled` and a uniform `all-<profile>` for each profile of the boards.
    Uniform,
}

/// The presets of some boards.
#[derive(Debug, Clone, Default)]
pub(super) struct Presets {
    /// Each under its label.
    pub(super) configs: BTreeMap<String, Vec<Entry>>,
    /// The boards that have none of their own: an entry for them would apply to others too.
    pub(super) left_out: Vec<String>,
}

impl Presets {
    /// A warning on the boards without presets.
    pub(super) fn warning(&self) -> Option<Diagnostic> {
        (!self.left_out.is_empty()).then(|| {
            Diagnostic::new(format!(
                "no presets for {}: their PCI ids do not tell them from the other boards here, so an entry could apply to those as well",
                self.left_out.join(" and ")
            ))
        })
    }
}

/// Whether a label is one that mig-parted's generated file uses for some board.
pub(super) fn is_preset(label: &str) -> bool {
    [ALL_DISABLED, ALL_ENABLED, ALL_BALANCED].contains(&label)
        || label.strip_prefix("all-").and_then(profile_of_label).is_some()
}

impl Which {
    /// Whether a file gets this preset.
    pub(super) fn has(self, label: &str) -> bool {
        match self {
            Which::None => false,
            Which::AllDisabled => label == ALL_DISABLED,
            Which::Uniform => label != ALL_ENABLED && label != ALL_BALANCED,
        }
    }
}

/// The presets for the boards of these nodes.
///
/// # Errors
/// A board that the catalogue lacks (exit 3).
pub(super) fn of_nodes(
    nodes: &[NodeGpus<'_>],
    catalogue: &Catalogue,
    which: Which,
) -> Result<Presets> {
    let ids: BTreeSet<&str> =
        nodes.iter().flat_map(|node| &node.gpus).map(|gpu| gpu.board.as_ref()).collect();
    let boards = ids.into_iter().map(|id| board_of(catalogue, id).map(|board| &**board));
    let mut presets = of_boards(&boards.collect::<Result<Vec<&Board>>>()?);
    presets.configs.retain(|label, _| which.has(label));
    if which != Which::Uniform {
        presets.left_out.clear();
    }
    if let [node] = nodes {
        presets.configs.values_mut().for_each(|entries| spare_left_out(entries, node));
    }
    Ok(presets)
}

/// Makes a preset leave the GPUs alone that the plan of its one node leaves out.
fn spare_left_out(entries: &mut Vec<Entry>, node: &NodeGpus<'_>) {
    let turns_on = |entry: &Entry| entry.gpu != GpuConfig::MigOff;
    if node.left_out.is_empty() || !entries.iter().any(turns_on) {
        return;
    }
    for entry in entries.iter_mut().filter(|entry| turns_on(entry) && entry.filter.is_empty()) {
        entry.devices = Devices::Indices(node.gpus.iter().map(|gpu| gpu.gpu).collect());
    }
    entries.extend(mig_config::without_mig(node.without_mig()));
}

/// All presets of these boards, which are distinct.
pub(super) fn of_boards(boards: &[&Board]) -> Presets {
    let everywhere = |gpu| vec![Entry { filter: Vec::new(), devices: Devices::All, gpu }];
    let mut presets = BTreeMap::from([
        (ALL_DISABLED.to_string(), everywhere(GpuConfig::MigOff)),
        (ALL_ENABLED.to_string(), everywhere(GpuConfig::Instances(Vec::new()))),
    ]);
    let mut left_out = Vec::new();
    let mut filters = mig_config::filters(boards);
    for board in boards {
        // One board needs no filter; of several, each gets its own number of instances.
        let filter = match (boards.len(), filters.remove(board.id.as_str())) {
            (1, _) => Vec::new(),
            (_, Some(filter)) => filter,
            (_, None) => {
                left_out.push(board.id.clone());
                continue;
            }
        };
        let mut add = |label: String, counts: Counts| {
            let profiles = board.profiles.iter().zip(counts).filter(|(_, count)| *count > 0);
            let mut counts: Vec<_> =
                profiles.map(|(profile, count)| (profile.name.clone(), count)).collect();
            counts.sort_unstable();
            if counts.is_empty() {
                return;
            }
            let gpu = GpuConfig::Instances(counts);
            let entries: &mut Vec<Entry> = presets.entry(label).or_default();
            match entries.iter_mut().find(|entry| entry.gpu == gpu) {
                Some(same) => {
                    same.filter.extend(filter.clone());
                    same.filter.sort();
                    same.filter.dedup();
                }
                None => {
                    entries.push(Entry { filter: filter.clone(), devices: Devices::All, gpu });
                }
            }
        };
        for profile in &board.profiles {
            let counts = layout::uniform_counts(board, &profile.name);
            add(format!("all-{}", profile.name.label()), counts);
        }
        add(ALL_BALANCED.to_string(), layout::balanced_counts(board));
    }
    Presets { configs: presets, left_out }
}
