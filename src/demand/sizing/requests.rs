//! Demand from what pods ask for (`kube_pod_container_resource_requests`) while no sample shows
//! them: replicas beside those of their workload that are measured, and where none is, one instance
//! of the profile asked for, or whole GPUs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::allocation::{Allocation, Allocations, untimed_of};
use super::{Origin, PodSpan, Rules, Sizing, Unused, spans};
use crate::demand::Workload;
use crate::demand::names::Names;
use crate::demand::pods::{self, Ask, MAX_PER_POD};
use crate::demand::usage::{Key, PodSeries, Usage, together};
use crate::error::Diagnostic;
use crate::hardware::Catalogue;
use crate::text::{plural, some};

/// What became of requests.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) workloads: Vec<Workload>,
    pub(super) origins: BTreeMap<(Arc<str>, Arc<str>), Origin>,
    pub(super) spans: Vec<PodSpan>,
    pub(super) unused: Vec<Unused>,
}

/// Team and name of a workload.
type Name = (Arc<str>, Arc<str>);

/// Replicas by what they ask for: one for each instance, or for all GPUs of a pod.
type ByAsk<'a, 'u> = BTreeMap<Ask, Vec<&'a Allocation<'u>>>;

/// What pods ask for while no sample shows them.
pub(super) struct Asks<'a, 'u> {
    by_workload: BTreeMap<Name, ByAsk<'a, 'u>>,
    /// Requests that are no demand: why, and how many.
    refused: BTreeMap<String, u64>,
}

impl<'a, 'u> Asks<'a, 'u> {
    /// What `allocations` has of requests.
    pub(super) fn new(
        usage: &Usage,
        catalogue: &Catalogue,
        allocations: &'a Allocations<'u>,
    ) -> Asks<'a, 'u> {
        let mut asks = Asks { by_workload: BTreeMap::new(), refused: BTreeMap::new() };
        for (key, pods) in &allocations.workloads {
            let mut by_ask: ByAsk<'a, 'u> = BTreeMap::new();
            for allocation in pods.values().flatten() {
                let resource = pods::resource_of_label(allocation.resource().unwrap_or(""));
                let count = most_at_once(allocation, allocations.instants);
                match pods::ask(&resource, count, None, catalogue) {
                    _ if count == 0 => {}
                    _ if count > MAX_PER_POD.into() => {
                        let why = format!("asks for more than {MAX_PER_POD} of {resource}");
                        *asks.refused.entry(why).or_default() += 1;
                    }
                    Ok(ask) => {
                        let replicas = if matches!(ask, Ask::Gpus(_)) { 1 } else { count };
                        by_ask.entry(ask).or_default().extend(repeated(allocation, replicas));
                    }
                    Err(why) => *asks.refused.entry(why).or_default() += 1,
                }
            }
            if usage.is_listed(&key.0, &key.1) {
                // What the list says of it wins.
                by_ask = by_ask.pop_last().into_iter().collect();
            }
            if !by_ask.is_empty() {
                asks.by_workload.insert(key.clone(), by_ask);
            }
        }
        asks
    }

    /// The replicas that are asked for beside pods of a workload that are measured with `gpus` whole
    /// GPUs each, 0 for instances and single GPUs: then with so many `instances` at most. They are
    /// taken where these pods give a workload.
    pub(super) fn beside(
        &self,
        key: &Name,
        gpus: u64,
        instances: u64,
        usage: &Usage,
    ) -> Beside<'a, 'u> {
        let mut beside = Beside::default();
        let is_listed = usage.is_listed(&key.0, &key.1);
        for (ask, replicas) in self.by_workload.get(key).into_iter().flatten() {
            let each = match ask {
                _ if is_listed => 1,
                Ask::Instance(_) | Ask::Gpus(0..=1) if gpus == 0 => 1,
                Ask::Gpus(count) if *count == gpus => 1,
                // Nodes may name their instances as GPUs (MIG strategy single).
                Ask::Gpus(count) if gpus == 0 && *count == instances => *count,
                Ask::Instance(_) | Ask::Gpus(_) => continue,
            };
            beside.replicas.extend(replicas.iter().flat_map(|replica| repeated(replica, each)));
            beside.asks.push(ask.clone());
        }
        beside
    }

    /// Takes what is counted beside a workload of measured pods.
    pub(super) fn take(&mut self, key: &Name, asks: &[Ask]) {
        if let Some(by_ask) = self.by_workload.get_mut(key) {
            by_ask.retain(|ask, _| !asks.contains(ask));
        }
    }

    /// The workloads of what is left: of those that ask for the same, where nothing of the kind is
    /// measured. Counts are the most asked for at the same time; `has` tells which names of
    /// workloads are in use.
    pub(super) fn workloads(
        self,
        usage: &Usage,
        rules: Rules,
        catalogue: &Catalogue,
        allocations: &Allocations<'_>,
        names: &mut Names,
        has: impl Fn(&Name) -> bool,
    ) -> Asked {
        let mut asked = Asked::default();
        for (key, by_ask) in self.by_workload {
            let is_part = by_ask.len() > 1 || has(&key);
            let (team, owner) = key;
            for (ask, replicas) in by_ask {
                let name = match is_part {
                    true => names.take(&team, &format!("{owner} ({})", pods::kind(&ask))),
                    false => owner.clone(),
                };
                let count = allocations.quantile(replicas.iter().copied(), rules.count);
                let workload = pods::workload(&team, &name, &ask, count, catalogue);
                let memory = workload.memory.unwrap_or_default();
                let times = || replicas.iter().flat_map(|a| &a.intervals);
                let seen_ms =
                    times().map(|i| i.first_ms).min().zip(times().map(|i| i.last_ms).max());
                let origin = Origin {
                    pods: pods_of(&replicas),
                    seen_ms,
                    instances_per_pod: 1,
                    requested: true,
                    ..Origin::default()
                };
                asked.spans.extend(spans(&team, &name, &replicas, Some(memory)));
                asked.origins.insert((team.clone(), name), origin);
                asked.workloads.push(workload);
            }
        }
        asked.unused = unused(usage, self.refused);
        asked
    }
}

/// What is asked for beside measured pods of a workload.
#[derive(Default)]
pub(super) struct Beside<'a, 'u> {
    pub(super) replicas: Vec<&'a Allocation<'u>>,
    pub(super) asks: Vec<Ask>,
}

fn repeated<T: Copy>(replica: T, times: u64) -> impl Iterator<Item = T> {
    std::iter::repeat_n(replica, usize::try_from(times).unwrap_or(usize::MAX))
}

/// How many pods these replicas are of.
pub(super) fn pods_of(replicas: &[&Allocation<'_>]) -> u64 {
    replicas.iter().map(|allocation| allocation.pod()).collect::<BTreeSet<&Key>>().len() as u64
}

/// A warning that names the workloads whose counts have pods that no sample shows at the time.
pub(super) fn warning(sizing: &Sizing) -> Option<Diagnostic> {
    let asking = sizing.origins.iter().filter(|(_, origin)| origin.asking_pods > 0);
    let labels: Vec<String> = asking
        .map(|((team, name), origin)| {
            format!("{team}/{name} ({})", plural(origin.asking_pods, "pod"))
        })
        .collect();
    (!labels.is_empty()).then(|| {
        Diagnostic::new(format!(
            "counts have pods that ask for a GPU or an instance while no sample shows them, such as those that wait: {}",
            some(&labels)
        ))
    })
}

/// Requests that are no demand, and pods that had ended.
fn unused(usage: &Usage, refused: BTreeMap<String, u64>) -> Vec<Unused> {
    let mut unused: Vec<Unused> = refused
        .into_iter()
        .map(|(why, count)| Unused {
            cause: "request",
            count,
            text: format!("{}: each {why}", plural(count, "request")),
        })
        .collect();
    let ended: BTreeSet<&Key> =
        usage.request_series().filter(|s| s.ended && !s.is_measured).map(|s| &s.pod).collect();
    if !ended.is_empty() {
        let count = ended.len() as u64;
        let text = format!("{} that had ended: what they asked for is free", plural(count, "pod"));
        unused.push(Unused { cause: "ended", count, text });
    }
    unused
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
