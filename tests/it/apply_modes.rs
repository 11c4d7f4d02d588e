//! MIG modes that are pending. The real binary over the fake libnvidia-ml.

use crate::rehearsal::*;
use fake_nvml::Node;

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
