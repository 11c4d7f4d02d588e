//! Boards whose names or PCI ids are not known, or that share one, and workloads on several boards.

use std::fs;
use std::path::PathBuf;

use super::support::{emit_from, mig_parted, planned};
use crate::common::{migplan, migplan_with};

/// A plan for a fleet of `node,board,gpus` rows.
fn of_fleet(folder: &tempfile::TempDir, fleet: &str, csv: &str) -> PathBuf {
    let file = folder.path().join("fleet.csv");
    fs::write(&file, format!("node,board,gpus\n{fleet}")).unwrap();
    planned(folder.path(), csv, &["--fleet", file.to_str().unwrap()])
}

#[test]
fn a_claim_for_whole_gpus_is_met_by_each_of_its_boards() {
    let folder = tempfile::tempdir().unwrap();
    let plan = of_fleet(
        &folder,
        "n1,a100-80gb,4\nn2,h200,2\nn3,a30,1\n",
        "team,workload,memory,count,gpus,boards\nm,big,,3,2,a100-80gb|h200\nm,x,,1,1,a30\n",
    );
    let (text, said) = emit_from(&plan, &["dra"]);
    // Two replicas have all of two A100, the third of two H200.
    let products = "productName in ['NVIDIA A100-SXM4-80GB', 'NVIDIA H200']";
    let claim = text.split("---\n").find(|t| t.contains(products)).unwrap();
    assert!(claim.contains("memory.compareTo(quantity('81920Mi')) >= 0"), "{claim}");
    assert!(!text.contains("143771Mi"), "{text}");
    assert_eq!(said, "");
}

#[test]
fn a_name_that_is_not_known_is_left_to_fill_in_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory,count,gpus,boards\n\
        b,w,,1,1,h100-sxm5-94gb\nb,v,,3,1,h100-sxm5-94gb|a100-80gb\nc,u,,2,1,a30\n";
    let plan = of_fleet(&folder, "gpu1,h100-sxm5-94gb,2\ngpu2,a100-80gb,2\ngpu3,a30,2\n", csv);
    for (kind, name, gaps) in [
        ("dra", "NVML's product name", ["['FILL-IN']", "['NVIDIA A100-SXM4-80GB', 'FILL-IN']"]),
        (
            "pod",
            "feature discovery's product name",
            ["[\"FILL-IN\"]", "\"NVIDIA-A100-SXM4-80GB\", \"FILL-IN\"]"],
        ),
        (
            "airflow",
            "feature discovery's product name",
            ["[\"FILL-IN\"]", "\"NVIDIA-A100-SXM4-80GB\", \"FILL-IN\"]"],
        ),
    ] {
        let (text, said) = emit_from(&plan, &[kind]);
        for gap in gaps {
            assert!(text.contains(gap), "{kind}: {gap} in {text}");
        }
        assert!(!text.contains("[]"), "{kind}: {text}");
        for workload in ["b/w", "b/v"] {
            let warning = format!(
                "{workload} must run on h100-sxm5-94gb, but {name} for it is not known: fill it in"
            );
            assert!(said.contains(&warning), "{kind}: {warning} in {said}");
        }
        assert!(!said.contains("c/u must"), "{kind}: {said}");
    }
}

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
