//! The cheapest change from the instances that a GPU has to those that it shall have.
//!
//! Exact, by search: a GPU has a handful of instances, so every choice of what to keep can be
//! tried. What runs is worth more than what is idle, and what exists more than what must be created:
//! first the fewest busy instances are destroyed (none at all, unless disruption is allowed), then
//! the fewest instances, then the fewest are created. A compute instance that stays leaves room for
//! those that come beside it. Pure functions of plain values: the optimiser prices plans with them,
//! and `apply` carries their result out.

use std::cmp::{Ordering, Reverse};
use std::ops::Range;

use crate::fleet::observed::{InstanceSpec, ObservedGpu, ObservedInstance, counts};
use crate::hardware::layout::{self, Counts, Placement};
use crate::hardware::{Board, compute};

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
    /// Its first compute slice within the GPU instance, where that is known.
    pub start: Option<u32>,
    /// Whether something runs in it.
    pub busy: bool,
}

impl PresentCompute {
    /// The compute slices that it takes within the GPU instance, where that is known.
    pub fn place(&self) -> Option<Range<u32>> {
        self.start.map(|start| start..start.saturating_add(self.slices))
    }
}

impl PresentInstance {
    /// An ordinary instance, with one compute instance that takes all of it.
    pub fn whole(board: &Board, placement: Placement, busy: bool) -> PresentInstance {
        let slices = board.profiles[placement.profile].compute_slices;
        PresentInstance {
            placement,
            compute: vec![PresentCompute { slices, start: Some(0), busy }],
        }
    }

    /// Whether something runs in it.
    pub fn is_busy(&self) -> bool {
        self.compute.iter().any(|c| c.busy)
    }
}

impl From<&ObservedInstance> for PresentInstance {
    fn from(instance: &ObservedInstance) -> PresentInstance {
        let compute = instance.compute.iter().map(|c| PresentCompute {
            slices: c.slices,
            start: c.start,
            busy: !c.processes.is_empty(),
        });
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

    /// Instances that stay.
    pub fn stays(&self) -> usize {
        self.keep.len() + self.refit.len()
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
    plan_any(board, present, &[wanted.to_vec()], allow_disruption)
}

/// The cheapest change that makes one of `wanted` out of `present`, the first of those that cost the
/// same.
///
/// # Errors
/// As [`plan`], of all of them.
pub fn plan_any(
    board: &Board,
    present: &[PresentInstance],
    wanted: &[Vec<InstanceSpec>],
    allow_disruption: bool,
) -> Result<Change, Blocked> {
    let cheapest = |allow_disruption| {
        let found = wanted.iter().filter_map(|wanted| {
            let counts = counts(board, wanted);
            let (cost, change) = search(board, present, wanted, &counts, allow_disruption)?;
            Some((cost, change, counts))
        });
        found.min_by_key(|(cost, ..)| *cost)
    };
    if let Some((_, change, _)) = cheapest(allow_disruption) {
        return Ok(change);
    }
    // Allowed to end what is busy, the search ends as little of it as possible: what is in the way.
    let Some((_, change, counts)) = cheapest(true) else {
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
    let (_, change) = search(board, present, &wanted, counts, allow_disruption)?;
    u32::try_from(change.destroyed()).ok()
}

/// The change to an exact layout, placements included: how a saved state is restored. `anew`: where
/// compute instances must come, the idle ones beside them are destroyed and created again.
pub fn restore(
    board: &Board,
    present: &[PresentInstance],
    target: &[Create],
    anew: bool,
) -> Change {
    let mut change = Change::default();
    let mut missing: Vec<&Create> = target.iter().collect();
    for (i, instance) in present.iter().enumerate() {
        match missing.iter().position(|t| t.placement == instance.placement) {
            None => change.destroy.push(i),
            Some(at) => {
                let room = board.profiles[instance.placement.profile].compute_slices;
                let wanted = &missing.swap_remove(at).compute;
                match refit(room, &instance.compute, wanted, anew) {
                    None => change.keep.push(i),
                    Some((destroy, create)) => {
                        change.refit.push(Refit { instance: i, destroy, create });
                    }
                }
            }
        }
    }
    change.create = missing.into_iter().cloned().collect();
    change.create.sort();
    change
}

/// What to do so that the compute instances `present` of a GPU instance of `room` compute slices
/// become `wanted`; `None` where nothing is. The fewest busy ones are destroyed, then the fewest of
/// all, such that what stays leaves room for what comes. `anew`: none that is idle stays beside what
/// comes.
fn refit(
    room: u32,
    present: &[PresentCompute],
    wanted: &[u32],
    anew: bool,
) -> Option<(Vec<usize>, Vec<u32>)> {
    let sorted = |mut sizes: Vec<u32>| {
        sizes.sort_unstable();
        sizes
    };
    if sorted(present.iter().map(|c| c.slices).collect()) == sorted(wanted.to_vec()) {
        return None;
    }
    let mut best: Option<(_, Vec<usize>, Vec<u32>)> = None;
    // More of them than slices is nothing that a GPU has, and too many to try every choice.
    let choices =
        if present.len() > room.min(MOST_COMPUTE) as usize { 1 } else { 1 << present.len() };
    for staying in 0..choices {
        let (stay, destroy): (Vec<usize>, Vec<usize>) =
            (0..present.len()).partition(|&i| staying >> i & 1 == 1);
        let of = |list: &[usize]| list.iter().map(|&i| present[i]).collect::<Vec<_>>();
        let Some(create) = beside(room, &of(&stay), wanted, anew) else { continue };
        let busy = destroy.iter().filter(|&&i| present[i].busy).count();
        // Of equal ones the first stays.
        let cost = (busy, destroy.len(), Reverse(destroy.clone()));
        if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
            best = Some((cost, destroy, create));
        }
    }
    best.map(|(_, destroy, create)| (destroy, create))
}

/// What must come beside compute instances that stay, largest first; `None` where one of them is not
/// wanted, or is in the way.
fn beside(room: u32, stay: &[PresentCompute], wanted: &[u32], anew: bool) -> Option<Vec<u32>> {
    let mut create = wanted.to_vec();
    for compute in stay {
        create.remove(create.iter().position(|&slices| slices == compute.slices)?);
    }
    create.sort_unstable_by(|a, b| b.cmp(a));
    // An empty instance holds all that a file or a saved state asks for.
    if create.is_empty() || stay.is_empty() {
        return Some(create);
    }
    let known: Vec<Range<u32>> = stay.iter().filter_map(PresentCompute::place).collect();
    // A busy one is taken to be where it leaves room, if nobody knows; an idle one need not stay.
    let unknown = stay.iter().filter(|compute| compute.start.is_none());
    if stay.iter().any(|compute| !compute.busy && (anew || compute.start.is_none())) {
        return None;
    }
    let new: Vec<u32> = create.iter().copied().chain(unknown.map(|c| c.slices)).collect();
    compute::arrange(room, &known, &new).map(|_| create)
}

/// More compute instances than any GPU instance has: today 7.
const MOST_COMPUTE: u32 = 8;

/// What a change costs, in the order in which it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    /// GPU instances that lose something busy.
    busy: usize,
    /// GPU instances that lose something, or go.
    destroyed: usize,
    /// Compute instances that go.
    compute: usize,
    /// GPU instances that come, or that get something.
    created: usize,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Cost) {
        self.busy += more.busy;
        self.destroyed += more.destroyed;
        self.compute += more.compute;
        self.created += more.created;
    }
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
) -> Option<(Cost, Change)> {
    let mut search = Search { board, present, wanted, counts, allow_disruption, best: None };
    let mut left = counts.to_vec();
    search.choose(0, &mut left, &mut Vec::new(), Cost::default());
    search.best
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
            let mut cost = cost;
            let compute = instance.compute.len();
            cost += Cost { busy: usize::from(busy), destroyed: 1, compute, created: 0 };
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
            cost += extra;
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
            let room = self.board.profiles[spec.profile].compute_slices;
            let change = refit(room, &self.present[first].compute, &spec.compute, false);
            if let Some((destroy, create)) = &change {
                let busy = destroy.iter().any(|&c| self.present[first].compute[c].busy);
                if busy && !self.allow_disruption {
                    continue;
                }
                cost.busy = usize::from(busy);
                cost.destroyed = usize::from(!destroy.is_empty());
                cost.compute = destroy.len();
                cost.created = usize::from(!create.is_empty());
            }
            let mut remaining = specs.to_vec();
            remaining.remove(at);
            let Some((more, mut refits, left)) = self.assign_specs(rest, &remaining) else {
                continue;
            };
            cost += more;
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
