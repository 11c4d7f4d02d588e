//! A hunt for plans that are not proved: random small fleets of many boards with media, compute,
//! lists of boards, priorities and fractional weights. Every stage must be proved, whatever the
//! solver's arithmetic does, and every plan passes the independent checker on its way out.
//!
//! And for bounds that are false: a solver that works in floats can call a value the best that is
//! not. Large fleets are planned twice, as one node per GPU whose GPUs choose MIG mode each for
//! itself, and by node. That is the same problem in another program, so every stage must agree.
//!
//! `HUNT_CASES` and `HUNT_SEED` choose how many and from which seed on; a seed that fails is named.
//! `tests/sweep.sh` hunts through 100,000 small cases and 1,000 large ones.
use migplan::demand::{Demand, Workload};
use migplan::fleet::{Fleet, Node};
use migplan::hardware::{BoardRef, Catalogue};
use migplan::optimise::{PlanOptions, Spare};
use migplan::plan::{MigModePolicy, Policy, Stage, Status};
use migplan::units::{Mebibytes, Weight};

use crate::common::split_mix::SplitMix;
use crate::common::{demand, gpus, root, suggest};

fn case(seed: u64, catalogue: &Catalogue) -> (Demand, Fleet, PlanOptions) {
    let mut numbers = SplitMix(seed);
    let boards = catalogue.boards();
    let of_fleet: Vec<_> = (0..1 + numbers.below(4))
        .map(|_| (&boards[numbers.below(boards.len() as u64) as usize], 1 + numbers.below(5)))
        .collect();
    let mut all: Vec<_> = of_fleet
        .iter()
        .flat_map(|(board, count)| std::iter::repeat_n((*board).clone(), *count as usize))
        .collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let fleet = Fleet::new(vec![Node::new("local", all)]);
    let workloads = (0..1 + numbers.below(7)).map(|i| {
        let board = of_fleet[numbers.below(of_fleet.len() as u64) as usize].0;
        let profile = &board.profiles[numbers.below(board.profiles.len() as u64) as usize];
        // Around what an instance holds, where rounding decides; or anything.
        let memory = match numbers.below(4) {
            0 => 1 + numbers.below(board.memory.0),
            1 => profile.memory.0 + 1,
            2 => profile.memory.0,
            _ => profile.memory.0.saturating_sub(numbers.below(3_000)).max(1),
        };
        let (team, name) = (format!("t{}", numbers.below(5)), format!("w{i}"));
        let mut workload = Workload::new(&team, &name, Mebibytes(memory), 1 + numbers.below(4));
        workload.priority = numbers.below(3) as i64;
        workload.weight = Weight(Weight::SCALE * (1 + numbers.below(3)));
        if numbers.one_in(3) {
            workload.weight = Weight(1 + numbers.below(3_000_000));
        }
        if numbers.one_in(10) {
            workload.weight = Weight(1 + numbers.below(10_000 * Weight::SCALE));
        }
        workload.compute_slices = if numbers.one_in(3) { 1 + numbers.below(4) as u32 } else { 1 };
        workload.media = numbers.one_in(6);
        if numbers.one_in(4) {
            let mut ids = vec![board.id.clone(), of_fleet[0].0.id.clone()];
            ids.sort();
            ids.dedup();
            workload.boards = ids.into();
        }
        if numbers.one_in(8) {
            (workload.whole_gpus, workload.media) = (1 + numbers.below(3) as u32, false);
        }
        workload
    });
    let demand = Demand::new(workloads.collect());
    let policy = Policy {
        mig_mode: if numbers.one_in(8) { MigModePolicy::PerNode } else { MigModePolicy::PerGpu },
        one_profile_per_workload: numbers.one_in(6),
        ..Policy::default()
    };
    let spare = [Spare::Mix, Spare::Largest, Spare::None][numbers.below(3) as usize];
    (demand, fleet, PlanOptions { spare, policy, ..PlanOptions::default() })
}

fn hunt(cases: u64, first: u64) {
    let catalogue = Catalogue::built_in();
    let mut failed = Vec::new();
    for seed in first..first + cases {
        let (demand, fleet, options) = case(seed, &catalogue);
        let plan = suggest(&demand, &fleet, &options);
        if plan.proof.status != Status::Optimal || !plan.proof.stages.iter().all(Stage::proved) {
            eprintln!("seed {seed}: {:?}", plan.proof);
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "not proved: seeds {failed:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Found by longer hunts. 2000035: presolve makes a better solution of the start (see `Care`);
/// 4202643: presolve makes the model infeasible, and the start is called the best.
const FOUND: [u64; 2] = [2_000_035, 4_202_643];

#[test]
fn every_small_plan_is_proved() {
    FOUND.iter().for_each(|seed| hunt(1, *seed));
    hunt(number("HUNT_CASES").unwrap_or(150), number("HUNT_SEED").unwrap_or(0));
}

/// Each of these GPUs on a node of its own.
fn one_gpu_nodes<'b>(gpus: impl Iterator<Item = &'b BoardRef>) -> Fleet {
    let node =
        |(i, board): (usize, &BoardRef)| Node::new(format!("node-{i:04}"), vec![board.clone()]);
    Fleet::new(gpus.enumerate().map(node).collect())
}

/// The stages that mean the same by GPU and by node, with their values.
fn values(demand: &Demand, fleet: &Fleet, mig_mode: MigModePolicy) -> Vec<(String, String)> {
    let policy = Policy { mig_mode, ..Policy::default() };
    let plan = suggest(demand, fleet, &PlanOptions { policy, ..PlanOptions::default() });
    assert_eq!(plan.proof.status, Status::Optimal);
    let stages = plan.proof.stages.into_iter().filter(|s| s.objective != "spare");
    stages.map(|s| (s.objective, s.value.to_string())).collect()
}

fn large_case(seed: u64, catalogue: &Catalogue) -> (Demand, Fleet) {
    let mut numbers = SplitMix(seed);
    let boards = catalogue.boards();
    let of_fleet: Vec<_> = (0..2 + numbers.below(3))
        .map(|_| (&boards[numbers.below(boards.len() as u64) as usize], 1 + numbers.below(300)))
        .collect();
    let gpus = of_fleet.iter().flat_map(|(b, count)| std::iter::repeat_n(*b, *count as usize));
    let fleet = one_gpu_nodes(gpus);
    let workloads = (0..20 + numbers.below(100)).map(|i| {
        let (team, name) = (format!("t{}", numbers.below(6)), format!("w{i}"));
        let memory = Mebibytes(1_000 + numbers.below(78_000));
        let mut workload = Workload::new(&team, &name, memory, 1 + numbers.below(40));
        workload.priority = numbers.below(3) as i64;
        workload.weight = Weight(Weight::SCALE * (2 + numbers.below(3)) / 2);
        workload.compute_slices = 1 + numbers.below(2) as u32;
        workload
    });
    (Demand::new(workloads.collect()), fleet)
}

fn hunt_false_bounds(cases: u64, first: u64) {
    let catalogue = Catalogue::built_in();
    for seed in first..first + cases {
        let (demand, fleet) = large_case(seed, &catalogue);
        let [by_gpu, by_node] = [MigModePolicy::PerGpu, MigModePolicy::PerNode]
            .map(|mode| values(&demand, &fleet, mode));
        assert_eq!(by_gpu, by_node, "seed {seed}");
    }
}

#[test]
fn two_programs_of_one_problem_agree() {
    let cases = number("HUNT_CASES").map_or(1, |n| n.div_ceil(100));
    hunt_false_bounds(cases, number("HUNT_SEED").unwrap_or(0));
}

#[test]
fn a_bound_that_was_false_is_true() {
    // The solver once called 46,327,464 MiB the most.
    let csv = std::fs::read_to_string(root("tests/data/hunt/false_bound.csv")).unwrap();
    let fleet = gpus("188xb200-180gb,42xh100-sxm5-80gb,271xh100-nvl-94gb,190xa30-24gb");
    let fleet = one_gpu_nodes(fleet.nodes().iter().flat_map(|node| &node.gpus));
    let found = values(&demand(&csv), &fleet, MigModePolicy::PerGpu);
    assert!(found.contains(&("placed_mib".to_string(), "46339104".to_string())), "{found:?}");
}

#[test]
fn an_answer_that_does_not_hold_is_asked_for_again() {
    // The solver's answer to `profile_kinds`, rounded, broke the model, and the search ended as if
    // time were up.
    let demand = demand(
        "team,workload,memory_mib,count,priority,weight,compute\n\
         t0,w0,80852,1,1,1,1\nt4,w1,19969,1,1,3,2\n",
    );
    let fleet = gpus("2xh100-sxm5-96gb,3xgh200-144gb,1xb200-180gb,4xh100-sxm5-80gb");
    let plan = suggest(&demand, &fleet, &PlanOptions::default());
    assert_eq!(plan.proof.status, Status::Optimal);
    assert_eq!(plan.proof.stages.len(), 7);
    assert!(plan.proof.stages.iter().all(Stage::proved));
}
