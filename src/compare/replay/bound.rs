//! The most that a configuration can serve in each period, with any instance that suffices.
//!
//! Which sets of replicas can be served at once is decided by a matching between replicas and
//! instances, so these sets are a matroid (transversal; Edmonds and Fulkerson 1965), and taking
//! replicas greedily (by priority, guaranteed ones first, then by weight and memory) where an
//! augmenting path frees an instance for one more is exact for the goal's first stages. Equal replicas
//! and instances are counts, so a period costs little whatever its numbers. Replicas of several whole
//! GPUs are no matroid: where there are any, all that want whole GPUs go to the optimiser, with the
//! GPUs that have MIG off; and where an instance of all slices is a whole GPU too, all replicas do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rayon::prelude::*;

use super::configuration::{Configuration, Kind};
use super::{Row, Rule, Served, Times, fleet_mib};
use crate::demand::over_time::OverTime;
use crate::demand::time::HOUR_MS;
use crate::demand::{Demand, Workload};
use crate::error::Result;
use crate::fleet::{Fleet, Node};
use crate::hardware::layout::Counts;
use crate::hardware::{Board, BoardRef};
use crate::optimise::model::dot;
use crate::optimise::problem::Problem;
use crate::optimise::stages::{self, Solution};
use crate::optimise::supply::Pool;
use crate::optimise::{PlanOptions, Until};
use crate::plan::{MigModePolicy, Policy};

/// What can be served in one period: replicas by workload, and their demand in MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Best {
    replicas: Vec<u64>,
    mib: u128,
}

/// Replays demand under the bound.
pub(super) fn run(demand: &OverTime, fleet: &Fleet, configuration: &Configuration) -> Result<Row> {
    let workloads = demand.peak().workloads();
    let matching = Matching::new(workloads, configuration);
    let several = workloads.iter().any(|w| w.whole_gpus > 1);
    let given = several.then(|| Given::new(workloads, fleet, configuration));
    let optimised = given.as_ref().map(|given| given.of_periods(demand)).transpose()?;
    let best: Vec<Best> = demand
        .periods()
        .par_iter()
        .enumerate()
        .map(|(p, period)| {
            let (Some(given), Some(of_optimiser)) =
                (&given, optimised.as_ref().and_then(|of_periods| of_periods.get(p)))
            else {
                return matching.best(&period.counts);
            };
            let left = |(w, n): (&Workload, &u64)| if given.decides(w) { 0 } else { *n };
            let counts: Vec<u64> = workloads.iter().zip(&*period.counts).map(left).collect();
            let mut best = matching.best(&counts);
            best.mib += of_optimiser.mib;
            best.replicas.iter_mut().zip(&of_optimiser.replicas).for_each(|(sum, n)| *sum += n);
            best
        })
        .collect();
    let hour = HOUR_MS.unsigned_abs() as u128;
    let mut served = vec![Served::default(); workloads.len()];
    let mut served_mib: Times = 0;
    let mut missed_in: Vec<Times> = Vec::with_capacity(best.len());
    for (period, best) in demand.periods().iter().zip(&best) {
        let length = u128::from(period.hours) * hour;
        let mut missed = 0;
        for ((served, asked), got) in served.iter_mut().zip(&*period.counts).zip(&best.replicas) {
            served.asked += u128::from(*asked) * length;
            served.served += u128::from(*got) * length;
            missed += u128::from(asked - got) * hour;
        }
        served_mib += best.mib * length;
        missed_in.push(missed);
    }
    Ok(Row {
        name: configuration.name.clone(),
        rule: Rule::Bound,
        workloads: served,
        idle_mib: fleet_mib(demand, fleet).saturating_sub(served_mib),
        served_mib,
        missed: demand.hours().iter().map(|h| missed_in[h.period]).collect(),
    })
}

/// The GPUs of a configuration as the optimiser sees them, where replicas of several whole GPUs make
/// the sets that can be served no matroid.
struct Given<'a> {
    workloads: &'a [Workload],
    configuration: &'a Configuration,
    /// Whether instances are among them: where one is a whole GPU too, what is served in instances
    /// depends on what is served on whole GPUs.
    instances: bool,
    /// The GPUs with MIG off on their nodes, and each instance as a GPU of a board of its own.
    gpus: Fleet,
}

impl<'a> Given<'a> {
    fn new(
        workloads: &'a [Workload],
        fleet: &Fleet,
        configuration: &'a Configuration,
    ) -> Given<'a> {
        let boards = fleet.boards();
        let mut nodes: BTreeMap<usize, Node> = BTreeMap::new();
        for ((node, id), gpus) in &configuration.whole {
            let Some(board) = boards.iter().find(|b| b.id == *id) else { continue };
            let name = fleet.nodes()[*node].name.clone();
            let of = nodes.entry(*node).or_insert_with(|| Node::new(name, Vec::new()));
            of.gpus.extend((0..*gpus).map(|_| board.clone()));
        }
        let mut nodes: Vec<Node> = nodes.into_values().collect();
        let instances = configuration.kinds.iter().any(|kind| kind.is_whole_gpu);
        for kind in configuration.kinds.iter().filter(|_| instances) {
            let Some(board) = board_of_instance(kind) else { continue };
            let gpus = (0..kind.count).map(|_| board.clone()).collect();
            nodes.push(Node::new(board.id.clone(), gpus));
        }
        Given { workloads, configuration, instances, gpus: Fleet::new(nodes) }
    }

    /// Whether the optimiser decides which replicas of a workload are served.
    fn decides(&self, workload: &Workload) -> bool {
        self.instances || workload.whole_gpus > 0
    }

    /// A workload with so many replicas, for the boards of the kinds that suffice for it.
    fn wanted(&self, workload: &Workload, count: u64) -> Workload {
        let sufficient = self.configuration.kinds.iter().filter(|kind| kind.suffices(workload));
        let boards: Vec<String> = sufficient.map(id_of).collect();
        let count = if boards.is_empty() || !self.decides(workload) { 0 } else { count };
        // What the kinds have of all else is known to suffice.
        Workload { count, boards: boards.into(), media: false, ..workload.clone() }
    }

    /// The best of these replicas.
    ///
    /// # Errors
    /// A contradiction inside (exit 1).
    fn best(&self, counts: &[u64]) -> Result<Best> {
        let wanted = self.workloads.iter().zip(counts).map(|(w, count)| self.wanted(w, *count));
        let part = Demand::new(wanted.collect());
        if self.gpus.nodes().is_empty() || part.replicas() == 0 {
            return Ok(Best { replicas: vec![0; counts.len()], mib: 0 });
        }
        let mig_mode = if self.instances { MigModePolicy::PerNode } else { MigModePolicy::PerGpu };
        let policy = Policy { mig_mode, ..Policy::default() };
        let options = PlanOptions { until: Until::PlacedMib, policy, ..PlanOptions::default() };
        let problem = Problem::new(&part, &self.gpus, &options);
        let is_instance = |id: &str| {
            let mut instances = self.configuration.kinds.iter().filter(|k| k.profile.is_some());
            instances.any(|kind| id_of(kind) == id)
        };
        let pattern = |pool: &Pool| match is_instance(&pool.board.id) {
            true => vec![1],
            false => vec![0; pool.board.profiles.len()],
        };
        let patterns: Vec<Counts> = problem.pools.iter().map(pattern).collect();
        let fixed = problem.with_patterns(&patterns);
        let Solution { formulation, values, .. } = stages::run(&fixed, &options)?;
        let served: Vec<i64> = formulation.assignment.served.iter().map(|c| values[*c]).collect();
        let mib = dot(&formulation.placed_mib(&fixed), &values);
        Ok(Best {
            replicas: fixed.served_of_workloads(&served, counts.len()),
            mib: u128::try_from(mib).unwrap_or(0),
        })
    }

    /// The best in each period.
    ///
    /// # Errors
    /// As [`Given::best`].
    fn of_periods(&self, demand: &OverTime) -> Result<Vec<Best>> {
        let decided = |counts: &[u64]| -> Vec<u64> {
            let only = |(w, n): (&Workload, &u64)| if self.decides(w) { *n } else { 0 };
            self.workloads.iter().zip(counts).map(only).collect()
        };
        let distinct: HashSet<Vec<u64>> =
            demand.periods().iter().map(|period| decided(&period.counts)).collect();
        let known: HashMap<Vec<u64>, Best> = distinct
            .into_par_iter()
            .map(|counts| self.best(&counts).map(|best| (counts, best)))
            .collect::<Result<_>>()?;
        let best = |counts: &[u64]| known.get(&decided(counts)).cloned().unwrap_or_default();
        Ok(demand.periods().iter().map(|period| best(&period.counts)).collect())
    }
}

/// The id of the board of a kind, where each kind of instance has one of its own.
fn id_of(kind: &Kind) -> String {
    match kind.profile {
        None => kind.board.id.clone(),
        Some(_) => format!("{} {}", kind.board.id, kind.name()),
    }
}

/// A board whose GPUs have no other instance than one of this kind; `None` for whole GPUs.
fn board_of_instance(kind: &Kind) -> Option<BoardRef> {
    let mut profile = kind.board.profiles[kind.profile?].clone();
    // The optimiser uses no variants that no demand needs.
    profile.name.plus.clear();
    profile.name.minus.clear();
    Some(Board { id: id_of(kind), profiles: vec![profile], ..Board::clone(&kind.board) }.into())
}

/// Workloads and kinds as a matching sees them.
struct Matching<'a> {
    workloads: &'a [Workload],
    /// Workloads in the order in which they are served; of one with a `min` first the replicas that
    /// it guarantees, marked so, and later the others.
    order: Vec<(usize, bool)>,
    /// For each workload its type.
    type_of: Vec<usize>,
    /// For each type, the kinds that suffice for it, the smallest first.
    types: Vec<Vec<usize>>,
    /// For each kind, how many there are, and the memory of one in MiB.
    supply: Vec<u64>,
    memory_mib: Vec<u64>,
}

impl<'a> Matching<'a> {
    fn new(workloads: &'a [Workload], configuration: &Configuration) -> Matching<'a> {
        let kinds = &configuration.kinds;
        let mut index: BTreeMap<(Vec<usize>, bool), usize> = BTreeMap::new();
        let mut types: Vec<Vec<usize>> = Vec::new();
        let mut type_of = Vec::with_capacity(workloads.len());
        for workload in workloads {
            let mut usable: Vec<usize> =
                (0..kinds.len()).filter(|k| kinds[*k].suffices(workload)).collect();
            usable.sort_by_key(|k| kinds[*k].memory_mib());
            if workload.memory.is_none() {
                // What such a replica is worth is what it gets, so the largest comes first.
                usable.reverse();
            }
            let next = types.len();
            let t = *index.entry((usable.clone(), workload.memory.is_none())).or_insert(next);
            if t == next {
                types.push(usable);
            }
            type_of.push(t);
        }
        let with_min = (0..workloads.len()).filter(|w| workloads[*w].min > 0).map(|w| (w, true));
        let mut order: Vec<(usize, bool)> =
            with_min.chain((0..workloads.len()).map(|w| (w, false))).collect();
        order.sort_by_key(|(w, guaranteed)| {
            let workload = &workloads[*w];
            let memory = workload.memory.map_or(u64::MAX, |m| m.0);
            let first = (Reverse(workload.priority), Reverse(*guaranteed));
            (first, Reverse(workload.weight), Reverse(memory), *w)
        });
        Matching {
            workloads,
            order,
            type_of,
            types,
            supply: kinds.iter().map(|k| k.count).collect(),
            memory_mib: kinds.iter().map(Kind::memory_mib).collect(),
        }
    }

    /// The best of `counts` replicas.
    fn best(&self, counts: &[u64]) -> Best {
        let mut flow = Flow {
            types: &self.types,
            assigned: vec![vec![0; self.supply.len()]; self.types.len()],
            free: self.supply.clone(),
        };
        let mut best = Best { replicas: vec![0; counts.len()], mib: 0 };
        let mut all_memory = vec![false; self.types.len()];
        let mut left = counts.to_vec();
        for &(w, guaranteed) in &self.order {
            let t = self.type_of[w];
            let wanted = if guaranteed { left[w].min(self.workloads[w].min) } else { left[w] };
            left[w] -= wanted;
            let got = flow.augment(t, wanted);
            best.replicas[w] += got;
            match self.workloads[w].memory {
                Some(memory) => best.mib += u128::from(got) * u128::from(memory.0),
                None => all_memory[t] = true,
            }
        }
        for (t, _) in all_memory.iter().enumerate().filter(|(_, all)| **all) {
            let each = flow.assigned[t].iter().zip(&self.memory_mib);
            best.mib += each.map(|(n, mib)| u128::from(*n) * u128::from(*mib)).sum::<u128>();
        }
        best
    }
}

/// Replicas of types in instances of kinds.
struct Flow<'m> {
    types: &'m [Vec<usize>],
    /// For each type, for each kind: replicas there.
    assigned: Vec<Vec<u64>>,
    /// For each kind: instances that are free.
    free: Vec<u64>,
}

impl Flow<'_> {
    /// Assigns up to `count` further replicas of a type, moving others where that frees an instance;
    /// returns how many.
    fn augment(&mut self, of_type: usize, count: u64) -> u64 {
        let mut left = count;
        while left > 0 {
            let Some(path) = self.path(of_type) else { break };
            // The path goes type, kind, type, kind …; each type after the first moves one kind on.
            let last = path[path.len() - 1].1;
            let moved = path.windows(2).map(|w| self.assigned[w[1].0][w[0].1]);
            let step = moved.chain([left, self.free[last]]).min().unwrap_or(0);
            for (i, (t, kind)) in path.iter().enumerate() {
                self.assigned[*t][*kind] += step;
                if i > 0 {
                    self.assigned[*t][path[i - 1].1] -= step;
                }
            }
            self.free[last] -= step;
            left -= step;
        }
        count - left
    }

    /// A shortest way from a type to a kind with a free instance.
    fn path(&self, of_type: usize) -> Option<Vec<(usize, usize)>> {
        // For each kind that was reached: the type that would enter it, and the kind it comes from.
        let mut reached: Vec<Option<(usize, Option<usize>)>> = vec![None; self.free.len()];
        let mut seen = vec![false; self.types.len()];
        seen[of_type] = true;
        let mut queue = VecDeque::from([(of_type, None)]);
        while let Some((t, from)) = queue.pop_front() {
            for &kind in &self.types[t] {
                if reached[kind].is_some() {
                    continue;
                }
                reached[kind] = Some((t, from));
                if self.free[kind] > 0 {
                    let mut path = vec![(t, kind)];
                    let mut at = from;
                    while let Some(kind) = at {
                        let Some((t, before)) = reached[kind] else { break };
                        path.push((t, kind));
                        at = before;
                    }
                    path.reverse();
                    return Some(path);
                }
                for (other, seen) in seen.iter_mut().enumerate() {
                    if !*seen && self.assigned[other][kind] > 0 {
                        *seen = true;
                        queue.push_back((other, Some(kind)));
                    }
                }
            }
        }
        None
    }
}
