//! The text parser agrees with promtool on generated expositions.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use migplan::demand::prometheus::{self, Labels, Sink};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::common::cases;
use crate::common::tools::have;

/// Everything read, as `labels milliseconds value`, in order.
#[derive(Default)]
struct All {
    series: String,
    samples: Vec<(String, Option<i64>, u64)>,
}

impl Sink for All {
    fn series(&mut self, labels: &Labels) -> bool {
        self.series = labels.to_string();
        true
    }
    fn sample(&mut self, at_ms: Option<i64>, value: f64) {
        self.samples.push((self.series.clone(), at_ms, value.to_bits()));
    }
}

fn parse(text: &[u8]) -> Result<Vec<(String, Option<i64>, u64)>, TestCaseError> {
    let mut all = All::default();
    prometheus::read(text, "generated", &mut all)
        .map_err(|e| TestCaseError::fail(format!("{e}\n{}", String::from_utf8_lossy(text))))?;
    all.samples.sort();
    Ok(all.samples)
}

/// A label's value, with everything that has broken a parser.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9.-]{1,6}",
        3 => prop::sample::select(vec![",", "=", "}", "{", "\"", "\\", "\n", " ", "#", "\\n", "\"}", "',", "\t", "=> "])
            .prop_map(str::to_string),
        1 => prop::sample::select(vec!["日本", "é", "\u{1}", "\u{7f}", "\u{85}", "\u{feff}", "\u{e0001}", "😀"])
            .prop_map(str::to_string),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number() -> impl Strategy<Value = (String, f64)> {
    prop_oneof![
        (0u64..100_000).prop_map(|n| (n.to_string(), n as f64)),
        (0.0f64..1e12).prop_map(|n| (format!("{n:e}"), n)),
        (-1e6f64..1e6).prop_map(|n| (n.to_string(), n)),
        Just(("9223372036854775794".to_string(), 9_223_372_036_854_775_794.0)),
        Just(("+Inf".to_string(), f64::INFINITY)),
        Just(("-Inf".to_string(), f64::NEG_INFINITY)),
        Just(("7.3354182656e+10".to_string(), 73_354_182_656.0)),
    ]
}

/// Series with labels and, for each, values at growing times in milliseconds.
type Generated = Vec<(String, Vec<(String, f64)>, bool)>;

fn series() -> impl Strategy<Value = Generated> {
    let labels = prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,5}", value(), 0..5);
    let one = (labels, prop::collection::vec(number(), 1..6), any::<bool>());
    prop::collection::vec(one, 1..6).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (labels, numbers, spaced))| {
                // The first label makes each series its own, whatever the others are.
                let mut text = format!("A=\"{i}\"");
                for (label, value) in labels.iter().filter(|(label, _)| !label.starts_with("__")) {
                    if label.as_str() > "A" {
                        text.push_str(&format!(",{label}=\"{}\"", escaped(value)));
                    }
                }
                (text, numbers, spaced)
            })
            .collect()
    })
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a temporary file");
    file
}

#[test]
fn promtool_reads_the_same() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..cases(24) });
    runner
        .run(&series(), |generated| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut text = String::from("# TYPE m gauge\n# HELP m a \\\\ b \\n c\n");
            for (labels, numbers, _) in &generated {
                for (at, (number, _)) in numbers.iter().enumerate() {
                    text.push_str(&format!(
                        "m{{{labels}}} {number} 17953441{at:02}.{:03}\n",
                        at * 7
                    ));
                }
            }
            text.push_str("# EOF\n");
            let file = write(folder.path(), "in.om", &text);
            let blocks = folder.path().join("data");
            // The dump looks for a log beside the blocks.
            std::fs::create_dir_all(blocks.join("wal")).expect("a temporary folder");
            let made = Command::new("promtool")
                .args(["tsdb", "create-blocks-from", "openmetrics"])
                .args([&file, &blocks])
                .output()
                .expect("promtool runs");
            prop_assert!(
                made.status.success(),
                "{text}\n{}",
                String::from_utf8_lossy(&made.stderr)
            );
            let dump = Command::new("promtool")
                .args(["tsdb", "dump"])
                .arg(&blocks)
                .output()
                .expect("promtool runs");
            prop_assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            prop_assert_eq!(parse(text.as_bytes())?, parse(&dump.stdout)?, "{}", text);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_promtool_takes_as_classic_text_is_read() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..cases(24) });
    runner
        .run(&series(), |generated| {
            let mut text = String::from("# HELP m a \\\\ b \\n c\n# TYPE m gauge\n\n# a comment\n");
            let mut expected = Vec::new();
            for (labels, numbers, spaced) in &generated {
                let (number, value) = &numbers[0];
                let line = match spaced {
                    true => format!("m {{ {labels} , }}  {number}\t1795344100655\n"),
                    false => format!("m{{{labels}}} {number} 1795344100655\n"),
                };
                text.push_str(&line);
                expected.push((*value).to_bits());
            }
            let mut check = Command::new("promtool")
                .args(["check", "metrics"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("promtool runs");
            let mut stdin = check.stdin.take().expect("a pipe");
            stdin.write_all(text.as_bytes()).expect("promtool listens");
            drop(stdin);
            let said = check.wait_with_output().expect("promtool ends");
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            prop_assert!(!said.contains("parsing error"), "{said}\n{text}");
            let mut read: Vec<u64> = parse(text.as_bytes())?
                .into_iter()
                .map(|(_, at, value)| {
                    assert_eq!(at, Some(1_795_344_100_655));
                    value
                })
                .collect();
            read.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(read, expected);
            Ok(())
        })
        .unwrap();
}
