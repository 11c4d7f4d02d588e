//! Nodes whose GPUs are not 0, 1, 2 … of one board: a display GPU or a lost one among them, and boards
//! in an order of their own. What is planned for a GPU must be what becomes of that GPU.
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{migplan, written};
use crate::rehearsal::{Ran, Rehearsal, json, lay_out, occupy, put};
use fake_nvml::Node;
use migplan::hardware::Catalogue;

const DEMAND: &str = "team,workload,memory,count\na,b,9GiB,28\n";

/// Puts a busy 7g.80gb on a GPU.
fn busy(node: &mut Node, gpu: usize) {
    let board = Catalogue::built_in().find("h100-80gb", None).unwrap().clone();
    lay_out(node, gpu, &board, &[]);
    put(node, gpu, "7g.80gb", 0);
    occupy(node, gpu, 0, 4242);
}

fn on(node: &Node) -> Rehearsal {
    let rehearsal = Rehearsal::new(node);
    rehearsal.write("teams.csv", DEMAND);
    rehearsal
}

/// Four H100, the last of which is busy, with a display GPU before it.
fn workstation() -> Rehearsal {
    let mut node = Node::new("5xh100-80gb").unwrap();
    let display = &mut node.gpus[3];
    display.profiles.clear();
    (display.product, display.pci_id) = ("NVIDIA T400 4GB".into(), 0x1FF2_10DE);
    busy(&mut node, 4);
    on(&node)
}

/// The entries of the only label, without comments.
fn entries(yaml: &str) -> &str {
    yaml.split_once("  migplan:\n").unwrap().1
}

const AROUND_THE_DISPLAY: &str = "    - devices: [0, 1, 2]
      mig-enabled: true
      mig-devices:
        \"1g.10gb\": 7
    - devices: [4]
      mig-enabled: true
      mig-devices:
        \"7g.80gb\": 1
    - devices: [3]
      mig-enabled: false
";

#[test]
fn a_gpu_without_mig_has_an_index_too() {
    let node = workstation();
    let suggest = |flags: &[&str]| {
        let args = ["suggest", "-w", "teams.csv", "--current", "--plan", "plan.json"];
        let ran = node.migplan(&[&args[..], flags].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("instances_destroyed 0"), "{}", ran.stderr);
        assert_eq!(entries(&ran.stdout), AROUND_THE_DISPLAY);
        ran
    };
    let ran = suggest(&[]);
    assert!(ran.stderr.contains("GPU 3 (NVIDIA T400 4GB) cannot do MIG and is left out"));
    // Described by hand it is the same node.
    let ran = suggest(&["--gpus", "4xh100-80gb"]);
    node.write("config.yaml", &ran.stdout);
    let plan: Value = json(&std::fs::read_to_string(node.path("plan.json")).unwrap());
    let indices: Vec<u64> =
        plan["gpus"].as_array().unwrap().iter().map(|g| g["gpu"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 4]);
    assert_eq!(plan["left_out"], json!([{"node": "local", "gpu": 3, "reason": "without_mig"}]));
    let emitted = node.migplan(&["emit", "mig-parted", "--plan", "plan.json"]);
    assert_eq!(entries(&emitted.stdout), AROUND_THE_DISPLAY, "{}", emitted.stderr);
    let uuids = "GPU-0,GPU-1,GPU-2,GPU-3,GPU-4";
    let args = ["emit", "checkpoint", "--plan", "plan.json", "--uuids", uuids];
    let checkpoint = json(&node.migplan(&args).stdout);
    assert_eq!(checkpoint["MigState"]["Devices"][3]["UUID"], "GPU-4");

    let done = |args: &[&str]| {
        let ran = node.migplan(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran
    };
    assert!(done(&["check"]).stdout.contains("1 node of 4 GPUs can hold it"));
    assert!(done(&["apply", "--dry-run"]).stdout.contains("GPU 4: no change"));
    done(&["apply", "--yes"]);
    done(&["check", "--live"]);
    let replayed = done(&["replay", "-w", "teams.csv", "--current", "-f", "config.yaml"]);
    let served = |row: &str| {
        let line = replayed.stdout.lines().find(|l| l.starts_with(row)).unwrap();
        line.split_whitespace().nth(3).unwrap().to_string()
    };
    assert_eq!(served("present "), served("migplan "), "{}", replayed.stdout);
}

#[test]
fn all_of_them_without_mig_are_no_fleet() {
    let mut node = Node::new("2xh100-80gb").unwrap();
    node.gpus.iter_mut().for_each(|gpu| {
        gpu.profiles.clear();
        (gpu.product, gpu.pci_id) = ("Tesla T4".into(), 0x1EB8_10DE);
    });
    let ran = on(&node).migplan(&["suggest", "-w", "teams.csv"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("GPU 1: 'Tesla T4' cannot do MIG"), "{}", ran.stderr);
}

#[test]
fn a_lost_gpu_is_left_out_where_somebody_says_so() {
    let mut node = Node::new("4xh100-80gb").unwrap();
    busy(&mut node, 3);
    node.gpus[1].lost = true;
    let node = on(&node);
    let suggest = |flags: &[&str]| -> Ran {
        node.migplan(&[&["suggest", "-w", "teams.csv"], flags].concat())
    };
    let ran = suggest(&[]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("--gpus 3xh100-sxm5-80gb --current\n"), "{}", ran.stderr);
    let ran = suggest(&["--gpus", "3xh100-sxm5-80gb", "--current"]);
    assert_eq!(
        entries(&ran.stdout),
        AROUND_THE_DISPLAY
            .replace("[0, 1, 2]", "[0, 2]")
            .replace("[4]", "[3]")
            .replace("    - devices: [3]\n      mig-enabled: false\n", ""),
        "{}",
        ran.stderr
    );
    node.write("config.yaml", &ran.stdout);
    assert_eq!(node.migplan(&["apply", "--dry-run"]).code, 0);
    // GPUs that are not here are refused, with what is.
    let ran = suggest(&["--gpus", "4xh100-80gb", "--current"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("which are 3xh100-sxm5-80gb, but"), "{}", ran.stderr);
}

#[test]
fn the_machine_says_which_board_is_where() {
    let mut node = Node::new("2xh100-80gb,2xa100-80gb").unwrap();
    busy(&mut node, 0);
    let node = on(&node);
    let args = ["suggest", "-w", "teams.csv", "--current", "--format", "json", "--gpus"];
    for gpus in ["2xh100-80gb,2xa100-80gb", "2xa100-80gb,2xh100-80gb"] {
        let ran = node.migplan(&[&args[..], &[gpus]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let plan = json(&ran.stdout);
        assert_eq!(plan["gpus"][0]["board"], "h100-sxm5-80gb");
        assert_eq!(plan["gpus"][0]["instances"][0]["profile"], "7g.80gb");
        assert_eq!(plan["gpus"][2]["board"], "a100-sxm4-80gb");
    }
}

#[test]
fn a_checkpoint_of_several_boards_is_taken_in_an_order_that_is_said() {
    let instance = |profile: u32, start: u32, size: u32| {
        json!({
            "ProfileID": profile, "Placement": {"Start": start, "Size": size},
            "ComputeInstances": [{"ProfileID": profile, "EngProfileID": 0}]
        })
    };
    // In the order of ids: an A100 with 1g.10gb seven times, an H100 with 3g.40gb twice.
    let small: Vec<Value> = (0..7).map(|start| instance(0, start, 1)).collect();
    let checkpoint = json!({"Version": "v1", "MigState": {"Devices": [
        {"UUID": "GPU-a", "MigMode": 1, "GpuInstances": small},
        {"UUID": "GPU-h", "MigMode": 1, "GpuInstances": [instance(2, 0, 4), instance(2, 4, 4)]},
    ]}});
    let folder = TempDir::new().unwrap();
    let checkpoint = written(&folder, "checkpoint.json", &checkpoint.to_string());
    let rows = "team,workload,memory,count,boards\na,large,35GiB,2,h100\na,small,9GiB,7,a100\n";
    let teams = written(&folder, "teams.csv", rows);
    let args = ["suggest", "-w", &teams, "--current", &checkpoint, "--format", "json"];
    let rows = "node,board,gpus\nn,h100-80gb,1\nn,a100-80gb,1\n";
    let fleet = written(&folder, "fleet.csv", rows);
    let said = "its GPUs are taken for 1xa100-sxm4-80gb, then 1xh100-sxm5-80gb; where";
    for gpus in [["--gpus", "1xh100-80gb,1xa100-80gb"], ["--fleet", &fleet]] {
        let run = migplan(&[&args[..], &gpus].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stderr.contains("instances_destroyed 0"), "{}", run.stderr);
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert_eq!(json(&run.stdout)["gpus"][0]["board"], "a100-sxm4-80gb");
    }
    // Of one board there is only one order.
    let rows = "node,board,gpus\nn,h100-80gb,2\n";
    let fleet = written(&folder, "fleet.csv", rows);
    let run = migplan(&[&args[..], &["--fleet", &fleet]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!run.stderr.contains("taken for"), "{}", run.stderr);
}
