//! `migplan emit checkpoint`: the checkpoint JSON of nvidia-mig-parted (`restore`), which unlike its
//! YAML carries exact placements.
//!
//! It names GPUs by UUID, which a plan does not know, so the node's UUIDs are given beside it.

use std::collections::BTreeMap;

use super::nodes::{board_of, pick_node};
use super::output::Emitted;
use super::plan_view::PlanView;
use crate::error::{Diagnostic, Error, Result};
use crate::mig_parted::checkpoint::{Checkpoint, Device, GpuInstance};
use crate::plan::InstanceProfile;
use crate::text::plural;

/// How to get the UUIDs, for hints.
const HINT: &str = "run on the node: nvidia-smi --query-gpu=index,uuid --format=csv,noheader > uuids.csv, and give --uuids uuids.csv";

/// Reads UUIDs by GPU index: `nvidia-smi --query-gpu=index,uuid --format=csv`, the lines of
/// `nvidia-smi -L`, or bare UUIDs in the order of indices, separated by commas or lines.
///
/// # Errors
/// A line that is none of these, a duplicate index or UUID (exit 3).
pub fn parse_uuids(text: &str, file: &str) -> Result<BTreeMap<u32, String>> {
    let mut uuids: BTreeMap<u32, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut problem = |message: String| {
            problems.push(Diagnostic::new(message).in_file(file).at_line(number as u64 + 1));
        };
        // `nvidia-smi -L` lists instances below their GPU; a header stands above the CSV.
        if line.is_empty() || line.starts_with("MIG ") || line.starts_with("index,") {
            continue;
        }
        let next = |uuids: &BTreeMap<u32, String>| uuids.keys().next_back().map_or(0, |i| i + 1);
        let mut pairs: Vec<(u32, &str)> = Vec::new();
        if let Some((index, uuid)) = of_list(line).or_else(|| of_csv(line)) {
            pairs.push((index, uuid));
        } else {
            let first = next(&uuids);
            pairs.extend((first..).zip(line.split(',').map(str::trim)));
        }
        for (index, uuid) in pairs {
            let digits = uuid.strip_prefix("GPU-").unwrap_or("");
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
                problem(format!("'{uuid}' is not a GPU UUID"));
            } else if uuids.values().any(|known| known == uuid) {
                problem(format!("duplicate UUID {uuid}"));
            } else if uuids.insert(index, uuid.to_string()).is_some() {
                problem(format!("duplicate GPU {index}"));
            }
        }
    }
    if problems.is_empty() { Ok(uuids) } else { Err(Error::inputs(problems).hint(HINT)) }
}

/// `GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-…)`.
fn of_list(line: &str) -> Option<(u32, &str)> {
    let (index, rest) = line.strip_prefix("GPU ")?.split_once(':')?;
    let uuid = rest.split_once("(UUID: ")?.1.trim_end_matches(')');
    Some((gpu_index(index)?, uuid))
}

/// `0, GPU-…`.
fn of_csv(line: &str) -> Option<(u32, &str)> {
    let (index, uuid) = line.split_once(',')?;
    Some((gpu_index(index)?, uuid.trim()))
}

/// The index of a GPU. No node has anywhere near so many as this refuses.
fn gpu_index(text: &str) -> Option<u32> {
    text.trim().parse::<u16>().ok().map(u32::from)
}

/// Writes one node's checkpoint.
///
/// # Errors
/// A node that the plan lacks, UUIDs of GPUs that it lacks there (exit 2); a GPU without UUID or a
/// profile whose compute instance has no number (exit 3).
pub fn write(
    view: &PlanView<'_>,
    node: Option<&str>,
    uuids: &BTreeMap<u32, String>,
) -> Result<Emitted> {
    let node = pick_node(&view.nodes, node)?;
    let is_known = |index: u32| {
        // mig-parted's checkpoint is of the GPUs that can do MIG; lists of UUIDs have all.
        node.gpus.iter().any(|gpu| gpu.gpu == index)
            || node.left_out.iter().any(|gpu| gpu.gpu == index)
    };
    let surplus = uuids.keys().find(|index| !is_known(**index));
    if let Some(index) = surplus {
        return Err(Error::usage(format!(
            "--uuids has {} and so a GPU {index}, but '{}' has {} in the plan",
            plural(uuids.len() as u64, "UUID"),
            node.name,
            plural(node.gpus.len() as u64, "GPU"),
        ))
        .hint("give the UUIDs of that node alone; a restore wants all GPUs of a node, so plan them all"));
    }
    let mut problems = Vec::new();
    let mut devices = Vec::new();
    for gpu in &node.gpus {
        let Some(uuid) = uuids.get(&gpu.gpu) else {
            problems
                .push(Diagnostic::new(format!("no UUID for GPU {} of '{}'", gpu.gpu, node.name)));
            continue;
        };
        let board = board_of(view.catalogue, &gpu.board)?;
        let mut instances = Vec::new();
        for instance in &gpu.instances {
            let InstanceProfile::Mig(name) = &instance.profile else { continue };
            let Some((_, profile)) = board.profile(name) else { continue };
            // One compute instance takes all of it.
            let compute = [profile.compute_slices];
            match GpuInstance::new(profile, instance.start, instance.size, &compute) {
                Some(made) => instances.push(made),
                None => problems
                    .push(Diagnostic::new(format!("{name} has no compute instance profile"))),
            }
        }
        devices.push(Device::new(uuid, gpu.mig, instances));
    }
    if problems.is_empty() {
        Ok(Checkpoint::new(devices).json()?.into())
    } else {
        Err(Error::inputs(problems).hint(HINT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_as_people_have_them() {
        let a = "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77";
        let b = "GPU-0aa0";
        for text in [
            format!("0, {a}\n1, {b}\n"),
            format!("index, uuid\n1, {b}\r\n0, {a}\n"),
            format!(
                "GPU 0: NVIDIA A100-SXM4-80GB (UUID: {a})\n  MIG 1g.10gb Device 0: (UUID: MIG-x)\nGPU 1: NVIDIA A100-SXM4-80GB (UUID: {b})\n"
            ),
            format!("{a},{b}"),
            format!("{a}\n\n{b}\n"),
        ] {
            let uuids = parse_uuids(&text, "-").unwrap();
            assert_eq!(uuids.get(&0).map(String::as_str), Some(a), "{text}");
            assert_eq!(uuids.get(&1).map(String::as_str), Some(b), "{text}");
        }
        let last = "4294967295, GPU-a\nGPU-b";
        for text in ["x", "0, MIG-1", "0, GPU-a\n0, GPU-b", "GPU-a,GPU-a", "GPU-", last] {
            assert!(parse_uuids(text, "-").is_err(), "{text}");
        }
    }
}
