//! What `kubectl get nodes` and `kubectl get pods` print, read by the command: which nodes are
//! planned, and what their pods hold.
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Run, migplan, written};

const A100: &str = "NVIDIA-A100-SXM4-80GB";

fn node(name: &str, product: &str, count: u32, cordoned: bool) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            "pool": name, "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": count.to_string(),
        }},
        "spec": {"unschedulable": cordoned},
    })
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Five pods on node n2, which hold `nvidia.com/gpu: 1` each.
fn pods() -> String {
    let pod = |i: u32| {
        json!({
            "kind": "Pod",
            "metadata": {"name": format!("svc-{i}"), "namespace": "ml", "ownerReferences": [
                {"kind": "StatefulSet", "name": "svc", "controller": true}]},
            "spec": {"nodeName": "n2", "containers": [
                {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
            "status": {"phase": "Running"},
        })
    };
    list(&(0..5).map(pod).collect::<Vec<_>>())
}

/// The run of a command on those pods and a cluster of n1, which is free, and n2, whose GPUs are
/// instances (MIG strategy single).
fn run(args: &[&str], n2_is_cordoned: bool) -> Run {
    let folder = TempDir::new().unwrap();
    let single = format!("{A100}-MIG-1g.10gb");
    let nodes = list(&[node("n1", A100, 4, false), node("n2", &single, 28, n2_is_cordoned)]);
    let nodes = written(&folder, "nodes.json", &nodes);
    let pods = written(&folder, "pods.json", &pods());
    let named = args.iter().map(|arg| match *arg {
        "NODES" => nodes.as_str(),
        "PODS" => pods.as_str(),
        arg => arg,
    });
    migplan(&named.collect::<Vec<_>>())
}

#[test]
fn pods_hold_instances_on_nodes_that_are_not_planned_too() {
    for (flags, cordoned) in
        [(&[][..], false), (&[][..], true), (&["--pool", "pool=n1"][..], false)]
    {
        let args = [&["suggest", "--nodes", "NODES", "--pods", "PODS"], flags].concat();
        let run = run(&args, cordoned);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains("5 of 5 replicas placed, 47.5 GiB of 47.5 GiB"), "{run:?}");
        assert!(!run.stderr.contains("taken for whole GPUs"), "{}", run.stderr);
    }
}

#[test]
fn demand_and_size_ask_the_nodes_what_a_gpu_is() {
    let told = run(&["demand", "--pods", "PODS", "--nodes", "NODES"], true);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    assert!(told.stdout.contains("\nml,svc,9728,5,"), "{}", told.stdout);
    let told = run(&["size", "-b", "a100-80gb", "--pods", "PODS", "--nodes", "NODES"], false);
    assert!(told.stdout.starts_with("a100-sxm4-80gb: 1 GPU "), "{}", told.stdout);
    // Without them it is a guess, which is said.
    for args in [
        &["demand", "--pods", "PODS"][..],
        &["size", "-b", "a100-80gb", "--pods", "PODS"],
        &["suggest", "--gpus", "5xa100-80gb", "--pods", "PODS"],
    ] {
        let guessed = run(args, false);
        assert_eq!(guessed.code, 0, "{}", guessed.stderr);
        assert!(guessed.stderr.contains("5 pods taken for whole GPUs"), "{}", guessed.stderr);
        assert!(guessed.stderr.contains("--nodes FILE"), "{}", guessed.stderr);
    }
    assert_eq!(run(&["demand", "--workloads", "x.csv", "--nodes", "NODES"], false).code, 2);
}

#[test]
fn a_pool_without_usable_nodes_says_why() {
    let args = ["suggest", "--nodes", "NODES", "--pods", "PODS", "--pool", "pool=n2"];
    let refused = run(&args, true);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("node n2 is cordoned"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("n1"), "{}", refused.stderr);
}
