//! The rollout script, run against a stand-in for kubectl and MIG Manager that keeps the nodes'
//! state: what it leaves alone, in which order it changes the rest, and what a run that stopped
//! leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::support::{emit, emit_from, example, example_cluster};
use crate::common::tools::have;

/// The nodes of a cluster for the stand-in, and a folder for files.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Nodes with these configurations, all applied.
    fn new(configs: &[(&str, &str)]) -> Cluster {
        let cluster = Cluster { folder: tempfile::tempdir().unwrap() };
        let stand_in = cluster.folder.path().join("kubectl");
        fs::write(&stand_in, include_str!("kubectl.sh")).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        for (node, config) in configs {
            fs::create_dir(cluster.folder.path().join(node)).unwrap();
            cluster.set(node, "config", config);
            cluster.set(node, "state", "success");
        }
        cluster
    }

    fn set(&self, node: &str, key: &str, value: &str) {
        fs::write(self.folder.path().join(node).join(key), value).unwrap();
    }

    fn get(&self, node: &str, key: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(node).join(key)).ok()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Runs a script; whether it succeeded, and the calls but for `get`.
    fn run(&self, script: &str) -> (bool, Vec<String>) {
        let file = self.file("script.sh", script);
        let _ = fs::remove_file(self.folder.path().join("calls"));
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("bash")
            .arg(&file)
            .env("PATH", path)
            .env("CLUSTER", self.folder.path())
            .output()
            .unwrap();
        let calls = fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default();
        let calls = calls.lines().filter(|c| !c.starts_with("get ")).map(str::to_string).collect();
        (output.status.success(), calls)
    }
}

fn verbs(calls: &[String]) -> Vec<&str> {
    calls.iter().map(|c| c.split(' ').next().unwrap()).collect()
}

/// The nodes that calls of a verb name.
fn nodes_of<'c>(calls: &'c [String], verb: &str) -> Vec<&'c str> {
    let of_verb = calls.iter().filter(|c| c.split(' ').next() == Some(verb));
    of_verb.flat_map(|c| c.split(' ')).filter(|w| w.starts_with("gpu-")).collect()
}

const DISABLED: [(&str, &str); 5] = [
    ("gpu-1", "all-disabled"),
    ("gpu-2", "all-disabled"),
    ("gpu-3", "all-disabled"),
    ("gpu-4", "all-disabled"),
    ("gpu-5", "all-disabled"),
];

/// Which configuration the example plan has for each node.
const PLANNED: [(&str, &str); 5] = [
    ("gpu-1", "migplan-1"),
    ("gpu-2", "migplan-2"),
    ("gpu-3", "migplan-3"),
    ("gpu-4", "migplan-1"),
    ("gpu-5", "migplan-4"),
];

/// `kubectl get nodes -o json` of a cluster that is as the plan wants it.
fn as_planned(plan: &Path) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("nodes.csv");
    emit_from(plan, &["configmap", "--assignments", csv.to_str().unwrap()]);
    let mut rows = csv::Reader::from_path(&csv).unwrap();
    let configs: BTreeMap<String, String> = rows.deserialize().map(Result::unwrap).collect();
    let (text, _) = emit_from(plan, &["capacity", "--format", "json"]);
    let capacity: Value = serde_json::from_str(&text).unwrap();
    let items: Vec<Value> = capacity["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let name = node["node"].as_str().unwrap();
            let mut allocatable = node["after"].as_object().unwrap().clone();
            allocatable.entry("nvidia.com/gpu").or_insert(json!("0"));
            json!({"kind": "Node",
                "metadata": {"name": name, "labels": {"nvidia.com/mig.config": configs[name],
                    "nvidia.com/mig.config.state": "success"}},
                "status": {"allocatable": allocatable}})
        })
        .collect();
    json!({"kind": "List", "items": items})
}

/// The batches' nodes with what is done to each, from the script.
fn batches(script: &str) -> Vec<Vec<String>> {
    let (_, calls) = script.split_once("\n# Batch 1 ").unwrap_or(("", ""));
    calls
        .split("\nbatch")
        .skip(1)
        .map(|batch| {
            let lines = batch.lines().skip(1).take_while(|l| l.starts_with("  gpu-"));
            lines.map(|l| l.trim().trim_end_matches(" \\").to_string()).collect()
        })
        .collect()
}

#[test]
fn the_rollout_of_a_plan_over_its_own_nodes_is_empty() {
    if !have(&["bash"], "bash") {
        return;
    }
    let cluster = Cluster::new(&PLANNED);
    let nodes = cluster.file("nodes.json", &as_planned(&example()).to_string());
    let (script, said) = emit_from(&example(), &["labels", "--nodes", nodes.to_str().unwrap()]);
    assert!(
        said.contains(
            "5 of 5 nodes left alone, with the plan's label applied already; 0 nodes to change"
        ),
        "{said}"
    );
    assert!(script.contains(
        "# 5 nodes with the plan's label applied already: gpu-1 gpu-2 gpu-3 gpu-4 gpu-5"
    ));
    assert_eq!(cluster.run(&script), (true, vec![]));
    // Without the cluster's nodes the script itself finds that nothing is to be done.
    assert_eq!(cluster.run(&emit(&["labels"])), (true, vec![]));
}

#[test]
fn only_what_changed_is_rolled_out() {
    let (folder, name) = (tempfile::tempdir().unwrap(), "nodes.json");
    let file = folder.path().join(name);
    let script = |nodes: &Value| {
        fs::write(&file, nodes.to_string()).unwrap();
        batches(&emit(&["labels", "--nodes", file.to_str().unwrap()]))
    };
    let own = as_planned(&example());

    // Another label and other layouts.
    let mut nodes = own.clone();
    nodes["items"][2]["metadata"]["labels"]["nvidia.com/mig.config"] = json!("all-disabled");
    nodes["items"][2]["status"]["allocatable"] = json!({"nvidia.com/gpu": "2"});
    assert_eq!(script(&nodes), [["gpu-3 migplan-3 drain"]]);

    // MIG Manager has not finished.
    let mut nodes = own.clone();
    nodes["items"][0]["metadata"]["labels"]["nvidia.com/mig.config.state"] = json!("pending");
    assert_eq!(script(&nodes), [["gpu-1 migplan-1 drain"]]);

    // The plan's label stands for something else now: MIG Manager must read it again.
    let mut nodes = own.clone();
    nodes["items"][3]["status"]["allocatable"] = json!({"nvidia.com/mig-1g.10gb": "28"});
    assert_eq!(script(&nodes), [["gpu-4 migplan-1 reapply"]]);

    // Only the label's number is new, and the totals leave no other layouts: all GPUs are whole.
    let mut nodes = own.clone();
    nodes["items"][1]["metadata"]["labels"]["nvidia.com/mig.config"] = json!("migplan-7");
    assert_eq!(script(&nodes), [["gpu-2 migplan-2 rename"]]);

    // The totals are as planned, but of other layouts too: which ones the label stood for is not known.
    for (node, step) in [(0, "gpu-1 migplan-1 drain"), (2, "gpu-3 migplan-3 drain")] {
        let mut nodes = own.clone();
        nodes["items"][node]["metadata"]["labels"]["nvidia.com/mig.config"] = json!("migplan-7");
        assert_eq!(script(&nodes), [[step]]);
    }

    // A node of which nothing but the label is known.
    let mut nodes = own.clone();
    nodes["items"][1]["status"] = json!({});
    assert!(script(&nodes).is_empty());
    nodes["items"][1]["metadata"]["labels"] = json!({});
    assert_eq!(script(&nodes), [["gpu-2 migplan-2 drain"]]);
}

#[test]
fn a_rollout_drains_labels_and_waits_in_this_order() {
    if !have(&["bash"], "bash") {
        return;
    }
    let cluster = Cluster::new(&DISABLED);
    cluster.set("gpu-3", "config", "migplan-3");
    cluster.set("gpu-4", "unschedulable", "true");
    let (done, calls) = cluster.run(&emit(&["labels", "--max-unavailable", "3"]));
    assert!(done, "{calls:?}");
    for (node, config) in PLANNED {
        assert_eq!(cluster.get(node, "config").as_deref(), Some(config));
        assert_eq!(cluster.get(node, "state").as_deref(), Some("success"));
        assert_eq!(cluster.get(node, "mark"), None, "{node}");
        // What somebody else cordoned stays cordoned.
        assert_eq!(cluster.get(node, "unschedulable").is_some(), node == "gpu-4", "{node}");
    }
    // gpu-3 is as planned, so nothing happens to it.
    let batch = ["annotate", "cordon", "drain", "label", "label", "wait", "uncordon", "annotate"];
    assert_eq!(verbs(&calls), [batch, batch].concat(), "{calls:?}");
    assert!(!calls.iter().any(|c| c.contains("gpu-3")), "{calls:?}");
    assert_eq!(nodes_of(&calls, "drain"), ["gpu-2", "gpu-5", "gpu-1", "gpu-4"]);
    // A second run has nothing to do.
    assert_eq!(cluster.run(&emit(&["labels", "--max-unavailable", "3"])), (true, vec![]));
}

#[test]
fn a_run_that_stopped_goes_on_where_it_stopped() {
    if !have(&["bash"], "bash") {
        return;
    }
    let cluster = Cluster::new(&DISABLED);
    cluster.set("gpu-5", "broken", "");
    let script = emit(&["labels", "--max-unavailable", "2"]);
    let (done, calls) = cluster.run(&script);
    assert!(!done);
    // The batch of gpu-5 and gpu-1 failed, so gpu-4 is not touched.
    assert!(!calls.iter().any(|c| c.contains("gpu-4")), "{calls:?}");
    assert_eq!(cluster.get("gpu-1", "unschedulable").as_deref(), Some("true"));
    fs::remove_file(cluster.folder.path().join("gpu-5/broken")).unwrap();
    let (done, calls) = cluster.run(&script);
    assert!(done, "{calls:?}");
    assert_eq!(nodes_of(&calls, "drain"), ["gpu-5", "gpu-4"]);
    // Its label is as wanted already, so MIG Manager tries again only when it starts.
    let restarted = calls.iter().filter(|c| c.starts_with("delete pod"));
    assert!(restarted.map(|c| c.contains("spec.nodeName=gpu-5")).eq([true]), "{calls:?}");
    for (node, config) in PLANNED {
        assert_eq!(cluster.get(node, "config").as_deref(), Some(config));
        assert_eq!((cluster.get(node, "unschedulable"), cluster.get(node, "mark")), (None, None));
    }
}

#[test]
fn new_content_under_an_old_label_restarts_mig_manager() {
    if !have(&["bash"], "bash") {
        return;
    }
    let cluster = Cluster::new(&PLANNED);
    let mut nodes = as_planned(&example());
    nodes["items"][3]["status"]["allocatable"] = json!({"nvidia.com/mig-1g.10gb": "28"});
    let file = cluster.file("nodes.json", &nodes.to_string());
    let arguments = ["labels", "--nodes", file.to_str().unwrap(), "--namespace", "nvidia"];
    let (done, calls) = cluster.run(&emit(&arguments));
    assert!(done, "{calls:?}");
    assert_eq!(nodes_of(&calls, "drain"), ["gpu-4"]);
    let delete = calls.iter().find(|c| c.starts_with("delete pod")).unwrap();
    assert!(delete.contains("--namespace nvidia") && delete.contains("spec.nodeName=gpu-4"));
}

#[test]
fn the_least_disruption_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, pods) = (folder.path().join("nodes.json"), folder.path().join("pods.json"));
    // The product of gpu-5 is one that no plan could be made of.
    let mut list: Value = serde_json::from_str(&example_cluster()).unwrap();
    list["items"][4]["metadata"]["labels"]["nvidia.com/gpu.product"] = "X-MIG-INVALID".into();
    fs::write(&nodes, list.to_string()).unwrap();
    let pod = |name: &str, node: &str| {
        json!({
            "kind": "Pod", "metadata": {"name": name, "namespace": "a"},
            "spec": {"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
            "status": {"phase": "Running"}
        })
    };
    let list = json!({"kind": "List", "items": [
        pod("x", "gpu-1"), pod("y", "gpu-1"), pod("z", "gpu-3")]});
    fs::write(&pods, list.to_string()).unwrap();
    let (script, said) = emit_from(
        &example(),
        &[
            "labels",
            "--nodes",
            nodes.to_str().unwrap(),
            "--pods",
            pods.to_str().unwrap(),
            "--max-unavailable",
            "40%",
        ],
    );
    // gpu-2 is as planned; gpu-4 and gpu-5 are idle, and gpu-5 loses fewer whole GPUs; gpu-3 has one
    // pod, gpu-1 two.
    assert!(said.contains("1 of 5 nodes left alone"), "{said}");
    assert!(script.contains("# 1 node with the plan's label applied already: gpu-2"), "{script}");
    assert_eq!(
        batches(&script),
        [
            ["gpu-5 migplan-4 idle", "gpu-4 migplan-1 idle"],
            ["gpu-3 migplan-3 drain", "gpu-1 migplan-1 drain"]
        ]
    );
    assert!(script.contains("# Batch 2 of 2: 3 pods with GPUs evicted"), "{script}");
}
