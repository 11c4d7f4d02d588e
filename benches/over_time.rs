//! How long plans for demand over time take, how that grows with the hours, and how long a replay
//! takes against reading its history.
//!
//! Every plan has a time limit; the bench fails where a stage has no plan or a bound below its value
//! by then. Ratios within one run count: machines are shared.
//!
//! `BENCH_ROWS=text` runs the rows whose name has the text, `BENCH_STAGES=1` shows every stage,
//! `BENCH_SECONDS=60` gives each plan more time than the usual 10 s.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

mod common;
#[allow(unreachable_pub, reason = "the tests' file")]
#[path = "../tests/it/common/random.rs"]
mod random;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Outcome, fastest};
use migplan::compare::replay::{Configuration, replay};
use migplan::demand::over_time::{Growth, History, Horizon, OverTime, ReplicaSpan, Zone};
use migplan::demand::sizing::{self, Rules};
use migplan::demand::time::HOUR_MS;
use migplan::demand::usage::{Reading, Usage};
use migplan::demand::{Demand, Workload, prometheus};
use migplan::fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{PlanOptions, over_time};
use migplan::plan::goal::{Objective, Sense};
use migplan::plan::{Stage, Status};
use migplan::units::Mebibytes;
use random::Random;

const FOUR_BOARDS: &str = "25xa100-sxm4-80gb,25xh100-sxm5-80gb,25xa30-24gb,25xh200-sxm-141gb";
/// Monday 2026-06-01 00:00 UTC, in seconds since 1970.
const MONDAY_S: i64 = 1_780_272_000;
/// Seconds between two samples of the history that is replayed.
const STEP_S: i64 = 300;

/// A row of the table: which GPUs, how many workloads, how many hours of which no two are equal.
struct Row {
    name: &'static str,
    gpus: &'static str,
    workloads: usize,
    /// Replicas of a workload at most.
    replicas: u64,
    hours: i64,
}

const fn row(
    name: &'static str,
    gpus: &'static str,
    workloads: usize,
    replicas: u64,
    hours: i64,
) -> Row {
    Row { name, gpus, workloads, replicas, hours }
}

const ROWS: [Row; 9] = [
    row("8 of one board, 24 h", "8xa100-80gb", 32, 4, 24),
    row("8 of one board, 168 h", "8xa100-80gb", 32, 4, 168),
    row("8 of one board, 672 h", "8xa100-80gb", 32, 4, 672),
    row("100 of one board, 168 h", "100xa100-80gb", 200, 6, 168),
    row("100 of one board, 672 h", "100xa100-80gb", 200, 6, 672),
    row("100 of 4 boards, 24 h", FOUR_BOARDS, 200, 6, 24),
    row("100 of 4 boards, 168 h", FOUR_BOARDS, 200, 6, 168),
    row("100 of 4 boards, 672 h", FOUR_BOARDS, 200, 6, 672),
    row("10,000 of one board, 168 h", "10000xa100-80gb", 1_000, 120, 168),
];

/// The hours of a row: notebooks by day, training by night, serving always, and pods that begin at
/// any hour.
fn demand_of(row: &Row) -> Outcome<OverTime> {
    let mut random = Random::new(7);
    let mut workloads = Vec::new();
    let mut history =
        History { observed: vec![(0, row.hours * HOUR_MS - 1)], ..History::default() };
    for i in 0..row.workloads {
        let mib = [
            2_000 + random.below(7_000),
            9_800 + random.below(10_000),
            20_200 + random.below(19_000),
            41_000 + random.below(35_000),
        ][random.below(4) as usize];
        let team: Arc<str> = format!("t{}", i % 17).into();
        let name: Arc<str> = format!("w{i}").into();
        let mut spans = Vec::new();
        for day in 0..(row.hours + 23) / 24 {
            let (from, to) = match i % 4 {
                0 => (8, 19),
                1 => (20, 30),
                2 => (0, 24),
                _ => {
                    let from = random.below(24) as i64;
                    (from, from + 1 + random.below(12) as i64)
                }
            };
            // Hours of one kind differ too: how many run is another number each day.
            let from = day * 24 + from;
            for hour in from..day * 24 + to {
                let count = random.below(row.replicas + 1);
                if hour < row.hours && count > 0 {
                    let start_ms = hour * HOUR_MS;
                    spans.push(ReplicaSpan { start_ms, end_ms: start_ms + HOUR_MS, count });
                }
            }
        }
        history.spans.insert((team.clone(), name.clone()), spans);
        workloads.push(Workload::new(&team, &name, Mebibytes(mib), row.replicas));
    }
    let horizon = Horizon::History(&history);
    Ok(OverTime::new(&Demand::new(workloads), horizon, &Zone::default(), &Growth::default())
        .map_err(|e| e.to_string())?)
}

/// Whether a stage has not passed its bound.
fn is_honest(stage: &Stage) -> bool {
    let name = stage.objective.replace("slice_hours", "slices").replace("_hours", "");
    let sense = Objective::from_name(&name).map(Objective::sense);
    match (stage.value.as_f64(), stage.bound.as_f64(), sense) {
        (Some(value), Some(bound), Some(Sense::Maximise)) => value <= bound,
        (Some(value), Some(bound), Some(Sense::Minimise)) => bound <= value,
        _ => false,
    }
}

fn plans(catalogue: &Catalogue, wanted: &str) -> Outcome<()> {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    println!(
        "{:<28} {:>7} {:>9} {:>10} {:>8} {:>9}  first stage that is not proved",
        "row", "periods", "solve s", "ms/period", "stages", "proved"
    );
    for row in ROWS.iter().filter(|row| row.name.contains(wanted)) {
        let demand = demand_of(row)?;
        let fleet = fleet::spec::parse(row.gpus, "bench", catalogue).map_err(|e| e.to_string())?;
        let options = PlanOptions {
            time_limit: Some(Duration::from_secs(seconds)),
            ..PlanOptions::default()
        };
        let start = Instant::now();
        let plan = over_time::suggest(&demand, &fleet, &options).map_err(|e| e.to_string())?;
        let all = start.elapsed().as_secs_f64();
        let proof = &plan.plan.proof;
        let proved = proof.stages.iter().take_while(|stage| stage.proved()).count();
        let open = proof.stages.get(proved).map_or(String::new(), |stage| {
            let gap = match (stage.value.as_f64(), stage.bound.as_f64()) {
                (Some(value), Some(bound)) if bound != 0.0 => (bound - value).abs() / bound.abs(),
                _ => f64::NAN,
            };
            format!("{} within {:.2} %", stage.objective, gap * 100.0)
        });
        let status = if proof.status == Status::Optimal { "all" } else { "not all" };
        let periods = demand.periods().len();
        println!(
            "{:<28} {periods:>7} {all:>9.3} {:>10.2} {:>8} {status:>9}  {open}",
            row.name,
            all * 1_000.0 / periods as f64,
            format!("{proved}/{}", proof.stages.len()),
        );
        if std::env::var_os("BENCH_STAGES").is_some() {
            for stage in &proof.stages {
                println!(
                    "    {:<34} {:>16} {:>9.3} s {:>4} LPs {:>3} MIPs bound {}",
                    stage.objective,
                    stage.value.to_string(),
                    stage.seconds,
                    stage.effort.relaxations,
                    stage.effort.solves,
                    stage.bound
                );
            }
        }
        if let Some(stage) = proof.stages.iter().find(|stage| !is_honest(stage)) {
            return Err(format!("{}: {} passes its bound", row.name, stage.objective).into());
        }
    }
    Ok(())
}

/// An answer of `query_range` over 14 days at 5 minutes, with so many pods.
fn answer(pods: u64) -> Outcome<String> {
    let mut random = Random::new(3);
    let mut text = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    let samples = 14 * 86_400 / STEP_S as u64;
    for pod in 0..pods {
        let comma = if pod > 0 { "," } else { "" };
        let letters = b"bcdfghjklmnpqrstvwxz";
        let suffix: String =
            (0..5).map(|i| char::from(letters[(pod / 20u64.pow(i) % 20) as usize])).collect();
        write!(
            text,
            r#"{comma}{{"metric":{{"__name__":"DCGM_FI_DEV_FB_USED","UUID":"GPU-{pod:08}","gpu":"{}","GPU_I_ID":"7","GPU_I_PROFILE":"1g.10gb","exported_namespace":"team-{}","exported_pod":"w{}-7d9c5b6f4-{suffix}"}},"values":["#,
            pod % 8,
            pod % 20,
            pod % 200,
        )?;
        let from = random.below(samples - 12);
        let length = (12 + random.below(300)).min(samples - from);
        let mib = 1_000 + random.below(38_000);
        for sample in from..from + length {
            let comma = if sample > from { "," } else { "" };
            let at = MONDAY_S + sample as i64 * STEP_S;
            write!(text, "{comma}[{at},\"{}\"]", mib + random.below(200))?;
        }
        text.push_str("]}");
    }
    text.push_str("]}}");
    Ok(text)
}

fn replays(catalogue: &Catalogue) -> Outcome<()> {
    let text = answer(10_000)?;
    let fleet =
        fleet::spec::parse("200xa100-80gb", "bench", catalogue).map_err(|e| e.to_string())?;
    let configurations = Configuration::presets(&fleet);
    let read = || -> Outcome<(Usage, sizing::Sizing)> {
        let mut usage = Usage::new(Reading::default());
        usage.begin("range.json");
        prometheus::read(text.as_bytes(), "range.json", &mut usage).map_err(|e| e.to_string())?;
        let sizing = sizing::size(&mut usage, Rules::default(), catalogue);
        Ok((usage, sizing))
    };
    let (reading, (usage, sizing)) = fastest(read)?;
    let (hours, demand) = fastest(|| {
        let history = History::new(sizing.spans.iter(), &usage);
        let horizon = Horizon::History(&history);
        Ok(OverTime::new(&sizing.demand, horizon, &Zone::default(), &Growth::default())
            .map_err(|e| e.to_string())?)
    })?;
    let (replaying, _) =
        fastest(|| Ok(replay(&demand, &fleet, &configurations).map_err(|e| e.to_string())?))?;
    println!(
        "replay of 14 days at 5 min, {} pods, {} workloads, {} MB, {} configurations",
        sizing.spans.len(),
        sizing.demand.workloads().len(),
        text.len() >> 20,
        configurations.len()
    );
    println!("read             {reading:8.3} s");
    println!("hours            {hours:8.3} s   {:.2} × read", hours / reading);
    println!("replayed         {replaying:8.3} s   {:.2} × read", replaying / reading);
    println!("all              {:.2} × read", (reading + hours + replaying) / reading);
    Ok(())
}

fn main() -> Outcome<()> {
    let catalogue = Catalogue::built_in();
    let wanted = std::env::var("BENCH_ROWS").unwrap_or_default();
    plans(&catalogue, &wanted)?;
    if "replay".contains(&wanted) {
        replays(&catalogue)?;
    }
    Ok(())
}
