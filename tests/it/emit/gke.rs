//! `migplan emit gke`: the script, run with a stand-in for gcloud, and what GKE cannot make.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support::{emit_from, example, run};
use crate::common::tools::have;

/// A profile: name, size, distance of starts, memory in MiB.
type Profile = (&'static str, u32, u32, u64);

/// A GPU: node, board, profile and number of instances.
type Gpu = (&'static str, &'static str, Option<Profile>, u32);

/// A plan file with these GPUs.
fn plan(folder: &Path, gpus: &[Gpu]) -> PathBuf {
    let mut indices: BTreeMap<&str, u32> = BTreeMap::new();
    let gpus: Vec<Value> = gpus
        .iter()
        .map(|(node, board, profile, count)| {
            let index = indices.entry(node).or_default();
            *index += 1;
            let instances: Vec<Value> = (0..*count)
                .filter_map(|i| {
                    let (name, size, step, memory) = (*profile)?;
                    Some(json!({"profile": name, "start": i * step, "size": size,
                        "memory_mib": memory, "team": "a", "workload": name,
                        "replica": format!("{}{}{i}", node.len(), index).parse::<u64>().unwrap(),
                        "demand_mib": 1000}))
                })
                .collect();
            json!({"node": node, "gpu": *index - 1, "board": board, "mig": profile.is_some(),
                "instances": instances})
        })
        .collect();
    let mut plan: Value = serde_json::from_str(&fs::read_to_string(example()).unwrap()).unwrap();
    plan["gpus"] = json!(gpus);
    let file = folder.join("plan.json");
    fs::write(&file, plan.to_string()).unwrap();
    file
}

const TEN: Option<Profile> = Some(("1g.10gb", 1, 1, 9_728));
const FORTY: Option<Profile> = Some(("3g.40gb", 4, 4, 40_192));
const A100: &str = "a100-sxm4-80gb";

/// Runs a script with a stand-in for gcloud, which prints how it is called; `set` are variables beside
/// the cluster's place.
fn bash(folder: &Path, script: &str, set: &[(&str, &str)]) -> Output {
    let gcloud = folder.join("gcloud");
    fs::write(&gcloud, "#!/bin/sh\necho \"$*\"\n").unwrap();
    fs::set_permissions(&gcloud, fs::Permissions::from_mode(0o755)).unwrap();
    let file = folder.join("pools.sh");
    fs::write(&file, script).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.arg(&file).env("PATH", path).env("LOCATION", "europe-west4-a");
    command.env_remove("CLUSTER").env_remove("CAPACITY").envs(set.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_uniform_plan_becomes_node_pools() {
    if !have(&["bash"], "bash") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = plan(
        folder.path(),
        &[
            ("n1", A100, TEN, 7),
            ("n1", A100, TEN, 7),
            ("n22", A100, TEN, 7),
            ("n22", A100, TEN, 5),
            ("n333", A100, FORTY, 2),
            ("n4444", A100, None, 0),
        ],
    );
    let (script, said) = emit_from(&file, &["gke"]);
    assert!(said.contains("GKE creates 28 of 1g.10gb, where the plan has 26"), "{said}");
    assert!(!bash(folder.path(), &script, &[]).status.success(), "no cluster is named");
    let output = bash(folder.path(), &script, &[("CLUSTER", "ml")]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let pools: Vec<&str> = said.lines().collect();
    let common = "--cluster=ml --location=europe-west4-a";
    assert_eq!(
        pools,
        [
            format!(
                "container node-pools create migplan-a100-80gb-1x-whole {common} --machine-type=a2-ultragpu-1g --num-nodes=1 --accelerator=type=nvidia-a100-80gb,count=1,gpu-driver-version=default"
            ),
            format!(
                "container node-pools create migplan-a100-80gb-2x-1g-10gb {common} --machine-type=a2-ultragpu-2g --num-nodes=2 --accelerator=type=nvidia-a100-80gb,count=2,gpu-partition-size=1g.10gb,gpu-driver-version=default"
            ),
            format!(
                "container node-pools create migplan-a100-80gb-1x-3g-40gb {common} --machine-type=a2-ultragpu-1g --num-nodes=1 --accelerator=type=nvidia-a100-80gb,count=1,gpu-partition-size=3g.40gb,gpu-driver-version=default"
            ),
        ]
    );
    assert!(script.contains("#   a/3g.40gb: nvidia.com/gpu: 1, cloud.google.com/gke-accelerator: nvidia-a100-80gb, cloud.google.com/gke-gpu-partition-size: 3g.40gb"), "{script}");
    let (long, _) = emit_from(&file, &["gke", "--name", &"9".repeat(60)]);
    let names = long.lines().filter_map(|l| l.strip_prefix("pool ")?.split(' ').next());
    for name in names {
        assert!(name.len() <= 40 && name.starts_with("mig-9"), "{name}");
        assert!(migplan::kubernetes::naming::is_dns_label(name), "{name}");
    }
}

#[test]
fn capacity_that_is_not_on_demand_is_asked_for() {
    if !have(&["bash"], "bash") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = plan(
        folder.path(),
        &[
            ("n1", A100, TEN, 7),
            ("n22", "h100-sxm5-80gb", TEN, 7),
            ("n333", "h100-sxm5-80gb", TEN, 7),
        ],
    );
    let (script, said) = emit_from(&file, &["gke"]);
    assert!(said.contains("a3-highgpu-1g: Google has these as Spot or flex-start"), "{said}");
    let cluster = ("CLUSTER", "ml");
    let refused = bash(folder.path(), &script, &[cluster]);
    assert!(!refused.status.success() && refused.stdout.is_empty(), "before the first pool");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Spot or flex-start"));
    let capacity = ("CAPACITY", "--flex-start --enable-autoscaling");
    let output = bash(folder.path(), &script, &[cluster, capacity]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.lines().count(), 2, "{said}");
    for line in said.lines() {
        assert!(line.ends_with(" --flex-start --enable-autoscaling"), "{line}");
    }
}

#[test]
fn what_gke_cannot_make_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = plan(
        folder.path(),
        &[
            ("mixed", A100, TEN, 7),
            ("mixed", A100, FORTY, 2),
            ("partly", A100, TEN, 7),
            ("partly", A100, None, 0),
            ("three", A100, None, 0),
            ("three", A100, None, 0),
            ("three", A100, None, 0),
            ("media", A100, Some(("1g.10gb+me", 1, 1, 9_728)), 1),
            ("pcie", "a100-pcie-80gb", TEN, 7),
            ("several", A100, None, 0),
            ("several", "a100-sxm4-40gb", None, 0),
        ],
    );
    let output = run(&file, &["gke"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(output.stdout.is_empty());
    for part in [
        "GKE cannot make mixed: it has several profiles",
        "GKE cannot make partly: MIG is on for some of its GPUs only",
        "GKE cannot make three: no machine type has 3 GPUs of a100-sxm4-80gb",
        "GKE cannot make media: it offers no partition size 1g.10gb+me on nvidia-a100-80gb",
        "GKE cannot make pcie: it offers MIG on no a100-pcie-80gb",
        "GKE cannot make several: it has several boards",
        "hint: GKE partitions all GPUs of a node pool alike",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}
