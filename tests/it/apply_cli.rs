//! The real binary over the fake libnvidia-ml: exit codes, refusals, kills, resets, rights.

use crate::rehearsal::*;
use fake_nvml::{Node, Process};
use migplan::hardware::Catalogue;

#[test]
#[ignore = "no test: other tests run it as nvidia-smi"]
fn pretended_nvidia_smi() {
    pretend_nvidia_smi();
}

#[test]
fn apply_shows_changes_asks_and_is_idempotent() {
    let node = laid_out("2xh100-80gb", "h100-80gb", &[("4g.40gb", 0), ("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    rehearsal.config(&[("[0]", "{4g.40gb: 1, 2g.20gb: 1, 1g.10gb: 1}"), ("[1]", "off")]);

    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    for line in [
        "keep     4g.40gb        slices 0-3",
        "destroy  3g.40gb        slices 4-7",
        "create   2g.20gb        slices 4-5",
        "create   1g.10gb        slice 6",
        "GPU 1: no change",
        "1 instance kept, 1 destroyed, 2 created",
    ] {
        assert!(dry.stdout.contains(line), "{line}\n{}", dry.stdout);
    }
    // Nobody is there to be asked.
    let asked = rehearsal.migplan(&["apply"]);
    assert_eq!(asked.code, 7);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(rehearsal.changing_calls(), 0);

    let done = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{}", done.stderr);
    assert!(done.stderr.contains("done: 1 instance kept, 1 destroyed, 2 created"));
    let calls = rehearsal.changing_calls();
    assert_eq!(calls, 6);

    let again = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(again.code, 0);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert_eq!(rehearsal.changing_calls(), calls);
    assert_eq!(rehearsal.migplan(&["apply", "--yes", "-q"]).stderr, "");

    // What it exports is what it has.
    let export = rehearsal.migplan(&["export"]);
    rehearsal.write("present.yaml", &export.stdout);
    let same = rehearsal.migplan(&["apply", "-f", "present.yaml", "--yes"]);
    assert!(same.stderr.contains("nothing to do"), "{}", same.stderr);

    // And back.
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), node.essence());
    let again = rehearsal.migplan(&["rollback", "--yes"]);
    assert!(again.code == 0 && again.stderr.contains("nothing to do"), "{}", again.stderr);
}

#[test]
fn a_kill_at_any_change_is_undone_by_rollback_and_overcome_by_apply() {
    let node = {
        let mut node =
            laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0), ("1g.10gb", 1)]);
        occupy(&mut node, 0, 0, 4711);
        node
    };
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("[0]", "{1g.10gb: 1, 2g.20gb: 2, 1g.20gb: 1}"), ("[1]", "{7g.80gb: 1}")]);
    rehearsal.log_calls();
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let wanted = rehearsal.load().essence();
    let changes = rehearsal.changing_calls() as u64;
    assert_eq!(changes, 13);
    for nth in 1..=changes {
        for late in [false, true] {
            let what = format!("killed {} change {nth}", if late { "after" } else { "before" });
            let kill = || {
                rehearsal.forget_saved_state();
                let mut node = node.clone();
                node.faults = vec![fault("change", nth, None, false, late)];
                rehearsal.save(&node);
                assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1, "{what}");
                rehearsal.edit(|node| node.faults.clear());
            };
            kill();
            let left = rehearsal.load().essence();
            let back = rehearsal.migplan(&["rollback", "--yes"]);
            assert_eq!(back.code, 0, "{what}: {}", back.stderr);
            assert_eq!(rehearsal.load().essence(), node.essence(), "{what}");

            kill();
            let again = rehearsal.migplan(&["apply", "--yes"]);
            assert_eq!(again.code, 0, "{what}: {}", again.stderr);
            // Told of as in a status: where it left something half done.
            let told = left != node.essence() && left != wanted;
            assert_eq!(again.stderr.contains("was interrupted"), told, "{what}: {}", again.stderr);
            assert_eq!(rehearsal.load().essence(), wanted, "{what}");
            // The state before is still the one before the run that was killed.
            assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0, "{what}");
            assert_eq!(rehearsal.load().essence(), node.essence(), "{what}");
        }
    }
}

#[test]
fn two_kills_in_a_row_still_lead_back_to_the_first_state() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
    let rehearsal = Rehearsal::new(&node);
    let first = yaml(&[("all", "{2g.20gb: 2, 1g.20gb: 1}")]);
    let second = yaml(&[("all", "{1g.10gb: 3, 4g.40gb: 1}")]);
    rehearsal.write("first.yaml", &first);
    rehearsal.write("second.yaml", &second);
    for one in 1..=10 {
        for two in 1..=12 {
            let what = format!("killed before change {one}, then {two}");
            rehearsal.forget_saved_state();
            let mut start = node.clone();
            start.faults = vec![fault("change", one, None, false, false)];
            rehearsal.save(&start);
            assert_eq!(rehearsal.migplan(&["apply", "-f", "first.yaml", "--yes"]).code, -1);
            rehearsal.edit(|node| node.faults = vec![fault("change", two, None, false, false)]);
            let ran = rehearsal.migplan(&["apply", "-f", "second.yaml", "--yes"]);
            assert!(ran.code == -1 || ran.code == 0, "{what}: {}", ran.stderr);
            rehearsal.edit(|node| node.faults.clear());
            let back = rehearsal.migplan(&["rollback", "--yes"]);
            assert_eq!(back.code, 0, "{what}: {}", back.stderr);
            assert_eq!(rehearsal.load().essence(), node.essence(), "{what}");
        }
    }
}

#[test]
fn an_interrupted_run_that_others_have_overtaken_is_history() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{2g.20gb: 2}")]);
    rehearsal.edit(|node| node.faults = vec![fault("change", 3, None, false, false)]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, -1);
    // Somebody partitions the GPU by hand, and applies something else.
    let mut by_hand = laid_out("1xh100-80gb", "h100-80gb", &[("7g.80gb", 0)]);
    by_hand.gpus[0].uuid.clone_from(&node.gpus[0].uuid);
    rehearsal.save(&by_hand);
    rehearsal.config(&[("all", "{4g.40gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), by_hand.essence());
}

#[test]
fn what_mig_parted_would_start_is_refused_before_anything_is_touched() {
    let node = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    for (entries, expected) in [
        (&[("all", "{9g.999gb: 1}")][..], "has no profile 9g.999gb"),
        (&[("all", "{1g.5gb: 7}")], "has no profile 1g.5gb"),
        (&[("all", "{3g.40gb: 2, 1g.10gb: 1}")], "do not fit"),
        (&[("[7]", "{7g.80gb: 1}")], "no GPU 7; this node has GPU 0 to 1"),
        (&[("all", "{7g.80gb: 1}"), ("[1]", "off")], "contradict each other for GPU 1"),
    ] {
        rehearsal.config(entries);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{expected}\n{}", ran.stderr);
    }
    let filter = yaml(&[("all", "{7g.80gb: 1}")])
        .replace("  - devices", "  - device-filter: \"0x20B210DE\"\n    devices");
    rehearsal.write("config.yaml", &filter);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("no GPU of this node has 0x20B210DE"), "{}", ran.stderr);
    assert_eq!(rehearsal.changing_calls(), 0);
    assert_eq!(rehearsal.load().essence(), node.essence());
    assert!(!rehearsal.state_dir().exists());
}

#[test]
fn one_busy_instance_in_the_way_stops_everything() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 5), ("1g.10gb", 0)]);
    occupy(&mut node, 0, 5, 4711);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    rehearsal.config(&[("all", "{4g.40gb: 1, 3g.40gb: 1}")]);
    for arguments in [&["apply", "--yes"][..], &["apply", "--dry-run"]] {
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 7);
        assert!(
            ran.stderr.contains(
                "GPU 0: 1g.10gb at memory slice 5 (GPU instance 1) is in use by train.py (pid 4711)"
            ),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr
                .contains("without that, GPU 0 can have 4g.40gb@0 1g.10gb@5 but not 1 × 3g.40gb"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(rehearsal.changing_calls(), 0);

    let status = rehearsal.migplan(&["status"]);
    assert!(status.stdout.contains("train.py (pid 4711) with 1 GiB"), "{}", status.stdout);
    // Turning MIG off is in its way too.
    rehearsal.config(&[("all", "off")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 7);
    // A process on a whole GPU keeps MIG from being turned on.
    let mut node = Node::new("1xh100-80gb").unwrap();
    node.gpus[0].processes.push(Process { pid: 9, name: Some("vllm".into()), used_mib: 1 });
    rehearsal.save(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7);
    assert!(ran.stderr.contains("in use by vllm (pid 9)"), "{}", ran.stderr);
}

#[test]
fn an_ampere_gpu_is_reset_only_when_told_and_only_where_needed() {
    let mut node = Node::new("3xa100-80gb").unwrap();
    lay_out(&mut node, 1, &board("a100-80gb"), &[]);
    put(&mut node, 1, "7g.80gb", 0);
    occupy(&mut node, 1, 0, 4711);
    let rehearsal = Rehearsal::new(&node);
    nvidia_smi(&rehearsal);
    rehearsal.config(&[("[0]", "{3g.40gb: 2}"), ("[1]", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7);
    assert!(ran.stderr.contains("nvidia-smi --gpu-reset -i 0"), "{}", ran.stderr);
    assert_eq!(rehearsal.load(), node);

    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let after = rehearsal.load();
    assert!(after.gpus[0].mode && after.gpus[0].instances.len() == 2);
    assert_eq!(after.gpus[1..], node.gpus[1..]);

    // Back again needs a reset as well.
    assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 7);
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--reset"]).code, 0);
    assert_eq!(rehearsal.load().essence(), node.essence());

    // A client that holds the GPU: the mode is not left pending.
    rehearsal.edit(|node| node.gpus[0].clients.push("dcgm".into()));
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("in use by another client"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());

    // A virtual machine that cannot reset.
    rehearsal.edit(|node| {
        node.gpus[0].clients.clear();
        node.can_reset = false;
    });
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert!(ran.stderr.contains("not supported in this virtual machine"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());
    // No nvidia-smi at all.
    std::fs::remove_file(rehearsal.path("nvidia-smi")).unwrap();
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn one_hint_names_every_gpu_that_needs_a_reset() {
    let rehearsal = Rehearsal::new(&Node::new("4xa100-80gb").unwrap());
    let hint = |arguments: &[&str]| {
        let ran = rehearsal.migplan(arguments);
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("hint:").count(), 1, "{}", ran.stderr);
        ran.stderr
    };
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let by_hand = "by hand: nvidia-smi -i 0,1,2,3 -mig 1 && nvidia-smi --gpu-reset -i 0,1,2,3;";
    let told = hint(&["apply", "--dry-run"]);
    assert!(told.contains(by_hand), "{told}");
    // One to be turned off, and in use: waiting alone would not suffice.
    rehearsal.edit(|node| {
        lay_out(node, 0, &board("a100-80gb"), &[]);
        put(node, 0, "3g.40gb", 4);
        occupy(node, 0, 4, 4711);
    });
    rehearsal.config(&[("[0]", "off"), ("[2]", "{7g.80gb: 1}")]);
    let told = hint(&["apply", "--yes", "--wait", "5m"]);
    let by_hand = "by hand: nvidia-smi -i 2 -mig 1 && nvidia-smi -i 0 -mig 0 && nvidia-smi --gpu-reset -i 0,2;";
    assert!(told.contains(by_hand), "{told}");
    assert!(told.contains("is in use by train.py") && !told.contains("waiting:"), "{told}");
}

#[test]
fn a_pending_mode_is_finished_or_taken_back() {
    let mut node = Node::new("2xa100-80gb").unwrap();
    // Somebody has asked for MIG on GPU 0 already; GPU 1 shall stay without.
    node.gpus[0].pending = true;
    node.gpus[1].pending = true;
    let rehearsal = Rehearsal::new(&node);
    nvidia_smi(&rehearsal);
    rehearsal.config(&[("[0]", "{7g.80gb: 1}"), ("[1]", "off")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let after = rehearsal.load();
    assert!(after.gpus[0].mode && !after.gpus[1].mode && !after.gpus[1].pending);
}

#[test]
fn without_root_is_seen_what_may_be_seen() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("1g.10gb", 0)]);
    node.root = false;
    let rehearsal = Rehearsal::new(&node);
    let status = rehearsal.migplan(&["status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("placements are hidden"), "{}", status.stdout);
    assert!(status.stdout.contains("3g.40gb        GI 1 CI 0 MIG-"), "{}", status.stdout);
    let json = rehearsal.migplan(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["gpus"][0]["instances"][0]["profile"], "3g.40gb");
    assert!(json["gpus"][0]["instances"][0]["start"].is_null());

    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stderr.contains("has 1g.10gb 3g.40gb, and 7g.80gb is wanted"), "{}", dry.stderr);
    let apply = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(apply.code, 7);
    assert!(apply.stderr.contains("no permission"), "{}", apply.stderr);
    assert!(apply.stderr.contains("run it as root"), "{}", apply.stderr);
    assert_eq!(rehearsal.load(), node);
    // Counts are all that the YAML needs.
    let export = rehearsal.migplan(&["export"]);
    assert!(export.stdout.contains("\"3g.40gb\": 1"), "{}", export.stderr);
    assert_eq!(rehearsal.migplan(&["export", "-o", "checkpoint"]).code, 7);
    // With MIG off there is nothing to hide, but nothing may be changed either.
    let mut off = Node::new("1xh100-80gb").unwrap();
    off.root = false;
    rehearsal.save(&off);
    let dry = rehearsal.migplan(&["apply", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains("create   7g.80gb"), "{}", dry.stdout);
    assert!(dry.stderr.contains("may not change it"), "{}", dry.stderr);
    let apply = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(apply.code, 7, "{}", apply.stderr);
    assert!(apply.stderr.contains("run it as root"), "{}", apply.stderr);
    // Where only the attempt tells, nothing is left of it.
    off.lists_profiles_with_mig_off = false;
    rehearsal.save(&off);
    let apply = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(apply.code, 7, "{}", apply.stderr);
    assert!(apply.stderr.contains("nvmlDeviceSetMigMode: no permission"), "{}", apply.stderr);
    assert_eq!(rehearsal.load(), off);
}

#[test]
fn without_nvml_it_says_how_to_go_on() {
    let rehearsal = Rehearsal::new(&Node::new("1xh100-80gb").unwrap());
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    for arguments in [&["status"][..], &["apply", "--yes"], &["export"]] {
        let ran = rehearsal
            .command()
            .args(arguments)
            .env("MIGPLAN_NVML_LIB", "/nowhere/libnvidia-ml.so.1")
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(6));
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert!(stderr.contains("cannot load /nowhere/libnvidia-ml.so.1"), "{stderr}");
        assert!(stderr.contains("run this on the GPU node"), "{stderr}");
    }
    // A library that is none of NVIDIA's, and one without driver.
    let ran = rehearsal.migplan(&["status", "--nvml-lib", "config.yaml"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    rehearsal.write("fake-nvml.json", "{");
    let ran = rehearsal.migplan(&["status"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    // The file is looked at first.
    rehearsal.write("config.yaml", "version: v2\n");
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 3);
    assert_eq!(rehearsal.migplan(&["apply", "-f", "missing.yaml"]).code, 3);
}

#[test]
fn an_instance_that_monitoring_watches_is_waited_for() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    at(&mut node, 0, 4).watched = 2;
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);

    at(&mut node, 0, 4).watched = -1;
    rehearsal.save(&node);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 8);
    assert!(ran.stderr.contains("in use by another client"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn two_applies_cannot_run_at_once() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    std::fs::create_dir(rehearsal.state_dir()).unwrap();
    let lock = std::fs::File::create(rehearsal.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 7);
    assert!(ran.stderr.contains("another migplan is changing this node"), "{}", ran.stderr);
    assert_eq!(rehearsal.load(), node);
    drop(lock);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
}

#[test]
fn a_state_that_cannot_be_saved_is_no_state_to_leave() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    rehearsal.write("file", "");
    let ran = rehearsal.migplan(&["apply", "--yes", "--state-dir", "file/state"]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("--state-dir"), "{}", ran.stderr);
    assert_eq!(rehearsal.load(), node);
    let ran = rehearsal.migplan(&["rollback", "--yes", "--state-dir", "empty"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("no state has been saved here"), "{}", ran.stderr);
}

#[test]
fn what_somebody_else_made_is_not_rolled_away() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("7g.80gb", 0)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{2g.20gb: 1}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.edit(|node| {
        put(node, 0, "1g.10gb", 0);
    });
    let ran = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(ran.code, 7);
    assert!(
        ran.stderr.contains("1g.10gb at memory slice 0 was created by somebody else"),
        "{}",
        ran.stderr
    );
    rehearsal.edit(|node| occupy(node, 0, 0, 7));
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--force"]).code, 7);
    rehearsal.edit(|node| computes(node, 0, 0)[0].processes.clear());
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--force"]).code, 0);
    assert_eq!(rehearsal.load().essence(), node.essence());
}

#[test]
fn at_boot_everything_is_made_again() {
    let rehearsal = Rehearsal::new(&Node::new("2xh100-80gb").unwrap());
    rehearsal.config(&[("all", "{3g.40gb: 1, 1c.3g.40gb: 2}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let wanted = rehearsal.load().essence();
    rehearsal.edit(Node::reboot);
    assert_ne!(rehearsal.load().essence(), wanted);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.load().essence(), wanted);
    assert_eq!(wanted[0].2, [("3g.40gb".into(), 0, vec![1, 1]), ("3g.40gb".into(), 4, vec![3])]);
}

#[test]
fn a_gpu_instance_without_compute_instance_gets_one() {
    let mut node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4), ("3g.40gb", 0)]);
    computes(&mut node, 0, 4).clear();
    let rehearsal = Rehearsal::new(&node);
    rehearsal.log_calls();
    let status = rehearsal.migplan(&["status"]);
    assert!(status.stdout.contains("no compute instance"), "{}", status.stdout);
    let export = rehearsal.migplan(&["export"]);
    assert!(export.stdout.contains("# GPU 0: 3g.40gb at memory slice 4 has no compute instance"));
    rehearsal.config(&[("all", "{3g.40gb: 2}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.changing_calls(), 1);
}

#[test]
fn status_tells_what_blocks_what() {
    let node =
        laid_out("1xh100-80gb", "h100-80gb", &[("1g.10gb", 0), ("1g.10gb", 1), ("1g.10gb", 5)]);
    let rehearsal = Rehearsal::new(&node);
    let json = rehearsal.migplan(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["schema"], "migplan.status/v1");
    let gpu = &json["gpus"][0];
    assert_eq!((&gpu["mig_current"], &gpu["mig_pending"]), (&true.into(), &true.into()));
    assert_eq!(gpu["board"], "h100-sxm5-80gb");
    assert_eq!(gpu["instances"][2]["start"], 5);
    assert_eq!(gpu["instances"][2]["memory_mib"], 9856);
    let creatable: Vec<String> = gpu["creatable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{}{}", c["profile"].as_str().unwrap(), c["starts"]))
        .collect();
    assert_eq!(
        creatable,
        ["1g.10gb[2,3,4,6]", "1g.10gb+me[2,3,4,6]", "1g.20gb[2,6]", "2g.20gb[2]"]
    );
    assert_eq!(gpu["blocked"][0]["profile"], "3g.40gb");
    assert_eq!(gpu["blocked"][0]["by"][0]["start"], 5);
    assert_eq!(gpu["free_memory_slices"], 5);
    let text = rehearsal.migplan(&["status"]).stdout;
    assert!(text.contains("5 of 8 memory slices free"), "{text}");
    assert!(text.contains("the largest instance that could be created is 2g.20gb: there are slices for 4g.40gb, but not in one piece"), "{text}");
    assert!(text.contains("cannot create  3g.40gb      blocked by 1g.10gb@5"), "{text}");
}

#[test]
fn status_tells_why_free_slices_do_not_suffice() {
    let three = [("2g.20gb", 0), ("2g.20gb", 2), ("2g.20gb", 4), ("1g.10gb", 6)];
    let rehearsal = Rehearsal::new(&laid_out("1xa100-80gb", "a100-80gb", &three));
    let text = rehearsal.migplan(&["status"]).stdout;
    let why = "1 of 8 memory slices free; no instance could be created: no placement of 1g.10gb lies within slice 7\n";
    assert!(text.contains(why), "{text}");
}

#[test]
fn instances_are_listed_by_their_place() {
    // The driver lists them profile by profile.
    let node = laid_out("1xa100-80gb", "a100-80gb", &[("3g.40gb", 0), ("1g.10gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
    let listed = status["gpus"][0]["instances"].as_array().unwrap();
    let starts: Vec<u64> = listed.iter().map(|i| i["start"].as_u64().unwrap()).collect();
    assert_eq!(starts, [0, 4]);
}

#[test]
fn a_driver_that_does_not_answer_is_told_with_what_to_do() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    for (call, code, hint) in [
        ("nvmlDeviceGetCount_v2", 4, "hint: run it as root"),
        ("nvmlDeviceGetCount_v2", 999, "the kernel log may say more"),
        ("nvmlDeviceGetMigMode", 4, "hint: run it as root"),
        // A driver that offers a profile and then does not know it: no GPU without instances.
        ("nvmlDeviceGetGpuInstances", 3, "the kernel log may say more"),
    ] {
        rehearsal.edit(|node| node.faults = vec![fault(call, 1, Some(code), true, false)]);
        for arguments in [&["status"][..], &["apply", "--yes"]] {
            let ran = rehearsal.migplan(arguments);
            assert_eq!(ran.code, 6, "{call} {code}: {}", ran.stderr);
            assert!(ran.stderr.contains(call) && ran.stderr.contains(hint), "{}", ran.stderr);
        }
    }
    rehearsal.edit(|node| node.faults.clear());
    assert_eq!(rehearsal.load().essence(), node.essence());
    // Of two GPUs only one is for root alone: root would not see the node either.
    let lost = [(1, 4), (2, 15)]
        .map(|(nth, code)| fault("nvmlDeviceGetMigMode", nth, Some(code), false, false));
    let mut node = laid_out("2xh100-80gb", "h100-80gb", &[]);
    node.faults = lost.to_vec();
    let ran = Rehearsal::new(&node).migplan(&["status"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("the kernel log may say more"), "{}", ran.stderr);
}

#[test]
fn a_process_is_listed_once_and_where_it_runs() {
    let mut node = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    occupy(&mut node, 0, 4, 4711);
    node.gpus[1].processes.push(Process { pid: 9, name: Some("vllm".into()), used_mib: 1 });
    let rehearsal = Rehearsal::new(&node);
    let pids = |of: &serde_json::Value| -> Vec<u64> {
        of["processes"].as_array().unwrap().iter().map(|p| p["pid"].as_u64().unwrap()).collect()
    };
    // A driver lists what runs in an instance for the GPU and for the MIG device, or for the GPU.
    for missing in [None, Some("nvmlDeviceGetMaxMigDeviceCount")] {
        rehearsal.edit(|node| node.missing.extend(missing.map(str::to_string)));
        let status = json(&rehearsal.migplan(&["status", "--format", "json"]).stdout);
        assert_eq!(pids(&status["gpus"][0]["instances"][0]), [4711]);
        assert_eq!(pids(&status["gpus"][0]), [] as [u64; 0]);
        assert_eq!(pids(&status["gpus"][1]), [9]);
    }
}

#[test]
fn of_two_compute_instances_the_busy_one_stays() {
    for busy in [0, 1] {
        let rehearsal = Rehearsal::new(&laid_out("1xh100-80gb", "h100-80gb", &[]));
        rehearsal.config(&[("all", "{1c.3g.40gb: 2}")]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        rehearsal.edit(|node| {
            let shared = &mut node.gpus[0].instances[0].compute;
            assert_eq!(shared.len(), 2);
            shared[busy].processes.push(Process { pid: 4711, name: None, used_mib: 1000 });
        });
        let before = rehearsal.load().gpus[0].instances[0].compute[busy].clone();
        rehearsal.config(&[("all", "{1c.3g.40gb: 1}")]);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(rehearsal.load().gpus[0].instances[0].compute, [before]);
        rehearsal.config(&[("all", "{7g.80gb: 1}")]);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 7);
    }
}

#[test]
fn a_gpu_that_a_file_leaves_out_is_named() {
    let rehearsal = Rehearsal::new(&laid_out("2xh100-80gb", "h100-80gb", &[]));
    rehearsal.config(&[("[0]", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("no entry for GPU 1, which stays as it is"), "{}", ran.stderr);
}

#[test]
fn a_change_of_mode_is_one_call() {
    let rehearsal = Rehearsal::new(&Node::new("1xh100-80gb").unwrap());
    rehearsal.log_calls();
    rehearsal.config(&[("all", "{}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    assert_eq!(rehearsal.changing_calls(), 1);
    assert!(rehearsal.load().gpus[0].mode);
}

#[test]
fn events_for_machines() {
    let node = laid_out("1xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{3g.40gb: 1, 2g.20gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["changes", "begin", "done", "result"]);
    assert_eq!(events[0]["gpus"][0]["create"][0]["start"], 2);
    assert_eq!(events[3]["outcome"], "applied");

    rehearsal.edit(|node| occupy(node, 0, 4, 5));
    rehearsal.config(&[("all", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    assert_eq!(ran.code, 7);
    let last: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["outcome"], &last["exit_code"]), (&"refused".into(), &7.into()));
}

#[test]
fn old_drivers_work() {
    let mut node = Node::new("1xh100-80gb").unwrap();
    // R535 tells no profiles while MIG is off; others lack the newer form of the call.
    node.lists_profiles_with_mig_off = false;
    node.missing.push("nvmlDeviceGetGpuInstanceProfileInfoV".into());
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("all", "{1g.10gb+me: 1, 3g.40gb: 1, 1g.20gb: 1}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("warning").count(), 0, "{}", ran.stderr);
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 3);
}

#[test]
fn every_board_can_be_partitioned_and_emptied() {
    for board in Catalogue::built_in().boards() {
        let mut node = Node::new(&board.id).unwrap();
        node.gpus[0].needs_reset = false;
        let rehearsal = Rehearsal::new(&node);
        for profile in &board.profiles {
            rehearsal.config(&[(
                "all",
                &format!("{{\"{}\": {}}}", profile.name, profile.max_instances),
            )]);
            let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
            // Boards that reset are pretended not to, so the first change of mode is refused there.
            if board.mode_change_needs_reset && ran.code != 0 {
                rehearsal.edit(|node| {
                    node.gpus[0].mode = true;
                    node.gpus[0].pending = true;
                });
                let ran = rehearsal.migplan(&["apply", "--yes"]);
                assert_eq!(ran.code, 0, "{} {}: {}", board.id, profile.name, ran.stderr);
            } else {
                assert_eq!(ran.code, 0, "{} {}: {}", board.id, profile.name, ran.stderr);
            }
            let made = rehearsal.load().gpus[0].instances.len();
            assert_eq!(made, profile.max_instances as usize, "{} {}", board.id, profile.name);
        }
    }
}

#[test]
fn a_driver_that_differs_from_the_catalogue_is_followed() {
    let mut node = Node::new("1xh100-80gb").unwrap();
    let gpu = &mut node.gpus[0];
    gpu.profiles.retain(|p| p.name != "1g.20gb");
    let three = gpu.profiles.iter_mut().find(|p| p.name == "3g.40gb").unwrap();
    (three.name, three.memory_mib) = ("3g.39gb".into(), 40_000);
    let rehearsal = Rehearsal::new(&node);
    let status = rehearsal.migplan(&["status"]);
    assert!(
        status.stderr.contains("this driver differs from the catalogue, and is followed: 3g.39gb is 3g.40gb in the catalogue, 3g.39gb has 40000 MiB, not 40448, 1g.20gb is not offered"),
        "{}",
        status.stderr
    );
    rehearsal.config(&[("all", "{3g.39gb: 2}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    rehearsal.config(&[("all", "{1g.20gb: 2}")]);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 3);
    // A GPU that nobody knows.
    rehearsal.edit(|node| {
        node.gpus[0].product = "NVIDIA X900".into();
        node.gpus[0].pci_id = 0x9999_10DE;
    });
    let status = rehearsal.migplan(&["status"]);
    assert!(status.stderr.contains("NVIDIA X900 is not in the catalogue"), "{}", status.stderr);
    assert!(status.stdout.contains("3g.39gb"), "{}", status.stdout);
}

#[test]
fn a_configuration_from_stdin() {
    use std::io::Write;
    let rehearsal = Rehearsal::new(&Node::new("1xh100-80gb").unwrap());
    let mut child = rehearsal
        .command()
        .args(["apply", "-f", "-", "--yes"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let text = yaml(&[("all", "{7g.80gb: 1}")]);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 1);
}

#[test]
fn from_demand_to_a_checked_node_and_back_to_a_better_plan() {
    let rehearsal = Rehearsal::new(&laid_out("2xh100-80gb", "h100-80gb", &[("4g.40gb", 0)]));
    rehearsal.write("teams.csv", "team,workload,memory,count\nt,a,30GiB,2\nt,b,9GiB,5\n");
    let plan = |more: &[&str]| {
        let args = ["suggest", "-w", "teams.csv", "-o", "config.yaml", "--plan", "plan.json"];
        rehearsal.migplan(&[&args[..], more].concat())
    };
    // The fleet is this node, and what it has stays.
    let first = plan(&["--current"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stderr.contains("instances_destroyed 0"), "{}", first.stderr);

    let drifted = rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]);
    assert_eq!((drifted.code, drifted.stdout.as_str()), (7, ""), "{}", drifted.stderr);
    // Nothing is too many, so of that it says nothing.
    let of_gpu_0 = drifted.stderr.lines().next().unwrap();
    let differs = of_gpu_0.strip_prefix("error: GPU 0 is not what config.yaml says: ").unwrap();
    assert!(differs.ends_with(" missing") && !differs.contains(';'), "{}", drifted.stderr);

    let applied = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    let live = rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]);
    assert_eq!(live.code, 0, "{}", live.stderr);

    // The same demand on the node as it is now: nothing is destroyed, nothing is to do.
    let again = plan(&["--current"]);
    assert!(again.stderr.contains("instances_destroyed 0"), "{}", again.stderr);
    rehearsal.log_calls();
    let nothing = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!((nothing.code, rehearsal.changing_calls()), (0, 0), "{}", nothing.stderr);

    let metrics = rehearsal.migplan(&["status", "--format", "prometheus"]);
    assert_eq!(metrics.code, 0, "{}", metrics.stderr);
    assert!(metrics.stdout.contains("# TYPE migplan_gpu_instances gauge\n"), "{}", metrics.stdout);
    let on = metrics.stdout.lines().filter(|l| l.starts_with("migplan_mig_enabled{"));
    assert_eq!(on.count(), 2, "{}", metrics.stdout);
    assert!(metrics.stdout.contains("profile=\"4g.40gb\"} "), "{}", metrics.stdout);
}

/// README's rehearsal as it stands there, but for the folders: apply, a kill in the midst, status
/// says so, rollback.
#[test]
fn readme_rehearses_a_kill() {
    let readme = std::fs::read_to_string(crate::common::root("README.md")).unwrap();
    let section = readme.split("Rehearse it without a GPU").nth(1).unwrap();
    let blocks: Vec<&str> = section.split("```\n").skip(1).step_by(2).take(2).collect();
    let rehearsal = Rehearsal::new(&Node::new("1xa30").unwrap());
    nvidia_smi(&rehearsal);
    // README's GPUs come from the environment.
    std::fs::remove_file(rehearsal.path("fake-nvml.json")).unwrap();
    let golden = crate::common::root("tests/golden/suggest/one-node/config.yaml");
    std::fs::copy(golden, rehearsal.path("config.yaml")).unwrap();
    let folder = rehearsal.folder.path().display().to_string();
    let steps = blocks
        .concat()
        .replace("cargo build -p fake-nvml\n", "")
        .replace("/tmp/", "FOLDER/")
        .replace("$PWD/target/debug/fake-nvidia-smi", "FOLDER/nvidia-smi")
        .replace("$PWD/target/debug", "FOLDER")
        // Where the pretended nvidia-smi looks for it.
        .replace("FOLDER/node.json", "FOLDER/fake-nvml.json")
        .replace("FOLDER", &folder);
    assert!(!steps.contains("$PWD") && !steps.contains("cargo"), "{steps}");
    let binary = env!("CARGO_BIN_EXE_migplan");
    let script = format!("migplan() {{ '{binary}' \"$@\"; }}\n{steps}\necho \"ends with $?\"\n");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env_remove("MIGPLAN_GPUS")
        .current_dir(&folder)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let told = format!("{script}\n{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    let status = "interrupted: the apply of <stdin>, label one (run 2) was interrupted";
    assert!(stdout.contains(status), "{told}");
    assert!(stdout.contains("ends with 0"), "{told}");
    // The kill was one: the third change from then.
    assert_eq!(rehearsal_runs(&rehearsal), ["applied", "rolled_back", "applied"], "{told}");
}

/// How the saved runs ended, the first one first.
fn rehearsal_runs(rehearsal: &Rehearsal) -> Vec<String> {
    let state = rehearsal.path("migplan").display().to_string();
    let ran = rehearsal.migplan(&["rollback", "--list", "--json", "--state-dir", &state]);
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut runs: Vec<(u64, String)> = list["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["id"].as_u64().unwrap(), run["end"].as_str().unwrap_or("open").into()))
        .collect();
    runs.sort();
    runs.into_iter().map(|(_, end)| end).collect()
}
