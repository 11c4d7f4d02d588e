//! GPUs that a change is not for: what somebody else or the reset of another GPU takes from them
//! meanwhile. The real binary over the fake libnvidia-ml.

use crate::rehearsal::*;
use fake_nvml::{Essence, Node};

const CREATE: &str = "nvmlDeviceCreateGpuInstanceWithPlacement";
const APPLY: [&str; 4] = ["apply", "--yes", "--reset", "--json"];
const ROLLBACK: [&str; 3] = ["rollback", "--yes", "--reset"];
/// What is wanted of GPU 0, which needs a reset for it, and what GPU 1 has already.
const ONE: &[(&str, &str)] = &[("[0]", "{1g.10gb: 7}")];
const TWO: &[(&str, &str)] = &[("[0]", "{1g.10gb: 7}"), ("[1]", "{3g.40gb: 2}")];

/// Two GPUs that are reset together: MIG is off on the first, and the second has two instances.
fn linked() -> (Rehearsal, Node) {
    let mut first = Node::new("2xa100-80gb").unwrap();
    lay_out(&mut first, 1, &board("a100-sxm4-80gb"), &[]);
    put(&mut first, 1, "3g.40gb", 0);
    put(&mut first, 1, "3g.40gb", 4);
    first.resets_together = true;
    let rehearsal = Rehearsal::new(&first);
    nvidia_smi(&rehearsal);
    (rehearsal, first)
}

fn sevenths() -> Essence {
    (true, true, (0..7).map(|start| ("1g.10gb".to_string(), start, vec![1])).collect())
}

#[test]
fn what_a_reset_takes_from_another_gpu_comes_back() {
    for file in [ONE, TWO] {
        let (rehearsal, first) = linked();
        rehearsal.config(file);
        let ran = rehearsal.migplan(&APPLY);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("the reset of another GPU took along"), "{}", ran.stdout);
        assert!(ran.stdout.contains("GPU 1 is MIG on, no instances"), "{}", ran.stdout);
        let [_, other] = &first.essence()[..] else { panic!() };
        assert_eq!(rehearsal.load().essence(), [sevenths(), other.clone()]);
        // The way back resets once more.
        let back = rehearsal.migplan(&ROLLBACK);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), first.essence());
    }
}

#[test]
fn a_failed_change_gives_back_what_its_reset_took_from_another_gpu() {
    let (rehearsal, first) = linked();
    rehearsal.config(ONE);
    rehearsal.edit(|node| node.faults = vec![fault(CREATE, 3, Some(23), false, false)]);
    let ran = rehearsal.migplan(&APPLY);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
    // So it does from one whose own change had not begun.
    rehearsal.config(&[("[0]", "{1g.10gb: 7}"), ("[1]", "{7g.80gb: 1}")]);
    let ran = rehearsal.migplan(&APPLY);
    assert_eq!(ran.code, 8, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn what_does_not_come_back_after_a_reset_is_named_and_known_to_rollback() {
    for file in [ONE, TWO] {
        let (rehearsal, first) = linked();
        rehearsal.config(file);
        rehearsal.edit(|node| node.faults = vec![fault(CREATE, 8, Some(23), true, false)]);
        let ran = rehearsal.migplan(&APPLY);
        assert_eq!(ran.code, 9, "{}", ran.stderr);
        let left = "GPU 1 is MIG on, no instances, where it should be MIG on: 3g.40gb@0 3g.40gb@4";
        assert!(result(&ran)["errors"].to_string().contains(left), "{}", ran.stdout);
        let hint = result(&ran)["hint"].to_string();
        assert!(hint.contains("`migplan rollback` goes back"), "{hint}");
        rehearsal.edit(|node| node.faults.clear());
        assert_eq!(interrupted(&rehearsal), [(1, serde_json::json!([1]))]);
        let back = rehearsal.migplan(&ROLLBACK);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(rehearsal.load().essence(), first.essence());
        assert_eq!(interrupted(&rehearsal), []);
    }
}

#[test]
fn a_killed_run_knows_what_its_reset_took_from_another_gpu() {
    let (rehearsal, first) = linked();
    rehearsal.config(ONE);
    rehearsal.edit(|node| node.faults = vec![fault(CREATE, 1, None, false, false)]);
    assert_eq!(rehearsal.migplan(&APPLY).code, -1);
    assert_eq!(rehearsal.load().gpus[1].instances, []);
    rehearsal.edit(|node| node.faults.clear());
    assert_eq!(interrupted(&rehearsal), [(1, serde_json::json!([0, 1]))]);
    // A run in between goes on; the state to go back to stays the one before the first.
    rehearsal.config(TWO);
    let ran = rehearsal.migplan(&APPLY);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence(), [sevenths(), first.essence()[1].clone()]);
    assert_eq!(interrupted(&rehearsal), []);
    let back = rehearsal.migplan(&ROLLBACK);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), first.essence());
}

#[test]
fn what_others_change_on_another_gpu_after_a_run_with_a_reset_stays() {
    let (rehearsal, first) = linked();
    rehearsal.edit(|node| node.resets_together = false);
    rehearsal.config(ONE);
    assert_eq!(rehearsal.migplan(&APPLY).code, 0);
    rehearsal.edit(|node| {
        node.gpus[1].instances.remove(0);
        put(node, 1, "1g.10gb", 0);
    });
    let others = rehearsal.load().essence()[1].clone();
    let back = rehearsal.migplan(&ROLLBACK);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(rehearsal.load().essence(), [first.essence()[0].clone(), others]);
}

#[test]
fn a_gpu_of_the_file_that_needs_no_change_is_compared_too() {
    let first = two_gpus();
    let file = [("[0]", "{2g.20gb: 2}"), ("[1]", "{3g.40gb: 1, 1g.10gb: 1}")];
    // Lost, and changed by somebody else right after it was looked at last.
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(&file);
    rehearsal.edit(|node| node.faults = vec![lose("change", 3, 1, false)]);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    let left = format!("GPU 1 ({}) cannot be read", first.gpus[1].uuid);
    assert!(ran.stderr.contains(&left), "{}", ran.stderr);
    // What was changed is changed, and nothing is half-way.
    rehearsal.edit(|node| {
        node.faults.clear();
        node.gpus[1].lost = false;
    });
    assert_eq!(rehearsal.load().gpus[0].instances.len(), 2);
    assert_eq!(interrupted(&rehearsal), []);
    assert_eq!(rehearsal.migplan(&["check", "-f", "config.yaml", "--live"]).code, 0);

    // The same on the way back, of a state that covers both.
    rehearsal.save(&first);
    rehearsal.forget_saved_state();
    rehearsal.config(BOTH);
    assert_eq!(rehearsal.migplan(&["apply", "--yes"]).code, 0);
    let mut half = rehearsal.load();
    half.gpus[1] = first.gpus[1].clone();
    half.faults = vec![lose("change", 3, 1, false)];
    rehearsal.save(&half);
    let back = rehearsal.migplan(&["rollback", "--yes"]);
    assert_eq!(back.code, 9, "{}", back.stderr);
    assert!(back.stderr.contains(&left), "{}", back.stderr);
    assert_eq!(rehearsal.load().essence()[0], first.essence()[0]);
}

#[test]
fn a_failed_change_tells_of_a_gpu_of_the_file_that_was_lost_meanwhile() {
    let first = two_gpus();
    let rehearsal = Rehearsal::new(&first);
    rehearsal.config(&[("[0]", "{2g.20gb: 2}"), ("[1]", "{3g.40gb: 1, 1g.10gb: 1}")]);
    let faults = vec![lose("change", 3, 1, false), fault(CREATE, 2, Some(23), false, false)];
    rehearsal.edit(|node| node.faults = faults);
    let ran = rehearsal.migplan(&["apply", "--yes"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    assert!(ran.stderr.contains("GPU 1 ("), "{}", ran.stderr);
    assert_eq!(rehearsal.load().essence()[0], first.essence()[0]);
}

#[test]
fn gpus_that_are_listed_in_another_order_after_a_reset_are_not_as_the_file_says() {
    let mut first = Node::new("2xh100-80gb,1xa100-80gb").unwrap();
    lay_out(&mut first, 0, &board("h100-80gb"), &[]);
    lay_out(&mut first, 1, &board("h100-80gb"), &[]);
    put(&mut first, 0, "3g.40gb", 0);
    put(&mut first, 1, "7g.80gb", 0);
    let rehearsal = Rehearsal::new(&first);
    let mut other = first.clone();
    other.gpus.swap(0, 1);
    (other.gpus[2].mode, other.gpus[2].pending) = (true, true);
    other.save(&rehearsal.path("other.json")).unwrap();
    after_a_reset(&rehearsal, "exec mv other.json fake-nvml.json");
    let of_third = ("[2]", "{7g.80gb: 1}");
    rehearsal.config(&[("[0]", "{3g.40gb: 1}"), ("[1]", "{7g.80gb: 1}"), of_third]);
    let ran = rehearsal.migplan(&["apply", "--yes", "--reset"]);
    assert_eq!(ran.code, 9, "{}", ran.stderr);
    let moved = format!("the GPUs have moved: GPU 0 is {}", first.gpus[1].uuid);
    assert!(ran.stderr.contains(&moved), "{}", ran.stderr);
}
