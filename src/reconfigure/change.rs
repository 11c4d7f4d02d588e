//! The cheapest change from the instances that a GPU has to those that it shall have.
//!
//! Exact, by search: a GPU has a handful of instances, so every choice of what to keep can be
//! tried. What runs is worth more than what is idle, and what exists more than what must be created:
//! first the fewest busy instances are destroyed (none at all, unless disruption is allowed), then
//! the fewest instances, then the fewest are created. Pure functions of plain values: the
//! optimiser prices plans with them, and `apply` carries their result out.

use std::cmp::Ordering;

use crate::fleet::observed::{InstanceSpec, ObservedGpu, ObservedInstance};
use crate::hardware::Board;
use crate::hardware::layout::{self, Counts, Placement};

/// An instance that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentInstance {
    /// What it is and where.
    pub placement: Placement,
    /// Its compute instances.
    pub compute: Vec<PresentCompute>,
}

/// A compute instance that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentCompute {
    /// Compute slices.
    pub slices: u32,
    /// Whether something runs in it.
    pub busy: bool,
}

impl PresentInstance {
    /// An ordinary instance, with one compute instance that takes all of it.
    pub fn whole(board: &Board, placement: Placement, busy: bool) -> PresentInstance {
        let slices = board.profiles[placement.profile].compute_slices;
        PresentInstance { placement, compute: vec![PresentCompute { slices, busy }] }
    }

    /// Whether something runs in it.
    pub fn is_busy(&self) -> bool {
        self.compute.iter().any(|c| c.busy)
    }
}

impl From<&ObservedInstance> for PresentInstance {
    fn from(instance: &ObservedInstance) -> PresentInstance {
        let compute = instance
            .compute
            .iter()
            .map(|c| PresentCompute { slices: c.slices, busy: !c.processes.is_empty() });
        PresentInstance { placement: instance.placement(), compute: compute.collect() }
    }
}

/// What a GPU has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresentGpu {
    /// Its instances.
    pub instances: Vec<PresentInstance>,
    /// Whether MIG is off and something runs on the whole GPU: its mode cannot change without
    /// ending that.
    pub in_use_whole: bool,
}

impl PresentGpu {
    /// Whether something runs in an instance.
    pub fn is_busy(&self) -> bool {
        self.instances.iter().any(PresentInstance::is_busy)
    }
}

impl From<Vec<PresentInstance>> for PresentGpu {
    fn from(instances: Vec<PresentInstance>) -> PresentGpu {
        PresentGpu { instances, in_use_whole: false }
    }
}

impl From<&ObservedGpu> for PresentGpu {
    fn from(gpu: &ObservedGpu) -> PresentGpu {
        PresentGpu {
            instances: gpu.known_instances().iter().map(PresentInstance::from).collect(),
            in_use_whole: gpu.mode.is_none_or(|m| !m.current) && !gpu.processes.is_empty(),
        }
    }
}

/// What to do with the instances of one GPU. Indices are into the slice of present instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Left as they are.
    pub keep: Vec<usize>,
    /// GPU instances that stay, while compute instances in them go or come.
    pub refit: Vec<Refit>,
    /// Destroyed.
    pub destroy: Vec<usize>,
    /// Made, ordered by start, after everything is destroyed that has to go.
    pub create: Vec<Create>,
}

/// New compute instances for a GPU instance that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refit {
    /// Which present instance.
    pub instance: usize,
    /// Which of its compute instances go, as indices into [`PresentInstance::compute`].
    pub destroy: Vec<usize>,
    /// Compute slices of those that come, largest first.
    pub create: Vec<u32>,
}

/// An instance to make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Create {
    /// What and where.
    pub placement: Placement,
    /// Compute slices of its compute instances, largest first.
    pub compute: Vec<u32>,
}

impl Change {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.refit.is_empty() && self.destroy.is_empty() && self.create.is_empty()
    }

    /// Instances that lose their contents: destroyed, or with a compute instance destroyed.
    pub fn destroyed(&self) -> usize {
        self.destroy.len() + self.refit.iter().filter(|r| !r.destroy.is_empty()).count()
    }
}

/// Why a GPU cannot become what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// No layout of the board holds it, whatever the present state.
    Impossible,
    /// Busy instances are in the way.
    Busy {
        /// The change that ends them, to show what is held up; it must not be made.
        change: Box<Change>,
        /// The fewest busy instances whose end would free what is needed, as indices into the present ones.
        in_the_way: Vec<usize>,
        /// The nearest that is possible while everything busy stays: as many memory slices of what
        /// is wanted as can be had. Sorted by start, busy instances included.
        nearest: Vec<Placement>,
        /// What that lacks, by profile index.
        missing: Counts,
    },
}

/// The cheapest change that makes `wanted` out of `present`.
///
/// # Errors
/// No layout holds `wanted`, or only one that ends busy instances while `allow_disruption` is
/// false; then with those that are in the way.
pub fn plan(
    board: &Board,
    present: &[PresentInstance],
    wanted: &[InstanceSpec],
    allow_disruption: bool,
) -> Result<Change, Blocked> {
    let mut counts = vec![0; board.profiles.len()];
    for spec in wanted {
        counts[spec.profile] += 1;
    }
    if let Some(change) = search(board, present, wanted, &counts, allow_disruption) {
        return Ok(change);
    }
    // Allowed to end what is busy, the search ends as little of it as possible: what is in the way.
    let Some(change) = search(board, present, wanted, &counts, true) else {
        return Err(Blocked::Impossible);
    };
    let refitted = change
        .refit
        .iter()
        .filter(|r| r.destroy.iter().any(|&c| present[r.instance].compute[c].busy));
    let mut in_the_way: Vec<usize> = change
        .destroy
        .iter()
        .copied()
        .filter(|&i| present[i].is_busy())
        .chain(refitted.map(|r| r.instance))
        .collect();
    in_the_way.sort_unstable();
    let (nearest, missing) = nearest(board, present, &counts);
    Err(Blocked::Busy { change: Box::new(change), in_the_way, nearest, missing })
}

/// The fewest instances that must go so that the GPU can hold `counts` (by profile index, each
/// instance with one compute instance that takes all of it). `None` where no layout holds them, or
/// only one that ends busy instances while `allow_disruption` is false.
pub fn fewest_destroyed(
    board: &Board,
    present: &[PresentInstance],
    counts: &[u32],
    allow_disruption: bool,
) -> Option<u32> {
    let wanted: Vec<InstanceSpec> = (0..board.profiles.len())
        .flat_map(|p| {
            let count = counts.get(p).copied().unwrap_or(0);
            std::iter::repeat_n(InstanceSpec::whole(board, p), count as usize)
        })
        .collect();
    let change = search(board, present, &wanted, counts, allow_disruption)?;
    u32::try_from(change.destroyed()).ok()
}

/// The change to an exact layout, placements included: how a saved state is restored.
pub fn restore(present: &[PresentInstance], target: &[Create]) -> Change {
    let mut change = Change::default();
    let mut missing: Vec<&Create> = target.iter().collect();
    for (i, instance) in present.iter().enumerate() {
        match missing.iter().position(|t| t.placement == instance.placement) {
            None => change.destroy.push(i),
            Some(at) => match refit(&instance.compute, &missing.swap_remove(at).compute) {
                None => change.keep.push(i),
                Some((destroy, create)) => {
                    change.refit.push(Refit { instance: i, destroy, create });
                }
            },
        }
    }
    change.create = missing.into_iter().cloned().collect();
    change.create.sort();
    change
}

/// What to do so that compute instances `present` become `wanted`; `None` where nothing is. Busy
/// ones are kept before idle ones.
fn refit(present: &[PresentCompute], wanted: &[u32]) -> Option<(Vec<usize>, Vec<u32>)> {
    let mut create = wanted.to_vec();
    let mut order: Vec<usize> = (0..present.len()).collect();
    order.sort_by_key(|&i| !present[i].busy);
    let mut destroy: Vec<usize> = Vec::new();
    for i in order {
        match create.iter().position(|&slices| slices == present[i].slices) {
            Some(at) => {
                create.remove(at);
            }
            None => destroy.push(i),
        }
    }
    destroy.sort_unstable();
    create.sort_unstable_by(|a, b| b.cmp(a));
    (!destroy.is_empty() || !create.is_empty()).then_some((destroy, create))
}

/// What a change costs, in the order in which it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    busy: usize,
    destroyed: usize,
    created: usize,
}

struct Search<'a> {
    board: &'a Board,
    present: &'a [PresentInstance],
    wanted: &'a [InstanceSpec],
    counts: &'a [u32],
    allow_disruption: bool,
    best: Option<(Cost, Change)>,
}

fn search(
    board: &Board,
    present: &[PresentInstance],
    wanted: &[InstanceSpec],
    counts: &[u32],
    allow_disruption: bool,
) -> Option<Change> {
    let mut search = Search { board, present, wanted, counts, allow_disruption, best: None };
    let mut left = counts.to_vec();
    search.choose(0, &mut left, &mut Vec::new(), Cost::default());
    search.best.map(|(_, change)| change)
}

impl Search<'_> {
    /// Decides for the present instance `next` and all after it whether they stay.
    fn choose(&mut self, next: usize, left: &mut Counts, kept: &mut Vec<usize>, cost: Cost) {
        if self.best.as_ref().is_some_and(|(best, _)| cost.cmp(best) == Ordering::Greater) {
            return;
        }
        let Some(instance) = self.present.get(next) else {
            self.judge(kept, cost);
            return;
        };
        let profile = instance.placement.profile;
        if left.get(profile).is_some_and(|n| *n > 0) {
            left[profile] -= 1;
            kept.push(next);
            self.choose(next + 1, left, kept, cost);
            kept.pop();
            left[profile] += 1;
        }
        let busy = instance.is_busy();
        if !busy || self.allow_disruption {
            let cost =
                Cost { busy: cost.busy + usize::from(busy), destroyed: cost.destroyed + 1, ..cost };
            self.choose(next + 1, left, kept, cost);
        }
    }

    /// Completes the choice: places the rest around what is kept, and assigns the specs.
    fn judge(&mut self, kept: &[usize], mut cost: Cost) {
        let fixed: Vec<Placement> = kept.iter().map(|&i| self.present[i].placement).collect();
        let mut rest = self.counts.to_vec();
        for placement in &fixed {
            rest[placement.profile] -= 1;
        }
        let Some(layout) = layout::place(self.board, &rest, &fixed) else {
            return;
        };
        let mut change = Change {
            destroy: (0..self.present.len()).filter(|i| !kept.contains(i)).collect(),
            ..Change::default()
        };
        let mut new: Vec<Placement> = layout.into_iter().filter(|p| !fixed.contains(p)).collect();
        for profile in 0..self.board.profiles.len() {
            let of_profile: Vec<usize> = kept
                .iter()
                .copied()
                .filter(|&i| self.present[i].placement.profile == profile)
                .collect();
            let specs: Vec<&InstanceSpec> =
                self.wanted.iter().filter(|s| s.profile == profile).collect();
            let Some((extra, refits, left)) = self.assign_specs(&of_profile, &specs) else {
                return;
            };
            cost.busy += extra.busy;
            cost.destroyed += extra.destroyed;
            cost.created += extra.created;
            for &i in &of_profile {
                match refits.iter().find(|r| r.instance == i) {
                    Some(refit) => change.refit.push(refit.clone()),
                    None => change.keep.push(i),
                }
            }
            for spec in left {
                let Some(at) = new.iter().position(|p| p.profile == profile) else {
                    return;
                };
                cost.created += 1;
                change
                    .create
                    .push(Create { placement: new.remove(at), compute: spec.compute.clone() });
            }
        }
        change.keep.sort_unstable();
        change.refit.sort_by_key(|r| r.instance);
        change.create.sort();
        if self.best.as_ref().is_none_or(|(best, _)| cost < *best) {
            self.best = Some((cost, change));
        }
    }

    /// Gives each kept instance of a profile one of the wanted specs, at the least cost: the cost,
    /// what must be refitted for it, and the specs that are left to create.
    fn assign_specs<'s>(
        &self,
        kept: &[usize],
        specs: &[&'s InstanceSpec],
    ) -> Option<(Cost, Vec<Refit>, Vec<&'s InstanceSpec>)> {
        let Some((&first, rest)) = kept.split_first() else {
            return Some((Cost::default(), Vec::new(), specs.to_vec()));
        };
        let mut best: Option<(Cost, Vec<Refit>, Vec<&InstanceSpec>)> = None;
        for (at, spec) in specs.iter().enumerate() {
            // Equal specs are interchangeable: try the first of each.
            if specs[..at].iter().any(|s| s == spec) {
                continue;
            }
            let mut cost = Cost::default();
            let change = refit(&self.present[first].compute, &spec.compute);
            if let Some((destroy, create)) = &change {
                let busy = destroy.iter().any(|&c| self.present[first].compute[c].busy);
                if busy && !self.allow_disruption {
                    continue;
                }
                cost.busy = usize::from(busy);
                cost.destroyed = usize::from(!destroy.is_empty());
                cost.created = usize::from(!create.is_empty());
            }
            let mut remaining = specs.to_vec();
            remaining.remove(at);
            let Some((more, mut refits, left)) = self.assign_specs(rest, &remaining) else {
                continue;
            };
            cost.busy += more.busy;
            cost.destroyed += more.destroyed;
            cost.created += more.created;
            if best.as_ref().is_none_or(|(b, ..)| cost < *b) {
                if let Some((destroy, create)) = change {
                    refits.push(Refit { instance: first, destroy, create });
                }
                best = Some((cost, refits, left));
            }
        }
        best
    }
}

/// The layout that keeps everything busy and holds the most of `counts`, by memory slices, then by
/// compute slices, then by instances, and what it lacks.
fn nearest(board: &Board, present: &[PresentInstance], counts: &[u32]) -> (Vec<Placement>, Counts) {
    let busy: Vec<Placement> =
        present.iter().filter(|p| p.is_busy()).map(|p| p.placement).collect();
    // Busy instances that are wanted anyway are had already.
    let mut open = counts.to_vec();
    for placement in &busy {
        if let Some(count) = open.get_mut(placement.profile) {
            *count = count.saturating_sub(1);
        }
    }
    let mut best: ([u32; 3], Vec<Placement>, Counts) = ([0; 3], busy.clone(), vec![0; open.len()]);
    let mut some = vec![0; open.len()];
    loop {
        let mut worth = [0; 3];
        for (n, profile) in some.iter().zip(&board.profiles) {
            worth[0] += n * profile.memory_slices;
            worth[1] += n * profile.compute_slices;
            worth[2] += n;
        }
        if worth > best.0
            && let Some(layout) = layout::place(board, &some, &busy)
        {
            best = (worth, layout, some.clone());
        }
        // Counts up like an odometer through every part of `open`.
        let Some(digit) = (0..some.len()).find(|&d| some[d] < open[d]) else {
            break;
        };
        some[..digit].fill(0);
        some[digit] += 1;
    }
    let missing = open.iter().zip(&best.2).map(|(wanted, had)| wanted - had).collect();
    let mut layout = best.1;
    layout.sort();
    (layout, missing)
}

#[cfg(test)]
mod tests;
