//! From counts to GPUs: which GPU of which node gets which layout, and which replica is assigned
//! to which instance.
//!
//! Every choice here is free as far as the goal is concerned, so it is made for people: as few
//! distinct nodes as possible, teams kept together, the same answer for the same input. What the
//! columns of the program mean is asked of the files in `constraints`.

mod arrange;
mod layouts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::constraints::assignment::Queues;
use super::problem::Problem;
use super::stages::Solution;
use super::supply::{InstanceKind, Pattern};
use crate::demand::{Demand, Workload};
use crate::error::{Error, Result};
use crate::fleet::{Fleet, KubernetesNode};
use crate::hardware::layout::{self, Placement};
use crate::hardware::{Board, BoardRef};
use crate::plan::{Assignment, GpuPlan, Instance, InstanceProfile, Strategy};
use arrange::{FreeGpus, GpuUse, arrange};
use layouts::Layouts;

/// The GPUs of a plan.
pub(crate) struct Placed {
    /// Every GPU of the fleet, by node and index.
    pub gpus: Vec<GpuPlan>,
    /// For each workload of the demand, the replicas that are placed.
    pub replicas: Vec<u64>,
}

/// Where a GPU is: index of its node and its index there.
type Slot = (usize, usize);

/// Lays a solution out, with the replicas of one period. The layouts are those of all periods.
///
/// # Errors
/// An internal error where the counts contradict each other.
pub(crate) fn lay_out(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    solution: &Solution,
    period: usize,
) -> Result<Placed> {
    let mut assigner = Assigner::new(demand, fleet, problem, solution, period);
    for pool in 0..problem.pools.len() {
        assigner.lay_out_pool(pool)?;
    }
    if !assigner.queues.is_empty() {
        return Err(Error::internal("replicas are left over after every GPU is laid out"));
    }
    let gpus = assigner.gpus.into_iter().flatten().flatten().collect();
    Ok(Placed { gpus, replicas: assigner.replicas })
}

struct Assigner<'a> {
    demand: &'a Demand,
    fleet: &'a Fleet,
    problem: &'a Problem,
    solution: &'a Solution,
    queues: Queues,
    /// Replicas assigned so far, by workload.
    replicas: Vec<u64>,
    node_names: Vec<Arc<str>>,
    /// For each node, the index of its type.
    node_types: Vec<usize>,
    /// The result, by node and index.
    gpus: Vec<Vec<Option<GpuPlan>>>,
}

/// A pool that is being laid out.
struct PoolLayout {
    pool: usize,
    board: BoardRef,
    board_id: Arc<str>,
    /// The kind of its whole GPUs.
    full: usize,
}

/// What the GPUs of a pool become.
#[derive(Default)]
struct Arrangement {
    /// GPUs of one node that one replica takes whole, MIG off, in the order of the replicas.
    whole: Vec<(usize, Vec<usize>)>,
    /// The other GPUs.
    slots: Vec<(Slot, GpuUse)>,
}

impl<'a> Assigner<'a> {
    fn new(
        demand: &'a Demand,
        fleet: &'a Fleet,
        problem: &'a Problem,
        solution: &'a Solution,
        period: usize,
    ) -> Self {
        Assigner {
            demand,
            fleet,
            problem,
            solution,
            queues: solution.formulation.assignment.decode(problem, &solution.values, period),
            replicas: vec![0; demand.workloads().len()],
            node_types: problem.types_of_nodes(fleet),
            node_names: fleet.nodes().iter().map(|n| Arc::from(n.name.as_str())).collect(),
            gpus: fleet.nodes().iter().map(|n| vec![None; n.gpus.len()]).collect(),
        }
    }

    fn lay_out_pool(&mut self, pool: usize) -> Result<()> {
        let board = self.problem.pools[pool].board.clone();
        let is_full = |k: &InstanceKind| k.pool == pool && k.profile.is_none();
        let layout = PoolLayout {
            pool,
            board_id: Arc::from(board.id.as_str()),
            full: self.problem.kinds.iter().position(is_full).unwrap_or_default(),
            board,
        };
        let nodes = self.nodes_of(&layout.board);
        let (assignment, values) = (&self.solution.formulation.assignment, &self.solution.values);
        let waiting: BTreeMap<u32, i64> = match assignment.reserved(self.problem, pool, values) {
            Some(reserved) => BTreeMap::from([(1, reserved)]),
            None => self.queues.waiting_by_gpus(layout.full).collect(),
        };
        let Arrangement { whole, slots } =
            arrange(self.problem, self.solution, pool, nodes, &waiting)?;
        for (node, gpus) in whole {
            self.assign_whole(&layout, node, &gpus)?;
        }
        self.fill(&layout, slots)
    }

    /// The GPUs of a board on each node that has some, with the node's type.
    fn nodes_of(&self, board: &Board) -> Vec<FreeGpus> {
        let mut nodes = Vec::new();
        for (n, node) in self.fleet.nodes().iter().enumerate() {
            let gpus: VecDeque<usize> =
                (0..node.gpus.len()).filter(|g| node.gpus[*g].id == board.id).collect();
            if !gpus.is_empty() {
                let node_type = self.node_types[n];
                let state = self.fleet.kubernetes(&node.name);
                let second_choice = state.is_some_and(KubernetesNode::is_second_choice);
                nodes.push(FreeGpus { node: n, node_type, gpus, partitionable: 0, second_choice });
            }
        }
        nodes
    }

    /// Assigns `gpus` of one node to the next replica that takes as many.
    fn assign_whole(&mut self, layout: &PoolLayout, node: usize, gpus: &[usize]) -> Result<()> {
        let size = gpus.len() as u32;
        let batch = match self.queues.take_one(layout.full, size) {
            Some(batch) => batch,
            // Another period needs it.
            None if self.problem.is_over_time() => {
                for &gpu in gpus {
                    self.put((node, gpu), layout, false, vec![full_instance(&layout.board, None)]);
                }
                return Ok(());
            }
            None => {
                return Err(Error::internal("whole GPUs are kept for a replica that is not there"));
            }
        };
        let replica = self.next_replica(batch.workload);
        let workload = &self.demand.workloads()[batch.workload];
        let wanted = workload.memory.map(|m| m.0);
        for (i, &gpu) in gpus.iter().enumerate() {
            // The shares of the GPUs add up to the replica's demand exactly.
            let share = |total: u64| {
                let (each, rest) = (total / u64::from(size), total % u64::from(size));
                each + u64::from((i as u64) < rest)
            };
            let demand_mib = wanted.map_or(layout.board.memory.0, share);
            let assignment = Some(assignment(workload, replica, demand_mib));
            self.put((node, gpu), layout, false, vec![full_instance(&layout.board, assignment)]);
        }
        Ok(())
    }

    fn next_replica(&mut self, workload: usize) -> u64 {
        self.replicas[workload] += 1;
        self.replicas[workload]
    }

    fn put(&mut self, slot: Slot, layout: &PoolLayout, mig: bool, instances: Vec<Instance>) {
        let (node, gpu) = slot;
        self.gpus[node][gpu] = Some(GpuPlan {
            node: self.node_names[node].clone(),
            gpu: self.fleet.nodes()[node].index(gpu),
            board: layout.board_id.clone(),
            mig,
            stays_whole: self.problem.pools[layout.pool].stays_whole(gpu),
            instances,
        });
    }

    /// A GPU with MIG on and only free instances.
    fn put_free(&mut self, slot: Slot, layout: &PoolLayout, placements: &[Placement]) {
        let free = placements.iter().map(|p| free_instance(&layout.board, *p)).collect();
        self.put(slot, layout, true, free);
    }

    /// Assigns replicas to the single GPUs of a pool.
    fn fill(&mut self, layout: &PoolLayout, mut slots: Vec<(Slot, GpuUse)>) -> Result<()> {
        slots.sort_by_key(|(slot, _)| *slot);
        let (board, pool) = (&layout.board, &self.problem.pools[layout.pool]);
        let kind_of: Vec<Option<usize>> = (0..board.profiles.len())
            .map(|p| {
                let is_it = |k: &InstanceKind| k.pool == layout.pool && k.profile == Some(p);
                self.problem.kinds.iter().position(is_it)
            })
            .collect();
        let (assignment, values) = (&self.solution.formulation.assignment, &self.solution.values);
        let waiting = |k: usize| match self.problem.is_over_time() {
            true => assignment.most_allocated(self.problem, k, values),
            false => self.queues.waiting(k),
        };
        let all = kind_of.iter().map(|k| k.map_or(0, |k| waiting(k) as u32)).collect();
        let mut open = Open::new(all, &pool.patterns, &slots);
        let mut layouts = Layouts::default();
        for (slot, content) in slots {
            match content {
                GpuUse::Whole => self.assign_whole(layout, slot.0, &[slot.1])?,
                GpuUse::Off => self.put(slot, layout, false, vec![full_instance(board, None)]),
                GpuUse::OneInstance => {
                    let made = layouts.make(board, &one_instance(board), None, false)?;
                    self.put_free(slot, layout, &made);
                }
                GpuUse::Free(pattern) => {
                    let made = layouts.make(board, &pool.patterns[pattern].counts, None, false)?;
                    self.put_free(slot, layout, &made);
                }
                GpuUse::Unchanged(group) => {
                    let present = &pool.groups[group].present;
                    let mut stays: Vec<Placement> = present.iter().map(|i| i.placement).collect();
                    stays.sort_unstable();
                    self.put_free(slot, layout, &stays);
                }
                GpuUse::Pattern(p) => {
                    self.fill_gpu(layout, slot, p, &kind_of, &mut open, &mut layouts)?;
                }
            }
        }
        Ok(())
    }

    /// Lays one GPU out by a pattern and assigns the next replicas to its instances.
    fn fill_gpu(
        &mut self,
        layout: &PoolLayout,
        slot: Slot,
        pattern: usize,
        kind_of: &[Option<usize>],
        open: &mut Open,
        layouts: &mut Layouts,
    ) -> Result<()> {
        let (board, pool) = (&layout.board, &self.problem.pools[layout.pool]);
        let pattern = &pool.patterns[pattern];
        let group = &pool.groups[pattern.group];
        let mut taken = open.take(pattern, self.problem.exact && self.problem.knows_present);
        let by_node = self.solution.formulation.modes.by_node();
        // A search that ended early may take more GPUs than serve someone.
        let serves_none = taken.iter().all(|t| *t == 0) && group.present.is_empty();
        if serves_none && !by_node {
            self.put(slot, layout, false, vec![full_instance(board, None)]);
            return Ok(());
        }
        let one_profile = self.problem.policy.strategy == Strategy::Single;
        // Patterns around a known state hold nothing free where nothing free may be.
        let made = if self.solution.keeps_spare || self.problem.knows_present {
            pattern.counts.clone()
        } else if serves_none {
            if one_profile { pattern.counts.clone() } else { one_instance(board) }
        } else {
            taken.clone()
        };
        let present = (!group.present.is_empty()).then_some((pattern.group, &group.present[..]));
        let mut placements = layouts.make(board, &made, present, self.solution.allow_disruption)?;
        if self.problem.exact {
            // Only what is busy may stay free, so it is allocated last.
            let busy =
                |p: &Placement| group.present.iter().any(|i| i.placement == *p && i.is_busy());
            placements.sort_by_key(|p| (busy(p), *p));
        }
        let mut instances = Vec::with_capacity(placements.len());
        for placement in placements {
            let mut instance = free_instance(board, placement);
            if taken[placement.profile] > 0 {
                taken[placement.profile] -= 1;
                let kind = kind_of[placement.profile].unwrap_or_default();
                let next = self.queues.take_one(kind, 0).or_else(|| self.queues.take_one(kind, 1));
                if let Some(batch) = next {
                    let replica = self.next_replica(batch.workload);
                    let workload = &self.demand.workloads()[batch.workload];
                    let demand_mib = workload.memory.map_or(instance.memory_mib, |m| m.0);
                    instance.assignment = Some(assignment(workload, replica, demand_mib));
                } else if !self.problem.is_over_time() {
                    return Err(Error::internal("an instance is allocated to no replica"));
                }
            }
            instances.push(instance);
        }
        instances.sort_by_key(|i| i.start);
        self.put(slot, layout, true, instances);
        Ok(())
    }
}

/// Instances of each profile that replicas still wait for.
struct Open {
    all: Vec<u32>,
    /// Of those, the ones that busy instances serve.
    in_busy: Vec<u32>,
}

impl Open {
    /// `all`: for each profile the replicas that wait.
    fn new(all: Vec<u32>, patterns: &[Pattern], slots: &[(Slot, GpuUse)]) -> Open {
        // Where nothing free may be made, every instance that is not busy anyway is allocated, and
        // only what is wanted beyond that is assigned to busy ones.
        let mut in_busy = all.clone();
        for (_, content) in slots {
            if let GpuUse::Pattern(p) = content {
                let pattern = &patterns[*p];
                for (i, left) in in_busy.iter_mut().enumerate() {
                    *left = left.saturating_sub(pattern.counts[i] - pattern.busy[i]);
                }
            }
        }
        Open { all, in_busy }
    }

    /// Takes instances of one GPU, as many as replicas wait for.
    fn take(&mut self, pattern: &Pattern, exact: bool) -> layout::Counts {
        let mut taken = Vec::with_capacity(pattern.counts.len());
        for (i, (count, busy)) in pattern.counts.iter().zip(&pattern.busy).enumerate() {
            let most = if exact {
                let of_busy = (*busy).min(self.in_busy[i]);
                self.in_busy[i] -= of_busy;
                count - busy + of_busy
            } else {
                *count
            };
            let take = most.min(self.all[i]);
            self.all[i] -= take;
            taken.push(take);
        }
        taken
    }
}

/// One instance of all of a GPU with MIG on.
fn one_instance(board: &Board) -> layout::Counts {
    let mut counts = vec![0; board.profiles.len()];
    if let Some((profile, _)) = board.whole_profile() {
        counts[profile] = 1;
    }
    counts
}

/// A replica of a workload as a plan has it.
pub(super) fn assignment(workload: &Workload, replica: u64, demand_mib: u64) -> Assignment {
    Assignment { team: workload.team.clone(), workload: workload.name.clone(), replica, demand_mib }
}

pub(super) fn free_instance(board: &Board, placement: Placement) -> Instance {
    let profile = &board.profiles[placement.profile];
    Instance {
        profile: InstanceProfile::Mig(profile.name.clone()),
        start: placement.start,
        size: profile.memory_slices,
        memory_mib: profile.memory.0,
        assignment: None,
    }
}

pub(super) fn full_instance(board: &Board, assignment: Option<Assignment>) -> Instance {
    Instance {
        profile: InstanceProfile::Full,
        start: 0,
        size: board.memory_slices,
        memory_mib: board.memory.0,
        assignment,
    }
}
