//! From counts to cards: which GPU of which node is cut how, and who sits in which instance.
//!
//! Every choice here is free as far as the goal is concerned, so it is made for people: as few
//! distinct nodes as possible, teams kept together, the same answer for the same input.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::formulation::{Formulation, NodeFlow};
use super::model::Column;
use super::problem::Problem;
use super::stages::Solution;
use super::supply::{Kind, Pattern};
use crate::demand::Demand;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::fleet::observed::InstanceSpec;
use crate::hardware::layout::{self, Placement};
use crate::hardware::{Board, BoardRef};
use crate::plan::{Assignment, GpuPlan, Instance, InstanceProfile};
use crate::reconfigure::change::{self, PresentInstance};

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
    /// Handed out whole, MIG off.
    Whole,
    /// Nobody's, MIG off.
    Empty,
    /// Nobody's, one instance of the largest profile.
    WholeInstance,
    /// Nobody's, cut as a pattern because its node has that profile.
    Idle(usize),
    /// Nobody's, left as this group is now.
    Stay(usize),
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
    /// For each node, the index of its type.
    node_types: Vec<usize>,
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
            node_types: problem.types_of_nodes(fleet),
            node_names: fleet.nodes().iter().map(|n| Arc::from(n.name.as_str())).collect(),
            gpus: fleet.nodes().iter().map(|n| vec![None; n.gpus.len()]).collect(),
        }
    }

    fn lay_out_pool(&mut self, pool: usize) -> Result<()> {
        let board = self.problem.pools[pool].board.clone();
        let mut laid = Laid {
            pool,
            board_id: Arc::from(board.id.as_str()),
            full: self.full_kind(pool),
            board,
        };
        let nodes = self.nodes_of(&laid);
        let slots = if self.problem.knows_present {
            self.arrange_known(&mut laid, nodes)?
        } else {
            self.arrange_nodes(&mut laid, nodes)?
        };
        self.fill(&laid, slots)
    }

    /// The GPUs of a pool on each node that has some, with the node's type.
    fn nodes_of(&self, laid: &Laid) -> Vec<Free> {
        let mut nodes = Vec::new();
        for (n, node) in self.fleet.nodes().iter().enumerate() {
            let gpus: VecDeque<usize> =
                (0..node.gpus.len()).filter(|g| node.gpus[*g].id == laid.board.id).collect();
            if !gpus.is_empty() {
                nodes.push(Free { node: n, node_type: self.node_types[n], gpus, may_be_cut: 0 });
            }
        }
        nodes
    }

    fn full_kind(&self, pool: usize) -> usize {
        let is_full = |k: &Kind| k.pool == pool && k.profile.is_none();
        self.problem.kinds.iter().position(is_full).unwrap_or_default()
    }

    fn value(&self, column: Column) -> i64 {
        self.solution.values[column]
    }

    /// Decides what every GPU of a pool becomes, node by node: who takes several whole GPUs first,
    /// then what a single GPU can be.
    fn arrange_nodes(&mut self, laid: &mut Laid, nodes: Vec<Free>) -> Result<Vec<(Slot, Content)>> {
        let formulation = &self.solution.formulation;
        let mut by_type: BTreeMap<usize, Vec<Free>> = BTreeMap::new();
        for node in nodes {
            by_type.entry(node.node_type).or_default().push(node);
        }
        // Nodes whose GPUs may be cut or whole as they come; with MIG off; with MIG on, and where
        // nodes have one profile, by the pattern that is theirs.
        let (mut any, mut off) = (Vec::new(), Vec::new());
        let mut on: BTreeMap<Option<usize>, Vec<Free>> = BTreeMap::new();
        for (node_type, mut nodes) in by_type {
            let (may_be_cut, by_mode) = match formulation.nodes_on[node_type] {
                None => (self.problem.node_types[node_type].may_be_cut(laid.pool), false),
                Some(column) => {
                    let mut cut = nodes.split_off(nodes.len() - self.value(column) as usize);
                    match formulation.uniform.get(&(node_type, laid.pool)) {
                        None => on.entry(None).or_default().append(&mut cut),
                        Some(columns) => {
                            for (pattern, column) in columns.iter().enumerate() {
                                let of_pattern = self.value(*column) as usize;
                                let rest = cut.split_off(of_pattern.min(cut.len()));
                                on.entry(Some(pattern)).or_default().append(&mut cut);
                                cut = rest;
                            }
                        }
                    }
                    (0, true)
                }
            };
            let mut sizes = match formulation.flows[laid.pool].get(&node_type) {
                None => VecDeque::new(),
                Some(flow) => {
                    let gpus = self.problem.node_types[node_type].of_pool[laid.pool];
                    let mut paths = walk(flow, &self.solution.values, gpus, nodes.len())
                        .ok_or_else(|| Error::internal("the flow through the nodes is broken"))?;
                    paths.sort_by(|a, b| b.cmp(a));
                    VecDeque::from(paths)
                }
            };
            for mut node in nodes {
                for size in sizes.pop_front().unwrap_or_default() {
                    let gpus: Vec<usize> = node.gpus.drain(..size.min(node.gpus.len())).collect();
                    self.hand_out_whole(laid, node.node, &gpus)?;
                }
                node.may_be_cut = may_be_cut.min(node.gpus.len());
                if by_mode { off.push(node) } else { any.push(node) }
            }
        }
        let patterns = |of: &dyn Fn(usize) -> bool| -> Vec<(Content, i64)> {
            let columns = formulation.patterns[laid.pool].iter().enumerate();
            columns
                .filter(|(p, _)| of(*p))
                .map(|(p, c)| (Content::Pattern(p), self.value(*c)))
                .collect()
        };
        let whole = (Content::Whole, self.singles(laid));
        let mut slots = Vec::new();
        if off.is_empty() && on.is_empty() {
            let mut contents = patterns(&|_| true);
            contents.push(whole);
            slots.extend(pour(any, contents, Content::Empty));
            return Ok(slots);
        }
        slots.extend(pour(off, vec![whole], Content::Empty));
        for (pattern, mut nodes) in on {
            for node in &mut nodes {
                node.may_be_cut = node.gpus.len();
            }
            let (contents, idle) = match pattern {
                None => (patterns(&|_| true), Content::WholeInstance),
                Some(pattern) => (patterns(&|p| p == pattern), Content::Idle(pattern)),
            };
            slots.extend(pour(nodes, contents, idle));
        }
        Ok(slots)
    }

    /// Whole GPUs that are handed out one by one.
    fn singles(&self, laid: &Laid) -> i64 {
        let batches = self.seats.get(&(laid.full, 1));
        batches.map_or(0, |batches| batches.iter().map(|b| b.count).sum())
    }

    /// As [`Self::arrange_nodes`] for the one node whose present state is known: each group of
    /// GPUs has its own patterns.
    fn arrange_known(&mut self, laid: &mut Laid, nodes: Vec<Free>) -> Result<Vec<(Slot, Content)>> {
        let formulation = &self.solution.formulation;
        let pool = &self.problem.pools[laid.pool];
        let Some(node) = nodes.first().map(|n| n.node) else { return Ok(Vec::new()) };
        let mut slots = Vec::new();
        let mut whole: VecDeque<usize> = VecDeque::new();
        let mode_on = nodes[0].mode_on(formulation, &self.solution.values);
        for (g, group) in pool.groups.iter().enumerate() {
            let mut gpus: VecDeque<usize> = group.members.iter().copied().collect();
            let went_whole = formulation.went_whole.get(&laid.pool).map_or(0, |c| self.value(c[g]));
            for _ in 0..went_whole {
                whole.extend(gpus.pop_back());
            }
            let of_group = pool.patterns.iter().zip(&formulation.patterns[laid.pool]).enumerate();
            let contents: Vec<(Content, i64)> = of_group
                .filter(|(_, (pattern, _))| pattern.group == g)
                .map(|(p, (_, column))| (Content::Pattern(p), self.value(*column)))
                .collect();
            let idle = match (group.present.is_empty(), mode_on) {
                _ if group.idle_destroyed > 0 && mode_on != Some(true) => Content::Empty,
                (false, Some(false)) | (true, None | Some(false)) => Content::Empty,
                (true, Some(true)) => Content::WholeInstance,
                (false, _) => Content::Stay(g),
            };
            let may_be_cut = gpus.len();
            let free = Free { node, node_type: nodes[0].node_type, gpus, may_be_cut };
            slots.extend(pour(vec![free], contents, idle));
        }
        let mut whole: Vec<usize> = whole.into();
        whole.sort_unstable();
        let sizes: Vec<u32> = self
            .seats
            .iter()
            .filter(|((kind, size), _)| *kind == laid.full && *size > 0)
            .flat_map(|((_, size), batches)| {
                let count: i64 = batches.iter().map(|b| b.count).sum();
                std::iter::repeat_n(*size, count as usize)
            })
            .collect();
        for size in sizes.into_iter().rev() {
            let gpus: Vec<usize> = whole.drain(..(size as usize).min(whole.len())).collect();
            self.hand_out_whole(laid, node, &gpus)?;
        }
        Ok(slots)
    }

    /// Gives `gpus` of one node to the next replica that takes as many.
    fn hand_out_whole(&mut self, laid: &Laid, node: usize, gpus: &[usize]) -> Result<()> {
        let size = gpus.len() as u32;
        let batch = take_one(&mut self.seats, (laid.full, size))
            .ok_or_else(|| Error::internal("a place for whole GPUs has nobody to take it"))?;
        let replica = self.next_replica(batch.workload);
        let wanted = self.demand.workloads()[batch.workload].memory.map(|m| m.0);
        for (i, &gpu) in gpus.iter().enumerate() {
            // The shares of the GPUs add up to the replica's demand exactly.
            let share = |total: u64| {
                let (each, rest) = (total / u64::from(size), total % u64::from(size));
                each + u64::from((i as u64) < rest)
            };
            let demand_mib = wanted.map_or(laid.board.memory.0, share);
            let assignment = Some(self.assignment(batch.workload, replica, demand_mib));
            self.put((node, gpu), laid, false, vec![full_instance(&laid.board, assignment)]);
        }
        Ok(())
    }

    fn next_replica(&mut self, workload: usize) -> u64 {
        self.replicas[workload] += 1;
        self.replicas[workload]
    }

    fn assignment(&self, workload: usize, replica: u64, demand_mib: u64) -> Assignment {
        let workload = &self.demand.workloads()[workload];
        Assignment {
            team: workload.team.clone(),
            workload: workload.name.clone(),
            replica,
            demand_mib,
        }
    }

    fn put(&mut self, slot: Slot, laid: &Laid, mig: bool, instances: Vec<Instance>) {
        let (node, gpu) = slot;
        self.gpus[node][gpu] = Some(GpuPlan {
            node: self.node_names[node].clone(),
            gpu: gpu as u32,
            board: laid.board_id.clone(),
            mig,
            instances,
        });
    }

    /// Seats everybody on the single GPUs of a pool.
    fn fill(&mut self, laid: &Laid, mut slots: Vec<(Slot, Content)>) -> Result<()> {
        slots.sort_by_key(|(slot, _)| *slot);
        let board = &laid.board;
        let kind_of: Vec<Option<usize>> = (0..board.profiles.len())
            .map(|p| {
                let is_it = |k: &Kind| k.pool == laid.pool && k.profile == Some(p);
                self.problem.kinds.iter().position(is_it)
            })
            .collect();
        // How many instances of each profile are still to be handed out.
        let open: Vec<u32> = kind_of
            .iter()
            .map(|kind| {
                let Some(kind) = kind else { return 0 };
                let batches = self.seats.range((*kind, 0)..=(*kind, u32::MAX));
                batches.flat_map(|(_, b)| b).map(|b| b.count as u32).sum()
            })
            .collect();
        // Where nothing spare may be made, every instance that is not busy anyway is handed out, and
        // only what is wanted beyond that comes to sit in busy ones.
        let mut in_busy: Vec<u32> = open.clone();
        let pool = &self.problem.pools[laid.pool];
        for (_, content) in &slots {
            if let Content::Pattern(p) = content {
                let pattern = &pool.patterns[*p];
                for (i, left) in in_busy.iter_mut().enumerate() {
                    *left = left.saturating_sub(pattern.counts[i] - pattern.busy[i]);
                }
            }
        }
        let mut open = Open { all: open, in_busy };
        let mut layouts = Layouts::default();
        for (slot, content) in slots {
            match content {
                Content::Whole => self.hand_out_whole(laid, slot.0, &[slot.1])?,
                Content::Empty => self.put(slot, laid, false, vec![full_instance(board, None)]),
                Content::WholeInstance => {
                    let mut counts = vec![0; board.profiles.len()];
                    if let Some((profile, _)) = board.whole_profile() {
                        counts[profile] = 1;
                    }
                    let made = layouts.make_around(board, &counts, None, false)?;
                    let instances = made.iter().map(|p| spare_instance(board, *p)).collect();
                    self.put(slot, laid, true, instances);
                }
                Content::Idle(pattern) => {
                    let counts = &self.problem.pools[laid.pool].patterns[pattern].counts;
                    let made = layouts.make_around(board, counts, None, false)?;
                    let instances = made.iter().map(|p| spare_instance(board, *p)).collect();
                    self.put(slot, laid, true, instances);
                }
                Content::Stay(group) => {
                    let present = &self.problem.pools[laid.pool].groups[group].present;
                    let mut made: Vec<Placement> = present.iter().map(|i| i.placement).collect();
                    made.sort_unstable();
                    let instances = made.iter().map(|p| spare_instance(board, *p)).collect();
                    self.put(slot, laid, true, instances);
                }
                Content::Pattern(p) => {
                    self.cut(laid, slot, p, &kind_of, &mut open, &mut layouts)?;
                }
            }
        }
        Ok(())
    }

    /// Cuts one GPU as a pattern and seats who comes next in its instances.
    fn cut(
        &mut self,
        laid: &Laid,
        slot: Slot,
        pattern: usize,
        kind_of: &[Option<usize>],
        open: &mut Open,
        layouts: &mut Layouts,
    ) -> Result<()> {
        let (board, pool) = (&laid.board, &self.problem.pools[laid.pool]);
        let pattern = &pool.patterns[pattern];
        let group = &pool.groups[pattern.group];
        let counts = &pattern.counts;
        let mut taken = open.take(pattern, self.problem.exact && self.problem.knows_present);
        if taken.iter().all(|t| *t == 0) && group.present.is_empty() && self.cuts_freely() {
            self.put(slot, laid, false, vec![full_instance(board, None)]);
            return Ok(());
        }
        // Patterns around a known state hold nothing spare where nothing spare may be.
        let made = if self.solution.keeps_spare || self.problem.knows_present {
            counts.clone()
        } else {
            taken.clone()
        };
        let known = (!group.present.is_empty()).then_some((pattern.group, &group.present[..]));
        let placements =
            layouts.make_around(board, &made, known, self.solution.allow_disruption)?;
        let mut instances = Vec::with_capacity(placements.len());
        for placement in placements {
            let mut instance = spare_instance(board, placement);
            if taken[placement.profile] > 0 {
                taken[placement.profile] -= 1;
                let kind = kind_of[placement.profile].unwrap_or_default();
                let batch = take_one(&mut self.seats, (kind, 0))
                    .or_else(|| take_one(&mut self.seats, (kind, 1)))
                    .ok_or_else(|| Error::internal("an instance is handed out to nobody"))?;
                let replica = self.next_replica(batch.workload);
                let wanted = self.demand.workloads()[batch.workload].memory;
                let demand_mib = wanted.map_or(instance.memory_mib, |m| m.0);
                instance.assignment = Some(self.assignment(batch.workload, replica, demand_mib));
            }
            instances.push(instance);
        }
        self.put(slot, laid, true, instances);
        Ok(())
    }

    /// Whether a GPU may have MIG off whatever its neighbours have.
    fn cuts_freely(&self) -> bool {
        self.solution.formulation.nodes_on.iter().all(Option::is_none)
    }
}

/// A pool that is being laid out.
struct Laid {
    pool: usize,
    board: BoardRef,
    board_id: Arc<str>,
    /// The kind of its whole GPUs.
    full: usize,
}

/// GPUs of one node that are still free.
struct Free {
    node: usize,
    node_type: usize,
    gpus: VecDeque<usize>,
    may_be_cut: usize,
}

impl Free {
    /// Whether MIG is on for the node, where all its GPUs agree.
    fn mode_on(&self, formulation: &Formulation, values: &[i64]) -> Option<bool> {
        formulation.nodes_on[self.node_type].map(|column| values[column] > 0)
    }
}

/// Pours contents into the free GPUs of nodes so that nodes come out alike: a node that one content
/// can fill gets only that; what is left goes into the last nodes in order. `idle` fills the rest.
fn pour(
    mut nodes: Vec<Free>,
    mut left: Vec<(Content, i64)>,
    idle: Content,
) -> Vec<(Slot, Content)> {
    let total: i64 = nodes.iter().map(|n| n.gpus.len() as i64).sum();
    let used: i64 = left.iter().map(|(_, count)| count).sum();
    left.push((idle, (total - used).max(0)));
    let is_cut = |content: &Content| matches!(content, Content::Pattern(_));
    let mut may_be_cut: i64 = nodes.iter().map(|n| n.may_be_cut as i64).sum();
    let mut to_cut: i64 = left.iter().filter(|(c, _)| is_cut(c)).map(|(_, count)| count).sum();
    let mut poured = Vec::with_capacity(total as usize);
    nodes.sort_by_key(|n| (std::cmp::Reverse(n.gpus.len()), n.node));
    for node in nodes {
        let size = node.gpus.len() as i64;
        // A node may go whole only if the others can take all that is still to be cut.
        let can_spare = may_be_cut - node.may_be_cut as i64 >= to_cut;
        let filling = left
            .iter()
            .enumerate()
            .filter(|(_, (_, count))| *count >= size)
            .filter(
                |(_, (c, _))| if is_cut(c) { node.may_be_cut as i64 >= size } else { can_spare },
            )
            .max_by_key(|(i, (_, count))| (*count, std::cmp::Reverse(*i)))
            .map(|(i, _)| i);
        may_be_cut -= node.may_be_cut as i64;
        let mut cuts_left = node.may_be_cut;
        for gpu in node.gpus {
            let next =
                left.iter().position(|(c, count)| *count > 0 && (cuts_left > 0 || !is_cut(c)));
            let Some(at) = filling.or(next) else { continue };
            left[at].1 -= 1;
            if is_cut(&left[at].0) {
                cuts_left -= 1;
                to_cut -= 1;
            }
            poured.push(((node.node, gpu), left[at].0));
        }
    }
    poured
}

/// Instances of each profile that are still to be handed out.
struct Open {
    all: Vec<u32>,
    /// Of those, the ones that busy instances take.
    in_busy: Vec<u32>,
}

impl Open {
    /// Hands out instances of one GPU, as many as there are takers for.
    fn take(&mut self, pattern: &Pattern, exact: bool) -> Vec<u32> {
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

/// Layouts that were worked out already.
#[derive(Default)]
struct Layouts {
    known: HashMap<(Option<usize>, Vec<u32>), Vec<Placement>>,
}

impl Layouts {
    /// A layout of `counts`, around what is present in a group of GPUs.
    fn make_around(
        &mut self,
        board: &Board,
        counts: &[u32],
        present: Option<(usize, &[PresentInstance])>,
        allow_disruption: bool,
    ) -> Result<Vec<Placement>> {
        let key = (present.map(|(group, _)| group), counts.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let found = match present {
            None => layout::place(board, counts, &[]),
            Some((_, present)) => around(board, counts, present, allow_disruption),
        };
        let found = found.ok_or_else(|| Error::internal("a pattern has no layout on its board"))?;
        self.known.insert(key, found.clone());
        Ok(found)
    }
}

/// The layout that the cheapest change leads to.
fn around(
    board: &Board,
    counts: &[u32],
    present: &[PresentInstance],
    allow_disruption: bool,
) -> Option<Vec<Placement>> {
    let wanted: Vec<InstanceSpec> = (0..board.profiles.len())
        .flat_map(|p| std::iter::repeat_n(InstanceSpec::whole(board, p), counts[p] as usize))
        .collect();
    let change = change::plan(board, present, &wanted, allow_disruption).ok()?;
    let stay = change.keep.iter().copied().chain(change.refit.iter().map(|r| r.instance));
    let mut layout: Vec<Placement> = stay.map(|i| present[i].placement).collect();
    layout.extend(change.create.iter().map(|c| c.placement));
    layout.sort_unstable();
    Some(layout)
}

fn spare_instance(board: &Board, placement: Placement) -> Instance {
    let profile = &board.profiles[placement.profile];
    Instance {
        profile: InstanceProfile::Mig(profile.name.clone()),
        start: placement.start,
        size: profile.memory_slices,
        memory_mib: profile.memory.0,
        assignment: None,
    }
}

fn full_instance(board: &Board, assignment: Option<Assignment>) -> Instance {
    Instance {
        profile: InstanceProfile::Full,
        start: 0,
        size: board.memory_slices,
        memory_mib: board.memory.0,
        assignment,
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
