//! What each team gets out of a plan: sums over its workloads, for every text and page that shows
//! teams. Knows nothing of how they are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Plan;
use crate::demand::Demand;

/// The sums of one team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamTotals {
    /// The team.
    pub team: Arc<str>,
    /// Replicas that it asks for.
    pub replicas: u64,
    /// Of those: placed.
    pub placed: u64,
    /// Memory that it asks for, in MiB. A workload of whole GPUs that names no memory counts with
    /// what it was given.
    pub demand_mib: u64,
    /// Of that: placed.
    pub placed_mib: u64,
}

impl TeamTotals {
    /// Replicas without an instance.
    pub fn unplaced(&self) -> u64 {
        self.replicas.saturating_sub(self.placed)
    }
}

/// The totals of every team of `demand` under `plan`, ordered by name.
pub fn totals(plan: &Plan, demand: &Demand) -> Vec<TeamTotals> {
    let mut teams: BTreeMap<&Arc<str>, TeamTotals> = BTreeMap::new();
    for workload in demand.workloads() {
        let team = teams.entry(&workload.team).or_insert_with(|| TeamTotals {
            team: workload.team.clone(),
            replicas: 0,
            placed: 0,
            demand_mib: 0,
            placed_mib: 0,
        });
        team.replicas = team.replicas.saturating_add(workload.count);
        let memory = workload.memory.map_or(0, |m| m.0);
        team.demand_mib = team.demand_mib.saturating_add(memory.saturating_mul(workload.count));
    }
    let mut unplaced: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &plan.unplaced {
        let sum = unplaced.entry(&row.team).or_default();
        *sum = sum.saturating_add(row.replicas);
    }
    for instance in plan.gpus.iter().flat_map(|gpu| &gpu.instances) {
        if let Some(assignment) = &instance.assignment
            && let Some(team) = teams.get_mut(&assignment.team)
        {
            team.placed_mib = team.placed_mib.saturating_add(assignment.demand_mib);
        }
    }
    let complete = |mut team: TeamTotals| {
        let missing = unplaced.get(&*team.team).copied().unwrap_or(0);
        team.placed = team.replicas.saturating_sub(missing);
        team.demand_mib = team.demand_mib.max(team.placed_mib);
        team
    };
    teams.into_values().map(complete).collect()
}

/// Of the replicas that the column `min` guarantees, how many are placed, and how many there are;
/// `None` where nothing is guaranteed.
pub fn guaranteed(plan: &Plan, demand: &Demand) -> Option<(u64, u64)> {
    let (mut placed, mut all) = (0u64, 0u64);
    for (workload, missing) in demand.workloads().iter().zip(plan.unplaced_of(demand)) {
        placed = placed.saturating_add(workload.min.min(workload.count.saturating_sub(missing)));
        all = all.saturating_add(workload.min);
    }
    (all > 0).then_some((placed, all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Workload;
    use crate::hardware::Catalogue;
    use crate::plan::file;
    use crate::units::Mebibytes;

    #[test]
    fn a_team_sums_its_workloads() {
        let text = r#"{"schema": "migplan.plan/v1",
         "gpus": [{"node": "n", "gpu": 0, "board": "a100-sxm4-80gb", "mig": true,
                   "instances": [{"profile": "3g.40gb", "start": 4, "size": 4, "memory_mib": 40192,
                     "team": "a", "workload": "x", "replica": 1, "demand_mib": 31000}]},
                  {"node": "n", "gpu": 1, "board": "a100-sxm4-80gb", "mig": false,
                   "instances": [{"profile": "full", "start": 0, "size": 8, "memory_mib": 81920,
                     "team": "b", "workload": "whole", "replica": 1, "demand_mib": 81920}]}],
         "unplaced": [{"team": "a", "workload": "x", "replicas": 2, "reason": "fleet_full",
                       "detail": ""}],
         "totals": {"replicas": 4, "placed": 2, "demand_mib": 174920, "placed_mib": 112920,
           "fleet_mib": 163840, "idle_mib": 50920, "rounding_mib": 9192, "spare_mib": 0,
           "unusable_mib": 41728, "gpus": 2, "gpus_used": 2},
         "proof": {"status": "optimal", "stages": [], "solve_seconds": 0.0}}"#;
        let plan = file::read(text.as_bytes(), "plan.json", &Catalogue::built_in()).unwrap().plan;
        let mut whole = Workload::new("b", "whole", Mebibytes(1), 1);
        whole.memory = None;
        whole.whole_gpus = 1;
        let mut x = Workload::new("a", "x", Mebibytes(31000), 3);
        x.min = 2;
        let demand = Demand::new(vec![x, whole]);
        assert_eq!(guaranteed(&plan, &demand), Some((1, 2)));
        assert_eq!(guaranteed(&plan, &Demand::default()), None);
        let teams = totals(&plan, &demand);
        let row = |t: &TeamTotals| (t.replicas, t.placed, t.unplaced(), t.demand_mib, t.placed_mib);
        assert_eq!(row(&teams[0]), (3, 1, 2, 93_000, 31_000));
        assert_eq!(row(&teams[1]), (1, 1, 0, 81_920, 81_920), "it asks for what it was given");
    }
}
