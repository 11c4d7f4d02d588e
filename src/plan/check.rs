//! An independent check of a plan: does it keep every promise, counted again from nothing?
//!
//! Shares no code with the optimiser and must not: overlap is tested slice by slice from the
//! board's own placements, sums are made afresh, and every value of the proof is recomputed. Only
//! this file and `over_time` below make a [`Checked`] plan, which is what emitters and pictures take.
//! A broken plan is what they exist for, so no number of a plan is trusted: sums saturate.

mod boards;
mod gpus;
mod index;
mod over_time;
mod present;
mod proof;
mod quotas;
mod rules;
mod shares;
mod spare;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::goal::Until;
use super::{GpuPlan, PLAN_SCHEMA, Plan, Policy, Reason, Share, Spare, Totals};
use crate::demand::quota::Quotas;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{Board, Catalogue, Profile, ProfileName};

use gpus::{Counted, Found};
use index::Index;

pub(super) use boards::printable;

/// More violations than this are not listed.
const MOST_VIOLATIONS: usize = 20;

/// A plan that was checked: against the demand, the fleet and the rules that it was made for, or,
/// where it comes from a file, against the boards that it names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Checked(Plan);

impl std::ops::Deref for Checked {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl Checked {
    /// The plan, if it is a right answer to `demand` on `fleet` under `conditions`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(
        plan: Plan,
        demand: &Demand,
        fleet: &Fleet,
        conditions: &Conditions,
    ) -> Result<Checked, Vec<String>> {
        let violations = violations(&plan, demand, fleet, conditions);
        if violations.is_empty() { Ok(Checked(plan)) } else { Err(violations) }
    }

    /// The plan, if the boards of `catalogue` can be what it says. Whether it is a *good* plan is
    /// not asked: what it was made for is not known.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its node and GPU.
    pub fn of_boards(plan: Plan, catalogue: &Catalogue) -> Result<Checked, Vec<String>> {
        let violations = boards::violations(&plan, catalogue);
        if violations.is_empty() { Ok(Checked(plan)) } else { Err(violations) }
    }

    /// A plan as it is, for tests of what is done with plans.
    #[cfg(test)]
    pub(crate) fn for_test(plan: Plan) -> Checked {
        Checked(plan)
    }

    /// The plan, to change it; what comes of that is unchecked.
    pub fn into_inner(self) -> Plan {
        self.0
    }
}

/// What a plan was made under.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The rules of the site.
    pub policy: Policy,
    /// What becomes of free slices.
    pub spare: Spare,
    /// Who comes first among the replicas of one priority.
    pub share: Share,
    /// The most that teams may be allocated.
    pub quotas: Arc<Quotas>,
    /// Where the stages end.
    pub until: Until,
    /// What each GPU of the one node holds now, in the order of the plan, where that is known.
    pub present: Option<Vec<HeldGpu>>,
    /// Whether busy instances may be destroyed.
    pub allow_disruption: bool,
}

/// What a GPU holds now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldGpu {
    /// Its instances.
    pub instances: Vec<HeldInstance>,
    /// Whether MIG is off and something runs on the whole GPU.
    pub in_use_whole: bool,
}

/// An instance that a GPU holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldInstance {
    /// Its profile.
    pub profile: ProfileName,
    /// Its first memory slice.
    pub start: u32,
    /// Compute slices of each of its compute instances.
    pub compute: Vec<u32>,
    /// Whether something runs in it.
    pub busy: bool,
}

/// Everything that is wrong with `plan` as an answer to `demand` on `fleet`; empty for a good plan.
pub fn violations(
    plan: &Plan,
    demand: &Demand,
    fleet: &Fleet,
    conditions: &Conditions,
) -> Vec<String> {
    let mut check = Check::new(demand, fleet);
    if plan.schema != PLAN_SCHEMA {
        check.fail(format!("schema is {}", plan.schema));
    }
    check.gpus(plan, fleet);
    check.replicas();
    check.unplaced(plan, fleet);
    check.totals(plan, fleet);
    check.rules(plan, conditions);
    check.quotas(plan, fleet, &conditions.quotas);
    check.present(plan, fleet, conditions);
    check.proof(plan, fleet, conditions);
    check.violations
}

/// A GPU in a message.
struct At<'a>(&'a GpuPlan);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.node, self.0.gpu)
    }
}

/// A workload in a message; most are never named.
struct Label<'a>(&'a Workload);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.team, self.0.name)
    }
}

/// What a workload has in a plan.
#[derive(Debug, Clone, Copy, Default)]
struct Served {
    /// Replicas.
    replicas: u64,
    /// What they are said to need in all, in MiB.
    demand_mib: u64,
}

/// The check in progress: what was counted so far, and what is wrong.
struct Check<'a> {
    workloads: &'a [Workload],
    index: Index<'a>,
    violations: Vec<String>,
    /// The most GPUs of each board on one node.
    most_on_a_node: BTreeMap<String, u64>,
    /// What the GPUs have.
    counted: Counted<'a>,
    /// What each workload has; known once all replicas are found.
    served: Vec<Served>,
    /// Priorities of which something is unplaced for want of GPUs only.
    short_of_gpus: BTreeSet<i64>,
    sums: Totals,
    /// Present instances that the plan destroys.
    destroyed: u64,
    /// Present instances that stay because their GPU serves no replica, and would go otherwise.
    perhaps_destroyed: u64,
}

/// Adds a violation to those that are listed.
fn note(violations: &mut Vec<String>, what: String) {
    if violations.len() < MOST_VIOLATIONS {
        violations.push(what);
    }
}

/// Adds without overflow: a broken plan may name any number.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

impl<'a> Check<'a> {
    fn new(demand: &'a Demand, fleet: &Fleet) -> Self {
        let workloads = demand.workloads();
        Check {
            most_on_a_node: most_on_a_node(fleet),
            workloads,
            index: Index::new(demand),
            violations: Vec::new(),
            counted: Counted::default(),
            served: vec![Served::default(); workloads.len()],
            short_of_gpus: BTreeSet::new(),
            sums: Totals::default(),
            destroyed: 0,
            perhaps_destroyed: 0,
        }
    }

    fn fail(&mut self, what: String) {
        note(&mut self.violations, what);
    }

    /// Each replica is assigned to one instance, or to as many whole GPUs as it asked for, and is
    /// served exactly what it needs.
    fn replicas(&mut self) {
        let mut found = std::mem::take(&mut self.counted.found);
        // Stable, as a plan has most replicas in this order already.
        found.sort_by_key(|f| (f.workload, f.replica));
        let mut of_workloads = found.chunk_by(|a, b| a.workload == b.workload).peekable();
        for (index, workload) in self.workloads.iter().enumerate() {
            add(&mut self.sums.replicas, workload.count);
            let of_workload = of_workloads.next_if(|found| found[0].workload == index);
            if let Some(of_workload) = of_workload {
                self.replicas_of(index, of_workload);
            }
        }
    }

    /// The same of one workload; `found` is sorted by the replicas' numbers.
    fn replicas_of(&mut self, index: usize, found: &[Found<'_>]) {
        let workload = &self.workloads[index];
        let name = Label(workload);
        let mut served = Served::default();
        for of_replica in found.chunk_by(|a, b| a.replica == b.replica) {
            served.replicas += 1;
            let Found { replica, node, .. } = of_replica[0];
            if replica != served.replicas {
                self.fail(format!("{name}: replica {} is missing", served.replicas));
            }
            if of_replica.iter().any(|f| f.node != node) {
                self.fail(format!("{name} replica {replica} is on several nodes"));
            }
            if of_replica.len() as u64 != u64::from(workload.whole_gpus.max(1)) {
                self.fail(format!("{name} replica {replica} has {} GPUs", of_replica.len()));
            }
            let (mut demand_mib, mut memory_mib) = (0, 0);
            for found in of_replica {
                add(&mut demand_mib, found.demand_mib);
                add(&mut memory_mib, found.memory_mib);
            }
            let needs = workload.memory.map_or(memory_mib, |m| m.0);
            if demand_mib != needs {
                self.fail(format!(
                    "{name} replica {replica} is served {demand_mib} MiB, not {needs}"
                ));
            }
            add(&mut served.demand_mib, demand_mib);
        }
        if served.replicas > workload.count {
            self.fail(format!("{name} has more replicas than it asked for"));
        }
        self.sums.placed += served.replicas;
        self.served[index] = served;
    }

    /// What is not placed is listed once, with a reason that is true.
    fn unplaced(&mut self, plan: &Plan, fleet: &Fleet) {
        let of_workload = |(workload, served): (&Workload, &Served)| {
            workload.count.saturating_sub(served.replicas)
        };
        let mut missing: Vec<u64> =
            self.workloads.iter().zip(&self.served).map(of_workload).collect();
        let boards = fleet.boards();
        for row in &plan.unplaced {
            let index = self.index.of(&row.team, &row.workload);
            let Some(index) = index.filter(|index| missing[*index] > 0) else {
                self.fail(format!(
                    "{}/{} is listed as unplaced, but is not",
                    row.team, row.workload
                ));
                continue;
            };
            let replicas = std::mem::take(&mut missing[index]);
            if replicas != row.replicas {
                self.fail(format!("{}/{}: {replicas} are unplaced", row.team, row.workload));
            }
            let workload = &self.workloads[index];
            if row.reason == Reason::FleetFull {
                self.short_of_gpus.insert(workload.priority);
            }
            let allowed: Vec<&Board> =
                boards.iter().map(AsRef::as_ref).filter(|b| allows(workload, b)).collect();
            let possible = allowed.iter().any(|b| self.could_serve(b, workload));
            let right = match row.reason {
                Reason::NoBoard => allowed.is_empty(),
                Reason::TooLarge => !allowed.is_empty() && !possible && workload.whole_gpus == 0,
                Reason::NeedsWholeGpus => {
                    !allowed.is_empty() && !possible && workload.whole_gpus > 0
                }
                Reason::FleetFull => possible,
            };
            if !right {
                self.fail(format!("{} is not unplaced for the reason given", workload.label()));
            }
        }
        for (workload, _) in self.workloads.iter().zip(missing).filter(|(_, left)| *left > 0) {
            self.fail(format!("{} is unplaced, but not listed", Label(workload)));
        }
    }

    /// Whether an empty fleet could serve one replica of `workload` on `board`.
    fn could_serve(&self, board: &Board, workload: &Workload) -> bool {
        let gpus = u64::from(workload.whole_gpus);
        if gpus == 0 {
            return board.profiles.iter().any(|p| suffices(p, workload));
        }
        board.compute_slices >= workload.compute_slices
            && board.memory.0.saturating_mul(gpus) >= workload.memory.map_or(0, |m| m.0)
            && self.most_on_a_node.get(&board.id).is_some_and(|most| *most >= gpus)
    }

    fn totals(&mut self, plan: &Plan, fleet: &Fleet) {
        let mut demand_mib: u128 = 0;
        let boards = fleet.boards();
        for (workload, served) in self.workloads.iter().zip(&self.served) {
            match workload.memory {
                Some(memory) => demand_mib += u128::from(memory.0) * u128::from(workload.count),
                None => {
                    let allowed = boards.iter().filter(|b| allows(workload, b));
                    let least = allowed.map(|b| b.memory.0).min().unwrap_or(0);
                    let unserved = workload.count.saturating_sub(served.replicas);
                    demand_mib += u128::from(served.demand_mib)
                        + u128::from(least)
                            * u128::from(workload.whole_gpus)
                            * u128::from(unserved);
                }
            }
        }
        let mut sums = self.sums;
        sums.demand_mib = u64::try_from(demand_mib).unwrap_or(u64::MAX);
        sums.rounding_mib = self.counted.allocated_mib.saturating_sub(sums.placed_mib);
        sums.idle_mib = sums.fleet_mib.saturating_sub(sums.placed_mib);
        let known = sums.rounding_mib.saturating_add(sums.spare_mib);
        if known > sums.idle_mib {
            self.fail("instances hold more memory than the fleet has".to_string());
        }
        sums.unusable_mib = sums.idle_mib.saturating_sub(known);
        if sums != plan.totals {
            self.fail(format!("totals are {:?}, not {:?}", sums, plan.totals));
        }
    }
}

/// The most GPUs of each board on one node.
fn most_on_a_node(fleet: &Fleet) -> BTreeMap<String, u64> {
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    let mut on_node: BTreeMap<&str, u64> = BTreeMap::new();
    for node in fleet.nodes() {
        on_node.clear();
        for board in &node.gpus {
            *on_node.entry(board.id.as_str()).or_default() += 1;
        }
        for (id, gpus) in &on_node {
            match most.get_mut(*id) {
                Some(known) => *known = (*known).max(*gpus),
                None => drop(most.insert((*id).to_string(), *gpus)),
            }
        }
    }
    most
}

fn allows(workload: &Workload, board: &Board) -> bool {
    workload.boards.is_empty() || workload.boards.contains(&board.id)
}

fn has_media(profile: &Profile) -> bool {
    profile.name.plus.iter().any(|a| a == "me" || a == "me.all")
}

/// Whether an instance of `profile` suffices for one replica of `workload`, which asks for no
/// whole GPU.
fn suffices(profile: &Profile, workload: &Workload) -> bool {
    profile.memory.0 >= workload.memory.map_or(0, |m| m.0)
        && profile.compute_slices >= workload.compute_slices
        && (has_media(profile) || !workload.media)
}
