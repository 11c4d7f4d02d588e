//! Why replicas are unplaced, and the sums of a plan.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::assign::Placed;
use super::problem::{Problem, Unservable};
use crate::demand::quota::Quota;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{BoardRef, Profile, ProfileName};
use crate::plan::quotas::{self, Allocation};
use crate::plan::teams::least_whole_memory;
use crate::plan::{
    GpuPlan, Instance, InstanceProfile, LeftOutGpu, Plan, Policy, Proof, Reason, Status, Totals,
    Unplaced,
};
use crate::text::{plural, thousands};
use crate::units::Mebibytes;

/// Fewer workloads than twice these are explained by one thread.
const PARALLEL_ROWS: usize = 2_048;

/// Puts the plan together.
pub(crate) fn plan(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    proof: Proof,
    placed: Placed,
) -> Plan {
    let proved = proof.status == Status::Optimal;
    let (mut unplaced, totals) = rayon::join(
        || unplaced_rows(demand, fleet, problem, &placed, proved),
        || totals(demand, fleet, &placed),
    );
    // The demand is ordered by team and name; a stable sort keeps that within a priority.
    unplaced.sort_by_key(|(priority, _)| Reverse(*priority));
    Plan {
        schema: crate::plan::PLAN_SCHEMA.to_string(),
        gpus: placed.gpus,
        left_out: LeftOutGpu::of_fleet(fleet),
        unplaced: unplaced.into_iter().map(|(_, row)| row).collect(),
        totals,
        proof,
    }
}

/// The workloads that have unplaced replicas with their priority, in the order of the demand.
fn unplaced_rows(
    demand: &Demand,
    fleet: &Fleet,
    problem: &Problem,
    placed: &Placed,
    proved: bool,
) -> Vec<(i64, Unplaced)> {
    let boards = fleet.boards();
    let room = Room {
        free: free_instances(&placed.gpus, problem),
        kept_free: KeptFree::new(&placed.gpus, problem, proved),
        names: names_in_use(&placed.gpus, problem),
    };
    let allocations = quotas::allocations(&placed.gpus, &boards, &problem.team_quotas);
    let on_a_node = |board: &BoardRef| match problem.is_over_time() {
        // Replicas of several whole GPUs cannot be planned over time.
        true => 1,
        false => problem.most_on_a_node(board),
    };
    let row = |(index, (workload, placed)): (usize, (&Workload, &u64))| {
        let replicas = workload.count - placed;
        if replicas == 0 {
            return None;
        }
        let quota = problem.team_quotas.of(&workload.team);
        let (reason, detail, help) = match problem.unservable.get(&index) {
            Some(why) => unservable(*why, workload, &boards, &on_a_node, quota),
            None => {
                let allocation = allocations.get(&workload.team);
                let limit = quota.zip(allocation).map(|(quota, allocation)| {
                    let policy = &problem.policy;
                    let within = allocation.most_within(quota, workload, &boards, policy, replicas);
                    Limit { quota, allocation, within }
                });
                match limit {
                    Some(limit) if limit.within == 0 => over_quota(workload, &limit),
                    limit => full(workload, replicas, problem, &room, limit.as_ref()),
                }
            }
        };
        let (team, workload_name) = (workload.team.clone(), workload.name.clone());
        let row = Unplaced { team, workload: workload_name, replicas, reason, detail, help };
        Some((workload.priority, row))
    };
    // A large fleet leaves hundreds of thousands of rows, each of which is written out.
    let workloads = demand.workloads().par_iter().zip(&placed.replicas);
    workloads.enumerate().with_min_len(PARALLEL_ROWS).filter_map(row).collect()
}

fn totals(demand: &Demand, fleet: &Fleet, placed: &Placed) -> Totals {
    let mut totals = Totals {
        replicas: demand.replicas(),
        placed: placed.replicas.iter().sum(),
        gpus: fleet.gpu_count() as u64,
        ..Totals::default()
    };
    let (mut allocated, mut demand_mib) = (0, 0);
    for gpu in &placed.gpus {
        let mut used = false;
        for instance in &gpu.instances {
            match &instance.assignment {
                Some(assignment) => {
                    used = true;
                    allocated += instance.memory_mib;
                    totals.placed_mib += assignment.demand_mib;
                }
                None => totals.spare_mib += instance.memory_mib,
            }
        }
        totals.gpus_used += u64::from(used);
    }
    for node in fleet.nodes() {
        totals.fleet_mib += node.gpus.iter().map(|b| b.memory.0).sum::<u64>();
    }
    for (workload, replicas) in demand.workloads().iter().zip(&placed.replicas) {
        let each = workload.memory.unwrap_or_else(|| least_whole_memory(workload, fleet));
        demand_mib += u128::from(each.0) * u128::from(workload.count);
        if workload.memory.is_none() {
            // What it got counts as what it asked for.
            demand_mib -= u128::from(each.0) * u128::from(*replicas);
        }
    }
    let any_wants_all = demand.workloads().iter().any(|w| w.memory.is_none());
    for instance in placed.gpus.iter().flat_map(|g| &g.instances).filter(|_| any_wants_all) {
        if let Some(assignment) = &instance.assignment
            && wants_all_memory(demand, &assignment.team, &assignment.workload)
        {
            demand_mib += u128::from(assignment.demand_mib);
        }
    }
    totals.demand_mib = u64::try_from(demand_mib).unwrap_or(u64::MAX);
    totals.rounding_mib = allocated - totals.placed_mib;
    totals.idle_mib = totals.fleet_mib - totals.placed_mib;
    totals.unusable_mib = totals.idle_mib - totals.rounding_mib - totals.spare_mib;
    totals
}

fn wants_all_memory(demand: &Demand, team: &str, name: &str) -> bool {
    demand.position(team, name).is_some_and(|at| demand.workloads()[at].memory.is_none())
}

/// The workloads that not even empty GPUs of these boards could serve, the highest priority first;
/// `on_a_node` says how many GPUs of a board one replica may take.
pub(crate) fn out_of_reach(
    demand: &Demand,
    boards: &[BoardRef],
    problem: &Problem,
    on_a_node: &dyn Fn(&BoardRef) -> u64,
) -> Vec<Unplaced> {
    let mut rows: Vec<(i64, Unplaced)> = problem
        .unservable
        .iter()
        .filter_map(|(index, why)| {
            let workload = demand.workloads().get(*index).filter(|w| w.count > 0)?;
            let (reason, detail, help) = unservable(*why, workload, boards, on_a_node, None);
            let row = Unplaced {
                team: workload.team.clone(),
                workload: workload.name.clone(),
                replicas: workload.count,
                reason,
                detail,
                help,
            };
            Some((workload.priority, row))
        })
        .collect();
    rows.sort_by_key(|(priority, _)| Reverse(*priority));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Why not even an empty fleet could serve a workload; `on_a_node` says how many GPUs of a board
/// one replica may take. `quota`: that of its team, which help must be within.
pub(crate) fn unservable(
    why: Unservable,
    workload: &Workload,
    boards: &[BoardRef],
    on_a_node: &dyn Fn(&BoardRef) -> u64,
    quota: Option<&Quota>,
) -> (Reason, String, Option<String>) {
    match why {
        Unservable::NoBoard => (
            Reason::NoBoard,
            format!(
                "runs on {} only; this fleet has {}",
                workload.boards.join(" or "),
                boards.iter().map(|b| b.id.as_str()).collect::<Vec<_>>().join(" and ")
            ),
            Some(format!("1 more GPU of {}", workload.boards.join(" or "))),
        ),
        Unservable::TooLarge => too_large(workload, boards, on_a_node, quota),
        Unservable::NeedsWholeGpus => {
            let memory = workload.memory.map_or(String::new(), |m| format!(" with {m} in all"));
            (
                Reason::NeedsWholeGpus,
                format!(
                    "needs {} of one board on one node{memory}; no node here has them",
                    plural(u64::from(workload.whole_gpus), "whole GPU")
                ),
                None,
            )
        }
    }
}

fn too_large(
    workload: &Workload,
    boards: &[BoardRef],
    on_a_node: &dyn Fn(&BoardRef) -> u64,
    quota: Option<&Quota>,
) -> (Reason, String, Option<String>) {
    let memory = workload.memory.unwrap_or_default();
    let allowed: Vec<&BoardRef> = boards.iter().filter(|b| workload.allows(b)).collect();
    let conditions = match (workload.compute_slices, workload.media) {
        (1, false) => String::new(),
        (1, true) => " with media engines".to_string(),
        (n, false) => format!(" with {n} compute slices"),
        (n, true) => format!(" with {n} compute slices and media engines"),
    };
    let largest = allowed
        .iter()
        .flat_map(|b| b.profiles.iter().map(move |p| (b, p)))
        .filter(|(_, p)| p.name.is_plain() || workload.media)
        .filter(|(_, p)| workload.suits_but_for_memory(p))
        .max_by(|a, b| (a.1.memory, &b.0.id, &b.1.name).cmp(&(b.1.memory, &a.0.id, &a.1.name)));
    let more_quota = |is_within: &dyn Fn(&Allocation, &Quota) -> bool| match quota {
        Some(quota) if !is_within(&Allocation::default(), quota) => {
            format!(" and {}", larger_quota(&quota.team))
        }
        _ => String::new(),
    };
    let (detail, less) = match largest {
        Some((board, profile)) => (
            format!(
                "needs {memory}{conditions}; the largest instance here{} is {} with {}",
                if conditions.is_empty() { "" } else { " that has them" },
                profile.name,
                profile.memory
            ),
            is_help(profile, memory).then(|| {
                let less = memory - profile.memory;
                let quota = more_quota(&|none, quota| none.has_room(quota, board, profile, 1));
                format!("{} less demand ({less} less){quota}", less.human())
            }),
        ),
        None => (format!("needs an instance{conditions}; no board here has one"), None),
    };
    let help = match (whole_gpus(workload, &allowed, on_a_node), less) {
        (Some((gpus, board)), less) => {
            let (id, n) = (&board.id, u64::from(gpus));
            let quota = more_quota(&|none, quota| none.has_whole_gpus(quota, board, n));
            Some(if gpus == 1 {
                let memory = board.memory;
                format!(
                    "a whole GPU: {id} has {memory} with MIG off; set the column gpus to 1{quota}"
                )
            } else {
                let less = less.map_or(String::new(), |less| format!("{less}, or "));
                format!(
                    "{less}{gpus} whole GPUs of {id} on one node: set the column gpus to {gpus}{quota}"
                )
            })
        }
        (None, less) => less,
    };
    (Reason::TooLarge, detail, help)
}

/// Whether it helps to say how much less memory a replica would have to need for `profile`: nobody
/// makes do with less than half.
fn is_help(profile: &Profile, memory: Mebibytes) -> bool {
    2 * profile.memory.0 >= memory.0
}

/// The fewest whole GPUs of one board that serve a replica which asks for none, of several boards
/// the smallest; `None` where no node has so many.
fn whole_gpus<'b>(
    workload: &Workload,
    boards: &[&'b BoardRef],
    on_a_node: &dyn Fn(&BoardRef) -> u64,
) -> Option<(u32, &'b BoardRef)> {
    let memory = workload.memory.filter(|_| !workload.media)?;
    let of_board = |board: &&'b BoardRef| {
        let gpus = memory.0.div_ceil(board.memory.0.max(1)).max(1);
        let whole_gpus = u32::try_from(gpus).ok().filter(|_| gpus <= on_a_node(board))?;
        let wanted = Workload { whole_gpus, ..workload.clone() };
        wanted.suits_whole(board).then_some((whole_gpus, *board))
    };
    boards.iter().filter_map(of_board).min_by_key(|(gpus, b)| (*gpus, b.memory, b.id.clone()))
}

/// What a plan has for replicas without a place.
struct Room<'p> {
    free: Vec<FreeInstance>,
    kept_free: KeptFree,
    /// The profile of a workload's replicas, where all must have the same.
    names: BTreeMap<(&'p str, &'p str), &'p InstanceProfile>,
}

impl Room<'_> {
    /// Whether one more replica of `workload` may have this profile.
    fn may_have(&self, workload: &Workload, profile: &ProfileName) -> bool {
        let name = self.names.get(&(&*workload.team, &*workload.name));
        name.is_none_or(|name| matches!(name, InstanceProfile::Mig(name) if name == profile))
    }
}

fn names_in_use<'p>(
    gpus: &'p [GpuPlan],
    problem: &Problem,
) -> BTreeMap<(&'p str, &'p str), &'p InstanceProfile> {
    let instances = gpus.iter().filter(|_| problem.policy.one_profile_per_workload);
    let name = |instance: &'p Instance| {
        let of = instance.assignment.as_ref()?;
        Some(((&*of.team, &*of.workload), &instance.profile))
    };
    instances.flat_map(|gpu| &gpu.instances).filter_map(name).collect()
}

/// A kind of instance of which the plan has free ones.
struct FreeInstance {
    board: BoardRef,
    profile: usize,
}

fn free_instances(gpus: &[GpuPlan], problem: &Problem) -> Vec<FreeInstance> {
    let mut found: Vec<FreeInstance> = Vec::new();
    for gpu in gpus {
        let Some(pool) = problem.pools.iter().find(|p| p.board.id == *gpu.board) else { continue };
        for instance in gpu.instances.iter().filter(|i| i.assignment.is_none()) {
            let InstanceProfile::Mig(name) = &instance.profile else { continue };
            let Some((profile, _)) = pool.board.profile(name) else { continue };
            if !found.iter().any(|s| s.profile == profile && s.board.id == pool.board.id) {
                found.push(FreeInstance { board: pool.board.clone(), profile });
            }
        }
    }
    found
}

/// What the quota of a team leaves for the replicas of a workload that have no place.
struct Limit<'a> {
    quota: &'a Quota,
    allocation: &'a Allocation,
    /// How many of them are within it.
    within: u64,
}

/// Why a team that has a quota gets no more, where no instance that suffices is within it.
fn over_quota(workload: &Workload, limit: &Limit<'_>) -> (Reason, String, Option<String>) {
    let Limit { quota, allocation, .. } = limit;
    let team = &workload.team;
    let detail = format!(
        "{}; team {team}'s quota of {quota} leaves no instance for it ({} in use)",
        needs(workload),
        allocation.of(quota)
    );
    (Reason::FleetFull, detail, Some(larger_quota(team)))
}

fn larger_quota(team: &str) -> String {
    format!("a larger quota for {team}")
}

/// `needs 9216 MiB`, `needs 2 whole GPUs`.
fn needs(workload: &Workload) -> String {
    match (workload.memory, workload.whole_gpus) {
        (Some(memory), 0) => format!("needs {memory}"),
        (_, gpus) => format!("needs {}", plural(u64::from(gpus), "whole GPU")),
    }
}

/// Free GPUs of a proved plan that could serve replicas without a place, if the site's rules let
/// them.
struct KeptFree {
    rules: Policy,
    /// For each board the most free GPUs on one node.
    of_board: BTreeMap<Arc<str>, u64>,
}

impl KeptFree {
    fn new(gpus: &[GpuPlan], problem: &Problem, proved: bool) -> KeptFree {
        let mut of_nodes: BTreeMap<(&str, &Arc<str>), u64> = BTreeMap::new();
        // What runs on the GPUs now may keep them free as well.
        let by_rules = proved && !problem.knows_present && problem.policy != Policy::default();
        let is_free = |gpu: &&GpuPlan| gpu.instances.iter().all(|i| i.assignment.is_none());
        for gpu in gpus.iter().filter(|gpu| by_rules && is_free(gpu)) {
            *of_nodes.entry((&gpu.node, &gpu.board)).or_default() += 1;
        }
        let mut of_board: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for ((_, board), free) in of_nodes {
            let most = of_board.entry(board.clone()).or_default();
            *most = free.max(*most);
        }
        KeptFree { rules: problem.policy, of_board }
    }

    /// Whether one of these boards has free GPUs for a replica of `workload`.
    fn could_serve(&self, workload: &Workload, boards: &[&BoardRef]) -> bool {
        let needed = u64::from(workload.whole_gpus).max(1);
        let free = |board: &&BoardRef| self.of_board.get(&*board.id).copied().unwrap_or(0);
        boards.iter().any(|board| free(board) >= needed)
    }
}

/// Why a full fleet cannot serve a workload, and what would help; `limit` is what the quota of its
/// team leaves for it, where it has one.
fn full(
    workload: &Workload,
    replicas: u64,
    problem: &Problem,
    room: &Room,
    limit: Option<&Limit<'_>>,
) -> (Reason, String, Option<String>) {
    let boards = boards_for(workload, problem);
    let on_one_node = if workload.whole_gpus > 0 { " on one node" } else { "" };
    let needs = needs(workload) + on_one_node;
    if room.kept_free.could_serve(workload, &boards) {
        let rules = room.kept_free.rules.flags().join(" ");
        let detail = format!("{needs}; the free GPUs may not serve it under {rules}");
        return (Reason::FleetFull, detail, Some(format!("a plan without {rules}")));
    }
    let detail = format!("{needs}; no room is left beside what comes first");
    let nearest = workload.memory.filter(|_| workload.whole_gpus == 0).and_then(|memory| {
        let profiles = room
            .free
            .iter()
            .filter(|s| workload.allows(&s.board))
            .map(|s| (&s.board, &s.board.profiles[s.profile]))
            .filter(|(_, p)| p.memory < memory && is_help(p, memory))
            .filter(|(board, p)| limit.is_none_or(|l| l.allocation.has_room(l.quota, board, p, 1)))
            .map(|(_, p)| p)
            .filter(|p| workload.suits_but_for_memory(p) && room.may_have(workload, &p.name));
        profiles.max_by_key(|p| (p.memory, Reverse(p.name.clone()))).map(|p| (memory, p))
    });
    let help = match nearest {
        Some((memory, p)) => Some(format!(
            "{} less demand: a free {} has {}",
            (memory - p.memory).human(),
            p.name,
            p.memory
        )),
        None => {
            let within = limit.map_or(replicas, |limit| limit.within);
            let more = more_gpus(workload, within, &boards, room);
            more.map(|more| match replicas - within {
                0 => more,
                others => format!(
                    "{more} for {within} of them, and {} for {}",
                    larger_quota(&workload.team),
                    if others == 1 {
                        "the other".into()
                    } else {
                        format!("the other {}", thousands(others))
                    }
                ),
            })
        }
    };
    (Reason::FleetFull, detail, help)
}

/// The boards of the fleet that have what a replica of `workload` needs.
fn boards_for<'p>(workload: &Workload, problem: &'p Problem) -> Vec<&'p BoardRef> {
    let mut pools: Vec<usize> =
        problem.usable_kinds(workload).into_iter().map(|kind| problem.kinds[kind].pool).collect();
    pools.dedup();
    pools.into_iter().map(|pool| &problem.pools[pool].board).collect()
}

/// `2 more GPUs of a100-sxm4-80gb or h200-sxm-141gb`: so many of any of the boards hold `replicas`;
/// boards of which more are needed are left out.
fn more_gpus(
    workload: &Workload,
    replicas: u64,
    boards: &[&BoardRef],
    room: &Room,
) -> Option<String> {
    let needed = |board: &BoardRef| match workload.whole_gpus {
        0 => {
            let profiles = board.profiles.iter();
            let suitable =
                profiles.filter(|p| workload.suits(p) && room.may_have(workload, &p.name));
            suitable.map(|p| p.max_instances).max().map(|n| replicas.div_ceil(u64::from(n).max(1)))
        }
        gpus => Some(replicas.saturating_mul(u64::from(gpus))),
    };
    let each: Vec<(u64, &str)> =
        boards.iter().filter_map(|board| Some((needed(board)?, &*board.id))).collect();
    let fewest = each.iter().map(|(gpus, _)| *gpus).min()?;
    let boards: Vec<&str> =
        each.iter().filter(|(gpus, _)| *gpus == fewest).map(|(_, board)| *board).collect();
    Some(format!("{} of {}", plural(fewest, "more GPU"), boards.join(" or ")))
}
