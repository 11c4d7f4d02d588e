//! Which pod had which GPU or instance, and when: what replicas are counted from.
//!
//! Built from the samples that `usage` holds. It knows no memory sizes of workloads and none of
//! the rules by which samples become demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::intervals::{self, Interval};
use super::looks;
use super::quantile::Quantile;
use crate::demand::owner;
use crate::demand::usage::{Key, LOOKBACK_MS, Origin, PodSeries, Usage, together};

/// All that one pod shows of one GPU or instance, or of all that it has on a node.
pub(super) struct Allocation<'u> {
    /// At least one.
    pub(super) series: Vec<&'u PodSeries>,
    /// The GPU or instance; of several the first.
    pub(super) device: u32,
    /// The node that it is on, where a label tells.
    node: Option<u32>,
    whole_gpu: bool,
    pub(super) intervals: Vec<Interval>,
}

impl<'u> Allocation<'u> {
    /// Several of one pod as one: there while any of them is.
    pub(super) fn joined(all: &[&Allocation<'u>]) -> Option<Allocation<'u>> {
        let first = all.first()?;
        let intervals = all.iter().flat_map(|allocation| &allocation.intervals).copied();
        Some(Allocation {
            series: all.iter().flat_map(|allocation| &allocation.series).copied().collect(),
            intervals: intervals::united(intervals.collect()),
            ..**first
        })
    }

    /// Whose it is.
    pub(super) fn pod(&self) -> &'u Key {
        &self.series[0].pod
    }

    /// The most MiB of any sample; of requests the most asked for.
    pub(super) fn peak(&self) -> u32 {
        let timed = self.intervals.iter().map(|interval| interval.peak);
        let untimed = self.series.iter().flat_map(|series| &series.untimed).map(|(_, mib)| *mib);
        timed.chain(untimed).max().unwrap_or(0)
    }

    /// The resource that is asked for, if the samples are requests.
    pub(super) fn resource(&self) -> Option<&str> {
        self.series[0].resource.as_deref()
    }

    /// Whether the pod was ended for lack of memory.
    pub(super) fn was_killed(&self, usage: &Usage) -> bool {
        self.series.iter().any(|series| usage.was_killed(series))
    }

    /// Its samples with a time, each time once.
    pub(super) fn samples(&self) -> impl Iterator<Item = (i64, u32)> {
        together(self.series.iter().map(|series| &series.samples))
    }

    /// Finds the intervals, once all series are there.
    fn find_intervals(&mut self) {
        self.intervals = intervals::of_samples(self.series.iter().map(|series| &series.samples));
    }

    /// The samples without a time, by instant, the larger of doubles.
    pub(super) fn untimed(&self, instants: &[u32]) -> BTreeMap<u32, u32> {
        untimed_of(self.series.iter().copied(), instants)
    }
}

/// The samples without a time of some series, by instant, the larger of doubles.
pub(super) fn untimed_of<'u>(
    series: impl Iterator<Item = &'u PodSeries>,
    instants: &[u32],
) -> BTreeMap<u32, u32> {
    let mut untimed = BTreeMap::new();
    for (block, mib) in series.flat_map(|series| &series.untimed) {
        let instant = instants.get(*block as usize).copied().unwrap_or(0);
        let value = untimed.entry(instant).or_insert(0);
        *value = (*mib).max(*value);
    }
    untimed
}

/// The allocations of each pod.
pub(super) type Pods<'u> = BTreeMap<&'u Key, Vec<Allocation<'u>>>;

/// What a pod had on one node: a replica where it needs several GPUs.
pub(super) type OnNode<'p, 'u> = (&'u Key, Vec<&'p Allocation<'u>>);

/// What all pods had, by team and workload.
pub(super) struct Allocations<'u> {
    pub(super) workloads: BTreeMap<(Arc<str>, Arc<str>), Pods<'u>>,
    /// For each scrape without times, the instant that it belongs to.
    pub(super) instants: &'u [u32],
    /// Devices that several pods had at the same time.
    pub(super) shared: BTreeSet<u32>,
}

impl<'u> Allocations<'u> {
    /// Of these series of `usage`; [`Usage::settle`] comes first.
    pub(super) fn new(
        usage: &'u Usage,
        series: impl Iterator<Item = &'u PodSeries>,
    ) -> Allocations<'u> {
        let mut workloads: BTreeMap<(Arc<str>, Arc<str>), Pods<'u>> = BTreeMap::new();
        for series in series {
            if series.samples.is_empty() && series.untimed.is_empty() {
                continue;
            }
            let name = workload_name(series);
            let pods = workloads.entry((series.team.clone(), name)).or_default();
            let allocations = pods.entry(&series.pod).or_default();
            // What a pod asks for is one, also where two servers tell it, of which one names its cluster.
            let is_same = |a: &Allocation<'_>| match &series.resource {
                Some(resource) => a.resource() == Some(resource),
                None => a.device == series.device,
            };
            match allocations.iter_mut().find(|a| is_same(a)) {
                Some(allocation) => allocation.series.push(series),
                None => allocations.push(Allocation {
                    series: vec![series],
                    device: series.device,
                    node: usage.node(series.device),
                    whole_gpu: usage.device(series).profile.is_none(),
                    intervals: Vec::new(),
                }),
            }
        }
        workloads.par_iter_mut().for_each(|(_, pods)| {
            pods.values_mut().flatten().for_each(Allocation::find_intervals);
        });
        let mut allocations =
            Allocations { workloads, instants: usage.instants(), shared: BTreeSet::new() };
        let is_steady = usual_ms(allocations.all()).is_some_and(|step| step <= 2 * LOOKBACK_MS);
        allocations.shared = allocations.hand_over();
        if !is_steady {
            let pods = allocations.workloads.values_mut().flat_map(BTreeMap::values_mut);
            looks::hold(usage, pods.flatten().map(|a| (a.device, &mut a.intervals)));
        }
        allocations
    }

    fn all(&self) -> impl Iterator<Item = &Allocation<'u>> {
        self.workloads.values().flat_map(BTreeMap::values).flatten()
    }

    /// Ends what a pod had of a device where the next pod has it, or where the pod has gone on to
    /// another device. Returns the devices that several pods had at the same time all the same:
    /// time-slicing or MPS, where each pod is said to use what all of them use.
    fn hand_over(&mut self) -> BTreeSet<u32> {
        let mut by_device: BTreeMap<u32, Vec<&mut Interval>> = BTreeMap::new();
        let mut in_scrapes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for allocations in self.workloads.values_mut().flat_map(BTreeMap::values_mut) {
            if allocations.len() > 1 {
                let of_pod = allocations.iter_mut().flat_map(|a| &mut a.intervals);
                intervals::hand_over(&mut of_pod.collect::<Vec<_>>());
            }
            for allocation in allocations {
                let instants = allocation.untimed(self.instants).into_keys();
                in_scrapes.entry(allocation.device).or_default().extend(instants);
                by_device.entry(allocation.device).or_default().extend(&mut allocation.intervals);
            }
        }
        let mut shared: BTreeSet<u32> = BTreeSet::new();
        for (device, mut of_device) in by_device {
            intervals::hand_over(&mut of_device);
            // A function may stand for pods that ran one after the other.
            of_device.retain(|interval| interval.origin != Origin::Function);
            if intervals::overlap(&mut of_device) {
                shared.insert(device);
            }
        }
        for (device, mut instants) in in_scrapes {
            instants.sort_unstable();
            if instants.windows(2).any(|pair| pair[0] == pair[1]) {
                shared.insert(device);
            }
        }
        shared
    }

    /// What pods had on each node, by the number of whole GPUs that they had there at once; 0 stands
    /// for one GPU or instances. GPUs of two nodes are never one replica's: a job on several nodes has a
    /// part on each.
    pub(super) fn by_whole_gpus<'p>(
        &self,
        pods: &'p Pods<'u>,
    ) -> BTreeMap<u64, Vec<OnNode<'p, 'u>>> {
        let mut classes: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (pod, allocations) in pods {
            let mut by_node: BTreeMap<Option<u32>, Vec<_>> = BTreeMap::new();
            for allocation in allocations {
                by_node.entry(allocation.node).or_default().push(allocation);
            }
            for on_node in by_node.into_values() {
                let whole = self.most(on_node.iter().filter(|a| a.whole_gpu).copied());
                let class = if whole > 1 { whole } else { 0 };
                classes.entry(class).or_default().push((*pod, on_node));
            }
        }
        classes
    }

    /// The most of these that were there at once.
    pub(super) fn most<'h>(&self, of: impl Iterator<Item = &'h Allocation<'u>> + Clone) -> u64
    where
        'u: 'h,
    {
        self.levels(of, false).into_keys().next_back().unwrap_or(0)
    }

    /// The number that suffices for a share of the time in which any of these was there.
    pub(super) fn quantile<'h>(
        &self,
        of: impl Iterator<Item = &'h Allocation<'u>> + Clone,
        quantile: Quantile,
    ) -> u64
    where
        'u: 'h,
    {
        let most = self.most(of.clone());
        if quantile == Quantile::MAX {
            return most;
        }
        // For a share of the time each sample holds until the next.
        let levels = self.levels(of, true);
        let rank = quantile.rank(levels.values().sum());
        let mut below = 0;
        for (level, time) in levels {
            below += time;
            if below >= rank {
                return level.min(most);
            }
        }
        most
    }

    /// How long (in milliseconds, or instants) how many were there; never zero of them. With `hold`
    /// each interval goes on for as long as its last sample holds.
    fn levels<'h>(
        &self,
        of: impl Iterator<Item = &'h Allocation<'u>> + Clone,
        hold: bool,
    ) -> BTreeMap<u64, u64>
    where
        'u: 'h,
    {
        let usual_ms = usual_ms(of.clone()).unwrap_or(LOOKBACK_MS);
        let mut edges: Vec<(i64, i64)> = Vec::new();
        let mut at_instant: BTreeMap<u32, u64> = BTreeMap::new();
        for allocation in of {
            for interval in &allocation.intervals {
                // Both ends belong to the interval.
                let last = interval.seen_ms.saturating_add(1);
                let end = if hold { interval.end_ms(usual_ms).max(last) } else { last };
                edges.push((interval.first_ms, 1));
                edges.push((end, -1));
            }
            for instant in allocation.untimed(self.instants).into_keys() {
                *at_instant.entry(instant).or_insert(0) += 1;
            }
        }
        edges.sort_unstable();
        let mut levels: BTreeMap<u64, u64> = BTreeMap::new();
        let mut level = 0i64;
        let mut before = 0;
        for (at, change) in edges {
            if at > before && level > 0 {
                *levels.entry(level.unsigned_abs()).or_insert(0) += at.abs_diff(before);
            }
            level += change;
            before = at;
        }
        for count in at_instant.into_values() {
            *levels.entry(count).or_insert(0) += 1;
        }
        levels
    }
}

/// The shortest time for which a last sample of these holds, in milliseconds.
pub(super) fn usual_ms<'h, 'u: 'h>(of: impl Iterator<Item = &'h Allocation<'u>>) -> Option<i64> {
    // Where another took over the end is known, and no distance of samples.
    let holds = of.flat_map(|a| &a.intervals).filter_map(|interval| interval.holds_ms);
    holds.filter(|ms| *ms > 1).min()
}

/// The name of the workload that a pod belongs to.
pub(super) fn workload_name(series: &PodSeries) -> Arc<str> {
    match &series.group {
        Some(group) => group.clone(),
        None => owner::of_pod(&series.pod.name).into(),
    }
}
