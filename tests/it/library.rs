//! The crate as a library: its examples run, and a plan's file says how the plan was made.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use migplan::optimise::{self, PlanOptions, Progress, SearchProgress};
use migplan::plan::Status;

use serde_json::Value;

use crate::common::{demand, gpus, migplan, migplan_with, root};

/// Runs an example of the crate. It is built as `cargo test --workspace` builds it, so that where
/// that was the command it is there already.
fn example(name: &str, args: &[&str]) -> String {
    let ran = |command: &mut Command| {
        let output = command.current_dir(root(".")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo tells a test of its package in variables that the build script of ring looks at: with
    // them here ring and all that needs it would be built again, and once more without them.
    let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    for name in told {
        cargo.env_remove(name);
    }
    ran(cargo.args(["build", "--quiet", "--workspace", "--examples"]));
    let built = Path::new(env!("CARGO_BIN_EXE_migplan")).with_file_name("examples").join(name);
    ran(Command::new(built).args(args))
}

#[test]
fn the_examples_run() {
    let yaml = example("plan", &["examples/teams.csv", "4xa100-80gb"]);
    let golden = fs::read_to_string(root("tests/golden/suggest/one-node/config.yaml")).unwrap();
    // The command heads the file with notes; the rest is the same.
    assert!(golden.ends_with(yaml.trim_start_matches('#')), "{yaml}");
    let answers = example("what_if", &[]);
    assert_eq!(answers.lines().count(), 5, "{answers}");
    let placed = |line: usize| -> u64 {
        let (_, answer) = answers.lines().nth(line).unwrap().split_once(": ").unwrap();
        answer.split(' ').next().unwrap().parse().unwrap()
    };
    assert!(placed(0) < placed(1), "one more GPU serves more: {answers}");
    assert!(placed(0) < placed(2), "smaller fine-tunes fit half the instance: {answers}");
}

#[test]
fn a_plan_file_keeps_what_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (plan, boards) = (path("plan.json"), path("board.json"));
    let board = migplan(&["catalogue", "a30", "--format", "json"]).stdout;
    fs::write(&boards, board.replace("5952", "5900")).unwrap();
    let csv = b"team,workload,memory,count\na,x,5GiB,3\n";
    let args = [
        "suggest",
        "-q",
        "-w",
        "-",
        "--gpus",
        "2xa30",
        "--catalogue",
        &boards,
        "--plan",
        &plan,
        "--name",
        "week-48",
        "--spare",
        "largest",
        "--mig-mode",
        "per-node",
        "--one-profile-per-workload",
    ];
    let run = migplan_with(&args, csv);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let file: Value = serde_json::from_str(&fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(file["name"], "week-48");
    let policy = &file["policy"];
    assert_eq!((&policy["mig_mode"], &policy["spare"]), (&"per-node".into(), &"largest".into()));
    assert_eq!(policy["one_profile_per_workload"], true);
    assert_eq!(file["catalogue"][0]["id"], "a30-24gb");
    // The plan has the boards that it was made with, so nobody needs to name them again.
    let emitted = migplan(&["emit", "capacity", "--plan", &plan]);
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);
    // Another table of the same board is not the plan's.
    fs::write(&boards, board.replace("5952", "5800")).unwrap();
    let other = migplan(&["emit", "capacity", "--plan", &plan, "--catalogue", &boards]);
    assert_eq!(other.code, 3, "{}", other.stderr);
    assert!(other.stderr.contains("another table of the board 'a30-24gb'"), "{}", other.stderr);
    // One without changed boards was made with the built-in ones.
    let plain = path("plain.json");
    let args = ["suggest", "-q", "-w", "-", "--gpus", "2xa30", "--plan", &plain];
    assert_eq!(migplan_with(&args, csv).code, 0);
    let file: Value = serde_json::from_str(&fs::read_to_string(&plain).unwrap()).unwrap();
    assert!(file.get("catalogue").is_none());
    let other = migplan(&["emit", "capacity", "--plan", &plain, "--catalogue", &boards]);
    assert_eq!(other.code, 3, "{}", other.stderr);
}

#[test]
fn a_search_tells_its_stages_and_can_be_stopped() {
    let csv = "team,workload,memory,count,priority\na,x,35GiB,5,1\na,y,18GiB,9,0\nb,z,9GiB,31,0\n";
    let (demand, fleet) = (demand(csv), gpus("6xa100-80gb"));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::new(Mutex::new(Vec::new()));
    // Stops as soon as the second stage is about to be solved.
    let progress = {
        let (stop, told) = (stop.clone(), told.clone());
        Progress::new(move |progress| {
            let SearchProgress::Stage(progress) = progress else { return };
            let mut told = told.lock().unwrap();
            told.push((progress.objective.name(), progress.bound.is_some()));
            stop.store(told.len() > 2, Ordering::Relaxed);
        })
    };
    let options =
        PlanOptions { stop: Some(stop), progress: Some(progress), ..PlanOptions::default() };
    let plan = optimise::suggest(&demand, &fleet, &options).unwrap();
    let told = told.lock().unwrap();
    let first = "placed_weight[priority=1]".to_string();
    assert_eq!(told[..2], [(first.clone(), false), (first, true)]);
    let best = optimise::suggest(&demand, &fleet, &PlanOptions::default()).unwrap();
    assert_eq!(best.proof.status, Status::Optimal);
    assert_eq!(plan.proof.stages[0].value, best.proof.stages[0].value);
    // What was not searched may be the best by luck; it is never called proved then.
    if plan.proof.stages.iter().any(|stage| !stage.proved()) {
        assert_eq!(plan.proof.status, Status::Interrupted);
    }

    let stopped =
        PlanOptions { stop: Some(Arc::new(AtomicBool::new(true))), ..PlanOptions::default() };
    let plan = optimise::suggest(&demand, &fleet, &stopped).unwrap();
    assert_eq!(plan.proof.status, Status::Interrupted);
    assert!(plan.totals.placed > 0, "{:?}", plan.totals);
}

/// One Ctrl-C ends a search that would go on for long, and the best plan so far is written, or a
/// first one where the solver had none yet.
#[test]
fn an_interrupt_ends_the_search_and_not_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let (workloads, plan) = (folder.path().join("teams.csv"), folder.path().join("plan.json"));
    let rows: Vec<String> = (0..300)
        .map(|i| format!("t{},w{i},{}MiB,{}", i % 30, 3_000 + (i * 7_919) % 76_000, 1 + i % 23))
        .collect();
    fs::write(&workloads, format!("team,workload,memory,count\n{}\n", rows.join("\n"))).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .args(["suggest", "--one-profile-per-workload", "--gpus", "400xa100-80gb,300xh100-80gb"])
        .args(["-w".as_ref(), workloads.as_os_str(), "--plan".as_ref(), plan.as_os_str()])
        .env_remove("MIGPLAN_GPUS")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let running = child.try_wait().unwrap().is_none();
    // Twice at once, as `timeout --signal INT` sends it to its child and the child's group.
    for _ in 0..2 {
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(kill.success() || !running);
    }
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if since.elapsed() > Duration::from_secs(90) {
            child.kill().unwrap();
            panic!("the search goes on");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {
            let plan = fs::read_to_string(&plan).unwrap();
            let ended = plan.contains("\"status\": \"interrupted\"");
            assert!(ended || plan.contains("\"status\": \"optimal\""), "{log}");
            assert_eq!(ended, log.contains("NOT proved: it was interrupted"), "{log}");
        }
        other => panic!("{other:?}: {log}"),
    }
}
