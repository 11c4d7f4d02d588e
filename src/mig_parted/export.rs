//! The present state of a node in mig-parted's own forms: its YAML, as `nvidia-mig-parted export`
//! writes it, and its checkpoint JSON, which also has the placements.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::fleet::observed::{Instances, ObservedGpu, ObservedNode};

/// What mig-parted's YAML can say of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pci_id: Option<u32>,
    mig: bool,
    /// Names and counts, in alphabetical order as mig-parted has them.
    devices: BTreeMap<String, u32>,
}

/// The YAML of a node under one label. Instances without compute instances, which mig-parted does
/// not see, are named in comments.
///
/// # Errors
/// A GPU that hides its instances; with the reason.
pub fn yaml(node: &ObservedNode, label: &str) -> Result<String, String> {
    let mut groups: Vec<(Entry, Vec<u32>)> = Vec::new();
    let mut notes = String::new();
    for gpu in &node.gpus {
        let entry = entry(gpu, &mut notes)?;
        match groups.iter_mut().find(|(e, _)| *e == entry) {
            Some((_, gpus)) => gpus.push(gpu.index),
            None => groups.push((entry, vec![gpu.index])),
        }
    }
    let several_kinds = groups.iter().any(|(e, _)| e.pci_id != groups[0].0.pci_id);
    let mut text = format!("{notes}version: v1\nmig-configs:\n  {}:", quoted(label));
    if groups.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    for (entry, gpus) in &groups {
        let mut first = "- ";
        if let Some(id) = entry.pci_id.filter(|_| several_kinds) {
            let _ = writeln!(text, "  {first}device-filter: \"0x{id:08X}\"");
            first = "  ";
        }
        let devices = if groups.len() == 1 {
            "all".to_string()
        } else {
            let indices: Vec<String> = gpus.iter().map(ToString::to_string).collect();
            format!("[{}]", indices.join(", "))
        };
        let _ = writeln!(text, "  {first}devices: {devices}");
        let _ = writeln!(text, "    mig-enabled: {}", entry.mig);
        if entry.devices.is_empty() {
            text.push_str("    mig-devices: {}\n");
        } else {
            text.push_str("    mig-devices:\n");
            for (name, count) in &entry.devices {
                let _ = writeln!(text, "      \"{name}\": {count}");
            }
        }
    }
    Ok(text)
}

fn entry(gpu: &ObservedGpu, notes: &mut String) -> Result<Entry, String> {
    let mut entry = Entry {
        pci_id: gpu.pci_id,
        mig: gpu.mode.is_some_and(|m| m.current),
        devices: BTreeMap::new(),
    };
    let mut count = |name: String| *entry.devices.entry(name).or_default() += 1;
    match (&gpu.instances, &gpu.board) {
        (Instances::Known(instances), Some(board)) => {
            for instance in instances {
                if instance.compute.is_empty() {
                    let _ = writeln!(
                        notes,
                        "# GPU {}: {} at memory slice {} has no compute instance, so nothing can use it",
                        gpu.index, board.profiles[instance.profile].name, instance.start
                    );
                }
                instance.shape().names(board).into_iter().for_each(|n| count(n.to_string()));
            }
        }
        (Instances::Known(_), None) => {}
        // Counts are all that the YAML needs, and those every user may see.
        (Instances::Hidden { why, devices }, _) => {
            for device in devices {
                let profile = device.profile.as_ref();
                count(profile.ok_or_else(|| format!("GPU {}: {why}", gpu.index))?.to_string());
            }
        }
    }
    Ok(entry)
}

/// A label that YAML might take for something else is quoted.
fn quoted(label: &str) -> String {
    let plain = label.starts_with(|c: char| c.is_ascii_alphabetic())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&label.to_ascii_lowercase().as_str());
    if plain { label.to_string() } else { serde_json::Value::from(label).to_string() }
}

/// mig-parted's checkpoint (`api/checkpoint/v1`); its keys are the names of Go's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checkpoint {
    version: &'static str,
    mig_state: MigState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MigState {
    devices: Vec<Device>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Device {
    #[serde(rename = "UUID")]
    uuid: String,
    mig_mode: u8,
    gpu_instances: Vec<GpuInstance>,
}

/// Ordered by list position, as the driver lists them: mig-parted compares the order too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GpuInstance {
    /// The list position, not the id.
    #[serde(rename = "ProfileID")]
    profile: u32,
    placement: CheckpointPlacement,
    compute_instances: Vec<CheckpointCompute>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckpointPlacement {
    start: u32,
    size: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct CheckpointCompute {
    #[serde(rename = "ProfileID")]
    profile: u32,
    #[serde(rename = "EngProfileID")]
    engine: u32,
}

/// The checkpoint of a node, for `nvidia-mig-parted restore`.
///
/// # Errors
/// A GPU that hides its instances, or has a compute instance of a size that NVML has no number
/// for; with the reason.
pub fn checkpoint(node: &ObservedNode) -> Result<Checkpoint, String> {
    let mut devices = Vec::new();
    for gpu in node.gpus.iter().filter(|gpu| gpu.mode.is_some()) {
        let mut gpu_instances = Vec::new();
        match (&gpu.instances, &gpu.board) {
            (Instances::Hidden { why, .. }, _) => return Err(format!("GPU {}: {why}", gpu.index)),
            (Instances::Known(instances), Some(board)) => {
                for instance in instances {
                    let compute: Option<Vec<CheckpointCompute>> = instance
                        .shape()
                        .compute
                        .iter()
                        .map(|&slices| compute_position(slices))
                        .map(|p| p.map(|profile| CheckpointCompute { profile, engine: 0 }))
                        .collect();
                    gpu_instances.push(GpuInstance {
                        profile: board.profiles[instance.profile].nvml_index,
                        placement: CheckpointPlacement {
                            start: instance.start,
                            size: instance.size,
                        },
                        compute_instances: compute.ok_or_else(|| {
                            format!("GPU {}: a compute instance of unknown size", gpu.index)
                        })?,
                    });
                }
            }
            (Instances::Known(_), None) => {}
        }
        gpu_instances.sort();
        devices.push(Device {
            uuid: gpu.uuid.clone(),
            mig_mode: gpu.mode.is_some_and(|m| m.current).into(),
            gpu_instances,
        });
    }
    Ok(Checkpoint { version: "v1", mig_state: MigState { devices } })
}

/// `NVML_COMPUTE_INSTANCE_PROFILE_*` of a size.
fn compute_position(slices: u32) -> Option<u32> {
    Some(match slices {
        1 => 0,
        2 => 1,
        3 => 2,
        4 => 3,
        7 => 4,
        8 => 5,
        6 => 6,
        _ => return None,
    })
}
