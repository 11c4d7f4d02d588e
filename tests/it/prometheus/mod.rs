//! Demand from Prometheus, from outside: real samples, a real server, promtool, wrong input.

mod history;
mod live;
mod moments;
mod peaks;
mod promtool;
mod requests;
mod samples;
mod server;

use std::path::Path;
use std::process::{Command, Output};

/// A file of `data/prometheus`.
fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/prometheus").join(name).display().to_string()
}

fn migplan(arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("migplan"))
        .args(arguments)
        .env_remove("MIGPLAN_GPUS")
        .output()
        .expect("migplan runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rows of `migplan demand`, comments and header left out, as far as `gpus`.
fn rows(arguments: &[&str]) -> Vec<String> {
    let output = migplan(&[&["demand"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(str::to_string)
        .collect()
}

/// `team,workload,memory_mib,count` of each row.
fn demand(arguments: &[&str]) -> Vec<String> {
    rows(arguments)
        .into_iter()
        .map(|row| row.splitn(5, ',').take(4).collect::<Vec<_>>().join(","))
        .collect()
}

/// Exit code and stderr of a `migplan demand` that fails, with one error and one hint.
fn failure(arguments: &[&str]) -> (i32, String) {
    let output = migplan(&[&["demand"], arguments].concat());
    let text = stderr(&output);
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert!(text.contains("error: ") && text.contains("\nhint: "), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap_or(-1), text)
}
