//! An independent check of a plan: does it keep every promise, counted again from nothing?
//!
//! Shares no code with the optimiser and must not: overlap is tested slice by slice from the
//! board's own placements, sums are made afresh, and every value of the proof is recomputed. Only
//! this file makes a [`Checked`] plan, which is what emitters and pictures take. A broken plan is
//! what it exists for, so no number of a plan is trusted: sums saturate.

mod boards;
mod over_time;
mod present;
mod proof;
mod quotas;
mod rules;
mod shares;
mod spare;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;

use super::goal::Until;
use super::{GpuPlan, InstanceProfile, PLAN_SCHEMA, Plan, Policy, Reason, Share, Spare, Totals};
use crate::demand::quota::Quotas;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{Board, Catalogue, Profile, ProfileName};

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
    /// What each GPU of the one node holds now, by index, where that is known.
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

/// Where one replica was found.
#[derive(Debug, Default)]
struct Found {
    node: Option<Arc<str>>,
    gpus: u64,
    demand_mib: u64,
    memory_mib: u64,
}

/// The check in progress: what was counted so far, and what is wrong.
struct Check<'a> {
    workloads: &'a [Workload],
    index: HashMap<(&'a str, &'a str), usize>,
    violations: Vec<String>,
    /// The most GPUs of each board on one node.
    most_on_a_node: BTreeMap<String, u64>,
    /// For each workload its replicas by number.
    found: Vec<BTreeMap<u64, Found>>,
    sums: Totals,
    allocated_mib: u64,
    compute_slices: u64,
    /// Boards and profiles that serve a replica.
    kinds: Vec<(String, InstanceProfile)>,
    /// Free instances on GPUs in use, by board and profile.
    free: BTreeMap<(String, ProfileName), u64>,
    /// The same by memory.
    free_memory: BTreeMap<u64, u64>,
    /// Present instances that the plan destroys.
    destroyed: u64,
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
            index: workloads.iter().enumerate().map(|(i, w)| ((&*w.team, &*w.name), i)).collect(),
            violations: Vec::new(),
            found: workloads.iter().map(|_| BTreeMap::new()).collect(),
            sums: Totals::default(),
            allocated_mib: 0,
            compute_slices: 0,
            kinds: Vec::new(),
            free: BTreeMap::new(),
            free_memory: BTreeMap::new(),
            destroyed: 0,
        }
    }

    fn fail(&mut self, what: String) {
        if self.violations.len() < MOST_VIOLATIONS {
            self.violations.push(what);
        }
    }

    /// Every GPU of the fleet is there once, and each layout is one that the board can hold.
    fn gpus(&mut self, plan: &Plan, fleet: &Fleet) {
        let mut planned = plan.gpus.iter();
        for node in fleet.nodes() {
            for (index, board) in node.gpus.iter().enumerate() {
                self.sums.fleet_mib += board.memory.0;
                self.sums.gpus += 1;
                let Some(gpu) = planned.next() else {
                    self.fail(format!("GPU {index} of {} is not in the plan", node.name));
                    continue;
                };
                if *gpu.node != *node.name || gpu.gpu as usize != index || *gpu.board != *board.id {
                    self.fail(format!(
                        "the plan has {}/{} ({}) where the fleet has {}/{index} ({})",
                        gpu.node, gpu.gpu, gpu.board, node.name, board.id
                    ));
                    continue;
                }
                self.gpu(gpu, board);
            }
        }
        if planned.next().is_some() {
            self.fail("the plan has GPUs that the fleet does not have".to_string());
        }
    }

    /// One GPU: its instances are where the board allows them, and its sums.
    fn gpu(&mut self, gpu: &GpuPlan, board: &Board) {
        let at = At(gpu);
        let mut slices = vec![false; board.memory_slices as usize];
        let mut profiles: Vec<&Profile> = Vec::new();
        let in_use = gpu.instances.iter().any(|i| i.assignment.is_some());
        for instance in &gpu.instances {
            let profile = self.instance(gpu, board, instance);
            profiles.extend(profile);
            for slice in instance.start..instance.start.saturating_add(instance.size) {
                match slices.get_mut(slice as usize) {
                    Some(taken) if !*taken => *taken = true,
                    _ => {
                        self.fail(format!("{at}: memory slice {slice} is used twice or missing"));
                        break;
                    }
                }
            }
            if let Some(assignment) = &instance.assignment {
                add(&mut self.allocated_mib, instance.memory_mib);
                add(&mut self.sums.placed_mib, assignment.demand_mib);
                let compute = profile.map_or(board.compute_slices, |p| p.compute_slices);
                add(&mut self.compute_slices, u64::from(compute));
                let known =
                    self.kinds.iter().any(|(b, p)| *b == board.id && *p == instance.profile);
                if !known {
                    self.kinds.push((board.id.clone(), instance.profile.clone()));
                }
                self.assignment(gpu, board, profile, instance, assignment);
            } else {
                add(&mut self.sums.spare_mib, instance.memory_mib);
                if let (Some(profile), true) = (profile, in_use) {
                    *self.free.entry((board.id.clone(), profile.name.clone())).or_default() += 1;
                    *self.free_memory.entry(profile.memory.0).or_default() += 1;
                }
            }
        }
        let has = |p: &&&Profile, attribute: &str| p.name.plus.iter().any(|a| a == attribute);
        let one_engine = profiles.iter().filter(|p| has(p, "me")).count();
        let all_engines = profiles.iter().filter(|p| has(p, "me.all")).count();
        let not_without =
            profiles.iter().filter(|p| !p.name.minus.iter().any(|a| a == "me")).count();
        if one_engine > 1 || all_engines > 1 || all_engines == 1 && not_without > 1 {
            self.fail(format!("{at}: the media engines are allocated more than once"));
        }
        if gpu.mig && gpu.instances.is_empty() {
            self.fail(format!("{at}: MIG is on, but there is no instance"));
        }
        self.sums.gpus_used += u64::from(in_use);
    }

    /// One instance is what the board can make; returns its profile where it is a MIG instance.
    fn instance<'b>(
        &mut self,
        gpu: &GpuPlan,
        board: &'b Board,
        instance: &super::Instance,
    ) -> Option<&'b Profile> {
        let at = At(gpu);
        match (&instance.profile, gpu.mig) {
            (InstanceProfile::Full, false) => {
                if (instance.start, instance.size) != (0, board.memory_slices)
                    || instance.memory_mib != board.memory.0
                {
                    self.fail(format!("{at}: the whole GPU is not described as such"));
                }
                None
            }
            (InstanceProfile::Mig(name), true) => {
                let Some(p) = board.profiles.iter().find(|p| p.name == *name) else {
                    self.fail(format!("{at}: {} has no profile {name}", board.id));
                    return None;
                };
                if !p.starts.contains(&instance.start)
                    || p.memory_slices != instance.size
                    || p.memory.0 != instance.memory_mib
                {
                    self.fail(format!(
                        "{at}: {name} cannot be at {}+{} with {} MiB",
                        instance.start, instance.size, instance.memory_mib
                    ));
                }
                Some(p)
            }
            (profile, mig) => {
                self.fail(format!("{at}: {profile} with MIG {}", if mig { "on" } else { "off" }));
                None
            }
        }
    }

    /// The replica may use the instance that it is assigned to.
    fn assignment(
        &mut self,
        gpu: &GpuPlan,
        board: &Board,
        profile: Option<&Profile>,
        instance: &super::Instance,
        assignment: &super::Assignment,
    ) {
        let at = At(gpu);
        let key = (&*assignment.team, &*assignment.workload);
        let Some(&index) = self.index.get(&key) else {
            self.fail(format!("{at}: {}/{} is not in the demand", key.0, key.1));
            return;
        };
        let workload = &self.workloads[index];
        let name = Label(workload);
        if !allows(workload, board) {
            self.fail(format!("{at}: {name} may not run on {}", board.id));
        }
        if assignment.demand_mib > instance.memory_mib {
            self.fail(format!("{at}: {name} does not fit its instance"));
        }
        let compute = profile.map_or(board.compute_slices, |p| p.compute_slices);
        if compute < workload.compute_slices {
            self.fail(format!("{at}: {name} has too few compute slices"));
        }
        match (workload.whole_gpus, profile) {
            (0, Some(profile)) => {
                if workload.media && !has_media(profile) {
                    self.fail(format!("{at}: {name} has no media engines"));
                }
            }
            (0, None) => self.fail(format!("{at}: {name} did not ask for a whole GPU")),
            // On a node whose GPUs all have MIG on, a whole GPU is one instance of all of it.
            (1, Some(p)) if p.memory_slices == board.memory_slices => {}
            (_, Some(_)) => self.fail(format!("{at}: {name} asked for whole GPUs")),
            (_, None) => {}
        }
        let found = self.found[index].entry(assignment.replica).or_default();
        if found.node.as_ref().is_some_and(|node| *node != gpu.node) {
            self.fail(format!("{name} replica {} is on several nodes", assignment.replica));
            return;
        }
        found.node = Some(gpu.node.clone());
        found.gpus += 1;
        add(&mut found.demand_mib, assignment.demand_mib);
        add(&mut found.memory_mib, instance.memory_mib);
    }

    /// Each replica is assigned to one instance, or to as many whole GPUs as it asked for, and is
    /// served exactly what it needs.
    fn replicas(&mut self) {
        let found = std::mem::take(&mut self.found);
        for (workload, replicas) in self.workloads.iter().zip(&found) {
            let name = Label(workload);
            add(&mut self.sums.replicas, workload.count);
            self.sums.placed += replicas.len() as u64;
            if replicas.len() as u64 > workload.count {
                self.fail(format!("{name} has more replicas than it asked for"));
            }
            for ((number, found), expected) in replicas.iter().zip(1..) {
                if *number != expected {
                    self.fail(format!("{name}: replica {expected} is missing"));
                }
                if found.gpus != u64::from(workload.whole_gpus.max(1)) {
                    self.fail(format!("{name} replica {number} has {} GPUs", found.gpus));
                }
                let needs = workload.memory.map_or(found.memory_mib, |m| m.0);
                if found.demand_mib != needs {
                    self.fail(format!(
                        "{name} replica {number} is served {} MiB, not {needs}",
                        found.demand_mib
                    ));
                }
            }
        }
        self.found = found;
    }

    /// What is not placed is listed once, with a reason that is true.
    fn unplaced(&mut self, plan: &Plan, fleet: &Fleet) {
        let mut missing: BTreeMap<(&str, &str), (u64, usize)> = BTreeMap::new();
        for (index, workload) in self.workloads.iter().enumerate() {
            let placed = self.found[index].len() as u64;
            if placed < workload.count {
                let key = (&*workload.team, &*workload.name);
                missing.insert(key, (workload.count - placed, index));
            }
        }
        let boards = fleet.boards();
        for row in &plan.unplaced {
            let Some((replicas, index)) = missing.remove(&(&*row.team, &*row.workload)) else {
                self.fail(format!(
                    "{}/{} is listed as unplaced, but is not",
                    row.team, row.workload
                ));
                continue;
            };
            if replicas != row.replicas {
                self.fail(format!("{}/{}: {replicas} are unplaced", row.team, row.workload));
            }
            let workload = &self.workloads[index];
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
        for ((team, name), _) in missing {
            self.fail(format!("{team}/{name} is unplaced, but not listed"));
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
        for (workload, found) in self.workloads.iter().zip(&self.found) {
            match workload.memory {
                Some(memory) => demand_mib += u128::from(memory.0) * u128::from(workload.count),
                None => {
                    let allowed = boards.iter().filter(|b| allows(workload, b));
                    let least = allowed.map(|b| b.memory.0).min().unwrap_or(0);
                    let unserved = workload.count.saturating_sub(found.len() as u64);
                    demand_mib += found.values().map(|f| u128::from(f.demand_mib)).sum::<u128>()
                        + u128::from(least)
                            * u128::from(workload.whole_gpus)
                            * u128::from(unserved);
                }
            }
        }
        let mut sums = self.sums;
        sums.demand_mib = u64::try_from(demand_mib).unwrap_or(u64::MAX);
        sums.rounding_mib = self.allocated_mib.saturating_sub(sums.placed_mib);
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
