//! A search that time ends has a plan all the same, and its bounds are true.

use std::time::Duration;

use migplan::demand::{Demand, Workload};
use migplan::optimise::{PlanOptions, Spare};
use migplan::plan::{MigModePolicy, Plan, Policy, Status, Strategy};
use migplan::units::Mebibytes;
use proptest::prelude::{Just, any, prop, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use crate::common::{cases, demand, gpus, policy, suggest};

/// Small and large, media, compute, a whole GPU, several priorities: more than the GPUs hold.
const DEMAND: &str = "team,workload,memory_mib,count,priority,min,compute,media,gpus,boards\n\
    a,small,4000,40,0,3,1,false,,\n\
    a,video,5000,2,1,0,1,true,,\n\
    b,large,30000,9,1,0,3,false,,a100-80gb\n\
    b,huge,70000,3,2,1,1,false,,\n\
    c,whole,,2,1,0,1,false,1,\n\
    c,pair,,1,0,0,1,false,2,\n";

/// The same without replicas of whole GPUs.
fn instances_only() -> String {
    DEMAND.lines().take(5).map(|line| format!("{line}\n")).collect()
}

/// The number that a stage reached, and its bound.
fn first_stages(plan: &Plan) -> Vec<(String, f64, f64)> {
    let number = |n: &serde_json::Number| n.as_f64().unwrap();
    let weights = plan.proof.stages.iter().filter(|s| s.objective.contains("weight"));
    weights.map(|s| (s.objective.clone(), number(&s.value), number(&s.bound))).collect()
}

#[test]
fn no_time_is_enough_for_a_plan() {
    let fleet = gpus("4xa100-80gb,3xa30");
    let policies = [
        Policy::default(),
        Policy { mig_mode: MigModePolicy::PerNode, ..Policy::default() },
        Policy { keep_whole: 2, ..Policy::default() },
        Policy { one_profile_per_workload: true, ..Policy::default() },
    ];
    for policy in policies {
        for (text, spare) in [(DEMAND.to_string(), Spare::Mix), (instances_only(), Spare::None)] {
            let options = PlanOptions { policy, spare, ..PlanOptions::default() };
            let demand = demand(&text);
            let best = suggest(&demand, &fleet, &options);
            let options = PlanOptions { time_limit: Some(Duration::ZERO), ..options };
            let plan = suggest(&demand, &fleet, &options);
            assert_eq!(plan.proof.status, Status::TimeLimit, "{policy:?}");
            assert_eq!(plan.proof.stages.len(), best.proof.stages.len(), "{policy:?}");
            // At least half of what can be had, and no bound below it.
            assert!(2 * plan.totals.placed >= best.totals.placed, "{policy:?}: {:?}", plan.totals);
            let first = first_stages(&best).remove(0);
            let hurried = first_stages(&plan).remove(0);
            assert!(hurried.1 <= first.1 && first.1 <= hurried.2, "{hurried:?} {first:?}");
        }
    }
}

#[test]
fn nodes_of_one_profile_get_a_plan_too() {
    let fleet = gpus("4xa100-80gb");
    let policy = Policy { strategy: Strategy::Single, ..Policy::default() };
    let options =
        PlanOptions { policy, time_limit: Some(Duration::ZERO), ..PlanOptions::default() };
    let plan = suggest(&demand(&instances_only()), &fleet, &options);
    assert_eq!(plan.proof.status, Status::TimeLimit);
    assert!(plan.totals.placed > 0);
}

fn workload() -> impl proptest::prelude::Strategy<Value = Workload> {
    let memory = prop_oneof![4_000u64..5_000, 9_000u64..32_000, 32_000u64..95_000];
    (memory, 1u64..7, 0i64..2, 0u64..4, 1u32..4, any::<bool>(), 0u32..8).prop_map(
        |(memory, count, priority, min, compute, media, whole)| {
            let mut workload = Workload::new("t", "", Mebibytes(memory), count);
            workload.priority = priority;
            workload.min = min.min(count);
            match whole {
                1 | 2 => (workload.whole_gpus, workload.memory) = (whole, None),
                _ => (workload.compute_slices, workload.media) = (compute, media && compute == 1),
            }
            workload
        },
    )
}

proptest! {
    #![proptest_config(cases(120))]

    /// Whatever is asked for under whatever rules: the plan passes the checker.
    #[test]
    fn any_demand_has_a_plan_when_time_is_up(
        mut workloads in prop::collection::vec(workload(), 1..6),
        fleet in prop_oneof![
            Just("2xa100-80gb"), Just("3xa30,1xa100-80gb"), Just("2xh100-pcie-80gb,3xgh200-96gb"),
        ],
        policy in policy(),
        spare in prop_oneof![Just(Spare::Mix), Just(Spare::Largest), Just(Spare::None)],
        milliseconds in 0u64..3,
    ) {
        for (i, workload) in workloads.iter_mut().enumerate() {
            workload.name = format!("w{i}").into();
        }
        let time_limit = Some(Duration::from_millis(milliseconds));
        let options = PlanOptions { policy, spare, time_limit, ..PlanOptions::default() };
        let plan = suggest(&Demand::new(workloads), &gpus(fleet), &options);
        prop_assert!(plan.proof.status != Status::SolverGap);
    }
}
