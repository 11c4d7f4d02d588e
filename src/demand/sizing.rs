//! From memory in use to workloads: how much one replica needs and how many run at once.
//!
//! Memory is a quantile of what was seen, never interpolated: with the default 0.99 a replica gets
//! what at least 99 of 100 samples needed. Replicas are counted as instances held at the same
//! time. What cannot be used is left out by name and number, never in silence.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use rayon::prelude::*;

use super::time::MINUTE_MS;
use super::usage::{Claim, Samples, Usage, together};
use super::{Demand, Workload, owner};
use crate::error::Diagnostic;
use crate::units::{Decimal, Mebibytes};

/// A share of all samples or of all time, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u64);

impl Quantile {
    /// The largest there is.
    pub const MAX: Quantile = Quantile(1_000_000);

    /// How many of `count`, from the smallest, lie within the quantile: at least one.
    fn rank(self, count: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(self.0)).div_ceil(1_000_000);
        u64::try_from(rank).unwrap_or(u64::MAX).max(1)
    }
}

impl FromStr for Quantile {
    type Err = String;

    /// Reads `0.99` or `99%`.
    fn from_str(text: &str) -> std::result::Result<Quantile, String> {
        let (number, scale) = match text.trim().strip_suffix('%') {
            Some(number) => (number, 10_000),
            None => (text, 1_000_000),
        };
        Decimal::parse(number)
            .map_err(|e| format!("'{text}' {e}; write for example 0.99"))?
            .scale_ceil(scale, 1)
            .and_then(|millionths| u64::try_from(millionths).ok())
            .filter(|millionths| *millionths <= 1_000_000)
            .map(Quantile)
            .ok_or_else(|| format!("'{text}' is more than 1; write for example 0.99 or 99%"))
    }
}

/// How samples become workloads.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Which share of the samples a replica's memory covers.
    pub memory: Quantile,
    /// Which share of the time, while any replica ran, the count covers; the largest is the most
    /// seen at once.
    pub count: Quantile,
    /// A workload with fewer samples is left out.
    pub min_samples: u64,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { memory: Quantile(990_000), count: Quantile::MAX, min_samples: 1 }
    }
}

/// Where a workload comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Samples, each counted once.
    pub samples: u64,
    /// Distinct pods.
    pub pods: u64,
    /// The times of the first and last sample, in milliseconds since 1970.
    pub seen_ms: Option<(i64, i64)>,
    /// The most that any sample showed.
    pub peak: Mebibytes,
    /// Whether its pods shared a device, so that each reports the memory of all.
    pub shares_device: bool,
    /// The most instances that one of its pods held at once.
    pub instances_per_pod: u64,
}

/// The demand that was found, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizing {
    /// One workload per group of pods.
    pub demand: Demand,
    /// Where each comes from, by team and name.
    pub origins: BTreeMap<(Arc<str>, Arc<str>), Origin>,
    /// What was left out and why.
    pub left_out: Vec<LeftOut>,
    /// What is odd, but used.
    pub warnings: Vec<Diagnostic>,
}

/// Something that became no demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The cause in one word, for machines.
    pub cause: &'static str,
    /// How many.
    pub count: u64,
    /// The same for people: `18 idle instances of 1g.10gb`.
    pub text: String,
}

/// Prometheus looks back this far for a value; what is closer counts as seen together.
const LOOKBACK_MS: i64 = 5 * MINUTE_MS;

/// All that one pod shows of one device.
struct Hold<'u> {
    claims: Vec<&'u Claim>,
    device: u32,
    whole_gpu: bool,
    /// The usual distance of two samples.
    step_ms: Option<i64>,
    /// The stretches of time in which it was seen, without a gap longer than a missed sample.
    stretches: Vec<(i64, i64)>,
}

impl<'u> Hold<'u> {
    fn samples(&self) -> impl Iterator<Item = (i64, u32)> {
        together(self.claims.iter().map(|claim| &claim.samples))
    }

    /// Finds the stretches, once all claims are there.
    fn settle(&mut self) {
        let tracks = self.claims.iter().flat_map(|claim| claim.samples.tracks());
        self.step_ms = tracks.filter_map(|track| track.shortest_gap_ms()).min();
        let bridge = self.step_ms.map_or(LOOKBACK_MS, |step| LOOKBACK_MS.max(step * 3 / 2));
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        for (at, _) in self.samples() {
            match stretches.last_mut() {
                Some((_, end)) if at - *end <= bridge => *end = at,
                _ => stretches.push((at, at)),
            }
        }
        self.stretches = stretches;
    }

    /// The samples without a time, by instant, the larger of doubles.
    fn untimed(&self, instants: &[u32]) -> BTreeMap<u32, u32> {
        let mut untimed = BTreeMap::new();
        for (block, mib) in self.claims.iter().flat_map(|claim| &claim.untimed) {
            let instant = instants.get(*block as usize).copied().unwrap_or(0);
            let value = untimed.entry(instant).or_insert(0);
            *value = (*mib).max(*value);
        }
        untimed
    }
}

type Pods<'u> = BTreeMap<&'u str, Vec<Hold<'u>>>;

/// Turns what was collected into workloads.
pub fn size(usage: &mut Usage, rules: Rules) -> Sizing {
    usage.settle();
    let usage = &*usage;
    let instants = instants(usage);
    let mut groups: BTreeMap<(Arc<str>, Arc<str>), Pods<'_>> = BTreeMap::new();
    for claim in usage.claims() {
        if claim.samples.is_empty() && claim.untimed.is_empty() {
            continue;
        }
        let name = match &claim.group {
            Some(group) => group.clone(),
            None => owner::of_pod(&claim.pod).into(),
        };
        let pods = groups.entry((claim.team.clone(), name)).or_default();
        let holds = pods.entry(&claim.pod).or_default();
        match holds.iter_mut().find(|hold| hold.device == claim.device) {
            Some(hold) => hold.claims.push(claim),
            None => holds.push(Hold {
                claims: vec![claim],
                device: claim.device,
                whole_gpu: usage.device(claim).profile.is_none(),
                step_ms: None,
                stretches: Vec::new(),
            }),
        }
    }
    groups.par_iter_mut().for_each(|(_, pods)| {
        pods.values_mut().flatten().for_each(Hold::settle);
    });
    let shared = shared_devices(&groups, &instants);
    let tolerance = if usage.has_scrape_times() { tolerance(&groups) } else { 0 };
    let mut sizing = Sizing::default();
    let mut workloads = Vec::new();
    let mut too_few = Vec::new();
    let mut unused = Vec::new();
    for ((team, name), pods) in &groups {
        let counting = Counting { tolerance, instants: &instants, quantile: rules.count };
        let classes = by_whole_gpus(pods, &counting);
        let alone = classes.len() == 1;
        for (gpus, pods) in classes {
            // Beside single-GPU pods of the same owner, those with several need a name of their own.
            let name: Arc<str> = match gpus {
                gpus if gpus > 0 && !alone => format!("{name}-{gpus}gpus").into(),
                _ => name.clone(),
            };
            let holds: Vec<&Hold<'_>> = pods.iter().flat_map(|(_, holds)| *holds).collect();
            let mut values = Values::default();
            let mut origin = Origin { pods: pods.len() as u64, ..Origin::default() };
            for hold in &holds {
                for (at, mib) in hold.samples() {
                    values.add(mib);
                    let (first, last) = origin.seen_ms.unwrap_or((at, at));
                    origin.seen_ms = Some((first.min(at), last.max(at)));
                }
                hold.untimed(&instants).values().for_each(|mib| values.add(*mib));
                origin.shares_device |= shared.contains(&hold.device);
            }
            origin.samples = values.count;
            origin.peak = Mebibytes(u64::from(values.largest));
            let label = format!("{team}/{name}");
            if values.count < rules.min_samples {
                too_few.push(format!("{label} ({})", values.count));
                continue;
            }
            let memory = Mebibytes(u64::from(values.quantile(rules.memory)));
            if origin.peak == Mebibytes::ZERO {
                unused.push(label);
                continue;
            }
            origin.instances_per_pod =
                pods.iter().map(|(_, holds)| counting.most(holds.iter())).max().unwrap_or(1);
            let count = if gpus == 0 {
                counting.quantile(holds.iter().copied())
            } else {
                // One GPU of each pod stands for the pod.
                counting.quantile(pods.iter().filter_map(|(_, holds)| holds.first()))
            };
            // Less than one MiB at the quantile is still somebody who holds an instance.
            let memory = memory.max(Mebibytes(1));
            let mut workload = Workload::new(team, &name, memory, count);
            if gpus > 0 {
                workload.memory = None;
                workload.whole_gpus = u32::try_from(gpus).unwrap_or(u32::MAX);
            }
            sizing.origins.insert((workload.team.clone(), workload.name.clone()), origin);
            workloads.push(workload);
        }
    }
    sizing.demand = Demand::new(workloads);
    sizing.left_out = report::left_out(usage, rules, &too_few, &unused);
    sizing.warnings = report::warnings(usage, &sizing);
    sizing
}

/// Pods by the number of whole GPUs that they hold at once; 0 stands for one GPU or instances.
fn by_whole_gpus<'p, 'u>(
    pods: &'p Pods<'u>,
    counting: &Counting<'_>,
) -> BTreeMap<u64, Vec<(&'p str, &'p Vec<Hold<'u>>)>> {
    let mut classes: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for (pod, holds) in pods {
        let whole = counting.most(holds.iter().filter(|hold| hold.whole_gpu));
        classes.entry(if whole > 1 { whole } else { 0 }).or_default().push((*pod, holds));
    }
    classes
}

/// How concurrency is counted.
struct Counting<'i> {
    tolerance: i64,
    instants: &'i [u32],
    quantile: Quantile,
}

impl Counting<'_> {
    /// The most of these that were there at once.
    fn most<'h, 'u: 'h>(&self, holds: impl Iterator<Item = &'h Hold<'u>>) -> u64 {
        self.levels(holds, 0).into_keys().next_back().unwrap_or(0)
    }

    /// The number that suffices for the wanted share of the time in which any was there.
    fn quantile<'h, 'u: 'h>(&self, holds: impl Iterator<Item = &'h Hold<'u>> + Clone) -> u64 {
        let most = self.most(holds.clone());
        if self.quantile == Quantile::MAX {
            return most;
        }
        // For a share of the time each sample stands until the next.
        let step = holds.clone().filter_map(|hold| hold.step_ms).min().unwrap_or(LOOKBACK_MS);
        let levels = self.levels(holds, step - 1);
        let rank = self.quantile.rank(levels.values().sum());
        let mut below = 0;
        for (level, time) in levels {
            below += time;
            if below >= rank {
                return level.min(most);
            }
        }
        most
    }

    /// How long (in milliseconds, or instants) how many were there; never zero of them.
    fn levels<'h, 'u: 'h>(
        &self,
        holds: impl Iterator<Item = &'h Hold<'u>>,
        longer: i64,
    ) -> BTreeMap<u64, u64> {
        let mut edges: Vec<(i64, i64)> = Vec::new();
        let mut at_instant: BTreeMap<u32, u64> = BTreeMap::new();
        for hold in holds {
            for (start, end) in &hold.stretches {
                // Both ends belong to the stretch.
                edges.push((*start, 1));
                edges.push((end.saturating_add(1 + longer.max(self.tolerance)), -1));
            }
            for instant in hold.untimed(self.instants).into_keys() {
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

/// How far apart samples may lie and still count as one look: two servers or targets never look at
/// the very same time. Where things were seen at a steady pace their stretches overlap anyway.
fn tolerance(groups: &BTreeMap<(Arc<str>, Arc<str>), Pods<'_>>) -> i64 {
    let holds = groups.values().flat_map(BTreeMap::values).flatten();
    match holds.into_iter().filter_map(|hold| hold.step_ms).min() {
        Some(step) if step <= 2 * LOOKBACK_MS => 0,
        _ => LOOKBACK_MS - 1,
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

/// Devices that several pods held in the same look: time-slicing or MPS, where each pod is said to
/// use what all of them use.
fn shared_devices(
    groups: &BTreeMap<(Arc<str>, Arc<str>), Pods<'_>>,
    instants: &[u32],
) -> BTreeSet<u32> {
    let mut by_device: BTreeMap<u32, Vec<&Hold<'_>>> = BTreeMap::new();
    for hold in groups.values().flat_map(BTreeMap::values).flatten() {
        by_device.entry(hold.device).or_default().push(hold);
    }
    // Exporters name all pods of a device in one look, so there is no tolerance.
    let counting = Counting { tolerance: 0, instants, quantile: Quantile::MAX };
    let overlap = |holds: &[&Hold<'_>]| holds.len() > 1 && counting.most(holds.iter().copied()) > 1;
    by_device.into_iter().filter(|(_, holds)| overlap(holds)).map(|(device, _)| device).collect()
}

/// Values to take a quantile of.
#[derive(Default)]
struct Values {
    few: Vec<u32>,
    /// How often each value occurs, once there are many.
    many: Vec<u64>,
    count: u64,
    largest: u32,
}

impl Values {
    const FEW: usize = 1 << 16;

    fn add(&mut self, mib: u32) {
        self.count += 1;
        self.largest = self.largest.max(mib);
        if self.many.is_empty() {
            self.few.push(mib);
            if self.few.len() == Values::FEW {
                for mib in std::mem::take(&mut self.few) {
                    self.tally(mib);
                }
            }
        } else {
            self.tally(mib);
        }
    }

    fn tally(&mut self, mib: u32) {
        let at = mib as usize;
        if at >= self.many.len() {
            self.many.resize(at + 1, 0);
        }
        self.many[at] += 1;
    }

    fn quantile(&mut self, quantile: Quantile) -> u32 {
        let rank = quantile.rank(self.count);
        if self.many.is_empty() {
            let at = usize::try_from(rank - 1).unwrap_or(usize::MAX);
            if at >= self.few.len() {
                return self.largest;
            }
            return *self.few.select_nth_unstable(at).1;
        }
        let mut below = 0;
        let at = self.many.iter().position(|count| {
            below += count;
            below >= rank
        });
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(self.largest)
    }
}

/// How much one workload's replicas used over time: for each time the most that any of them did.
/// For charts, after [`size`].
pub fn over_time(usage: &Usage, team: &str, name: &str) -> Vec<(i64, Mebibytes)> {
    let of_workload = |claim: &&Claim| {
        &*claim.team == team
            && claim.group.as_deref().unwrap_or_else(|| owner::of_pod(&claim.pod)) == name
    };
    let samples: Vec<&Samples> =
        usage.claims().filter(of_workload).map(|claim| &claim.samples).collect();
    together(samples.into_iter()).map(|(at, mib)| (at, Mebibytes(u64::from(mib)))).collect()
}

#[cfg(test)]
mod tests;
