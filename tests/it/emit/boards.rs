//! Boards whose names or PCI ids are not known, or that share one, and workloads on several boards.

use std::fs;

use super::support::{emit_from, mig_parted};
use crate::common::{migplan, migplan_with};

#[test]
fn presets_are_left_out_where_they_would_match_another_board() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let config = config.to_str().unwrap();
    let csv = b"team,workload,memory,count\na,b,20GiB,9\n";
    let with = |gpus: &str, more: &[&str]| {
        let own = ["suggest", "-w", "-", "--gpus", gpus, "--with-presets", "-o", config];
        let run = migplan_with(&[&own[..], more].concat(), csv);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let check = migplan(&["check", "-f", config, "--gpus", gpus]);
        assert_eq!(check.code, 0, "{}", check.stderr);
        let labels = mig_parted(&fs::read_to_string(config).unwrap()).configs;
        (labels.into_keys().collect::<Vec<_>>(), run.stderr)
    };
    let warning = "no presets for gb200-186gb and gb200-189gb: their PCI ids do not tell them";
    let (labels, said) = with("1xgb200-186gb,1xgb200-189gb", &[]);
    assert_eq!(labels, ["all-disabled", "migplan"]);
    assert!(said.contains(warning), "{said}");
    let (labels, said) = with("1xgb200-186gb,1xgb200-189gb", &["--over-time"]);
    assert_eq!(labels.len(), 2);
    assert!(said.contains(warning), "{said}");
    // The third can be told apart, and has presets of its own.
    let plan = folder.path().join("plan.json");
    let more = ["--plan", plan.to_str().unwrap()];
    let (labels, said) = with("1xgb200-186gb,1xgb200-189gb,1xa30", &more);
    assert!(labels.contains(&"all-2g.12gb".to_string()), "{labels:?}");
    assert!(!labels.contains(&"all-1g.24gb".to_string()), "{labels:?}");
    assert!(said.contains(warning), "{said}");
    for kind in ["configmap", "mig-parted"] {
        let (text, said) = emit_from(&plan, &[kind, "--with-presets"]);
        assert!(!text.contains("all-1g.24gb") && said.contains(warning), "{kind}: {said}");
        assert!(!emit_from(&plan, &[kind]).1.contains("no presets"), "{kind}");
    }
    let (labels, said) = with("1xgb200-189gb", &[]);
    assert!(labels.contains(&"all-1g.24gb".to_string()), "{labels:?}");
    assert!(!said.contains("no presets"), "{said}");
}
