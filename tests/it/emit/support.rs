//! What these tests share: the example plan, running the command, a strict reader of mig-parted's
//! format and of what it does to a node.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use migplan::hardware::Catalogue;
use migplan::plan::{Checked, InstanceProfile, Plan};

use crate::common::migplan_with;

/// The example: several nodes, two alike, `+me`, whole GPUs, spare instances, two boards on one
/// node, names that need care.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/emit/plan.json")
}

pub(crate) fn example_plan() -> Checked {
    let file = std::fs::File::open(example()).unwrap();
    migplan::plan::file::read(file, "plan.json", &Catalogue::built_in()).unwrap().plan
}

/// Runs `migplan emit` with these arguments; it must succeed. Returns stdout and stderr.
pub(crate) fn emit_from(plan: &Path, arguments: &[&str]) -> (String, String) {
    let output = run(plan, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

/// As [`emit_from`], from the example; stdout alone.
pub(crate) fn emit(arguments: &[&str]) -> String {
    emit_from(&example(), arguments).0
}

/// Writes the plan that `migplan suggest` makes of a CSV into a folder.
pub(crate) fn planned(folder: &Path, csv: &str, arguments: &[&str]) -> PathBuf {
    let file = folder.join("plan.json");
    let own = ["suggest", "-q", "-w", "-", "-o", "/dev/null", "--plan", file.to_str().unwrap()];
    let run = migplan_with(&[&own[..], arguments].concat(), csv.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    file
}

pub(crate) fn run(plan: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_migplan"))
        .arg("emit")
        .args(arguments)
        .arg("--plan")
        .arg(plan)
        .output()
        .unwrap()
}

/// Whether Python has a module. One that only PyPI has is not asked for by `MIGPLAN_REQUIRE_TOOLS`.
pub(crate) fn python_has(module: &str, package: &str) -> bool {
    let import = format!("import {module}");
    let found = Command::new("python3").args(["-c", &import]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        let _ =
            writeln!(std::io::stderr(), "skipped: Python lacks {module} (pip install {package})");
    }
    found
}

/// A mig-parted file, read as strictly as mig-parted does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MigParted {
    pub(crate) version: String,
    #[serde(rename = "mig-configs")]
    pub(crate) configs: BTreeMap<String, Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Entry {
    device_filter: Option<OneOrMany>,
    devices: Devices,
    mig_enabled: bool,
    mig_devices: Option<BTreeMap<String, u32>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Devices {
    Indices(Vec<u32>),
    All(String),
}

/// Reads a file and checks what mig-parted checks.
pub(crate) fn mig_parted(text: &str) -> MigParted {
    let file: MigParted = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(file.version, "v1");
    assert!(!file.configs.is_empty());
    for (label, entries) in &file.configs {
        assert!(migplan::kubernetes::naming::is_label_value(label), "{label}");
        assert!(!entries.is_empty(), "{label}");
        for entry in entries {
            if let Devices::All(all) = &entry.devices {
                assert_eq!(all, "all");
            }
            let counts = entry.mig_devices.iter().flatten();
            for (profile, count) in counts {
                assert_eq!(
                    profile.parse::<migplan::hardware::ProfileName>().unwrap().to_string(),
                    *profile
                );
                assert!(*count > 0, "{label}: {profile}");
            }
            assert_eq!(entry.mig_enabled, entry.mig_devices.is_some(), "{label}");
        }
    }
    file
}

/// What a config makes of each GPU of a node, given its boards; every GPU must be covered once.
fn apply(entries: &[Entry], boards: &[String], catalogue: &Catalogue) -> Vec<GpuConfig> {
    boards
        .iter()
        .enumerate()
        .map(|(index, board)| {
            let ids = &catalogue.by_id(board).unwrap().pci_ids;
            let matching: Vec<&Entry> = entries
                .iter()
                .filter(|entry| match &entry.device_filter {
                    None => true,
                    Some(OneOrMany::One(id)) => ids.contains(id),
                    Some(OneOrMany::Many(list)) => list.iter().any(|id| ids.contains(id)),
                })
                .filter(|entry| match &entry.devices {
                    Devices::All(_) => true,
                    Devices::Indices(list) => list.contains(&(index as u32)),
                })
                .collect();
            assert_eq!(matching.len(), 1, "GPU {index} is covered {} times", matching.len());
            matching[0].mig_devices.clone()
        })
        .collect()
}

/// What a configuration makes of the one GPU of this board on a node; `None` is MIG off.
pub(crate) fn made(entries: &[Entry], board: &str) -> GpuConfig {
    apply(entries, &[board.to_string()], &Catalogue::built_in()).remove(0)
}

/// What becomes of a GPU: instances by profile; `None` is MIG off.
pub(crate) type GpuConfig = Option<BTreeMap<String, u32>>;

/// What the plan wants of each node's GPUs, each with its board.
fn wanted(plan: &Plan) -> BTreeMap<String, Vec<(String, GpuConfig)>> {
    let mut nodes: BTreeMap<String, Vec<(String, GpuConfig)>> = BTreeMap::new();
    for gpu in &plan.gpus {
        let counts = gpu.mig.then(|| {
            let mut counts = BTreeMap::new();
            for instance in &gpu.instances {
                if let InstanceProfile::Mig(name) = &instance.profile {
                    *counts.entry(name.to_string()).or_insert(0) += 1;
                }
            }
            counts
        });
        nodes.entry(gpu.node.to_string()).or_default().push((gpu.board.to_string(), counts));
    }
    nodes
}

/// Checks that each node's config, applied to its boards, makes what the plan wants.
pub(crate) fn check_assignments(plan: &Plan, file: &MigParted, assignments: &str) {
    let catalogue = Catalogue::built_in();
    let mut rows = csv::Reader::from_reader(assignments.as_bytes());
    assert_eq!(rows.headers().unwrap().iter().collect::<Vec<_>>(), ["node", "config"]);
    let assigned: BTreeMap<String, String> = rows.deserialize().map(|row| row.unwrap()).collect();
    let wanted = wanted(plan);
    assert_eq!(assigned.len(), wanted.len());
    for (node, gpus) in wanted {
        let boards: Vec<String> = gpus.iter().map(|(board, _)| board.clone()).collect();
        let made = apply(&file.configs[&assigned[&node]], &boards, &catalogue);
        let want: Vec<_> = gpus.into_iter().map(|(_, counts)| counts).collect();
        assert_eq!(made, want, "{node}");
    }
}

/// A `kubectl get nodes -o json` of nodes with GPUs of one product.
pub(crate) fn cluster(nodes: &[(&str, &str, u64, &str)]) -> String {
    let items: Vec<serde_json::Value> = nodes
        .iter()
        .map(|(name, product, count, config)| {
            serde_json::json!({
                "kind": "Node",
                "metadata": {"name": name, "labels": {
                    "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": count.to_string(),
                    "nvidia.com/mig.config": config, "nvidia.com/mig.config.state": "success"}},
                "status": {"allocatable": {"nvidia.com/gpu": count.to_string(), "cpu": "8"}}
            })
        })
        .collect();
    serde_json::json!({"kind": "List", "items": items}).to_string()
}

pub(crate) const A100: &str = "NVIDIA-A100-SXM4-80GB";

pub(crate) fn example_cluster() -> String {
    cluster(&[
        ("gpu-1", A100, 4, "all-disabled"),
        ("gpu-2", A100, 4, "migplan-2"),
        ("gpu-3", "NVIDIA-A30", 2, "all-disabled"),
        ("gpu-4", A100, 4, "migplan-2"),
        ("gpu-5", "NVIDIA-H100-80GB-HBM3", 1, "all-disabled"),
    ])
}

/// Runs promtool in a folder; it must succeed. What it said.
pub(crate) fn promtool(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}
