//! Plans over time: what is emitted speaks of all hours, not only of the one whose replicas the plan
//! shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::{emit_from, planned, promtool};
use crate::common::migplan;
use crate::common::tools::have;

const WEEK: &str = "team,workload,memory,count,priority,hours
nlp,notebooks,9GiB,9,0,Mon-Fri 08:00-19:00
vision,train,38GiB,3,0,19:00-08:00|Sat-Sun
search,serving,18GiB,2,10,
late,never,500GiB,1,0,Sat-Sun
";

const TEAMS: [&str; 3] = ["nlp", "search", "vision"];

/// Two A100-80GB over a week, of which the plan shows a night.
fn week(folder: &Path) -> PathBuf {
    planned(folder, WEEK, &["--gpus", "2xa100-80gb", "--over-time", "--timezone", "UTC"])
}

fn json_of(plan: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap()
}

/// The same plan, showing the replicas of another period.
fn showing(plan: &Path, period: usize) -> PathBuf {
    let mut text = json_of(plan);
    let needs: BTreeMap<String, Value> = text["demand"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["workload"].as_str().unwrap().to_string(), row["memory_mib"].clone()))
        .collect();
    let of_period = &text["over_time"]["periods"][period];
    let first = of_period["first"].clone();
    let mut rows: Vec<Value> = of_period["allocated"].as_array().unwrap().clone();
    let mut replicas: BTreeMap<String, u64> = BTreeMap::new();
    for gpu in text["gpus"].as_array_mut().unwrap() {
        let board = gpu["board"].clone();
        for instance in gpu["instances"].as_array_mut().unwrap() {
            let instance = instance.as_object_mut().unwrap();
            for key in ["team", "workload", "replica", "demand_mib"] {
                instance.remove(key);
            }
            let left = |row: &&mut Value| {
                row["profile"] == instance["profile"]
                    && row["board"] == board
                    && row["replicas"] != 0
            };
            let Some(row) = rows.iter_mut().find(left) else { continue };
            row["replicas"] = json!(row["replicas"].as_u64().unwrap() - 1);
            let workload = row["workload"].as_str().unwrap();
            let replica = replicas.entry(workload.to_string()).or_default();
            *replica += 1;
            instance.insert("team".to_string(), row["team"].clone());
            instance.insert("workload".to_string(), row["workload"].clone());
            instance.insert("replica".to_string(), json!(*replica));
            instance.insert("demand_mib".to_string(), needs[workload].clone());
        }
    }
    assert!(rows.iter().all(|row| row["replicas"] == 0), "{rows:?}");
    text["unplaced"] = json!([]);
    text["over_time"]["shown"] = first;
    let file = plan.with_file_name(format!("shows-{period}.json"));
    fs::write(&file, text.to_string()).unwrap();
    file
}

/// The kinds that the help lists.
fn kinds() -> Vec<String> {
    let help = migplan(&["emit", "--help"]).stdout;
    let section = help.split_once("\nKinds:\n").unwrap().1.split("\n\n").next().unwrap();
    let names = section.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        line.starts_with(char::is_alphabetic).then(|| line.split(' ').next().unwrap().to_string())
    });
    names.filter(|kind| kind != "help").collect()
}

/// What no emitter may do, be it one that is not there yet: tell of the hour that the plan happens to
/// show.
#[test]
fn what_any_kind_writes_is_the_same_whichever_hour_the_plan_shows() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet.csv");
    fs::write(&fleet, "node,board,gpus\nn1,a100-80gb,1\nn2,a100-80gb,1\nn3,a100-80gb,1\n").unwrap();
    // One profile on each node, and one that GKE offers, so that each kind takes the plan.
    let csv: Vec<String> = WEEK
        .lines()
        .zip(["compute", "1", "1", "2", "1"])
        .map(|(line, compute)| format!("{line},{compute}\n"))
        .collect();
    let rules = ["--strategy", "single", "--over-time", "--timezone", "UTC", "--fleet"];
    let plan =
        planned(folder.path(), &csv.concat(), &[&rules[..], &[fleet.to_str().unwrap()]].concat());
    let periods = json_of(&plan)["over_time"]["periods"].as_array().unwrap().len();
    assert!(periods > 1);
    let shown: Vec<PathBuf> = (0..periods).map(|period| showing(&plan, period)).collect();
    let allocated = json_of(&plan)["over_time"]["periods"].to_string();
    assert!(TEAMS.iter().all(|team| allocated.contains(team)), "{allocated}");
    let teams_shown: BTreeSet<Vec<String>> = shown
        .iter()
        .map(|file| {
            let text = json_of(file)["gpus"].to_string();
            TEAMS.iter().filter(|t| text.contains(**t)).map(ToString::to_string).collect()
        })
        .collect();
    assert!(teams_shown.len() > 1, "{teams_shown:?}");
    let kinds = kinds();
    assert!(kinds.len() >= 17, "{kinds:?}");
    for kind in &kinds {
        let more: &[&str] = match kind.as_str() {
            "checkpoint" => &["--node", "n1", "--uuids", "GPU-00aa"],
            "systemd" => &["--node", "n1"],
            _ => &[],
        };
        let arguments = [&[kind.as_str()], more].concat();
        let written = emit_from(&plan, &arguments);
        for file in &shown {
            assert_eq!(emit_from(file, &arguments), written, "{kind} of {}", file.display());
        }
        // Whoever names a team names them all.
        let named = TEAMS.iter().filter(|team| written.0.contains(*team)).count();
        assert!(named == 0 || named == TEAMS.len(), "{kind}: {}", written.0);
    }
    for kind in ["pod", "airflow", "dra", "jupyterhub"] {
        for team in TEAMS {
            let arguments = [kind, "--team", team];
            let written = emit_from(&plan, &arguments);
            assert!(written.0.contains(team), "{kind} {team}: {}", written.0);
            for file in &shown {
                assert_eq!(emit_from(file, &arguments), written, "{kind} of {team}");
            }
        }
    }
}

/// Kueue admits until the quotas of a cohort are used up, so more than exists must not be there.
#[test]
fn quotas_of_kueue_add_up_to_what_exists_though_peaks_are_at_different_hours() {
    let folder = tempfile::tempdir().unwrap();
    let plan = week(folder.path());
    let (text, said) = emit_from(&plan, &["kueue"]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    let mut own: BTreeMap<(String, String), u64> = BTreeMap::new();
    for queue in objects.iter().filter(|o| o["kind"] == "ClusterQueue") {
        for flavor in queue["spec"]["resourceGroups"][0]["flavors"].as_array().unwrap() {
            for quota in flavor["resources"].as_array().unwrap() {
                let count = quota["nominalQuota"].as_u64().unwrap();
                let resource =
                    quota["name"].as_str().unwrap().trim_start_matches("nvidia.com/mig-");
                *sums.entry(resource.to_string()).or_default() += count;
                let name = queue["metadata"]["name"].as_str().unwrap();
                own.insert((name.to_string(), resource.to_string()), count);
            }
        }
    }
    let mut supply: BTreeMap<String, u64> = BTreeMap::new();
    for gpu in json_of(&plan)["gpus"].as_array().unwrap() {
        for instance in gpu["instances"].as_array().unwrap() {
            *supply.entry(instance["profile"].as_str().unwrap().to_string()).or_default() += 1;
        }
    }
    assert_eq!(sums, supply);
    let quota = |team: &str, profile: &str| own[&(team.to_string(), profile.to_string())];
    // The notebooks' alone, though the hour that is shown has none of them.
    assert_eq!(quota("nlp", "1g.10gb"), 8);
    // search has two at night and one by day, when the notebooks have the other.
    assert_eq!((quota("search", "1g.20gb"), quota("nlp", "1g.20gb")), (1, 0));
    assert_eq!((quota("vision", "4g.40gb"), quota("search", "4g.40gb")), (0, 0));
    assert_eq!((quota("migplan-spare", "4g.40gb"), quota("migplan-spare", "1g.20gb")), (1, 1));
    assert!(text.contains("# Some instances are for several teams, each at its hours."), "{text}");
    assert!(said.contains("teams have nvidia.com/mig-1g.20gb on a100-sxm4-80gb,"), "{said}");
    // A team of which nothing is placed in any hour can borrow, also if the hour that is shown does
    // not ask for it.
    let mut namespaces: Vec<&str> = objects
        .iter()
        .filter(|o| o["kind"] == "LocalQueue")
        .map(|o| o["metadata"]["namespace"].as_str().unwrap())
        .collect();
    namespaces.sort_unstable();
    assert_eq!(namespaces, ["late", "nlp", "search", "vision"]);
    assert!(said.contains("the plan places nothing of late"), "{said}");
}

#[test]
fn a_menu_has_what_a_team_has_in_any_hour() {
    let folder = tempfile::tempdir().unwrap();
    let plan = week(folder.path());
    let of = |arguments: &[&str]| -> Vec<(String, String)> {
        let text = emit_from(&plan, &[&["jupyterhub"], arguments].concat()).0;
        let values: Value = serde_saphyr::from_str(&text).unwrap();
        let list = values["singleuser"]["profileList"].as_array().unwrap().clone();
        let text = |of: &Value, key: &str| of[key].as_str().unwrap().to_string();
        list.iter().map(|p| (text(p, "slug"), text(p, "description"))).collect()
    };
    let entry = |slug: &str, text: &str| (slug.to_string(), text.to_string());
    assert_eq!(
        of(&["--team", "nlp"]),
        [
            entry("1g-10gb", "8 instances in all, planned for nlp"),
            entry("1g-20gb", "up to 1 of 2 instances, planned for nlp"),
        ]
    );
    assert_eq!(
        of(&[]),
        [
            entry("1g-10gb", "8 instances in all, planned for nlp"),
            entry("1g-20gb", "2 instances in all, planned for nlp, search"),
            entry("4g-40gb", "1 instance in all, planned for search, vision"),
        ]
    );
}

/// Numbers of several hours would add up to more replicas than there are.
#[test]
fn replicas_of_a_workload_are_those_of_one_hour() {
    let folder = tempfile::tempdir().unwrap();
    let plan = week(folder.path());
    let numbers = |plan: &Path, kind: &str, key: &str, workload: &str| -> Vec<u64> {
        let text = emit_from(plan, &[kind]).0;
        let parts = text.split(if kind == "airflow" { "def " } else { "---\n" });
        let of_workload = parts.filter(|part| part.contains(workload));
        let number = |part: &str| {
            let rest = part.split_once(key)?.1;
            rest.trim_start_matches([':', ' ', '"']).split(['"', ',', '\n']).next()?.parse().ok()
        };
        of_workload.filter_map(number).collect()
    };
    for (workload, most) in [("serving", 2), ("notebooks", 9), ("train", 1)] {
        let sum = |kind, key| numbers(&plan, kind, key, workload).iter().sum::<u64>();
        assert_eq!(sum("pod", "migplan/replicas"), most, "{workload}");
        assert_eq!(sum("airflow", "max_active_tis_per_dag\""), most, "{workload}");
        assert_eq!(sum("dra", "migplan/replicas"), most, "{workload}");
    }
    // By day only one of the two is served: a template asks for what the fuller hour has.
    let mut less = json_of(&plan);
    let periods = less["over_time"]["periods"].as_array_mut().unwrap();
    let day = periods.iter_mut().find(|p| p.to_string().contains("notebooks")).unwrap();
    let rows = day["allocated"].as_array_mut().unwrap();
    rows.retain(|row| row["workload"] != "serving" || row["profile"] == "4g.40gb");
    let file = folder.path().join("less.json");
    fs::write(&file, less.to_string()).unwrap();
    assert_eq!(numbers(&file, "pod", "migplan/replicas", "serving"), [2]);
    assert_eq!(numbers(&file, "dra", "migplan/replicas", "serving"), [2]);
    let (text, said) = emit_from(&file, &["pod"]);
    assert!(text.contains("name: search-serving\n"), "{text}");
    let other = "search/serving is assigned to other kinds of instance at other hours (4g.40gb)";
    assert!(said.contains(other), "{said}");
    // A claim may name both.
    let (text, _) = emit_from(&file, &["dra"]);
    assert!(text.contains("# search/serving: at other hours in 4g.40gb with 39.3 GiB\n"), "{text}");
}

/// Instances idle outside of their hours, as planned; one that nobody uses in its hours either is told.
#[test]
fn instances_may_idle_outside_of_their_hours() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plan = week(folder.path());
    let (rules, _) = emit_from(&plan, &["prometheus-rules"]);
    fs::write(folder.path().join("rules.yaml"), &rules).unwrap();
    promtool(folder.path(), &["check", "rules", "rules.yaml"]);
    let allocated = |profile: &str, count: u64| {
        format!(
            "instances_allocated\n        expr: \"vector({count})\"\n        labels:\n          profile: \"{profile}\"\n"
        )
    };
    for (profile, count) in [("1g.10gb", 8), ("1g.20gb", 2), ("4g.40gb", 1)] {
        assert!(rules.contains(&allocated(profile, count)), "{profile} in {rules}");
    }
    // Ten days by the hour, from a Monday on: in use from 8 to 19 on working days, or never.
    let values = |in_use: bool| {
        let hour = |h: u64| {
            if in_use && h / 24 % 7 < 5 && (8..19).contains(&(h % 24)) { "5000" } else { "12" }
        };
        (0..240).map(hour).collect::<Vec<_>>().join(" ")
    };
    let alerts = |used: u64| {
        let mut input = Vec::new();
        for id in 0..8 {
            let labels =
                format!("gpu=\"0\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"{id}\",hostname=\"n\"");
            input.push(json!({"series": format!("DCGM_FI_DEV_FB_USED{{{labels}}}"), "values": values(id < used)}));
            input.push(
                json!({"series": format!("DCGM_FI_DEV_FB_FREE{{{labels}}}"), "values": "4000x240"}),
            );
        }
        let expected = match 8 - used {
            0 => json!([]),
            // On the night of the tenth day all of them idle.
            _ => json!([{
                "exp_labels": {"severity": "info", "profile": "1g.10gb", "planned": "0"},
                "exp_annotations": {
                    "summary": "8 of 8 instances of 1g.10gb idle now, and for 168 hours always more than the 0 that the plan's fullest hour leaves free",
                    "description": "Teams use less than they asked for: `migplan demand --prometheus` shows what they need."},
            }]),
        };
        let alert = json!({"eval_time": "220h", "alertname": "MigplanInstancesIdle", "exp_alerts": expected});
        json!({"interval": "1h", "input_series": input, "alert_rule_test": [alert]})
    };
    let test = json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1h",
        "tests": [alerts(8), alerts(7)]});
    fs::write(folder.path().join("test.json"), test.to_string()).unwrap();
    promtool(folder.path(), &["test", "rules", "test.json"]);
}
