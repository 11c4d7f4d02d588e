//! What a plan is measured against: the uniform presets that people apply today, and how many
//! GPUs more would have been enough. The heuristics of a scheduler are in [`greedy`].

pub(super) mod greedy;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rayon::prelude::*;

use crate::demand::{Demand, Workload};
use crate::error::{ExitCode, Result};
use crate::fleet::{Fleet, MAX_GPUS};
use crate::hardware::{ProfileName, layout};
use crate::optimise::model::{Terms, dot};
use crate::optimise::problem::Problem;
use crate::optimise::supply::InstanceKind;
use crate::optimise::{self, PlanOptions, Until, fewest, stages};
use crate::plan::quotas::{self, QuotaUse};
use crate::plan::{Checked, GpuPlan, Plan, Policy, Reason, Status, Unplaced};

/// The name of the plan's own row.
pub const PLAN_ROW: &str = "plan";

/// The answer to a demand.
#[derive(Debug, Clone)]
pub struct Suggestion {
    /// The best plan.
    pub plan: Checked,
    /// What every preset of mig-parted would have placed; `None` where that was not asked for.
    pub presets: Option<Presets>,
    /// The fewest further GPUs that would place what the fleet is too full for, where there is
    /// such demand.
    pub more_gpus: Option<MoreGpus>,
    /// The quotas of teams, with what the plan allocates.
    pub quotas: Vec<QuotaUse>,
}

/// The presets of mig-parted beside a plan.
#[derive(Debug, Clone)]
pub struct Presets {
    /// A row for each, the [`best_preset`] first.
    pub rows: Vec<Baseline>,
    /// The plan as a row beside them.
    pub plan_row: Baseline,
    /// The priorities of the demand, highest first: what the numbers by priority belong to.
    pub priorities: Vec<i64>,
    /// The rules of the site, which the plan keeps; a preset keeps those for demand alone.
    pub rules: Policy,
}

/// How layouts that are given serve the demand at their best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// mig-parted's label for it, such as `all-1g.10gb`.
    pub name: String,
    /// Replicas placed.
    pub placed: u64,
    /// Of those, how many of each priority, highest first.
    pub placed_by_priority: Vec<u64>,
    /// Weight placed for each priority, highest first, in millionths.
    pub placed_weight: Vec<i64>,
    /// Memory placed, in MiB.
    pub placed_mib: u64,
    /// Memory of the fleet that serves no replica, in MiB.
    pub idle_mib: u64,
    /// Of that: internal fragmentation, allocated beyond the demand.
    pub rounding_mib: u64,
    /// Of that: in free instances and whole GPUs.
    pub spare_mib: u64,
    /// Of that: the rest.
    pub unusable_mib: u64,
    /// GPUs that serve a replica.
    pub gpus_used: u64,
    /// Whole memory of those GPUs, in MiB.
    pub used_mib: u64,
    /// Unplaced replicas, by workload: the first few, in the order of the goal.
    pub left_out: Vec<LeftOut>,
    /// Workloads of which some replica has no place, those that are not listed too.
    pub workloads_left_out: usize,
    /// Replicas placed of each team.
    pub placed_by_team: BTreeMap<Arc<str>, u64>,
}

/// Replicas of a workload that are unplaced under given layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Index into the demand's workloads.
    pub workload: usize,
    /// How many replicas.
    pub replicas: u64,
    /// Whether no instance of the layouts could serve them, however few they were.
    pub too_large: bool,
}

/// So many workloads with unplaced replicas are listed for each row.
const MOST_LEFT_OUT: usize = 8;

/// Further GPUs that would place everything that has no place because the fleet is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoreGpus {
    /// Of which board.
    pub board: String,
    /// How many; no fewer would do.
    pub gpus: u64,
    /// The most of them on one node, where they are on further nodes: as many as a node of the fleet
    /// has. `None` where it is all the same on which nodes they are; the site's rules, and replicas
    /// that take several GPUs of one node, make a difference.
    pub per_further_node: Option<u64>,
}

impl Baseline {
    /// Whether this is one of mig-parted's presets: `all-<profile>` or `all-balanced`.
    pub fn is_preset(&self) -> bool {
        self.name.starts_with("all-")
    }

    /// Weight placed of all priorities together, in millionths: a million for each replica where no
    /// workload has a weight.
    pub fn weight(&self) -> u128 {
        self.placed_weight.iter().map(|weight| u128::try_from(*weight).unwrap_or(0)).sum()
    }

    /// What makes one way better than another of its kind, whatever the priority: weight placed in
    /// all, then memory placed; of equals the first by name.
    pub(crate) fn rank(&self) -> (u128, u64, Reverse<&str>) {
        (self.weight(), self.placed_mib, Reverse(&self.name))
    }

    /// Where this places as much weight in all as `plan` or more, and yet less of what comes first:
    /// the index of the first priority of which it places less.
    pub fn falls_behind(&self, plan: &Baseline) -> Option<usize> {
        let mut priorities = self.placed_weight.iter().zip(&plan.placed_weight);
        let is_less = |(own, of_plan): (&i64, &i64)| own < of_plan;
        priorities.position(is_less).filter(|_| self.weight() >= plan.weight())
    }
}

/// The best preset among `rows`: the one that places the most weight in all (where no workload
/// has a weight, the most replicas), whatever the priority; of equals the one that places the most
/// memory. What a preset places of the highest priority, or of the one where it
/// [falls behind](Baseline::falls_behind), belongs beside it wherever it is shown, since a preset
/// may place more in all and none of what matters most.
pub fn best_preset(rows: &[Baseline]) -> Option<&Baseline> {
    rows.iter().filter(|row| row.is_preset()).max_by_key(|row| row.rank())
}

/// Every preset of mig-parted on the fleet's boards, the [`best_preset`] first.
pub(crate) fn presets(
    problem: &Problem,
    demand: &Demand,
    options: &PlanOptions,
) -> Result<Vec<Baseline>> {
    let (uniform, balanced) = rayon::join(
        || presets_by_size(problem, demand, options),
        || all_balanced(problem, demand, options),
    );
    let mut presets = uniform?;
    presets.extend(in_time(balanced)?);
    presets.sort_by(|a, b| b.rank().cmp(&a.rank()));
    Ok(presets)
}

/// A row, or none where the search for it was ended: a plan that was found is worth having without
/// what it is compared with.
pub(super) fn in_time(row: Result<Baseline>) -> Result<Option<Baseline>> {
    match row {
        Err(e) if e.code == ExitCode::TimeLimit => Ok(None),
        row => row.map(Some),
    }
}

/// Every uniform preset of the fleet's boards, the smallest profile first: `all-<profile>` gives
/// each GPU that has the profile as many instances of it as fit, and leaves the others whole.
pub(crate) fn presets_by_size(
    problem: &Problem,
    demand: &Demand,
    options: &PlanOptions,
) -> Result<Vec<Baseline>> {
    let names: BTreeSet<ProfileName> = problem
        .pools
        .iter()
        .flat_map(|pool| &pool.board.profiles)
        .filter(|p| p.name.is_plain())
        .map(|p| p.name.clone())
        .collect();
    let priorities = priorities(demand);
    names
        .into_par_iter()
        .filter_map(|name| {
            let patterns = problem
                .pools
                .iter()
                .map(|pool| layout::uniform_counts(&pool.board, &name))
                .collect();
            let label = format!("all-{}", name.label());
            in_time(evaluate(problem, demand, label, patterns, &priorities, options)).transpose()
        })
        .collect()
}

/// The priorities of a demand, highest first; those of which these GPUs can serve nothing too.
pub(crate) fn priorities(demand: &Demand) -> Vec<i64> {
    let asked = demand.workloads().iter().filter(|w| w.count > 0);
    let priorities: BTreeSet<i64> = asked.map(|w| w.priority).collect();
    priorities.into_iter().rev().collect()
}

/// The plan's own row.
pub(crate) fn of_plan(plan: &Plan, demand: &Demand, fleet: &Fleet, problem: &Problem) -> Baseline {
    let unplaced = plan.unplaced_of(demand);
    let mut weights: BTreeMap<i64, i64> = priorities(demand).into_iter().map(|p| (p, 0)).collect();
    let mut counts: BTreeMap<i64, u64> = weights.keys().map(|priority| (*priority, 0)).collect();
    let mut missing_of = vec![0; demand.workloads().len()];
    for (index, workload) in demand.workloads().iter().enumerate() {
        let replicas = unplaced[index];
        let placed = workload.count.saturating_sub(replicas);
        if let Some(sum) = counts.get_mut(&workload.priority) {
            *sum = sum.saturating_add(placed);
        }
        let placed = i64::try_from(placed).unwrap_or(i64::MAX);
        let weight = i64::try_from(workload.weight.0).unwrap_or(i64::MAX);
        if let Some(sum) = weights.get_mut(&workload.priority) {
            *sum = sum.saturating_add(placed.saturating_mul(weight));
        }
        if !problem.unservable.contains_key(&index) {
            missing_of[index] = replicas;
        }
    }
    let (left_out, workloads_left_out) = left_out(&missing_of, demand, |_| false);
    let boards = fleet.boards();
    let memory_of = |id: &str| {
        let at = boards.binary_search_by(|b| b.id.as_str().cmp(id));
        at.map_or(0, |at| boards[at].memory.0)
    };
    let in_use = |g: &&GpuPlan| g.instances.iter().any(|i| i.assignment.is_some());
    let totals = &plan.totals;
    Baseline {
        name: PLAN_ROW.to_string(),
        placed: totals.placed,
        placed_by_priority: counts.into_values().rev().collect(),
        placed_weight: weights.into_values().rev().collect(),
        placed_mib: totals.placed_mib,
        idle_mib: totals.idle_mib,
        rounding_mib: totals.rounding_mib,
        spare_mib: totals.spare_mib,
        unusable_mib: totals.unusable_mib,
        gpus_used: totals.gpus_used,
        used_mib: plan.gpus.iter().filter(in_use).map(|g| memory_of(&g.board)).sum(),
        left_out,
        workloads_left_out,
        placed_by_team: placed_by_team(&missing_of, problem, demand),
    }
}

/// Replicas placed of each team, where `missing` are unplaced by workload.
fn placed_by_team(missing: &[u64], problem: &Problem, demand: &Demand) -> BTreeMap<Arc<str>, u64> {
    let mut placed: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for (index, workload) in demand.workloads().iter().enumerate() {
        let of_team = placed.entry(workload.team.clone()).or_default();
        if !problem.unservable.contains_key(&index) {
            *of_team += workload.count.saturating_sub(missing[index]);
        }
    }
    placed
}

/// The first workloads with unplaced replicas in the order of the goal, and how many there are in
/// all.
fn left_out(
    missing: &[u64],
    demand: &Demand,
    too_large: impl Fn(&Workload) -> bool,
) -> (Vec<LeftOut>, usize) {
    let workloads = demand.workloads();
    let mut order: Vec<usize> = (0..missing.len()).filter(|w| missing[*w] > 0).collect();
    let all = order.len();
    let rank = |w: &usize| {
        let workload = &workloads[*w];
        (Reverse(workload.priority), Reverse(workload.weight), Reverse(workload.memory), *w)
    };
    if all > MOST_LEFT_OUT {
        order.select_nth_unstable_by_key(MOST_LEFT_OUT, rank);
        order.truncate(MOST_LEFT_OUT);
    }
    order.sort_by_key(rank);
    let row = |workload: usize| LeftOut {
        workload,
        replicas: missing[workload],
        too_large: too_large(&workloads[workload]),
    };
    (order.into_iter().map(row).collect(), all)
}

/// mig-parted's `all-balanced`, at its best.
pub(crate) fn all_balanced(
    problem: &Problem,
    demand: &Demand,
    options: &PlanOptions,
) -> Result<Baseline> {
    let patterns = problem.pools.iter().map(|pool| layout::balanced_counts(&pool.board)).collect();
    let name = "all-balanced".to_string();
    evaluate(problem, demand, name, patterns, &priorities(demand), options)
}

/// No MIG at all: every replica of what MIG could serve takes a whole GPU.
pub(crate) fn whole_gpus(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    options: &PlanOptions,
) -> Result<Baseline> {
    let priorities = priorities(demand);
    let mut workloads = demand.workloads().to_vec();
    for (index, workload) in workloads.iter_mut().enumerate() {
        workload.whole_gpus = workload.whole_gpus.max(1);
        if problem.unservable.contains_key(&index) {
            workload.count = 0;
        }
    }
    let demand = Demand::new(workloads);
    let whole = Problem::new(&demand, fleet, options);
    let patterns = whole.pools.iter().map(|pool| vec![0; pool.board.profiles.len()]).collect();
    evaluate(&whole, &demand, "whole-gpus".to_string(), patterns, &priorities, options)
}

/// Serves the demand as well as one fixed pattern for each pool allows.
fn evaluate(
    problem: &Problem,
    demand: &Demand,
    name: String,
    patterns: Vec<layout::Counts>,
    priorities: &[i64],
    options: &PlanOptions,
) -> Result<Baseline> {
    let fixed = problem.with_patterns(&patterns);
    let options = options.beside(Until::RoundingMib);
    let solution = stages::run(&fixed, &options)?;
    let (formulation, values) = (&solution.formulation, &solution.values);
    let value = |terms: &Terms| u64::try_from(dot(terms, values)).unwrap_or(0);
    let placed_mib = value(&formulation.placed_mib(&fixed));
    let allocated_mib = value(&formulation.allocated_mib(&fixed));
    let (mut fleet_mib, mut offered_mib, mut used_mib) = (0, 0, 0);
    for (p, (pool, counts)) in fixed.pools.iter().zip(&patterns).enumerate() {
        let memory_mib = pool.board.memory.0;
        let instances_mib: u64 =
            counts.iter().zip(&pool.board.profiles).map(|(n, p)| u64::from(*n) * p.memory.0).sum();
        // A GPU that is not partitioned stays whole.
        let of_gpu = if instances_mib == 0 { memory_mib } else { instances_mib };
        let gpus = pool.gpus as u64;
        fleet_mib += memory_mib * gpus;
        offered_mib += of_gpu * gpus;
        used_mib += memory_mib * value(&formulation.gpus_of_pool(&fixed, p));
    }
    let served: Vec<i64> = formulation.assignment.served.iter().map(|c| values[*c]).collect();
    let offers = |kind: &InstanceKind| match kind.profile {
        Some(profile) => patterns[kind.pool][profile] > 0,
        None => patterns[kind.pool].iter().all(|count| *count == 0),
    };
    Ok(Sums {
        placed: value(&formulation.placed().terms),
        placed_mib,
        allocated_mib,
        fleet_mib,
        offered_mib,
        gpus_used: value(&formulation.gpus_used(&fixed)),
        used_mib,
    }
    .baseline(name, &fixed, demand, priorities, &served, offers))
}

/// What a way of serving the demand comes to.
#[derive(Debug, Clone, Default)]
struct Sums {
    placed: u64,
    placed_mib: u64,
    /// Memory of the allocated instances and whole GPUs.
    allocated_mib: u64,
    fleet_mib: u64,
    /// Memory of all instances and whole GPUs, had or not.
    offered_mib: u64,
    gpus_used: u64,
    used_mib: u64,
}

impl Sums {
    /// The sums as a row, with what is unplaced: `served` replicas of each class are placed, which
    /// are counted for each of `priorities`, and `offers` says which kinds there are at all.
    fn baseline(
        self,
        name: String,
        problem: &Problem,
        demand: &Demand,
        priorities: &[i64],
        served: &[i64],
        offers: impl Fn(&InstanceKind) -> bool,
    ) -> Baseline {
        let weight_of = |priority: &i64| {
            let classes = problem.classes.iter().zip(served);
            classes.filter(|(c, _)| c.priority == *priority).map(|(c, n)| c.weight * n).sum()
        };
        let replicas_of = |priority: &i64| -> u64 {
            let classes = problem.classes.iter().zip(served);
            let of_priority = classes.filter(|(c, _)| c.priority == *priority);
            of_priority.map(|(_, n)| u64::try_from(*n).unwrap_or(0)).sum()
        };
        let workloads = demand.workloads();
        let served = problem.served_of_workloads(served, workloads.len());
        let mut missing: Vec<u64> =
            workloads.iter().zip(served).map(|(w, served)| w.count - served).collect();
        for index in problem.unservable.keys() {
            missing[*index] = 0;
        }
        let (left_out, workloads_left_out) = left_out(&missing, demand, |workload| {
            !problem.usable_kinds(workload).iter().any(|k| offers(&problem.kinds[*k]))
        });
        let idle_mib = self.fleet_mib - self.placed_mib;
        let rounding_mib = self.allocated_mib - self.placed_mib;
        let spare_mib = self.offered_mib.saturating_sub(self.allocated_mib);
        Baseline {
            name,
            placed: self.placed,
            placed_by_priority: priorities.iter().map(replicas_of).collect(),
            placed_weight: priorities.iter().map(weight_of).collect(),
            placed_mib: self.placed_mib,
            idle_mib,
            rounding_mib,
            spare_mib,
            unusable_mib: idle_mib.saturating_sub(rounding_mib + spare_mib),
            gpus_used: self.gpus_used,
            used_mib: self.used_mib,
            left_out,
            workloads_left_out,
            placed_by_team: placed_by_team(&missing, problem, demand),
        }
    }
}

/// The fewest GPUs that must be added, all of one board of the fleet, so that everything has a
/// place that now has none because the fleet is full. `None` where there is no such demand, or
/// where the time limit leaves no time to find out.
pub(crate) fn more_gpus(
    demand: &Demand,
    problem: &Problem,
    plan: &Plan,
    options: &PlanOptions,
) -> Result<Option<MoreGpus>> {
    let full = plan.unplaced.iter().any(|row| row.reason == Reason::FleetFull);
    // Where the present state binds the plan, more GPUs are not all that would help; and GPUs that
    // are kept whole would have to be bought as well.
    let bound = options.present.is_some() || problem.policy.keep_whole > 0;
    if !full || bound || plan.proof.status != Status::Optimal {
        return Ok(None);
    }
    let start = Instant::now();
    let enough = Enough::new(demand, problem, plan);
    let wanted = problem.servable(demand);
    let least = |pool: usize| {
        let Some(larger) = enough.of_pool(pool) else { return Ok(None) };
        let least = fewest::least_of_pool(&larger.problem, larger.pool, options)?;
        Ok(least.map(|least| (larger.further(least), pool)))
    };
    let pools = (0..problem.pools.len()).into_par_iter();
    let mut bounds: Vec<(u64, usize)> =
        pools.filter_map(|pool| least(pool).transpose()).collect::<Result<_>>()?;
    bounds.sort_unstable();
    let mut best: Option<(u64, usize)> = None;
    for bound in bounds {
        // The others need no fewer than their bounds.
        if best.is_some_and(|best| best < bound) {
            break;
        }
        let pool = bound.1;
        let Some(larger) = enough.of_pool(pool) else { continue };
        if let Some(all) = fewest::fewest_of_pool(&larger.problem, larger.pool, wanted, options)? {
            let needed = (larger.further(all), pool);
            // With more GPUs than nodes to put each on, more nodes might need fewer.
            let is_fewest = (1..=enough.most).contains(&needed.0);
            if is_fewest && best.is_none_or(|best| needed < best) {
                best = Some(needed);
            }
        }
    }
    // A board whose turn did not come may need fewer.
    let stopped = options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
    if stopped || with_time_left(options, start).is_none() {
        return Ok(None);
    }
    Ok(best.map(|(gpus, pool)| MoreGpus {
        board: problem.pools[pool].board.id.clone(),
        gpus,
        per_further_node: (!enough.anywhere).then(|| problem.largest_node(pool) as u64),
    }))
}

/// So many further GPUs that those without a place have one.
struct Enough<'a> {
    demand: &'a Demand,
    problem: &'a Problem,
    /// GPUs of those replicas, each on GPUs of its own.
    most: u64,
    /// Whether it is all the same on which nodes the GPUs are.
    anywhere: bool,
}

/// A fleet with further GPUs of one board.
struct Larger {
    problem: Problem,
    /// The pool that has them.
    pool: usize,
    /// GPUs of that pool that are there already.
    present: u64,
}

impl Larger {
    /// Further GPUs in use, where `all` of the pool are.
    fn further(&self, all: u64) -> u64 {
        all.saturating_sub(self.present)
    }
}

impl<'a> Enough<'a> {
    fn new(demand: &'a Demand, problem: &'a Problem, plan: &Plan) -> Enough<'a> {
        let policy = problem.policy;
        let gpus = |row: &Unplaced| {
            let at = demand.position(&row.team, &row.workload)?;
            let workload = &demand.workloads()[at];
            // Those that are placed may have to change their profile with the others.
            let all = policy.one_profile_per_workload;
            let replicas = if all { workload.count } else { row.replicas };
            Some(replicas.saturating_mul(u64::from(workload.whole_gpus.max(1))))
        };
        let full = plan.unplaced.iter().filter(|row| row.reason == Reason::FleetFull);
        let by_gpu = !policy.nodes_agree_on_mig();
        Enough {
            demand,
            problem,
            most: full.filter_map(gpus).fold(0, u64::saturating_add).min(MAX_GPUS),
            anywhere: by_gpu && problem.item_types.iter().all(|t| t.whole_gpus <= 1),
        }
    }

    /// The fleet with further GPUs of a pool; `None` where they would be too many. Where nodes make a
    /// difference, GPUs that are there and idle cannot stand for further ones, so those are a pool of
    /// their own, with a node for each so that any number of nodes is possible.
    fn of_pool(&self, pool: usize) -> Option<Larger> {
        let (nodes, gpus) = match self.anywhere {
            true => (1, self.most),
            false => (self.most, self.problem.largest_node(pool) as u64),
        };
        if nodes.saturating_mul(gpus) > MAX_GPUS {
            return None;
        }
        let with = |problem: &Problem, pool: usize| {
            problem.with_further_nodes(self.demand, pool, nodes as i64, gpus as usize)
        };
        Some(if self.anywhere {
            let present = self.problem.pools[pool].gpus as u64;
            Larger { problem: with(self.problem, pool), pool, present }
        } else {
            let (apart, pool) = self.problem.with_pool_apart(pool);
            Larger { problem: with(&apart, pool), pool, present: 0 }
        })
    }
}

/// The options for what is sought after a search that began at `start`, in the time that it left;
/// `None` where it left none.
fn with_time_left(options: &PlanOptions, start: Instant) -> Option<PlanOptions> {
    let left = options.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
    let over = left.is_some_and(|left| left.is_zero());
    (!over).then(|| PlanOptions { time_limit: left, ..options.clone() })
}

/// As [`optimise::suggest`], with what a person wants to know beside the plan.
///
/// # Errors
/// As [`optimise::suggest`].
pub fn suggest_with_presets(
    demand: &Demand,
    fleet: &Fleet,
    options: &PlanOptions,
) -> Result<Suggestion> {
    let start = Instant::now();
    let problem = Problem::new(demand, fleet, options);
    let (found, rows) = rayon::join(
        || {
            let plan = optimise::plan(demand, fleet, &problem, options)?;
            let more_gpus = match with_time_left(options, start) {
                Some(options) => more_gpus(demand, &problem, &plan, &options)?,
                None => None,
            };
            Ok((plan, more_gpus))
        },
        || presets(&problem, demand, options),
    );
    let (plan, more_gpus) = found?;
    let presets = Presets {
        rows: rows?,
        plan_row: of_plan(&plan, demand, fleet, &problem),
        priorities: priorities(demand),
        rules: options.policy,
    };
    let suggestion = alone(plan, demand, fleet, options);
    Ok(Suggestion { presets: Some(presets), more_gpus, ..suggestion })
}

/// As [`suggest_with_presets`], without presets and further GPUs: where nobody reads them, they
/// need not be found.
///
/// # Errors
/// As [`optimise::suggest`].
pub fn suggest_alone(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Result<Suggestion> {
    Ok(alone(optimise::suggest(demand, fleet, options)?, demand, fleet, options))
}

fn alone(plan: Checked, demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Suggestion {
    let quotas = quotas::in_use(&plan, demand, &fleet.boards(), &options.quotas, &options.policy);
    Suggestion { plan, presets: None, more_gpus: None, quotas }
}
