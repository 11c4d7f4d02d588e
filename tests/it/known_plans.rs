//! Plans whose best values are known from solvers and formulations that this project does not use.
use std::collections::BTreeMap;

use crate::common::{demand, gpus, root, stage, suggest};
use migplan::demand::Demand;
use migplan::fleet::{Fleet, Node};
use migplan::hardware::Catalogue;
use migplan::optimise::{PlanOptions, Spare};
use migplan::plan::{Plan, Policy, Reason, Strategy};

fn of_gib(values: &[u64]) -> Demand {
    let rows: String =
        values.iter().enumerate().map(|(i, gib)| format!("t,w{i},{gib}\n")).collect();
    demand(&format!("team,workload,memory_gib\n{rows}"))
}

/// Placed replicas, placed MiB, MiB of allocated instances.
fn values(plan: &Plan) -> (u64, u64, u64) {
    let totals = plan.totals;
    (totals.placed, totals.placed_mib, totals.placed_mib + totals.rounding_mib)
}

fn instances(plan: &Plan) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for instance in plan.gpus.iter().flat_map(|g| &g.instances) {
        *counts.entry(instance.profile.to_string()).or_default() += 1;
    }
    counts
}

#[test]
fn the_story_that_started_this() {
    let demand = demand(
        "team,workload,memory,count\nreco,train,38GiB,2\nexp,mid,18GiB,6\nnb,small,8GiB,9\n",
    );
    let fleet = gpus("4xa100-80gb");
    let none = PlanOptions { spare: Spare::None, ..PlanOptions::default() };
    let plan = suggest(&demand, &fleet, &none);
    assert_eq!(values(&plan), (17, 262_144, 287_744));
    assert_eq!(plan.totals.gpus_used, 4);
    let expected = [("1g.10gb", 9), ("2g.20gb", 6), ("3g.40gb", 2)];
    assert_eq!(instances(&plan), expected.map(|(n, c)| (n.to_string(), c)).into());
    let with_presets =
        migplan::compare::suggest_with_presets(&demand, &fleet, &PlanOptions::default()).unwrap();
    let presets = with_presets.presets.unwrap().rows;
    let preset = |name: &str| presets.iter().find(|b| b.name == name).unwrap();
    assert_eq!(preset("all-1g.10gb").placed, 9);
    assert_eq!(presets[0].name, "all-balanced");
    assert_eq!(presets[0].placed, 16);
}

#[test]
fn one_of_each() {
    let plan = suggest(
        &of_gib(&[9, 50, 8, 16, 8, 33, 33, 33, 70, 25, 12, 8]),
        &gpus("2xa100-80gb"),
        &PlanOptions::default(),
    );
    assert_eq!(values(&plan), (8, 130_048, 159_232));
    let plan = suggest(
        &of_gib(&[
            33, 4, 25, 25, 50, 4, 33, 16, 12, 50, 8, 19, 4, 4, 4, 70, 39, 4, 25, 70, 12, 25, 4, 39,
        ]),
        &gpus("4xa100-80gb"),
        &PlanOptions::default(),
    );
    assert_eq!(values(&plan), (16, 244_736, 318_464));
}

#[test]
fn fewest_gpus_for_known_mixes() {
    for (of_3g, of_2g, of_1g, gpus_needed) in
        [(1, 2, 3, 2), (1, 7, 3, 3), (5, 5, 8, 5), (7, 8, 11, 7)]
    {
        let demand = demand(&format!(
            "team,workload,memory_gib,count,compute\nt,a,39,{of_3g},3\nt,b,19,{of_2g},2\nt,c,9,{of_1g},1\n"
        ));
        let plan = suggest(&demand, &gpus("20xa100-80gb"), &PlanOptions::default());
        assert_eq!(plan.totals.placed, of_3g + of_2g + of_1g);
        assert_eq!(plan.totals.gpus_used, gpus_needed);
    }
}

fn alibaba(file: &str) -> String {
    std::fs::read_to_string(root("data/workloads/alibaba").join(file)).unwrap()
}

/// The first `n` shares of one GPU in the trace, in file order.
fn shares(n: usize) -> Demand {
    let trace = alibaba("openb_pod_list_default.csv");
    let mut rows = trace.lines();
    let header: Vec<&str> = rows.next().unwrap().split(',').collect();
    let column = |name| header.iter().position(|h| *h == name).unwrap();
    let (name, gpus, milli) = (column("name"), column("num_gpu"), column("gpu_milli"));
    let text: String = rows
        .map(|row| row.split(',').collect::<Vec<_>>())
        .filter(|row| row[gpus] == "1" && row[milli].parse::<u64>().unwrap() < 1000)
        .take(n)
        .map(|row| {
            let mib = row[milli].parse::<f64>().unwrap() * 81_920.0 / 1000.0;
            format!("t,{},{mib:.3}\n", row[name])
        })
        .collect();
    let demand = demand(&format!("team,workload,memory_mib\n{text}"));
    assert_eq!(demand.workloads().len(), n);
    demand
}

#[test]
fn the_alibaba_trace_row_by_row() {
    for (rows, fleet, expected, gpus_used) in [
        (40, "8xa100-80gb", (20, 586_560, 631_552), 8),
        (500, "64xa100-80gb", (184, 4_793_239, 5_118_208), 64),
        (3_078, "6000xa100-80gb", (3_078, 141_870_896, 176_946_688), 2_198),
    ] {
        let plan = suggest(&shares(rows), &gpus(fleet), &PlanOptions::default());
        assert_eq!(values(&plan), expected, "{rows} rows");
        assert_eq!(plan.totals.gpus_used, gpus_used);
    }
}

#[test]
fn the_alibaba_trace_by_team() {
    let plan = suggest(
        &demand(&alibaba("teams_8gpu_shared.csv")),
        &gpus("8xa100-80gb"),
        &PlanOptions::default(),
    );
    assert_eq!(values(&plan), (14, 512_826, 643_584));
    assert_eq!(stage(&plan, "placed_weight[priority=100]"), 7.0);
    assert_eq!(stage(&plan, "placed_weight[priority=10]"), 7.0);

    let plan = suggest(
        &demand(&alibaba("teams_full.csv")),
        &gpus("6000xa100-80gb"),
        &PlanOptions::default(),
    );
    assert_eq!(stage(&plan, "placed_weight[priority=100]"), 759.0);
    assert_eq!(stage(&plan, "placed_weight[priority=10]"), 2_319.0);
    assert_eq!(plan.totals.gpus_used, 2_198);
    for row in &plan.unplaced {
        assert_eq!(row.reason, Reason::TooLarge);
        assert!(row.detail.contains("7g.80gb with 80640 MiB"), "{}", row.detail);
        assert!(row.help.as_ref().unwrap().contains("whole GPU"), "{row:?}");
    }
}

fn nodes_of_8(nodes: usize) -> Fleet {
    let board = Catalogue::built_in().by_id("a100-sxm4-80gb").unwrap().clone();
    let node = |i| Node::new(format!("n{i:04}"), vec![board.clone(); 8]);
    Fleet::new((0..nodes).map(node).collect())
}

#[test]
fn whole_gpus_on_nodes_of_8() {
    let demand = demand(&alibaba("teams_whole_gpus.csv"));
    let plan = suggest(&demand, &nodes_of_8(900), &PlanOptions::default());
    assert_eq!(plan.totals.placed, plan.totals.replicas);
    assert_eq!(plan.totals.replicas, 3_911 + 16 + 15 + 44 + 3_078);
    assert_eq!(plan.totals.gpus_used, 6_553);
    // 819 nodes have one GPU too few.
    let short = suggest(&demand, &nodes_of_8(819), &PlanOptions::default());
    assert_eq!(short.totals.replicas - short.totals.placed, 1);
}

#[test]
fn names_lie() {
    let demand = demand("team,workload,memory\nt,w,17GiB\n");
    let plan = suggest(
        &demand,
        &gpus("1xh200"),
        &PlanOptions { spare: Spare::None, ..PlanOptions::default() },
    );
    assert_eq!(instances(&plan).into_keys().collect::<Vec<_>>(), ["2g.35gb"]);
}

#[test]
fn a_node_of_two_boards_has_one_profile_too() {
    let policy = Policy { strategy: Strategy::Single, ..Policy::default() };
    let options = PlanOptions { policy, ..PlanOptions::default() };
    let text = "team,workload,memory,count\nnlp,train,30GiB,3\nnlp,infer,9GiB,2\n";
    // Either all GPUs have 3g.40gb, or none: the A30 has no profile of that name.
    let plan = suggest(&demand(text), &gpus("1xa100-80gb,1xh100-80gb"), &options);
    assert_eq!(instances(&plan), [("3g.40gb".to_string(), 4)].into());
    assert_eq!(plan.totals.placed, 4);
    let plan = suggest(&demand(text), &gpus("2xa100-80gb,1xa30"), &options);
    assert!(plan.totals.placed == 0 && plan.gpus.iter().all(|gpu| !gpu.mig));
    // What one node cannot have, two can.
    let catalogue = Catalogue::built_in();
    let node = |name: &str, boards: &[&str]| {
        Node::new(name, boards.iter().map(|id| catalogue.by_id(id).unwrap().clone()).collect())
    };
    let both = ["a100-sxm4-80gb", "h100-sxm5-80gb"];
    let fleet = Fleet::new(vec![node("a", &both), node("b", &both), node("c", &["a30-24gb"])]);
    let text = "team,workload,memory,count\nnlp,train,30GiB,4\nnlp,infer,9GiB,14\nnlp,a30,5GiB,3\n";
    let plan = suggest(&demand(text), &fleet, &options);
    assert_eq!(plan.totals.placed, 21);
    let profiles = [("1g.10gb", 14), ("1g.6gb", 4), ("3g.40gb", 4)];
    assert_eq!(instances(&plan), profiles.map(|(name, count)| (name.to_string(), count)).into());
}

#[test]
fn whole_gpus_need_a_node_that_has_them() {
    let catalogue = Catalogue::built_in();
    let board = catalogue.by_id("a100-sxm4-80gb").unwrap();
    let node = |name: &str, gpus| Node::new(name, vec![board.clone(); gpus]);
    let fleet = Fleet::new(vec![node("a", 3), node("b", 3), node("c", 2)]);
    // Three pairs fit, but not two pairs on one node of three; no node has four.
    let demand = demand("team,workload,gpus,count\nt,four,4,1\nt,pair,2,4\nt,single,1,9\n");
    let plan = suggest(&demand, &fleet, &PlanOptions::default());
    let placed: BTreeMap<&str, u64> =
        plan.unplaced.iter().map(|u| (&*u.workload, u.replicas)).collect();
    // Eight singles are worth more than pairs at equal weight.
    assert_eq!(placed, [("four", 1), ("pair", 4), ("single", 1)].into());
    assert_eq!(plan.unplaced[0].reason, Reason::NeedsWholeGpus);
    let pairs =
        crate::common::demand("team,workload,gpus,count,priority\nt,pair,2,4,1\nt,single,1,9,0\n");
    let plan = suggest(&pairs, &fleet, &PlanOptions::default());
    assert_eq!(stage(&plan, "placed_weight[priority=1]"), 3.0);
    assert_eq!(stage(&plan, "placed_weight[priority=0]"), 2.0);
}

#[test]
fn workloads_that_are_alike_have_one_share_of_what_is_free() {
    let demand =
        demand("team,workload,memory,count\nt,a,9GiB,3\nt,b,9GiB,2\nt,d,38GiB,3\nt,e,38GiB,3\n");
    // Two slices are left. Of two further replicas 12/11 would be d or e together, so at least one,
    // and no instance is left for it; each of the four by itself might go without.
    let plan = suggest(&demand, &gpus("4xa100-80gb"), &PlanOptions::default());
    assert_eq!(plan.totals.placed, 11);
    assert_eq!(stage(&plan, "spare"), 1.0);
}
