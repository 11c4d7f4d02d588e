//! First-fit and best-fit decreasing over real placements: what a scheduler that looks at one
//! replica after the other makes of the fleet.
//!
//! Replicas come by falling priority, then by falling size. Each takes the smallest profile that
//! suits it and can still be placed on the GPU, at the highest free start as the driver does; what
//! is placed is never moved. GPUs only fill up, so a GPU that cannot take a type of replica never
//! will: for each type a cursor over the GPUs suffices (first fit), or the GPUs by what they look
//! like, of which there are few (best fit). Neither grows as GPUs × replicas.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Baseline, Sums};
use crate::demand::Demand;
use crate::fleet::Fleet;
use crate::hardware::layout::{self, Placement};
use crate::optimise::problem::{Limits, Problem};

/// Which GPU a replica gets of those that can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The first by node and index.
    First,
    /// The one with the least memory left over.
    Best,
}

/// Packs the demand as a scheduler would.
pub(crate) fn pack(problem: &Problem, demand: &Demand, fleet: &Fleet, fit: Fit) -> Baseline {
    let mut packer = Packer::new(problem, fleet, fit);
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (c, class) in problem.classes.iter().enumerate() {
        order.extend((0..class.members.len()).map(|m| (c, m)));
    }
    let least_mib: Vec<i64> = problem
        .item_types
        .iter()
        .map(|t| t.kinds.iter().map(|k| problem.kinds[*k].memory_mib).min().unwrap_or(0))
        .collect();
    order.sort_by_key(|&(c, m)| {
        let class = &problem.classes[c];
        let (member, t) = (&class.members[m], class.item_type);
        let size = (problem.item_types[t].whole_gpus, least_mib[t], member.memory_mib);
        (Reverse(class.priority), Reverse(size), member.workload)
    });
    let mut served = vec![0; problem.classes.len()];
    for (c, m) in order {
        let class = &problem.classes[c];
        let member = &class.members[m];
        for _ in 0..member.count {
            if !packer.place(class.item_type, member.memory_mib) {
                break;
            }
            served[c] += 1;
        }
    }
    let name = match fit {
        Fit::First => "first-fit-decreasing",
        Fit::Best => "best-fit-decreasing",
    };
    let priorities = super::priorities(demand);
    packer.sums().baseline(name.to_string(), problem, demand, &priorities, &served, |_| true)
}

/// What a GPU looks like: an index into [`Shapes::layouts`]; 0 is empty.
type Shape = usize;

/// The shape of a GPU that is allocated whole.
const WHOLE: Shape = usize::MAX;

/// What one more replica makes of a shape: the next shape, and the kind and memory of its instance.
type Step = Option<(Shape, usize, u64)>;

/// The shapes of one pool's GPUs seen so far, and what each type of replica makes of them.
struct Shapes {
    layouts: Vec<Vec<Placement>>,
    free_mib: Vec<u64>,
    ids: BTreeMap<Vec<Placement>, Shape>,
    /// For each type, for each shape; `None` is not known yet.
    steps: Vec<Vec<Option<Step>>>,
    /// For each type, the profiles that suit it, the smallest first.
    profiles: Vec<Vec<usize>>,
}

struct Gpu {
    group: usize,
    shape: Shape,
}

/// The GPUs of one board on one node.
struct Group {
    pool: usize,
    gpus: Vec<usize>,
    empty: usize,
    /// No GPU before this position is empty.
    cursor: usize,
}

struct Packer<'p> {
    problem: &'p Problem,
    fit: Fit,
    shapes: Vec<Shapes>,
    gpus: Vec<Gpu>,
    groups: Vec<Group>,
    /// First fit: for each type, no GPU (or group, for whole GPUs) before this takes it.
    cursors: Vec<usize>,
    /// Best fit: for each pool, for each shape, the GPUs.
    buckets: Vec<Vec<BTreeSet<usize>>>,
    /// Best fit: for each pool, the groups by empty GPUs.
    by_empty: Vec<BTreeSet<(usize, usize)>>,
    placed: u64,
    placed_mib: u64,
    allocated_mib: u64,
    /// What is left of each team's quota.
    left: Vec<Limits>,
}

impl<'p> Packer<'p> {
    fn new(problem: &'p Problem, fleet: &Fleet, fit: Fit) -> Self {
        let mut packer = Packer {
            problem,
            fit,
            shapes: (0..problem.pools.len()).map(|pool| Shapes::new(problem, pool)).collect(),
            gpus: Vec::with_capacity(fleet.gpu_count()),
            groups: Vec::new(),
            cursors: vec![0; problem.item_types.len()],
            buckets: vec![vec![BTreeSet::new()]; problem.pools.len()],
            by_empty: vec![BTreeSet::new(); problem.pools.len()],
            placed: 0,
            placed_mib: 0,
            allocated_mib: 0,
            left: problem.quotas.clone(),
        };
        for node in fleet.nodes() {
            let first = packer.groups.len();
            for board in &node.gpus {
                let Ok(pool) = problem.pools.binary_search_by(|p| p.board.id.cmp(&board.id)) else {
                    continue;
                };
                let of_node = packer.groups[first..].iter().position(|g| g.pool == pool);
                let group = of_node.map_or(packer.groups.len(), |at| first + at);
                if of_node.is_none() {
                    packer.groups.push(Group { pool, gpus: Vec::new(), empty: 0, cursor: 0 });
                }
                packer.groups[group].gpus.push(packer.gpus.len());
                packer.groups[group].empty += 1;
                packer.gpus.push(Gpu { group, shape: 0 });
            }
        }
        if fit == Fit::Best {
            for (index, gpu) in packer.gpus.iter().enumerate() {
                packer.buckets[packer.groups[gpu.group].pool][0].insert(index);
            }
            for (index, group) in packer.groups.iter().enumerate() {
                packer.by_empty[group.pool].insert((group.empty, index));
            }
        }
        packer
    }

    /// Places one replica of a type; false where no GPU takes it.
    fn place(&mut self, of_type: usize, memory_mib: i64) -> bool {
        let whole = self.problem.item_types[of_type].whole_gpus as usize;
        let done =
            if whole > 0 { self.place_whole(of_type, whole) } else { self.place_instance(of_type) };
        let Some(instance_mib) = done else { return false };
        let all_memory = self.problem.item_types[of_type].all_memory;
        self.placed += 1;
        self.placed_mib += if all_memory { instance_mib } else { memory_mib as u64 };
        self.allocated_mib += instance_mib;
        true
    }

    fn place_instance(&mut self, of_type: usize) -> Option<u64> {
        let gpu = match self.fit {
            Fit::First => self.first_gpu(of_type)?,
            Fit::Best => self.best_gpu(of_type)?,
        };
        let pool = self.groups[self.gpus[gpu].group].pool;
        let shape = self.gpus[gpu].shape;
        let (next, kind, memory_mib) =
            self.shapes[pool].step(self.problem, pool, shape, of_type)?;
        self.take_of_quota(of_type, kind)?;
        self.reshape(gpu, next);
        Some(memory_mib)
    }

    /// Takes an instance, or whole GPUs, of a kind out of the quota of the replica's team; `None`
    /// where too little is left.
    fn take_of_quota(&mut self, of_type: usize, kind: usize) -> Option<()> {
        let item_type = &self.problem.item_types[of_type];
        let Some(quota) = item_type.quota else { return Some(()) };
        let (mib, parts) = self.problem.takes(kind, item_type.whole_gpus);
        let Limits { memory_mib, gpu_parts } = &mut self.left[quota];
        if memory_mib.is_some_and(|left| left < mib) || gpu_parts.is_some_and(|left| left < parts) {
            return None;
        }
        memory_mib.iter_mut().for_each(|left| *left -= mib);
        gpu_parts.iter_mut().for_each(|left| *left -= parts);
        Some(())
    }

    fn first_gpu(&mut self, of_type: usize) -> Option<usize> {
        loop {
            let at = self.cursors[of_type];
            let gpu = self.gpus.get(at)?;
            let pool = self.groups[gpu.group].pool;
            if self.shapes[pool].step(self.problem, pool, gpu.shape, of_type).is_some() {
                return Some(at);
            }
            self.cursors[of_type] += 1;
        }
    }

    fn best_gpu(&mut self, of_type: usize) -> Option<usize> {
        let mut best: Option<(u64, usize)> = None;
        for pool in 0..self.buckets.len() {
            for shape in 0..self.buckets[pool].len() {
                let Some(&gpu) = self.buckets[pool][shape].first() else { continue };
                let step = self.shapes[pool].step(self.problem, pool, shape, of_type);
                if let Some((next, ..)) = step {
                    let rank = (self.shapes[pool].free_mib[next], gpu);
                    best = Some(best.map_or(rank, |b| b.min(rank)));
                }
            }
        }
        best.map(|(_, gpu)| gpu)
    }

    /// Allocates whole GPUs of one board on one node; returns their memory.
    fn place_whole(&mut self, of_type: usize, whole: usize) -> Option<u64> {
        let kinds = &self.problem.item_types[of_type].kinds;
        let takes = |pool: usize| kinds.iter().any(|k| self.problem.kinds[*k].pool == pool);
        let group = match self.fit {
            Fit::First => {
                let fits = |g: &Group| g.empty >= whole && takes(g.pool);
                let from = self.cursors[of_type];
                let found = self.groups[from..].iter().position(fits).map(|at| from + at);
                self.cursors[of_type] = found.unwrap_or(self.groups.len());
                found?
            }
            Fit::Best => {
                let pools = (0..self.by_empty.len()).filter(|pool| takes(*pool));
                let of_pool = |pool: usize| self.by_empty[pool].range((whole, 0)..).next();
                pools.filter_map(of_pool).min()?.1
            }
        };
        let pool = self.groups[group].pool;
        // The whole GPU is the last kind of its pool.
        let kind = *kinds.iter().rfind(|k| self.problem.kinds[**k].pool == pool)?;
        self.take_of_quota(of_type, kind)?;
        for _ in 0..whole {
            let of_group = &mut self.groups[group];
            while self.gpus[of_group.gpus[of_group.cursor]].shape != 0 {
                of_group.cursor += 1;
            }
            let gpu = of_group.gpus[of_group.cursor];
            self.reshape(gpu, WHOLE);
        }
        Some(self.problem.pools[pool].board.memory.0 * whole as u64)
    }

    fn reshape(&mut self, gpu: usize, next: Shape) {
        let group = self.gpus[gpu].group;
        let before = std::mem::replace(&mut self.gpus[gpu].shape, next);
        let of_group = &mut self.groups[group];
        let (pool, empty) = (of_group.pool, of_group.empty);
        if before == 0 {
            of_group.empty -= 1;
        }
        if self.fit == Fit::First {
            return;
        }
        self.buckets[pool][before].remove(&gpu);
        if next != WHOLE {
            let buckets = &mut self.buckets[pool];
            buckets.resize(buckets.len().max(next + 1), BTreeSet::new());
            buckets[next].insert(gpu);
        }
        if before == 0 {
            self.by_empty[pool].remove(&(empty, group));
            self.by_empty[pool].insert((empty - 1, group));
        }
    }

    /// What it came to. Only instances that a replica takes are made: the rest of a GPU in use is
    /// unusable, a GPU that is not in use is free.
    fn sums(&self) -> Sums {
        let mut sums = Sums {
            placed: self.placed,
            placed_mib: self.placed_mib,
            allocated_mib: self.allocated_mib,
            offered_mib: self.allocated_mib,
            ..Sums::default()
        };
        for gpu in &self.gpus {
            let memory_mib = self.problem.pools[self.groups[gpu.group].pool].board.memory.0;
            sums.fleet_mib += memory_mib;
            if gpu.shape == 0 {
                sums.offered_mib += memory_mib;
            } else {
                sums.gpus_used += 1;
                sums.used_mib += memory_mib;
            }
        }
        sums
    }
}

impl Shapes {
    fn new(problem: &Problem, pool: usize) -> Shapes {
        let board = &problem.pools[pool].board;
        let profiles = problem
            .item_types
            .iter()
            .map(|t| {
                let of_pool = t.kinds.iter().map(|k| &problem.kinds[*k]).filter(|k| k.pool == pool);
                let mut profiles: Vec<usize> = of_pool.filter_map(|k| k.profile).collect();
                profiles.sort_by_key(|p| {
                    let profile = &board.profiles[*p];
                    let scarce = !profile.name.is_plain();
                    (profile.memory, profile.memory_slices, profile.compute_slices, scarce, *p)
                });
                profiles
            })
            .collect();
        Shapes {
            layouts: vec![Vec::new()],
            free_mib: vec![board.memory.0],
            ids: BTreeMap::from([(Vec::new(), 0)]),
            steps: vec![Vec::new(); problem.item_types.len()],
            profiles,
        }
    }

    fn step(&mut self, problem: &Problem, pool: usize, shape: Shape, of_type: usize) -> Step {
        if shape == WHOLE {
            return None;
        }
        if let Some(Some(known)) = self.steps[of_type].get(shape) {
            return *known;
        }
        let step = self.find_step(problem, pool, shape, of_type);
        let steps = &mut self.steps[of_type];
        if steps.len() <= shape {
            steps.resize(shape + 1, None);
        }
        steps[shape] = Some(step);
        step
    }

    fn find_step(&mut self, problem: &Problem, pool: usize, shape: Shape, of_type: usize) -> Step {
        let board = &problem.pools[pool].board;
        for &profile in &self.profiles[of_type] {
            for &start in board.profiles[profile].starts.iter().rev() {
                let mut layout = self.layouts[shape].clone();
                layout.push(Placement { start, profile });
                if layout::check(board, &layout).is_err() {
                    continue;
                }
                layout.sort();
                let next = match self.ids.get(&layout) {
                    Some(known) => *known,
                    None => {
                        let taken: u32 =
                            layout.iter().map(|p| board.profiles[p.profile].memory_slices).sum();
                        let free = u64::from(board.memory_slices.saturating_sub(taken));
                        self.free_mib.push(board.memory.0 * free / u64::from(board.memory_slices));
                        self.layouts.push(layout.clone());
                        self.ids.insert(layout, self.layouts.len() - 1);
                        self.layouts.len() - 1
                    }
                };
                let is_it = |k: &&usize| {
                    let kind = &problem.kinds[**k];
                    kind.pool == pool && kind.profile == Some(profile)
                };
                let kind = problem.item_types[of_type].kinds.iter().find(is_it)?;
                return Some((next, *kind, board.profiles[profile].memory.0));
            }
        }
        None
    }
}
