//! What is printed fits the terminal.

use std::process::Command;

use crate::common::{migplan, root};

/// What a command prints on a terminal of this width.
fn on(columns: u16, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_migplan"))
        .args(args)
        .env_remove("MIGPLAN_GPUS")
        .env("COLUMNS", columns.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What stands in each line, without the blanks at its sides.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn tables_and_prose_fit_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (week, huge, plan, yaml) =
        (file("week.csv"), file("huge.csv"), file("plan.json"), file("m.yaml"));
    std::fs::write(
        &week,
        "team,workload,memory,count,hours\nnlp,notebooks,9GiB,9,Mon-Fri 08:00-19:00\n\
         vision,train,38GiB,2,19:00-08:00\nsearch,serving,18GiB,2,\n",
    )
    .unwrap();
    std::fs::write(&huge, "team,workload,memory,count\na,x,500GiB,3\nb,y,5GiB,3\n").unwrap();
    let example = root("examples/teams.csv");
    let example = example.to_str().unwrap();
    let (one, gpus) = (["--gpus", "4xa100-80gb"], ["--gpus", "2xa100-80gb"]);
    let made =
        migplan(&[&["suggest", "-w", example, "-o", &yaml, "--plan", &plan], &one[..]].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    let text = ["--format", "text"];
    let commands: [(&[&str], &[&str]); 7] = [
        (&["compare", "-w", example], &one),
        (&["suggest", "-v", "-w", example, "--format", "text"], &one),
        (&["suggest", "--over-time", "-w", &week, "--format", "text"], &gpus),
        (&["replay", "-w", &week], &gpus),
        (&["size", "-w", &huge], &["--board", "a100-80gb,h200"]),
        (&["emit", "capacity", "--plan", &plan], &text),
        (&["catalogue", "a100-80gb"], &[]),
    ];
    for (command, rest) in commands {
        let args = [command, rest].concat();
        for columns in [40, 50, 60, 80, 120] {
            let shown = on(columns, &args);
            for line in shown.lines() {
                let long = line.chars().count() > usize::from(columns);
                assert!(!long, "{args:?} at {columns}:\n{line}\n\n{shown}");
            }
        }
    }
    // Names stay whole, and each table has them.
    let shown = on(40, &[&["compare", "-w", example], &one[..]].concat());
    for name in ["plan", "all-1g.10gb", "first-fit-decreasing"] {
        let count = shown.lines().filter(|l| l.split(' ').next() == Some(name)).count();
        assert!(count > 2, "{name}: {shown}");
    }
    assert!(shown.contains("248 GiB"), "{shown}");
    // A node has a line of its own where its name has no room beside the resources.
    let shown = on(40, &["emit", "capacity", "--plan", &plan]);
    assert!(lines(&shown).contains(&"local"), "{shown}");
    assert!(shown.contains("\n  nvidia.com/mig-1g.10gb "), "{shown}");
}
