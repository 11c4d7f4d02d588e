//! The problem in aggregate: what can be had from interchangeable GPUs, and what is wanted of it.
//!
//! GPUs of one board are one *pool*; workloads that may sit in the same instances, at the same
//! priority and weight, are one *class*. Nothing here grows with the number of GPUs, and of the
//! distinct memory values only sorted lists remain. Knows no solver.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{BoardRef, MediaEngines, layout};

/// All GPUs of one board.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// The board.
    pub board: BoardRef,
    /// How many GPUs.
    pub gpus: i64,
    /// For each number of such GPUs on one node, how many nodes have it.
    pub node_sizes: BTreeMap<usize, i64>,
    /// The maximal multisets of profiles that one GPU can hold, over the profiles that this
    /// demand can use; by index into the board's profiles.
    pub patterns: Vec<layout::Counts>,
}

/// What an instance can be: a profile of a pool, or a pool's whole GPU.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Index of the pool.
    pub pool: usize,
    /// Index of the profile in the board; `None` is the whole GPU with MIG off.
    pub profile: Option<usize>,
    /// Memory of one, in MiB.
    pub memory_mib: i64,
    /// Compute slices of one.
    pub compute_slices: i64,
}

/// Replicas that may sit in the same kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Type {
    /// Whole GPUs of one replica; 0 is one instance.
    pub whole_gpus: u32,
    /// Indices of the kinds, ascending.
    pub kinds: Vec<usize>,
    /// Whether a replica wants all memory of its whole GPUs, so that its demand depends on the
    /// board that it gets.
    pub all_memory: bool,
}

/// Replicas of one type, priority and weight. Which of them are served is decided by number alone:
/// the largest demands first.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    /// Index of the type.
    pub kind_set: usize,
    /// Priority.
    pub priority: i64,
    /// Worth of one replica, in millionths.
    pub weight: i64,
    /// Workloads, the largest demand first, then by team and name: index, MiB of a replica, count.
    pub members: Arc<[Member]>,
    /// Memory served by the first `n` replicas.
    pub curve: Arc<Curve>,
}

/// A workload of a class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// Index into the demand.
    pub workload: usize,
    /// Memory of one replica in MiB; 0 where the type wants all memory.
    pub memory_mib: i64,
    /// Replicas.
    pub count: i64,
}

/// A concave step sum: the memory of the `n` largest replicas of a class, as runs of equal ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Curve {
    /// Each run: replicas before it, memory before it, memory of one of its replicas.
    runs: Vec<Run>,
    /// Replicas in all.
    pub count: i64,
}

/// Replicas of equal memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Larger replicas that come before.
    pub before: i64,
    /// Their memory in MiB.
    pub before_mib: i64,
    /// Memory of one replica of this run, in MiB.
    pub slope_mib: i64,
}

impl Curve {
    /// The curve over members that are sorted by falling memory.
    fn new(members: &[Member]) -> Curve {
        let mut curve = Curve::default();
        let mut sum = 0;
        for member in members {
            if curve.runs.last().is_none_or(|r| r.slope_mib != member.memory_mib) {
                curve.runs.push(Run {
                    before: curve.count,
                    before_mib: sum,
                    slope_mib: member.memory_mib,
                });
            }
            curve.count += member.count;
            sum += member.count * member.memory_mib;
        }
        curve
    }

    /// Runs of equal memory, the largest first.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Index of the run that replica number `n` (from 1) belongs to.
    pub(crate) fn run_of(&self, n: i64) -> usize {
        self.runs.partition_point(|r| r.before < n).saturating_sub(1)
    }

    /// Memory of the `n` largest replicas, in MiB.
    pub(crate) fn at(&self, n: i64) -> i64 {
        match self.runs.get(self.run_of(n)) {
            Some(run) => run.before_mib + (n - run.before) * run.slope_mib,
            None => 0,
        }
    }
}

/// Why a workload cannot be served by this fleet, however empty it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hopeless {
    /// The fleet has none of its boards.
    NoBoard,
    /// No instance is large enough, or none has the compute slices or media engines.
    TooLarge,
    /// No node has so many whole GPUs, or they have too little memory.
    NeedsWholeGpus,
}

/// Shares of a large demand are held in so many parts, so that a solver can tell them apart.
const SHARES: u128 = 10_000;

/// The whole problem.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// Pools, ordered by board id.
    pub pools: Vec<Pool>,
    /// Kinds, ordered by pool, then by profile with the whole GPU last.
    pub kinds: Vec<Kind>,
    /// Types, sorted.
    pub types: Vec<Type>,
    /// Classes, by falling priority, then falling weight, then type.
    pub classes: Vec<Class>,
    /// For each type, its share of all replicas asked for; exact counts in a small demand, else
    /// parts of [`SHARES`].
    pub shares: Vec<i64>,
    /// Workloads that no empty fleet could serve, by index.
    pub hopeless: BTreeMap<usize, Hopeless>,
    /// The most GPUs that may be in use, where that is fewer than there are.
    pub most_gpus: Option<i64>,
}

impl Problem {
    /// Aggregates a demand and a fleet. Replicas beyond what the fleet could ever hold change
    /// nothing, so counts stay small enough for exact sums.
    pub(crate) fn new(demand: &Demand, fleet: &Fleet) -> Problem {
        let media = demand.workloads().iter().any(|w| w.media && w.count > 0);
        let pools = pools(fleet, media);
        let kinds = kinds(&pools, media);
        let mut hopeless = BTreeMap::new();
        let mut grouped: BTreeMap<(i64, i64, Type), Vec<Member>> = BTreeMap::new();
        for (index, workload) in demand.workloads().iter().enumerate() {
            match usable_kinds(workload, &pools, &kinds) {
                Err(why) => {
                    hopeless.insert(index, why);
                }
                Ok(usable) if workload.count > 0 => {
                    let all_memory = workload.memory.is_none();
                    let kind_set =
                        Type { whole_gpus: workload.whole_gpus, kinds: usable, all_memory };
                    let weight = i64::try_from(workload.weight.0).unwrap_or(i64::MAX);
                    grouped.entry((-workload.priority, -weight, kind_set)).or_default().push(
                        Member {
                            workload: index,
                            memory_mib: workload.memory.map_or(0, |m| m.0 as i64),
                            count: i64::try_from(workload.count).unwrap_or(i64::MAX),
                        },
                    );
                }
                Ok(_) => {}
            }
        }
        let mut types: Vec<Type> = grouped.keys().map(|(_, _, t)| t.clone()).collect();
        types.sort();
        types.dedup();
        let mut problem = Problem {
            pools,
            kinds,
            types,
            classes: Vec::new(),
            shares: Vec::new(),
            hopeless,
            most_gpus: None,
        };
        let mut wanted = vec![0u128; problem.types.len()];
        for ((priority, weight, kind_set), mut members) in grouped {
            // Members arrive in the order of the demand, so equal ones stay by team and name.
            members.sort_by_key(|m| std::cmp::Reverse(m.memory_mib));
            let of_type = problem.types.binary_search(&kind_set).unwrap_or_default();
            wanted[of_type] += members.iter().map(|m| m.count as u128).sum::<u128>();
            keep_first(&mut members, problem.capacity(&kind_set));
            problem.classes.push(Class {
                kind_set: of_type,
                priority: -priority,
                weight: -weight,
                curve: Arc::new(Curve::new(&members)),
                members: members.into(),
            });
        }
        let all: u128 = wanted.iter().sum();
        problem.shares = wanted
            .into_iter()
            .map(|w| if all <= SHARES { w } else { (w * SHARES).div_ceil(all) } as i64)
            .collect();
        problem
    }

    /// The same demand on the same GPUs where each GPU of a pool is cut by one of `patterns` of
    /// that pool.
    pub(crate) fn with_patterns(&self, patterns: Vec<Vec<layout::Counts>>) -> Problem {
        let mut problem = self.clone();
        for (pool, patterns) in problem.pools.iter_mut().zip(patterns) {
            pool.patterns = patterns;
        }
        problem
    }

    /// The kinds that a replica of `workload` may sit in; none where nothing suits it.
    pub(crate) fn usable_kinds(&self, workload: &Workload) -> Vec<usize> {
        usable_kinds(workload, &self.pools, &self.kinds).unwrap_or_default()
    }

    /// The same demand where no more than `most` GPUs may be in use.
    pub(crate) fn with_most_gpus(&self, most: i64) -> Problem {
        Problem { most_gpus: Some(most), ..self.clone() }
    }

    /// The most replicas of a type that the fleet could hold if nothing else were on it.
    pub(crate) fn capacity(&self, kind_set: &Type) -> i64 {
        kind_set
            .kinds
            .iter()
            .map(|&k| {
                let kind = &self.kinds[k];
                let pool = &self.pools[kind.pool];
                match kind.profile {
                    Some(p) => i64::from(pool.board.profiles[p].max_instances) * pool.gpus,
                    None => pool.gpus / i64::from(kind_set.whole_gpus.max(1)),
                }
            })
            .sum()
    }
}

/// Drops what comes after the first `most` replicas: the fleet could never hold it, and sums over
/// what is left stay far from overflow.
fn keep_first(members: &mut Vec<Member>, most: i64) {
    let mut left = most;
    members.retain_mut(|member| {
        member.count = member.count.min(left);
        left -= member.count;
        member.count > 0
    });
}

fn pools(fleet: &Fleet, media: bool) -> Vec<Pool> {
    let boards = fleet.boards();
    let mut node_sizes: Vec<BTreeMap<usize, i64>> = vec![BTreeMap::new(); boards.len()];
    for node in fleet.nodes() {
        let mut of_board = vec![0usize; boards.len()];
        for board in &node.gpus {
            if let Ok(at) = boards.binary_search_by(|b| b.id.cmp(&board.id)) {
                of_board[at] += 1;
            }
        }
        for (size, sizes) in of_board.iter().zip(&mut node_sizes).filter(|(size, _)| **size > 0) {
            *sizes.entry(*size).or_default() += 1;
        }
    }
    boards
        .into_par_iter()
        .zip(node_sizes)
        .map(|(board, node_sizes)| Pool {
            gpus: node_sizes.iter().map(|(size, count)| *size as i64 * count).sum(),
            node_sizes,
            patterns: layout::maximal_multisets(&board, |p| is_useful(&board, p, media)),
            board,
        })
        .collect()
}

/// Whether a plan can gain by a profile. `+gfx` offers nothing that a demand can ask for over the
/// plain profile of the same placements, and without demand for media the same holds of the media
/// variants.
fn is_useful(board: &BoardRef, profile: usize, media: bool) -> bool {
    let name = &board.profiles[profile].name;
    name.is_plain()
        || media
            && name.media_engines() != MediaEngines::Default
            && name.plus.iter().chain(&name.minus).all(|a| a == "me" || a == "me.all")
}

fn kinds(pools: &[Pool], media: bool) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (index, pool) in pools.iter().enumerate() {
        for (p, profile) in pool.board.profiles.iter().enumerate() {
            if is_useful(&pool.board, p, media) {
                kinds.push(Kind {
                    pool: index,
                    profile: Some(p),
                    memory_mib: profile.memory.0 as i64,
                    compute_slices: i64::from(profile.compute_slices),
                });
            }
        }
        kinds.push(Kind {
            pool: index,
            profile: None,
            memory_mib: pool.board.memory.0 as i64,
            compute_slices: i64::from(pool.board.compute_slices),
        });
    }
    kinds
}

/// The kinds that a replica of `workload` may sit in, or why there is none.
fn usable_kinds(
    workload: &Workload,
    pools: &[Pool],
    kinds: &[Kind],
) -> Result<Vec<usize>, Hopeless> {
    if !pools.iter().any(|p| workload.allows(&p.board)) {
        return Err(Hopeless::NoBoard);
    }
    let whole = i64::from(workload.whole_gpus);
    let memory_mib = workload.memory.map_or(0, |m| m.0 as i64);
    let usable: Vec<usize> = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| {
            let pool = &pools[kind.pool];
            let enough_compute = kind.compute_slices >= i64::from(workload.compute_slices);
            workload.allows(&pool.board)
                && enough_compute
                && match kind.profile {
                    None => {
                        let largest = pool.node_sizes.keys().next_back().copied().unwrap_or(0);
                        whole > 0
                            && whole <= largest as i64
                            && memory_mib <= kind.memory_mib * whole
                    }
                    Some(p) => {
                        whole == 0
                            && memory_mib <= kind.memory_mib
                            && (!workload.media || pool.board.profiles[p].has_media())
                    }
                }
        })
        .map(|(k, _)| k)
        .collect();
    match (usable.is_empty(), whole) {
        (false, _) => Ok(usable),
        (true, 0) => Err(Hopeless::TooLarge),
        (true, _) => Err(Hopeless::NeedsWholeGpus),
    }
}
