//! What the device plugin advertises of a cluster's nodes against what a plan wants: whether a node is
//! left alone, what its capacity will be, and whether its MIG strategy advertises the plan at all.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::{A100, emit_from, planned};
use crate::common::migplan_with;

/// A node of A100-80GB with more labels and this capacity, all of it allocatable.
fn node(gpus: u64, labels: &[(&str, &str)], capacity: &Value) -> Value {
    let mut node = json!({
        "kind": "Node",
        "metadata": {"name": "n1", "labels": {
            "nvidia.com/gpu.product": A100, "nvidia.com/gpu.count": gpus.to_string(),
            "nvidia.com/mig.strategy": "mixed"}},
        "status": {"capacity": capacity, "allocatable": capacity}
    });
    for (label, value) in labels {
        node["metadata"]["labels"][*label] = json!(value);
    }
    node
}

fn write(folder: &Path, name: &str, item: &Value) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, json!({"kind": "List", "items": [item]}).to_string()).unwrap();
    file
}

/// The plan of a CSV for a node that is all whole GPUs now.
fn plan(folder: &Path, gpus: u64, csv: &str) -> PathBuf {
    let before = node(gpus, &[], &json!({"nvidia.com/gpu": gpus.to_string()}));
    let nodes = write(folder, "before.json", &before);
    planned(folder, csv, &["--nodes", nodes.to_str().unwrap(), "--spare", "none"])
}

/// What `emit labels` does to the node, or nothing, and what it said.
fn rollout(folder: &Path, plan: &Path, node: &Value, more: &[&str]) -> (Option<String>, String) {
    let nodes = write(folder, "now.json", node);
    let arguments = [&["labels", "--nodes", nodes.to_str().unwrap()], more].concat();
    let (script, said) = emit_from(plan, &arguments);
    let step = script.lines().rfind(|line| line.starts_with("  n1 migplan "));
    let step = step.map(|line| line.rsplit(' ').next().unwrap().to_string());
    (step, format!("{script}{said}"))
}

const OWN: [(&str, &str); 2] =
    [("nvidia.com/mig.config", "migplan"), ("nvidia.com/mig.config.state", "success")];
const OTHER: [(&str, &str); 2] =
    [("nvidia.com/mig.config", "site-a"), ("nvidia.com/mig.config.state", "success")];

/// 28 small instances fill four GPUs.
const SEVENS: &str = "team,workload,memory,count\na,one,9GiB,28\n";

#[test]
fn unhealthy_and_shared_instances_are_the_planned_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = plan(folder, 4, SEVENS);
    let shared = ("nvidia.com/mig-1g.10gb.replicas", "4");
    let mut sick = node(4, &OWN, &json!({"nvidia.com/mig-1g.10gb": "28"}));
    sick["status"]["allocatable"] = json!({"nvidia.com/mig-1g.10gb": "27"});
    // The kubelet keeps the capacity of what is gone for a while.
    let mut left = node(4, &OWN, &json!({"nvidia.com/mig-1g.10gb": "28", "nvidia.com/gpu": "4"}));
    left["status"]["allocatable"] = json!({"nvidia.com/mig-1g.10gb": "28", "nvidia.com/gpu": "0"});
    let partly = [shared, ("nvidia.com/mig-1g.10gb.count", "28")];
    for (what, now) in [
        ("plain", node(4, &OWN, &json!({"nvidia.com/mig-1g.10gb": "28"}))),
        ("one is unhealthy", sick),
        ("GPUs of before", left),
        (
            "shared",
            node(4, &[&OWN[..], &[shared]].concat(), &json!({"nvidia.com/mig-1g.10gb": "112"})),
        ),
        (
            "renamed",
            node(
                4,
                &[&OWN[..], &[shared]].concat(),
                &json!({"nvidia.com/mig-1g.10gb.shared": "112", "nvidia.com/mig-1g.10gb": "0"}),
            ),
        ),
        (
            "some are shared",
            node(4, &[&OWN[..], &partly].concat(), &json!({"nvidia.com/mig-1g.10gb": "43"})),
        ),
    ] {
        let (step, said) = rollout(folder, &plan, &now, &[]);
        assert_eq!(step, None, "{what}: {said}");
        assert!(said.contains("Every node has its label of the plan already, applied."), "{said}");
    }
    // Fewer instances are other layouts, shared or not.
    for (labels, count) in [(&[][..], "27"), (&[shared][..], "108")] {
        let now = node(4, &[&OWN[..], labels].concat(), &json!({"nvidia.com/mig-1g.10gb": count}));
        assert_eq!(rollout(folder, &plan, &now, &[]).0.as_deref(), Some("reapply"));
    }
    // What pods can ask for of a shared kind stays shared.
    let labels = [&OWN[..], &[shared]].concat();
    let now = node(4, &labels, &json!({"nvidia.com/mig-1g.10gb.shared": "112"}));
    let nodes = write(folder, "now.json", &now);
    let (text, _) =
        emit_from(&plan, &["capacity", "--format", "json", "--nodes", nodes.to_str().unwrap()]);
    let capacity: Value = serde_json::from_str(&text).unwrap();
    let shared = json!({"nvidia.com/mig-1g.10gb.shared": 112});
    assert_eq!((&capacity["totals"]["before"], &capacity["totals"]["after"]), (&shared, &shared));
}

#[test]
fn totals_rename_a_node_only_where_they_leave_no_other_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pod = json!({
        "kind": "Pod", "metadata": {"name": "x", "namespace": "a"},
        "spec": {"nodeName": "n1",
            "containers": [{"resources": {"limits": {"nvidia.com/mig-1g.10gb.shared": "1"}}}]},
        "status": {"phase": "Running"}
    });
    let pods = write(folder, "pods.json", &pod);
    let pods = ["--pods", pods.to_str().unwrap()];
    // All GPUs full of one profile: no pod is evicted, though one holds an instance.
    let full = plan(folder, 4, SEVENS);
    let now = node(4, &OTHER, &json!({"nvidia.com/mig-1g.10gb": "28"}));
    let (step, said) = rollout(folder, &full, &now, &pods);
    assert_eq!(step.as_deref(), Some("rename"), "{said}");
    assert!(said.contains("# Batch 1 of 1: no pod with a GPU is evicted"), "{said}");
    // Another division of the same instances between two GPUs is as likely.
    let csv = "team,workload,memory,count\na,two,18GiB,3\na,one,9GiB,8\n";
    let parted = plan(folder, 2, csv);
    let totals = json!({"nvidia.com/mig-2g.20gb": "3", "nvidia.com/mig-1g.10gb": "8"});
    let (step, said) = rollout(folder, &parted, &node(2, &OTHER, &totals), &pods);
    assert_eq!(step.as_deref(), Some("drain"), "{said}");
    assert!(said.contains("# Batch 1 of 1: 1 pod with GPUs evicted"), "{said}");
    // With the plan's own label, applied, they contradict nothing.
    assert_eq!(rollout(folder, &parted, &node(2, &OWN, &totals), &pods).0, None);
    // One GPU has the layout that the totals are of.
    let one = plan(folder, 1, "team,workload,memory,count\na,two,18GiB,2\na,one,9GiB,3\n");
    let totals = json!({"nvidia.com/mig-2g.20gb": "2", "nvidia.com/mig-1g.10gb": "3"});
    let (step, said) = rollout(folder, &one, &node(1, &OTHER, &totals), &pods);
    assert_eq!(step.as_deref(), Some("rename"), "{said}");
}

/// The command that sets a strategy, as `emit configmap` writes it.
const PATCH: &str = r#"kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge -p '{"spec": {"mig": {"strategy": "mixed"}}}'"#;

#[test]
fn a_strategy_that_does_not_advertise_the_plan_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mixed = "team,workload,memory,count\na,two,18GiB,3\na,one,9GiB,8\n";
    let whole = "team,workload,gpus,memory,count\na,w,1,,4\n";
    let gpus = json!({"nvidia.com/gpu": "4"});
    let strategy = |value| ("nvidia.com/mig.strategy", value);
    let mut none = node(4, &[("nvidia.com/gfd.timestamp", "1715703041")], &gpus);
    none["metadata"]["labels"].as_object_mut().unwrap().remove("nvidia.com/mig.strategy");
    let single = || node(4, &[strategy("single")], &gpus);
    for (now, csv, rules, warned) in [
        (single(), mixed, &[][..], Some("MIG strategy 'single' on n1")),
        // One profile is advertised, but not under the name that the pods ask for.
        (single(), SEVENS, &[][..], Some("MIG strategy 'single' on n1")),
        (single(), SEVENS, &["--strategy", "single"][..], None),
        (single(), whole, &[][..], None),
        (none.clone(), mixed, &[][..], Some("MIG strategy 'none' on n1")),
        (none, whole, &[][..], None),
        (node(4, &[], &gpus), mixed, &[][..], None),
    ] {
        let nodes = write(folder, "now.json", &now);
        let (nodes, plan) = (nodes.to_str().unwrap(), folder.join("plan.json"));
        let own = ["suggest", "-w", "-", "--nodes", nodes, "--plan", plan.to_str().unwrap()];
        let ran = migplan_with(&[&own[..], rules].concat(), csv.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let labels = emit_from(&plan, &["labels", "--nodes", nodes]).1;
        let capacity = emit_from(&plan, &["capacity", "--nodes", nodes]).1;
        for said in [&ran.stderr, &labels, &capacity] {
            match warned {
                Some(text) => assert!(said.contains(text) && said.contains(PATCH), "{said}"),
                None => assert!(!said.contains("MIG strategy '"), "{said}"),
            }
        }
    }
    let configmap = emit_from(&plan(folder, 4, mixed), &["configmap"]).0;
    let (command, _) = PATCH.split_once(" -p ").unwrap();
    assert!(configmap.contains(command) && configmap.contains(r#""strategy": "mixed""#));
}

#[test]
fn an_invalid_node_is_never_as_planned() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = plan(folder, 4, "team,workload,memory,count\na,two,18GiB,3\na,one,9GiB,8\n");
    let product = format!("{A100}-MIG-INVALID");
    let labels = [
        ("nvidia.com/gpu.product", product.as_str()),
        ("nvidia.com/gpu.count", "0"),
        ("nvidia.com/mig.strategy", "single"),
    ];
    let now = node(0, &[&OWN[..], &labels].concat(), &json!({"nvidia.com/gpu": "0"}));
    let (step, said) = rollout(folder, &plan, &now, &[]);
    assert_eq!(step.as_deref(), Some("reapply"), "{said}");
    assert!(said.contains("MIG strategy 'single' on n1") && said.contains(PATCH), "{said}");
    // Under the right strategy the same node may advertise nothing yet: its label is all that is known.
    let now = node(4, &OWN, &json!({"nvidia.com/gpu": "0"}));
    assert_eq!(rollout(folder, &plan, &now, &[]).0, None);
}

#[test]
fn other_things_of_nvidia_are_no_gpus() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = plan(folder, 4, SEVENS);
    let now = node(4, &[], &json!({"nvidia.com/gpu": "4", "nvidia.com/hostdev": "8"}));
    let nodes = write(folder, "now.json", &now);
    let (text, _) = emit_from(&plan, &["capacity", "--nodes", nodes.to_str().unwrap()]);
    assert!(text.contains("nvidia.com/gpu") && !text.contains("hostdev"), "{text}");
}
