//! A plan for demand over time: in every period the replicas fit the instances that there are, and
//! the sums over the hours are those that the proof claims.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::proof::{Claim, Expected, violations_of_stages};
use super::{Check, Checked, Conditions, HeldInstance, allows, suffices};
use crate::demand::over_time::OverTime;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::hardware::Board;
use crate::plan::goal::{self, Objective, Scope};
use crate::plan::{Allocated, GpuPlan, Instance, InstanceProfile, Plan, Share, Spare, Status};

impl Checked {
    /// The plan, if its layouts serve in every period what `periods` says, and what it shows is the
    /// period of index `shown`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn over_time(
        plan: Plan,
        demand: &OverTime,
        shown: usize,
        periods: &[Vec<Allocated>],
        fleet: &Fleet,
        conditions: &Conditions,
    ) -> Result<Checked, Vec<String>> {
        let part: Demand = demand.demand_in(shown);
        let mut check = Check::new(&part, fleet);
        check.gpus(&plan, fleet);
        check.replicas();
        check.unplaced(&plan, fleet);
        check.totals(&plan, fleet);
        let scope = scope(demand, fleet, conditions);
        // What is free in one period serves another.
        let conditions = Conditions { spare: Spare::Mix, ..conditions.clone() };
        check.rules(&plan, &conditions);
        check.present(&plan, fleet, &conditions);
        let mut sums = check.periods(&plan, demand, periods, fleet);
        if conditions.policy.one_profile_per_workload {
            check.one_name(demand.peak(), periods);
        }
        sums.perhaps_unused = perhaps_not_in_use(&plan, fleet, &conditions);
        check.is_shown(&plan, demand, periods.get(shown).map_or(&[], Vec::as_slice));
        check.proof_over_time(&plan, &goal::objectives(&scope), &sums);
        let violations = std::mem::take(&mut check.violations);
        drop(check);
        if violations.is_empty() { Ok(Checked(plan)) } else { Err(violations) }
    }
}

/// Sums over all periods, times their hours.
#[derive(Debug, Default)]
struct Sums {
    weights: BTreeMap<i64, i128>,
    /// Of those, of replicas up to the `min` of each workload.
    guaranteed: BTreeMap<i64, i128>,
    placed_mib: i128,
    allocated_mib: i128,
    compute_slices: i128,
    kinds: BTreeSet<(Arc<str>, InstanceProfile)>,
    /// By the memory of an instance, how many are free in all periods.
    free: BTreeMap<u64, u64>,
    /// Of those, the ones on GPUs that are perhaps not in use.
    perhaps_unused: BTreeMap<u64, u64>,
}

/// What decides which stages the proof may have; a stage may be missing, as that of a priority of
/// which nothing could be served.
fn scope(demand: &OverTime, fleet: &Fleet, conditions: &Conditions) -> Scope {
    let boards = fleet.boards();
    let profiles = boards.iter().flat_map(|b| &b.profiles);
    Scope {
        priorities: demand.peak().workloads().iter().map(|w| w.priority).collect(),
        guaranteed: demand.peak().workloads().iter().map(|w| w.priority).collect(),
        share: Share::Weight,
        until: conditions.until,
        knows_present: conditions.present.is_some(),
        spare: conditions.spare,
        sizes_mib: profiles.map(|p| p.memory.0).collect(),
    }
}

/// By their memory, the instances of GPUs that serve no replica in the period that is shown and may
/// have them without being in use: what they held before, or what all GPUs of a node must have.
fn perhaps_not_in_use(plan: &Plan, fleet: &Fleet, conditions: &Conditions) -> BTreeMap<u64, u64> {
    let boards = fleet.boards();
    let alike = conditions.policy.nodes_agree_on_mig();
    let present = conditions.present.as_deref().unwrap_or_default();
    let is_as_before = |at: usize, gpu: &GpuPlan| {
        let held = present.get(at).map_or(&[][..], |now| &now.instances);
        let is_held = |i: &Instance| {
            let is = |h: &HeldInstance| matches!(&i.profile, InstanceProfile::Mig(name) if h.profile == *name);
            held.iter().any(|h| h.start == i.start && is(h))
        };
        gpu.instances.len() == held.len() && gpu.instances.iter().all(is_held)
    };
    let serves_none = |gpu: &GpuPlan| gpu.instances.iter().all(|i| i.assignment.is_none());
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    let gpus = plan.gpus.iter().enumerate().filter(|(_, gpu)| serves_none(gpu));
    for (_, gpu) in gpus.filter(|(at, gpu)| alike || is_as_before(*at, gpu)) {
        let board = boards.iter().find(|b| *b.id == *gpu.board);
        for instance in &gpu.instances {
            if let (Some(board), InstanceProfile::Mig(name)) = (board, &instance.profile)
                && let Some((_, profile)) = board.profile(name)
            {
                *found.entry(profile.memory.0).or_default() += 1;
            }
        }
    }
    found
}

/// Memory and compute slices of one instance, if it suffices for a replica.
fn serves(board: &Board, profile: &InstanceProfile, workload: &Workload) -> Option<(u64, u32)> {
    let (memory, compute, fits) = match profile {
        InstanceProfile::Full => (board.memory, board.compute_slices, workload.whole_gpus == 1),
        InstanceProfile::Mig(name) => {
            let p = board.profiles.iter().find(|p| p.name == *name)?;
            let fits = match workload.whole_gpus {
                0 => suffices(p, workload),
                // It has all media engines, whatever its name says.
                1 => p.memory_slices == board.memory_slices,
                _ => false,
            };
            (p.memory, p.compute_slices, fits)
        }
    };
    let enough = workload.memory.is_none_or(|m| m <= memory) && workload.compute_slices <= compute;
    (fits && enough && allows(workload, board)).then_some((memory.0, compute))
}

impl Check<'_> {
    /// In every period: replicas of each kind ≤ instances, replicas of a workload ≤ its count, and
    /// every replica in an instance that suffices.
    fn periods(
        &mut self,
        plan: &Plan,
        demand: &OverTime,
        periods: &[Vec<Allocated>],
        fleet: &Fleet,
    ) -> Sums {
        let boards = fleet.boards();
        let workloads = demand.peak().workloads();
        let mut supply: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
        for gpu in &plan.gpus {
            for instance in &gpu.instances {
                *supply.entry((&gpu.board, &instance.profile)).or_default() += 1;
            }
        }
        let mut sums = Sums::default();
        let mut most: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
        if periods.len() != demand.periods().len() {
            self.fail("the plan has other periods than the demand".to_string());
        }
        for (p, (period, rows)) in demand.periods().iter().zip(periods).enumerate() {
            let mut used: BTreeMap<(&str, &InstanceProfile), u64> = BTreeMap::new();
            let mut served = vec![0u64; workloads.len()];
            let hours = i128::from(period.hours);
            for row in rows {
                let board = boards.iter().find(|b| *b.id == *row.board);
                let workload = workloads.get(row.workload);
                let (Some(board), Some(workload)) = (board, workload) else {
                    self.fail(format!("period {p} names what is not there"));
                    continue;
                };
                let Some((memory, compute)) = serves(board, &row.profile, workload) else {
                    self.fail(format!(
                        "period {p}: {} does not serve {}",
                        row.profile,
                        workload.label()
                    ));
                    continue;
                };
                *used.entry((&row.board, &row.profile)).or_default() += row.replicas;
                served[row.workload] += row.replicas;
                let times = hours * i128::from(row.replicas);
                let weight = sums.weights.entry(workload.priority).or_default();
                *weight += times * i128::from(workload.weight.0);
                sums.placed_mib += times * i128::from(workload.memory.map_or(memory, |m| m.0));
                sums.allocated_mib += times * i128::from(memory);
                sums.compute_slices += times * i128::from(compute);
                sums.kinds.insert((row.board.clone(), row.profile.clone()));
            }
            for (kind, replicas) in used {
                let most = most.entry(kind).or_default();
                *most = replicas.max(*most);
                if replicas > supply.get(&kind).copied().unwrap_or(0) {
                    self.fail(format!("period {p}: more replicas in {} than instances", kind.1));
                }
            }
            for ((workload, served), asked) in workloads.iter().zip(&served).zip(&*period.counts) {
                let guaranteed = sums.guaranteed.entry(workload.priority).or_default();
                let replicas = hours * i128::from(*served.min(&workload.min));
                *guaranteed += replicas * i128::from(workload.weight.0);
                if served > asked {
                    self.fail(format!("period {p}: {} is served too often", workload.label()));
                }
            }
        }
        for (kind, count) in supply {
            let (id, InstanceProfile::Mig(name)) = kind else { continue };
            let board = boards.iter().find(|b| *b.id == *id);
            if let Some((_, profile)) = board.and_then(|b| b.profile(name)) {
                let taken = most.get(&kind).copied().unwrap_or(0);
                *sums.free.entry(profile.memory.0).or_default() += count.saturating_sub(taken);
            }
        }
        sums
    }

    /// All replicas of a workload are in instances of one name, whatever the period.
    fn one_name(&mut self, peak: &Demand, periods: &[Vec<Allocated>]) {
        let mut names: BTreeMap<usize, BTreeSet<&InstanceProfile>> = BTreeMap::new();
        for row in periods.iter().flatten() {
            names.entry(row.workload).or_default().insert(&row.profile);
        }
        for (workload, names) in names {
            let Some(workload) = peak.workloads().get(workload) else { continue };
            if names.len() > 1 {
                self.fail(format!("{} is in several profiles", workload.label()));
            }
        }
    }

    /// The replicas that the plan shows are those of its period.
    fn is_shown(&mut self, plan: &Plan, demand: &OverTime, rows: &[Allocated]) {
        let mut shown: BTreeMap<(&str, &str, &str, &InstanceProfile), u64> = BTreeMap::new();
        for gpu in &plan.gpus {
            for instance in &gpu.instances {
                if let Some(a) = &instance.assignment {
                    let key = (&*a.team, &*a.workload, &*gpu.board, &instance.profile);
                    *shown.entry(key).or_default() += 1;
                }
            }
        }
        let mut expected: BTreeMap<(&str, &str, &str, &InstanceProfile), u64> = BTreeMap::new();
        for row in rows {
            let Some(w) = demand.peak().workloads().get(row.workload) else { continue };
            let key = (&*w.team, &*w.name, &*row.board, &row.profile);
            *expected.entry(key).or_default() += row.replicas;
        }
        if shown != expected {
            self.fail("the plan shows other replicas than its period has".to_string());
        }
    }

    /// Each stage claims the sum over the hours.
    fn proof_over_time(&mut self, plan: &Plan, objectives: &[Objective], sums: &Sums) {
        let optimal = plan.proof.status == Status::Optimal;
        let is_placed =
            |weights: &BTreeMap<i64, i128>, p: i64| weights.get(&p).is_some_and(|w| *w > 0);
        // A configuration of a schedule has no proof of its own: the schedule has.
        let has_proof = !plan.proof.stages.is_empty();
        let due = |objective| match objective {
            _ if !has_proof => false,
            Objective::GuaranteedWeight(p) => is_placed(&sums.guaranteed, p),
            Objective::PlacedWeight(p) => is_placed(&sums.weights, p),
            // Sizes that no instance of the plan has may be left to the optimiser.
            Objective::SpareOfSize(_) => false,
            _ => true,
        };
        let claim = |objective| match self.claim_over_time(objective, sums) {
            Claim::Exactly(_) | Claim::Within(_)
                if !optimal && objective != Objective::GpusUsed =>
            {
                Claim::Anything
            }
            claim => claim,
        };
        let name = Objective::name_over_time;
        let expected = Expected { objectives, name, due: &due, claim: &claim };
        let violations = violations_of_stages(&plan.proof, &expected);
        violations.into_iter().for_each(|what| self.fail(what));
    }

    /// What a stage of an optimal plan may claim.
    fn claim_over_time(&self, objective: Objective, sums: &Sums) -> Claim {
        let of = |weights: &BTreeMap<i64, i128>, p| weights.get(&p).copied().unwrap_or(0);
        let of_size = |sizes: &BTreeMap<u64, u64>, mib| sizes.get(&mib).copied().unwrap_or(0);
        Claim::Exactly(match objective {
            Objective::GuaranteedWeight(p) => of(&sums.guaranteed, p),
            Objective::PlacedWeight(p) => of(&sums.weights, p),
            Objective::PlacedMib => sums.placed_mib,
            Objective::RoundingMib => sums.allocated_mib - sums.placed_mib,
            Objective::ProfileKinds => sums.kinds.len() as i128,
            Objective::ComputeSlices => sums.compute_slices,
            Objective::InstancesDestroyed => {
                // A GPU that is left as it is here may serve a replica in another period.
                let least = self.destroyed;
                return Claim::Within(least..=least + self.perhaps_destroyed);
            }
            // Other periods may need GPUs that serve no replica in the one that is shown.
            Objective::GpusUsed => return Claim::Within(self.sums.gpus_used..=self.sums.gpus),
            Objective::SpareOfSize(mib) => {
                // Which GPUs serve a replica in another period, counts do not say.
                let most = of_size(&sums.free, mib);
                let least = most.saturating_sub(of_size(&sums.perhaps_unused, mib));
                return Claim::Within(least..=most);
            }
            // What else would fit is no sum over the plan.
            Objective::TeamShare(_) | Objective::SpareMix => return Claim::Anything,
        })
    }
}
