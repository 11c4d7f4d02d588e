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

/// As how many GPUs the device plugin advertises each one where they are shared by time slicing (GPU
/// feature discovery).
pub const REPLICAS_LABEL: &str = "nvidia.com/gpu.replicas";

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
