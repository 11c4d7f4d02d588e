//! What a Kubernetes cluster says of one of its nodes, and what that tells of the node's GPUs.
//!
//! Three programs say it: GPU feature discovery by labels, the device plugin by resources under
//! `status`, MIG Manager by its own labels. Here stands what follows from them together.

use std::collections::BTreeMap;

use crate::hardware::ProfileName;
use crate::kubernetes::{
    GPU_RESOURCE, MIG_RESOURCE_PREFIX, PRODUCT_LABEL, SHARED_SUFFIX, is_gpu_resource,
};

/// What a Kubernetes cluster says of one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubernetesNode {
    /// All of its labels.
    pub labels: BTreeMap<String, String>,
    /// The device plugin's MIG strategy (`none`, `single`, `mixed`), where it is known.
    pub strategy: Option<String>,
    /// The config that MIG Manager is asked for (`nvidia.com/mig.config`).
    pub mig_config: Option<String>,
    /// How far MIG Manager is with it: `success`, `pending`, `failed`, `rebooting`.
    pub mig_config_state: Option<String>,
    /// The one profile of its GPUs, where strategy `single` advertises instances as GPUs.
    pub single_profile: Option<ProfileName>,
    /// Whether it takes no new pods.
    pub cordoned: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// What it advertises of GPUs and instances to pods now: those that are healthy.
    pub allocatable: BTreeMap<String, u64>,
    /// The same with those that are not healthy.
    pub capacity: BTreeMap<String, u64>,
}

/// The GPUs or instances of one kind that a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// How many there are, healthy or not.
    pub count: u64,
    /// Whether pods can get any. The kubelet keeps the capacity of a kind that is gone for five
    /// minutes (`endpointStopGracePeriod` of its device manager), with nothing allocatable.
    pub advertised: bool,
}

/// A resource whose devices several pods share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// The resource, without the suffix of shared ones.
    pub resource: String,
    /// As how many the device plugin advertises each device.
    pub replicas: u64,
    /// How they share: `time slicing` or `MPS`.
    pub how: &'static str,
}

impl KubernetesNode {
    /// Whether replicas are better placed on another node with such GPUs: pods do not start here, or
    /// share the GPUs with others.
    pub fn is_second_choice(&self) -> bool {
        !self.ready || self.cordoned || !self.sharing().is_empty()
    }

    /// Whether it has layouts that MIG strategy `single` cannot advertise: several profiles, or MIG
    /// on for some GPUs alone (GPU feature discovery, `internal/lm/mig-strategy.go`).
    pub fn is_invalid(&self) -> bool {
        self.labels.get(PRODUCT_LABEL).is_some_and(|product| product.ends_with("-MIG-INVALID"))
    }

    /// The resources that are shared, as GPU feature discovery labels them: `nvidia.com/gpu.replicas`,
    /// `nvidia.com/mig-1g.10gb.replicas` (`internal/lm/resource.go`).
    pub fn sharing(&self) -> Vec<Sharing> {
        let shared = |(label, replicas): (&String, &String)| {
            let resource = label.strip_suffix(".replicas").filter(|r| is_gpu_resource(r))?;
            let replicas = replicas.parse().ok().filter(|n: &u64| *n > 1)?;
            let by = self.labels.get(&format!("{resource}.sharing-strategy"));
            let how = if by.is_some_and(|by| by == "mps") { "MPS" } else { "time slicing" };
            Some(Sharing { resource: resource.to_string(), replicas, how })
        };
        self.labels.iter().filter_map(shared).collect()
    }

    /// The node's GPUs without MIG and its instances, by the resource that each is under MIG strategy
    /// `mixed`, shared or not; those of strategy `none` may have MIG on. Empty where nothing is known.
    pub fn devices(&self) -> BTreeMap<String, Devices> {
        let sharing = self.sharing();
        let mut devices = BTreeMap::new();
        for resource in self.capacity.keys() {
            let resource = resource.strip_suffix(SHARED_SUFFIX).unwrap_or(resource);
            let replicas =
                sharing.iter().find(|s| s.resource == resource).map_or(1, |s| s.replicas);
            let count = self.count(resource, replicas);
            if count == 0 {
                continue;
            }
            let names = [resource.to_string(), format!("{resource}{SHARED_SUFFIX}")];
            let advertised = names.iter().any(|r| self.allocatable.get(r).is_some_and(|n| *n > 0));
            let name = match &self.single_profile {
                Some(profile) if resource == GPU_RESOURCE => {
                    format!("{MIG_RESOURCE_PREFIX}{}", profile.label())
                }
                _ => resource.to_string(),
            };
            devices.insert(name, Devices { count, advertised });
        }
        devices
    }

    /// How many devices a resource stands for: the device plugin advertises each shared one
    /// `replicas` times, under the same name or, with `renameByDefault`, under one that ends in
    /// `.shared` (NVIDIA/k8s-device-plugin, `internal/rm/device_map.go`).
    fn count(&self, resource: &str, replicas: u64) -> u64 {
        let of = |resource: &str| self.capacity.get(resource).copied().unwrap_or(0);
        let (plain, renamed) = (of(resource), of(&format!("{resource}{SHARED_SUFFIX}")));
        if renamed > 0 {
            plain + renamed / replicas
        } else if plain.is_multiple_of(replicas) {
            plain / replicas
        } else {
            // Only some of the devices are shared; GPU feature discovery counts each once.
            let label = self.labels.get(&format!("{resource}.count"));
            label.and_then(|count| count.parse().ok()).unwrap_or(plain)
        }
    }

    /// Whether these are the node's GPUs and instances in all, by the resource under MIG strategy
    /// `mixed`; `None` where that is not known. It does not say which GPU has which.
    pub fn has_devices(&self, wanted: &BTreeMap<String, u64>) -> Option<bool> {
        if self.is_invalid() {
            return Some(false);
        }
        let devices = self.devices();
        // Strategy 'none' advertises a GPU with MIG on like any other.
        if devices.is_empty() || self.strategy.as_deref() == Some("none") {
            return None;
        }
        let has = |(resource, count): (&String, &u64)| {
            devices.get(resource).is_some_and(|of| of.count == *count)
        };
        let others = devices.iter().filter(|(resource, _)| !wanted.contains_key(*resource));
        Some(wanted.iter().all(has) && others.into_iter().all(|(_, of)| !of.advertised))
    }

    /// What the node will advertise of so many devices of a resource, shared as it is now.
    pub fn advertised(&self, resource: &str, count: u64) -> (String, u64) {
        let Some(shared) = self.sharing().into_iter().find(|s| s.resource == resource) else {
            return (resource.to_string(), count);
        };
        let renamed = format!("{resource}{SHARED_SUFFIX}");
        let is_renamed = self.capacity.get(&renamed).is_some_and(|n| *n > 0);
        let name = if is_renamed { renamed } else { shared.resource };
        (name, count.saturating_mul(shared.replicas))
    }
}
