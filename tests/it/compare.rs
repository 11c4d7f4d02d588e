//! `migplan compare` and `size`: known answers, brute force.

use std::cmp::Reverse;

use crate::common::{
    A100_80GB, all_layouts, all_multisets, cases, gpus, migplan, migplan_with, root,
};
use migplan::compare;
use migplan::demand::{Demand, Workload};
use migplan::fleet::Fleet;
use migplan::fleet::price::Price;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::Status;
use migplan::units::Mebibytes;
use proptest::prelude::*;
use serde_json::Value;

const EXAMPLE: &str = "examples/teams.csv";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn example() -> String {
    root(EXAMPLE).display().to_string()
}

/// Memory of single replicas, all alike in everything else.
fn replicas(memory_mib: &[u64]) -> Demand {
    let workload =
        |(i, m): (usize, &u64)| Workload::new("t", &format!("w{i:03}"), Mebibytes(*m), 1);
    Demand::new(memory_mib.iter().enumerate().map(workload).collect())
}

/// The most replicas, then the most memory, that instances of these sizes can serve: the largest
/// set is one of the smallest replicas, and of each size every subset is tried.
fn best_on(instances: &[u64], demands: &[u64]) -> (u64, u64) {
    let mut instances = instances.to_vec();
    instances.sort_by_key(|m| Reverse(*m));
    let mut best = (0, 0);
    for subset in 0u32..1 << demands.len() {
        let mut chosen: Vec<u64> =
            (0..demands.len()).filter(|i| subset >> i & 1 == 1).map(|i| demands[i]).collect();
        chosen.sort_by_key(|m| Reverse(*m));
        let fits =
            chosen.len() <= instances.len() && chosen.iter().zip(&instances).all(|(d, i)| d <= i);
        if fits {
            best = best.max((chosen.len() as u64, chosen.iter().sum()));
        }
    }
    best
}

/// The instance sizes of every choice of one multiset for each of `n` A100-80GB.
fn cuts(n: usize) -> Vec<Vec<u64>> {
    let of_one: Vec<Vec<u64>> = all_multisets(A100_80GB)
        .iter()
        .map(|counts| {
            let sizes = counts.iter().zip(A100_80GB);
            sizes.flat_map(|(c, p)| std::iter::repeat_n(p.4, *c as usize)).collect()
        })
        .collect();
    let mut all = vec![vec![]];
    for _ in 0..n {
        let longer = |cut: &Vec<u64>| -> Vec<Vec<u64>> {
            of_one.iter().map(|one| [cut.as_slice(), one].concat()).collect()
        };
        all = all.iter().flat_map(longer).collect();
        all.iter_mut().for_each(|cut| cut.sort_unstable());
        all.sort();
        all.dedup();
    }
    all
}

proptest! {
    #![proptest_config(cases(24))]

    /// The frontier is what trying every cut finds, and the plan is its last point.
    #[test]
    fn the_frontier_is_the_optimum(
        demands in prop::collection::vec(500u64..80_640, 1..8),
    ) {
        let demand = replicas(&demands);
        let fleet = gpus("2xa100-80gb");
        let options = PlanOptions::default();
        let plan = optimise::suggest(&demand, &fleet, &options).unwrap();
        let frontier = compare::frontier(&plan, &demand, &fleet, &options).unwrap();
        prop_assert!(frontier.complete);
        for point in &frontier.points {
            let best = cuts(point.gpus as usize).iter().map(|c| best_on(c, &demands)).max().unwrap();
            prop_assert_eq!((point.placed, point.placed_mib), best, "{} GPUs", point.gpus);
            prop_assert!(point.proved);
            prop_assert_eq!(point.used_mib, 81_920 * point.gpus);
        }
        let last = frontier.points.last().unwrap();
        prop_assert_eq!(last.gpus, plan.totals.gpus_used);
        prop_assert_eq!((last.placed, last.placed_mib), (plan.totals.placed, plan.totals.placed_mib));
    }

    /// A uniform preset at its best is what trying every subset finds.
    #[test]
    fn presets_are_taken_at_their_best(
        demands in prop::collection::vec(500u64..80_640, 1..9),
    ) {
        let comparison =
            compare::compare(&replicas(&demands), &gpus("2xa100-80gb"), &PlanOptions::default()).unwrap();
        for row in comparison.rows.iter().filter(|r| r.name.starts_with("all-")) {
            let name = row.name.trim_start_matches("all-");
            let instances = match A100_80GB.iter().find(|p| p.0 == name) {
                // As many as the starts allow side by side.
                Some(p) => vec![p.4; p.3.iter().filter(|s| (*s - p.3[0]) % p.2 == 0).count() * 2],
                None => [[9_728, 9_728, 19_968, 40_192]; 2].concat(),
            };
            prop_assert_eq!((row.placed, row.placed_mib), best_on(&instances, &demands), "{}", name);
        }
    }

    /// The heuristics are what the plainest loop over all GPUs and starts does.
    #[test]
    fn heuristics_place_as_the_plain_loop(
        demands in prop::collection::vec(500u64..80_640, 1..40),
        gpus_in_fleet in 1usize..7,
    ) {
        let spec = format!("{gpus_in_fleet}xa100-80gb");
        let comparison =
            compare::compare(&replicas(&demands), &gpus(&spec), &PlanOptions::default()).unwrap();
        for (name, best_fit) in [("first-fit-decreasing", false), ("best-fit-decreasing", true)] {
            let row = comparison.rows.iter().find(|r| r.name == name).unwrap();
            let found = plain_greedy(&demands, gpus_in_fleet, best_fit);
            prop_assert_eq!((row.placed, row.placed_mib, row.gpus_used), found, "{}", name);
        }
    }

    /// In the order of the goal nobody is before the plan, and the parts of idle memory add up.
    #[test]
    fn the_plan_is_first(
        rows in prop::collection::vec((500u64..90_000, 1u64..6, 0i64..3, 1u32..5), 1..12),
        spec in prop::sample::select(vec!["3xa100-80gb", "2xa100-80gb,2xa30,1xh200", "2xb200"]),
    ) {
        let workload = |(i, (m, count, priority, compute)): (usize, &(u64, u64, i64, u32))| {
            let mut w = Workload::new("t", &format!("w{i}"), Mebibytes(*m), *count);
            w.priority = *priority;
            w.compute_slices = *compute;
            w
        };
        let demand = Demand::new(rows.iter().enumerate().map(workload).collect());
        let fleet = gpus(spec);
        let comparison = compare::compare(&demand, &fleet, &PlanOptions::default()).unwrap();
        let plan = &comparison.rows[0];
        for row in &comparison.rows {
            let goal = |r: &compare::Baseline| {
                let rounding = Reverse(r.rounding_mib);
                (r.placed_weight.clone(), r.placed_mib, Reverse(r.gpus_used), rounding)
            };
            // A whole GPU can hold what no instance of its board can, and the plan gives it to
            // nobody who did not ask for it.
            if row.name != "whole-gpus" {
                prop_assert!(goal(plan) >= goal(row), "{:?} beats {:?}", row, plan);
            }
            prop_assert_eq!(row.idle_mib, row.rounding_mib + row.spare_mib + row.unusable_mib);
            prop_assert_eq!(row.idle_mib + row.placed_mib, comparison.plan.totals.fleet_mib);
            let weight: i64 = row.placed_weight.iter().sum();
            prop_assert_eq!(weight as u64, row.placed * 1_000_000);
            prop_assert_eq!(row.placed_by_team.values().sum::<u64>(), row.placed);
        }
    }

    /// The number is enough, and one fewer is not.
    #[test]
    fn a_size_is_enough_and_no_more(
        demands in prop::collection::vec((500u64..80_640, 1u64..5), 1..10),
    ) {
        let workload = |(i, (m, n)): (usize, &(u64, u64))| {
            Workload::new("t", &format!("w{i}"), Mebibytes(*m), *n)
        };
        let demand = Demand::new(demands.iter().enumerate().map(workload).collect());
        let board = gpus("1xa100-80gb").boards();
        let sizing = compare::size(&demand, &board, 8, &PlanOptions::default()).unwrap().remove(0);
        let served = |n: u64| n > 0 && serves_all(&demand, &gpus(&format!("{n}xa100-80gb")));
        prop_assert_eq!(sizing.status, Status::Optimal);
        prop_assert!(served(sizing.gpus) && !served(sizing.gpus - 1));
        prop_assert_eq!(sizing.steps.points.last().unwrap().placed, demand.replicas());
    }
}

fn serves_all(demand: &Demand, fleet: &Fleet) -> bool {
    let plan = optimise::suggest(demand, fleet, &PlanOptions::default()).unwrap();
    plan.totals.placed == plan.totals.replicas
}

/// Every GPU and every start in turn: replicas placed, their memory, GPUs in use.
fn plain_greedy(demands: &[u64], gpus: usize, best_fit: bool) -> (u64, u64, u64) {
    let layouts = all_layouts(A100_80GB);
    let mut held: Vec<Vec<(usize, u32)>> = vec![vec![]; gpus];
    let mut order = demands.to_vec();
    order.sort_by_key(|m| Reverse(*m));
    let (mut placed, mut placed_mib) = (0, 0);
    let free =
        |layout: &[(usize, u32)]| 8 - layout.iter().map(|(p, _)| A100_80GB[*p].2).sum::<u32>();
    for need in order {
        // The smallest profile that holds it, few slices first, at its highest free start.
        let mut options = Vec::new();
        for (gpu, layout) in held.iter().enumerate() {
            let mut profiles: Vec<usize> = (0..6).filter(|p| A100_80GB[*p].4 >= need).collect();
            profiles.sort_by_key(|p| (A100_80GB[*p].4, A100_80GB[*p].2, A100_80GB[*p].1));
            let found = profiles.iter().find_map(|p| {
                A100_80GB[*p].3.iter().rev().find_map(|start| {
                    let mut next = layout.clone();
                    next.push((*p, *start));
                    next.sort_unstable();
                    layouts.contains(&next).then_some(next)
                })
            });
            if let Some(next) = found {
                options.push((if best_fit { free(&next) } else { 0 }, gpu, next));
            }
        }
        if let Some((_, gpu, next)) = options.into_iter().min() {
            held[gpu] = next;
            placed += 1;
            placed_mib += need;
        }
    }
    (placed, placed_mib, held.iter().filter(|layout| !layout.is_empty()).count() as u64)
}

#[test]
fn the_example_beside_what_people_do_today() {
    let run = migplan(&["compare", "-w", &example(), "--gpus", "4xa100-80gb", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let result = json(&run.stdout);
    assert_eq!(result["schema"], "migplan.compare/v1");
    let rows = result["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "plan",
            "all-1g.10gb",
            "all-1g.20gb",
            "all-2g.20gb",
            "all-3g.40gb",
            "all-4g.40gb",
            "all-7g.80gb",
            "all-balanced",
            "whole-gpus",
            "first-fit-decreasing",
            "best-fit-decreasing"
        ]
    );
    let placed: Vec<u64> = rows.iter().map(|r| r["placed"].as_u64().unwrap()).collect();
    assert_eq!(placed, [17, 9, 15, 12, 8, 4, 4, 16, 4, 17, 17]);
    assert_eq!(rows[0]["placed_mib"], 262_144);
    assert_eq!(rows[1]["gpus_used"], 2);
    assert_eq!(rows[1]["left_out"][0]["workload"], "train-two-tower");
    assert_eq!(rows[1]["left_out"][0]["too_large"], true);
}

#[test]
fn the_shared_gpus_of_the_trace() {
    let file = root("data/workloads/alibaba/teams_8gpu_shared.csv").display().to_string();
    let run = migplan(&["-q", "compare", "-w", &file, "--gpus", "8xa100-80gb", "--format", "json"]);
    let rows = json(&run.stdout)["rows"].as_array().unwrap().clone();
    let goal = |r: &Value| {
        let weights: Vec<i64> = r["placed_weight"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w["weight"].as_i64().unwrap())
            .collect();
        (weights, r["placed_mib"].as_u64().unwrap(), Reverse(r["gpus_used"].as_u64().unwrap()))
    };
    assert_eq!(goal(&rows[0]), (vec![7, 7], 512_826, Reverse(8)));
    assert!(rows.iter().all(|r| goal(r) <= goal(&rows[0])), "{rows:#?}");
    assert!(rows.len() >= 11);
}

#[test]
fn csv_and_text_say_the_same_as_json() {
    let args = ["compare", "-w", &example(), "--gpus", "4xa100-80gb"];
    let csv = migplan(&[args.as_slice(), &["--format", "csv"]].concat());
    let mut lines = csv.stdout.lines();
    assert_eq!(
        lines.next(),
        Some(
            "name,placed,placed_weight[priority=10],placed_weight[priority=0],placed_mib,idle_mib,rounding_mib,spare_mib,unusable_mib,gpus_used"
        )
    );
    assert_eq!(lines.next(), Some("plan,17,2,15,262144,65536,25600,19968,19968,4"));
    let text = migplan(&args);
    assert!(text.stdout.contains("all-1g.10gb                9 "), "{}", text.stdout);
    assert!(text.stdout.contains("= internal fragmentation"), "{}", text.stdout);
}

#[test]
fn what_needs_a_whole_gpu_counts_in_no_row_and_is_told() {
    let csv = "team,workload,memory_gib\na,big,79.5\na,small,5\nb,never,900\n";
    let run = migplan_with(
        &["compare", "-w", "-", "--gpus", "1xa100-80gb", "--format", "json"],
        csv.as_bytes(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("a whole GPU would serve each: set the column gpus to 1"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("since no GPU here can serve it"), "{}", run.stderr);
    let result = json(&run.stdout);
    assert!(result["rows"].as_array().unwrap().iter().all(|r| r["placed"] == 1), "{result:#}");
    assert_eq!(result["out_of_reach"][0]["fits_a_whole_gpu"], true);
}

/// Rows by name with the replicas they place, of `compare --format json`.
fn placed(csv: &str, args: &[&str]) -> Vec<(String, u64)> {
    let base = ["-q", "compare", "-w", "-", "--format", "json"];
    let run = migplan_with(&[&base[..], args].concat(), csv.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rows = json(&run.stdout)["rows"].as_array().unwrap().clone();
    let row = |r: &Value| (r["name"].as_str().unwrap().to_string(), r["placed"].as_u64().unwrap());
    rows.iter().map(row).collect()
}

/// A preset partitions every GPU that has its profile, so none of them is a whole GPU; a replay of
/// the presets says the same.
#[test]
fn presets_have_no_whole_gpus_but_those_without_their_profile() {
    let alone = "team,workload,memory,gpus\na,b,,2\n";
    for (name, count) in placed(alone, &["--gpus", "2xa100-80gb"]) {
        assert_eq!(count, u64::from(!name.starts_with("all-")), "{name}");
    }
    let csv = "team,workload,memory,count,gpus\na,whole,,2,1\na,small,5GiB,3,\na,big,30GiB,2,\n";
    for args in [
        &["--gpus", "3xa100-80gb"][..],
        &["--gpus", "2xa100-80gb,1xa30"],
        &["--gpus", "3xa100-80gb", "--mig-mode", "per-node"],
    ] {
        let replay = ["-q", "replay", "-w", "-", "--format", "json"];
        let run = migplan_with(&[&replay[..], args].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let replayed = json(&run.stdout)["rows"].as_array().unwrap().clone();
        let presets = placed(csv, args).into_iter().filter(|(name, _)| name.starts_with("all-"));
        let mut with_whole = 0;
        for (name, count) in presets {
            let row = replayed.iter().find(|r| r["name"] == name && r["rule"] == "bound").unwrap();
            let hours = row["served_replica_hours"].as_f64().unwrap();
            assert_eq!(count as f64 * 168.0, hours, "{name} {args:?}");
            with_whole += u64::from(count > 5);
        }
        // All seven need instances, and whole GPUs beside them.
        assert_eq!(with_whole, 0, "{args:?}");
    }
    // Each whole GPU that a preset leaves is had.
    let left = placed(alone, &["--gpus", "2xa100-80gb,1xa30"]);
    assert!(left.contains(&("all-1g.6gb".to_string(), 1)), "{left:?}");
    assert!(left.contains(&("all-1g.10gb".to_string(), 0)), "{left:?}");
}

#[test]
fn a_priority_that_cannot_be_served_at_all_is_told() {
    let csv = "team,workload,memory,count,priority\nnlp,huge,300GiB,3,5\nvision,a,30GiB,3,0\n";
    let args = ["compare", "-w", "-", "--gpus", "2xa100-80gb"];
    let run = migplan_with(&args, csv.as_bytes());
    assert!(run.stdout.contains("weight at priority 5"), "{}", run.stdout);
    let best = "Best preset: all-3g.40gb places 3 of 6 (0 of priority 5, the plan 0).";
    assert!(run.stdout.contains(best), "{}", run.stdout);
    let csv_rows = migplan_with(&[&args[..], &["--format", "csv"]].concat(), csv.as_bytes());
    let head = "name,placed,placed_weight[priority=5],placed_weight[priority=0],";
    assert!(csv_rows.stdout.starts_with(head), "{}", csv_rows.stdout);
    assert!(csv_rows.stdout.contains("\nplan,3,0,3,"), "{}", csv_rows.stdout);
}

#[test]
fn the_best_preset_is_the_one_of_the_most_weight() {
    let best = |csv: &str| {
        let run = migplan_with(&["compare", "-w", "-", "--gpus", "1xa100-80gb"], csv.as_bytes());
        let line = run.stdout.lines().find(|line| line.starts_with("Best preset")).unwrap();
        line.to_string()
    };
    let csv = "team,workload,memory,count,weight\na,big,38GiB,2,10\nb,small,8GiB,7,1\n";
    assert_eq!(best(csv), "Best preset: all-3g.40gb places 2 of 9 (weight 20 of 27, the plan 20).");
    assert_eq!(best(&csv.replace(",10", ",1")), "Best preset: all-1g.10gb places 7 of 9.");
    // The priority that the preset gives up is named, though it is not the highest.
    let csv = "team,workload,memory,count,weight,priority\na,top,8GiB,1,1,9\nb,big,38GiB,1,1,5\nc,small,8GiB,6,1.5,0\n";
    assert_eq!(
        best(csv),
        "Best preset: all-1g.10gb places 7 of 8 (weight 10 of 11, the plan 6.5; weight 0 of priority 5, the plan weight 1)."
    );
}

#[test]
fn fewest_gpus_for_known_mixes() {
    for (three, two, one, fewest, first_fit) in
        [(1, 2, 3, 2, 2), (1, 7, 3, 3, 3), (5, 5, 8, 5, 5), (7, 8, 11, 7, 8)]
    {
        let csv = format!(
            "team,workload,memory_gib,count,compute\nt,a,39,{three},3\nt,b,19,{two},2\nt,c,9,{one},1\n"
        );
        let run = migplan_with(
            &["size", "-w", "-", "--board", "a100-80gb", "--format", "json"],
            csv.as_bytes(),
        );
        let boards = &json(&run.stdout)["boards"];
        assert_eq!(boards[0]["board"], "a100-sxm4-80gb");
        assert_eq!(boards[0]["gpus"], fewest, "{three},{two},{one}");
        assert_eq!(boards[0]["proved"], true);
        let run = migplan_with(
            &["compare", "-w", "-", "--gpus", "9xa100-80gb", "--format", "json"],
            csv.as_bytes(),
        );
        let rows = json(&run.stdout)["rows"].as_array().unwrap().clone();
        let ffd = rows.iter().find(|r| r["name"] == "first-fit-decreasing").unwrap();
        assert_eq!(ffd["gpus_used"], first_fit, "{three},{two},{one}");
        assert_eq!(ffd["placed"], three + two + one);
        assert_eq!(rows[0]["gpus_used"], fewest);
    }
}

#[test]
fn growth_raises_the_demand_that_is_sized() {
    let size = |csv: &str, more: &[&str]| {
        let arguments = ["size", "-w", "-", "--board", "a100-80gb", "--format", "json"];
        migplan_with(&[&arguments[..], more].concat(), csv.as_bytes())
    };
    let csv = "team,workload,memory_gib,count\na,x,39,3\nb,y,19,5\n";
    for (growth, grown) in [
        (&["--growth", "100%"][..], "team,workload,memory_gib,count\na,x,39,6\nb,y,19,10\n"),
        // Half a replica is a replica.
        (
            &["--growth", "10%", "--growth", "b=150%"],
            "team,workload,memory_gib,count\na,x,39,4\nb,y,19,13\n",
        ),
    ] {
        let (raised, written) = (size(csv, growth), size(grown, &[]));
        assert_eq!((raised.code, written.code), (0, 0), "{}", raised.stderr);
        assert_eq!(json(&raised.stdout)["boards"], json(&written.stdout)["boards"]);
        assert_ne!(json(&raised.stdout)["boards"], json(&size(csv, &[]).stdout)["boards"]);
    }
    assert_eq!(size(csv, &["--growth", "c=10%"]).code, 2);
    let hours = size(csv, &["--timezone", "Europe/Berlin"]);
    assert_eq!(hours.code, 2);
    assert!(hours.stderr.contains("--timezone needs --over-time"), "{}", hours.stderr);
}

#[test]
fn the_size_of_the_trace() {
    let size = |file: &str| {
        let file = root("data/workloads/alibaba").join(file).display().to_string();
        let run = migplan(&["-q", "size", "-w", &file, "-b", "a100-80gb", "--format", "json"]);
        json(&run.stdout)["boards"][0].clone()
    };
    let full = size("teams_full.csv");
    assert_eq!((&full["gpus"], &full["serves_all"]), (&2_198.into(), &false.into()));
    let unserved = full["unserved"].as_array().unwrap();
    assert_eq!(unserved.iter().map(|u| u["replicas"].as_u64().unwrap()).sum::<u64>(), 3_986);
    assert!(unserved.iter().all(|u| u["reason"] == "too_large"));
    let whole = size("teams_whole_gpus.csv");
    assert_eq!((&whole["gpus"], &whole["proved"]), (&6_553.into(), &true.into()));
    assert_eq!(whole["nodes"], 820);
    assert_eq!(whole["steps"].as_array().unwrap().last().unwrap()["placed"], 7_064);
}

#[test]
fn the_cheapest_mix_is_the_cheapest() {
    let demand = replicas(&[70_000, 38_000, 30_000, 18_000, 18_000, 11_000, 9_000, 5_000, 5_000]);
    let catalogue = Catalogue::built_in();
    let board = |id: &str| catalogue.by_id(id).unwrap().clone();
    for (a100, a30) in [(10, 3), (10, 1), (3, 10), (7, 4)] {
        let price = |id: &str, price: i64| Price { board: board(id), price: price * 100_000 };
        let prices = [price("a100-sxm4-80gb", a100), price("a30-24gb", a30)];
        let mix = compare::size_mix(&demand, &prices, 8, &PlanOptions::default()).unwrap();
        assert!(mix.status == Status::Optimal && mix.unserved.is_empty());
        let mut cheapest = i64::MAX;
        for n in 1..7 {
            for m in 0..7 {
                let spec = if m == 0 {
                    format!("{n}xa100-80gb")
                } else {
                    format!("{n}xa100-80gb,{m}xa30")
                };
                if n * a100 + m * a30 < cheapest && serves_all(&demand, &gpus(&spec)) {
                    cheapest = n * a100 + m * a30;
                }
            }
        }
        assert_eq!(mix.cost, cheapest as u128 * 100_000, "{a100} and {a30}: {mix:?}");
    }
}

#[test]
fn what_a_board_can_never_serve_is_listed() {
    let csv = "team,workload,memory_gib,count,gpus\nt,fits,20,3,\nt,huge,300,1,\nt,wide,,1,16\n";
    let args = ["size", "-w", "-", "-b", "a100-80gb,a30"];
    let run = migplan_with(&args, csv.as_bytes());
    assert_eq!(run.code, 0);
    for said in [
        "a100-sxm4-80gb: 2 GPUs",
        "1 × t/huge",
        "would help: 4 whole GPUs of a100-sxm4-80gb on one node: set the column gpus to 4",
        "needs 16 whole GPUs",
        "a30-24gb: 3 GPUs",
    ] {
        assert!(run.stdout.contains(said), "{said}: {}", run.stdout);
    }
    assert_eq!(migplan_with(&[args.as_slice(), &["--strict"]].concat(), csv.as_bytes()).code, 4);
    // On nodes of 16 the wide one fits as well.
    let run = migplan_with(
        &["size", "-w", "-", "-b", "a100-80gb", "--gpus-per-node", "16"],
        csv.replace("t,huge,300,1,\n", "").as_bytes(),
    );
    assert!(run.stdout.starts_with("a100-sxm4-80gb: 18 GPUs on 2 nodes of 16"), "{}", run.stdout);
}

#[test]
fn no_gpu_at_all_says_why() {
    let size = |csv: &str, more: &[&str]| {
        let args = ["size", "-w", "-", "-b", "a30"];
        let run = migplan_with(&[&args[..], more].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    let huge = "team,workload,memory,count\nt,huge,90GiB,2\n";
    let says = "a30-24gb: 0 GPUs, since it can serve no replica of this demand\nNot in that number";
    let shown = size(huge, &[]);
    assert!(shown.starts_with(says) && !shown.contains("proved"), "{shown}");
    let says = "cheapest mix: no GPU, since these boards can serve no replica of this demand\n";
    assert!(size(huge, &["--price", "a30=2"]).contains(says));
    let none = size("team,workload,memory,count\nt,none,9GiB,0\n", &[]);
    assert_eq!(none, "a30-24gb: 0 GPUs, since no replica is asked for\n\n");
    let document = json(&size(huge, &["--format", "json"]));
    assert_eq!(document["boards"][0]["status"], "optimal");
}

#[test]
fn bad_boards_and_prices_are_answered() {
    let csv = b"team,workload,memory_gib\na,b,5\n";
    for (args, said) in [
        (&["-b", "t4"][..], "cannot do MIG"),
        (&["-b", "a100-80gbb"], "did you mean"),
        (&["-b", ","], "names no board"),
        (&["--price", "a100-80gb"], "is not BOARD=PRICE"),
        (&["--price", "a100-80gb=0"], "is zero"),
        (&["--price", "a100-80gb=-1"], "is negative"),
        (&["--price", "a100-80gb=1,a100-sxm4-80gb=2"], "has a price already"),
    ] {
        let run = migplan_with(&[&["size", "-w", "-"], args].concat(), csv);
        assert_eq!(run.code, 3, "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.contains(said) && run.stderr.contains("hint: "),
            "{args:?}: {}",
            run.stderr
        );
    }
    assert_eq!(migplan_with(&["size", "-w", "-"], csv).code, 2);
    assert_eq!(
        migplan_with(&["size", "-w", "-", "-b", "a30", "--gpus-per-node", "0"], csv).code,
        2
    );
}

#[test]
fn the_rules_of_a_site_hold_in_comparisons_too() {
    let args = ["compare", "-w", &example(), "--gpus", "4xa100-80gb", "--format", "json"];
    let free = json(&migplan(&args).stdout);
    let run = migplan(&[&args[..], &["--keep-whole", "1"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let kept = json(&run.stdout);
    assert_eq!(free["rows"][0]["gpus_used"], 4);
    assert_eq!(
        (&kept["rows"][0]["gpus_used"], &kept["rows"][0]["placed"]),
        (&3.into(), &14.into())
    );
    let run = migplan(&[&args[..], &["--keep-whole", "1", "--strategy", "single"]].concat());
    assert_eq!(run.code, 2);
}

#[test]
fn what_rows_do_not_keep_and_count_is_said() {
    let run = |args: &[&str]| {
        let csv = b"team,workload,memory,count\na,b,9GiB,3\na,c,300GiB,1\n";
        let base = ["compare", "-w", "-", "--gpus", "2xa100-80gb", "--format", "csv"];
        let ran = migplan_with(&[&base[..], args].concat(), csv);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let plain = run(&[]);
    assert_eq!(
        plain,
        "warning: 1 replica is in no row, since no GPU here can serve it; `migplan suggest` says why\n"
    );
    let rules = ["--strategy", "single", "--one-profile-per-workload"];
    let single = "warning: only the plan is held to --strategy single: presets, whole GPUs, \
        first-fit and best-fit decreasing are not\n";
    let one = "warning: first-fit and best-fit decreasing are not held to \
        --one-profile-per-workload\n";
    assert_eq!(run(&rules), format!("{single}{one}{plain}"));
}
