//! Which pod had which GPU or instance, and when: what replicas are counted from.
//!
//! Built from the samples that `usage` holds. It knows no memory sizes of workloads and none of
//! the rules by which samples become demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::quantile::Quantile;
use crate::demand::owner;
use crate::demand::time::MINUTE_MS;
use crate::demand::usage::{PodSeries, Usage, together};

/// Prometheus looks back this far for a value; what is closer counts as seen together.
const LOOKBACK_MS: i64 = 5 * MINUTE_MS;

/// The longest distance of two samples between which nothing ended, `step_ms` being the usual one.
pub(super) fn bridge_ms(step_ms: Option<i64>) -> i64 {
    step_ms.map_or(LOOKBACK_MS, |step| LOOKBACK_MS.max(step.saturating_mul(3) / 2))
}

/// A time in which a pod was seen without a gap longer than a missed sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    /// The time of its first sample, in milliseconds since 1970.
    pub(super) first_ms: i64,
    /// The time of its last sample.
    pub(super) last_ms: i64,
    /// The most MiB that a sample of it shows.
    pub(super) peak: u32,
}

/// All that one pod shows of one GPU or instance.
pub(super) struct Allocation<'u> {
    /// At least one.
    pub(super) series: Vec<&'u PodSeries>,
    pub(super) device: u32,
    whole_gpu: bool,
    /// The usual distance of two samples.
    pub(super) step_ms: Option<i64>,
    pub(super) intervals: Vec<Interval>,
}

impl<'u> Allocation<'u> {
    /// The pod's name.
    pub(super) fn pod(&self) -> &Arc<str> {
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
        let tracks = self.series.iter().flat_map(|series| series.samples.tracks());
        self.step_ms = tracks.filter_map(|track| track.shortest_gap_ms()).min();
        let bridge = bridge_ms(self.step_ms);
        let mut intervals: Vec<Interval> = Vec::new();
        for (at, mib) in self.samples() {
            match intervals.last_mut() {
                Some(interval) if at - interval.last_ms <= bridge => {
                    interval.last_ms = at;
                    interval.peak = interval.peak.max(mib);
                }
                _ => intervals.push(Interval { first_ms: at, last_ms: at, peak: mib }),
            }
        }
        self.intervals = intervals;
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

/// The allocations of each pod, by the pod's name.
pub(super) type Pods<'u> = BTreeMap<&'u str, Vec<Allocation<'u>>>;

/// What all pods had, by team and workload.
pub(super) struct Allocations<'u> {
    pub(super) workloads: BTreeMap<(Arc<str>, Arc<str>), Pods<'u>>,
    /// For each scrape without times, the instant that it belongs to.
    pub(super) instants: Vec<u32>,
    /// How far apart samples may lie and still count as seen together, in milliseconds.
    tolerance_ms: i64,
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
            match allocations.iter_mut().find(|a| a.device == series.device) {
                Some(allocation) => allocation.series.push(series),
                None => allocations.push(Allocation {
                    series: vec![series],
                    device: series.device,
                    whole_gpu: usage.device(series).profile.is_none(),
                    step_ms: None,
                    intervals: Vec::new(),
                }),
            }
        }
        workloads.par_iter_mut().for_each(|(_, pods)| {
            pods.values_mut().flatten().for_each(Allocation::find_intervals);
        });
        let mut allocations = Allocations {
            workloads,
            instants: instants(usage),
            tolerance_ms: 0,
            shared: BTreeSet::new(),
        };
        // Exporters name all pods of a device in one scrape, so there is no tolerance yet.
        allocations.shared = allocations.shared_devices();
        if usage.has_scrape_times() {
            allocations.tolerance_ms = allocations.tolerance_ms();
        }
        allocations
    }

    fn all(&self) -> impl Iterator<Item = &Allocation<'u>> {
        self.workloads.values().flat_map(BTreeMap::values).flatten()
    }

    /// Two servers or targets are never scraped at the very same time. Where pods were seen at a
    /// steady pace their intervals overlap anyway.
    fn tolerance_ms(&self) -> i64 {
        match self.all().filter_map(|a| a.step_ms).min() {
            Some(step) if step <= 2 * LOOKBACK_MS => 0,
            _ => LOOKBACK_MS - 1,
        }
    }

    /// Devices that several pods had at the same time: time-slicing or MPS, where each pod is said
    /// to use what all of them use.
    fn shared_devices(&self) -> BTreeSet<u32> {
        let mut by_device: BTreeMap<u32, Vec<&Allocation<'_>>> = BTreeMap::new();
        for allocation in self.all() {
            by_device.entry(allocation.device).or_default().push(allocation);
        }
        let overlap = |of: &[&Allocation<'_>]| of.len() > 1 && self.most(of.iter().copied()) > 1;
        by_device.into_iter().filter(|(_, of)| overlap(of)).map(|(device, _)| device).collect()
    }

    /// Pods by the number of whole GPUs that they had at once; 0 stands for one GPU or instances.
    pub(super) fn by_whole_gpus<'p>(
        &self,
        pods: &'p Pods<'u>,
    ) -> BTreeMap<u64, Vec<(&'p str, &'p Vec<Allocation<'u>>)>> {
        let mut classes: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for (pod, allocations) in pods {
            let whole = self.most(allocations.iter().filter(|a| a.whole_gpu));
            classes.entry(if whole > 1 { whole } else { 0 }).or_default().push((*pod, allocations));
        }
        classes
    }

    /// The most of these that were there at once.
    pub(super) fn most<'h>(&self, of: impl Iterator<Item = &'h Allocation<'u>>) -> u64
    where
        'u: 'h,
    {
        self.levels(of, 0).into_keys().next_back().unwrap_or(0)
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
        let step = of.clone().filter_map(|a| a.step_ms).min().unwrap_or(LOOKBACK_MS);
        let levels = self.levels(of, step - 1);
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

    /// How long (in milliseconds, or instants) how many were there; never zero of them. Each
    /// interval goes on for `longer_ms` after its last sample.
    fn levels<'h>(
        &self,
        of: impl Iterator<Item = &'h Allocation<'u>>,
        longer_ms: i64,
    ) -> BTreeMap<u64, u64>
    where
        'u: 'h,
    {
        let mut edges: Vec<(i64, i64)> = Vec::new();
        let mut at_instant: BTreeMap<u32, u64> = BTreeMap::new();
        for allocation in of {
            for interval in &allocation.intervals {
                // Both ends belong to the interval.
                let end = interval.last_ms.saturating_add(1 + longer_ms.max(self.tolerance_ms));
                edges.push((interval.first_ms, 1));
                edges.push((end, -1));
            }
            for instant in allocation.untimed(&self.instants).into_keys() {
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

/// The name of the workload that a pod belongs to.
pub(super) fn workload_name(series: &PodSeries) -> Arc<str> {
    match &series.group {
        Some(group) => group.clone(),
        None => owner::of_pod(&series.pod).into(),
    }
}

/// For each scrape without times, the instant that it belongs to: scrapes of different devices are
/// of one instant, a device that is met again is of the next.
fn instants(usage: &Usage) -> Vec<u32> {
    let mut next = vec![0; usage.devices().len()];
    let of_block = |devices: &BTreeSet<u32>| {
        let instant = devices.iter().map(|device| next[*device as usize]).max().unwrap_or(0);
        devices.iter().for_each(|device| next[*device as usize] = instant + 1);
        instant
    };
    usage.blocks().iter().map(of_block).collect()
}
