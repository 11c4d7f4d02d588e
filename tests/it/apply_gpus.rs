//! Every GPU by itself, and never another one: GPUs that move at a reset, that are not there for a
//! while, or that cannot be gone back with, and runs of others meanwhile. The real binary over the
//! fake libnvidia-ml.

use crate::rehearsal::*;
use fake_nvml::Node;
use migplan::apply::state_dir::RUNS_KEPT;
use migplan::apply::{History, Saves, StateDir};
use migplan::error::Result;
use migplan::mig_parted::Config;
use serde_json::json as value;

/// A `nvidia-smi` whose next reset leaves the GPUs listed as they are in this node.
fn moves_to(rehearsal: &Rehearsal, node: &Node) {
    use std::os::unix::fs::PermissionsExt;
    let script = nvidia_smi(rehearsal);
    std::fs::rename(&script, rehearsal.path("real-smi")).unwrap();
    node.save(&rehearsal.path("moved.json")).unwrap();
    let text = "#!/bin/sh\n[ -e moved.json ] && exec mv moved.json fake-nvml.json\nexec ./real-smi \"$@\"\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// GPU 0 is to be without MIG, which takes a reset, and GPU 2 is to be changed after it; of GPU 3 no
/// file says anything.
fn before_a_reset() -> (Rehearsal, Node) {
    let mut node = Node::new("4xa100-80gb").unwrap();
    for gpu in [0, 2, 3] {
        lay_out(&mut node, gpu, &board("a100-80gb"), &[]);
        put(&mut node, gpu, "3g.40gb", 0);
        put(&mut node, gpu, "3g.40gb", 4);
    }
    let rehearsal = Rehearsal::new(&node);
    rehearsal.config(&[("[0]", "off"), ("[2]", "{7g.80gb: 1}")]);
    (rehearsal, node)
}

#[test]
fn a_reset_after_which_gpus_have_moved_changes_no_other_gpu() {
    // One fewer, or in another order.
    for (gone, code) in [(true, 9), (false, 8)] {
        let (rehearsal, first) = before_a_reset();
        let mut moved = first.clone();
        moved.gpus[0].instances.clear();
        (moved.gpus[0].mode, moved.gpus[0].pending) = (false, false);
        if gone {
            moved.gpus.remove(0);
        }
        moved.gpus.reverse();
        moves_to(&rehearsal, &moved);
        let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains("the GPUs have moved: GPU 0 is GPU-"), "{}", ran.stderr);
        let (mut before, after) = (by_uuid(&first), by_uuid(&rehearsal.load()));
        before.retain(|uuid, _| !gone || *uuid != first.gpus[0].uuid);
        assert_eq!(after, before, "{}", ran.stderr);
    }
}

#[test]
fn a_rollback_finds_gpus_that_have_moved() {
    let (rehearsal, first) = before_a_reset();
    nvidia_smi(&rehearsal);
    let applied = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    let mut moved = rehearsal.load();
    (moved.gpus[0].mode, moved.gpus[0].pending) = (true, true);
    moved.gpus.reverse();
    moves_to(&rehearsal, &moved);
    let back = rehearsal.migplan(&["rollback", "--yes", "--reset"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(by_uuid(&rehearsal.load()), by_uuid(&first));
}

#[test]
fn a_gpu_that_is_gone_for_a_while_keeps_its_run_open() {
    let (rehearsal, first) = killed(HALF_WAY);
    let half_way = rehearsal.load().gpus[1].clone();
    rehearsal.edit(|node| drop(node.gpus.pop()));
    // Nobody is told of a run that only waits for what is gone, but it is open.
    assert_eq!(interrupted(&rehearsal), []);
    for (nth, told) in
        ["done: ", "nothing to do: the GPUs of this state that can"].iter().enumerate()
    {
        let back = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert!(back.stderr.contains(told), "{nth}: {}", back.stderr);
        assert!(back.stderr.contains("is not on this node any more"), "{}", back.stderr);
        assert_eq!(runs(&rehearsal)[0]["end"], value!(null));
    }
    rehearsal.write("zero.yaml", &yaml(&[("[0]", "{1g.10gb: 3}")]));
    assert_eq!(rehearsal.migplan(&["apply", "-f", "zero.yaml", "--yes"]).code, 0);
    assert_eq!(runs(&rehearsal)[0]["end"], value!(null));
    rehearsal.edit(|node| node.gpus.push(half_way));
    assert_eq!(interrupted(&rehearsal), [(1, value!([1]))]);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
    assert_eq!(interrupted(&rehearsal), []);
}

#[test]
fn a_run_that_waits_for_a_replaced_gpu_is_kept_as_long_as_others() {
    let (rehearsal, _) = killed(HALF_WAY);
    rehearsal.edit(|node| node.gpus[1].uuid = "GPU-new".into());
    let file = |id: usize| rehearsal.state_dir().join(format!("run-{id:06}.jsonl"));
    let first = std::fs::read_to_string(file(1)).unwrap();
    let header = first.lines().next().unwrap();
    for id in 2..RUNS_KEPT {
        std::fs::write(file(id), format!("{header}\n{{\"ended\":\"applied\"}}\n")).unwrap();
    }
    for (profiles, kept) in [("{1g.10gb: 3}", true), ("{1g.10gb: 4}", false)] {
        rehearsal.config(&[("[0]", profiles)]);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!((ran.code, ran.stderr.contains("interrupted")), (0, false), "{}", ran.stderr);
        assert_eq!(file(1).exists(), kept);
    }
}

/// Saved states, before a look or a lock of which another migplan dies in the midst of GPU 1.
struct Late<'r> {
    rehearsal: &'r Rehearsal,
    before_look: bool,
}

impl Late<'_> {
    fn other(&self) {
        let faults = vec![fault("change", 3, None, false, false)];
        self.rehearsal.edit(|node| node.faults = faults);
        assert_eq!(self.rehearsal.migplan(&["apply", "-f", "one.yaml", "--yes"]).code, -1);
        self.rehearsal.edit(|node| node.faults.clear());
    }
}

impl Saves for Late<'_> {
    fn lock(&mut self) -> Result<StateDir> {
        if !self.before_look {
            self.other();
        }
        (&*self.rehearsal.state_dir()).lock()
    }

    fn look(&mut self) -> Result<(History, bool)> {
        if self.before_look {
            self.other();
        }
        (&*self.rehearsal.state_dir()).look()
    }
}

#[test]
fn a_run_is_not_judged_by_a_reading_from_before_it() {
    for (before_look, wanted) in [(false, "{2g.20gb: 2}"), (true, "{3g.40gb: 1}")] {
        let first = two_gpus();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.write("one.yaml", &yaml(&[("[1]", "{7g.80gb: 1}")]));
        let config = Config::parse(&yaml(&[("[0]", wanted)]), "zero.yaml").unwrap();
        let mut saves = Late { rehearsal: &rehearsal, before_look };
        let done = rehearsal.session_of(&mut saves, &mut Yes, false, |session| {
            session.apply(&config, None, "zero.yaml")
        });
        assert!(done.is_ok(), "{done:?}");
        assert_eq!(interrupted(&rehearsal), [(1, value!([1]))], "{wanted}");
        assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--to", "1"]).code, 0);
        assert_eq!(by_uuid(&rehearsal.load())[&first.gpus[1].uuid], first.essence()[1]);
    }
}

#[test]
fn a_gpu_that_cannot_go_back_does_not_keep_the_others_from_it() {
    let lacks: fn(&mut Node) = |node| node.gpus[1].profiles.retain(|p| p.name != "3g.40gb");
    let without: fn(&mut Node) = |node| {
        let gpu = &mut node.gpus[1];
        (gpu.mode, gpu.pending) = (false, false);
        gpu.profiles.clear();
        gpu.instances.clear();
    };
    for (edit, told) in [
        (lacks, "error: GPU 1: h100-sxm5-80gb has no profile 3g.40gb"),
        (without, ") cannot do MIG any more"),
    ] {
        let first = two_gpus();
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(BOTH);
        assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
        rehearsal.edit(edit);
        let left = rehearsal.load().essence()[1].clone();
        for what in ["changes GPU 0", "has nothing to change"] {
            let back = rehearsal.migplan(&["rollback", "--yes"]);
            assert_eq!(back.code, 9, "{what}: {}", back.stderr);
            assert!(back.stderr.contains(told), "{what}: {}", back.stderr);
            assert!(!back.stderr.contains("as root"), "{what}: {}", back.stderr);
            assert_eq!(rehearsal.load().essence(), [first.essence()[0].clone(), left.clone()]);
        }
        // It is not undone yet.
        assert_eq!(runs(&rehearsal)[0]["end"], "applied");
    }
}

#[test]
fn a_half_way_gpu_is_repaired_whatever_runs_elsewhere() {
    let busy: fn(&mut Node) = |node| occupy(node, 0, 2, 4711);
    let foreign: fn(&mut Node) = |node| {
        put(node, 0, "1g.10gb", 6);
    };
    for (edit, told) in [
        (busy, "is in use by train.py (pid 4711)"),
        (foreign, "GPU 0: 1g.10gb at memory slice 6 was created by somebody else since"),
    ] {
        let (rehearsal, first) = killed(HALF_WAY);
        rehearsal.edit(edit);
        let before = rehearsal.load().gpus[0].clone();
        let dry = rehearsal.migplan(&["rollback", "--dry-run"]);
        assert!(dry.code == 9 && dry.stderr.contains(told), "{}", dry.stderr);
        let back = rehearsal.migplan(&["rollback", "--yes", "--json"]);
        assert_eq!(back.code, 9, "{}", back.stdout);
        let (result, after) = (result(&back), rehearsal.load());
        assert!(result["errors"].to_string().contains(told), "{result}");
        assert_eq!(
            (&result["outcome"], &result["gpus"]),
            (&"rollback_incomplete".into(), &"incomplete".into())
        );
        assert_eq!((&after.gpus[0], &after.essence()[1]), (&before, &first.essence()[1]));
        // Now nothing is half-way any more, and a rollback is all or nothing.
        let again = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(again.code, 7, "{}", again.stderr);
        rehearsal.edit(|node| {
            let instances = node.gpus[0].instances.iter_mut();
            instances.flat_map(|i| &mut i.compute).for_each(|c| c.processes.clear());
        });
        assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--force"]).code, 0);
        assert_eq!(rehearsal.load().essence(), first.essence());
    }
}

#[test]
fn a_half_way_gpu_is_named_by_its_present_index() {
    let (rehearsal, first) = killed(HALF_WAY);
    rehearsal.edit(|node| drop(node.gpus.remove(0)));
    assert_eq!(interrupted(&rehearsal), [(1, value!([0]))]);
    let text = rehearsal.migplan(&["status"]).stdout;
    let told = "with GPU 0 half-way; `migplan rollback --to 1` goes back to the state before it\n";
    assert!(text.contains(told), "{text}");
    assert_eq!(rehearsal.migplan(&["rollback", "--yes", "--to", "1"]).code, 0);
    assert_eq!(rehearsal.load().essence(), first.essence()[1..]);
}

/// What the driver says of an instance may be nonsense; then the GPU is shown as such and left alone.
#[test]
fn a_placement_that_no_board_has_is_told_and_refused() {
    for start in [40, u32::MAX] {
        let mut node = laid_out("2xh100-80gb", "h100-80gb", &[("3g.40gb", 4)]);
        node.gpus[0].instances[0].start = start;
        let rehearsal = Rehearsal::new(&node);
        rehearsal.config(&[("all", "{7g.80gb: 1}")]);
        let said = format!("3g.40gb is said to start at memory slice {start}, which no board has");
        for args in [&["status"][..], &["status", "--format", "json"]] {
            let ran = rehearsal.migplan(args);
            assert!(ran.code == 0 && ran.stdout.contains(&said), "{}{}", ran.stdout, ran.stderr);
        }
        for args in [&["apply", "--yes"][..], &["check", "--live"]] {
            let ran = rehearsal.migplan(args);
            assert!(ran.code == 7 && ran.stderr.contains(&said), "{}", ran.stderr);
        }
        assert_eq!(by_uuid(&rehearsal.load()), by_uuid(&node));
    }
}
