//! What a schedule says of itself: in its picture, its JSON, the head of its file and its units.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{Run, demand, gpus, migplan, migplan_with};
use crate::rehearsal::{Rehearsal, laid_out};
use migplan::demand::over_time::{Growth, Horizon, OverTime, Zone};
use migplan::optimise::PlanOptions;
use migplan::schedule::{Keeps, ScheduleOptions, schedule};
use migplan::view::figures::ScheduleFigure;
use serde_json::Value;

/// Replicas of `eve` run through the change at 19:00 of a workday, which leaves none of them an
/// instance: they get none in the hours before it either. On Saturday and Sunday they do.
const THROUGH_A_CHANGE: &str = "team,workload,memory,count,priority,hours\n\
    n,notebooks,9GiB,7,0,08:00-17:00\nn,late,9GiB,3,0,17:00-19:00\n\
    n,eve,9GiB,4,0,17:00-22:00\nt,train,70GiB,1,5,Mon-Fri 19:00-08:00\n";

/// A whole GPU by night and seven instances by day: MIG is turned on and off.
const WHOLE_BY_NIGHT: &str = "team,workload,memory,gpus,count,hours\n\
    a,nb,9GiB,,7,08:00-19:00\nb,tr,,1,1,19:00-08:00\n";

fn planned(csv: &str, args: &[&str]) -> Run {
    let ran = migplan_with(&[&["schedule", "-w", "-"], args].concat(), csv.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran
}

fn json(csv: &str, args: &[&str]) -> Value {
    let ran = planned(csv, &[args, &["--format", "json"]].concat());
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_picture_has_what_is_served_and_no_more() {
    let peak = demand(THROUGH_A_CHANGE);
    let demand = OverTime::new(&peak, Horizon::Week, &Zone::default(), &Growth::default()).unwrap();
    let fleet = gpus("1xa100-80gb");
    for change_minutes in [0, 10, 60] {
        let wanted = ScheduleOptions { configurations: 2, change_minutes, keeps: Keeps::Instances };
        let found = schedule(&demand, &fleet, &PlanOptions::default(), &wanted).unwrap();
        let labels = vec!["a".to_string(), "b".to_string()];
        let figure = ScheduleFigure::new(&found, &demand, labels);
        let minutes = |hours: &[f64]| (hours.iter().sum::<f64>() * 60.0).round() as u128;
        assert_eq!(minutes(&figure.placed), found.served.served);
        assert_eq!(minutes(&figure.one), found.one.served.served);
        let within = |(placed, asked): (&f64, &u64)| *placed <= *asked as f64;
        assert!(figure.placed.iter().zip(&figure.asked).all(within));
        if change_minutes == 0 {
            let of = |day: usize, hour: usize| figure.placed[day * 24 + hour];
            // Monday: three of `late`, none of `eve`, then the training. Saturday: all.
            assert_eq!([of(0, 16), of(0, 17), of(0, 18), of(0, 19)], [7.0, 3.0, 3.0, 1.0]);
            assert_eq!([of(5, 17), of(5, 19), of(5, 22)], [7.0, 4.0, 0.0]);
        }
    }
}

#[test]
fn a_configuration_shows_the_hour_that_misses_most() {
    let args = ["--gpus", "1xa100-80gb", "--change-minutes", "0"];
    let json = json(THROUGH_A_CHANGE, &args);
    let instances = json["configs"][0]["gpus"][0]["instances"].as_array().unwrap();
    let of: Vec<&str> = instances.iter().filter_map(|i| i["workload"].as_str()).collect();
    assert_eq!((instances.len(), of), (7, vec!["late"; 3]));
}

#[test]
fn what_no_gpu_could_serve_is_named() {
    let csv = "team,workload,memory,count,hours\na,huge,100GiB,2,Mon\na,ok,9GiB,1,Mon\n";
    let said = "Served in no hour, since no GPU of the fleet could serve them: 2 replicas.\n  \
                2 × a/huge: needs 102400 MiB";
    let fleet = ["--gpus", "1xa100-80gb"];
    let text = planned(csv, &[&fleet[..], &["--format", "text"]].concat()).stdout;
    assert!(text.contains(said), "{text}");
    assert!(planned(csv, &fleet).stderr.contains(said));
    let replay = |args: &[&str]| {
        let args = [&["replay", "-w", "-"], &fleet[..], args].concat();
        let ran = migplan_with(&args, csv.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    assert!(replay(&[]).contains(said), "{}", replay(&[]));
    let of_replay: Value = serde_json::from_str(&replay(&["--format", "json"])).unwrap();
    for document in [json(csv, &fleet), of_replay] {
        let unserved = document["unserved"].as_array().unwrap();
        assert_eq!(unserved.len(), 1, "{document}");
        assert_eq!(
            (&unserved[0]["workload"], &unserved[0]["replicas"]),
            (&"huge".into(), &2.into())
        );
    }
    // Where all fits there is nothing to say.
    let fits = csv.replace("100GiB", "70GiB");
    let text = planned(&fits, &["--gpus", "1xa100-80gb", "--format", "text"]).stdout;
    assert!(!text.contains("Served in no hour"), "{text}");
}

#[test]
fn what_serves_all_is_proved_whatever_time_was_left_for_the_rest() {
    let csv = "team,workload,memory,count,hours\na,b,9GiB,9,08:00-19:00\n\
        a,c,18GiB,5,12:00-22:00\na,d,30GiB,3,20:00-06:00\na,e,5GiB,4,\n";
    let args = ["--gpus", "6xa100-80gb,2xa30", "--time-limit", "0.0001"];
    let json = json(csv, &args);
    assert_eq!(json["asked_replica_hours"], json["served_replica_hours"]);
    assert_eq!(json["proof"]["status"], "time_limit");
    assert_eq!(json["proved"], true);
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

/// What the units say, all of them.
fn units(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let services = files.map(|f| f.unwrap().path()).filter(|f| f.extension().unwrap() == "service");
    services.map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn changes_that_reset_gpus_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let ran = planned(WHOLE_BY_NIGHT, &["--gpus", "1xa100-80gb", "--systemd", to]);
    let gpu = "on GPU 0 (a100-sxm4-80gb)";
    assert!(ran.stderr.contains(&format!("turn MIG on or off {gpu} (exit 7)")), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: where nothing else holds these GPUs"), "{}", ran.stderr);
    let line = format!("MIG is turned on and off {gpu}, each time in a reset of the GPU");
    assert!(ran.stderr.contains(&line), "{}", ran.stderr);
    assert!(ran.stdout.contains(&format!("# {line}")), "{}", ran.stdout);
    let services = units(folder.path());
    assert_eq!(services.len(), 2);
    for service in services {
        assert!(service.contains("# GPU 0 (a100-sxm4-80gb).\n"), "{service}");
        // Whether GPUs may be reset is for the site to say.
        assert!(!service.split("[Service]").nth(1).unwrap().contains("--reset"), "{service}");
    }
    let resets = &json(WHOLE_BY_NIGHT, &["--gpus", "1xa100-80gb"])["resets"];
    let expected = serde_json::json!([
        { "node": "local", "gpus": [0], "boards": ["a100-sxm4-80gb"] }
    ]);
    assert_eq!(*resets, expected);
    // What is said of the change is what the node does, on which MIG is on.
    let rehearsal = Rehearsal::new(&laid_out("1xa100-80gb", "a100-80gb", &[]));
    rehearsal.write("week.yaml", &ran.stdout);
    let args = ["apply", "-f", "week.yaml", "-c", "migplan-a", "--dry-run"];
    let refused = rehearsal.migplan(&args);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("needs a reset of the GPU"), "{}", refused.stderr);
}

#[test]
fn where_no_gpu_is_reset_nothing_is_said_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    // Hopper changes its MIG mode at once.
    let ran = planned(WHOLE_BY_NIGHT, &["--gpus", "1xh100-80gb", "--systemd", to]);
    assert!(ran.stderr.contains("whole GPU, MIG off"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("reset") && !ran.stdout.contains("reset"), "{}", ran.stderr);
    assert!(units(folder.path()).iter().all(|unit| !unit.contains("--reset")));
    // Nor is it where MIG stays on.
    let json = json(THROUGH_A_CHANGE, &["--gpus", "1xa100-80gb"]);
    assert_eq!(json["resets"], Value::Array(Vec::new()));
    assert!(migplan(&["schedule", "--help"]).stdout.contains("--reset"));
}
