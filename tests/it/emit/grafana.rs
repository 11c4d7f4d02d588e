//! `migplan emit grafana`: the dashboard, read by Grafana's own types, its queries by Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::support::{emit, promtool, python_has};
use crate::common::tools::have;

fn dashboard() -> Value {
    serde_json::from_str(&emit(&["grafana", "--name", "cluster.7"])).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

#[test]
fn the_dashboard_is_sound() {
    let dashboard = dashboard();
    assert_eq!(dashboard["title"], "MIG instances (cluster.7)");
    assert_eq!(dashboard["uid"], "migplan-cluster-7");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} lies on another panel", panel["title"]);
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        assert!(!panel["description"].as_str().unwrap().is_empty());
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<&str> = targets.iter().map(|t| t["refId"].as_str().unwrap()).collect();
        assert_eq!(refs.len(), targets.len());
        assert!(!targets.is_empty());
    }
    assert_eq!(dashboard["templating"]["list"][0]["name"], "datasource");
    // The numbers of the plan come from the rules, which have every metric that is read here.
    let rules = emit(&["prometheus-rules"]);
    let text = dashboard.to_string();
    let own: BTreeSet<&str> = text
        .split("migplan:")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| c != ':' && c != '_' && !c.is_alphanumeric()).next().unwrap()
        })
        .collect();
    assert!(own.len() >= 5, "{own:?}");
    for metric in own {
        assert!(rules.contains(&format!("record: migplan:{metric}\n")), "{metric}");
    }
}

#[test]
fn grafanas_own_types_know_every_field() {
    if !python_has("grafana_foundation_sdk", "grafana-foundation-sdk") {
        return;
    }
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/emit/grafana_types.py");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.json");
    let read = |dashboard: &Value| {
        fs::write(&file, dashboard.to_string()).unwrap();
        Command::new("python3").arg(&reader).arg(&file).output().unwrap()
    };
    let mut dashboard = dashboard();
    let output = read(&dashboard);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // A field that Grafana does not know would be found.
    dashboard["panels"][1]["gridPos"]["depth"] = json!(1);
    let output = read(&dashboard);
    assert!(String::from_utf8_lossy(&output.stdout).contains("panels[1].gridPos.depth"));
}

#[test]
fn prometheus_takes_the_queries_and_they_count_what_waits() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dashboard = dashboard();
    let rules: Vec<Value> = panels(&dashboard)
        .iter()
        .flat_map(|panel| {
            let of_panel = panel["targets"].as_array().into_iter().flatten();
            of_panel.map(move |target| (&panel["id"], target))
        })
        .map(|(id, target)| {
            let record = format!("panel:{id}_{}", target["refId"].as_str().unwrap());
            json!({"record": record, "expr": target["expr"]})
        })
        .collect();
    let panel = |title: &str| {
        let panel = panels(&dashboard).iter().find(|p| p["title"] == title).unwrap();
        panel["id"].as_u64().unwrap()
    };
    let table = panel("Demand against supply, by profile");
    // A legend names what the query leaves, once.
    let legend = |id: u64| {
        let panel = panels(&dashboard).iter().find(|p| p["id"] == id).unwrap();
        panel["targets"][0]["legendFormat"].clone()
    };
    let graph = panel("Advertised by nodes");
    assert_eq!(legend(graph), "{{profile}}");
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(folder.path().join("rules.json"), groups.to_string()).unwrap();
    // p waits for 1g.10gb, q runs in 1g.10gb+me, and the nodes advertise 7 and 1, and 2 whole GPUs.
    let series =
        |series: &str, value: u32| json!({"series": series, "values": format!("{value}x10")});
    let pod = |pod: &str, resource: &str, phase: &str, is: u32| {
        [
            series(
                &format!(
                    "kube_pod_container_resource_requests{{namespace=\"a\",pod=\"{pod}\",container=\"c\",resource=\"{resource}\"}}"
                ),
                1,
            ),
            series(
                &format!(
                    "kube_pod_status_phase{{namespace=\"a\",pod=\"{pod}\",phase=\"{phase}\"}}"
                ),
                is,
            ),
        ]
    };
    let mut input: Vec<Value> = Vec::new();
    input.extend(pod("p", "nvidia_com_mig_1g_10gb", "Pending", 1));
    input.extend(pod("q", "nvidia_com_mig_1g_10gb_me", "Running", 1));
    for (resource, count) in [("mig_1g_10gb", 7), ("mig_1g_10gb_me", 1), ("gpu", 2)] {
        let name = format!(
            "kube_node_status_allocatable{{node=\"n\",resource=\"nvidia_com_{resource}\"}}"
        );
        input.push(series(&name, count));
    }
    let wanted = |panel: u64, column: &str, values: &[(&str, u32)]| {
        let name = format!("panel:{panel}_{column}");
        let sample = |(profile, value): &(&str, u32)| json!({"labels": format!("{name}{{profile=\"{profile}\"}}"), "value": value});
        let samples: Vec<Value> = values.iter().map(sample).collect();
        json!({"expr": name, "eval_time": "5m", "exp_samples": samples})
    };
    let advertised = [("1g.10gb", 8), ("nvidia.com/gpu", 2)];
    let test = json!({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": input,
         "promql_expr_test": [wanted(table, "D", &advertised), wanted(table, "E", &[("1g.10gb", 2)]),
             wanted(table, "F", &[("1g.10gb", 1)]), wanted(graph, "A", &advertised)]}]});
    fs::write(folder.path().join("test.json"), test.to_string()).unwrap();
    promtool(folder.path(), &["test", "rules", "test.json"]);
}
