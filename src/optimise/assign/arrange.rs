//! Which GPU of which node becomes what, for one pool: counts of patterns and of whole GPUs are
//! spread over the nodes so that as few distinct nodes as possible arise.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Arrangement, Slot};
use crate::error::{Error, Result};
use crate::optimise::constraints::present::GroupUse;
use crate::optimise::problem::Problem;
use crate::optimise::stages::Solution;

/// What a single GPU becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GpuUse {
    /// Partitioned by a pattern of the pool.
    Pattern(usize),
    /// Allocated whole, MIG off.
    Whole,
    /// Serves no replica, MIG off.
    Off,
    /// Serves no replica, one instance of the largest profile.
    OneInstance,
    /// Serves no replica, partitioned by a pattern because its node has that profile.
    Free(usize),
    /// Serves no replica, left as this group of GPUs is now.
    Unchanged(usize),
}

/// GPUs of one node that have no use yet.
#[derive(Debug, Clone)]
pub(super) struct FreeGpus {
    pub node: usize,
    pub node_type: usize,
    pub gpus: VecDeque<usize>,
    /// How many of them may be partitioned.
    pub partitionable: usize,
    /// Whether other nodes are better for replicas.
    pub second_choice: bool,
}

/// Decides what every GPU of a pool becomes: those of replicas that take several first, then what
/// a single GPU can be. `waiting` counts replicas of whole GPUs by the number that each takes.
pub(super) fn arrange(
    problem: &Problem,
    solution: &Solution,
    pool: usize,
    nodes: Vec<FreeGpus>,
    waiting: &BTreeMap<u32, i64>,
) -> Result<Arrangement> {
    let formulation = &solution.formulation;
    let groups = formulation.present.decode(problem, pool, &formulation.patterns, &solution.values);
    match (groups, nodes.first()) {
        (Some(groups), Some(node)) => {
            let of = (node.node, node.node_type);
            Ok(around_present(problem, solution, pool, of, groups, waiting))
        }
        _ => node_by_node(problem, solution, pool, nodes, waiting),
    }
}

/// Nodes by what their GPUs may become.
#[derive(Default)]
struct ByMode {
    /// Partitioned or whole as they come.
    any: Vec<FreeGpus>,
    /// MIG off.
    off: Vec<FreeGpus>,
    /// MIG on, and where nodes have one profile, by the pattern that is theirs.
    on: BTreeMap<Option<usize>, Vec<FreeGpus>>,
}

fn node_by_node(
    problem: &Problem,
    solution: &Solution,
    pool: usize,
    nodes: Vec<FreeGpus>,
    waiting: &BTreeMap<u32, i64>,
) -> Result<Arrangement> {
    let (formulation, values) = (&solution.formulation, &solution.values);
    let mut by_type: BTreeMap<usize, Vec<FreeGpus>> = BTreeMap::new();
    let choices = Choices::of(problem, pool, &nodes);
    for node in nodes {
        by_type.entry(node.node_type).or_default().push(node);
    }
    let mut arrangement = Arrangement::default();
    let mut by_mode = ByMode::default();
    for (node_type, mut nodes) in by_type {
        nodes.sort_by_key(|node| node.second_choice);
        let node_mode = formulation.modes.decode(node_type, values);
        if let Some(on) = node_mode {
            let with_mig = nodes.split_off(nodes.len() - on as usize);
            by_mode.split_by_pattern(solution, node_type, pool, with_mig);
        }
        let partitionable = match node_mode {
            None => problem.node_types[node_type].partitionable(pool),
            Some(_) => 0,
        };
        let mut sizes = match formulation.flows.flow(pool, node_type) {
            None => VecDeque::new(),
            Some(flow) => {
                let gpus = problem.node_types[node_type].of_pool[pool];
                let mut paths = flow
                    .decode(values, gpus, nodes.len())
                    .ok_or_else(|| Error::internal("the flow through the nodes is broken"))?;
                paths.sort_by(|a, b| b.cmp(a));
                VecDeque::from(paths)
            }
        };
        for mut node in nodes {
            for size in sizes.pop_front().unwrap_or_default() {
                let gpus: Vec<usize> = node.gpus.drain(..size.min(node.gpus.len())).collect();
                arrangement.whole.push((node.node, gpus));
            }
            node.partitionable = partitionable.min(node.gpus.len());
            match node_mode {
                Some(_) => by_mode.off.push(node),
                None => by_mode.any.push(node),
            }
        }
    }
    let most = |node: &FreeGpus| problem.node_types[node.node_type].partitionable(pool);
    spare_second_choice(&mut by_mode.any, &mut arrangement.whole, most);
    spare_second_choice(&mut by_mode.off, &mut arrangement.whole, |_| 0);
    let single = waiting.get(&1).copied().unwrap_or(0);
    arrangement.slots = by_mode.spread(problem, solution, pool, single);
    choices.prefer_first(&mut arrangement);
    Ok(arrangement)
}

/// Moves replicas of several GPUs, the largest first, from nodes that are the second choice to others
/// that have the room. `most` GPUs of a node may be partitioned; of all nodes together none fewer can
/// be after a move.
fn spare_second_choice(
    nodes: &mut [FreeGpus],
    whole: &mut [(usize, Vec<usize>)],
    most: impl Fn(&FreeGpus) -> usize,
) {
    let second = nodes.iter().enumerate().filter(|(_, node)| node.second_choice);
    let second: BTreeMap<usize, usize> = second.map(|(at, node)| (node.node, at)).collect();
    if second.is_empty() {
        return;
    }
    whole.sort_by_key(|(_, gpus)| Reverse(gpus.len()));
    for (node, gpus) in whole {
        let Some(&from) = second.get(node) else { continue };
        let size = gpus.len();
        let with = |node: &FreeGpus, gpus: usize| most(node).min(gpus);
        let old = &nodes[from];
        let gain = with(old, old.gpus.len() + size) - with(old, old.gpus.len());
        let has_room = |to: &FreeGpus| {
            let free = to.gpus.len();
            !to.second_choice && free >= size && with(to, free) - with(to, free - size) <= gain
        };
        let candidates = nodes.iter().enumerate().filter(|(_, to)| has_room(to));
        let Some((to, _)) = candidates.min_by_key(|(_, to)| to.gpus.len()) else { continue };
        nodes[from].gpus.extend(std::mem::take(gpus));
        *gpus = nodes[to].gpus.drain(..size).collect();
        *node = nodes[to].node;
        for at in [from, to] {
            nodes[at].partitionable = with(&nodes[at], nodes[at].gpus.len());
        }
    }
}

/// By their type, nodes with GPUs of one board only: those that are the first choice for replicas,
/// and those that are the second.
#[derive(Default)]
struct Choices(BTreeMap<usize, [Vec<usize>; 2]>);

impl Choices {
    fn of(problem: &Problem, pool: usize, nodes: &[FreeGpus]) -> Choices {
        let mut choices = Choices::default();
        // The GPUs of several boards on one node are arranged one board after the other.
        let alone = |n: &&FreeGpus| problem.node_types[n.node_type].only_pool() == Some(pool);
        for node in nodes.iter().filter(alone) {
            let of_type = choices.0.entry(node.node_type).or_default();
            of_type[usize::from(node.second_choice)].push(node.node);
        }
        choices
    }

    /// Exchanges nodes of a type, so that those of the first choice have the most GPUs in use. Where
    /// the GPUs of a node agree on MIG, what a node may get is decided before what it gets.
    fn prefer_first(self, arrangement: &mut Arrangement) {
        let mut in_use: BTreeMap<usize, usize> = BTreeMap::new();
        for (node, gpus) in &arrangement.whole {
            *in_use.entry(*node).or_default() += gpus.len();
        }
        for ((node, _), of) in &arrangement.slots {
            let serves = matches!(of, GpuUse::Pattern(_) | GpuUse::Whole);
            *in_use.entry(*node).or_default() += usize::from(serves);
        }
        let used = |node: &usize| in_use.get(node).copied().unwrap_or(0);
        let mut exchanged: BTreeMap<usize, usize> = BTreeMap::new();
        for [mut first, mut second] in self.0.into_values() {
            first.sort_by_key(used);
            second.sort_by_key(|node| Reverse(used(node)));
            let pairs = first.into_iter().zip(second);
            for (first, second) in pairs.take_while(|(first, second)| used(first) < used(second)) {
                exchanged.extend([(first, second), (second, first)]);
            }
        }
        let whole = arrangement.whole.iter_mut().map(|(node, _)| node);
        for node in whole.chain(arrangement.slots.iter_mut().map(|((node, _), _)| node)) {
            *node = exchanged.get(node).copied().unwrap_or(*node);
        }
    }
}

impl ByMode {
    /// Takes nodes with MIG on, by the pattern that each has where nodes have one profile.
    fn split_by_pattern(
        &mut self,
        solution: &Solution,
        node_type: usize,
        pool: usize,
        mut nodes: Vec<FreeGpus>,
    ) {
        match solution.formulation.single_profile.decode(node_type, pool, &solution.values) {
            None => self.on.entry(None).or_default().append(&mut nodes),
            Some(counts) => {
                for (pattern, count) in counts {
                    let rest = nodes.split_off((count as usize).min(nodes.len()));
                    self.on.entry(Some(pattern)).or_default().append(&mut nodes);
                    nodes = rest;
                }
            }
        }
    }

    /// Spreads patterns and `single` whole GPUs over the nodes.
    fn spread(
        self,
        problem: &Problem,
        solution: &Solution,
        pool: usize,
        single: i64,
    ) -> Vec<(Slot, GpuUse)> {
        let patterns = |of: &dyn Fn(usize) -> bool| -> Vec<(GpuUse, i64)> {
            let counts = solution.formulation.patterns.decode(pool, &solution.values, of);
            counts.into_iter().map(|(p, count)| (GpuUse::Pattern(p), count)).collect()
        };
        let whole = (GpuUse::Whole, single);
        if self.off.is_empty() && self.on.is_empty() {
            let mut uses = patterns(&|_| true);
            uses.push(whole);
            return spread(self.any, uses, GpuUse::Off);
        }
        let mut slots = spread(self.off, vec![whole], GpuUse::Off);
        for (pattern, mut nodes) in self.on {
            for node in &mut nodes {
                node.partitionable = node.gpus.len();
            }
            let (uses, idle) = match pattern {
                None => (patterns(&|_| true), GpuUse::OneInstance),
                Some(pattern) => (patterns(&|p| p == pattern), GpuUse::Free(pattern)),
            };
            let alone = |n: &FreeGpus| problem.node_types[n.node_type].only_pool() == Some(pool);
            let alone: BTreeSet<usize> =
                nodes.iter().filter(|n| alone(n)).map(|n| n.node).collect();
            let spread = spread(nodes, uses, idle);
            let in_use: BTreeSet<usize> =
                spread.iter().filter(|(_, of)| *of != idle).map(|((node, _), _)| *node).collect();
            // The program does not mind MIG on where nobody is; a node that serves nobody stays off.
            slots.extend(spread.into_iter().map(|(slot, of)| {
                let stays_off = alone.contains(&slot.0) && !in_use.contains(&slot.0);
                (slot, if stays_off { GpuUse::Off } else { of })
            }));
        }
        slots
    }
}

/// The one node whose present state is known: each group of its GPUs has its own patterns.
fn around_present(
    problem: &Problem,
    solution: &Solution,
    pool: usize,
    (node, node_type): (usize, usize),
    groups: Vec<GroupUse>,
    waiting: &BTreeMap<u32, i64>,
) -> Arrangement {
    let mut arrangement = Arrangement::default();
    let mut whole: Vec<usize> = Vec::new();
    let with_mig =
        solution.formulation.modes.decode(node_type, &solution.values).map(|nodes| nodes > 0);
    for (g, used) in groups.into_iter().enumerate() {
        let group = &problem.pools[pool].groups[g];
        whole.extend(used.whole);
        let idle = match (group.present.is_empty(), with_mig) {
            _ if group.idle_destroyed > 0 && with_mig != Some(true) => GpuUse::Off,
            (false, Some(false)) | (true, None | Some(false)) => GpuUse::Off,
            (true, Some(true)) => GpuUse::OneInstance,
            (false, _) => GpuUse::Unchanged(g),
        };
        let partitionable = used.others.len();
        let gpus = used.others;
        let free = FreeGpus { node, node_type, gpus, partitionable, second_choice: false };
        let patterns = used.patterns.into_iter().map(|(p, count)| (GpuUse::Pattern(p), count));
        let uses = patterns.chain([(GpuUse::Off, used.off)]).collect();
        arrangement.slots.extend(spread(vec![free], uses, idle));
    }
    whole.sort_unstable();
    for (size, count) in waiting.iter().rev().filter(|(size, _)| **size > 0) {
        for _ in 0..*count {
            let gpus: Vec<usize> = whole.drain(..(*size as usize).min(whole.len())).collect();
            arrangement.whole.push((node, gpus));
        }
    }
    arrangement
}

/// Spreads uses over the free GPUs of nodes so that nodes come out alike; nodes that are the second
/// choice get what the others have no room for. `idle` fills the rest.
fn spread(nodes: Vec<FreeGpus>, mut uses: Vec<(GpuUse, i64)>, idle: GpuUse) -> Vec<(Slot, GpuUse)> {
    let (second, first): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|n| n.second_choice);
    if second.is_empty() {
        return spread_alike(first, uses, idle);
    }
    let mut free: i64 = first.iter().map(|n| n.gpus.len() as i64).sum();
    let mut partitionable: i64 = first.iter().map(|n| n.partitionable as i64).sum();
    let mut of_first = uses.clone();
    // Patterns first: any GPU can be used whole.
    for patterns in [true, false] {
        for ((content, left), (_, taken)) in uses.iter_mut().zip(&mut of_first) {
            if is_pattern(content) == patterns {
                *taken = (*left).min(if patterns { partitionable } else { free });
                *left -= *taken;
                free -= *taken;
                partitionable -= *taken;
            }
        }
    }
    let mut slots = spread_alike(first, of_first, idle);
    slots.extend(spread_alike(second, uses, idle));
    slots
}

fn is_pattern(content: &GpuUse) -> bool {
    matches!(content, GpuUse::Pattern(_))
}

/// Spreads uses over the free GPUs of nodes so that nodes come out alike: a node that one use can
/// fill gets only that; what is left goes into the last nodes in order. `idle` fills the rest.
fn spread_alike(
    mut nodes: Vec<FreeGpus>,
    mut left: Vec<(GpuUse, i64)>,
    idle: GpuUse,
) -> Vec<(Slot, GpuUse)> {
    let total: i64 = nodes.iter().map(|n| n.gpus.len() as i64).sum();
    let used: i64 = left.iter().map(|(_, count)| count).sum();
    left.push((idle, (total - used).max(0)));
    let mut partitionable: i64 = nodes.iter().map(|n| n.partitionable as i64).sum();
    let mut to_partition: i64 =
        left.iter().filter(|(c, _)| is_pattern(c)).map(|(_, count)| count).sum();
    let mut slots = Vec::with_capacity(total as usize);
    nodes.sort_by_key(|n| (Reverse(n.gpus.len()), n.node));
    for node in nodes {
        let size = node.gpus.len() as i64;
        // A node may go whole only if the others can take all that is still to be partitioned.
        let dispensable = partitionable - node.partitionable as i64 >= to_partition;
        let fills = |(content, count): &(GpuUse, i64)| {
            let allowed =
                if is_pattern(content) { node.partitionable as i64 >= size } else { dispensable };
            *count >= size && allowed
        };
        let filling = left
            .iter()
            .enumerate()
            .filter(|(_, use_of)| fills(use_of))
            .max_by_key(|(i, (_, count))| (*count, Reverse(*i)))
            .map(|(i, _)| i);
        partitionable -= node.partitionable as i64;
        let mut patterns_left = node.partitionable;
        for gpu in node.gpus {
            let next = left
                .iter()
                .position(|(c, count)| *count > 0 && (patterns_left > 0 || !is_pattern(c)));
            let Some(at) = filling.or(next) else { continue };
            left[at].1 -= 1;
            if is_pattern(&left[at].0) {
                patterns_left -= 1;
                to_partition -= 1;
            }
            slots.push(((node.node, gpu), left[at].0));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(sizes: &[usize], partitionable: usize) -> Vec<FreeGpus> {
        let node = |(node, size): (usize, &usize)| FreeGpus {
            node,
            node_type: 0,
            gpus: (0..*size).collect(),
            partitionable: partitionable.min(*size),
            second_choice: false,
        };
        sizes.iter().enumerate().map(node).collect()
    }

    fn on_node(slots: &[(Slot, GpuUse)], node: usize) -> Vec<GpuUse> {
        slots.iter().filter(|((n, _), _)| *n == node).map(|(_, content)| *content).collect()
    }

    #[test]
    fn nodes_come_out_alike() {
        let uses = vec![(GpuUse::Pattern(0), 5), (GpuUse::Pattern(1), 4), (GpuUse::Whole, 1)];
        let slots = spread(nodes(&[4, 4, 4], 4), uses, GpuUse::Off);
        assert_eq!(on_node(&slots, 0), [GpuUse::Pattern(0); 4]);
        assert_eq!(on_node(&slots, 1), [GpuUse::Pattern(1); 4]);
        let rest = [GpuUse::Pattern(0), GpuUse::Whole, GpuUse::Off, GpuUse::Off];
        assert_eq!(on_node(&slots, 2), rest);
    }

    #[test]
    fn a_second_choice_serves_only_what_no_other_node_can() {
        let last_choice = |used: i64| {
            let mut nodes = nodes(&[4, 4, 4], 4);
            nodes[2].second_choice = true;
            let slots = spread(nodes, vec![(GpuUse::Pattern(0), used)], GpuUse::Off);
            [0, 1, 2]
                .map(|n| on_node(&slots, n).iter().filter(|c| **c == GpuUse::Pattern(0)).count())
        };
        assert_eq!([6, 8].map(last_choice), [[4, 2, 0], [4, 4, 0]]);
        assert_eq!(last_choice(11).iter().sum::<usize>(), 11);
    }

    #[test]
    fn the_first_choice_is_full_before_a_second_one_is_used_at_all() {
        let used = |uses: Vec<(GpuUse, i64)>, partitionable: usize| {
            let mut nodes = nodes(&[2, 2, 1], partitionable);
            nodes[1].second_choice = true;
            let slots = spread(nodes, uses, GpuUse::Off);
            [0, 1, 2].map(|n| on_node(&slots, n).iter().filter(|c| **c != GpuUse::Off).count())
        };
        let (pattern, whole) = (GpuUse::Pattern(0), GpuUse::Whole);
        assert_eq!(used(vec![(pattern, 4)], 2), [2, 1, 1]);
        assert_eq!(used(vec![(pattern, 1), (whole, 2)], 2), [2, 0, 1]);
        // One GPU of each node stays whole, so the first choice has room for two patterns.
        assert_eq!(used(vec![(pattern, 3), (whole, 1)], 1), [2, 1, 1]);
    }

    #[test]
    fn a_replica_of_several_gpus_leaves_a_second_choice_if_it_can() {
        let moved = |free: &[usize], second: usize, taken: usize| {
            let mut nodes = nodes(free, 9);
            nodes[second].second_choice = true;
            let gpus: Vec<usize> = nodes[second].gpus.drain(..taken).collect();
            let mut whole = vec![(second, gpus)];
            spare_second_choice(&mut nodes, &mut whole, |_| 9);
            let left: Vec<usize> = nodes.iter().map(|n| n.gpus.len()).collect();
            (whole[0].0, left)
        };
        assert_eq!(moved(&[2, 4, 3], 0, 2), (2, vec![2, 4, 1]));
        assert_eq!(moved(&[4, 2, 3], 0, 4), (0, vec![0, 2, 3]));
    }

    #[test]
    fn no_node_is_partitioned_beyond_what_it_may() {
        let uses = vec![(GpuUse::Pattern(0), 4), (GpuUse::Whole, 4)];
        let slots = spread(nodes(&[4, 4], 2), uses, GpuUse::Off);
        for node in 0..2 {
            let patterns = on_node(&slots, node);
            assert_eq!(patterns.iter().filter(|c| **c == GpuUse::Pattern(0)).count(), 2);
        }
    }
}
