//! Which GPU or instance the labels of a series name, and on which node it is.

use std::collections::HashMap;
use std::sync::Arc;

use super::identity::{CLUSTERS, Identity};
use super::{Samples, Usage, index};
use crate::demand::prometheus::Labels;

/// A GPU or an instance.
#[derive(Debug)]
pub(in crate::demand) struct Device {
    /// `1g.10gb`; `None` for a whole GPU.
    pub(in crate::demand) profile: Option<Box<str>>,
    /// The GPU's product name, where a label gives it.
    pub(in crate::demand) product: Option<Arc<str>>,
    /// Its samples while no pod had it, for the times at which it was looked at.
    pub(super) idle: Samples,
    /// Whether its labels name a GPU at all; those of an aggregate do not.
    pub(in crate::demand) is_gpu: bool,
    /// Whether it stands for all that a pod has, since the query left out which GPU or instance.
    pub(in crate::demand) is_any_of_pod: bool,
    /// The most MiB in use while no pod had it.
    pub(in crate::demand) idle_peak: u32,
    /// Where it is, an index of the nodes, by its first series that says so.
    node: Option<u32>,
}

impl Device {
    /// What stands for all that a pod requests: no GPU.
    pub(super) fn of_requests() -> Device {
        Device {
            profile: None,
            product: None,
            idle: Samples::default(),
            is_gpu: false,
            is_any_of_pod: false,
            idle_peak: 0,
            node: None,
        }
    }
}

/// The profile of an instance whose series do not name it.
const UNKNOWN: &str = "unknown profile";

const UUIDS: [&str; 5] = ["UUID", "uuid", "gpu_uuid", "device_uuid", "deviceuuid"];
/// Names of a node. `instance` is that of the exporter.
const NODES: [&str; 5] = ["node", "kubernetes_node", "Hostname", "hostname", "instance"];
/// Numbers of the GPU on its node.
const NUMBERS: [&str; 4] = ["gpu", "device", "minor_number", "gpu_id"];

const INSTANCES: [&str; 2] = ["GPU_I_ID", "gpu_i_id"];
const PROFILES: [&str; 2] = ["GPU_I_PROFILE", "gpu_i_profile"];

/// The nodes by their names. One that has several, such as those of an exporter before and after
/// it started again, is one for all that: a GPU that has series of both is on it.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Cluster and name; without a name only the cluster is known.
    names: Vec<(Box<str>, Box<str>)>,
    index: HashMap<Box<str>, u32>,
    /// For each name an earlier one of the same node, or itself.
    same: Vec<u32>,
}

impl Nodes {
    fn of(&mut self, cluster: &str, name: &str) -> u32 {
        let key = format!("{cluster}\0{name}");
        *self.index.entry(key.into()).or_insert_with(|| {
            self.names.push((cluster.into(), name.into()));
            self.same.push(index(self.names.len() - 1));
            index(self.names.len() - 1)
        })
    }

    fn first_name(&self, mut node: u32) -> u32 {
        while self.same[node as usize] != node {
            node = self.same[node as usize];
        }
        node
    }

    /// Where a device is that was at `known` and now has these labels.
    fn place(&mut self, known: Option<u32>, labels: &Labels) -> Option<u32> {
        let name = labels.first_of(&NODES).unwrap_or("");
        let cluster = labels.first_of(&CLUSTERS).unwrap_or("");
        let Some(before) = known else {
            return (!name.is_empty() || !cluster.is_empty()).then(|| self.of(cluster, name));
        };
        let (of_cluster, named) = &self.names[before as usize];
        if name.is_empty() || (&**named == name && &**of_cluster == cluster) {
            return known;
        }
        let is_named = !named.is_empty();
        let node = self.of(cluster, name);
        if !is_named {
            return Some(node);
        }
        let (a, b) = (self.first_name(before), self.first_name(node));
        self.same[a.max(b) as usize] = a.min(b);
        known
    }
}

impl Usage {
    /// The node of a device, the same number for all on it; `None` where no label tells.
    pub(in crate::demand) fn node(&self, device: u32) -> Option<u32> {
        self.devices[device as usize].node.map(|node| self.nodes.first_name(node))
    }

    /// Whether labels tell which GPU or instance a series is of.
    pub(super) fn names_device(&self, labels: &Labels) -> bool {
        // A query may leave out the node; an exporter's own text is of one.
        let on_node = || !self.evaluated || labels.has_any(&NODES);
        let gpu = labels.has_any(&UUIDS) || (labels.has_any(&NUMBERS) && on_node());
        gpu && (labels.has_any(&INSTANCES) || !labels.has_any(&PROFILES))
    }

    /// The device of a series; `of_pod` is the pod alone whose share of a device the samples are.
    pub(super) fn device_of(&mut self, labels: &Labels, of_pod: Option<&Identity>) -> u32 {
        self.find_device(labels, of_pod, of_pod.is_some())
    }

    /// The device of a series that is the whole device's. A pod's whose labels name none is taken
    /// for the pod's own: so nothing is said of who shares it.
    pub(super) fn whole_device_of(&mut self, labels: &Labels, pod: Option<&Identity>) -> u32 {
        let is_named = self.names_device(labels);
        self.find_device(labels, pod.filter(|_| !is_named), false)
    }

    /// The device of a series, `pod`'s own where one is given; `is_share`: a share of it.
    fn find_device(&mut self, labels: &Labels, pod: Option<&Identity>, is_share: bool) -> u32 {
        let found = self.index_of_device(labels, pod, is_share);
        let known = self.devices[found as usize].node;
        self.devices[found as usize].node = self.nodes.place(known, labels);
        found
    }

    fn index_of_device(&mut self, labels: &Labels, pod: Option<&Identity>, is_share: bool) -> u32 {
        let uuid = labels.first_of(&UUIDS);
        let instance = labels.first_of(&INSTANCES);
        let label = labels.first_of(&PROFILES).filter(|_| !is_share);
        self.key.clear();
        let mut part = |text: &str| {
            self.key.push_str(text);
            self.key.push('\0');
        };
        if let Some(pod) = pod {
            let Identity { team, namespace, pod, container, group, .. } = pod;
            let group = group.as_deref().unwrap_or("");
            let index = labels.first_of(&["vdevice_index", "vdeviceid"]).unwrap_or("");
            [&**team, namespace, pod, container, group, index].into_iter().for_each(&mut part);
        }
        match uuid {
            Some(uuid) => part(uuid),
            None => [&CLUSTERS[..], &NODES, &NUMBERS]
                .into_iter()
                .flatten()
                .for_each(|label| part(labels.get(label).unwrap_or(""))),
        }
        part(instance.unwrap_or(""));
        // After a repartition an ID stands for another instance, and the profile tells them apart.
        // A series without the profile is of the instance that had the ID last.
        let without_profile = self.key.len();
        self.key.push_str(label.unwrap_or(""));
        if let Some(known) = self.device_index.get(self.key.as_str()) {
            return *known;
        }
        let any_profile = self.device_index.get(&self.key[..without_profile]).copied();
        if let (Some(known), Some(label)) = (any_profile, label)
            && self.devices[known as usize].profile.as_deref() == Some(UNKNOWN)
        {
            self.devices[known as usize].profile = Some(label.into());
            self.device_index.insert(self.key.as_str().into(), known);
            return known;
        }
        let product = labels.first_of(&["modelName", "gpu_type", "device_name"]);
        let profile = match is_share {
            // A share of a GPU that HAMi gives, which an instance can take over.
            true if uuid.is_some() => Some("vGPU"),
            true => product.and_then(profile_in),
            false => label.or(instance.map(|_| UNKNOWN)),
        };
        let device = Device {
            profile: profile.map(Into::into),
            product: product.map(|product| self.intern(product)),
            idle: Samples::default(),
            is_gpu: true,
            is_any_of_pod: pod.is_some() && !is_share,
            idle_peak: 0,
            node: None,
        };
        let key = std::mem::take(&mut self.key);
        let index = self.add_device(device, [&key[..], &key[..without_profile]]);
        self.key = key;
        index
    }

    /// Adds a device that is found again by these keys; its index.
    pub(super) fn add_device<const N: usize>(&mut self, device: Device, keys: [&str; N]) -> u32 {
        self.devices.push(device);
        let index = index(self.devices.len() - 1);
        for key in keys {
            self.device_index.insert(key.into(), index);
        }
        index
    }
}

/// The profile that a product name has, as `NVIDIA A100-SXM4-40GB MIG 3g.20gb`.
fn profile_in(product: &str) -> Option<&str> {
    product.split([' ', '/']).find(|word| word.contains("g.") && word.contains("gb"))
}
