//! MIG modes that are pending, and GPUs that are reset together. The real binary over the fake
//! libnvidia-ml.

use crate::rehearsal::*;
use fake_nvml::{Fault, Node};

const CREATE: &str = "nvmlDeviceCreateGpuInstanceWithPlacement";
const APPLY: [&str; 3] = ["apply", "--yes", "--reset"];
const ROLLBACK: [&str; 3] = ["rollback", "--yes", "--reset"];

/// An H100 with a pending mode, as `nvidia-smi -mig` leaves it while a client holds the GPU.
fn pending(on: bool) -> Node {
    let mut node = Node::new("1xh100-80gb").unwrap();
    if !on {
        lay_out(&mut node, 0, &board("h100-80gb"), &[]);
        put(&mut node, 0, "3g.40gb", 0);
    }
    node.gpus[0].pending = on;
    node
}

/// The same once nothing is pending.
fn settled(node: &Node) -> Node {
    let mut node = node.clone();
    node.gpus.iter_mut().filter(|gpu| !gpu.needs_reset).for_each(|gpu| gpu.pending = gpu.mode);
    node
}

#[test]
fn a_mode_that_a_client_held_up_is_no_state_to_go_back_to() {
    for on in [true, false] {
        let first = pending(on);
        let rehearsal = Rehearsal::new(&first);
        rehearsal.config(&[("all", "{2g.20gb: 2}")]);
        let ran = rehearsal.migplan(&["apply", "--yes"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let back = rehearsal.migplan(&["rollback", "--yes"]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), settled(&first).essence());
        assert_eq!(rehearsal.migplan(&["rollback", "--yes"]).code, 0);
        assert_eq!(interrupted(&rehearsal), []);
    }
}

#[test]
fn a_failed_change_of_a_gpu_with_a_pending_mode_is_undone() {
    let mut first = Node::new("2xh100-80gb").unwrap();
    first.gpus[0].pending = true;
    lay_out(&mut first, 1, &board("h100-80gb"), &[]);
    for nth in 1..=8 {
        for kill in [false, true] {
            let rehearsal = Rehearsal::new(&first);
            rehearsal.config(&[("all", "{2g.20gb: 2}")]);
            let code = (!kill).then_some(23);
            rehearsal.edit(|node| node.faults = vec![fault("change", nth, code, false, false)]);
            let ran = rehearsal.migplan(&["apply", "--yes"]);
            assert_eq!(ran.code, if kill { -1 } else { 8 }, "{nth}: {}", ran.stderr);
            rehearsal.edit(|node| node.faults.clear());
            let back = rehearsal.migplan(&["rollback", "--yes"]);
            assert_eq!(back.code, 0, "{nth}: {}", back.stderr);
            let after = rehearsal.load().essence();
            let ends = [first.essence(), settled(&first).essence()];
            assert!(ends.contains(&after), "{nth}: {after:?}");
            assert_eq!(interrupted(&rehearsal), [], "{nth}");
        }
    }
}

/// What migplan itself has asked for does not stay behind.
#[test]
fn a_mode_that_a_client_holds_up_is_taken_back() {
    let mut first = Node::new("2xh100-80gb").unwrap();
    first.gpus[0].clients = vec!["dcgm".to_string()];
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(&[("all", "{2g.20gb: 2}")]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn a_rollback_that_makes_a_mode_pending_again_says_so() {
    let mut first = Node::new("1xa100-80gb").unwrap();
    first.gpus[0].pending = true;
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(&[("all", "off")]);
    let cancel = rehearsal.migplan(&["apply", "--dry-run"]).stdout;
    assert!(cancel.contains("a pending change of MIG mode is cancelled"), "{cancel}");
    let ran = rehearsal.migplan(&["apply", "--yes", "--json"]);
    let gpu = &json(ran.stdout.lines().next().unwrap())["gpus"][0];
    assert_eq!((&gpu["mig"], &gpu["mig_pending"]), (&().into(), &false.into()));
    let text = rehearsal.migplan(&["rollback", "--dry-run"]).stdout;
    assert!(text.contains("MIG on is pending again, for the next reset of the GPU"), "{text}");
    let back = rehearsal.migplan(&["rollback", "--yes", "--json"]);
    let events: Vec<_> = back.stdout.lines().map(json).collect();
    let gpu = &events[0]["gpus"][0];
    assert_eq!((&gpu["mig"], &gpu["mig_pending"]), (&().into(), &true.into()));
    assert_eq!(events[1]["step"]["action"], "mig_on");
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn what_is_exported_is_the_present_mode_and_a_pending_one_is_named() {
    for form in ["yaml", "checkpoint"] {
        let rehearsal = Rehearsal::new(&pending(false));
        let ran = rehearsal.migplan(&["export", "-o", form]);
        let told = "GPU 0: MIG off is pending; what is exported is MIG on, as it is now";
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("warning: {told}")), "{}", ran.stderr);
        assert_eq!(
            ran.stdout.starts_with(&format!("# {told}\n")),
            form == "yaml",
            "{}",
            ran.stdout
        );
        rehearsal.save(&settled(&pending(false)));
        let ran = rehearsal.migplan(&["export", "-o", form]);
        assert!(!ran.stdout.contains("pending") && ran.stderr.is_empty(), "{}", ran.stdout);
    }
}

/// A node, the entries of a file, and the node in the end.
type Case = (Node, Vec<(&'static str, &'static str)>, Node);

/// Changes of a server whose GPUs are reset together, each by one reset.
fn together() -> Vec<Case> {
    let off = Node { resets_together: true, ..Node::new("2xa100-80gb").unwrap() };
    let laid_out = |of: &Node, gpu: usize, instances: &[(&str, u32)]| {
        let mut node = of.clone();
        lay_out(&mut node, gpu, &board("a100-sxm4-80gb"), &[]);
        instances.iter().for_each(|(profile, start)| {
            put(&mut node, gpu, profile, *start);
        });
        node
    };
    let small: Vec<(&str, u32)> = (0..7).map(|start| ("1g.10gb", start)).collect();
    let sevenths = laid_out(&laid_out(&off, 0, &small), 1, &small);
    let two = [("3g.40gb", 0), ("1g.10gb", 4)];
    let idle = laid_out(&laid_out(&off, 0, &two), 1, &two);
    let new = [("3g.40gb", 0), ("2g.20gb", 4)];
    let (mixed, first_off) = ("{3g.40gb: 1, 2g.20gb: 1}", laid_out(&off, 1, &new));
    let mut cancelled = idle.clone();
    cancelled.gpus[1].pending = false;
    vec![
        (off.clone(), vec![("all", "{1g.10gb: 7}")], sevenths.clone()),
        (sevenths, vec![("all", "off")], off.clone()),
        (idle.clone(), vec![("[0]", "off"), ("[1]", mixed)], first_off.clone()),
        (idle.clone(), vec![("[0]", mixed), ("[1]", "off")], laid_out(&off, 0, &new)),
        // A pending change is cancelled before a reset could make it current.
        (cancelled, vec![("[0]", "off"), ("[1]", mixed)], first_off),
        (
            laid_out(&off, 1, &two),
            vec![("[0]", "{7g.80gb: 1}"), ("[1]", "off")],
            laid_out(&off, 0, &[("7g.80gb", 0)]),
        ),
    ]
}

#[test]
fn gpus_that_are_reset_together_are_changed_in_one_run() {
    for (first, file, wanted) in together() {
        let rehearsal = Rehearsal::new(&first);
        after_a_reset(&rehearsal, "echo >> resets");
        rehearsal.config(&file);
        let ran = rehearsal.migplan(&APPLY);
        assert_eq!(ran.code, 0, "{file:?}: {}", ran.stderr);
        assert_eq!(rehearsal.load().essence(), wanted.essence(), "{file:?}");
        // One that has its mode by the reset of another needs none.
        assert_eq!(std::fs::read_to_string(rehearsal.path("resets")).unwrap().len(), 1);
        // What stays is told of where a reset has taken it along.
        let lost = file.iter().any(|(_, wanted)| wanted.contains("3g.40gb"));
        assert_eq!(ran.stderr.contains("the reset of another GPU took along"), lost, "{file:?}");
        assert_eq!(interrupted(&rehearsal), []);
        let back = rehearsal.migplan(&ROLLBACK);
        assert_eq!(back.code, 0, "{file:?}: {}", back.stderr);
        assert_eq!(rehearsal.load().essence(), first.essence(), "{file:?}");
    }
}

/// Runs `apply` with a fault, and then goes back.
fn with_fault(first: &Node, file: &[(&str, &str)], fault: Fault, code: i32) {
    let what = format!("{file:?}, {fault:?}");
    let rehearsal = Rehearsal::new(first);
    nvidia_smi(&rehearsal);
    rehearsal.config(file);
    rehearsal.edit(|node| node.faults = vec![fault]);
    let ran = rehearsal.migplan(&APPLY);
    assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
    rehearsal.edit(|node| node.faults.clear());
    if code == 8 {
        assert_eq!(rehearsal.load().essence(), first.essence(), "{what}");
    }
    let back = rehearsal.migplan(&ROLLBACK);
    assert_eq!(back.code, 0, "{what}: {}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence(), "{what}");
    assert_eq!(interrupted(&rehearsal), [], "{what}");
}

#[test]
fn a_run_with_resets_is_undone_from_wherever_it_ends() {
    for (first, file, _) in together() {
        // NVML starts anew after a reset, so calls are counted from there.
        let rehearsal = Rehearsal::new(&first);
        nvidia_smi(&rehearsal);
        rehearsal.config(&file);
        rehearsal.log_calls();
        assert_eq!(rehearsal.migplan(&APPLY).code, 0);
        let calls = rehearsal.calls();
        let before =
            calls.iter().filter(|(name, ..)| name == "nvmlDeviceSetMigMode").count() as u64;
        for nth in 1..=before {
            let fault = |code| fault("nvmlDeviceSetMigMode", nth, code, false, false);
            with_fault(&first, &file, fault(Some(999)), 8);
            with_fault(&first, &file, fault(None), -1);
        }
        let creates = calls.iter().filter(|(name, ..)| name == CREATE).count() as u64;
        for nth in [1, creates / 2].into_iter().filter(|nth| (1..=creates).contains(nth)) {
            with_fault(&first, &file, fault(CREATE, nth, Some(23), false, false), 8);
            with_fault(&first, &file, fault(CREATE, nth, None, false, true), -1);
        }
    }
}

#[test]
fn a_reset_that_fails_or_kills_the_run_is_undone() {
    for (first, file, _) in together() {
        for (before, after, code) in [
            ("[ -e once ] || { touch once; exit 9; }", "", 8),
            ("[ -e once ] || { touch once; kill -9 $PPID; exit; }", "", -1),
            ("", "[ -e once ] || { touch once; kill -9 $PPID; }", -1),
            ("", "[ -e once ] || { touch once; kill -TERM $PPID; sleep 0.1; }", 8),
        ] {
            let what = format!("{file:?}, {before} {after}");
            let rehearsal = Rehearsal::new(&first);
            around_a_reset(&rehearsal, before, after);
            rehearsal.config(&file);
            let ran = rehearsal.migplan(&APPLY);
            // With the last reset all is done where nothing is to be created.
            let done = code == 8 && ran.code == 0 && after.contains("TERM");
            assert!(ran.code == code || done, "{what}: {} {}", ran.code, ran.stderr);
            let back = rehearsal.migplan(&ROLLBACK);
            assert_eq!(back.code, 0, "{what}: {}", back.stderr);
            assert_eq!(rehearsal.load().essence(), first.essence(), "{what}");
        }
    }
}

#[test]
fn what_somebody_does_during_a_reset_stops_the_run() {
    let (first, file, _) = together().swap_remove(2);
    let rehearsal = Rehearsal::new(&first);
    let mut other = first.clone();
    other.reset(0).unwrap();
    (other.gpus[0].mode, other.gpus[0].pending) = (false, false);
    put(&mut other, 1, "7g.80gb", 0);
    // What runs keeps the way back, too, from a reset that would take it along.
    occupy(&mut other, 1, 0, 4711);
    other.save(&rehearsal.path("other.json")).unwrap();
    after_a_reset(&rehearsal, "[ -e other.json ] && exec mv other.json fake-nvml.json\n:");
    rehearsal.config(&file);
    let ran = rehearsal.migplan(&APPLY);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains("GPU 1 is not as it was a moment ago"), "{}", ran.stderr);
    assert_eq!(rehearsal.load().gpus[1], other.gpus[1]);
}
