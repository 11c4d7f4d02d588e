//! The present state of a node in mig-parted's YAML, as `nvidia-mig-parted export` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fleet::observed::{Instances, ObservedGpu, ObservedNode};

/// What mig-parted's YAML can say of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pci_id: Option<u32>,
    mig: bool,
    /// Names and counts, in alphabetical order as mig-parted has them.
    devices: BTreeMap<String, u32>,
}

/// GPUs whose MIG mode will be another one, of which what is exported says nothing; each a sentence.
pub fn pending(node: &ObservedNode) -> Vec<String> {
    let word = |on| if on { "on" } else { "off" };
    let of_gpu = |gpu: &ObservedGpu| {
        let mode = gpu.mode.filter(|mode| mode.current != mode.pending)?;
        let (now, then, index) = (word(mode.current), word(mode.pending), gpu.index);
        Some(format!(
            "GPU {index}: MIG {then} is pending; what is exported is MIG {now}, as it is now"
        ))
    };
    node.gpus.iter().filter_map(of_gpu).collect()
}

/// The YAML of a node under one label. Instances without compute instances, which mig-parted does
/// not see, modes that are pending, and GPUs that cannot be read are named in comments.
///
/// # Errors
/// A GPU that hides its instances; with the reason.
pub fn yaml(node: &ObservedNode, label: &str) -> Result<String, String> {
    let mut groups: Vec<(Entry, Vec<u32>)> = Vec::new();
    let mut notes = String::new();
    for gpu in &node.unreadable {
        let _ = writeln!(notes, "# {gpu}; there is no entry for it");
    }
    for told in pending(node) {
        let _ = writeln!(notes, "# {told}");
    }
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
        let devices = if groups.len() == 1 && node.unreadable.is_empty() {
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
