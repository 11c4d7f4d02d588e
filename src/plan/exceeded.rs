//! Workloads that were seen to use more than the instance that a plan gives them. Knows the plan
//! and its demand, not how either came about.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::over_time::OverTimePlan;
use super::{InstanceProfile, Plan};
use crate::demand::over_time::OverTime;
use crate::demand::{Demand, Observed};
use crate::hardware::BoardRef;
use crate::units::Mebibytes;

/// A workload whose highest sample is above the usable memory of an instance that it gets: a
/// process that needs as much there ends with an out-of-memory error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The team.
    pub team: Arc<str>,
    /// The workload.
    pub workload: Arc<str>,
    /// The smallest instance that one of its replicas gets.
    pub profile: InstanceProfile,
    /// That instance's usable memory.
    pub memory: Mebibytes,
    /// The highest sample.
    pub peak: Mebibytes,
    /// How many samples are above the instance; `None` where only the highest is known.
    pub samples_above: Option<u64>,
    /// Samples in all.
    pub samples: u64,
}

/// The workloads of `demand` that exceed what `plan` gives them, the largest share of samples first.
/// Only workloads that come from samples can be known to.
pub fn exceeded(plan: &Plan, demand: &Demand) -> Vec<Exceeded> {
    let instances = plan.gpus.iter().flat_map(|gpu| &gpu.instances).filter_map(|instance| {
        let a = instance.assignment.as_ref()?;
        let profile = instance.profile.clone();
        Some((&*a.team, &*a.workload, profile, Mebibytes(instance.memory_mib)))
    });
    of_instances(instances, demand)
}

/// As [`exceeded`], in any period of a plan for demand over time on GPUs of these boards.
pub fn exceeded_over_time(
    plan: &OverTimePlan,
    demand: &OverTime,
    boards: &[BoardRef],
) -> Vec<Exceeded> {
    let workloads = demand.peak().workloads();
    let instances = plan.periods.iter().flatten().filter_map(|row| {
        let workload = workloads.get(row.workload)?;
        let memory = Mebibytes(row.memory_mib(boards));
        Some((&*workload.team, &*workload.name, row.profile.clone(), memory))
    });
    of_instances(instances, demand.peak())
}

/// Of instances: team and workload of the replica, profile, usable memory.
fn of_instances<'i>(
    instances: impl Iterator<Item = (&'i str, &'i str, InstanceProfile, Mebibytes)>,
    demand: &Demand,
) -> Vec<Exceeded> {
    let observed: BTreeMap<(&str, &str), &Observed> = demand
        .workloads()
        .iter()
        .filter(|w| w.whole_gpus == 0)
        .filter_map(|w| Some(((&*w.team, &*w.name), &**w.observed.as_ref()?)))
        .collect();
    if observed.is_empty() {
        return Vec::new();
    }
    let mut found: BTreeMap<(&str, &str), Exceeded> = BTreeMap::new();
    for (team, workload, profile, memory) in instances {
        let key = (team, workload);
        let Some(of) = observed.get(&key).filter(|of| of.peak > memory) else { continue };
        if found.get(&key).is_some_and(|known| known.memory <= memory) {
            continue;
        }
        let exceeded = Exceeded {
            team: team.into(),
            workload: workload.into(),
            profile,
            memory,
            peak: of.peak,
            samples_above: of.samples_above(memory),
            samples: of.samples,
        };
        found.insert(key, exceeded);
    }
    let mut found: Vec<Exceeded> = found.into_values().collect();
    // Shares as fractions: a/b before c/d where a·d is more than c·b.
    let share = |e: &Exceeded| (u128::from(e.samples_above.unwrap_or(0)), u128::from(e.samples));
    found.sort_by(|a, b| {
        let ((a_above, a_all), (b_above, b_all)) = (share(a), share(b));
        (b_above * a_all).cmp(&(a_above * b_all))
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Workload;
    use crate::demand::over_time::{Growth, Horizon, Zone};
    use crate::hardware::Catalogue;
    use crate::plan::{Allocated, Checked};

    /// A plan in which `a/x` has a 2g.20gb and a 3g.40gb, and `b/y` a 3g.40gb.
    fn plan() -> Plan {
        let text = r#"{"schema": "migplan.plan/v1",
         "gpus": [{"node": "n", "gpu": 0, "board": "a100-sxm4-80gb", "mig": true, "instances": [
            {"profile": "3g.40gb", "start": 4, "size": 4, "memory_mib": 40192,
             "team": "a", "workload": "x", "replica": 1, "demand_mib": 15000},
            {"profile": "2g.20gb", "start": 0, "size": 2, "memory_mib": 19968,
             "team": "a", "workload": "x", "replica": 2, "demand_mib": 15000}]},
           {"node": "n", "gpu": 1, "board": "a100-sxm4-80gb", "mig": true, "instances": [
            {"profile": "3g.40gb", "start": 4, "size": 4, "memory_mib": 40192,
             "team": "b", "workload": "y", "replica": 1, "demand_mib": 30000}]}],
         "unplaced": [],
         "totals": {"replicas": 3, "placed": 3, "demand_mib": 60000, "placed_mib": 60000,
           "fleet_mib": 163840, "idle_mib": 103840, "rounding_mib": 40352, "spare_mib": 0,
           "unusable_mib": 63488, "gpus": 2, "gpus_used": 2},
         "proof": {"status": "optimal", "stages": [], "solve_seconds": 0.0}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn demand(x: &[(u64, u64)], y: &[(u64, u64)]) -> Demand {
        let workload = |team: &str, name: &str, sized: u64, above: &[(u64, u64)]| {
            let mut workload = Workload::new(team, name, Mebibytes(sized), 2);
            workload.observed = Some(Arc::new(Observed {
                samples: 100,
                peak: Mebibytes(above.last().map_or(sized, |(mib, _)| *mib)),
                sized: Mebibytes(sized),
                above: above.iter().map(|(mib, n)| (Mebibytes(*mib), *n)).collect(),
                limited: None,
            }));
            workload
        };
        Demand::new(vec![workload("a", "x", 15_000, x), workload("b", "y", 30_000, y)])
    }

    fn row_of(exceeded: &Exceeded) -> (&str, Option<u64>, String) {
        (&exceeded.workload, exceeded.samples_above, exceeded.profile.to_string())
    }

    #[test]
    fn the_smallest_instance_counts_and_the_most_frequent_comes_first() {
        let plan = plan();
        assert_eq!(exceeded(&plan, &demand(&[(19_968, 9)], &[(40_192, 9)])), []);
        let found = exceeded(&plan, &demand(&[(16_000, 5), (20_000, 2)], &[(40_193, 3)]));
        let rows: Vec<_> = found.iter().map(row_of).collect();
        assert_eq!(rows, [("y", Some(3), "3g.40gb".into()), ("x", Some(2), "2g.20gb".into())]);
        let (first, mib) = (&found[0], Mebibytes);
        assert_eq!((first.peak, first.memory, first.samples), (mib(40_193), mib(40_192), 100));
    }

    #[test]
    fn over_time_the_smallest_instance_of_any_period_counts() {
        let demand = demand(&[(20_000, 2)], &[(40_192, 9)]);
        let over = OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default());
        let profile = |name: &str| InstanceProfile::Mig(name.parse().unwrap());
        let row = |workload, name| Allocated {
            workload,
            board: "a100-sxm4-80gb".into(),
            profile: profile(name),
            replicas: 1,
        };
        let of = |periods| OverTimePlan { plan: Checked::for_test(plan()), shown: 0, periods };
        let boards = Catalogue::built_in().boards().to_vec();
        let found = |periods| exceeded_over_time(&of(periods), &over.clone().unwrap(), &boards);
        assert_eq!(found(vec![vec![row(0, "3g.40gb"), row(1, "3g.40gb")]]), []);
        let periods = vec![vec![row(0, "3g.40gb")], vec![row(0, "2g.20gb"), row(1, "3g.40gb")]];
        let found = found(periods);
        let rows: Vec<_> = found.iter().map(row_of).collect();
        assert_eq!(rows, [("x", Some(2), "2g.20gb".into())]);
    }
}
