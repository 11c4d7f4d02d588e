//! `migplan emit device-plugin`: Helm values that make the device plugin advertise the instances,
//! for its own chart or for the GPU Operator's.

use super::{View, configmap, yaml};
use crate::error::Result;

/// Whose chart the values are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// NVIDIA/k8s-device-plugin, where MIG is cut by other means.
    DevicePlugin,
    /// NVIDIA/gpu-operator, which brings the device plugin and mig-manager.
    GpuOperator,
}

/// Writes the values. `configmap` is the GPU Operator's custom config.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad name (exit 2).
pub fn write(view: &View<'_>, chart: Chart, configmap: &str) -> Result<String> {
    view.require_advertised()?;
    configmap::check_names(configmap, configmap::DEFAULT_NAMESPACE)?;
    let strategy = view.strategy.name();
    Ok(match chart {
        Chart::DevicePlugin => format!(
            "# helm repo add nvdp https://nvidia.github.io/k8s-device-plugin\n\
             # helm upgrade -i nvdp nvdp/nvidia-device-plugin -n nvidia-device-plugin \\\n\
             #   --create-namespace -f THIS-FILE\n\
             migStrategy: {strategy}\n\
             gfd:\n  enabled: true  # the nvidia.com/gpu.product and nvidia.com/mig-* labels\n"
        ),
        Chart::GpuOperator => format!(
            "# helm upgrade -i gpu-operator nvidia/gpu-operator -n gpu-operator \\\n\
             #   --create-namespace --reuse-values -f THIS-FILE\n\
             mig:\n  strategy: {strategy}\n\
             migManager:\n  enabled: true\n  config:\n    create: false  # made by: migplan emit configmap\n    name: {}\n    default: \"\"\n",
            yaml::scalar(configmap)
        ),
    })
}
