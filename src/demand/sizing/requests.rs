//! Demand from what pods ask for (`kube_pod_container_resource_requests`), where no sample shows
//! their memory: one instance of the profile asked for, or whole GPUs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::allocation::{Allocation, Allocations};
use super::{Origin, PodSpan, Rules, Unused, spans};
use crate::demand::Workload;
use crate::demand::pods::{self, Ask};
use crate::demand::usage::Usage;
use crate::hardware::Catalogue;
use crate::text::plural;

/// The most instances or GPUs that a container may ask for, several times what any node has.
const MAX_PER_CONTAINER: u64 = 1_024;

/// What became of requests.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) workloads: Vec<Workload>,
    pub(super) origins: BTreeMap<(Arc<str>, Arc<str>), Origin>,
    pub(super) spans: Vec<PodSpan>,
    pub(super) unused: Vec<Unused>,
}

/// The workloads of pods that ask for instances or GPUs; those whose memory `measured` knows are
/// left to it. Counts are the most asked for at the same time.
pub(super) fn workloads(
    usage: &Usage,
    rules: Rules,
    catalogue: &Catalogue,
    measured: &Allocations<'_>,
) -> Asked {
    let allocations = Allocations::new(usage, usage.request_series());
    let mut asked = Asked::default();
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for (key, pods) in &allocations.workloads {
        if measured.workloads.contains_key(key) {
            continue;
        }
        let (team, owner) = key;
        let mut by_ask: BTreeMap<Ask, Vec<&Allocation<'_>>> = BTreeMap::new();
        for allocation in pods.values().flatten() {
            let resource = pods::resource_of_label(allocation.resource().unwrap_or(""));
            let count = u64::from(allocation.peak());
            match pods::ask(&resource, count, None, catalogue) {
                _ if count == 0 => {}
                _ if count > MAX_PER_CONTAINER => {
                    let why = format!("asks for more than {MAX_PER_CONTAINER} of {resource}");
                    *refused.entry(why).or_default() += 1;
                }
                Ok(ask) => {
                    let replicas = if matches!(ask, Ask::Gpus(_)) { 1 } else { count };
                    let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
                    by_ask
                        .entry(ask)
                        .or_default()
                        .extend(std::iter::repeat_n(allocation, replicas));
                }
                Err(why) => *refused.entry(why).or_default() += 1,
            }
        }
        let several = by_ask.len() > 1;
        for (ask, replicas) in by_ask {
            let name: Arc<str> = if several {
                format!("{owner} ({})", pods::kind(&ask)).into()
            } else {
                owner.clone()
            };
            let count = allocations.quantile(replicas.iter().copied(), rules.count);
            let workload = pods::workload(team, &name, &ask, count, catalogue);
            let memory = workload.memory.unwrap_or_default();
            let mut of_pods: Vec<&str> = replicas.iter().map(|a| &**a.pod()).collect();
            of_pods.dedup();
            let times = || replicas.iter().flat_map(|a| &a.intervals);
            let seen_ms = times().map(|i| i.first_ms).min().zip(times().map(|i| i.last_ms).max());
            let origin = Origin {
                pods: of_pods.len() as u64,
                seen_ms,
                instances_per_pod: 1,
                requested: true,
                ..Origin::default()
            };
            asked.spans.extend(spans(team, &name, &replicas, Some(memory)));
            asked.origins.insert((team.clone(), name), origin);
            asked.workloads.push(workload);
        }
    }
    asked.unused = refused
        .into_iter()
        .map(|(why, count)| Unused {
            cause: "request",
            count,
            text: format!("{}: each {why}", plural(count, "request")),
        })
        .collect();
    asked
}
