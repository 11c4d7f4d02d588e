//! Wrong use and wrong input: the exit code and one clear message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{emit, emit_from, example, run};

/// Exit code and stderr of `migplan emit` with exactly these arguments.
fn exit(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .arg("emit")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.stdout.is_empty() || output.status.success());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn bad_plans_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    let name = file.to_str().unwrap();
    let good = fs::read_to_string(example()).unwrap();
    for (text, message) in [
        ("", "is empty"),
        ("version: v1\nmig-configs: {}\n", "is not a plan in JSON"),
        ("{}", "missing field `schema`"),
        (&good.replace("plan/v1", "plan/v9"), "schema is 'migplan.plan/v9', not migplan.plan/v1"),
        (&good.replace("a30-24gb", "a31"), "the board 'a31' is not known"),
        (
            &good.replace("\"profile\": \"3g.20gb\"", "\"profile\": \"3g.40gb\""),
            "has no profile 3g.40gb",
        ),
        (&good[..good.len() / 2], "is not a plan"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, error) = exit(&["configmap", "--plan", name]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains(message), "{message} in {error}");
        assert!(error.contains("hint: "), "{error}");
    }
    let (code, error) = exit(&["configmap", "--plan", "/nowhere/plan.json"]);
    assert_eq!((code, error.contains("no such file")), (3, true), "{error}");
    assert_eq!(exit(&["configmap", "--plan", "-"]).0, 3);
}

#[test]
fn wrong_flags_exit_2() {
    let plan = example();
    let plan = plan.to_str().unwrap();
    for arguments in [
        &["configmap"][..],
        &["nonsense", "--plan", plan],
        &["configmap", "--plan", plan, "--name", "-x"],
        &["configmap", "--plan", plan, "--name", &"x".repeat(62)],
        &["configmap", "--plan", plan, "--name", "all-disabled", "--with-presets", "--name", "a b"],
        &["configmap", "--plan", plan, "--namespace", "Big"],
        &["configmap", "--plan", plan, "--configmap-name", "a_b"],
        &["labels", "--plan", plan, "--max-unavailable", "0"],
        &["labels", "--plan", plan, "--max-unavailable", "200%"],
        &["labels", "--plan", plan, "--pods", plan],
        &["labels", "--plan", plan, "--timeout", "10 min; rm -rf /"],
        &["labels", "--plan", plan, "--timeout", "5"],
        &["labels", "--plan", plan, "--timeout", "0s"],
        &["systemd", "--plan", plan],
        &["systemd", "--plan", plan, "--node", "elsewhere"],
        &["systemd", "--plan", plan, "--node", "gpu-1", "--config", "relative.yaml"],
        &["systemd", "--plan", plan, "--node", "gpu-1", "--binary", "/opt/\"it\"/migplan"],
        &["pod", "--plan", plan, "--team", "nobody"],
        &["pod", "--plan", plan, "--strategy", "none"],
        &["checkpoint", "--plan", plan, "--uuids", "GPU-1"],
        &["checkpoint", "--plan", plan, "--node", "gpu-5", "--uuids", "GPU-1,GPU-2,GPU-3"],
        &["nvidia-smi", "--plan", plan, "--node", "elsewhere"],
        &["dra", "--plan", plan, "--namespace", "a b"],
        &["gke", "--plan", plan, "--strategy", "single"],
        &["grafana", "--plan", plan, "--name", "a b"],
        &["labels", "--plan", plan, "--namespace", "a b"],
    ] {
        let (code, error) = exit(arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.starts_with("error: "), "{error}");
    }
}

/// The example with what newer files say of how they were made.
fn recorded(folder: &Path, name: &str, strategy: &str) -> PathBuf {
    let mut plan: Value = serde_json::from_str(&fs::read_to_string(example()).unwrap()).unwrap();
    plan["name"] = json!(name);
    plan["policy"] = json!({"strategy": strategy, "mig_mode": "per-gpu", "keep_whole": 0,
        "one_profile_per_workload": false, "spare": "mix"});
    let file = folder.join(format!("{name}-{strategy}.json"));
    fs::write(&file, plan.to_string()).unwrap();
    file
}

#[test]
fn the_plan_says_its_name_and_strategy() {
    let folder = tempfile::tempdir().unwrap();
    let plan = recorded(folder.path(), "layout-3", "mixed");
    // Labels, ConfigMap, unit and file agree on the name that the plan was made with.
    let (configmap, _) = emit_from(&plan, &["configmap"]);
    let (labels, _) = emit_from(&plan, &["labels"]);
    let (unit, _) = emit_from(&plan, &["systemd", "--node", "gpu-1"]);
    let (file, _) = emit_from(&plan, &["mig-parted", "--name", "layout-3"]);
    for text in [&configmap, &labels, &unit, &file] {
        assert!(text.contains("layout-3-1") && !text.contains("migplan-1"), "{text}");
    }
    for (arguments, message) in [
        (
            &["labels", "--name", "layout-4"][..],
            "--name layout-4, but the plan was made with --name layout-3",
        ),
        (&["configmap", "--name", "migplan"], "--name migplan, but the plan was made with"),
        (
            &["pod", "--strategy", "single"],
            "--strategy single, but the plan was made with --strategy mixed",
        ),
    ] {
        let output = run(&plan, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(message) && error.contains("hint: drop --"), "{error}");
    }
    // A plan for 'single' is checked against it without a flag.
    let single = recorded(folder.path(), "layout-3", "single");
    let output = run(&single, &["configmap"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("node 'gpu-1' would advertise nothing"), "{error}");
}

#[test]
fn the_plan_may_come_before_the_kind_or_from_stdin() {
    let expected = emit(&["capacity"]);
    let plan = example();
    let before = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .args(["emit", "--plan", plan.to_str().unwrap(), "capacity"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(before.stdout).unwrap(), expected);
    let stdin = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .args(["emit", "capacity", "--plan", "-"])
        .stdin(fs::File::open(&plan).unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(stdin.stdout).unwrap(), expected);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.txt");
    let output = run(&plan, &["capacity", "-o", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(fs::read_to_string(file).unwrap(), expected);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let plan = example();
    let mut child = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .args(["emit", "kueue", "--plan", plan.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert!(!error.contains("panic"), "{error}");
}

#[test]
fn every_kind_has_an_example_in_its_help() {
    let help = |kind: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_migplan"))
            .arg("emit")
            .args(kind)
            .arg("--help")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = help(&[]);
    for kind in [
        "configmap",
        "labels",
        "device-plugin",
        "capacity",
        "pod",
        "kueue",
        "jupyterhub",
        "airflow",
        "slurm",
        "systemd",
        "prometheus-rules",
        "nvidia-smi",
        "checkpoint",
        "dra",
        "gke",
        "grafana",
    ] {
        assert!(all.contains(&format!("  {kind} ")), "{kind} in {all}");
        assert!(help(&[kind]).contains("Example"), "{kind}");
    }
}
