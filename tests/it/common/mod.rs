//! What the tests share: the binary, temporary files, and the geometry typed by hand from NVIDIA's
//! MIG user guide, so that no table of the product checks itself.
pub mod naive;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use migplan::demand::Demand;
use migplan::fleet::Fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::{Plan, check};

/// A profile as the guide prints it: name, compute slices, memory slices, starts, usable MiB.
pub type Typed = (&'static str, u32, u32, &'static [u32], u64);

/// A100-80GB without media profiles.
pub const A100_80GB: &[Typed] = &[
    ("1g.10gb", 1, 1, &[0, 1, 2, 3, 4, 5, 6], 9_728),
    ("1g.20gb", 1, 2, &[0, 2, 4, 6], 19_968),
    ("2g.20gb", 2, 2, &[0, 2, 4], 19_968),
    ("3g.40gb", 3, 4, &[0, 4], 40_192),
    ("4g.40gb", 4, 4, &[0], 40_192),
    ("7g.80gb", 7, 8, &[0], 80_640),
];

/// Its media profile; at most one on a GPU.
pub const A100_80GB_MEDIA: Typed = ("1g.10gb+me", 1, 1, &[0, 1, 2, 3, 4, 5, 6], 9_728);

/// A30 without media profiles.
pub const A30: &[Typed] = &[
    ("1g.6gb", 1, 1, &[0, 1, 2, 3], 5_952),
    ("2g.12gb", 2, 2, &[0, 2], 11_968),
    ("4g.24gb", 4, 4, &[0], 24_000),
];

/// Its media profiles; at most one of them on a GPU.
pub const A30_MEDIA: &[Typed] =
    &[("1g.6gb+me", 1, 1, &[0, 1, 2, 3], 5_952), ("2g.12gb+me", 2, 2, &[0, 2], 11_968)];

/// RTX PRO 6000 without attributes.
pub const RTX_PRO_6000: &[Typed] = &[
    ("1g.24gb", 1, 3, &[0, 3, 6, 9], 23_680),
    ("2g.48gb", 2, 6, &[0, 6], 47_616),
    ("4g.96gb", 4, 12, &[0], 95_616),
];

/// Every set of placements without overlap and with at most one `+me`, each as sorted
/// (index, start) pairs: found by trying every placement in turn, nothing cleverer.
pub fn all_layouts(profiles: &[Typed]) -> Vec<Vec<(usize, u32)>> {
    let placements: Vec<(usize, u32)> = profiles
        .iter()
        .enumerate()
        .flat_map(|(i, p)| p.3.iter().map(move |start| (i, *start)))
        .collect();
    let mut found = vec![vec![]];
    for (i, start) in placements {
        let (name, _, size, _, _) = profiles[i];
        let mut with: Vec<Vec<(usize, u32)>> = found
            .iter()
            .filter(|layout: &&Vec<(usize, u32)>| {
                layout.iter().all(|(other, at)| {
                    let (other_name, _, other_size, _, _) = profiles[*other];
                    let apart = start + size <= *at || at + other_size <= start;
                    apart && !(name.ends_with("+me") && other_name.ends_with("+me"))
                })
            })
            .map(|layout| {
                let mut layout = layout.clone();
                layout.push((i, start));
                layout.sort_unstable();
                layout
            })
            .collect();
        found.append(&mut with);
    }
    found
}

/// The multisets of those layouts: counts by profile.
pub fn all_multisets(profiles: &[Typed]) -> BTreeSet<Vec<u32>> {
    all_layouts(profiles)
        .iter()
        .map(|layout| {
            let mut counts = vec![0; profiles.len()];
            layout.iter().for_each(|(i, _)| counts[*i] += 1);
            counts
        })
        .collect()
}

/// The demand of a CSV text.
pub fn demand(csv: &str) -> Demand {
    migplan::demand::csv::read(csv.as_bytes(), "test.csv", &Catalogue::built_in()).unwrap().0
}

/// The fleet of a `--gpus` text.
pub fn gpus(spec: &str) -> Fleet {
    migplan::fleet::spec::parse(spec, "--gpus", &Catalogue::built_in()).unwrap()
}

/// The plan for a demand, after the independent check.
pub fn suggest(demand: &Demand, fleet: &Fleet, options: &PlanOptions) -> Plan {
    let plan = optimise::suggest(demand, fleet, options).unwrap().into_inner();
    let conditions = optimise::conditions(fleet, options);
    assert_eq!(check::violations(&plan, demand, fleet, &conditions), Vec::<String>::new());
    plan
}

/// The value of a stage of the proof.
pub fn stage(plan: &Plan, name: &str) -> f64 {
    let stage = plan.proof.stages.iter().find(|s| s.objective == name);
    stage.unwrap_or_else(|| panic!("no stage {name}")).value.as_f64().unwrap()
}

/// A path below the project's root.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary without terminal, colours or `MIGPLAN_GPUS`, with `stdin`.
pub fn migplan_with(args: &[&str], stdin: &[u8]) -> Run {
    let mut child = command(args).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // The program may stop reading early; that is not the test's business.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    finish(output)
}

/// Runs the binary with an empty stdin.
pub fn migplan(args: &[&str]) -> Run {
    migplan_with(args, b"")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migplan"));
    command
        .args(args)
        .env_remove("MIGPLAN_GPUS")
        .env_remove("MIGPLAN_NVML_LIB")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finish(output: Output) -> Run {
    let run = Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.stderr.contains("panicked"), "a panic: {}", run.stderr);
    run
}
