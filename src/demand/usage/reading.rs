//! How samples are to be understood: which metric, in which unit, what becomes one workload.

use std::str::FromStr;

use super::metrics::{KNOWN_METRICS, REQUESTS, UsageUnit, known};

/// The metric that is read unless another is named.
pub const DEFAULT_METRIC: &str = "DCGM_FI_DEV_FB_USED";

/// What becomes one workload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// All pods of one owner: Deployment, StatefulSet, Job …
    #[default]
    Owner,
    /// Each pod.
    Pod,
    /// All containers of one name.
    Container,
    /// All series with one value of this label.
    Label(String),
}

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<GroupBy, String> {
        match text {
            "owner" => Ok(GroupBy::Owner),
            "pod" => Ok(GroupBy::Pod),
            "container" => Ok(GroupBy::Container),
            label => label_name(label).map(GroupBy::Label),
        }
    }
}

/// Checks that a text can be the name of a label.
///
/// # Errors
/// A sentence that says what a label looks like.
pub fn label_name(text: &str) -> Result<String, String> {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if good {
        Ok(text.to_string())
    } else {
        Err(format!(
            "'{text}' is not a label; labels have letters, digits and _ (namespace, label_app)"
        ))
    }
}

/// How samples are understood.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The metric's name; `None` is any of [`KNOWN_METRICS`].
    pub metric: Option<String>,
    /// Whether series of any name count, because a query of the user's own chose them.
    pub any_name: bool,
    /// The unit; `None` is told by the metric's name or help text, and else MiB.
    pub unit: Option<UsageUnit>,
    /// What becomes one workload.
    pub group_by: GroupBy,
    /// The label that names the team; `None` is the namespace.
    pub team_label: Option<String>,
}

impl Reading {
    /// Whether series of this name are the metric's.
    pub fn is_metric(&self, name: &str) -> bool {
        match &self.metric {
            Some(metric) => name == metric,
            None => known(name).is_some(),
        }
    }

    /// Whether what pods ask for counts: where no other metric is named.
    pub(super) fn wants_requests(&self) -> bool {
        self.metric.as_deref().is_none_or(|metric| metric == REQUESTS)
    }

    /// The names under which the metric is looked for.
    pub fn names(&self) -> Vec<&str> {
        match &self.metric {
            Some(name) => vec![name],
            None => KNOWN_METRICS.iter().map(|metric| metric.name).collect(),
        }
    }
}

/// Why `metric` cannot be GPU memory in use, where its name tells.
pub fn objection(metric: &str) -> Option<&'static str> {
    if metric == REQUESTS {
        return None;
    }
    let name = metric.to_ascii_lowercase();
    const OTHERS: [&str; 9] = [
        "container_",
        "node_",
        "kube_",
        "kubelet_",
        "machine_",
        "process_",
        "go_",
        "prometheus_",
        "apiserver_",
    ];
    const NO_MEMORY: [&str; 11] = [
        "_seconds",
        "_seconds_total",
        "_total",
        "_celsius",
        "_ratio",
        "_percent",
        "_count",
        "_sum",
        "_bucket",
        "_info",
        "_util",
    ];
    if OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
        Some("is not a metric of GPUs")
    } else if name.starts_with("dcgm_")
        && (name.contains("_fb_free") || name.contains("_fb_reserved"))
    {
        Some("is memory that is not in use")
    } else if (name.starts_with("dcgm_fi_") && !name.contains("_fb_"))
        || name.contains("cpu")
        || NO_MEMORY.iter().any(|suffix| name.ends_with(suffix))
    {
        Some("is not memory")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_given_by_mistake_are_known() {
        for wrong in [
            "node_cpu_seconds_total",
            "container_cpu_usage_seconds_total",
            "DCGM_FI_DEV_GPU_UTIL",
            "DCGM_FI_DEV_FB_FREE",
            "container_memory_working_set_bytes",
            "DCGM_FI_DEV_POWER_USAGE",
        ] {
            assert!(objection(wrong).is_some(), "{wrong}");
        }
        for right in [
            DEFAULT_METRIC,
            "DCGM_FI_DEV_FB_USED_BYTES",
            "namespace:dcgm_fb_used:max",
            "nvidia_gpu_memory_used_bytes",
            "gpu_memory_used_mib",
        ] {
            assert_eq!(objection(right), None, "{right}");
        }
    }

    #[test]
    fn what_becomes_a_workload_can_be_chosen() {
        assert_eq!("owner".parse(), Ok(GroupBy::Owner));
        assert_eq!("label_app".parse(), Ok(GroupBy::Label("label_app".into())));
        assert!("a-b".parse::<GroupBy>().is_err());
        assert_eq!("MiB".parse(), Ok(UsageUnit::Mebibytes));
        assert!("GB".parse::<UsageUnit>().is_err());
    }
}
