//! An independent check of a plan: does it keep every promise, counted again from nothing?
//!
//! Shares no code with the optimiser and must not: overlap is tested slice by slice from the
//! board's own placements, sums are made afresh, the proof's values are recomputed. It runs on
//! every plan before anybody sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{
    GpuPlan, InstanceProfile, MigModePolicy, PLAN_SCHEMA, Plan, Policy, Reason, Status, Strategy,
    Totals,
};
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::{Board, Profile};

/// Listing more violations than this helps nobody.
const MOST_VIOLATIONS: usize = 20;

/// Everything that is wrong with `plan` as an answer to `demand` on `fleet`; empty for a good plan.
pub fn violations(plan: &Plan, demand: &Demand, fleet: &Fleet) -> Vec<String> {
    let mut check = Check::new(demand);
    if plan.schema != PLAN_SCHEMA {
        check.fail(format!("schema is {}", plan.schema));
    }
    check.gpus(plan, fleet);
    check.replicas();
    check.unplaced(plan, fleet);
    check.totals(plan, fleet);
    check.proof(plan);
    check.violations
}

/// Every rule of the site that `plan` breaks; empty for a good plan.
pub fn policy_violations(plan: &Plan, policy: &Policy) -> Vec<String> {
    let mut violations = Vec::new();
    let mut nodes: BTreeMap<&str, Vec<&GpuPlan>> = BTreeMap::new();
    let mut names: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for gpu in &plan.gpus {
        nodes.entry(&gpu.node).or_default().push(gpu);
        for instance in &gpu.instances {
            if let Some(o) = &instance.assignment {
                let of = names.entry((&o.team, &o.workload)).or_default();
                of.insert(instance.profile.to_string());
            }
        }
    }
    for (node, gpus) in nodes {
        let off = gpus.iter().filter(|g| !g.mig).count();
        let agree = off == 0 || off == gpus.len();
        let profiles: BTreeSet<String> = gpus
            .iter()
            .filter(|g| g.mig)
            .flat_map(|g| &g.instances)
            .map(|i| i.profile.to_string())
            .collect();
        if policy.mig_mode == MigModePolicy::PerNode && !agree {
            violations.push(format!("{node}: GPUs differ in MIG mode"));
        }
        if policy.strategy == Strategy::Single && (!agree || profiles.len() > 1) {
            violations.push(format!("{node}: is not of one profile"));
        }
        if off < gpus.len().min(policy.keep_whole as usize) {
            violations.push(format!("{node}: {off} GPUs are kept whole"));
        }
    }
    for ((team, name), profiles) in names {
        if policy.one_profile_per_workload && profiles.len() > 1 {
            violations.push(format!("{team}/{name} sits in several profiles"));
        }
    }
    violations.truncate(MOST_VIOLATIONS);
    violations
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

struct Check<'a> {
    workloads: &'a [Workload],
    index: HashMap<(&'a str, &'a str), usize>,
    violations: Vec<String>,
    found: Vec<BTreeMap<u64, Found>>,
    sums: Totals,
    allocated_mib: u64,
    compute_slices: u64,
    kinds: Vec<(String, InstanceProfile)>,
}

impl<'a> Check<'a> {
    fn new(demand: &'a Demand) -> Self {
        let workloads = demand.workloads();
        Check {
            workloads,
            index: workloads.iter().enumerate().map(|(i, w)| ((&*w.team, &*w.name), i)).collect(),
            violations: Vec::new(),
            found: workloads.iter().map(|_| BTreeMap::new()).collect(),
            sums: Totals::default(),
            allocated_mib: 0,
            compute_slices: 0,
            kinds: Vec::new(),
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
            self.fail("the plan has GPUs that the fleet has not".to_string());
        }
    }

    fn gpu(&mut self, gpu: &GpuPlan, board: &Board) {
        let at = At(gpu);
        let mut slices = vec![false; board.memory_slices as usize];
        let (mut one_engine, mut all_engines, mut not_without) = (0, 0, 0);
        let mut serves = false;
        for instance in &gpu.instances {
            let mut profile = None;
            match (&instance.profile, gpu.mig) {
                (InstanceProfile::Full, false) => {
                    if (instance.start, instance.size) != (0, board.memory_slices)
                        || instance.memory_mib != board.memory.0
                    {
                        self.fail(format!("{at}: the whole GPU is not described as such"));
                    }
                }
                (InstanceProfile::Mig(name), true) => {
                    match board.profiles.iter().find(|p| p.name == *name) {
                        None => self.fail(format!("{at}: {} has no profile {name}", board.id)),
                        Some(p) => {
                            if !p.starts.contains(&instance.start)
                                || p.memory_slices != instance.size
                                || p.memory.0 != instance.memory_mib
                            {
                                self.fail(format!(
                                    "{at}: {name} cannot be at {}+{} with {} MiB",
                                    instance.start, instance.size, instance.memory_mib
                                ));
                            }
                            let me = p.name.plus.iter().any(|a| a == "me");
                            let all = p.name.plus.iter().any(|a| a == "me.all");
                            one_engine += u32::from(me);
                            all_engines += u32::from(all);
                            not_without += u32::from(!p.name.minus.iter().any(|a| a == "me"));
                            profile = Some(p);
                        }
                    }
                }
                (profile, mig) => {
                    self.fail(format!(
                        "{at}: {profile} with MIG {}",
                        if mig { "on" } else { "off" }
                    ));
                }
            }
            for slice in instance.start..instance.start.saturating_add(instance.size) {
                match slices.get_mut(slice as usize) {
                    Some(taken) if !*taken => *taken = true,
                    _ => {
                        self.fail(format!(
                            "{at}: memory slice {slice} is taken twice or not there"
                        ));
                        break;
                    }
                }
            }
            if let Some(assignment) = &instance.assignment {
                serves = true;
                self.allocated_mib += instance.memory_mib;
                self.sums.placed_mib += assignment.demand_mib;
                let compute = profile.map_or(board.compute_slices, |p| p.compute_slices);
                self.compute_slices += u64::from(compute);
                let known =
                    self.kinds.iter().any(|(b, p)| *b == board.id && *p == instance.profile);
                if !known {
                    self.kinds.push((board.id.clone(), instance.profile.clone()));
                }
                self.assignment(gpu, board, profile, instance, assignment);
            } else {
                self.sums.spare_mib += instance.memory_mib;
            }
        }
        if one_engine > 1 || all_engines > 1 || all_engines == 1 && not_without > 1 {
            self.fail(format!("{at}: the media engines are handed out more than once"));
        }
        if gpu.mig && gpu.instances.is_empty() {
            self.fail(format!("{at}: MIG is on, but there is no instance"));
        }
        self.sums.gpus_used += u64::from(serves);
    }

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
            self.fail(format!("{at}: nobody asked for {}/{}", key.0, key.1));
            return;
        };
        let workload = &self.workloads[index];
        let name = Label(workload);
        if !workload.boards.is_empty() && !workload.boards.contains(&board.id) {
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
                let engines = |a: &String| a == "me" || a == "me.all";
                if workload.media && !profile.name.plus.iter().any(engines) {
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
        found.demand_mib += assignment.demand_mib;
        found.memory_mib += instance.memory_mib;
    }

    /// Each replica sits in one instance, or on as many whole GPUs as it asked for, and is served
    /// exactly what it needs.
    fn replicas(&mut self) {
        let found = std::mem::take(&mut self.found);
        for (workload, replicas) in self.workloads.iter().zip(&found) {
            let name = Label(workload);
            self.sums.replicas += workload.count;
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

    /// Who is not placed is listed once, with a reason that is true.
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
            let allowed: Vec<&Board> = boards
                .iter()
                .map(AsRef::as_ref)
                .filter(|b| workload.boards.is_empty() || workload.boards.contains(&b.id))
                .collect();
            let possible = allowed.iter().any(|b| could_serve(b, workload, fleet));
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

    fn totals(&mut self, plan: &Plan, fleet: &Fleet) {
        let mut demand_mib: u128 = 0;
        for (workload, found) in self.workloads.iter().zip(&self.found) {
            match workload.memory {
                Some(memory) => demand_mib += u128::from(memory.0) * u128::from(workload.count),
                None => {
                    let boards = fleet.boards();
                    let allowed = boards
                        .iter()
                        .filter(|b| workload.boards.is_empty() || workload.boards.contains(&b.id));
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
        let known = sums.rounding_mib + sums.spare_mib;
        if known > sums.idle_mib {
            self.fail("instances hold more memory than the fleet has".to_string());
        }
        sums.unusable_mib = sums.idle_mib.saturating_sub(known);
        if sums != plan.totals {
            self.fail(format!("totals are {:?}, not {:?}", sums, plan.totals));
        }
    }

    /// The stages claim the values that the plan has; an optimal plan has no gap.
    fn proof(&mut self, plan: &Plan) {
        let mut weights: BTreeMap<i64, u128> = BTreeMap::new();
        for (workload, found) in self.workloads.iter().zip(&self.found) {
            let weight = u128::from(workload.weight.0) * found.len() as u128;
            *weights.entry(workload.priority).or_default() += weight;
        }
        let optimal = plan.proof.status == Status::Optimal;
        for stage in &plan.proof.stages {
            let value = stage.value.as_f64().unwrap_or(f64::NAN);
            let name = stage.objective.as_str();
            let actual = match name {
                "placed_mib" => Some(self.sums.placed_mib as f64),
                "gpus_used" => Some(self.sums.gpus_used as f64),
                "rounding_mib" => Some((self.allocated_mib - self.sums.placed_mib) as f64),
                "profile_kinds" => Some(self.kinds.len() as f64),
                "compute_slices" => Some(self.compute_slices as f64),
                _ => name
                    .strip_prefix("placed_weight[priority=")
                    .and_then(|rest| rest.strip_suffix(']'))
                    .and_then(|priority| priority.parse().ok())
                    .map(|priority: i64| weights.get(&priority).copied().unwrap_or(0) as f64 / 1e6),
            };
            if optimal && actual.is_some_and(|actual| actual != value) {
                self.fail(format!("stage {name} claims {value}, but the plan has {actual:?}"));
            }
            if optimal && !stage.proved() {
                self.fail(format!("stage {name} has a gap in a plan that is called optimal"));
            }
        }
    }
}

/// Whether an empty fleet could serve one replica of `workload` on `board`.
fn could_serve(board: &Board, workload: &Workload, fleet: &Fleet) -> bool {
    let memory = workload.memory.map_or(0, |m| m.0);
    let gpus = u64::from(workload.whole_gpus);
    if gpus == 0 {
        return board.profiles.iter().any(|p| {
            let media = p.name.plus.iter().any(|a| a == "me" || a == "me.all");
            p.memory.0 >= memory
                && p.compute_slices >= workload.compute_slices
                && (media || !workload.media)
        });
    }
    board.compute_slices >= workload.compute_slices
        && board.memory.0.saturating_mul(gpus) >= memory
        && fleet
            .nodes()
            .iter()
            .any(|n| n.gpus.iter().filter(|b| b.id == board.id).count() as u64 >= gpus)
}
