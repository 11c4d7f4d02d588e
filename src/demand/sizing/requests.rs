//! Demand from what pods ask for (`kube_pod_container_resource_requests`), where no sample shows
//! their memory: one instance of the profile asked for, or whole GPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::allocation::{Allocation, Allocations, untimed_of};
use super::{Origin, PodSpan, Rules, Unused, spans};
use crate::demand::Workload;
use crate::demand::names::Names;
use crate::demand::pods::{self, Ask};
use crate::demand::usage::{Key, PodSeries, Usage, together};
use crate::hardware::Catalogue;
use crate::text::plural;

/// The most instances or GPUs that a pod may ask for, several times what any node has.
const MAX_PER_POD: u64 = 1_024;

/// What became of requests.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) workloads: Vec<Workload>,
    pub(super) origins: BTreeMap<(Arc<str>, Arc<str>), Origin>,
    pub(super) spans: Vec<PodSpan>,
    pub(super) unused: Vec<Unused>,
}

/// The workloads of pods that ask for instances or GPUs, by what `allocations` has of them; those
/// whose memory `measured` knows are left to it. Counts are the most asked for at the same time.
pub(super) fn workloads(
    usage: &Usage,
    rules: Rules,
    catalogue: &Catalogue,
    measured: &Allocations<'_>,
    allocations: &Allocations<'_>,
    names: &mut Names,
) -> Asked {
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
            let count = most_at_once(allocation, allocations.instants);
            match pods::ask(&resource, count, None, catalogue) {
                _ if count == 0 => {}
                _ if count > MAX_PER_POD => {
                    let why = format!("asks for more than {MAX_PER_POD} of {resource}");
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
        if usage.is_listed(team, owner) {
            // What the list says of it wins.
            by_ask = by_ask.pop_last().into_iter().collect();
        }
        let several = by_ask.len() > 1;
        for (ask, replicas) in by_ask {
            let name = match several {
                true => names.take(team, &format!("{owner} ({})", pods::kind(&ask))),
                false => owner.clone(),
            };
            let count = allocations.quantile(replicas.iter().copied(), rules.count);
            let workload = pods::workload(team, &name, &ask, count, catalogue);
            let memory = workload.memory.unwrap_or_default();
            let mut of_pods: Vec<&Key> = replicas.iter().map(|a| a.pod()).collect();
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
    let ended: BTreeSet<_> =
        usage.request_series().filter(|s| s.ended).map(|s| (&s.team, &s.pod)).collect();
    if !ended.is_empty() {
        let count = ended.len() as u64;
        let text = format!("{} that had ended: what they asked for is free", plural(count, "pod"));
        asked.unused.push(Unused { cause: "ended", count, text });
    }
    asked
}

/// The most that the containers of a pod ask for together at the same time, as the scheduler counts.
fn most_at_once(allocation: &Allocation<'_>, instants: &[u32]) -> u64 {
    let mut containers: BTreeMap<&str, Vec<&PodSeries>> = BTreeMap::new();
    for series in &allocation.series {
        containers.entry(&series.container).or_default().push(series);
    }
    if containers.len() == 1 {
        return allocation.peak().into();
    }
    let mut timed: BTreeMap<i64, u64> = BTreeMap::new();
    let mut untimed: BTreeMap<u32, u64> = BTreeMap::new();
    for of_container in containers.into_values() {
        for (at, count) in together(of_container.iter().map(|series| &series.samples)) {
            *timed.entry(at).or_default() += u64::from(count);
        }
        for (instant, count) in untimed_of(of_container.into_iter(), instants) {
            *untimed.entry(instant).or_default() += u64::from(count);
        }
    }
    timed.into_values().chain(untimed.into_values()).max().unwrap_or(0)
}
