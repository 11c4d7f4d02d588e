//! Fair shares between teams, guarantees and quotas: what the rules give, what they cost, and that
//! the order of the input is of no consequence.

use crate::common::{demand, gpus, migplan, migplan_with, stage, suggest};
use migplan::compare;
use migplan::demand::{Demand, Workload};
use migplan::optimise::PlanOptions;
use migplan::plan::{Plan, Share, Status, teams};
use migplan::units::Mebibytes;

/// Thirty notebooks beside six fine-tunes of twice their size.
const NOTEBOOKS: &str = "team,workload,memory,count\n\
    nlp,notebooks,8GiB,30\nresearch,finetune,18GiB,6\n";

fn fair() -> PlanOptions {
    PlanOptions { share: Share::Fair, ..PlanOptions::default() }
}

fn shares(plan: &Plan) -> Vec<u64> {
    let stages = plan.proof.stages.iter().filter(|s| s.objective == "team_share[priority=0]");
    stages.map(|s| s.value.as_u64().unwrap()).collect()
}

#[test]
fn many_small_replicas_do_not_starve_a_team_of_large_ones() {
    let (demand, fleet) = (demand(NOTEBOOKS), gpus("2xa100-80gb"));
    let most = suggest(&demand, &fleet, &PlanOptions::default());
    let plan = suggest(&demand, &fleet, &fair());
    assert_eq!(plan.proof.status, Status::Optimal);
    // 14 compute slices: 10 of 30 notebooks, and 3 of 6 fine-tunes on 1g.20gb and 2g.20gb.
    assert_eq!(shares(&plan), [333_333, 500_000]);
    assert_eq!((plan.totals.placed, most.totals.placed), (13, 14));
    let placed = |plan: &Plan| {
        let totals = teams::totals(plan, &demand, &fleet);
        totals.into_iter().map(|team| team.placed).collect::<Vec<u64>>()
    };
    assert_eq!((placed(&plan), placed(&most)), (vec![10, 3], vec![12, 2]));
}

#[test]
fn what_no_gpu_here_could_serve_counts_in_no_share() {
    let demand = demand(
        "team,workload,memory,count,boards\na,fits,30GiB,1,\na,huge,90GiB,7,\nb,elsewhere,1GiB,3,h200\n\
         b,fits,30GiB,3,\n",
    );
    let plan = suggest(&demand, &gpus("1xa100-80gb"), &fair());
    assert_eq!(shares(&plan), [333_333, 1_000_000]);
}

#[test]
fn a_minimum_comes_before_fair_shares() {
    let demand = demand(
        "team,workload,memory,count,min\nnlp,notebooks,8GiB,30,12\nresearch,finetune,18GiB,6,0\n",
    );
    let plan = suggest(&demand, &gpus("2xa100-80gb"), &fair());
    assert_eq!(stage(&plan, "guaranteed_weight[priority=0]"), 12.0);
    assert_eq!(shares(&plan), [333_333, 400_000]);
}

#[test]
fn equal_teams_differ_by_no_more_than_one_replica() {
    let team = |t: usize| Workload::new(&format!("t{t:02}"), "w", Mebibytes(9_000), 3);
    let demand = Demand::new((0..10).map(team).collect());
    let plan = suggest(&demand, &gpus("2xa100-80gb"), &fair());
    assert_eq!(shares(&plan), [333_333, 666_666]);
    assert_eq!(plan.totals.placed, 14);
}

#[test]
fn the_command_says_what_fair_shares_cost() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let plan = file("plan.json");
    let flags = ["suggest", "-w", "-", "--gpus", "2xa100-80gb", "--share", "fair", "--plan", &plan];
    let run = migplan_with(&flags, NOTEBOOKS.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    for part in [
        "Fair: 13 replicas placed instead of 14, nlp 10 instead of 12, research 3 instead of 2;",
        "team_share[priority=0] 33.3333 % to 50 % (2 levels)",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(json["policy"]["share"], "fair");
    let quiet = migplan_with(&[&flags[..], &["-q"]].concat(), NOTEBOOKS.as_bytes());
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(quiet.stdout, run.stdout);
    let reversed = "team,workload,memory,count\n\
        research,finetune,18GiB,6\nnlp,notebooks,8GiB,30\n";
    assert_eq!(migplan_with(&flags, reversed.as_bytes()).stdout, run.stdout);
    for kind in ["fit-idle", "slices", "demand"] {
        let picture = file("picture.svg");
        let run = migplan(&["chart", "--kind", kind, "--plan", &plan, "-o", &picture]);
        assert_eq!(run.code, 0, "{kind}: {}", run.stderr);
    }
    let run = migplan(&["emit", "kueue", "--plan", &plan]);
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_minimum_is_in_the_summary_and_comes_back_from_demand() {
    let rows = "team,workload,memory,count,min\na,b,8GiB,9,3\nc,d,8GiB,9,\n";
    let run = migplan_with(&["demand", "-w", "-"], rows.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (read, _) = migplan::demand::csv::read(
        run.stdout.as_bytes(),
        "f",
        &migplan::hardware::Catalogue::built_in(),
    )
    .unwrap();
    assert_eq!(read, demand(rows));
    let run = migplan_with(&["suggest", "-w", "-", "--gpus", "1xa100-80gb"], rows.as_bytes());
    assert!(run.stderr.contains("3 of 3 guaranteed replicas placed"), "{}", run.stderr);
    assert!(run.stderr.contains("guaranteed_weight[priority=0] 3"), "{}", run.stderr);
    let bad = migplan_with(
        &["suggest", "-w", "-", "--gpus", "1xa30"],
        b"team,workload,memory,min\na,b,1GiB,2\n",
    );
    assert_eq!(bad.code, 3);
    assert!(
        bad.stderr.contains("<stdin>:2: column 'min': '2' is more than count, which is 1"),
        "{}",
        bad.stderr
    );
}

const QUOTA: &str = "team,gpus,memory_gib\nnlp,,40\nresearch,1,\n";

#[test]
fn a_quota_is_kept_and_says_what_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (quota, plan) = (file("quota.csv"), file("plan.json"));
    std::fs::write(&quota, QUOTA).unwrap();
    let flags = ["suggest", "-w", "-", "--gpus", "4xa100-80gb", "--quota", &quota, "--plan", &plan];
    let run = migplan_with(&flags, NOTEBOOKS.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    // 40 GiB hold four 1g.10gb of 9.5 GiB; one GPU holds four instances for 18 GiB.
    for part in [
        "8 of 36 replicas placed",
        "26 × nlp/notebooks: needs 8192 MiB; team nlp's quota of 40 GiB leaves no instance for it (38 GiB in use)",
        "would help: a larger quota for nlp",
        "team research's quota of 1 GPU leaves no instance for it (1 GPU in use)",
        "reached",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    let kept = serde_json::json!([{"team": "nlp", "memory_mib": 40_960}, {"team": "research", "gpus": 1.0}]);
    assert_eq!(json["policy"]["quota"], kept);
    assert_eq!(json["unplaced"][0]["reason"], "fleet_full");
    // What the plan is compared with is under the same quotas.
    let run = migplan_with(
        &["compare", "-w", "-", "--gpus", "4xa100-80gb", "--quota", &quota, "--format", "json"],
        NOTEBOOKS.as_bytes(),
    );
    let compared: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    for row in compared["rows"].as_array().unwrap() {
        assert!(row["placed"].as_u64().unwrap() <= 8, "{row}");
    }
    for kind in ["fit-idle", "slices"] {
        let picture = file("picture.svg");
        let run = migplan(&["chart", "--kind", kind, "--plan", &plan, "-o", &picture]);
        assert_eq!(run.code, 0, "{kind}: {}", run.stderr);
    }
}

/// A whole GPU is 80 GiB. An instance of all of it has less, but stands for it only where the GPUs of
/// a node agree on MIG.
#[test]
fn a_quota_that_is_too_small_for_a_whole_gpu_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let quota = folder.path().join("quota.csv").display().to_string();
    std::fs::write(&quota, "team,gpus,memory_gib\na,1,79\n").unwrap();
    let flags =
        ["suggest", "-w", "-", "--gpus", "2xa100-80gb", "--quota", &quota, "-o", "/dev/null"];
    let said = |rules: &[&str]| {
        let csv = b"team,workload,count,gpus\na,w,1,1\n";
        let run = migplan_with(&[&flags[..], rules].concat(), csv);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stderr
    };
    let (by_gpu, by_node) = (said(&[]), said(&["--mig-mode", "per-node"]));
    assert!(by_gpu.contains("leaves no instance for it"), "{by_gpu}");
    assert!(
        by_gpu.contains("would help: a larger quota for a") && by_gpu.contains("reached"),
        "{by_gpu}"
    );
    assert!(by_node.contains("1 of 1 replica placed"), "{by_node}");
}

#[test]
fn rules_between_teams_are_refused_where_they_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let quota = folder.path().join("quota.csv").display().to_string();
    std::fs::write(&quota, "team,gpus\nnpl,1\n").unwrap();
    let week = "team,workload,memory,count,hours\nnlp,a,8GiB,9,Mon\nnlp,b,8GiB,9,Tue\n";
    let gpus = ["-w", "-", "--gpus", "1xa100-80gb"];
    for rule in [&["--share", "fair"][..], &["--quota", &quota]] {
        let over_time = [&["suggest", "--over-time"], &gpus[..], rule].concat();
        for command in [over_time, [&["replay"], &gpus[..], rule].concat()] {
            let run = migplan_with(&command, week.as_bytes());
            assert_eq!(run.code, 2, "{command:?}: {}", run.stderr);
            assert!(
                run.stderr.contains("--share fair and --quota do not work with"),
                "{}",
                run.stderr
            );
        }
    }
    // A wrong spelling is named with the team that is meant.
    let run =
        migplan_with(&[&["suggest", "--quota", &quota], &gpus[..]].concat(), NOTEBOOKS.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr.contains("no workload is of the team 'npl'; did you mean 'nlp'?"),
        "{}",
        run.stderr
    );
    std::fs::write(&quota, "team,gpus\nnlp,x\nnlp,1\n").unwrap();
    let run =
        migplan_with(&[&["suggest", "--quota", &quota], &gpus[..]].concat(), NOTEBOOKS.as_bytes());
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("quota.csv:2: column 'gpus': 'x' is not a number"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("quota.csv:3: column 'team': 'nlp' is on line 2 already"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_cost_of_fair_shares_is_the_difference_to_the_plan_of_the_most_weight() {
    // In each a later stage chooses among plans of equal weight, memory and GPUs.
    for (csv, differ) in [
        ("team,workload,memory,count,compute\na,w0,9000MiB,1,1\nc,w1,9000MiB,5,3\n", false),
        (
            "team,workload,memory,count,compute,min\nc,w0,18000MiB,5,1,1\n\
             b,w1,18000MiB,5,3,0\nc,w2,5000MiB,2,3,0\n",
            true,
        ),
    ] {
        let (demand, fleet) = (demand(csv), gpus("2xa100-80gb"));
        let most = suggest(&demand, &fleet, &PlanOptions::default());
        let plan = suggest(&demand, &fleet, &fair());
        let totals = |plan: &Plan| teams::totals(plan, &demand, &fleet);
        let both = totals(&plan).into_iter().zip(totals(&most));
        let both = both.filter(|(fair, most)| fair.placed != most.placed);
        let expected: Vec<_> = both.map(|(f, m)| (f.team, f.placed, m.placed)).collect();
        let cost = compare::cost_of_fairness(&plan, &demand, &fleet, &fair()).unwrap().unwrap();
        assert_eq!((cost.placed, cost.most_weight), (plan.totals.placed, most.totals.placed));
        let teams = cost.teams.into_iter().map(|t| (t.team, t.placed, t.most_weight));
        assert_eq!(teams.collect::<Vec<_>>(), expected);
        assert_eq!(!expected.is_empty(), differ, "{csv}");
    }
}

#[test]
fn what_would_help_is_within_the_quota_or_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let quota = folder.path().join("quota.csv").display().to_string();
    let help = |csv: &str, quotas: &str| {
        std::fs::write(&quota, quotas).unwrap();
        let flags = ["suggest", "-w", "-", "--gpus", "2xa100-80gb", "--quota", &quota];
        let run = migplan_with(&[&flags[..], &["--format", "json"]].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        json["unplaced"][0]["help"].as_str().unwrap().to_string()
    };
    let full = "team,workload,memory,count,priority\ntop,t,38GiB,3,5\nnlp,a,9GiB,12,0\n";
    // Four of the twelve are placed, and each is an eighth of a GPU.
    for (gpus, expected) in [
        ("1.5", "2 more GPUs of a100-sxm4-80gb"),
        (
            "1.375",
            "1 more GPU of a100-sxm4-80gb for 7 of them, and a larger quota for nlp for the other",
        ),
        (
            "0.75",
            "1 more GPU of a100-sxm4-80gb for 2 of them, and a larger quota for nlp for the other 6",
        ),
        ("0.5", "a larger quota for nlp"),
    ] {
        assert_eq!(help(full, &format!("team,gpus\nnlp,{gpus}\n")), expected);
    }
    let whole = "a whole GPU: a100-sxm4-80gb has 81920 MiB with MIG off; set the column gpus to 1";
    let large = "team,workload,memory\nbig,d,79.5GiB\n";
    assert_eq!(help(large, "team,gpus\nbig,1\n"), whole);
    let with_quota = format!("{whole} and a larger quota for big");
    assert_eq!(help(large, "team,gpus\nbig,0.5\n"), with_quota);
    assert_eq!(help(large, "team,memory_gib\nbig,79\n"), with_quota);
}
