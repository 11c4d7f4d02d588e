//! Texts that programs read: shell, Python, promtool, systemd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use migplan::hardware::Catalogue;
use migplan::plan::InstanceProfile;
use serde_json::json;

use super::support::{emit, emit_from, example, example_plan, planned, promtool};
use crate::common::root;
use crate::common::tools::{have, skip};

/// A stand-in for a program: a script that notes its arguments, a line each, and does `more`.
fn stand_in(folder: &Path, name: &str, more: &str) {
    let log = folder.join(format!("{name}.log"));
    let script = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{more}\n", log.display());
    let file = folder.join(name);
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a script with the stand-ins first in the path; returns what they noted.
fn run_script(
    folder: &Path,
    program: &str,
    script: &str,
    arguments: &[&str],
) -> (i32, Vec<String>) {
    let file = folder.join("script.sh");
    fs::write(&file, script).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("bash").arg(&file).args(arguments).env("PATH", path).output().unwrap();
    let log = fs::read_to_string(folder.join(format!("{program}.log"))).unwrap_or_default();
    (output.status.code().unwrap_or(-1), log.lines().map(str::to_string).collect())
}

#[test]
fn nvidia_smi_makes_the_plan_where_it_says() {
    if !have(&["bash"], "bash") {
        return;
    }
    let catalogue = Catalogue::built_in();
    let plan = example_plan();
    let script = emit(&["nvidia-smi"]);
    let nodes: BTreeSet<&str> = plan.gpus.iter().map(|g| g.node.as_ref()).collect();
    for node in nodes {
        let folder = tempfile::tempdir().unwrap();
        // As the real one, it fails to destroy where there is nothing.
        stand_in(folder.path(), "nvidia-smi", "case \"$*\" in *-dci|*-dgi) exit 6 ;; esac");
        let (code, calls) = run_script(folder.path(), "nvidia-smi", &script, &[node]);
        assert_eq!(code, 0, "{node}");
        let alone = emit(&["nvidia-smi", "--node", node]);
        fs::remove_file(folder.path().join("nvidia-smi.log")).unwrap();
        assert_eq!(run_script(folder.path(), "nvidia-smi", &alone, &[]), (0, calls.clone()));
        let mut mode: BTreeMap<u32, bool> = BTreeMap::new();
        let mut made: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
        for call in &calls {
            let words: Vec<&str> = call.split(' ').collect();
            match words[..] {
                ["-i", list, "-mig", on] => {
                    assert!(made.is_empty(), "the mode comes first");
                    mode.extend(list.split(',').map(|i| (i.parse().unwrap(), on == "1")));
                }
                ["mig", "-i", index, "-cgi", list, "-C"] => {
                    let index: u32 = index.parse().unwrap();
                    assert!(mode[&index]);
                    let tuples = list.split(',').map(|tuple| {
                        let (id, start) = tuple.split_once(':').unwrap();
                        (id.parse().unwrap(), start.parse().unwrap())
                    });
                    made.entry(index).or_default().extend(tuples);
                }
                ["mig", "-i", index, "-dci" | "-dgi"] => {
                    assert!(!made.contains_key(&index.parse().unwrap()));
                }
                _ => panic!("{call}"),
            }
        }
        for gpu in plan.gpus.iter().filter(|g| &*g.node == node) {
            assert_eq!(mode[&gpu.gpu], gpu.mig);
            let board = catalogue.by_id(&gpu.board).unwrap();
            let wanted: Vec<(u32, u32)> = gpu
                .instances
                .iter()
                .filter_map(|i| match &i.profile {
                    InstanceProfile::Mig(name) => {
                        Some((board.profile(name).unwrap().1.profile_id.unwrap(), i.start))
                    }
                    InstanceProfile::Full => None,
                })
                .collect();
            assert_eq!(made.remove(&gpu.gpu).unwrap_or_default(), wanted, "{node} {}", gpu.gpu);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    stand_in(folder.path(), "nvidia-smi", "");
    assert_eq!(run_script(folder.path(), "nvidia-smi", &script, &["elsewhere"]), (2, vec![]));
    // Without an argument the host's name is looked for, with its domain and without it.
    let full = script.replace("'gpu-5')", "'gpu-5.example.com')");
    assert_ne!(full, script);
    for (names, script, code) in [
        ("[ $# -gt 0 ] && echo gpu-5.example.com || echo gpu-5", &full, 0),
        ("[ \"$1\" = -s ] && echo gpu-5 || echo gpu-5.example.com", &script, 0),
        ("echo gpu-5.example.com", &full, 0),
        ("[ $# -gt 0 ] && exit 1; echo gpu-5", &script, 0),
        ("echo gpu-50", &script, 2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        stand_in(folder.path(), "nvidia-smi", "");
        stand_in(folder.path(), "hostname", names);
        let (ended, calls) = run_script(folder.path(), "nvidia-smi", script, &[]);
        assert_eq!((ended, calls.is_empty()), (code, code != 0), "{names}");
    }
}

#[test]
fn airflow_tasks_ask_for_what_the_plan_has() {
    if !have(&["python3"], "python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (stand_ins, tasks) = (folder.path().join("run.py"), folder.path().join("tasks.py"));
    fs::write(&stand_ins, include_str!("airflow_stand_in.py")).unwrap();
    fs::write(&tasks, emit(&["airflow"])).unwrap();
    let output = Command::new("python3").arg(&stand_ins).arg(&tasks).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tasks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut ids = BTreeSet::new();
    let mut instances = 0;
    for task in &tasks {
        assert!(ids.insert(task["task_id"].as_str().unwrap()));
        assert_eq!(task["image"], "mine");
        let limits = task["container_resources"]["limits"].as_object().unwrap();
        let (resource, count) = limits.iter().next().unwrap();
        assert!(resource == "nvidia.com/gpu" || resource.starts_with("nvidia.com/mig-"));
        assert!(!resource.contains('+'));
        let toleration = &task["tolerations"][0];
        assert_eq!(
            (&toleration["key"], &toleration["operator"]),
            (&"nvidia.com/gpu".into(), &"Exists".into())
        );
        let count: u64 = count.as_str().unwrap().parse().unwrap();
        instances += count * task["max_active_tis_per_dag"].as_u64().unwrap();
    }
    let wanted = example_plan()
        .gpus
        .iter()
        .flat_map(|g| &g.instances)
        .filter(|i| i.assignment.is_some())
        .count();
    assert_eq!(instances, wanted as u64);
}

/// A function that is called as an import of the module would replace it for all of them.
#[test]
fn no_airflow_task_takes_the_name_of_what_the_module_needs() {
    if !have(&["python3"], "python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let csv =
        "team,workload,memory\nk8s,推薦,9GiB\nKubernetesPodOperator,推薦,9GiB\nimport,推薦,9GiB\n";
    let plan = planned(folder.path(), csv, &["--gpus", "1xa100-80gb"]);
    let (stand_ins, tasks) = (folder.path().join("run.py"), folder.path().join("tasks.py"));
    fs::write(&stand_ins, include_str!("airflow_stand_in.py")).unwrap();
    fs::write(&tasks, emit_from(&plan, &["airflow"]).0).unwrap();
    let output = Command::new("python3").arg(&stand_ins).arg(&tasks).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tasks: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tasks.len(), 3);
}

#[test]
fn a_second_yaml_reader_agrees() {
    // Debian's module belongs to Debian's Python, which need not be the first on the path.
    let reads_yaml = |python: &&str| {
        let probe = Command::new(python).args(["-c", "import yaml"]).output();
        probe.is_ok_and(|o| o.status.success())
    };
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(reads_yaml) else {
        skip("PyYAML is not installed (Debian: apt-get install python3-yaml)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let program = "import sys, json, yaml\nprint(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1], encoding='utf-8'))]))";
    for arguments in [
        &["configmap", "--with-presets"][..],
        &["pod"],
        &["dra"],
        &["kueue"],
        &["jupyterhub"],
        &["device-plugin"],
        &["device-plugin", "--chart", "gpu-operator"],
        &["prometheus-rules"],
        &["prometheus-rules", "--object"],
        &["mig-parted"],
    ] {
        let text = emit(arguments);
        let file = folder.path().join("x.yaml");
        fs::write(&file, &text).unwrap();
        let output = Command::new(python).args(["-c", program]).arg(&file).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let theirs: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let ours: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(theirs, ours, "{arguments:?}");
    }
}

#[test]
fn promtool_takes_the_rules_and_they_fire() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), emit(&["prometheus-rules"])).unwrap();
    let promtool = |arguments: &[&str]| promtool(folder.path(), arguments);
    assert!(promtool(&["check", "rules", "rules.yaml"]).contains("SUCCESS"));
    // gpu-3 should have 2 × 2g.12gb and 4 × 1g.6gb. One 2g.12gb is missing and one is nearly full;
    // of the 1g.6gb none is missing, and three idle where two are spare. Both spellings of the host.
    let series = |profile: &str, id: u32, host: &str, used: u64, free: u64| {
        let labels = format!(
            "gpu=\"0\",GPU_I_PROFILE=\"{profile}\",GPU_I_ID=\"{id}\",{host}=\"gpu-3\",exported_pod=\"p{id}\""
        );
        format!(
            "      - series: 'DCGM_FI_DEV_FB_USED{{{labels}}}'\n        values: '{used}x600'\n      - series: 'DCGM_FI_DEV_FB_FREE{{{labels}}}'\n        values: '{free}x600'\n"
        )
    };
    let mut test = String::from(
        "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n",
    );
    test += &series("2g.12gb", 1, "Hostname", 11_900, 100);
    for (id, used) in [(3, 12), (4, 12), (5, 12), (6, 5_000)] {
        test += &series(
            "1g.6gb",
            id,
            if id == 3 { "hostname" } else { "Hostname" },
            used,
            5_952 - used,
        );
    }
    test += "    promql_expr_test:
      - expr: migplan:instances:count{node=\"gpu-3\"}
        eval_time: 20m
        exp_samples:
          - labels: 'migplan:instances:count{node=\"gpu-3\", GPU_I_PROFILE=\"1g.6gb\"}'
            value: 4
          - labels: 'migplan:instances:count{node=\"gpu-3\", GPU_I_PROFILE=\"2g.12gb\"}'
            value: 1
      - expr: count by (alertname, profile, node, exported_pod, planned) (ALERTS{alertstate=\"firing\", node=\"gpu-3\"} or ALERTS{alertstate=\"firing\", exported_pod!=\"\"} or ALERTS{alertstate=\"firing\", alertname=\"MigplanInstancesIdle\"})
        eval_time: 9h
        exp_samples:
          - labels: '{alertname=\"MigplanInstancesMissing\", profile=\"2g.12gb\", node=\"gpu-3\", planned=\"2\"}'
            value: 1
          - labels: '{alertname=\"MigplanInstanceMemoryNearlyFull\", exported_pod=\"p1\"}'
            value: 1
          - labels: '{alertname=\"MigplanInstancesIdle\", profile=\"1g.6gb\", planned=\"2\"}'
            value: 1
      - expr: ALERTS{alertstate=\"firing\", alertname=\"MigplanNodesWithoutInstances\", profile=~\"3g.40gb|2g.12gb\"}
        eval_time: 1h
        exp_samples:
          - labels: 'ALERTS{alertname=\"MigplanNodesWithoutInstances\", alertstate=\"firing\", planned=\"2\", profile=\"3g.40gb\", severity=\"warning\"}'
            value: 1
";
    fs::write(folder.path().join("test.yaml"), test).unwrap();
    promtool(&["test", "rules", "test.yaml"]);
}

#[test]
fn alerts_name_the_pod_and_count_the_nodes_of_the_plan() {
    if !have(&["promtool"], "prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.json"), emit(&["prometheus-rules"])).unwrap();
    let series = |node: &str, profile: &str, id: u32, more: &str, used: u64| {
        let labels = format!(
            "gpu=\"0\",GPU_I_PROFILE=\"{profile}\",GPU_I_ID=\"{id}\",hostname=\"{node}\"{more}"
        );
        ["USED", "FREE"].map(|kind| {
            let value = if kind == "USED" { used } else { 12_000 - used };
            json!({"series": format!("DCGM_FI_DEV_FB_{kind}{{{labels}}}"), "values": format!("{value}x600")})
        })
    };
    let exporter = ",pod=\"dcgm-x\",namespace=\"gpu\"";
    let seen = format!(",exported_pod=\"train-0\",exported_namespace=\"ml\"{exporter}");
    let full = [
        ("1", seen.as_str(), "ml/train-0"),
        ("2", exporter, "gpu/dcgm-x"),
        ("3", "", "A process on GPU 0 of gpu-3"),
    ];
    let mut input = Vec::new();
    let mut nearly_full = Vec::new();
    for (id, more, user) in full {
        input.extend(series("gpu-3", "4g.24gb", id.parse().unwrap(), more, 11_900));
        let labels: Vec<(&str, &str)> = more
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .chain([("gpu", "0"), ("GPU_I_PROFILE", "4g.24gb"), ("GPU_I_ID", id)])
            .chain([("hostname", "gpu-3"), ("severity", "warning")])
            .collect();
        nearly_full.push(json!({
            "exp_labels": labels.into_iter().collect::<BTreeMap<_, _>>(),
            "exp_annotations": {
                "summary": format!("{user} uses 99.17% of its 4g.24gb"),
                "description": "The workload is about to run out of GPU memory: raise its demand and plan again."},
        }));
    }
    // The plan leaves no 2g.12gb free. One idles on gpu-3, and others on a node that it lacks.
    for (node, id) in [("gpu-3", 7), ("elsewhere", 8), ("elsewhere", 9)] {
        input.extend(series(node, "2g.12gb", id, "", 12));
    }
    let idle = json!([{
        "exp_labels": {"severity": "info", "profile": "2g.12gb", "planned": "0"},
        "exp_annotations": {
            "summary": "1 instance of 2g.12gb was idle for 6 hours; the plan leaves 0 free",
            "description": "Teams use less than they asked for: `migplan demand --prometheus` shows what they need."},
    }]);
    let alert = |name: &str, expected: serde_json::Value| json!({"eval_time": "9h", "alertname": name, "exp_alerts": expected});
    let test = json!({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": input, "alert_rule_test": [
            alert("MigplanInstanceMemoryNearlyFull", nearly_full.into()),
            alert("MigplanInstancesIdle", idle)]}]});
    fs::write(folder.path().join("test.json"), test.to_string()).unwrap();
    promtool(folder.path(), &["test", "rules", "test.json"]);
}

#[test]
fn systemd_takes_the_units() {
    if !have(&["systemd-analyze"], "systemd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("migplan.service");
    for arguments in [
        &["systemd", "--node", "gpu-1", "--binary", "/bin/true"][..],
        &["systemd", "--node", "gpu-5", "--binary", "/bin/true", "--with", "nvidia-mig-parted"],
        &[
            "systemd",
            "--node",
            "gpu-5",
            "--binary",
            "/bin/true",
            "--config",
            "/srv/50% of \"it\" $HOME/c.yaml",
        ],
    ] {
        fs::write(&unit, emit(arguments)).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("Failed to initialize manager") {
            skip(&format!("systemd-analyze does not run here: {said}"));
            return;
        }
        assert!(output.status.success() && !said.contains("migplan.service"), "{said}");
    }
    // A program whose path has what systemd replaces in other words, and the lines that are offered
    // for the driver's own unit.
    let odd = folder.path().join("my $dir 50%n");
    fs::create_dir(&odd).unwrap();
    let binary = odd.join("mig%plan");
    stand_in(&odd, binary.file_name().unwrap().to_str().unwrap(), "");
    let config = "/etc/50% of %n/$x\"q\\z.yaml";
    let text = emit(&[
        "systemd",
        "--node",
        "gpu-1",
        "--config",
        config,
        "--binary",
        binary.to_str().unwrap(),
    ]);
    let text = text.replace("#   Environment=", "Environment=");
    let (offered, unit_text) = text.split_once("[Unit]").unwrap();
    let offered: Vec<&str> = offered.lines().filter(|l| l.starts_with("Environment=")).collect();
    assert_eq!(
        offered[0],
        r#"Environment="MIG_PARTED_CONFIG_FILE=/etc/50%% of %%n/$x\"q\\z.yaml""#
    );
    let service = format!("[Service]\n{}\n", offered.join("\n"));
    fs::write(&unit, format!("[Unit]{unit_text}").replace("[Service]\n", &service)).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("migplan.service"), "{said}");
    // As confined as root's work on GPUs can be; the package's unit likewise.
    fs::write(&unit, emit(&["systemd", "--node", "gpu-1"])).unwrap();
    for unit in [unit.clone(), root("packaging/migplan.service")] {
        let text = fs::read_to_string(&unit).unwrap();
        assert!(text.contains(migplan::emit::systemd::CONFINEMENT), "{text}");
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=yes", "--no-pager", "--threshold=40"]).arg(&unit);
        let output = security.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
    }
    // A unit that is wrong would be found out.
    fs::write(&unit, "[Service]\nType=oneshot\nExecStart=relative\n").unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().unwrap();
    assert!(!output.status.success() || !output.stderr.is_empty());
}

#[test]
fn a_node_without_a_name_is_told_wherever_its_name_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory\na,b,9GiB\n";
    let plan = planned(folder.path(), csv, &["--gpus", "1xa100-80gb"]);
    for (kind, program) in [("labels", "kubectl"), ("slurm", "Slurm")] {
        let warning = format!("the plan calls its node 'local', but {program} knows it by another");
        let (_, said) = emit_from(&plan, &[kind]);
        assert!(said.contains(&warning), "{kind}: {said}");
        let (_, said) = emit_from(&example(), &[kind]);
        assert!(!said.contains("by another name"), "{kind}: {said}");
    }
}

#[test]
fn the_checkpoint_has_exact_placements() {
    use serde::Deserialize;
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Checkpoint {
        version: String,
        mig_state: MigState,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct MigState {
        devices: Vec<Device>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Device {
        #[serde(rename = "UUID")]
        uuid: String,
        mig_mode: u32,
        gpu_instances: Option<Vec<GpuInstance>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct GpuInstance {
        #[serde(rename = "ProfileID")]
        profile_id: u32,
        placement: Placement,
        compute_instances: Vec<ComputeInstance>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "PascalCase")]
    struct Placement {
        start: u32,
        size: u32,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ComputeInstance {
        #[serde(rename = "ProfileID")]
        profile_id: u32,
        #[serde(rename = "EngProfileID")]
        engine: u32,
    }
    let uuids = "GPU-0a,GPU-0b,GPU-0c,GPU-0d";
    let text = emit(&["checkpoint", "--node", "gpu-1", "--uuids", uuids]);
    let checkpoint: Checkpoint = serde_json::from_str(&text).unwrap();
    assert_eq!(checkpoint.version, "v1");
    let devices = checkpoint.mig_state.devices;
    assert_eq!(devices.iter().map(|d| d.uuid.as_str()).collect::<Vec<_>>().join(","), uuids);
    assert_eq!(devices.iter().map(|d| d.mig_mode).collect::<Vec<_>>(), [1, 1, 1, 0]);
    // mig-parted compares with what it reads, where a list without elements was never made.
    assert!(devices[3].gpu_instances.is_none());
    let plan = example_plan();
    let catalogue = Catalogue::built_in();
    for (device, gpu) in devices.iter().zip(&plan.gpus).take(3) {
        let board = catalogue.by_id(&gpu.board).unwrap();
        let wanted = gpu.instances.iter().map(|wanted| {
            let InstanceProfile::Mig(name) = &wanted.profile else { panic!() };
            let profile = board.profile(name).unwrap().1;
            (profile.nvml_index, wanted.start, wanted.size, profile.compute_slices - 1, 0)
        });
        // Nor is it equal in another order than that of its walk, profile by profile.
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_unstable();
        let made = device.gpu_instances.iter().flatten().map(|made| {
            let [compute] = &made.compute_instances[..] else { panic!() };
            let Placement { start, size } = made.placement;
            (made.profile_id, start, size, compute.profile_id, compute.engine)
        });
        assert_eq!(made.collect::<Vec<_>>(), wanted);
    }
}
