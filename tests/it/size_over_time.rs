//! `size --over-time`: the fewest GPUs for a share of all hours, against the best plan on every number.

use std::collections::BTreeMap;

use crate::common::{cases, demand, gpus, migplan_with};
use migplan::compare::{over_time, size_over_time};
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::demand::{Demand, Workload};
use migplan::optimise::{self, PlanOptions};
use migplan::plan::Status;
use migplan::units::{Mebibytes, Percent, Weight};
use proptest::prelude::*;

/// Hours that overlap.
const HOURS: [&str; 4] = ["", "Mon 00:00-02:00", "Mon 01:00-04:00", "Mon 00:00-12:00"];

/// Notebooks by day, training by night, and serving always.
const WEEK: &str = "team,workload,memory,count,priority,hours\n\
    nlp,notebooks,9GiB,9,0,Mon-Fri 08:00-19:00\n\
    nlp,train,38GiB,3,0,19:00-08:00|Sat-Sun\n\
    search,serving,18GiB,2,10,\n";

fn over(demand: &Demand) -> OverTime {
    OverTime::new(demand, Horizon::Week, &Zone::default(), &Growth::default()).unwrap()
}

#[test]
fn the_fewest_gpus_for_a_share_of_the_hours() {
    let size = |serve: &str| -> u64 {
        let args = ["size", "-w", "-", "--board", "a100-80gb", "--over-time", "--serve", serve];
        let run = migplan_with(&[&args[..], &["--format", "json"]].concat(), WEEK.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(json["boards"][0]["proved"], true);
        json["boards"][0]["gpus"].as_u64().unwrap()
    };
    let all = size("100%");
    // That many GPUs serve every hour, and one fewer does not.
    let demand = over(&crate::common::demand(WEEK));
    let served = |gpus_in_fleet: u64| {
        let fleet = gpus(&format!("{gpus_in_fleet}xa100-80gb"));
        let found = over_time::suggest(&demand, &fleet, &PlanOptions::default()).unwrap();
        let total = found.replay.rows[0].total();
        total.served == total.asked
    };
    assert!(served(all) && !served(all - 1), "{all}");
    assert!(size("60%") < all);
    // The best plan serves the share of each priority, though it serves the highest first.
    let first = "team,workload,memory,count,priority,hours\n\
        a,p,9GiB,14,10,\na,q,9GiB,1,0,Mon-Fri 08:00-18:00\n";
    let two = "team,workload,memory,count,priority,hours\n\
        x,a,20GiB,1,5,\nx,b,20GiB,1,0,\n";
    // What no GPU could serve makes no difference, though it has hours of its own.
    let unservable = format!("{two}x,c,40GiB,1,0,Mon-Wed 00:00-24:00\n");
    for (csv, board, serve, expected) in
        [(first, "a100-80gb", "92%", 3), (two, "a30", "30%", 2), (&unservable, "a30", "30%", 2)]
    {
        let args = ["size", "-w", "-", "--board", board, "--over-time", "--serve", serve];
        let run = migplan_with(&[&args[..], &["--format", "json"]].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let found = &json["boards"][0];
        assert_eq!((&found["gpus"], &found["proved"]), (&expected.into(), &true.into()), "{csv}");
        let demand = over(&crate::common::demand(csv));
        let share = serve.trim_end_matches('%').parse::<u128>().unwrap();
        let is_served = |count: u64| {
            let fleet = gpus(&format!("{count}x{board}"));
            let plan = over_time::suggest(&demand, &fleet, &PlanOptions::default()).unwrap();
            let row = &plan.replay.rows[0];
            let workloads = demand.peak().workloads().iter().zip(&row.workloads);
            let mut of_priority: BTreeMap<i64, (u128, u128)> = BTreeMap::new();
            for (workload, of) in workloads.filter(|(w, _)| &*w.name != "c") {
                let sums = of_priority.entry(workload.priority).or_default();
                *sums = (sums.0 + of.asked, sums.1 + of.served);
            }
            of_priority.values().all(|(asked, served)| served * 100 >= asked * share)
        };
        assert!(is_served(expected) && !is_served(expected - 1), "{csv}");
    }
    let none = migplan_with(
        &["size", "-w", "-", "--board", "a100-80gb", "--over-time", "--serve", "101%"],
        WEEK.as_bytes(),
    );
    assert_eq!(none.code, 2);
}

/// Weight-hours of each priority, and of guaranteed replicas too: asked for, and of those served by the
/// best plan on so many GPUs.
fn served(demand: &OverTime, board: &str, count: u64) -> (BTreeMap<i64, [u128; 2]>, bool) {
    let fleet = gpus(&format!("{count}x{board}"));
    let workloads = demand.peak().workloads();
    let plan = optimise::over_time::suggest(demand, &fleet, &PlanOptions::default()).unwrap();
    assert_eq!(plan.plan.proof.status, Status::Optimal);
    let (mut sums, mut keeps_mins) = (BTreeMap::<i64, [u128; 2]>::new(), true);
    for (period, rows) in demand.periods().iter().zip(&plan.periods) {
        for (at, workload) in workloads.iter().enumerate() {
            let of = rows.iter().filter(|row| row.workload == at);
            let placed: u64 = of.map(|row| row.replicas).sum();
            let asked = period.counts[at];
            keeps_mins &= placed >= workload.min.min(asked);
            let sums = sums.entry(workload.priority).or_default();
            for (sum, replicas) in sums.iter_mut().zip([asked, placed]) {
                *sum += u128::from(replicas * period.hours * workload.weight.0);
            }
        }
    }
    (sums, keeps_mins)
}

fn is_enough(demand: &OverTime, board: &str, count: u64, percent: u64) -> bool {
    let (sums, keeps_mins) = served(demand, board, count);
    let of_each = |[asked, served]: &[u128; 2]| served * 100 >= asked * u128::from(percent);
    keeps_mins && sums.values().all(of_each)
}

fn sized(demand: &OverTime, board: &str, percent: u64) -> u64 {
    let boards = [gpus(&format!("1x{board}")).nodes()[0].gpus[0].clone()];
    let options = PlanOptions::default();
    let found = size_over_time(demand, &boards, Percent(percent * 10_000), &options).unwrap();
    assert_eq!(found[0].status, Status::Optimal);
    found[0].gpus
}

/// On a GPU more a replica of two slices has room, and displaces the lower priority.
const MORE_SERVE_LESS: &str = "team,workload,memory,count,priority,weight,compute,hours\n\
    a,A,9GiB,1,1,5,2,Mon 00:00-12:00\na,B,9GiB,1,1,5,2,Mon 00:00-12:00\n\
    a,X,9GiB,1,1,4.9,4,Mon 00:00-12:00\na,Y,9GiB,1,1,4.9,4,Mon 00:00-12:00\n\
    b,P,9GiB,1,0,1,3,Mon 00:00-12:00\n";

#[test]
fn more_gpus_may_serve_less_and_the_fewest_are_found_all_the_same() {
    let board = "a100-80gb";
    let core = over(&demand(MORE_SERVE_LESS));
    let enough = [1, 2, 3].map(|count| is_enough(&core, board, count, 50));
    assert_eq!(enough, [true, false, true]);
    assert_eq!(sized(&core, board, 50), 1);
    // With eight GPUs' worth of the higher priority before it, 11 are enough too, and 10 are not.
    let more = format!("{MORE_SERVE_LESS}a,bulk,70GiB,8,1,100,1,Mon 00:00-12:00\n");
    let full = over(&demand(&more));
    let enough = [8, 9, 10, 11].map(|count| is_enough(&full, board, count, 50));
    assert_eq!(enough, [false, true, false, true]);
    let args = ["size", "-w", "-", "-b", board, "--over-time", "--serve"];
    let size = |serve| migplan_with(&[&args[..], &[serve]].concat(), more.as_bytes());
    let half = size("50%");
    assert!(half.stdout.contains(": 9 GPUs (proved: fewer are not enough)"), "{}", half.stdout);
    let said = "so more GPUs than that may serve less of a lower one";
    assert!(half.stderr.contains(said), "{}", half.stderr);
    assert!(!size("100%").stderr.contains(said));
}

#[test]
fn a_time_limit_leaves_a_number_that_is_not_called_proved() {
    let more = format!("{MORE_SERVE_LESS}a,bulk,70GiB,40,1,100,1,Mon 00:00-12:00\n");
    let args = ["size", "-w", "-", "-b", "a100-80gb", "--over-time", "--serve", "50%"];
    let args = [&args[..], &["--format", "json", "--time-limit", "0.02"]].concat();
    let ran = migplan_with(&args, more.as_bytes());
    // Where nothing at all is found in the time, that is exit 5.
    if ran.code != 5 {
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        // A plan that the time cuts short may serve the lower priority with fewer than its best plan.
        let found = &json["boards"][0];
        assert!(found["proved"] == false || found["gpus"] == 41, "{found}");
    }
}

#[test]
fn what_is_guaranteed_is_served_whole_and_said() {
    let size = |min: u64| {
        let csv = format!("team,workload,memory,count,min,hours\na,x,70GiB,4,{min},Mon\n");
        let args = ["size", "-w", "-", "-b", "a100-80gb", "--over-time", "--serve", "25%"];
        migplan_with(&args, csv.as_bytes())
    };
    let (with, without) = (size(4), size(0));
    assert!(with.stdout.contains(": 4 GPUs"), "{}", with.stdout);
    assert!(with.stderr.contains("of each priority, and every min whole, part"), "{}", with.stderr);
    assert!(without.stdout.contains(": 1 GPU"), "{}", without.stdout);
    assert!(!without.stderr.contains("min"), "{}", without.stderr);
}

fn workload() -> impl Strategy<Value = Workload> {
    let memory = prop_oneof![1_000u64..9_728, 9_729u64..19_968, 40_000u64..80_000];
    let min = prop_oneof![4 => Just(0u64), 1 => 1u64..=2];
    (memory, 1u64..=2, 0i64..3, 1u64..5, 1u32..5, 0..HOURS.len(), min).prop_map(
        |(memory, count, priority, weight, compute, hours, min)| {
            let mut workload = Workload::new("t", "", Mebibytes(memory), count);
            workload.min = min.min(count);
            workload.priority = priority;
            workload.weight = Weight(weight * Weight::SCALE);
            workload.compute_slices = compute;
            workload.hours = HOURS[hours].parse().unwrap();
            workload
        },
    )
}

proptest! {
    #![proptest_config(cases(40))]

    /// No smaller number is enough, each of them tried.
    #[test]
    fn no_fewer_gpus_are_enough(
        mut rows in prop::collection::vec(workload(), 2..7),
        percent in prop_oneof![Just(20u64), Just(50), Just(80), Just(100)],
    ) {
        for (i, row) in rows.iter_mut().enumerate() {
            row.name = format!("w{i}").into();
        }
        let demand = over(&Demand::new(rows));
        let found = sized(&demand, "a100-80gb", percent);
        let first = (1..).find(|count| is_enough(&demand, "a100-80gb", *count, percent));
        prop_assert_eq!(Some(found), first);
    }
}
