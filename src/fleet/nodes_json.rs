//! A fleet from `kubectl get nodes -o json`: the labels of GPU feature discovery say which GPUs a
//! node has, and which MIG configuration it has now.
//!
//! A cluster has nodes that a plan cannot use: cordoned, without labels, without MIG. They are
//! skipped and named, since a plan that silently lacks half of the cluster misleads.

mod count;

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;

use super::kubernetes_node::Sharing;
use super::{Fleet, KubernetesNode, KubernetesNodes, MAX_GPUS, Node};
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::catalogue::BoardNotFound;
use crate::hardware::{BoardRef, Catalogue, ProfileName};
use crate::kubernetes::list::{self, Item};
use crate::kubernetes::{
    DISCOVERY_LABEL, GPU_RESOURCE, MEMORY_LABEL, MIG_CAPABLE_LABEL, MIG_CONFIG_LABEL,
    MIG_CONFIG_STATE_LABEL, MIG_STRATEGY_LABEL, PCI_LABELS, PRODUCT_LABEL, is_gpu_resource,
    single_profile,
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
    capacity: Option<BTreeMap<String, Value>>,
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
    read_pool(input, file, catalogue, include_cordoned, None)
}

/// As [`read`], of the nodes that have this label, if one is named.
///
/// # Errors
/// As [`read`]; no node with GPUs has the label (exit 3).
pub fn read_pool(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
    include_cordoned: bool,
    pool: Option<(&str, &str)>,
) -> Result<(Fleet, Vec<Diagnostic>)> {
    let mut reader = Reader::default();
    list::for_each_item(input, file, |item: NodeItem| {
        reader.add(item, catalogue, include_cordoned, pool);
    })?;
    reader.finish(file, pool)
}

/// What is gathered of the nodes so far.
#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    /// What the cluster says of nodes with GPUs, planned or not.
    known: KubernetesNodes,
    /// What is remarked on, and the nodes that it is true of.
    remarks: BTreeMap<String, Vec<String>>,
    duplicates: Vec<Diagnostic>,
    problems: Vec<Diagnostic>,
    gpus: u64,
    /// Nodes with GPUs that have the pool's label.
    in_pool: u64,
    without_gpus: u64,
}

impl Reader {
    fn add(
        &mut self,
        item: NodeItem,
        catalogue: &Catalogue,
        include_cordoned: bool,
        pool: Option<(&str, &str)>,
    ) {
        let name = item.metadata.name.clone();
        if name.chars().any(char::is_control) || name.is_empty() {
            let problem = "a node's name is empty or has a control character";
            self.problems.push(Diagnostic::new(problem));
            return;
        }
        let seen = node_of(item);
        let has = |(label, value): (&str, &str)| seen.labels.get(label).is_some_and(|v| v == value);
        if !pool.is_none_or(has) {
            // Not planned, but its pods may be.
            if seen.labels.contains_key(PRODUCT_LABEL) {
                self.know(name, seen);
            }
            return;
        }
        let mut remark = |text: String| self.remarks.entry(text).or_default().push(name.clone());
        match gpus(&seen, catalogue, include_cordoned, &mut remark) {
            Gpus::None => {
                self.without_gpus += 1;
                return;
            }
            Gpus::Skipped => {}
            Gpus::Some(board, count) => {
                self.gpus = self.gpus.saturating_add(count);
                if self.gpus <= MAX_GPUS {
                    let gpus = vec![board; usize::try_from(count).unwrap_or(0)];
                    self.nodes.push(Node::new(name.clone(), gpus));
                }
            }
        }
        self.in_pool += 1;
        self.know(name, seen);
    }

    fn know(&mut self, name: String, seen: KubernetesNode) {
        if self.known.contains_key(&name) {
            self.duplicates.push(Diagnostic::new(format!("duplicate node '{name}'")));
        }
        self.known.insert(name, seen);
    }

    fn finish(
        mut self,
        file: &str,
        pool: Option<(&str, &str)>,
    ) -> Result<(Fleet, Vec<Diagnostic>)> {
        let at = |problem: Diagnostic| problem.in_file(file);
        let mut hint = None;
        if !self.duplicates.is_empty() {
            self.problems.append(&mut self.duplicates);
            hint = Some("give what one `kubectl get nodes -o json` prints: each node once");
        }
        if self.gpus > MAX_GPUS {
            let problem =
                format!("{} GPUs are more than the {MAX_GPUS} that one plan may have", self.gpus);
            self.problems.push(Diagnostic::new(problem));
        }
        let said = |(text, names): (&String, &Vec<String>)| {
            at(Diagnostic::new(match &names[..] {
                [only] => format!("node {only} {text}"),
                _ => format!("nodes {}: each {text}", list::names(names)),
            }))
        };
        let mut warnings: Vec<Diagnostic> = self.remarks.iter().map(said).collect();
        if self.nodes.is_empty() && self.problems.is_empty() {
            let problem = match pool {
                Some((label, value)) if self.in_pool == 0 => {
                    hint = Some("`kubectl get nodes --show-labels` lists the labels");
                    format!("no node with GPUs has the label {label}={value}")
                }
                Some((label, value)) => {
                    format!("no node with the label {label}={value} has GPUs that a plan could use")
                }
                None => "has no node with GPUs that a plan could use".to_string(),
            };
            // A remark on a node says by itself what is wrong with it.
            let discovery = self.remarks.is_empty().then_some("GPU feature discovery must run on the GPU nodes: `kubectl get nodes -L nvidia.com/gpu.product,nvidia.com/gpu.count` shows its labels");
            hint = hint.or(discovery);
            self.problems.push(Diagnostic::new(problem));
            self.problems.append(&mut warnings);
        }
        if !self.problems.is_empty() {
            let error = Error::inputs(self.problems.into_iter().map(at).collect());
            return Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        if self.without_gpus > 0 {
            let skipped = format!("{} without GPUs skipped", plural(self.without_gpus, "node"));
            warnings.push(at(Diagnostic::new(skipped)));
        }
        Ok((Fleet::new(self.nodes).with_kubernetes(self.known), warnings))
    }
}

/// Reads what a cluster says of each of its nodes, whether a plan could use them or not.
///
/// # Errors
/// No such JSON (exit 3).
pub fn observe(input: impl Read, file: &str) -> Result<KubernetesNodes> {
    let mut nodes = KubernetesNodes::new();
    list::for_each_item(input, file, |item: NodeItem| {
        nodes.insert(item.metadata.name.clone(), node_of(item));
    })?;
    Ok(nodes)
}

/// Keeps of a node what others may ask for.
fn node_of(item: NodeItem) -> KubernetesNode {
    let labels = item.metadata.labels.unwrap_or_default();
    let allocatable = gpu_resources(item.status.allocatable);
    // A list that somebody cut down may lack the capacity.
    let mut capacity = allocatable.clone();
    capacity.extend(gpu_resources(item.status.capacity));
    let ready = item
        .status
        .conditions
        .unwrap_or_default()
        .iter()
        .all(|c| c.r#type != "Ready" || c.status == "True");
    // GPU feature discovery has no label for the strategy 'none' (its `internal/lm/mig-strategy.go`).
    let none = || labels.contains_key(DISCOVERY_LABEL).then(|| "none".to_string());
    KubernetesNode {
        strategy: labels.get(MIG_STRATEGY_LABEL).cloned().or_else(none),
        mig_config: labels.get(MIG_CONFIG_LABEL).cloned(),
        mig_config_state: labels.get(MIG_CONFIG_STATE_LABEL).cloned(),
        single_profile: labels.get(PRODUCT_LABEL).and_then(|p| single_profile(p)),
        cordoned: item.spec.unschedulable == Some(true),
        ready,
        allocatable,
        capacity,
        labels,
    }
}

/// What resources say of GPUs and instances.
fn gpu_resources(resources: Option<BTreeMap<String, Value>>) -> BTreeMap<String, u64> {
    let resources = resources.unwrap_or_default().into_iter();
    resources
        .filter(|(resource, _)| is_gpu_resource(resource))
        .filter_map(|(resource, quantity)| Some((resource, list::count(&quantity)?)))
        .collect()
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
    let Some(product) = label(PRODUCT_LABEL) else {
        let has_gpus = node.allocatable.values().any(|count| *count > 0)
            || label("nvidia.com/gpu.present") == Some("true")
            || PCI_LABELS.iter().any(|present| label(present) == Some("true"));
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
    if node.is_invalid() {
        remark("has GPUs that MIG strategy 'single' cannot advertise, so their number is not known, and is skipped: set the strategy to 'mixed', or nvidia.com/mig.config to all-disabled, first".to_string());
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
    match count::gpus(node, &board, product, remark) {
        Ok(count) => {
            state_remarks(node, remark);
            Gpus::Some(board, count)
        }
        Err(why) => {
            remark(why);
            Gpus::Skipped
        }
    }
}

/// Tells of the state of a node that is planned for what looks wrong.
fn state_remarks(node: &KubernetesNode, remark: &mut impl FnMut(String)) {
    if !node.ready {
        remark("is not ready, but planned for".to_string());
    }
    if let Some(state @ ("failed" | "pending" | "rebooting")) = node.mig_config_state.as_deref() {
        remark(format!("has {MIG_CONFIG_STATE_LABEL}={state}"));
    }
    for Sharing { resource, replicas, how } in node.sharing() {
        let what = match (resource.as_str(), &node.single_profile) {
            (GPU_RESOURCE, None) => "its GPUs".to_string(),
            (GPU_RESOURCE, Some(profile)) => format!("each {profile} among {replicas} pods"),
            _ => format!("each {resource} among {replicas} pods"),
        };
        remark(format!("shares {what} by {how}: switch that off for instances of its own"));
    }
    // With nothing allocatable the capacity is what there was before the device plugin stopped.
    let stopped = node.allocatable.values().all(|count| *count == 0);
    for (resource, capacity) in &node.capacity {
        let healthy = node.allocatable.get(resource).copied().unwrap_or(0);
        if healthy < *capacity && (healthy > 0 || stopped) {
            remark(format!(
                "has {capacity} {resource}, of which pods can get {healthy}: the others are not healthy, or the device plugin has stopped; they are planned for"
            ));
        }
    }
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
        Err(BoardNotFound::Ambiguous { boards, .. }) => match &node.single_profile {
            // The memory is an instance's, and alike on boards that share a profile.
            Some(profile) => with_profile(&boards, profile, catalogue).ok_or_else(|| {
                format!(
                    "may be {}, and is skipped: each of them has {profile}",
                    boards.join(" or ")
                )
            }),
            None => Err(format!(
                "may be {}, and is skipped: the label {MEMORY_LABEL} would tell",
                boards.join(" or ")
            )),
        },
        Err(BoardNotFound::Unknown { .. }) if label(MIG_CAPABLE_LABEL) == Some("false") => {
            Err("does not support MIG and is skipped".to_string())
        }
        Err(BoardNotFound::Unknown { .. }) => {
            Err("is not known (--catalogue FILE adds a board) and is skipped".to_string())
        }
    }
}

/// The only one of these boards that has the profile.
fn with_profile(
    boards: &[String],
    profile: &ProfileName,
    catalogue: &Catalogue,
) -> Option<BoardRef> {
    let boards = boards.iter().filter_map(|id| catalogue.by_id(id));
    let mut with = boards.filter(|board| board.profile(profile).is_some());
    match (with.next(), with.next()) {
        (Some(board), None) => Some(board.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::COUNT_LABEL;

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
        let single = |profile: &str, count, config| {
            let product = format!("NVIDIA-A100-SXM4-80GB-MIG-{profile}");
            let labels = [
                (PRODUCT_LABEL, product.as_str()),
                (COUNT_LABEL, count),
                (MEMORY_LABEL, "9728"),
                (MIG_CONFIG_LABEL, config),
                (MIG_CONFIG_STATE_LABEL, "success"),
            ];
            let (fleet, warnings) = fleet(&[node("n", &labels, "")]).unwrap();
            (fleet.gpu_count(), warnings.iter().map(ToString::to_string).collect::<String>())
        };
        // The preset fills each GPU, and a GPU has at least one instance.
        assert_eq!(single("1g.10gb", "56", "all-1g.10gb"), (8, String::new()));
        assert_eq!(single("1g.10gb.me", "4", "own"), (4, String::new()));
        // A configuration of the site may fill them in part.
        let (gpus, said) = single("3g.40gb", "8", "own");
        assert_eq!(gpus, 4);
        assert!(said.contains("shows 8 instances of 3g.40gb, up to 2 to a GPU"), "{said}");
        assert!(said.contains("taken for 4 GPUs"), "{said}");
        let (gpus, said) = single("2g.20gb", "7", "all-2g.20gb");
        assert_eq!(gpus, 3);
        assert!(said.contains("7 instances of 2g.20gb"), "{said}");
    }

    /// What the reader says of a node of A100-80GB that advertises this.
    fn said_of(labels: &[(&str, &str)], capacity: &str, allocatable: &str) -> String {
        let rest =
            format!(r#", "status": {{"capacity": {capacity}, "allocatable": {allocatable}}}"#);
        let nodes = [node("n", &[&[A100], labels].concat(), &rest)];
        match fleet(&nodes) {
            Ok((fleet, warnings)) => {
                let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                format!("{} GPUs; {}", fleet.gpu_count(), said.join("; "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn more_gpus_than_the_labels_count_are_seen() {
        let of = |capacity: &str| said_of(&[(COUNT_LABEL, "4")], capacity, capacity);
        assert_eq!(of(r#"{"nvidia.com/gpu": "4"}"#), "4 GPUs; ");
        for (capacity, least) in [
            (r#"{"nvidia.com/gpu": "8"}"#, "8 GPUs"),
            (r#"{"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "1"}"#, "5 GPUs"),
            (r#"{"nvidia.com/mig-3g.40gb": "9"}"#, "5 GPUs"),
            (r#"{"nvidia.com/mig-4g.40gb": "4", "nvidia.com/mig-1g.10gb": "14"}"#, "5 GPUs"),
        ] {
            let said = of(capacity);
            assert!(said.contains("advertises what at least") && said.contains(least), "{said}");
        }
        let full = r#"{"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": "14"}"#;
        assert_eq!(of(full), "4 GPUs; ");
        // Shared GPUs are advertised several times; the kubelet keeps the capacity of what is gone.
        let shared = [(COUNT_LABEL, "4"), ("nvidia.com/gpu.replicas", "4")];
        let said = said_of(&shared, r#"{"nvidia.com/gpu": "16"}"#, r#"{"nvidia.com/gpu": "16"}"#);
        assert!(said.starts_with("4 GPUs; ") && said.contains("by time slicing"), "{said}");
        let gone = r#"{"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "28"}"#;
        let now = r#"{"nvidia.com/gpu": "0", "nvidia.com/mig-1g.10gb": "28"}"#;
        assert_eq!(said_of(&[(COUNT_LABEL, "4")], gone, now), "4 GPUs; ");
    }

    #[test]
    fn what_is_not_healthy_is_told() {
        let of = |allocatable: &str| {
            let allocatable = format!(r#"{{"nvidia.com/gpu": "{allocatable}"}}"#);
            said_of(&[(COUNT_LABEL, "8")], r#"{"nvidia.com/gpu": "8"}"#, &allocatable)
        };
        assert_eq!(of("8"), "8 GPUs; ");
        for healthy in ["7", "0"] {
            let said = of(healthy);
            let told = format!("has 8 nvidia.com/gpu, of which pods can get {healthy}");
            assert!(said.starts_with("8 GPUs; ") && said.contains(&told), "{said}");
        }
    }

    #[test]
    fn sharing_is_told_as_what_it_is() {
        let said = |labels: &[(&str, &str)]| {
            said_of(&[&[(COUNT_LABEL, "4")], labels].concat(), "{}", "{}")
        };
        let mig = ("nvidia.com/mig-1g.10gb.replicas", "4");
        assert!(said(&[mig]).contains("each nvidia.com/mig-1g.10gb among 4 pods by time slicing"));
        let mps = [("nvidia.com/gpu.replicas", "4"), ("nvidia.com/gpu.sharing-strategy", "mps")];
        assert!(said(&mps).contains("shares its GPUs by MPS"));
        let none = [("nvidia.com/gpu.replicas", "1"), ("nvidia.com/hostdev.replicas", "4")];
        assert_eq!(said(&none), "4 GPUs; ");
    }

    #[test]
    fn the_strategy_none_has_no_label() {
        let seen = |labels: &[(&str, &str)]| {
            let seen = observe(list(&[node("n", labels, "")]).as_bytes(), "-").unwrap();
            seen["n"].strategy.clone()
        };
        assert_eq!(seen(&[A100]), None);
        assert_eq!(seen(&[A100, (DISCOVERY_LABEL, "1715703041")]).as_deref(), Some("none"));
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
    fn under_single_the_instance_tells_boards_of_one_name_apart() {
        let single = |product: &str| {
            let labels = [(PRODUCT_LABEL, product), (COUNT_LABEL, "28"), (MEMORY_LABEL, "20480")];
            fleet(&[node("n", &labels, "")]).map(|(fleet, _)| fleet.boards()[0].id.clone())
        };
        for (product, id) in [
            ("NVIDIA-GB200-MIG-1g.23gb", "gb200-186gb"),
            ("NVIDIA-GB200-MIG-1g.24gb", "gb200-189gb"),
            ("NVIDIA-GB300-MIG-1g.35gb", "gb300-278gb"),
            ("NVIDIA-GB300-MIG-1g.31gb.me", "gb300-station-251gb"),
        ] {
            assert_eq!(single(product).unwrap(), id, "{product}");
        }
        let unsure = single("NVIDIA-GB200-MIG-1g.47gb").unwrap_err().to_string();
        assert!(
            unsure.contains("gb200-189gb, and is skipped: each of them has 1g.47gb"),
            "{unsure}"
        );
    }

    #[test]
    fn a_pool_is_judged_by_its_own_nodes() {
        let four = (COUNT_LABEL, "4");
        let a = |name, rest| node(name, &[A100, four, ("pool", "a")], rest);
        let nodes = [
            a("a1", ""),
            a("a2", r#", "spec": {"unschedulable": true}"#),
            node("b1", &[A100, four, ("pool", "b")], r#", "spec": {"unschedulable": true}"#),
            node("b2", &[(PRODUCT_LABEL, "Tesla-T4"), four, ("pool", "b")], ""),
            node("cpu", &[], ""),
        ];
        let of = |pool| {
            let catalogue = Catalogue::built_in();
            read_pool(list(&nodes).as_bytes(), "-", &catalogue, false, Some(("pool", pool)))
        };
        let (found, warnings) = of("a").unwrap();
        assert_eq!(found.nodes().len(), 1);
        let [cordoned] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(cordoned.to_string().contains("node a2 is cordoned"), "{cordoned}");
        // Pods on nodes of other pools are read rightly all the same.
        assert_eq!(found.kubernetes_nodes().len(), 4);
        let error = of("b").unwrap_err().to_string();
        assert!(error.contains("no node with the label pool=b has GPUs that"), "{error}");
        assert!(error.contains("node b1 is cordoned") && !error.contains("a2"), "{error}");
        let error = of("c").unwrap_err();
        assert!(error.to_string().contains("no node with GPUs has the label pool=c"), "{error}");
        assert!(error.hint.unwrap().contains("--show-labels"));
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
            node("pci", &[("feature.node.kubernetes.io/pci-0302_10de.present", "true")], ""),
            node("cpu", &[], r#", "status": {"allocatable": {"nvidia.com/hostdev": "8"}}"#),
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
            "nodes bare, capacity, pci: each has GPUs but no label",
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
        assert_eq!(error.hint, None, "what is wrong with the node is said");
        let error = fleet(&[node("cpu", &[], "")]).unwrap_err();
        assert!(error.hint.unwrap().contains("GPU feature discovery must run"));
        let twice = node("n", &[A100, (COUNT_LABEL, "1")], "");
        let error = fleet(&[twice.clone(), twice]).unwrap_err();
        assert!(error.to_string().contains("duplicate node"), "{error}");
        assert!(error.hint.unwrap().contains("each node once"));
    }
}
