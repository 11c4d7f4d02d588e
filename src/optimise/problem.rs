//! The problem in aggregate: what can be had from interchangeable GPUs, and what is wanted of it.
//!
//! Supply is the part of `supply`: pools of interchangeable GPUs and their patterns. Replicas for
//! which the same kinds of instance suffice are of one *item type*; those of one type, priority and
//! weight are one *demand class*. Nothing here grows with the number of GPUs, and of the distinct
//! memory values only sorted lists remain. Knows no solver.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use super::curve::{Curve, Member};
use super::options::PlanOptions;
use super::supply::{self, GpuGroup, InstanceKind, NodeType, Pattern, Pool};
use crate::demand::over_time::{OverTime, Period};
use crate::demand::quota::Quotas;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{BoardRef, FULL_GPU, layout};
use crate::plan::goal::{self, Scope};
use crate::plan::{Policy, Share, Spare};
use crate::units::{Weight, lcm};

/// Replicas for which the same kinds of instance suffice: an item of the packing problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemType {
    /// Whole GPUs of one replica; 0 is one instance.
    pub whole_gpus: u32,
    /// Indices of the kinds, ascending.
    pub kinds: Vec<usize>,
    /// Whether a replica wants all memory of its whole GPUs, so that its demand depends on the
    /// board that it gets.
    pub all_memory: bool,
    /// The workload that must have all its replicas in kinds of one name, if the policy says so.
    pub one_name: Option<usize>,
    /// The period in which the replicas run; 0 where demand has only one.
    pub period: usize,
    /// The supply that must hold the replicas too, beside that of their period: their instances
    /// outlive a change of layouts.
    pub stays_in: Option<usize>,
    /// Index of the quota of the replicas' team, if it has one.
    pub quota: Option<usize>,
}

/// One period as the problem sees it: how much it weighs, and the replicas that run in it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its length, in whatever unit all periods have.
    pub weight: i64,
    /// Which supply of the GPUs serves it.
    pub supply: usize,
    /// For each workload the replicas.
    pub counts: Arc<[u64]>,
    /// Of those, for each workload the ones that a further supply must hold too.
    pub staying: Option<(usize, Arc<[u64]>)>,
}

impl Part {
    fn new(weight: i64, counts: Arc<[u64]>) -> Part {
        Part { weight, supply: 0, counts, staying: None }
    }
}

/// The most that a team may be allocated in a period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Usable memory, in MiB.
    pub memory_mib: Option<i64>,
    /// GPUs, in parts of which [`Problem::parts_of_gpu`] are one.
    pub gpu_parts: Option<i64>,
}

/// Replicas of one type, priority and weight, guaranteed ones apart from the others. Which of them
/// are served is decided by number alone: the largest demands first.
#[derive(Debug, Clone)]
pub(crate) struct DemandClass {
    /// Index of the type.
    pub item_type: usize,
    /// Priority.
    pub priority: i64,
    /// Worth of one replica, in millionths.
    pub weight: i64,
    /// Whether these are the replicas of each workload up to its `min`.
    pub guaranteed: bool,
    /// Index of the team, where the shares of teams count.
    pub team: Option<usize>,
    /// Workloads, the largest demand first, then by team and name: index, MiB of a replica, count.
    pub members: Arc<[Member]>,
    /// Memory served by the first `n` replicas.
    pub curve: Arc<Curve>,
}

/// What the replicas of a class have in common, in the order of the classes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClassKey {
    priority: Reverse<i64>,
    weight: Reverse<i64>,
    item_type: ItemType,
    guaranteed: Reverse<bool>,
    team: Option<usize>,
}

/// A team of one priority, where the shares of teams count.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    /// The priority.
    pub priority: i64,
    /// The weight that it asks for and that the fleet could serve at all, in millionths, times its
    /// hours.
    pub asked: u128,
}

/// Why a workload cannot be served by this fleet, however empty it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unservable {
    /// The fleet has none of its boards.
    NoBoard,
    /// No instance is large enough, or none has the compute slices or media engines.
    TooLarge,
    /// No node has so many whole GPUs, or they have too little memory.
    NeedsWholeGpus,
}

/// The whole problem.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The rules of the site.
    pub policy: Policy,
    /// Whether what is destroyed has a price: the present state of the GPUs is known, or a pattern
    /// stands for several configurations.
    pub knows_present: bool,
    /// Whether the instances must all be allocated or busy.
    pub exact: bool,
    /// Pools, ordered by board id.
    pub pools: Vec<Pool>,
    /// Nodes by their numbers of GPUs.
    pub node_types: Vec<NodeType>,
    /// Kinds, ordered by pool, then by profile with the whole GPU last.
    pub kinds: Vec<InstanceKind>,
    /// Item types, sorted.
    pub item_types: Vec<ItemType>,
    /// Classes, by falling priority, then falling weight, then type; guaranteed ones first.
    pub classes: Vec<DemandClass>,
    /// The teams of each priority, by falling priority, then by name; none where shares of teams do
    /// not count.
    pub teams: Vec<Team>,
    /// The quotas by team.
    pub team_quotas: Arc<Quotas>,
    /// The same in numbers, in the same order.
    pub quotas: Vec<Limits>,
    /// Parts of a GPU, so that the memory slices of each board are whole parts.
    pub parts_of_gpu: i64,
    /// The hours of each period of the demand; one period of weight 1 without demand over time.
    pub hours: Vec<i64>,
    /// The supply that serves each period.
    pub supplies: Vec<usize>,
    /// For each item type, periods and quotas aside, its share of all replicas asked for, as
    /// [`goal::shares`] has it: the first index of such a type, and the share.
    pub shares: Vec<(usize, i64)>,
    /// Workloads that no empty fleet could serve, by index.
    pub unservable: BTreeMap<usize, Unservable>,
    /// The most GPUs that may be in use, where that is fewer than there are.
    pub most_gpus: Option<i64>,
}

impl Problem {
    /// Aggregates a demand and a fleet. Replicas beyond what the fleet could ever hold change
    /// nothing, so counts stay small enough for exact sums.
    pub(crate) fn new(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Problem {
        let counts = demand.workloads().iter().map(|w| w.count).collect();
        Problem::of_parts(demand, &[Part::new(1, counts)], fleet, options)
    }

    /// As [`Problem::new`] for demand that changes from hour to hour: the GPUs are partitioned once
    /// for all periods, and replicas are assigned anew in each.
    pub(crate) fn over_time(demand: &OverTime, fleet: &Fleet, options: &PlanOptions) -> Problem {
        let hours = |hours: u64| i64::try_from(hours).unwrap_or(i64::MAX);
        let part = |p: &Period| Part::new(hours(p.hours), p.counts.clone());
        let parts: Vec<Part> = demand.periods().iter().map(part).collect();
        Problem::of_parts(demand.peak(), &parts, fleet, options)
    }

    /// Of periods in which the workloads of `demand` have other numbers of replicas.
    fn of_parts(demand: &Demand, parts: &[Part], fleet: &Fleet, options: &PlanOptions) -> Problem {
        let media = demand.workloads().iter().any(|w| w.media && w.count > 0);
        let node_types = supply::node_types(fleet, options);
        let pools = supply::pools(fleet, &node_types, media, options);
        let kinds = supply::kinds(&pools, media);
        let mut problem = Problem {
            policy: options.policy,
            knows_present: options.present.is_some(),
            exact: options.spare == Spare::None,
            pools,
            node_types,
            kinds,
            item_types: Vec::new(),
            classes: Vec::new(),
            teams: Vec::new(),
            team_quotas: options.quotas.clone(),
            quotas: Vec::new(),
            parts_of_gpu: 1,
            hours: Vec::new(),
            supplies: Vec::new(),
            shares: Vec::new(),
            unservable: BTreeMap::new(),
            most_gpus: None,
        };
        problem.add_quotas();
        problem.add_demand(demand, parts, options.share);
        problem
    }

    /// The same GPUs with other patterns and kinds, and with the demand of `parts` alone.
    pub(crate) fn with_supplies(
        &self,
        demand: &Demand,
        parts: &[Part],
        pools: Vec<Pool>,
        kinds: Vec<InstanceKind>,
    ) -> Problem {
        let mut problem = Problem {
            pools,
            kinds,
            // What the patterns destroy has a price.
            knows_present: true,
            item_types: Vec::new(),
            classes: Vec::new(),
            teams: Vec::new(),
            shares: Vec::new(),
            unservable: BTreeMap::new(),
            ..self.clone()
        };
        problem.add_demand(demand, parts, Share::Weight);
        problem
    }

    /// Puts the quotas into numbers.
    fn add_quotas(&mut self) {
        let slices = self.pools.iter().map(|pool| i64::from(pool.board.memory_slices));
        self.parts_of_gpu = slices.fold(1, lcm);
        let parts = |millionths: u64| {
            let parts = i128::from(millionths) * i128::from(self.parts_of_gpu);
            i64::try_from(parts / i128::from(Weight::SCALE)).unwrap_or(i64::MAX)
        };
        let limits = self.team_quotas.iter().map(|quota| Limits {
            memory_mib: quota.memory.map(|most| i64::try_from(most.0).unwrap_or(i64::MAX)),
            gpu_parts: quota.gpus.map(parts),
        });
        self.quotas = limits.collect();
    }

    /// What a replica of so many whole GPUs (0 for an instance) takes of its team's quota in a
    /// kind: memory in MiB, and parts of a GPU.
    pub(crate) fn takes(&self, kind: usize, whole_gpus: u32) -> (i64, i64) {
        let kind = &self.kinds[kind];
        let board = &self.pools[kind.pool].board;
        let slices = kind.profile.map_or(board.memory_slices, |p| board.profiles[p].memory_slices);
        let times = i64::from(whole_gpus.max(1));
        let of_slice = self.parts_of_gpu / i64::from(board.memory_slices);
        (kind.memory_mib * times, i64::from(slices) * of_slice * times)
    }

    /// Sorts the workloads into item types and demand classes.
    fn add_demand(&mut self, demand: &Demand, parts: &[Part], share: Share) {
        self.hours = parts.iter().map(|p| p.weight).collect();
        self.supplies = parts.iter().map(|p| p.supply).collect();
        let mut sufficient = Sufficient::new(&self.kinds);
        let teams = match share {
            Share::Weight => BTreeMap::new(),
            Share::Fair => self.add_teams(demand, parts, &mut sufficient),
        };
        let mut grouped: BTreeMap<ClassKey, Vec<Member>> = BTreeMap::new();
        for (index, workload) in demand.workloads().iter().enumerate() {
            let kinds = match sufficient.of(self, workload) {
                Ok(kinds) => kinds,
                Err(why) => {
                    self.unservable.insert(index, *why);
                    continue;
                }
            };
            // A single replica has one instance in any case, but another in every period.
            let periods = parts.iter().filter(|part| part.counts[index] > 0).count();
            let by_itself =
                self.policy.one_profile_per_workload && (workload.count > 1 || periods > 1);
            let weight = i64::try_from(workload.weight.0).unwrap_or(i64::MAX);
            let quota = self.team_quotas.position(&workload.team);
            let team = teams.get(&team_key(workload)).copied();
            for (period, part) in parts.iter().enumerate() {
                let staying = part.staying.as_ref().map(|(supply, of)| (*supply, of[index]));
                let (stays_in, staying) =
                    staying.map_or((None, 0), |(supply, count)| (Some(supply), count));
                let ending = part.counts[index].saturating_sub(staying);
                let of_supply = kinds.iter().filter(|k| self.kinds[**k].supply == part.supply);
                let of_supply: Vec<usize> = of_supply.copied().collect();
                let min = workload.min.min(ending);
                for (stays_in, guaranteed, count) in
                    [(None, true, min), (None, false, ending - min), (stays_in, false, staying)]
                {
                    if count == 0 {
                        continue;
                    }
                    let item_type = ItemType {
                        whole_gpus: workload.whole_gpus,
                        kinds: of_supply.clone(),
                        all_memory: workload.memory.is_none(),
                        one_name: by_itself.then_some(index),
                        period,
                        stays_in,
                        quota,
                    };
                    let key = ClassKey {
                        priority: Reverse(workload.priority),
                        weight: Reverse(weight),
                        item_type,
                        guaranteed: Reverse(guaranteed),
                        team,
                    };
                    grouped.entry(key).or_default().push(Member {
                        workload: index,
                        memory_mib: workload.memory.map_or(0, |m| m.0 as i64),
                        count: i64::try_from(count).unwrap_or(i64::MAX),
                    });
                }
            }
        }
        let item_types: BTreeSet<&ItemType> = grouped.keys().map(|key| &key.item_type).collect();
        self.item_types = item_types.into_iter().cloned().collect();
        let mut wanted = vec![0u128; self.item_types.len()];
        for (key, mut members) in grouped {
            // Members arrive in the order of the demand, so equal ones stay by team and name.
            members.sort_by_key(|m| Reverse(m.memory_mib));
            let of_type = self.item_types.binary_search(&key.item_type).unwrap_or_default();
            wanted[of_type] += members.iter().map(|m| m.count as u128).sum::<u128>();
            keep_first(&mut members, self.capacity(&key.item_type));
            self.classes.push(DemandClass {
                item_type: of_type,
                priority: key.priority.0,
                weight: key.weight.0,
                guaranteed: key.guaranteed.0,
                team: key.team,
                curve: Arc::new(Curve::new(&members)),
                members: members.into(),
            });
        }
        self.shares = self.shares_of(&wanted);
    }

    /// Lists the teams with what they ask for; returns the index of each.
    fn add_teams<'d>(
        &mut self,
        demand: &'d Demand,
        parts: &[Part],
        sufficient: &mut Sufficient<'d>,
    ) -> BTreeMap<TeamKey<'d>, usize> {
        let mut asked: BTreeMap<TeamKey, u128> = BTreeMap::new();
        for (index, workload) in demand.workloads().iter().enumerate() {
            let replicas = |part: &Part| {
                u128::from(part.counts[index]) * u128::from(part.weight.unsigned_abs())
            };
            let weight = u128::from(workload.weight.0) * parts.iter().map(replicas).sum::<u128>();
            if weight > 0 && sufficient.of(self, workload).is_ok() {
                *asked.entry(team_key(workload)).or_default() += weight;
            }
        }
        let team = |(key, asked): (&TeamKey, &u128)| Team { priority: key.0.0, asked: *asked };
        self.teams = asked.iter().map(team).collect();
        asked.into_keys().enumerate().map(|(t, key)| (key, t)).collect()
    }

    /// The shares of the item types, replicas of all hours added up, from the replicas of each.
    fn shares_of(&self, wanted: &[u128]) -> Vec<(usize, i64)> {
        let mut first: BTreeMap<ItemType, usize> = BTreeMap::new();
        let mut sums: BTreeMap<usize, u128> = BTreeMap::new();
        for (t, item_type) in self.item_types.iter().enumerate() {
            let of_any_period = ItemType { period: 0, quota: None, ..item_type.clone() };
            let at = *first.entry(of_any_period).or_insert(t);
            *sums.entry(at).or_default() += wanted[t] * self.hours[item_type.period] as u128;
        }
        let shares = goal::shares(&sums.values().copied().collect::<Vec<_>>());
        sums.into_keys().zip(shares).collect()
    }

    /// The kind of another supply that is the same instance as `kind`.
    pub(crate) fn in_supply(&self, kind: usize, supply: usize) -> Option<usize> {
        let of = &self.kinds[kind];
        let same =
            |k: &InstanceKind| (k.pool, k.profile, k.supply) == (of.pool, of.profile, supply);
        self.kinds.iter().position(same)
    }

    /// Whether demand changes from hour to hour.
    pub(crate) fn is_over_time(&self) -> bool {
        self.hours.len() > 1
    }

    /// The hours in which the replicas of a class run.
    pub(crate) fn hours_of(&self, class: &DemandClass) -> i64 {
        self.hours[self.item_types[class.item_type].period]
    }

    /// What decides which objectives apply.
    pub(crate) fn scope(&self, options: &PlanOptions) -> Scope {
        let sizes = self.kinds.iter().filter(|k| k.profile.is_some()).map(|k| k.memory_mib);
        let guaranteed = self.classes.iter().filter(|c| c.guaranteed);
        Scope {
            priorities: self.classes.iter().map(|c| c.priority).collect(),
            guaranteed: guaranteed.map(|c| c.priority).collect(),
            share: options.share,
            until: options.until,
            knows_present: self.knows_present,
            spare: options.spare,
            sizes_mib: sizes.map(|mib| mib as u64).collect(),
        }
    }

    /// The same demand on the same GPUs where each GPU of a pool has the one pattern given for it,
    /// whatever is on it now and whatever the site's rules for GPUs and nodes. Quotas, and one name
    /// for the replicas of a workload, are rules for the demand and hold.
    pub(crate) fn with_patterns(&self, of_pools: &[layout::Counts]) -> Problem {
        let mut problem = self.clone();
        problem.policy = Policy::default();
        problem.knows_present = false;
        for (pool, counts) in problem.pools.iter_mut().zip(of_pools) {
            pool.groups = vec![GpuGroup { gpus: pool.gpus, ..GpuGroup::default() }];
            pool.patterns = vec![Pattern { counts: counts.clone(), ..Pattern::default() }];
        }
        // The pattern is on every GPU of its pool, so none of them is a whole GPU.
        let stays_whole = |pool: usize| of_pools[pool].iter().all(|count| *count == 0);
        for item_type in &mut problem.item_types {
            item_type.kinds.retain(|kind| {
                let kind = &problem.kinds[*kind];
                kind.profile.is_some() || stays_whole(kind.pool)
            });
        }
        problem
    }

    /// The same with one more pool, the last one: of the board of `pool`, without any GPU yet. The
    /// present state of the GPUs must not be known.
    pub(crate) fn with_pool_apart(&self, pool: usize) -> (Problem, usize) {
        let mut problem = self.clone();
        let apart = problem.pools.len();
        let of_pool = self.kinds.iter().filter(|kind| kind.pool == pool);
        problem.kinds.extend(of_pool.map(|kind| InstanceKind { pool: apart, ..kind.clone() }));
        let mut empty = self.pools[pool].clone();
        empty.gpus = 0;
        empty.groups.iter_mut().for_each(|group| group.gpus = 0);
        problem.pools.push(empty);
        for node_type in &mut problem.node_types {
            node_type.of_pool.push(0);
            node_type.keep_whole.push(0);
        }
        (problem, apart)
    }

    /// The most GPUs of a pool that one node has.
    pub(crate) fn largest_node(&self, pool: usize) -> usize {
        self.node_types.iter().map(|n| n.of_pool[pool]).max().unwrap_or(0)
    }

    /// The same demand on a fleet with `nodes` further nodes, each of `gpus` GPUs of one pool. The
    /// present state of the GPUs must not be known.
    pub(crate) fn with_further_nodes(
        &self,
        demand: &Demand,
        pool: usize,
        nodes: i64,
        gpus: usize,
    ) -> Problem {
        let mut problem = Problem {
            item_types: Vec::new(),
            classes: Vec::new(),
            unservable: BTreeMap::new(),
            pools: self.pools.clone(),
            node_types: self.node_types.clone(),
            kinds: self.kinds.clone(),
            teams: Vec::new(),
            team_quotas: self.team_quotas.clone(),
            quotas: self.quotas.clone(),
            hours: self.hours.clone(),
            supplies: self.supplies.clone(),
            shares: Vec::new(),
            ..*self
        };
        supply::add_nodes(&mut problem.node_types, pool, nodes, gpus, self.policy.keep_whole);
        let further = nodes * gpus as i64;
        problem.pools[pool].gpus += further;
        for group in &mut problem.pools[pool].groups {
            group.gpus += further;
        }
        // What no node of the fleet could serve is not wanted of larger ones either.
        let wanted = |(at, w): (usize, &Workload)| {
            if self.unservable.contains_key(&at) { 0 } else { w.count }
        };
        let counts = demand.workloads().iter().enumerate().map(wanted).collect();
        // How many GPUs place everything has nothing to do with shares.
        problem.add_demand(demand, &[Part::new(1, counts)], Share::Weight);
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
    pub(crate) fn wanted_of(&self, item_type: usize) -> i64 {
        self.classes.iter().filter(|c| c.item_type == item_type).map(|c| c.curve.count).sum()
    }

    /// The replicas served of each of so many workloads, where `served` are of each class.
    pub(crate) fn served_of_workloads(&self, served: &[i64], workloads: usize) -> Vec<u64> {
        let mut of_workloads = vec![0; workloads];
        for (class, served) in self.classes.iter().zip(served) {
            let mut left = *served;
            for member in class.members.iter() {
                let taken = member.count.min(left);
                left -= taken;
                of_workloads[member.workload] += u64::try_from(taken).unwrap_or(0);
            }
        }
        of_workloads
    }

    /// Replicas of `demand` that these GPUs could serve if there were enough of them.
    pub(crate) fn servable(&self, demand: &Demand) -> u64 {
        let workloads = demand.workloads().iter().enumerate();
        let servable = workloads.filter(|(index, _)| !self.unservable.contains_key(index));
        servable.fold(0, |sum, (_, workload)| sum.saturating_add(workload.count))
    }

    /// The kinds that suffice for a replica of `workload`; none where nothing does.
    pub(crate) fn usable_kinds(&self, workload: &Workload) -> Vec<usize> {
        self.usable(workload).unwrap_or_default()
    }

    /// The most replicas that can ever be in one kind.
    pub(crate) fn most_of_kind(&self, kind: usize) -> i64 {
        let kind = &self.kinds[kind];
        let pool = &self.pools[kind.pool];
        kind.profile
            .map_or(pool.gpus, |p| i64::from(pool.board.profiles[p].max_instances) * pool.gpus)
    }

    /// The same demand where no more than `most` GPUs may be in use.
    pub(crate) fn with_most_gpus(&self, most: i64) -> Problem {
        Problem { most_gpus: Some(most), ..self.clone() }
    }

    /// The most replicas of a type that the fleet could hold if nothing else were on it.
    pub(crate) fn capacity(&self, item_type: &ItemType) -> i64 {
        let per_replica = i64::from(item_type.whole_gpus.max(1));
        item_type.kinds.iter().map(|kind| self.most_of_kind(*kind) / per_replica).sum()
    }
}

/// What tells the teams of each priority apart, in their order.
type TeamKey<'d> = (Reverse<i64>, &'d str);

fn team_key(workload: &Workload) -> TeamKey<'_> {
    (Reverse(workload.priority), &workload.team)
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

/// Boards, compute slices, media engines, whole GPUs, and how many sizes of kinds are too small.
type Need<'d> = (&'d [String], u32, bool, u32, usize);

/// What suffices for workloads, found once for all that are alike.
struct Sufficient<'d> {
    /// The memory of the kinds, ascending: needs between the same two of them are alike.
    sizes_mib: Vec<u64>,
    known: HashMap<Need<'d>, Result<Vec<usize>, Unservable>>,
}

impl<'d> Sufficient<'d> {
    fn new(kinds: &[InstanceKind]) -> Sufficient<'d> {
        let sizes: BTreeSet<u64> = kinds.iter().map(|kind| kind.memory_mib as u64).collect();
        Sufficient { sizes_mib: sizes.into_iter().collect(), known: HashMap::new() }
    }

    fn of(&mut self, problem: &Problem, workload: &'d Workload) -> &Result<Vec<usize>, Unservable> {
        let Workload { boards, compute_slices, media, whole_gpus, .. } = workload;
        // Of several whole GPUs each has its part.
        let each_mib = workload.memory.map_or(0, |m| m.0).div_ceil(u64::from(*whole_gpus).max(1));
        let too_small = self.sizes_mib.partition_point(|size| *size < each_mib);
        let need = (&boards[..], *compute_slices, *media, *whole_gpus, too_small);
        self.known.entry(need).or_insert_with(|| problem.usable(workload))
    }
}

impl Problem {
    /// The most GPUs of a board that one node has.
    pub(crate) fn most_on_a_node(&self, board: &BoardRef) -> u64 {
        let pool = self.pools.iter().position(|pool| pool.board.id == board.id);
        pool.map_or(0, |pool| self.largest_node(pool) as u64)
    }

    /// The kinds that suffice for a replica of `workload`, or why there is none.
    fn usable(&self, workload: &Workload) -> Result<Vec<usize>, Unservable> {
        if !self.pools.iter().any(|p| workload.allows(&p.board)) {
            return Err(Unservable::NoBoard);
        }
        let whole = i64::from(workload.whole_gpus);
        let memory_mib = workload.memory.map_or(0, |m| m.0 as i64);
        let whole_as_instance = self.policy.gives_instance_for(workload.whole_gpus);
        let suffices = |kind: &InstanceKind| {
            let board = &self.pools[kind.pool].board;
            let profile = kind.profile.map(|p| &board.profiles[p]);
            workload.allows(board)
                && kind.compute_slices >= i64::from(workload.compute_slices)
                && memory_mib <= kind.memory_mib * whole.max(1)
                && match profile {
                    None => whole > 0 && whole <= self.largest_node(kind.pool) as i64,
                    Some(p) if whole == 0 => !workload.media || p.has_media(),
                    Some(p) => {
                        let takes_all = p.memory_slices == board.memory_slices;
                        whole_as_instance && takes_all && p.name.is_plain()
                    }
                }
        };
        let kinds = self.kinds.iter().enumerate().filter(|(_, kind)| suffices(kind));
        let usable: Vec<usize> = kinds.map(|(k, _)| k).collect();
        match (usable.is_empty(), whole) {
            (false, _) => Ok(usable),
            (true, 0) => Err(Unservable::TooLarge),
            (true, _) => Err(Unservable::NeedsWholeGpus),
        }
    }
}
