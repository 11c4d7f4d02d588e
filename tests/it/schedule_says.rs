//! What a schedule says of itself: in its picture, its JSON, the head of its file and its units.

use std::collections::BTreeSet;

use crate::common::{Run, migplan_with};

fn planned(csv: &str, args: &[&str]) -> Run {
    let ran = migplan_with(&[&["schedule", "-w", "-"], args].concat(), csv.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

#[test]
fn the_head_of_the_file_names_labels_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet.csv");
    std::fs::write(&fleet, "node,board,gpus\nn1,a100-80gb,2\nn2,a100-80gb,1\n").unwrap();
    let week = "team,workload,memory,count,priority,hours\n\
        nlp,notebooks,9GiB,9,0,Mon-Fri 08:00-19:00\n\
        nlp,train,70GiB,2,0,Mon-Fri 19:00-08:00|Sat|Sun\nsearch,serving,9GiB,2,10,\n";
    let file = planned(week, &["--fleet", fleet.to_str().unwrap()]).stdout;
    let labels: BTreeSet<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|label| label.starts_with("migplan"))
        .collect();
    assert!(labels.contains("migplan-a-2") && labels.len() > 2, "{labels:?}");
    let heads: Vec<&str> = file.lines().filter(|line| line.contains(" (UTC): from ")).collect();
    assert!(!heads.is_empty(), "{file}");
    for word in heads.iter().flat_map(|head| head.split([' ', ','])) {
        assert!(!word.starts_with("migplan") || labels.contains(word), "{word} in {labels:?}");
    }
    assert!(
        heads[0].contains("from migplan-a-1 and 1 more to migplan-b-1 and 1 more"),
        "{heads:?}"
    );
}
