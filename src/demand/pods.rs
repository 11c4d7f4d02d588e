//! Demand from `kubectl get pods -A -o json`: what pods ask for now, pending ones too, and which
//! nodes they keep busy.
//!
//! A pod says which instance it asks for, not how much memory it needs, so its demand is that
//! instance's usable memory: the plan serves it at least as well as today. What it really uses only
//! metrics tell.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::names::Names;
use super::{Demand, MAX_COUNT, MAX_WHOLE_GPUS, Workload, owner};
use crate::error::{Diagnostic, Error, Result};
use crate::hardware::{Catalogue, ProfileName};
use crate::kubernetes::list::{self, Item};
use crate::kubernetes::{
    GPU_RESOURCE, PRODUCT_LABEL, profile_of_label, single_profile as profile_of_product,
};
use crate::text::{plural, some};
use crate::units::Mebibytes;

#[derive(Deserialize)]
struct PodItem {
    kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
    controller: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    node_selector: Option<BTreeMap<String, String>>,
    priority: Option<i64>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    resource_claims: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    restart_policy: Option<String>,
    resources: Option<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    limits: Option<BTreeMap<String, Value>>,
    requests: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize, Default)]
struct Status {
    phase: Option<String>,
}

impl Item for PodItem {
    const KIND: &'static str = "Pod";
    const COMMAND: &'static str = "kubectl get pods -A -o json > pods.json";
    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

/// What pods have of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Busy {
    /// The pods, as `namespace/name`, in the order of the file.
    pub pods: Vec<String>,
    /// Whole GPUs held.
    pub gpus: u64,
    /// Instances held, by profile.
    pub instances: BTreeMap<ProfileName, u64>,
}

/// What a node advertises as `nvidia.com/gpu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GpuResource {
    /// Nobody said.
    Unknown,
    /// Whole GPUs.
    Gpus,
    /// Instances of this profile (MIG strategy `single`).
    Instances(ProfileName),
}

/// What a cluster's pods ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pods {
    /// One workload for each owner of pods, and for each kind of instance where it asks for several.
    pub demand: Demand,
    /// The nodes on which pods hold GPUs or instances.
    pub busy: BTreeMap<String, Busy>,
    /// Which pods these are.
    pub listed: Listed,
}

/// Which workload each pod of a list belongs to, so that samples of the same pods are not counted
/// as other workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// By namespace and pod.
    pods: HashMap<Key, Arc<str>>,
    /// By namespace and owner, where the owner is a controller; `None` where several owners in the
    /// list make pods whose names tell this one.
    owners: HashMap<Key, Option<Arc<str>>>,
    workloads: HashSet<Key>,
}

/// A name within a namespace.
type Key = (Arc<str>, Arc<str>);

impl Listed {
    /// The workload of a pod.
    pub fn of_pod(&self, namespace: &str, pod: &str) -> Option<&Arc<str>> {
        (!self.pods.is_empty()).then(|| self.pods.get(&(namespace.into(), pod.into())))?
    }

    /// The workload of pods that are not in the list, but have an owner with pods that are: such as
    /// have ended. The owner is as metrics name it, or the pods' names.
    pub fn of_owner(&self, namespace: &str, owner: &str) -> Option<&Arc<str>> {
        let owners = (!self.owners.is_empty()).then_some(&self.owners)?;
        owners.get(&(namespace.into(), owner.into()))?.as_ref()
    }

    /// Whether a workload of this name is in the list.
    pub(super) fn has(&self, namespace: &str, workload: &str) -> bool {
        !self.pods.is_empty() && self.workloads.contains(&(namespace.into(), workload.into()))
    }
}

/// The most instances or GPUs that a pod may ask for, several times what any node has.
pub(super) const MAX_PER_POD: u32 = 1_024;

/// What one pod asks for of one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// An instance of this profile.
    Instance(ProfileName),
    /// So many whole GPUs.
    Gpus(u64),
}

/// What is gathered of the pods of one owner that ask for the same.
#[derive(Default)]
struct Gathered {
    replicas: u64,
    priority: Option<i64>,
    boards: Vec<String>,
}

/// A pod that asks for something.
struct ListedPod {
    namespace: String,
    name: String,
    owner: String,
    /// The largest that it asks for.
    ask: Ask,
}

/// What is gathered of all pods so far.
#[derive(Default)]
struct Gathering {
    /// By team and owner, and by what each asks for.
    requests: BTreeMap<(String, String), BTreeMap<Ask, Gathered>>,
    busy: BTreeMap<String, Busy>,
    pods: Vec<ListedPod>,
    /// Pods that ask by resource claims alone, as `namespace/name`.
    claiming: Vec<String>,
    /// Pods taken for users of whole GPUs on nodes of which that is not known, as `namespace/name`.
    untold: Vec<String>,
    /// Requests that are no demand: why, and how many.
    unused: BTreeMap<String, u64>,
    problems: Vec<Diagnostic>,
}

impl Gathering {
    /// Adds one pod; `advertised` says what its node advertises as `nvidia.com/gpu`.
    fn add(
        &mut self,
        pod: &PodItem,
        catalogue: &Catalogue,
        advertised: &impl Fn(&str) -> GpuResource,
    ) {
        if matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return;
        }
        let asked = match requests(&pod.spec) {
            Ok(asked) => asked,
            Err(e) => {
                self.problems.push(Diagnostic::new(format!("pod {}: {e}", label(pod))));
                return;
            }
        };
        let selected = pod.spec.node_selector.as_ref().and_then(|s| s.get(PRODUCT_LABEL));
        let on_node = pod.spec.node_name.as_deref().map(advertised);
        let single = match on_node.clone() {
            Some(GpuResource::Instances(profile)) => Some(profile),
            _ => selected.and_then(|product| profile_of_product(product)),
        };
        if on_node == Some(GpuResource::Unknown)
            && single.is_none()
            && asked.contains_key(GPU_RESOURCE)
        {
            self.untold.push(label(pod));
        }
        let boards = selected.map_or_else(Vec::new, |product| {
            catalogue.find(product, None).map(|b| vec![b.id.clone()]).unwrap_or_default()
        });
        if asked.is_empty() && pod.spec.resource_claims.as_ref().is_some_and(|c| !c.is_empty()) {
            self.claiming.push(label(pod));
        }
        let team = pod.metadata.namespace.clone().unwrap_or_else(|| "default".to_string());
        let owner = owner_of(&pod.metadata);
        let mut largest: Option<Ask> = None;
        // Whatever it asks for holds a device, also where it is no demand.
        if let (Some(node), false) = (&pod.spec.node_name, asked.is_empty()) {
            self.busy.entry(node.clone()).or_default().pods.push(label(pod));
        }
        for (resource, count) in asked {
            let ask = match ask(&resource, count, single.as_ref(), catalogue) {
                Ok(ask) => ask,
                Err(why) => {
                    *self.unused.entry(why).or_default() += 1;
                    continue;
                }
            };
            let replicas = if matches!(ask, Ask::Gpus(_)) { 1 } else { count };
            if let Some(node) = &pod.spec.node_name {
                let on_node = self.busy.entry(node.clone()).or_default();
                match &ask {
                    Ask::Gpus(n) => on_node.gpus += n,
                    Ask::Instance(p) => *on_node.instances.entry(p.clone()).or_default() += count,
                }
            }
            largest = largest.max(Some(ask.clone()));
            let of_owner = self.requests.entry((team.clone(), owner.clone())).or_default();
            of_owner.entry(ask).or_default().add(replicas, pod.spec.priority, &boards);
        }
        if let Some(ask) = largest {
            let name = pod.metadata.name.clone();
            self.pods.push(ListedPod { namespace: team, name, owner, ask });
        }
    }

    /// One workload for each owner and kind of request, and which pods are of which.
    fn workloads(&mut self, catalogue: &Catalogue) -> (Vec<Workload>, Listed) {
        let mut workloads = Vec::new();
        let owners = self.requests.keys().map(|(team, owner)| (&**team, &**owner));
        let mut names = Names::new(owners.map(|(team, owner)| (team.into(), owner.into())));
        let mut name_of: HashMap<(String, String), BTreeMap<Ask, Arc<str>>> = HashMap::new();
        for ((team, owner), asks) in std::mem::take(&mut self.requests) {
            let several = asks.len() > 1;
            for (ask, gathered) in asks {
                let name: Arc<str> = match several {
                    true => names.take(&team.as_str().into(), &format!("{owner} ({})", kind(&ask))),
                    false => owner.as_str().into(),
                };
                let of_owner = name_of.entry((team.clone(), owner.clone())).or_default();
                of_owner.insert(ask.clone(), name.clone());
                if gathered.replicas > MAX_COUNT {
                    let message = format!("{team}/{name} asks for too many instances");
                    self.problems.push(Diagnostic::new(message));
                }
                // Kubernetes has no such names, and a CSV could not hold them.
                let wrong =
                    |n: &str| n.is_empty() || n.trim() != n || n.chars().any(char::is_control);
                if wrong(&team) || wrong(&name) {
                    let message = "a pod's name or namespace is empty, begins or ends with a blank, or has a control character";
                    self.problems.push(Diagnostic::new(message));
                    continue;
                }
                let mut workload = workload(&team, &name, &ask, gathered.replicas, catalogue);
                workload.priority = gathered.priority.unwrap_or(0);
                workload.boards = Arc::from(gathered.boards);
                workloads.push(workload);
            }
        }
        (workloads, Listed::new(std::mem::take(&mut self.pods), &name_of))
    }
}

impl Listed {
    fn new(
        pods: Vec<ListedPod>,
        name_of: &HashMap<(String, String), BTreeMap<Ask, Arc<str>>>,
    ) -> Listed {
        let mut listed = Listed::default();
        for ListedPod { namespace, name, owner, ask } in pods {
            let namespace: Arc<str> = namespace.into();
            let key = (namespace.to_string(), owner);
            let Some(names) = name_of.get(&key) else { continue };
            let owner = &*key.1;
            if let Some(workload) = names.get(&ask) {
                listed.pods.insert((namespace.clone(), name.as_str().into()), workload.clone());
                listed.workloads.insert((namespace.clone(), workload.clone()));
            }
            // A pod without a controller is its own owner, and no other pod is of it.
            let largest = names.values().next_back().filter(|_| owner != name);
            let Some(workload) = largest else { continue };
            for told in [owner, owner::of_pod(&name)] {
                let known = listed.owners.entry((namespace.clone(), told.into()));
                let known = known.or_insert_with(|| Some(workload.clone()));
                if known.as_ref() != Some(workload) {
                    *known = None;
                }
            }
        }
        listed
    }
}

impl Gathered {
    fn add(&mut self, replicas: u64, priority: Option<i64>, boards: &[String]) {
        if self.replicas == 0 {
            self.boards = boards.to_vec();
        } else if self.boards.is_empty() || boards.is_empty() {
            self.boards.clear();
        } else {
            // Pods of one owner that differ in this may run anywhere that one of them may.
            self.boards.extend_from_slice(boards);
            self.boards.sort();
            self.boards.dedup();
        }
        self.replicas = self.replicas.saturating_add(replicas);
        self.priority = self.priority.max(priority);
    }
}

/// Reads pods. `advertised` tells what a node advertises as `nvidia.com/gpu`; where that is unknown, a
/// request for it counts as whole GPUs, with a warning.
///
/// # Errors
/// Not such JSON, or more replicas than a plan may have (exit 3).
pub fn read(
    input: impl Read,
    file: &str,
    catalogue: &Catalogue,
    advertised: impl Fn(&str) -> GpuResource,
) -> Result<(Pods, Vec<Diagnostic>)> {
    let mut gathering = Gathering::default();
    list::for_each_item(input, file, |pod: PodItem| {
        gathering.add(&pod, catalogue, &advertised);
    })?;
    let (workloads, listed) = gathering.workloads(catalogue);
    let Gathering { busy, unused, claiming, untold, problems, .. } = gathering;
    if !problems.is_empty() {
        return Err(Error::inputs(problems.into_iter().map(|p| p.in_file(file)).collect())
            .hint(format!("make the file with: {}", PodItem::COMMAND)));
    }
    let mut warnings: Vec<Diagnostic> = unused
        .into_iter()
        .map(|(why, pods)| {
            let requests = plural(pods, "request");
            Diagnostic::new(format!("{requests} not used: each {why}")).in_file(file)
        })
        .collect();
    if !claiming.is_empty() {
        let message = format!(
            "{} not used: each asks by a resource claim (DRA), and what for is not in this list: {}; give such workloads with --workloads",
            plural(claiming.len() as u64, "pod"),
            some(&claiming)
        );
        warnings.push(Diagnostic::new(message).in_file(file));
    }
    if !untold.is_empty() {
        let message = format!(
            "{} taken for whole GPUs: {} nvidia.com/gpu on a node of which no --nodes file tells whether that is an instance (MIG strategy single): {}; `migplan demand --pods FILE --nodes FILE` tells them apart",
            plural(untold.len() as u64, "pod"),
            if untold.len() == 1 { "it holds" } else { "each holds" },
            some(&untold)
        );
        warnings.push(Diagnostic::new(message).in_file(file));
    }
    if workloads.is_empty() && warnings.is_empty() {
        warnings.push(Diagnostic::new("no pod asks for a GPU or an instance").in_file(file));
    }
    Ok((Pods { demand: Demand::new(workloads), busy, listed }, warnings))
}

fn label(pod: &PodItem) -> String {
    format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or("default"), pod.metadata.name)
}

/// What a pod asks for of `nvidia.com/…`: the most of what its containers ask for together and
/// what any init container asks for beside the sidecars before it, as the scheduler counts.
fn requests(spec: &Spec) -> std::result::Result<BTreeMap<String, u64>, String> {
    let mut together: BTreeMap<String, u64> = BTreeMap::new();
    let mut start: BTreeMap<String, u64> = BTreeMap::new();
    let mut sidecars: BTreeMap<String, u64> = BTreeMap::new();
    for container in spec.containers.iter().flatten() {
        for (resource, count) in of_container(container)? {
            *together.entry(resource).or_default() += count;
        }
    }
    for container in spec.init_containers.iter().flatten() {
        let asked = of_container(container)?;
        // A sidecar stays, so it adds to what the others ask for.
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        for (resource, count) in asked {
            if sidecar {
                *sidecars.entry(resource.clone()).or_default() += count;
                *together.entry(resource).or_default() += count;
            } else {
                // Beside the sidecars that were started before it.
                let beside = sidecars.get(&resource).copied().unwrap_or(0);
                let most = start.entry(resource).or_default();
                *most = (*most).max(beside.saturating_add(count));
            }
        }
    }
    for (resource, count) in start {
        let most = together.entry(resource).or_default();
        *most = count.max(*most);
    }
    together.retain(|_, count| *count > 0);
    Ok(together)
}

fn of_container(container: &Container) -> std::result::Result<Vec<(String, u64)>, String> {
    let Some(resources) = &container.resources else {
        return Ok(Vec::new());
    };
    // For extended resources both are equal; either may be missing.
    let mut asked: BTreeMap<&String, &Value> = BTreeMap::new();
    asked.extend(resources.requests.iter().flatten());
    asked.extend(resources.limits.iter().flatten());
    asked
        .into_iter()
        .filter(|(resource, _)| {
            resource.starts_with("nvidia.com/gpu") || resource.starts_with("nvidia.com/mig-")
        })
        .map(|(resource, quantity)| {
            let count = list::count(quantity)
                .filter(|count| *count <= MAX_COUNT)
                .ok_or_else(|| format!("{resource}: {quantity} is not a whole number"))?;
            Ok((resource.clone(), count))
        })
        .collect()
}

/// What a request for `count` of a resource means.
///
/// # Errors
/// Why it is not a demand for an instance of its own.
pub(super) fn ask(
    resource: &str,
    count: u64,
    single: Option<&ProfileName>,
    catalogue: &Catalogue,
) -> std::result::Result<Ask, String> {
    if resource.ends_with(".shared") {
        return Err(format!(
            "asks for {resource}, a share by time slicing without memory of its own"
        ));
    }
    if resource == GPU_RESOURCE {
        if single.is_none() && count > u64::from(MAX_WHOLE_GPUS) {
            return Err(format!("asks for more than {MAX_WHOLE_GPUS} GPUs, which no node has"));
        }
        return Ok(single.map_or(Ask::Gpus(count), |profile| Ask::Instance(profile.clone())));
    }
    let profile =
        resource.strip_prefix("nvidia.com/mig-").and_then(profile_of_label).ok_or_else(|| {
            format!("asks for {resource}, which is not an instance that migplan knows")
        })?;
    if memory(&profile, catalogue).is_none() {
        return Err(format!("asks for {profile}, which no board has"));
    }
    Ok(Ask::Instance(profile))
}

/// What is asked for, in a few words.
pub(super) fn kind(ask: &Ask) -> String {
    match ask {
        Ask::Instance(profile) => profile.to_string(),
        Ask::Gpus(count) => plural(*count, "GPU"),
    }
}

/// The least usable memory that any board gives the profile, so that each of them satisfies it.
fn memory(profile: &ProfileName, catalogue: &Catalogue) -> Option<Mebibytes> {
    let of_board = |b: &crate::hardware::BoardRef| b.profile(profile).map(|(_, p)| p.memory);
    catalogue.boards().iter().filter_map(of_board).min()
}

/// The workload of so many replicas that ask for this.
pub(super) fn workload(
    team: &str,
    name: &str,
    ask: &Ask,
    replicas: u64,
    catalogue: &Catalogue,
) -> Workload {
    let mut workload = Workload::new(team, name, Mebibytes::ZERO, replicas);
    match ask {
        Ask::Gpus(count) => {
            workload.memory = None;
            workload.whole_gpus = u32::try_from(*count).unwrap_or(u32::MAX);
        }
        Ask::Instance(profile) => {
            workload.memory = memory(profile, catalogue);
            workload.compute_slices = profile.gpu_slices;
            workload.media = profile.plus.iter().any(|a| a.starts_with("me"));
        }
    }
    workload
}

/// The resource behind a label of kube-state-metrics, which has `_` for all but letters and digits:
/// `nvidia_com_mig_1g_10gb` is `nvidia.com/mig-1g.10gb`.
pub(super) fn resource_of_label(label: &str) -> String {
    match label.strip_prefix("nvidia_com_") {
        Some(rest) => match rest.strip_prefix("mig_") {
            Some(profile) => format!("nvidia.com/mig-{}", profile.replace('_', ".")),
            None => format!("nvidia.com/{}", rest.replace('_', ".")),
        },
        None => label.to_string(),
    }
}

/// The owner of a pod: its controller's name without the suffix that Kubernetes adds.
fn owner_of(pod: &Metadata) -> String {
    let label = |key: &str| pod.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    // Airflow's pods have no controller and a random name.
    if let (Some(dag), Some(task)) = (label("dag_id"), label("task_id")) {
        return format!("{dag}.{task}");
    }
    let controller = pod
        .owner_references
        .iter()
        .flatten()
        .find(|o| o.controller != Some(false))
        .map(|o| (o.kind.as_str(), o.name.as_str()));
    match controller {
        Some(("ReplicaSet", name)) => {
            let hash = label("pod-template-hash").and_then(|hash| name.strip_suffix(hash));
            let stem = hash.and_then(|n| n.strip_suffix('-'));
            stem.unwrap_or_else(|| owner::of_controller("ReplicaSet", name)).to_string()
        }
        Some((kind, name)) => owner::of_controller(kind, name).to_string(),
        None if pod.name.starts_with("jupyter-") => "jupyter".to_string(),
        None => pod.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, name: &str, limits: Value) -> Value {
        json!({
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {"limits": limits}}]},
            "status": {"phase": "Running"}
        })
    }

    fn pods(items: &[Value]) -> Result<(Pods, Vec<Diagnostic>)> {
        let list = json!({"kind": "List", "items": items}).to_string();
        read(list.as_bytes(), "pods.json", &Catalogue::built_in(), |node| match node {
            "single" => GpuResource::Instances("2g.20gb".parse().unwrap()),
            "new" => GpuResource::Unknown,
            _ => GpuResource::Gpus,
        })
    }

    fn rows(pods: &Pods) -> Vec<String> {
        pods.demand
            .workloads()
            .iter()
            .map(|w| {
                let memory = w.memory.map_or("all".to_string(), |m| m.0.to_string());
                format!(
                    "{} {}×{memory} gpus={} compute={} media={} priority={} boards={:?}",
                    w.label(),
                    w.count,
                    w.whole_gpus,
                    w.compute_slices,
                    w.media,
                    w.priority,
                    w.boards
                )
            })
            .collect()
    }

    #[test]
    fn owners_are_gathered() {
        let replica = |name: &str, phase: &str| {
            let mut pod = pod("nlp", name, json!({"nvidia.com/mig-1g.10gb": "1"}));
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": "ReplicaSet", "name": "serve-6d5f", "controller": true}]);
            pod["metadata"]["labels"] = json!({"pod-template-hash": "6d5f"});
            pod["status"]["phase"] = json!(phase);
            pod
        };
        let mut pending = replica("serve-6d5f-c", "Pending");
        pending["spec"]["nodeName"] = Value::Null;
        pending["spec"]["priority"] = json!(7);
        let (pods, warnings) = pods(&[
            replica("serve-6d5f-a", "Running"),
            replica("serve-6d5f-b", "Failed"),
            pending,
            pod("nlp", "web", json!({"cpu": "4"})),
            pod("lab", "jupyter-alice", json!({"nvidia.com/mig-1g.10gb.me": 1})),
            pod("lab", "jupyter-bob", json!({"nvidia.com/mig-1g.10gb.me": 1})),
            pod("lab", "train-0", json!({"nvidia.com/gpu": 2})),
        ])
        .unwrap();
        assert_eq!(warnings, []);
        assert_eq!(
            rows(&pods),
            [
                "lab/jupyter 2×9728 gpus=0 compute=1 media=true priority=0 boards=[]",
                "lab/train-0 1×all gpus=2 compute=1 media=false priority=0 boards=[]",
                "nlp/serve 2×9728 gpus=0 compute=1 media=false priority=7 boards=[]",
            ]
        );
        let busy = &pods.busy["n1"];
        assert_eq!(
            busy.pods,
            ["nlp/serve-6d5f-a", "lab/jupyter-alice", "lab/jupyter-bob", "lab/train-0"]
        );
        assert_eq!((busy.gpus, busy.instances.values().sum::<u64>()), (2, 3));
    }

    #[test]
    fn strategy_single_hides_instances_behind_gpus() {
        let mut running = pod("a", "r", json!({"nvidia.com/gpu": 1}));
        running["spec"]["nodeName"] = json!("single");
        let mut pending = pod("a", "p", json!({"nvidia.com/gpu": 1}));
        pending["spec"]["nodeName"] = Value::Null;
        pending["spec"]["nodeSelector"] =
            json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"});
        let (pods, _) = pods(&[running, pending]).unwrap();
        assert_eq!(
            rows(&pods),
            [
                "a/p 1×9728 gpus=0 compute=1 media=false priority=0 boards=[\"a100-sxm4-80gb\"]",
                "a/r 1×19968 gpus=0 compute=2 media=false priority=0 boards=[]",
            ]
        );
    }

    #[test]
    fn what_a_gpu_is_on_an_unknown_node_is_not_guessed_silently() {
        let on = |name: &str, node: &str, limits: Value| {
            let mut pod = pod("a", name, limits);
            pod["spec"]["nodeName"] = json!(node);
            pod
        };
        let gpu = || json!({"nvidia.com/gpu": 1});
        let mut pending = on("p", "new", gpu());
        pending["spec"]["nodeName"] = Value::Null;
        let known = [
            on("k", "n1", gpu()),
            on("s", "single", gpu()),
            on("m", "new", json!({"nvidia.com/mig-1g.10gb": 1})),
            pending,
        ];
        assert_eq!(pods(&known).unwrap().1, []);
        let (found, warnings) = pods(&[on("r", "new", gpu()), on("q", "new", gpu())]).unwrap();
        assert_eq!(found.demand.workloads()[0].whole_gpus, 1);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(
            warning.to_string().starts_with("pods.json: 2 pods taken for whole GPUs"),
            "{warning}"
        );
        assert!(warning.to_string().contains("a/r, a/q"), "{warning}");
    }

    #[test]
    fn containers_count_as_the_scheduler_counts() {
        let c =
            |n: u64| json!({"resources": {"requests": {"nvidia.com/mig-1g.10gb": n.to_string()}}});
        let mut pod = pod("a", "p", json!({}));
        pod["spec"]["containers"] = json!([c(1), c(1), {"name": "no resources"}]);
        let mut sidecar = c(1);
        sidecar["restartPolicy"] = json!("Always");
        pod["spec"]["initContainers"] = json!([c(2), sidecar]);
        let (found, _) = pods(&[pod.clone()]).unwrap();
        assert_eq!(found.demand.workloads()[0].count, 3);
        pod["spec"]["initContainers"] = json!([sidecar, c(5)]);
        let (found, _) = pods(&[pod.clone()]).unwrap();
        assert_eq!(found.demand.workloads()[0].count, 6, "the sidecar runs on beside it");
        pod["spec"]["initContainers"] = json!([c(5)]);
        assert_eq!(pods(&[pod]).unwrap().0.demand.workloads()[0].count, 5);
    }

    #[test]
    fn what_is_no_demand_is_told() {
        let (found, warnings) = pods(&[
            pod("a", "p", json!({"nvidia.com/gpu.shared": 1})),
            pod("a", "q", json!({"nvidia.com/mig-9g.99gb": 1})),
            pod("a", "s", json!({"nvidia.com/gpu": 1025})),
            pod("a", "r", json!({"nvidia.com/mig-2g.20gb": 1, "nvidia.com/mig-1g.10gb": 1})),
        ])
        .unwrap();
        let names: Vec<&str> = found.demand.workloads().iter().map(|w| w.name.as_ref()).collect();
        assert_eq!(names, ["r (1g.10gb)", "r (2g.20gb)"]);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        let too_many = "1 request not used: each asks for more than 1024 GPUs, which no node has";
        assert!(warnings.iter().any(|w| w.to_string().contains(too_many)), "{warnings:?}");
        let error = pods(&[pod("a", "p", json!({"nvidia.com/gpu": "half"}))]).unwrap_err();
        assert!(error.to_string().contains("pod a/p: nvidia.com/gpu"), "{error}");
        assert!(pods(&[]).is_err());
        // A pod that asks is not one that does not.
        let (_, warnings) = pods(&[pod("a", "s", json!({"nvidia.com/gpu": 1025}))]).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let (_, warnings) = pods(&[pod("a", "web", json!({"cpu": 1}))]).unwrap();
        assert!(warnings[0].to_string().contains("no pod asks for a GPU"), "{warnings:?}");
    }

    #[test]
    fn pods_that_ask_by_claims_are_told() {
        let claiming = |name: &str, limits: Value| {
            let mut pod = pod("a", name, limits);
            pod["spec"]["resourceClaims"] =
                json!([{"name": "g", "resourceClaimTemplateName": "mig"}]);
            pod
        };
        let mut ended = claiming("e", json!({}));
        ended["status"]["phase"] = json!("Succeeded");
        let both = claiming("both", json!({"nvidia.com/gpu": 1}));
        let mut all: Vec<Value> = (0..7).map(|i| claiming(&format!("p{i}"), json!({}))).collect();
        all.extend([ended, both]);
        let (found, warnings) = pods(&all).unwrap();
        assert_eq!(rows(&found).len(), 1);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(
            warning.to_string(),
            "pods.json: 7 pods not used: each asks by a resource claim (DRA), and what for is not in this list: a/p0, a/p1, a/p2, a/p3, a/p4 and 2 more; give such workloads with --workloads"
        );
    }

    #[test]
    fn each_pod_of_the_list_has_its_workload() {
        let owned = |name: &str, owner: (&str, &str), limits: Value| {
            let mut pod = pod("ml", name, limits);
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": owner.0, "name": owner.1, "controller": true}]);
            pod
        };
        let gpus = |count: u64| json!({"nvidia.com/gpu": count});
        let (found, _) = pods(&[
            owned("bert-worker-0", ("PyTorchJob", "bert"), gpus(1)),
            owned("train-0", ("StatefulSet", "train"), gpus(1)),
            owned("train-1", ("StatefulSet", "train"), gpus(2)),
            owned("x-1", ("JobSet", "first"), gpus(1)),
            owned("x-2", ("JobSet", "second"), gpus(1)),
            pod("ml", "bench-1", gpus(1)),
            pod("ml", "web", json!({"cpu": 1})),
        ])
        .unwrap();
        let listed = &found.listed;
        let of_pod = |pod: &str| listed.of_pod("ml", pod).map(|name| &**name);
        let of_owner = |owner: &str| listed.of_owner("ml", owner).map(|name| &**name);
        assert_eq!(of_pod("bert-worker-0"), Some("bert"));
        assert_eq!(
            (of_pod("train-0"), of_pod("train-1")),
            (Some("train (1 GPU)"), Some("train (2 GPUs)"))
        );
        assert_eq!(
            (of_pod("bench-1"), of_pod("web"), of_pod("bert-worker-1")),
            (Some("bench-1"), None, None)
        );
        assert_eq!(listed.of_pod("other", "bench-1"), None);
        assert_eq!((of_owner("bert-worker"), of_owner("bert")), (Some("bert"), Some("bert")));
        assert_eq!(of_owner("train"), Some("train (2 GPUs)"));
        assert_eq!((of_owner("x"), of_owner("first")), (None, Some("first")), "of two owners");
        assert_eq!(of_owner("bench"), None, "a pod without a controller stands for itself");
        assert!(listed.has("ml", "train (1 GPU)") && !listed.has("ml", "train"));
    }

    #[test]
    fn names_that_are_made_are_unique() {
        let of = |name: &str, owner: &str, profile: &str| {
            let mut pod = pod("a", name, json!({format!("nvidia.com/mig-{profile}"): 1}));
            pod["metadata"]["ownerReferences"] = json!([{"kind": "X", "name": owner}]);
            pod
        };
        let (found, _) = pods(&[
            of("p", "w", "1g.10gb"),
            of("q", "w", "2g.20gb"),
            of("r", "w (1g.10gb)", "3g.40gb"),
        ])
        .unwrap();
        let names: Vec<&str> = found.demand.workloads().iter().map(|w| &*w.name).collect();
        assert_eq!(names, ["w (1g.10gb)", "w (1g.10gb)-2", "w (2g.20gb)"]);
        assert_eq!(found.listed.of_pod("a", "p").map(|name| &**name), Some("w (1g.10gb)-2"));
    }

    #[test]
    fn names_that_kubernetes_made_are_taken_off() {
        let of = |kind: &str, name: &str| {
            owner_of(&Metadata {
                name: "pod".to_string(),
                namespace: None,
                labels: None,
                owner_references: Some(vec![Owner {
                    kind: kind.to_string(),
                    name: name.to_string(),
                    controller: Some(true),
                }]),
            })
        };
        assert_eq!(of("ReplicaSet", "serve-7c9d8b6f5"), "serve");
        assert_eq!(of("ReplicaSet", "serve-main"), "serve-main");
        assert_eq!(of("Job", "nightly-28901234"), "nightly");
        assert_eq!(of("Job", "nightly-2"), "nightly-2");
        assert_eq!(of("StatefulSet", "db"), "db");
        assert_eq!(of("RayCluster", "ray-1"), "ray-1");
    }
}
