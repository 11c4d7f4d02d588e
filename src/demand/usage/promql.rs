//! What a server is to be asked so that it answers with all that is understood here, and little more.

use super::metrics::{
    CONTROLLER_OWNERS, ENDED_PHASES, NVIDIA_RESOURCE, OOM_KILLED, POD_OWNER, POD_PHASE, REQUESTS,
    TERMINATED_REASON, WAITING_PHASE,
};
use super::reading::Reading;
use crate::demand::time::seconds;

impl Reading {
    /// The PromQL for the metric and for all that is understood beside it, in one expression, for
    /// a range that begins at `first_ms` and has these steps.
    ///
    /// What would be most of an answer is left out: requests for other resources, phases of pods
    /// that ask for no GPU, and owners but where they are new, since an owner stays the same. `or` takes
    /// no notice of names, but no two of these metrics have the same labels.
    pub fn promql(&self, first_ms: i64, step_ms: i64) -> String {
        let requests = format!("{REQUESTS}{{resource=~\"{NVIDIA_RESOURCE}.*\"}}");
        let phases: Vec<&str> = ENDED_PHASES.into_iter().chain([WAITING_PHASE]).collect();
        let phases = format!("{POD_PHASE}{{phase=~\"{}\"}}", phases.join("|"));
        let killed = format!("{TERMINATED_REASON}{{reason=\"{OOM_KILLED}\"}}");
        let owners: Vec<&str> =
            CONTROLLER_OWNERS.iter().map(|(metric, ..)| *metric).chain([POD_OWNER]).collect();
        let owners = selector(&owners);
        let (first, step) = (seconds(first_ms), duration(step_ms));
        let mut parts = Vec::new();
        let names = self.names();
        let memory: Vec<&str> = names.iter().copied().filter(|name| *name != REQUESTS).collect();
        if !memory.is_empty() {
            parts.push(selector(&memory));
        }
        if self.wants_requests() {
            parts.push(requests.clone());
            // The same kube-state-metrics tells both, so it spells the labels alike.
            parts.push(format!(
                "{phases} > 0 and on (namespace, pod, exported_namespace, exported_pod) {requests}"
            ));
        }
        parts.push(format!("{killed} > 0"));
        parts.push(format!("{owners} unless {owners} offset {step}"));
        parts.push(format!("{owners} and on () vector(time()) <= {first}"));
        parts.join(" or ")
    }

    /// The names of the metrics without which there is no demand.
    pub fn asked(&self) -> Vec<&str> {
        let mut names = self.names();
        if self.wants_requests() && !names.contains(&REQUESTS) {
            names.push(REQUESTS);
        }
        names
    }

    /// The PromQL for the highest value of each series of a metric in the time up to each step.
    pub fn highest(metric: &str, window_ms: i64) -> String {
        format!("max_over_time({}[{}])", selector(&[metric]), duration(window_ms))
    }
}

/// The PromQL that selects all series of these names.
fn selector(names: &[&str]) -> String {
    match names {
        [name] if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')) => {
            name.to_string()
        }
        [name] => format!("{{__name__={name:?}}}"),
        names => format!("{{__name__=~\"{}\"}}", names.join("|")),
    }
}

/// A duration as PromQL has it.
fn duration(ms: i64) -> String {
    if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_written_as_promql() {
        assert_eq!(selector(&["a:b"]), "a:b");
        assert_eq!(selector(&["a.b"]), r#"{__name__="a.b"}"#);
        assert_eq!(selector(&["a", "b"]), r#"{__name__=~"a|b"}"#);
        assert_eq!(Reading::highest("m", 300_000), "max_over_time(m[300s])");
        assert_eq!(Reading::highest("m", 1_500), "max_over_time(m[1500ms])");
    }

    #[test]
    fn all_that_is_understood_is_asked() {
        let of = |metric: Option<&str>| {
            let reading = Reading { metric: metric.map(str::to_string), ..Reading::default() };
            reading.promql(1_795_344_000_000, 300_000)
        };
        let default = of(None);
        let facts = [POD_OWNER, POD_PHASE, TERMINATED_REASON, REQUESTS];
        for name in facts.into_iter().chain(CONTROLLER_OWNERS.map(|(metric, ..)| metric)) {
            assert!(default.contains(name), "{name}: {default}");
        }
        assert!(default.starts_with("{__name__=~\"DCGM_FI_DEV_FB_USED|"), "{default}");
        // What pods ask for is of use by default only.
        let named = of(Some("used"));
        assert!(named.starts_with("used or ") && !named.contains(REQUESTS), "{named}");
        assert!(named.contains(POD_OWNER), "{named}");
        let requests = of(Some(REQUESTS));
        assert!(requests.starts_with(&format!("{REQUESTS}{{")), "{requests}");
    }
}
