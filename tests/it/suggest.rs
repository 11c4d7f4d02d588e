//! `migplan suggest`, `check` and `catalogue` as a user runs them: outputs as golden folders, and
//! every kind of bad input with its exit code and message.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it suggest` writes the golden files anew; read the difference.
use std::fs;
use std::path::Path;

use crate::common::random::Random;
use crate::common::{Run, migplan, migplan_with, root, tools};

/// A run of `suggest` on 4 × A100-80GB with a workloads file on stdin.
fn suggest(csv: &str) -> Run {
    migplan_with(&["suggest", "-w", "-", "--gpus", "4xa100-80gb"], csv.as_bytes())
}

/// Compares with a golden file, or writes it.
fn golden(file: &Path, actual: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(file, actual).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    assert_eq!(actual, expected, "{} differs; see the head of this test", file.display());
}

/// Seconds are the one thing that differs between equal runs.
fn without_seconds(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let line = match line.split_once("Proved optimal in ") {
            Some((before, after)) => {
                let (_, rest) = after.split_once(" s,").unwrap();
                format!("{before}Proved optimal in … s,{rest}")
            }
            None if line.contains("\"solve_seconds\"") => "    \"solve_seconds\": 0".to_string(),
            None if line.contains("\"seconds\"") => "        \"seconds\": 0".to_string(),
            None => line.to_string(),
        };
        kept.push_str(&line);
        kept.push('\n');
    }
    kept
}

#[test]
fn golden_folders() {
    let mut folders: Vec<_> =
        fs::read_dir(root("tests/golden/suggest")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 4);
    for folder in folders {
        let arguments = fs::read_to_string(folder.join("arguments")).unwrap();
        let workloads = folder.join("workloads.csv");
        let fleet = folder.join("fleet.csv");
        let mut args = vec!["suggest", "-w", workloads.to_str().unwrap()];
        args.extend(arguments.split_whitespace());
        if fleet.exists() {
            args.extend(["--fleet", fleet.to_str().unwrap()]);
        }
        let plan = tempfile::NamedTempFile::new().unwrap();
        let nodes = tempfile::NamedTempFile::new().unwrap();
        args.extend(["--plan", plan.path().to_str().unwrap()]);
        args.extend(["--assignments", nodes.path().to_str().unwrap()]);
        let run = migplan(&args);
        assert_eq!(run.code, 0, "{}: {}", folder.display(), run.stderr);
        golden(&folder.join("config.yaml"), &run.stdout);
        golden(
            &folder.join("summary.txt"),
            &without_seconds(&run.stderr).replace(folder.to_str().unwrap(), "FOLDER"),
        );
        golden(
            &folder.join("plan.json"),
            &without_seconds(&fs::read_to_string(plan.path()).unwrap()),
        );
        golden(&folder.join("nodes.csv"), &fs::read_to_string(nodes.path()).unwrap());

        // What suggest writes, check accepts, on the same GPUs.
        let gpus: Vec<&str> = args
            .windows(2)
            .filter(|w| ["--gpus", "--fleet"].contains(&w[0]))
            .flatten()
            .copied()
            .collect();
        let mut check = vec!["check", "-f", "-"];
        check.extend(&gpus);
        if gpus[0] == "--fleet" {
            check.extend(["--assignments", nodes.path().to_str().unwrap()]);
        }
        let checked = migplan_with(&check, run.stdout.as_bytes());
        assert_eq!(checked.code, 0, "{}: {}", folder.display(), checked.stderr);
        assert_eq!(checked.stderr, "", "{}", folder.display());
    }
}

#[test]
fn the_example_tells_the_story() {
    let run = migplan(&[
        "suggest",
        "--workloads",
        root("examples/teams.csv").to_str().unwrap(),
        "--gpus",
        "4xa100-80gb",
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("# "), "{}", run.stdout);
    for part in [
        "17 of 17 replicas placed, 256 GiB of 256 GiB, on 4 of 4 GPUs.",
        "Idle: 64 GiB of 320 GiB = 25 GiB internal fragmentation",
        "Best preset: all-balanced places 16 of 17 (2 of priority 10, the plan 2).",
        "all-1g.10gb 9",
        "Proved optimal",
    ] {
        assert!(run.stderr.contains(part), "{part} is not in:\n{}", run.stderr);
    }
}

#[test]
fn the_order_of_rows_and_gpus_changes_no_byte() {
    let rows = ["a,x,30GiB,3,1", "b,y,9GiB,9,0", "c,z,18GiB,4,0", "a,w,70GiB,2,5", "d,v,9GiB,8,0"];
    let header = "team,workload,memory,count,priority\n";
    let forward = format!("{header}{}\n", rows.join("\n"));
    let mut backward = rows;
    backward.reverse();
    let backward = format!("{header}{}\n", backward.join("\n"));
    let run = |csv: &str, gpus: &str, format: &str| {
        let args = ["suggest", "-w", "-", "--gpus", gpus, "--format", format];
        let run = migplan_with(&args, csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        without_seconds(&run.stdout)
    };
    for format in ["yaml", "json", "text"] {
        let first = run(&forward, "2xa100-80gb,3xh100-80gb,1xa30", format);
        assert_eq!(first, run(&backward, "1xa30,3xh100-80gb,2xa100-80gb", format));
        assert_eq!(first, run(&forward, "2xa100-80gb,3xh100-80gb,1xa30", format));
    }
    let fleet = |rows: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, format!("node,board,gpus\n{rows}").as_bytes())
            .unwrap();
        file
    };
    let one = fleet("n1,a100-80gb,4\nn2,h100-80gb,2\nn2,a30,1\nn3,a100-80gb,4\n");
    let two = fleet("n3,a100-80gb,4\nn2,a30,1\nn2,h100-80gb,2\nn1,a100-80gb,4\n");
    let of = |file: &tempfile::NamedTempFile| {
        let args = ["suggest", "-w", "-", "--fleet", file.path().to_str().unwrap()];
        migplan_with(&args, forward.as_bytes()).stdout
    };
    assert_eq!(of(&one), of(&two));
}

#[test]
fn bad_workloads_are_answered_with_one_readable_message() {
    let header = "team,workload,memory,count\n";
    for (csv, code, message) in [
        ("", 3, "error: <stdin>: is empty"),
        ("team,workload,memory\n", 3, "error: <stdin>: has a header, but no workloads"),
        ("nlp,a,30GiB\n", 3, "error: <stdin>:1: the first line must be a header"),
        ("team,workload\na,b\n", 3, "error: <stdin>:1: has no column 'memory'"),
        (
            &format!("{header}a,b,1GiB,1\na,b,1GiB,1\n"),
            3,
            "error: <stdin>:3: columns 'team' and 'workload': 'a/b' is on line 2 already",
        ),
        (
            &format!("{header}a,b,1GiB,-1\n"),
            3,
            "error: <stdin>:2: column 'count': '-1' is negative",
        ),
        (
            &format!("{header}a,b,1GiB,1.5\n"),
            3,
            "error: <stdin>:2: column 'count': '1.5' is not a whole number",
        ),
        (
            &format!("{header}a,b,30XB,1\n"),
            3,
            "error: <stdin>:2: column 'memory': '30XB' has the unknown unit 'XB'",
        ),
        (
            &format!("{header}a,b,30,1\n"),
            3,
            "error: <stdin>:2: column 'memory': '30' has no unit; write 30GiB",
        ),
        (
            &format!("{header}a,b,NaN,1\n"),
            3,
            "error: <stdin>:2: column 'memory': 'NaN' is not a number",
        ),
        (
            &format!("{header}a,b,1e30GiB,1\n"),
            3,
            "error: <stdin>:2: column 'memory': '1e30GiB' is too large",
        ),
        (
            &format!("{header}a,b,1GiB,1000000000000000000000000000000\n"),
            3,
            "is too large (at most 1000000000)",
        ),
        ("\u{feff}team,workload,memory\r\na,b,1GiB\r\n", 0, ""),
        ("team;workload;memory\na;b;1GiB\n", 0, ""),
        ("team\tworkload\tmemory\na\tb\t1GiB\n", 0, ""),
        ("# note\n\nteam,workload,memory\n\na,b,1GiB\n# end\n", 0, ""),
        (
            "team,workload,memory,qos\na,b,1GiB,x\n",
            0,
            "warning: <stdin>:1: column 'qos' is not known and ignored",
        ),
        (
            &format!("{header}a,b,200GiB,1\n"),
            0,
            "1 × a/b: needs 204800 MiB; the largest instance here is 7g.80gb with 80640 MiB",
        ),
    ] {
        let run = suggest(csv);
        assert_eq!(run.code, code, "{csv:?}: {}", run.stderr);
        assert!(run.stderr.contains(message), "{csv:?}: {}", run.stderr);
        assert_eq!(run.stdout.is_empty(), code != 0, "{csv:?}");
        if code == 3 {
            assert!(run.stderr.contains("\nhint: "), "{csv:?}: {}", run.stderr);
        }
    }
}

#[test]
fn every_problem_of_every_file_is_reported_at_once() {
    let bad = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file
    };
    let one = bad("team,workload,memory\na,b,1\nc,d,2\n");
    let two = bad("team,workload,memory\ne,f,x\n");
    let run = migplan(&[
        "suggest",
        "-w",
        one.path().to_str().unwrap(),
        "-w",
        two.path().to_str().unwrap(),
        "--gpus",
        "1xa30",
    ]);
    assert_eq!((run.code, run.stderr.matches("error: ").count()), (3, 3), "{}", run.stderr);
}

#[test]
fn bad_fleets_are_answered_with_one_readable_message() {
    let csv = b"team,workload,memory\na,b,1GiB\n";
    for (gpus, message) in [
        ("0xa100-80gb", "--gpus: '0xa100-80gb' asks for zero GPUs"),
        ("4xfoo", "--gpus: unknown board 'foo'"),
        ("4xa100-80g", "did you mean a100-"),
        ("4xa100", "did you mean a100-sxm4-80gb or a100-sxm4-40gb or "),
        ("2xT4", "--gpus: 'T4' cannot do MIG"),
        ("2xNVIDIA V100", "cannot do MIG"),
        ("", "--gpus: names no GPU"),
        ("99999999999xa30", "are more than"),
        ("4xNVIDIA GB200", "may be gb200-186gb or gb200-189gb"),
    ] {
        let run = migplan_with(&["suggest", "-w", "-", "--gpus", gpus], csv);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{gpus}: {}", run.stderr);
        assert!(run.stderr.contains(message), "{gpus}: {}", run.stderr);
    }
    let run = migplan_with(&["suggest", "-w", "-"], csv);
    assert_eq!(run.code, 6, "{}", run.stderr);
    assert!(run.stderr.contains("--gpus"), "{}", run.stderr);
}

#[test]
fn wrong_usage_and_missing_files() {
    for (args, code, message) in [
        (&["suggest"][..], 2, "--workloads"),
        (&["suggest", "--bogus"], 2, "--bogus"),
        (&["frobnicate"], 2, "frobnicate"),
        (
            &["suggest", "-w", "/nonexistent.csv", "--gpus", "1xa30"],
            3,
            "error: /nonexistent.csv: no such file",
        ),
        (&["suggest", "-w", "/", "--gpus", "1xa30"], 3, "error: /: is a folder"),
        (
            &["suggest", "-w", "-", "--gpus", "1xa30", "-o", "/nonexistent/x"],
            3,
            "there is no folder /nonexistent",
        ),
        (&["suggest", "-w", "-", "--gpus", "1xa30", "--name", "no spaces"], 2, "Kubernetes label"),
        (&["suggest", "-w", "-", "--gpus", "1xa30", "--time-limit", "0"], 2, "positive number"),
        (&["suggest", "-w", "-", "--gpus", "1xa30", "--headroom", "10"], 2, "percent sign"),
        (&["catalogue", "t4"], 3, "cannot do MIG"),
        (&["catalogue", "--catalogue", "/nonexistent"], 3, "no such file"),
    ] {
        let run = migplan(args);
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(message), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
    }
}

#[test]
fn strict_time_limit_quiet_and_headroom() {
    let csv = b"team,workload,memory,count\na,b,40GiB,9\n";
    let run = |more: &[&str]| {
        let args = [&["suggest", "-w", "-", "--gpus", "4xa100-80gb"], more].concat();
        migplan_with(&args, csv)
    };
    let strict = run(&["--strict"]);
    assert_eq!(strict.code, 4, "{}", strict.stderr);
    assert!(strict.stdout.contains("version: v1"));
    assert!(strict.stderr.contains("error: 5 replicas unplaced"), "{}", strict.stderr);
    let quiet = run(&["-q"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    assert_eq!(quiet.stdout, strict.stdout);
    let hurried = run(&["--time-limit", "0.000001"]);
    assert_eq!(hurried.code, 0, "{}", hurried.stderr);
    assert!(hurried.stdout.contains("version: v1"));
    assert!(hurried.stderr.contains("NOT proved: the time limit"), "{}", hurried.stderr);
    assert!(hurried.stderr.contains("4 of 9 replicas placed"), "{}", hurried.stderr);
    let raised = run(&["--headroom", "100%"]);
    assert!(raised.stderr.contains("0 of 9 replicas placed"), "{}", raised.stderr);
}

#[test]
fn garbage_ends_quickly_and_readably() {
    let mut random = Random::new(1);
    let garbage: Vec<u8> =
        std::iter::repeat_with(|| (random.number() >> 23) as u8).take(8 << 20).collect();
    let endless = vec![b'x'; 8 << 20];
    let digits = [b"team,workload,memory\n".to_vec(), vec![b'9'; 8 << 20]].concat();
    let many = [b"team,workload,memory\n".to_vec(), b"a,b,c\n".repeat(1 << 20)].concat();
    for input in [garbage, endless, digits, many] {
        let run = migplan_with(&["suggest", "-w", "-", "--gpus", "1xa30"], &input);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{:.300}", run.stderr);
        assert!(run.stderr.starts_with("error: <stdin>:"), "{:.300}", run.stderr);
        assert!(run.stderr.len() < 40_000);
    }
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let script = format!(
        "'{}' suggest -q -w '{}' --gpus 3000xa100-80gb --format json | head -n 1; echo \"${{PIPESTATUS[0]}}\"",
        env!("CARGO_BIN_EXE_migplan"),
        root("data/workloads/alibaba/teams_full.csv").display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\n0\n");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panic"));
}

const TWO_LABELS: &str = "version: v1
mig-configs:
  all-1g.10gb:
  - devices: all
    mig-enabled: true
    mig-devices: {1g.10gb: 7}
  all-7g.80gb:
  - devices: all
    mig-enabled: true
    mig-devices: {7g.80gb: 1}
";

#[test]
fn check_counts_the_gpus_of_the_nodes_that_take_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let fleet = file("fleet.csv", "node,board,gpus\na,a100-80gb,8\nb,a100-80gb,4\nc,a100-80gb,4\n");
    let nodes = file("nodes.csv", "node,config\na,all-1g.10gb\nb,all-7g.80gb\nc,all-1g.10gb\n");
    let check = |more: &[&str]| {
        let arguments = ["check", "-f", "-", "--fleet", &fleet];
        let run = migplan_with(&[&arguments[..], more].concat(), TWO_LABELS.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    assert_eq!(
        check(&["--assignments", &nodes]),
        "<stdin>: all-1g.10gb: valid for mig-parted, and 2 nodes of 12 GPUs can hold it\n\
         <stdin>: all-7g.80gb: valid for mig-parted, and 1 node of 4 GPUs can hold it\n"
    );
    assert!(check(&[]).contains("all-7g.80gb: valid for mig-parted, and 3 nodes of 16 GPUs"));
    // A node that is not there and one that is there twice are two mistakes.
    let twice =
        "node,config\na,all-1g.10gb\nd,all-1g.10gb\n\nb,gone\nb,all-7g.80gb\nc,all-7g.80gb\n";
    let twice = file("twice.csv", twice);
    let arguments = ["check", "-f", "-", "--fleet", &fleet, "--assignments", &twice];
    let run = migplan_with(&arguments, TWO_LABELS.as_bytes());
    assert_eq!(run.code, 3, "{}", run.stderr);
    for part in [
        "twice.csv:3: column 'node': 'd' is not a node of the fleet\n",
        "twice.csv:6: column 'node': 'b' is on line 5 already\n",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let hint = "nodes here: a, b, c; labels: all-1g.10gb, all-7g.80gb";
    assert!(run.stderr.contains(hint), "{}", run.stderr);
    assert!(!run.stderr.contains("migplan catalogue"), "{}", run.stderr);
}

#[test]
fn only_one_input_is_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teams.csv");
    fs::write(&file, "team,workload,memory\na,b,1GiB\n").unwrap();
    let teams = file.to_str().unwrap();
    let plan = fs::read_to_string(root("tests/golden/emit/plan.json")).unwrap();
    let (csv, fleet) = ("team,workload,memory\na,b,1GiB\n", "node,board,gpus\na,a30,1\n");
    for (args, input) in [
        (&["suggest", "-w", "-", "--quota", "-", "--gpus", "1xa30"][..], csv),
        (&["suggest", "-w", "-", "-w", "-", "--gpus", "1xa30"], csv),
        (&["suggest", "-w", teams, "--prometheus", "-", "--fleet", "-"], fleet),
        (&["demand", "-w", teams, "--prometheus", "-", "--prometheus", "-"], ""),
        (&["check", "-f", "-", "--fleet", "-"], TWO_LABELS),
        (&["emit", "labels", "--plan", "-", "--nodes", "-"], &plan),
    ] {
        let ran = migplan_with(args, input.as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("several inputs are standard input"), "{}", ran.stderr);
    }
    // How samples are read is nothing to say without samples.
    for flag in [["--quantile", "0.9"], ["--min-samples", "9"], ["--team-label", "x"]] {
        let ran = migplan(&[&["demand", "-w", teams][..], &flag].concat());
        assert_eq!(ran.code, 2, "{flag:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("--prometheus"), "{}", ran.stderr);
    }
}

#[test]
fn check_reads_the_file_before_it_asks_for_gpus() {
    let check = |text: &str, more: &[&str]| {
        let arguments = ["check", "-f", "-", "--nvml-lib", "/gone/libnvidia-ml.so.1"];
        let run = migplan_with(&[&arguments[..], more].concat(), text.as_bytes());
        (run.code, run.stderr)
    };
    for (text, more) in [
        ("mig-configs: [", &[][..]),
        ("version: v9\nmig-configs: {}\n", &[]),
        (&TWO_LABELS.replace("1g.10gb: 7", "1g.ten: 7"), &[]),
        (TWO_LABELS, &["-c", "gone"]),
    ] {
        let (code, said) = check(text, more);
        assert_eq!(code, 3, "{text}: {said}");
        assert!(said.contains("<stdin>"), "{said}");
    }
    assert_eq!(migplan(&["check", "-f", "/gone/config.yaml"]).code, 3);
    assert_eq!(check(TWO_LABELS, &[]).0, 6);
}

#[test]
fn check_says_every_reason_why_not() {
    let config = "version: v1
mig-configs:
  bad:
  - devices: [0, 9]
    mig-enabled: true
    mig-devices: {9g.999gb: 1}
  - devices: [1]
    mig-enabled: true
    mig-devices: {3g.40gb: 2, 1g.10gb: 1}
  - device-filter: \"0xFFFF10DE\"
    devices: all
    mig-enabled: true
    mig-devices: {1g.10gb: 7}
";
    let run = migplan_with(&["check", "-f", "-", "--gpus", "4xa100-80gb"], config.as_bytes());
    assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{}", run.stderr);
    for part in ["9g.999gb", "9", "3g.40gb", "0xFFFF10DE"] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    assert!(run.stderr.matches("error: ").count() >= 4, "{}", run.stderr);
    let json = migplan_with(
        &["check", "-f", "-", "--gpus", "4xa100-80gb", "--format", "json"],
        config.as_bytes(),
    );
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &value["ok"]), (3, &serde_json::Value::Bool(false)));
}

#[test]
fn the_catalogue_can_be_read_back() {
    let run = migplan(&["catalogue", "a30", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let changed = run.stdout.replace("5952", "5900");
    std::io::Write::write_all(&mut file, changed.as_bytes()).unwrap();
    let shown = migplan(&["catalogue", "a30", "--catalogue", file.path().to_str().unwrap()]);
    assert!(shown.stdout.contains("5900 MiB"), "{}", shown.stdout);
    let all = migplan(&["catalogue", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(value["boards"].as_array().unwrap().len(), 30);
    assert!(migplan(&["catalogue"]).stdout.contains("a100-sxm4-80gb"));
}

#[test]
fn help_shows_an_example_for_every_command() {
    let help = migplan(&["--help"]).stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| l.starts_with("  "))
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help")
        .collect();
    assert!(commands.len() >= 3, "{help}");
    for command in commands {
        let help = migplan(&[command, "--help"]).stdout;
        assert!(help.contains(&format!("  migplan {command}")), "{command}:\n{help}");
    }
}

#[test]
fn the_rules_of_a_site_reach_the_plan() {
    let mut fleet = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut fleet, b"node,board,gpus\na,a100-80gb,4\nb,a100-80gb,4\n")
        .unwrap();
    let run = |more: &[&str]| {
        let args =
            ["suggest", "-w", "-", "--format", "json", "--fleet", fleet.path().to_str().unwrap()];
        let csv = b"team,workload,memory,count,gpus\nt,s,9GiB,8,\nt,m,35GiB,3,\nt,w,,1,2\n";
        migplan_with(&[&args[..], more].concat(), csv)
    };
    // For each node, whether MIG is on and the profiles of each GPU.
    let nodes = |run: &Run| -> Vec<Vec<(bool, Vec<String>)>> {
        assert_eq!(run.code, 0, "{}", run.stderr);
        let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let mut nodes = vec![Vec::new(), Vec::new()];
        for gpu in plan["gpus"].as_array().unwrap() {
            let of = |i: &serde_json::Value| i["profile"].as_str().unwrap().to_string();
            let instances = gpu["instances"].as_array().unwrap().iter().map(of).collect();
            nodes[usize::from(gpu["node"] == "b")].push((gpu["mig"].as_bool().unwrap(), instances));
        }
        nodes
    };
    for node in nodes(&run(&["--mig-mode", "per-node"])) {
        assert!(node.iter().all(|(mig, _)| *mig == node[0].0), "{node:?}");
    }
    for node in nodes(&run(&["--strategy", "single"])) {
        let profiles: std::collections::BTreeSet<&String> =
            node.iter().flat_map(|(_, p)| p).collect();
        assert!(profiles.len() == 1, "{node:?}");
    }
    for node in nodes(&run(&["--keep-whole", "2"])) {
        assert!(node.iter().filter(|(mig, _)| !mig).count() >= 2, "{node:?}");
    }
    let split = run(&["--one-profile-per-workload"]);
    assert!(!split.stderr.contains("One pod template"), "{}", split.stderr);
    for wrong in [
        &["--keep-whole", "1", "--strategy", "single"][..],
        &["--current", "x", "--strategy", "single"],
    ] {
        assert_eq!(run(wrong).code, 2);
    }
}

#[test]
fn one_team_can_be_planned_alone() {
    let csv = b"team,workload,memory\na,x,9GiB\nb,y,9GiB\n";
    let run = |team: &str| {
        migplan_with(&["suggest", "-w", "-", "--gpus", "1xa100-80gb", "--team", team], csv)
    };
    let one = run("b");
    assert!(one.stderr.starts_with("1 of 1 replica placed"), "{}", one.stderr);
    let nobody = run("c");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (3, ""), "{}", nobody.stderr);
}

#[test]
fn tables_fit_a_terminal_of_80_columns() {
    let narrow = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_migplan"))
            .args(args)
            .env("COLUMNS", "80")
            .env_remove("MIGPLAN_GPUS")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let teams = root("examples/teams.csv").display().to_string();
    let week = root("examples/week/week.csv").display().to_string();
    for args in [
        &["catalogue"][..],
        &["catalogue", "a100-80gb"],
        &["catalogue", "rtx-pro-6000-blackwell-server-96gb"],
        &["compare", "-w", &teams, "--gpus", "4xa100-80gb"],
        &["size", "-w", &teams, "--board", "a100-80gb"],
        &["replay", "-w", &week, "--gpus", "2xa100-80gb"],
    ] {
        let text = narrow(args);
        // A single word, such as an address, may be longer than the terminal is wide.
        let wide: Vec<&str> = text
            .lines()
            .filter(|line| line.chars().count() > 80 && line.trim().contains(' '))
            .filter(|line| line.split(' ').all(|word| word.chars().count() < 70))
            .collect();
        assert!(wide.is_empty(), "{args:?}: {wide:#?}");
    }
    let compared = narrow(&["compare", "-w", &teams, "--gpus", "4xa100-80gb"]);
    assert!(compared.contains("256 GiB") && compared.contains("Best preset"), "{compared}");
}

#[test]
fn a_terminal_that_does_not_know_its_size_has_80_columns() {
    if !tools::have(&["script"], "bsdutils") {
        return;
    }
    let teams = root("examples/teams.csv").display().to_string();
    let migplan = env!("CARGO_BIN_EXE_migplan");
    // A height of 0, as where only the width was set, counts as not known too.
    for size in ["cols 0 rows 0", "cols 80 rows 0"] {
        let command =
            format!("stty {size}; exec '{migplan}' compare -w '{teams}' --gpus 4xa100-80gb");
        let output = std::process::Command::new("script")
            .args(["-q", "-e", "-c", &command, "/dev/null"])
            .env_remove("COLUMNS")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("internal") && text.contains("all-balanced"), "{text}");
        let wide = text.lines().find(|line| line.trim_end().chars().count() > 80);
        assert_eq!(wide, None, "{size}");
    }
}

#[test]
fn less_demand_is_no_help_where_it_would_be_less_than_half() {
    let help = |memory: u32| {
        let csv = format!(
            "team,workload,memory_gib,count,priority,compute\na,small,15,3,1,2\nb,big,{memory},1,0,1\n"
        );
        let args = ["suggest", "-w", "-", "--gpus", "1xa100-80gb", "--spare", "largest"];
        let run = migplan_with(&args, csv.as_bytes());
        let line = run.stderr.lines().find(|line| line.contains("b/big")).unwrap().to_string();
        line.split("would help: ").nth(1).unwrap().to_string()
    };
    assert_eq!(help(36), "16.5 GiB less demand: a free 1g.20gb has 19968 MiB");
    assert_eq!(help(45), "1 more GPU of a100-sxm4-80gb");
}

#[test]
fn what_is_too_large_is_told_how_many_whole_gpus_hold_it() {
    let said = |memory: &str, args: &[&str]| {
        let said = unplaced(&format!("team,workload,memory\na,b,{memory}\n"), args);
        let help = said.split_once("would help: ").map(|(_, help)| help);
        help.map(|help| help.lines().next().unwrap_or_default().to_string())
    };
    let help = |memory: &str, gpus: &str| said(memory, &["--gpus", gpus]);
    let whole = |gpus: u32, board: &str| {
        format!("{gpus} whole GPUs of {board} on one node: set the column gpus to {gpus}")
    };
    let a100 = |gpus: u32| whole(gpus, "a100-sxm4-80gb");
    assert_eq!(help("200GiB", "4xa100-80gb"), Some(a100(3)));
    assert_eq!(help("240GiB", "4xa100-80gb"), Some(a100(3)));
    assert_eq!(help("241GiB", "4xa100-80gb"), Some(a100(4)));
    // No node has so many, and nobody makes do with less than half.
    assert_eq!(help("200GiB", "2xa100-80gb"), None);
    assert_eq!(help("3000GiB", "4xa100-80gb"), None);
    // Of several boards the one of which the fewest do.
    assert_eq!(help("290GiB", "4xa100-80gb,3xh200"), Some(whole(3, "h200-sxm-141gb")));
    let less = "21.3 GiB less demand (21760 MiB less)";
    assert_eq!(help("100GiB", "1xa100-80gb"), Some(less.to_string()));
    assert_eq!(help("100GiB", "2xa100-80gb"), Some(format!("{less}, or {}", a100(2))));
    let one = "a whole GPU: a100-sxm4-80gb has 81920 MiB with MIG off; set the column gpus to 1";
    assert_eq!(help("79.5GiB", "2xa100-80gb"), Some(one.to_string()));
    // Two nodes of two GPUs are no node of three; and the advice is true.
    let mut fleet = tempfile::NamedTempFile::new().unwrap();
    let rows = b"node,board,gpus\nn1,a100-80gb,2\nn2,a100-80gb,2\n";
    std::io::Write::write_all(&mut fleet, rows).unwrap();
    assert_eq!(said("200GiB", &["--fleet", fleet.path().to_str().unwrap()]), None);
    let csv = "team,workload,memory,gpus\na,b,200GiB,3\n";
    assert_eq!(unplaced(csv, &["--gpus", "4xa100-80gb"]), "");
    // Over time replicas of several whole GPUs cannot be planned.
    let csv = b"team,workload,memory,hours\na,b,200GiB,\na,c,9GiB,Mon 08:00-09:00\n";
    let args = ["suggest", "-w", "-", "-o", "/dev/null", "--gpus", "4xa100-80gb", "--over-time"];
    let run = migplan_with(&args, csv);
    assert!(run.stderr.contains("1 × a/b: needs 204800 MiB"), "{}", run.stderr);
    assert!(!run.stderr.contains("would help"), "{}", run.stderr);
}

#[test]
fn short_help_is_one_screen_and_long_help_has_all() {
    let short = migplan(&["suggest", "-h"]).stdout;
    let long = migplan(&["suggest", "--help"]).stdout;
    assert!(short.lines().count() <= 50, "{} lines:\n{short}", short.lines().count());
    for flag in ["--workloads", "--gpus", "--output", "--time-limit"] {
        assert!(short.contains(flag), "{flag}:\n{short}");
    }
    for flag in ["--keep-whole", "--pool", "--assignments", "--catalogue"] {
        assert!(!short.contains(flag) && long.contains(flag), "{flag}:\n{short}");
    }
    for heading in ["Demand:", "GPUs:", "Rules of the site:"] {
        assert!(long.contains(heading), "{heading}:\n{long}");
    }
}

/// What the summary says of replicas without a place.
fn unplaced(csv: &str, args: &[&str]) -> String {
    let base = ["suggest", "-w", "-", "-o", "/dev/null"];
    let ran = migplan_with(&[&base[..], args].concat(), csv.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let about = ran.stderr.split_once("Unplaced: ").map_or("", |(_, rest)| rest);
    about.split("\n\n").next().unwrap().to_string()
}

#[test]
fn advice_to_buy_gpus_is_true_on_several_boards() {
    let csv = "team,workload,memory,count\na,b,100GiB,2\nb,d,35GiB,3\n";
    let said = unplaced(csv, &["--gpus", "1xa100-80gb,1xh200"]);
    // No A100-80GB holds 100 GiB, however many there are.
    assert!(said.contains("a/b: needs 102400 MiB; no room is left beside what comes first; would help: 1 more GPU of h200-sxm-141gb\n"), "{said}");
    assert!(said.contains("2 more GPUs of h200-sxm-141gb would place all"), "{said}");
    for more in ["1xa100-80gb,2xh200", "1xa100-80gb,3xh200"] {
        assert_eq!(unplaced(csv, &["--gpus", more]).is_empty(), more.ends_with("3xh200"), "{more}");
    }
}

#[test]
fn advice_to_buy_gpus_leaves_out_what_no_node_could_ever_serve() {
    let csv = "team,workload,memory,count,gpus\nt,b,9GiB,100,\nt,c,,1,2\n";
    let said = unplaced(csv, &["--gpus", "4xa100-80gb"]);
    let more = "13 more GPUs of a100-sxm4-80gb on further nodes of up to 4 would place all";
    assert!(said.contains(more), "{said}");
    // No node has the eight GPUs of one replica, and a node with more is not what is asked about.
    let with_eight = unplaced(&format!("{csv}t,a,,1,8\n"), &["--gpus", "4xa100-80gb"]);
    assert!(with_eight.contains(more), "{with_eight}");
    let alone = "team,workload,memory,count,gpus\nt,b,9GiB,100,\nt,a,,1,8\n";
    let said = unplaced(alone, &["--gpus", "4xa100-80gb"]);
    assert!(said.contains("11 more GPUs of a100-sxm4-80gb would place all"), "{said}");
}

/// GPUs that idle on nodes which cannot use them do not stand for further ones, and so many further
/// nodes are there as are best: each row with what it takes, tried with as many nodes and one fewer.
#[test]
fn advice_to_buy_gpus_for_further_nodes_is_true() {
    let whole = |gpus: u32, count: u32| {
        format!("team,workload,memory,count,gpus\nllm,train,,{count},{gpus}\n")
    };
    let beside = "team,workload,memory,count,priority,gpus\na,big,,1,10,2\na,train,30GiB,6,0,\n";
    let alike = "team,workload,memory,count\na,small,9GiB,14\na,big,38GiB,4\n";
    let mixed = "team,workload,memory,count\na,b,30GiB,3\n";
    let (per_node, single) = (["--mig-mode", "per-node"], ["--strategy", "single"]);
    let (per_node, single) = (&per_node[..], &single[..]);
    for (csv, nodes, rules, said, enough, too_few) in [
        (
            &*whole(5, 5),
            "n0,h100-80gb,8\nn1,h100-80gb,8\nn2,h100-80gb,8",
            &[][..],
            "10 more GPUs of h100-sxm5-80gb on further nodes of up to 8 would place all",
            &["x,h100-80gb,5", "y,h100-80gb,5"][..],
            &["x,h100-80gb,8", "y,h100-80gb,1"][..],
        ),
        (
            &*whole(2, 5),
            "n0,a100-80gb,3\nn1,a100-80gb,3\nn2,a100-80gb,3",
            &[],
            "4 more GPUs of a100-sxm4-80gb on further nodes of up to 3 would place all",
            &["x,a100-80gb,2", "y,a100-80gb,2"],
            &["x,a100-80gb,3"],
        ),
        (
            beside,
            "n,a100-80gb,4",
            per_node,
            "2 more GPUs of a100-sxm4-80gb on further nodes of up to 4 would place all",
            &["x,a100-80gb,2"],
            &["x,a100-80gb,1"],
        ),
        (
            alike,
            "n,a100-80gb,1",
            single,
            "3 more GPUs of a100-sxm4-80gb, each on a further node, would place all",
            &["x,a100-80gb,1", "y,a100-80gb,1", "z,a100-80gb,1"],
            &["x,a100-80gb,1", "y,a100-80gb,1"],
        ),
        (
            mixed,
            "n,a100-80gb,1\nn,a30,1",
            single,
            "2 more GPUs of a100-sxm4-80gb, each on a further node, would place all",
            &["x,a100-80gb,1", "y,a100-80gb,1"],
            &["x,a100-80gb,1"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ask = |more: &[&str]| {
            let file = folder.path().join("fleet.csv");
            fs::write(&file, format!("node,board,gpus\n{nodes}\n{}\n", more.join("\n"))).unwrap();
            unplaced(csv, &[&["--fleet", file.to_str().unwrap()], rules].concat())
        };
        let full = ask(&[]);
        assert!(full.contains(said), "{full}");
        assert_eq!(ask(enough), "", "{said}");
        assert_ne!(ask(too_few), "", "{said}");
    }
}

#[test]
fn help_for_a_workload_is_true() {
    // One profile for all replicas: a free instance of another one is no help.
    let csv = "team,workload,memory,count,priority,boards\na,w,14GiB,5,0,\nb,s,5GiB,1,1,a30\n";
    let gpus = ["--gpus", "1xa100-80gb,1xa30"];
    let help = |csv: &str, args: &[&str]| {
        let said = unplaced(csv, &[&gpus[..], args].concat());
        let line = said.lines().find(|line| line.contains("a/w")).unwrap().to_string();
        line.split("would help: ").nth(1).unwrap().to_string()
    };
    let one = help(csv, &["--one-profile-per-workload"]);
    assert_eq!(one, "1 more GPU of a100-sxm4-80gb");
    assert_eq!(help(csv, &[]), "2.3 GiB less demand: a free 2g.12gb has 11968 MiB");
    // So many GPUs of any board that is named.
    let csv = "team,workload,memory,count,boards\na,w,14GiB,9,\nb,s,5GiB,1,a30\n";
    assert_eq!(help(csv, &[]), "1 more GPU of a100-sxm4-80gb");
    let csv = csv.replace("14GiB,9", "14GiB,6");
    assert_eq!(help(&csv, &[]), "1 more GPU of a100-sxm4-80gb or a30-24gb");
}

#[test]
fn the_summary_says_which_rules_presets_do_not_keep() {
    let said = |args: &[&str]| {
        let base = ["suggest", "-w", "-", "--gpus", "2xa100-80gb", "-o", "/dev/null"];
        let csv = b"team,workload,memory,count\na,b,9GiB,3\na,c,30GiB,1\n";
        let run = migplan_with(&[&base[..], args].concat(), csv);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let line = run.stderr.lines().find(|line| line.starts_with("Best preset")).unwrap();
        line.split_once(" Presets are").map(|(_, rest)| rest.to_string())
    };
    assert_eq!(said(&["--one-profile-per-workload"]), None);
    let expected = " not held to --strategy single, as the plan is.".to_string();
    assert_eq!(said(&["--strategy", "single", "--one-profile-per-workload"]), Some(expected));
}

/// A GPU that serves nobody stays whole: a node of them has MIG off, whatever rule nodes have.
#[test]
fn a_node_that_serves_nobody_has_mig_off() {
    let mut fleet = tempfile::NamedTempFile::new().unwrap();
    let rows = b"node,board,gpus\ns1,a100-80gb,4\ns2,a100-80gb,4\ns3,a30,2\n";
    std::io::Write::write_all(&mut fleet, rows).unwrap();
    let fleet = fleet.path().to_str().unwrap();
    for rule in [["--strategy", "single"], ["--mig-mode", "per-node"]] {
        for spare in ["none", "mix", "largest"] {
            let args = ["suggest", "-w", "-", "--fleet", fleet, "--format", "json"];
            let args = [&args[..], &rule, &["--spare", spare]].concat();
            let run = migplan_with(&args, b"team,workload,memory,count\na,b,9GiB,3\n");
            assert_eq!(run.code, 0, "{}", run.stderr);
            let plan: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
            let gpus = plan["gpus"].as_array().unwrap();
            let serves = |gpu: &serde_json::Value| {
                gpu["instances"].as_array().unwrap().iter().any(|i| !i["workload"].is_null())
            };
            let used: std::collections::BTreeSet<&str> =
                gpus.iter().filter(|g| serves(g)).map(|g| g["node"].as_str().unwrap()).collect();
            assert_eq!(used.len(), 1, "{args:?}");
            for gpu in gpus {
                let is_on = gpu["mig"].as_bool().unwrap();
                assert!(!is_on || used.contains(gpu["node"].as_str().unwrap()), "{args:?}: {gpu}");
            }
        }
    }
}

#[test]
fn the_rules_of_a_site_are_named_where_they_keep_gpus_free() {
    let csv = "team,workload,memory,count,gpus\na,n,9GiB,9,\na,w,,1,1\n";
    // On a further node a whole GPU is beside no instances.
    let more = "1 more GPU of a100-sxm4-80gb on a further node would place all";
    let single = &["--gpus", "20xa100-80gb", "--strategy", "single"][..];
    let keep = &["--gpus", "4xa100-80gb", "--keep-whole", "9"][..];
    for (args, flag, helps) in
        [(single, "--strategy single", true), (keep, "--keep-whole 9", false)]
    {
        let said = unplaced(csv, args);
        let why = format!(
            "the free GPUs may not serve it under {flag}; would help: a plan without {flag}"
        );
        assert!(said.contains(&why), "{said}");
        let expected = if helps { more } else { "" };
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.contains("would place all"), helps, "{said}");
    }
    let said = unplaced(csv, &["--gpus", "2xa100-80gb", "--strategy", "single"]);
    assert!(said.contains(more), "{said}");
}

#[test]
fn each_output_has_a_place_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (teams, other, plan) = (file("teams.csv"), file("./a"), file("a"));
    fs::write(&teams, "team,workload,memory\na,b,1GiB\n").unwrap();
    for (args, said) in [
        (&["-o", &plan, "--plan", &other][..], "two outputs go to"),
        (&["--plan", "-"], "two outputs go to stdout"),
        (&["-o", &plan, "--report", "-", "--assignments", "-"], "two outputs go to stdout"),
        (&["--plan", &teams], "teams.csv is read, and would be overwritten"),
        (&["-o", &teams], "teams.csv is read, and would be overwritten"),
    ] {
        let base = ["suggest", "-q", "-w", &teams, "--gpus", "1xa30"];
        let ran = migplan(&[&base[..], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert!(!Path::new(&plan).exists(), "{args:?}");
    }
    let base = ["suggest", "-q", "-w", &teams, "--gpus", "1xa30", "--plan"];
    let ran = migplan(&[&base[..], &["/dev/null", "-o", "/dev/null"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = migplan(&[&base[..], &["-", "-o", &plan]].concat());
    assert!(ran.stdout.starts_with('{') && Path::new(&plan).exists(), "{}", ran.stderr);
}

#[test]
fn a_plan_that_is_not_proved_is_said_to_be() {
    let args = ["compare", "-w", "examples/teams.csv", "--gpus", "4xa100-80gb"];
    let limited = migplan(&[&args[..], &["--time-limit", "0.000001", "--format", "json"]].concat());
    assert!(limited.stderr.contains("the plan is not proved the best"), "{}", limited.stderr);
    assert!(limited.stdout.contains("\"status\": \"time_limit\""), "{}", limited.stdout);
    let proved = migplan(&[&args[..], &["--format", "json"]].concat());
    assert!(proved.stdout.contains("\"status\": \"optimal\"") && proved.stderr.is_empty());
}

/// For each node of A100-80GB (name, GPUs, ready) how many of its GPUs serve a replica.
fn used_of_nodes(nodes: &[(&str, usize, bool)], csv: &str, rules: &[&str]) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodes.json");
    let node = |(name, gpus, ready): &(&str, usize, bool)| {
        let ready = if *ready { "True" } else { "False" };
        format!(
            r#"{{"metadata": {{"name": "{name}", "labels": {{"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.count": "{gpus}"}}}}, "status": {{"conditions": [{{"type": "Ready", "status": "{ready}"}}]}}}}"#
        )
    };
    let items: Vec<String> = nodes.iter().map(node).collect();
    fs::write(&file, format!(r#"{{"items": [{}]}}"#, items.join(","))).unwrap();
    let args = ["suggest", "-q", "-w", "-", "--nodes", file.to_str().unwrap(), "--format", "json"];
    let ran = migplan_with(&[&args[..], rules].concat(), csv.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let serves = |gpu: &&serde_json::Value| {
        gpu["instances"].as_array().unwrap().iter().any(|i| !i["workload"].is_null())
    };
    let used: Vec<&serde_json::Value> =
        plan["gpus"].as_array().unwrap().iter().filter(serves).collect();
    let on = |name: &str| used.iter().filter(|gpu| gpu["node"] == name).count();
    nodes.iter().map(|(name, ..)| on(name)).collect()
}

#[test]
fn replicas_go_to_nodes_that_are_ready() {
    let used = |ready: [bool; 4], count: u32| {
        let nodes = ["n0", "n1", "n2", "n3"].iter().zip(ready).map(|(name, r)| (*name, 4, r));
        let csv = format!("team,workload,memory,count\na,b,9GiB,{count}\n");
        used_of_nodes(&nodes.collect::<Vec<_>>(), &csv, &[])
    };
    assert_eq!(used([true, true, false, false], 56), [4, 4, 0, 0]);
    assert_eq!(used([false, true, false, true], 42), [0, 4, 0, 2]);
    assert_eq!(used([false; 4], 112), [4; 4]);
}

#[test]
fn a_node_that_is_not_ready_serves_what_no_other_can_whatever_its_size() {
    let whole =
        |gpus: u32, count: u32| format!("team,workload,memory,count,gpus\na,b,,{count},{gpus}\n");
    let four = "team,workload,memory,count\na,b,9GiB,28\n";
    assert_eq!(
        used_of_nodes(&[("a", 2, true), ("b", 2, false), ("c", 1, true)], four, &[]),
        [2, 1, 1]
    );
    let two = [("z1", 2, false), ("zz1", 2, true)];
    assert_eq!(used_of_nodes(&two, &whole(2, 1), &[]), [0, 2]);
    // Of another size, with MIG off or on.
    let sizes = [("a", 2, false), ("b", 4, true)];
    assert_eq!(used_of_nodes(&sizes, &whole(2, 1), &[]), [0, 2]);
    let three = "team,workload,memory,count\na,b,30GiB,3\n";
    for rules in [&["--strategy", "single"], &["--mig-mode", "per-node"]] {
        assert_eq!(used_of_nodes(&two, three, rules), [0, 2], "{rules:?}");
        assert_eq!(used_of_nodes(&two, &whole(2, 1), rules), [0, 2], "{rules:?}");
        let beside = "team,workload,memory,count,gpus\na,b,30GiB,3,\na,c,,1,2\n";
        let all = [("a", 2, false), ("b", 2, true), ("c", 2, true)];
        assert_eq!(used_of_nodes(&all, beside, rules), [0, 2, 2], "{rules:?}");
    }
}

#[test]
fn team_and_name_are_told_apart_across_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, rows: &str| {
        let file = folder.path().join(name);
        fs::write(&file, format!("team,workload,memory\n{rows}")).unwrap();
        file.to_str().unwrap().to_string()
    };
    let (one, two) = (file("1.csv", "a/b,c,1GiB\n"), file("2.csv", "a,b/c,1GiB\n"));
    let ran = migplan(&["suggest", "-q", "-w", &one, "-w", &two, "--gpus", "1xa30"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = migplan(&["suggest", "-q", "-w", &one, "-w", &one, "--gpus", "1xa30"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}
