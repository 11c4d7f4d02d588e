//! What the saved runs say of a node: which is open, which state the next one goes back to, which
//! are kept, and what one reading alone does not prove. The real binary over the fake
//! libnvidia-ml.

use crate::rehearsal::*;
use migplan::apply::state_dir::RUNS_KEPT;
use serde_json::Value;

/// The runs that `status` calls interrupted, by number.
fn numbers(rehearsal: &Rehearsal) -> Vec<u64> {
    interrupted(rehearsal).into_iter().map(|(run, _)| run).collect()
}

/// Applies what is wanted of some GPUs.
fn apply(rehearsal: &Rehearsal, entries: &[(&str, &str)]) {
    rehearsal.write("next.yaml", &yaml(entries));
    let ran = rehearsal.migplan(&["apply", "-f", "next.yaml", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn one_answer_that_a_gpu_cannot_do_mig_is_not_believed() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    // A GPU that cannot do MIG is as `off` wants it, and there would be nothing to do.
    rehearsal.config(&[("all", "off")]);
    rehearsal.edit(|node| {
        node.faults = vec![fault("nvmlDeviceGetMigMode", 1, Some(3), false, false)];
    });
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("GPU 0 is not as it was a moment ago"), "{}", ran.stderr);
    rehearsal.edit(|node| node.faults.clear());
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn an_instance_that_one_reading_leaves_out_is_not_gone() {
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[]));
    apply(&rehearsal, &[("all", "{7g.80gb: 1}")]);
    let applied = rehearsal.load().essence();
    // Without its profile and its MIG device, the GPU reads as empty, which is the saved state.
    let index = board("h100-80gb").profile(&"7g.80gb".parse().unwrap()).unwrap().1.nvml_index;
    let asked = u64::from(index) + 1;
    rehearsal.edit(|node| {
        node.faults = vec![
            fault("nvmlDeviceGetGpuInstanceProfileInfoV", asked, Some(3), false, false),
            fault("nvmlDeviceGetMaxMigDeviceCount", 1, Some(3), false, false),
        ];
    });
    let ran = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("GPU 0 is not as it was a moment ago"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), applied);
}

#[test]
fn a_gpu_that_a_later_file_wants_as_it_is_was_not_left_half_way() {
    // Killed between two instances of GPU 1: each that is there is whole.
    let (rehearsal, _) = killed(HALF_WAY + 1);
    let left = rehearsal.load().essence()[1].2.clone();
    let [(profile, ..)] = &left[..] else { panic!("{left:?}") };
    assert_eq!(numbers(&rehearsal), [1]);
    // GPU 0 changes; GPU 1 needs no change to be as wanted.
    apply(&rehearsal, &[("[0]", "{1g.10gb: 7}"), ("[1]", &format!("{{{profile}: 1}}"))]);
    assert_eq!(rehearsal.load().essence()[1].2, left);
    assert_eq!(numbers(&rehearsal), [] as [u64; 0]);
    // And that is written down, so that it stays so whatever becomes of the GPUs.
    let ends: Vec<Value> = runs(&rehearsal).iter().map(|run| run["end"].clone()).collect();
    assert_eq!(ends, ["superseded", "applied"]);
}

#[test]
fn a_run_that_somebody_else_undid_is_undone() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    apply(&rehearsal, &[("all", "{7g.80gb: 1}")]);
    rehearsal.edit(|now| now.gpus = node.gpus.clone());
    let ran = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());
    let ends: Vec<Value> = runs(&rehearsal).iter().map(|run| run["end"].clone()).collect();
    assert_eq!(ends, ["rolled_back"]);
}

#[test]
fn a_run_that_died_before_its_first_change_left_nothing_half_way() {
    let (rehearsal, first) = killed(HALF_WAY);
    // The next one finds GPU 1 half-way, and saves the state before the first.
    rehearsal.write("next.yaml", &yaml(&[("[0]", "{1g.10gb: 7}"), ("[1]", "{4g.40gb: 1}")]));
    rehearsal.edit(|node| node.faults = vec![fault("change", 1, None, false, false)]);
    assert_eq!(rehearsal.migplan(&["apply", "-f", "next.yaml", "--yes"]).code, -1);
    rehearsal.edit(|node| node.faults.clear());
    assert_eq!(runs(&rehearsal).len(), 2);
    assert_eq!(numbers(&rehearsal), [1]);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn a_state_that_a_later_run_wanted_is_the_one_to_go_back_to() {
    let (rehearsal, first) = killed(HALF_WAY);
    // GPU 0 gets a part of what the first run wanted there, so none of it is somebody else's.
    apply(&rehearsal, &[("[0]", "{2g.20gb: 1}")]);
    let second = rehearsal.load().essence();
    apply(&rehearsal, &[("[0]", "{7g.80gb: 1}")]);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    // GPU 1 is still half-way, and goes where the first run found it.
    assert_eq!(rehearsal.load().essence(), [second[0].clone(), first.essence()[1].clone()]);
}

#[test]
fn what_only_an_earlier_run_knew_is_somebody_elses() {
    let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 6)]));
    apply(&rehearsal, &[("all", "{4g.40gb: 1}")]);
    apply(&rehearsal, &[("all", "{2g.20gb: 1}")]);
    rehearsal.edit(|node| {
        put(node, 0, "1g.10gb", 6);
    });
    let before = rehearsal.load().essence();
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 7, "{}", back.stderr);
    assert!(
        back.stderr.contains("1g.10gb at memory slice 6 was created by somebody else"),
        "{}",
        back.stderr
    );
    assert_eq!(rehearsal.load().essence(), before);
    // The first run knows it as what it found.
    let back = rehearsal.migplan(&["rollback", "--yes", "--to", "1"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
}

#[test]
fn the_oldest_runs_go_but_not_one_that_is_open_or_stopped_a_unit() {
    let (rehearsal, first) = killed(HALF_WAY);
    systemctl(&rehearsal, &[]);
    let file = |id: usize| rehearsal.state_dir().join(format!("run-{id:06}.jsonl"));
    let mut header = json(std::fs::read_to_string(file(1)).unwrap().lines().next().unwrap());
    for id in 2..=RUNS_KEPT {
        header["stopped"] = if id == 2 { vec!["nvidia-dcgm"] } else { Vec::new() }.into();
        std::fs::write(file(id), format!("{header}\n{{\"ended\":\"applied\"}}\n")).unwrap();
    }
    let gone = || (1..=RUNS_KEPT).filter(|&id| !file(id).exists()).collect::<Vec<usize>>();
    apply(&rehearsal, &[("[0]", "{1g.10gb: 7}")]);
    assert_eq!(gone(), [3]);
    // By then the unit has been started.
    apply(&rehearsal, &[("[0]", "{7g.80gb: 1}")]);
    assert_eq!(gone(), [2, 3]);
    let back = rehearsal.migplan(&["rollback", "--yes", "--to", "1"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn the_list_tells_what_a_run_after_an_interrupted_one_found() {
    let (rehearsal, first) = killed(HALF_WAY + 1);
    let listed = |name: &str| {
        let present = rehearsal.migplan(&["status", "--format", "json"]);
        let status = json(&present.stdout);
        let instances = status["gpus"][0]["instances"].as_array().unwrap().iter();
        let all = instances.map(|i| format!("{}@{}", i["profile"].as_str().unwrap(), i["start"]));
        format!("{name}{}", all.collect::<Vec<_>>().join(" "))
    };
    let found = listed("             the state before an interrupted run; this run found MIG on: ");
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence());
    let before = listed("      GPU 0: MIG on: ");
    let list = rehearsal.migplan(&["rollback", "--list"]).stdout;
    let of_rollback = list.split("before the rollback").nth(1).unwrap();
    assert!(of_rollback.contains(&format!("{before}\n{found}\n")), "{found}\n{list}");
    assert_eq!(list.matches("this run found").count(), 2, "{list}");

    let found: Vec<usize> =
        runs(&rehearsal).iter().map(|run| run["found"].as_array().unwrap().len()).collect();
    assert_eq!(found, [0, 2]);
}

#[test]
fn a_rollback_stops_units_as_an_apply_does() {
    let rehearsal = Rehearsal::new(&two_gpus());
    rehearsal.config(BOTH);
    systemctl(&rehearsal, &["nvidia-dcgm"]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(units(&rehearsal), [] as [String; 0]);
    let back = rehearsal.migplan(&["rollback", "--yes", "--stop", "nvidia-dcgm"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(units(&rehearsal), ["stop nvidia-dcgm", "start nvidia-dcgm"]);
}
