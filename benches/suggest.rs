//! How long plans take, from four GPUs to a million: a table over boards, priorities, whole GPUs
//! and rules of a site, beside reading the same demand and, where it ends, the naive model. Every
//! stage of every row must be proved, or the bench fails. Ratios within one run count: machines
//! are shared. Beside the whole time the naive model is held against that of the stages that it has
//! too (`same`): replicas and memory placed.
//!
//! `BENCH_ROWS=text` runs the rows whose name has the text, `BENCH_LARGE=1` also those of minutes,
//! `BENCH_STAGES=1` shows every stage, `NAIVE_16=1` solves the naive model at 16 × 100.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a bench prints, ends where it cannot go on, and shares files with the tests"
)]

#[path = "../tests/it/common/boards.rs"]
mod boards;
#[path = "../tests/it/common/naive.rs"]
mod naive;
#[path = "../tests/it/common/random.rs"]
mod random;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use migplan::demand;
use migplan::error::Result;
use migplan::fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::check::Checked;
use migplan::plan::{Plan, Policy, Stage, Status};

use boards::A100_80GB;
use random::Random;

/// Boards of different profiles, the most used first.
const BOARDS: [&str; 12] = [
    "a100-sxm4-80gb",
    "h100-sxm5-80gb",
    "a30-24gb",
    "h200-sxm-141gb",
    "a100-sxm4-40gb",
    "b200-180gb",
    "gh200-96gb",
    "h100-pcie-80gb",
    "rtx-pro-6000-blackwell-server-96gb",
    "gb200-186gb",
    "a100-pcie-80gb",
    "h100-nvl-94gb",
];

/// A row of the table: who asks for what, on which GPUs.
struct Row {
    name: &'static str,
    gpus: String,
    workloads: usize,
    /// How many priorities the workloads have.
    priorities: u64,
    /// Of a hundred workloads, so many name the boards that they may run on.
    lists: u64,
    /// Of a hundred workloads, so many ask for 2 to 8 whole GPUs.
    whole: u64,
    /// Whether some ask for media engines and compute slices.
    picky: bool,
    policy: Policy,
    naive: Option<usize>,
    large: bool,
}

impl Row {
    fn new(name: &'static str, gpus: impl Into<String>, workloads: usize) -> Row {
        Row {
            name,
            gpus: gpus.into(),
            workloads,
            priorities: 1,
            lists: 0,
            whole: 0,
            picky: false,
            policy: Policy::default(),
            naive: None,
            large: false,
        }
    }
}

/// `gpus` in equal parts of the first `boards` boards.
fn mixed(gpus: usize, boards: usize) -> String {
    let parts: Vec<String> =
        BOARDS[..boards].iter().map(|b| format!("{}x{b}", gpus / boards)).collect();
    parts.join(",")
}

fn rows() -> Vec<Row> {
    let one = |name, gpus: usize, workloads| {
        let naive =
            (gpus < 16 || gpus == 16 && std::env::var_os("NAIVE_16").is_some()).then_some(gpus);
        Row { naive, ..Row::new(name, format!("{gpus}xa100-80gb"), workloads) }
    };
    let large = |row| Row { large: true, ..row };
    let three = |row| Row { priorities: 3, ..row };
    vec![
        one("2 × 12", 2, 12),
        one("4 × 30", 4, 30),
        one("8 × 50", 8, 50),
        one("16 × 100", 16, 100),
        one("100 × 700", 100, 700),
        one("1,000 × 7,000", 1_000, 7_000),
        one("100,000 × 400,000", 100_000, 400_000),
        large(one("1,000,000 × 4,000,000", 1_000_000, 4_000_000)),
        Row {
            picky: true,
            lists: 30,
            ..Row::new("33 picky", "9xa30,9xgh200-96gb,9xh100-pcie-80gb,6xh100-80gb", 40)
        },
        three(Row::new("1,000 of 4 boards", mixed(1_000, 4), 7_000)),
        three(Row::new("10,000 of 4 boards", mixed(10_000, 4), 70_000)),
        large(three(Row::new("65,000 of 4 boards", mixed(65_000, 4), 400_000))),
        Row::new("1,000 of 2 boards", mixed(1_000, 2), 7_000),
        Row::new("1,000 of 8 boards", mixed(1_000, 8), 7_000),
        Row::new("1,000 of 12 boards", mixed(1_000, 12), 7_000),
        Row { priorities: 10, ..Row::new("10 priorities", mixed(1_000, 4), 7_000) },
        Row { priorities: 50, ..Row::new("50 priorities", mixed(1_000, 4), 7_000) },
        Row { lists: 100, ..Row::new("15 lists of boards", mixed(1_000, 4), 7_000) },
        Row { lists: 100, ..Row::new("96 of 12 boards, lists", mixed(96, 12), 700) },
        Row { whole: 5, ..Row::new("one node of 1,000", "1000xa100-80gb", 7_000) },
        Row {
            policy: Policy { one_profile_per_workload: true, ..Policy::default() },
            ..Row::new("one profile, 300 teams", "1600xa100-80gb", 300)
        },
    ]
}

/// The demand of a row as CSV, and the memory of each workload.
fn demand_of(row: &Row) -> (String, Vec<u64>) {
    let mut numbers = Random::new(42);
    let per_workload = row.policy.one_profile_per_workload;
    let boards: Vec<&str> =
        row.gpus.split(',').filter_map(|p| Some(p.split_once('x')?.1)).collect();
    let boards: Vec<&str> =
        boards.iter().map(|b| if b.is_empty() { "a100-80gb" } else { b }).collect();
    let mut csv =
        String::from("team,workload,memory_mib,count,priority,compute,media,boards,gpus\n");
    let mut memory = Vec::new();
    for i in 0..row.workloads {
        // 1 GiB to 75 GiB, distinct as long as there are enough numbers.
        let mib = 1_024 + numbers.below(74 * 1_024);
        memory.push(mib);
        let count = if per_workload { 1 + numbers.below(30) } else { 1 };
        let priority = if row.priorities > 1 { numbers.below(row.priorities) } else { 0 };
        let compute = if row.picky && numbers.below(3) == 0 { 1 + numbers.below(3) } else { 1 };
        let media = row.picky && numbers.below(5) == 0;
        let mut list = String::new();
        if row.lists > 0 && numbers.below(100) < row.lists {
            let chosen = numbers.below((1 << boards.len()) - 1) + 1;
            let of = boards.iter().enumerate().filter(|(b, _)| chosen >> b & 1 == 1);
            list = of.map(|(_, b)| *b).collect::<Vec<_>>().join("|");
        }
        let whole = row.whole > 0 && numbers.below(100) < row.whole;
        let (mib, gpus) =
            if whole { (String::new(), 2 + numbers.below(7)) } else { (mib.to_string(), 0) };
        let gpus = if gpus == 0 { String::new() } else { gpus.to_string() };
        let team = i % if per_workload { row.workloads } else { 17 };
        let _ =
            writeln!(csv, "t{team},w{i},{mib},{count},{priority},{compute},{media},{list},{gpus}");
    }
    (csv, memory)
}

/// The plan of a row, and the seconds that it took to read the demand and to plan.
fn plan_of(row: &Row, csv: &str, catalogue: &Catalogue) -> Result<(Checked, f64, f64)> {
    let start = Instant::now();
    let (demand, _) = demand::csv::read(csv.as_bytes(), "bench", catalogue)?;
    let read = start.elapsed().as_secs_f64();
    let fleet = fleet::spec::parse(&row.gpus, "bench", catalogue)?;
    let options = PlanOptions {
        policy: row.policy,
        time_limit: Some(Duration::from_secs(if row.large { 300 } else { 60 })),
        ..PlanOptions::default()
    };
    let start = Instant::now();
    let plan = optimise::suggest(&demand, &fleet, &options)?;
    Ok((plan, read, start.elapsed().as_secs_f64()))
}

fn main() {
    let catalogue = Catalogue::built_in();
    let wanted = std::env::var("BENCH_ROWS").unwrap_or_default();
    let large = std::env::var_os("BENCH_LARGE").is_some();
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>7} {:>6} {:>6} {:>9} {:>11} {:>12}",
        "row",
        "read s",
        "solve s",
        "all s",
        "/ read",
        "LPs",
        "MIPs",
        "naive s",
        "naive / all",
        "naive / same"
    );
    // The first plan of a process also loads the code.
    for row in rows().iter().take(2) {
        let _ = plan_of(row, &demand_of(row).0, &catalogue);
    }
    let mut unproved = Vec::new();
    for row in rows() {
        if !row.name.contains(&wanted) || row.large && !large {
            continue;
        }
        let (csv, memory) = demand_of(&row);
        let (plan, read, all) = match plan_of(&row, &csv, &catalogue) {
            Ok(timed) => timed,
            Err(e) => {
                println!("{:<24} {e}", row.name);
                unproved.push(row.name);
                continue;
            }
        };
        if plan.proof.status != Status::Optimal || !plan.proof.stages.iter().all(Stage::proved) {
            unproved.push(row.name);
        }
        let naive = row.naive.map(|gpus| {
            let start = Instant::now();
            let (placed, placed_mib) = naive::solve(A100_80GB, 8, gpus, &memory);
            assert_eq!((plan.totals.placed, plan.totals.placed_mib), (placed, placed_mib));
            start.elapsed().as_secs_f64()
        });
        // The naive model knows the first two of our stages only.
        let later = plan.proof.stages.iter().skip_while(|s| s.objective != "placed_mib").skip(1);
        let same = all - later.map(|s| s.seconds).sum::<f64>();
        let sum = |of: fn(&Stage) -> u64| plan.proof.stages.iter().map(of).sum::<u64>();
        println!(
            "{:<24} {read:>9.4} {:>9.4} {all:>9.4} {:>7.1} {:>6} {:>6} {:>9} {:>11} {:>12}",
            row.name,
            plan.proof.solve_seconds,
            all / read,
            sum(|s| s.effort.relaxations),
            sum(|s| s.effort.solves),
            naive.map_or("-".into(), |s| format!("{s:.3}")),
            naive.map_or("-".into(), |s| format!("{:.0}", s / all)),
            naive.map_or("-".into(), |s| format!("{:.0}", s / same)),
        );
        if std::env::var_os("BENCH_STAGES").is_some() {
            show_stages(&plan);
        }
        std::io::stdout().flush().expect("stdout");
    }
    assert!(unproved.is_empty(), "not proved: {unproved:?}");
}

fn show_stages(plan: &Plan) {
    for stage in &plan.proof.stages {
        let effort = stage.effort;
        println!(
            "    {:<30} {:>12} {:>9.4} s {:>5} LPs {:>3} MIPs {:>7} iterations {:>6} rows {:>5} tangents{}",
            stage.objective,
            stage.value.to_string(),
            stage.seconds,
            effort.relaxations,
            effort.solves,
            effort.iterations,
            effort.rows,
            effort.tangents,
            if stage.proved() { String::new() } else { format!(" BOUND {}", stage.bound) },
        );
    }
}
