//! What each team gets out of a plan: sums over its workloads, for every text and page that shows
//! teams. Knows nothing of how they are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Plan;
use crate::demand::{Demand, Workload};
use crate::fleet::Fleet;
use crate::units::Mebibytes;

/// The sums of one team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamTotals {
    /// The team.
    pub team: Arc<str>,
    /// Replicas that it asks for.
    pub replicas: u64,
    /// Of those: placed.
    pub placed: u64,
    /// Memory that it asks for, in MiB. A replica of whole GPUs that names no memory counts with
    /// what it was given, or else with the least that they would have.
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

/// The least memory that the whole GPUs of a replica of `workload` would have on `fleet`.
pub(crate) fn least_whole_memory(workload: &Workload, fleet: &Fleet) -> Mebibytes {
    let each = fleet.boards().iter().filter(|b| workload.allows(b)).map(|b| b.memory.0).min();
    Mebibytes(each.unwrap_or(0).saturating_mul(u64::from(workload.whole_gpus)))
}

/// The totals of every team of `demand` under `plan` on `fleet`, ordered by name.
pub fn totals(plan: &Plan, demand: &Demand, fleet: &Fleet) -> Vec<TeamTotals> {
    let mut teams: BTreeMap<&Arc<str>, TeamTotals> = BTreeMap::new();
    let mut want_all: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (workload, unplaced) in demand.workloads().iter().zip(plan.unplaced_of(demand)) {
        let team = teams.entry(&workload.team).or_insert_with(|| TeamTotals {
            team: workload.team.clone(),
            replicas: 0,
            placed: 0,
            demand_mib: 0,
            placed_mib: 0,
        });
        team.replicas = team.replicas.saturating_add(workload.count);
        team.placed = team.placed.saturating_add(workload.count.saturating_sub(unplaced));
        let (memory, replicas) = match workload.memory {
            Some(memory) => (memory, workload.count),
            None => {
                want_all.insert((&workload.team, &workload.name));
                (least_whole_memory(workload, fleet), unplaced)
            }
        };
        team.demand_mib = team.demand_mib.saturating_add(memory.0.saturating_mul(replicas));
    }
    for instance in plan.gpus.iter().flat_map(|gpu| &gpu.instances) {
        if let Some(assignment) = &instance.assignment
            && let Some(team) = teams.get_mut(&assignment.team)
        {
            team.placed_mib = team.placed_mib.saturating_add(assignment.demand_mib);
            if want_all.contains(&(&*assignment.team, &*assignment.workload)) {
                team.demand_mib = team.demand_mib.saturating_add(assignment.demand_mib);
            }
        }
    }
    teams.into_values().collect()
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
    use crate::hardware::Catalogue;
    use crate::plan::file;

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
        let catalogue = Catalogue::built_in();
        let fleet = crate::fleet::spec::parse("2xa100-80gb", "--gpus", &catalogue).unwrap();
        let demand = Demand::new(vec![x.clone(), whole.clone()]);
        assert_eq!(guaranteed(&plan, &demand), Some((1, 2)));
        assert_eq!(guaranteed(&plan, &Demand::default()), None);
        let teams = totals(&plan, &demand, &fleet);
        let row = |t: &TeamTotals| (t.replicas, t.placed, t.unplaced(), t.demand_mib, t.placed_mib);
        assert_eq!(row(&teams[0]), (3, 1, 2, 93_000, 31_000));
        assert_eq!(row(&teams[1]), (1, 1, 0, 81_920, 81_920), "it asks for what it was given");
        let mut plan: Plan = (*plan).clone();
        let mut missing = plan.unplaced[0].clone();
        (missing.team, missing.workload) = ("b".into(), "whole".into());
        plan.unplaced.push(missing);
        whole.count = 3;
        let teams = totals(&plan, &Demand::new(vec![x, whole]), &fleet);
        assert_eq!(row(&teams[1]), (3, 1, 2, 3 * 81_920, 81_920), "and for what it was not given");
    }
}
