//! From counts to cards: which GPU of which node is cut how, and who sits in which instance.
//!
//! Every choice here is free as far as the goal is concerned, so it is made for people: as few
//! distinct nodes as possible, teams kept together, the same answer for the same input.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::formulation::NodeFlow;
use super::problem::Problem;
use super::stages::Solution;
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::hardware::{Board, layout};
use crate::plan::{GpuPlan, Instance, InstanceProfile, Occupant};

/// The cards of a plan.
pub(crate) struct Placed {
    /// Every GPU of the fleet, by node and index.
    pub gpus: Vec<GpuPlan>,
    /// For each workload of the demand, the replicas that have a place.
    pub replicas: Vec<u64>,
}

/// Some replicas of one workload.
#[derive(Debug, Clone, Copy)]
struct Batch {
    workload: usize,
    memory_mib: i64,
    count: i64,
}

/// Who sits in one kind, by the number of GPUs that a replica takes (0 for an instance).
type Seats = BTreeMap<(usize, u32), VecDeque<Batch>>;

/// What a single GPU becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Cut as a pattern of the pool.
    Pattern(usize),
    /// Handed out whole.
    Whole,
    /// Nobody's.
    Empty,
}

/// Where a GPU is: index of its node and its index there.
type Slot = (usize, usize);

/// Lays a solution out.
///
/// # Errors
/// An internal error where the counts contradict each other.
pub(crate) fn lay_out(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    solution: &Solution,
) -> Result<Placed> {
    let mut cards = Cards::new(demand, fleet, problem, solution);
    for pool in 0..problem.pools.len() {
        cards.lay_out_pool(pool)?;
    }
    if cards.seats.values().any(|batches| !batches.is_empty()) {
        return Err(Error::internal("replicas are left over after every GPU is laid out"));
    }
    let gpus = cards.gpus.into_iter().flatten().flatten().collect();
    Ok(Placed { gpus, replicas: cards.replicas })
}

struct Cards<'a> {
    demand: &'a Demand,
    fleet: &'a Fleet,
    problem: &'a Problem,
    solution: &'a Solution,
    seats: Seats,
    /// Replicas handed out so far, by workload.
    replicas: Vec<u64>,
    node_names: Vec<Arc<str>>,
    /// The result, by node and index.
    gpus: Vec<Vec<Option<GpuPlan>>>,
}

impl<'a> Cards<'a> {
    fn new(
        demand: &'a Demand,
        fleet: &'a Fleet,
        problem: &'a Problem,
        solution: &'a Solution,
    ) -> Self {
        Cards {
            demand,
            fleet,
            problem,
            solution,
            seats: seats(problem, solution),
            replicas: vec![0; demand.workloads().len()],
            node_names: fleet.nodes().iter().map(|n| Arc::from(n.name.as_str())).collect(),
            gpus: fleet.nodes().iter().map(|n| vec![None; n.gpus.len()]).collect(),
        }
    }

    fn lay_out_pool(&mut self, pool: usize) -> Result<()> {
        let board = self.problem.pools[pool].board.clone();
        let board_id: Arc<str> = Arc::from(board.id.as_str());
        let full = self.full_kind(pool);
        // The GPUs of this pool on each node that has some.
        let mut nodes: Vec<(usize, VecDeque<usize>)> = Vec::new();
        for (n, node) in self.fleet.nodes().iter().enumerate() {
            let of_pool: VecDeque<usize> =
                (0..node.gpus.len()).filter(|g| node.gpus[*g].id == board.id).collect();
            if !of_pool.is_empty() {
                nodes.push((n, of_pool));
            }
        }
        let mut paths = self.paths(pool, &nodes)?;
        let mut singles: Vec<(usize, VecDeque<usize>)> = Vec::new();
        for (n, mut free) in nodes {
            let sizes = paths.get_mut(&free.len()).and_then(VecDeque::pop_front);
            for size in sizes.unwrap_or_default() {
                let gpus: Vec<usize> = free.drain(..size.min(free.len())).collect();
                self.hand_out_whole(n, &gpus, &board_id, &board, full)?;
            }
            if !free.is_empty() {
                singles.push((n, free));
            }
        }
        let mut slots = self.arrange(pool, singles);
        slots.sort_by_key(|(slot, _)| *slot);
        self.fill(pool, &board, &board_id, full, &slots)
    }

    fn full_kind(&self, pool: usize) -> usize {
        let is_full = |k: &super::problem::Kind| k.pool == pool && k.profile.is_none();
        self.problem.kinds.iter().position(is_full).unwrap_or_default()
    }

    /// For each node size, what each of its nodes carries in replicas of several GPUs.
    fn paths(
        &self,
        pool: usize,
        nodes: &[(usize, VecDeque<usize>)],
    ) -> Result<BTreeMap<usize, VecDeque<Vec<usize>>>> {
        let mut paths = BTreeMap::new();
        for (&size, flow) in &self.solution.formulation.flows[pool] {
            let count = nodes.iter().filter(|(_, gpus)| gpus.len() == size).count();
            let mut of_size: Vec<Vec<usize>> = walk(flow, &self.solution.values, size, count)
                .ok_or_else(|| Error::internal("the flow through the nodes is broken"))?;
            of_size.sort_by(|a, b| b.cmp(a));
            paths.insert(size, of_size.into());
        }
        Ok(paths)
    }

    /// Gives `gpus` of one node to the next replica that takes as many.
    fn hand_out_whole(
        &mut self,
        node: usize,
        gpus: &[usize],
        board_id: &Arc<str>,
        board: &Board,
        full: usize,
    ) -> Result<()> {
        let size = gpus.len() as u32;
        let batch = take_one(&mut self.seats, (full, size))
            .ok_or_else(|| Error::internal("a place for whole GPUs has nobody to take it"))?;
        let replica = self.next_replica(batch.workload);
        let memory_mib = board.memory.0;
        let wanted = self.demand.workloads()[batch.workload].memory.map(|m| m.0);
        for (i, &gpu) in gpus.iter().enumerate() {
            // The shares of the GPUs add up to the replica's demand exactly.
            let share = |total: u64| {
                let (each, rest) = (total / u64::from(size), total % u64::from(size));
                each + u64::from((i as u64) < rest)
            };
            let demand_mib = wanted.map_or(memory_mib, share);
            let occupant = Some(self.occupant(batch.workload, replica, demand_mib));
            self.put((node, gpu), board_id, false, vec![full_instance(board, occupant)]);
        }
        Ok(())
    }

    fn next_replica(&mut self, workload: usize) -> u64 {
        self.replicas[workload] += 1;
        self.replicas[workload]
    }

    fn occupant(&self, workload: usize, replica: u64, demand_mib: u64) -> Occupant {
        let workload = &self.demand.workloads()[workload];
        Occupant {
            team: workload.team.clone(),
            workload: workload.name.clone(),
            replica,
            demand_mib,
        }
    }

    fn put(&mut self, slot: Slot, board: &Arc<str>, mig: bool, instances: Vec<Instance>) {
        let (node, gpu) = slot;
        self.gpus[node][gpu] = Some(GpuPlan {
            node: self.node_names[node].clone(),
            gpu: gpu as u32,
            board: board.clone(),
            mig,
            instances,
        });
    }

    /// Decides what every single GPU of a pool becomes, so that nodes come out alike: a node that
    /// one content can fill gets only that; what is left is poured into the last nodes in order.
    fn arrange(
        &self,
        pool: usize,
        mut nodes: Vec<(usize, VecDeque<usize>)>,
    ) -> Vec<(Slot, Content)> {
        let values = &self.solution.values;
        let mut left: Vec<(Content, i64)> = self.solution.formulation.patterns[pool]
            .iter()
            .enumerate()
            .map(|(p, column)| (Content::Pattern(p), values[*column]))
            .collect();
        let whole = self
            .seats
            .get(&(self.full_kind(pool), 1))
            .map_or(0, |batches| batches.iter().map(|b| b.count).sum());
        left.push((Content::Whole, whole));
        let total: i64 = nodes.iter().map(|(_, gpus)| gpus.len() as i64).sum();
        let used: i64 = left.iter().map(|(_, count)| count).sum();
        left.push((Content::Empty, (total - used).max(0)));
        let mut arranged = Vec::new();
        nodes.sort_by_key(|(node, gpus)| (std::cmp::Reverse(gpus.len()), *node));
        for (node, gpus) in nodes {
            let size = gpus.len() as i64;
            let filling = left
                .iter()
                .enumerate()
                .filter(|(_, (_, count))| *count >= size)
                .max_by_key(|(i, (_, count))| (*count, std::cmp::Reverse(*i)))
                .map(|(i, _)| i);
            for gpu in gpus {
                let at = filling.or_else(|| left.iter().position(|(_, count)| *count > 0));
                let content = match at {
                    Some(at) => {
                        left[at].1 -= 1;
                        left[at].0
                    }
                    None => Content::Empty,
                };
                arranged.push(((node, gpu), content));
            }
        }
        arranged
    }

    /// Seats everybody on the single GPUs of a pool.
    fn fill(
        &mut self,
        pool: usize,
        board: &Board,
        board_id: &Arc<str>,
        full: usize,
        slots: &[(Slot, Content)],
    ) -> Result<()> {
        let kind_of: Vec<Option<usize>> = (0..board.profiles.len())
            .map(|p| self.problem.kinds.iter().position(|k| k.pool == pool && k.profile == Some(p)))
            .collect();
        // How many instances of each profile are still to be handed out.
        let mut open: Vec<u32> = kind_of
            .iter()
            .map(|kind| {
                let batches = kind.and_then(|k| self.seats.get(&(k, 0)));
                batches.map_or(0, |b| b.iter().map(|b| b.count as u32).sum())
            })
            .collect();
        let keep_spare = self.solution.keeps_spare;
        let mut layouts: HashMap<Vec<u32>, Vec<layout::Placement>> = HashMap::new();
        for &(slot, content) in slots {
            match content {
                Content::Whole => {
                    self.hand_out_whole(slot.0, &[slot.1], board_id, board, full)?;
                }
                Content::Empty => self.put(slot, board_id, false, vec![full_instance(board, None)]),
                Content::Pattern(p) => {
                    let counts = &self.problem.pools[pool].patterns[p];
                    let mut taken: Vec<u32> =
                        counts.iter().zip(&open).map(|(c, o)| *c.min(o)).collect();
                    if taken.iter().all(|t| *t == 0) {
                        self.put(slot, board_id, false, vec![full_instance(board, None)]);
                        continue;
                    }
                    open.iter_mut().zip(&taken).for_each(|(o, t)| *o -= t);
                    let made = if keep_spare { counts } else { &taken };
                    let placements = match layouts.get(made) {
                        Some(known) => known.clone(),
                        None => {
                            let found = layout::place(board, made, &[]).ok_or_else(|| {
                                Error::internal("a pattern has no layout on its board")
                            })?;
                            layouts.insert(made.clone(), found.clone());
                            found
                        }
                    };
                    let mut instances = Vec::with_capacity(placements.len());
                    for placement in placements {
                        let profile = &board.profiles[placement.profile];
                        let mut occupant = None;
                        if taken[placement.profile] > 0 {
                            taken[placement.profile] -= 1;
                            let kind = kind_of[placement.profile].unwrap_or_default();
                            let batch = take_one(&mut self.seats, (kind, 0)).ok_or_else(|| {
                                Error::internal("an instance is handed out to nobody")
                            })?;
                            let replica = self.next_replica(batch.workload);
                            let demand_mib = batch.memory_mib as u64;
                            occupant = Some(self.occupant(batch.workload, replica, demand_mib));
                        }
                        instances.push(Instance {
                            profile: InstanceProfile::Mig(profile.name.clone()),
                            start: placement.start,
                            size: profile.memory_slices,
                            memory_mib: profile.memory.0,
                            occupant,
                        });
                    }
                    self.put(slot, board_id, true, instances);
                }
            }
        }
        Ok(())
    }
}

fn full_instance(board: &Board, occupant: Option<Occupant>) -> Instance {
    Instance {
        profile: InstanceProfile::Full,
        start: 0,
        size: board.memory_slices,
        memory_mib: board.memory.0,
        occupant,
    }
}

/// Takes one replica off the front of a queue.
fn take_one(seats: &mut Seats, key: (usize, u32)) -> Option<Batch> {
    let batches = seats.get_mut(&key)?;
    let front = batches.front_mut()?;
    front.count -= 1;
    let taken = Batch { count: 1, ..*front };
    if front.count == 0 {
        batches.pop_front();
    }
    Some(taken)
}

/// Decides which replicas are served and in which kind each sits: the largest demands first, the
/// largest in the largest instances, so that a workload is split over kinds as little as may be.
fn seats(problem: &Problem, solution: &Solution) -> Seats {
    let values = &solution.values;
    let mut seats: Seats = BTreeMap::new();
    for (t, kind_set) in problem.types.iter().enumerate() {
        let mut served: Vec<Batch> = Vec::new();
        let of_type = problem.classes.iter().zip(&solution.formulation.served);
        for (class, column) in of_type.filter(|(c, _)| c.kind_set == t) {
            let mut left = values[*column];
            for member in class.members.iter() {
                let count = member.count.min(left);
                if count == 0 {
                    break;
                }
                left -= count;
                served.push(Batch {
                    workload: member.workload,
                    memory_mib: member.memory_mib,
                    count,
                });
            }
        }
        served.sort_by_key(|b| (std::cmp::Reverse(b.memory_mib), b.workload));
        let mut served: VecDeque<Batch> = served.into();
        let mut kinds: Vec<(usize, i64)> = kind_set
            .kinds
            .iter()
            .zip(&solution.formulation.seats[t])
            .map(|(k, column)| (*k, values[*column]))
            .collect();
        kinds.sort_by_key(|(k, _)| {
            let kind = &problem.kinds[*k];
            (std::cmp::Reverse((kind.memory_mib, kind.compute_slices)), *k)
        });
        for (kind, mut open) in kinds {
            let queue = seats.entry((kind, kind_set.whole_gpus)).or_default();
            while open > 0 {
                let Some(front) = served.front_mut() else { break };
                let count = front.count.min(open);
                queue.push_back(Batch { count, ..*front });
                open -= count;
                front.count -= count;
                if front.count == 0 {
                    served.pop_front();
                }
            }
        }
    }
    for queue in seats.values_mut() {
        // By team and name, so that a team's replicas come to lie side by side.
        queue.make_contiguous().sort_by_key(|b| (b.workload, std::cmp::Reverse(b.memory_mib)));
    }
    seats
}

/// Takes the flow through nodes of `gpus` GPUs apart into `nodes` paths; each lists the sizes of
/// the replicas on one node.
fn walk(flow: &NodeFlow, values: &[i64], gpus: usize, nodes: usize) -> Option<Vec<Vec<usize>>> {
    let mut left: BTreeMap<(usize, usize), i64> =
        flow.replicas.iter().map(|(arc, column)| (*arc, values[*column])).collect();
    let mut paths = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        let (mut at, mut sizes) = (0, Vec::new());
        while let Some((&(_, size), count)) =
            left.range_mut((at, 0)..=(at, gpus)).rev().find(|(_, count)| **count > 0)
        {
            *count -= 1;
            at += size;
            sizes.push(size);
        }
        sizes.sort_by(|a, b| b.cmp(a));
        paths.push(sizes);
    }
    left.values().all(|count| *count == 0).then_some(paths)
}
