//! Kubernetes objects and Helm values, read by types that know their fields.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Toleration};
use serde::Deserialize;

use migplan::plan::{InstanceProfile, Plan};

use super::support::{
    A100, check_assignments, cluster, emit, emit_from, example, example_cluster, example_plan,
    mig_parted, planned,
};

/// `nvidia.com/…` as the device plugin would name it.
fn resource(profile: &InstanceProfile) -> String {
    match profile {
        InstanceProfile::Full => "nvidia.com/gpu".to_string(),
        InstanceProfile::Mig(name) => {
            format!("nvidia.com/mig-{}", name.to_string().replace('+', "."))
        }
    }
}

/// What every workload's instances add up to, by resource.
fn demand_by_resource(plan: &Plan) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        if instance.assignment.is_some() {
            *sums.entry(resource(&instance.profile)).or_default() += 1;
        }
    }
    sums
}

/// Whether a toleration lets a pod onto nodes with the taint `nvidia.com/gpu:NoSchedule`, whatever
/// its value.
fn tolerates_gpu_nodes(toleration: &Toleration) -> bool {
    toleration.key.as_deref() == Some("nvidia.com/gpu")
        && toleration.operator.as_deref() == Some("Exists")
        && toleration.effect.as_deref() == Some("NoSchedule")
}

#[test]
fn the_configmap_holds_a_file_that_makes_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let assignments = folder.path().join("nodes.csv");
    let csv = assignments.to_str().unwrap();
    for extra in [&[][..], &["--with-presets"]] {
        let arguments =
            [&["configmap", "--namespace", "gpus", "--assignments", csv], extra].concat();
        let object: ConfigMap = serde_saphyr::from_str(&emit(&arguments)).unwrap();
        assert_eq!(object.metadata.name.as_deref(), Some("migplan-mig-config"));
        assert_eq!(object.metadata.namespace.as_deref(), Some("gpus"));
        let data = object.data.unwrap();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["config.yaml"]);
        let file = mig_parted(&data["config.yaml"]);
        check_assignments(&example_plan(), &file, &std::fs::read_to_string(&assignments).unwrap());
        let labels: BTreeSet<&str> = file.configs.keys().map(String::as_str).collect();
        assert!(labels.contains("all-disabled"), "{labels:?}");
        assert_eq!(labels.contains("all-1g.10gb.me"), !extra.is_empty(), "{labels:?}");
        // Two of the five nodes are alike.
        assert_eq!(labels.iter().filter(|l| l.starts_with("migplan-")).count(), 4);
    }
}

#[test]
fn presets_that_other_nodes_use_are_carried_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodes.json");
    let nodes = file.to_str().unwrap();
    // Nodes beside the plan's: on presets of their boards, on a preset that the plan's nodes had,
    // and on a configuration that only the present ConfigMap has.
    let cluster = cluster(&[
        ("gpu-1", A100, 4, "all-1g.10gb"),
        ("gpu-2", A100, 4, "old-3"),
        ("other-1", A100, 8, "all-balanced"),
        ("other-2", "NVIDIA-A30", 2, "all-2g.12gb"),
        ("other-3", "NVIDIA-H200", 8, "all-1g.18gb"),
        ("other-4", "NVIDIA-H200", 8, "all-enabled"),
        ("other-5", A100, 8, "hand-made"),
    ]);
    std::fs::write(&file, cluster).unwrap();
    let (text, said) = emit_from(&example(), &["configmap", "--nodes", nodes]);
    let object: ConfigMap = serde_saphyr::from_str(&text).unwrap();
    let configs = mig_parted(&object.data.unwrap()["config.yaml"]).configs;
    let labels: BTreeSet<&str> =
        configs.keys().map(String::as_str).filter(|l| !l.starts_with("migplan-")).collect();
    let carried = ["all-1g.10gb", "all-1g.18gb", "all-2g.12gb", "all-balanced", "all-enabled"];
    let wanted: BTreeSet<&str> = carried.into_iter().chain(["all-disabled"]).collect();
    assert_eq!(labels, wanted);
    for (label, node) in carried.iter().zip(["gpu-1", "other-3", "other-2", "other-1", "other-4"]) {
        assert!(said.contains(&format!("carried along: {label}, in use by {node}")), "{said}");
    }
    assert!(said.contains("other-5 has the MIG configuration 'hand-made'"), "{said}");
    assert!(!said.contains("old-3"), "{said}");
    // As mig-parted generates them, on the boards of the cluster.
    let made = |label: &str, board: &str| {
        super::support::made(&configs[label], board).map(|counts| {
            counts.iter().map(|(p, n)| format!("{n} {p}")).collect::<Vec<_>>().join(", ")
        })
    };
    assert_eq!(made("all-1g.18gb", "h200-sxm-141gb").as_deref(), Some("7 1g.18gb"));
    assert_eq!(
        made("all-balanced", "a100-sxm4-80gb").as_deref(),
        Some("2 1g.10gb, 1 2g.20gb, 1 3g.40gb")
    );
    assert_eq!(made("all-balanced", "a30-24gb").as_deref(), Some("2 1g.6gb, 1 2g.12gb"));
    assert_eq!(made("all-enabled", "h200-sxm-141gb").as_deref(), Some(""));
    // Without the nodes nothing is known of them.
    let object: ConfigMap = serde_saphyr::from_str(&emit(&["configmap"])).unwrap();
    assert!(!object.data.unwrap()["config.yaml"].contains("all-balanced"));
}

#[test]
fn pods_ask_for_what_the_plan_has() {
    let (text, warnings) = emit_from(&example(), &["pod"]);
    let pods: Vec<Pod> = serde_saphyr::from_multiple(&text).unwrap();
    let mut names = BTreeSet::new();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for pod in &pods {
        let name = pod.metadata.name.clone().unwrap();
        let namespace = pod.metadata.namespace.clone().unwrap();
        assert!(
            migplan::kubernetes::naming::is_dns_label(&name)
                && migplan::kubernetes::naming::is_dns_label(&namespace)
        );
        assert!(names.insert((namespace, name)));
        let replicas: u64 =
            pod.metadata.annotations.as_ref().unwrap()["migplan/replicas"].parse().unwrap();
        let spec = pod.spec.as_ref().unwrap();
        assert!(spec.tolerations.as_ref().unwrap().iter().any(tolerates_gpu_nodes));
        let limits = spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        for (resource, quantity) in limits {
            *sums.entry(resource.clone()).or_default() +=
                replicas * quantity.0.parse::<u64>().unwrap();
        }
    }
    assert_eq!(sums, demand_by_resource(&example_plan()));
    // Teams whose names come out alike keep apart.
    let team = |wanted: &str| {
        let of_team =
            |pod: &&Pod| pod.metadata.annotations.as_ref().unwrap()["migplan/team"] == wanted;
        pods.iter().find(of_team).unwrap().metadata.namespace.clone().unwrap()
    };
    assert_eq!(team("nlp"), "nlp");
    assert_eq!(team("NLP"), "nlp-2");
    assert_eq!(team("n l p"), "n-l-p");
    assert!(warnings.contains("'NLP' is nlp-2"), "{warnings}");
    assert!(warnings.contains("NLP/exp is assigned to several kinds"), "{warnings}");
    // The name 1g.10gb is on boards of two sizes here; a pod must come to the one it was planned for.
    let lab = pods.iter().find(|p| p.metadata.name.as_deref() == Some("lab-jupyter")).unwrap();
    let affinity = lab.spec.as_ref().unwrap().affinity.as_ref().unwrap();
    let terms = &affinity
        .node_affinity
        .as_ref()
        .unwrap()
        .required_during_scheduling_ignored_during_execution
        .as_ref()
        .unwrap()
        .node_selector_terms;
    let expression = &terms[0].match_expressions.as_ref().unwrap()[0];
    assert_eq!(
        (expression.key.as_str(), expression.operator.as_str()),
        ("nvidia.com/gpu.product", "In")
    );
    assert_eq!(expression.values.as_ref().unwrap(), &["NVIDIA-A100-SXM4-80GB"]);
    assert!(warnings.contains("node gpu-5 has several boards"), "{warnings}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

/// The fields that we use of ResourceFlavor, ClusterQueue and LocalQueue in v1beta2.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    node_labels: Option<BTreeMap<String, String>>,
    tolerations: Option<Vec<Toleration>>,
    cohort_name: Option<String>,
    namespace_selector: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>,
    flavor_fungibility: Option<BTreeMap<String, String>>,
    preemption: Option<BTreeMap<String, String>>,
    resource_groups: Option<Vec<ResourceGroup>>,
    cluster_queue: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceGroup {
    covered_resources: Vec<String>,
    flavors: Vec<FlavorQuotas>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlavorQuotas {
    name: String,
    resources: Vec<ResourceQuota>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceQuota {
    name: String,
    nominal_quota: Quantity,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Number(u64),
    #[allow(dead_code, reason = "only its form is of interest")]
    Text(String),
}

/// The whole GPU that a GPU without MIG and without an instance is.
fn whole(gpu: &migplan::plan::GpuPlan) -> Option<&'static InstanceProfile> {
    (!gpu.mig && gpu.instances.is_empty()).then_some(&InstanceProfile::Full)
}

#[test]
fn a_team_of_which_nothing_is_placed_can_borrow() {
    let mut plan: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(example()).unwrap()).unwrap();
    plan["unplaced"] = serde_json::json!([{"team": "late", "workload": "w", "replicas": 2,
        "reason": "fleet_full", "detail": "the fleet is full"}]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    let (text, warnings) = emit_from(&file, &["kueue"]);
    assert!(warnings.contains("nothing of late: its queue"), "{warnings}");
    let objects: Vec<Object> = serde_saphyr::from_multiple(&text).unwrap();
    let of_late = |o: &&Object| o.kind == "ClusterQueue" && o.metadata.name == "late";
    let queue = objects.iter().find(of_late).unwrap();
    for flavor in &queue.spec.resource_groups.as_ref().unwrap()[0].flavors {
        assert!(flavor.resources.iter().all(|r| matches!(r.nominal_quota, Quantity::Number(0))));
    }
    let local =
        |o: &&Object| o.kind == "LocalQueue" && o.metadata.namespace.as_deref() == Some("late");
    assert!(objects.iter().any(|o| local(&o)));
}

#[test]
fn kueue_quotas_add_up_to_the_plan() {
    let objects: Vec<Object> = serde_saphyr::from_multiple(&emit(&["kueue"])).unwrap();
    let plan = example_plan();
    let flavors: BTreeSet<&str> = objects
        .iter()
        .filter(|o| o.kind == "ResourceFlavor")
        .map(|o| {
            assert!(o.spec.tolerations.is_some() || o.metadata.name == "migplan-any-node");
            o.metadata.name.as_str()
        })
        .collect();
    let boards: BTreeSet<String> = plan.gpus.iter().map(|g| g.board.to_string()).collect();
    for board in &boards {
        let flavor = objects.iter().find(|o| o.metadata.name == *board).unwrap();
        assert!(flavor.spec.node_labels.as_ref().unwrap().contains_key("nvidia.com/gpu.product"));
    }
    let resources: BTreeSet<String> = plan
        .gpus
        .iter()
        .flat_map(|g| g.instances.iter().map(|i| &i.profile).chain(whole(g)))
        .map(resource)
        .collect();
    let mut queues = BTreeSet::new();
    let (mut allocated, mut spare): (BTreeMap<String, u64>, BTreeMap<String, u64>) =
        Default::default();
    for queue in objects.iter().filter(|o| o.kind == "ClusterQueue") {
        assert_eq!(queue.api_version, "kueue.x-k8s.io/v1beta2");
        assert_eq!(queue.spec.cohort_name.as_deref(), Some("migplan"));
        assert!(queues.insert(queue.metadata.name.as_str()));
        let is_spare = queue.spec.namespace_selector.is_none();
        let reclaims = queue.spec.preemption.as_ref().map(|p| p["reclaimWithinCohort"].as_str());
        assert_eq!(reclaims, (!is_spare).then_some("Any"));
        let fungibility = queue.spec.flavor_fungibility.as_ref();
        let own_first = fungibility.map(|f| f["whenCanBorrow"].as_str());
        assert_eq!(own_first, (!is_spare).then_some("TryNextFlavor"));
        let groups = queue.spec.resource_groups.as_ref().unwrap();
        // What a queue does not list, nobody in it can borrow: each lists every profile on every
        // board, and limits neither lending nor borrowing (unknown fields would not be read).
        assert_eq!(groups[0].covered_resources.iter().cloned().collect::<BTreeSet<_>>(), resources);
        assert_eq!(
            groups[0].flavors.iter().map(|f| f.name.clone()).collect::<BTreeSet<_>>(),
            boards
        );
        for group in groups {
            for flavor in &group.flavors {
                assert!(flavors.contains(flavor.name.as_str()), "{}", flavor.name);
                // Kueue refuses a flavor that does not list the covered resources in their order.
                let names: Vec<&String> = flavor.resources.iter().map(|r| &r.name).collect();
                assert_eq!(names, group.covered_resources.iter().collect::<Vec<_>>());
                for quota in flavor.resources.iter().filter(|r| r.name.starts_with("nvidia")) {
                    let Quantity::Number(count) = quota.nominal_quota else { panic!() };
                    let sums = if is_spare { &mut spare } else { &mut allocated };
                    *sums.entry(quota.name.clone()).or_default() += count;
                }
            }
        }
    }
    allocated.retain(|_, count| *count > 0);
    assert_eq!(allocated, demand_by_resource(&plan));
    let mut unused: BTreeMap<String, u64> = BTreeMap::new();
    for gpu in &plan.gpus {
        if !gpu.mig && gpu.instances.is_empty() {
            *unused.entry("nvidia.com/gpu".to_string()).or_default() += 1;
        }
        for instance in gpu.instances.iter().filter(|i| i.assignment.is_none()) {
            *unused.entry(resource(&instance.profile)).or_default() += 1;
        }
    }
    spare.retain(|_, count| *count > 0);
    assert_eq!(spare, unused);
    let local: Vec<&Object> = objects.iter().filter(|o| o.kind == "LocalQueue").collect();
    assert_eq!(local.len() + 1, queues.len());
    for queue in local {
        assert!(queues.contains(queue.spec.cluster_queue.as_deref().unwrap()));
        assert!(queue.metadata.namespace.is_some());
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Z2jh {
    singleuser: Singleuser,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Singleuser {
    profile_list: Vec<Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    display_name: String,
    slug: String,
    description: String,
    #[serde(default)]
    default: bool,
    kubespawner_override: Override,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    extra_resource_limits: BTreeMap<String, String>,
    tolerations: Vec<Toleration>,
    node_affinity_required: Option<Vec<k8s_openapi::api::core::v1::NodeSelectorTerm>>,
}

#[test]
fn jupyterhub_offers_each_kind_of_instance_once() {
    let values: Z2jh = serde_saphyr::from_str(&emit(&["jupyterhub"])).unwrap();
    let profiles = values.singleuser.profile_list;
    let kinds: BTreeSet<String> = example_plan()
        .gpus
        .iter()
        .flat_map(|g| &g.instances)
        .map(|i| resource(&i.profile))
        .collect();
    let offered: Vec<&String> =
        profiles.iter().flat_map(|p| p.kubespawner_override.extra_resource_limits.keys()).collect();
    assert_eq!(offered.len(), kinds.len());
    assert_eq!(offered.into_iter().cloned().collect::<BTreeSet<_>>(), kinds);
    assert!(
        profiles.iter().all(|p| p.kubespawner_override.extra_resource_limits.values().eq(["1"]))
    );
    assert_eq!(profiles.iter().map(|p| p.default).collect::<Vec<_>>()[..2], [true, false]);
    for profile in &profiles {
        let tolerations = &profile.kubespawner_override.tolerations;
        assert!(tolerations.iter().any(tolerates_gpu_nodes));
        // The entry's list replaces the chart's, which tolerates nodes for users' pods.
        for key in ["hub.jupyter.org/dedicated", "hub.jupyter.org_dedicated"] {
            assert!(tolerations.iter().any(|t| t.key.as_deref() == Some(key)), "{key}");
        }
    }
    let slugs: BTreeSet<&str> = profiles.iter().map(|p| p.slug.as_str()).collect();
    assert_eq!(slugs.len(), profiles.len());
    assert!(profiles.iter().all(|p| migplan::kubernetes::naming::is_dns_label(&p.slug)));
    let media = profiles.iter().find(|p| p.slug == "1g-10gb-me").unwrap();
    // KubeSpawner's page has the description as HTML, and escapes nothing.
    let escaped = "Vision &amp; &quot;Co&quot;: #1";
    assert!(media.description.contains(escaped), "{}", media.description);
    assert!(media.display_name.contains("1g.10gb+me"));

    let values: Z2jh = serde_saphyr::from_str(&emit(&["jupyterhub", "--team", "lab"])).unwrap();
    let [only] = &values.singleuser.profile_list[..] else { panic!() };
    let terms = only.kubespawner_override.node_affinity_required.as_ref().unwrap();
    let values = terms[0].match_expressions.as_ref().unwrap()[0].values.as_ref().unwrap();
    assert_eq!(values, &["NVIDIA-A100-SXM4-80GB"]);
}

#[test]
fn names_of_teams_are_no_markup_of_the_hubs_page() {
    let folder = tempfile::tempdir().unwrap();
    let csv =
        "team,workload,memory\n<img src=x onerror=alert(1)>,a,9GiB\nR&D <b>,a,9GiB\nit's,a,9GiB\n";
    let plan = planned(folder.path(), csv, &["--gpus", "1xa100-80gb"]);
    let values: Z2jh = serde_saphyr::from_str(&emit_from(&plan, &["jupyterhub"]).0).unwrap();
    let profiles = values.singleuser.profile_list;
    let text = profiles.iter().map(|p| p.description.as_str()).collect::<Vec<_>>().join("\n");
    for escaped in ["&lt;img src=x onerror=alert(1)&gt;", "R&amp;D &lt;b&gt;", "it&#39;s"] {
        assert!(text.contains(escaped), "{escaped} in {text}");
    }
    assert!(!text.contains(['<', '>']), "{text}");
}

#[test]
fn helm_values_name_the_strategy() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct DevicePlugin {
        mig_strategy: String,
        gfd: BTreeMap<String, bool>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Operator {
        mig: BTreeMap<String, String>,
        mig_manager: MigManager,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct MigManager {
        enabled: bool,
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        create: bool,
        name: String,
        default: String,
    }
    let (text, warnings) = emit_from(&example(), &["device-plugin"]);
    assert!(warnings.contains("GPU Operator runs a device plugin already"), "{warnings}");
    let values: DevicePlugin = serde_saphyr::from_str(&text).unwrap();
    assert_eq!((values.mig_strategy.as_str(), values.gfd["enabled"]), ("mixed", true));
    let arguments = ["device-plugin", "--chart", "gpu-operator", "--configmap-name", "layouts"];
    let (text, warnings) = emit_from(&example(), &arguments);
    assert_eq!(warnings, "");
    let values: Operator = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(values.mig["strategy"], "mixed");
    let manager = values.mig_manager;
    assert!(manager.enabled && !manager.config.create && manager.config.default.is_empty());
    assert_eq!(manager.config.name, "layouts");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capacity {
    schema: String,
    strategy: String,
    before_from: String,
    nodes: Vec<NodeCapacity>,
    totals: Totals,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeCapacity {
    node: String,
    before: BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
    refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    before: BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
}

#[test]
fn capacity_is_what_the_instances_add_up_to() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = folder.path().join("nodes.json");
    std::fs::write(&nodes, example_cluster()).unwrap();
    let text = emit(&["capacity", "--format", "json", "--nodes", nodes.to_str().unwrap()]);
    let capacity: Capacity = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (capacity.schema.as_str(), capacity.strategy.as_str()),
        ("migplan.capacity/v1", "mixed")
    );
    assert_eq!(capacity.before_from, "cluster");
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for gpu in &example_plan().gpus {
        if !gpu.mig {
            *sums.entry("nvidia.com/gpu".to_string()).or_default() += 1;
        }
        for instance in gpu.instances.iter().filter(|_| gpu.mig) {
            *sums.entry(resource(&instance.profile)).or_default() += 1;
        }
    }
    assert_eq!(capacity.totals.after, sums);
    assert_eq!(capacity.totals.before["nvidia.com/gpu"], 15);
    let gpu_3 = capacity.nodes.iter().find(|n| n.node == "gpu-3").unwrap();
    assert_eq!(gpu_3.before["nvidia.com/gpu"], 2);
    assert_eq!(
        gpu_3.after,
        BTreeMap::from([
            ("nvidia.com/mig-1g.6gb".to_string(), 4),
            ("nvidia.com/mig-2g.12gb".to_string(), 2),
        ])
    );
}

#[test]
fn strategy_single_follows_the_device_plugin() {
    let (text, warnings) =
        emit_from(&example(), &["capacity", "--format", "json", "--strategy", "single"]);
    let capacity: Capacity = serde_json::from_str(&text).unwrap();
    for node in &capacity.nodes {
        match node.node.as_str() {
            // All GPUs whole: as without MIG.
            "gpu-2" => assert_eq!(node.after["nvidia.com/gpu"], 4),
            // Several profiles, or MIG on beside off: the plugin advertises nothing.
            name => {
                assert!(node.after.is_empty() && node.refused.is_some(), "{name}");
                assert!(warnings.contains(&format!("node '{name}' will advertise nothing")));
            }
        }
    }
    for kind in ["pod", "kueue", "jupyterhub", "airflow", "device-plugin", "configmap"] {
        let output = super::support::run(&example(), &[kind, "--strategy", "single"]);
        assert_eq!(output.status.code(), Some(3), "{kind}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(
                "node 'gpu-1' would advertise nothing: MIG is on for 3 GPUs and off for 1"
            ),
            "{error}"
        );
        assert!(error.contains("several profiles: 1g.6gb, 2g.12gb"), "{error}");
    }
}

#[test]
fn names_do_not_depend_on_the_teams_that_are_asked_for() {
    // Two teams whose names come out alike, with a workload of the same name.
    let mut plan = example_plan().into_inner();
    let instances = plan.gpus.iter_mut().flat_map(|gpu| &mut gpu.instances);
    for assignment in instances.filter_map(|i| i.assignment.as_mut()) {
        if ["nlp", "NLP"].contains(&&*assignment.team) {
            assignment.workload = format!("w{}", assignment.replica).into();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    std::fs::write(&file, serde_json::to_string(&plan).unwrap()).unwrap();
    for kind in ["pod", "dra", "airflow"] {
        for namespace in [&[][..], &["--namespace", "one"]] {
            let (all, _) = emit_from(&file, &[&[kind][..], namespace].concat());
            for team in ["nlp", "NLP"] {
                let (own, _) = emit_from(&file, &[&[kind, "--team", team][..], namespace].concat());
                let separator = if kind == "airflow" { "\n\n\n" } else { "---\n" };
                for part in own.split(separator).skip(1) {
                    assert!(all.contains(part.trim_end()), "{kind} {team}: {part}\nin\n{all}");
                }
            }
        }
    }
}

#[test]
fn uniform_nodes_go_by_product_under_strategy_single() {
    let mut plan = example_plan().into_inner();
    plan.gpus.retain(|g| (&*g.node, g.gpu) == ("gpu-1", 2));
    plan.gpus[0].instances.retain(|i| i.start > 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    let mut half = plan.gpus[0].clone();
    half.node = "other".into();
    half.instances.truncate(1);
    half.instances[0].profile = InstanceProfile::Mig("3g.40gb".parse().unwrap());
    (half.instances[0].start, half.instances[0].size) = (4, 4);
    half.instances[0].memory_mib = 40_192;
    half.instances[0].assignment.as_mut().unwrap().team = "big".into();
    plan.gpus.push(half);
    std::fs::write(&file, serde_json::to_string(&plan).unwrap()).unwrap();
    let (text, _) = emit_from(&file, &["pod", "--strategy", "single", "--team", "big"]);
    let pod: Pod = serde_saphyr::from_str(&text).unwrap();
    let spec = pod.spec.unwrap();
    let limits = spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
    assert_eq!(limits.keys().collect::<Vec<_>>(), ["nvidia.com/gpu"]);
    assert!(text.contains("values: [\"NVIDIA-A100-SXM4-80GB-MIG-3g.40gb\"]"), "{text}");
    let (text, _) = emit_from(&file, &["kueue", "--strategy", "single"]);
    assert!(
        text.contains("nvidia.com/gpu.product: \"NVIDIA-A100-SXM4-80GB-MIG-1g.10gb\""),
        "{text}"
    );
    assert!(text.contains("name: a100-sxm4-80gb-3g-40gb"), "{text}");
}
