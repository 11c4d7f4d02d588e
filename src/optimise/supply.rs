//! What can be had: pools of interchangeable GPUs, the patterns that each can be partitioned into, and the
//! kinds of instance that come of it. Nothing here grows with the number of GPUs.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::options::PlanOptions;
use crate::fleet::{Fleet, Node};
use crate::hardware::{Board, BoardRef, MediaEngines, ProfileName, layout};
use crate::plan::Spare;
use crate::plan::{MigModePolicy, Strategy};
use crate::reconfigure::change::{self, PresentGpu, PresentInstance};

/// All GPUs of one board.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// The board.
    pub board: BoardRef,
    /// How many GPUs.
    pub gpus: i64,
    /// GPUs with the same present state; one group where none is known.
    pub groups: Vec<GpuGroup>,
    /// What a GPU can be partitioned into.
    pub patterns: Vec<Pattern>,
}

impl Pool {
    /// Whether something runs on the whole GPU of this index, so that MIG stays off.
    pub(crate) fn stays_whole(&self, gpu: usize) -> bool {
        self.groups.iter().any(|group| group.stays_whole && group.members.contains(&gpu))
    }

    /// Whether GPUs can have an instance of a profile.
    fn makes(&self, profile: usize) -> bool {
        self.patterns.iter().any(|pattern| pattern.counts[profile] > 0)
    }

    /// The name of the first profile that a pattern has.
    pub(crate) fn name_of(&self, pattern: usize) -> Option<&ProfileName> {
        let profile = self.patterns[pattern].counts.iter().position(|count| *count > 0)?;
        Some(&self.board.profiles[profile].name)
    }
}

/// GPUs of a pool that hold the same instances now.
#[derive(Debug, Clone, Default)]
pub(crate) struct GpuGroup {
    /// How many.
    pub gpus: i64,
    /// Their indices on the one node whose present state is known; empty where none is.
    pub members: Vec<usize>,
    /// What each of them holds now.
    pub present: Vec<PresentInstance>,
    /// Whether something runs on the whole GPU, so that MIG stays off.
    pub stays_whole: bool,
    /// Whether some of that is busy and must stay.
    pub busy_stays: bool,
    /// Instances that are destroyed where such a GPU serves no replica.
    pub idle_destroyed: i64,
}

impl GpuGroup {
    /// How many instances of a profile each of them holds now.
    fn held(&self, profile: usize) -> u32 {
        let of_profile = self.present.iter().filter(|i| i.placement.profile == profile);
        of_profile.count() as u32
    }

    /// Whether MIG stays on where such a GPU serves no replica, as nothing makes it go off.
    pub(crate) fn stays_on(&self) -> bool {
        !self.present.is_empty() && self.idle_destroyed == 0
    }
}

/// A multiset of profiles that one GPU of a group can hold: where instances may stay free, only
/// those that no other contains at the same price.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pattern {
    /// How often each profile of the board.
    pub counts: layout::Counts,
    /// Of which group of the pool.
    pub group: usize,
    /// Present instances that are destroyed when a GPU of the group gets this pattern; the fewest
    /// that will do.
    pub destroyed: i64,
    /// Of the counts, instances that are busy now and stay, whatever is assigned to them.
    pub busy: layout::Counts,
}

/// Nodes that have the same number of GPUs of each pool.
#[derive(Debug, Clone)]
pub(crate) struct NodeType {
    /// How many nodes.
    pub nodes: i64,
    /// GPUs of each pool on one of them.
    pub of_pool: Vec<usize>,
    /// Of those, the GPUs that stay whole.
    pub keep_whole: Vec<usize>,
}

impl NodeType {
    /// GPUs of a pool on one node that may be partitioned.
    pub(crate) fn partitionable(&self, pool: usize) -> usize {
        self.of_pool[pool] - self.keep_whole[pool]
    }

    /// The one pool whose GPUs these nodes have; `None` where they have several.
    pub(crate) fn only_pool(&self) -> Option<usize> {
        let mut pools = (0..self.of_pool.len()).filter(|p| self.of_pool[*p] > 0);
        let first = pools.next();
        if pools.next().is_some() { None } else { first }
    }
}

/// What an instance can be: a profile of a pool, or a pool's whole GPU.
#[derive(Debug, Clone)]
pub(crate) struct InstanceKind {
    /// Index of the pool.
    pub pool: usize,
    /// Index of the profile in the board; `None` is the whole GPU with MIG off.
    pub profile: Option<usize>,
    /// Of which supply it is: 0, but where the GPUs change their layouts, so that each configuration
    /// is a supply of its own.
    pub supply: usize,
    /// Where the counts of a pattern say how many it makes; `None` is a whole GPU that no pattern
    /// makes.
    pub made_at: Option<usize>,
    /// Memory of one, in MiB.
    pub memory_mib: i64,
    /// Compute slices of one.
    pub compute_slices: i64,
}

/// Counts the nodes that are alike. GPUs that stay whole are those that something runs on so, then
/// those of the board that a node has most of; a GPU with a busy instance is none of them.
pub(crate) fn node_types(fleet: &Fleet, options: &PlanOptions) -> Vec<NodeType> {
    let boards = fleet.boards();
    let keep_whole = options.policy.keep_whole;
    if let (Some(present), [node]) = (&options.present, fleet.nodes()) {
        let count = |state: fn(&PresentGpu) -> bool| {
            let gpus = node.gpus.iter().zip(present.iter());
            let stay = gpus.filter(|(_, gpu)| state(gpu) && !options.allow_disruption);
            count_by_pool(stay.map(|(board, _)| board), &boards)
        };
        let of_pool = of_pool(node, &boards);
        let (busy, whole) = (count(PresentGpu::is_busy), count(|gpu| gpu.in_use_whole));
        let able = of_pool.iter().zip(busy).map(|(all, busy)| all - busy).collect();
        let keep = kept_whole(able, &whole, keep_whole);
        return vec![NodeType { nodes: 1, of_pool, keep_whole: keep }];
    }
    let mut counts: BTreeMap<Vec<usize>, i64> = BTreeMap::new();
    for node in fleet.nodes() {
        *counts.entry(of_pool(node, &boards)).or_default() += 1;
    }
    counts.into_iter().map(|(of_pool, nodes)| node_type(of_pool, nodes, keep_whole)).collect()
}

fn node_type(of_pool: Vec<usize>, nodes: i64, keep_whole: u32) -> NodeType {
    let keep = kept_whole(of_pool.clone(), &vec![0; of_pool.len()], keep_whole);
    NodeType { nodes, of_pool, keep_whole: keep }
}

/// How many GPUs of each pool a node keeps whole of those that can be: first such as are in use so.
fn kept_whole(able: Vec<usize>, in_use: &[usize], keep_whole: u32) -> Vec<usize> {
    let mut left = keep_whole as usize;
    let mut keep = vec![0; able.len()];
    let mut order: Vec<usize> = (0..able.len()).collect();
    order.sort_by_key(|p| (std::cmp::Reverse(able[*p]), *p));
    for most in [in_use, &able] {
        for pool in &order {
            let more = left.min(most[*pool].saturating_sub(keep[*pool]));
            keep[*pool] += more;
            left -= more;
        }
    }
    keep
}

/// Adds nodes that have GPUs of one pool only to node types in the order of [`node_types`].
pub(crate) fn add_nodes(
    types: &mut Vec<NodeType>,
    pool: usize,
    nodes: i64,
    gpus: usize,
    keep_whole: u32,
) {
    let pools = types.first().map_or(pool + 1, |t| t.of_pool.len());
    let mut of_pool = vec![0; pools];
    of_pool[pool] = gpus;
    match types.binary_search_by(|t| t.of_pool.cmp(&of_pool)) {
        Ok(at) => types[at].nodes += nodes,
        Err(at) => types.insert(at, node_type(of_pool, nodes, keep_whole)),
    }
}

/// How many GPUs of each board (ordered by id) a node has.
pub(crate) fn of_pool(node: &Node, boards: &[BoardRef]) -> Vec<usize> {
    count_by_pool(node.gpus.iter(), boards)
}

fn count_by_pool<'g>(gpus: impl Iterator<Item = &'g BoardRef>, boards: &[BoardRef]) -> Vec<usize> {
    let mut of_pool = vec![0; boards.len()];
    for board in gpus {
        if let Ok(at) = boards.binary_search_by(|b| b.id.cmp(&board.id)) {
            of_pool[at] += 1;
        }
    }
    of_pool
}

/// The pools of a fleet, ordered by board id, with groups and patterns.
pub(crate) fn pools(
    fleet: &Fleet,
    node_types: &[NodeType],
    media: bool,
    options: &PlanOptions,
) -> Vec<Pool> {
    fleet
        .boards()
        .into_par_iter()
        .enumerate()
        .map(|(index, board)| {
            let gpus = node_types.iter().map(|n| n.nodes * n.of_pool[index] as i64).sum();
            let groups = groups(fleet, &board, gpus, options);
            let patterns = match options.policy.strategy {
                Strategy::Mixed => mixed_patterns(&board, &groups, media, options),
                Strategy::Single => uniform_patterns(&board, media),
            };
            Pool { board, gpus, groups, patterns }
        })
        .collect()
}

/// GPUs of one board by their present state.
fn groups(fleet: &Fleet, board: &BoardRef, gpus: i64, options: &PlanOptions) -> Vec<GpuGroup> {
    let (Some(present), [node]) = (&options.present, fleet.nodes()) else {
        return vec![GpuGroup { gpus, ..GpuGroup::default() }];
    };
    let mut groups: Vec<GpuGroup> = Vec::new();
    for (index, _) in node.gpus.iter().enumerate().filter(|(_, b)| b.id == board.id) {
        let now = present.get(index).cloned().unwrap_or_default();
        let stays_whole = now.in_use_whole && !options.allow_disruption;
        let busy_stays = now.is_busy() && !options.allow_disruption;
        let state = now.instances;
        match groups.iter_mut().find(|g| g.present == state && g.stays_whole == stays_whole) {
            Some(group) => {
                group.gpus += 1;
                group.members.push(index);
            }
            None => groups.push(GpuGroup {
                gpus: 1,
                members: vec![index],
                stays_whole,
                busy_stays,
                idle_destroyed: 0,
                present: state,
            }),
        }
    }
    for group in &mut groups {
        // A GPU that serves no replica keeps what it has, unless nothing free may stay.
        let may_go_off = options.policy.mig_mode == MigModePolicy::PerGpu;
        if options.spare == Spare::None && !group.busy_stays && may_go_off {
            group.idle_destroyed = group.present.len() as i64;
        }
    }
    groups
}

/// For each group the multisets that can be had around what is busy, with their price.
fn mixed_patterns(
    board: &BoardRef,
    groups: &[GpuGroup],
    media: bool,
    options: &PlanOptions,
) -> Vec<Pattern> {
    let useful = |p: usize| is_useful(board, p, media);
    let mut patterns = Vec::new();
    for (g, group) in groups.iter().enumerate().filter(|(_, group)| !group.stays_whole) {
        if group.present.is_empty() && !(options.present.is_some() && options.spare == Spare::None)
        {
            let maximal = layout::maximal_multisets(board, useful);
            patterns.extend(maximal.into_iter().map(|counts| Pattern {
                busy: vec![0; counts.len()],
                counts,
                group: g,
                destroyed: 0,
            }));
            continue;
        }
        let mut busy = vec![0; board.profiles.len()];
        for instance in group.present.iter().filter(|i| i.is_busy() && !options.allow_disruption) {
            busy[instance.placement.profile] += 1;
        }
        // What is busy stays and what is idle may, also where the demand does not ask for such; more of
        // it is not made.
        let most = |p: usize| if useful(p) { u32::MAX } else { group.held(p) };
        let priced: Vec<Pattern> = layout::multisets(board, |p| most(p) > 0)
            .into_iter()
            .filter(|counts| counts.iter().any(|c| *c > 0))
            .filter(|counts| counts.iter().enumerate().all(|(p, c)| *c <= most(p)))
            .filter(|counts| counts.iter().zip(&busy).all(|(c, b)| c >= b))
            .filter_map(|counts| {
                let destroyed = change::fewest_destroyed(
                    board,
                    &group.present,
                    &counts,
                    options.allow_disruption,
                )?;
                Some(Pattern {
                    busy: busy.clone(),
                    counts,
                    group: g,
                    destroyed: i64::from(destroyed),
                })
            })
            .collect();
        let within = |a: &Pattern, b: &Pattern| {
            a.counts != b.counts
                && a.destroyed >= b.destroyed
                && a.counts.iter().zip(&b.counts).all(|(x, y)| x <= y)
        };
        let keep_all = options.spare == Spare::None;
        patterns.extend(
            priced.iter().filter(|a| keep_all || !priced.iter().any(|b| within(a, b))).cloned(),
        );
    }
    patterns
}

/// One profile, as often as it fits: all that a node of one profile offers of a board.
fn uniform_patterns(board: &BoardRef, media: bool) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (p, profile) in board.profiles.iter().enumerate() {
        if is_useful(board, p, media) {
            let mut counts = vec![0; board.profiles.len()];
            counts[p] = profile.max_instances;
            patterns.push(Pattern { busy: vec![0; counts.len()], counts, ..Pattern::default() });
        }
    }
    patterns
}

/// Whether a plan can gain by a profile. `+gfx` offers nothing that a demand can ask for over the
/// plain profile of the same placements, and without demand for media the same holds of the media
/// variants.
pub(crate) fn is_useful(board: &Board, profile: usize, media: bool) -> bool {
    let name = &board.profiles[profile].name;
    name.is_plain()
        || media
            && name.media_engines() != MediaEngines::Default
            && name.plus.iter().chain(&name.minus).all(|a| a == "me" || a == "me.all")
}

/// Every kind of instance of these pools.
pub(crate) fn kinds(pools: &[Pool], media: bool) -> Vec<InstanceKind> {
    let mut kinds = Vec::new();
    for (index, pool) in pools.iter().enumerate() {
        for (p, profile) in pool.board.profiles.iter().enumerate() {
            if is_useful(&pool.board, p, media) || pool.makes(p) {
                kinds.push(InstanceKind {
                    pool: index,
                    profile: Some(p),
                    supply: 0,
                    made_at: Some(p),
                    memory_mib: profile.memory.0 as i64,
                    compute_slices: i64::from(profile.compute_slices),
                });
            }
        }
        kinds.push(InstanceKind {
            pool: index,
            profile: None,
            supply: 0,
            made_at: None,
            memory_mib: pool.board.memory.0 as i64,
            compute_slices: i64::from(pool.board.compute_slices),
        });
    }
    kinds
}
