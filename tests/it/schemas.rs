//! What the commands print for programs, against the JSON Schemas in `data/schemas/`.
//!
//! The schemas are made from the structs (`src/view/json/schemas.rs`), so this finds a document
//! that is written in another way than its struct says.

use serde_json::Value;

use crate::common::{migplan, root};
use crate::rehearsal::{Rehearsal, laid_out, occupy};

/// Fails where `document` is not what the schema in its own key says.
fn valid(text: &str, expected: &str) {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(document["schema"], expected);
    validate(&document, expected);
}

fn validate(document: &Value, id: &str) {
    let name = id.strip_prefix("migplan.").unwrap().replace('/', ".");
    let file = root("data/schemas").join(format!("{name}.schema.json"));
    let schema: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{id}: {errors:#?}");
}

fn printed(args: &[&str]) -> String {
    let run = migplan(args);
    assert_eq!(run.code, 0, "{args:?}\n{}", run.stderr);
    run.stdout
}

const WEEK: &str = "team,workload,memory,count,priority,weight,hours,boards,gpus
research,notebook,8GiB,9,1,1,Mon-Fri 08:00-19:00,,
research,train,38GiB,2,0,2.5,Mon-Sun 20:00-06:00,,
search,serving,17GiB,3,2,1,,a100,
search,tune,,1,0,1,,,1
vision,giant,200GiB,1,0,1,,,
";

#[test]
fn plans_are_as_their_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let week = folder.path().join("week.csv");
    std::fs::write(&week, WEEK).unwrap();
    let week = week.to_str().unwrap();
    let teams = root("examples/teams.csv");
    let teams = teams.to_str().unwrap();
    let gpus = ["--gpus", "3xa100-80gb,1xh100-80gb", "--format", "json"];
    for demand in [
        vec!["suggest", "--workloads", teams],
        vec!["suggest", "--workloads", teams, "--strategy", "single", "--spare", "largest"],
        vec!["suggest", "--workloads", week],
        vec!["suggest", "--workloads", week, "--over-time"],
    ] {
        valid(&printed(&[&demand[..], &gpus].concat()), "migplan.plan/v1");
    }
    valid(
        &printed(&[&["compare", "--workloads", teams][..], &gpus].concat()),
        "migplan.compare/v1",
    );
    valid(&printed(&[&["replay", "--workloads", week][..], &gpus].concat()), "migplan.replay/v1");
    valid(&printed(&[&["schedule", "-w", week][..], &gpus].concat()), "migplan.schedule/v1");
    let prices = ["--price", "a100-80gb=2", "--price", "h100-80gb=4.5"];
    let boards = ["--board", "a100-80gb", "--board", "h100-80gb", "--format", "json"];
    valid(
        &printed(&[&["size", "--workloads", teams][..], &boards, &prices].concat()),
        "migplan.size/v1",
    );
    let boards = printed(&["catalogue", "--format", "json"]);
    valid(&boards, "migplan.catalogue/v1");
    let boards: Value = serde_json::from_str(&boards).unwrap();
    for board in boards["boards"].as_array().unwrap() {
        validate(board, "migplan.board/v1");
    }
    let plan = root("tests/golden/emit/plan.json");
    let capacity = ["emit", "capacity", "--format", "json", "--plan", plan.to_str().unwrap()];
    valid(&printed(&capacity), "migplan.capacity/v1");
}

#[test]
fn demand_from_samples_is_as_its_schema_says() {
    let history =
        std::process::Command::new("bash").arg(root("examples/week/history.sh")).output().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("history.json");
    std::fs::write(&file, history.stdout).unwrap();
    let file = file.to_str().unwrap();
    let scrape = root("data/prometheus/dgx_a100_mig_mixed_fb.prom");
    for args in [
        vec!["demand", "--prometheus", file, "--quiet-window", "2h", "--format", "json"],
        vec!["demand", "--prometheus", file, "--quantile", "0.9", "--format", "json"],
        vec!["demand", "--prometheus", scrape.to_str().unwrap(), "--format", "json"],
        vec!["demand", "--workloads", "examples/teams.csv", "--format", "json"],
    ] {
        valid(&printed(&args), "migplan.demand/v1");
    }
    // The plan keeps what samples showed.
    let plan = ["suggest", "--prometheus", file, "--quantile", "0.9", "--gpus", "4xa100-80gb"];
    valid(&printed(&[&plan[..], &["--format", "json"]].concat()), "migplan.plan/v1");
}

#[test]
fn documents_of_a_node_are_as_their_schemas_say() {
    let mut node = laid_out("2xh100-80gb", "h100-80gb", &[("4g.40gb", 0), ("3g.40gb", 4)]);
    occupy(&mut node, 0, 0, 4711);
    let rehearsal = Rehearsal::new(&node);
    let layouts = [("[0]", "{4g.40gb: 1, 2g.20gb: 1, 1g.10gb: 1}"), ("[1]", "{7g.80gb: 1}")];
    rehearsal.config(&layouts);
    let run = |code: i32, args: &[&str]| {
        let ran = rehearsal.migplan(args);
        assert_eq!(ran.code, code, "{args:?}\n{}", ran.stderr);
        ran.stdout
    };
    let file = ["-f", "config.yaml", "--format", "json"];
    valid(&run(0, &[&["check"][..], &file].concat()), "migplan.check/v1");
    valid(&run(7, &[&["check", "--live"][..], &file].concat()), "migplan.check-live/v1");
    for line in run(0, &["apply", "--yes", "--json"]).lines() {
        validate(&serde_json::from_str(line).unwrap(), "migplan.events/v1");
    }
    valid(&run(0, &["status", "--format", "json"]), "migplan.status/v1");
    valid(&run(0, &["rollback", "--list", "--json"]), "migplan.runs/v1");
    // Refused: the instance of process 4711 would have to go.
    rehearsal.config(&[("[0]", "{7g.80gb: 1}"), ("[1]", "{7g.80gb: 1}")]);
    for line in run(7, &["apply", "--yes", "--json"]).lines() {
        validate(&serde_json::from_str(line).unwrap(), "migplan.events/v1");
    }
}
