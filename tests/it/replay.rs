//! `migplan replay` as users run it.

use std::collections::BTreeMap;

use crate::common::{migplan, migplan_with, written};
use crate::over_time::WEEK;

/// The hours that each row of a replay served, by its name and rule, and the text for people.
fn replayed(args: &[&str], csv: &str) -> (Vec<(String, String, f64)>, String) {
    let run = |format: &str| {
        let run = migplan_with(
            &[&["replay", "-w", "-", "--format", format], args].concat(),
            csv.as_bytes(),
        );
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        run.stdout
    };
    let json: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    let of = |row: &serde_json::Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_string();
        (text("name"), text("rule"), row["served_replica_hours"].as_f64().unwrap())
    };
    (json["rows"].as_array().unwrap().iter().map(of).collect(), run("text"))
}

#[test]
fn where_replicas_take_several_gpus_the_bound_goes_by_priority() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (off, fleet, plan) = (file("off.yaml"), file("fleet.csv"), file("plan.json"));
    let config = "version: v1\nmig-configs:\n  whole:\n    - {devices: all, mig-enabled: false}\n";
    std::fs::write(&off, config).unwrap();
    let hours = "Mon-Fri 08:00-18:00";
    let head = "team,workload,memory,count,priority,weight,gpus,hours\n";
    let earlier = "Mon-Fri 07:00-18:00";
    let several = format!("{head}a,single,,2,0,1,1,{earlier}\nb,double,,1,5,1,2,{hours}\n");
    let (rows, text) = replayed(&["--gpus", "2xa100-80gb", "-f", &off], &several);
    let served: Vec<f64> = rows.iter().take(2).map(|row| row.2).collect();
    assert_eq!(served, [60.0, 110.0]);
    assert!(text.contains("the most by priority, then by weight"), "{text}");
    assert!(!text.contains("no scheduler could serve more"), "{text}");
    // The one of the largest weight may have the instance of a GPU, so that the other has a node.
    std::fs::write(&fleet, "node,board,gpus\na,a100-80gb,2\nb,a100-80gb,2\n").unwrap();
    let by_node = ["--mig-mode", "per-node", "--fleet", &fleet, "--plan", &plan];
    let csv = format!(
        "{head}x,single,,1,0,2,1,{hours}\nx,double,,1,0,1,2,{hours}\ny,small,9GiB,7,0,1,,{hours}\n"
    );
    let run = migplan_with(&[&["suggest", "-q", "-w", "-"], &by_node[..]].concat(), csv.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (rows, _) = replayed(&by_node, &csv);
    assert_eq!(rows[0], ("plan".into(), "bound".into(), 450.0));
    let one = several.replace(",2,", ",1,");
    let (_, text) = replayed(&["--gpus", "2xa100-80gb", "-f", &off], &one);
    assert!(text.contains("no scheduler could serve more"), "{text}");
}

#[test]
fn no_two_configurations_of_a_replay_have_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    for name in ["a", "b"] {
        std::fs::create_dir(file(name)).unwrap();
    }
    let (a, b, config) = (file("a/plan.json"), file("b/plan.json"), file("config.yaml"));
    let gpus = ["--gpus", "2xa100-80gb"];
    for (plan, spare) in [(&a, "mix"), (&b, "none")] {
        let args = ["suggest", "-q", "-w", "-", "--plan", plan, "--spare", spare, "-o", &config];
        let run = migplan_with(&[&args[..], &["--with-presets"], &gpus].concat(), WEEK.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let names = |args: &[&str]| {
        let (rows, text) = replayed(&[&gpus, args].concat(), WEEK);
        let names: Vec<String> = rows.into_iter().step_by(2).map(|row| row.0).collect();
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        (names, text)
    };
    let (both, text) = names(&["--plan", &a, "--plan", &b]);
    assert_eq!(both[..2], [a.clone(), b.clone()]);
    assert!(text.contains(&format!("Served by {a}:")), "{text}");
    let columns = text.split("Served by").nth(1).unwrap().lines().nth(1).unwrap();
    assert_eq!(columns.matches("bound").count(), 1, "{columns}");
    let (of_file, _) = names(&["-f", &config]);
    assert_eq!(of_file.iter().filter(|name| *name == "all-1g.10gb").count(), 1);
    assert!(!of_file.iter().any(|name| name.contains(" (2)")), "{of_file:?}");
    // A preset of another layout stays, under another name.
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"1g.10gb\": 7", "\"1g.10gb\": 6")).unwrap();
    let (changed, _) = names(&["-f", &config]);
    assert!(changed.contains(&"all-1g.10gb (2)".to_string()), "{changed:?}");
    let (same, _) = names(&["--plan", &a, "--plan", &a]);
    assert_eq!(same[..2], [a.clone(), format!("{a} (2)")]);
    assert_eq!(names(&["--plan", &a]).0[0], "plan");
    let (held, _) = names(&["--plan", &a, "-f", &config, "--hold-out", "50%"]);
    assert_eq!(held[..2], ["plan".to_string(), "peak plan".to_string()]);
    assert!(held.contains(&a), "{held:?}");
}

/// What each workload got under the template rule, by team.
fn of_template(csv: &str, gpus: &str) -> BTreeMap<String, (f64, f64, u64)> {
    let args = ["replay", "-w", "-", "--gpus", gpus, "--format", "json"];
    let run = migplan_with(&args, csv.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let rows = json["workloads"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["name"] == "plan" && row["rule"] == "template");
    rows.map(|row| {
        let number = |key: &str| row[key].as_f64().unwrap();
        let (served, wait) = (number("served_replica_hours"), number("longest_wait_hours"));
        let name =
            format!("{}/{}", row["team"].as_str().unwrap(), row["workload"].as_str().unwrap());
        (name, (served, wait, row["unserved_pods"].as_u64().unwrap()))
    })
    .collect()
}

#[test]
fn what_always_runs_was_there_before_a_week_began() {
    for batch in ["batch", "zbatch"] {
        let csv = format!(
            "team,workload,memory,count,priority,hours\n\
            {batch},etl,70GiB,1,0,Mon 00:00-12:00\nprod,serving,70GiB,1,100,\n"
        );
        let got = of_template(&csv, "1xa100-80gb");
        assert_eq!(got["prod/serving"], (168.0, 0.0, 0), "{batch}");
        assert_eq!(got[&format!("{batch}/etl")], (0.0, 12.0, 1));
    }
    // Of pods that begin at the same moment the one of the higher priority is first.
    for batch in ["batch", "zbatch"] {
        let csv = format!(
            "team,workload,memory,count,priority,hours\n\
            {batch},etl,70GiB,1,0,Mon 08:00-12:00\nprod,serving,70GiB,1,100,Mon 08:00-18:00\n"
        );
        let got = of_template(&csv, "1xa100-80gb");
        assert_eq!(got["prod/serving"], (10.0, 0.0, 0), "{batch}");
    }
    // In the hours held out, too, who was there before them has an instance.
    let csv = "team,workload,memory,hours\n\
        a,late,70GiB,Tue 12:00-24:00|Wed-Sun\nz,early,70GiB,Tue\n";
    let args = ["replay", "-w", "-", "--gpus", "1xa100-80gb", "--hold-out", "75%"];
    let run = migplan_with(&[&args[..], &["--format", "json"]].concat(), csv.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    // From Tuesday 18:00 on.
    let early = json["workloads"].as_array().unwrap().iter().find(|row| {
        row["workload"] == "early" && row["rule"] == "template" && row["name"] == "plan"
    });
    assert_eq!(early.unwrap()["served_replica_hours"], 6);
}

#[test]
fn a_pod_that_runs_over_the_end_of_a_week_is_one() {
    // Friday 19:00 to Monday 08:00 is 61 hours; two of three find no instance, on five nights.
    let got = of_template(WEEK, "2xa100-80gb");
    assert_eq!(got["search/serving"], (336.0, 0.0, 0));
    assert_eq!(got["nlp/train"], (113.0, 61.0, 10));
    // Who holds the one instance when the week begins keeps it: Saturday to Monday noon.
    let csv = "team,workload,memory,hours\n\
        a,early,70GiB,Mon 00:00-12:00|Sat-Sun\n\
        b,late,70GiB,Fri 12:00-24:00|Sat-Wed|Thu 00:00-12:00\n";
    let got = of_template(csv, "1xa100-80gb");
    assert_eq!(got["b/late"], (144.0, 0.0, 0));
    assert_eq!(got["a/early"], (0.0, 60.0, 1));
}

/// A file in a folder, for a flag.
fn at(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_string()
}

#[test]
fn each_node_has_the_label_that_it_is_assigned() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = written(&folder, "fleet.csv", "node,board,gpus\na,a100-80gb,1\nb,a100-80gb,1\n");
    let (config, nodes, plan) =
        (at(&folder, "made.yaml"), at(&folder, "nodes.csv"), at(&folder, "plan.json"));
    let suggest = ["suggest", "-q", "-w", "-", "--over-time", "--fleet", &fleet, "-o", &config];
    let beside = ["--assignments", &nodes, "--plan", &plan];
    let run = migplan_with(&[&suggest[..], &beside].concat(), WEEK.as_bytes());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let served = |args: &[&str]| {
        let (rows, _) = replayed(&[&["--fleet", &fleet], args].concat(), WEEK);
        (rows[0].0.clone(), rows[0].2)
    };
    let planned = served(&["--plan", &plan]).1;
    assert_eq!(served(&["-f", &config, "--assignments", &nodes]), ("made".to_string(), planned));
    // Without it each label is on both nodes, which is less, and that is said.
    let args = ["replay", "-w", "-", "--fleet", &fleet, "-f", &config];
    let run = migplan_with(&args, WEEK.as_bytes());
    assert!(
        run.stderr.contains("each label is replayed as if every node had it"),
        "{}",
        run.stderr
    );
    let one = migplan_with(&[&args[..], &["-c", "migplan-1"]].concat(), WEEK.as_bytes());
    assert!(!one.stderr.contains("as if every node had it"), "{}", one.stderr);
    for label in ["migplan-1", "migplan-2"] {
        assert!(served(&["-f", &config, "-c", label]).1 < planned, "{label}");
    }
    // Nodes that no label is for, and those that cannot hold theirs.
    let other = written(&folder, "other.csv", "node,config\na,migplan-1\nc,migplan-3\n");
    let run = migplan_with(&[&args[..], &["--assignments", &other]].concat(), WEEK.as_bytes());
    assert_eq!(run.code, 3, "{}", run.stderr);
    for part in [
        "other.csv:3: column 'node': 'c' is not a node of the fleet",
        "other.csv:3: column 'config': 'migplan-3' is not a label of the file",
        "node 'b' of the fleet has no config",
        "nodes here: a, b; labels: migplan-1, migplan-2",
    ] {
        assert!(run.stderr.contains(part), "{part} in {}", run.stderr);
    }
    let small = written(&folder, "small.csv", "node,board,gpus\na,a30,1\nb,a30,1\n");
    let args = ["replay", "-w", "-", "--fleet", &small, "-f", &config];
    let run = migplan_with(&args, WEEK.as_bytes());
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("replay the plan with --plan"), "{}", run.stderr);
    let run = migplan_with(&[&args[..], &["--assignments", &nodes]].concat(), WEEK.as_bytes());
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("on b)"), "{}", run.stderr);
}

#[test]
fn both_parts_of_the_hours_are_in_the_table() {
    let hours = |more: &[&str]| {
        let args = ["replay", "-w", "-", "--gpus", "2xa100-80gb", "--format", "csv"];
        let run = migplan_with(&[&args[..], more].concat(), WEEK.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let mut asked: BTreeMap<String, f64> = BTreeMap::new();
        for row in csv::Reader::from_reader(run.stdout.as_bytes()).deserialize() {
            let row: BTreeMap<String, String> = row.unwrap();
            if row["name"] == "plan" && row["rule"] == "bound" {
                let number: f64 = row["asked_replica_hours"].parse().unwrap();
                *asked.entry(row["hours"].clone()).or_default() += number;
            }
        }
        asked
    };
    let (all, parts) = (hours(&[]), hours(&["--hold-out", "25%"]));
    assert_eq!(all.keys().collect::<Vec<_>>(), ["all"]);
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["held_out", "planned_on"]);
    assert_eq!(parts.values().sum::<f64>(), all["all"]);
}

#[test]
fn an_hour_that_comes_twice_has_its_offset() {
    let csv = "team,workload,memory,hours\na,night,9GiB,Sun 01:00-04:00\n";
    let hours = |more: &[&str]| {
        let args = ["replay", "-w", "-", "--gpus", "1xa30", "--format", "json"];
        let run = migplan_with(&[&args[..], more].concat(), csv.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        json["hours"].as_array().unwrap().clone()
    };
    let autumn = hours(&["--week", "2026-10-25", "--timezone", "Europe/Berlin"]);
    let texts = |key: &str, from: usize| -> Vec<String> {
        autumn[from..from + 4].iter().map(|hour| hour[key].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(
        texts("start", 145),
        [
            "Sun 2026-10-25 01:00",
            "Sun 2026-10-25 02:00 +02:00",
            "Sun 2026-10-25 02:00 +01:00",
            "Sun 2026-10-25 03:00"
        ]
    );
    assert_eq!(
        texts("time", 145),
        [
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00"
        ]
    );
    assert!(hours(&[])[0].get("time").is_none());
}

#[test]
fn one_count_for_all_time_is_refused_over_time() {
    let folder = tempfile::tempdir().unwrap();
    let samples = written(&folder, "samples.json", "[]");
    for command in [
        &["suggest", "--over-time", "--gpus", "1xa30"][..],
        &["size", "--over-time", "--board", "a30"],
        &["replay", "--gpus", "1xa30"],
        &["schedule", "--gpus", "1xa30"],
    ] {
        let args = [command, &["--prometheus", &samples, "--count-quantile"]].concat();
        let run = migplan(&[&args[..], &["0.5"]].concat());
        assert_eq!(run.code, 2, "{command:?}: {}", run.stderr);
        assert!(run.stderr.contains("over time each hour has its own"), "{}", run.stderr);
        assert!(run.stderr.contains("--serve 95%"), "{}", run.stderr);
        // The most at once is what each hour has anyway.
        assert_eq!(migplan(&[&args[..], &["1"]].concat()).code, 3);
    }
}

#[test]
fn shares_of_hours_and_of_times_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    // One pod for the first twenty minutes of each of three hours, another in the second hour.
    let series = |pod: &str, hours: std::ops::Range<i64>| {
        let times = hours.flat_map(|hour| (0..5).map(move |n| hour * 3_600 + n * 300));
        let values: Vec<_> =
            times.map(|at| serde_json::json!([1_780_272_000 + at, "9000"])).collect();
        serde_json::json!({
            "metric": {
                "__name__": "DCGM_FI_DEV_FB_USED", "UUID": pod, "exported_namespace": "a",
                "exported_pod": pod,
            },
            "values": values,
        })
    };
    let samples = serde_json::json!([series("one", 0..3), series("two", 1..2)]).to_string();
    let samples = written(&folder, "samples.json", &samples);
    let inputs = ["--prometheus", &samples, "--gpus", "1xa30", "--format", "text"];
    for command in [&["suggest", "-q", "--over-time"][..], &["replay", "-q"]] {
        let run = migplan(&[command, &inputs].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("bound takes every hour whole"), "{}", run.stdout);
    }
    let args = ["suggest", "-q", "-w", "-", "--over-time", "--gpus", "2xa100-80gb"];
    let run = migplan_with(&[&args[..], &["--format", "text"]].concat(), WEEK.as_bytes());
    assert!(!run.stdout.contains("bound takes every hour whole"), "{}", run.stdout);
}

#[test]
fn hours_that_may_be_meant_otherwise_are_told() {
    let run = |hours: &str| {
        let csv = format!("team,workload,memory,hours\na,b,1GiB,{hours}\n");
        let args = ["suggest", "-w", "-", "--gpus", "1xa30", "--over-time", "--format", "text"];
        migplan_with(&args, csv.as_bytes())
    };
    let doubted = run("Sat|Sun 10:00-16:00");
    assert!(doubted.stdout.contains("30 of 30 replica-hours"), "{}", doubted.stdout);
    let warning = "<stdin>:2: column 'hours': 'Sat|Sun 10:00-16:00' takes Sat whole, since | separates whole parts";
    assert!(doubted.stderr.contains(warning), "{}", doubted.stderr);
    // What the warning names, and what the hint of an error names, is as it says.
    let meant = run("\"Sat,Sun 10:00-16:00\"");
    assert!(meant.stdout.contains("12 of 12 replica-hours"), "{}", meant.stdout);
    let wrong = run("weekend");
    assert!(wrong.stderr.contains("unknown day 'weekend'"), "{}", wrong.stderr);
    assert!(run("Sat 25:00").stderr.contains("'Sat-Sun 10:00-16:00'"));
    let hint = run("Sat-Sun 10:00-16:00");
    assert!(hint.stdout.contains("12 of 12 replica-hours"), "{}", hint.stdout);
    for clear in [&meant, &hint] {
        assert!(!clear.stderr.contains("whole"), "{}", clear.stderr);
    }
}
