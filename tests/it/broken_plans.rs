//! The checker on plans that are broken at random: it never panics, and it sees what is wrong.
use std::sync::{Arc, LazyLock};

use crate::common::{cases, demand, gpus, stage, suggest};
use migplan::demand::Demand;
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::demand::quota::{self, Quotas};
use migplan::fleet::{Fleet, Node};
use migplan::hardware::Catalogue;
use migplan::hardware::layout::Placement;
use migplan::optimise::{self, PlanOptions, Spare};
use migplan::plan::check::{Checked, Conditions, violations};
use migplan::plan::{
    Allocated, Assignment, GpuPlan, Instance, InstanceProfile, MigModePolicy, Plan, Policy, Reason,
    Share, Stage, Status, Strategy as Profiles,
};
use migplan::reconfigure::change::{PresentCompute, PresentGpu, PresentInstance};
use proptest::prelude::*;

const ROWS: &str = "team,workload,memory_mib,count,priority,weight,gpus,min\n\
    a,big,38000,2,5,1.5,,0\na,small,9000,5,0,1,,2\nb,mid,19000,6,0,2,,0\nb,whole,,1,0,1,1,\n\
    c,never,90000,1,0,1,,1\nc,rest,9500,9,0,1,,3\n";

/// A demand that does not fit, its fleet, and the plan for it.
struct Case {
    demand: Demand,
    fleet: Fleet,
    options: PlanOptions,
    plan: Plan,
}

impl Case {
    fn new(options: PlanOptions) -> Case {
        Case::on("3xa100-80gb,1xa30", options)
    }

    fn on(fleet: &str, options: PlanOptions) -> Case {
        let (demand, fleet) = (demand(ROWS), gpus(fleet));
        let plan = suggest(&demand, &fleet, &options);
        Case { demand, fleet, options, plan }
    }

    fn violations(&self, plan: &Plan) -> Vec<String> {
        let conditions = optimise::conditions(&self.fleet, &self.options);
        violations(plan, &self.demand, &self.fleet, &conditions)
    }
}

/// What the GPUs hold now: a busy 1g.10gb at 6 on the first one, something idle on the second.
fn present() -> Vec<PresentGpu> {
    let catalogue = Catalogue::built_in();
    let board = catalogue.by_id("a100-sxm4-80gb").unwrap();
    let instance = |name: &str, start, busy| {
        let (profile, _) = board.profile(&name.parse().unwrap()).unwrap();
        PresentInstance::whole(board, Placement { profile, start }, busy)
    };
    vec![
        vec![instance("1g.10gb", 6, true)].into(),
        vec![instance("2g.20gb", 0, false), instance("3g.40gb", 4, false)].into(),
        PresentGpu::default(),
        PresentGpu::default(),
    ]
}

fn quotas() -> Quotas {
    let text = "team,gpus,memory_gib\na,0.5,40\nc,,30\n";
    quota::read(text.as_bytes(), "quota.csv").unwrap().0
}

static CASES: LazyLock<[Case; 7]> = LazyLock::new(|| {
    let of = |spare| PlanOptions { spare, ..PlanOptions::default() };
    [
        Case::new(of(Spare::Mix)),
        Case::new(of(Spare::Largest)),
        Case::new(of(Spare::None)),
        Case::new(PlanOptions { present: Some(Arc::new(present())), ..of(Spare::Mix) }),
        Case::new(PlanOptions {
            present: Some(Arc::new(present())),
            policy: Policy { mig_mode: MigModePolicy::PerNode, ..Policy::default() },
            ..of(Spare::None)
        }),
        Case::new(PlanOptions { share: Share::Fair, ..of(Spare::Mix) }),
        Case::new(PlanOptions { quotas: Arc::new(quotas()), ..of(Spare::Mix) }),
    ]
});

/// One thing that is changed about a plan; numbers pick where, and by what.
fn break_plan(plan: &mut Plan, what: u32, at: usize, number: u64) {
    let gpu = at % plan.gpus.len();
    let instances = plan.gpus.iter().map(|g| g.instances.len()).sum::<usize>().max(1);
    let mut all = plan.gpus.iter_mut().flat_map(|g| &mut g.instances);
    let instance = all.nth(at % instances);
    match (what, instance) {
        (0, Some(i)) => i.memory_mib = number,
        (1, Some(i)) => i.start = number as u32,
        (2, Some(i)) => i.size = number as u32,
        (3, Some(i)) => i.assignment.iter_mut().for_each(|a| a.demand_mib = number),
        (4, Some(i)) => i.assignment.iter_mut().for_each(|a| a.replica = number),
        (5, Some(i)) => i.assignment.iter_mut().for_each(|a| a.team = "nobody".into()),
        (6, Some(i)) => i.assignment = None,
        (7, Some(i)) => i.profile = InstanceProfile::Full,
        (8, Some(i)) => i.profile = InstanceProfile::Mig("1g.10gb+me".parse().unwrap()),
        (9, _) => plan.gpus[gpu].mig ^= true,
        (10, _) => drop(plan.gpus.remove(gpu)),
        (11, _) => plan.gpus.push(plan.gpus[gpu].clone()),
        (12, _) => plan.gpus[gpu].board = "h200".into(),
        (13, _) => plan.gpus[gpu].instances.clear(),
        (14, _) => drop(plan.unplaced.pop()),
        (15, _) => plan.unplaced.iter_mut().for_each(|u| u.replicas = number),
        (16, _) => plan.unplaced.iter_mut().for_each(|u| u.reason = Reason::NoBoard),
        (17, _) => plan.totals.idle_mib = number,
        (18, _) => plan.totals.spare_mib = number,
        (19, _) => {
            let stage = at % plan.proof.stages.len();
            plan.proof.stages[stage].value = number.into();
        }
        (20, _) => {
            let stage = at % plan.proof.stages.len();
            // The checker leaves it to the optimiser which sizes of free instances it claims.
            if !plan.proof.stages[stage].objective.starts_with("spare[") {
                plan.proof.stages.remove(stage);
            }
        }
        (21, _) => {
            let stage = at % plan.proof.stages.len();
            plan.proof.stages[stage].objective = "a_stage_that_nobody_knows".into();
        }
        (22, _) => {
            let stage = at % plan.proof.stages.len();
            plan.proof.stages[stage].bound = number.into();
        }
        (23, _) => plan.proof.stages.reverse(),
        (24, _) => plan.schema.push('0'),
        (25, _) => plan.gpus.swap(gpu, 0),
        (26, _) => plan.proof.status = Status::TimeLimit,
        _ => {}
    }
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        Just(40_192),
        0u64..20,
        any::<u64>()
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_broken_plan_is_seen_and_never_a_panic(
        case in 0usize..7,
        breaks in prop::collection::vec((0u32..27, any::<usize>(), numbers()), 1..4),
    ) {
        let case = &CASES[case];
        let mut plan = case.plan.clone();
        for (what, at, number) in breaks {
            if !plan.gpus.is_empty() && !plan.proof.stages.is_empty() {
                break_plan(&mut plan, what, at, number);
            }
        }
        let found = case.violations(&plan);
        let same = Plan { proof: plan.proof.clone().without_times(), ..plan.clone() }
            == Plan { proof: case.plan.proof.clone().without_times(), ..case.plan.clone() };
        // To call an optimal plan unproved is no lie that hurts; everything else is.
        let modest = plan.proof.status == Status::TimeLimit;
        prop_assert!(same || modest || !found.is_empty());
        // The other check never panics either.
        let _ = Checked::of_boards(plan, &Catalogue::built_in());
    }
}

#[test]
fn every_stage_is_counted_again() {
    for case in CASES.iter() {
        assert_eq!(case.violations(&case.plan), Vec::<String>::new());
        for stage in 0..case.plan.proof.stages.len() {
            let mut plan = case.plan.clone();
            let entry = &mut plan.proof.stages[stage];
            let one_more = entry.value.as_f64().unwrap() as u64 + 1;
            (entry.value, entry.bound) = (one_more.into(), one_more.into());
            let found = case.violations(&plan).join("; ");
            assert!(found.contains("claims"), "{}: {found}", plan.proof.stages[stage].objective);
            let name = plan.proof.stages.remove(stage).objective;
            let found = case.violations(&plan).join("; ");
            let size = name.starts_with("spare[");
            // Without a smaller share the next one is claimed in its place.
            let share = name.starts_with("team_share") && found.contains("claims");
            assert!(size || share || found.contains("lacks the stage"), "{name}: {found}");
        }
    }
}

/// All workloads but the one that no GPU could serve have instances here.
static ROOMY: LazyLock<Case> =
    LazyLock::new(|| Case::on("6xa100-80gb,1xa30", PlanOptions::default()));

/// One change of a plan.
type BreakPlan<'b> = &'b dyn Fn(&mut Plan);

/// The assignments of a workload, in the order of the GPUs.
fn assigned<'p>(plan: &'p mut Plan, workload: &'p str) -> impl Iterator<Item = &'p mut Assignment> {
    let instances = plan.gpus.iter_mut().flat_map(|g| &mut g.instances);
    instances.filter_map(|i| i.assignment.as_mut()).filter(move |a| &*a.workload == workload)
}

/// The first of them.
fn first<'p>(plan: &'p mut Plan, workload: &'p str) -> &'p mut Assignment {
    assigned(plan, workload).next().unwrap()
}

#[test]
fn each_thing_that_is_wrong_with_a_plan_is_named() {
    let case = &*ROOMY;
    let partitioned = case.plan.gpus.iter().position(|g| g.mig && g.instances.len() > 1).unwrap();
    let whole = case.plan.gpus.iter().position(|g| !g.mig).unwrap();
    let changes: [(&str, BreakPlan); 27] = [
        ("schema is", &|plan| plan.schema.push('0')),
        ("is not in the plan", &|plan| drop(plan.gpus.pop())),
        ("where the fleet has", &|plan| plan.gpus[0].node = "other".into()),
        ("where the fleet has", &|plan| plan.gpus[0].gpu = 7),
        ("where the fleet has", &|plan| plan.gpus[0].board = "h200".into()),
        ("GPUs that the fleet does not have", &|plan| plan.gpus.push(plan.gpus[0].clone())),
        ("is used twice or missing", &|plan| {
            let again = plan.gpus[partitioned].instances[0].clone();
            plan.gpus[partitioned].instances.push(again);
        }),
        ("MIG is on, but there is no instance", &|plan| plan.gpus[partitioned].instances.clear()),
        ("the whole GPU is not described as such", &|plan| plan.gpus[whole].instances[0].start = 1),
        ("the whole GPU is not described as such", &|plan| {
            plan.gpus[whole].instances[0].memory_mib -= 1
        }),
        ("has no profile 5g.50gb", &|plan| {
            let profile = InstanceProfile::Mig("5g.50gb".parse().unwrap());
            plan.gpus[partitioned].instances[0].profile = profile;
        }),
        ("cannot be at", &|plan| plan.gpus[partitioned].instances[0].start += 1),
        ("cannot be at", &|plan| plan.gpus[partitioned].instances[0].size += 1),
        ("cannot be at", &|plan| plan.gpus[partitioned].instances[0].memory_mib += 1),
        ("full with MIG on", &|plan| plan.gpus[whole].mig = true),
        ("is not in the demand", &|plan| first(plan, "small").team = "nobody".into()),
        ("does not fit its instance", &|plan| first(plan, "small").demand_mib = 90_000),
        ("replica 1 is missing", &|plan| first(plan, "big").replica = 99),
        ("replica 2 has 2 GPUs", &|plan| {
            assigned(plan, "small").filter(|a| a.replica < 3).for_each(|a| a.replica = 2);
        }),
        ("is served 8999 MiB, not 9000", &|plan| first(plan, "small").demand_mib -= 1),
        ("is listed as unplaced, but is not", &|plan| {
            let mut row = plan.unplaced[0].clone();
            (row.team, row.workload) = ("a".into(), "small".into());
            plan.unplaced.push(row);
        }),
        ("is not unplaced for the reason given", &|plan| {
            plan.unplaced.iter_mut().for_each(|u| u.reason = Reason::NoBoard);
        }),
        ("is not unplaced for the reason given", &|plan| {
            plan.unplaced.iter_mut().for_each(|u| u.reason = Reason::NeedsWholeGpus);
        }),
        ("is not unplaced for the reason given", &|plan| {
            plan.unplaced.iter_mut().for_each(|u| u.reason = Reason::FleetFull);
        }),
        ("has a gap in an optimal plan", &|plan| plan.proof.stages[0].bound = 1_000_000.into()),
        ("is unplaced, but not listed", &|plan| plan.unplaced.clear()),
        ("instances hold more memory than the fleet has", &|plan| {
            plan.gpus[partitioned].instances[0].memory_mib = u64::MAX
        }),
    ];
    for (message, change) in changes {
        let mut plan = case.plan.clone();
        change(&mut plan);
        let found = case.violations(&plan).join("; ");
        assert!(found.contains(message), "{message}: {found}");
    }
}

#[test]
fn a_replica_of_several_gpus_is_on_one_node() {
    let board = Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone();
    let node = |name: &str, gpus| Node::new(name, vec![board.clone(); gpus]);
    let fleet = Fleet::new(vec![node("a", 2), node("b", 1)]);
    let demand = demand("team,workload,count,gpus\nt,pair,1,2\n");
    let options = PlanOptions::default();
    let mut plan = suggest(&demand, &fleet, &options);
    let conditions = optimise::conditions(&fleet, &options);
    assert!(violations(&plan, &demand, &fleet, &conditions).is_empty());
    let second = plan.gpus[1].instances.clone();
    plan.gpus[1].instances = std::mem::replace(&mut plan.gpus[2].instances, second);
    let found = violations(&plan, &demand, &fleet, &conditions).join("; ");
    assert!(found.contains("is on several nodes"), "{found}");
}

#[test]
fn a_plan_for_another_demand_is_seen() {
    let case = &*ROOMY;
    let conditions = optimise::conditions(&case.fleet, &case.options);
    for (row, other, message) in [
        ("a,small,9000,5,0,1,,2", "a,small,9000,1,0,1,,0", "has more replicas than it asked for"),
        ("a,small,9000,5,0,1,,2", "a,small,,5,0,1,1,2", "asked for whole GPUs"),
        ("b,whole,,1,0,1,1,", "b,whole,9000,1,0,1,,", "did not ask for a whole GPU"),
        ("c,never,90000,1,0,1,,1", "c,never,90000,3,0,1,,1", "are unplaced"),
    ] {
        assert!(ROWS.contains(row));
        let demand = demand(&ROWS.replace(row, other));
        let found = violations(&case.plan, &demand, &case.fleet, &conditions).join("; ");
        assert!(found.contains(message), "{message}: {found}");
    }
    for (column, value, message) in [
        ("compute", "7", "has too few compute slices"),
        ("media", "true", "has no media engines"),
        ("boards", "h200", "may not run on"),
    ] {
        let with = |(at, line): (usize, &str)| match (at, line.starts_with("b,mid")) {
            (0, _) => format!("{line},{column}\n"),
            (_, true) => format!("{line},{value}\n"),
            _ => format!("{line},\n"),
        };
        let demand = demand(&ROWS.lines().enumerate().map(with).collect::<String>());
        let found = violations(&case.plan, &demand, &case.fleet, &conditions).join("; ");
        assert!(found.contains(message), "{message}: {found}");
    }
}

#[test]
fn a_busy_instance_that_goes_is_seen() {
    let case = &CASES[3];
    let mut moved = case.plan.clone();
    let busy = moved.gpus[0].instances.iter().position(|i| i.start == 6).unwrap();
    moved.gpus[0].instances.remove(busy);
    let found = case.violations(&moved).join("; ");
    assert!(found.contains("the busy 1g.10gb at 6 is destroyed"), "{found}");
    let found = Case {
        options: PlanOptions { allow_disruption: true, ..case.options.clone() },
        plan: case.plan.clone(),
        demand: case.demand.clone(),
        fleet: case.fleet.clone(),
    }
    .violations(&moved)
    .join("; ");
    assert!(!found.contains("busy"), "{found}");
}

#[test]
fn a_gpu_in_use_that_does_not_stay_whole_is_seen() {
    let mut present = present();
    present[2].in_use_whole = true;
    let case =
        Case::new(PlanOptions { present: Some(Arc::new(present)), ..PlanOptions::default() });
    let kept: Vec<bool> = case.plan.gpus.iter().map(|gpu| gpu.stays_whole).collect();
    assert_eq!(kept, [false, false, true, false]);
    let mut plan = case.plan.clone();
    plan.gpus[2].mig = true;
    let found = case.violations(&plan).join("; ");
    assert!(found.contains("MIG is turned on under what runs there"), "{found}");
    for gpu in [1, 2] {
        let mut plan = case.plan.clone();
        plan.gpus[gpu].stays_whole ^= true;
        let found = case.violations(&plan).join("; ");
        assert!(found.contains("whether it stays whole is said wrongly"), "{found}");
    }
    let mut plan = CASES[0].plan.clone();
    plan.gpus[0].stays_whole = true;
    let found = CASES[0].violations(&plan).join("; ");
    assert!(found.contains("nothing is known of it"), "{found}");
}

#[test]
fn a_team_above_its_quota_is_seen() {
    let case = &CASES[6];
    for (text, message) in [
        ("team,memory_gib\nb,40\n", "b is allocated"),
        ("team,gpus\nb,0.7\n", "b is allocated more GPUs than its quota of 0.7 GPUs"),
        ("team,gpus\nb,100\n", ""),
    ] {
        let quotas = Arc::new(quota::read(text.as_bytes(), "quota.csv").unwrap().0);
        let conditions = Conditions { quotas, ..optimise::conditions(&case.fleet, &case.options) };
        let found = violations(&case.plan, &case.demand, &case.fleet, &conditions).join("; ");
        assert!(found.contains(message) && found.is_empty() == message.is_empty(), "{found}");
    }
}

#[test]
fn a_team_may_have_all_of_its_quota() {
    let case = &CASES[6];
    let of_b = |gpu: &GpuPlan| {
        let slices = if &*gpu.board == "a30-24gb" { 4 } else { 8 };
        let to_b = |i: &&Instance| i.assignment.as_ref().is_some_and(|a| &*a.team == "b");
        let sizes = gpu.instances.iter().filter(to_b).map(|i| (i.memory_mib, i.size * 8 / slices));
        sizes.collect::<Vec<_>>()
    };
    let allocated: Vec<(u64, u32)> = case.plan.gpus.iter().flat_map(of_b).collect();
    let mib: u64 = allocated.iter().map(|(mib, _)| mib).sum();
    let eighths: u32 = allocated.iter().map(|(_, eighths)| eighths).sum();
    let (gib, gpus) = (|mib: u64| mib as f64 / 1024.0, f64::from(eighths) / 8.0);
    for (text, holds) in [
        (format!("team,memory_gib\nb,{}\n", gib(mib)), true),
        (format!("team,memory_gib\nb,{}\n", gib(mib - 1)), false),
        (format!("team,gpus\nb,{gpus}\n"), true),
        (format!("team,gpus\nb,{}\n", gpus - 0.001), false),
    ] {
        let quotas = Arc::new(quota::read(text.as_bytes(), "quota.csv").unwrap().0);
        let conditions = Conditions { quotas, ..optimise::conditions(&case.fleet, &case.options) };
        let found = violations(&case.plan, &case.demand, &case.fleet, &conditions);
        assert_eq!(found.is_empty(), holds, "{text}: {found:?}");
    }
}

#[test]
fn an_instance_whose_compute_differs_is_destroyed_unless_its_gpu_is_left_alone() {
    let mut present = present();
    let half = |start| PresentCompute { slices: 1, start: Some(start), busy: false };
    // One that has no compute instance only gets one.
    present[1].instances[0].compute.clear();
    present[1].instances[1].compute = vec![half(0), half(1)];
    let case =
        Case::new(PlanOptions { present: Some(Arc::new(present)), ..PlanOptions::default() });
    let destroyed = |change: fn(&mut Vec<Instance>)| {
        let mut plan = case.plan.clone();
        let instance = |profile: &str, start, size| Instance {
            profile: InstanceProfile::Mig(profile.parse().unwrap()),
            start,
            size,
            memory_mib: 1,
            assignment: None,
        };
        plan.gpus[1].mig = true;
        plan.gpus[1].instances = vec![instance("2g.20gb", 0, 2), instance("3g.40gb", 4, 4)];
        change(&mut plan.gpus[1].instances);
        let stage = plan.proof.stages.iter_mut().find(|s| s.objective == "instances_destroyed");
        stage.unwrap().value = 1_000_000.into();
        let found = case.violations(&plan);
        let counted = found.iter().find(|v| v.starts_with("stage instances_destroyed")).unwrap();
        counted.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(destroyed(|_| ()), 0);
    // A third instance is made, or one of them is assigned: the shared one must become whole.
    assert_eq!(destroyed(|of| of.push(Instance { start: 3, size: 1, ..of[0].clone() })), 1);
    assert_eq!(destroyed(|of| drop(of.remove(0))), 2);
    assert_eq!(
        destroyed(|of| {
            of[0].assignment = Some(Assignment {
                team: "a".into(),
                workload: "small".into(),
                replica: 1,
                demand_mib: 1,
            })
        }),
        1
    );
}

#[test]
fn rules_of_a_site_are_looked_at() {
    // GPUs of one node with and without MIG.
    let mut plan = CASES[4].plan.clone();
    let off = plan.gpus.iter().position(|gpu| gpu.node == plan.gpus[0].node).unwrap();
    plan.gpus[off].mig ^= true;
    let found = CASES[4].violations(&plan).join("; ");
    assert!(found.contains("GPUs differ in MIG mode"), "{found}");
    // Replicas of one workload in two profiles.
    let policy = Policy { one_profile_per_workload: true, ..Policy::default() };
    let case = Case::new(PlanOptions { policy, ..PlanOptions::default() });
    let mut plan = case.plan.clone();
    let assigned = |i: &&mut Instance| i.assignment.as_ref().is_some_and(|a| a.replica > 1);
    let mut instances = plan.gpus.iter_mut().flat_map(|gpu| &mut gpu.instances);
    instances.find(assigned).unwrap().profile = InstanceProfile::Mig("1g.10gb+me".parse().unwrap());
    let found = case.violations(&plan).join("; ");
    assert!(found.contains("is assigned to several profiles"), "{found}");
    // A free instance where nothing spare was asked for; one profile for a node may need some.
    let case = &CASES[2];
    let mut plan = case.plan.clone();
    let mut instances = plan.gpus.iter_mut().filter(|gpu| gpu.instances.len() > 1);
    instances.next().unwrap().instances[0].assignment = None;
    let found = case.violations(&plan).join("; ");
    assert!(found.contains("is free, but nothing spare was asked for"), "{found}");
    // What runs in one instance of a GPU may stay without a replica, but keeps no other free.
    let with_busy = &CASES[4];
    let mut held = with_busy.plan.clone();
    let of_first = &mut held.gpus[0].instances;
    of_first.iter_mut().filter(|i| i.start == 6).for_each(|i| i.assignment = None);
    of_first.iter_mut().find(|i| i.assignment.is_some()).unwrap().assignment = None;
    assert!(of_first.iter().any(|i| i.assignment.is_some()), "{of_first:?}");
    let found = with_busy.violations(&held).join("; ");
    assert_eq!(found.matches("is free, but nothing spare was asked for").count(), 1, "{found}");
    let policy = Policy { strategy: Profiles::Single, ..Policy::default() };
    let single = PlanOptions { policy, spare: Spare::None, ..PlanOptions::default() };
    let conditions = optimise::conditions(&case.fleet, &single);
    let found = violations(&plan, &case.demand, &case.fleet, &conditions).join("; ");
    assert!(found.contains("more than one profile") && !found.contains("is free"), "{found}");
}

#[test]
fn a_priority_of_which_nothing_fits_has_its_stage() {
    let demand = demand("team,workload,memory,priority\nt,first,70GiB,5\nt,last,70GiB,0\n");
    let fleet = gpus("1xa100-80gb");
    let plan = suggest(&demand, &fleet, &PlanOptions::default());
    assert_eq!(stage(&plan, "placed_weight[priority=0]"), 0.0);
    let case = Case { demand, fleet, options: PlanOptions::default(), plan };
    let mut plan = case.plan.clone();
    plan.proof.stages.retain(|stage| stage.objective != "placed_weight[priority=0]");
    let found = case.violations(&plan).join("; ");
    assert!(found.contains("lacks the stage placed_weight[priority=0]"), "{found}");
}

/// What is allocated in each period.
type Periods = Vec<Vec<Allocated>>;
type Break<'b> = &'b dyn Fn(&mut Periods);

#[test]
fn what_is_wrong_with_a_plan_over_time_is_seen() {
    let demand = demand(
        "team,workload,memory,count,hours\na,day,18GiB,3,Mon-Fri 08:00-18:00\n\
         a,night,38GiB,2,Mon-Fri 18:00-24:00\nb,always,9GiB,2,\n",
    );
    let fleet = gpus("1xa100-80gb,1xa30");
    let options = PlanOptions::default();
    let week = OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
    let good = optimise::over_time::suggest(&week, &fleet, &options).unwrap();
    let conditions = optimise::conditions(&fleet, &options);
    let found = |change: Break| {
        let mut periods = good.periods.clone();
        change(&mut periods);
        let plan = good.plan.clone().into_inner();
        let checked = Checked::over_time(plan, &week, good.shown, &periods, &fleet, &conditions);
        checked.err().unwrap_or_default().join("; ")
    };
    assert_eq!(found(&|_| {}), "");
    let (shown, other) = (good.shown, usize::from(good.shown == 0));
    let changes: [(&str, Break); 6] = [
        ("other periods than the demand", &|periods| drop(periods.pop())),
        ("the plan shows other replicas than its period has", &|periods| {
            drop(periods[shown].pop())
        }),
        ("names what is not there", &|periods| periods[other][0].workload = 99),
        ("names what is not there", &|periods| periods[other][0].board = "h200".into()),
        ("more replicas in", &|periods| periods[other][0].replicas += 100),
        ("is served too often", &|periods| periods[other][0].replicas += 100),
    ];
    for (message, change) in changes {
        assert!(found(change).contains(message), "{message}: {}", found(change));
    }
    let of_proof = |change: &dyn Fn(&mut Vec<Stage>)| {
        let mut plan = good.plan.clone().into_inner();
        change(&mut plan.proof.stages);
        let periods = &good.periods;
        let checked = Checked::over_time(plan, &week, good.shown, periods, &fleet, &conditions);
        checked.err().unwrap_or_default().join("; ")
    };
    let gap = of_proof(&|stages| stages[0].bound = 1_000_000.into());
    assert!(gap.contains("has a gap in an optimal plan"), "{gap}");
    let stages = &good.plan.proof.stages;
    for (at, stage) in stages.iter().enumerate() {
        let missing = of_proof(&|stages| drop(stages.remove(at)));
        assert_eq!(missing, format!("the proof lacks the stage {}", stage.objective));
        let is_sum = !matches!(&*stage.objective, "spare" | "gpus_used");
        let other = of_proof(&|stages| stages[at].value = 123_456_789.into());
        assert!(!is_sum || other.contains("claims 123456789, but the plan has"), "{other}");
    }
    let used = stages.iter().position(|stage| stage.objective == "gpus_used").unwrap();
    for gpus in [0, 3] {
        let found = of_proof(&|stages| {
            (stages[used].value, stages[used].bound) = (gpus.into(), gpus.into());
        });
        assert!(found.starts_with(&format!("stage gpus_used claims {gpus}, but")), "{found}");
    }
    let backwards = of_proof(&|stages| stages.reverse());
    assert!(backwards.contains("not in the order of the goal"), "{backwards}");
}

#[test]
fn one_replica_with_a_profile_for_each_period_is_seen() {
    let demand = demand(
        "team,workload,memory,count,compute,hours\na,steady,9GiB,1,1,\n\
         b,morning,9GiB,1,3,06:00-08:00\nc,day,9GiB,2,2,08:00-20:00\n",
    );
    let fleet = gpus("1xa100-80gb");
    let week = OverTime::new(&demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
    let policy = Policy { one_profile_per_workload: true, ..Policy::default() };
    let options = PlanOptions { policy, ..PlanOptions::default() };
    let conditions = optimise::conditions(&fleet, &options);
    let good = optimise::over_time::suggest(&week, &fleet, &options).unwrap();
    let other = usize::from(good.shown == 0);
    for name in ["1g.10gb", "2g.20gb"] {
        let mut periods = good.periods.clone();
        let steady = periods[other].iter_mut().find(|row| row.workload == 0).unwrap();
        let profile = InstanceProfile::Mig(name.parse().unwrap());
        let is_another = steady.profile != profile;
        steady.profile = profile;
        let plan = good.plan.clone().into_inner();
        let checked = Checked::over_time(plan, &week, good.shown, &periods, &fleet, &conditions);
        let found = checked.err().unwrap_or_default();
        let seen = found.contains(&"a/steady is in several profiles".to_string());
        assert_eq!(seen, is_another, "{name}: {found:?}");
    }
}

#[test]
fn a_large_plan_is_read_in_parts_and_nothing_is_lost_between_them() {
    let rows = "team,workload,memory_mib,count\na,small,9000,60000\na,big,38000,4000\n";
    let (demand, fleet) = (demand(rows), gpus("6000xa100-80gb,3000xh100-80gb"));
    let plan = suggest(&demand, &fleet, &PlanOptions::default());
    let found = |plan: &Plan| violations(plan, &demand, &fleet, &Conditions::default());
    assert_eq!(found(&plan), [] as [String; 0]);
    for at in [0, 4_095, 4_096, 8_999] {
        let mut broken = plan.clone();
        broken.gpus[at].mig = !broken.gpus[at].mig;
        let name = format!("{}/{}", plan.gpus[at].node, plan.gpus[at].gpu);
        assert!(found(&broken).iter().any(|v| v.starts_with(&name)), "{at}: {:?}", found(&broken));
    }
    let mut short = plan.clone();
    short.gpus.truncate(8_500);
    assert!(found(&short)[0].ends_with("is not in the plan"), "{:?}", found(&short));
    let mut long = plan.clone();
    long.gpus.extend(plan.gpus[..100].iter().cloned());
    assert!(found(&long).contains(&"the plan has GPUs that the fleet does not have".to_string()));
}
