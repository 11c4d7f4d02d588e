//! The problem in aggregate: what can be had from interchangeable GPUs, and what is wanted of it.
//!
//! Supply is `supply`'s part: pools of interchangeable GPUs and their patterns. Workloads that may sit in the same instances, at the same
//! priority and weight, are one *class*. Nothing here grows with the number of GPUs, and of the
//! distinct memory values only sorted lists remain. Knows no solver.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::supply::{self, Group, Kind, NodeType, Pattern, Pool};
use super::{PlanOptions, Spare};
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{FULL_GPU, layout};
use crate::plan::{MigModePolicy, Policy};

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
    /// The workload that must have all its replicas in kinds of one name, if the policy says so.
    pub one_name: Option<usize>,
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
    /// The rules of the site.
    pub policy: Policy,
    /// Whether the present state of the GPUs is known, so that change has a price.
    pub knows_present: bool,
    /// Whether the cut must hold nothing but what is handed out or busy.
    pub exact: bool,
    /// Pools, ordered by board id.
    pub pools: Vec<Pool>,
    /// Nodes by their numbers of GPUs.
    pub node_types: Vec<NodeType>,
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
    pub(crate) fn new(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Problem {
        let media = demand.workloads().iter().any(|w| w.media && w.count > 0);
        let policy = options.policy;
        let node_types = supply::node_types(fleet, policy.keep_whole);
        let pools = supply::pools(fleet, &node_types, media, options);
        let kinds = supply::kinds(&pools, media);
        let mut hopeless = BTreeMap::new();
        let mut grouped: BTreeMap<(i64, i64, Type), Vec<Member>> = BTreeMap::new();
        for (index, workload) in demand.workloads().iter().enumerate() {
            match usable_kinds(workload, &pools, &node_types, &kinds, policy) {
                Err(why) => {
                    hopeless.insert(index, why);
                }
                Ok(usable) if workload.count > 0 => {
                    let all_memory = workload.memory.is_none();
                    let split = policy.one_profile_per_workload && workload.count > 1;
                    let one_name = split.then_some(index);
                    let kind_set = Type {
                        whole_gpus: workload.whole_gpus,
                        kinds: usable,
                        all_memory,
                        one_name,
                    };
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
            policy,
            knows_present: options.present.is_some(),
            exact: options.spare == Spare::None,
            pools,
            node_types,
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

    /// The same demand on the same GPUs where each GPU of a pool is cut by the one pattern given
    /// for it, whatever is on it now and whatever the site's rules.
    pub(crate) fn with_cuts(&self, cuts: &[layout::Counts]) -> Problem {
        let mut problem = self.clone();
        problem.policy = Policy::default();
        problem.knows_present = false;
        for (pool, counts) in problem.pools.iter_mut().zip(cuts) {
            pool.groups = vec![Group { gpus: pool.gpus, ..Group::default() }];
            pool.patterns = vec![Pattern { counts: counts.clone(), ..Pattern::default() }];
        }
        problem
    }

    /// For each node of the fleet, the index of its type.
    pub(crate) fn types_of_nodes(&self, fleet: &Fleet) -> Vec<usize> {
        let boards = fleet.boards();
        let index: BTreeMap<&[usize], usize> =
            self.node_types.iter().enumerate().map(|(i, t)| (&t.of_pool[..], i)).collect();
        let type_of = |node| {
            let of_pool = supply::of_pool(node, &boards);
            index.get(&of_pool[..]).copied().unwrap_or_default()
        };
        fleet.nodes().iter().map(type_of).collect()
    }

    /// The name that a pod would ask for: the profile's, or `full`.
    pub(crate) fn kind_name(&self, kind: usize) -> String {
        let kind = &self.kinds[kind];
        let board = &self.pools[kind.pool].board;
        kind.profile.map_or(FULL_GPU.to_string(), |p| board.profiles[p].name.to_string())
    }

    /// Replicas of a type that are wanted and could be held.
    pub(crate) fn wanted_of(&self, kind_set: usize) -> i64 {
        self.classes.iter().filter(|c| c.kind_set == kind_set).map(|c| c.curve.count).sum()
    }

    /// The kinds that a replica of `workload` may sit in; none where nothing suits it.
    pub(crate) fn usable_kinds(&self, workload: &Workload) -> Vec<usize> {
        usable_kinds(workload, &self.pools, &self.node_types, &self.kinds, self.policy)
            .unwrap_or_default()
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

/// The kinds that a replica of `workload` may sit in, or why there is none.
fn usable_kinds(
    workload: &Workload,
    pools: &[Pool],
    node_types: &[NodeType],
    kinds: &[Kind],
    policy: Policy,
) -> Result<Vec<usize>, Hopeless> {
    if !pools.iter().any(|p| workload.allows(&p.board)) {
        return Err(Hopeless::NoBoard);
    }
    let whole = i64::from(workload.whole_gpus);
    let memory_mib = workload.memory.map_or(0, |m| m.0 as i64);
    // On a node whose GPUs all have MIG on, a whole GPU is one instance that takes all of it.
    let whole_as_instance = whole == 1 && policy.mig_mode == MigModePolicy::PerNode;
    let largest = |pool: usize| node_types.iter().map(|n| n.of_pool[pool]).max().unwrap_or(0);
    let usable: Vec<usize> = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| {
            let board = &pools[kind.pool].board;
            let profile = kind.profile.map(|p| &board.profiles[p]);
            workload.allows(board)
                && kind.compute_slices >= i64::from(workload.compute_slices)
                && memory_mib <= kind.memory_mib * whole.max(1)
                && match profile {
                    None => whole > 0 && whole <= largest(kind.pool) as i64,
                    Some(p) if whole == 0 => !workload.media || p.has_media(),
                    Some(p) => {
                        let takes_all = p.memory_slices == board.memory_slices;
                        whole_as_instance && takes_all && p.name.is_plain()
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
