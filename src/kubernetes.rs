//! What Kubernetes and NVIDIA's components on it call things: labels, resources, and how both spell
//! profiles.
//!
//! `list` reads what kubectl prints, `naming` makes names that the API server accepts. All of it
//! serves fleet, demand and emit alike, and knows nothing of any of them.

pub mod list;
pub mod naming;

use crate::hardware::ProfileName;

/// The resource of a GPU without MIG, and under MIG strategy `single` of every instance
/// (NVIDIA/k8s-device-plugin, `internal/rm/rm.go`).
pub const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// The first part of an instance's resource under MIG strategy `mixed`: `nvidia.com/mig-1g.10gb`.
pub const MIG_RESOURCE_PREFIX: &str = "nvidia.com/mig-";

/// The taint that GPU nodes carry where only GPU pods may run there; the GPU Operator's own pods
/// tolerate it, and so must those that ask for an instance.
pub const GPU_TAINT: &str = "nvidia.com/gpu";

/// The label of GPU feature discovery with the product name of a node's GPUs.
pub const PRODUCT_LABEL: &str = "nvidia.com/gpu.product";

/// The label with the number of a node's GPUs, under MIG strategy `single` of its instances.
pub const COUNT_LABEL: &str = "nvidia.com/gpu.count";

/// The label with the memory of one GPU in MiB, under MIG strategy `single` of one instance.
pub const MEMORY_LABEL: &str = "nvidia.com/gpu.memory";

/// The label that says whether a node's GPUs support MIG.
pub const MIG_CAPABLE_LABEL: &str = "nvidia.com/mig.capable";

/// The label with the device plugin's MIG strategy.
pub const MIG_STRATEGY_LABEL: &str = "nvidia.com/mig.strategy";

/// The label that MIG Manager of the GPU Operator acts upon: the node's MIG configuration.
pub const MIG_CONFIG_LABEL: &str = "nvidia.com/mig.config";

/// The label in which MIG Manager reports how far it is: `pending`, `success`, `failed`,
/// `rebooting`.
pub const MIG_CONFIG_STATE_LABEL: &str = "nvidia.com/mig.config.state";

/// The label with which GPU feature discovery says when it ran.
pub const DISCOVERY_LABEL: &str = "nvidia.com/gfd.timestamp";

/// The end of the resource of shared devices, where the device plugin has `renameByDefault`
/// (NVIDIA/k8s-device-plugin, `api/config/v1/replicas.go`).
pub const SHARED_SUFFIX: &str = ".shared";

/// The labels of node feature discovery by which the GPU Operator knows nodes with GPUs: the vendor
/// alone, or behind the class of 3D or of display controllers (NVIDIA/gpu-operator,
/// `controllers/state_manager.go`).
pub const PCI_LABELS: [&str; 3] = [
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/pci-0302_10de.present",
    "feature.node.kubernetes.io/pci-0300_10de.present",
];

/// Whether a resource is one of whole GPUs or instances, shared or not: other things of
/// `nvidia.com/`, such as the network devices `nvidia.com/hostdev`, are not.
pub fn is_gpu_resource(resource: &str) -> bool {
    let resource = resource.strip_suffix(SHARED_SUFFIX).unwrap_or(resource);
    resource == GPU_RESOURCE || resource.starts_with(MIG_RESOURCE_PREFIX)
}

/// The profile of a product label under MIG strategy `single`: `NVIDIA-A100-SXM4-80GB-MIG-1g.10gb`.
pub fn single_profile(product: &str) -> Option<ProfileName> {
    let (_, label) = product.rsplit_once("-MIG-")?;
    profile_of_label(label.strip_suffix("-SHARED").unwrap_or(label))
}

/// A profile as labels and resource names spell it, the inverse of [`ProfileName::label`]:
/// `1g.10gb.me` is `1g.10gb+me`.
pub fn profile_of_label(label: &str) -> Option<ProfileName> {
    match label.split_once("gb.") {
        Some((slices, attributes)) => format!("{slices}gb+{attributes}").parse().ok(),
        None => label.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gpus_and_instances_are_gpu_resources() {
        for resource in ["gpu", "gpu.shared", "mig-1g.10gb", "mig-1g.10gb.me.shared"] {
            assert!(is_gpu_resource(&format!("nvidia.com/{resource}")), "{resource}");
        }
        for resource in ["hostdev", "rdma_shared_device_a", "gpumem", "gpucores"] {
            assert!(!is_gpu_resource(&format!("nvidia.com/{resource}")), "{resource}");
        }
    }

    #[test]
    fn labels_spell_profiles_with_dots() {
        for (label, name) in [
            ("1g.10gb", "1g.10gb"),
            ("1g.10gb.me", "1g.10gb+me"),
            ("2g.48gb.me.all", "2g.48gb+me.all"),
            ("1g.24gb-me", "1g.24gb-me"),
        ] {
            assert_eq!(profile_of_label(label).unwrap().to_string(), name);
        }
        assert_eq!(profile_of_label("INVALID"), None);
    }
}
