//! From memory in use to workloads: how much one replica needs and how many run at once.
//!
//! Memory is a quantile of what was seen, never interpolated: by default the highest sample, since
//! a GPU cannot burst and a process that needs more than its instance has ends with an error.
//! Replicas are counted as GPUs and instances allocated at the same time. What cannot be used is
//! counted by cause, never dropped in silence.

mod allocation;
mod intervals;
mod limits;
mod looks;
mod quantile;
mod report;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use quantile::Quantile;

use self::allocation::{Allocation, Allocations, OnNode, usual_ms, workload_name};
use self::intervals::Interval;
use self::quantile::Values;
use self::requests::Asks;
use super::names::Names;
use super::time::MINUTE_MS;
use super::usage::{Key, PodSeries, Samples, Usage, together};
use super::{Demand, Limited, MAX_WHOLE_GPUS, Observed, Workload};
use crate::error::Diagnostic;
use crate::hardware::Catalogue;
use crate::units::Mebibytes;

/// How samples become workloads.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Which share of the samples a replica's memory covers.
    pub memory: Quantile,
    /// Which share of the time, while any replica ran, the count covers; the largest is the most
    /// seen at once.
    pub count: Quantile,
    /// A workload with fewer samples is not used.
    pub min_samples: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { memory: Quantile::MAX, count: Quantile::MAX, min_samples: 1 }
    }
}

/// Where a workload comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Its samples; those of requests are no memory, and none.
    pub observed: Arc<Observed>,
    /// Distinct pods.
    pub pods: u64,
    /// The times of the first and last sample, in milliseconds since 1970.
    pub seen_ms: Option<(i64, i64)>,
    /// Whether its pods shared a device, so that each reports the memory of all.
    pub shares_device: bool,
    /// Whether the query left out which GPU or instance a pod had, so that several count as one.
    pub any_device: bool,
    /// The most instances that one of its pods had at once.
    pub instances_per_pod: u64,
    /// Whether it is what the pods ask for, since no sample shows their memory.
    pub requested: bool,
    /// Pods that the count has beside those that are measured, by what they ask for while no sample
    /// shows them: such as wait for an instance.
    pub asking_pods: u64,
}

/// One replica of a workload on the time line: a pod that had a GPU or an instance, without a gap
/// longer than a missed sample (five minutes, or one and a half times the distance of samples in
/// that file).
///
/// A pod with several instances has a span for each, as each is a replica; one with several whole
/// GPUs of a node has one span for all of them. A pod that went away and came back has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSpan {
    /// The team of the workload.
    pub team: Arc<str>,
    /// The name of the workload, as in [`Sizing::demand`].
    pub workload: Arc<str>,
    /// The pod.
    pub pod: Arc<str>,
    /// The time of its first sample, in milliseconds since 1970 (UTC).
    pub start_ms: i64,
    /// The time of its last sample. Spans overlap if they share a moment from `start_ms` to
    /// `last_ms`, both included; so counted, at most `count` of a workload overlap.
    pub last_ms: i64,
    /// When its last samples end to hold: one distance of samples of their file after them. For
    /// durations only, since a successor may have started before.
    pub end_ms: i64,
    /// The most memory that a sample of the span shows.
    pub memory: Mebibytes,
}

/// The demand that was found, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizing {
    /// One workload per group of pods.
    pub demand: Demand,
    /// Where each comes from, by team and name.
    pub origins: BTreeMap<(Arc<str>, Arc<str>), Origin>,
    /// The joint time line: every replica of every workload of the demand, in order of team,
    /// workload, pod and time. Samples without a time (a single scrape) have no span.
    pub spans: Vec<PodSpan>,
    /// What could not be used, and why.
    pub unused: Vec<Unused>,
    /// What is odd, but used.
    pub warnings: Vec<Diagnostic>,
}

impl Sizing {
    /// Where a workload of [`Sizing::demand`] comes from.
    pub fn origin(&self, workload: &Workload) -> Option<&Origin> {
        self.origins.get(&(workload.team.clone(), workload.name.clone()))
    }
}

/// Something that became no demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The cause in one word, for machines.
    pub cause: &'static str,
    /// How many.
    pub count: u64,
    /// The same for people: `18 idle instances of 1g.10gb`.
    pub text: String,
}

/// Turns what was collected into workloads. `catalogue` tells how much memory instances have.
pub fn size(usage: &mut Usage, rules: Rules, catalogue: &Catalogue) -> Sizing {
    usage.settle();
    let allocations = Allocations::new(usage, usage.pod_series());
    let mut sizer = Sizer {
        usage,
        rules,
        catalogue,
        allocations: &allocations,
        sizing: Sizing::default(),
        workloads: Vec::new(),
        too_few: Vec::new(),
        without_memory: Vec::new(),
    };
    let requests = Allocations::new(usage, usage.request_series());
    let mut asks = Asks::new(usage, catalogue, &requests);
    let keys = allocations.workloads.keys().chain(requests.workloads.keys());
    let mut names = Names::new(keys.cloned());
    for (key, pods) in &allocations.workloads {
        let (team, name) = key;
        let mut classes = allocations.by_whole_gpus(pods);
        if usage.is_listed(team, name)
            && let Some((gpus, mut pods)) = classes.pop_last()
        {
            // Its name is the list's, which says what its pods ask for, so it stays one workload.
            pods.extend(classes.into_values().flatten());
            classes = BTreeMap::from([(gpus, pods)]);
        }
        let alone = classes.len() == 1;
        for (gpus, pods) in classes {
            // Beside single-GPU pods of the same owner, those with several need a name of their own.
            let name = match gpus {
                gpus if gpus > 0 && !alone => names.take(team, &format!("{name}-{gpus}gpus")),
                _ => name.clone(),
            };
            let instances = pods.iter().map(|(_, a)| allocations.most(a.iter().copied())).max();
            let instances = instances.unwrap_or(1);
            let beside = asks.beside(key, gpus, instances, usage);
            let alike = Alike { gpus, instances, pods: &pods, asking: &beside.replicas };
            if sizer.workload(team, &name, &alike) {
                asks.take(key, &beside.asks);
            }
        }
    }
    let Sizer { mut sizing, mut workloads, too_few, without_memory, .. } = sizer;
    let has = |key: &(Arc<str>, Arc<str>)| sizing.origins.contains_key(key);
    let asked = asks.workloads(usage, rules, catalogue, &requests, &mut names, has);
    workloads.extend(asked.workloads);
    sizing.origins.extend(asked.origins);
    sizing.spans.extend(asked.spans);
    fn place(span: &PodSpan) -> (&str, &str, &str, i64) {
        (&span.team, &span.workload, &span.pod, span.start_ms)
    }
    sizing.spans.sort_by(|a, b| place(a).cmp(&place(b)));
    sizing.demand = Demand::new(workloads);
    sizing.unused = report::unused(usage, rules, &too_few, &without_memory);
    sizing.unused.extend(asked.unused);
    sizing.warnings = report::warnings(usage, &sizing);
    sizing.warnings.extend(requests::warning(&sizing));
    sizing
}

/// Pods of a workload that are sized together.
struct Alike<'p, 'u> {
    /// Whole GPUs per pod, 0 for instances and single GPUs.
    gpus: u64,
    /// The most that one of them had at once.
    instances: u64,
    /// What samples show of them.
    pods: &'p [OnNode<'p, 'u>],
    /// The replicas that others ask for, or the same ones before samples show them.
    asking: &'p [&'p Allocation<'u>],
}

/// What is found on the way from allocations to workloads.
struct Sizer<'a, 'u> {
    usage: &'u Usage,
    rules: Rules,
    catalogue: &'a Catalogue,
    allocations: &'a Allocations<'u>,
    sizing: Sizing,
    workloads: Vec<Workload>,
    /// Labels of workloads with too few samples.
    too_few: Vec<String>,
    /// Labels of workloads that never used any memory.
    without_memory: Vec<String>,
}

impl Sizer<'_, '_> {
    /// Sizes one workload; whether it is demand.
    fn workload(&mut self, team: &Arc<str>, name: &Arc<str>, alike: &Alike<'_, '_>) -> bool {
        let counting = self.allocations;
        let Alike { gpus, instances, pods, asking } = *alike;
        let all: Vec<&Allocation<'_>> = pods.iter().flat_map(|(_, a)| a).copied().collect();
        // A pod with several GPUs of a node is one replica there.
        let joined: Vec<Allocation<'_>> = match gpus {
            0 => Vec::new(),
            _ => pods.iter().filter_map(|(_, on_node)| Allocation::joined(on_node)).collect(),
        };
        let replicas = if gpus == 0 { all.clone() } else { joined.iter().collect() };
        let names: BTreeSet<&Key> = pods.iter().map(|(pod, _)| *pod).collect();
        let mut values = Values::default();
        let mut origin = Origin { pods: names.len() as u64, ..Origin::default() };
        for allocation in &all {
            for (at, mib) in allocation.samples() {
                values.add(mib);
                let (first, last) = origin.seen_ms.unwrap_or((at, at));
                origin.seen_ms = Some((first.min(at), last.max(at)));
            }
            allocation.untimed(counting.instants).values().for_each(|mib| values.add(*mib));
            origin.shares_device |= counting.shared.contains(&allocation.device);
            origin.any_device |= self.usage.devices()[allocation.device as usize].is_any_of_pod;
        }
        let peak = Mebibytes(u64::from(values.highest));
        if values.count < self.rules.min_samples {
            self.too_few.push(format!("{team}/{name} ({})", values.count));
            return false;
        }
        if peak == Mebibytes::ZERO {
            self.without_memory.push(format!("{team}/{name}"));
            return false;
        }
        origin.instances_per_pod = instances;
        origin.asking_pods = requests::pods_of(asking);
        // A pod that only asks says nothing of the memory that it will use.
        let counted = replicas.iter().chain(asking).copied();
        let count = counting.quantile(counted, self.rules.count);
        // Less than one MiB at the quantile is still a pod that holds an instance.
        let memory = Mebibytes(u64::from(values.quantile(self.rules.memory)).max(1));
        let above = values.above(u32::try_from(memory.0).unwrap_or(u32::MAX));
        let observed = Arc::new(Observed {
            samples: values.count,
            peak,
            sized: memory,
            above: above.into_iter().map(|(mib, n)| (Mebibytes(u64::from(mib)), n)).collect(),
            limited: self.limited(peak, &all, origin.shares_device),
        });
        origin.observed = observed.clone();
        let mut workload = Workload::new(team, name, memory, count);
        workload.observed = Some(observed);
        if gpus > 0 {
            workload.memory = None;
            workload.whole_gpus = u32::try_from(gpus).unwrap_or(MAX_WHOLE_GPUS).min(MAX_WHOLE_GPUS);
        }
        let memory = workload.memory.unwrap_or_default();
        self.sizing.spans.extend(spans(team, name, &replicas, None));
        self.sizing.spans.extend(spans(team, name, asking, Some(memory)));
        self.sizing.origins.insert((workload.team.clone(), workload.name.clone()), origin);
        self.workloads.push(workload);
        true
    }

    /// Whether a workload with these allocations may need more than its highest sample.
    fn limited(
        &self,
        peak: Mebibytes,
        all: &[&Allocation<'_>],
        shares_device: bool,
    ) -> Option<Limited> {
        let highest = all.iter().max_by_key(|a| a.peak()).filter(|_| !shares_device);
        let device = highest.map(|a| &self.usage.devices()[a.device as usize]);
        let killed: BTreeSet<&Key> =
            all.iter().filter(|a| a.was_killed(self.usage)).map(|a| a.pod()).collect();
        limits::limited(peak, device, killed.len() as u64, self.catalogue)
    }
}

/// The spans of a workload's replicas, in order of pod and time; with the memory of their samples,
/// unless another is given.
fn spans(
    team: &Arc<str>,
    workload: &Arc<str>,
    replicas: &[&Allocation<'_>],
    memory: Option<Mebibytes>,
) -> Vec<PodSpan> {
    // A pod with a single sample was there for as long as the others' samples hold.
    let usual_ms = usual_ms(replicas.iter().copied()).unwrap_or(MINUTE_MS);
    let mut spans: Vec<PodSpan> = Vec::new();
    for allocation in replicas {
        spans.extend(allocation.intervals.iter().map(|interval| PodSpan {
            team: team.clone(),
            workload: workload.clone(),
            pod: allocation.pod().name.clone(),
            start_ms: interval.first_ms,
            last_ms: interval.last_ms,
            end_ms: interval.end_ms(usual_ms),
            memory: memory.unwrap_or(Mebibytes(u64::from(interval.peak))),
        }));
    }
    spans.sort_by(|a, b| (&a.pod, a.start_ms).cmp(&(&b.pod, b.start_ms)));
    spans
}

/// How much memory one workload's replicas used over time: for each time the most that any of them
/// did, in stretches without a gap longer than a missed sample. For charts, after [`size`].
pub fn over_time(usage: &Usage, team: &str, name: &str) -> Vec<Vec<(i64, Mebibytes)>> {
    let of_workload =
        |series: &&PodSeries| &*series.team == team && &*workload_name(series) == name;
    let samples: Vec<&Samples> =
        usage.pod_series().filter(of_workload).map(|series| &series.samples).collect();
    let mut all = together(samples.iter().copied()).peekable();
    let of_interval = |interval: Interval| {
        let within = std::iter::from_fn(|| all.next_if(|(at, _)| *at <= interval.last_ms));
        within.map(|(at, mib)| (at, Mebibytes(u64::from(mib)))).collect()
    };
    intervals::of_samples(samples.iter().copied()).into_iter().map(of_interval).collect()
}

#[cfg(test)]
mod tests;
