//! The proof: each stage claims the value that the plan has, none is missing, and a plan that is
//! called optimal has no gap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{Check, Conditions, allows};
use crate::demand::Workload;
use crate::fleet::Fleet;
use crate::plan::goal::{self, Objective, Scope};
use crate::plan::{Plan, Proof, Stage, Status};

/// What a stage of a proof may claim.
pub(super) enum Claim {
    /// What the plan has.
    Exactly(i128),
    /// One of these: the plan alone does not say which.
    Within(RangeInclusive<u64>),
    /// Anything: it is checked by itself, or promised by optimal plans only.
    Anything,
}

/// What the stages of a proof may be.
pub(super) struct Expected<'e> {
    /// The objectives in the order of the goal.
    pub objectives: &'e [Objective],
    /// What the proof calls one.
    pub name: fn(Objective) -> String,
    /// Whether an optimal plan has it.
    pub due: &'e dyn Fn(Objective) -> bool,
    /// What it may claim.
    pub claim: &'e dyn Fn(Objective) -> Claim,
}

/// What is wrong with the stages of a proof: they stand in the order of the goal with true claims,
/// and an optimal plan has all that are due and no gap.
pub(super) fn violations_of_stages(proof: &Proof, expected: &Expected<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let optimal = proof.status == Status::Optimal;
    let mut rest = expected.objectives.iter();
    let mut last: Option<&Objective> = None;
    for stage in &proof.stages {
        let name = &stage.objective;
        let is_it = |o: &&Objective| (expected.name)(**o) == *name;
        // The shares of the teams of a priority are stages of one name.
        let again = last.filter(|o| matches!(o, Objective::TeamShare(_))).filter(is_it);
        let mut ahead = rest.clone();
        if let Some(objective) = again.or_else(|| ahead.find(is_it)) {
            if again.is_none() {
                rest = ahead;
            }
            last = Some(objective);
            violations.extend(false_claim(stage, *objective, (expected.claim)(*objective)));
        } else {
            violations.push(format!("stage {name} is not known or not in the order of the goal"));
        }
        if optimal && !stage.proved() {
            violations.push(format!("stage {name} has a gap in an optimal plan"));
        }
    }
    for objective in expected.objectives.iter().filter(|o| optimal && (expected.due)(**o)) {
        let name = (expected.name)(*objective);
        if proof.stages.iter().all(|stage| stage.objective != name) {
            violations.push(format!("the proof lacks the stage {name}"));
        }
    }
    violations
}

/// What is wrong with the claim of a stage.
fn false_claim(stage: &Stage, objective: Objective, claim: Claim) -> Option<String> {
    let (name, claimed) = (&stage.objective, &stage.value);
    let has = match claim {
        Claim::Exactly(actual) if objective.number(actual) != *claimed => {
            objective.number(actual).to_string()
        }
        Claim::Within(values) if !claimed.as_u64().is_some_and(|v| values.contains(&v)) => {
            format!("{} to {}", values.start(), values.end())
        }
        _ => return None,
    };
    Some(format!("stage {name} claims {claimed}, but the plan has {has}"))
}

impl Check<'_> {
    pub(super) fn proof(&mut self, plan: &Plan, fleet: &Fleet, conditions: &Conditions) {
        let optimal = plan.proof.status == Status::Optimal;
        let weights = self.weights(|_, placed| placed);
        let guaranteed = match self.workloads.iter().any(|w| w.min > 0) {
            true => self.weights(|workload, placed| placed.min(workload.min)),
            false => BTreeMap::new(),
        };
        let counting = self.counting();
        let scope = self.scope(plan, fleet, conditions, &counting);
        let due = |objective| match objective {
            // Sizes that no instance of the plan has may be left to the optimiser.
            Objective::SpareOfSize(_) => false,
            // A priority of which nothing could be placed and nothing is counts nowhere.
            Objective::TeamShare(p) | Objective::PlacedWeight(p) => counting.contains(&p),
            _ => true,
        };
        let claim = |objective| {
            // Short of a proof a GPU of the program may turn out to serve no replica, and is off.
            let may_be_better = matches!(
                objective,
                Objective::GpusUsed | Objective::InstancesDestroyed | Objective::SpareOfSize(_)
            );
            let actual = self.actual(objective, &weights, &guaranteed);
            let actual = actual.filter(|_| optimal || !may_be_better);
            actual.map_or(Claim::Anything, Claim::Exactly)
        };
        let objectives = goal::objectives(&scope);
        let name = Objective::name;
        let expected = Expected { objectives: &objectives, name, due: &due, claim: &claim };
        let violations = violations_of_stages(&plan.proof, &expected);
        violations.into_iter().for_each(|what| self.fail(what));
        let spare = |stage: &&Stage| stage.objective == Objective::SpareMix.name();
        if let Some(stage) = plan.proof.stages.iter().find(spare).filter(|_| optimal) {
            self.spare_mix(&stage.value, fleet, conditions);
        }
        self.team_shares(plan, fleet, conditions.share);
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
