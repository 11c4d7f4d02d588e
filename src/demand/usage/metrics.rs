//! The metrics that are known by name: what they count, in which unit, and which of their labels
//! name the team, the pod and the device. Knows names only, no samples.

use std::str::FromStr;

/// What the pods ask for (kube-state-metrics): labels namespace, pod, container and resource, which
/// is the resource's name with `_` for every other character (`nvidia_com_mig_1g_10gb`).
pub const REQUESTS: &str = "kube_pod_container_resource_requests";
/// How the resources of NVIDIA's device plugin start there.
pub(super) const NVIDIA_RESOURCE: &str = "nvidia_com_";
/// Whether a resource there is of GPUs or instances, or of shares of them; others are such as HAMi's
/// memory.
pub(super) fn is_of_devices(resource: &str) -> bool {
    resource
        .strip_prefix(NVIDIA_RESOURCE)
        .is_some_and(|rest| rest == "gpu" || rest == "gpu_shared" || rest.starts_with("mig_"))
}
/// The controller of a pod (kube-state-metrics): labels namespace, pod, owner_kind, owner_name.
pub(super) const POD_OWNER: &str = "kube_pod_owner";
/// The controllers of controllers (kube-state-metrics): the metric, the kind that it is about and
/// the label that names it.
pub(super) const CONTROLLER_OWNERS: [(&str, &str, &str); 2] =
    [("kube_replicaset_owner", "ReplicaSet", "replicaset"), ("kube_job_owner", "Job", "job_name")];
/// The phase of a pod (kube-state-metrics): labels namespace, pod, phase; the series of the present
/// phase is 1, the others 0.
pub(super) const POD_PHASE: &str = "kube_pod_status_phase";
/// The phases in which a pod has ended, and holds nothing.
pub(super) const ENDED_PHASES: [&str; 2] = ["Succeeded", "Failed"];
/// The phase in which a pod has not started, and holds nothing that would be disturbed.
pub(super) const WAITING_PHASE: &str = "Pending";
/// Why a container ended last (kube-state-metrics): labels namespace, pod, container, reason.
pub(super) const TERMINATED_REASON: &str = "kube_pod_container_status_last_terminated_reason";
/// That reason, where the kernel ended the container for lack of memory.
pub(super) const OOM_KILLED: &str = "OOMKilled";

/// The unit of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageUnit {
    /// 2^20 bytes, as dcgm-exporter counts up to 4.8.
    Mebibytes,
    /// Bytes.
    Bytes,
}

impl FromStr for UsageUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<UsageUnit, String> {
        match text.to_ascii_lowercase().as_str() {
            "mib" | "mebibytes" => Ok(UsageUnit::Mebibytes),
            "bytes" | "byte" | "b" => Ok(UsageUnit::Bytes),
            _ => Err(format!("'{text}' is neither MiB nor bytes")),
        }
    }
}

/// A metric of GPU memory in use.
#[derive(Debug)]
pub struct KnownMetric {
    /// Its name.
    pub name: &'static str,
    /// The unit of its values, unless a help text says otherwise.
    pub unit: UsageUnit,
    /// Which labels say whose memory it is.
    pub(super) labels: LabelNames,
    /// Whether a sample is the memory of one pod alone, also where several share a GPU. Of other
    /// metrics it is the memory of the whole device.
    pub(super) per_pod: bool,
}

/// Which labels say whose memory a series is.
#[derive(Debug, Clone, Copy)]
pub(super) enum LabelNames {
    /// `namespace`, `pod` and `container`, in one of the spellings of exporters and servers.
    Kubernetes,
    /// Others.
    Named {
        team: &'static str,
        pod: &'static str,
        container: &'static str,
        /// The label that names the workload; `None` where that is the pod's owner.
        workload: Option<&'static str>,
    },
}

const fn dcgm(name: &'static str, unit: UsageUnit) -> KnownMetric {
    KnownMetric { name, unit, labels: LabelNames::Kubernetes, per_pod: false }
}

/// The metrics that are read unless another is named.
pub const KNOWN_METRICS: [KnownMetric; 7] = [
    // dcgm-exporter, etc/default-counters.csv: MiB up to 4.8; 4.9 counts bytes. The last two are
    // the names before 2.0.
    dcgm("DCGM_FI_DEV_FB_USED", UsageUnit::Mebibytes),
    dcgm("DCGM_FI_DEV_FB_USED_BYTES", UsageUnit::Bytes),
    dcgm("dcgm_fi_dev_fb_used", UsageUnit::Mebibytes),
    dcgm("dcgm_fb_used", UsageUnit::Mebibytes),
    // HAMi, cmd/vGPUmonitor/metrics.go: labels namespace, pod, container, vdevice_index and
    // device_uuid since 2.9.
    KnownMetric {
        name: "hami_vgpu_memory_used_bytes",
        unit: UsageUnit::Bytes,
        labels: LabelNames::Kubernetes,
        per_pod: true,
    },
    // HAMi before 2.9, and since with --legacy-metrics; beside these labels vdeviceid and
    // deviceuuid.
    KnownMetric {
        name: "vGPU_device_memory_usage_in_bytes",
        unit: UsageUnit::Bytes,
        labels: LabelNames::Named {
            team: "podnamespace",
            pod: "podname",
            container: "ctrname",
            workload: None,
        },
        per_pod: true,
    },
    // slurm-job-exporter (guilbaults), slurm-job-exporter.py: labels user, account, slurmjobid, gpu
    // and gpu_type; gpu counts within the job. The help text names no unit; the values are NVML's
    // and DCGM's in bytes.
    KnownMetric {
        name: "slurm_job_memory_usage_gpu",
        unit: UsageUnit::Bytes,
        labels: LabelNames::Named {
            team: "account",
            pod: "slurmjobid",
            container: "",
            workload: Some("user"),
        },
        per_pod: true,
    },
];

/// The known metric of this name.
pub(super) fn known(name: &str) -> Option<&'static KnownMetric> {
    KNOWN_METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_units_agree_with_them() {
        for (at, metric) in KNOWN_METRICS.iter().enumerate() {
            assert!(KNOWN_METRICS[..at].iter().all(|other| other.name != metric.name));
            let says_bytes = metric.name.to_ascii_lowercase().ends_with("_bytes");
            assert!(!says_bytes || metric.unit == UsageUnit::Bytes, "{}", metric.name);
        }
    }
}
