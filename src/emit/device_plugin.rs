//! `migplan emit device-plugin`: Helm values that make the device plugin advertise the instances,
//! for its own chart or for the GPU Operator's.

use super::output::Emitted;
use super::plan_view::PlanView;
use super::yaml;
use crate::error::{Diagnostic, Result};
use crate::kubernetes::naming;

/// Whose chart the values are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Chart {
    /// NVIDIA/k8s-device-plugin, where the layouts are made by other means.
    DevicePlugin,
    /// NVIDIA/gpu-operator, which brings the device plugin and MIG Manager.
    GpuOperator,
}

/// Writes the values. `configmap` is the GPU Operator's custom configuration.
///
/// # Errors
/// A plan that the strategy does not advertise (exit 3); a bad name (exit 2).
pub fn write(view: &PlanView<'_>, chart: Chart, configmap: &str) -> Result<Emitted> {
    view.require_advertised()?;
    naming::check_object_name(configmap)?;
    let strategy = view.strategy.name();
    Ok(match chart {
        Chart::DevicePlugin => Emitted {
            text: format!(
                "# Not where the GPU Operator runs: it brings a device plugin of its own, and two of them\n\
                 # advertise the same instances. There: migplan emit device-plugin --chart gpu-operator\n\
                 # helm repo add nvdp https://nvidia.github.io/k8s-device-plugin\n\
                 # helm upgrade -i nvdp nvdp/nvidia-device-plugin -n nvidia-device-plugin \\\n\
                 #   --create-namespace -f THIS-FILE\n\
                 migStrategy: {strategy}\n\
                 gfd:\n  enabled: true  # the nvidia.com/gpu.product and nvidia.com/mig-* labels\n"
            ),
            warnings: vec![Diagnostic::new(
                "these values are for the device plugin's own chart; a cluster with the GPU Operator runs a device plugin already and needs --chart gpu-operator instead",
            )],
            ..Emitted::default()
        },
        Chart::GpuOperator => Emitted::from(format!(
            "# helm upgrade -i gpu-operator nvidia/gpu-operator -n gpu-operator \\\n\
             #   --create-namespace --reuse-values -f THIS-FILE\n\
             mig:\n  strategy: {strategy}\n\
             migManager:\n  enabled: true\n  config:\n    create: false  # made by: migplan emit configmap\n    name: {}\n    default: \"\"\n",
            yaml::scalar(configmap)
        )),
    })
}
