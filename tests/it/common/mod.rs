//! What the tests share: the runs of the binary and of the library, the boards typed by hand, the
//! number and kinds of cases, the random numbers, and what to do where a program is missing.
pub mod boards;
pub mod cases;
pub mod naive;
pub mod random;
pub mod split_mix;
pub mod tools;

pub use boards::*;
pub use cases::{cases, policy};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use migplan::demand::Demand;
use migplan::fleet::Fleet;
use migplan::hardware::Catalogue;
use migplan::optimise::{self, PlanOptions};
use migplan::plan::{Plan, check};

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

/// Writes a file into a folder, and returns its path as an argument has it.
pub fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let file = folder.path().join(name).display().to_string();
    std::fs::write(&file, text).unwrap();
    file
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
