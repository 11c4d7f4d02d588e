//! A fleet from `kubectl get nodes -o json`: the labels of GPU feature discovery say which GPUs a
//! node has, and which MIG configuration it has now.
//!
//! A cluster has nodes that a plan cannot use: cordoned, without labels, without MIG. They are
//! skipped and named, since a plan that silently lacks half of the cluster misleads.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use super::{Fleet, KubernetesNode, MAX_GPUS, Node};
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::catalogue::BoardNotFound;
use crate::hardware::{BoardRef, Catalogue};
use crate::kubernetes::list::{self, Item};
use crate::kubernetes::{
    COUNT_LABEL, MEMORY_LABEL, MIG_CAPABLE_LABEL, MIG_CONFIG_LABEL, MIG_CONFIG_STATE_LABEL,
    MIG_STRATEGY_LABEL, PRODUCT_LABEL, single_profile,
};
use crate::text::plural;
use crate::units::Mebibytes;

#[derive(Deserialize)]
struct NodeItem {
    kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
struct Spec {
    unschedulable: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Status {
    allocatable: Option<BTreeMap<String, Value>>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl Item for NodeItem {
    const KIND: &'static str = "Node";
    const COMMAND: &'static str = "kubectl get nodes -o json > nodes.json";
    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

/// Reads the nodes with GPUs. Returns the fleet, which knows of each node what the cluster said of
/// it, and warnings that name what was skipped or looks wrong. `include_cordoned` keeps nodes that
/// take no pods now.
///
/// # Errors
/// No such JSON, a duplicate node, or no node that a plan could use (exit 3).
pub fn read(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
    include_cordoned: bool,
) -> Result<(Fleet, Vec<Diagnostic>)> {
    let mut nodes: BTreeMap<String, (Node, KubernetesNode)> = BTreeMap::new();
    let mut remarks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    let (mut total, mut without_gpus) = (0u64, 0u64);
    list::for_each_item(input, file, |item: NodeItem| {
        let name = item.metadata.name.clone();
        if name.chars().any(char::is_control) || name.is_empty() {
            problems.push(Diagnostic::new("a node's name is empty or has a control character"));
            return;
        }
        let mut remark = |text: String| remarks.entry(text).or_default().push(name.clone());
        let seen = node_of(item);
        match gpus(&seen, catalogue, include_cordoned, &mut remark) {
            Gpus::None => without_gpus += 1,
            Gpus::Skipped => {}
            Gpus::Some(board, count) => {
                total = total.saturating_add(count);
                if total > MAX_GPUS {
                    return;
                }
                let gpus = vec![board; usize::try_from(count).unwrap_or(0)];
                let node = Node { name: name.clone(), gpus };
                if nodes.insert(name.clone(), (node, seen)).is_some() {
                    problems.push(Diagnostic::new(format!("duplicate node '{name}'")));
                }
            }
        }
    })?;
    let at = |problem: Diagnostic| problem.in_file(file);
    if total > MAX_GPUS {
        problems.push(Diagnostic::new(format!(
            "{total} GPUs are more than the {MAX_GPUS} that one plan may have"
        )));
    }
    let mut warnings: Vec<Diagnostic> = remarks
        .iter()
        .map(|(text, names)| {
            at(Diagnostic::new(match &names[..] {
                [only] => format!("node {only} {text}"),
                _ => format!("nodes {}: each {text}", list::names(names)),
            }))
        })
        .collect();
    if nodes.is_empty() {
        problems.push(Diagnostic::new("has no node with GPUs that a plan could use"));
        problems.append(&mut warnings);
    }
    if !problems.is_empty() {
        return Err(Error::inputs(problems.into_iter().map(at).collect()).hint(
            "GPU feature discovery must run on the GPU nodes: `kubectl get nodes -L nvidia.com/gpu.product,nvidia.com/gpu.count` shows its labels",
        ));
    }
    if without_gpus > 0 {
        warnings.push(at(Diagnostic::new(format!(
            "{} without GPUs skipped",
            plural(without_gpus, "node")
        ))));
    }
    let (nodes, seen): (Vec<Node>, Vec<KubernetesNode>) = nodes.into_values().unzip();
    let kubernetes = nodes.iter().map(|n| n.name.clone()).zip(seen).collect();
    Ok((Fleet::new(nodes).with_kubernetes(kubernetes), warnings))
}

/// Reads what a cluster says of each of its nodes, whether a plan could use them or not.
///
/// # Errors
/// No such JSON (exit 3).
pub fn observe(input: impl Read, file: &str) -> Result<BTreeMap<String, KubernetesNode>> {
    let mut nodes = BTreeMap::new();
    list::for_each_item(input, file, |item: NodeItem| {
        nodes.insert(item.metadata.name.clone(), node_of(item));
    })?;
    Ok(nodes)
}

/// Keeps of a node what others may ask for.
fn node_of(item: NodeItem) -> KubernetesNode {
    let labels = item.metadata.labels.unwrap_or_default();
    let allocatable = item
        .status
        .allocatable
        .unwrap_or_default()
        .iter()
        .filter(|(resource, _)| resource.starts_with("nvidia.com/"))
        .filter_map(|(resource, quantity)| Some((resource.clone(), list::count(quantity)?)))
        .collect();
    let ready = item
        .status
        .conditions
        .unwrap_or_default()
        .iter()
        .all(|c| c.r#type != "Ready" || c.status == "True");
    KubernetesNode {
        strategy: labels.get(MIG_STRATEGY_LABEL).cloned(),
        mig_config: labels.get(MIG_CONFIG_LABEL).cloned(),
        mig_config_state: labels.get(MIG_CONFIG_STATE_LABEL).cloned(),
        single_profile: labels.get(PRODUCT_LABEL).and_then(|p| single_profile(p)),
        cordoned: item.spec.unschedulable == Some(true),
        ready,
        allocatable,
        labels,
    }
}

/// What a plan may use of a node.
enum Gpus {
    /// It has none.
    None,
    /// It has some, but they cannot be planned; the reason is a remark.
    Skipped,
    /// So many of this board.
    Some(BoardRef, u64),
}

fn gpus(
    node: &KubernetesNode,
    catalogue: &Catalogue,
    include_cordoned: bool,
    remark: &mut impl FnMut(String),
) -> Gpus {
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    let number = |key: &str| label(key).and_then(|v| v.parse::<u64>().ok());
    let Some(product) = label(PRODUCT_LABEL) else {
        let has_gpus = node.allocatable.values().any(|count| *count > 0)
            || label("nvidia.com/gpu.present") == Some("true")
            || label("feature.node.kubernetes.io/pci-10de.present") == Some("true");
        if !has_gpus {
            return Gpus::None;
        }
        remark(format!(
            "has GPUs but no label {PRODUCT_LABEL}, and is skipped: does GPU feature discovery run there?"
        ));
        return Gpus::Skipped;
    };
    if node.cordoned && !include_cordoned {
        remark("is cordoned and skipped (--include-cordoned keeps it)".to_string());
        return Gpus::Skipped;
    }
    if product.ends_with("-MIG-INVALID") {
        remark("has GPUs that MIG strategy 'single' cannot advertise, so their number is not known, and is skipped: set nvidia.com/mig.config to all-disabled first".to_string());
        return Gpus::Skipped;
    }
    let board = match board(node, product, catalogue) {
        Ok(board) => board,
        Err(why) => {
            remark(format!("has {product}, which {why}"));
            return Gpus::Skipped;
        }
    };
    if label(MIG_CAPABLE_LABEL) == Some("false") {
        remark(format!("has {product}, but {MIG_CAPABLE_LABEL}=false, and is skipped"));
        return Gpus::Skipped;
    }
    let count = match number(COUNT_LABEL) {
        Some(0) => {
            remark(format!("has {COUNT_LABEL}=0 and is skipped"));
            return Gpus::Skipped;
        }
        Some(count) => count,
        None => {
            remark(format!("has no number in the label {COUNT_LABEL} and is skipped"));
            return Gpus::Skipped;
        }
    };
    let Some(count) = gpu_count(node, &board, product, count, remark) else {
        return Gpus::Skipped;
    };
    if !node.ready {
        remark("is not ready, but planned for".to_string());
    }
    if let Some(state @ ("failed" | "pending" | "rebooting")) = node.mig_config_state.as_deref() {
        remark(format!("has {MIG_CONFIG_STATE_LABEL}={state}"));
    }
    if node.shares_gpus() {
        remark(
            "shares its GPUs by time slicing: switch that off for instances of its own".to_string(),
        );
    }
    Gpus::Some(board, count)
}

/// The board of a node's GPUs as its labels tell; `None` where they do not.
pub fn board_of(node: &KubernetesNode, catalogue: &Catalogue) -> Option<BoardRef> {
    board(node, node.labels.get(PRODUCT_LABEL)?, catalogue).ok()
}

/// The board that a product label means, or why the node is skipped.
fn board(
    node: &KubernetesNode,
    product: &str,
    catalogue: &Catalogue,
) -> std::result::Result<BoardRef, String> {
    let label = |key: &str| node.labels.get(key).map(String::as_str);
    // The memory under 'single' is an instance's, so it tells nothing of the board.
    let memory = match node.single_profile {
        Some(_) => None,
        None => label(MEMORY_LABEL).and_then(|v| v.parse().ok()),
    };
    match catalogue.find(product, memory.map(Mebibytes)) {
        Ok(board) => Ok(board.clone()),
        Err(BoardNotFound::WithoutMig { .. }) => {
            Err("does not support MIG, and is skipped".to_string())
        }
        Err(BoardNotFound::Ambiguous { boards, .. }) => Err(format!(
            "may be {}, and is skipped: the label {MEMORY_LABEL} would tell",
            boards.join(" or ")
        )),
        Err(BoardNotFound::Unknown { .. }) if label(MIG_CAPABLE_LABEL) == Some("false") => {
            Err("does not support MIG and is skipped".to_string())
        }
        Err(BoardNotFound::Unknown { .. }) => {
            Err("is not known (--catalogue FILE adds a board) and is skipped".to_string())
        }
    }
}

/// The GPUs of a node whose count label says `count`: under MIG strategy `single` it counts
/// instances. `None` where the node is skipped.
fn gpu_count(
    node: &KubernetesNode,
    board: &BoardRef,
    product: &str,
    count: u64,
    remark: &mut impl FnMut(String),
) -> Option<u64> {
    let Some(name) = &node.single_profile else { return Some(count) };
    let Some((_, profile)) = board.profile(name) else {
        remark(format!("has {product}, a profile that {} lacks, and is skipped", board.id));
        return None;
    };
    let per_gpu = u64::from(profile.max_instances);
    let gpus = count.div_ceil(per_gpu);
    if !count.is_multiple_of(per_gpu) {
        remark(format!(
            "shows {count} instances of {name}, {per_gpu} to a GPU: taken for {}",
            plural(gpus, "GPU")
        ));
    }
    Some(gpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str =
        include_str!("../../tests/data/kubernetes/gpu-operator_mig-mixed-node-labels.json");
    const SINGLE: &str =
        include_str!("../../tests/data/kubernetes/gpu-operator_mig-node-labels.json");

    fn node(name: &str, labels: &[(&str, &str)], rest: &str) -> String {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let labels = serde_json::to_string(&labels).unwrap();
        format!(
            r#"{{"kind": "Node", "metadata": {{"name": "{name}", "labels": {labels}}} {rest}}}"#
        )
    }

    fn list(nodes: &[String]) -> String {
        format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, nodes.join(","))
    }

    fn fleet(nodes: &[String]) -> Result<(Fleet, Vec<Diagnostic>)> {
        read(list(nodes).as_bytes(), "nodes.json", &Catalogue::built_in(), false)
    }

    const A100: (&str, &str) = (PRODUCT_LABEL, "NVIDIA-A100-SXM4-80GB");

    #[test]
    fn real_labels_make_a_fleet() {
        for (labels, strategy, config) in
            [(MIXED, "mixed", "all-balanced"), (SINGLE, "single", "all-disabled")]
        {
            let text = format!(
                r#"{{"kind": "Node", "metadata": {{"name": "s4124-0073", "labels": {labels}}}}}"#
            );
            let (fleet, warnings) =
                read(text.as_bytes(), "-", &Catalogue::built_in(), false).unwrap();
            assert_eq!(warnings, []);
            let [node] = fleet.nodes() else { panic!() };
            assert_eq!(
                node.gpus.iter().map(|b| b.id.as_str()).collect::<Vec<_>>(),
                ["h100-sxm5-80gb"]
            );
            let seen = fleet.kubernetes("s4124-0073").unwrap();
            assert_eq!(seen.strategy.as_deref(), Some(strategy));
            assert_eq!(seen.mig_config.as_deref(), Some(config));
            assert_eq!(seen.mig_config_state.as_deref(), Some("success"));
            assert_eq!(seen.labels["kubernetes.io/os"], "linux");
        }
    }

    #[test]
    fn instances_are_counted_back_into_gpus() {
        let single = |product, count| {
            node("n", &[(PRODUCT_LABEL, product), (COUNT_LABEL, count), (MEMORY_LABEL, "9728")], "")
        };
        let (fleet_, warnings) =
            fleet(&[single("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "56")]).unwrap();
        assert_eq!((fleet_.gpu_count(), warnings.len()), (8, 0));
        let (fleet_, warnings) =
            fleet(&[single("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb.me", "4")]).unwrap();
        assert_eq!((fleet_.gpu_count(), warnings.len()), (4, 0));
        let (fleet_, warnings) =
            fleet(&[single("NVIDIA-A100-SXM4-80GB-MIG-2g.20gb", "7")]).unwrap();
        assert_eq!(fleet_.gpu_count(), 3);
        assert!(warnings[0].to_string().contains("7 instances of 2g.20gb"), "{warnings:?}");
    }

    #[test]
    fn memory_tells_boards_of_one_name_apart() {
        let gb200 = |memory| {
            node(
                "n",
                &[(PRODUCT_LABEL, "NVIDIA-GB200"), (COUNT_LABEL, "4"), (MEMORY_LABEL, memory)],
                "",
            )
        };
        for (memory, id) in [("189471", "gb200-186gb"), ("192513", "gb200-189gb")] {
            assert_eq!(fleet(&[gb200(memory)]).unwrap().0.boards()[0].id, id);
        }
    }

    #[test]
    fn what_cannot_be_planned_is_skipped_and_named() {
        let four = (COUNT_LABEL, "4");
        let nodes = [
            node(
                "good",
                &[A100, four],
                r#", "status": {"allocatable": {"nvidia.com/gpu": "4", "cpu": "64"}}"#,
            ),
            node(
                "down",
                &[A100, four],
                r#", "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}"#,
            ),
            node("cordoned-1", &[A100, four], r#", "spec": {"unschedulable": true}"#),
            node("cordoned-2", &[A100, four], r#", "spec": {"unschedulable": true}"#),
            node("bare", &[("nvidia.com/gpu.present", "true")], ""),
            node("capacity", &[], r#", "status": {"allocatable": {"nvidia.com/gpu": "8"}}"#),
            node("cpu", &[], ""),
            node("old", &[(PRODUCT_LABEL, "Tesla-T4"), four], ""),
            node("new", &[(PRODUCT_LABEL, "NVIDIA-X1000"), four], ""),
            node(
                "invalid",
                &[(PRODUCT_LABEL, "NVIDIA-A100-SXM4-80GB-MIG-INVALID"), (COUNT_LABEL, "0")],
                "",
            ),
            node("vgpu", &[A100, four, (MIG_CAPABLE_LABEL, "false")], ""),
            node("uncounted", &[A100], ""),
            node("none", &[A100, (COUNT_LABEL, "0")], ""),
            node("unsure", &[(PRODUCT_LABEL, "NVIDIA-GB200"), four], ""),
        ];
        let (found, warnings) = fleet(&nodes).unwrap();
        let names: Vec<&str> = found.nodes().iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["down", "good"]);
        assert_eq!(found.kubernetes("good").unwrap().allocatable["nvidia.com/gpu"], 4);
        let text: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let text = text.join("\n");
        for part in [
            "nodes cordoned-1, cordoned-2: each is cordoned and skipped",
            "node down is not ready",
            "nodes bare, capacity: each has GPUs but no label",
            "node old has Tesla-T4, which does not support MIG",
            "node new has NVIDIA-X1000, which is not known",
            "node invalid has GPUs that MIG strategy 'single' cannot advertise",
            "node vgpu has NVIDIA-A100-SXM4-80GB, but",
            "node uncounted has no number in the label nvidia.com/gpu.count",
            "node none has nvidia.com/gpu.count=0 and is skipped",
            "node unsure has NVIDIA-GB200, which may be gb200-186gb or gb200-189gb",
            "1 node without GPUs skipped",
        ] {
            assert!(text.contains(part), "missing {part} in\n{text}");
        }
        let kept = read(list(&nodes).as_bytes(), "-", &Catalogue::built_in(), true).unwrap().0;
        assert_eq!(kept.gpu_count(), 16);
    }

    #[test]
    fn every_node_can_be_observed() {
        let nodes = [
            node("invalid", &[(PRODUCT_LABEL, "NVIDIA-A30-MIG-INVALID")], ""),
            node("cpu", &[], r#", "spec": {"unschedulable": true}"#),
        ];
        let seen = observe(list(&nodes).as_bytes(), "nodes.json").unwrap();
        assert!(seen["cpu"].cordoned && !seen["invalid"].cordoned);
        assert_eq!(seen["invalid"].single_profile, None);
    }

    #[test]
    fn a_cluster_without_usable_nodes_is_refused_with_the_reasons() {
        let error = fleet(&[node("old", &[(PRODUCT_LABEL, "Tesla-T4"), (COUNT_LABEL, "4")], "")])
            .unwrap_err();
        assert!(error.to_string().contains("no node with GPUs"), "{error}");
        assert!(error.to_string().contains("Tesla-T4"), "{error}");
        let twice = node("n", &[A100, (COUNT_LABEL, "1")], "");
        assert!(fleet(&[twice.clone(), twice]).unwrap_err().to_string().contains("duplicate node"));
    }
}
