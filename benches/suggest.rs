//! Solving times beside the naive model's, and beside reading the file; quality is the proof that
//! every stage of every size is optimal. Ratios within one run count: machines are shared.

#![allow(clippy::print_stdout, reason = "a bench prints")]

#[allow(dead_code, clippy::unwrap_used, reason = "the tests' helpers that a bench does not need")]
#[path = "../tests/it/common/naive.rs"]
mod naive;

/// A profile as the naive model takes it.
type Typed = (&'static str, u32, u32, &'static [u32], u64);

use std::io::Write;
use std::time::Instant;

use migplan::demand;
use migplan::fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::Status;

const A100_80GB: &[Typed] = &[
    ("1g.10gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6], 9_728),
    ("1g.20gb", 1, 2, &[0, 2, 4, 6], 19_968),
    ("2g.20gb", 2, 2, &[0, 2, 4], 19_968),
    ("3g.40gb", 3, 4, &[0, 4], 40_192),
    ("4g.40gb", 4, 4, &[0], 40_192),
    ("7g.80gb", 7, 8, &[0], 80_640),
];

/// Random MiB from 1 GiB to 75 GiB, distinct as long as there are enough numbers.
fn memory(count: usize) -> Vec<u64> {
    let mut state: u64 = 42;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count).map(|_| 1_024 + next() % (74 * 1_024)).collect()
}

fn main() {
    let catalogue = Catalogue::built_in();
    println!(
        "{:>7} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "GPUs", "workloads", "read s", "solve s", "all s", "/ read", "naive s", "naive / all"
    );
    for (gpus, count, naive_too) in [
        (2, 12, true),
        (4, 24, true),
        (8, 50, true),
        (16, 100, std::env::var_os("NAIVE_16").is_some()),
        (100, 700, false),
        (1_000, 7_000, false),
        (100_000, 400_000, false),
    ] {
        let memory = memory(count);
        let mut csv = String::from("team,workload,memory_mib\n");
        for (i, mib) in memory.iter().enumerate() {
            csv.push_str(&format!("t{},w{i},{mib}\n", i % 17));
        }
        let start = Instant::now();
        let (demand, _) = demand::csv::read(csv.as_bytes(), "bench", &catalogue).expect("a table");
        let read = start.elapsed().as_secs_f64();
        let fleet =
            fleet::spec::parse(&format!("{gpus}xa100-80gb"), "bench", &catalogue).expect("GPUs");
        let start = Instant::now();
        let plan = optimise::suggest(&demand, &fleet, &PlanOptions::default()).expect("a plan");
        let all = start.elapsed().as_secs_f64();
        assert_eq!(plan.proof.status, Status::Optimal);
        assert!(plan.proof.stages.iter().all(migplan::plan::Stage::proved));
        let naive = naive_too.then(|| {
            let start = Instant::now();
            let (placed, placed_mib) = naive::solve(A100_80GB, 8, gpus, &memory);
            assert_eq!((plan.totals.placed, plan.totals.placed_mib), (placed, placed_mib));
            start.elapsed().as_secs_f64()
        });
        println!(
            "{gpus:>7} {count:>9} {read:>10.4} {:>10.4} {all:>10.4} {:>10.1} {:>10} {:>12}",
            plan.proof.solve_seconds,
            all / read,
            naive.map_or("-".into(), |s| format!("{s:.3}")),
            naive.map_or("-".into(), |s| format!("{:.0}", s / all)),
        );
        std::io::stdout().flush().expect("stdout");
    }
}
