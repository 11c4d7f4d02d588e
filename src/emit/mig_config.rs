//! One MIG configuration of mig-parted's file: which GPUs of a node become what, and how that is
//! written (`api/spec/v1/spec.go` of NVIDIA/mig-parted v0.15.0). It knows no plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::yaml;
use crate::hardware::{Board, ProfileName};

/// One item under a label: which GPUs, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// PCI ids; empty is no filter.
    pub(super) filter: Vec<String>,
    pub(super) devices: Devices,
    pub(super) gpu: GpuConfig,
}

/// GPUs of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Devices {
    /// All that the filter lets through.
    All,
    /// Those of these indices.
    Indices(Vec<u32>),
}

/// What becomes of a GPU: MIG off, or so many instances of each profile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum GpuConfig {
    MigOff,
    Instances(Vec<(ProfileName, u32)>),
}

/// For each of these boards, which are distinct, the filter that only its GPUs pass. A board has none
/// where PCI ids do not tell it from the others: its own are not known, or another has one of them too
/// (GB200 and GB300 come with different memory under one id).
pub(super) fn filters<'b>(boards: &[&'b Board]) -> BTreeMap<&'b str, Vec<String>> {
    let mut owners: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for board in boards {
        for id in &board.pci_ids {
            owners.entry(id.to_lowercase()).or_default().insert(&board.id);
        }
    }
    let is_own = |id: &String| owners.get(&id.to_lowercase()).is_some_and(|of| of.len() == 1);
    let own = boards.iter().filter(|b| !b.pci_ids.is_empty() && b.pci_ids.iter().all(is_own));
    own.map(|board| (board.id.as_str(), board.pci_ids.clone())).collect()
}

/// The entry for GPUs of a node that cannot do MIG, if it has some: mig-parted's `assert` wants one for
/// every GPU, which may ask nothing but MIG off of these (`cmd/nvidia-mig-parted/assert/config.go`).
pub(super) fn without_mig(indices: Vec<u32>) -> Option<Entry> {
    let devices = Devices::Indices(indices.clone());
    let entry = Entry { filter: Vec::new(), devices, gpu: GpuConfig::MigOff };
    (!indices.is_empty()).then_some(entry)
}

/// Writes a configuration under its label, as it stands below `mig-configs:`.
pub(super) fn write_config(text: &mut String, label: &str, entries: &[Entry]) {
    let _ = writeln!(text, "  {}:", yaml::scalar(label));
    for entry in entries {
        let devices = match &entry.devices {
            Devices::All => "all".to_string(),
            Devices::Indices(indices) => format!("[{}]", comma(indices)),
        };
        match &entry.filter[..] {
            [] => {
                let _ = writeln!(text, "    - devices: {devices}");
            }
            filter => {
                let ids: Vec<String> = filter.iter().map(|id| yaml::quoted(id)).collect();
                let _ = match &ids[..] {
                    [id] => writeln!(text, "    - device-filter: {id}"),
                    ids => writeln!(text, "    - device-filter: [{}]", ids.join(", ")),
                };
                let _ = writeln!(text, "      devices: {devices}");
            }
        }
        match &entry.gpu {
            GpuConfig::MigOff => text.push_str("      mig-enabled: false\n"),
            GpuConfig::Instances(counts) if counts.is_empty() => {
                text.push_str("      mig-enabled: true\n      mig-devices: {}\n");
            }
            GpuConfig::Instances(counts) => {
                text.push_str("      mig-enabled: true\n      mig-devices:\n");
                for (profile, count) in counts {
                    let _ = writeln!(text, "        \"{profile}\": {count}");
                }
            }
        }
    }
}

fn comma(indices: &[u32]) -> String {
    let mut text = String::with_capacity(indices.len() * 4);
    for (i, index) in indices.iter().enumerate() {
        let _ = write!(text, "{}{index}", if i > 0 { ", " } else { "" });
    }
    text
}
