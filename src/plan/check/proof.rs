//! The proof: each stage claims the value that the plan has, none is missing, and a plan that is
//! called optimal has no gap.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Conditions, allows};
use crate::demand::Workload;
use crate::fleet::Fleet;
use crate::plan::goal::{self, Objective, Scope};
use crate::plan::{Plan, Status};

impl Check<'_> {
    pub(super) fn proof(&mut self, plan: &Plan, fleet: &Fleet, conditions: &Conditions) {
        let weights = self.weights(|_, placed| placed);
        let guaranteed = match self.workloads.iter().any(|w| w.min > 0) {
            true => self.weights(|workload, placed| placed.min(workload.min)),
            false => BTreeMap::new(),
        };
        let mut claimed: Vec<Objective> = Vec::new();
        for stage in &plan.proof.stages {
            let Some(objective) = Objective::from_name(&stage.objective) else {
                self.fail(format!("the proof has a stage '{}' that is not known", stage.objective));
                continue;
            };
            claimed.push(objective);
            // Short of a proof a GPU of the program may turn out to serve no replica, and is off.
            let may_be_better = matches!(
                objective,
                Objective::GpusUsed | Objective::InstancesDestroyed | Objective::SpareOfSize(_)
            );
            let exact = plan.proof.status == Status::Optimal || !may_be_better;
            if let Some(actual) = self.actual(objective, &weights, &guaranteed).filter(|_| exact)
                && objective.number(actual) != stage.value
            {
                self.fail(format!(
                    "stage {} claims {}, but the plan has {}",
                    stage.objective,
                    stage.value,
                    objective.number(actual)
                ));
            }
            if objective == Objective::SpareMix && plan.proof.status == Status::Optimal {
                self.spare_mix(&stage.value, fleet, conditions);
            }
            if plan.proof.status == Status::Optimal && !stage.proved() {
                self.fail(format!("stage {} has a gap in an optimal plan", stage.objective));
            }
        }
        claimed.dedup_by(|next, o| next == o && matches!(o, Objective::TeamShare(_)));
        self.stages(plan, fleet, conditions, &claimed);
        self.team_shares(plan, fleet, conditions.share);
    }

    /// The stages stand in the order of the goal, and an optimal plan has all that apply.
    fn stages(
        &mut self,
        plan: &Plan,
        fleet: &Fleet,
        conditions: &Conditions,
        claimed: &[Objective],
    ) {
        let counting = self.counting();
        let scope = self.scope(plan, fleet, conditions, &counting);
        let expected = goal::objectives(&scope);
        let mut rest = expected.iter();
        let in_order = claimed.iter().all(|c| rest.any(|e| e == c));
        if !in_order {
            self.fail("the stages of the proof are not in the order of the goal".to_string());
        }
        let due = |o: &&Objective| match o {
            // Sizes that no instance of the plan has may be left to the optimiser.
            Objective::SpareOfSize(_) => false,
            // A priority of which nothing could be placed and nothing is counts nowhere.
            Objective::TeamShare(p) | Objective::PlacedWeight(p) => counting.contains(p),
            _ => true,
        };
        let missing = expected.iter().filter(due).find(|e| !claimed.contains(e)).copied();
        if let (Status::Optimal, Some(missing)) = (plan.proof.status, missing) {
            self.fail(format!("the proof lacks the stage {}", missing.name()));
        }
    }

    /// Priorities with replicas that are placed, or unplaced for want of GPUs only.
    fn counting(&self) -> BTreeSet<i64> {
        let workloads = self.workloads.iter().zip(&self.served);
        let mut counting = self.short_of_gpus.clone();
        let placed = workloads.filter(|(_, served)| served.replicas > 0);
        counting.extend(placed.map(|(workload, _)| workload.priority));
        counting
    }

    fn scope(
        &self,
        plan: &Plan,
        fleet: &Fleet,
        conditions: &Conditions,
        counting: &BTreeSet<i64>,
    ) -> Scope {
        let boards = fleet.boards();
        let claimed = plan.proof.stages.iter().filter_map(|s| Objective::from_name(&s.objective));
        let claimed: BTreeSet<Objective> = claimed.collect();
        let mut priorities: BTreeSet<i64> = BTreeSet::new();
        for workload in self.workloads.iter().filter(|w| w.count > 0) {
            let priority = workload.priority;
            if priorities.contains(&priority) {
                continue;
            }
            let listed = counting.contains(&priority)
                || claimed.contains(&Objective::PlacedWeight(priority));
            let servable =
                || boards.iter().any(|b| allows(workload, b) && self.could_serve(b, workload));
            if listed && servable() {
                priorities.insert(priority);
            }
        }
        let profiles = boards.iter().flat_map(|b| &b.profiles);
        let with_min = self.workloads.iter().filter(|w| w.min > 0 && w.count > 0);
        let servable = |w: &Workload| boards.iter().any(|b| allows(w, b) && self.could_serve(b, w));
        Scope {
            guaranteed: with_min.filter(|w| servable(w)).map(|w| w.priority).collect(),
            priorities,
            share: conditions.share,
            until: conditions.until,
            knows_present: conditions.present.is_some(),
            spare: conditions.spare,
            sizes_mib: profiles.map(|p| p.memory.0).collect(),
        }
    }

    /// The weight placed of each priority, in millionths, where `counted` says how many of the
    /// replicas placed of a workload count.
    fn weights(&self, counted: impl Fn(&Workload, u64) -> u64) -> BTreeMap<i64, u128> {
        let mut weights: BTreeMap<i64, u128> = BTreeMap::new();
        for (workload, served) in self.workloads.iter().zip(&self.served) {
            let replicas = counted(workload, served.replicas);
            let weight = u128::from(workload.weight.0) * u128::from(replicas);
            *weights.entry(workload.priority).or_default() += weight;
        }
        weights
    }

    /// What the plan really reaches; `None` where a value is not a sum over the plan but a claim
    /// about what else would fit, which is checked by itself.
    fn actual(
        &self,
        objective: Objective,
        weights: &BTreeMap<i64, u128>,
        guaranteed: &BTreeMap<i64, u128>,
    ) -> Option<i128> {
        let of = |weights: &BTreeMap<i64, u128>, priority| {
            i128::try_from(weights.get(&priority).copied().unwrap_or(0)).unwrap_or(i128::MAX)
        };
        let rounding = i128::from(self.counted.allocated_mib) - i128::from(self.sums.placed_mib);
        Some(match objective {
            Objective::GuaranteedWeight(priority) => of(guaranteed, priority),
            Objective::PlacedWeight(priority) => of(weights, priority),
            Objective::PlacedMib => self.sums.placed_mib.into(),
            Objective::GpusUsed => self.sums.gpus_used.into(),
            Objective::RoundingMib => rounding,
            Objective::ProfileKinds => self.counted.kinds.len() as i128,
            Objective::ComputeSlices => self.counted.compute_slices.into(),
            Objective::InstancesDestroyed => self.destroyed.into(),
            Objective::SpareOfSize(mib) => self.free_of_size(mib).into(),
            // Checked by themselves, as several stages are of one name, or a claim.
            Objective::TeamShare(_) | Objective::SpareMix => return None,
        })
    }
}
