//! A large fleet: 12,500 nodes of 8 GPUs with 400,000 replicas in a few distinct node configs.

use std::fmt::Write;
use std::fs;

use migplan::hardware::Catalogue;

use super::support::{check_assignments, emit_from, mig_parted, run};

/// A plan of many nodes, every `distinct`th of them with the same layouts.
fn large_plan(nodes: usize, distinct: usize) -> String {
    // Layouts of an A100-SXM4-80GB: (profile, start, size, memory).
    const LAYOUTS: [&[(&str, u32, u32, u64)]; 3] = [
        &[
            ("3g.40gb", 4, 4, 40_192),
            ("2g.20gb", 0, 2, 19_968),
            ("1g.10gb", 2, 1, 9_728),
            ("1g.10gb", 3, 1, 9_728),
        ],
        &[("3g.40gb", 0, 4, 40_192), ("3g.40gb", 4, 4, 40_192)],
        &[("4g.40gb", 0, 4, 40_192), ("2g.20gb", 4, 2, 19_968), ("1g.10gb", 6, 1, 9_728)],
    ];
    let mut text = String::from("{\"schema\": \"migplan.plan/v1\", \"gpus\": [");
    let mut replica = 0u64;
    for node in 0..nodes {
        for gpu in 0..8usize {
            if node + gpu > 0 {
                text.push(',');
            }
            // The digits of the node's kind, to the base of the layouts, decide its GPUs.
            let digit = (node % distinct) / LAYOUTS.len().pow(gpu as u32) % LAYOUTS.len();
            let _ = write!(
                text,
                "{{\"node\": \"gpu-{node:05}.cluster.example\", \"gpu\": {gpu}, \"board\": \"a100-sxm4-80gb\", \"mig\": true, \"instances\": ["
            );
            for (i, (profile, start, size, memory)) in LAYOUTS[digit].iter().enumerate() {
                replica += 1;
                let _ = write!(
                    text,
                    "{}{{\"profile\": \"{profile}\", \"start\": {start}, \"size\": {size}, \"memory_mib\": {memory}, \"team\": \"team-{}\", \"workload\": \"{profile}\", \"replica\": {replica}, \"demand_mib\": {memory}}}",
                    if i > 0 { "," } else { "" },
                    replica % 40
                );
            }
            text.push_str("]}");
        }
    }
    text.push_str("], \"unplaced\": [], \"totals\": {\"replicas\": 0, \"placed\": 0, \"demand_mib\": 0, \"placed_mib\": 0, \"fleet_mib\": 0, \"idle_mib\": 0, \"rounding_mib\": 0, \"spare_mib\": 0, \"unusable_mib\": 0, \"gpus\": 0, \"gpus_used\": 0}, \"proof\": {\"status\": \"optimal\", \"stages\": [], \"solve_seconds\": 0}}");
    text
}

#[test]
fn a_large_fleet_fits_a_configmap() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    fs::write(&plan, large_plan(12_500, 20)).unwrap();
    let assignments = folder.path().join("nodes.csv");
    let (text, _) =
        emit_from(&plan, &["configmap", "--assignments", assignments.to_str().unwrap()]);
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    let object: k8s_openapi::api::core::v1::ConfigMap = serde_saphyr::from_str(&text).unwrap();
    let file = mig_parted(&object.data.unwrap()["config.yaml"]);
    assert_eq!(file.configs.len(), 21);
    let read =
        migplan::plan::file::read(fs::File::open(&plan).unwrap(), "-", &Catalogue::built_in())
            .unwrap();
    check_assignments(&read.plan, &file, &fs::read_to_string(&assignments).unwrap());
    // Every kind manages it; the other kinds' size follows the number of nodes or of workloads.
    for kind in ["labels", "capacity", "slurm", "kueue", "nvidia-smi", "prometheus-rules", "pod"] {
        let (text, _) = emit_from(&plan, &[kind]);
        assert!(!text.is_empty());
    }
}

#[test]
fn a_configmap_that_would_be_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    fs::write(&plan, large_plan(6_561, 6_561)).unwrap();
    let output = run(&plan, &["configmap"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("more than the 1,048,576 that Kubernetes lets a ConfigMap hold"),
        "{error}"
    );
    assert!(error.contains("6,561 node configurations of 6,561 nodes differ"), "{error}");
}
